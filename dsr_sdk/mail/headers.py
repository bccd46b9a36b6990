"""What may stand in a mail header: addresses, domains and lines that cannot become a second header. No I/O.

Each function answers the value or raises `ValueError` with a sentence that starts with "is" or "holds" and never repeats the value.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["MAX_LINE", "checked_address", "checked_domain", "checked_header", "checked_line", "slug"]

MAX_LINE = 200

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?=[A-Za-z]){_LABEL}")
_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, lone surrogates, line and paragraph separators
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Embeddings, overrides and isolates: invisible, and able to show a line in another order than it has."""

_SPELT = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i"}
)
_APOSTROPHE = re.compile("['\u2018\u2019\u02bc`\u00b4]")


def checked_domain(value: str) -> str:
    """The domain in lower case. An international one is written in its ASCII form (``xn--...``): translating it here could name another."""
    if len(value) > 253 or not _DOMAIN.fullmatch(value):
        raise ValueError("is not a domain like requests.example.org (an international domain is written as xn--...)")
    return value.lower()


def checked_address(value: str) -> str:
    """The address as it is given, once it is certain that it is one address, in ASCII, and nothing else."""
    local, at, domain = value.rpartition("@")
    if not at or len(value) > 254 or len(local) > 64 or "=?" in value or not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise ValueError("is not one e-mail address like privacy@example.com (ASCII only; an international domain is written as xn--...)")
    return value


def checked_line(value: str, *, limit: int = MAX_LINE) -> str:
    """The text on one line: NFC, single spaces, no invisible changes of direction. Line breaks and control characters are refused."""
    if any(unicodedata.category(character) in _BREAKING for character in value):
        raise ValueError("holds a line break or a control character")
    value = " ".join(_DIRECTION.sub("", unicodedata.normalize("NFC", value)).split())
    if not value:
        raise ValueError("is empty")
    if len(value) > limit:
        raise ValueError(f"is longer than {limit} characters")
    return value


def checked_header(value: str, *, limit: int = MAX_LINE) -> str:
    """`checked_line` for a header: what looks like an encoded word is refused too, because the reader's program would decode it."""
    value = checked_line(value, limit=limit)
    if "=?" in value:
        raise ValueError("holds '=?', which a mail program would decode")
    return value


def slug(name: str) -> str:
    """The name as the local part of an address: ``Müller & Söhne`` becomes ``mueller-soehne``.

    Answers an empty string when a letter of the name has no spelling in ASCII: what would be left over (``Яндекс LLC`` as ``llc``)
    might be another company's name.
    """
    text = _APOSTROPHE.sub("", unicodedata.normalize("NFC", name).lower()).translate(_SPELT)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).lower()
    if any(character.isalnum() and not character.isascii() for character in text):
        return ""
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:64].strip("-")
