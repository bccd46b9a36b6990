"""Several machines: the same drains, as jobs of Procrastinate on the ledger's own PostgreSQL.

The ledger is the truth and the queue may lose anything: a job says only "source S may have due work", so one too many finds nothing to
do, and one that is lost is queued again by the next sweep. Four rules keep Procrastinate's two locks from standing in the way:

- A drain has its source as ``lock`` (one at a time) and as ``queueing_lock`` (queued once). Nothing else has a ``lock``, because a waiting
  job, even one for next year, keeps every later job of the same lock from starting.
- What happens at a time, or in a transaction of ours, is a *wake*: a job without a lock that queues drains when its time comes, or when
  the transaction has committed. A drain queued once in an open transaction would be lost if the one already waiting began before.
- A job whose worker died is deleted, not retried: retrying fails for ever when the source was queued again meanwhile.
- The lock that protects the vendor is the ledger's (`dsr_sdk.ledger.locks`), so a worker wrongly taken for dead does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine, event, text
from sqlalchemy.engine import Connection

from dsr_sdk.engine.drain import Drained
from dsr_sdk.errors import ConfigError, LedgerError
from dsr_sdk.ledger.database import reading, translated, writing
from dsr_sdk.ledger.locks import lock_key

if TYPE_CHECKING:
    from procrastinate import App

__all__ = ["SCHEMA", "Distributed", "Stats", "Timing"]

SCHEMA: Final = "dsr_queue"
"""The PostgreSQL schema of Procrastinate's tables: apart from the ledger's, and from a Procrastinate that the host application runs."""

DRAIN, WAKE, SWEEP = "dsr.drain", "dsr.wake", "dsr.sweep"
_HOUSE = "dsr"  # the queue of wakes and sweeps, which every worker listens to
_FIRST = 100  # the priority of wakes and sweeps: they take milliseconds, and drains wait for them
_PREPARE_LOCK: Final = 0x6473722D71756575  # "dsr-queu": a PostgreSQL advisory lock

_REVISION = text(f"SELECT migration FROM {SCHEMA}.dsr_revision")  # noqa: S608 - a constant, here and below
_SEARCH_PATH = text("SELECT set_config('search_path', :path, true)")
_JOBS = text(f"SELECT id, task_name, status::text, lock, scheduled_at FROM {SCHEMA}.procrastinate_jobs WHERE status IN ('todo', 'doing')")  # noqa: S608
_WORKERS = text(f"SELECT count(*) FROM {SCHEMA}.procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => :seconds)")  # noqa: S608
_STARTED = text(f"""
    SELECT job.id, job.lock FROM {SCHEMA}.procrastinate_jobs job JOIN {SCHEMA}.procrastinate_events event ON event.job_id = job.id
    WHERE job.status = 'doing' AND job.lock IS NOT NULL AND event.type = 'started'
    GROUP BY job.id HAVING max(event.at) < now() - make_interval(secs => :seconds)
""")  # noqa: S608
_HELD = text("""
    SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")
# Steps from source to source through the index of live work, so that it costs the same however much is due.
_DUE = text("""
    WITH RECURSIVE names AS (
        (SELECT source FROM tasks WHERE next_at IS NOT NULL ORDER BY source LIMIT 1)
        UNION ALL
        SELECT (SELECT source FROM tasks WHERE next_at IS NOT NULL AND source > names.source ORDER BY source LIMIT 1)
        FROM names WHERE names.source IS NOT NULL
    )
    SELECT source FROM names
    WHERE source IS NOT NULL AND EXISTS (SELECT 1 FROM tasks WHERE tasks.source = names.source AND next_at <= :now)
""")
_SOONEST = text("SELECT min(next_at) FROM tasks WHERE source = :source AND next_at > :now")

log = logging.getLogger("dsr_sdk.distributed")


@dataclass(frozen=True, slots=True)
class Timing:
    """How soon things are noticed, in seconds. The same on every machine.

    Attributes:
        heartbeat: How often a worker says that it lives.
        stalled: How long after its last heartbeat it is taken for dead.
        sweep: How often, over all workers together, lost work is looked for. Divides 60.
        poll: How often a worker looks for wakes that have come due.
        busy: When to come back to a source that someone else is draining.
        rest: How long a source is left alone that refused our key or whose settings are wrong; starting a worker ends it.
        unattended: How long after a job's start nobody may hold its source's lock before the job is taken for lost, whatever its worker says.
    """

    heartbeat: float = 2.0
    stalled: float = 8.0
    sweep: int = 5
    poll: float = 1.0
    busy: float = 5.0
    rest: float = 900.0
    unattended: float = 3.0


