"""Too much from one place: how many requests an e-mail address and a network address may send, counted without keeping either."""

from __future__ import annotations

import ipaddress
import math
import time
from functools import cached_property
from typing import TYPE_CHECKING

from dsr_sdk.errors import RequestError

if TYPE_CHECKING:
    from limits.strategies import MovingWindowRateLimiter

    from dsr_sdk.ledger.vault import Vault

__all__ = ["Throttle", "TooManyError", "network", "too_many"]


class TooManyError(RequestError):
    """More came from one place than may come.

    Args:
        retry_after: Seconds until there is room again.
    """

    def __init__(self, message: str, *, retry_after: int, field: str | None = None, fix: str | None = None) -> None:
        super().__init__(message, field=field, fix=fix)
        self.retry_after = retry_after


class Throttle:
    """Moving windows of an hour, in this process. Keys are keyed hashes: a dump of memory is no list of visitors. Threads may share it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    @cached_property
    def _limiter(self) -> MovingWindowRateLimiter:
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        return MovingWindowRateLimiter(MemoryStorage())

    def hit(self, kind: str, value: str, per_hour: int) -> None:
        """Count one.

        Raises:
            TooManyError: It would be one more than `per_hour`; it is not counted then.
        """
        from limits import RateLimitItemPerHour

        item = RateLimitItemPerHour(per_hour)
        key = self._vault.fingerprint("throttle", kind, value).hex()
        if not self._limiter.hit(item, key):
            reset = self._limiter.get_window_stats(item, key).reset_time
            raise too_many(max(1, math.ceil(reset - time.time())))


def too_many(seconds: int) -> TooManyError:
    """The error of a place that must wait so long."""
    return TooManyError("too many requests came from one place in a short time", retry_after=seconds, fix="try again later")


def network(client: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 that one subscriber has of IPv6. Anything else counts as it is."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
