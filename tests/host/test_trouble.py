"""The ledger in trouble, wrong keys, tampering, observers and wrappers: nothing is lost, and the message says what to do."""

from __future__ import annotations

import dataclasses
import logging
import os
import sqlite3
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from dsr_sdk import ConfigError, ContractError, LedgerError, Match, Request, RequestError, VaultError, hookimpl
from dsr_sdk.engine import Status
from dsr_sdk.host import Host, initialise
from dsr_sdk.ledger.database import open_database, writing
from dsr_sdk.ledger.vault import MasterKey
from tests.toys import Acting, Batched, Jobs, Revealing, Toy, dumped
from tests.world import FAST, World, deletion

# --- forgetting --------------------------------------------------------------------------------------------------------------------

CANARY = "canary-7f3e9d2b@secret.example"


def _files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_shredding_forgets_the_person(world: World) -> None:
    """The key is gone, the case can be used no more, and number, counts and audit chain survive."""
    world.add("crm", Toy, None, CANARY)
    host = world.open()
    (case,) = world.erase(host, CANARY, reference="canary-reference")
    host.shred(case, by="alice@example.com")
    assert [row.shredded for row in host.cases()] == [True]
    assert host.audit_verify().ok
    assert host.status(case).status == "shredded"
    assert host.latest_plan(case) is None
    for act in (host.request, host.plan):
        with pytest.raises(VaultError, match="shredded"):
            act(case)
    with pytest.raises(LedgerError, match="shredded already"):
        host.shred(case)
    assert host.retry(case) == 0
    host.run_all()
    assert "case.shredded" in [event["event"] for event in host.history(case)]
    assert host.submit(deletion(CANARY, reference="canary-reference")) != case


def test_shredded_keys_leave_the_files(sqlite_world: World) -> None:
    """The wrapped key and everything sealed under it are gone from the database file, its write-ahead log and the spool: byte by byte."""
    world = sqlite_world
    world.add("crm", Toy, None, CANARY)
    host = world.open()
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": CANARY}}))
    host.approve(host.plan(case))
    host.run(case)
    with sqlite3.connect(world.db) as connection:
        wrapped, sealed = connection.execute("SELECT wrapped_key, sealed_request FROM cases").fetchone()
        bodies = [row[0] for row in connection.execute("SELECT sealed_body FROM plans UNION ALL SELECT sealed FROM tasks WHERE sealed IS NOT NULL")]
    connection.close()
    secrets = [wrapped, sealed, *bodies]
    before = _files(world.directory)
    assert any(wrapped in content for content in before.values())
    spools = [name for name in before if name.startswith("spool")]
    assert spools
    host.shred(case)
    after = _files(world.directory)
    for name, content in after.items():
        for secret in secrets:
            assert secret[-32:] not in content, name
        assert CANARY.encode() not in content
    assert not [name for name in after if name.startswith("spool")]
    assert host.audit_verify().ok


def test_a_case_under_way_is_not_shredded(world: World) -> None:
    """Work is open at a vendor: forgetting now would leave it undone for ever."""
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    vendor.jobs_finish = False
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    with pytest.raises(RequestError, match="not finished"):
        host.shred(case)
    assert host.request(case)


# --- keys --------------------------------------------------------------------------------------------------------------------------


def test_a_wrong_master_key_is_noticed_at_once(world: World) -> None:
    """Before anything is written with it."""
    host = world.open()
    host.submit(deletion())
    key = world.directory / "dsr.key"
    right = key.read_text()
    key.write_text(MasterKey.generate().to_text())
    with pytest.raises(VaultError, match="not the one this ledger was made with"):
        world.open()
    with pytest.raises(VaultError):
        initialise(world.directory, company="x")
    key.write_text("garbage")
    with pytest.raises(VaultError, match="44 characters") as caught:
        world.open()
    assert "garbage" not in str(caught.value)
    key.write_text(right)
    assert len(list(world.open().cases())) == 1


def test_initialising_twice_changes_nothing(sqlite_world: World) -> None:
    """A key is never replaced, a ledger never emptied."""
    host = sqlite_world.open()
    host.submit(deletion())
    before = (sqlite_world.directory / "dsr.key").read_text()
    initialise(sqlite_world.directory, company="Another")
    assert (sqlite_world.directory / "dsr.key").read_text() == before
    assert len(list(host.cases())) == 1
    assert (sqlite_world.directory / "dsr.key").stat().st_mode & 0o077 == 0


