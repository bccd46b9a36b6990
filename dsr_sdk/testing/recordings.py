"""Real vendors' recorded answers, fed to a connector: how would it have read them?

Recordings that others published name other people and other ids, so an interaction is matched by method and by the *shape* of its path. The
connector's own calls are learnt by watching it work against its sandbox. Then, for every recorded answer to one of those calls, the verb in
which the call occurs is carried out once more with that answer in its place, and the conclusion is judged by what the vendor had said.

    report = replay_recordings(Stripe, Path("recordings/stripe"), sandbox=StripeSandbox)
    print(report)
    assert not report.failed
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from dsr_sdk.connector import Connector, Verb
from dsr_sdk.errors import ConfigError, DsrError
from dsr_sdk.result import Pending
from dsr_sdk.testing._recorded import Recorded, judge, read
from dsr_sdk.testing.sandbox import Person, Sandbox
from dsr_sdk.testing.scenario import ADA, ScenarioHttp, World, erase_all, export_all, find, identity_of, settled, subject_of, world
from dsr_sdk.testing.serve import transport

if TYPE_CHECKING:
    import httpx

    from dsr_sdk.http.reply import Reply

__all__ = ["Report", "Row", "replay_recordings"]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one recorded interaction in one verb.

    Attributes:
        verdict: ``ok``, ``not ok``, or ``not applicable``: the connector makes no such call, or the recording is damaged.
    """

    file: str
    number: int
    verb: str
    call: str
    status: int
    conclusion: str
    verdict: str

    def __str__(self) -> str:
        return f"  {self.verdict:8} {self.verb:7} {self.call} <- {self.status}: {self.conclusion}  [{self.file} #{self.number}]"


@dataclass
class Report:
    """Every recorded interaction and what the connector made of it."""

    connector: str
    calls: list[str] = field(default_factory=list)
    """The calls the connector makes, by verb: what could be matched at all."""
    rows: list[Row] = field(default_factory=list)

    @property
    def failed(self) -> list[Row]:
        """The rows that are not ok."""
        return [row for row in self.rows if row.verdict == "not ok"]

    @property
    def counts(self) -> dict[str, int]:
        """Rows by verdict."""
        return {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in ("ok", "not ok", "not applicable")}

    def __str__(self) -> str:
        said = [f"{self.connector}: " + ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items())]
        said += [
            f"  {row.verdict:8} {row.verb:7} {row.call} <- {row.status}: {row.conclusion}  [{row.file} #{row.number}]"
            for row in self.rows
            if row.verb
        ]
        left = Counter(f"{row.call}: {row.conclusion}" for row in self.rows if not row.verb)
        said += [f"  not applicable {count}x {what}" for what, count in left.most_common()]
        return "\n".join(said)


@dataclass(frozen=True)
class _Known:
    """A call the connector was seen to make, with the sandbox's answer to it."""

    verb: str
    call: str
    url: str
    answer: Reply

    @property
    def method(self) -> str:
        return self.call.partition(" ")[0]

    def shape(self, base: str) -> re.Pattern[str]:
        template = urlsplit(base).path.rstrip("/") + self.call.partition(" ")[2]
        return re.compile("".join("([^/]+)" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^{}]*\})", template)))

    @property
    def slots(self) -> int:
        return self.call.count("{")


class _Spy(ScenarioHttp):
    """Notes every call with its answer."""

    verb = ""

    def __init__(self, connector: Connector, transport: httpx.BaseTransport) -> None:
        super().__init__(connector, transport=transport)
        self.known: dict[tuple[str, str], _Known] = {}

    def exchange(self, method: str, url: str, *, call: str, **request: Any) -> Reply:
        reply = super().exchange(method, url, call=call, **request)
        self.known.setdefault((self.verb, call), _Known(self.verb, call, url, reply))
        return reply


def replay_recordings(
    connector: type[Connector],
    directory: Path,
    *,
    sandbox: type[Sandbox] | None = None,
    person: Person = ADA,
    settle: Callable[[Sandbox], object] | None = None,
) -> Report:
    """Feed every recorded answer in a directory of vcrpy files to the connector.

    Args:
        sandbox: Answers the other calls; unless given, the installed one of the same slug (entry point group ``dsr_sdk.sandboxes``).
        person: Who is in the sandbox; with ``extra`` the connector makes more of its calls.

    Raises:
        ConfigError: There is no sandbox, or no recording.
    """
    fake = sandbox or _installed(connector.slug)
    wait = settle or (lambda one: one.advance(60 * 86_400.0))
    known = _learn(connector, fake, person, wait)
    report = Report(connector.slug, sorted({f"{one.verb}: {one.call}" for one in known}))
    with world(connector, fake) as w:
        base = w.http.base_url
    for recorded in read(Path(directory)):
        mine = _calls_of(recorded, known, base)
        if not mine or recorded.damaged:
            why = "its JSON was damaged by replacing secrets" if recorded.damaged else "the connector makes no such call"
            shape = re.sub(r"/(?=[^/]*[\d@%<])[^/]+", "/*", recorded.path)
            report.rows.append(Row(recorded.file, recorded.number, "", f"{recorded.method} {shape}", recorded.status, why, "not applicable"))
        for one in () if recorded.damaged else mine:
            report.rows.append(_try(connector, fake, person, wait, known, one, recorded, base))
    if not report.rows:
        raise ConfigError("holds no recording", source=str(directory))
    return report


