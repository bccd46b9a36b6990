"""One zip for one person: written as the records arrive, put in place only when it is whole, and checked again by anyone.

Invariants: memory does not grow with the records; ``path`` either does not exist or is a whole package; a source that was not asked to
the end is never told as a clean result; the same input gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import stat
import sys
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from dsr_sdk.copy.manifest import (
    INDEX,
    MANIFEST,
    README,
    FileEntry,
    HandedEntry,
    Manifest,
    ResourceEntry,
    SourceEntry,
    WithheldEntry,
    status_of,
)
from dsr_sdk.copy.page import Page
from dsr_sdk.copy.parts import Handed, SourceCopy
from dsr_sdk.copy.preview import Preview
from dsr_sdk.copy.spool import Spool
from dsr_sdk.errors import ConfigError, ContractError, DsrError
from dsr_sdk.result import Record

if sys.platform != "win32":
    import fcntl

__all__ = ["pack", "verify_package", "write_package"]

RESOURCES = 1000  # kinds of records one source may have; more means that ids are used as names
PROGRESS = 500  # records between two calls of `progress`
_CHUNK = 256 * 1024
_LARGEST_MANIFEST = 64 * 1024 * 1024

Progress = Callable[[str, int], None]


def write_package(
    path: Path,
    *,
    case: str,
    subject_name: str | None,
    company: str,
    language: str,
    made_at: datetime,
    sources: Iterable[SourceCopy],
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Write the package to `path` (mode 0600) and return its manifest.

    Args:
        path: Where it goes. While it is being written it is ``<path>.part``; whatever goes wrong, nothing of it is left.
        case: The case number the person quotes.
        subject_name: How the page addresses it; ``None`` leaves the line out.
        company: The controller, as the person knows it.
        language: BCP 47 tag; English and German are spoken, everything else gets English.
        made_at: When the copy was made, with time zone; also the date of every file in the archive.
        sources: Consumed once, one source at a time.
        progress: Called with a source's name and its number of records so far, every few hundred records and at its end.
        overwrite: Replace a package that is already there.

    Raises:
        ConfigError: `path` exists and `overwrite` is not set, cannot be written to, or is being written by another process.
        ContractError: A source yields something that is not a record, or whose data is not JSON. Names source and resource, no values.
    """
    with _replacing(path, overwrite=overwrite) as file:
        return pack(
            file,
            path.parent,
            case=case,
            subject_name=subject_name,
            company=company,
            language=language,
            made_at=made_at,
            sources=sources,
            progress=progress,
        )


def pack(
    file: IO[bytes],
    directory: Path,
    *,
    case: str,
    subject_name: str | None,
    company: str,
    language: str,
    made_at: datetime,
    sources: Iterable[SourceCopy],
    progress: Progress | None = None,
) -> Manifest:
    """Write the package into an open file instead, which is left open; nameless temporary files stand in `directory` meanwhile.

    See `write_package`. What `file` holds when this raises is no package.
    """
    if made_at.tzinfo is None:
        raise ConfigError("has no time zone", field="made_at")
    page = Page(case, subject_name, company, language, made_at.astimezone(UTC), _sdk_version())
    with Spool(directory) as sections, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        writer = _Writer(archive, page, directory, progress)
        entries: list[SourceEntry] = []
        for number, source in enumerate(sources, 1):
            entry, section = writer.source(number, source)
            entries.append(entry)
            sections.append(str(number), section.encode())
        kept = (b"".join(sections.chunks(str(number))).decode() for number in range(1, len(entries) + 1))
        for chunk in page.index(entries, kept):
            sections.append(INDEX, chunk.encode())
        writer.add(INDEX, sections.chunks(INDEX), sections.size(INDEX))
        readme = page.readme(entries).encode()
        writer.add(README, [readme], len(readme))
        manifest = Manifest(
            case=case,
            company=company,
            language=page.texts.language,
            made_at=page.made_at,
            sdk_version=page.sdk_version,
            complete=not any(entry.incomplete for entry in entries),
            sources=tuple(entries),
            files=tuple(writer.files.values()),
        )
        writer.put(MANIFEST, [manifest.to_json()], len(manifest.to_json()))
    return manifest


