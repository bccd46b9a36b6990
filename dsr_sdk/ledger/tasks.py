"""Tasks in the ledger: the units of work a drain takes, journalled before and after every effect."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import VaultError
from dsr_sdk.ledger.book import chunks
from dsr_sdk.ledger.schema import cases, tasks
from dsr_sdk.ledger.vault import CaseKey, Vault

__all__ = ["LIVE", "NewTask", "Task", "Tasks", "Update", "json_text"]

LIVE = ("waiting", "ready", "acting", "pending", "doubt")
"""Task states in which something is still to happen."""


@dataclass(slots=True)
class Task:
    """A unit of work as the ledger has it. `payload` and `job` are opened; ``repr`` shows neither."""

    id: int
    case: str
    source: str
    action: str
    state: str
    attempt: int
    resource: str | None
    count: int | None
    intent_at: datetime | None
    step: str | None
    next_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    outcome: dict[str, Any] | None
    error: dict[str, Any] | None
    payload: Any
    job: str | None
    job_fingerprint: bytes | None
    key: CaseKey | None
    request_type: str

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.action} {self.source} {self.state}>"


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be added."""

    case: str
    source: str
    action: str
    state: str
    next_at: datetime | None
    payload: Any = None
    resource: str | None = None
    count: int | None = None
    outcome: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Update:
    """What becomes of a task. Fields left None stay or are cleared as `Ledger.update` documents."""

    task: Task
    state: str
    next_at: datetime | None = None
    attempt: int | None = None
    outcome: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    payload: Any = None
    job: str | None = None
    intent_at: datetime | None = None
    step: str | None = None
    finished_at: datetime | None = None
    count: int | None = None


_TASK_COLUMNS = (
    tasks.c.id,
    tasks.c.case,
    tasks.c.source,
    tasks.c.action,
    tasks.c.state,
    tasks.c.attempt,
    tasks.c.resource,
    tasks.c.count,
    tasks.c.intent_at,
    tasks.c.step,
    tasks.c.next_at,
    tasks.c.created_at,
    tasks.c.finished_at,
    tasks.c.outcome,
    tasks.c.error,
    tasks.c.sealed,
    tasks.c.sealed_job,
    tasks.c.job_fingerprint,
    cases.c.wrapped_key,
    cases.c.type,
)
_TASKS = select(*_TASK_COLUMNS).select_from(tasks.join(cases, cases.c.case == tasks.c.case))
_INSERT_TASK = insert(tasks)
_UPDATE_TASK = (
    update(tasks)
    .where(tasks.c.id == bindparam("task_id"))
    .values({name: bindparam(f"new_{name}") for name in ("state", "next_at", "attempt", "outcome", "error", "intent_at", "step", "finished_at")})
)
_UPDATE_SEALED = update(tasks).where(tasks.c.id == bindparam("task_id")).values(sealed=bindparam("new_sealed"), count=bindparam("new_count"))
_UPDATE_JOB = (
    update(tasks)
    .where(tasks.c.id == bindparam("task_id"))
    .values(sealed_job=bindparam("new_sealed_job"), job_fingerprint=bindparam("new_job_fingerprint"))
)
_BEGIN = (
    update(tasks).where(tasks.c.id == bindparam("task_id")).values(state="acting", intent_at=bindparam("new_intent_at"), step=bindparam("new_step"))
)


