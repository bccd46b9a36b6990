"""Opening, reading and writing the ledger, and the words for everything that can be wrong with it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import Engine, func, insert, select, text, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from dsr_sdk.errors import ConfigError, LedgerError
from dsr_sdk.ledger.database import (
    LedgerBusy,
    LedgerConflict,
    database_path,
    migrate,
    open_database,
    purge_deleted,
    reading,
    schema_is_current,
    writing,
)
from dsr_sdk.ledger.schema import case_identities, cases, meta
from tests.ledger.conftest import Opener
from tests.postgres import PostgresServer

PERSON = "ada.lovelace@example.com"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def put(connection: Connection, key: str, value: str) -> None:
    """Write one row."""
    connection.execute(insert(meta).values(key=key, value=value))


def keys(engine: Engine) -> set[str]:
    """Every key in the table ``put`` writes to."""
    with reading(engine) as connection:
        return set(connection.execute(select(meta.c.key)).scalars())


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who owns nothing, for file permissions mean nothing to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# Opening


def test_a_missing_ledger_is_not_made_by_accident(tmp_path: Path) -> None:
    """Without ``create`` a missing file is an error that says how to make one, and nothing appears on the disk."""
    with pytest.raises(LedgerError, match=r"there is no ledger \(run: dsr init\)"):
        open_database(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """Not even ``create`` makes directories: a typing error in the path should show."""
    with pytest.raises(LedgerError, match="directory does not exist") as caught:
        open_database(f"sqlite:///{tmp_path}/no/such/ledger.db", create=True)
    assert caught.value.source == f"{tmp_path}/no/such/ledger.db"


def test_a_new_ledger_is_private_and_asks_for_its_schema(tmp_path: Path, opened: Opener) -> None:
    """The file is readable by its owner only; until it is migrated only ``create`` opens it."""
    path = tmp_path / "new.db"
    engine = opened(f"sqlite:///{path}", create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert database_path(engine) == path
    assert not schema_is_current(engine)
    with pytest.raises(LedgerError, match="no schema"):
        open_database(f"sqlite:///{path}")
    with pytest.raises(LedgerError, match="lacks a table"), reading(engine) as connection:
        connection.execute(select(meta))
    migrate(engine)
    engine.dispose()
    open_database(f"sqlite:///{path}").dispose()


def test_a_newer_schema_is_left_alone(engine: Engine, url: str) -> None:
    """A ledger that a newer SDK migrated opens neither with nor without ``create``."""
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for create in (False, True):
        with pytest.raises(LedgerError, match=r"newer dsr-sdk.*upgrade"):
            open_database(url, create=create)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///x.db?mode=ro", "mysql://root:hunter2@db/x", "hunter2", "postgresql://u:hunter2@h:x/d"]
)
def test_other_addresses_are_refused_without_repeating_them(url: str) -> None:
    """An address of another kind is a ConfigError that does not show the password it may hold."""
    with pytest.raises(ConfigError, match=r"ledger\.url") as caught:
        open_database(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_garbage_is_no_ledger(tmp_path: Path) -> None:
    """A file that is something else is recognised, and not overwritten, also with ``create``."""
    path = tmp_path / "garbage.db"
    path.write_bytes(b"this is a holiday photo" * 100)
    for create in (False, True):
        with pytest.raises(LedgerError, match="damaged, or is no ledger"):
            open_database(f"sqlite:///{path}", create=create)
    assert path.read_bytes() == b"this is a holiday photo" * 100


def test_a_damaged_page_is_recognised(sqlite_url: str, tmp_path: Path, opened: Opener) -> None:
    """Noise in the middle of the file shows as damage when it is read."""
    engine = opened(sqlite_url)
    with writing(engine) as connection:
        connection.execute(insert(meta), [{"key": f"{i:064}", "value": "x" * 500} for i in range(200)])
    purge_deleted(engine)
    engine.dispose()
    path = tmp_path / "ledger.db"
    noisy = bytearray(path.read_bytes())
    noisy[-40_000:] = b"\xa5" * 40_000
    path.write_bytes(noisy)
    with pytest.raises(LedgerError, match="damaged") as caught:
        keys(opened(sqlite_url))
    assert str(path) in str(caught.value)


def test_a_ledger_that_vanishes_is_not_replaced_by_an_empty_one(sqlite_url: str, tmp_path: Path, opened: Opener) -> None:
    """A connection made after the file was moved away fails instead of creating it."""
    engine = opened(sqlite_url)
    engine.dispose()
    (tmp_path / "ledger.db").unlink()
    with pytest.raises(LedgerError, match="cannot be opened"):
        keys(engine)
    assert not (tmp_path / "ledger.db").exists()


def test_a_read_only_ledger_says_so(migrated_file: Path, opened: Opener) -> None:
    """What may be read but not written is read, and a write names the permissions."""
    directory = Path(tempfile.mkdtemp())
    try:
        path = directory / "ledger.db"
        shutil.copy(migrated_file, path)
        path.chmod(0o444)
        directory.chmod(0o777)
        with unprivileged():
            engine = opened(f"sqlite:///{path}")
            assert keys(engine) == set()
            with pytest.raises(LedgerError, match=r"read-only \(check the permissions") as caught, writing(engine) as connection:
                put(connection, "a", PERSON)
            engine.dispose()
        assert not isinstance(caught.value, LedgerBusy)
    finally:
        shutil.rmtree(directory)


def test_postgresql_that_does_not_answer_is_named_without_its_password() -> None:
    """Nobody listens there: the message has the host and the database, not the password."""
    password = "hunter" + "2"  # in two pieces, because a traceback shows lines of source
    with pytest.raises(LedgerError, match=r"postgresql://127\.0\.0\.1/ledger: PostgreSQL cannot be reached") as caught:
        open_database(f"postgresql://ada:{password}@127.0.0.1:1/ledger")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_postgresql_database_or_user_is_named(postgres_server: PostgresServer) -> None:
    """The server answers, but has no such database, or no such user."""
    with pytest.raises(LedgerError, match="no such database"):
        open_database(postgres_server.url("nowhere"))
    with pytest.raises(LedgerError, match="no such database or user"):
        open_database(postgres_server.url("postgres").replace("//postgres:", "//nobody:"))


def test_a_postgresql_user_without_rights_is_told(postgres_server: PostgresServer, postgres_url: str) -> None:
    """A user who may connect but not read the tables gets a sentence about rights."""
    name = sql.Identifier(postgres_url.partition("?")[0].rpartition("/")[2] + "_reader")
    postgres_server.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
    with pytest.raises(LedgerError, match="may not do this"):
        open_database(postgres_url.replace("//postgres:", f"//{name.as_string(None)[1:-1]}:"))


def test_without_psycopg_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's driver is an extra."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"pip install 'dsr-sdk\[postgres\]'"):
        open_database("postgresql://localhost/ledger")


def test_opening_is_quick_because_alembic_stays_out(sqlite_url: str) -> None:
    """A normal open imports neither Alembic nor psycopg: each costs more than the rest together."""
    code = (
        "import sys; from dsr_sdk.ledger.database import open_database; open_database(sys.argv[1]); print({'alembic', 'psycopg'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, sqlite_url], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"


def test_every_connection_is_set_up_for_safety(sqlite_url: str, opened: Opener) -> None:
    """Write-ahead log, full sync, foreign keys, zeroing of deleted bytes: on the first connection and on the next."""
    engine = opened(sqlite_url, busy_timeout=3)
    with reading(engine) as first, reading(engine) as second:
        for connection in (first, second):
            found = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
            }
            assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
            assert connection.execute(text("PRAGMA busy_timeout")).scalar_one() == 3000


# Reading and writing


def test_a_block_commits_when_it_ends_and_is_undone_when_it_raises(engine: Engine) -> None:
    """An error of the block's own comes out as it is, and takes the block's writes with it."""
    with writing(engine) as connection:
        put(connection, "kept", "1")
    error = ValueError("mine")

    def fail(connection: Connection) -> None:
        put(connection, "undone", "1")
        raise error

    with pytest.raises(ValueError, match="mine") as caught, writing(engine) as connection:
        fail(connection)
    assert caught.value is error
    assert keys(engine) == {"kept"}


def test_a_reading_transaction_cannot_write(engine: Engine) -> None:
    """A write in ``reading`` is an error and not silently dropped; the connection writes again afterwards."""
    with pytest.raises(LedgerError, match=r"reading transaction tried to write \(use writing"), reading(engine) as connection:
        put(connection, "a", "1")
    with writing(engine) as connection:
        put(connection, "b", "1")
    assert keys(engine) == {"b"}


def test_a_reader_sees_one_moment(engine: Engine) -> None:
    """What is committed while a reading transaction is open does not show in it, and is not held up by it."""
    count = select(func.count()).select_from(meta)
    with reading(engine) as connection:
        assert connection.execute(count).scalar_one() == 0
        with writing(engine) as other:
            put(other, "a", "1")
        assert connection.execute(count).scalar_one() == 0
    assert keys(engine) == {"a"}


def test_a_conflict_names_the_table_and_no_value(engine: Engine) -> None:
    """A second row with the same key is a LedgerConflict; neither its text nor the printed traceback shows the row."""
    with writing(engine) as connection:
        put(connection, PERSON, "1")
    rows = [{"key": "other", "value": "1"}, {"key": PERSON, "value": PERSON}]
    with pytest.raises(LedgerConflict, match="table meta") as caught, writing(engine) as connection:
        connection.execute(insert(meta), rows)
    assert caught.value.table == "meta"
    assert PERSON not in "".join(traceback.format_exception(caught.value))
    assert keys(engine) == {PERSON}


def test_a_reference_to_nothing_is_a_conflict(engine: Engine) -> None:
    """Foreign keys are enforced on SQLite too."""
    with pytest.raises(LedgerConflict), writing(engine) as connection:
        connection.execute(insert(case_identities).values(case="no such case", fingerprint=b"f" * 32, kind="email"))


def test_a_refused_statement_shows_neither_itself_nor_its_parameters(engine: Engine) -> None:
    """A mistake in a statement gives the kind of error, and the traceback leads to the line; nothing personal comes along."""
    with pytest.raises(LedgerError, match="report it") as caught, writing(engine) as connection:
        connection.execute(text("SELEKT :person"), {"person": PERSON})
    printed = "".join(traceback.format_exception(caught.value))
    assert PERSON not in printed
    assert "test_a_refused_statement" in printed


def test_a_full_disk_is_said_to_be_full_and_loses_nothing(sqlite_url: str, opened: Opener) -> None:
    """SQLite finds no room: the transaction is undone, what was there stays, and with room again it goes on."""
    engine = opened(sqlite_url)
    with writing(engine) as connection:
        put(connection, "before", "1")

    def limit(connection: Connection, pages: int) -> None:
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    with writing(engine) as connection:
        limit(connection, connection.execute(text("PRAGMA page_count")).scalar_one() + 5)
    rows = [{"key": f"big {i}", "value": "x" * 4000} for i in range(100)]
    with pytest.raises(LedgerError, match=r"disk.*full.*free some space"), writing(engine) as connection:
        connection.execute(insert(meta), rows)
    assert keys(engine) == {"before"}
    with writing(engine) as connection:
        limit(connection, 10_000)
    with writing(engine) as connection:
        put(connection, "after", "1")
    assert keys(engine) == {"before", "after"}


def test_a_full_disk_beside_the_database_is_the_same_sentence(engine: Engine) -> None:
    """ENOSPC from a file written in the block reads the same; another OSError is the block's own affair."""
    with pytest.raises(LedgerError, match=r"disk.*full"), writing(engine):
        raise OSError(errno.ENOSPC, "No space left on device", "/home/ada/spool")
    with pytest.raises(PermissionError), writing(engine):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_sqlalchemys_own_complaints_are_ledger_errors(engine: Engine) -> None:
    """Asking a result for a row it does not have is a bug in the asker, and reads like one."""
    with pytest.raises(LedgerError, match="NoResultFound"), reading(engine) as connection:
        connection.execute(select(meta)).one()


