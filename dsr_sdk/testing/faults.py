"""What goes wrong at vendors, as a table: each fault against each verb, and the error it has to become.

The one thing that must never happen is that a fault is read as an answer: an empty find, a clean outcome, a copy that is silently short.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dsr_sdk.errors import AuthError, ConfigError, DsrError, RejectedError, TransientError
from dsr_sdk.http.client import MAX_BODY_BYTES
from dsr_sdk.result import Failed, Match, Outcome
from dsr_sdk.testing.sandbox import Fault
from dsr_sdk.testing.scenario import Result, ScenarioHttp, World, erase_all, find

__all__ = [
    "CASES",
    "GONE",
    "LIKE",
    "Expected",
    "FaultCase",
    "broken",
    "closed_port",
    "erase_with",
    "find_with",
    "judge",
    "judge_erasure",
    "keys",
    "once",
    "strike",
]

Expected = type[DsrError] | tuple[type[DsrError], ...] | None
"""The error a fault has to become; None when it may be read as an answer (a 404 that means *nobody here*)."""

LIKE: Final = {"poll": "erase", "batch": "erase", "opt_out": "erase", "check": "find"}
"""The verb whose column of the table holds for another one."""

GONE: Final = "status 404"
"""The row that means something else to each verb."""

ENDLESS: Final = -1
RETRY_AFTER: Final = 7.0


@dataclass(frozen=True)
class FaultCase:
    """One row of the table.

    Attributes:
        fault: The arguments of `Fault`; empty for a refused connection.
        find, erase, export: What each verb has to make of it.
        recovers: It goes away by itself: a repeated call succeeds.
        everywhere: Also tried at a verb's later calls, where it must not pass unnoticed either.
        lies: It looks like a vendor's honest answer, so that an erasure may believe it.
    """

    name: str
    fault: Mapping[str, Any]
    find: Expected
    erase: Expected
    export: Expected
    recovers: bool = False
    everywhere: bool = True
    lies: bool = False

    def __str__(self) -> str:
        return self.name

    def expected(self, verb: str) -> Expected:
        """What `verb` has to make of it."""
        if verb in ("check", "poll", "batch") and self.name == GONE:
            return _LATE
        found: Expected = getattr(self, LIKE.get(verb, verb))
        return found


def _row(name: str, expected: Expected, *, recovers: bool = False, everywhere: bool = True, **fault: Any) -> FaultCase:
    return FaultCase(name, {"times": ENDLESS, **fault} if fault else {}, expected, expected, expected, recovers, everywhere)


_LATE: Final = (RejectedError, ConfigError)

CASES: Final = (
    _row("status 401", AuthError, kind="status", status=401),
    _row("status 403", AuthError, kind="status", status=403),
    # A 404 says "wrong base URL" while finding and "gone" while erasing; the second has a check of its own in the suite. Of a whole batch it
    # cannot say whose it is, and of a job it says that nobody knows it: neither is an erasure.
    FaultCase("status 404", {"kind": "status", "status": 404, "times": ENDLESS}, ConfigError, None, _LATE, everywhere=False, lies=True),
    _row("status 409", RejectedError, kind="status", status=409, everywhere=False),
    _row("status 422", RejectedError, kind="status", status=422, everywhere=False),
    _row("status 429 with Retry-After", TransientError, kind="status", status=429, headers={"Retry-After": f"{RETRY_AFTER:g}"}),
    _row("status 429", TransientError, kind="status", status=429),
    _row("status 500", TransientError, kind="status", status=500),
    _row("status 503 once", TransientError, kind="status", status=503, times=1, recovers=True),
    _row("refused", TransientError, everywhere=False),
    _row("reset", TransientError, kind="reset"),
    _row("reset mid body", TransientError, kind="reset_mid_body"),
    _row("stall", TransientError, kind="stall"),
    # An erasure need not read its answer: 200 is 200. So a broken body is only demanded to be noticed where it is read.
    FaultCase("cut", {"kind": "cut", "times": ENDLESS}, TransientError, None, TransientError),
    _row("html", ConfigError, kind="html"),
    _row("redirect", ConfigError, kind="redirect"),
    _row("huge", RejectedError, kind="huge", size=MAX_BODY_BYTES + 1, times=1, everywhere=False),
    FaultCase("deep", {"kind": "deep", "times": ENDLESS}, TransientError, None, TransientError, lies=True),
)
"""The table. `Fault` says what each kind does."""


def once(case: FaultCase) -> FaultCase:
    """The same, and it strikes a single call."""
    return replace(case, fault={**case.fault, "times": 1})


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port on loopback where a connection is refused: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextlib.contextmanager
def broken(world: World, case: FaultCase, position: int = 0) -> Iterator[ScenarioHttp]:
    """The world's HTTP side while the fault strikes the verb's call number `position` and those after it."""
    if not case.fault:
        with _refused(world) as http:
            yield http
        return
    world.sandbox.faults = [Fault(**case.fault, after=position)]
    try:
        yield world.http
    finally:
        world.sandbox.faults = []


@contextlib.contextmanager
def _refused(world: World) -> Iterator[ScenarioHttp]:
    import httpx

    class Loopback(httpx.BaseTransport):
        """A real connection to a real port; a connector that insists on its vendor's host (a token endpoint) gets no further than here."""

        def __init__(self, port: int) -> None:
            self._inner = httpx.HTTPTransport(trust_env=False)
            self._port = port

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
            return self._inner.handle_request(request)

        def close(self) -> None:
            self._inner.close()

    with closed_port() as port:
        http = ScenarioHttp(world.connector, transport=Loopback(port))
        try:
            yield http
        finally:
            http.close()


