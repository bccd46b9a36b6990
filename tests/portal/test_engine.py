"""The engine inside the portal: it does what is due, wakes when something was done, survives errors and ends cleanly."""

from __future__ import annotations

import http.client
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dsr_sdk import Erased
from dsr_sdk.errors import LedgerError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.outbox import MailState
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app
from dsr_sdk.portal.engine import Engine
from tests.portal.conftest import PASSWORD, WORKFLOW, Client, Live, address
from tests.smtp import Inbox
from tests.toys import Acting, Toy
from tests.world import World, deletion


def _until(done: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def _given_free(host: Host, *emails: str) -> list[str]:
    """Deletions of these people, accepted, planned and approved."""
    cases = host.submit_many([deletion(email) for email in emails])
    for case in cases:
        host.workflow.verify(case, Method.DOCUMENT, by="tests")
        host.workflow.accept(case, by="tests")
    host.approve_many(host.plan_many(cases))
    return cases


def test_what_was_approved_is_carried_out(portal_world: World) -> None:
    """Nobody runs anything: the engine of a served portal finds the work and does it."""
    vendor = portal_world.add("shop", Toy, None, "ada@example.com")
    host = portal_world.open()
    with Live(create_app(host)):
        _given_free(host, "ada@example.com")
        _until(lambda: not vendor.holds("ada@example.com"))
    assert [thread.name for thread in threading.enumerate() if thread.name in ("dsr-engine", "dsr-mail")] == []


def test_a_press_of_a_button_wakes_it(host: Host) -> None:
    """It does not wait for its next look; a page that is only looked at wakes nobody."""
    app = create_app(host)
    engine: Engine = app.state.engine
    engine.pause = 60.0
    with Client(app, follow_redirects=False) as client:
        _until(lambda: engine.rounds == 1)
        client.visit("/sign-in")
        time.sleep(0.2)
        assert engine.rounds == 1
        client.form("/sign-in", account=address(Role.AGENT), password=PASSWORD)
        _until(lambda: engine.rounds == 2)
    assert not engine.running


def test_an_error_stops_nothing_and_tells_nothing(portal_world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One step fails again and again: the others go on, it is said once, without its text, and once that it works again."""
    host = portal_world.open()
    engine = Engine(host, pause=0.01, longest=0.01)
    broken = True
    looked: list[int] = []

    def run_all() -> None:
        if broken:
            raise ValueError("ada@example.com")

    monkeypatch.setattr(host, "run_all", run_all)
    monkeypatch.setattr(host, "refresh_sources", lambda: looked.append(1))
    with caplog.at_level(logging.INFO, logger="dsr_sdk.portal.engine"):
        engine.start()
        _until(lambda: len(looked) >= 3)
        broken = False
        _until(lambda: not engine.failing)
        assert engine.stop()
    told = [record.getMessage() for record in caplog.records if record.name == "dsr_sdk.portal.engine"]
    assert told == ["work: ValueError", "work: works again"]


def test_an_error_of_the_library_is_told_with_its_fix(host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Those hold no personal data, and somebody has to act on them."""

    def locked() -> None:
        raise LedgerError("the database is full", fix="make room")

    monkeypatch.setattr(host, "run_all", locked)
    engine = Engine(host)
    engine.round()
    assert engine.failing == {"work": "LedgerError"}
    assert "the database is full (make room)" in caplog.text


def test_old_cases_are_forgotten_once_a_day(portal_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention runs when the policy says so, at the first round and then daily; one that failed is tried again."""
    portal_world.tables = WORKFLOW + "\nkeep_days = 30"
    host = portal_world.open()
    calls: list[bool] = []

    def retention(*, dry_run: bool) -> list[str]:
        calls.append(dry_run)
        if len(calls) == 1:
            raise OSError
        return []

    monkeypatch.setattr(host.records, "retention", retention)
    clock = [1000.0]
    monkeypatch.setattr("dsr_sdk.portal.engine.time.monotonic", lambda: clock[0])
    engine = Engine(host)
    for _ in range(3):
        engine.round()
    assert calls == [False, False]
    clock[0] += 24 * 60 * 60
    engine.round()
    assert calls == [False, False, False]


def test_nothing_is_forgotten_without_a_policy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """keep_days unset: the records stay."""
    monkeypatch.setattr(type(host), "records", property(lambda host: pytest.fail("retention was asked")))
    Engine(host).round()


def test_it_ends_while_it_works(portal_world: World) -> None:
    """Told to end in the middle of a source's work, it finishes what is under way, and the rest waits for the next start."""
    people = [f"p{n}@example.com" for n in range(60)]
    portal_world.add("shop", Toy, None, *people)
    host = portal_world.open()
    cases = _given_free(host, *people)
    engine = Engine(host)
    engine.start()
    began = datetime.now(UTC)
    assert engine.stop()
    assert datetime.now(UTC) - began < timedelta(seconds=20)
    again = portal_world.open()
    again.run_all(wait=20)
    assert all(report.sources[0].status.value not in ("planned", "in_doubt") for report in (again.status(case) for case in cases))


def test_a_served_portal_ends_when_it_is_told_to(portal_world: World) -> None:
    """The process answers, writes no address it was asked for, and on SIGTERM closes its host: the audit log is signed to its end."""
    path = portal_world.write()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = f"""
from dsr_sdk.host import Host
from dsr_sdk.portal import serve
with Host.open({str(path)!r}) as host:
    serve(host, port={port})
print("closed")
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        _until(lambda: _answers(port, "/healthz"), 60)
        assert _answers(port, "/join/secret-token", 400)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said == "closed\n"
    assert portal_world.open().audit_verify().ok


def _answers(port: int, path: str, status: int = 200) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status == status
    except OSError:
        return False
    finally:
        connection.close()


def test_a_portal_without_an_engine_does_nothing_by_itself(portal_world: World) -> None:
    """Where workers run elsewhere, the portal only shows and takes."""
    portal_world.add("shop", Toy, None, "ada@example.com")
    host = portal_world.open()
    [case] = _given_free(host, "ada@example.com")
    app = create_app(host, engine=False)
    with Live(app):
        time.sleep(0.3)
    assert host.status(case).sources[0].status.value == "planned"


def test_mail_does_not_wait_for_a_long_drain(portal_world: World, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor takes its time, in the middle of a round: a mail that is written meanwhile leaves at once, and of two portals only one sends it.
    Told to end, both threads do, and what is written then waits."""
    begun, go = threading.Event(), threading.Event()

    def erase(api: object, match: object) -> Erased:
        begun.set()
        assert go.wait(120)
        return Erased()

    monkeypatch.setattr(Acting, "script", {"erase": erase})
    portal_world.mail = inbox.toml
    portal_world.add("support", Acting, None, "ada@example.com")
    host, other = portal_world.open(), portal_world.open()
    [case] = _given_free(host, "ada@example.com")
    engines = [Engine(host), Engine(other)]
    for engine in engines:
        assert engine.postman is not None
        engine.start()
    assert begun.wait(60)
    mails = [_written(host, case) for _ in range(3)]
    for engine in engines:
        engine.wake()
    _until(lambda: len(inbox.letters) == 3, 60)
    _until(lambda: {host.outbox.get(mail).state for mail in mails} == {MailState.SENT}, 60)
    assert host.status(case).sources[0].status.value in ("planned", "waiting")  # it is at work there still
    stop = host.stop

    def stop_and_go() -> None:
        stop()
        go.set()  # what is under way may end now

    monkeypatch.setattr(host, "stop", stop_and_go)
    assert [engine.stop(60) for engine in engines] == [True, True]
    assert [thread.name for thread in threading.enumerate() if thread.name in ("dsr-engine", "dsr-mail")] == []
    assert host.status(case).sources[0].status.value in ("deleted", "reappeared")
    late = _written(host, case)
    assert len(inbox.letters) == 3
    assert host.outbox.get(late).state is MailState.READY


def test_an_error_of_mail_stops_no_other_step(portal_world: World, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody has foreseen: mails leave although replies fail, it is said once, and the thread goes on."""
    portal_world.mail = inbox.toml
    host = portal_world.open()
    engine = Engine(host)
    assert engine.postman is not None
    monkeypatch.setattr(host.replies, "automatic", lambda limit: 1 // 0)
    mail = _written(host, None)
    engine.start()
    _until(lambda: host.outbox.get(mail).state is MailState.SENT, 60)
    assert engine.postman.failing == {"replies": "ZeroDivisionError"}
    assert engine.postman.running
    assert engine.stop(60)


def _written(host: Host, case: str | None) -> int:
    with host.outbox.deciding() as (connection, book):
        return host.outbox.write(connection, book, case=case, kind="notice", to="ada@example.com", subject="Hello", body="There you are")
