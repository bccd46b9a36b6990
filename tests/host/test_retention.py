"""Retention: what is closed for long is shredded, by policy and with proof of it, and nothing that is still open."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import insert, update

from dsr_sdk import Request
from dsr_sdk.errors import ConfigError, VaultError
from dsr_sdk.host import Host
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.database import writing
from dsr_sdk.ledger.desk import links, mails
from dsr_sdk.ledger.schema import cases
from dsr_sdk.testing import Person
from tests.toys import Toy, ToyVendor
from tests.world import World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BY = "bob@example.com"
KEEP = "[workflow]\nkeep_days = 30"


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that stands still until it is moved."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


def closed(host: Host, type_: str = "do_not_mail") -> str:
    """A case that was closed without a reply."""
    case = host.submit(Request.parse({"type": type_, "subject": {"email": "ada@example.com", "first_name": "Ada"}}))
    if host.workflow.get(case).verified_by is None:
        host.workflow.verify(case, Method.DOCUMENT, by=BY)
    host.workflow.accept(case, by=BY)
    if type_ == "deletion":
        host.processing.search(case, wait=5)
        host.processing.give_free(case, ["crm"], by=BY)
        host.run(case)
    host.workflow.finish(case, by=BY, all_done=True)
    host.replies.edit(case, mode="none", reason="by telephone", by=BY)
    host.replies.close(case, by=BY, revision=host.workflow.get(case).revision)
    return case


def shredders(host: Host, case: str) -> list[str]:
    """Who has shredded a case, as often as it is in the audit log."""
    return [row["actor"] for row in host.history(case) if row["event"] == "case.shredded"]


def test_what_is_closed_for_long_is_shredded(world: World, clock: time_machine.Traveller) -> None:
    """To the day; what was closed later stays, and so does what is open however old it is. The log says who: the policy."""
    world.tables = KEEP
    host = world.open()
    open_one = host.submit(Request.parse({"type": "do_not_mail", "subject": {"email": "eve@example.com"}}))
    old = closed(host)
    clock.shift(timedelta(days=1))
    younger = closed(host)
    clock.shift(timedelta(days=29) - timedelta(seconds=1))
    assert host.records.retention(dry_run=False) == []
    clock.shift(timedelta(seconds=1))
    assert host.records.retention(dry_run=False) == [old]
    assert shredders(host, old) == ["retention policy"]
    with pytest.raises(VaultError, match="shredded"):
        host.request(old)
    for kept in (open_one, younger):
        assert host.request(kept).subject.email
    clock.shift(timedelta(days=1000))
    assert host.records.retention(dry_run=False) == [younger]
    assert host.request(open_one).subject.email
    assert host.records.history(old).verified


def test_a_dry_run_changes_nothing(world: World, clock: time_machine.Traveller) -> None:
    """It lists what would be shredded, the longest closed first."""
    world.tables = KEEP
    host = world.open()
    numbers = []
    for _ in range(3):
        numbers.append(closed(host))
        clock.shift(timedelta(hours=1))
    clock.shift(timedelta(days=30))
    assert host.records.retention(dry_run=True) == numbers
    assert not any(host.workflow.get(number).shredded for number in numbers)
    assert host.records.retention(dry_run=False) == numbers


def test_twice_is_harmless(world: World, clock: time_machine.Traveller) -> None:
    """The second run finds nothing; of two at the same moment each case is shredded by one, once."""
    world.tables = KEEP
    host = world.open()
    numbers = [closed(host) for _ in range(4)]
    clock.shift(timedelta(days=31))
    hosts = [host, world.open()]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda one: one.records.retention(dry_run=False), hosts))
    assert sorted(number for numbers_ in done for number in numbers_) == sorted(numbers)
    assert [shredders(host, number) for number in numbers] == [["retention policy"]] * 4
    assert host.records.retention(dry_run=False) == host.records.retention(dry_run=True) == []
    assert host.audit_verify().ok


def test_nothing_without_a_policy(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """Without keep_days everything is kept; without a workflow there is nothing that was closed."""
    sqlite_world.tables = "[workflow]"
    host = sqlite_world.open()
    case = closed(host)
    clock.shift(timedelta(days=10_000))
    assert host.records.retention(dry_run=False) == []
    assert host.request(case).subject.email
    sqlite_world.tables = ""
    with pytest.raises(ConfigError, match="no workflow"):
        sqlite_world.open().records.retention(dry_run=True)


class Slow(Toy):
    """A vendor whose search may still see for a while what is deleted."""

    slug, title = "slow", "Slow"
    lag = timedelta(days=60)


def test_an_unfinished_verification_is_waited_for(world: World, clock: time_machine.Traveller) -> None:
    """What may still turn out not to be deleted is needed; once it is verified, the case is shredded."""
    world.tables = KEEP
    world.add("crm", Slow, None, "ada@example.com")
    host = world.open()
    case = closed(host, "deletion")
    clock.shift(timedelta(days=31))
    assert [(row.case, row.waits_for) for row in host.records.ripe()] == [(case, "the deletion at crm is not verified yet")]
    assert host.records.retention(dry_run=True) == host.records.retention(dry_run=False) == []
    clock.shift(timedelta(days=30))
    host.run_all()
    assert host.records.retention(dry_run=False) == [case]


def test_a_verification_at_a_source_that_is_gone(world: World, clock: time_machine.Traveller) -> None:
    """It would be waited for in vain, and personal data kept for ever."""
    world.tables = KEEP
    world.add("crm", Slow, None, "ada@example.com")
    case = closed(world.open(), "deletion")
    world.sources.clear()
    clock.shift(timedelta(days=31))
    assert world.open().records.retention(dry_run=False) == [case]


def test_data_that_is_back_is_waited_for(world: World, clock: time_machine.Traveller) -> None:
    """Somebody has to deal with it first; when another search finds nothing any more, the case goes."""
    world.tables = KEEP
    vendor = world.add("crm", Toy, None, "ada@example.com")
    assert isinstance(vendor, ToyVendor)
    host = world.open()
    case = closed(host, "deletion")
    vendor.add_person(Person("ada@example.com"))
    host.recheck(case)
    host.run_all()
    clock.shift(timedelta(days=31))
    assert [(row.case, row.waits_for) for row in host.records.ripe()] == [(case, "data was found again at crm")]
    assert host.records.retention(dry_run=False) == []
    assert not host.workflow.get(case).shredded
    vendor.contacts.clear()
    host.recheck(case)
    host.run_all()
    assert host.records.retention(dry_run=False) == [case]
    assert shredders(host, case) == ["retention policy"]
    assert host.records.history(case).verified


def test_a_copy_that_may_still_be_fetched(world: World, clock: time_machine.Traveller) -> None:
    """The person's link is not broken by our housekeeping; when it is over the case goes."""
    world.tables = KEEP
    host = world.open()
    case = closed(host)
    clock.shift(timedelta(days=31))
    with writing(host.ledger.engine) as connection:
        row = {"purpose": "copy", "digest": b"x" * 32, "created_at": datetime.now(UTC), "expires_at": datetime.now(UTC) + timedelta(days=2)}
        connection.execute(insert(links).values(case=case, **row))
    assert [row.waits_for for row in host.records.ripe()] == ["the person may still fetch the copy"]
    clock.shift(timedelta(days=2))
    assert host.records.retention(dry_run=False) == [case]


