"""The engine inside the portal: one thread that carries out what is due, sends letters, closes what closes by itself, and forgets in time.

It wakes when somebody has done something, and by itself every few seconds. Several portals over one ledger may each have one: a data source
is drained by one of them at a time. An error of one step never stops the others, and its text never reaches the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dsr_sdk.errors import DsrError

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["Engine"]

log = logging.getLogger("dsr_sdk.portal.engine")

_DAY = 24 * 60 * 60.0


class Engine:
    """The thread. `start` and `stop` once each.

    Args:
        pause: Seconds between two rounds when nobody wakes it.
        longest: Seconds it rests at most while rounds fail.
    """

    def __init__(self, host: Host, *, pause: float = 5.0, longest: float = 120.0) -> None:
        self.host = host
        self.pause = pause
        self.longest = longest
        self.rounds = 0
        self.failing: dict[str, str] = {}
        """The steps whose last round failed, and the class of the error."""
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._retained_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="dsr-engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def wake(self) -> None:
        """Something was done: look now. Returns at once."""
        self._woken.set()

    def stop(self, timeout: float = 30.0) -> bool:
        """Finish what is under way and end; whether it did within `timeout` seconds."""
        self._ended.set()
        self._woken.set()
        self.host.stop()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def _run(self) -> None:
        bad = 0
        while not self._ended.is_set():
            self._woken.clear()  # before the round: what is done while it runs wakes it again
            self.round()
            bad = bad + 1 if self.failing else 0
            self._woken.wait(min(self.longest, self.pause * 2 ** min(bad, 6)))

    def round(self) -> None:
        """Do everything that is due, once."""
        steps: list[tuple[str, Callable[[], object]]] = [
            ("sources", self.host.refresh_sources),
            ("work", self.host.run_all),
        ]
        if self.host.config.workflow is not None:
            if self.host.config.mail is not None:
                steps += [("replies", lambda: self.host.replies.automatic()), ("letters", lambda: self.host.outbox.sweep())]
            if self.host.config.workflow.keep_days is not None and self._day_is_over():
                steps.append(("retention", lambda: self.host.records.retention(dry_run=False)))
        for name, step in steps:
            if self._ended.is_set():
                return
            self._step(name, step)
        self.rounds += 1

    def _day_is_over(self) -> bool:
        return self._retained_at is None or time.monotonic() - self._retained_at >= _DAY

    def _step(self, name: str, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - an engine that has died does nothing for anybody; what failed is tried again next round
            kind = type(error).__name__
            if self.failing.get(name) != kind:  # once, not every few seconds
                # The library's own errors hold no personal data; of any other nobody knows what its text holds.
                log.error("%s: %s", name, error if isinstance(error, DsrError) else kind)
            self.failing[name] = kind
            return
        if name == "retention":
            self._retained_at = time.monotonic()
        if self.failing.pop(name, None) is not None:
            log.info("%s: works again", name)
