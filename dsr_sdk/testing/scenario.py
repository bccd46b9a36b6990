"""The standard scenario: what a host does with one person at one data source, in order, through the connector's own hooks.

The suite judges it, cassettes are recorded from it and replayed by it, and real recordings are fed into it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsr_sdk.connector import Connector, ConnectorConfig, Verb
from dsr_sdk.errors import ConfigError, ContractError, DsrError, TransientError
from dsr_sdk.http.api import Api
from dsr_sdk.http.client import SourceHttp
from dsr_sdk.http.limits import Pacer
from dsr_sdk.http.retry import RetryPolicy
from dsr_sdk.identity import AnyIdentity, ControllerId, Email, Identity, Phone
from dsr_sdk.request import Subject
from dsr_sdk.result import Match, Outcome, Pending, Record, Retained
from dsr_sdk.testing.sandbox import Person, Sandbox
from dsr_sdk.testing.serve import transport

if TYPE_CHECKING:
    import httpx

    from dsr_sdk.http.reply import Reply

__all__ = [
    "ADA",
    "Exchange",
    "ScenarioHttp",
    "ScenarioReport",
    "World",
    "config_of",
    "erase_all",
    "export_all",
    "find",
    "identity_of",
    "run_scenario",
    "settled",
    "subject_of",
    "world",
]

ADA = Person("ada.lovelace@example.com", "Ada", "Lovelace", "+14155550123", "user-1")
"""The person of every scenario, unless another is given: a reserved domain and a number kept free for fiction."""

ROUNDS = 8
"""How often a job that is not done is asked about again."""

Settle = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of a connector, as it may be spoken of: ``DELETE /v1/customers/{id}`` and what came back."""

    call: str
    status: int | None
    error: str = ""
    url: str = field(default="", repr=False)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.call.partition(" ")[0]


class _Unpaced(Pacer):
    """Lets everything pass at once: no test waits for a rate limit."""

    def reserve(self, method: str, template: str, *, longest: float) -> float:
        return 0.0

    def pause(self, seconds: float) -> None:
        """Nobody waits."""


