"""(9) The portal under the page views of 200 agents, with and without the engine at work beside it, and what the engine does with and without them.

A real server (``dsr serve`` in a process of its own) on SQLite with 100,000 requests, one in twenty open. Page views come at their times
whether or not the ones before are answered; each is timed from when it was due. The vendor is the benchmark's, on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import update

from benchmarks.common import ROOT, ask, target
from benchmarks.requests_page import AGENTS, SOURCES, fill
from dsr_sdk import Request, registry
from dsr_sdk.engine.plan import Plan
from dsr_sdk.host import Host, initialise
from dsr_sdk.host.people.roles import Role
from dsr_sdk.ledger.database import writing
from dsr_sdk.ledger.schema import tasks

PASSWORD = "a password for a benchmark"
Seen = tuple[Sequence[str], Sequence[str]]  # the cases that can be opened, and the sessions of those who do
PEOPLE = 300  # requests that can be opened: the others' contents are made up


# --- the host ------------------------------------------------------------------------------------------------------------------------------


def installed() -> None:
    """The benchmark's connectors, as if they were installed."""
    namespace = vars(registry)
    real = namespace["entry_points"]
    points = [EntryPoint("ids", "benchmarks.vendors:Ids", registry.CONNECTORS)]
    namespace["entry_points"] = lambda group: [*real(group=group), *(points if group == registry.CONNECTORS else [])]


def configure(directory: Path, url: str, portal: str, *, workflow: bool) -> Path:
    """Write ``dsr.toml``: five data sources that people do, and one with an API."""
    path = directory / "dsr.toml"
    if not path.exists():
        initialise(directory, company="Bench")
        (directory / "base.toml").write_text(path.read_text())
    by_hand = "".join(f'\n[sources.{name}]\nconnector = "manual"\ninstructions = "look"\nowner = "IT"\n' for name in SOURCES)
    api = f'\n[sources.ids]\nconnector = "ids"\nbase_url = "{url}"\nallow_private_hosts = true\nthreads = 8\n'
    desk = f'\n[workflow]\npublic_url = "{portal}"\n' if workflow else ""
    path.write_text((directory / "base.toml").read_text() + desk + by_hand + api)
    return path


