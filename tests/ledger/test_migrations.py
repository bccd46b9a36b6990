"""Migrations: the ledger they lead to is the ledger that ``schema.py`` describes, on both databases."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

import dsr_sdk.ledger.database as database
from dsr_sdk.errors import LedgerError
from dsr_sdk.ledger.database import HEAD, REVISIONS, migrate, reading, schema_is_current, writing
from dsr_sdk.ledger.schema import metadata
from tests.ledger.conftest import Opener
from tests.postgres import PostgresServer

MIGRATIONS = Path(database.__file__).parent / "migrations"


def described(engine: Engine) -> list[str]:
    """Every table, column, constraint and index, in the database's own words, without Alembic's table."""
    if engine.dialect.name == "sqlite":
        statement = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'alembic_version'"
    else:
        statement = """
            SELECT concat_ws(' ', table_name, column_name, data_type, character_maximum_length, is_nullable, column_default)
            FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
            UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND conrelid <> 'alembic_version'::regclass
            UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        """
    with reading(engine) as connection:
        found = connection.execute(text(statement)).scalars().all()
    return sorted(" ".join(sorted(re.split(r"\s*[\n,]\s*", line.strip()))) for line in found)


def test_alembic_finds_nothing_to_change(engine: Engine) -> None:
    """Alembic's own comparison of the migrated ledger with the metadata is empty."""
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrated_schema_is_the_described_one(empty_url: str, opened: Opener) -> None:
    """Word for word, with what Alembic does not compare: partial indexes, names of constraints, lengths of columns."""
    engine = opened(empty_url, create=True)
    migrate(engine)
    migrated = described(engine)
    with writing(engine) as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert described(engine) == migrated
    assert len(migrated) > 10


def test_every_revision_is_known_by_name() -> None:
    """The constants that spare an open the import of Alembic are those of the files."""
    script = ScriptDirectory(str(MIGRATIONS))
    assert tuple(revision.revision for revision in reversed(list(script.walk_revisions()))) == REVISIONS
    assert script.get_heads() == [HEAD]


def test_migrating_twice_changes_nothing(empty_url: str, opened: Opener) -> None:
    """The second time finds the schema current; what was written in between stays."""
    engine = opened(empty_url, create=True)
    assert not schema_is_current(engine)
    migrate(engine)
    assert schema_is_current(engine)
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO meta (key, value) VALUES ('a', 'b')"))
    migrate(engine)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT value FROM meta")).scalar_one() == "b"


MIGRATE = """
import sys
import alembic.command
from dsr_sdk.ledger.database import migrate, open_database, schema_is_current
print("ready", flush=True)
sys.stdin.readline()
engine = open_database(sys.argv[1], create=True)
migrate(engine)
print(schema_is_current(engine), flush=True)
"""


def test_three_processes_may_migrate_at_once(empty_url: str, start_python: Callable[..., subprocess.Popen[str]]) -> None:
    """As when a portal and two workers start on a new ledger: all three find it migrated, none fails."""
    processes = [start_python(MIGRATE, empty_url) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["True\n"] * 3


def test_a_migration_waits_for_one_under_way(postgres_server: PostgresServer, opened: Opener) -> None:
    """On PostgreSQL, where two could otherwise create the same table at once: the second waits, on the lock that the first holds."""
    name = postgres_server.create_database(migrated=False)
    engine = opened(postgres_server.url(name), create=True)
    with ThreadPoolExecutor(1) as pool:
        with psycopg.connect(postgres_server.url(name)) as first:
            first.execute("SELECT pg_advisory_xact_lock(%s)", [database._MIGRATION_LOCK])
            second = pool.submit(migrate, engine)
            with pytest.raises(TimeoutError):
                second.result(timeout=1.5)
            assert not schema_is_current(engine)
        second.result()
    assert schema_is_current(engine)
    engine.dispose()
    postgres_server.drop_database(name)


def test_a_migration_that_fails_leaves_nothing_half_done(empty_url: str, monkeypatch: pytest.MonkeyPatch, opened: Opener) -> None:
    """DDL is undone too, on both databases; the next attempt starts from where the first did."""
    engine = opened(empty_url, create=True)

    def fail(*_: object, **__: object) -> None:
        raise LedgerError("out of luck")

    with monkeypatch.context() as patched:
        patched.setattr(Operations, "create_index", fail)
        with pytest.raises(LedgerError, match="out of luck"):
            migrate(engine)
    with reading(engine) as connection:
        assert inspect(connection).get_table_names() == []
    migrate(engine)
    assert schema_is_current(engine)


def test_migrating_works_from_where_it_is_installed(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """A copy of the package elsewhere, in a path with a space and a per cent sign, migrates with its own scripts."""
    site = tmp_path / "site 100%"
    shutil.copytree(Path(database.__file__).parents[1], site / "dsr_sdk", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import dsr_sdk.ledger.database as database
assert database.__file__.startswith(sys.argv[1])
for url in sys.argv[2:]:
    engine = database.open_database(url, create=True)
    database.migrate(engine)
    assert database.schema_is_current(engine)
"""
    name = postgres_server.create_database(migrated=False)
    urls = [f"sqlite:///{tmp_path}/new.db", postgres_server.url(name)]
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, str(site), *urls], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    postgres_server.drop_database(name)
