"""What the benchmarks share: the target in a process of its own, a host in a fresh directory, clocks that count CPU."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from dsr_sdk import registry
from dsr_sdk.host import Host, initialise

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def target() -> Iterator[str]:
    """The benchmark vendor, in a process of its own; its URL."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.target"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    try:
        yield url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(url: str) -> dict[str, Any]:
    """A control request to the target."""
    with urllib.request.urlopen(url) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


_POINTS = {slug: f"benchmarks.vendors:{name}" for slug, name in (("bench", "Plain"), ("limited", "Limited"), ("batch", "Batch"))}


@contextmanager
def host(url: str, connector: str, *, threads: int = 8, directory: Path | None = None) -> Iterator[Host]:
    """A host with one data source towards the target, on SQLite in a fresh directory."""
    namespace = vars(registry)
    real = namespace["entry_points"]

    def points(group: str) -> Any:
        if group == registry.CONNECTORS:
            return [EntryPoint(slug, value, group) for slug, value in _POINTS.items()]
        return real(group=group)

    namespace["entry_points"] = points  # the benchmark's connectors are not installed
    try:
        with tempfile.TemporaryDirectory() as fresh:
            place = directory or Path(fresh)
            path = initialise(place, company="Bench")
            if "[sources" not in path.read_text().replace("# [sources", ""):
                with path.open("a") as file:
                    file.write(
                        f'\n[sources.{connector}]\nconnector = "{connector}"\nbase_url = "{url}"\nallow_private_hosts = true\nthreads = {threads}\n'
                    )
            with Host.open(path) as opened:
                yield opened
    finally:
        namespace["entry_points"] = real


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of this process."""

    wall: float
    cpu: float


@contextmanager
def measured(into: list[Cost]) -> Iterator[None]:
    """Measure a block."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into.append(Cost(time.perf_counter() - wall, time.process_time() - cpu))


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]


def peak_rss_mb() -> float:
    """The largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def environment() -> str:
    """The machine, in a line."""
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
