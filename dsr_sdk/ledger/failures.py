"""What goes wrong with a database, in words for the person who runs it.

The drivers' own messages are never repeated: PostgreSQL's quote the values of the row it refused, SQLAlchemy's the statement's parameters.
"""

from __future__ import annotations

import errno
import sqlite3
from typing import Any, Final

from sqlalchemy import exc

from dsr_sdk.errors import DsrError, LedgerError

__all__ = ["LedgerBusy", "LedgerConflict", "explain"]


class LedgerBusy(LedgerError):
    """Someone else is using what we need; nothing was written, and the same may succeed in a moment."""

    acts_next = "host"


class LedgerConflict(LedgerError):
    """A constraint of the schema refused a row: someone else was first, or a reference is missing. The transaction was undone.

    Args:
        table: The table whose constraint it was, when the database tells.
    """

    def __init__(
        self, message: str, *, table: str | None = None, field: str | None = None, source: str | None = None, fix: str | None = None
    ) -> None:
        super().__init__(message, field=field, source=source, fix=fix)
        self.table = table


_Explanation = tuple[type[LedgerError], str, str | None]  # class, message, fix

_FULL: Final = (LedgerError, "the disk that holds the ledger is full; nothing of this transaction was written", "free some space and run again")
_READ_ONLY: Final = (
    LedgerError,
    "the ledger cannot be written: it is read-only",
    "check the permissions of the file and its directory, and the mount",
)
_READING: Final = (LedgerError, "a reading transaction tried to write", "use writing(engine)")
_BUSY: Final = (
    LedgerBusy,
    "another process is writing to the ledger and did not finish in time",
    "try again; find the process if this keeps happening",
)
_DAMAGED: Final = (LedgerError, "the file is damaged, or is no ledger", "restore it from a backup, or correct ledger.url")
_NO_SCHEMA: Final = (LedgerError, "the ledger lacks a table or column", "run: dsr init")
_UNREACHABLE: Final = (LedgerError, "PostgreSQL cannot be reached, or closed the connection", "check that it runs, and ledger.url")
_REFUSED: Final = (LedgerError, "PostgreSQL refused the user or password", "check the user and password in ledger.url")
_NO_DATABASE: Final = (LedgerError, "PostgreSQL has no such database or user", "create it with createdb, or correct ledger.url")

_SQLITE: Final[dict[int, _Explanation]] = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CANTOPEN: (LedgerError, "the ledger's file cannot be opened", "check that it exists, and the permissions of file and directory"),
    sqlite3.SQLITE_IOERR: (
        LedgerError,
        "the disk that holds the ledger failed to read or write",
        "check the disk, its free space and the system log",
    ),
}

_POSTGRESQL: Final[dict[str, _Explanation]] = {  # by SQLSTATE, or its first two characters
    "08": _UNREACHABLE,
    "28": _REFUSED,
    "3D": _NO_DATABASE,
    "40": (LedgerBusy, "two writers stood in each other's way and this one gave way", "try again"),
    "42P01": _NO_SCHEMA,
    "42703": _NO_SCHEMA,
    "42501": (LedgerError, "the PostgreSQL user may not do this", "grant it the rights on the ledger's tables"),
    "53100": _FULL,
    "53300": (LedgerBusy, "PostgreSQL has no connection left", "run fewer workers, or raise max_connections"),
    "53": (LedgerError, "PostgreSQL ran out of memory or locks", "work on fewer cases at a time, or raise its limits"),
    "55P03": _BUSY,
    "57P": _UNREACHABLE,
    "57014": (LedgerBusy, "PostgreSQL cancelled the statement", "try again; check statement_timeout"),
}


_CONNECTING: Final = ("ConnectionTimeout", "OperationalError")  # what psycopg raises for a connection that fails or is gone


def explain(error: BaseException, source: str, *, reading: bool = False) -> LedgerError | None:
    """The error to raise in place of ``error``; None when it did not come from the database and should be left alone.

    Args:
        error: What was raised.
        source: The file, or the server and database, to name in the message.
        reading: It was raised in a transaction that we opened for reading only.
    """
    if isinstance(error, DsrError):
        return None
    driver = error.orig if isinstance(error, exc.StatementError) and error.orig is not None else error
    if isinstance(driver, sqlite3.Error):
        return _sqlite(driver, source, reading)
    if type(driver).__module__.partition(".")[0] == "psycopg":  # asked by name: psycopg may not be installed
        return _postgresql(driver, source, reading)
    if isinstance(driver, OSError):
        return _worded(_FULL, source) if driver.errno in (errno.ENOSPC, errno.EDQUOT) else None
    if isinstance(error, exc.TimeoutError):
        return LedgerBusy("every connection to the ledger is in use", source=source, fix="run fewer threads, or shorter transactions")
    if isinstance(error, exc.SQLAlchemyError):
        return _bug(driver, source)
    return None


def _sqlite(error: sqlite3.Error, source: str, reading: bool) -> LedgerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells finer kinds apart; errors of the driver's own have none
    message = str(error)
    if code == sqlite3.SQLITE_CONSTRAINT:
        # "UNIQUE constraint failed: audit.case, audit.n": it names columns, never values.
        table, dot, _ = message.partition("failed: ")[2].partition(".")
        return _conflict(table if dot else None, source)
    if code == sqlite3.SQLITE_READONLY and reading:
        return _worded(_READING, source)
    if code in _SQLITE:
        return _worded(_SQLITE[code], source)
    if any(sign in message for sign in ("no such table", "no such column", "has no column named")):
        return _worded(_NO_SCHEMA, source)
    return _bug(error, source)


def _postgresql(error: Any, source: str, reading: bool) -> LedgerError:
    state: str | None = getattr(error, "sqlstate", None)
    if state is None:
        return _worded(_no_connection(str(error)), source) if type(error).__name__ in _CONNECTING else _bug(error, source)
    if state.startswith("23"):
        return _conflict(error.diag.table_name, source)
    if state == "25006":
        return _worded(_READING if reading else _READ_ONLY, source)
    for length in (5, 3, 2):
        if state[:length] in _POSTGRESQL:
            return _worded(_POSTGRESQL[state[:length]], source)
    return _bug(error, source)


def _no_connection(message: str) -> _Explanation:
    """libpq gives no code when it cannot connect, only the server's words."""
    if "authentication failed" in message or "no password supplied" in message:
        return _REFUSED
    return _NO_DATABASE if "does not exist" in message else _UNREACHABLE


def _worded(explanation: _Explanation, source: str) -> LedgerError:
    kind, message, fix = explanation
    return kind(message, source=source, fix=fix)


def _conflict(table: str | None, source: str) -> LedgerConflict:
    where = f"a constraint of table {table}" if table else "a constraint"
    return LedgerConflict(f"{where} refused a row: someone else was first, or what it refers to is missing", table=table, source=source)


def _bug(error: BaseException, source: str) -> LedgerError:
    state = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    named = f"{type(error).__name__} {state}" if state else type(error).__name__
    return LedgerError(f"the database refused a statement ({named})", source=source, fix="this is a bug in what sent it: report it")
