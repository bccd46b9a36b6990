"""Copies: looked through, redacted, and generated as one sealed package.

What a package is made from is remembered with it, so that a copy generated before the last redaction, or before the last file was added, is
never handed out. How it is handed out: see `dsr_sdk.host.process.handover` and `pickup`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from dsr_sdk.copy import Handed, Manifest, SourceCopy, pack, write_package
from dsr_sdk.engine import Plan, SourceReport, Status
from dsr_sdk.errors import LedgerError, RequestError
from dsr_sdk.host.answers.links import Purpose
from dsr_sdk.host.copies import copied, person_of, records_of
from dsr_sdk.host.desk import now
from dsr_sdk.host.process.files import FileInfo
from dsr_sdk.host.process.handover import PackageInfo, copy_case, inputs_of
from dsr_sdk.host.process.panel import UNDER_WAY, SourceState, sources_of, title_of
from dsr_sdk.host.process.pickup import Pickup
from dsr_sdk.host.process.planned import said_of, standing
from dsr_sdk.host.process.redaction import Redaction, Redactor, fields_of, record_key
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import redactions
from dsr_sdk.ledger.tasks import Task
from dsr_sdk.ledger.vault import CaseKey
from dsr_sdk.result import Record

__all__ = ["Delivery", "PackageInfo", "Preview", "PreviewRecord"]

SHOWN = 2000
"""Characters of a value that the preview shows."""


@dataclass(frozen=True, slots=True)
class PreviewRecord:
    """A record as the agent looks through it.

    Attributes:
        key: What `Delivery.redact` takes.
        fields: JSON pointer -> text, shortened; in the clear, whatever is redacted.
        redacted: Pointers that the person will not see.
        hidden: Whether the person will not see the record at all.
    """

    key: str
    source: str
    resource: str
    fields: dict[str, str] = field(repr=False)
    redacted: frozenset[str] = field(repr=False)
    hidden: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """Some of the records of a copy; `next` is where the next ones begin, None at the end."""

    records: tuple[PreviewRecord, ...]
    next: str | None


class Delivery(Pickup):
    """The copy of a case. `by` names who decides."""

    # --- looking through -----------------------------------------------------------------------------------------------------------

    def preview(self, case: str, *, after: str | None = None, limit: int = 100) -> Preview:
        """What was collected, a page at a time, and what of it is redacted.

        Args:
            after: `Preview.next` of the page before.

        Raises:
            RequestError: The case is no copy request, or `after` is of no page.
        """
        start = 0 if after is None else int(after) if after.isascii() and after.isdigit() and len(after) < 12 else -1
        if start < 0:
            raise RequestError("there is no such page", field="after")
        wanted: dict[str, list[Redaction]] = {}
        for redaction in self.redactions(case):
            wanted.setdefault(redaction.record, []).append(redaction)
        page = list(islice(self._records(case), start, start + limit + 1))
        shown = []
        for key, source, record in page[:limit]:
            mine = wanted.get(key, [])
            pointers = frozenset(redaction.field for redaction in mine if redaction.field is not None)
            fields = {pointer: text[:SHOWN] for pointer, text in fields_of(record.data)}
            shown.append(PreviewRecord(key, source, record.resource, fields, pointers, any(redaction.field is None for redaction in mine)))
        return Preview(tuple(shown), str(start + limit) if len(page) > limit else None)

    def _records(self, case: str, source: str | None = None) -> Iterator[tuple[str, str, Record]]:
        with self.reading() as connection:
            current = copy_case(self.ledger.cases.get(connection, case))
            exports = self.ledger.tasks.of(connection, [case], actions=["export"], sources=[source] if source else [])
        for name in sorted({task.source for task in exports}):
            for record in records_of(name, exports, self.host.spool):
                yield record_key(self.vault, current.number, name, record), name, record

    # --- redaction -----------------------------------------------------------------------------------------------------------------

    def redact(self, case: str, source: str, resource: str, record_key: str, field: str | None, *, by: str, reason: str) -> int:
        """Take something out of the copy; the id of the redaction. The package must be generated again afterwards.

        Args:
            record_key: `PreviewRecord.key`.
            field: The JSON pointer of a value, or of an object or list that goes as a whole; None for the whole record.
            reason: Why; kept sealed, and not shown to the person.

        Raises:
            RequestError: There is no such record or field, or no reason is given.
        """
        if not reason.strip():
            raise RequestError("a redaction needs a reason", field="reason")
        for key, _, record in self._records(case, source):
            if key == record_key and record.resource == resource:
                known = field is None or any(pointer == field or pointer.startswith(f"{field}/") for pointer, _ in fields_of(record.data))
                if known and field != "":
                    break
                raise RequestError("the record has no such field", field="field", source=source, fix="look at the preview again")
        else:
            raise RequestError("there is no such record", field="record_key", source=source, fix="look at the preview again")
        with self.deciding() as (connection, book):
            current = self._open_copy(connection, case)
            for known_one in self._redactions(connection, current):
                if (known_one.record, known_one.field) == (record_key, field):
                    return known_one.id
            told = json.dumps({"record": record_key, "field": field, "reason": reason.strip()}, ensure_ascii=False).encode()
            sealed = self.ledger.cases.key(connection, case).seal(told, _CONTEXT)
            values = {"case": case, "source": source, "resource": resource, "sealed": sealed, "created_at": book.now, "created_by": by}
            id_ = int(connection.execute(insert(redactions).values(**values).returning(redactions.c.id)).scalar_one())
            book.note(case, "copy.redacted", by, redaction=id_, source=source, resource=resource, whole=field is None)
        return id_

    def restore(self, case: str, redaction_id: int, *, by: str) -> None:
        """Take a redaction back.

        Raises:
            RequestError: There is none of this number.
        """
        with self.deciding() as (connection, book):
            self._open_copy(connection, case)
            mine = redactions.c.case == case, redactions.c.id == redaction_id
            if connection.execute(delete(redactions).where(*mine)).rowcount != 1:
                raise RequestError("there is no such redaction", source=case, fix="look at the preview again")
            book.note(case, "copy.restored", by, redaction=redaction_id)

    def redactions(self, case: str) -> list[Redaction]:
        """What is taken out of the copy, oldest first."""
        with self.reading() as connection:
            return self._redactions(connection, copy_case(self.ledger.cases.get(connection, case)))

    def _redactions(self, connection: Connection, case: Case) -> list[Redaction]:
        if case.shredded:
            return []
        key = self.ledger.cases.key(connection, case.number)
        rows = connection.execute(select(redactions).where(redactions.c.case == case.number).order_by(redactions.c.id))
        return [_redaction(row, key) for row in rows]

    def _open_copy(self, connection: Connection, number: str) -> Case:
        return copy_case(self.held(connection, number, stage=("process", "reply")))

    # --- generating ----------------------------------------------------------------------------------------------------------------

    def generate(self, case: str, *, by: str, progress: Callable[[str, int], None] | None = None) -> PackageInfo:
        """Make the package: what was collected, what was added by hand, without what is redacted. It replaces an earlier one, and links to
        that one are over.

        Raises:
            ConflictError: The case is neither being processed nor in reply.
            RequestError: The case is no copy request, data sources are still being collected, nothing is there yet, or a redaction fits no
                record any more.
            LedgerError: The package cannot be stored.
        """
        with self.deciding() as (connection, _):
            inputs = inputs_of(connection, self._open_copy(connection, case))
        folder = self.host.spool / case
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=folder) as file:  # nameless: neither a crash nor a kill leaves it behind
                manifest = self._make(case, lambda parts: pack(file, folder, progress=progress, **parts))
                size = file.tell()
                file.seek(0)
                told = {"manifest_sha256": manifest.sha256, "files": len(manifest.files), "inputs": inputs, "made_at": manifest.made_at.isoformat()}
                dropped: list[str] = []

                def replacing(connection: Connection, book: Book, info: FileInfo) -> None:
                    earlier = [old.id for old in self.host.files.listed(connection, self.ledger.cases.get(connection, case), purpose="package")]
                    key = self.ledger.cases.key(connection, case)
                    dropped.extend(self.host.files.drop(connection, key, case, [id_ for id_ in earlier if id_ != info.id]))
                    for purpose in (Purpose.COPY, Purpose.PICKUP):
                        self.host.links.revoke(case, purpose, connection=connection)
                    book.note(case, "copy.generated", by, manifest_sha256=manifest.sha256, bytes=size, files=len(manifest.files))

                info = self.host.files.keep(
                    case,
                    iter(lambda: file.read(256 * 1024), b""),
                    name=f"copy-{case}.zip",
                    media_type="application/zip",
                    purpose="package",
                    source=None,
                    by=by,
                    extra=told,
                    along=replacing,
                )
        except OSError as error:
            raise LedgerError(f"the copy cannot be made ({error.strerror})", source=str(self.host.spool), fix="free some space, or mend it") from None
        self.host.files.discard(case, dropped)
        return PackageInfo(manifest.sha256, info.size, len(manifest.files), manifest.made_at, current=True)

    def generable(self, case: str) -> str:
        """Why no package can be made now, as a sentence; empty when one can."""
        with self.reading() as connection:
            current = copy_case(self.ledger.cases.get(connection, case))
            try:
                rows = self._reports(connection, current)
            except RequestError as error:
                return f"{title_of(self.host, error.source or '')} {error.message}"
            added = self.host.files.listed(connection, current, purpose="copy")
        return "" if added or any(row.status is not Status.COULD_NOT_CHECK for row in rows) else "nothing was collected yet"

    def write(self, case: str, path: Path, *, by: str, progress: Callable[[str, int], None] | None = None, overwrite: bool = False) -> Manifest:
        """Write the same package to a file of the operator's own, in the open: for `Host.copy`."""
        manifest = self._make(case, lambda parts: write_package(path, progress=progress, overwrite=overwrite, **parts))
        with self.deciding() as (_, book):
            book.note(case, "copy.made", by, manifest_sha256=manifest.sha256)
        return manifest

    def _make(self, case: str, write: Callable[[dict[str, Any]], Manifest]) -> Manifest:
        with self.reading() as connection:
            current = copy_case(self.ledger.cases.get(connection, case))
            request = self.ledger.cases.requests(connection, [case])[case]
            rows = self._reports(connection, current)
            stands = standing(self.ledger, connection, current)
            plan = stands.plan
            elsewhere = {name for name, tasks in stands.tasks.items() if said_of(tasks) == "elsewhere"}
            exports = self.ledger.tasks.of(connection, [case], actions=["export"])
            redactor = Redactor(self.vault, case, self._redactions(connection, current), request.language)
            added = self.host.files.listed(connection, current, purpose="copy")
        if not added and not any(row.status is not Status.COULD_NOT_CHECK for row in rows):
            raise RequestError("nothing was collected yet", source=case, fix="search the data sources, and collect what is found")
        return write(
            {
                "case": case,
                "subject_name": person_of(request),
                "company": self.host.config.host.company,
                "language": request.language,
                "made_at": now(),
                "sources": self._sources(rows, plan, exports, redactor, added, elsewhere),
            }
        )

    def _sources(
        self,
        rows: Sequence[SourceReport],
        plan: Plan | None,
        exports: Sequence[Task],
        redactor: Redactor,
        added: Sequence[FileInfo],
        elsewhere: Set[str],
    ) -> Iterator[SourceCopy]:
        for row in rows:
            handed, apart = self._handed(added, {row.source}), row.source in elsewhere
            yield copied(row, plan, exports, self.host.registry, self.host.spool, redactor=redactor, handed=handed, elsewhere=apart)
        others = {info.source for info in added} - {row.source for row in rows}
        if others:
            yield SourceCopy("added", self.host.config.host.company, "", (), handed=self._handed(added, others))
        if redactor.unmet:  # raised in here, before the package is put in place: what should be blank may stand in it
            raise RequestError(
                f"{len(redactor.unmet)} redactions fit no record any more: it was collected again, and has changed",
                source=redactor.unmet[0].source,
                fix="look at the preview again, redact anew and take the old redactions back",
            )

    def _reports(self, connection: Connection, case: Case) -> list[SourceReport]:
        reports = standing(self.ledger, connection, case).reports
        rows = []
        for row in sources_of(self.host, connection, case)[0]:
            if row.state in UNDER_WAY or row.state is SourceState.SEARCHING:
                raise RequestError("is still being collected", source=row.source, fix="wait for it to end")
            reported = reports.get(row.source)
            if reported is None or (not row.ticked and row.state is not SourceState.NOTHING_FOUND):
                # Whatever a search has found there: nothing of it was collected, and the copy must not look as if there was nothing.
                reported = SourceReport(row.source, row.title, Status.COULD_NOT_CHECK, detail="was not collected")
            rows.append(replace(reported, title=row.title))
        return rows

    def _handed(self, added: Sequence[FileInfo], sources: Set[str | None]) -> tuple[Handed, ...]:
        return tuple(Handed(info.name, info.size, self.host.files.read(info.case, info.id)[1]) for info in added if info.source in sources)


_CONTEXT = "redactions.sealed"


def _redaction(row: Any, key: CaseKey) -> Redaction:
    told = json.loads(key.open(row.sealed, _CONTEXT))
    return Redaction(row.id, row.case, row.source, row.resource, told["record"], told["field"], told["reason"], row.created_at, row.created_by)