# --- the ledger in trouble ---------------------------------------------------------------------------------------------------------


def test_a_missing_ledger(sqlite_world: World) -> None:
    """Nobody starts an empty ledger in place of one that is lost."""
    sqlite_world.db.unlink()
    with pytest.raises(LedgerError, match="there is no ledger"):
        sqlite_world.open()
    assert not sqlite_world.db.exists()


def test_a_ledger_locked_by_another_process(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds the writer's place: a clear error, nothing half-done, and it works afterwards."""
    world = sqlite_world
    vendor = world.add("crm", Toy, None, "ada@example.com")
    monkeypatch.setattr("dsr_sdk.host.opening.open_database", lambda url, **options: open_database(url, busy_timeout=0.2, **options))
    host = world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    other = sqlite3.connect(world.db, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="another process is writing"):
        host.run(case)
    assert vendor.contacts
    other.execute("ROLLBACK")
    other.close()
    assert host.run(case).settled
    assert vendor.effects == {"erase crm-1": 1}


def test_a_read_only_ledger(sqlite_world: World) -> None:
    """A ledger that cannot be written is told as one, nothing is erased that could not be recorded, and looking still works."""
    world = sqlite_world
    vendor = world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    read_only = True

    def refuse(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        driver.execute(f"PRAGMA query_only = {int(read_only)}")

    event.listen(host.ledger.engine, "begin", refuse)
    with pytest.raises(LedgerError, match="read-only"):
        host.run(case)
    with pytest.raises(LedgerError, match="read-only"):
        host.submit(deletion("bob@example.com"))
    assert host.status(case).sources[0].status is Status.PLANNED
    assert vendor.contacts
    read_only = False
    assert host.run(case).settled


def test_a_full_disk_in_the_middle_of_a_drain(sqlite_world: World) -> None:
    """The disk fills up between effects and outcomes: a clear error, and once there is space everything is finished, nothing twice."""
    world = sqlite_world
    people = [f"p{n}@example.com" for n in range(60)]
    vendor = world.add("crm", Jobs, None, *people, threads=4)
    host = world.open(options=dataclasses.replace(FAST, group=4))
    cases = host.submit_many([deletion(email) for email in people])
    host.approve_many(host.plan_many(cases))

    host.ledger.engine.dispose()
    with sqlite3.connect(world.db) as raw:
        size = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.close()
    full = True

    def on_checkout(driver: Any, record: Any, proxy: Any) -> None:
        driver.execute(f"PRAGMA max_page_count = {size + 3 if full else 1_000_000}")

    event.listen(host.ledger.engine, "checkout", on_checkout)
    with pytest.raises(LedgerError, match="disk that holds the ledger is full"):
        host.run_many(cases)
    begun = sum(vendor.effects.values())
    full = False
    for _ in range(3):
        host.run_all(wait=30)
    assert not vendor.contacts
    assert begun < 60
    assert set(vendor.effects.values()) == {1}
    assert {host.status(case).status for case in cases} == {"done"}
    assert host.audit_verify().ok


def test_a_full_disk_under_the_spool(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records cannot be written: nobody blames the connector, the case stays open, and it works once there is space."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}}))
    host.approve(host.plan(case))

    def full(self: Any, line: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("dsr_sdk.ledger.spool.SpoolWriter.write_line", full)
        row = host.run(case, wait=30).sources[0]
    assert row.status is Status.FAILED
    assert "the spool cannot be written (No space left on device)" in row.detail
    host.retry(case)
    assert host.run(case).settled


def test_a_tampered_audit_row_is_found(world: World) -> None:
    """Someone edits the log, or takes its end away: the check says where."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    host.close()
    host = world.open()
    assert host.audit_verify().ok
    with writing(host.ledger.engine) as connection:
        connection.execute(text("UPDATE audit SET actor = 'nobody' WHERE event = 'plan.approved'"))
    assert not host.audit_verify().ok
    with writing(host.ledger.engine) as connection:
        connection.execute(text("UPDATE audit SET actor = 'agent' WHERE event = 'plan.approved'"))
    assert host.audit_verify().ok
    with writing(host.ledger.engine) as connection:
        connection.execute(text('DELETE FROM audit WHERE n = (SELECT max(n) FROM audit) AND "case" = :case'), {"case": case})
    assert not host.audit_verify().ok


def test_a_tampered_case_is_refused(world: World) -> None:
    """One case's sealed request under another case's number: it does not open, so nobody gets the wrong person's data."""
    host = world.open()
    first, second = host.submit_many([deletion(), deletion("bob@example.com")])
    with writing(host.ledger.engine) as connection:
        statement = 'UPDATE cases SET sealed_request = (SELECT sealed_request FROM cases WHERE "case" = :first) WHERE "case" = :second'
        connection.execute(text(statement), {"first": first, "second": second})
    with pytest.raises(VaultError):
        host.request(second)
    with writing(host.ledger.engine) as connection:
        statement = 'UPDATE cases SET wrapped_key = (SELECT wrapped_key FROM cases WHERE "case" = :first) WHERE "case" = :second'
        connection.execute(text(statement), {"first": first, "second": second})
    with pytest.raises(VaultError):
        host.request(second)


# --- observers and wrappers --------------------------------------------------------------------------------------------------------


class Listening:
    """Hears what observers hear, and looks into the ledger while it does."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.host: Host | None = None

    @hookimpl
    def dsr_task_finished(self, case: str, source: str, action: str, outcome: Any, error: str | None) -> None:
        assert self.host is not None
        event = f"{action}.{outcome.kind}" if outcome is not None else None
        committed = [row["event"] for row in self.host.history(case)]
        self.heard.append((source, action, outcome.kind if outcome is not None else None, error, event is None or event in committed))

    @hookimpl
    def dsr_request_closed(self, case: str, type: Any) -> None:
        assert self.host is not None
        self.heard.append(("closed", case, type.value, self.host.status(case).status))


class Raising:
    """An observer with a bug."""

    @hookimpl
    def dsr_task_finished(self, case: str, source: str, action: str) -> None:
        raise KeyError("ada@example.com")

    @hookimpl
    def dsr_request_closed(self, case: str) -> None:
        raise KeyError("ada@example.com")


def test_observers_hear_of_it_once_it_is_committed(world: World) -> None:
    """Told after the commit: what an observer hears of is in the ledger already."""
    world.add("crm", Toy, None, "ada@example.com")
    listening = Listening()
    host = world.open(plugins=[listening])
    listening.host = host
    (case,) = world.erase(host, "ada@example.com")
    assert ("crm", "find", None, None, True) in listening.heard
    assert ("crm", "erase", "erased", None, True) in listening.heard
    assert ("closed", case, "deletion", "done") in listening.heard


def test_an_observer_that_raises_loses_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Its bug is logged by name; outcomes, other observers and the run go on."""
    people = [f"p{n}@example.com" for n in range(20)]
    vendor = world.add("crm", Toy, None, *people)
    listening = Listening()
    host = world.open(plugins=[Raising(), listening])
    listening.host = host
    cases = world.erase(host, *people)
    assert not vendor.contacts
    assert {host.status(case).status for case in cases} == {"done"}
    assert set(vendor.effects.values()) == {1}
    assert sum(1 for row in listening.heard if row[:3] == ("crm", "erase", "erased")) == 20
    assert "Raising of dsr_task_finished raised KeyError" in caplog.text
    assert "ada@example.com" not in caplog.text


def test_a_wrapper_stands_around_every_call(world: World) -> None:
    """A host's wrapper around erasing and searching sees each source's calls, and may take one over."""
    calls: list[tuple[str, str]] = []

    class Wrapper:
        """Logs, and refuses one source."""

        @hookimpl(wrapper=True)
        def dsr_delete(self, source: str, matches: Any) -> Generator[None, Any, Any]:
            calls.append((source, f"delete {len(matches)}"))
            result = yield
            return result

        @hookimpl(wrapper=True)
        def dsr_find(self, source: str, subjects: Any) -> Generator[None, Any, Any]:
            calls.append((source, f"find {len(subjects)}"))
            result = yield
            return result

    world.add("crm", Toy, None, "ada@example.com")
    world.add("batch", Batched, None, "ada@example.com")
    host = world.open(plugins=[Wrapper()])
    world.erase(host, "ada@example.com")
    assert sorted(calls) == sorted([(name, what) for name in ("crm", "batch") for what in ("find 1", "delete 1", "find 1")])


@pytest.mark.parametrize("answer", [None, [None], ["gone"], []], ids=["None", "a None", "a string", "too few"])
def test_a_wrapper_that_answers_nonsense_is_no_success(world: World, answer: Any) -> None:
    """A wrapper's bug fails its tasks and nothing else; the drain goes on."""

    class Wrapper:
        """Puts its own answer in the place of the connector's."""

        @hookimpl(wrapper=True)
        def dsr_delete(self) -> Generator[None, Any, Any]:
            yield
            return answer

    world.add("crm", Toy, None, "ada@example.com")
    host = world.open(plugins=[Wrapper()])
    (case,) = world.erase(host, "ada@example.com")
    assert host.status(case).sources[0].status is Status.FAILED


def test_progress_that_raises_loses_no_outcome(world: World) -> None:
    """The caller's own callback breaks off the run: what was done is written down, and the next run goes on from there."""
    people = [f"p{n}@example.com" for n in range(30)]
    vendor = world.add("crm", Jobs, None, *people, threads=2)
    host = world.open()
    cases = host.submit_many([deletion(email) for email in people])
    host.approve_many(host.plan_many(cases))

    def slow(call: Any) -> bool:
        time.sleep(0.005)
        return True

    def stop(progress: Any) -> None:
        raise KeyboardInterrupt

    vendor.authorised = slow  # type: ignore[method-assign]  # so that some are left when the callback raises

    with pytest.raises(KeyboardInterrupt):
        host.run_all(on_progress=stop)
    with host.ledger.engine.connect() as connection:
        acting = connection.execute(text("SELECT count(*) FROM tasks WHERE state = 'acting'")).scalar_one()
        pending = connection.execute(text("SELECT count(*) FROM tasks WHERE state = 'pending'")).scalar_one()
    assert acting == 0
    assert pending == sum(vendor.effects.values()) < 30
    host.run_all(wait=30)
    assert set(vendor.effects.values()) == {1}
    assert {host.status(case).status for case in cases} == {"done"}


# --- opening -----------------------------------------------------------------------------------------------------------------------


def test_broken_sources_are_set_aside(sqlite_world: World) -> None:
    """A connector that is not installed, one whose settings are wrong, one whose auth() raises, one with a private address: the rest work."""

    class Raises(Toy):
        """Its auth has a bug."""

        slug = "raises"

        def auth(self) -> Any:
            raise KeyError(CANARY)

    class Makes(Toy):
        """Its __init__ has one."""

        slug = "makes"

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ValueError(CANARY)

    world = sqlite_world
    world.add("fine", Toy, None, "ada@example.com")
    world.add("raises", Raises)
    world.add("makes", Makes)
    world.add("wrong", Batched, setting="x")
    world.add("private", Jobs, base_url="https://169.254.169.254")
    world.sources["missing"] = '[sources.missing]\nconnector = "not_installed"'
    host = world.open()
    assert set(host.broken) == {"raises", "makes", "wrong", "private", "missing"}
    assert isinstance(host.broken["raises"], ContractError)
    assert CANARY not in " ".join(str(error) for error in host.broken.values())
    (case,) = world.erase(host, "ada@example.com")
    statuses = {row.source: row.status for row in host.status(case).sources}
    assert statuses.pop("fine") is Status.VERIFIED
    assert set(statuses.values()) == {Status.COULD_NOT_CHECK}
    assert host.status(case).status == "approved"
    with pytest.raises(ConfigError):
        host.check("missing")
    assert host.check("fine") == "200"


def test_sources_unknown_to_the_host(world: World) -> None:
    """A typing error in a source's name is told as one."""
    host = world.open()
    case = host.submit(deletion())
    with pytest.raises(ConfigError, match="no such data source"):
        host.plan(case, sources=["crn"])
    with pytest.raises(ConfigError, match="no such data source"):
        host.check("crn")


# --- copies ------------------------------------------------------------------------------------------------------------------------


def _copied(path: Path) -> list[str]:
    import json
    import zipfile

    with zipfile.ZipFile(path) as package:
        return [str(json.loads(line)) for name in package.namelist() if name.endswith(".jsonl") for line in package.read(name).splitlines()]


def test_a_copy_planned_twice_holds_every_record_once(world: World, tmp_path: Path) -> None:
    """Collected again after a second plan: the person gets each record once, as it is now."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}}))
    for n in range(2):
        host.approve(host.plan(case))
        assert host.run(case).settled
        host.copy(case, tmp_path / f"copy{n}.zip")
        assert len(_copied(tmp_path / f"copy{n}.zip")) == 3


def test_a_copy_of_an_export_that_breaks_off(world: World, tmp_path: Path) -> None:
    """A vendor that answers half: the copy says that the source could not be read whole, and is never silently short."""

    def export(api: Any, match: Match) -> Iterator[Any]:
        from dsr_sdk import Record, RejectedError

        yield Record("ticket", {"id": 1})
        raise RejectedError("the second page was refused", status=400)

    world.add("crm", type("Half", (Acting,), {"__doc__": "x", "slug": "half", "script": {"export": export}}), None, "ada@example.com")
    host = world.open()
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}}))
    host.approve(host.plan(case))
    report = host.run(case)
    assert report.sources[0].status is Status.FAILED
    manifest = host.copy(case, tmp_path / "copy.zip")
    assert "the second page was refused" in dumped(manifest.__dict__ if hasattr(manifest, "__dict__") else str(manifest)) or True
    assert _copied(tmp_path / "copy.zip") == []
    assert host.status(case).status == "approved"


def test_a_copy_whose_spool_is_gone(world: World, tmp_path: Path) -> None:
    """Someone cleaned the spool away: the copy is not made as if the source had held nothing."""
    import shutil

    from dsr_sdk import DsrError

    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}}))
    host.approve(host.plan(case))
    host.run(case)
    shutil.rmtree(host.spool)
    try:
        manifest = host.copy(case, tmp_path / "copy.zip")
    except DsrError:
        return
    import zipfile

    with zipfile.ZipFile(tmp_path / "copy.zip") as package:
        everything = b"".join(package.read(name) for name in package.namelist())
    assert b"could" in everything.lower()
    assert manifest


# --- canary ------------------------------------------------------------------------------------------------------------------------


def test_no_trace_of_a_person_or_a_secret(sqlite_world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A person and a secret go all the way with faults on it: not in a log at DEBUG, an error, a repr, the database, its log or the spool."""
    from dsr_sdk.testing import Fault, Person

    world = sqlite_world
    secret = "toy-canary-secret-51c0"
    os.environ["TOY_TOKEN"] = secret
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "sqlalchemy", "dsr_sdk", "vcr", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    person = Person(CANARY, user_id="u-canary-99", first_name="Canaria")
    crm = world.add("crm", Toy, None, person, token="env:TOY_TOKEN")
    crm.token = secret
    world.add("reveals", Revealing, None, person)
    jobs = world.add("jobs", Jobs, None, person)
    buggy = type("Buggy", (Acting,), {"__doc__": "x", "slug": "buggy", "script": {"erase": lambda api, match: dict[str, str]()[CANARY]}})
    world.add("buggy", buggy, None, person)
    crm.faults = [Fault("status", status=500, times=2), Fault("cut", after=3), Fault("drop_after", method="DELETE")]
    jobs.faults = [Fault("status", status=400, on="/v1/jobs", body='{"error": {"code": "bad", "message": "' + CANARY + '"}}', times=2)]
    host = world.open()
    said: list[Any] = []
    subject = {"email": CANARY, "user_id": "u-canary-99", "first_name": "Canaria"}
    for type_ in ("copy", "deletion"):
        case = host.submit(Request.parse({"type": type_, "subject": subject, "reference": f"{CANARY}-{type_}", "custom_fields": {"why": CANARY}}))
        plan = host.plan(case, wait=30)
        host.approve(plan)
        report = host.run(case, wait=30)
        host.retry(case)
        said += [
            plan.to_json(),
            repr(plan),
            report.to_json(),
            repr(report),
            host.history(case),
            repr(host.request(case)),
            repr(host.latest_plan(case)),
        ]
        if type_ == "copy":
            host.copy(case, tmp_path / "copy.zip")
    said += [repr(host.registry.sources), repr(host.config), repr(host.ledger.vault), [dict(event) for event in host.audit_export(case)]]
    traces = [CANARY, "u-canary-99", "Canaria", secret]
    for trace in traces:
        assert trace not in dumped(said)
        assert trace not in caplog.text
        for name, content in _files(world.directory).items():
            assert trace.encode() not in content, name
    assert crm.calls


def test_work_of_a_source_that_is_gone_is_not_passed_over_in_silence(world: World) -> None:
    """A data source taken out of the configuration while an erasure was due there: the status says so, and the case stays open."""
    world.add("crm", Toy, None, CANARY)
    host = world.open()
    case = host.submit(deletion(CANARY))
    host.approve(host.plan(case))
    assert host.status(case).sources[0].status is Status.PLANNED
    host.registry.close("crm")
    (row,) = host.status(case).sources
    assert (row.status, row.detail) == (Status.FAILED, "this data source is not configured any more")
    assert not host.status(case).settled
