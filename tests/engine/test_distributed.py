"""Several machines: drains as jobs of Procrastinate, on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text

from dsr_sdk import ConfigError, LedgerError, Match, Outcome, Pending
from dsr_sdk.engine import Plan
from dsr_sdk.engine.distributed import SCHEMA, Distributed, Timing, _sql
from dsr_sdk.host import Host
from dsr_sdk.host.approval import approve
from dsr_sdk.host.worker import main, run_worker
from dsr_sdk.http import Api, RateLimit
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.database import open_database, writing
from dsr_sdk.ledger.locks import try_lock
from dsr_sdk.testing import Answer, serve
from tests.toys import TOKEN, Jobs, Toy, ToyVendor, limited
from tests.world import FAST, World, deletion

ROOT = Path(__file__).parents[2]
QUICK = Timing(heartbeat=0.3, stalled=1.5, sweep=1, poll=0.1, busy=0.2)
"""Noticed soon. A worker that is wrongly taken for dead because this machine is busy must do no harm, so that tests it, too."""


class Tagged(Toy):
    """Says with every call which process makes it."""

    slug, title = "tagged", "Tagged"

    def headers(self) -> Mapping[str, str]:
        return {"X-Worker": str(os.getpid())}


class TaggedJobs(Jobs):
    """Likewise; starting a job twice would be wrong."""

    slug, title = "tagged_jobs", "Tagged jobs"

    def headers(self) -> Mapping[str, str]:
        return {"X-Worker": str(os.getpid())}


class SlowJobs(Jobs):
    """A job to be asked about after two seconds."""

    slug, title = "slow_jobs", "Slow jobs"

    def erase(self, api: Api, match: Match) -> Outcome:
        outcome = super().erase(api, match)
        assert isinstance(outcome, Pending)
        return Pending(outcome.job, timedelta(seconds=2))


class Watched(ToyVendor):
    """Takes its time, and sees which processes call it."""

    def __init__(self, *, prefix: str) -> None:
        super().__init__(prefix=prefix)
        self.seconds = 0.0
        self.inside: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.overlaps: list[set[str]] = []
        self.guard = threading.Lock()

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        worker = {name.lower(): value for name, value in headers.items()}["x-worker"]
        with self.guard:
            self.inside[worker] += 1
            self.served[worker] += 1
            here = {name for name, calls in self.inside.items() if calls}
            if len(here) > 1:
                self.overlaps.append(here)
        try:
            time.sleep(self.seconds)
            return super().answer(method, url, headers, body)
        finally:
            with self.guard:
                self.inside[worker] -= 1


_PROCESS = """
import sys
import dsr_sdk.registry
from dsr_sdk.host.worker import main
from tests.engine.test_distributed import QUICK, Tagged, TaggedJobs
from tests.world import point

def entry_points(*, group):
    return [point(one.slug, one) for one in (Tagged, TaggedJobs)] if group == dsr_sdk.registry.CONNECTORS else []

