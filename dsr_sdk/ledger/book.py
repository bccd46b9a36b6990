"""Audit events of one transaction, collected so that they are appended once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from dsr_sdk.ledger import audit

__all__ = ["Book", "chunks"]

_T = TypeVar("_T")


class Book:
    """Audit events of one transaction, appended at its end by `Ledger.write`."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.events: list[audit.AuditEvent] = []

    def note(self, case: str, event: str, actor: str, **data: audit.JSON) -> None:
        """Something happened to a case. No personal data."""
        self.events.append(audit.AuditEvent(case, event, actor, data, self.now))


def chunks(values: Sequence[_T], size: int = 500) -> Iterator[Sequence[_T]]:
    """Slices of a list: SQLite takes a limited number of variables a statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
