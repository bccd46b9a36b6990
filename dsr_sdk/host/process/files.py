"""Files of a case: evidence, proofs of identity, what is added to a copy by hand, and the copy itself. Sealed before they touch the disk.

A file comes as a stream and is never whole in memory, is cut off the moment it is larger than it may be, and is kept only when its own
bytes say that it is of a kind that people need: a document, a picture, a text. What its sender calls it decides nothing. Archives are
taken for copies alone, where an agent adds what a vendor handed over, and nothing here ever unpacks one: a zip bomb stays as small as it is.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import DsrError, LedgerError, RequestError
from dsr_sdk.host.cases.verification import Requirement
from dsr_sdk.host.desk import Desk, now
from dsr_sdk.host.process.file_kinds import Pieces, clean_name, kind_of
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import case_sources, files
from dsr_sdk.ledger.spool import SpoolWriter, read_blocks
from dsr_sdk.request import RequestType

if TYPE_CHECKING:
    from dsr_sdk.ledger.vault import CaseKey

__all__ = ["PURPOSES", "FileInfo", "Files"]

PURPOSES = ("evidence", "identity", "copy", "package", "message")
"""What a file is for."""

MOST = 100
"""Files that one case may have at a time of the person's, and as many of agents'."""

_ABANDONED = 24 * 3600.0
"""Seconds after which what an interrupted upload left behind is thrown away."""
_LEFT = 3600.0
"""Seconds after which a stored file that the ledger does not name is no file that is just being taken in."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as the ledger knows it. `name` is what its sender called it, made harmless; ``repr`` hides it."""

    id: int
    case: str
    purpose: str
    source: str | None
    name: str = field(repr=False)
    media_type: str
    size: int
    sha256: str
    created_at: datetime
    created_by: str
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Files(Desk):
    """Files attached to cases."""

    def attach(
        self,
        case: str,
        stream: BinaryIO | Iterable[bytes],
        *,
        name: str,
        media_type: str = "",
        purpose: str,
        source: str | None = None,
        by: str,
    ) -> FileInfo:
        """Take a file in.

        Args:
            stream: Read to its end, or to the byte that is one too many.
            name: As its sender calls it; made harmless.
            media_type: As its sender declares it. Only tells kinds of text apart: everything else is told by the bytes.
            purpose: ``evidence``, ``identity``, ``copy`` or ``message``.
            source: The data source it proves, or was collected from; for a copy, one of the request's.
            by: An account, or ``subject``.

        Raises:
            RequestError: Empty, too large, of a kind that is not taken, one too many, or for a purpose that this request has not; nothing of
                it is kept.
            LedgerError: It cannot be stored: the disk is full, or the case was shredded.
        """
        if purpose not in PURPOSES or purpose == "package":
            raise RequestError("there is no such purpose", field="purpose", fix=f"one of: {', '.join(PURPOSES)}")
        pieces = Pieces(stream, self.settings.max_file_mb * 1024 * 1024)
        kind = kind_of(pieces.head(), media_type, archives=purpose == "copy")
        return self.keep(case, pieces, name=clean_name(name, kind), media_type=kind, purpose=purpose, source=source, by=by)

    def keep(
        self,
        case: str,
        pieces: Iterable[bytes],
        *,
        name: str,
        media_type: str,
        purpose: str,
        source: str | None,
        by: str,
        extra: Mapping[str, Any] | None = None,
        along: Callable[[Connection, Book, FileInfo], None] | None = None,
    ) -> FileInfo:
        """Seal bytes that are trusted as they are; what `attach` ends in. `along` is called in the transaction that makes the file known."""
        with self.reading() as connection:
            current = self.ledger.cases.get(connection, case)
            key = self.ledger.cases.key(connection, case)
            _open(current)
            self._fits(connection, current, purpose, source)
        stored = secrets.token_hex(16)
        path = self._path(case, stored)
        size = 0
        try:
            with _storing(path), SpoolWriter(path, key, _context(stored)) as spool:
                for piece in pieces:
                    spool.write(piece)
                    size += len(piece)
            with self.deciding() as (connection, book):
                self.ledger.cases.hold(connection, [case])
                key = self.ledger.cases.key(connection, case)  # raises when it was shredded meanwhile
                _open(self.ledger.cases.get(connection, case))
                if purpose != "package" and self._count(connection, case, by) >= MOST:
                    raise RequestError(f"a case has at most {MOST} files", source=case, fix="remove one first")
                told = json.dumps({"name": name, "media_type": media_type, "stored": stored, **(extra or {})}, ensure_ascii=False).encode()
                values = {
                    "case": case,
                    "purpose": purpose,
                    "source": source,
                    "sealed": key.seal(told, "files.sealed"),
                    "size": size,
                    "sha256": spool.sha256,
                    "created_at": book.now,
                    "created_by": by,
                }
                id_ = int(connection.execute(insert(files).values(**values).returning(files.c.id)).scalar_one())
                info = FileInfo(id_, case, purpose, source, name, media_type, size, spool.sha256, book.now, by, dict(extra or {}))
                if purpose != "package":
                    book.note(case, "file.attached", by, file=id_, purpose=purpose, source=source, bytes=size, sha256=spool.sha256)
                if along is not None:
                    along(connection, book, info)
        except BaseException:
            path.unlink(missing_ok=True)
            for folder in (path.parent, path.parent.parent):
                with suppress(OSError):  # it still holds others' files, or a shredding has taken it already
                    folder.rmdir()
            raise
        return info

    def _fits(self, connection: Connection, case: Case, purpose: str, source: str | None) -> None:
        """Refuse what has no place in a case."""
        if purpose == "copy" and case.type != RequestType.COPY:  # where archives would be taken, and nobody would get to see it
            raise RequestError("is not a copy request", source=case.number, fix="attach it as evidence")
        if purpose == "identity" and self.host.workflow.requirement(case) is Requirement.FORBIDDEN:
            raise RequestError("the law forbids asking for proof of identity", source=case.number, fix="keep none: it is not needed")
        if purpose == "copy" and source is not None:  # it stands in the copy under this name
            mine = case_sources.c.case == case.number, case_sources.c.source == source
            if connection.execute(select(case_sources.c.source).where(*mine)).first() is None:
                raise RequestError("is no data source of this request", field="source", source=case.number, fix="choose one")

    @contextmanager
    def attached(
        self, case: str, uploads: Iterable[tuple[BinaryIO, str, str]], *, purpose: str, source: str | None = None, by: str
    ) -> Iterator[list[int]]:
        """Attach files to what is done within the block; their ids. When that fails, or one of them is not taken, nothing of it is kept.

        Args:
            uploads: Stream, name and media type of each, as `attach` takes them.
        """
        ids: list[int] = []
        try:
            for stream, name, media_type in uploads:
                ids.append(self.attach(case, stream, name=name, media_type=media_type, purpose=purpose, source=source, by=by).id)
            yield ids
        except BaseException:
            for id_ in ids:
                with suppress(DsrError):
                    self._take_out(case, id_, by, lambda row: True)
            raise

    def of(self, case: str, *, purpose: str | None = None, source: str | None = None) -> list[FileInfo]:
        """The files of a case, oldest first; the generated copy only when it is asked for by its purpose."""
        with self.reading() as connection:
            return self.listed(connection, self.ledger.cases.get(connection, case), purpose=purpose, source=source)

    def listed(self, connection: Connection, case: Case, *, purpose: str | None = None, source: str | None = None) -> list[FileInfo]:
        """`of`, in a transaction that is open already."""
        if case.shredded:
            return []
        query = select(files).where(files.c.case == case.number, files.c.removed_at.is_(None)).order_by(files.c.id)
        query = query.where(files.c.purpose == purpose) if purpose else query.where(files.c.purpose != "package")
        if source is not None:
            query = query.where(files.c.source == source)
        rows = connection.execute(query).all()
        if not rows:
            return []
        key = self.ledger.cases.key(connection, case.number)
        return [_info(row, key) for row in rows]

    def by_source(self, connection: Connection, case: Case) -> dict[str, tuple[FileInfo, ...]]:
        """The files that belong to data sources, by their names."""
        found: dict[str, list[FileInfo]] = {}
        for info in self.listed(connection, case):
            if info.source is not None:
                found.setdefault(info.source, []).append(info)
        return {source: tuple(infos) for source, infos in found.items()}

    def read(self, case: str, id: int, *, by: str | None = None) -> tuple[FileInfo, Iterator[bytes]]:
        """A file and its bytes. What was tampered with is noticed when the stream gets there: `VaultError`.

        Args:
            by: The person who looks at it; stands in the audit log. None when a program does, on a person's behalf.

        Raises:
            LedgerError: There is no such file, or it cannot be read.
        """
        with self.reading() as connection:
            row = connection.execute(select(files).where(files.c.case == case, files.c.id == id, files.c.removed_at.is_(None))).first()
            if row is None:
                raise LedgerError("there is no such file", source=case, fix="look at the case again")
            key = self.ledger.cases.key(connection, case)
        info = _info(row, key)
        stored = str(info.extra["stored"])
        path = self._path(case, stored)
        if not path.is_file():
            raise LedgerError("the file is not where it was stored", source=case, fix="restore the spool from a backup")
        if by is not None:
            with self.deciding() as (_, book):
                book.note(case, "file.read", by, file=id, purpose=info.purpose)
        return info, read_blocks(path, key, _context(stored))

    def remove(self, case: str, id: int, *, by: str, purpose: str | None = None) -> None:
        """Throw a file away, as long as the case is open: a proof of identity, what was added to a copy, or evidence that proves nothing yet.
        What the person was told or has sent, and what proves a deletion, stays.

        Args:
            purpose: What it must be for; None for any that may be removed.

        Raises:
            RequestError: The case is closed, there is no such file, or it stays.
        """
        self._take_out(case, id, by, lambda row: purpose in (None, row.purpose) and _removable(row))

    def _take_out(self, case: str, id: int, by: str, fits: Callable[[Any], bool]) -> None:
        with self.deciding() as (connection, book):
            self.ledger.cases.hold(connection, [case])
            _open(self.ledger.cases.get(connection, case))
            key = self.ledger.cases.key(connection, case)
            row = connection.execute(select(files).where(files.c.case == case, files.c.id == id, files.c.removed_at.is_(None))).first()
            if row is None or row.purpose == "package":
                raise RequestError("there is no such file", source=case, fix="look at the case again")
            if not fits(row):
                raise RequestError("this file stays with the case", source=case, fix="remove proofs of identity, and files added to a copy")
            stored = self.drop(connection, key, case, [id])
            book.note(case, "file.removed", by, file=id)
        self.discard(case, stored)

    def drop(self, connection: Connection, key: CaseKey, case: str, ids: Sequence[int]) -> list[str]:
        """Take files off the ledger in the open transaction; hand the answer to `discard` once that is committed."""
        mine = files.c.case == case, files.c.id.in_(list(ids)), files.c.removed_at.is_(None)
        stored = [str(_info(row, key).extra["stored"]) for row in connection.execute(select(files).where(*mine))]
        connection.execute(update(files).where(*mine).values(removed_at=now(), sealed=None))
        return stored

    def discard(self, case: str, stored: Sequence[str]) -> None:
        """Delete what the ledger has let go of."""
        for name in stored:
            self._path(case, name).unlink(missing_ok=True)

    def tidy(self) -> int:
        """Delete what crashes left on the disk: sealed files older than an hour that no row of the ledger names (any more); how many.

        Cases that this ledger does not know are somebody else's, and one whose rows cannot be read is left alone.
        """
        gone = 0
        for folder in sorted(self.host.spool.glob("DSR-*/files")):
            case = folder.parent.name
            old = [path for path in folder.iterdir() if _older(path, _ABANDONED if path.suffix == ".part" else _LEFT)]
            known = self._stored(case) if old else None  # read after the folder: what is there for an hour has its row by now, or never
            if known is None:
                continue
            for path in old:
                if path.suffix == ".part" or (path.suffix == ".sealed" and path.stem not in known):
                    path.unlink(missing_ok=True)
                    gone += 1
        return gone

    def _stored(self, case: str) -> set[str] | None:
        """The names under which the files of a case are stored; None when they cannot be told."""
        with self.reading() as connection, suppress(LedgerError):
            current = self.ledger.cases.get(connection, case)
            infos = (*self.listed(connection, current), *self.listed(connection, current, purpose="package"))
            return {str(info.extra["stored"]) for info in infos}
        return None

    def prove(self, connection: Connection, case: Case, ids: Sequence[int], source: str) -> None:
        """Say of files that they are evidence of what was done at a data source."""
        if not ids:
            return
        mine = files.c.case == case.number, files.c.id.in_(list(ids)), files.c.removed_at.is_(None)
        if connection.execute(update(files).where(*mine).values(source=source)).rowcount != len(set(ids)):
            raise RequestError("there is no such file", source=case.number, fix="attach it first")

    def _count(self, connection: Connection, case: str, by: str) -> int:
        """Files of the person's are counted by themselves: however many they send, agents can still add theirs."""
        whose = files.c.created_by == "subject" if by == "subject" else files.c.created_by != "subject"
        mine = files.c.case == case, files.c.removed_at.is_(None), files.c.purpose != "package", whose
        return int(connection.execute(select(func.count()).select_from(files).where(*mine)).scalar_one())

    def _path(self, case: str, stored: str) -> Path:
        return self.host.spool / case / "files" / f"{stored}.sealed"