@dataclass(frozen=True, slots=True)
class Stats:
    """What the queue holds.

    Attributes:
        workers: Workers that live.
        running: Sources being drained.
        queued: Sources waiting for a worker, and those that rest until a time.
        wakes: Jobs that will queue drains: approvals just committed, and timers.
    """

    workers: int
    running: tuple[str, ...]
    queued: Mapping[str, datetime | None]
    wakes: int


class Distributed:
    """The queue of drains in the ledger's PostgreSQL database. Threads may share it.

    Args:
        engine: The ledger's.

    Raises:
        ConfigError: The ledger is not on PostgreSQL, or the ``postgres`` extra is not installed.
    """

    def __init__(self, engine: Engine, timing: Timing | None = None) -> None:
        if engine.dialect.name != "postgresql":
            raise ConfigError("several machines need a ledger on PostgreSQL", field="host.database", fix="give a postgresql:// address")
        try:
            from procrastinate import App, SyncPsycopgConnector
        except ImportError:
            raise ConfigError("several machines need Procrastinate, which is not installed", fix="run: pip install 'dsr-sdk[postgres]'") from None
        self._engine = engine
        self._timing = timing or Timing()
        self._app = App(connector=SyncPsycopgConnector())  # never opened: what it does, it does on a connection of the ledger's

    # --- the schema ----------------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make Procrastinate's tables, or bring them to the installed version. Does nothing when they are; several processes may call it at once.

        Raises:
            LedgerError: It is not permitted, or a newer Procrastinate was here.
        """
        names = sorted(entry.name for entry in _sql().joinpath("migrations").iterdir() if entry.name.endswith(".sql"))
        with reading(self._engine) as connection:
            found = _revision(connection)
        while found != names[-1]:
            with writing(self._engine) as connection:
                connection.execute(text("SET LOCAL lock_timeout = '5min'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PREPARE_LOCK})
                found = self._step(connection, _revision(connection), names)

    def _step(self, connection: Connection, found: str | None, names: Sequence[str]) -> str:
        """Make the tables at their newest, or apply the next migration: one a transaction, as Procrastinate's own tools do."""
        if found == names[-1]:
            return found
        if found is None:
            if not connection.execute(text("SELECT count(*) FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA}).scalar_one():
                connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))  # not IF NOT EXISTS, which asks for the right even when it exists
            connection.execute(text(f"CREATE TABLE {SCHEMA}.dsr_revision (migration text PRIMARY KEY)"))
            script, now = _sql().joinpath("schema.sql"), names[-1]
        elif found in names:
            now = names[names.index(found) + 1]
            script = _sql().joinpath("migrations", now)
        else:
            raise LedgerError("the queue was migrated by a newer Procrastinate", fix="upgrade dsr-sdk and procrastinate on every machine alike")
        with _inside(connection) as driver:
            driver.execute(script.read_text(encoding="utf-8"))
        connection.execute(text(f"DELETE FROM {SCHEMA}.dsr_revision"))  # noqa: S608 - a constant
        connection.execute(text(f"INSERT INTO {SCHEMA}.dsr_revision VALUES (:now)"), {"now": now})  # noqa: S608 - likewise
        return now

    # --- queueing ------------------------------------------------------------------------------------------------------------------

    def enqueue(self, sources: Collection[str], connection: Connection | None = None) -> None:
        """Have these sources drained soon. A source that is queued already is not queued again.

        Args:
            connection: An open transaction of the ledger's: they are queued when it commits, and not at all when it is rolled back.
                None when the work is committed already.

        Raises:
            LedgerError: The queue was not prepared, or cannot be reached.
        """
        names = sorted(set(sources))
        if connection is None:
            for name in names:
                self._queue(name)
        elif names:
            arguments: dict[str, Any] = {"sources": names}
            with translated(self._engine), _inside(connection) as driver:
                self._app.configure_task(WAKE, queue=_HOUSE, priority=_FIRST, connection=driver).defer(**arguments)

    def _queue(self, source: str, at: datetime | None = None) -> None:
        self._defer(DRAIN, {"source": source}, queue=_queue_of(source), lock=source, queueing_lock=source, schedule_at=at)

    def _wake(self, source: str, at: datetime) -> None:
        """Queue a drain at a time. A time has its own wake, so nothing ever has to be put forward; one too many finds nothing due."""
        second = math.ceil(at.timestamp())
        when = datetime.fromtimestamp(second, UTC)
        self._defer(WAKE, {"sources": [source]}, queue=_HOUSE, priority=_FIRST, queueing_lock=f"{source}@{second}", schedule_at=when)

    def _defer(self, task: str, arguments: dict[str, Any], **options: Any) -> None:
        from procrastinate.exceptions import AlreadyEnqueued

        with contextlib.suppress(AlreadyEnqueued), writing(self._engine) as connection, _inside(connection) as driver:
            self._app.configure_task(task, connection=driver, **options).defer(**arguments)

    def stats(self) -> Stats:
        """What the queue holds now."""
        with reading(self._engine) as connection:
            workers = connection.execute(_WORKERS, {"seconds": self._timing.stalled}).scalar_one()
            jobs = connection.execute(_JOBS).all()
        drains = [job for job in jobs if job.task_name == DRAIN]
        return Stats(
            workers,
            tuple(sorted(job.lock for job in drains if job.status == "doing")),
            {job.lock: job.scheduled_at for job in drains if job.status == "todo"},
            sum(job.task_name == WAKE for job in jobs),
        )

    # --- working -------------------------------------------------------------------------------------------------------------------

    async def work(
        self,
        drain: Callable[[str], Drained],
        sources: Sequence[str],
        *,
        concurrency: int,
        stop: threading.Event,
        dependents: Callable[[str], Collection[str]] = lambda source: (),
    ) -> None:
        """Be a worker until told to stop; what is under way then is finished first. Survives the database being away for a while.

        Args:
            drain: Drains a source for the length of a slice; called from several threads.
            sources: Those that this worker can drain. Drains of others wait for a worker that can.
            concurrency: How many sources are drained at once.
            stop: Ends it. ``drain`` has to look at it, too.
            dependents: The sources that may begin once this one has got on.
        """
        import psycopg
        from procrastinate.exceptions import ConnectorException

        event.listen(self._engine, "connect", _soon_missed)
        self._engine.dispose()
        await asyncio.to_thread(self._begin, sources)
        queues = [_HOUSE, *(_queue_of(source) for source in sources)]
        with ThreadPoolExecutor(concurrency, thread_name_prefix="slices") as pool:
            app = self._jobs(partial(asyncio.get_running_loop().run_in_executor, pool), drain, dependents)
            while not stop.is_set():
                try:
                    async with app.open_async():  # waits for half a minute before it gives up
                        await self._until(stop, app, queues, concurrency)
                except (ConnectorException, psycopg.Error) as error:
                    log.warning("the queue cannot be reached: %s", type(error.__cause__ or error).__name__)
                if not stop.is_set():
                    log.warning("the worker begins again, with new connections")
                    await asyncio.sleep(self._timing.poll)

    def _begin(self, sources: Sequence[str]) -> None:
        """End the rest of sources whose settings may be mended now, and queue what is due."""
        with writing(self._engine) as connection:
            resting = [job for job in connection.execute(_JOBS) if job.task_name == DRAIN and job.status == "todo" and job.scheduled_at is not None]
            with _inside(connection) as driver:
                for job in resting:
                    if job.lock in sources:
                        self._app.job_manager.cancel_job_by_id(job.id, delete_job=True, connection=driver)
        self.enqueue(self._due())

    async def _until(self, stop: threading.Event, app: App, queues: Sequence[str], concurrency: int) -> None:
        """Run Procrastinate's worker until it is to stop, or gives up because the database is gone."""
        timing = self._timing
        worker = asyncio.create_task(
            app.run_worker_async(
                queues=queues,
                concurrency=concurrency,
                fetch_job_polling_interval=timing.poll,
                update_heartbeat_interval=timing.heartbeat,
                stalled_worker_timeout=timing.stalled,
                delete_jobs="always",  # what a job came to stands in the ledger
                install_signal_handlers=False,
            )
        )
        try:
            while not (stop.is_set() or worker.done()):
                await asyncio.wait({worker}, timeout=0.2)
        finally:
            worker.cancel()  # its way of being told: it takes no new job and waits for those it has
            with contextlib.suppress(asyncio.CancelledError):
                await worker

    def _jobs(self, in_thread: Callable[..., Any], drain: Callable[[str], Drained], dependents: Callable[[str], Collection[str]]) -> App:
        """The app of a worker, with the three kinds of jobs."""
        from procrastinate import App, PsycopgConnector

        _, address = self._engine.dialect.create_connect_args(self._engine.url)
        options = f"{address.pop('options', '')} -c search_path={SCHEMA}".strip()
        keywords = {**address, "options": options, "application_name": "dsr worker", "connect_timeout": address.get("connect_timeout", 10)}
        app = App(connector=PsycopgConnector(kwargs=keywords, min_size=1, max_size=4))

        @app.task(name=DRAIN)
        async def drain_source(source: str) -> None:
            await in_thread(self._slice, source, drain, dependents)

        @app.task(name=WAKE)
        async def wake(sources: list[str]) -> None:
            await in_thread(self._enqueue_due, sources)

        @app.periodic(cron=f"* * * * * */{self._timing.sweep}")
        @app.task(name=SWEEP, queue=_HOUSE, queueing_lock=SWEEP, priority=_FIRST)
        async def sweep(timestamp: int) -> None:
            await self._bury(app, await in_thread(self._unattended))
            await in_thread(self._sweep)

        return app

    def _slice(self, source: str, drain: Callable[[str], Drained], dependents: Callable[[str], Collection[str]]) -> None:
        """A drain, and what comes next for its source."""
        drained = drain(source)
        now = datetime.now(UTC)
        if drained.busy:
            self._wake(source, now + timedelta(seconds=self._timing.busy))
        elif drained.halted is not None:
            log.warning("%s is left alone for %s s: %s", source, self._timing.rest, drained.halted)
            self._queue(source, now + timedelta(seconds=self._timing.rest))  # queued, so that nothing queues it sooner
        else:
            self._enqueue_due([source, *dependents(source)])
            with reading(self._engine) as connection:
                soonest = connection.execute(_SOONEST, {"source": source, "now": _milliseconds(now)}).scalar()
            if soonest is not None:
                self._wake(source, datetime.fromtimestamp(soonest / 1000, UTC))

    def _enqueue_due(self, sources: Collection[str]) -> None:
        self.enqueue(self._due().intersection(sources))

    def _due(self) -> set[str]:
        with reading(self._engine) as connection:
            return set(connection.execute(_DUE, {"now": _milliseconds(datetime.now(UTC))}).scalars())

    def _unattended(self) -> list[int]:
        """Jobs that should be draining and are not: killed, or ended without being able to say so. PostgreSQL lets go of a dead one's lock."""
        with reading(self._engine) as connection:
            started = connection.execute(_STARTED, {"seconds": self._timing.unattended}).all()
            held = set(connection.execute(_HELD).scalars())
        return [job.id for job in started if lock_key(job.lock) not in held]

    async def _bury(self, app: App, unattended: Collection[int]) -> None:
        """Delete the jobs of dead workers, and jobs whose end a living one could not record: their locks would stay for ever."""
        from procrastinate.exceptions import ConnectorException
        from procrastinate.jobs import Status

        stalled = [job.id for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=self._timing.stalled)]
        for id_ in {*stalled, *unattended}:
            if id_ is not None:
                with contextlib.suppress(ConnectorException):  # it ended just now
                    await app.job_manager.finish_job_by_id_async(id_, Status.FAILED, delete_job=True)
                    log.warning("the job %s was lost by its worker; its source is queued again if it has due work", id_)
        await app.job_manager.prune_stalled_workers(10 * self._timing.stalled)

    def _sweep(self) -> None:
        self.enqueue(self._due().difference(self.stats().running))


