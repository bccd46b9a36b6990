"""The embedded engine: drains every source that has due work, in this process, until nothing is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dsr_sdk.connector import Process
from dsr_sdk.engine import Drain, Drained, Options, Progress
from dsr_sdk.engine.perform import Performer
from dsr_sdk.http import SourceHttp
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.mail.post import Post
from dsr_sdk.registry import DataSource, Registry

if TYPE_CHECKING:
    import httpx
    from sqlalchemy.engine import Connection

    from dsr_sdk.engine.work import Trust
    from dsr_sdk.request import Request

__all__ = ["Runner"]

SOURCES_AT_ONCE = 8


class Runner:
    """Runs drains. Holds one HTTP side for each data source for as long as it lives.

    Args:
        transports: Instead of the network, by source name (sandboxes, cassettes).
        on_step: Told the name of every step of the journal (tests kill the process there).
        trust: How far the identities of requests are trusted, see `Planner`.
    """

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        options: Options,
        *,
        spool: Path,
        post: Post | None = None,
        transports: Mapping[str, httpx.BaseTransport] | None = None,
        on_step: Callable[[str], None] = lambda step: None,
        trust: Callable[[Connection, Mapping[str, Request]], Mapping[str, Trust]] = lambda connection, requests: {},
    ) -> None:
        self._trust = trust
        self._ledger = ledger
        self._registry = registry
        self.options = options
        self._spool = spool
        self.post = post
        self._transports = transports or {}
        self.on_step = on_step
        self._https: dict[str, SourceHttp] = {}
        self._retired: list[SourceHttp] = []
        self._lock = threading.Lock()
        self.stop = threading.Event()
        """Set to make every drain finish what is under way and end."""

    def http(self, source: DataSource) -> SourceHttp | None:
        """The HTTP side of a source; None when it has no API. Raises `ConfigError` for a base URL that may not be used."""
        if source.connector.process is not Process.AUTOMATED:
            return None
        with self._lock:
            http = self._https.get(source.name)
            if http is not None and http.connector is not source.connector:  # configured anew meanwhile
                self._retired.append(http)
                http = None
            if http is None:
                http = self._https[source.name] = SourceHttp(source.connector, transport=self._transports.get(source.name), sleep=self.stop.wait)
            return http

    def forget(self, name: str) -> None:
        """Let go of a source's HTTP side: it is configured anew, or gone. A drain that is under way keeps it to its end, so it is closed last."""
        with self._lock:
            http = self._https.pop(name, None)
            if http is not None:
                self._retired.append(http)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for http in (*self._https.values(), *self._retired):
                http.close()
            self._https.clear()
            self._retired.clear()

    def drain(
        self,
        name: str,
        *,
        actions: Sequence[str] = (),
        cases: Sequence[str] = (),
        stop: threading.Event | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Drained:
        """Drain one source once. `stop` ends this drain alone, in place of the runner's own."""
        source = self._registry.sources.get(name)
        if source is None:  # taken out at this very moment
            return Drained(name)
        performer = Performer(
            source,
            self._registry,
            self.http(source),
            self._ledger,
            spool=self._spool,
            post=self.post,
            on_step=self.on_step,
            trust=self._trust,
        )
        drain = Drain(
            source,
            performer,
            self._ledger,
            self._registry,
            self.options,
            actions=actions,
            cases=cases,
            stop=stop or self.stop,
            on_progress=on_progress,
            on_step=self.on_step,
        )
        return drain.run()

    def run(
        self,
        *,
        actions: Sequence[str] = (),
        cases: Sequence[str] = (),
        wait: float = 0.0,
        patience: float = 0.0,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> dict[str, Drained]:
        """Drain sources until nothing is due.

        Args:
            actions: Only these; empty for all.
            cases: Only these; empty for all.
            wait: Seconds to stay for work that comes due (polls, retries, verifications).
            patience: Seconds to stay while someone else drains a source that has work for us; it may be only their own they drain.

        Returns:
            The last drain of each source. One source that fails never stops another.
        """
        until = time.monotonic() + wait
        give_up = time.monotonic() + max(wait, patience)
        only = cases if len(cases) <= 200 else ()
        totals: dict[str, Drained] = {}
        while not self.stop.is_set():
            now = datetime.now(UTC)
            with reading(self._ledger.engine) as connection:
                due = self._ledger.tasks.sources_due(connection, now, cases_only=only, actions=actions)
                soonest = self._ledger.tasks.next_due(connection, after=now, cases_only=only, actions=actions)
            names = [name for name in due if name in self._registry.sources and (name not in totals or totals[name].halted is None)]
            drained = self._side_by_side(names, actions=actions, cases=cases, on_progress=on_progress)
            for row in drained:
                totals.setdefault(row.source, Drained(row.source)).add(row)
            if any(row.moved for row in drained):
                continue
            if any(row.busy for row in drained) and time.monotonic() < give_up:
                self.stop.wait(0.05)
                continue
            if soonest is None or (soonest - now).total_seconds() > until - time.monotonic():
                return totals
            self.stop.wait(min(max((soonest - now).total_seconds(), 0.05), 1.0))
        return totals

    def _side_by_side(
        self, names: Sequence[str], *, actions: Sequence[str], cases: Sequence[str], on_progress: Callable[[Progress], None]
    ) -> list[Drained]:
        """Drain these sources at the same time; one that fails does not stop another."""
        if len(names) <= 1:
            return [self.drain(name, actions=actions, cases=cases, on_progress=on_progress) for name in names]
        with ThreadPoolExecutor(min(len(names), SOURCES_AT_ONCE), thread_name_prefix="drains") as pool:
            try:
                return list(pool.map(lambda name: self.drain(name, actions=actions, cases=cases, on_progress=on_progress), names))
            except KeyboardInterrupt:
                self.stop.set()  # the pool waits for its drains: let them finish what is under way, and no more
                raise
