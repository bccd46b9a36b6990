"""The vendors' days pass in seconds: for examples that end while somebody looks on. No host of your own does this.

A sandbox takes for a deletion what its vendor takes: days, as a rule. `Days` ends those jobs after a few seconds, and has the engine ask
right away about what it would have asked about days later. `replay` erases once more, in sandboxes that begin anew, what the ledger of an
earlier start says is erased there: nobody is back.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import Request as Call
from urllib.request import urlopen

from dsr_sdk import Request
from dsr_sdk.errors import DsrError
from dsr_sdk.host import Host, initialise
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.tasks import LIVE, Task, Update

__all__ = ["NOTICE", "Days", "replay"]

NOTICE = "An example with made-up people and vendors: what takes a vendor days takes seconds here."

_SEEN = 4.0
"""Seconds that a wait is to be seen on the page before it ends."""
_ACTIONS = ("erase", "export", "opt_out", "verify")
_ERASED = ("erased", "anonymized", "absent")


class Days(threading.Thread):
    """Brings what waits for a vendor's time forward, until `end`.

    Args:
        urls: Of the sandboxes, by slug.
    """

    def __init__(self, host: Host, urls: Mapping[str, str]) -> None:
        super().__init__(name="days", daemon=True)
        self._host = host
        self._urls = urls
        self._seen: dict[tuple[int, datetime], float] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        """Look every second."""
        while not self._ended.wait(1.0):
            with suppress(DsrError, OSError):  # somebody else is writing, or the sandboxes end before us: the next look
                self.pass_by(_SEEN)

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join(10)

    def pass_by(self, after: float = 0.0) -> int:
        """End the wait of what has waited for so many seconds; how much that was."""
        with reading(self._host.ledger.engine) as connection:
            waits = self._waiting(self._host.ledger.tasks.of(connection, self._numbers(), opened=False))
        moment = time.monotonic()
        self._seen = {key: self._seen.get(key, moment) for key in waits}
        ripe = {key for key, since in self._seen.items() if moment - since >= after}
        if not ripe:
            return 0
        for slug in {waits[key].source for key in ripe} & set(self._urls):
            finish(self._urls[slug])
        with writing(self._host.ledger.engine) as connection:
            # Read once more: an engine may have asked meanwhile.
            now = self._waiting(self._host.ledger.tasks.of(connection, sorted({waits[key].case for key in ripe}), opened=False))
            self._host.ledger.tasks.update(connection, [_due(now[key]) for key in ripe & set(now)])
        return len(ripe)

    def _numbers(self) -> list[str]:
        return [case.number for case in self._host.cases() if not case.shredded]

    def _waiting(self, tasks: Iterable[Task]) -> dict[tuple[int, datetime], Task]:
        soon = datetime.now(UTC) + timedelta(seconds=1)
        return {
            (task.id, task.next_at): task
            for task in tasks
            if task.next_at is not None and task.next_at > soon and task.action in _ACTIONS and task.state in ("ready", "pending") and not task.error
        }


def _due(task: Task) -> Update:
    """The task as it is, and due now."""
    return Update(task, task.state, next_at=datetime.now(UTC), attempt=task.attempt, outcome=task.outcome, intent_at=task.intent_at, step=task.step)


def finish(url: str) -> None:
    """End every job of a sandbox."""
    with urlopen(Call(f"{url}/_sandbox/finish", method="POST"), timeout=10):
        pass


def replay(host: Host, urls: Mapping[str, str], config: str, secrets: Path) -> int:
    """Erase in the sandboxes, which know everybody again, what was erased there before; in how many cases.

    Args:
        host: The host that is kept.
        config: The text of a configuration that leads to the sandboxes and nowhere else, with its `secrets`.
    """
    done = _erased(host, set(urls))
    if not done:
        return 0
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        (scratch / "secrets").symlink_to(secrets)
        (scratch / "dsr.toml").write_text(config, encoding="utf-8")
        with Host.open(initialise(scratch, company="Example GmbH")) as again:
            numbers = []
            for number, sources in done.items():
                request = Request.parse({"type": "deletion", "subject": host.request(number).model_dump(mode="json")["subject"], "channel": "api"})
                case = again.submit(request)
                again.approve(again.plan(case, sources=sorted(sources), wait=20), by="replay")
                numbers.append(case)
            days, until = Days(again, urls), time.monotonic() + 60
            again.run_many(numbers)
            while days.pass_by() and time.monotonic() < until:
                again.run_many(numbers, wait=2)
    return len(done)


def _erased(host: Host, names: Collection[str]) -> dict[str, set[str]]:
    """The cases in which something is erased, or is being erased, and where."""
    found: dict[str, set[str]] = {}
    numbers = [case.number for case in host.cases() if not case.shredded]
    with reading(host.ledger.engine) as connection:
        for task in host.ledger.tasks.of(connection, numbers, actions=["erase"], opened=False):
            gone = task.state == "done" and (task.outcome or {}).get("kind") in _ERASED
            begun = task.state in LIVE and task.intent_at is not None
            if task.source in names and (gone or begun):
                found.setdefault(task.case, set()).add(task.source)
    return found