def _installed(slug: str) -> type[Sandbox]:
    for point in entry_points(group="dsr_sdk.sandboxes"):
        if point.name == slug:
            found: type[Sandbox] = point.load()
            return found
    raise ConfigError("no sandbox is installed", source=slug, fix="give sandbox=")


# --- what the connector calls, and what was recorded -------------------------------------------------------------------------------


def _learn(connector: type[Connector], sandbox: type[Sandbox], person: Person, settle: Callable[[Sandbox], object]) -> list[_Known]:
    known: list[_Known] = []
    for verb in ("check", "find", "export", "erase"):
        if verb in ("export", "erase") and connector.supports(Verb(verb)) is not None:
            continue
        with world(connector, sandbox, person) as w:
            spy = _Spy(w.connector, transport(w.sandbox))
            _carry_out(w, spy, verb, person, settle, spy)
            spy.close()
            known += spy.known.values()
    return known


def _carry_out(w: World, http: ScenarioHttp, verb: str, person: Person, settle: Callable[[Sandbox], object], spy: _Spy | None = None) -> Any:
    """Do one verb, everything before it with the sandbox alone."""

    def now(name: str) -> None:
        if spy is not None:
            spy.verb = name

    identity = identity_of(type(w.connector), person)
    if identity is None:
        raise ConfigError("the person has no identity the connector searches by", source=w.connector.slug, fix="give person=")
    subject = subject_of(person, identity)
    now(verb)
    if verb == "check":
        return w.connector.dsr_check(http.api())
    if verb == "find":
        return find(w.connector, http, subject)
    matches = find(w.connector, w.http, subject)
    if verb == "export":
        return export_all(w.connector, http, matches, lambda: settle(w.sandbox))
    results = erase_all(w.connector, http if verb == "erase" else w.http, matches)
    if any(isinstance(result, Pending) for _, result in results):
        now("poll")
        results = settled(w.connector, http if verb == "poll" or spy else w.http, results, lambda: settle(w.sandbox))
    return results


def _calls_of(recorded: Recorded, known: Sequence[_Known], base: str) -> list[_Known]:
    fitting = [one for one in known if one.method == recorded.method and one.shape(base).fullmatch(recorded.path)]
    fewest = min((one.slots for one in fitting), default=0)  # a literal path is not an id
    return [one for one in fitting if one.slots == fewest]


# --- one recorded answer in its place ----------------------------------------------------------------------------------------------


def _try(
    connector: type[Connector],
    sandbox: type[Sandbox],
    person: Person,
    settle: Callable[[Sandbox], object],
    known: Sequence[_Known],
    one: _Known,
    recorded: Recorded,
    base: str,
) -> Row:
    body = _adapted(recorded, one, person, base)
    with world(connector, sandbox, person) as w:
        feed = _feeder(w, known, one, recorded, body, base)
        http = ScenarioHttp(w.connector, transport=feed)
        try:
            result = _carry_out(w, http, one.verb, person, settle)
        except DsrError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - whatever a connector trips over is what is looked for
            result = error
        finally:
            http.close()
        fed = feed.fed  # type: ignore[attr-defined]  # set by _feeder
    if not fed:
        verdict, conclusion = "not applicable", "the verb ended before this call"
    else:
        fine, conclusion = judge(one.verb, recorded.status, body, result, person, fed[0])
        verdict = "ok" if fine else "not ok"
    return Row(recorded.file, recorded.number, one.verb, one.call, recorded.status, conclusion, verdict)


def _adapted(recorded: Recorded, one: _Known, person: Person, base: str) -> bytes:
    """The recorded body, about the sandbox's person and ids: the address asked about, and the ids in the path."""
    text = recorded.body.decode("utf-8", "surrogateescape")
    address = recorded.person()
    if address and person.email:
        text = text.replace(address, person.email).replace(quote(address, safe=""), quote(person.email, safe=""))
    shape = one.shape(base)
    theirs, ours = shape.fullmatch(recorded.path), shape.fullmatch(urlsplit(one.url).path)
    for old, new in zip(theirs.groups(), ours.groups(), strict=True) if theirs and ours else ():
        was, now = unquote(old), unquote(new)
        if was.isdigit() <= now.isdigit():  # a number stays one, or the JSON around it breaks
            text = now.join(re.split(rf"(?<!\w){re.escape(was)}(?!\w)", text))
    return text.encode("utf-8", "surrogateescape")


def _feeder(w: World, known: Sequence[_Known], one: _Known, recorded: Recorded, body: bytes, base: str) -> httpx.BaseTransport:
    import httpx

    inner = transport(w.sandbox)

    class Feeder(httpx.BaseTransport):
        """The recorded answer to its call (an error to every try, an answer once), the sandbox's to the others; and where the sandbox does
        not know the recording's ids, what it said to the same call about its own."""

        def __init__(self) -> None:
            self.fed: list[str] = []

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            path = request.url.raw_path.decode("ascii").partition("?")[0]
            calls = [other for other in known if other.method == request.method and other.shape(base).fullmatch(path)]
            here = min(calls, key=lambda other: other.slots, default=None)
            if here is not None and here.call == one.call and (not self.fed or (recorded.status >= 400 and path in self.fed)):
                self.fed.append(path)
                return httpx.Response(recorded.status, headers=dict(recorded.headers), content=body)
            answer = inner.handle_request(request)
            if answer.status_code >= 400 and here is not None and self.fed:
                return httpx.Response(here.answer.status, headers=dict(here.answer.headers), content=here.answer.content)
            return answer

    return Feeder()
