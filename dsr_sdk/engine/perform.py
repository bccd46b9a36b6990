"""The worker's side: carry out one unit of work at one data source, and turn whatever happens into results. Writes nothing but spools."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsr_sdk.engine.work import EFFECTS, Acted, Broke, Exported, Found, Result, Sent, Trust, Unit, elsewhere, identities_of, match_from_json
from dsr_sdk.errors import ApprovalError, ConfigError, ContractError, DsrError, LedgerError, RejectedError, UnsupportedError
from dsr_sdk.http import Api, SourceHttp
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.spool import SpoolWriter
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.tasks import Task, json_text
from dsr_sdk.registry import DataSource, Registry
from dsr_sdk.request import Request, RequestType, Subject
from dsr_sdk.result import Absent, Erased, Match, Outcome, Record, Retained

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from dsr_sdk.mail.post import Post

__all__ = ["Performer", "spool_path"]


def spool_path(spool: Path, case: str, task: int) -> Path:
    """Where the records that a task exported wait, sealed, for the copy package."""
    return spool / case / f"{task}.sealed"


class Performer:
    """Carries out units for one data source. Called from several threads.

    Args:
        source: The configured data source.
        registry: Holds its hooks, and the host's wrappers around them.
        http: Its HTTP side; None for sources without an API.
        ledger: Read for letters, and told right before a letter leaves.
        spool: Where exported records are written, sealed.
        post: How letters are sent; None when mail is not configured.
        on_step: Told the name of every step of the journal (tests kill the process there).
        trust: How far the identities of requests are trusted, see `Planner`: a letter names nobody whom a search would leave out.
    """

    def __init__(
        self,
        source: DataSource,
        registry: Registry,
        http: SourceHttp | None,
        ledger: Ledger,
        *,
        spool: Path,
        post: Post | None = None,
        on_step: Callable[[str], None] = lambda step: None,
        trust: Callable[[Connection, Mapping[str, Request]], Mapping[str, Trust]] = lambda connection, requests: {},
    ) -> None:
        self.source = source
        self.connector = source.connector
        self._registry = registry
        self._http = http
        self._ledger = ledger
        self._spool = spool
        self._post = post
        self._on_step = on_step
        self._trust = trust

    def perform(self, unit: Unit) -> list[Result]:
        """Carry out a unit: one result for each of its tasks. Never raises for what a connector does."""
        refused: list[Result] = [Broke(task, self._moved(task)) for task in unit.tasks if elsewhere(task, self.source)]
        if refused:
            rest = [task for task in unit.tasks if not elsewhere(task, self.source)]
            return [*refused, *(self.perform(Unit(unit.action, rest, unit.poll)) if rest else ())]
        try:
            return self._dispatch(unit)
        except DsrError as error:
            if isinstance(error, RejectedError) and not unit.poll and unit.divisible:
                # The vendor refused the call as a whole, so nothing was done: one bad item must not take the others along.
                middle = len(unit.tasks) // 2
                halves = (Unit(unit.action, unit.tasks[:middle]), Unit(unit.action, unit.tasks[middle:]))
                return [result for half in halves for result in self.perform(half)]
            error.source = error.source or self.source.name
            return [Broke(task, error) for task in unit.tasks]
        except BaseException as error:  # noqa: BLE001 - a connector's bug, be it sys.exit(), is reported as one and stops only its own task
            return [Broke(task, _bug("poll" if unit.poll else unit.action, error, self.source.name)) for task in unit.tasks]

    def _moved(self, task: Task) -> DsrError:
        """The ids of one account are other people's in another. Waiting mends nothing: a person searches again, or points it back."""
        moved = "was pointed at another account since it was searched"
        if task.action == "verify":
            fix = "point it back and retry, or go on without this check"
            return ApprovalError(f"{moved}: a deletion in the one before cannot be verified there", source=self.source.name, fix=fix)
        fix = "search again and approve what is found, or point it back and retry"
        return ApprovalError(f"{moved}: what was found in the one before is left alone", source=self.source.name, fix=fix)

    def _dispatch(self, unit: Unit) -> list[Result]:
        for task in unit.tasks:
            if not RequestType(task.request_type).automatic:
                # Planning makes no such task. Should one ever stand in the ledger, no connector hears of it.
                raise UnsupportedError(f"a request of type {task.request_type} is handled by people", source=self.source.name)
        if unit.poll:
            return self._poll(unit)
        if unit.action == "find":
            return self._find(unit.tasks)
        if unit.action == "verify":
            return [self._verify(unit.tasks[0])]
        if unit.action == "export":
            return [self._export(unit.tasks[0])]
        if unit.action == "email":
            return [self._email(unit.tasks[0])]
        if unit.action in EFFECTS:
            return self._effect(unit)
        raise ContractError(f"nothing performs {unit.action!r}", source=self.source.name)

    def _api(self, *tasks: Task) -> Api:
        if self._http is None:
            raise ConfigError("this data source has no API", source=self.source.name)
        # A batch is keyed by all of it: a vendor that knows the key answers for the batch it knows, and would pass over who is new in it.
        parts = [part for task in tasks for part in (task.case, str(task.id))]
        key = self._ledger.vault.fingerprint("operation", *parts).hex()[:32] if tasks else None
        return self._http.api(operation_key=key)

    def _call(self, hook: str, **arguments: Any) -> Any:
        # This connector and no later one: its connection, and the account that tasks are held against, are this one's.
        return self._registry.caller(hook, self.source.name, self.connector)(source=self.source.name, **arguments)

    # --- searching -----------------------------------------------------------------------------------------------------------------

    def _find(self, tasks: Sequence[Task]) -> list[Result]:
        subjects = [Subject.model_construct(identities=identities_of(task.payload["identities"])) for task in tasks]
        found = self._call("dsr_find", api=self._api(), subjects=subjects)
        return [Found(task, list(matches)) for task, matches in zip(tasks, found, strict=True)]

    def _verify(self, task: Task) -> Result:
        """Search again with everything that was searched with before. What is still there, and should not be, is the result."""
        spared = {(resource, id_) for resource, id_ in task.payload["spared"]}
        left: dict[tuple[str, str], Match] = {}
        api = self._api()
        for identity in identities_of(task.payload["identities"]):
            subject = Subject.model_construct(identities=(identity,))
            for match in self._call("dsr_find", api=api, subjects=[subject])[0]:
                holds = self.connector.held(match.resource)
                wanted = holds.on_erase is not Retained and (task.payload["scope"] == "account" or holds.scope.value == "app_data")
                if wanted and (match.resource, match.id) not in spared:
                    left[match.resource, match.id] = match
        return Found(task, list(left.values()))

    def _export(self, task: Task) -> Result:
        match = match_from_json(task.payload)
        if task.key is None:
            raise ContractError("an export needs the key of its case", source=self.source.name)
        path = spool_path(self._spool, task.case, task.id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with SpoolWriter(path, task.key, f"spool:{task.id}") as spool:
                for record in self._call("dsr_export", api=self._api(), match=match):
                    spool.write_line(_line(record, self.source.name))
        except OSError as error:  # not the connector's doing: its own calls raise no OSError that `Api` has not turned into a DsrError
            raise LedgerError(f"the spool cannot be written ({error.strerror})", source=str(self._spool), fix="free some space, or mend it") from None
        self._on_step("spooled")
        return Exported(task, spool.lines, spool.sha256)

    # --- acting --------------------------------------------------------------------------------------------------------------------

    def _effect(self, unit: Unit) -> list[Result]:
        results: dict[int, Result] = {}
        # Two requests of one person, or one found twice, meet here: the vendor is asked once and the answer counts for both.
        groups: dict[tuple[str, str], list[Task]] = {}
        for task in unit.tasks:
            groups.setdefault((task.payload["resource"], task.payload["id"]), []).append(task)
        fresh: list[list[Task]] = []
        for tasks in groups.values():
            recovered = self._recover(tasks) if unit.action == "erase" else None
            if recovered is None:
                fresh.append(tasks)
            else:
                results |= {task.id: Acted(task, recovered) for task in tasks}
        if fresh:
            matches = [match_from_json(tasks[0].payload) for tasks in fresh]
            self._on_step("before effect")
            outcomes = self._act(unit.action, matches, [tasks[0] for tasks in fresh])
            self._on_step("after effect")
            for tasks, outcome in zip(fresh, outcomes, strict=True):
                for task in tasks:
                    results[task.id] = Broke(task, outcome) if isinstance(outcome, DsrError) else self._acted(task, outcome)
        return [results[task.id] for task in unit.tasks]

    def _acted(self, task: Task, outcome: Any) -> Result:
        """The connector's own answers are checked already; a host's wrapper around it may have put anything in their place."""
        if isinstance(outcome, Absent) and task.action == "erase" and (task.state == "acting" or task.intent_at is not None):
            outcome = Erased()  # it was found, an erasure of ours was cut short, and now the vendor says that it is gone: that was us
        if isinstance(outcome, Outcome):
            return Acted(task, outcome)
        return Broke(task, ContractError(f"{task.action} answered {type(outcome).__name__}, not an outcome", source=self.source.name))

    def _act(self, action: str, matches: Sequence[Match], tasks: Sequence[Task]) -> Sequence[Outcome | DsrError]:
        for match in matches:
            if self.connector.held(match.resource).on_erase is Retained and action == "erase":
                raise ContractError(f"{match.resource} is retained and must not be erased", source=self.source.name)
        api = self._api(*tasks)
        if action == "erase":
            outcomes: Sequence[Outcome | DsrError] = self._call("dsr_delete", api=api, matches=matches)
            return outcomes
        return [self._call("dsr_opt_out", api=api, match=match) for match in matches]

    def _recover(self, tasks: Sequence[Task]) -> Outcome | None:
        """After an interruption: ask the vendor what became of it, where the connector knows how."""
        for task in tasks:
            if task.state == "acting" or task.intent_at is not None:
                outcome: Outcome | None = self._call("dsr_recover", api=self._api(task), match=match_from_json(task.payload))
                return outcome
        return None

    def _poll(self, unit: Unit) -> list[Result]:
        job = unit.tasks[0].job
        answer = self._call("dsr_poll", api=self._api(), job=job)
        if not isinstance(answer, Mapping):
            return [self._acted(task, answer) for task in unit.tasks]
        missing = ContractError("poll answered for other matches, not for this one", source=self.source.name)
        return [self._acted(task, answer[task.payload["id"]]) if task.payload["id"] in answer else Broke(task, missing) for task in unit.tasks]

    def _email(self, task: Task) -> Result:
        if self._post is None:
            raise ConfigError("no mail server is configured", field="mail.host", source=self.source.name, fix="fill in [mail] in dsr.toml")
        with reading(self._ledger.engine) as connection:
            request = self._ledger.cases.requests(connection, [task.case])[task.case]
            known = self._trust(connection, {task.case: request}).get(task.case)
        request = request if known is None else known.of(request)
        if request.type is not RequestType.DELETION:
            raise UnsupportedError("letters ask for deletion only", source=self.source.name)
        letter = self._call("dsr_email", subject=request.subject, type=request.type, letterhead=self._post.letterhead)
        key = self._ledger.vault.fingerprint("operation", task.case, str(task.id)).hex()

        def handing_over() -> None:
            with writing(self._ledger.engine) as connection:
                self._ledger.tasks.begin(connection, [task], datetime.now(UTC), step="handover")
            self._on_step("handover")

        self._on_step("before mail")
        receipt = self._post.send(letter, key=key, before_data=handing_over)
        self._on_step("after mail")
        return Sent(task, receipt.message_id, cc_refused=bool(receipt.refused))


def _line(record: Record, source: str) -> bytes:
    try:
        return json_text({"resource": record.resource, "data": record.data}, allow_nan=False).encode()
    except (TypeError, ValueError):
        raise ContractError(f"a record of {record.resource} is not JSON", source=source) from None


def _bug(action: str, error: BaseException, source: str) -> ContractError:
    """A connector's exception as an error that says where, and repeats no value (an exception's own text often does)."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if "dsr_sdk" not in frame.filename and "site-packages" not in frame.filename), frames[-1])
    return ContractError(
        f"{action} raised {type(error).__name__} at {Path(own.filename).name}:{own.lineno}", source=source, fix="report it to the author"
    )
