"""The one retry layer inside a call: short, only where repeating is safe, obedient to Retry-After. Longer waits are the drain's."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import tenacity

from dsr_sdk.errors import TransientError

__all__ = ["RetryPolicy"]

_T = TypeVar("_T")


class RetryPolicy:
    """How often and how patiently a call is repeated before the failure is handed to the drain.

    Args:
        attempts: Tries in all.
        longest: The longest wait in seconds; a vendor that asks for more is asked again later, by the drain.
        base: The first wait without Retry-After; it doubles, with jitter so that threads do not march in step.
    """

    def __init__(self, attempts: int = 3, longest: float = 3.0, base: float = 0.2) -> None:
        self.attempts = attempts
        self.longest = longest
        self.base = base

    def run(self, call: Callable[[], _T], *, repeat: bool) -> _T:
        """Call it; when it raises `TransientError` and may be repeated, call it again. The last error is raised as it is."""
        try:
            return call()
        except TransientError as error:
            # tenacity is entered only here: a call that succeeds pays nothing for it.
            if not repeat or self.attempts < 2 or not self._worth_waiting(error):
                raise
            first = error
        tenacity.nap.sleep(self._wait_for(first, 1))
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, TransientError) and self._worth_waiting(error)),
            stop=tenacity.stop_after_attempt(self.attempts - 1),
            wait=self._wait,
            reraise=True,
        )
        return retrying(call)

    def _worth_waiting(self, error: TransientError) -> bool:
        return error.retry_after is None or error.retry_after <= self.longest

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return self._wait_for(error, state.attempt_number + 1) if isinstance(error, TransientError) else 0.0

    def _wait_for(self, error: TransientError, attempt: int) -> float:
        if error.retry_after is not None:
            return error.retry_after
        wait: float = min(self.longest, self.base * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
        return wait
