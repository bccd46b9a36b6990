"""A sandbox: a small fake of a vendor's API, with state, that stands beside each connector.

It is what cassettes are recorded against, what the demo runs on, what faults are injected into, and what a host application may use in
its own tests. It behaves as the vendor is known to behave (the connector's README says where from), and it is not the vendor.

    class AcmeSandbox(Sandbox):
        slug, title = "acme", "Acme"
        credentials = {"token": "sandbox-token"}     # what a data source must be configured with to get in

        @route("GET", "/v1/contacts")
        def contacts(self, call: Call) -> Answer:
            return Answer.json({"data": [...]})
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["Answer", "Call", "Fault", "Person", "Sandbox", "Window", "route"]


@dataclass(frozen=True)
class Person:
    """A made-up person to put into sandboxes; every sandbox stores what its vendor would.

    Attributes:
        email: Under a reserved domain (RFC 2606).
        user_id: The controller's own id of the person.
        extra: What a particular sandbox understands beyond this, under its slug (``{"stripe": {"invoices": 3}}``).
    """

    email: str
    first_name: str = ""
    last_name: str = ""
    phone: str = ""
    user_id: str = ""
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_vendor(self, slug: str) -> Mapping[str, Any]:
        """The extra wishes for one vendor."""
        return self.extra.get(slug, {})


@dataclass
class Call:
    """A request as the sandbox sees it. Header names are lower case; `ids` holds the values of the route's slots, decoded."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes = b""
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, str]:
        """The query parameters (the last of several with one name)."""
        return dict(self.query)

    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def form(self) -> dict[str, str]:
        """The body as an HTML form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass
class Answer:
    """A response. `breakage` makes the server misbehave on the wire: ``reset``, ``reset_mid_body``, ``stall``, ``cut``."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    breakage: str = ""

    @classmethod
    def json(cls, data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """A JSON answer."""
        return cls(status, json.dumps(data, ensure_ascii=False).encode(), {"Content-Type": "application/json", **(headers or {})})

    @classmethod
    def text(cls, text: str, status: int = 200, content_type: str = "text/plain") -> Answer:
        """A plain-text answer."""
        return cls(status, text.encode(), {"Content-Type": content_type})

    @classmethod
    def empty(cls, status: int = 204) -> Answer:
        """An answer without a body."""
        return cls(status)


@dataclass
class Fault:
    """Something that goes wrong on purpose.

    Attributes:
        kind: ``status`` (with `status`), ``reset`` (before an answer), ``reset_mid_body``, ``stall`` (no answer), ``cut`` (JSON cut in half),
            ``html`` (a web page with 200, or with `status`), ``redirect`` (to another host), ``huge`` (a body of `size` bytes), ``deep`` (JSON nested
            100,000 levels), ``drop_after`` (the effect happens, then the connection breaks).
        on: Only paths that begin so; empty for all.
        method: Only this method; empty for all.
        times: How often; -1 for ever.
        after: How many matching calls pass first.
    """

    kind: str
    on: str = ""
    method: str = ""
    times: int = 1
    after: int = 0
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    size: int = 64 * 1024 * 1024

    def takes(self, call: Call) -> bool:
        """Whether it strikes this call; counts down."""
        if self.times == 0 or not call.path.startswith(self.on) or (self.method and self.method != call.method):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Window:
    """A vendor's rate limit as the sandbox enforces it: at most `calls` in any `per` seconds, for paths that begin with `on`."""

    calls: int
    per: float
    on: str = ""
    method: str = ""
    seen: deque[float] = field(default_factory=deque)

    def admit(self, call: Call, now: float) -> float:
        """0 when the call may pass, otherwise the seconds until it might."""
        if not call.path.startswith(self.on) or (self.method and self.method != call.method):
            return 0.0
        while self.seen and now - self.seen[0] >= self.per:
            self.seen.popleft()
        if len(self.seen) >= self.calls:
            return self.per - (now - self.seen[0])
        self.seen.append(now)
        return 0.0

    @property
    def left(self) -> int:
        """Calls left in the window."""
        return max(0, self.calls - len(self.seen))


_Handler = TypeVar("_Handler", bound=Callable[..., Any])


def route(method: str, path: str) -> Callable[[_Handler], _Handler]:
    """Marks a sandbox's method as the answer to a request; ``{slot}`` in the path matches one segment (``{slot:path}`` several)."""

    def mark(handler: _Handler) -> _Handler:
        routes: list[tuple[str, str]] = getattr(handler, "_routes", [])
        handler._routes = [*routes, (method, path)]  # type: ignore[attr-defined]  # an attribute of our own on a function
        return handler

    return mark


def _pattern(path: str) -> re.Pattern[str]:
    pieces = re.split(r"(\{[a-z_]+(?::path)?\})", path)
    return re.compile("".join(_slot(piece) if piece.startswith("{") else re.escape(piece) for piece in pieces))


def _slot(piece: str) -> str:
    name, _, kind = piece[1:-1].partition(":")
    return f"(?P<{name}>{'.+' if kind else '[^/]+'})"


class Sandbox:
    """Base class of the vendors' fakes. Thread-safe: one request is answered at a time.

    A subclass gives routes, and overrides `add_person`, `holds`, `authorised`, `denied`, `too_many` and `no_route` with the vendor's own
    behaviour; `records` where the connector copies, `add_records` where its copies read lists, `refuse` where it erases in batches, `opted_out`
    where it opts out.
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    credentials: ClassVar[Mapping[str, str]] = {}
    """Settings of the connector, by name, that let it in: made-up secrets."""
    windows: ClassVar[tuple[tuple[int, float, str, str], ...]] = ()
    """Rate limits: (calls, seconds, path prefix, method)."""

    _table: ClassVar[list[tuple[str, re.Pattern[str], str]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        table = []
        for name in dir(cls):
            for method, path in getattr(getattr(cls, name), "_routes", ()):
                table.append((method, _pattern(path), path, name))
        # Literal paths win over slots, as in every router: fewer slots first.
        table.sort(key=lambda row: (row[2].count("{"), -len(row[2])))
        cls._table = [(method, pattern, name) for method, pattern, _, name in table]

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.faults: list[Fault] = []
        self.effects: Counter[str] = Counter()
        """Effects that must not happen twice, counted: ``erase cus_1`` -> 1."""
        self.calls: Counter[str] = Counter()
        """Requests by method and the name of the method that answers them: ``GET search`` -> 3."""
        self.refused = 0
        """Requests answered with 429 by a rate limit."""
        self.limits = [Window(*row) for row in self.windows]
        self._shift = 0.0

    # --- the clock: vendors take days, tests do not -------------------------------------------------------------------------------

    def now(self) -> float:
        """The sandbox's time, Unix seconds."""
        return time.time() + self._shift

    def advance(self, seconds: float) -> None:
        """Let so much time pass: jobs with a lag come due."""
        self._shift += seconds

    def finish_jobs(self) -> None:
        """End every job that is under way, however long the vendor takes for it; the clock stays where it is. For demonstrations that nobody
        waits days for. Overridden where there are jobs."""

    # --- what a vendor's fake overrides --------------------------------------------------------------------------------------------

    def add_person(self, person: Person) -> None:
        """Store a person as the vendor would."""
        raise NotImplementedError(f"{type(self).__name__} stores nobody")  # abstract: a sandbox without people is none

    def holds(self, email: str) -> bool:
        """Whether anything that should have been erased is still there for this address. Used by tests to look behind the API."""
        raise NotImplementedError(f"{type(self).__name__} cannot look behind its API")  # abstract likewise

    def refuse(self, email: str) -> bool:
        """From now on the vendor erases everybody but this person, in the way in which it really refuses one of many: a hold, an open order, an
        address it calls invalid. Answers whether the vendor says so; False when the person just stays. Required where the connector has
        `erase_many`: only so can be seen that each one of a batch is told their own outcome."""
        raise NotImplementedError(f"{type(self).__name__} refuses nobody: write refuse(email), as this vendor refuses one of a batch")

    def opted_out(self, email: str) -> bool:
        """Whether there is somebody with this address, and nothing of theirs is sold or shared any more. Like `holds` a look behind the API.
        Required where the connector has `opt_out`."""
        raise NotImplementedError(f"{type(self).__name__} does not tell who opted out: write opted_out(email), a look behind its API")

    def records(self, email: str) -> Mapping[str, int]:
        """How many records of each resource are really there of this person, by the names in the connector's ``holds``: so many a copy has to
        hold, and so many an erasure has to take or to leave. A look behind the API like `holds`, and what outlives its owner (an invoice) is
        counted when the owner is gone, too. Required where the connector has `export`."""
        raise NotImplementedError(f"{type(self).__name__} does not tell what it holds: write records(email), how many there are of each resource")

    def add_records(self, email: str, count: int) -> None:
        """Let there be more records of everything of which the vendor keeps several about one person (visits, invoices): `count` at least, and more
        than fit a page. Required where the connector's `export` reads lists."""
        raise NotImplementedError(f"{type(self).__name__} has no long lists: write add_records(email, count), so that a second page is needed")

    def authorised(self, call: Call) -> bool:
        """Whether the credentials are right."""
        return True

    def denied(self, call: Call) -> Answer:
        """The vendor's 401."""
        return Answer.json({"error": "unauthorized"}, 401)

    def too_many(self, call: Call, wait: float) -> Answer:
        """The vendor's 429."""
        return Answer.json({"error": "rate_limited"}, 429, {"Retry-After": str(max(1, round(wait + 0.5)))})

    def no_route(self, call: Call) -> Answer:
        """The vendor's 404 for a path that does not exist."""
        return Answer.json({"error": "not_found"}, 404)

    def finish(self, call: Call, answer: Answer) -> Answer:
        """A last look at every answer: the vendor's rate headers, a request id."""
        return answer

    # --- answering -----------------------------------------------------------------------------------------------------------------

    def seed(self, people: Iterable[Person]) -> None:
        """Store several people."""
        with self.lock:
            for person in people:
                self.add_person(person)

    def effect(self, what: str) -> None:
        """Count an effect that must happen once."""
        self.effects[what] += 1

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Answer one request (`url` is a path with its query, or a whole URL)."""
        parts = urlsplit(url)
        call = Call(method, parts.path, parse_qsl(parts.query, keep_blank_values=True), {key.lower(): value for key, value in headers.items()}, body)
        with self.lock:
            fault = next((fault for fault in self.faults if fault.takes(call)), None)
            if fault is not None and fault.kind != "drop_after":
                return self._fail(fault, call)
            answer = self.finish(call, self._answer(call))
            if fault is not None:
                answer.breakage = "reset"
            return answer

    def _answer(self, call: Call) -> Answer:
        if not self.authorised(call):
            return self.denied(call)
        now = time.monotonic()
        for window in self.limits:
            wait = window.admit(call, now)
            if wait > 0:
                self.refused += 1
                return self.too_many(call, wait)
        for method, pattern, name in self._table:
            if method == call.method:
                match = pattern.fullmatch(call.path)
                if match:
                    call.ids = {key: unquote(value) for key, value in match.groupdict().items()}
                    self.calls[f"{method} {name}"] += 1
                    answer = getattr(self, name)(call)
                    return answer if isinstance(answer, Answer) else Answer.json(answer)
        return self.no_route(call)

    def _fail(self, fault: Fault, call: Call) -> Answer:
        kind = fault.kind
        if kind == "status":
            if fault.body is not None:
                return Answer(fault.status, fault.body.encode(), {"Content-Type": "application/json", **fault.headers})
            if fault.status == 401:
                return self.denied(call)
            if fault.status == 404:
                return self.no_route(call)
            answer = Answer.json({"error": "injected"}, fault.status)
            answer.headers.update(fault.headers)
            return answer
        if kind == "html":
            return Answer.text("<!doctype html><title>Maintenance</title>", fault.status if fault.status != 503 else 200, "text/html")
        if kind == "redirect":
            return Answer(302, b"", {"Location": "https://elsewhere.example/"})
        if kind == "huge":
            return Answer(200, b'{"data": "' + b"a" * fault.size + b'"}', {"Content-Type": "application/json"})
        if kind == "deep":
            return Answer(200, b"[" * 100_000, {"Content-Type": "application/json"})
        if kind == "cut":
            answer = self.finish(call, self._answer(call))
            answer.body = answer.body[: max(1, len(answer.body) // 2)] or b'{"da'
            return answer
        if kind in ("reset", "stall"):
            return Answer(breakage=kind)
        if kind == "reset_mid_body":
            answer = self.finish(call, self._answer(call)) if call.method == "GET" else Answer.json({"cut": "off"})
            answer.breakage = kind
            return answer
        raise ValueError(f"there is no fault {kind!r}")
