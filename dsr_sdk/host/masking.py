"""A person named so far that whoever knows them can tell who is meant, and nobody else learns an address or a number from it."""

from __future__ import annotations

from dsr_sdk.identity import Email, Name, Phone
from dsr_sdk.request import Subject

__all__ = ["masked_address", "masked_subject"]


def masked_address(address: str) -> str:
    """``ada@example.com`` becomes ``a…@example.com``."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}" if at else f"{address[:1]}…"


def masked_subject(subject: Subject) -> str:
    """A short label: the masked address, else the initials, else the end of a telephone number; empty when only an id is known."""
    email = next(iter(subject.all(Email)), None)
    if email is not None:
        return masked_address(email.given or email.value)
    name = next(iter(subject.all(Name)), None)
    initials = " ".join(f"{part[0]}." for part in (name.first, name.last) if part) if name else ""
    phone = next(iter(subject.all(Phone)), None)
    return initials or (f"…{phone.value[-3:]}" if phone else "")
