"""Spools: sealed files that hold a case's exported records, a record a line, until the copy for the person is packed; and other bytes of
the case, such as files attached to it.

A vendor may hand over more than fits the memory, and none of it may lie on the disk in the open. A spool is written and read as a
stream: a file of sealed chunks, of which none can be changed, left out, repeated, moved within the file or into another.

Format: ``DSRSPL1\\n``, 8 random bytes, then chunks. A chunk is 4 bytes (its sealed length, big-endian) and AES-256-GCM under the case
key, with the 8 bytes and the chunk's index (4 bytes) as nonce, and the context, the index and whether it is the last as associated data.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from dsr_sdk.errors import VaultError
from dsr_sdk.ledger.vault import CaseKey

__all__ = ["SpoolWriter", "read_blocks", "read_lines"]

_MAGIC: Final = b"DSRSPL1\n"
_PREFIX_BYTES: Final = 8
_CHUNK_BYTES: Final = 65_536
_TAG_BYTES: Final = 16
_MAX_CHUNKS: Final = 2**32  # 256 TiB


class SpoolWriter:
    """Writes a spool: a context manager. The file appears under its name when the block ends well, whole and on the disk, or not at all.

    Args:
        path: Where the spool goes; it replaces what is there. While it is written, ``<name>.part`` stands beside it.
        case_key: The key of the case whose records these are: shredding the case makes the spool unreadable.
        context: What this spool is (``stripe/task 12``): it opens under the same context only.

    Raises:
        OSError: The directory is missing, or the disk is full; ``.part`` is gone then.
    """

    def __init__(self, path: Path, case_key: CaseKey, context: str) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._key = case_key
        self._context = context
        self._prefix = os.urandom(_PREFIX_BYTES)
        self._buffer = bytearray()
        self._index = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self.lines = 0
        """How many lines were written."""

    @property
    def sha256(self) -> str:
        """The hash of the plain text, newlines included, in hex: of what was written so far."""
        return self._digest.hexdigest()

    def __enter__(self) -> SpoolWriter:
        # Opened anew, and readable by its owner only: a .part left by a crash is worthless, and may have had other permissions.
        self._part.unlink(missing_ok=True)
        self._file = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        try:
            self._file.write(_MAGIC + self._prefix)
        except BaseException:
            self._discard()
            raise
        return self

    def write_line(self, line: bytes) -> None:
        """Add a line, given without its newline.

        Raises:
            ValueError: The line holds a newline, or the spool is not open.
        """
        if b"\n" in line:
            raise ValueError("a line holds no newline; JSON without indentation has none")
        self.write(line + b"\n")
        self.lines += 1

    def write(self, data: bytes) -> None:
        """Add bytes as they are; a spool written so is read with `read_blocks`.

        Raises:
            ValueError: The spool is not open.
        """
        if self._file is None:
            raise ValueError("the spool is not open")
        self._digest.update(data)
        self._buffer += data
        # One chunk stays behind: only at the end is it known which is the last.
        whole = max(0, len(self._buffer) - 1) // _CHUNK_BYTES * _CHUNK_BYTES
        for start in range(0, whole, _CHUNK_BYTES):
            self._write_chunk(self._file, bytes(self._buffer[start : start + _CHUNK_BYTES]), last=False)
        if whole:
            del self._buffer[:whole]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        file = self._file
        if kind is not None or file is None:
            self._discard()
            return
        try:
            self._write_chunk(file, bytes(self._buffer), last=True)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self._part.replace(self._path)
            _sync_directory(self._path.parent)  # without it the new name may be lost with the power, though the contents are not
        except BaseException:
            self._discard()
            raise
        self._file = None

    def _write_chunk(self, file: BinaryIO, data: bytes, *, last: bool) -> None:
        if self._index >= _MAX_CHUNKS:
            raise ValueError("a spool holds 256 TiB at most")
        sealed = self._key.seal_with_nonce(_nonce(self._prefix, self._index), data, _associated(self._context, self._index, last))
        file.write(len(sealed).to_bytes(4, "big"))
        file.write(sealed)
        self._index += 1

    def _discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # closing flushes, which fails again on a full disk: the file goes anyway
                self._file.close()
            self._file = None
            self._part.unlink(missing_ok=True)


def read_lines(path: Path, case_key: CaseKey, context: str) -> Iterator[bytes]:
    """The lines of a spool, without their newlines, as they are read: it holds one chunk and one line in memory.

    What was changed, cut short or put together from other spools is noticed when the stream gets there, so lines before it have been
    handed out by then: use none of them for good before the iterator has ended.

    Raises:
        VaultError: Truncated or tampered with, or another key or context than it was written with.
        OSError: The file is missing or cannot be read.
    """
    kept: list[bytes] = []  # the pieces of a line that spans chunks; joined once, so that a huge line does not cost its square
    for chunk in _chunks(path, case_key, context):
        first, *rest = chunk.split(b"\n")
        kept.append(first)
        for piece in rest:
            yield b"".join(kept)
            kept = [piece]
    if any(kept):
        raise VaultError("the spool ends within a line", source=str(path))


def read_blocks(path: Path, case_key: CaseKey, context: str) -> Iterator[bytes]:
    """The bytes of a spool, in pieces of at most 64 KB. As with `read_lines`, what was tampered with is noticed when the stream gets there.

    Raises:
        VaultError: Truncated or tampered with, or another key or context than it was written with.
        OSError: The file is missing or cannot be read.
    """
    yield from _chunks(path, case_key, context)


def _chunks(path: Path, case_key: CaseKey, context: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        header = file.read(len(_MAGIC) + _PREFIX_BYTES)
        if len(header) != len(_MAGIC) + _PREFIX_BYTES or not header.startswith(_MAGIC):
            raise VaultError("this is no spool, or it was cut short", source=str(path))
        prefix = header[len(_MAGIC) :]
        index = 0
        length = file.read(4)
        while True:
            size = int.from_bytes(length, "big")
            sealed = file.read(size) if len(length) == 4 and _TAG_BYTES <= size <= _CHUNK_BYTES + _TAG_BYTES else b""
            if len(sealed) != size or not sealed:
                raise VaultError(f"the spool was cut short, or tampered with, at chunk {index}", source=str(path))
            length = file.read(4)
            last = not length
            data = case_key.open_with_nonce(_nonce(prefix, index), sealed, _associated(context, index, last))
            if data is None:
                raise VaultError(
                    f"chunk {index} of the spool cannot be opened: wrong key or context, or it was cut short or tampered with", source=str(path)
                )
            yield data
            if last:
                return
            index += 1


def _nonce(prefix: bytes, index: int) -> bytes:
    return prefix + index.to_bytes(4, "big")


def _associated(context: str, index: int, last: bool) -> bytes:
    return b"dsr-sdk/v1/spool/" + index.to_bytes(4, "big") + (b"\1" if last else b"\0") + context.encode()


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # Windows cannot open a directory, and keeps its names in a journal
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
