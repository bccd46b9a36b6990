"""What nobody may bring about in the parts of the host: a copy with what was taken out of it, an erasure that was none, a letter that left twice."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select, update

from dsr_sdk import ConnectorConfig, ControllerId, Email, Match, Record, Request, Subject
from dsr_sdk.errors import ConflictError, RejectedError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import LinkError
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.process.panel import SourceState
from dsr_sdk.host.process.pickup import PICKUP_TRIES
from dsr_sdk.host.worker import run_worker
from dsr_sdk.http import Api, StartingAfter
from dsr_sdk.ledger.desk import links, mails
from dsr_sdk.testing import Person
from tests.smtp import Inbox
from tests.toys import Letters, Manually, Toy
from tests.world import FAST, World, deletion, ended

AMY, BOB = "amy@example.com", "bob@example.com"
ADA = "ada@example.com"


def office(world: World, inbox: Inbox | None = None, *, settings: str = "") -> Host:
    world.mail = inbox.toml if inbox is not None else ""
    world.tables = f'[workflow]\npublic_url = "https://privacy.example.com"\n{settings}'
    return world.open()


def collected(world: World, inbox: Inbox | None = None) -> tuple[Host, str]:
    """A copy request that was collected."""
    world.add("crm", Toy, None, ADA)
    host = office(world, inbox)
    case = host.submit(deletion(type="copy", channel="api"))
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    return host, case


def code_in(inbox: Inbox) -> str:
    found = re.search(r"\b(\d{6})\b", inbox.texts[-1])
    assert found is not None
    return found[1]


# --- copies --------------------------------------------------------------------------------------------------------------------------


def test_another_redaction_makes_a_copy_old(world: World) -> None:
    """One redaction taken back and another one made: the copy that was generated before shows what is taken out now, and is not handed out."""
    host, case = collected(world)
    first, second, *_ = host.delivery.preview(case).records
    taken_back = host.delivery.redact(case, first.source, first.resource, first.key, None, by=AMY, reason="somebody else's")
    host.delivery.generate(case, by=AMY)
    host.delivery.restore(case, taken_back, by=AMY)
    other = host.delivery.redact(case, second.source, second.resource, second.key, None, by=AMY, reason="somebody else's")
    made = host.delivery.package(case)
    assert made is not None
    assert not made.current
    with pytest.raises(RequestError, match="before the last change"):
        host.delivery.offer(case, by=AMY)
    with pytest.raises(RequestError, match="no such redaction"):  # a page that shows the first one still
        host.delivery.restore(case, taken_back, by=BOB)
    assert other != taken_back


@pytest.mark.parametrize("change", ["redact", "remove", "add"])
def test_a_link_hands_out_no_copy_older_than_the_last_change(world: World, inbox: Inbox, change: str) -> None:
    """Redacted, or a file of somebody else's taken out, after the link was made: the link opens nothing any more, code or not."""
    host, case = collected(world, inbox)
    wrong = host.files.attach(case, [b"%PDF-1.7 of another person"], name="other.pdf", purpose="copy", by=AMY)
    host.delivery.generate(case, by=AMY)
    token = host.delivery.offer(case, by=AMY).rpartition("/")[2]
    host.delivery.send_code(token)
    if change == "redact":
        record = host.delivery.preview(case).records[0]
        host.delivery.redact(case, record.source, record.resource, record.key, "/from", by=AMY, reason="somebody else's")
    elif change == "remove":
        host.files.remove(case, wrong.id, by=AMY)
    else:
        host.files.attach(case, [b"%PDF-1.7 hers"], name="hers.pdf", purpose="copy", by=AMY)
    with pytest.raises(LinkError):
        host.delivery.fetch(token, code_in(inbox))
    with pytest.raises(LinkError):
        host.delivery.send_code(token)
    assert "copy.delivered" not in [event["event"] for event in host.history(case)]
    host.delivery.generate(case, by=AMY)
    token = host.delivery.offer(case, by=AMY).rpartition("/")[2]
    host.delivery.send_code(token)
    assert b"".join(host.delivery.fetch(token, code_in(inbox))[1])


