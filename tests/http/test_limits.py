"""Rate limits: never more than declared in any window, obedient to the vendor's headers, and nobody waits for ever."""

from __future__ import annotations

import bisect
import time

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsr_sdk import TransientError
from dsr_sdk.http import RateHeaders, RateLimit, retry_after
from dsr_sdk.http.limits import Pacer
from tests.http.conftest import make


class Clock:
    """Time as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("dsr_sdk.http.limits.time.monotonic", lambda: self.now)


def most(times: list[float], per: float) -> int:
    """The most calls in any half-open window of that length."""
    return max(bisect.bisect_left(times, at + per - 1e-9) - n for n, at in enumerate(times))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 400),
    st.sampled_from([0.5, 1.0, 10.0, 60.0, 3600.0]),
    st.lists(st.floats(0, 5), min_size=0, max_size=30),
)
def test_never_more_than_declared(calls: int, per: float, pauses: list[float]) -> None:
    """Whatever the rhythm of asking: no window sees more calls than the limit, and the rate is nearly used up."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        pacer = Pacer((RateLimit(calls, per),))
        times: list[float] = []
        for n in range(min(3 * calls, 600)):
            if n < len(pauses):
                clock.now += pauses[n] * per / 10
            wait = pacer.reserve("GET", "/x", longest=1e9)
            assert wait >= 0
            times.append(clock.now + wait)
            clock.now += wait if n % 2 else 0.0
        times.sort()
        assert most(times, per) <= calls
        if not pauses and calls > 5:
            assert len(times) / (times[-1] - times[0] or 1) > 0.8 * calls / (per + 0.03)


def test_every_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several limits at once: each for what it is on, all of them together."""
    Clock(monkeypatch)
    pacer = Pacer((RateLimit(10, 1), RateLimit(2, 1, on=("/search", "/find")), RateLimit(1, 10, on="/x", method="DELETE")))
    assert pacer.reserve("GET", "/search", longest=100) == 0
    assert pacer.reserve("GET", "/find", longest=100) > 0.4
    assert pacer.reserve("GET", "/x", longest=100) < 0.7
    assert pacer.reserve("DELETE", "/x", longest=100) < 0.9
    assert pacer.reserve("DELETE", "/x", longest=100) > 9


def test_a_long_wait_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would wait too long is sent away with the seconds, and takes no place."""
    clock = Clock(monkeypatch)
    pacer = Pacer((RateLimit(1, 60),))
    assert pacer.reserve("GET", "/x", longest=5) == 0
    refused = [pacer.reserve("GET", "/x", longest=5) for _ in range(10)]
    assert all(-61 < wait < -59 for wait in refused)
    clock.now += 56
    assert 0 < pacer.reserve("GET", "/x", longest=5) <= 5


@pytest.mark.parametrize(("calls", "per"), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_limits_that_are_none(calls: int, per: float) -> None:
    """A limit of nothing would wait for ever."""
    with pytest.raises(ValueError, match="positive"):
        RateLimit(calls, per)


@pytest.mark.parametrize(
    ("remaining", "reset", "paused"),
    [
        ("0", "30", 30),
        ("0", "30000", 3600),
        ("0", "unix", 50),
        ("0", "unix ms", 50),
        ("0", "", 0),
        ("0", "soon", 0),
        ("1", "30", 0),
        ("-1", "30", 0),
        ("", "30", 0),
        ("none", "30", 0),
    ],
)
def test_nothing_left(remaining: str, reset: str, paused: float) -> None:
    """The vendor's headers say that nothing is left: nothing is sent until they say; nonsense in them pauses nobody, and nobody for ever."""
    unix = int(time.time()) + 50
    headers = {"X-Left": remaining, "X-Reset": {"unix": str(unix), "unix ms": str(unix * 1000)}.get(reset, reset)}
    http = make(lambda request: httpx.Response(200, headers=headers), rate_headers=RateHeaders("X-Left", "X-Reset"))
    http.api().get("/x")
    wait = -http.pacer.reserve("GET", "/x", longest=0.0)
    assert paused - 3 < wait <= paused + 0.1


def test_a_unit_of_milliseconds() -> None:
    """Some vendors count in milliseconds."""
    headers = {"left": "0", "reset": "20000"}
    http = make(lambda request: httpx.Response(200, headers=headers), rate_headers=RateHeaders("left", "reset", unit=0.001))
    http.api().get("/x")
    assert 18 < -http.pacer.reserve("GET", "/x", longest=0.0) <= 20


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("0", 0),
        ("1.5", 1.5),
        (" 7 ", 7),
        ("999999", 86_400),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("1e9", None),
        ("9" * 400, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 86_400),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("\x00", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    """Seconds or a date; a day at most; anything else says nothing."""
    assert retry_after({"retry-after": text}) == seconds


def test_a_slow_limit_gets_through() -> None:
    """One call in half a second and pages of three: it waits, and it arrives."""
    began = time.monotonic()
    http = make(lambda request: httpx.Response(200), limits=(RateLimit(2, 1),))
    api = http.api()
    for _ in range(3):
        api.get("/x")
    assert time.monotonic() - began > 0.9


def test_an_interrupted_wait_sends_nothing() -> None:
    """Asked to stop while waiting for its turn: the call is not made early."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    http = make(answer, limits=(RateLimit(1, 10),), sleep=lambda seconds: True)
    http.api().get("/x")
    with pytest.raises(TransientError, match="stopped") as caught:
        http.api().get("/x")
    assert len(sent) == 1
    assert not caught.value.maybe_done
