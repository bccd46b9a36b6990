"""What the ledger's tests share: a fresh ledger on either database, and a vault."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from dsr_sdk.ledger.database import migrate, open_database, purge_deleted
from dsr_sdk.ledger.vault import MasterKey, Vault
from tests.postgres import PostgresServer, postgres_server, postgres_url

__all__ = ["Opener", "postgres_server", "postgres_url"]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite ledger to copy: migrating one takes 0.4 s, copying it nothing."""
    path = tmp_path_factory.mktemp("migrated") / "ledger.db"
    engine = open_database(f"sqlite:///{path}", create=True)
    migrate(engine)
    purge_deleted(engine)
    engine.dispose()
    return path


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """The address of a fresh SQLite ledger."""
    path = tmp_path / "ledger.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


Opener = Callable[..., Engine]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """``open_database``, with the connections closed after the test: one that is left open is a warning, and warnings are errors."""
    engines: list[Engine] = []

    def open_ledger(url: str, **options: Any) -> Engine:
        engines.append(open_database(url, **options))
        return engines[-1]

    yield open_ledger
    for engine in engines:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh ledger, on each database in turn."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
def engine(url: str, opened: Opener) -> Engine:
    """A fresh ledger, on each database in turn."""
    return opened(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without any schema, on each database in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database(migrated=False)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture(scope="session")
def vault() -> Vault:
    """A vault with a key of its own."""
    return Vault(MasterKey.generate())


@pytest.fixture
def start_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python code in another process, with arguments; ends what is still running after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
