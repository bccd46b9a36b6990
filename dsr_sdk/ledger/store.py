"""The ledger: what must never be lost, in one place. Personal data is sealed on the way in and opened on the way out."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection, Engine

from dsr_sdk.ledger import audit
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import Cases
from dsr_sdk.ledger.plans import Plans
from dsr_sdk.ledger.schema import audit as audit_table
from dsr_sdk.ledger.tasks import Tasks
from dsr_sdk.ledger.vault import Vault

__all__ = ["Ledger"]


class Ledger:
    """Cases, plans and tasks over one database.

    Args:
        engine: From `open_database`.
        vault: Opens and seals personal data.
    """

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self.engine = engine
        self.vault = vault
        self.cases = Cases(vault)
        self.tasks = Tasks(vault)
        self.plans = Plans(self.tasks)

    def write(self, connection: Connection, book: Book) -> None:
        """Append the collected audit events. Call it once, last, in a transaction."""
        if book.events:
            audit.append(connection, self.vault, book.events)

    def noted_since(self, connection: Connection, number: str, event: str, actor: str, since: datetime) -> bool:
        """Whether the log says this of a case and an actor already, at `since` or later."""
        wanted = audit_table.c.case == number, audit_table.c.event == event, audit_table.c.actor == actor, audit_table.c.at >= since
        return connection.execute(select(audit_table.c.n).where(*wanted).limit(1)).first() is not None

    def history(self, connection: Connection, number: str) -> list[dict[str, Any]]:
        """The audit events of a case, oldest first."""
        rows = connection.execute(
            select(audit_table.c.n, audit_table.c.at, audit_table.c.actor, audit_table.c.event, audit_table.c.data)
            .where(audit_table.c.case == number)
            .order_by(audit_table.c.n)
        )
        return [{"n": n, "at": at, "actor": actor, "event": event, "data": json.loads(data)} for n, at, actor, event, data in rows]