def test_the_engine_itself_hides_parameters(engine: Engine) -> None:
    """Whoever goes past ``reading`` and ``writing`` gets SQLAlchemy's error, which shows the statement but not what was in it."""
    statement = text("SELECT no_such_column FROM meta WHERE key = :key")
    with engine.connect() as connection, pytest.raises(DBAPIError, match="no_such_column") as caught:
        connection.execute(statement, {"key": PERSON})
    assert PERSON not in str(caught.value)


# Several at once


def test_a_ledger_locked_by_another_process_is_given_up_after_the_timeout(sqlite_url: str, tmp_path: Path, opened: Opener) -> None:
    """While someone else writes, readers go on, and a writer waits as long as it was told to."""
    engine = opened(sqlite_url, busy_timeout=0.2)
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(LedgerBusy, match="another process is writing"), writing(engine) as connection:
        put(connection, "a", "1")
    assert time.monotonic() - started >= 0.2
    assert keys(engine) == set()
    other.execute("COMMIT")
    other.close()
    with writing(engine) as connection:
        put(connection, "a", "1")


def test_opening_a_new_file_waits_for_another_process_that_sets_it_up(tmp_path: Path, opened: Opener) -> None:
    """SQLite itself refuses at once to switch a file to its write-ahead log while someone writes; two first starts must not collide."""
    other = sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE unrelated (x)")
    later = threading.Timer(0.3, other.execute, ["COMMIT"])
    later.start()
    started = time.monotonic()
    engine = opened(f"sqlite:///{tmp_path}/new.db", create=True)
    assert time.monotonic() - started > 0.2
    later.join()
    other.close()
    migrate(engine)
    assert schema_is_current(engine)