# --- erasures ------------------------------------------------------------------------------------------------------------------------


class Both(Toy):
    """Finds by e-mail address and by the controller's id."""

    slug, title = "both", "Both"
    identified_by = (Email, ControllerId)

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        asked = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for row in api.pages("/v1/contacts", asked, paging=StartingAfter("data")):
            yield Match("contact", row["id"])


def test_a_new_identifier_is_searched_with_wherever_it_is_understood(world: World) -> None:
    """Nothing was found by the address: a customer number that an agent enters later is searched with there, too, before anything is said."""
    world.add("crm", Both, None, Person("old-address@example.com", user_id="u-1"))
    host = office(world)
    case = host.submit(deletion(channel="api"))
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    assert host.processing.panel(case).sources[0].state is SourceState.NOTHING_FOUND
    host.processing.add_identifier(case, ControllerId(value="u-1"), by=AMY)
    (row,) = host.processing.panel(case).sources
    assert (row.state, row.found) == (SourceState.FOUND, 1)


@pytest.mark.parametrize("type_", ["deletion", "copy"])
def test_a_new_identifier_counts_after_the_work_was_done_too(world: World, type_: str) -> None:
    """Deleted or collected by the address: what the number leads to is found, bars the way, and can be given free as well."""
    people = Person(ADA), Person("old-address@example.com", user_id="u-1")
    vendor = world.add("crm", Both, None, *people)
    host = office(world)
    case = host.submit(deletion(type=type_, channel="api"))
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    assert host.processing.panel(case).sources[0].state is SourceState.DONE
    host.processing.search(case, sources=["crm"])
    assert host.processing.panel(case).sources[0].state is SourceState.DONE
    host.processing.add_identifier(case, ControllerId(value="u-1"), by=AMY)
    (row,) = host.processing.panel(case).sources
    assert (row.state, row.selectable) == (SourceState.FOUND, True)
    assert any("data found" in line for line in host.processing.blockers(case, all_done=True))
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    assert host.processing.panel(case).sources[0].state is SourceState.DONE
    if type_ == "deletion":
        assert not vendor.contacts
    else:
        assert {record.fields["/from"] for record in host.delivery.preview(case).records} == {ADA, "old-address@example.com"}


def test_a_data_source_that_another_process_added_takes_part(world: World) -> None:
    """Added a moment ago in another process: a request that is accepted in this one is searched there."""
    world.add("crm", Toy, None, ADA)
    world.classes["manually"] = Manually
    here, there = office(world), world.open()
    there.inventory.add("cabinet", "Cabinet", category="custom", connector="manually", settings={"instructions": "look"}, handling=True, by=BOB)
    case = here.submit(deletion(channel="api"))
    here.workflow.accept(case, by=AMY)
    assert {row.source for row in here.processing.panel(case).sources} == {"crm", "cabinet"}


def test_what_was_found_in_one_account_is_not_erased_in_another(world: World) -> None:
    """The data source was pointed at another account since the search: the ids that were found are other people's there."""

    class Tenant(Toy):
        """Has a tenant."""

        slug, title = "tenant", "Tenant"

        class Config(ConnectorConfig):
            tenant: str = "one"

        def auth(self) -> Any:
            return None

    world.add("anchor", Tenant, None, ADA)
    world.transports["crm"] = world.transports["anchor"]
    host = office(world)
    host.inventory.add("crm", "CRM", category="crm", connector="tenant", settings={"tenant": "one"}, handling=True, by=BOB)
    case = host.submit(deletion(channel="api"))
    host.workflow.accept(case, by=AMY, sources=["crm"])
    host.processing.search(case)
    assert host.processing.panel(case).sources[0].state is SourceState.FOUND
    host.inventory.update("crm", settings={"tenant": "two"}, by=BOB)
    with pytest.raises(RequestError, match="search"):
        host.processing.give_free(case, ["crm"], by=AMY)


# --- what is kept --------------------------------------------------------------------------------------------------------------------


