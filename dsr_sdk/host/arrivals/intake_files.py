"""Taking in a file of requests: checked whole first, then taken in, a few hundred cases a transaction.

Every row without a reference gets one that follows from the file and its place in it. The same file imported again, say after a power cut
in the middle, therefore makes no case twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sqlalchemy import func, select

from dsr_sdk.errors import RequestError
from dsr_sdk.host.arrivals.intake_rows import Format, Row, request_of, rows_of
from dsr_sdk.host.desk import now
from dsr_sdk.host.settings import FormField
from dsr_sdk.ledger.book import chunks
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.schema import cases
from dsr_sdk.request import Channel, Request

if TYPE_CHECKING:
    from dsr_sdk.host.arrivals.intake import Intake

__all__ = ["FileImport", "ImportResult", "format_of"]

_TOLD = 200
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of a file.

    Attributes:
        rows: The requests it holds, right and wrong.
        taken: New cases; of a dry run, the cases it would make.
        duplicates: Rows whose reference is known already, or stands in an earlier row: they lead to the case there is.
        wrong: Rows that cannot be taken.
        errors: Line and sentence of the first 200 of them, without values.
    """

    rows: int
    taken: int
    duplicates: int
    wrong: int
    errors: tuple[tuple[int, str], ...]


class FileImport:
    """One file on its way in.

    Args:
        stream: Binary; is read from where it stands, twice.
        on_progress: Told ``checked`` or ``taken``, and how many rows so far.
    """

    def __init__(self, intake: Intake, stream: IO[bytes], format: Format, on_progress: Callable[[str, int], None]) -> None:
        self._intake = intake
        self._stream = stream
        self._format: Format = format
        self._tell = on_progress
        self._start = stream.tell()
        self._own: Mapping[str, FormField] = {field.name: field for field in intake.host.config.privacy_center.fields}
        self._now = now()
        self._digest = ""
        self._seen: set[bytes] = set()
        self._unknown: list[bytes] = []
        self.rows = self.wrong = self.fresh = self.repeated = 0
        self.errors: list[tuple[int, str]] = []

    def check(self) -> ImportResult:
        """Read it once, and say what it would make."""
        hashed = _Hashed(self._stream)
        for row in rows_of(hashed, self._format):
            self.rows += 1
            try:
                self._count(self._request(row))
            except RequestError as error:
                self.wrong += 1
                if len(self.errors) < _TOLD:
                    self.errors.append((row.line, str(error)))
            if self.rows % _CHUNK == 0:
                self._look_up()
                self._tell("checked", self.rows)
        self._look_up()
        self._tell("checked", self.rows)
        self._digest = hashed.digest
        return ImportResult(self.rows, self.fresh, self.repeated, self.wrong, tuple(self.errors))

    def take(self, *, by: str, vouched: bool = True) -> ImportResult:
        """Read it again after `check`, and take in every row that is right."""
        self._stream.seek(self._start)
        taken = done = 0
        waiting: list[Request] = []

        def commit() -> None:
            nonlocal taken, done
            found = self._intake.take_many(waiting, by=by, by_hand=not vouched)
            taken += sum(row.new for row in found)
            done += len(found)
            waiting.clear()
            self._tell("taken", done)

        for row in rows_of(self._stream, self._format):
            try:
                request = self._request(row)
            except RequestError:
                continue  # told by the check
            if request.reference is None:
                request = request.model_copy(update={"reference": f"import-{self._digest}-{row.line}"})
            waiting.append(request)
            if len(waiting) == _CHUNK:
                commit()
        if waiting:
            commit()
        return ImportResult(self.rows, taken, done - taken, self.wrong, tuple(self.errors))

    def _request(self, row: Row) -> Request:
        if row.fields is None:
            raise RequestError(row.error)
        request = request_of(row.fields, channel=Channel.IMPORT, own=self._own)
        self._intake.check_time(request, self._now)
        return request

    def _count(self, request: Request) -> None:
        if request.reference is None:
            self.fresh += 1
            return
        digest = self._intake.vault.fingerprint("reference", request.reference)
        if digest in self._seen:
            self.repeated += 1
        else:
            self._seen.add(digest)
            self._unknown.append(digest)

    def _look_up(self) -> None:
        """Which of the references have a case already."""
        with reading(self._intake.ledger.engine) as connection:
            for chunk in chunks(self._unknown):
                known = connection.execute(select(func.count()).where(cases.c.reference_fingerprint.in_(chunk))).scalar_one()
                self.repeated += known
                self.fresh += len(chunk) - known
        self._unknown.clear()


class _Hashed:
    """A stream, and the hash of what was read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        return self._noted(self._stream.read(size))

    def readline(self, size: int = -1, /) -> bytes:
        return self._noted(self._stream.readline(size))

    def _noted(self, data: bytes) -> bytes:
        self._hash.update(data)
        return data

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def format_of(path: Path) -> Format:
    """The format that a file's name tells. Raises `RequestError` when it tells none."""
    match path.suffix.lower():
        case ".csv":
            return "csv"
        case ".json":
            return "json"
        case ".jsonl" | ".ndjson":
            return "jsonl"
    raise RequestError("is not told by the name of the file", field="format", fix="csv, json or jsonl")
