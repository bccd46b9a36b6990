"""The lock on a data source: one drain of a source at a time, over all threads, processes and machines that share the ledger.

It is held by the operating system (SQLite) or by the server's session (PostgreSQL), so it needs no lease and no clean-up: when its
holder dies, even by kill -9, it is free.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import Engine, text
from sqlalchemy.engine import Connection

from dsr_sdk.errors import LedgerError
from dsr_sdk.ledger.database import database_path, translated

__all__ = ["SourceLock", "lock_key", "try_lock"]

_TRY: Final = text("SELECT pg_try_advisory_lock(:key)")
_RELEASE: Final = text("SELECT pg_advisory_unlock(:key)")

# The names taken by this process. A file lock belongs to a process on some systems, and a thread must not get what another one holds.
_taken: set[tuple[str, str]] = set()
_taken_guard = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child holds none of its parent's locks
    os.register_at_fork(after_in_child=_taken.clear)


@contextmanager
def try_lock(engine: Engine, source: str) -> Iterator[bool]:
    """Try to be the one who drains ``source`` for as long as the block lasts. It does not wait: False when someone else is.

    ``with try_lock(engine, source) as held: if held: ...``

    Raises:
        LedgerError: The lock cannot be tried at all: its directory cannot be written, the server is gone.
    """
    lock = SourceLock(engine, source)
    held = lock.acquire()
    try:
        yield held
    finally:
        lock.release()


class SourceLock:
    """The lock of one source, for holders that a ``with`` block does not fit. Not for two threads; not reentrant.

    Args:
        engine: The ledger. On PostgreSQL a held lock keeps one of its connections.
        source: The slug of the data source.
    """

    def __init__(self, engine: Engine, source: str) -> None:
        self._engine = engine
        self._source = source
        self._name = (engine.url.render_as_string(hide_password=True), source)
        self._file: FileLock | None = None
        self._connection: Connection | None = None
        self.held = False
        """Whether this object holds the lock. On PostgreSQL a connection that breaks lets go of it: ``still_held`` asks the server."""

    def acquire(self) -> bool:
        """Take the lock if it is free, at once. False when it is not, or when this object holds it already.

        Raises:
            LedgerError: See ``try_lock``.
        """
        with _taken_guard:
            if self._name in _taken:
                return False
            _taken.add(self._name)
        try:
            self.held = self._acquire_session() if self._engine.dialect.name == "postgresql" else self._acquire_file()
        finally:
            if not self.held:
                self._forget()
        return self.held

    def release(self) -> None:
        """Let go of the lock; does nothing when it is not held. It raises nothing: a connection that is gone has let go by itself."""
        if not self.held:
            return
        self.held = False
        try:
            if self._file is not None:
                self._file.release()
            if self._connection is not None:
                self._release_session(self._connection)
        finally:
            self._file = self._connection = None
            self._forget()

    def still_held(self) -> bool:
        """Whether the lock is held for certain. A drain that lasts asks between its groups: False means that another may have begun."""
        if not self.held or self._connection is None:
            return self.held
        try:
            with translated(self._engine):
                self._connection.execute(text("SELECT 1"))
        except LedgerError:
            return False
        return True

    def _acquire_file(self) -> bool:
        path = database_path(self._engine)
        assert path is not None  # noqa: S101 - told to mypy: acquire sends only SQLite here
        directory = path.with_name(path.name + ".locks")
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            lock = FileLock(_lock_file(directory, self._source), thread_local=False)
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise LedgerError(
                f"a lock file cannot be used ({error.strerror})", source=str(directory), fix="make the directory writable for this user"
            ) from None
        self._file = lock
        return True

    def _acquire_session(self) -> bool:
        with translated(self._engine):
            # Autocommit, because a transaction left open for hours would keep the server from cleaning up its tables.
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                won: bool = connection.execute(_TRY, {"key": lock_key(self._source)}).scalar_one()
            except BaseException:
                connection.invalidate()  # who knows whether the server gave us the lock: end the session, and the lock with it
                connection.close()
                raise
        if won:
            self._connection = connection
        else:
            connection.close()
        return won

    def _release_session(self, connection: Connection) -> None:
        try:
            with translated(self._engine):
                released: bool = connection.execute(_RELEASE, {"key": lock_key(self._source)}).scalar_one()
        except LedgerError:
            released = False
        if not released:
            connection.invalidate()
        connection.close()

    def _forget(self) -> None:
        with _taken_guard:
            _taken.discard(self._name)


def _lock_file(directory: Path, source: str) -> Path:
    return directory / f"{quote(source, safe='')}.lock"


def lock_key(source: str) -> int:
    return int.from_bytes(hashlib.sha256(f"dsr:{source}".encode()).digest()[:8], "big", signed=True)
