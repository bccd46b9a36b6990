"""(4) Kill -9 in the middle of a run; seconds from starting again to the first erasure made after the kill."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, ask, host, median, target
from dsr_sdk import Request


def child(url: str, directory: str) -> None:
    """What is killed, and what resumes: a process that drains everything."""
    with host(url, "bench", directory=Path(directory)) as opened:
        opened.run_all()


def once(url: str, people: int) -> tuple[float, int]:
    """One kill; the seconds to resume, and the erasures of all that were made twice or not at all."""
    with tempfile.TemporaryDirectory() as directory:
        with host(url, "bench", directory=Path(directory)) as opened:
            cases = opened.submit_many([Request.parse({"type": "deletion", "subject": {"email": f"p{n}@example.com"}}) for n in range(people)])
            opened.approve_many(opened.plan_many(cases))
        before = ask(f"{url}/counts").get("DELETE customers", 0)
        command = [sys.executable, "-m", "benchmarks.restart", "--child", url, directory]
        process = subprocess.Popen(command, cwd=ROOT)
        while ask(f"{url}/counts").get("DELETE customers", 0) < before + people // 3:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
        killed_at = ask(f"{url}/counts").get("DELETE customers", 0)
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT)
        while ask(f"{url}/counts").get("DELETE customers", 0) == killed_at:
            time.sleep(0.005)
        resumed = time.perf_counter() - started
        process.wait()
        with host(url, "bench", directory=Path(directory)) as opened:
            open_cases = sum(1 for case in opened.cases() if case.status != "done")
    return resumed, open_cases


def main() -> None:
    """Print the median over a few kills."""
    if "--child" in sys.argv:
        child(*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with target() as url:
        rows = [once(url, arguments.people) for _ in range(arguments.rounds)]
    print(
        json.dumps(
            {
                "kills": len(rows),
                "seconds_to_resume": round(median([seconds for seconds, _ in rows]), 2),
                "worst": round(max(seconds for seconds, _ in rows), 2),
                "cases_left_open": sum(left for _, left in rows),
            }
        )
    )


if __name__ == "__main__":
    main()
