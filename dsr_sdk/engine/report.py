"""How a case stands, source by source, derived from the ledger. A status is never stored and never taken from a connector's word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from dsr_sdk.engine.plan import Deed, Plan, PlannedSource, Standing
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.tasks import Task

__all__ = ["Report", "SourceReport", "Status", "report"]


class Status(StrEnum):
    """How one data source stands for one case, from worst to best news where several apply."""

    FAILED = "failed"
    REAPPEARED = "reappeared"
    COULD_NOT_CHECK = "could_not_check"
    MISSING_IDENTIFIER = "missing_identifier"
    AMBIGUOUS_IDENTIFIER = "ambiguous_identifier"
    IN_DOUBT = "in_doubt"
    PLANNED = "planned"
    WAITING = "waiting"
    PENDING = "pending"
    REQUESTED = "requested"
    BY_HAND = "by_hand"
    UNSUPPORTED = "unsupported"
    RETAINED = "retained"
    LEFT = "left"
    DELETED = "deleted"
    VERIFIED = "verified"
    COPIED = "copied"
    OPTED_OUT = "opted_out"
    CONFIRMED = "confirmed"
    NOTHING_FOUND = "nothing_found"


UNSETTLED = frozenset(
    {
        Status.FAILED,
        Status.REAPPEARED,
        Status.COULD_NOT_CHECK,
        Status.MISSING_IDENTIFIER,
        Status.AMBIGUOUS_IDENTIFIER,
        Status.IN_DOUBT,
        Status.PLANNED,
        Status.WAITING,
        Status.PENDING,
        Status.REQUESTED,
        Status.BY_HAND,
    }
)
"""Statuses with which a case is not finished."""

NEEDS_SOMEONE = frozenset(
    {Status.FAILED, Status.REAPPEARED, Status.COULD_NOT_CHECK, Status.MISSING_IDENTIFIER, Status.AMBIGUOUS_IDENTIFIER, Status.IN_DOUBT}
)
"""Statuses that do not get better by waiting."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One data source of one case.

    Attributes:
        last_deleted: When the vendor confirmed the last erasure; None unless it did.
        next_at: When the next thing is due by itself (a poll, a retry, the verification).
        outcomes: Outcome kind -> how many records.
        retained: What is kept, and why: (resource, text).
        detail: For people, without personal data.
    """

    source: str
    title: str
    status: Status
    last_deleted: datetime | None = None
    next_at: datetime | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)
    retained: tuple[tuple[str, str], ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One case."""

    case: str
    type: str
    status: str
    received_at: datetime
    closed_at: datetime | None
    sources: tuple[SourceReport, ...]
    approved: bool

    @property
    def settled(self) -> bool:
        """Whether every data source has given its final, clean answer."""
        return self.approved and not any(source.status in UNSETTLED for source in self.sources)

    @property
    def needs_someone(self) -> bool:
        """Whether a person has to look at it."""
        return any(source.status in NEEDS_SOMEONE for source in self.sources)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; no personal data."""
        return {
            "case": self.case,
            "type": self.type,
            "status": self.status,
            "received_at": self.received_at.isoformat(),
            "closed_at": self.closed_at.isoformat() if self.closed_at else None,
            "settled": self.settled,
            "needs_someone": self.needs_someone,
            "sources": [
                {
                    "source": row.source,
                    "title": row.title,
                    "status": row.status.value,
                    "last_deleted": row.last_deleted.isoformat() if row.last_deleted else None,
                    "next_at": row.next_at.isoformat() if row.next_at else None,
                    "outcomes": dict(row.outcomes),
                    "retained": [{"resource": resource, "text": text} for resource, text in row.retained],
                    "detail": row.detail,
                }
                for row in self.sources
            ],
        }


def report(case: Case, plan: Plan | None, tasks: Sequence[Task]) -> Report:
    """Derive a report from a case, its plan and its tasks."""
    by_source: dict[str, list[Task]] = {}
    for task in tasks:
        by_source.setdefault(task.source, []).append(task)
    planned = {row.source: row for row in plan.sources} if plan else {}
    rows = [_source(name, planned.get(name), by_source.get(name, [])) for name in dict.fromkeys((*planned, *by_source))]
    approved = plan is not None and plan.approved_at is not None
    return Report(case.number, case.type, case.status, case.received_at, case.closed_at, tuple(rows), approved)


_STANDINGS = {
    Standing.COULD_NOT_CHECK: Status.COULD_NOT_CHECK,
    Standing.MISSING_IDENTIFIER: Status.MISSING_IDENTIFIER,
    Standing.AMBIGUOUS_IDENTIFIER: Status.AMBIGUOUS_IDENTIFIER,
    Standing.UNSUPPORTED: Status.UNSUPPORTED,
    Standing.NOTHING_FOUND: Status.NOTHING_FOUND,
    Standing.BY_EMAIL: Status.PLANNED,
    Standing.BY_HAND: Status.BY_HAND,
    Standing.FOUND: Status.PLANNED,
}
_CLEAN = ("erased", "anonymized", "absent")


def _source(name: str, planned: PlannedSource | None, tasks: Iterable[Task]) -> SourceReport:
    work = [task for task in tasks if task.action in ("erase", "export", "opt_out", "email", "manual") and not _superseded(task)]
    verifications = [task for task in tasks if task.action == "verify"]
    title = planned.title if planned else name
    outcomes: dict[str, int] = {}
    retained: list[tuple[str, str]] = []
    for task in work:
        if task.outcome is not None and task.state in ("done", "failed"):
            kind = str(task.outcome["kind"])
            records = task.outcome.get("records", task.count or 1)
            outcomes[kind] = outcomes.get(kind, 0) + int(records)
            if kind == "retained":
                retained.append((task.resource or "", str(task.outcome["text"])))
    if planned:
        retained += [(match.resource, match.note) for match in planned.matches if match.deed is Deed.LEAVE]
    finished = [
        task.finished_at for task in work if task.action == "erase" and task.outcome and task.outcome["kind"] in _CLEAN[:2] and task.finished_at
    ]
    waiting = [task.next_at for task in (*work, *verifications) if task.next_at is not None]
    status, detail = _status(planned, work, verifications)
    return SourceReport(
        name, title, status, max(finished, default=None), min(waiting, default=None), outcomes, tuple(dict.fromkeys(retained)), detail
    )


def _status(planned: PlannedSource | None, work: Sequence[Task], verifications: Sequence[Task]) -> tuple[Status, str]:
    if not work:
        if planned is None:
            return Status.COULD_NOT_CHECK, "not part of the newest plan"
        if planned.matches and all(match.deed is Deed.LEAVE for match in planned.matches):
            return Status.LEFT, "belongs to the account, which stays"
        return _STANDINGS[planned.standing], planned.detail
    for task in work:
        if task.state == "failed":
            return Status.FAILED, _why(task)
    if planned is not None and planned.standing in (Standing.COULD_NOT_CHECK, Standing.MISSING_IDENTIFIER, Standing.AMBIGUOUS_IDENTIFIER):
        return _STANDINGS[planned.standing], planned.detail
    for task in work:
        if task.state == "doubt":
            return Status.IN_DOUBT, _why(task)
    for task in work:
        if task.state in ("ready", "acting", "waiting"):
            return (Status.PLANNED, _why(task)) if task.state == "ready" and task.error is None else (Status.WAITING, _why(task))
    for task in work:
        if task.state == "pending":
            if task.action == "email":
                return Status.REQUESTED, "the vendor was asked by e-mail; confirm when it has answered"
            if task.action == "manual":
                return Status.BY_HAND, "waits for a person"
            return Status.PENDING, _why(task) or "the vendor is working on it"
    return _finished(work, verifications)


def _finished(work: Sequence[Task], verifications: Sequence[Task]) -> tuple[Status, str]:
    kinds = {str(task.outcome["kind"]) for task in work if task.outcome}
    newest = verifications[-1] if verifications else None
    if newest is not None and newest.outcome is not None and newest.outcome["kind"] == "reappeared":
        return Status.REAPPEARED, f"{newest.outcome['count']} found again after erasure"
    if newest is not None and newest.state == "failed":
        return Status.COULD_NOT_CHECK, f"erased, but the verification failed: {_why(newest)}"
    if kinds & set(_CLEAN):
        if newest is not None and newest.outcome is not None and newest.outcome["kind"] == "verified":
            return Status.VERIFIED, ""
        return Status.DELETED, "" if newest is None else "verification is due"
    if "exported" in kinds:
        return Status.COPIED, ""
    if "opted_out" in kinds:
        return Status.OPTED_OUT, ""
    if "confirmed" in kinds:
        return Status.CONFIRMED, "a person made sure"
    if "retained" in kinds:
        return Status.RETAINED, ""
    return Status.NOTHING_FOUND, ""


def _superseded(task: Task) -> bool:
    """A failure that a newer plan took over."""
    return task.state == "done" and task.outcome is not None and task.outcome.get("kind") == "superseded"


def _why(task: Task) -> str:
    if task.error is not None:
        return str(task.error.get("message", task.error.get("class", "")))
    if task.outcome is not None and task.outcome.get("text"):
        return str(task.outcome["text"])
    return ""
