"""What the newest plans of a case say about its data sources, and what came of them.

In the workflow data sources are searched, and given free, a few at a time, so no single plan tells of all of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from dsr_sdk.engine import Plan, PlannedSource, Report, SourceReport, report
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import case_sources
from dsr_sdk.ledger.schema import audit
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.tasks import Task

__all__ = ["UNBEGUN", "WORK", "CaseStanding", "Planned", "handed_over", "joined", "newest", "said_of", "standing", "taken_on", "unbegun", "worked"]

WORK = ("erase", "export", "opt_out", "email", "manual")
"""Actions that carry out what was given free."""

UNBEGUN = ("ready", "waiting", "failed")
"""States of a letter in which no engine has it in hand."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One data source as the newest plan that covers it has it.

    Attributes:
        plan: The id of that plan.
        approved_at: When that plan was approved: the data source is given free. None while it only was searched.
    """

    row: PlannedSource
    plan: int
    made_at: datetime
    approved_at: datetime | None
    approved_by: str | None


def newest(
    ledger: Ledger, connection: Connection, number: str, wanted: Collection[str], *, approved: bool = False, upto: int | None = None
) -> dict[str, Planned]:
    """The newest word on each of these data sources; those that no plan covers are left out.

    Args:
        approved: Only plans that were approved.
        upto: Only plans up to this one: what someone saw who looked then.
    """
    found: dict[str, Planned] = {}
    left = set(wanted)
    if not left:
        return found
    for stored in ledger.plans.history(connection, number):
        if (upto is not None and stored.id > upto) or (approved and stored.approved_at is None):
            continue
        plan = Plan.from_body(
            stored.body,
            id=stored.id,
            case=number,
            hash=stored.hash,
            made_at=stored.made_at,
            approved_at=stored.approved_at,
            approved_by=stored.approved_by,
        )
        for row in plan.sources:
            if row.source in left:
                left.discard(row.source)
                found[row.source] = Planned(row, plan.id, plan.made_at, plan.approved_at, plan.approved_by)
        if not left:
            break
    return found


def joined(case: Case, planned: Iterable[Planned]) -> Plan | None:
    """One plan out of the newest words on several data sources; None for none. It has no hash: it is for reading, not for approving."""
    parts = list(planned)
    if not parts:
        return None
    approved = [part for part in parts if part.approved_at is not None]
    last = max(approved, key=lambda part: part.plan, default=None)
    return Plan(
        max(part.plan for part in parts),
        case.number,
        case.type,
        case.scope,
        tuple(part.row for part in parts),
        "",
        max(part.made_at for part in parts),
        approved_at=last.approved_at if last else None,
        approved_by=last.approved_by if last else None,
    )


@dataclass(frozen=True, slots=True)
class CaseStanding:
    """How a case stands at every data source that was chosen for it, or where something was done for it.

    Attributes:
        chosen: Rows of ``case_sources``, by data source.
        planned: The newest word of the plans, by data source.
        approved: What was approved last, where something else was found since.
        plan: What was approved last at each data source, or else found, as one plan to read; None when nothing was planned.
        tasks: By data source; not opened.
    """

    chosen: Mapping[str, Any]
    planned: dict[str, Planned]
    approved: Mapping[str, Planned]
    plan: Plan | None
    tasks: Mapping[str, list[Task]]
    report: Report

    @property
    def names(self) -> list[str]:
        """The data sources, in order."""
        return sorted({*self.chosen, *(name for name, rows in self.tasks.items() if worked(rows))})

    @property
    def reports(self) -> dict[str, SourceReport]:
        """What the engine reports, by data source."""
        return {row.source: row for row in self.report.sources}


def standing(ledger: Ledger, connection: Connection, case: Case) -> CaseStanding:
    """Read how a case of the workflow stands. The request is not opened."""
    chosen = {row.source: row for row in connection.execute(select(case_sources).where(case_sources.c.case == case.number))}
    tasks: dict[str, list[Task]] = {}
    for task in ledger.tasks.of(connection, [case.number], opened=False):
        tasks.setdefault(task.source, []).append(task)
    names = {*chosen, *(name for name, rows in tasks.items() if worked(rows))}
    planned: dict[str, Planned] = {}
    approved: dict[str, Planned] = {}
    if not case.shredded:
        planned = newest(ledger, connection, case.number, names)
        again = [name for name, part in planned.items() if part.approved_at is None and worked(tasks.get(name, ()))]
        approved = newest(ledger, connection, case.number, again, approved=True)
    plan = joined(case, (part for _, part in sorted((planned | approved).items())))
    return CaseStanding(chosen, planned, approved, plan, tasks, report(case, plan, [task for name in sorted(names) for task in tasks.get(name, ())]))


def unbegun(task: Task) -> bool:
    """A letter that waits to be sent, or that was refused, and that no engine has in hand."""
    return task.action == "email" and task.state in UNBEGUN


def said_of(tasks: Iterable[Task]) -> str:
    """What a person said their work came to, the newest word; empty where nobody did."""
    said = [str((task.outcome or {}).get("result", "")) for task in tasks if (task.outcome or {}).get("kind") == "confirmed"]
    return said[-1] if said else ""


def taken_on(tasks: Iterable[Task]) -> bool:
    """Whether the vendor has accepted everything that is still open: no try is outstanding, nothing is in flight, only its answer is."""
    left = [task for task in tasks if task.action in WORK and task.state != "done"]
    return bool(left) and all(task.action in ("erase", "opt_out") and task.state == "pending" for task in left)


def handed_over(connection: Connection, number: str) -> dict[str, datetime]:
    """When the letter to each data source left a case, or may have."""
    left = ("letter.sent", "letter.in_doubt", "letter.confirmed_sent")
    query = select(audit.c.at, audit.c.data).where(audit.c.case == number, audit.c.event.in_(left)).order_by(audit.c.n)
    return {str(json.loads(data)["source"]): at for at, data in connection.execute(query)}


def worked(tasks: Iterable[Task]) -> bool:
    """Whether a data source was given free and something came of it, or will."""
    return any(task.action in WORK and (task.outcome or {}).get("kind") != "superseded" for task in tasks)