def test_a_code_that_could_not_be_mailed_does_not_keep_a_case_for_ever(world: World, inbox: Inbox) -> None:
    """The mail server was away when the person asked for a code: nobody sends that code any more, and the case is shredded when its time is up."""
    host, case = collected(world, inbox)
    host.delivery.generate(case, by=AMY)
    token = host.delivery.offer(case, by=AMY).rpartition("/")[2]
    inbox.answer = "451 later"
    with pytest.raises(Exception, match="cannot serve"):
        host.delivery.send_code(token)
    inbox.answer = "250 OK"
    host.workflow.finish(case, by=AMY, all_done=True)
    host.replies.close(case, by=AMY)
    world.tables += "\nkeep_days = 30"
    with time_machine.travel(datetime.now(UTC) + timedelta(days=60), tick=False):
        host = world.open()
        assert host.records.retention(dry_run=False) == [case]


# --- arrivals ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["ada@m\u00fcnchen.example", "\u00e5da@example.com"])
def test_an_address_that_our_mail_server_cannot_write_to_is_no_reason_to_refuse(world: World, inbox: Inbox, address: str) -> None:
    """The request has arrived, and its clock runs: an agent reaches the person another way."""
    host = office(world, inbox)
    host.intake.fastest = type(host.intake.fastest)(0)
    form = {
        "type": "deletion",
        "first_name": "Ada",
        "last_name": "L",
        "email": address,
        "country": "DE",
        "stamp": host.intake.stamp(),
    }
    case = host.intake.submit_form(form, client="192.0.2.1", language="en")
    assert host.workflow.get(case).stage == "review"


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("csv", 'type,email,email_evidence\ndeletion,ada@example.com,"[' + "9" * 5000 + ']"\ndeletion,bob@example.com,\n'),
        ("json", '[{"type":"deletion","subject":{"email":"bob@example.com"}},{"x":' + "9" * 5000 + "}]"),
        ("jsonl", '{"x":' + "9" * 5000 + '}\n{"type":"deletion","subject":{"email":"bob@example.com"}}\n'),
    ],
)
def test_a_number_of_five_thousand_digits_is_a_wrong_row(world: World, format: Any, text: str) -> None:
    """And the rest of the file is read."""
    host = office(world)
    done = host.intake.import_file(io.BytesIO(text.encode()), format=format, by=AMY, partial=True)
    assert (done.taken, done.wrong) == (1, 1)


# --- mail ----------------------------------------------------------------------------------------------------------------------------


def test_what_is_recorded_as_the_reply_is_what_was_sent(world: World, inbox: Inbox) -> None:
    """In doubt, to be sent again by a person's word (and killed right after that), and rewritten: the new text leaves, or nothing does."""
    host = office(world, inbox)
    case = host.submit(deletion(channel="api"))
    host.workflow.reject(case, Reason.NO_MATCH, by=AMY)
    host.replies.edit(case, subject="First", body="The first text.", by=AMY)
    inbox.vanish = True
    with pytest.raises(ConflictError):
        host.replies.close(case, by=AMY)
    inbox.vanish = False
    mail = host.replies.get(case).mail
    assert mail is not None
    with host.replies.deciding() as (connection, book):
        host.outbox.again(connection, book, mail, by=AMY)
    host.replies.edit(case, subject="Second", body="The second text.", by=AMY)
    host.outbox.sweep()
    host.replies.close(case, by=AMY)
    assert [("first" in text, "second" in text) for text in inbox.texts] == [(True, False), (False, True)]


def test_one_damaged_mail_keeps_no_other_from_leaving(world: World, inbox: Inbox) -> None:
    """What cannot be opened stays where it is; the sweep goes on to the next."""
    host = office(world, inbox)
    cases = [host.submit(deletion(channel="api")) for _ in range(2)]
    with host.outbox.deciding() as (connection, book):
        ids = [host.outbox.write(connection, book, case=case, kind="notice", to=ADA, subject="Hello", body=case) for case in cases]
        connection.execute(update(mails).where(mails.c.id == ids[0]).values(sealed=b"x" * 64))
    assert host.outbox.sweep() == 1
    assert [cases[1] in text for text in inbox.texts] == [True]