def _sql() -> Any:
    return resources.files("procrastinate.sql")


def _revision(connection: Connection) -> str | None:
    """The migration that the tables are at; None when there are none."""
    # Not to_regclass(): it answers from a cache that, after waiting for a lock, may not have heard of what its holder made.
    there = "SELECT count(*) FROM pg_tables WHERE schemaname = :schema AND tablename = 'dsr_revision'"
    if not connection.execute(text(there), {"schema": SCHEMA}).scalar_one():
        return None
    revision: str = connection.execute(_REVISION).scalar_one()
    return revision


@contextlib.contextmanager
def _inside(connection: Connection) -> Iterator[Any]:
    """The driver's connection, in the same transaction, with Procrastinate's tables in its search path for as long as the block lasts."""
    from procrastinate.exceptions import ConnectorException

    before = connection.execute(text("SELECT current_setting('search_path')")).scalar_one()
    connection.execute(_SEARCH_PATH, {"path": SCHEMA})
    try:
        yield connection.connection.driver_connection
    except ConnectorException as error:
        cause = error.__cause__
        if getattr(cause, "sqlstate", None) in ("42704", "42883", "42P01"):  # no such type, function or table
            raise LedgerError("the queue of drains is not set up in this database", fix="run a worker once, or call Distributed.prepare()") from None
        raise (cause or error) from None
    connection.execute(_SEARCH_PATH, {"path": before})


def _soon_missed(driver: Any, _: object) -> None:
    """Have the server notice within half a minute that this machine is gone: as long as it does not, it holds our locks (two hours, by default)."""
    driver.execute("SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3")
    driver.commit()


def _queue_of(source: str) -> str:
    """A source's own queue, so that only workers who can drain it take its jobs. Procrastinate's notifications leave it 40 bytes."""
    name = f"dsr:{source}"
    return name if len(name.encode()) <= 40 else f"dsr:{hashlib.sha256(source.encode()).hexdigest()[:36]}"


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