class _NotingApi(Api):
    """Notes which lists are read page by page."""

    def pages(self, path: str, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Every item of every page."""
        if isinstance(self._http, ScenarioHttp):
            self._http.listed.add(path)
        return super().pages(path, *arguments, **options)


class ScenarioHttp(SourceHttp):
    """The HTTP side of a data source under test: no pacing, no waits between retries, and a list of what was called."""

    def __init__(self, connector: Connector, *, transport: httpx.BaseTransport | None = None) -> None:
        # longest=0: a vendor that asks for seconds is not waited for, the error goes up at once.
        super().__init__(connector, transport=transport, retry=RetryPolicy(attempts=3, longest=0.0, base=0.0), sleep=lambda seconds: None)
        self.pacer = _Unpaced(())
        self.log: list[Exchange] = []
        self.listed: set[str] = set()
        """The lists that were read page by page."""
        self.call = ""
        """The call that is under way."""

    def api(self, *, operation_key: str | None = None) -> Api:
        """What the connector is handed."""
        return _NotingApi(self, operation_key=operation_key)

    def exchange(self, method: str, url: str, *, call: str, **request: Any) -> Reply:
        """Send one request, and note it."""
        self.call = call
        try:
            reply = super().exchange(method, url, call=call, **request)
        except DsrError as error:
            self.log.append(Exchange(call, getattr(error, "status", None), type(error).__name__, url))
            raise
        self.log.append(Exchange(call, reply.status, "", url))
        return reply


def config_of(connector: type[Connector], sandbox: type[Sandbox]) -> ConnectorConfig:
    """The connector's settings that the sandbox lets in.

    Raises:
        ConfigError: The sandbox's ``credentials`` are not settings of the connector.
    """
    try:
        return connector.Config(**sandbox.credentials)
    except ValueError as error:  # pydantic's ValidationError shows no values here, see Model
        raise ConfigError(
            f"{sandbox.__name__}.credentials do not fit {connector.__name__}.Config: {str(error).splitlines()[-1].strip() or error}",
            source=connector.slug,
            fix="name each setting of Config that is needed, and only those",
        ) from None


@dataclass
class World:
    """A sandbox with people in it, and a connector configured to talk to it in process."""

    sandbox: Sandbox
    connector: Connector
    http: ScenarioHttp

    @property
    def effects(self) -> dict[str, int]:
        """The sandbox's effects so far."""
        return dict(self.sandbox.effects)


@contextmanager
def world(
    connector: type[Connector],
    sandbox: type[Sandbox],
    *people: Person,
    config: ConnectorConfig | None = None,
    through: Callable[[httpx.BaseTransport], httpx.BaseTransport] | None = None,
) -> Iterator[World]:
    """A fresh sandbox holding `people`, and the connector in front of it. The sandbox's rate limits are off: pacing is tested elsewhere.

    Args:
        through: Wraps the sandbox's transport, to look at what passes or to change it.
    """
    fake = sandbox()
    fake.limits = []
    fake.seed(people)
    source = connector(config or config_of(connector, sandbox))
    wire: httpx.BaseTransport = transport(fake)
    http = ScenarioHttp(source, transport=through(wire) if through else wire)
    try:
        yield World(fake, source, http)
    finally:
        http.close()


def identity_of(connector: type[Connector], person: Person, kind: type[Identity] | None = None) -> Email | Phone | ControllerId | None:
    """The person's identity of a kind the connector can search by (the first, unless `kind` is given); None when there is none."""
    for wanted in (kind,) if kind else connector.identified_by:
        if wanted is Email and person.email:
            return Email(value=person.email)
        if wanted is Phone and person.phone:
            return Phone(value=person.phone)
        if wanted is ControllerId and person.user_id:
            return ControllerId(value=person.user_id)
    return None


def subject_of(person: Person, identity: AnyIdentity) -> Subject:
    """The data subject as a host hands it to `find`: one identity to search by, and the name."""
    return Subject.of(person.email or None, first_name=person.first_name, last_name=person.last_name, user_id=person.user_id or None).narrowed(
        identity
    )


# --- the steps ---------------------------------------------------------------------------------------------------------------------


def find(connector: Connector, http: SourceHttp, subject: Subject) -> list[Match]:
    """What `dsr_find` answers for one person."""
    return list(connector.dsr_find(http.api(), [subject])[0])


def erasable(connector: Connector, matches: Sequence[Match]) -> list[Match]:
    """The matches a host asks to erase: not what is retained, nor what goes along with another match."""
    present = {match.resource for match in matches}

    def asked(resource: str) -> bool:
        held = connector.held(resource)
        return held.on_erase is not Retained and (held.erased_with == resource or held.erased_with not in present)

    return [match for match in matches if asked(match.resource)]


Result = tuple[Match, Outcome | DsrError]


def erase_all(connector: Connector, http: SourceHttp, matches: Sequence[Match], *, key: str = "scenario", size: int | None = None) -> list[Result]:
    """Erase what is to be erased as a host does it: in batches where the connector takes them, one by one otherwise. An error is the
    result of the matches it struck; the others go on. `size` makes smaller batches than the connector declares."""
    todo = erasable(connector, matches)
    size = min(connector.batch_size, size or connector.batch_size) if callable(getattr(connector, "erase_many", None)) else 1
    results: list[Result] = []
    for start in range(0, len(todo), size):
        batch = todo[start : start + size]
        outcomes: Sequence[Outcome | DsrError]
        try:
            outcomes = connector.dsr_delete(http.api(operation_key=f"{key}-{start}"), batch)
        except DsrError as error:
            outcomes = [error] * len(batch)
        results.extend(zip(batch, outcomes, strict=True))
    return results


def settled(connector: Connector, http: SourceHttp, results: Sequence[Result], settle: Settle | None) -> list[Result]:
    """The results once their jobs have been asked about: first at once, then after time has passed. What never ends stays `Pending`."""
    ended: dict[str, Outcome | Mapping[str, Outcome]] = {}
    out: list[Result] = []
    for match, result in results:
        if isinstance(result, Pending):
            if result.job not in ended:
                ended[result.job] = _polled(connector, http, result.job, settle)
            answer = ended[result.job]
            missing = ContractError("poll answered for other matches, not for this one", source=connector.name)
            result = answer.get(match.id, missing) if isinstance(answer, Mapping) else answer
        out.append((match, result))
    return out


def _polled(connector: Connector, http: SourceHttp, job: str, settle: Settle | None) -> Outcome | Mapping[str, Outcome]:
    for _ in range(ROUNDS):
        answer = connector.dsr_poll(http.api(), job)
        pending = [outcome for outcome in (answer.values() if isinstance(answer, Mapping) else (answer,)) if isinstance(outcome, Pending)]
        if not pending:
            break
        job = pending[0].job
        if settle is not None:
            settle()
    return answer


def export_all(connector: Connector, http: SourceHttp, matches: Sequence[Match], settle: Settle | None = None) -> list[Record]:
    """Every record behind the matches. A copy that the vendor prepares first (`TransientError` with ``retry_after``) is asked for again."""
    records: list[Record] = []
    for match in matches:
        if not connector.held(match.resource).exported:
            continue
        for left in reversed(range(ROUNDS)):
            try:
                mine = list(connector.dsr_export(http.api(), match))
            except TransientError as error:
                if error.retry_after is None or not left:
                    raise
                if settle is not None:
                    settle()
            else:
                records.extend(mine)
                break
    return records


@dataclass
class ScenarioReport:
    """What happened in one run of the scenario."""

    check: str = ""
    found: list[Match] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    opted_out: list[Outcome] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    """Outcomes after settling, or the error that struck a match."""
    found_again: list[Match] | None = None
    """What `find` answered after the erasure; None when nothing was erased."""

    def conclusion(self) -> dict[str, Any]:
        """What was concluded, in counts and kinds: no ids, no data. The same for a recording and for its replay."""
        said: dict[str, Any] = {"found": _count(match.resource for match in self.found)}
        if self.records:
            said["copied"] = _count(record.resource for record in self.records)
        if self.opted_out:
            said["opted_out"] = _count(outcome.kind for outcome in self.opted_out)
        if self.results:
            said["outcomes"] = _count(f"{match.resource} {_word(result)}" for match, result in self.results)
        if self.found_again is not None:
            said["found_again"] = _count(match.resource for match in self.found_again)
        return said


def _count(words: Iterator[str] | Any) -> Mapping[str, int]:
    return dict(sorted(Counter(words).items()))


def _word(result: Outcome | DsrError) -> str:
    return result.kind if isinstance(result, Outcome) else type(result).__name__


def run_scenario(
    connector: Connector,
    http: SourceHttp,
    subject: Subject,
    settle: Settle | None = None,
    *,
    verbs: Collection[Verb] = (Verb.EXPORT, Verb.ERASE),
) -> ScenarioReport:
    """Check, find, copy, opt out, erase, ask about jobs until they end, and find again: each of it that `verbs` ask for and the connector has.

    Args:
        settle: Lets time pass, so that jobs come due (a sandbox's ``advance``); None when the answers are recorded.
        verbs: What to do beside finding.

    Raises:
        DsrError: From checking, finding, copying or polling. An error of an erasure is its match's result.
    """
    able = {verb for verb in verbs if connector.supports(verb) is None}
    report = ScenarioReport(check=connector.dsr_check(http.api()))
    report.found = find(connector, http, subject)
    if Verb.EXPORT in able:
        report.records = export_all(connector, http, report.found, settle)
    if Verb.OPT_OUT in able:
        report.opted_out = [connector.dsr_opt_out(http.api(operation_key=f"opt-out-{i}"), match) for i, match in enumerate(report.found)]
    if Verb.ERASE in able:
        report.results = settled(connector, http, erase_all(connector, http, report.found), settle)
        if settle is not None:
            settle()  # a vendor's index may lag behind its answer
        report.found_again = find(connector, http, subject)
    return report
