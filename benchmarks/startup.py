"""(7) ``dsr --help`` against ``python -c "import typer"``, whole processes, in turn."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import median


def timed(command: list[str]) -> float:
    """Wall seconds of a process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print both medians and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    dsr = str(Path(sys.executable).with_name("dsr"))
    rows = [(timed([sys.executable, "-c", "import typer"]), timed([dsr, "--help"])) for _ in range(rounds + 1)][1:]
    print(
        json.dumps(
            {
                "import_typer_ms": round(median([a for a, _ in rows]) * 1000, 1),
                "dsr_help_ms": round(median([b for _, b in rows]) * 1000, 1),
                "ratio": round(median([b / a for a, b in rows]), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
