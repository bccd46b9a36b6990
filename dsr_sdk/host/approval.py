"""Approval: exactly the plan that was seen becomes work, once, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.engine import Connection

from dsr_sdk.engine.plan import Deed, Plan, PlannedSource, Standing, plan_hash
from dsr_sdk.engine.settle import again, finish_cases
from dsr_sdk.errors import ApprovalError
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.tasks import LIVE, NewTask, Task, Update
from dsr_sdk.registry import Registry
from dsr_sdk.result import outcome_to_json

__all__ = ["SUPERSEDED", "approve"]

SUPERSEDED = "superseded"
"""Outcome kind of a failed task that a newer plan took over; it counts for nothing any more."""

_GAPS = (Standing.COULD_NOT_CHECK, Standing.MISSING_IDENTIFIER, Standing.AMBIGUOUS_IDENTIFIER)


def approve(connection: Connection, ledger: Ledger, registry: Registry, plans: Sequence[Plan], by: str, book: Book) -> list[str]:
    """Approve plans in the open transaction: stores the approval and adds the tasks. Returns the cases that are thereby complete.

    Approving the same plan twice does nothing the second time.

    Raises:
        ApprovalError: A plan is not the newest of its case, or is not what was stored under its hash.
    """
    numbers = [plan.case for plan in plans]
    ledger.cases.hold(connection, numbers)
    stages = ledger.cases.in_workflow(connection, numbers)
    for case, stage in stages.items():
        if stage != "process":
            fix = f"first: dsr case accept {case}" if stage == "review" else None
            raise ApprovalError(f"the case is in {stage}: only what is being processed can be approved", source=case, fix=fix)
    newest = ledger.plans.approvals(connection, numbers)
    existing: dict[str, list[Task]] = {}
    for task in ledger.tasks.of(connection, numbers, opened=False):
        existing.setdefault(task.case, []).append(task)
    failed = _failed(connection, ledger, existing)
    new: list[NewTask] = []
    revived: list[Update] = []
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
        work = _Work(plan, registry, existing.get(plan.case, []), failed, book)
        new.extend(work.tasks())
        revived.extend(work.revived)
    if not fresh:
        return []
    alive = {change.task.id for change in revived}
    superseded = [
        task
        for plan in fresh
        for task in existing.get(plan.case, [])
        if task.id not in alive and _superseded(task, plan, whole=plan.case not in stages)
    ]
    ledger.tasks.update(connection, [Update(task, "done", outcome={"kind": SUPERSEDED}, finished_at=book.now) for task in superseded])
    ledger.tasks.update(connection, revived)
    ledger.plans.mark_approved(connection, [plan.id for plan in fresh], by, book.now)
    ledger.tasks.add(connection, new, book.now)
    cases = [plan.case for plan in fresh]
    ledger.cases.set_status(connection, cases, "approved")
    for plan in fresh:
        book.note(plan.case, "plan.approved", by, hash=plan.hash)
    return finish_cases(connection, ledger, cases, book)


def _superseded(task: Task, plan: Plan, *, whole: bool) -> bool:
    """Whether a failed task is settled by a newer plan: gaps by every whole plan, other failures where the plan covers their data source
    again. In the workflow a plan tells of the data sources that are given free now, and of no other."""
    if task.state != "failed" or task.action in ("find", "verify"):
        return False
    if task.action == "gap":
        return whole or any(row.source == task.source for row in plan.sources)
    return any(row.source == task.source and row.standing not in _GAPS for row in plan.sources)


_Target = tuple[str, str, str, str, str, str]


def _failed(connection: Connection, ledger: Ledger, existing: Mapping[str, Sequence[Task]]) -> dict[_Target, Task]:
    """Failed work of these cases by case, source, action, match and account: an id of one account means nothing in another."""
    effects = (Deed.ERASE.value, Deed.OPT_OUT.value)
    cases = [case for case, tasks in existing.items() if any(task.state == "failed" and task.action in effects for task in tasks)]
    found = ledger.tasks.of(connection, cases, actions=effects)
    return {
        (task.case, task.source, task.action, str(task.payload["resource"]), str(task.payload["id"]), str(task.payload.get("account", ""))): task
        for task in found
        if task.state == "failed" and task.payload is not None
    }


class _Work:
    """The tasks of one approved plan."""

    def __init__(self, plan: Plan, registry: Registry, existing: Sequence[Task], failed: Mapping[_Target, Task], book: Book) -> None:
        for row in plan.sources:
            if row.matches and row.source not in registry.sources:
                raise ApprovalError("the plan names a data source that is not in use any more", source=row.source, fix="make the plan again")
        self.revived: list[Update] = []
        """Failed work that the plan asks for again. It goes on as itself: what the vendor may have done already must not be forgotten."""
        self._failed = failed
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
            about = {**match.match, "account": row.account} if row.account else match.match
            if match.deed is Deed.RETAIN:
                retained = self._registry.sources[source].connector.held(match.resource).retained
                outcome = outcome_to_json(retained)
                tasks.append(NewTask(case, source, "erase", "done", None, about, match.resource, match.count, outcome))
            elif match.deed not in (Deed.LEAVE, Deed.ALONG):
                action = match.deed.value
                state, next_at = self._start(source) if match.deed is Deed.ERASE else ("ready", self._now)
                target = case, source, action, match.resource, str(match.match["id"])
                failed = self._failed.get((*target, row.account)) or self._failed.get((*target, ""))
                if failed is not None:
                    change = again(failed, self._now)
                    self.revived.append(replace(change, state=state, next_at=next_at) if change.state == "ready" else change)
                    continue
                tasks.append(NewTask(case, source, action, state, next_at, about, match.resource, match.count))
        return tasks

    def _start(self, source: str) -> tuple[str, datetime | None]:
        waits = source in self._registry.sources and any(before in self._busy for before in self._registry.predecessors(source))
        return ("waiting", None) if waits else ("ready", self._now)

    def _has(self, source: str, action: str) -> bool:
        """A letter is sent once and a checklist entry stands once, however often a case is planned again."""
        mine = (task for task in self._existing if task.source == source and task.action == action and task.state != "failed")
        return any((task.outcome or {}).get("kind") != SUPERSEDED for task in mine)  # one that was cancelled was never sent
