"""A worker: one of the processes, on as many machines as one likes, that drain the data sources of one ledger on PostgreSQL.

python -m dsr_sdk.host.worker --config dsr.toml
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsr_sdk.engine import Drained, Options
from dsr_sdk.engine.distributed import Distributed, Timing
from dsr_sdk.errors import ConfigError, DsrError
from dsr_sdk.host.host import Host

if TYPE_CHECKING:
    import httpx

__all__ = ["main", "run_worker"]

SLICE_SECONDS = 25.0
SOURCES_AT_ONCE = 8

log = logging.getLogger("dsr_sdk.worker")


def run_worker(
    config_path: str | Path = "dsr.toml",
    *,
    slice_seconds: float = SLICE_SECONDS,
    sources: Collection[str] | None = None,
    concurrency: int = SOURCES_AT_ONCE,
    stop_event: threading.Event | None = None,
    timing: Timing | None = None,
    transports: Mapping[str, httpx.BaseTransport] | None = None,
    options: Options | None = None,
    plugins: Sequence[object] = (),
) -> None:
    """Open the host and drain its sources until `stop_event` is set. What is under way then is finished and recorded.

    Args:
        config_path: The ``dsr.toml``, the same on every machine.
        slice_seconds: After so long a drain gives its place to other sources, and is queued again.
        sources: Only these data sources; None for all.
        concurrency: How many sources are drained at once.
        stop_event: Ends the worker, and is set when it has ended; None for one that runs until its process ends.
        timing: How soon lost work is noticed. The same on every machine.
        transports: Likewise `options` and `plugins`: see `Host.open`.

    Raises:
        ConfigError: The file is wrong, the ledger is not on PostgreSQL, or there is no such source.
        LedgerError: The ledger cannot be used.
    """
    with Host.open(config_path, transports=transports, options=options, plugins=plugins) as host:
        names = _chosen(host, sources)
        distributed = Distributed(host.ledger.engine, timing)
        distributed.prepare()
        stop = stop_event or threading.Event()

        def drain(name: str) -> Drained:
            host.refresh_sources()  # it may have been pointed at another account since the last turn
            return host._runner.drain(name, stop=_Slice(slice_seconds, stop))

        def dependents(name: str) -> list[str]:
            return [other for other in host.registry.sources if name in host.registry.predecessors(other)]

        def end() -> None:
            stop.wait()
            host.stop()  # nobody waits out a rate limit any longer

        threading.Thread(target=end, name="stop", daemon=True).start()
        log.info("draining %s; %d at once", ", ".join(names) or "nothing", concurrency)
        try:
            asyncio.run(distributed.work(drain, names, concurrency=concurrency, stop=stop, dependents=dependents))
        finally:
            stop.set()
        log.info("stopped")


def _chosen(host: Host, sources: Collection[str] | None) -> list[str]:
    """The data sources to drain. One that cannot be used is left to workers where it can."""
    for name in sorted(set(sources or ()) - set(host.registry.sources)):
        raise host.broken.get(name) or ConfigError("there is no such data source", source=name, fix=f"sources: {', '.join(host.registry.sources)}")
    for name, error in host.broken.items():
        if sources is None:
            log.warning("%s is not drained here: %s", name, error)
    return [name for name in host.registry.sources if sources is None or name in sources]


class _Slice(threading.Event):
    """Set when the time of a slice is up, and when the worker is told to stop."""

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        super().__init__()
        self._until = time.monotonic() + seconds
        self._stop = stop

    def is_set(self) -> bool:
        return super().is_set() or self._stop.is_set() or time.monotonic() >= self._until

    def wait(self, timeout: float | None = None) -> bool:
        left = max(0.0, self._until - time.monotonic())
        self._stop.wait(left if timeout is None else min(timeout, left))
        return self.is_set()


def main(arguments: Sequence[str] | None = None, *, timing: Timing | None = None) -> int:
    """The command. SIGTERM and SIGINT end the worker once what is under way is finished; the second SIGINT ends it at once."""
    parser = argparse.ArgumentParser(prog="python -m dsr_sdk.host.worker", description="Drain the data sources of a ledger on PostgreSQL.")
    parser.add_argument("--config", default="dsr.toml", type=Path, help="the same file on every machine (default: dsr.toml)")
    parser.add_argument("--source", action="append", dest="sources", metavar="NAME", help="only this data source; may be given again")
    parser.add_argument("--concurrency", default=SOURCES_AT_ONCE, type=_positive(int), help="sources drained at once (default: %(default)s)")
    parser.add_argument("--slice-seconds", default=SLICE_SECONDS, type=_positive(float), help="the length of a turn (default: %(default)s)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    stop = threading.Event()

    def end(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        run_worker(
            given.config,
            slice_seconds=given.slice_seconds,
            sources=given.sources,
            concurrency=given.concurrency,
            stop_event=stop,
            timing=timing,
        )
    except DsrError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


def _positive(kind: type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise ValueError
        return value

    read.__name__ = f"positive {kind.__name__}"  # argparse says: invalid positive int value
    return read


if __name__ == "__main__":
    sys.exit(main())
