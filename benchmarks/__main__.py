"""Run every benchmark, each in a process of its own, and print a line a result."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.common import ROOT, environment

BENCHMARKS = (
    "throughput",
    "throughput --delay-ms 20 --people 1000",
    "batch",
    "limit",
    "restart",
    "history",
    "copies",
    "startup",
    "requests_page --postgresql",
    "portal --delay-ms 20 --erasures 12000",
    "portal",
)


def main() -> None:
    """Run them in order; the exit code counts those that failed."""
    print(f"# {environment()}", flush=True)
    failed = 0
    for line in BENCHMARKS:
        name, *arguments = line.split()
        print(f"# python -m benchmarks.{line}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], cwd=ROOT, check=False).returncode != 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
