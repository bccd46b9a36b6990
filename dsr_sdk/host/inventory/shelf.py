"""Where the inventory's systems stand in the ledger: read, locked, changed and audited. Base of the inventory's parts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Row, delete, insert, select, union, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host.desk import HOST, Desk
from dsr_sdk.host.inventory.catalogue import spelt
from dsr_sdk.host.inventory.sources import changed
from dsr_sdk.host.inventory.systems import System, of_file, of_row
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.desk import case_sources, inventory
from dsr_sdk.ledger.schema import cases, tasks
from dsr_sdk.ledger.tasks import LIVE

__all__ = ["Shelf"]


class Shelf(Desk):
    """Reads and changes the rows of the inventory."""

    def systems(self, *, handling: bool | None = None, category: str | None = None, text: str | None = None, proposed: bool = False) -> list[System]:
        """The systems the company uses, by title: those of ``dsr.toml``, and those added since.

        Args:
            handling: Only those that take part in request handling, or only the others; None for both.
            category: Only of this category.
            text: Only where all these words occur in name, title, vendor, domain or owner.
            proposed: What a discovery has proposed and nobody has decided about, in place of the rest.
        """
        words = spelt(text or "").split()
        found = []
        for system in self._all():
            if proposed != (system.state == "proposed") or system.state == "dismissed":
                continue
            haystack = spelt(" ".join((system.name, system.title, system.vendor or "", system.domain or "", system.owner or "")))
            if handling in (None, system.handling) and category in (None, system.category) and all(word in haystack for word in words):
                found.append(system)
        return sorted(found, key=lambda system: (system.title.casefold(), system.name))

    def get(self, name: str) -> System:
        """One system, whatever its state. Raises `RequestError` when there is none."""
        with self.reading() as connection:
            row = connection.execute(select(inventory).where(inventory.c.name == name)).first()
        if name in self.host.config.sources:
            return of_file(self.host, name, row)
        if row is None or row.state == "configured":
            raise _unknown(name)
        return of_row(self.host, row)

    def _all(self) -> Iterator[System]:
        with self.reading() as connection:
            rows = {row.name: row for row in connection.execute(select(inventory))}
        for name in self.host.config.sources:
            yield of_file(self.host, name, rows.pop(name, None))
        for row in rows.values():
            if row.state != "configured":
                yield of_row(self.host, row)

    # --- changing --------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[tuple[Connection, Book]]:
        """A transaction in which the inventory changes. Those who change it come one after the other; afterwards this host follows."""
        with self.deciding() as (connection, book):
            changed(connection)  # its row is locked until the end, so nobody else decides meanwhile
            yield connection, book
        self.host.refresh_sources()

    def kept(
        self, connection: Connection, name: str, *, revision: int | None = None, states: tuple[str, ...] = ("accepted",), lock: bool = True
    ) -> Row[Any]:
        """A system that the inventory may change, as it stands.

        Args:
            lock: Keep it from others until the transaction ends; False where nothing is written.

        Raises:
            RequestError: There is none, or it stands in ``dsr.toml``.
            ConflictError: It is in another state, or someone else has changed it since the caller looked.
        """
        if name in self.host.config.sources:
            raise RequestError("this data source stands in dsr.toml", source=name, fix="change it there, and open the host again")
        query = select(inventory).where(inventory.c.name == name)
        row = connection.execute(query.with_for_update() if lock else query).first()
        if row is None or row.state == "configured":
            raise _unknown(name)
        if row.state not in states:
            raise ConflictError(f"it is {row.state}, not {' or '.join(states)}", source=name, fix="look at it again")
        if revision is not None and revision != row.revision:
            raise ConflictError("someone else has changed it meanwhile", source=name, fix="look at it again")
        return row

    def put(self, connection: Connection, book: Book, row: Row[Any], event: str, by: str, values: Mapping[str, Any], **facts: Any) -> None:
        """Change a row, and say so in the audit log. `facts` never hold what stands in a setting."""
        told = {
            key: json.dumps(value, sort_keys=True) if key in ("settings", "offered") and value is not None else value for key, value in values.items()
        }
        connection.execute(update(inventory).where(inventory.c.name == row.name).values(updated_at=book.now, revision=row.revision + 1, **told))
        book.note(HOST, event, by, system=row.name, **facts)

    def place(self, connection: Connection, book: Book, by: str, **values: Any) -> None:
        """Add a row."""
        values["settings"] = json.dumps(values.get("settings") or {}, sort_keys=True)
        # What was noted about a data source that has left dsr.toml since is not the new one's.
        connection.execute(delete(inventory).where(inventory.c.name == values["name"], inventory.c.state == "configured"))
        connection.execute(insert(inventory).values(created_at=book.now, created_by=by, updated_at=book.now, **values))

    def taken(self, connection: Connection) -> set[str]:
        """Names that a new system cannot have."""
        return {*self.host.config.sources, *connection.execute(select(inventory.c.name).where(inventory.c.state != "configured")).scalars()}

    def open_work(self, connection: Connection, name: str) -> int:
        """How many requests still have work at a data source, or have chosen it."""
        working = select(tasks.c.case).where(tasks.c.source == name, tasks.c.state.in_(LIVE))
        chosen = (
            select(case_sources.c.case)
            .join(cases, cases.c.case == case_sources.c.case)
            .where(case_sources.c.source == name, case_sources.c.overridden_at.is_(None), cases.c.stage == "process")
        )
        return len(connection.execute(union(working, chosen)).all())

    def idle(self, connection: Connection, name: str) -> None:
        """Raises `ConflictError` when requests still have work at a data source."""
        count = self.open_work(connection, name)
        if count:
            which = "a request still has" if count == 1 else f"{count} requests still have"
            raise ConflictError(
                f"{which} work there", source=name, fix="finish them first, or take it out of request handling: what is under way is then finished"
            )


def _unknown(name: str) -> RequestError:
    return RequestError("there is no such system in the inventory", source=name if name.isascii() and len(name) <= 63 else None)
