"""Drain a source: take every due task of one data source, carry it out, record it, until nothing is due.

The unit of scheduling is a data source, not a task. One drain of a source runs at a time, so its rate limit needs no shared counter,
its batches reach across people, and a drain that crashed is simply drained again: intents are journalled before an effect, outcomes
after it, and what stands in between is asked about at the vendor before it is done again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy.engine import Connection

from dsr_sdk.engine.perform import Performer
from dsr_sdk.engine.settle import Settled, Settler
from dsr_sdk.engine.work import EFFECTS, Acted, Broke, Options, Result, Unit, elsewhere, units
from dsr_sdk.errors import AuthError, ConfigError, DsrError, LedgerError
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.database import LedgerBusy, reading, writing
from dsr_sdk.ledger.locks import SourceLock
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.tasks import Task, Update
from dsr_sdk.registry import DataSource, Registry
from dsr_sdk.request import RequestType

__all__ = ["Drain", "Drained", "Progress"]

_LOCK_SECONDS = 2.0
"""How often a drain asks the server whether its lock still holds (PostgreSQL; a file's lock is not lost)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a drain is: `done` of `total` tasks known so far."""

    source: str
    done: int
    total: int
    failed: int


@dataclass(slots=True)
class Drained:
    """What a drain did."""

    source: str
    finished: int = 0
    failed: int = 0
    postponed: int = 0
    closed: list[str] = field(default_factory=list)
    halted: DsrError | None = None
    """The operator's error (wrong key, wrong URL) for which the source was left alone."""
    busy: bool = False
    """Another drain of this source is running; nothing was done."""

    @property
    def moved(self) -> bool:
        """Whether anything came of it."""
        return bool(self.finished or self.failed or self.postponed)

    def add(self, later: Drained) -> None:
        """Count a later drain of the same source in."""
        self.finished += later.finished
        self.failed += later.failed
        self.postponed += later.postponed
        self.closed.extend(later.closed)
        self.halted = later.halted
        self.busy = later.busy


class Drain:
    """One source's drain.

    Args:
        source: The data source.
        performer: Carries out units on the worker threads.
        actions: Only these actions (planning drains searches only); empty for all.
        cases: Only these cases; empty for all.
        stop: Set to end early: what is under way is finished and recorded.
        on_progress: Told after every commit.
        on_step: Told the name of every step of the journal (tests kill the process there).
    """

    def __init__(
        self,
        source: DataSource,
        performer: Performer,
        ledger: Ledger,
        registry: Registry,
        options: Options,
        *,
        actions: Sequence[str] = (),
        cases: Sequence[str] = (),
        stop: threading.Event | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._source = source
        self._performer = performer
        self._ledger = ledger
        self._registry = registry
        self._options = options
        self._actions = actions
        self._cases = cases if len(cases) <= 200 else ()  # a longer list costs more than it saves
        self._stop = stop or threading.Event()
        self._on_progress = on_progress
        self._on_step = on_step
        self._settler = Settler(source, registry, ledger, options)
        self._inbox: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[list[Result]] = queue.SimpleQueue()
        self._returned: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._flying: dict[int, Task] = {}
        self._workers: list[threading.Thread] = []
        self._results: list[Result] = []
        self._halted = threading.Event()
        self._halted_by: DsrError | None = None
        self._errors_in_a_row = 0
        self._guard = threading.Lock()
        self._lock = SourceLock(ledger.engine, source.name)
        self._lost = False
        self._asked_at = time.monotonic()
        self._chunk = max(options.group, source.connector.batch_size * source.threads, source.connector.find_batch_size * source.threads)

    def run(self) -> Drained:
        """Drain until nothing is due. Raises `LedgerError` when the ledger cannot be used; everything else is in the answer."""
        drained = Drained(self._source.name)
        if not self._lock.acquire():
            drained.busy = True
            return drained
        try:
            try:
                self._loop(drained)
            finally:
                self._wind_up(drained)
        finally:
            self._lock.release()
        return drained

    def _ours(self) -> bool:
        """Whether the source is still ours alone. A server that ended our session (PostgreSQL) has given it to whoever asks: then nothing
        new is begun here, and what is left is the other's. What is under way was journalled, and is still written down."""
        if self._lost or time.monotonic() - self._asked_at < _LOCK_SECONDS:
            return not self._lost
        self._asked_at = time.monotonic()
        if not self._lock.still_held():
            self._lost = True
            self._halted_by = LedgerError("the lock on this data source was lost", source=self._source.name, fix="run again")
            self._halted.set()
        return not self._lost

    def _wind_up(self, drained: Drained) -> None:
        """End the workers. When the drain broke off, what was not begun stays due, and what was done meanwhile is still written down."""
        with contextlib.suppress(LedgerError):  # what broke the drain off is told already, and every intent is journalled
            if self._ours():
                self._give_back()
            else:
                self._unbegun()
        for _ in self._workers:
            self._inbox.put(None)
        for worker in self._workers:
            worker.join()
        results = self._results
        while not self._outbox.empty():
            results.extend(self._outbox.get())
        if results:
            with contextlib.suppress(LedgerError):
                self._commit(results, drained, claim=False)

    def _loop(self, drained: Drained) -> None:
        with reading(self._ledger.engine) as connection:
            total = self._ledger.tasks.count_due(connection, self._source.name, _now(), cases_only=self._cases, actions=self._actions)
        while True:
            results = self._results
            # New work is taken while at most half a chunk is under way, so that batches are full and workers never run dry.
            ours = self._ours()
            halting = self._halting()
            if halting and ours:
                self._give_back()
            elif halting:
                for task in self._unbegun():
                    self._flying.pop(task.id, None)
            claim = not halting and len(self._flying) - len(results) <= self._chunk // 2
            claimed = self._commit(results, drained, claim=claim)
            self._hand_out(claimed)
            if results:
                done = drained.finished + drained.failed + drained.postponed
                total = max(total, done + len(self._flying))
                self._on_progress(Progress(self._source.name, done, total, drained.failed))
            if not self._flying:
                drained.halted = self._halted_by
                return  # nothing is under way, and nothing new was due
            self._results = self._collect()

    def _commit(self, results: Sequence[Result], drained: Drained, *, claim: bool) -> list[Task]:
        """Write down what came of the last group and take the next. A transaction that gave way to another one (PostgreSQL) is made again:
        what is in it was done at vendors already."""
        for attempt in (1, 2, 3):
            try:
                return self._write_down(results, drained, claim=claim)
            except LedgerBusy:
                if attempt == 3 or self._ledger.engine.dialect.name == "sqlite":  # there the wait for the writer's place is over already
                    raise
        raise AssertionError("the loop above returns or raises")

    def _write_down(self, results: Sequence[Result], drained: Drained, *, claim: bool) -> list[Task]:
        """One transaction: the outcomes of the last group, what follows from them, and the intents of the next."""
        now = _now()
        if not results:
            # Looking for work must not take the writer's place when there is none.
            with reading(self._ledger.engine) as connection:
                if not (claim and self._due(connection, now)):
                    return []
        claimed: list[Task] = []
        settled = Settled()
        with writing(self._ledger.engine) as connection:
            book = Book(now)
            if results:
                settled = self._settler.settle(connection, results, book)
                for result in results:
                    self._flying.pop(result.task.id, None)
            if claim:
                claimed = self._set_aside(connection, self._due(connection, now), book)
            # What is refused unbegun (see `Performer.perform`) leaves no intent behind: nobody must ask a vendor later what became of it.
            effects = [task for task in claimed if task.action in EFFECTS and task.state != "pending" and not elsewhere(task, self._source)]
            self._ledger.tasks.begin(connection, effects, now)
            self._ledger.write(connection, book)
            self._on_step("before commit")
        self._results = []
        for task in claimed:
            self._flying[task.id] = task
        self._on_step("intent" if effects else "outcome")
        self._tell(settled)
        failed = sum(1 for _, result in settled.finished if isinstance(result, Broke))
        drained.failed += failed
        drained.finished += len(settled.finished) - failed
        drained.postponed += settled.postponed
        drained.closed.extend(settled.closed)
        return claimed

    def _due(self, connection: Connection, now: datetime) -> list[Task]:
        return self._ledger.tasks.due(
            connection, self._source.name, now, limit=self._chunk, actions=self._actions, cases_only=self._cases, skip=self._flying.keys()
        )

    def _set_aside(self, connection: Connection, due: Sequence[Task], book: Book) -> list[Task]:
        """Letters that a crash overtook while they were being handed over: only a person can find out whether they left. Never sent twice.
        And letters that somebody has cancelled since they were read: they are left alone."""
        letters = {task.id for task in due if task.action == "email"}
        gone = letters - self._ledger.tasks.hold(connection, letters, ("ready", "acting"))
        due = [task for task in due if task.id not in gone]
        doubtful = [task for task in due if task.action == "email" and task.state == "acting" and task.step == "handover"]
        message = "the process ended while the letter was being handed to the mail server: see whether it was sent, then confirm or resend"
        error = {"class": "InDoubt", "acts_next": "operator", "message": message}
        self._ledger.tasks.update(connection, [Update(task, "doubt", error=error, intent_at=task.intent_at, step=task.step) for task in doubtful])
        for task in doubtful:
            book.note(task.case, "letter.in_doubt", "host", source=task.source)
        return [task for task in due if task not in doubtful] if doubtful else list(due)

    def _hand_out(self, claimed: Sequence[Task]) -> None:
        wanted = 0
        for unit in units(claimed, self._source.connector):
            self._inbox.put(unit)
            wanted += 1
        for _ in range(min(self._source.threads, wanted) - len(self._workers)):
            worker = threading.Thread(target=self._work, name=f"drain-{self._source.name}", daemon=True)
            self._workers.append(worker)
            worker.start()

    def _work(self) -> None:
        while (unit := self._inbox.get()) is not None:
            if self._halting():
                self._returned.put(unit)
                self._outbox.put([])
                continue
            results = self._performer.perform(unit)
            self._watch(results)
            self._outbox.put(results)

    def _collect(self) -> list[Result]:
        """Wait for results, then a little longer for company: many outcomes are committed at the price of one."""
        results = list(self._outbox.get())
        deadline = time.monotonic() + self._options.group_seconds
        while len(results) < self._options.group and len(results) < len(self._flying):
            try:
                results.extend(self._outbox.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        return results

    def _halting(self) -> bool:
        return self._halted.is_set() or self._stop.is_set() or self._registry.sources.get(self._source.name) is not self._source

    def _watch(self, results: Sequence[Result]) -> None:
        """Count operator errors in a row; at the limit the source is left alone: hammering a vendor with a wrong key locks accounts.

        Called by the workers, so that none of them begins anything once the limit is reached. A batch that fails is one error.
        """
        errors = [result.error if isinstance(result, Broke) else None for result in results]
        refused = next((error for error in errors if isinstance(error, AuthError | ConfigError)), None)
        with self._guard:
            if None in errors:
                self._errors_in_a_row = 0
            elif refused is not None:
                self._errors_in_a_row += 1
                if self._errors_in_a_row >= self._options.source_errors and self._halted_by is None:
                    self._halted_by = refused
                    self._halted.set()

    def _unbegun(self) -> list[Task]:
        """Take units back that no worker has begun."""
        taken: list[Task] = []
        for box in (self._inbox, self._returned):
            with contextlib.suppress(queue.Empty):
                while True:
                    unit = box.get_nowait()
                    taken.extend(unit.tasks if unit is not None else ())
        return taken

    def _give_back(self) -> None:
        """What no worker has begun stays due for the next drain."""
        returned = self._unbegun()
        if not returned:
            return
        with writing(self._ledger.engine) as connection:
            self._ledger.tasks.update(
                connection,
                [
                    Update(
                        task,
                        "pending" if task.job is not None else "ready",
                        next_at=task.next_at,
                        outcome=task.outcome,
                        error=task.error,
                        intent_at=task.intent_at,
                        step=task.step,
                    )
                    for task in returned
                ],
            )
        for task in returned:
            self._flying.pop(task.id, None)

    def _tell(self, settled: Settled) -> None:
        """Observers hear of it once it is committed, never before."""
        hook = self._registry.manager.hook
        if hook.dsr_task_finished.get_hookimpls():
            for task, result in settled.finished:
                outcome = result.outcome if isinstance(result, Acted) else None
                error = type(result.error).__name__ if isinstance(result, Broke) else None
                self._registry.tell("dsr_task_finished", case=task.case, source=task.source, action=task.action, outcome=outcome, error=error)
        if settled.closed and hook.dsr_request_closed.get_hookimpls():
            with reading(self._ledger.engine) as connection:
                types = {case: self._ledger.cases.get(connection, case).type for case in settled.closed}
            for case, type_ in types.items():
                self._registry.tell("dsr_request_closed", case=case, type=RequestType(type_))


def _now() -> datetime:
    return datetime.now(UTC)
