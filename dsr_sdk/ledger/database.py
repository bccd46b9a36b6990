"""The database under the ledger: one SQLite file, or PostgreSQL. How it is opened, read, written and migrated.

Every access goes through ``reading(engine)`` or ``writing(engine)``. Both yield an open transaction, and both turn whatever the driver
raises into a ``LedgerError`` that says what is wrong and what to do, without the statement's parameters: they may be personal data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event, exc, text
from sqlalchemy.engine import URL, Connection, make_url

from dsr_sdk.errors import ConfigError, LedgerError
from dsr_sdk.ledger import sqlite
from dsr_sdk.ledger.failures import LedgerBusy, LedgerConflict, explain

__all__ = [
    "HEAD",
    "REVISIONS",
    "LedgerBusy",
    "LedgerConflict",
    "database_path",
    "migrate",
    "open_database",
    "purge_deleted",
    "reading",
    "schema_is_current",
    "translated",
    "writing",
]

REVISIONS: Final = ("0001", "0002")
"""Every revision under ``migrations/versions``, oldest first. A constant, so that opening a ledger need not import Alembic (376 ms)."""

HEAD: Final = REVISIONS[-1]
"""The schema this SDK works with."""

_MIGRATION_LOCK: Final = 0x6473722D6D696772  # "dsr-migr": a PostgreSQL advisory lock
_migrating: Final = threading.Lock()  # Alembic keeps what it works on in module variables, so one migration at a time in a process
_READ_POSTGRESQL: Final[dict[str, Any]] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def open_database(url: str, *, create: bool = False, busy_timeout: float = 10.0) -> Engine:
    """Open the ledger at ``sqlite:///path`` or ``postgresql://user@host/name``. Threads may share the engine; processes after a fork may not.

    Args:
        url: Where it is. A password stands in here when PostgreSQL asks for one: no message repeats it.
        create: Accept a ledger that is not there yet or has an older schema, for ``migrate`` to be called next. For SQLite the file is
            made, readable by its owner only; its directory must exist.
        busy_timeout: Seconds to wait for another writer before giving up with ``LedgerBusy``.

    Raises:
        ConfigError: The URL is not one of the two kinds.
        LedgerError: Missing, unreachable, damaged, not migrated, or made by a newer SDK.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):  # the latter for a port that is no number
        parsed = URL.create("unreadable")
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        engine = sqlite.open_sqlite(parsed, create=create, busy_timeout=busy_timeout)
    elif backend == "postgresql":
        engine = _open_postgresql(parsed, busy_timeout)
    else:
        raise ConfigError("the ledger's address is neither sqlite:///path nor postgresql://user@host/name", field="ledger.url")
    try:
        if not schema_is_current(engine) and not create:
            raise LedgerError("the ledger has no schema, or an older one", source=_name(engine), fix="run: dsr init")
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A read-only transaction that sees the ledger as it was at its first statement, however long it lasts. It never waits for a writer.

    Raises:
        LedgerError: See ``open_database``; also for an attempt to write.
    """
    options = sqlite.READ if engine.dialect.name == "sqlite" else _READ_POSTGRESQL
    with translated(engine, read_only=True), engine.connect() as connection:
        connection.execution_options(**options).begin()
        yield connection  # nothing was written, so it ends with the rollback that closing the connection brings


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that commits when the block ends and is undone when it raises. Keep it short, and make no network call in it.

    On SQLite it is the only writer from its first moment (BEGIN IMMEDIATE), so what it reads stays true until it commits. On PostgreSQL
    it runs at READ COMMITTED: lock the rows that a decision rests on.

    Raises:
        LedgerBusy: Another writer held on for longer than ``busy_timeout``, or a deadlock was resolved against us: try again.
        LedgerConflict: A constraint forbade it: someone else was first.
        LedgerError: See ``open_database``.
    """
    with translated(engine), sqlite.sole_writer(engine), engine.connect() as connection, connection.execution_options(**sqlite.WRITE).begin():
        yield connection


def migrate(engine: Engine) -> None:
    """Bring the schema to ``HEAD``. Does nothing when it is there already; safe when several processes call it at once.

    Raises:
        LedgerError: See ``writing``; the schema is then as it was before.
    """
    if schema_is_current(engine):
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with _migrating, writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            # SQLite's write transaction keeps a second process out by itself. Here it waits, and then finds the work done.
            connection.execute(text("SET LOCAL lock_timeout = '5min'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def schema_is_current(engine: Engine) -> bool:
    """Whether the schema is at ``HEAD``: one small query. False when it is older, or not there at all.

    Raises:
        LedgerError: A newer SDK migrated it, so this one must keep its hands off.
    """
    with reading(engine) as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return False
        found = set(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())
    if not found <= set(REVISIONS):
        raise LedgerError("the ledger was migrated by a newer dsr-sdk", source=_name(engine), fix="upgrade dsr-sdk: pip install -U dsr-sdk")
    return found == {HEAD}


def purge_deleted(engine: Engine) -> None:
    """Make what was deleted leave SQLite's write-ahead log too; call it after shredding. In the main file deleted bytes are zeroed at once.

    On PostgreSQL it does nothing: there the bytes go when autovacuum reuses the page and the server recycles its log.

    Raises:
        LedgerBusy: A reader or writer kept the log in use for all of ``busy_timeout``: call again later.
    """
    if engine.dialect.name != "sqlite":
        return
    with translated(engine), sqlite.sole_writer(engine), engine.connect() as connection:
        if not sqlite.truncate_log(connection):
            raise LedgerBusy("the write-ahead log is in use, so deleted data stays in it for now", source=_name(engine), fix="call again later")


@contextmanager
def translated(engine: Engine, *, read_only: bool = False) -> Iterator[None]:
    """Turn what the driver raises in the block into a ``LedgerError``, as ``reading`` and ``writing`` do: for use beside them, not within."""
    try:
        yield
    except Exception as error:
        explained = explain(error, _name(engine), reading=read_only)
        if explained is None:
            raise
        # The traceback still leads to the failing line; the cause is cut off because its text may quote values.
        raise explained.with_traceback(error.__traceback__) from None


def database_path(engine: Engine) -> Path | None:
    """The file of an SQLite ledger; None on PostgreSQL."""
    return Path(engine.url.database) if engine.dialect.name == "sqlite" and engine.url.database else None


def _open_postgresql(url: URL, busy_timeout: float) -> Engine:
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=8,
            max_overflow=24,
            pool_pre_ping=True,  # a server restarted meanwhile is noticed before the work, not in the middle of it
            connect_args={} if "connect_timeout" in url.query else {"connect_timeout": 10},
            hide_parameters=True,
        )
    except ImportError:
        raise LedgerError("PostgreSQL needs the psycopg driver, which is not installed", fix="run: pip install 'dsr-sdk[postgres]'") from None

    def limit_waiting(driver: Any, _: object) -> None:
        driver.execute(f"SET lock_timeout = {max(1, round(busy_timeout * 1000))}")
        driver.commit()

    event.listen(engine, "connect", limit_waiting)
    return engine


def _name(engine: Engine) -> str:
    """The ledger's name in messages: a path, or host and database, without user and password."""
    url = engine.url
    if engine.dialect.name == "sqlite":
        return url.database or "ledger"
    return f"postgresql://{url.host or ''}/{url.database or ''}"
