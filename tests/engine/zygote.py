"""A process that has imported everything and forks a child for every run: starting Python anew a hundred times would take minutes.

It reads one order a line (JSON) and answers one line when the child has ended. It opens no host itself, so it has no threads to fork.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dsr_sdk.registry
from dsr_sdk import Request
from dsr_sdk.host import Host
from tests.toys import Batched, Jobs, Keyed, Letters, Revealing, Toy
from tests.world import FAST, point

__all__ = ["Zygote"]

_CONNECTORS = (Toy, Jobs, Batched, Letters, Revealing, Keyed)


class Zygote:
    """The test's side of it."""

    def __init__(self) -> None:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", "from tests.engine.zygote import serve_orders; serve_orders()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )

    def run(self, directory: Path, requests: list[dict[str, Any]], *, kill_at: int = 0, kill_on: str = "", kill_after: float = 0.0) -> bool:
        """Work the requests in a process of their own; whether it ended by itself.

        Args:
            kill_at: Kill it at this step of the journal (the first is 1).
            kill_on: Kill it at the first step of this name.
            kill_after: Kill it after so many seconds.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"directory": str(directory), "requests": requests, "kill_at": kill_at, "kill_on": kill_on, "kill_after": kill_after}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote died"
        status = int(answer)
        log = directory / "child.log"
        assert status in (0, -signal.SIGKILL), f"the run ended with {status}: {log.read_text() if log.exists() else ''}"
        return status == 0

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def serve_orders() -> None:
    """The process's own side."""
    real = importlib.metadata.entry_points
    points = [point(connector.slug, connector) for connector in _CONNECTORS]

    def entry_points(*, group: str) -> Any:
        return points if group == dsr_sdk.registry.CONNECTORS else real(group=group)

    vars(dsr_sdk.registry)["entry_points"] = entry_points  # the toys are not installed
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(order)
        if order["kill_after"]:
            until = time.monotonic() + order["kill_after"]
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
                time.sleep(0.001)
            if ended == (0, 0):
                os.kill(child, signal.SIGKILL)
                ended = os.waitpid(child, 0)
        else:
            ended = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(ended[1])}\n")
        sys.stdout.flush()


def _child(order: Mapping[str, Any]) -> None:
    directory = Path(order["directory"])
    try:
        _work(directory, order)
    except BaseException:  # noqa: BLE001 - whatever it is, the child must not go on in the parent's place
        (directory / "child.log").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def _work(directory: Path, order: Mapping[str, Any]) -> None:
    """What a host application does, and does again after a crash: submit (by reference), plan, approve, run."""
    journal = os.open(directory / "steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    counting = threading.Lock()
    seen = 0

    def on_step(step: str) -> None:
        nonlocal seen
        with counting:
            seen += 1
            os.write(journal, f"{step}\n".encode())
            if seen == order["kill_at"] or step == order["kill_on"]:
                os.kill(os.getpid(), signal.SIGKILL)

    with Host.open(directory / "dsr.toml", options=FAST, on_step=on_step) as host:
        cases = host.submit_many([Request.parse(request) for request in order["requests"]])
        for case in cases:
            plan = host.latest_plan(case)
            if plan is None or not (plan.complete or plan.approved_at):
                plan = host.plan(case, wait=2)
            host.approve(plan)
        host.run_many(cases, wait=5)
        reports = {case: host.status(case).to_json() for case in cases}
        history = {case: [event["event"] for event in host.history(case)] for case in cases}
        result = {"reports": list(reports.values()), "history": list(history.values()), "audit": host.audit_verify().ok}
        (directory / "result.json").write_text(json.dumps(result))
        if not order["kill_at"]:
            for case, request in zip(cases, order["requests"], strict=True):
                if request["type"] == "copy":
                    host.copy(case, directory / "copy.zip", overwrite=True)
