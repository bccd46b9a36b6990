"""A clock of its own for pacing: an hour's rate limit is kept in a moment, and measured exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from dsr_sdk.connector import Connector
from dsr_sdk.http.client import SourceHttp
from dsr_sdk.http.limits import RateLimit
from dsr_sdk.testing.sandbox import Sandbox
from dsr_sdk.testing.serve import transport

if TYPE_CHECKING:
    from dsr_sdk.http.reply import Reply

__all__ = ["Clock", "PacedHttp", "broken_limit", "clock"]

START = 1_800_000_000.0


class Clock:
    """Stands in the place of the module `time`, where that is asked for moments; time passes only when somebody waits."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return 1000.0 + self.passed

    def time(self) -> float:
        """Unix time."""
        return START + self.passed

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += max(0.0, seconds)


@contextmanager
def clock() -> Iterator[Clock]:
    """One clock for the pacing, the retries and the sandboxes' own limits while the block runs."""
    made = Clock()
    places = ("dsr_sdk.http.limits.time", "dsr_sdk.testing.sandbox.time", "tenacity.nap.time")
    with mock.patch(places[0], made), mock.patch(places[1], made), mock.patch(places[2], made):
        yield made


@dataclass(frozen=True, slots=True)
class Moment:
    """When a call was sent."""

    at: float
    method: str
    template: str


class PacedHttp(SourceHttp):
    """The HTTP side of a data source as a host has it, pacing and waits included, on a clock of its own; notes when it sent what."""

    def __init__(self, connector: Connector, sandbox: Sandbox, time: Clock) -> None:
        super().__init__(connector, transport=transport(sandbox), sleep=time.sleep)
        self._time = time
        self.moments: list[Moment] = []

    def exchange(self, method: str, url: str, *, call: str, **request: Any) -> Reply:
        """Send one request, and note when."""
        self.moments.append(Moment(self._time.monotonic(), method, call.partition(" ")[2]))
        return super().exchange(method, url, call=call, **request)


def counts(limit: RateLimit, moment: Moment) -> bool:
    """Whether a limit counts a call."""
    templates = (limit.on,) if isinstance(limit.on, str) and limit.on else limit.on
    return (not templates or moment.template in templates) and limit.method in ("", moment.method)


def broken_limit(limit: RateLimit, moments: Sequence[Moment]) -> float | None:
    """In how short a time one call more than the limit allows was sent; None when it was kept in every window."""
    times = [moment.at for moment in moments if counts(limit, moment)]
    spans = [later - earlier for earlier, later in zip(times, times[limit.calls :], strict=False)]
    shortest = min(spans, default=limit.per)
    return shortest if shortest < limit.per else None
