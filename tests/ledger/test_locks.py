"""One drain of a source at a time: over threads, engines, processes, and the death of any of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool

from dsr_sdk.errors import LedgerError
from dsr_sdk.ledger.locks import SourceLock, try_lock
from tests.ledger.conftest import Opener
from tests.postgres import PostgresServer

HOLD = """
import sys, time
from dsr_sdk.ledger.database import open_database
from dsr_sdk.ledger.locks import try_lock
with try_lock(open_database(sys.argv[1]), sys.argv[2]) as held:
    print("held" if held else "refused", flush=True)
    sys.stdin.readline()
"""


def answer(process: subprocess.Popen[str]) -> str:
    """What the other process says about the lock."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_free(engine: Engine, source: str) -> bool:
    """Whether the lock can be had right now."""
    with try_lock(engine, source) as held:
        return held


def test_a_lock_has_one_holder(engine: Engine, url: str, opened: Opener) -> None:
    """While it is held, nobody gets it: not the same thread, another thread, or another engine. Other sources are free."""
    other = opened(url)
    with try_lock(engine, "stripe") as held, ThreadPoolExecutor(1) as pool:
        assert held
        assert not is_free(engine, "stripe")
        assert not is_free(other, "stripe")
        assert not pool.submit(is_free, engine, "stripe").result()
        assert is_free(engine, "zendesk")
        assert not is_free(engine, "stripe")
    assert is_free(other, "stripe")


def test_a_lock_is_let_go_when_the_block_raises(engine: Engine) -> None:
    """However the drain ends."""
    with pytest.raises(ValueError, match="drain"), try_lock(engine, "stripe"):
        raise ValueError("drain")
    assert is_free(engine, "stripe")


def test_many_threads_that_try_at_once_leave_one_holder(engine: Engine) -> None:
    """Of eight threads that want the lock at the same moment and keep it, exactly one gets it."""
    locks = [SourceLock(engine, "stripe") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda lock: lock.acquire(), locks))
    assert sum(won) == 1
    assert [lock.held for lock in locks] == won
    for lock in locks:
        lock.release()
        lock.release()
    assert is_free(engine, "stripe")


def test_a_lock_may_be_let_go_by_another_thread(engine: Engine) -> None:
    """A drain may end in another thread than it began in."""
    lock = SourceLock(engine, "stripe")
    assert lock.acquire()
    assert not lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lock.release).result()
    assert is_free(engine, "stripe")


def test_another_process_holds_it_until_it_is_killed(engine: Engine, url: str, start_python: Callable[..., subprocess.Popen[str]]) -> None:
    """Two processes hold two sources; killed by kill -9 they clean up nothing, and both sources are free within moments."""
    holders = {source: start_python(HOLD, url, source) for source in ("stripe", "zendesk")}
    assert [answer(process) for process in holders.values()] == ["held", "held"]
    third = start_python(HOLD, url, "stripe")
    assert answer(third) == "refused"
    assert not any(is_free(engine, source) for source in holders)
    for process in holders.values():
        process.kill()
        process.wait()
    deadline = time.monotonic() + 10
    while not all(is_free(engine, source) for source in holders):
        assert time.monotonic() < deadline, "the locks of dead processes are still held"
        time.sleep(0.05)


@pytest.mark.parametrize("source", ["stripe", "crm/eu", "..", "Ümläut & spaces", "x" * 63])
def test_any_name_of_a_source_will_do(sqlite_url: str, tmp_path: Path, source: str, opened: Opener) -> None:
    """No name of a source leads out of the directory of locks."""
    engine = opened(sqlite_url)
    with try_lock(engine, source) as held:
        assert held
        assert len(list((tmp_path / "ledger.db.locks").iterdir())) == 1
    assert not [item for item in tmp_path.iterdir() if item.suffix == ".lock"]


def test_a_link_to_the_ledger_is_the_same_ledger(sqlite_url: str, tmp_path: Path, opened: Opener) -> None:
    """Two ways to the same file are one lock."""
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "ledger.db")
    with try_lock(opened(sqlite_url), "stripe") as held:
        assert held
        assert not is_free(opened(f"sqlite:///{link}"), "stripe")


def test_a_lock_that_cannot_be_tried_is_an_error_and_not_a_refusal(sqlite_url: str, tmp_path: Path, opened: Opener) -> None:
    """Where no lock file can be made, "someone else is draining" would be a lie that nobody notices."""
    (tmp_path / "ledger.db.locks").write_text("a file where the directory should be")
    engine = opened(sqlite_url)
    for _ in range(2):
        with pytest.raises(LedgerError, match="lock file cannot be used"):
            is_free(engine, "stripe")


def test_refused_locks_keep_no_connection(postgres_url: str, opened: Opener) -> None:
    """On PostgreSQL a held lock costs one connection, a refused or released one none."""
    engine, other = opened(postgres_url), opened(postgres_url)
    assert isinstance(engine.pool, QueuePool)
    assert isinstance(other.pool, QueuePool)
    with try_lock(engine, "stripe"):
        assert engine.pool.checkedout() == 1
        assert [is_free(other, "stripe") for _ in range(40)] == [False] * 40
        assert other.pool.checkedout() == 0
    assert engine.pool.checkedout() == 0


def test_a_holder_can_ask_whether_it_still_is_one(engine: Engine, url: str, postgres_server: PostgresServer) -> None:
    """On PostgreSQL a cut connection loses the lock: the holder is told when it asks, and letting go does no harm."""
    lock = SourceLock(engine, "stripe")
    assert not lock.still_held()
    assert lock.acquire()
    assert lock.still_held()
    if engine.dialect.name == "postgresql":
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid()"
        postgres_server.execute(sql.SQL(cut).format(sql.Literal(url.partition("?")[0].rpartition("/")[2])))
        assert not lock.still_held()
    lock.release()
    assert not lock.still_held()
    assert is_free(engine, "stripe")


def test_a_server_that_is_gone_is_an_error(postgres_server: PostgresServer, opened: Opener) -> None:
    """Nor is a server that does not answer a refusal; and the source can be tried again once it does."""
    name = postgres_server.create_database()
    engine = opened(postgres_server.url(name))
    postgres_server.drop_database(name)
    for _ in range(2):
        with pytest.raises(LedgerError, match="no such database"):
            is_free(engine, "stripe")
