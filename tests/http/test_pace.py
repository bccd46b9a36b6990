"""What a vendor sees of our pace: never more than declared, even over a network whose delay varies; and threads share one pacer."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import tenacity.nap
from hypothesis import given, settings
from hypothesis import strategies as st

from dsr_sdk import TransientError
from dsr_sdk.http import Offset, RateHeaders, RateLimit, RetryPolicy, api, limits, retry_after
from dsr_sdk.http.limits import Pacer
from tests.http.conftest import make


class Clock:
    """A clock that only waiting moves, in the pacer's module alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: self.now, time=time.time))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def worst(arrivals: list[float], per: float) -> int:
    """The most arrivals in any window of that length, wherever it begins."""
    arrivals = sorted(arrivals)
    most = start = 0
    for end, at in enumerate(arrivals):
        while at - arrivals[start] >= per - 1e-6:
            start += 1
        most = max(most, end - start + 1)
    return most


@settings(max_examples=120, deadline=None)
@given(
    calls=st.integers(1, 300),
    per=st.sampled_from([0.5, 1.0, 2.0, 10.0, 60.0, 3600.0]),
    threads=st.integers(1, 8),
    latencies=st.lists(st.floats(0, 0.03), min_size=1, max_size=20),
    pauses=st.lists(st.floats(0, 2), max_size=10),
)
def test_vendor_never_counts_more(calls: int, per: float, threads: int, latencies: list[float], pauses: list[float]) -> None:
    """Eight threads that ask as fast as they may, requests that take up to 30 ms longer than others, pauses in between: the limit holds in the
    vendor's window, which begins at any moment."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        pacer = Pacer((RateLimit(calls, per),))
        free = [clock.now] * threads  # when each thread asks next
        arrivals: list[float] = []
        for n in range(min(3 * calls + 10, 500)):
            thread = free.index(min(free))
            clock.now = free[thread]
            sent = clock.now + pacer.reserve("GET", "/x", longest=1e9)
            arrivals.append(sent + latencies[n % len(latencies)])
            free[thread] = sent + latencies[n % len(latencies)] + (pauses[n] * per if n < len(pauses) else 0.0)
        assert worst(arrivals, per) <= calls


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_several_limits_hold_at_once(data: st.DataObject) -> None:
    """A limit for all calls, one for a search, one for a method: each holds for what it is on, in any mixture of calls."""
    limits_ = (
        RateLimit(data.draw(st.integers(2, 20)), 1.0),
        RateLimit(data.draw(st.integers(1, 10)), 1.0, on=("/search", "/find")),
        RateLimit(data.draw(st.integers(1, 10)), 2.0, method="DELETE"),
    )
    calls = data.draw(
        st.lists(st.sampled_from([("GET", "/search"), ("POST", "/find"), ("GET", "/x"), ("DELETE", "/x/{id}")]), min_size=1, max_size=80)
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        pacer = Pacer(limits_)
        sent: list[tuple[float, str, str]] = []
        for method, template in calls:
            sent.append((clock.now + pacer.reserve(method, template, longest=1e9), method, template))
        assert worst([at for at, _, _ in sent], 1.0) <= limits_[0].calls
        assert worst([at for at, _, template in sent if template in ("/search", "/find")], 1.0) <= limits_[1].calls
        assert worst([at for at, method, _ in sent if method == "DELETE"], 2.0) <= limits_[2].calls


def test_templates_are_compared_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The template counts, not what it was filled with: every person is the same path."""
    clock = Clock(monkeypatch)
    http = make(lambda request: httpx.Response(200), limits=(RateLimit(1, 10, on="/people/{id}"),), sleep=clock.sleep)
    http.api().get("/people/{id}", id="ada")
    http.api().get("/people")
    http.api().get("/people/ada")
    assert clock.slept == []
    http.api().get("/people/{id}", id="bob")
    assert clock.slept == pytest.approx([10.045])


