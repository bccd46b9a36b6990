"""How cases stand, as people read it. No personal data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dsr_sdk.cli import output

if TYPE_CHECKING:
    from dsr_sdk.engine import Drained, Report
    from dsr_sdk.ledger.cases import Case

__all__ = ["case_json", "show", "show_all", "show_cases", "show_drained"]

FEW = 3
MANY = 40


def show(report: Report) -> None:
    """One case, source by source."""
    closed = f", closed {output.when(report.closed_at)}" if report.closed_at else ""
    output.say(f"{report.case}  {output.words(report.type)}  {report.status}  received {output.when(report.received_at)}{closed}")
    if not report.sources:
        output.say("not planned yet")
        return
    rows = [
        (
            row.source,
            row.title,
            output.words(row.status.value),
            ", ".join(f"{output.words(kind)} {count}" for kind, count in row.outcomes.items()),
            output.when(row.last_deleted),
            output.when(row.next_at),
            row.detail,
        )
        for row in report.sources
    ]
    output.table(("source", "title", "status", "records", "last deleted", "next due", "detail"), rows)
    for row in report.sources:
        for resource, text in row.retained:
            output.say(output.clean(f"{row.source}: kept: {resource}: {text}"))


def show_all(reports: Sequence[Report]) -> None:
    """Cases in full when they are few, otherwise a line each, those that need someone first."""
    if len(reports) <= FEW:
        for number, report in enumerate(reports):
            if number:
                output.say()
            show(report)
        return
    ordered = sorted(reports, key=lambda report: (not report.needs_someone, report.settled))
    output.table(("case", "type", "status", "settled", "open"), [_line(report) for report in ordered[:MANY]])
    if len(reports) > MANY:
        output.say(f"and {len(reports) - MANY} more: dsr status")
    settled = sum(1 for report in reports if report.settled)
    output.say(f"{len(reports)} cases: {settled} settled, {sum(1 for report in reports if report.needs_someone)} need someone")


def _line(report: Report) -> tuple[object, ...]:
    from dsr_sdk.engine.report import UNSETTLED

    unsettled = [(row.status.value, row.source) for row in report.sources if row.status in UNSETTLED]
    return (
        report.case,
        output.words(report.type),
        report.status,
        f"{len(report.sources) - len(unsettled)}/{len(report.sources)}",
        "; ".join(output.grouped(unsettled)),
    )


def show_cases(cases: Sequence[Case]) -> None:
    """A list of cases."""
    rows = [
        (case.number, output.words(case.type), case.status, case.regime or "", output.when(case.received_at), output.when(case.closed_at))
        for case in cases
    ]
    output.table(("case", "type", "status", "regime", "received", "closed"), rows)


def case_json(case: Case) -> dict[str, Any]:
    """A case of a list, for ``--json``."""
    return {
        "case": case.number,
        "type": case.type,
        "scope": case.scope,
        "channel": case.channel,
        "regime": case.regime,
        "status": case.status,
        "received_at": case.received_at.isoformat(),
        "closed_at": case.closed_at.isoformat() if case.closed_at else None,
        "shredded": case.shredded,
    }


def show_drained(drained: Sequence[Drained]) -> None:
    """What came of draining everything that was due."""
    rows = [
        (row.source, row.finished, row.failed, row.postponed, "another run is at it" if row.busy else str(row.halted) if row.halted else "")
        for row in drained
    ]
    output.table(("source", "finished", "failed", "postponed", "detail"), rows)
