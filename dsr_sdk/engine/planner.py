"""Planning: search every data source with every identity it understands, let what is found open further sources, and write the plan.

Searching changes nothing at a vendor, so a plan may be made as often as one likes. Many cases are planned at once, because sources
with a batch lookup search for many people in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from dsr_sdk.connector import Connector, Process, Verb
from dsr_sdk.engine.plan import Deed, Plan, PlannedMatch, PlannedSource, Standing, plan_hash
from dsr_sdk.engine.work import Trust, elsewhere, identities_of, match_from_json
from dsr_sdk.identity import AnyIdentity, ControllerId, VendorId
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.tasks import LIVE, NewTask, Task
from dsr_sdk.registry import DataSource, Registry
from dsr_sdk.request import Request, RequestType, Scope
from dsr_sdk.result import Match, Retained

__all__ = ["Planner", "Trust"]

VERBS: Mapping[RequestType, tuple[Verb, Deed]] = {
    RequestType.DELETION: (Verb.ERASE, Deed.ERASE),
    RequestType.COPY: (Verb.EXPORT, Deed.EXPORT),
    RequestType.DO_NOT_SELL: (Verb.OPT_OUT, Deed.OPT_OUT),
}
"""What a connector is asked for. *Do not mail* and *right to edit* are missing on purpose: people handle them, no connector is called."""

KEPT_UNREAD = timedelta(days=1)
"""How long the result of a search that no plan has read yet stays good."""

LONGEST_CHAIN = 4
"""How many times what one source reveals may open another before planning stops following."""


class Planner:
    """Makes plans for cases over chosen data sources.

    Args:
        drain: Carries out the searches that are due for these cases, at these sources, and returns when they are done or postponed;
            answers the error of each source that was left alone.
        trust: How far the identities of these requests are trusted; cases that it leaves out are trusted.
    """

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        drain: Callable[[Sequence[str]], Mapping[str, str]],
        now: Callable[[], datetime],
        trust: Callable[[Connection, Mapping[str, Request]], Mapping[str, Trust]] = lambda connection, requests: {},
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._drain = drain
        self._now = now
        self._trust = trust
        self._trusted: Mapping[str, Trust] = {}
        self._since = now()
        self._statuses: dict[str, str] = {}
        self._planned_at: dict[str, datetime] = {}

    def plan(self, numbers: Sequence[str], sources: Sequence[str], *, broken: Mapping[str, str] | None = None) -> list[Plan]:
        """Search, and store a new plan for each case.

        Args:
            sources: The data sources to search, by name.
            broken: Data sources that are configured but cannot be used, and why: they stand in the plan as *could not check*.
        """
        with reading(self._ledger.engine) as connection:
            requests = self._ledger.cases.requests(connection, numbers)
            self._trusted = self._trust(connection, requests)
            requests.update({number: known.of(requests[number]) for number, known in self._trusted.items()})
            self._statuses = self._ledger.cases.statuses(connection, numbers)
            self._planned_at = self._ledger.plans.made_at(connection, numbers)
        chosen = [self._registry.sources[name] for name in sources]
        self._since = self._now()
        halted: dict[str, str] = dict(broken or {})
        searching = [number for number in numbers if requests[number].type.automatic]
        if searching:
            self._search(requests, searching, chosen, {number: requests[number].subject.identities for number in searching})
            halted.update(self._drain(searching))
            for _ in range(LONGEST_CHAIN):
                revealed = self._revealed(requests, searching)
                if not revealed or not self._search(requests, list(revealed), chosen, revealed):
                    break
                halted.update(self._drain(searching))
        return self._write(requests, numbers, chosen, halted, broken or {})

    # --- searching -----------------------------------------------------------------------------------------------------------------

    def _search(
        self, requests: Mapping[str, Request], numbers: Sequence[str], chosen: Sequence[DataSource], identities: Mapping[str, Sequence[AnyIdentity]]
    ) -> int:
        """Add the searches that are not there yet; the number added."""
        now = self._now()
        with writing(self._ledger.engine) as connection:
            self._ledger.cases.hold(connection, numbers)  # of two who search at once the second waits for the first one's searches
            usable: dict[tuple[str, str, tuple[str, ...]], Task] = {}
            for task in self._ledger.tasks.of(connection, numbers, actions=["find"]):
                if task.payload is not None and self._still_good(task, now):
                    key = identities_of(task.payload["identities"])[0].key
                    usable[task.case, task.source, key] = task
            new = []
            for number in numbers:
                request = requests[number]
                verb, _ = VERBS[request.type]
                for source in chosen:
                    if source.connector.process is not Process.AUTOMATED or source.connector.supports(verb) is not None:
                        continue
                    for identity in _usable(source.connector, identities.get(number, ())):
                        if (number, source.name, identity.key) not in usable:
                            usable[number, source.name, identity.key] = _PLACEHOLDER
                            payload = {"identities": [identity.model_dump(mode="json")], "scope": request.scope.value}
                            new.append(NewTask(number, source.name, "find", "ready", now, payload))
            self._ledger.tasks.add(connection, new, now)
        return len(new)

    def _revealed(self, requests: Mapping[str, Request], numbers: Sequence[str]) -> dict[str, list[AnyIdentity]]:
        """For each case the identities that sources revealed and that may open others: account ids, and only unambiguous ones."""
        with reading(self._ledger.engine) as connection:
            found = self._ledger.tasks.of(connection, numbers, actions=["find"])
        revealed: dict[str, dict[tuple[str, ...], list[AnyIdentity]]] = {}
        for task in found:
            for identity in _identities_in(task):
                space = identity.key[:-1]
                if identity.expands and not any(given.key[:-1] == space for given in requests[task.case].subject.identities):
                    known = revealed.setdefault(task.case, {}).setdefault(space, [])
                    if all(identity.key != other.key for other in known):
                        known.append(identity)
        return {case: [values[0] for values in spaces.values() if len(values) == 1] for case, spaces in revealed.items()}

    def _still_good(self, task: Task, now: datetime) -> bool:
        """Whether a search need not be made again: it is under way, of this very planning, or finished after the last plan was written
        (planning was interrupted, or a vendor's rate limit let the search through only later). One of another account never is."""
        if task.state in LIVE:
            return True
        source = self._registry.sources.get(task.source)
        if task.state != "done" or task.finished_at is None or (source is not None and elsewhere(task, source)):
            return False
        planned_at = self._planned_at.get(task.case)
        unread = (planned_at is None or task.finished_at > planned_at) and now - task.finished_at < KEPT_UNREAD
        return unread or task.finished_at >= self._since

    # --- writing -------------------------------------------------------------------------------------------------------------------

    def _write(
        self,
        requests: Mapping[str, Request],
        numbers: Sequence[str],
        chosen: Sequence[DataSource],
        halted: Mapping[str, str],
        broken: Mapping[str, str],
    ) -> list[Plan]:
        now = self._now()
        with writing(self._ledger.engine) as connection:
            self._ledger.cases.hold(connection, numbers)
            book = Book(now)
            tasks: dict[tuple[str, str], list[Task]] = {}
            for task in self._ledger.tasks.of(connection, numbers):
                tasks.setdefault((task.case, task.source), []).append(task)
            warnings = self._warnings(connection, requests, numbers)
            bodies = []
            made = []
            for number in numbers:
                request = requests[number]
                rows = tuple(
                    _Source(source, request, tasks, halted.get(source.name), self._trusted.get(number, Trust()), self._since).planned()
                    for source in chosen
                )
                rows += tuple(PlannedSource(name, name, "", Standing.COULD_NOT_CHECK, detail=why) for name, why in broken.items())
                hash_ = plan_hash(self._ledger.vault, number, request.type.value, request.scope.value, rows)
                plan = Plan(0, number, request.type.value, request.scope.value, rows, hash_, now, tuple(warnings.get(number, ())))
                bodies.append((number, hash_, plan.body()))
                made.append(plan)
                counts = {row.source: row.count(*Deed) for row in rows if row.matches}
                book.note(number, "plan.made", "host", hash=hash_, found=counts, complete=plan.complete)
            self._ledger.plans.add(connection, bodies, now)
            self._ledger.cases.set_status(connection, [number for number in numbers if self._statuses[number] == "received"], "planned")
            self._ledger.write(connection, book)
            stored = self._ledger.plans.newest_ids(connection, numbers)
        return [replace(plan, id=stored[plan.case]) for plan in made]

    def _warnings(self, connection: Connection, requests: Mapping[str, Request], numbers: Sequence[str]) -> dict[str, list[str]]:
        """What an agent should know about each case before approving: duplicates, a copy still owed, an earlier erasure."""
        warnings: dict[str, list[str]] = {}
        for number, others in self._ledger.cases.same_people(connection, numbers).items():
            request = requests[number]
            for other in others:
                if other.status in ("done", "shredded"):
                    continue
                if other.type == request.type.value:
                    warnings.setdefault(number, []).append(f"the same person has another open request of this type: {other.number}")
                elif other.type == RequestType.COPY.value and request.type is RequestType.DELETION:
                    text = f"the same person is waiting for a copy: finish {other.number} before deleting what it must contain"
                    warnings.setdefault(number, []).append(text)
        for number, erasures in self._ledger.cases.erased_before(connection, numbers).items():
            warnings.setdefault(number, []).extend(f"the person was erased at {source} on {at:%Y-%m-%d} ({case})" for source, case, at in erasures)
        return warnings


_PLACEHOLDER: Any = object()
_KINDS = {"email": "e-mail address", "phone": "phone number", "controller_id": "customer id", "vendor_id": "id at the vendor"}
_MOVED = "it was pointed at another account while it was searched: search again"


def _usable(connector: Connector, identities: Iterable[AnyIdentity]) -> Iterable[AnyIdentity]:
    """The identities a connector can search by; a vendor's id only at that vendor."""
    for identity in identities:
        if isinstance(identity, connector.identified_by) and not (isinstance(identity, VendorId) and identity.vendor != connector.slug):
            yield identity


def _identities_in(task: Task) -> Iterable[AnyIdentity]:
    """What a finished search revealed about the person, stamped with the source that revealed it."""
    if task.state == "done" and task.payload is not None:
        for row in task.payload.get("matches", ()):
            for identity in identities_of(row.get("identities", ())):
                yield identity.from_source(task.source)


ENTER = "enter it as an identifier if you know it is"
"""How a warning ends that a person may act on by entering an identifier."""


def instructions(connector: Connector, type_: RequestType) -> str:
    """What a person is told to do at a data source that people do: the text for this type of request, or else the general one."""
    own = getattr(connector.config, f"instructions_{type_.value}", None)
    return str(own or getattr(connector.config, "instructions", ""))


class _Source:
    """One data source's part of one case's plan."""

    def __init__(
        self,
        source: DataSource,
        request: Request,
        tasks: Mapping[tuple[str, str], list[Task]],
        halted: str | None,
        trust: Trust,
        since: datetime,
    ) -> None:
        self._source = source
        self._since = since
        self._connector = source.connector
        self._request = request
        self._all = tasks
        self._tasks = tasks.get((request.case, source.name), [])
        self._halted = halted
        self._trust = trust

    def planned(self) -> PlannedSource:
        """Standing, matches and warnings."""
        row = self._standing()
        if row.standing is Standing.BY_HAND or row.standing is Standing.UNSUPPORTED:
            return row
        return replace(row, warnings=(*self._doubts(), *row.warnings))

    def _doubts(self) -> Iterable[str]:
        """What nobody has proven to be the person's, by kind: without a value, for warnings are shown beside the person's data."""
        for kind in dict.fromkeys(identity.kind for identity in _usable(self._connector, self._trust.left_out)):
            yield f"not searched with the {_KINDS[kind]} in the request: it is not proven to be theirs; {ENTER}"
        for kind in dict.fromkeys(identity.kind for identity in _usable(self._connector, self._trust.unsure)):
            yield f"searched with an agent's entry ({_KINDS[kind]}) that no proof covers: make sure that what is found there is theirs"

    def _standing(self) -> PlannedSource:
        row = PlannedSource(self._source.name, self._connector.title, self._connector.slug, Standing.NOTHING_FOUND)
        if not self._request.type.automatic or self._connector.process is Process.MANUAL:
            return replace(row, standing=Standing.BY_HAND, detail=instructions(self._connector, self._request.type))
        verb, _ = VERBS[self._request.type]
        if self._connector.process is Process.EMAIL:
            row = replace(row, title=str(getattr(self._connector.config, "vendor", self._connector.title)))
            if self._request.type is RequestType.DELETION and getattr(self._connector.config, "active", True):
                if not any(isinstance(identity, self._connector.identified_by) for identity in self._request.subject.identities):
                    return self._not_searched(row)
                return replace(row, standing=Standing.BY_EMAIL, calls=1)
            why = "the e-mail integration is not active" if self._request.type is RequestType.DELETION else "letters ask for deletion only"
            return self._by_person(row, why)
        excuse = self._connector.supports(verb)
        if excuse is not None:
            return self._by_person(row, excuse.reason)
        return self._searched(row)

    def _by_person(self, row: PlannedSource, why: str) -> PlannedSource:
        """What a connector cannot do for an erasure or a copy, a person must: left out, it would be silently undone."""
        standing = Standing.UNSUPPORTED if self._request.type is RequestType.DO_NOT_SELL else Standing.BY_HAND
        return replace(row, standing=standing, detail=why)

    def _searched(self, row: PlannedSource) -> PlannedSource:
        newest: dict[tuple[str, ...], Task] = {}
        for task in self._tasks:
            if task.action == "find" and task.payload is not None:
                newest[identities_of(task.payload["identities"])[0].key] = task
        stale = {key: task for key, task in newest.items() if elsewhere(task, self._source)}
        if any(task.finished_at is not None and task.finished_at >= self._since for task in stale.values()):
            return replace(row, standing=Standing.COULD_NOT_CHECK, searched=len(newest), detail=_MOVED)
        newest = {key: task for key, task in newest.items() if key not in stale}
        if not newest:
            return self._not_searched(row)
        unfinished = [task for task in newest.values() if task.state != "done"]
        matches = self._matches(newest.values())
        blind = (f"cannot be searched: {self._connector.blind_spot}",) if self._connector.blind_spot else ()
        if blind and self._connector.blind_spot_erase and self._request.type is RequestType.DELETION:
            blind = (f"{blind[0]}; {self._connector.blind_spot_erase}",)
        warnings = (*blind, *self._warnings(matches))
        if unfinished:
            error = next((task.error for task in unfinished if task.error), None)
            why = str(error["message"]) if error else self._halted or "the search is still under way"
            return replace(row, standing=Standing.COULD_NOT_CHECK, matches=(), searched=len(newest), detail=why)
        standing = Standing.FOUND if matches else Standing.NOTHING_FOUND
        calls = self._calls(matches)
        told = all(task.payload.get("account") for task in newest.values())
        account = self._source.account if matches and told else ""
        return replace(row, standing=standing, matches=matches, searched=len(newest), calls=calls, warnings=warnings, account=account)

    def _not_searched(self, row: PlannedSource) -> PlannedSource:
        names = ", ".join(str(kind.model_fields["kind"].default) for kind in self._connector.identified_by)
        candidates: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for (case, _), tasks in self._all.items():
            if case == self._request.case:
                for task in tasks:
                    for identity in _usable(self._connector, (other for other in _identities_in(task) if other.expands)):
                        candidates.setdefault(identity.key[:-1], set()).add(identity.key)
        if any(len(values) > 1 for values in candidates.values()):
            return replace(
                row,
                standing=Standing.AMBIGUOUS_IDENTIFIER,
                detail=f"other sources know several different {names} for this person: find out which is theirs and add it",
            )
        return replace(row, standing=Standing.MISSING_IDENTIFIER, detail=f"needs one of: {names}")

    def _matches(self, searches: Iterable[Task]) -> tuple[PlannedMatch, ...]:
        planned: dict[tuple[str, str], PlannedMatch] = {}
        for search in searches:
            for data in search.payload.get("matches", ()):
                match = match_from_json(data)
                key = (match.resource, match.id)
                if key not in planned and not self._settled(key, search):
                    deed, note = self._deed(match)
                    planned[key] = PlannedMatch(match.resource, deed, match.count, data, note)
        return tuple(self._along(match, planned.values()) for match in planned.values())

    def _deed(self, match: Match) -> tuple[Deed, str]:
        """What is to be done with a match, and why not more."""
        holds = self._connector.held(match.resource)
        _, deed = VERBS[self._request.type]
        if deed is Deed.ERASE and holds.on_erase is Retained:
            return Deed.RETAIN, holds.text
        if deed is Deed.ERASE and self._request.scope is Scope.APP_DATA and holds.scope is Scope.ACCOUNT:
            return Deed.LEAVE, "belongs to the account, which stays"
        if deed is Deed.EXPORT and not holds.exported:
            return Deed.LEAVE, holds.excuse
        return deed, ""

    def _settled(self, key: tuple[str, str], search: Task) -> bool:
        """Whether an earlier plan has this match in hand. What a later search finds again after its erasure is to be erased again."""
        if self._request.type is RequestType.COPY:
            return False
        for task in self._tasks:
            if task.action not in ("erase", "opt_out") or task.payload is None or elsewhere(task, self._source):
                continue
            if (task.payload["resource"], task.payload["id"]) == key:
                if task.state in LIVE:
                    return True
                if task.state == "done" and task.outcome and task.outcome.get("kind") != "superseded":
                    found_since = search.finished_at is not None and task.finished_at is not None and search.finished_at > task.finished_at
                    if task.outcome.get("kind") in ("retained", "opted_out") or not found_since:
                        return True
        return False

    def _along(self, match: PlannedMatch, planned: Iterable[PlannedMatch]) -> PlannedMatch:
        """A resource that is erased with another needs no call of its own where that other is erased."""
        parent = self._connector.held(match.resource).erased_with
        if match.deed is Deed.ERASE and parent and any(other.resource == parent and other.deed is Deed.ERASE for other in planned):
            return replace(match, deed=Deed.ALONG, note=f"goes with the {parent}")
        return match

    def _warnings(self, matches: Sequence[PlannedMatch]) -> Iterable[str]:
        ids: dict[tuple[str, ...], set[str]] = {}
        for match in matches:
            for identity in identities_of(match.match.get("identities", ())):
                if isinstance(identity, ControllerId | VendorId):
                    ids.setdefault(identity.key[:-1], set()).add(identity.value)
        for space, values in ids.items():
            if len(values) > 1:
                yield f"{len(values)} different accounts ({' '.join(space)}) carry this person's identity: make sure that all of them are theirs"

    def _calls(self, matches: Sequence[PlannedMatch]) -> int:
        acting = [match for match in matches if match.deed in (Deed.ERASE, Deed.EXPORT, Deed.OPT_OUT)]
        return -(-len(acting) // self._connector.batch_size) if acting else 0
