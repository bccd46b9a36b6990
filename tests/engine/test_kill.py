"""Killed (kill -9) at every step of the journal and at random moments: nothing lost, nothing twice, and the next start finishes the work."""

from __future__ import annotations

import json
import random
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dsr_sdk.testing import Person, SandboxServer, serve
from tests.engine.zygote import Zygote
from tests.smtp import Inbox, Server
from tests.toys import ToyVendor


class Stage:
    """Vendors, a mail server and the forking process, shared by the module; a fresh ledger and fresh vendors for every play."""

    def __init__(self, stack: ExitStack, template: Path, home: Path) -> None:
        self.template = template
        self.home = home
        self.zygote = Zygote()
        stack.callback(self.zygote.close)
        self.inbox = Inbox()
        smtp = Server(self.inbox, hostname="127.0.0.1", port=0, ready_timeout=30)
        smtp.start()
        stack.callback(smtp.stop)
        self.inbox.port = smtp.port
        self.servers: dict[str, SandboxServer] = {name: stack.enter_context(serve(ToyVendor())) for name in ("crm", "jobs", "batch", "keyed")}
        self.plays = 0

    def play(self, sources: dict[str, str], people: list[str], *, database: str | None = None) -> Path:
        """A directory with a fresh host on it, whose vendors know these people."""
        self.plays += 1
        self.inbox.letters.clear()
        directory = self.home / f"play{self.plays}"
        if database is None:
            shutil.copytree(self.template, directory)
        else:
            from dsr_sdk.host import initialise

            initialise(directory, company="Example GmbH", database=database)
        lines = [
            (directory / "dsr.toml").read_text(),
            self.inbox.toml,
        ]
        for name, connector in sources.items():
            lines.append(f'[sources.{name}]\nconnector = "{connector}"\nthreads = 2')
            if name in self.servers:
                vendor = self.servers[name].sandbox = ToyVendor(prefix=f"{name}-")
                vendor.seed([Person(person, user_id=f"u-{person}") for person in people])
                lines.append(f'base_url = "{self.servers[name].url}"\nallow_private_hosts = true')
        (directory / "dsr.toml").write_text("\n".join(lines))
        return directory

    def vendor(self, name: str) -> ToyVendor:
        """A vendor's state."""
        sandbox = self.servers[name].sandbox
        assert isinstance(sandbox, ToyVendor)
        return sandbox


@pytest.fixture(scope="module")
def stage(world_template: Path, memory: Path) -> Iterator[Stage]:
    """The stage of this module."""
    with ExitStack() as stack:
        home = memory / "plays"
        home.mkdir()
        yield Stage(stack, world_template, home)


def _result(directory: Path) -> Any:
    return json.loads((directory / "result.json").read_text())


