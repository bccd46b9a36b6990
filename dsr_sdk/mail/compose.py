"""Letters: what is written to a vendor's privacy address, and in whose name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Letter", "Letterhead"]


@dataclass(frozen=True, slots=True)
class Letterhead:
    """In whose name letters are written: company, sending domain, the agent who gets the answers, the copy."""

    company: str
    domain: str
    agent: str
    cc: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter ready to send. ``repr`` hides it."""

    to: str
    sender: str
    reply_to: str
    subject: str
    body: str
    cc: str | None = None

    def __repr__(self) -> str:
        return "<Letter>"