def _info(row: Any, key: CaseKey) -> FileInfo:
    told = json.loads(key.open(row.sealed, "files.sealed"))
    name, media_type = told.pop("name"), told.pop("media_type")
    return FileInfo(row.id, row.case, row.purpose, row.source, name, media_type, row.size, row.sha256, row.created_at, row.created_by, extra=told)


def _removable(row: Any) -> bool:
    return row.purpose in ("identity", "copy") or (row.purpose == "evidence" and row.source is None)


def _context(stored: str) -> str:
    return f"file:{stored}"


def _open(case: Case) -> None:
    if case.stage is None or case.stage == "closed":
        raise RequestError("the case is closed" if case.stage else "the case is not in the workflow", source=case.number)


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    """Makes the folder, throws away what interrupted uploads left in it, and says what a disk's refusal means."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in path.parent.glob("*.part"):
            if _older(left, _ABANDONED):
                left.unlink(missing_ok=True)
        yield
    except OSError as error:
        raise LedgerError(f"the file cannot be stored ({error.strerror})", source=str(path.parents[2]), fix="free some space, or mend it") from None


def _older(path: Path, seconds: float) -> bool:
    with suppress(FileNotFoundError):  # another upload that has just ended well
        return time.time() - path.stat().st_mtime > seconds
    return False
