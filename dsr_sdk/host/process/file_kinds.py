"""Which files are taken, told by their own bytes, and what they may be called."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from dsr_sdk.errors import RequestError

__all__ = ["clean_name", "kind_of"]

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
