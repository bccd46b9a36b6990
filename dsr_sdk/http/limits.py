"""Rate limits: declared by the connector, paced here, and corrected by what the vendor's headers say."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

__all__ = ["Pacer", "RateHeaders", "RateLimit", "retry_after"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `calls` requests in any `per` seconds.

    Attributes:
        on: Which requests it counts: a path template as the connector writes it (``/v1/customers/search``), several that share the limit,
            or empty for all.
        method: Only this HTTP method; empty for all.
    """

    calls: int
    per: float
    on: str | tuple[str, ...] = ()
    method: str = ""

    def __post_init__(self) -> None:
        if self.calls < 1 or self.per <= 0:
            raise ValueError("a rate limit is a positive number of calls in a positive number of seconds")


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """The names of the headers in which a vendor says how much is left.

    Attributes:
        reset: Read as seconds from now, or as a Unix time when large.
        unit: Seconds in one unit of `reset` when it is a duration (0.001 for milliseconds).
    """

    remaining: str = "x-ratelimit-remaining"
    reset: str = "x-ratelimit-reset"
    unit: float = 1.0


class _Bucket:
    """One limit as a paced bucket (GCRA): the exact time of the next free slot is all its state.

    A burst of `burst` calls is let through at once, the rest are spaced; calls + burst together never exceed the limit in any window.
    Spacing instead of a sliding log, because a log admits a whole window's calls the moment the old ones leave it, and a network's
    jitter then lets the vendor see more than the limit in *its* window.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        # A burst is paid for with the same share of the rate: 1 %, or 5 % where a window is so long that a person would sit and wait.
        burst = max(1, limit.calls // (20 if limit.per >= 60 else 100))
        # Between two requests that leave one window apart lies a network whose delay varies: 45 ms are kept for that.
        margin = max(0.045, limit.per * 0.002)
        self.interval = (limit.per + margin) / (limit.calls - (burst - 1))
        self.tolerance = self.interval * (burst - 1)
        self.free_at = 0.0

    def matches(self, method: str, template: str) -> bool:
        limit = self.limit
        templates = (limit.on,) if isinstance(limit.on, str) else limit.on
        return (not limit.on or template in templates) and (not limit.method or limit.method == method)


class Pacer:
    """Gives every request of one data source its moment. Thread-safe; one instance a source, shared by the drain's threads."""

    def __init__(self, limits: tuple[RateLimit, ...], headers: RateHeaders | None = None) -> None:
        self._buckets = [_Bucket(limit) for limit in limits]
        self._headers = headers or RateHeaders()
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._by_call: dict[tuple[str, str], list[_Bucket]] = {}

    def reserve(self, method: str, template: str, *, longest: float) -> float:
        """Take the next free slot and return the seconds to wait for it.

        When that is more than `longest`, nothing is taken and the wait is returned as a negative number: come back later.
        """
        now = time.monotonic()
        with self._lock:
            if not self._buckets and now >= self._paused_until:
                return 0.0
            buckets = self._by_call.get((method, template))
            if buckets is None:
                buckets = self._by_call[method, template] = [bucket for bucket in self._buckets if bucket.matches(method, template)]
            slot = (
                max(now, self._paused_until, *(bucket.free_at - bucket.tolerance for bucket in buckets)) if buckets else max(now, self._paused_until)
            )
            if slot - now > longest:
                return now - slot
            for bucket in buckets:
                bucket.free_at = max(bucket.free_at, slot) + bucket.interval
            return slot - now

    def pause(self, seconds: float) -> None:
        """Nothing is sent for so many seconds: the vendor said so."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Read what is left from an answer's headers and pause when nothing is."""
        if not _NOTHING.fullmatch(headers.get(self._headers.remaining.lower(), "").strip()):
            return
        reset = _seconds(headers.get(self._headers.reset.lower(), ""), self._headers.unit)
        if reset is not None:
            self.pause(min(reset, 3600.0))


_NUMBER = re.compile(r"[0-9]{1,13}(\.[0-9]{1,6})?")
_NOTHING = re.compile(r"0+(\.0+)?")


def _seconds(text: str, unit: float = 1.0) -> float | None:
    """Seconds from now: a small number is a duration, a large one a Unix time in seconds or milliseconds."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if value > 1e11:
        value /= 1000
    return max(0.0, value - time.time()) if value > 1e8 else value * unit


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds a ``Retry-After`` header asks for: a number or an HTTP date (RFC 9110 section 10.2.3); None when it says neither."""
    text = headers.get("retry-after", "")
    seconds = _seconds(text)
    if seconds is not None:
        return min(seconds, 86_400.0)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - time.time()), 86_400.0)
    except (ValueError, TypeError):
        return None
