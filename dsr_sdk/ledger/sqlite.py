"""The SQLite side of the database: how a file is opened so that nothing is lost, and how its one writer is chosen."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import QueuePool

from dsr_sdk.errors import ConfigError, LedgerError
from dsr_sdk.ledger.failures import LedgerBusy

__all__ = ["READ", "WRITE", "open_sqlite", "sole_writer", "truncate_log"]

_MODE: Final = "dsr_mode"
_TIMEOUT: Final = "dsr_busy_timeout"
READ: Final[dict[str, Any]] = {_MODE: "read"}
"""Execution options of a connection whose next transaction only reads, and is held to it."""
WRITE: Final[dict[str, Any]] = {_MODE: "write"}
"""Execution options of a connection whose next transaction is the writer from its first moment (BEGIN IMMEDIATE)."""


# Case numbers are random, so every case touches pages all over the indexes. A long history is read through the system's page cache
# instead of by a system call a page, and each connection keeps the pages it is writing.
_MAPPED_BYTES: Final = 1 << 30
_CACHE_KIB: Final = 16_384
_CHECKPOINT_PAGES: Final = 4_000  # 16 MB of log: a page changed by many commits is written into the file once


class _Queue:
    """Where the threads of this process wait for their turn to write to one file."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holder: int | None = None


# One writer at a time is SQLite's rule. Its own queue is a poll with sleeps, neither quick nor fair, so the threads of this process
# queue here first. By path, so that two engines on one file share it; a handful of files, so it never needs emptying.
_queues: dict[str, _Queue] = {}
if hasattr(os, "register_at_fork"):  # a lock that another thread held at the fork would stay held in the child for ever
    os.register_at_fork(after_in_child=_queues.clear)


def open_sqlite(url: URL, *, create: bool, busy_timeout: float) -> Engine:
    """An engine on the file of ``url``. Nothing is read yet, so a damaged file shows at the first transaction only.

    Raises:
        ConfigError: The URL names no file, or carries options.
        LedgerError: The file or its directory is missing, or cannot be made.
    """
    if not url.database or url.database == ":memory:" or url.query:
        raise ConfigError("an SQLite ledger is a file, given as sqlite:///path without options", field="ledger.url")
    path = Path(url.database).expanduser().resolve()  # links resolved: writers and locks tell ledgers apart by it
    if not path.parent.is_dir():
        raise LedgerError("the ledger's directory does not exist", source=str(path), fix="create the directory, or correct ledger.url")
    if not path.exists():
        if not create:
            raise LedgerError("there is no ledger", source=str(path), fix="run: dsr init")
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise LedgerError(f"the ledger cannot be created ({error.strerror})", source=str(path)) from None
    # mode=rw: should the file vanish later, a connection fails; it never starts an empty ledger in its place.
    address = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        driver = sqlite3.connect(address, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=256)
        try:
            _prepare(driver, busy_timeout)
        except BaseException:
            driver.close()
            raise
        return driver

    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        creator=connect,
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=-1,  # a connection costs 0.2 ms and a file handle: never make a thread wait for one
        hide_parameters=True,
        execution_options={_TIMEOUT: busy_timeout},
    )
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def sole_writer(engine: Engine) -> Iterator[None]:
    """Be the only thread of this process that writes to the engine's file. Does nothing for PostgreSQL.

    Raises:
        LedgerBusy: Another thread kept on writing for all of the engine's ``busy_timeout``.
        LedgerError: This very thread is writing already, so it would wait for itself.
    """
    path = engine.url.database
    if engine.dialect.name != "sqlite" or path is None:
        yield
        return
    queue = _queues.setdefault(path, _Queue())
    me = threading.get_ident()
    if queue.holder == me:
        raise LedgerError("this thread is writing to the ledger already", source=path, fix="hand its connection down instead of opening a second")
    if not queue.lock.acquire(timeout=engine.get_execution_options()[_TIMEOUT]):
        raise LedgerBusy("another thread is writing to the ledger and did not finish in time", source=path, fix="try again")
    queue.holder = me
    try:
        yield
    finally:
        queue.holder = None
        queue.lock.release()


def truncate_log(connection: Connection) -> bool:
    """Move the write-ahead log into the main file and empty it. False when someone still uses it. Not within a transaction."""
    driver: Any = connection.connection.dbapi_connection  # the driver's own, because SQLAlchemy would begin a transaction first
    busy: int = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not busy


def _prepare(driver: sqlite3.Connection, busy_timeout: float) -> None:
    """Set what SQLite keeps per connection. Two processes that switch a new file to WAL at once do not wait for each other, so we do."""
    driver.execute("PRAGMA foreign_keys = ON")
    driver.execute("PRAGMA secure_delete = ON")
    driver.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    driver.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    driver.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    driver.execute("PRAGMA synchronous = FULL")
    give_up = time.monotonic() + busy_timeout
    while True:
        try:
            mode = driver.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
    if mode != "wal":
        raise LedgerError("this file system cannot hold SQLite's write-ahead log", fix="put the ledger on a local disk, or use PostgreSQL")


def _begin(connection: Connection) -> None:
    """Open the transaction: Python's driver would otherwise begin by itself, late, and as a reader that cannot always become a writer."""
    driver: Any = connection.connection.dbapi_connection
    wanted = connection.get_execution_options().get(_MODE)
    pooled = connection.connection.info  # lives as long as the driver's connection
    read_only = wanted == "read"
    if pooled.get(_MODE, False) != read_only:
        driver.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
        pooled[_MODE] = read_only
    driver.execute("BEGIN IMMEDIATE" if wanted == "write" else "BEGIN")
