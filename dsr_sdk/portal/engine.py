"""The engine inside the portal: one thread that carries out what is due, closes what closes by itself and forgets in time, and one for mail.

It wakes when somebody has done something, and by itself every few seconds. Several portals over one ledger may each have one: a data source
is drained by one of them at a time, and a mail is sent by one. Mail does not wait for data sources: see `dsr_sdk.host.rounds`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dsr_sdk.host.rounds import Postman, Rounds, Step

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["Engine"]

_DAY = 24 * 60 * 60.0


class Engine(Rounds):
    """The threads. `start` and `stop` once each.

    Args:
        pause: Seconds between two rounds when nobody wakes it.
        longest: Seconds it rests at most while rounds fail.
    """

    name = "dsr-engine"
    log = logging.getLogger("dsr_sdk.portal.engine")

    def __init__(self, host: Host, *, pause: float = 5.0, longest: float = 120.0) -> None:
        super().__init__(host, pause=pause, longest=longest)
        postman = Postman(host, longest=longest)
        self.postman = postman if postman.needed else None
        """Sends mail, however long the rounds here take; None where no mail is sent to people."""
        self._last: dict[str, float] = {}

    def start(self) -> None:
        """Begin to work."""
        super().start()
        if self.postman is not None:
            self.postman.start()

    def wake(self) -> None:
        """Something was done: look now. Returns at once."""
        super().wake()
        if self.postman is not None:
            self.postman.wake()

    def stop(self, timeout: float = 30.0) -> bool:
        """Finish what is under way and end; whether it did within `timeout` seconds."""
        until = time.monotonic() + timeout
        if self.postman is not None:
            self.postman.end()  # both are told before either is waited for
        self.end()
        self.host.stop()
        ended = super().stop(timeout)
        return (self.postman is None or self.postman.stop(max(0.0, until - time.monotonic()))) and ended

    @property
    def rounds(self) -> int:
        """How many rounds were done to their end, by both."""
        return self._done if self.postman is None or not self.postman.running else min(self._done, self.postman.rounds)

    def steps(self) -> Sequence[Step]:
        """What is due at data sources, and what is due once a day."""
        steps: list[Step] = [("sources", self.host.refresh_sources), ("work", self.host.run_all)]
        if self.host.config.workflow is not None:
            if self.host.config.workflow.keep_days is not None:
                steps.append(self._daily("retention", lambda: self.host.records.retention(dry_run=False)))
            else:  # retention tidies up as well
                steps.append(self._daily("files", lambda: self.host.files.tidy()))
        return steps

    def _daily(self, name: str, step: Callable[[], object]) -> Step:
        """A step that is done at the first round and then once a day; one that failed is tried again."""

        def when_due() -> None:
            if name not in self._last or time.monotonic() - self._last[name] >= _DAY:
                step()
                self._last[name] = time.monotonic()

        return name, when_due