def test_a_letter_that_two_people_send_again_leaves_once(world: World, inbox: Inbox) -> None:
    """Both saw it in doubt. The first one's letter has left when the second one's word is written down: it wakes nothing."""
    world.add("paper", Letters)
    host = office(world, inbox)
    case = host.submit(deletion(channel="api"))
    host.workflow.accept(case, by=AMY)
    host.processing.tick_email(case, "paper", by=AMY)
    inbox.vanish = True
    host.run_all()
    inbox.vanish = False
    assert host.processing.panel(case).sources[0].state is SourceState.IN_DOUBT
    seen, go = threading.Event(), threading.Event()
    update_, slow = host.ledger.tasks.update, threading.local()

    def late(connection: Any, updates: Any) -> None:
        if getattr(slow, "yes", False):
            seen.set()
            go.wait(3)
        update_(connection, updates)

    def second() -> None:
        slow.yes = True
        host.retry(case, source="paper", resend=True)

    def first() -> None:
        host.retry(case, source="paper", resend=True)
        host.run_all()
        go.set()

    host.ledger.tasks.update = late  # type: ignore[method-assign]
    threads = [threading.Thread(target=second), threading.Thread(target=first)]
    threads[0].start()
    assert seen.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    host.run_all()
    assert len(inbox.letters) == 2  # the one in doubt, and the one that was asked for


# --- files, and what is kept of a case --------------------------------------------------------------------------------------------------


