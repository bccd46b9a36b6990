"""The review panel: who is asking, how that is proven, what helps to find them, what is known already."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from dsr_sdk import LedgerError, Request, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.cases.verification import Method, Requirement
from dsr_sdk.host.cases.workflow import Reason
from tests.toys import Toy
from tests.world import World, deletion

AMY = "amy@example.com"
FIELDS = """
[workflow]

[[privacy_center.fields]]
name = "customer_number"
label = {en = "Customer number", de = "Kundennummer"}

[[privacy_center.fields]]
name = "newsletter"
kind = "yes_no"
label = {de = "Newsletter bezogen"}
"""


def office(world: World, tables: str = FIELDS) -> Host:
    """A host whose form asks two things more."""
    world.tables = tables
    world.add("crm", Toy, None, "ada@example.com")
    return world.open()


def full(**more: Any) -> Request:
    """A request with everything a person can tell."""
    subject = {
        "identities": [
            {"kind": "email", "value": "Ada@Example.com"},
            {"kind": "phone", "value": "+4915112345678"},
            {"kind": "name", "first": "Ada", "last": "Lovelace"},
        ]
    }
    told = {"favourite": "blue", "newsletter": True, "customer_number": 77}
    return Request.parse({"type": "deletion", "subject": subject, "country": "DE", "custom_fields": told, **more})


def test_the_panel_of_a_verified_request(world: World) -> None:
    """A request of the consumer app: signed in at the mailbox, so the green check mark stands next to the address as it was given."""
    host = office(world)
    panel = host.inbox.review(host.submit(full(channel="mine_app")))
    assert (panel.subject_name, panel.email) == ("Ada Lovelace", "Ada@Example.com")
    assert (panel.verified, panel.verified_by, panel.requirement) == (True, "oauth", Requirement.REQUIRED)
    assert panel.case.stage == "review"
    assert panel.request is not None
    assert panel.request.subject.name is not None


@pytest.mark.parametrize("method", list(Method))
def test_the_check_mark_appears_with_a_proof(sqlite_world: World, method: Method) -> None:
    """By whichever way it was proven; a request from the form has none at first, and is viewable all the same."""
    host = office(sqlite_world)
    case = host.submit(full(channel="privacy_center"))
    panel = host.inbox.review(case)
    assert (panel.verified, panel.verified_by, panel.methods) == (False, None, tuple(Method))
    host.workflow.verify(case, method, by=AMY)
    panel = host.inbox.review(case)
    assert (panel.verified, panel.verified_by) == (True, method.value)


def test_no_proof_is_offered_where_it_is_forbidden(sqlite_world: World) -> None:
    """An opt-out in California: the panel has no way of proof to press."""
    host = office(sqlite_world)
    panel = host.inbox.review(host.submit(full(type="do_not_sell", regime="us_ca_ccpa")))
    assert (panel.requirement, panel.methods, panel.verified) == (Requirement.FORBIDDEN, (), False)


def test_email_evidence(world: World) -> None:
    """The last three e-mails of the company, the newest first: date, subject, from, reply-to if any. It proves something only where it
    comes out of the person's own mailbox."""
    host = office(world)
    evidence = [
        {
            "sent_at": f"2026-0{month}-01T08:00:00Z",
            "subject": f"Letter {month}",
            "from_address": "news@example.com",
            "reply_to": "shop@example.com" if month == 4 else None,
        }
        for month in (2, 5, 1, 4, 3)
    ]
    panel = host.inbox.review(host.submit(full(channel="mine_app", email_evidence=evidence)))
    assert [(mail.sent_at.month, mail.subject, mail.from_address, mail.reply_to) for mail in panel.evidence] == [
        (5, "Letter 5", "news@example.com", None),
        (4, "Letter 4", "news@example.com", "shop@example.com"),
        (3, "Letter 3", "news@example.com", None),
    ]
    assert panel.evidence_proves
    assert not host.inbox.review(host.submit(full(channel="privacy_center", email_evidence=evidence))).evidence_proves
    assert host.inbox.review(host.submit(full())).evidence == ()


@pytest.mark.parametrize(
    ("language", "number", "newsletter"),
    [
        ("en", "Customer number", "Newsletter bezogen"),
        ("de-AT", "Kundennummer", "Newsletter bezogen"),
        ("fr", "Customer number", "Newsletter bezogen"),
    ],
)
def test_what_the_person_reported(sqlite_world: World, language: str, number: str, newsletter: str) -> None:
    """Country, mobile number, then the form's fields under their labels and in their order, then what nobody configured."""
    host = office(sqlite_world)
    panel = host.inbox.review(host.submit(full()), language=language)
    assert panel.reported == [
        ("Country of residence", "DE"),
        ("Mobile number", "+4915112345678"),
        (number, "77"),
        (newsletter, "yes"),
        ("favourite", "blue"),
    ]


def test_a_person_who_tells_little(sqlite_world: World) -> None:
    """No name, no address, no country: empty, and not an error."""
    host = office(sqlite_world)
    panel = host.inbox.review(host.submit(Request.parse({"type": "deletion", "subject": {"phone": "+4915112345678"}})))
    assert (panel.subject_name, panel.email, panel.reported) == ("", "", [("Mobile number", "+4915112345678")])


