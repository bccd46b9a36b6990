"""Approval: exactly the plan that was seen becomes work, once, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.engine import Connection

from dsr_sdk.engine.plan import Deed, Plan, PlannedSource, Standing, plan_hash
from dsr_sdk.engine.settle import finish_cases
from dsr_sdk.errors import ApprovalError
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.tasks import LIVE, NewTask, Task, Update
from dsr_sdk.registry import Registry
from dsr_sdk.result import outcome_to_json

__all__ = ["approve"]

_GAPS = (Standing.COULD_NOT_CHECK, Standing.MISSING_IDENTIFIER, Standing.AMBIGUOUS_IDENTIFIER)


def approve(connection: Connection, ledger: Ledger, registry: Registry, plans: Sequence[Plan], by: str, book: Book) -> list[str]:
    """Approve plans in the open transaction: stores the approval and adds the tasks. Returns the cases that are thereby complete.

    Approving the same plan twice does nothing the second time.

    Raises:
        ApprovalError: A plan is not the newest of its case, or is not what was stored under its hash.
    """
    numbers = [plan.case for plan in plans]
    newest = ledger.plans.approvals(connection, numbers)
    existing: dict[str, list[Task]] = {}
    for task in ledger.tasks.of(connection, numbers, opened=False):
        existing.setdefault(task.case, []).append(task)
    new: list[NewTask] = []
    fresh: list[Plan] = []
    for plan in plans:
        id_, hash_, approved_at = newest.get(plan.case, (None, None, None))
        if (id_, hash_) != (plan.id, plan.hash):
            raise ApprovalError("the plan is not the newest of its case", source=plan.case, fix="look at the newest plan and approve that")
        if plan_hash(ledger.vault, plan.case, plan.type, plan.scope, plan.sources) != plan.hash:
            raise ApprovalError("the plan's contents do not fit its hash", source=plan.case, fix="make the plan again")
        if approved_at is not None:
            continue
        fresh.append(plan)
        new.extend(_Work(plan, registry, existing.get(plan.case, []), book).tasks())
    if not fresh:
        return []
    closed_gaps = [task for plan in fresh for task in existing.get(plan.case, []) if task.action == "gap" and task.state == "failed"]
    ledger.tasks.update(connection, [Update(task, "done", outcome={"kind": "superseded"}, finished_at=book.now) for task in closed_gaps])
    ledger.plans.mark_approved(connection, [plan.id for plan in fresh], by, book.now)
    ledger.tasks.add(connection, new, book.now)
    cases = [plan.case for plan in fresh]
    ledger.cases.set_status(connection, cases, "approved")
    for plan in fresh:
        book.note(plan.case, "plan.approved", by, hash=plan.hash)
    return finish_cases(connection, ledger, cases, book)


class _Work:
    """The tasks of one approved plan."""

    def __init__(self, plan: Plan, registry: Registry, existing: Sequence[Task], book: Book) -> None:
        self._plan = plan
        self._registry = registry
        self._existing = existing
        self._now = book.now
        live = {task.source for task in existing if task.state in LIVE and task.action not in ("find", "verify", "gap")}
        self._busy = live | {row.source for row in plan.sources if row.count(Deed.ERASE, Deed.OPT_OUT) or row.standing is Standing.BY_EMAIL}

    def tasks(self) -> list[NewTask]:
        """What is to be done, source by source."""
        return [task for row in self._plan.sources for task in self._of(row)]

    def _of(self, row: PlannedSource) -> list[NewTask]:
        case, source = self._plan.case, row.source
        if row.standing in _GAPS:
            # A gap is a task that has failed before it began: it keeps the case open until a later plan closes it.
            return [NewTask(case, source, "gap", "failed", None, outcome={"kind": row.standing.value, "text": row.detail})]
        if row.standing is Standing.BY_EMAIL:
            return [] if self._has(source, "email") else [NewTask(case, source, "email", *self._start(source))]
        if row.standing is Standing.BY_HAND:
            return [] if self._has(source, "manual") else [NewTask(case, source, "manual", "pending", None)]
        tasks = []
        for match in row.matches:
            if match.deed is Deed.RETAIN:
                retained = self._registry.sources[source].connector.held(match.resource).retained
                outcome = outcome_to_json(retained)
                tasks.append(NewTask(case, source, "erase", "done", None, match.match, match.resource, match.count, outcome))
            elif match.deed is not Deed.LEAVE:
                action = match.deed.value
                state, next_at = self._start(source) if match.deed is Deed.ERASE else ("ready", self._now)
                tasks.append(NewTask(case, source, action, state, next_at, match.match, match.resource, match.count))
        return tasks

    def _start(self, source: str) -> tuple[str, datetime | None]:
        waits = any(before in self._busy for before in self._registry.predecessors(source))
        return ("waiting", None) if waits else ("ready", self._now)

    def _has(self, source: str, action: str) -> bool:
        """A letter is sent once and a checklist entry stands once, however often a case is planned again."""
        return any(task.source == source and task.action == action and task.state != "failed" for task in self._existing)