def test_an_e_mail_that_is_not_sent_yet(world: World, clock: time_machine.Traveller) -> None:
    """What was promised to the person leaves first."""
    world.tables = KEEP
    host = world.open()
    case = closed(host)
    clock.shift(timedelta(days=31))
    with writing(host.ledger.engine) as connection:
        moment = datetime.now(UTC)
        connection.execute(insert(mails).values(case=case, kind="notice", state="ready", created_at=moment, next_at=moment))
    assert [row.waits_for for row in host.records.ripe()] == ["an e-mail of it was not sent yet"]
    with writing(host.ledger.engine) as connection:
        connection.execute(update(mails).values(state="sent"))
    assert host.records.retention(dry_run=False) == [case]


def test_a_case_that_is_opened_again_in_between(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """Found again after the list was made: it is left alone, and the others go on."""
    sqlite_world.tables = KEEP
    host = sqlite_world.open()
    reopened, other = closed(host), closed(host)
    clock.shift(timedelta(days=31))
    real = host.shred

    def shred(case: str, *, by: str = "agent") -> None:
        if case == reopened:
            with writing(host.ledger.engine) as connection:
                host.ledger.cases.set_status(connection, [case], "approved")
                host.ledger.write(connection, Book(datetime.now(UTC)))
        real(case, by=by)

    host.shred = shred  # type: ignore[method-assign]  # the moment in between
    assert host.records.retention(dry_run=False) == [other]
    assert not host.workflow.get(reopened).shredded


def test_many_cases_in_pages(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """More than a page of them, in order."""
    sqlite_world.tables = KEEP
    host = sqlite_world.open()
    numbers = host.submit_many([Request.parse({"type": "copy", "subject": {"email": f"p{number}@example.com"}}) for number in range(1100)])
    with writing(host.ledger.engine) as connection:
        connection.execute(update(cases).values(stage="closed", ended_at=START, status="done"))
    clock.shift(timedelta(days=31))
    assert host.records.retention(dry_run=True) == sorted(numbers)


def test_the_bytes_are_gone(sqlite_world: World, clock: time_machine.Traveller) -> None:
    """Neither the sealed request nor its key is in the file of the ledger afterwards."""
    sqlite_world.tables = KEEP
    host = sqlite_world.open()
    case = closed(host)
    with writing(host.ledger.engine) as connection:
        wrapped, sealed = connection.execute(cases.select().with_only_columns(cases.c.wrapped_key, cases.c.sealed_request)).one()
    clock.shift(timedelta(days=31))
    assert host.records.retention(dry_run=False) == [case]
    host.close()
    raw = b"".join(path.read_bytes() for path in sqlite_world.directory.glob("dsr.db*"))
    assert bytes(wrapped)[:32] not in raw
    assert bytes(sealed)[:32] not in raw