def test_a_locked_row_on_postgresql_is_given_up_after_the_timeout(postgres_url: str, opened: Opener) -> None:
    """The same rule on PostgreSQL, where rows are locked."""
    engine = opened(postgres_url, busy_timeout=0.2)
    with writing(engine) as connection:
        put(connection, "a", "1")
    change = update(meta).values(value="2")
    with writing(engine) as connection:
        connection.execute(change)
        with pytest.raises(LedgerBusy, match="another process is writing"), writing(engine) as other:
            other.execute(change)


def test_a_thread_that_waits_too_long_for_another_is_told_so(sqlite_url: str, opened: Opener) -> None:
    """The threads of one process wait in line, and no longer than the timeout."""
    engine = opened(sqlite_url, busy_timeout=0.2)

    def write() -> None:
        with writing(engine):
            pass

    with writing(engine), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(write)
        with pytest.raises(LedgerBusy, match="another thread"):
            waiting.result()


def test_a_thread_that_would_wait_for_itself_is_told_at_once(sqlite_url: str, opened: Opener) -> None:
    """Nesting two writing blocks on SQLite cannot work; it says so instead of blaming another process after ten seconds."""
    engine = opened(sqlite_url)
    with writing(engine) as connection:
        put(connection, "a", "1")
        with pytest.raises(LedgerError, match="this thread is writing"), writing(engine):
            pass
    assert keys(engine) == {"a"}