def test_nobody_fills_a_case_with_their_files(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person has sent as many files as a case takes: an agent can still attach what proves a deletion."""
    monkeypatch.setattr("dsr_sdk.host.process.files.MOST", 3)
    host = office(sqlite_world)
    case = host.submit(deletion(channel="api"))
    for _ in range(3):
        host.files.attach(case, [b"%PDF-1.7"], name="a.pdf", purpose="message", by="subject")
    with pytest.raises(RequestError, match="at most 3"):
        host.files.attach(case, [b"%PDF-1.7"], name="a.pdf", purpose="message", by="subject")
    assert host.files.attach(case, [b"%PDF-1.7"], name="a.pdf", purpose="evidence", by=AMY).id


def test_nothing_of_the_person_is_left_after_shredding(sqlite_world: World, inbox: Inbox) -> None:
    """Every place that something of theirs is written to, and then neither the database, its log nor the spool holds a letter of it."""
    canary, other = "Zaphodbeeblebrox", "zaphod.beeblebrox@example.com"
    sqlite_world.add("crm", Toy, None, other)
    sqlite_world.add("cabinet", Manually)
    host = office(sqlite_world, inbox)
    request = {
        "type": "copy",
        "channel": "api",
        "reference": f"crm-{canary}",
        "custom_fields": {"shop": canary},
        "email_evidence": [{"sent_at": "2026-01-01T00:00:00Z", "subject": canary, "from_address": "a@example.com"}],
        "subject": {"email": other, "first_name": canary, "user_id": f"id-{canary}", "phone": "+4915112345678"},
    }
    case = host.submit(Request.parse(request))
    host.conversation.note(case, canary, by=AMY)
    host.conversation.message(case, f"Dear {canary}", by=AMY)
    token = inbox.texts[-1].split("/p/answer/")[1].split()[0]
    host.conversation.answer(token, canary, [(io.BytesIO(f"I am {canary}".encode()), f"{canary}.txt", "text/plain")])
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.add_identifier(case, ControllerId(value=f"other-{canary}"), by=AMY)
    host.processing.run(case)
    record = host.delivery.preview(case).records[0]
    host.delivery.redact(case, record.source, record.resource, record.key, "/from", by=AMY, reason=canary)
    host.files.attach(case, [f"{canary},1\n".encode()], name=f"{canary}.csv", media_type="text/csv", purpose="copy", by=AMY)
    host.processing.override(case, "cabinet", by=AMY, reason=f"{canary} is not in there")
    host.delivery.generate(case, by=AMY)
    host.workflow.finish(case, by=AMY)
    copy = host.delivery.offer(case, by=AMY).rpartition("/")[2]
    host.delivery.send_code(copy)
    b"".join(host.delivery.fetch(copy, code_in(inbox))[1])
    inbox.answer = "550 5.1.1 <" + other + "> unknown"
    host.replies.edit(case, subject=canary, body=f"{canary}: [link to the copy]", by=AMY)
    with pytest.raises(RejectedError):
        host.replies.close(case, by=AMY)
    inbox.answer = "250 OK"
    host.replies.close(case, by=AMY)
    host.records.record(case, personal=True, by=AMY)
    host.inbox.search(other)
    host.shred(case, by=AMY)
    words = [canary, other, "4915112345678", "15112345678", other.partition("@")[0]]
    wanted = [word.lower().encode() for word in words]
    for path in sqlite_world.directory.rglob("*"):
        data = path.read_bytes().lower() if path.is_file() else b""
        assert not [word for word in wanted if word in data], path
    assert not (host.spool / case).exists()
    said = json.dumps([event["data"] for event in host.history(case)]) + json.dumps(host.records.record(case))
    assert canary not in said
    with sqlite3.connect(sqlite_world.db) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description]
            for row in cursor:
                found = dict(zip(names, row, strict=True))
                if found.get("case") == case:
                    kept = [name for name in names if (name.startswith("sealed") or name in ("wrapped_key", "digest_")) and found[name] is not None]
                    assert not kept, (table, kept)


def test_the_hosts_own_history_is_read_from_its_end(world: World) -> None:
    """However many have signed in since: only what is shown is read, newest first, and each entry names the one before."""
    host = office(world)
    for n in range(30):
        with host.workflow.deciding() as (_, book):
            book.note("HOST", "account.signed_in", AMY, how=str(n))
    assert [event.data["how"] for event in host.records.host_events(3)] == ["29", "28", "27"]
    assert [event.data["how"] for event in host.records.host_events(1000)] == [str(n) for n in reversed(range(30))]
    newest, before, *_ = host.records.host_events(3)
    assert newest.prev == before.hash
    assert host.records.host_events(0) == []


def test_a_worker_follows_what_was_set_up_anew(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pointed at another account, or given a new key, while workers run: they act as the inventory says now, and not as it said at their start."""
    vendor = sqlite_world.add("anchor", Toy, None, ADA)
    sqlite_world.transports["crm"] = sqlite_world.transports["anchor"]
    for name in ("old", "new"):
        (sqlite_world.directory / f"{name}.key").write_text(name)
    del sqlite_world.sources["anchor"]
    host = sqlite_world.open()
    host.inventory.add("crm", "CRM", category="crm", connector="toy", settings={"token": "file:old.key"}, handling=True, by=AMY)

    class Queue:
        """One turn of one worker."""

        def __init__(self, *_: Any) -> None:
            pass

        def prepare(self) -> None:
            pass

        async def work(self, drain: Any, *_: Any, **__: Any) -> None:
            vendor.token = "new"
            host.inventory.update("crm", settings={"token": "file:new.key"}, by=AMY)
            host.approve(host.plan(host.submit(deletion())))
            drain("crm")

    monkeypatch.setattr("dsr_sdk.host.worker.Distributed", Queue)
    run_worker(sqlite_world.directory / "dsr.toml", transports=sqlite_world.transports, options=FAST)
    assert not vendor.contacts


# --- what leaves the house -----------------------------------------------------------------------------------------------------------


def test_a_letter_names_nobody_whom_a_search_leaves_out(world: World, inbox: Inbox) -> None:
    """One address was proven, the one before it only typed: a vendor who is asked to delete by that would delete a stranger."""
    world.add("paper", Letters)
    host = office(world, inbox)
    case = host.submit(Request.parse({"type": "deletion", "subject": {"email": ADA}, "channel": "privacy_center"}))
    host.workflow.verify(case, Method.EMAIL, by=AMY)
    request = host.request(case)
    typed = Subject.model_construct(identities=(Email(value="stranger@example.com"), *request.subject.identities))
    with host.workflow.deciding() as (connection, _):
        host.ledger.cases.replace_request(connection, request.model_copy(update={"subject": typed}))
    host.workflow.accept(case, by=AMY)
    host.processing.tick_email(case, "paper", by=AMY)
    host.run_all()
    (letter,) = inbox.texts
    assert ADA in letter
    assert "stranger" not in letter


def test_a_truncated_emoji_fails_nobodys_copy(world: World, inbox: Inbox) -> None:
    """Half of a character, as vendors cut them off, in a record, in the name of a field and in what a match carries along: it is searched,
    collected, looked through, redacted and handed over."""
    half = "Hello \ud83d"

    class Cut(Toy):
        """Cuts texts off in the middle of a character."""

        slug, title = "cut", "Cut"

        def find(self, api: Api, subject: Subject) -> Iterator[Match]:
            for match in super().find(api, subject):
                yield Match(match.resource, match.id, data={"name": half})

        def export(self, api: Api, match: Match) -> Iterator[Record]:
            yield Record("ticket", {"text": match.data["name"], half: "a secret", "number": 1})
            yield Record("ticket", {"text": "whole"})

    world.add("crm", Cut, None, ADA)
    host = office(world, inbox)
    case = host.submit(deletion(type="copy", channel="api"))
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    assert host.processing.panel(case).sources[0].state is SourceState.DONE
    record = next(record for record in host.delivery.preview(case).records if len(record.fields) == 3)
    assert "".join((*record.fields, *record.fields.values())).encode()  # a page can show it
    (secret,) = (pointer for pointer, text in record.fields.items() if text == "a secret")
    host.delivery.redact(case, record.source, record.resource, record.key, secret, by=AMY, reason="somebody else's")
    host.delivery.generate(case, by=AMY)
    package = b"".join(host.delivery.download(case, by=AMY)[1])
    with zipfile.ZipFile(io.BytesIO(package)) as unpacked:
        lines = [json.loads(line) for name in unpacked.namelist() if name.endswith(".jsonl") for line in unpacked.read(name).splitlines()]
    assert sorted(str(line["text"]) for line in lines) == sorted([half, "whole"])
    assert "a secret" not in str(lines)


def test_putting_a_template_away_stands_in_the_log(world: World) -> None:
    """Who decided what people are told is told, too."""
    host = office(world)
    saved = host.templates.save(replace(host.templates.get("deletion.accepted.en"), preferred=True), by=AMY)
    host.templates.archive(saved.id or "", by=BOB)
    (event, *_) = host.records.host_events(1)
    assert (event.event, event.actor, event.data) == ("template.archived", BOB, {"template": int(saved.id or 0)})
    with pytest.raises(RequestError):
        host.templates.archive(saved.id or "", by=BOB)
    assert len([event for event in host.records.host_events(100) if event.event == "template.archived"]) == 1


# --- what lies on the disk -----------------------------------------------------------------------------------------------------------


def test_a_copy_that_may_still_be_fetched_is_not_shredded(world: World, inbox: Inbox) -> None:
    """The code was given shortly before the time was up: retention waits until the download can no longer be begun, and for one that is under
    way, the last try included. Whoever shreds the case by hand ends it."""
    host, case = collected(world, inbox)
    host.delivery.generate(case, by=AMY)
    host.workflow.finish(case, by=AMY)
    token = host.delivery.offer(case, by=AMY).rpartition("/")[2]
    host.replies.edit(case, mode="none", reason="told by telephone", by=AMY)
    host.replies.close(case, by=AMY)
    world.tables += "\nkeep_days = 5"
    host = world.open()
    start = datetime.now(UTC)
    with time_machine.travel(start + timedelta(days=4, hours=23, minutes=50), tick=False) as clock:
        host.delivery.send_code(token)
        secret = host.delivery.confirm(token, code_in(inbox))
        clock.shift(timedelta(minutes=20))
        assert host.records.ripe()[0].waits_for == "the person may still fetch the copy"
        assert host.records.retention(dry_run=False) == []
        for _ in range(PICKUP_TRIES - 1):
            host.delivery.take(token, secret).blocks.close()
            clock.shift(timedelta(minutes=3))
        parcel = host.delivery.take(token, secret)  # the last one
        first = next(parcel.blocks)
        clock.shift(timedelta(minutes=1))
        assert host.records.retention(dry_run=False) == []
        host.shred(case, by=AMY)
        with host.delivery.reading() as connection:
            row = connection.execute(select(links.c.uses_left, links.c.used_at).where(links.c.case == case, links.c.purpose == "pickup")).one()
        assert tuple(row) == (0, None)
        parcel.blocks.close()
        assert first
        with pytest.raises(LinkError):
            host.delivery.take(token, secret)


def test_a_fetched_copy_is_waited_for_no_longer(world: World, inbox: Inbox) -> None:
    """The last byte has left: the case is shredded when its time is up."""
    host, case = collected(world, inbox)
    host.delivery.generate(case, by=AMY)
    host.workflow.finish(case, by=AMY)
    token = host.delivery.offer(case, by=AMY).rpartition("/")[2]
    host.replies.edit(case, mode="none", reason="told by telephone", by=AMY)
    host.replies.close(case, by=AMY)
    host.delivery.send_code(token)
    assert b"".join(host.delivery.fetch(token, code_in(inbox))[1])
    world.tables += "\nkeep_days = 1"
    host = world.open()
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1, minutes=1), tick=False):
        assert host.records.retention(dry_run=False) == [case]