def _statuses(directory: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for report in _result(directory)["reports"]:
        for row in report["sources"]:
            found.setdefault(row["source"], set()).add(row["status"])
    return found


def _steps(directory: Path) -> list[str]:
    return (directory / "steps").read_text().split("\n")[:-1]


def _request(email: str, n: int, type_: str = "deletion") -> dict[str, Any]:
    return {"type": type_, "subject": {"email": email}, "reference": f"r-{n}"}


def _every_step(play: Callable[[], Path], requests: list[dict[str, Any]], stage: Stage, check: Callable[[Path, str], None]) -> set[str]:
    """Kill at step 1, 2, 3 ... of a fresh play each, run again to the end, and check; until a run gets through. The steps killed at."""
    killed_at: set[str] = set()
    for n in range(1, 200):
        directory = play()
        if stage.zygote.run(directory, requests, kill_at=n):
            check(directory, "")
            return killed_at
        step = _steps(directory)[-1]
        killed_at.add(step)
        assert stage.zygote.run(directory, requests), "the second run was not killed"
        check(directory, step)
        shutil.rmtree(directory)
    raise AssertionError("a run has no end")


PEOPLE = ["ada@example.com", "bob@example.com"]


@pytest.mark.parametrize(("name", "connector", "people"), [("crm", "toy", 2), ("jobs", "jobs", 1), ("batch", "batched", 2)])
def test_erasing_is_killed_at_every_step(stage: Stage, name: str, connector: str, people: int) -> None:
    """Single calls; a vendor's jobs, which must not be started twice; batches."""
    requests = [_request(email, n) for n, email in enumerate(PEOPLE[:people])]

    def check(directory: Path, step: str) -> None:
        vendor = stage.vendor(name)
        assert not vendor.contacts
        # Erasing a batch again is harmless, its connector says; but nobody may be left out of it.
        assert set(vendor.effects.values()) <= ({1, 2} if name == "batch" else {1}), (step, vendor.effects)
        assert len(vendor.effects) == people
        result = _result(directory)
        assert result["audit"]
        assert [report["status"] for report in result["reports"]] == ["done"] * people
        assert all(report["settled"] for report in result["reports"])
        assert _statuses(directory) == {name: {"verified"}}

    steps = _every_step(lambda: stage.play({name: connector}, PEOPLE[:people]), requests, stage, check)
    assert steps == {"before commit", "outcome", "intent", "before effect", "after effect"}


def test_an_order_of_sources_is_killed_at_every_step(stage: Stage) -> None:
    """A source that waits for another one, and is searched by what that one reveals, is neither forgotten nor erased too early."""
    sources = {"crm": "revealing", "keyed": "keyed"}

    def play() -> Path:
        directory = stage.play(sources, PEOPLE[:1])
        path = directory / "dsr.toml"
        path.write_text(path.read_text().replace('connector = "keyed"', 'connector = "keyed"\nafter = ["crm"]'))
        return directory

    def check(directory: Path, step: str) -> None:
        for name in sources:
            assert not stage.vendor(name).contacts
            assert set(stage.vendor(name).effects.values()) == {1}
        assert _result(directory)["audit"]
        (report,) = _result(directory)["reports"]
        assert (report["status"], report["settled"]) == ("done", True), step

    _every_step(play, [_request(PEOPLE[0], 0)], stage, check)


def test_a_letter_is_killed_at_every_step(stage: Stage) -> None:
    """A letter leaves at most once. Where nobody can know whether it left, the case says so and stays open."""

    def check(directory: Path, step: str) -> None:
        (statuses,) = _statuses(directory).values()
        letters = len(stage.inbox.letters)
        if step in ("handover", "after mail"):
            assert statuses == {"in_doubt"}
            assert letters == (1 if step == "after mail" else 0)
            assert _result(directory)["history"][0].count("letter.in_doubt") == 1
        else:
            assert letters == 1 or (letters == 0 and statuses == {"in_doubt"}), (step, letters, statuses)
            assert statuses <= {"requested", "in_doubt"}
        assert _result(directory)["reports"][0]["status"] == "approved"
        assert _result(directory)["audit"]

    steps = _every_step(lambda: stage.play({"paper": "letters"}, []), [_request(PEOPLE[0], 0)], stage, check)
    assert {"before mail", "handover", "after mail", "intent", "outcome"} <= steps


def test_a_copy_is_killed_at_every_step(stage: Stage) -> None:
    """A copy is whole: every record once, whatever half-written spools a crash left."""

    def check(directory: Path, step: str) -> None:
        assert _statuses(directory) == {"crm": {"copied"}}
        if not step:
            return
        with zipfile.ZipFile(directory / "copy.zip") as package:
            name = next(name for name in package.namelist() if name.endswith(".jsonl"))
            records = [json.loads(line) for line in package.read(name).splitlines()]
        assert len(records) == 3
        assert not list((directory / "spool").rglob("*.part"))

    steps = _every_step(lambda: stage.play({"crm": "toy"}, PEOPLE[:1]), [_request(PEOPLE[0], 0, "copy")], stage, check)
    assert "spooled" in steps


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_killed_at_random_moments(stage: Stage, database: str, request: pytest.FixtureRequest) -> None:
    """Killed several times in a row, anywhere; the last run finishes all of it."""
    server = request.getfixturevalue("postgres_server") if database == "postgresql" else None
    sources = {"crm": "toy", "jobs": "jobs", "batch": "batched", "paper": "letters"}
    requests = [_request(email, n) for n, email in enumerate(PEOPLE)]
    until = time.monotonic() + 5
    seed = 0
    while time.monotonic() < until:
        seed += 1
        chance = random.Random(seed)
        directory = stage.play(sources, PEOPLE, database=server.url(server.create_database()) if server else None)
        kills = 0
        for _ in range(3):
            if stage.zygote.run(directory, requests, kill_after=chance.uniform(0.02, 0.6)):
                break
            kills += 1
        assert stage.zygote.run(directory, requests)
        for name in ("crm", "jobs", "batch"):
            vendor = stage.vendor(name)
            assert not vendor.contacts, (seed, name)
            assert set(vendor.effects.values()) == {1} or name == "batch", (seed, name, vendor.effects)
        statuses = _statuses(directory)
        assert [statuses[name] for name in ("crm", "jobs", "batch")] == [{"verified"}] * 3, seed
        subjects = [letter.content for letter in stage.inbox.letters]
        for email in PEOPLE:
            assert sum(email.encode() in content for content in subjects) <= 1, seed
        assert statuses["paper"] <= {"requested", "in_doubt"}
        if len(stage.inbox.letters) < len(PEOPLE):
            assert "in_doubt" in statuses["paper"], (seed, kills)
        assert _result(directory)["audit"], seed
        shutil.rmtree(directory)
    assert seed >= 1  # more on a machine with nothing else to do


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_processes_at_once(stage: Stage, database: str, request: pytest.FixtureRequest) -> None:
    """Killed right after the approval, then taken up by two processes at the same moment: everyone is erased, nobody twice."""
    server = request.getfixturevalue("postgres_server") if database == "postgresql" else None
    people = [f"p{n}@example.com" for n in range(12)]
    sources = {"crm": "toy", "jobs": "jobs", "paper": "letters"}
    requests = [_request(email, n) for n, email in enumerate(people)]
    directory = stage.play(sources, people, database=server.url(server.create_database()) if server else None)
    assert not stage.zygote.run(directory, requests, kill_on="before effect")
    other = Zygote()
    try:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda zygote: zygote.run(directory, requests), [stage.zygote, other])) == [True, True]
    finally:
        other.close()
    for name in ("crm", "jobs"):
        assert not stage.vendor(name).contacts
        assert set(stage.vendor(name).effects.values()) == {1}
    assert stage.zygote.run(directory, requests)
    assert _result(directory)["audit"]
    contents = [letter.content for letter in stage.inbox.letters]
    for email in people:
        assert sum(b" " + email.encode() in content for content in contents) <= 1
    statuses = _statuses(directory)
    assert (statuses["crm"], statuses["jobs"]) == ({"verified"}, {"verified"})
    assert statuses["paper"] <= {"requested", "in_doubt"}
