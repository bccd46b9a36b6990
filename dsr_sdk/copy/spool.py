"""Where records wait until their file in the package can be written: many growing streams in one nameless temporary file.

A zip archive takes one stream at a time and a source may yield its resources in any order. One file for all of them, unlinked as it is
made, so that neither a crash nor ``kill -9`` leaves personal data behind, and a source with hundreds of resources needs one descriptor.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Spool"]

_BUFFERS = 4 * 1024 * 1024  # for all streams together
_LEAST, _MOST = 4 * 1024, 256 * 1024


class Spool:
    """Append-only byte streams, each known by a key. Memory stays within a few MB however much is appended."""

    def __init__(self, directory: Path) -> None:
        # Mode 0600 and, where the OS can, without a name from the start.
        self._file = tempfile.TemporaryFile(dir=directory, prefix=".dsr-", suffix=".spool")  # noqa: SIM115 - closed by `close`
        self._end = 0
        self._waiting: dict[str, bytearray] = {}
        self._blocks: dict[str, array[int]] = {}  # offset, length, offset, length ...
        self._sizes: dict[str, int] = {}

    def append(self, key: str, data: bytes) -> None:
        """Add `data` to the end of the stream `key`."""
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = bytearray()
            self._blocks[key] = array("Q")
            self._sizes[key] = 0
        waiting += data
        self._sizes[key] += len(data)
        if len(waiting) >= max(_LEAST, min(_MOST, _BUFFERS // len(self._waiting))):
            self._flush(key)

    def size(self, key: str) -> int:
        """How many bytes the stream holds."""
        return self._sizes.get(key, 0)

    def chunks(self, key: str) -> Iterator[bytes]:
        """The bytes of the stream, in order, in pieces of bounded size (or of the size they were appended in)."""
        if key not in self._blocks:
            return
        self._flush(key)
        blocks = self._blocks[key]
        for i in range(0, len(blocks), 2):
            self._file.seek(blocks[i])
            yield self._file.read(blocks[i + 1])

    def _flush(self, key: str) -> None:
        waiting = self._waiting[key]
        if waiting:
            self._file.seek(self._end)
            self._file.write(waiting)
            self._blocks[key].extend((self._end, len(waiting)))
            self._end += len(waiting)
            self._waiting[key] = bytearray()

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