def test_duplicates_are_shown_the_oldest_first(world: World) -> None:
    """Other cases of the same person and type that are still to be answered."""
    host = office(world)
    with time_machine.travel(datetime(2026, 3, 2, 9, tzinfo=UTC), tick=False) as clock:
        first = host.submit(deletion())
        clock.shift(3600)
        second = host.submit(deletion())
        clock.shift(3600)
        case = host.submit(deletion())
        rejected = host.submit(deletion())
        host.workflow.reject(rejected, Reason.OTHER, by=AMY)
        host.submit(deletion(type="copy"))
    assert [other.number for other in host.inbox.review(case).duplicates] == [first, second]


def test_other_open_requests_of_the_person_are_shown(world: World) -> None:
    """Of every type, found by any identity they share; a deletion beside a copy is said aloud. Neither duplicates, nor what is closed, nor
    other people's."""
    host = office(world)
    case = host.submit(Request.parse({"type": "deletion", "subject": {"email": "ada@example.com", "user_id": "u-7"}}))
    copy = host.submit(deletion(type="copy"))
    edit = host.submit(Request.parse({"type": "right_to_edit", "subject": {"user_id": "u-7"}}))
    twin = host.submit(deletion())
    closed = host.submit(deletion(type="do_not_mail"))
    host.workflow.reject(closed, Reason.OTHER, by=AMY)
    host.replies.edit(closed, mode="none", reason="told", by=AMY)
    host.replies.close(closed, by=AMY)
    host.submit(deletion("bob@example.com", type="copy"))
    panel = host.inbox.review(case)
    assert ([other.number for other in panel.others], [other.number for other in panel.duplicates]) == ([copy, edit], [twin])
    assert panel.copy_owed
    assert [other.number for other in host.inbox.review(edit).others] == [case]
    assert not host.inbox.review(edit).copy_owed


def test_earlier_erasures_are_shown(world: World) -> None:
    """From the suppression list: which data source, for which case, when; other people's are not."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    (earlier,) = world.erase(host, "ada@example.com")
    host.close()
    world.tables = FIELDS
    host = world.open()
    panel = host.inbox.review(host.submit(deletion("ADA@example.com")))
    assert [(row.source, row.case) for row in panel.earlier_erasures] == [("crm", earlier)]
    assert panel.earlier_erasures[0].at <= datetime.now(UTC)
    assert host.inbox.review(host.submit(deletion("bob@example.com"))).earlier_erasures == []


def test_looking_is_recorded_when_a_person_does(world: World) -> None:
    """With ``by`` the audit log says who opened the personal data; a program's own look says nothing."""
    host = office(world)
    case = host.submit(full())
    host.inbox.review(case)
    assert "request.read" not in [entry["event"] for entry in host.history(case)]
    host.inbox.review(case, by=AMY)
    last = host.history(case)[-1]
    assert (last["event"], last["actor"], last["data"]) == ("request.read", AMY, {})


def test_a_shredded_case_still_has_a_panel(world: World) -> None:
    """Number, dates, decision and proof; nothing about the person, and nobody is said to have read it."""
    host = office(world)
    case = host.submit(full(channel="mine_app"))
    host.workflow.reject(case, Reason.OTHER, by=AMY)
    with host.workflow.deciding() as (connection, book):
        host.workflow.close(connection, book, host.workflow.held(connection, case), by=AMY)
    host.shred(case)
    panel = host.inbox.review(case, by=AMY)
    assert (panel.request, panel.subject_name, panel.email, panel.reported, panel.evidence) == (None, "", "", [], ())
    assert (panel.verified, panel.case.decision, panel.duplicates) == (True, "rejected", [])
    assert host.history(case)[-1]["event"] == "case.shredded"


def test_the_panel_shows_nothing_when_printed(sqlite_world: World) -> None:
    """A repr in a log gives nobody away."""
    host = office(sqlite_world)
    said = repr(
        host.inbox.review(host.submit(full(email_evidence=[{"sent_at": "2026-01-01T00:00:00Z", "subject": "x1y2", "from_address": "q@z.co"}])))
    )
    for word in ("ada", "Lovelace", "+4915112345678", "blue", "77", "x1y2", "q@z.co"):
        assert word not in said.replace("<", ""), word


def test_a_name_that_is_a_script(sqlite_world: World) -> None:
    """It stays text, as it was given: escaping is the page's."""
    host = office(sqlite_world)
    request = deletion(subject={"email": "ada@example.com", "first_name": "<script>alert(1)</script>"})
    assert host.inbox.review(host.submit(request)).subject_name == "<script>alert(1)</script>"


def test_no_panel_without_a_stage(sqlite_world: World) -> None:
    """A case that is not there, and one from before the workflow."""
    old = sqlite_world.open()
    case = old.submit(deletion())
    old.close()
    host = office(sqlite_world)
    with pytest.raises(RequestError, match="not in the workflow"):
        host.inbox.review(case)
    with pytest.raises(LedgerError, match="no such case"):
        host.inbox.review("DSR-0000-0000-0000-0000")


def test_who_looks_again_and_again_is_noted_once_an_hour(world: World) -> None:
    """A page that is open all day does not fill the log; another person, or the next hour, is noted."""
    world.tables = "[workflow]"
    host = world.open()
    case = host.submit(deletion())
    with time_machine.travel(datetime(2026, 3, 2, 9, tzinfo=UTC), tick=False) as clock:
        for _ in range(3):
            host.request(case, by=AMY)
        host.request(case, by="bob@example.com")
        clock.shift(3601)
        host.request(case, by=AMY)
    assert [event["actor"] for event in host.history(case) if event["event"] == "request.read"] == [AMY, "bob@example.com", AMY]