INCREMENT = """
import sys
from sqlalchemy import select, update
from dsr_sdk.ledger.database import open_database, writing
from dsr_sdk.ledger.schema import meta
engine = open_database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(40):
    with writing(engine) as connection:
        value = connection.execute(select(meta.c.value).with_for_update()).scalar_one()
        connection.execute(update(meta).values(value=str(int(value) + 1)))
"""


def test_processes_and_threads_that_read_then_write_lose_nothing(
    engine: Engine, url: str, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    """Two processes and four threads count one number up at the same time: no count is lost and none fails."""
    with writing(engine) as connection:
        put(connection, "counter", "0")

    def count() -> None:
        for _ in range(20):
            with writing(engine) as connection:
                value = connection.execute(select(meta.c.value).with_for_update()).scalar_one()
                connection.execute(update(meta).values(value=str(int(value) + 1)))

    processes = [start_python(INCREMENT, url) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(4) as pool:
        counting = [pool.submit(count) for _ in range(4)]
        for process in processes:
            process.communicate("go\n", timeout=60)
        for done in counting:
            done.result()
    assert [process.returncode for process in processes] == [0, 0]
    with reading(engine) as connection:
        assert connection.execute(select(meta.c.value)).scalar_one() == "160"


def test_a_connection_the_server_cut_is_replaced(postgres_server: PostgresServer, postgres_url: str, opened: Opener) -> None:
    """Cut in the middle of a transaction, it is an error that says so; the next transaction works, on a new connection."""
    engine = opened(postgres_url)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid()"
    name = postgres_url.partition("?")[0].rpartition("/")[2]

    def be_cut(connection: Connection) -> None:
        put(connection, "a", "1")
        postgres_server.execute(sql.SQL(cut).format(sql.Literal(name)))
        put(connection, "b", "1")

    with pytest.raises(LedgerError, match="closed the connection"), writing(engine) as connection:
        be_cut(connection)
    with writing(engine) as connection:
        put(connection, "c", "1")
    assert keys(engine) == {"c"}
    postgres_server.execute(sql.SQL(cut).format(sql.Literal(name)))
    assert keys(engine) == {"c"}


# Deleting


def test_deleted_bytes_leave_the_files(sqlite_url: str, tmp_path: Path, opened: Opener) -> None:
    """After a sealed value is deleted and the log emptied, its bytes stand in no file of the ledger."""
    engine = opened(sqlite_url)
    small, large = b"wrapped key of the person" * 2, b"sealed request of the person" * 2000
    row = {"case": "C-1", "type": "erasure", "scope": "all", "channel": "api", "status": "received", "received_at": NOW, "created_at": NOW}
    with writing(engine) as connection:
        connection.execute(insert(cases).values(**row, wrapped_key=small, sealed_request=large))
    purge_deleted(engine)

    def traces() -> list[str]:
        return [path.name for path in sorted(tmp_path.iterdir()) if b"of the person" in path.read_bytes()]

    assert traces() == ["ledger.db"]
    with writing(engine) as connection:
        connection.execute(update(cases).values(wrapped_key=None, sealed_request=None))
    purge_deleted(engine)
    assert traces() == []


def test_a_reader_delays_the_purge_and_it_says_so(engine: Engine, opened: Opener) -> None:
    """While a reader needs the log it cannot be emptied; on PostgreSQL there is nothing to do."""
    engine = opened(engine.url.render_as_string(hide_password=False), busy_timeout=0.1)
    with writing(engine) as connection:
        put(connection, "a", "1")
    with reading(engine) as reader:
        reader.execute(select(meta)).all()
        with writing(engine) as connection:
            put(connection, "b", "1")
        if engine.dialect.name == "sqlite":
            with pytest.raises(LedgerBusy, match="write-ahead log is in use"):
                purge_deleted(engine)
    purge_deleted(engine)
