"""What everything that people do with cases stands on: one host, short transactions, and the rule that the second of two is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConfigError, ConflictError, LedgerError
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import CASE_COLUMNS, Case, case_of
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.schema import cases
from dsr_sdk.request import CASE_NUMBER

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host
    from dsr_sdk.host.settings import WorkflowSettings

__all__ = ["HOST", "Desk", "now"]

HOST: Final = "HOST"
"""Stands in the place of a case number in the audit log, for what concerns the host as a whole and no request."""


def now() -> datetime:
    """This moment, aware."""
    return datetime.now(UTC)


class Desk:
    """Base of the parts of request handling (`Host.workflow`, `Host.inbox`, ...). Threads may share them; they keep no state."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.ledger = host.ledger
        self.vault = host.ledger.vault

    @property
    def settings(self) -> WorkflowSettings:
        """``[workflow]``. Raises `ConfigError` for a host without it."""
        if self.host.config.workflow is None:
            raise ConfigError("this host has no workflow", field="workflow", fix="add a line [workflow] to dsr.toml")
        return self.host.config.workflow

    @property
    def address(self) -> str:
        """Where people reach the portal, for links that we hand out: as it is configured, never as a browser's header ``Host`` says. Raises
        `ConfigError` where nothing says it."""
        if self.host.config.workflow is None:
            fix = "add [workflow] with public_url to dsr.toml; without, set passwords on the command line: dsr accounts password"
            raise ConfigError("nothing says at which address people reach the portal", field="workflow.public_url", fix=fix)
        return self.host.config.workflow.public_url

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only transaction."""
        with reading(self.ledger.engine) as connection:
            yield connection

    @contextmanager
    def deciding(self) -> Iterator[tuple[Connection, Book]]:
        """A transaction, and the book of its audit events, which is written when the block ends well."""
        with writing(self.ledger.engine) as connection:
            book = Book(now())
            yield connection, book
            self.ledger.write(connection, book)

    def held(self, connection: Connection, number: str, *, stage: str | tuple[str, ...] | None = None, revision: int | None = None) -> Case:
        """A case of the workflow, kept from others until the transaction ends, if it still is what the caller has seen.

        Args:
            stage: Where it must stand; None for any stage.
            revision: What the caller has seen; None for a caller who has not looked.

        Raises:
            ConflictError: Someone else was faster, or the case is in another stage.
            LedgerError: There is no such case, or it is not in the workflow.
        """
        if not CASE_NUMBER.fullmatch(number):
            raise LedgerError("there is no such case", fix="see: dsr case list")
        self.ledger.cases.hold(connection, [number])
        row = connection.execute(select(*CASE_COLUMNS).where(cases.c.case == number)).first()
        if row is None:
            raise LedgerError("there is no such case", source=number, fix="see: dsr case list")
        case = case_of(row)
        if case.stage is None:
            raise LedgerError("the case is not in the workflow", source=number, fix="it was taken in before [workflow] stood in dsr.toml")
        wanted = (stage,) if isinstance(stage, str) else stage
        if wanted is not None and case.stage not in wanted:
            raise ConflictError(f"the case is in {case.stage}, not in {' or '.join(wanted)}", source=number, fix="look at it again")
        if revision is not None and revision != case.revision:
            raise ConflictError("someone else has decided about this case meanwhile", source=number, fix="look at it again")
        return case

    def change(self, connection: Connection, case: Case, **values: object) -> None:
        """Write a decision about a case that is `held`: its revision goes up, and whoever looked before is told."""
        done = connection.execute(
            update(cases).where(cases.c.case == case.number, cases.c.revision == case.revision).values(revision=case.revision + 1, **values)
        )
        if done.rowcount != 1:
            raise ConflictError("someone else has decided about this case meanwhile", source=case.number, fix="look at it again")
