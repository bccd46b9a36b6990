"""From exported records, sealed in the spool, to the package a person receives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dsr_sdk.copy import Handed, Manifest, SourceCopy, Withheld, write_package
from dsr_sdk.engine.perform import spool_path
from dsr_sdk.engine.plan import Deed, Plan
from dsr_sdk.engine.report import Report, SourceReport, Status
from dsr_sdk.errors import LedgerError
from dsr_sdk.host.process.redaction import Redactor
from dsr_sdk.ledger.spool import read_lines
from dsr_sdk.ledger.tasks import Task
from dsr_sdk.registry import Registry
from dsr_sdk.request import Request
from dsr_sdk.result import Reason, Record

__all__ = ["copied", "make_copy", "person_of", "records_of"]

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
    return write_package(
        path,
        case=request.case,
        subject_name=person_of(request),
        company=company,
        language=request.language,
        made_at=made_at,
        sources=[copied(row, plan, tasks, registry, spool) for row in report.sources],
        progress=progress,
        overwrite=overwrite,
    )


def person_of(request: Request) -> str | None:
    """How the page addresses the person."""
    name = request.subject.name
    return " ".join(part for part in (name.first, name.last) if part) if name else None


def copied(
    row: SourceReport,
    plan: Plan | None,
    tasks: Sequence[Task],
    registry: Registry,
    spool: Path,
    *,
    redactor: Redactor | None = None,
    handed: tuple[Handed, ...] = (),
    elsewhere: bool = False,
) -> SourceCopy:
    """One data source's part of a package: what was collected there, without what is redacted, and what people added."""
    source = registry.sources.get(row.source)
    connector = source.connector if source else None
    planned = next((planned for planned in plan.sources if planned.source == row.source), None) if plan else None
    withheld = tuple(
        Withheld(match.resource, Reason.VENDOR_CANNOT, match.note) for match in (planned.matches if planned else ()) if match.deed is Deed.LEAVE
    )
    found = {match.resource for match in (planned.matches if planned else ()) if match.deed is Deed.EXPORT}
    records = records_of(row.source, tasks, spool)
    if redactor is not None:
        withheld += tuple(Withheld(resource, Reason.OTHERS_DATA, text) for resource, text in redactor.left_out(row.source).items())
        records = redactor.apply(row.source, records)
    return SourceCopy(
        source=row.source,
        title=row.title,
        category=connector.category.value if connector else "",
        records=records,
        withheld=withheld,
        could_not_check=(row.detail or row.status.value.replace("_", " ")) if row.status in _UNCHECKED else None,
        categories={holds.resource: holds.data for holds in connector.holds if holds.exported} if connector and found else {},
        handed=handed,
        elsewhere=elsewhere,
    )


def records_of(source: str, tasks: Sequence[Task], spool: Path) -> Iterator[Record]:
    """What was collected at one data source, in the order it was exported.

    Collected twice, after planning again: the newer answer counts, and nothing is handed over twice.
    """
    newest: Mapping[tuple[str, str], Task] = {
        (task.payload["resource"], task.payload["id"]): task
        for task in tasks
        if task.source == source and task.action == "export" and task.state == "done" and task.payload is not None
    }
    return _records(list(newest.values()), spool)


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