# --- striking ----------------------------------------------------------------------------------------------------------------------


def strike(world: World, case: FaultCase, act: Callable[[ScenarioHttp], Any], position: int = 0) -> Any:
    """What `act` makes of the fault: its value, or the `DsrError` it raised.

    Raises:
        AssertionError: It raised anything else.
    """
    with broken(world, case, position) as http:
        try:
            return act(http)
        except DsrError as error:
            return error
        except Exception as error:  # whatever it is, it is not what a connector may raise
            raise AssertionError(f"{case}: the connector raised {type(error).__name__}, which is no DsrError; check what an answer holds") from error


def judge(case: FaultCase, verb: str, expected: Expected, result: Any, usual: Any, position: int) -> None:
    """Whether what `find` or `export` made of a fault is what it has to be. `usual` is the answer without the fault.

    Raises:
        AssertionError: With the reason.
    """
    at = _at(case, verb, position)
    if isinstance(result, DsrError):
        if case.recovers and verb == "find":
            raise AssertionError(f"{at}: {type(result).__name__}, though a second try succeeds; a POST that only reads needs retry=True")
        _demand(case, verb, expected, result, position)
    elif result == usual and (case.recovers or position or expected is None):
        return  # nothing was lost
    elif expected is None and ((verb == "find" and not result) or (verb == "export" and position)):
        return  # declared: this vendor says "nobody", or "no such list", so
    else:
        raise AssertionError(f"{at}: read as an answer of {len(result)} instead of an error; let the error of api through, and look at what came")


def judge_erasure(case: FaultCase, expected: Expected, results: Sequence[Result], gone: bool, position: int, *, verb: str = "erase") -> None:
    """Whether what `erase` (or `poll`) made of a fault is what it has to be. `gone` is the truth, from behind the sandbox's API, once all jobs
    ended.

    Raises:
        AssertionError: With the reason.
    """
    at = _at(case, verb, position)
    answers = [RejectedError("refused") if isinstance(result, Failed) else result for _, result in results]
    errors = [answer for answer in answers if isinstance(answer, DsrError)]
    believable = case.lies and expected is None
    if not believable and not errors and not gone and all(isinstance(answer, Outcome) and answer.clean for answer in answers):
        raise AssertionError(f"{at}: a clean outcome although the person is still there; an erasure that was not confirmed is an error")
    if position or case.recovers or expected is None:
        return
    first = answers[0]
    if not isinstance(first, DsrError):
        raise AssertionError(f"{at}: {type(first).__name__} instead of an error; let the error of api through, and look at what came")
    _demand(case, verb, expected, first, position)


def _at(case: FaultCase, verb: str, position: int) -> str:
    return f"{verb}, {case}" + (f", at call {position + 1}" if position else "")


def _demand(case: FaultCase, verb: str, expected: Expected, error: DsrError, position: int) -> None:
    if expected is None or position:
        return
    if not isinstance(error, expected):
        names = " or ".join(one.__name__ for one in (expected if isinstance(expected, tuple) else (expected,)))
        raise AssertionError(
            f"{_at(case, verb, position)}: {type(error).__name__}, expected {names}; where the vendor means something else by it, say so in "
            f'expected_faults = {{("{verb}", "{case}"): ...}} with the vendor\'s reason as a comment'
        )
    if case.fault.get("headers") and isinstance(error, TransientError) and error.retry_after != RETRY_AFTER:
        raise AssertionError(f"{_at(case, verb, position)}: retry_after is {error.retry_after}, the vendor said {RETRY_AFTER:g}")


def keys(matches: Sequence[Match]) -> list[tuple[str, str]]:
    """Matches as they are compared."""
    return sorted((match.resource, match.id) for match in matches)


def erase_with(world: World, matches: Sequence[Match]) -> Callable[[ScenarioHttp], list[Result]]:
    """Erasing these matches, as something to strike."""
    return lambda http: erase_all(world.connector, http, matches)


def find_with(world: World, subject: Any) -> Callable[[ScenarioHttp], list[tuple[str, str]]]:
    """Finding this person, as something to strike."""
    return lambda http: keys(find(world.connector, http, subject))