def test_what_a_crash_left_on_the_disk_is_deleted(world: World, inbox: Inbox) -> None:
    """The program died between the ledger's word and the deletion of a file, or of a package that was replaced: an hour later it is gone, and
    whatever a row names, is being taken in, or belongs to another ledger is there."""
    host, case = collected(world, inbox)
    kept = host.files.attach(case, [b"%PDF-1.7 kept"], name="a.pdf", purpose="copy", by=AMY)
    removed = host.files.attach(case, [b"%PDF-1.7 removed"], name="b.pdf", purpose="evidence", by=AMY)
    host.delivery.generate(case, by=AMY)
    host.files.discard = lambda case, stored: None  # type: ignore[method-assign]  # the crash
    host.files.remove(case, removed.id, by=AMY)
    host.delivery.generate(case, by=AMY)
    folder = host.spool / case / "files"
    strange = host.spool / "DSR-0000-0000-0000-0000" / "files" / "x.sealed"
    strange.parent.mkdir(parents=True)
    strange.touch()
    (folder / "young.sealed.part").touch()
    before = {path.name for path in folder.iterdir()}
    assert len(before) == 5
    host = world.open()
    assert host.files.tidy() == 0
    for path in (*folder.iterdir(), strange):
        os.utime(path, (time.time() - 3700,) * 2)
    assert host.files.tidy() == 2
    assert host.files.tidy() == 0
    assert (folder / "young.sealed.part").exists()
    assert strange.exists()
    assert b"".join(host.files.read(case, kept.id)[1]) == b"%PDF-1.7 kept"
    assert b"".join(host.delivery.download(case, by=AMY)[1])


def test_the_retention_round_tidies_up(sqlite_world: World) -> None:
    """With or without anything to shred, and where a shredded case has left something."""
    sqlite_world.tables = "[workflow]\nkeep_days = 5"
    host = sqlite_world.open()
    case = host.submit(deletion(channel="api"))
    host.files.attach(case, [b"%PDF-1.7"], name="a.pdf", purpose="evidence", by=AMY)
    (path,) = (host.spool / case / "files").iterdir()
    data = path.read_bytes()
    ended(host, case)
    host.shred(case, by=AMY)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)  # the program died before it was deleted
    os.utime(path, (time.time() - 3700,) * 2)
    assert host.records.retention(dry_run=True) == []
    assert path.exists()
    assert host.records.retention(dry_run=False) == []
    assert not path.exists()