def prepare(directory: Path, url: str, portal: str, arguments: argparse.Namespace) -> tuple[list[str], list[list[Plan]], list[str]]:
    """Fill the ledger; the cases that can be opened, the approved ones of each run, and a session of each agent."""
    configure(directory, url, portal, workflow=False)
    runs = []
    with Host.open(directory / "dsr.toml") as host:
        for _ in range(2):
            cases = host.submit_many([_erase(n) for n in range(arguments.erasures)])
            runs.append(host.plan_many(cases))
    configure(directory, url, portal, workflow=True)
    with Host.open(directory / "dsr.toml") as host:
        fill(host, arguments.cases, open_share=0.05)
        with writing(host.ledger.engine) as connection:  # made up, too: nothing that an engine could do
            connection.execute(update(tasks).where(tasks.c.state == "ready", tasks.c.source.in_(SOURCES)).values(state="failed"))
        opened = host.submit_many([_person(n) for n in range(PEOPLE)])
        for number in opened[PEOPLE // 3 :]:
            host.workflow.accept(number, by=AGENTS[0], sources=SOURCES)
        host.plan_many(opened[PEOPLE // 3 :])
        host.accounts.create("admin@example.com", "Admin", Role.ADMIN, PASSWORD, by="bench")
        for account in AGENTS:
            host.accounts.create(account, account.partition("@")[0], Role.AGENT, PASSWORD, by="bench")
        sessions = [host.accounts.sign_in(account, PASSWORD, client="bench") for account in AGENTS]
    return opened, runs, sessions


def _erase(n: int) -> Request:
    return Request.parse({"type": "deletion", "subject": {"user_id": f"u{n}"}})


def _person(n: int) -> Request:
    subject = {"email": f"person{n}@example.com", "first_name": "Ada", "last_name": f"Lovelace {n}"}
    return Request.parse({"type": "deletion", "subject": subject, "channel": "mine_app"})


@contextmanager
def served(directory: Path, port: int) -> Iterator[int]:
    """The portal with its engine, in a process of its own; its id."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.portal", "--serve", str(directory), "--port", str(port)], cwd=ROOT)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                    break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def spent(pid: int) -> float | None:
    """Seconds of CPU that a process has had so far, where the system tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the agents ----------------------------------------------------------------------------------------------------------------------------


@dataclass
class Views:
    """How long pages took, in milliseconds, by kind."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: int = 0

    def figures(self) -> dict[str, Any]:
        """Medians and 95th percentiles, of all and of each kind."""
        every = sorted(value for values in self.times.values() for value in values)
        kinds = {kind: [_share(values, 0.5), _share(values, 0.95)] for kind, values in sorted(self.times.items())}
        return {"views": len(every), "errors": self.wrong, "p50_ms": _share(every, 0.5), "p95_ms": _share(every, 0.95), "kinds": kinds}


def _share(values: Sequence[float], share: float) -> float:
    return round(sorted(values)[int(len(values) * share)], 1) if values else 0.0


def addresses(rng: random.Random, opened: Sequence[str]) -> Mapping[str, str]:
    """An address of each kind of page."""
    process, review = rng.choice(opened[PEOPLE // 3 :]), rng.choice(opened[: PEOPLE // 3])
    query = rng.choice(("", "?stage=review", "?type=copy", "?agent=me", "?due=overdue", "?source=shop", "?stage=process&type=deletion"))
    return {
        "requests": f"/requests{query}",
        "closed requests": "/requests?view=closed",
        "a request in review": f"/requests/{review}",
        "a request in process": f"/requests/{process}",
        "history": f"/requests/{process}/history",
        "data sources": "/sources",
        "dashboard": "/",
        "panel": f"/requests/{process}/panel",
    }


MIX = {
    "requests": 35,
    "closed requests": 10,
    "a request in review": 20,
    "a request in process": 20,
    "history": 5,
    "data sources": 5,
    "dashboard": 5,
}


async def look(portal: str, opened: Sequence[str], sessions: Sequence[str], arguments: argparse.Namespace, views: Views) -> None:
    """The page views of so many agents for so many seconds, and the panels that some of them have open."""
    rng = random.Random(7)
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=40)
    async with httpx.AsyncClient(base_url=portal, timeout=60, limits=limits) as client:

        async def view(kind: str, url: str, due: float | None) -> None:
            headers = {"cookie": f"dsr_session={rng.choice(sessions)}"} | ({"hx-request": "true"} if kind == "panel" else {})
            try:
                answer = await client.get(url, headers=headers)
            except httpx.HTTPError:
                views.wrong += 1
                return
            if due is None:
                return
            views.wrong += answer.status_code != 200
            views.times[kind].append((time.perf_counter() - due) * 1000)

        for kind, url in addresses(rng, opened).items():
            await view(kind, url, None)
        a_second = arguments.agents * arguments.pages / 60
        coming = [(rng.uniform(0, arguments.seconds), "") for _ in range(int(a_second * arguments.seconds))]
        coming += [(n / 2 * 2 + rng.uniform(0, 2), "panel") for _ in range(arguments.watching) for n in range(0, arguments.seconds, 2)]
        begun = time.perf_counter()
        under_way = []
        for at, kind in sorted(coming):
            await asyncio.sleep(max(0.0, begun + at - time.perf_counter()))
            chosen = kind or rng.choices(list(MIX), list(MIX.values()))[0]
            under_way.append(asyncio.create_task(view(chosen, addresses(rng, opened)[chosen], begun + at)))
        await asyncio.gather(*under_way)


# --- the runs ------------------------------------------------------------------------------------------------------------------------------


def approve(directory: Path, plans: list[Plan]) -> None:
    """Give one run's erasures to the engine."""
    with Host.open(directory / "dsr.toml") as host:
        host.approve_many(plans)


def erased(url: str) -> int:
    """How many the vendor has seen."""
    return int(ask(f"{url}/counts").get("DELETE customers", 0))


def one_run(directory: Path, url: str, port: int, arguments: argparse.Namespace, *, views: Views | None, seen: Seen) -> tuple[float, float | None]:
    """Serve, look at pages if there is somebody to, and count what the engine does meanwhile; erasures a second, and CPU seconds of the server.

    Pages or not, it ends when the time is over or nothing is left to erase.
    """
    with served(directory, port) as pid:
        before, cpu, started = erased(url), spent(pid), time.perf_counter()
        if views is None:
            while time.perf_counter() - started < arguments.seconds and erased(url) - before < arguments.erasures:
                time.sleep(0.1)
        else:
            asyncio.run(look(f"http://127.0.0.1:{port}", *seen, arguments, views))
        rate = (erased(url) - before) / (time.perf_counter() - started)
        after = spent(pid)
    return round(rate, 1), None if cpu is None or after is None else after - cpu


def main() -> None:
    """Print the three runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--erasures", type=int, default=30_000, help="approved before each run with an engine at work")
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--pages", type=float, default=3.0, help="that an agent opens a minute")
    parser.add_argument("--watching", type=int, default=10, help="agents whose page follows a panel, every two seconds")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long the vendor thinks")
    parser.add_argument("--serve", type=Path, help="be the server")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    installed()
    if arguments.serve:
        from dsr_sdk.portal import serve

        with Host.open(arguments.serve / "dsr.toml") as host:
            serve(host, port=arguments.port)
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with target() as url, tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        opened, runs, sessions = prepare(directory, url, f"http://127.0.0.1:{port}", arguments)
        ask(f"{url}/delay?{arguments.delay_ms / 1000}")
        idle, busy = Views(), Views()
        seen = (opened, sessions)
        _, cpu = one_run(directory, url, port, arguments, views=idle, seen=seen)
        approve(directory, runs[0])
        alone, _ = one_run(directory, url, port, arguments, views=None, seen=seen)
        approve(directory, runs[1])
        beside, _ = one_run(directory, url, port, arguments, views=busy, seen=seen)
    each = None if cpu is None else round(cpu * 1000 / max(1, idle.figures()["views"]), 1)
    about = {
        "agents": arguments.agents,
        "pages_a_minute": arguments.agents * arguments.pages,
        "polls_a_minute": arguments.watching * 30,
        "delay_ms": arguments.delay_ms,
    }
    print(json.dumps({**about, "engine": "idle", "cpu_ms_each": each, **idle.figures()}), flush=True)
    print(json.dumps({**about, "engine": "at work", **busy.figures()}), flush=True)
    print(
        json.dumps({**about, "engine_alone_per_s": alone, "engine_beside_pages_per_s": beside, "share": round(beside / max(alone, 0.1), 3)}),
        flush=True,
    )


if __name__ == "__main__":
    main()