def test_threads_share_the_pace() -> None:
    """Eight threads at once: every slot is given to one of them."""
    pacer = Pacer((RateLimit(100, 10.0),))
    waits: list[float] = []
    together = threading.Barrier(8)

    def work() -> None:
        together.wait(10)
        waits.extend(pacer.reserve("GET", "/x", longest=100.0) for _ in range(25))

    workers = [threading.Thread(target=work) for _ in range(8)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.monotonic() - began
    waits.sort()
    assert len(waits) == 200
    assert waits[-1] == pytest.approx(199 * 10.045 / 100, abs=took + 0.01)
    assert all(later - earlier > 0.1 - took for earlier, later in itertools.pairwise(waits[1:]))


# --- how long a call waits ---------------------------------------------------------------------------------------------------------------


def test_long_wait_before_the_first_call_goes_back_to_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of work that has not begun is put off, with the seconds; nobody sits and waits, and no slot is taken."""
    clock = Clock(monkeypatch)
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        return httpx.Response(200)

    http = make(answer, limits=(RateLimit(1, 60.0),), sleep=clock.sleep)
    http.api().get("/x")
    for _ in range(3):
        with pytest.raises(TransientError, match=r"^made: GET /x: the rate limit is used up") as caught:
            http.api().get("/x")
        assert caught.value.retry_after == pytest.approx(60.12)
        assert not caught.value.maybe_done
    assert (clock.slept, sent) == ([], ["/x"])
    clock.now += 60.12 - api.LONGEST_FIRST_WAIT
    http.api().get("/x")
    assert clock.slept == pytest.approx([api.LONGEST_FIRST_WAIT])


def test_slow_limit_gets_through_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call a minute and five pages: begun is finished; sent back after every page, it would begin again for ever."""
    clock = Clock(monkeypatch)

    def answer(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params["offset"])
        return httpx.Response(200, json={"data": list(range(start, min(start + 2, 9)))})

    http = make(answer, limits=(RateLimit(1, 60.0),), sleep=clock.sleep)
    assert list(http.api().pages("/people", paging=Offset("data", size=2))) == list(range(9))
    assert clock.slept == pytest.approx([60.12] * 4)


def test_even_a_begun_unit_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes are the most; a limit by the day is the drain's."""
    clock = Clock(monkeypatch)
    http = make(lambda request: httpx.Response(200), limits=(RateLimit(1, 86_400.0),), sleep=clock.sleep)
    unit = http.api()
    unit.get("/x")
    with pytest.raises(TransientError, match="used up") as caught:
        unit.get("/x")
    assert caught.value.retry_after == pytest.approx(86_400 * 1.002)
    assert clock.slept == []


def test_every_try_takes_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is repeated counts again: the vendor counts it, too."""
    clock = Clock(monkeypatch)
    answers = iter([503, 503, 200])
    http = make(lambda request: httpx.Response(next(answers)), limits=(RateLimit(1, 5.0),), sleep=clock.sleep, retry=RetryPolicy(base=0.0))
    http.api().get("/x")
    assert clock.slept == pytest.approx([5.045, 5.045])


def test_pause_holds_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor's 429 is for the whole source, limits declared or not; the longest pause counts, and afterwards the pace is kept."""
    clock = Clock(monkeypatch)
    for declared in ((), (RateLimit(1, 5.0),)):
        pacer = Pacer(declared)
        pacer.pause(30.0)
        pacer.pause(10.0)
        assert pacer.reserve("GET", "/x", longest=100.0) == pytest.approx(30.0)
        assert pacer.reserve("GET", "/x", longest=100.0) == pytest.approx(35.045 if declared else 30.0)
        clock.now += 31.0
        assert pacer.reserve("GET", "/x", longest=0.0) == pytest.approx(-9.09 if declared else 0.0, abs=0.01)


# --- what headers say ------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=40), st.text(alphabet="0123456789.,:+- GMTWedJan\u00b2\u00b9", max_size=40), st.integers().map(str)))
def test_any_retry_after(text: str) -> None:
    """A header of any kind is a wait of at most a day, or none, and never an error of ours."""
    seconds = retry_after({"retry-after": text})
    assert seconds is None or 0 <= seconds <= 86_400


@settings(max_examples=200, deadline=None)
@given(remaining=st.text(alphabet="0123456789.-\u00b2\u00b9\u0660 ", max_size=12), reset=st.one_of(st.text(max_size=20), st.integers().map(str)))
@pytest.mark.filterwarnings("error")
def test_any_rate_headers(remaining: str, reset: str) -> None:
    """Nor do the rate headers of a vendor that writes nonsense break the call that they came with."""
    pacer = Pacer(())
    pacer.observe({"x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset})
    wait = pacer.reserve("GET", "/x", longest=0.0)
    assert -3601 <= wait <= 0


def test_digits_that_int_cannot_read() -> None:
    """Five thousand digits, and digits that are none: Python refuses both, and the answer is still an answer."""
    for remaining in ("9" * 5000, "0" * 5000, "\u00b2", "\u0660"):
        Pacer(()).observe({"x-ratelimit-remaining": remaining, "x-ratelimit-reset": "5"})


def test_header_names_in_any_case() -> None:
    """A connector writes them as the vendor's documentation does."""
    pacer = Pacer((), RateHeaders("X-Left", "X-Reset-Ms", unit=0.001))
    pacer.observe({"x-left": "0", "x-reset-ms": "12000"})
    assert -12.1 < pacer.reserve("GET", "/x", longest=0.0) < -11


# --- how long a retry waits --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which nobody waits for."""
    slept: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=slept.append))
    return slept


def failing(*errors: TransientError) -> Any:
    """Raises these, then answers."""
    left = iter(errors)

    def call() -> str:
        for error in left:
            raise error
        return "done"

    return call


def test_waits_grow_and_differ(naps: list[float]) -> None:
    """Doubling from the base, each between half of that and the whole, so that threads do not march in step; `longest` caps them."""
    for _ in range(20):
        with pytest.raises(TransientError):
            RetryPolicy(attempts=6, base=0.2, longest=1.0).run(failing(*(TransientError("no") for _ in range(6))), repeat=True)
    assert len(naps) == 100
    for number in range(5):
        most = min(1.0, 0.2 * 2**number)
        waits = naps[number::5]
        assert all(most / 2 <= wait <= most for wait in waits)
        assert len(set(waits)) > 10


def test_retry_after_is_obeyed_to_the_second(naps: list[float]) -> None:
    """What the vendor asks for is waited for, each time anew, up to `longest`; more than that is the drain's."""
    policy = RetryPolicy(attempts=5, longest=3.0)
    assert (
        policy.run(
            failing(TransientError("a", retry_after=2.0), TransientError("b", retry_after=0.0), TransientError("c", retry_after=3.0)), repeat=True
        )
        == "done"
    )
    assert naps == [2.0, 0.0, 3.0]
    naps.clear()
    with pytest.raises(TransientError, match="long"):
        policy.run(failing(TransientError("short", retry_after=1.0), TransientError("long", retry_after=3.1)), repeat=True)
    assert naps == [1.0]


def test_last_error_is_raised_as_it_is(naps: list[float]) -> None:
    """With its own message and its own doubt, not wrapped in the retry library's."""
    last = TransientError("the last one", maybe_done=True, retry_after=1.0)
    with pytest.raises(TransientError) as caught:
        RetryPolicy(attempts=2).run(failing(TransientError("first"), last), repeat=True)
    assert caught.value is last


def test_delete_carries_no_key(naps: list[float]) -> None:
    """DELETE and PUT are idempotent by themselves; POST and PATCH carry the key on every try."""
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.headers.get("idempotency-key")))
        return httpx.Response(503 if len(seen) % 2 else 200)

    unit = make(answer, idempotency_header="Idempotency-Key").api(operation_key="op")
    unit.delete("/x")
    unit.put("/x", {})
    unit.post("/x", {}, headers={"X-Who": "me"})
    unit.patch("/x", {})
    assert seen == [("DELETE", None)] * 2 + [("PUT", None)] * 2 + [("POST", "op-2")] * 2 + [("PATCH", "op-3")] * 2