_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def json_text(value: Any, *, allow_nan: bool = True) -> str:
    """A value as canonical JSON that any encoding and database can hold: a truncated emoji, half of a surrogate pair, stands as its escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=allow_nan)
    return text if text.isascii() else _HALF_CHARACTER.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Tasks:
    """Every method takes the connection of a transaction opened by its caller."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    def keys(self, connection: Connection, numbers: Sequence[str]) -> dict[str, CaseKey]:
        """The keys of some cases. Raises `VaultError` for one that was shredded."""
        found: dict[str, CaseKey] = {}
        for chunk in chunks(numbers):
            for case, wrapped in connection.execute(select(cases.c.case, cases.c.wrapped_key).where(cases.c.case.in_(chunk))):
                found[case] = self.vault.unwrap(case, wrapped)
        return found

    def add(self, connection: Connection, new: Sequence[NewTask], now: datetime) -> None:
        """Add tasks; payloads are sealed under their case's key."""
        keys = self.keys(connection, list({task.case for task in new if task.payload is not None}))
        rows = [
            {
                "case": task.case,
                "source": task.source,
                "action": task.action,
                "state": task.state,
                "next_at": task.next_at,
                "resource": task.resource,
                "count": task.count,
                "sealed": keys[task.case].seal(json_text(task.payload).encode(), "tasks.sealed") if task.payload is not None else None,
                "outcome": json_text(task.outcome) if task.outcome is not None else None,
                "created_at": now,
                "finished_at": now if task.state in ("done", "failed") else None,
            }
            for task in new
        ]
        if rows:
            connection.execute(_INSERT_TASK, rows)

    def due(
        self,
        connection: Connection,
        source: str,
        now: datetime,
        *,
        limit: int,
        actions: Sequence[str] = (),
        cases_only: Sequence[str] = (),
        skip: Collection[int] = (),
    ) -> list[Task]:
        """The next due tasks of a source, oldest first, those in `skip` left out: at most `limit`.

        Reads the index of live work only, however long the history is.
        """
        query = _TASKS.where(tasks.c.source == source, tasks.c.next_at <= now).order_by(tasks.c.next_at, tasks.c.id).limit(limit + len(skip))
        if actions:
            query = query.where(tasks.c.action.in_(actions))
        if cases_only:
            query = query.where(tasks.c.case.in_(cases_only))
        return [self._task(row) for row in connection.execute(query) if row[0] not in skip][:limit]

    def acting(self, connection: Connection, source: str) -> list[Task]:
        """Tasks whose effect was begun and never recorded: after a crash, the ones in doubt."""
        return [
            self._task(row)
            for row in connection.execute(_TASKS.where(tasks.c.source == source, tasks.c.state == "acting", tasks.c.next_at.is_not(None)))
        ]

    def sources_due(self, connection: Connection, now: datetime, *, cases_only: Sequence[str] = (), actions: Sequence[str] = ()) -> list[str]:
        """The names of sources with due work."""
        query = select(tasks.c.source).where(tasks.c.next_at <= now).distinct()
        if cases_only:
            query = query.where(tasks.c.case.in_(cases_only))
        if actions:
            query = query.where(tasks.c.action.in_(actions))
        return sorted(connection.execute(query).scalars())

    def next_due(self, connection: Connection, *, after: datetime, cases_only: Sequence[str] = (), actions: Sequence[str] = ()) -> datetime | None:
        """When the next task comes due after a moment; None when nothing waits for time."""
        query = select(tasks.c.next_at).where(tasks.c.next_at > after).order_by(tasks.c.next_at).limit(1)
        if cases_only:
            query = query.where(tasks.c.case.in_(cases_only))
        if actions:
            query = query.where(tasks.c.action.in_(actions))
        found: datetime | None = connection.execute(query).scalar()
        return found

    def count_due(self, connection: Connection, source: str, now: datetime, *, cases_only: Sequence[str] = (), actions: Sequence[str] = ()) -> int:
        """How many tasks of a source are due."""
        query = select(func.count()).select_from(tasks).where(tasks.c.source == source, tasks.c.next_at <= now)
        if cases_only:
            query = query.where(tasks.c.case.in_(cases_only))
        if actions:
            query = query.where(tasks.c.action.in_(actions))
        return int(connection.execute(query).scalar_one())

    def of(
        self, connection: Connection, numbers: Sequence[str], *, actions: Sequence[str] = (), sources: Sequence[str] = (), opened: bool = True
    ) -> list[Task]:
        """Every task of some cases, oldest first; opened unless ``opened=False`` (payloads of shredded cases are None)."""
        found: list[Task] = []
        for chunk in chunks(numbers):
            query = _TASKS.where(tasks.c.case.in_(chunk)).order_by(tasks.c.id)
            if actions:
                query = query.where(tasks.c.action.in_(actions))
            if sources:
                query = query.where(tasks.c.source.in_(sources))
            found.extend(self._task(row, opened=opened) for row in connection.execute(query))
        return found

    def begin(self, connection: Connection, work: Sequence[Task], now: datetime, *, step: str = "intent") -> None:
        """Journal the intent to act, before acting. `next_at` stays, so a crash leaves the task where the next drain finds it."""
        if work:
            connection.execute(_BEGIN, [{"task_id": task.id, "new_intent_at": now, "new_step": step} for task in work])

    def hold(self, connection: Connection, ids: Collection[int], states: Sequence[str]) -> set[int]:
        """Keep tasks from others until the transaction ends; those of them that are in one of these states now, whatever was read before."""
        query = select(tasks.c.id).where(tasks.c.id.in_(ids), tasks.c.state.in_(states)).order_by(tasks.c.id)
        return set(connection.execute(query.with_for_update()).scalars()) if ids else set()

    def update(self, connection: Connection, updates: Sequence[Update]) -> None:
        """Record what became of tasks. ``payload`` and ``job`` are resealed when given; everything else is set as it stands."""
        if not updates:
            return
        rows, sealed, jobs = [], [], []
        for change in updates:
            task = change.task
            rows.append(
                {
                    "task_id": task.id,
                    "new_state": change.state,
                    "new_next_at": change.next_at,
                    "new_attempt": task.attempt if change.attempt is None else change.attempt,
                    "new_outcome": json_text(change.outcome) if change.outcome is not None else None,
                    "new_error": json_text(change.error) if change.error is not None else None,
                    "new_intent_at": change.intent_at,
                    "new_step": change.step,
                    "new_finished_at": change.finished_at,
                }
            )
            if change.payload is not None:
                key = task.key or self.keys(connection, [task.case])[task.case]
                data = key.seal(json_text(change.payload).encode(), "tasks.sealed")
                sealed.append({"task_id": task.id, "new_sealed": data, "new_count": change.count})
            if change.job is not None:
                key = task.key or self.keys(connection, [task.case])[task.case]
                jobs.append(
                    {
                        "task_id": task.id,
                        "new_sealed_job": key.seal(change.job.encode(), "tasks.sealed_job"),
                        "new_job_fingerprint": self.vault.fingerprint("job", task.source, change.job),
                    }
                )
        connection.execute(_UPDATE_TASK, rows)
        if sealed:
            connection.execute(_UPDATE_SEALED, sealed)
        if jobs:
            connection.execute(_UPDATE_JOB, jobs)

    def live_counts(self, connection: Connection, numbers: Sequence[str]) -> dict[str, int]:
        """For each case the tasks, verifications aside, that are not finished (or failed and need someone)."""
        counts = dict.fromkeys(numbers, 0)
        for chunk in chunks(numbers):
            rows = connection.execute(
                select(tasks.c.case, func.count())
                .where(tasks.c.case.in_(chunk), tasks.c.action.not_in(("verify", "find")), tasks.c.state != "done")
                .group_by(tasks.c.case)
            )
            counts.update((case, count) for case, count in rows)
        return counts

    def release_waiting(self, connection: Connection, numbers: Sequence[str], source: str, now: datetime) -> None:
        """Let tasks of a source that waited for others begin."""
        for chunk in chunks(numbers):
            connection.execute(
                update(tasks).where(tasks.c.case.in_(chunk), tasks.c.source == source, tasks.c.state == "waiting").values(state="ready", next_at=now)
            )

    def _task(self, row: Any, *, opened: bool = True) -> Task:
        (id_, case, source, action, state, attempt, resource, count, intent_at, step, next_at, created_at, finished_at) = row[:13]
        outcome, error, sealed, sealed_job, job_fingerprint, wrapped, request_type = row[13:]
        key = self.vault.unwrap(case, wrapped) if opened and wrapped is not None else None
        if opened and key is None and (sealed is not None or sealed_job is not None):
            raise VaultError("the case was shredded: its personal data is gone for good", source=case)
        return Task(
            id_,
            case,
            source,
            action,
            state,
            attempt,
            resource,
            count,
            intent_at,
            step,
            next_at,
            created_at,
            finished_at,
            json.loads(outcome) if outcome else None,
            json.loads(error) if error else None,
            json.loads(key.open(sealed, "tasks.sealed")) if key and sealed is not None else None,
            key.open(sealed_job, "tasks.sealed_job").decode() if key and sealed_job is not None else None,
            bytes(job_fingerprint) if job_fingerprint is not None else None,
            key,
            request_type,
        )
