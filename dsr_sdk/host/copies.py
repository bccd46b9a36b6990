"""From exported records, sealed in the spool, to the package a person receives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from dsr_sdk.copy import Manifest, SourceCopy, Withheld, write_package
from dsr_sdk.engine.perform import spool_path
from dsr_sdk.engine.plan import Deed, Plan
from dsr_sdk.engine.report import Report, SourceReport, Status
from dsr_sdk.errors import LedgerError
from dsr_sdk.ledger.spool import read_lines
from dsr_sdk.ledger.tasks import Task
from dsr_sdk.registry import Registry
from dsr_sdk.request import Request
from dsr_sdk.result import Reason, Record

__all__ = ["make_copy"]

_UNCHECKED = frozenset(
    {
        Status.FAILED,
        Status.COULD_NOT_CHECK,
        Status.MISSING_IDENTIFIER,
        Status.AMBIGUOUS_IDENTIFIER,
        Status.PLANNED,
        Status.WAITING,
        Status.PENDING,
        Status.BY_HAND,
        Status.UNSUPPORTED,
    }
)


def make_copy(
    path: Path,
    *,
    request: Request,
    plan: Plan,
    report: Report,
    tasks: Sequence[Task],
    registry: Registry,
    spool: Path,
    company: str,
    made_at: datetime,
    progress: Callable[[str, int], None] | None,
    overwrite: bool,
) -> Manifest:
    """Write the package of a copy request from what its exports left in the spool. Streams; one source at a time."""
    name = request.subject.name
    return write_package(
        path,
        case=request.case,
        subject_name=" ".join(part for part in (name.first, name.last) if part) if name else None,
        company=company,
        language=request.language,
        made_at=made_at,
        sources=[_source(row, plan, tasks, registry, spool) for row in report.sources],
        progress=progress,
        overwrite=overwrite,
    )


def _source(row: SourceReport, plan: Plan, tasks: Sequence[Task], registry: Registry, spool: Path) -> SourceCopy:
    source = registry.sources.get(row.source)
    connector = source.connector if source else None
    # Collected twice, after planning again: the newer answer counts, and nothing is handed over twice.
    newest = {
        (task.payload["resource"], task.payload["id"]): task
        for task in tasks
        if task.source == row.source and task.action == "export" and task.state == "done" and task.payload is not None
    }
    exports = list(newest.values())
    planned = next((planned for planned in plan.sources if planned.source == row.source), None)
    withheld = tuple(
        Withheld(match.resource, Reason.VENDOR_CANNOT, match.note) for match in (planned.matches if planned else ()) if match.deed is Deed.LEAVE
    )
    found = {match.resource for match in (planned.matches if planned else ()) if match.deed is Deed.EXPORT}
    return SourceCopy(
        source=row.source,
        title=row.title,
        category=connector.category.value if connector else "",
        records=_records(exports, spool),
        withheld=withheld,
        could_not_check=(row.detail or row.status.value.replace("_", " ")) if row.status in _UNCHECKED else None,
        categories={holds.resource: holds.data for holds in connector.holds if holds.exported} if connector and found else {},
    )


def _records(exports: Sequence[Task], spool: Path) -> Iterator[Record]:
    """Records in the order they were exported; one that several matches share (a ticket of two accounts) is handed over once."""
    for task in exports:
        if task.key is None:
            continue
        try:
            for line in read_lines(spool_path(spool, task.case, task.id), task.key, f"spool:{task.id}"):
                data = json.loads(line)
                yield Record(data["resource"], data["data"])
        except OSError as error:
            raise LedgerError(f"what was collected cannot be read ({error.strerror})", source=str(spool), fix="plan, approve and run again") from None