class _Writer:
    """Adds sources and files to the archive, one after another."""

    def __init__(self, archive: zipfile.ZipFile, page: Page, directory: Path, progress: Progress | None) -> None:
        self._archive = archive
        self._page = page
        self._directory = directory
        self._progress = progress or (lambda source, records: None)
        self._date = _dos_date(page.made_at)
        self._folders: set[str] = set()
        self.files: dict[str, FileEntry] = {}

    def source(self, number: int, source: SourceCopy) -> tuple[SourceEntry, str]:
        """Take in one source to its end: its data files go into the archive, its entry and its section of the page come back."""
        counts: dict[str, int] = {}
        previews: dict[str, Preview] = {}
        with Spool(self._directory) as spool:
            why = self._gather(source, spool, counts, previews)
            folder = f"data/{_unique(source.source, self._folders)}"
            names: set[str] = set()
            unlisted = {item.resource for item in source.withheld}
            resources = []
            for name in dict.fromkeys((*source.categories, *counts)):
                count, categories = counts.get(name, 0), tuple(source.categories.get(name, ()))
                if count:
                    path = f"{folder}/{_unique(name, names)}.jsonl"
                    self.add(path, spool.chunks(name), spool.size(name), records=count)
                    resources.append(ResourceEntry(name=_sound(name), records=count, file=path, categories=categories))
                elif why is None and name not in unlisted:
                    resources.append(ResourceEntry(name=_sound(name), records=0, file=None, categories=categories))
        total = sum(counts.values())
        handed = self._handed(folder.removeprefix("data/"), source.handed)
        entry = SourceEntry(
            name=_sound(source.source),
            title=_sound(source.title),
            category=str(source.category),
            status=status_of(records=total + len(handed), withheld=bool(source.withheld), checked=why is None, elsewhere=source.elsewhere),
            elsewhere=source.elsewhere,
            incomplete=why is not None,
            could_not_check=None if why is None else _sound(why),
            records=total,
            resources=tuple(resources),
            withheld=tuple(WithheldEntry(resource=_sound(i.resource), reason=i.reason, text=_sound(i.text)) for i in source.withheld),
            handed=handed,
        )
        section = self._page.section(number, entry, self.files, {_sound(name): preview for name, preview in previews.items()})
        self._progress(source.source, total)
        return entry, section

    def _handed(self, folder: str, handed: Iterable[Handed]) -> tuple[HandedEntry, ...]:
        """Put the files that people added into the archive."""
        entries: list[HandedEntry] = []
        names: set[str] = set()
        for item in handed:
            stem, _, suffix = item.name.rpartition(".")
            kind = re.sub(r"[^a-z0-9]", "", suffix.lower())[:8] if stem else ""
            path = f"files/{folder}/{_unique(stem or item.name, names)}.{kind or 'bin'}"
            self.add(path, item.chunks, item.size)
            entries.append(HandedEntry(name=_sound(item.name), file=path))
        return tuple(entries)

    def _gather(self, source: SourceCopy, spool: Spool, counts: dict[str, int], previews: dict[str, Preview]) -> str | None:
        """Spool every record of the source. Returns why it could not be checked, or ``None`` when it was asked to its end."""
        total = 0
        room = self._page.room()
        records = iter(source.records)
        try:
            while True:
                try:
                    record = next(records)
                except StopIteration:
                    return source.could_not_check
                except DsrError as error:
                    return source.could_not_check if source.could_not_check is not None else error.message
                line = _line(record, source.source)
                name = record.resource
                if name not in counts:
                    if len(counts) >= RESOURCES:
                        raise ContractError(f"yields more than {RESOURCES} kinds of records: is an id used as a resource?", source=source.source)
                    counts[name] = 0
                    previews[name] = Preview(room.share(3))
                spool.append(name, line)
                previews[name].add(record.data)
                counts[name] += 1
                total += 1
                if total % PROGRESS == 0:
                    self._progress(source.source, total)
        finally:
            close = getattr(records, "close", None)
            if close is not None:
                close()  # a generator gives its connection back now, not when it is collected

    def add(self, path: str, chunks: Iterable[bytes], size: int, *, records: int | None = None) -> None:
        """Put a file into the archive and into the manifest."""
        digest = self.put(path, chunks, size)
        self.files[path] = FileEntry(path=path, bytes=size, records=records, sha256=digest)

    def put(self, path: str, chunks: Iterable[bytes], size: int) -> str:
        """Put a file into the archive. Returns its SHA-256."""
        info = zipfile.ZipInfo(path, self._date)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.create_system = 3
        info.external_attr = (stat.S_IFREG | 0o600) << 16
        info.file_size = size  # known ahead, so that zip64 is used exactly where it is needed
        digest = hashlib.sha256()
        with self._archive.open(info, "w", force_zip64=size >= 2**31) as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()


def _jsonable(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), default=_jsonable)
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def _line(record: object, source: str) -> bytes:
    """The record's data as one canonical line: sorted keys, no spaces, UTF-8."""
    if not isinstance(record, Record) or not isinstance(record.resource, str) or not record.resource:
        raise ContractError(f"export yields {type(record).__name__} where Record(resource, data) is expected", source=source)
    if not isinstance(record.data, Mapping):
        raise ContractError(f"a record of {_short(record.resource)} holds {type(record.data).__name__}, not an object", source=source)
    try:
        text = _ENCODER.encode(dict(record.data))
    except (TypeError, ValueError, RecursionError) as error:
        what = f"a value of type {error}" if isinstance(error, TypeError) and str(error).isidentifier() else "something"
        raise ContractError(f"a record of {_short(record.resource)} holds {what} that JSON cannot express", source=source) from None
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, from a vendor's own escapes: lossless in JSON as an escape
        return _HALF_CHARACTER.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode() + b"\n"


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:60] + "…")


