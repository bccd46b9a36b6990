"""Which files are taken, told by their own bytes, how many of those, and what they may be called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO, Final

from dsr_sdk.errors import RequestError

__all__ = ["Pieces", "clean_name", "kind_of"]

_PIECE: Final = 256 * 1024
_HEAD: Final = 4096

_SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "application/pdf": ("pdf",),
    "image/png": ("png",),
    "image/jpeg": ("jpg", "jpeg"),
    "image/gif": ("gif",),
    "image/webp": ("webp",),
    "image/tiff": ("tif", "tiff"),
    "image/heic": ("heic", "heif"),
    "text/plain": ("txt", "log", "md"),
    "text/csv": ("csv",),
    "application/json": ("json", "jsonl", "ndjson"),
    "message/rfc822": ("eml",),
    "application/zip": ("zip", "docx", "xlsx", "pptx", "odt", "ods"),
}
"""Every kind that is taken, and what the names of such files may end in. No kind that a browser would run."""

_SIGNATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"PK\x03\x04", "application/zip"),
)
_TEXTS: Final = ("text/plain", "text/csv", "application/json", "message/rfc822")
_HEIC: Final = (b"heic", b"heix", b"heim", b"mif1")
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_LONGEST: Final = 120
_RESERVED: Final = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


def kind_of(head: bytes, declared: str = "", *, archives: bool = False) -> str:
    """The media type of a file, by its first bytes.

    Args:
        declared: What its sender says; believed only in what kind of text it is.
        archives: Whether zip archives are taken, and with them the documents of office programs. None is ever unpacked.

    Raises:
        RequestError: It is of no kind that is taken.
    """
    found = next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), "")
    if not found and head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = "image/webp"
    if not found and head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        found = "image/heic"
    if not found and not _BINARY.search(head):
        plain = declared.partition(";")[0].strip().lower()
        found = plain if plain in _TEXTS else "text/plain"
    if found == "application/zip" and not archives:
        found = ""
    if not found:
        archive = " or a zip archive" if archives else ""
        raise RequestError(f"files of this kind are not taken{archive and ' here'}", field="file", fix=f"send a PDF, a picture, a text{archive}")
    return found


def clean_name(name: str, kind: str) -> str:
    """A name that is safe to show, to store and to download under: without folders, control and invisible characters, not too long, and
    ending as files of its kind do."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name[:2000]))[-1]
    visible = "".join(character for character in last if unicodedata.category(character)[0] != "C")
    safe = re.sub(r'[<>:"|?*\s]+', " ", visible).strip(" .")
    stem, dot, suffix = safe.rpartition(".")
    if not dot or suffix.lower() not in _SUFFIXES[kind]:
        stem, suffix = safe, _SUFFIXES[kind][0]
    stem = stem[: _LONGEST - len(suffix) - 1].strip(" .") or "file"
    if stem.partition(".")[0].lower() in _RESERVED:
        stem = f"_{stem}"
    return f"{stem}.{suffix}"


class Pieces:
    """The bytes of an upload, never more of them at a time than a piece, and never more in all than `most`."""

    def __init__(self, stream: BinaryIO | Iterable[bytes], most: int) -> None:
        self._most = most
        read = getattr(stream, "read", None)
        self._source: Iterator[bytes] = iter(lambda: read(_PIECE), b"") if read is not None else iter(stream)
        self._head = b""

    def head(self) -> bytes:
        """The first few thousand bytes; they come again when the whole is read."""
        while len(self._head) < _HEAD:
            piece = next(self._source, None)
            if piece is None:
                break
            self._head += piece
            if len(self._head) > self._most:
                break
        if not self._head:
            raise RequestError("the file is empty", field="file")
        return self._head[:_HEAD]

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        first, self._head = self._head, b""
        for piece in chain((first,), self._source):
            size += len(piece)
            self._check(size)
            yield piece

    def _check(self, size: int) -> None:
        if size > self._most:
            raise RequestError(f"the file is larger than {self._most // (1024 * 1024)} MB", field="file", fix="send a smaller one")