dsr_sdk.registry.entry_points = entry_points
sys.exit(main(sys.argv[1:], timing=QUICK))
"""


def until(happened: Callable[[], Any], what: str = "what was waited for") -> Any:
    """Wait for it; what it is."""
    deadline = time.monotonic() + 30
    while not (found := happened()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return found


class Fleet(World):
    """A host on PostgreSQL, with its queue, and workers in this process or in others."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.mail = "[engine]\nbackoff_seconds = 0.05\nlongest_backoff_seconds = 0.2"
        self.processes: list[subprocess.Popen[bytes]] = []
        assert self.database is not None
        self.engine: Engine = open_database(self.database)
        self.stack.callback(self.engine.dispose)
        self.queue = Distributed(self.engine, QUICK)

    def watched(self, name: str, people: Sequence[str], *, connector: type[Toy] | type[Jobs] = Tagged) -> Watched:
        """A data source that other processes reach over the network."""
        vendor = Watched(prefix=f"{name}-")
        server = self.stack.enter_context(serve(vendor))
        self.add(name, connector, vendor, *people, base_url=server.url, allow_private_hosts=True, threads=2)
        return vendor

    def planned(self, host: Host, *emails: str) -> list[Plan]:
        """Plans of new cases, made while no worker is there to get in the way."""
        self.queue.prepare()
        return host.plan_many(host.submit_many([deletion(email) for email in emails]))

    def approve(self, host: Host, plans: Sequence[Plan]) -> list[str]:
        """Approve plans, and queue their sources in the same transaction; the case numbers."""
        with writing(host.ledger.engine) as connection:
            book = Book(plans[0].made_at)
            approve(connection, host.ledger, host.registry, plans, "agent", book)
            host.ledger.write(connection, book)
            self.queue.enqueue([row.source for plan in plans for row in plan.sources], connection)
        return [plan.case for plan in plans]

    @contextlib.contextmanager
    def worker(self, *, timing: Timing = QUICK, **options: Any) -> Iterator[None]:
        """A worker in a thread of this process."""
        stop = threading.Event()
        path = self.write()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                run_worker(path, stop_event=stop, timing=timing, transports=self.transports, options=FAST, **options)
            except BaseException as error:  # noqa: BLE001 - told to the test below
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            until(lambda: failures or (self.prepared() and self.queue.stats().workers), "a worker's start")
            yield
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()
            for failure in failures:
                raise failure

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A worker in a process of its own."""
        command = [sys.executable, "-c", _PROCESS, "--config", str(self.write()), *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        self.processes.append(process)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def prepared(self) -> bool:
        """Whether the queue has its tables."""
        with self.engine.connect() as connection:
            return connection.execute(text(f"SELECT to_regclass('{SCHEMA}.procrastinate_workers')")).scalar() is not None

    def jobs(self) -> int:
        """How many jobs the queue holds, sweeps aside."""
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {SCHEMA}.procrastinate_jobs WHERE task_name <> 'dsr.sweep'")).scalar_one())

    def execute(self, statement: str) -> None:
        """Do something to the database behind everybody's back."""
        with self.engine.begin() as connection:
            connection.execute(text(statement))


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_template: Path, postgres_url: str) -> Iterator[Fleet]:
    """A host whose drains are spread over workers."""
    fleet = Fleet(tmp_path / "host", monkeypatch, world_template, postgres_url)
    with fleet.stack:
        yield fleet


def done(host: Host, cases: Sequence[str]) -> bool:
    """Whether every case is finished."""
    return all(host.status(case).status == "done" for case in cases)


# --- the schema ----------------------------------------------------------------------------------------------------------------------


def shape(url: str) -> list[tuple[Any, ...]]:
    """What a schema consists of, as far as a program can tell."""
    with psycopg.connect(url) as connection:
        return [
            *connection.execute(
                "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = %s ORDER BY 1, 2",
                (SCHEMA,),
            ),
            *connection.execute(
                "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = %s::regnamespace ORDER BY 1, pg_get_function_arguments(oid)", (SCHEMA,)
            ),
            *connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = %s ORDER BY 1", (SCHEMA,)),
            *connection.execute(
                "SELECT tgname, proname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE pronamespace = %s::regnamespace ORDER BY 1",
                (SCHEMA,),
            ),
        ]


def test_prepare_is_safe_to_call_often_and_at_once(fleet: Fleet) -> None:
    """Machines start together: one makes the tables, the others find them; nothing lands among the ledger's tables."""
    failures: list[BaseException] = []

    def prepare() -> None:
        try:
            fleet.queue.prepare()
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    fleet.queue.prepare()
    assert fleet.queue.stats() == type(fleet.queue.stats())(0, (), {}, 0)
    with fleet.engine.connect() as connection:
        schemas = connection.execute(text("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'procrastinate%'")).scalars().all()
    assert schemas == [SCHEMA]


