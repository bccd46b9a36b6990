"""Work that is done in rounds, on a thread of its own, for as long as a program lives: what is due is done, then it rests until it is woken.

Mail has its own thread (`Postman`): a person who waits for a confirmation must not wait for a data source with ten thousand erasures before it.
An error of one step never stops the others, and its text never reaches the log.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dsr_sdk.errors import DsrError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from dsr_sdk.host.host import Host

__all__ = ["Postman", "Rounds", "Step"]

Step = tuple[str, Callable[[], object]]

_FEW = 10
"""Mails between two looks whether to end: each may cost a timeout."""


class Rounds(ABC):
    """The thread. `start` and `stop` once each.

    Args:
        pause: Seconds between two rounds when nobody wakes it.
        longest: Seconds it rests at most while rounds fail.
    """

    name = "dsr-rounds"
    log = logging.getLogger("dsr_sdk.host.rounds")

    def __init__(self, host: Host, *, pause: float, longest: float = 120.0) -> None:
        self.host = host
        self.pause = pause
        self.longest = longest
        self.failing: dict[str, str] = {}
        """The steps whose last round failed, and the class of the error."""
        self._done = 0
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    @abstractmethod
    def steps(self) -> Sequence[Step]:
        """What a round does."""

    @property
    def rounds(self) -> int:
        """How many rounds were done to their end."""
        return self._done

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def wake(self) -> None:
        """Something was done: look now. Returns at once."""
        self._woken.set()

    def end(self) -> None:
        """Begin nothing new. Returns at once."""
        self._ended.set()
        self._woken.set()

    def stop(self, timeout: float = 30.0) -> bool:
        """Finish what is under way and end; whether it did within `timeout` seconds."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def round(self) -> None:
        """Do everything that is due, once."""
        for name, step in self.steps():
            if self._ended.is_set():
                return
            self._step(name, step)
        self._done += 1

    def _run(self) -> None:
        bad = 0
        while not self._ended.is_set():
            self._woken.clear()  # before the round: what is done while it runs wakes it again
            self.round()
            bad = bad + 1 if self.failing else 0
            self._woken.wait(min(self.longest, self.pause * 2 ** min(bad, 6)))

    def _step(self, name: str, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a thread that has died does nothing for anybody; what failed is tried again next round
            kind = type(error).__name__
            if self.failing.get(name) != kind:  # once, not every few seconds
                # The library's own errors hold no personal data; of any other nobody knows what its text holds.
                self.log.error("%s: %s", name, error if isinstance(error, DsrError) else kind)
            self.failing[name] = kind
            return
        if self.failing.pop(name, None) is not None:
            self.log.info("%s: works again", name)


class Postman(Rounds):
    """Sends mail, and the replies that go out by themselves, while other work takes as long as it takes.

    As many as one likes may be at work, in any process: the outbox gives each mail to one of them. As a context manager it works for as long as
    the block lasts, for a host with a workflow and a mail server; for another it does nothing.
    """

    name = "dsr-mail"
    log = logging.getLogger("dsr_sdk.host.postman")

    def __init__(self, host: Host, *, pause: float = 2.0, longest: float = 120.0) -> None:
        super().__init__(host, pause=pause, longest=longest)
        self.sent = 0
        """Mails that its sweeps have sent."""
        self.replied = 0
        """Cases that it has replied to and closed."""

    @property
    def needed(self) -> bool:
        """Whether the host sends mail to people."""
        return self.host.config.workflow is not None and self.host.config.mail is not None

    def steps(self) -> Sequence[Step]:
        """Replies first: they are what a case waits for."""
        return [("replies", self._reply), ("letters", self._sweep)]

    def _reply(self) -> None:
        while not self._ended.is_set():
            done = self.host.replies.automatic(_FEW)
            self.replied += done
            if done < _FEW:
                return

    def _sweep(self) -> None:
        while not self._ended.is_set():
            done = self.host.outbox.sweep(_FEW)
            self.sent += done
            if done < _FEW:
                return

    def __enter__(self) -> Self:
        if self.needed:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