def _sound(text: str) -> str:
    """`text` without half characters, which UTF-8 cannot hold."""
    return _HALF_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)


_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})  # no file names on Windows


def _unique(name: str, taken: set[str]) -> str:
    """`name` as a file name of ``[a-z0-9_-]``, told apart from those `taken` by a number."""
    folded = unicodedata.normalize("NFKD", name[:500]).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9_-]+", "-", folded).strip("-")[:60] or "unnamed"
    if base in _RESERVED:
        base += "_"
    chosen, n = base, 1
    while chosen in taken:
        n += 1
        chosen = f"{base}-{n}"
    taken.add(chosen)
    return chosen


def _dos_date(moment: datetime) -> tuple[int, int, int, int, int, int]:
    """The date of a zip entry: UTC, within the years and the two seconds that the format can tell."""
    if moment.year < 1980:
        return (1980, 1, 1, 0, 0, 0)
    if moment.year > 2107:
        return (2107, 12, 31, 23, 59, 58)
    return (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second // 2 * 2)


def _sdk_version() -> str:
    try:
        return importlib.metadata.version("dsr-sdk")
    except importlib.metadata.PackageNotFoundError:  # pragma: no cover - run from a checkout that was never installed
        return "unknown"


@contextlib.contextmanager
def _replacing(path: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """A file that becomes `path` when the block ends well, and leaves nothing behind when it does not."""
    part = path.with_name(path.name + ".part")
    if not path.parent.is_dir():
        raise ConfigError("the folder of the package does not exist", field="path", fix="create it first")
    try:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise ConfigError(f"the package cannot be written there: {error.strerror}", field="path") from None
    with os.fdopen(handle, "w+b") as file:
        if not _claimed(handle, part):
            raise ConfigError("another process is writing this package", field="path", fix="wait for it to end")
        try:
            _free(path, overwrite=overwrite)
            if sys.platform != "win32":
                os.fchmod(handle, 0o600)  # a part left by a killed process may be anything
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(handle)
            _free(path, overwrite=overwrite)
            if sys.platform == "win32":
                file.close()
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def _free(path: Path, *, overwrite: bool) -> None:
    if os.path.lexists(path) and (path.is_dir() or not overwrite):
        raise ConfigError("there is already a file of this name", field="path", fix="choose another name or set overwrite=True")


def _claimed(handle: int, part: Path) -> bool:
    """Whether we alone hold `part`: locked, and still the file of that name (another writer may just have renamed it into place)."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        here, there = os.fstat(handle), os.stat(part, follow_symlinks=False)
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError, KeyError)


def verify_package(path: Path) -> list[str]:
    """Read the package again and return what is wrong with it; an empty list means that it is as its manifest says.

    Checks that every file is there once and no other is, and that sizes, SHA-256 and the number of records agree. Safe on a file from
    anywhere: nothing is unpacked, and no more of a file is read than the manifest gives it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _problems(archive)
    except FileNotFoundError:
        return ["there is no such file"]
    except _UNREADABLE:
        return ["it is not a readable zip file"]


def _problems(archive: zipfile.ZipFile) -> list[str]:
    names = Counter(archive.namelist())
    if MANIFEST not in names:
        return [f"{MANIFEST} is missing"]
    try:
        with _opened(archive, MANIFEST) as file:
            raw = file.read(_LARGEST_MANIFEST + 1)
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        return [f"{MANIFEST} contradicts itself or is of another version ({error.error_count()} problems)"]
    except _UNREADABLE:
        return [f"{MANIFEST} cannot be read"]
    problems = []
    listed = {entry.path for entry in manifest.files} | {MANIFEST}
    problems += [f"{name!r} is in the package twice" for name, times in sorted(names.items()) if times > 1]
    problems += [f"{name!r} is in the package and not in the manifest" for name in sorted(set(names) - listed)]
    for entry in manifest.files:
        if entry.path not in names:
            problems.append(f"{entry.path} is missing")
            continue
        try:
            problems += _compare(archive, entry)
        except _UNREADABLE:
            problems.append(f"{entry.path} cannot be read")
    return problems


def _opened(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError  # this package is never written so; other methods need much memory to read
    return archive.open(info)


def _compare(archive: zipfile.ZipFile, entry: FileEntry) -> list[str]:
    digest, size, lines, last = hashlib.sha256(), 0, 0, b"\n"
    with _opened(archive, entry.path) as file:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            if size > entry.bytes:
                return [f"{entry.path} is larger than the manifest says"]
            digest.update(chunk)
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    problems = []
    if size != entry.bytes:
        problems.append(f"{entry.path} has {size} bytes, and the manifest says {entry.bytes}")
    if digest.hexdigest() != entry.sha256:
        problems.append(f"{entry.path} has been changed: its SHA-256 is not the manifest's")
    if entry.records is not None and (lines != entry.records or last != b"\n"):
        problems.append(f"{entry.path} has {lines} records, and the manifest says {entry.records}")
    return problems