def test_an_older_queue_is_migrated(fleet: Fleet, postgres_server: Any) -> None:
    """A queue made by an older Procrastinate is brought up, migration by migration, to what a new one is like."""
    fleet.queue.prepare()
    older = postgres_server.create_database()
    migrations = sorted(entry.name for entry in _sql().joinpath("migrations").iterdir() if entry.name.endswith(".sql"))
    version = next(name for name in migrations if name.startswith("03.01.00_50"))
    with psycopg.connect(postgres_server.url(older), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(f"SET search_path TO {SCHEMA}")
        for name in migrations[: migrations.index(version) + 1]:
            connection.execute(_sql().joinpath("migrations", name).read_text())
        connection.execute("CREATE TABLE dsr_revision (migration text PRIMARY KEY)")
        connection.execute("INSERT INTO dsr_revision VALUES (%s)", (version,))
    engine = open_database(postgres_server.url(older))
    Distributed(engine).prepare()
    Distributed(engine).enqueue(["crm"])
    engine.dispose()
    assert shape(postgres_server.url(older)) == shape(str(fleet.database))
    postgres_server.drop_database(older)


def test_a_newer_queue_is_left_alone(fleet: Fleet) -> None:
    """A machine that was forgotten when the others were upgraded says so, and touches nothing."""
    fleet.queue.prepare()
    fleet.execute(f"UPDATE {SCHEMA}.dsr_revision SET migration = '99.00.00_01_from_the_future.sql'")
    with pytest.raises(LedgerError, match="newer Procrastinate"):
        fleet.queue.prepare()


def test_a_queue_that_was_not_prepared_says_what_to_do(fleet: Fleet) -> None:
    """Approving before any worker ever ran names the remedy; the transaction is undone as a whole."""
    with pytest.raises(LedgerError, match="run a worker once"):
        fleet.queue.enqueue(["crm"])
    with pytest.raises(LedgerError, match="run a worker once"), writing(fleet.engine) as connection:
        fleet.queue.enqueue(["crm"], connection)


def test_sqlite_is_refused(tmp_path: Path) -> None:
    """Several machines on one SQLite file is a mistake, and is told as one of the configuration."""
    engine = open_database(f"sqlite:///{tmp_path}/ledger.db", create=True)
    with pytest.raises(ConfigError, match="PostgreSQL"):
        Distributed(engine)
    engine.dispose()


def test_embedded_mode_does_not_load_procrastinate(sqlite_world: World) -> None:
    """Whoever needs one machine pays for one: neither Procrastinate nor psycopg is imported, nor is asyncio's worker."""
    code = (
        "import sys; from dsr_sdk.host import Host; host = Host.open(sys.argv[1]); host.run_all(); host.close(); "
        "sys.exit(' '.join(name for name in sys.modules if name.startswith(('procrastinate', 'psycopg'))) or 0)"
    )
    subprocess.run([sys.executable, "-c", code, str(sqlite_world.write())], check=True, cwd=ROOT)


# --- queueing ------------------------------------------------------------------------------------------------------------------------


def test_queueing_goes_with_our_transaction(fleet: Fleet) -> None:
    """Approval and queueing are committed together or not at all, and the ledger's own statements find their tables as before."""
    fleet.queue.prepare()

    def fail() -> None:
        with writing(fleet.engine) as connection:
            fleet.queue.enqueue(["crm"], connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert fleet.jobs() == 0
    with writing(fleet.engine) as connection:
        before = connection.execute(text("SHOW search_path")).scalar_one()
        fleet.queue.enqueue(["crm", "shop"], connection)
        assert connection.execute(text("SHOW search_path")).scalar_one() == before
        assert fleet.jobs() == 0
    assert fleet.queue.stats().wakes == 1


def test_queueing_twice_is_once(fleet: Fleet) -> None:
    """A source waits in the queue once, however often it is put there; a long name is no trouble."""
    fleet.queue.prepare()
    fleet.queue.enqueue(["crm", "shop", "crm"])
    fleet.queue.enqueue(["crm", "n" * 63])
    assert fleet.jobs() == 3
    assert set(fleet.queue.stats().queued) == {"crm", "shop", "n" * 63}


def test_two_who_approve_at_once_do_not_wait_for_each_other(fleet: Fleet) -> None:
    """Two open transactions queue the same source: neither blocks the other, and both end as one drain."""
    fleet.queue.prepare()
    with writing(fleet.engine) as one, writing(fleet.engine) as other:
        fleet.queue.enqueue(["crm"], one)
        fleet.queue.enqueue(["crm"], other)
    assert fleet.queue.stats().wakes == 2
    with fleet.worker():
        until(lambda: fleet.jobs() == 0)


# --- one worker ----------------------------------------------------------------------------------------------------------------------


def test_what_is_approved_is_done(fleet: Fleet) -> None:
    """Nobody calls run: the approval's own transaction queues the source, and a worker takes it from there."""
    vendor = fleet.add("crm", Toy, None, "ada@example.com", "bob@example.com")
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    with fleet.worker():
        cases = fleet.approve(host, plans)
        until(lambda: done(host, cases))
        until(lambda: [row.status.value for row in host.status(cases[0]).sources] == ["verified"])
    assert vendor.effects == {"erase crm-1": 1}
    assert vendor.holds("bob@example.com")


def test_a_lost_job_costs_nothing(fleet: Fleet) -> None:
    """The queue is emptied, or was never told: the next sweep finds in the ledger what is due."""
    vendor = fleet.add("crm", Toy, None, "ada@example.com")
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    with fleet.worker():
        host.approve_many(plans)
        cases = [plan.case for plan in plans]
        until(lambda: done(host, cases))
    assert vendor.effects == {"erase crm-1": 1}


def test_a_pending_job_is_asked_about_when_it_is_time(fleet: Fleet) -> None:
    """The vendor says "in two seconds": a wake stands in the queue until then, and nobody calls run."""
    vendor = fleet.add("crm", SlowJobs, None, "ada@example.com")
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    slow_sweep = Timing(heartbeat=0.3, stalled=1.5, sweep=30, poll=0.1)
    with fleet.worker(timing=slow_sweep):
        cases = fleet.approve(host, plans)
        until(lambda: vendor.effects and fleet.queue.stats().wakes == 1)
        until(lambda: done(host, cases))
    assert vendor.calls["GET job"] == 1
    assert vendor.effects == {"job crm-1": 1}


def test_what_waits_for_another_source_follows_it(fleet: Fleet) -> None:
    """A source that may begin only when another is done is queued by the end of that one's drain."""
    fleet.add("shop", Toy, None, "ada@example.com")
    fleet.add("crm", Toy, None, "ada@example.com", after=["shop"])
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    slow_sweep = Timing(heartbeat=0.3, stalled=1.5, sweep=30, poll=0.1)
    with fleet.worker(timing=slow_sweep):
        cases = fleet.approve(host, plans)
        until(lambda: done(host, cases))
    assert fleet.vendors["crm"].effects == {"erase crm-1": 1}


def test_a_long_drain_gives_its_place_to_others(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """One source at a time and one that has much to do: it is drained in slices, and the other does not wait for its end."""
    order: list[str] = []
    many = fleet.add("many", Toy, None, *["ada@example.com"] * 700)
    few = fleet.add("few", Toy, None, "bob@example.com")
    for vendor in (many, few):
        monkeypatch.setattr(vendor, "effect", order.append)  # the order over both is what matters here
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com", "bob@example.com")
    with fleet.worker(concurrency=1, slice_seconds=0.2):
        cases = fleet.approve(host, plans)
        until(lambda: done(host, cases))
    assert len(order) == 701
    assert order.index("erase few-1") < 600


def test_a_source_that_refuses_our_key_is_left_alone(fleet: Fleet) -> None:
    """Three refusals and the source rests, though plenty is due and sweeps go on; a worker started anew ends the rest."""
    vendor = fleet.add("crm", Toy, None, *["ada@example.com"] * 20, threads=1)
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    cases = fleet.approve(host, plans)
    vendor.token = TOKEN
    with fleet.worker():
        until(lambda: fleet.queue.stats().queued.get("crm") is not None)
        refused = [task for task in host.status(cases[0]).sources if task.status.value == "failed"]
        fleet.queue.enqueue(["crm"])
        assert fleet.queue.stats().queued["crm"] is not None
    assert refused
    assert not vendor.effects
    vendor.token = None
    with fleet.worker():
        until(lambda: not fleet.queue.stats().queued and vendor.effects)
        host.retry(cases[0])
        until(lambda: done(host, cases))
    assert set(vendor.effects.values()) == {1}
    assert len(vendor.effects) == 20


def test_a_source_drained_by_someone_else_is_come_back_to(fleet: Fleet) -> None:
    """Somebody runs ``dsr run`` beside the workers: the ledger's lock keeps the drain out, and it comes back when the lock is free."""
    vendor = fleet.add("crm", Toy, None, "ada@example.com")
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    with fleet.worker():
        with try_lock(host.ledger.engine, "crm") as held:
            assert held
            cases = fleet.approve(host, plans)
            until(lambda: fleet.queue.stats().wakes and not fleet.queue.stats().running)
            assert not vendor.effects
        until(lambda: done(host, cases))
    assert vendor.effects == {"erase crm-1": 1}


def test_a_worker_survives_the_loss_of_its_connections(fleet: Fleet) -> None:
    """The server restarts, or a firewall forgets: the worker connects again and goes on."""
    vendor = fleet.add("crm", Toy, None, "ada@example.com")
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    with fleet.worker():
        fleet.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        cases = fleet.approve(host, plans)
        until(lambda: done(host, cases))
    assert vendor.effects == {"erase crm-1": 1}


@pytest.mark.parametrize(
    "left_by",
    [
        pytest.param("NULL", id="a dead worker"),
        pytest.param(f"(SELECT min(id) FROM {SCHEMA}.procrastinate_workers)", id="a living worker"),
    ],
)
def test_a_job_that_never_ends_is_buried(fleet: Fleet, left_by: str) -> None:
    """A job left running, and its source queued again meanwhile: its lock is taken from it, and what is queued gets its turn."""
    vendor = fleet.add("crm", Toy, None, "ada@example.com")
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    with fleet.worker(timing=Timing(heartbeat=0.3, stalled=1.5, sweep=1, poll=0.1, unattended=1)):
        fleet.execute(
            f"WITH job AS (INSERT INTO {SCHEMA}.procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args, status, worker_id) "
            f"VALUES ('dsr:crm', 'dsr.drain', 'crm', 'crm', '{{\"source\"\\: \"crm\"}}', 'doing', {left_by}) RETURNING id) "
            f"INSERT INTO {SCHEMA}.procrastinate_events (job_id, type) SELECT id, 'started' FROM job"
        )
        fleet.queue.enqueue(["crm"])
        cases = fleet.approve(host, plans)
        until(lambda: done(host, cases))
        until(lambda: not fleet.queue.stats().running)
    assert vendor.effects == {"erase crm-1": 1}


def test_nobody_waits_out_a_rate_limit_when_told_to_stop(fleet: Fleet) -> None:
    """The next call's turn is in a quarter of a minute: a worker that is told to stop does not make it, and gives it back."""
    vendor = fleet.add("crm", limited(Toy, RateLimit(1, per=15)), None, *["ada@example.com"] * 4)
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    with fleet.worker():
        fleet.approve(host, plans)
        until(lambda: vendor.effects)
    assert vendor.effects.total() == 1
    assert fleet.queue.stats().running == ()
    with fleet.engine.connect() as connection:
        left = connection.execute(text("SELECT state FROM tasks WHERE action = 'erase' AND next_at IS NOT NULL")).scalars().all()
    assert left == ["ready"] * 3


def test_only_the_sources_asked_for_are_drained(fleet: Fleet) -> None:
    """A worker that cannot or shall not drain a source leaves it in the queue for one that can."""
    fleet.add("crm", Toy, None, "ada@example.com")
    fleet.add("shop", Toy, None, "ada@example.com")
    host = fleet.open()
    plans = fleet.planned(host, "ada@example.com")
    cases = fleet.approve(host, plans)
    with fleet.worker(sources=["crm"]):
        until(lambda: fleet.vendors["crm"].effects and set(fleet.queue.stats().queued) == {"shop"})
        assert not fleet.vendors["shop"].effects
        with fleet.worker(sources=["shop"]):
            until(lambda: done(host, cases))
    with pytest.raises(ConfigError, match="no such data source"), fleet.worker(sources=["cmr"]):
        pass


def test_the_command_tells_what_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong configuration ends the command with its error and exit code, not with a traceback."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(["--config", str(tmp_path / "none.toml")]) == 3
    assert "there is no such file" in caplog.text
    with pytest.raises(SystemExit):
        main(["--concurrency", "0"])


# --- several processes ---------------------------------------------------------------------------------------------------------------


def test_two_workers_share_the_work_until_one_is_killed(fleet: Fleet) -> None:
    """Work spreads over processes by source, and no vendor ever hears from two at once. kill -9 of one while its calls are under way:
    the other finishes everything, and no effect happens twice, not even where a second call would be one.
    """
    people = [f"p{n}@example.com" for n in range(50)]
    erasing = [fleet.watched(name, people) for name in ("crm", "shop")]
    starting = [fleet.watched(name, people, connector=TaggedJobs) for name in ("mail", "help")]
    vendors = [*erasing, *starting]
    host = fleet.open()
    plans = fleet.planned(host, *people)
    for vendor in vendors:
        vendor.served.clear()
        vendor.seconds = 0.03
    workers = {str(process.pid): process for process in (fleet.start(*options) for options in [("--concurrency", "2")] * 2)}
    until(lambda: fleet.prepared() and fleet.queue.stats().workers == 2, "the workers' start")
    cases = fleet.approve(host, plans)
    until(lambda: {name for vendor in vendors for name in vendor.served} == workers.keys(), "work of both workers")
    half_done = until(lambda: next((vendor for vendor in vendors if 5 < len(vendor.effects) < 20), None), "the middle of a drain")
    (victim,) = half_done.served
    workers[victim].kill()
    workers[victim].wait()
    assert len(half_done.effects) < 50, "the worker was done before it was killed"
    until(lambda: done(host, cases))
    for vendor in vendors:
        assert vendor.effects.total() == len(vendor.effects) == 50
        assert not vendor.overlaps
    assert half_done.served.keys() == workers.keys()


def test_a_worker_told_to_stop_finishes_what_it_has_begun(fleet: Fleet) -> None:
    """SIGTERM in the middle of a drain: no call is left without its outcome, and what is left waits for the next worker."""
    people = [f"p{n}@example.com" for n in range(80)]
    crm = fleet.watched("crm", people)
    host = fleet.open()
    plans = fleet.planned(host, *people)
    crm.seconds = 0.02
    host.approve_many(plans)
    worker = fleet.start()
    until(lambda: len(crm.effects) > 5, "the worker's work")
    worker.terminate()
    assert worker.wait(30) == 0
    stats = fleet.queue.stats()
    assert (stats.workers, stats.running) == (0, ())
    assert set(stats.queued) <= {"crm"}
    with fleet.engine.connect() as connection:
        rows = connection.execute(text("SELECT state, count(*) AS tasks FROM tasks WHERE action = 'erase' GROUP BY state")).all()
    states = {row.state: row.tasks for row in rows}
    assert "acting" not in states
    assert states["done"] == len(crm.effects)
    assert set(crm.effects.values()) == {1}
