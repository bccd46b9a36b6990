"""The page of a request: who asks, how that was proven, evidence, conversation, the decisions of review, history and record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dsr_sdk import Request
from dsr_sdk.host import Host
from dsr_sdk.host.answers.correspondence import correspondence
from dsr_sdk.host.answers.links import Purpose
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.people.roles import Role
from dsr_sdk.identity import ControllerId
from dsr_sdk.ledger.schema import cases
from tests.portal.conftest import Client, address
from tests.portal.test_requests_page import SCRIPT, asked
from tests.smtp import Inbox
from tests.toys import Letters, Manually, Toy
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

BY = address(Role.AGENT)
EVIDENCE = [
    {
        "sent_at": (datetime.now(UTC) - timedelta(days=n)).isoformat(),
        "subject": f"Letter {n}",
        "from_address": f"shop{n}@example.com",
        "reply_to": None if n == 2 else "help@example.com",
    }
    for n in (1, 2, 3, 4)
]


@pytest.fixture
def portal_world(portal_world: World, inbox: Inbox) -> World:
    """With a mail server and three data sources."""
    portal_world.mail = inbox.toml
    portal_world.tables += '\n\n[privacy_center]\n[[privacy_center.fields]]\nname = "order_number"\nlabel = { en = "Order number" }\n'
    portal_world.add("shop", Toy, None, "ada@example.com")
    portal_world.add("paper", Letters, None)
    portal_world.add("cabinet", Manually, None)
    return portal_world


def revision(host: Host, number: str) -> str:
    """What a page of this moment shows."""
    return str(host.workflow.get(number).revision)


# --- review --------------------------------------------------------------------------------------------------------------------------------


def test_the_panel_shows_who_asks_and_the_evidence(agent: Client, host: Host) -> None:
    """Name, verified address with a text for the check mark, how it was verified, three e-mails, reported details; the title says nothing."""
    number = host.submit(asked(country="DE", custom_fields={"order_number": "A-17"}, email_evidence=EVIDENCE))
    page = agent.get(f"/requests/{number}").text
    assert "Ada Lovelace" in page
    assert re.search(r'aria-label="Verified".*?Verified.*?Sign-in \(OAuth\)', page, re.DOTALL)
    assert "by signing in (OAuth): the sender owns the e-mail address." in page
    assert [subject for subject in ("Letter 1", "Letter 2", "Letter 3", "Letter 4") if subject in page] == ["Letter 1", "Letter 2", "Letter 3"]
    assert "shop1@example.com" in page
    assert "help@example.com" in page
    assert "Country of residence" in page
    assert re.search(r"Order number</dt><dd[^>]*>A-17", page)
    assert re.findall(r"<title>(.*?)</title>", page) == [f"Request {number} – Example GmbH"]
    assert "request.read" in [event["event"] for event in host.history(number) if event["actor"] == BY]


def test_a_name_that_is_a_script_stays_a_name(agent: Client, host: Host) -> None:
    """On every page that shows it."""
    number = host.submit(asked(first=SCRIPT, custom_fields={"order_number": SCRIPT}))
    for _ in ("review", "process", "reply"):
        page = agent.get(f"/requests/{number}").text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert SCRIPT not in page
        assert SCRIPT not in agent.get(f"/requests/{number}/history").text
        stage = host.workflow.get(number).stage
        if stage == "review":
            host.workflow.accept(number, by=BY, sources=[])
        elif stage == "process":
            host.workflow.finish(number, by=BY, all_done=True)


def test_continue_asks_first_and_works_without_a_script(agent: Client, host: Host) -> None:
    """The page says that there is no way back; the form sends what it has seen, and the chosen data sources."""
    number = host.submit(asked())
    page = agent.get(f"/requests/{number}").text
    assert "Once you click Continue you will not be able to go back and reject the request." in page
    assert "Nothing is deleted until you press Delete on the next page." in page
    assert "This is final: it goes straight to the reply" in page
    assert "The person withdrew the request…" in page
    answer = agent.form(f"/requests/{number}/accept", revision=revision(host, number), choosing="1", sources=["shop", "cabinet"])
    assert (answer.status_code, answer.headers["location"]) == (303, f"/requests/{number}")
    assert host.workflow.get(number).stage == "process"
    assert [row.source for row in host.processing.panel(number).sources] == ["cabinet", "shop"]
    assert agent.form(f"/requests/{number}/reject", revision=revision(host, number), reason="other").status_code == 409


def test_the_second_of_two_agents_is_told_what_happened(agent: Client, admin: Client, host: Host) -> None:
    """Both pressed Continue; the other's name and the way to the request stand on the page."""
    number = host.submit(asked())
    seen = revision(host, number)
    assert admin.form(f"/requests/{number}/accept", revision=seen).status_code == 303
    late = agent.form(f"/requests/{number}/reject", revision=seen, reason="other")
    assert late.status_code == 409
    assert "The request was accepted and is being processed." in late.text
    assert "Person admin" in late.text
    assert f'href="/requests/{number}"' in late.text
    assert host.workflow.get(number).decision == "accepted"


def test_unverified_requests_cannot_be_continued(agent: Client, host: Host) -> None:
    """The button is off and says why; a form sent nevertheless is refused."""
    number = host.submit(asked(channel="privacy_center"))
    page = agent.get(f"/requests/{number}").text
    assert "Not verified" in page
    assert "once the identity is verified" in page
    assert "Once you click Continue" not in page
    assert agent.form(f"/requests/{number}/accept", revision=revision(host, number)).status_code == 400
    agent.form(f"/requests/{number}/verify", revision=revision(host, number), method="document", note="passport")
    assert host.workflow.get(number).verified_by == "document"
    assert "by a document that an agent has looked at" in agent.get(f"/requests/{number}").text
    assert agent.form(f"/requests/{number}/verify", revision="0", method="").status_code == 400


def test_where_the_law_forbids_proof_nobody_is_asked_for_it(agent: Client, host: Host) -> None:
    """A sentence in the place of the buttons; California's opt-outs go on without."""
    number = host.submit(asked("do_not_sell", channel="privacy_center", regime="us_ca_ccpa"))
    page = agent.get(f"/requests/{number}").text
    assert "forbids to make this right depend on proof of identity" in page
    assert "Mark as verified" not in page
    assert "verification e-mail" not in page
    assert 'value="insuf_verification"' not in page
    assert agent.form(f"/requests/{number}/ask-to-verify").status_code == 400
    assert agent.form(f"/requests/{number}/accept", revision=revision(host, number)).status_code == 303


def test_the_verification_mail_leads_to_a_check_mark(agent: Client, host: Host, inbox: Inbox) -> None:
    """Sent once pressed; the page says that it waits; the person's click verifies."""
    number = host.submit(asked(channel="privacy_center"))
    assert agent.form(f"/requests/{number}/ask-to-verify").status_code == 303
    assert "It waits for the person" in agent.get(f"/requests/{number}").text
    token = re.findall(rf"/p/{Purpose.VERIFY}/(\S+)", inbox.texts[-1])[0]
    host.conversation.confirm_address(token)
    assert "they can read mail at this address" in agent.get(f"/requests/{number}").text


def test_rejecting_goes_straight_to_the_reply(agent: Client, host: Host) -> None:
    """With a reason; the reply says it."""
    number = host.submit(asked())
    assert agent.form(f"/requests/{number}/reject", revision=revision(host, number), reason="").status_code == 400
    agent.form(f"/requests/{number}/reject", revision=revision(host, number), reason=Reason.NO_MATCH.value)
    page = agent.get(f"/requests/{number}").text
    assert "The request was rejected: no data found." in page
    assert "Process<span" in page
    assert "left out" in page


def test_duplicates_are_shown_and_merged(agent: Client, host: Host) -> None:
    """Into the one that goes on."""
    first, second = host.submit_many([asked(days=2), asked()])
    page = agent.get(f"/requests/{second}").text
    assert "The same person is waiting for the same thing" in page
    assert first in page
    assert "with the identifiers that were proven here" in page
    assert "only typed" not in page
    agent.form(f"/requests/{second}/merge", revision=revision(host, second), into=first)
    case = host.workflow.get(second)
    assert (case.stage, case.decision, case.duplicate_of) == ("reply", "duplicate", first)


def test_other_requests_of_the_person_are_shown(agent: Client, signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """In review and in process, with stage and lateness: a deletion done first would leave nothing to copy. Nobody learns it who sees no people."""
    copy, case = host.submit_many([asked(type="copy", days=90), asked()])
    page = agent.get(f"/requests/{case}").text
    said = page[page.index("This person also has") :]
    said = said[: said.index("</ul>")]
    assert (f'href="/requests/{copy}"' in said, "Copy" in said, "Review" in said, "overdue" in said) == (True, True, True, True)
    assert "Finish the copy first" in page
    host.workflow.accept(case, by=address(Role.AGENT))
    assert "Finish the copy first" in agent.get(f"/requests/{case}").text
    assert "This person also has" not in signed_in_as(Role.READ_ONLY).get(f"/requests/{case}").text


def test_what_was_only_typed_is_offered_to_the_one_that_goes_on(agent: Client, host: Host) -> None:
    """A box of its own, which is not ticked; the other's history says what came along, and that it is not proven."""
    told = {"type": "deletion", "channel": "privacy_center", "subject": {"email": "ada@example.com", "user_id": "u-7"}}
    first, second, third = host.submit(asked()), host.submit(Request.parse(told)), host.submit(Request.parse(told))
    assert "Take over what was only typed as well" in agent.get(f"/requests/{second}").text
    agent.form(f"/requests/{second}/merge", revision=revision(host, second), into=first)
    assert host.request(first).subject.all(ControllerId) == ()
    agent.form(f"/requests/{third}/merge", revision=revision(host, third), into=first, typed="1")
    assert [identity.verified_by for identity in host.request(first).subject.all(ControllerId)] == [None]
    assert f"Identifiers were taken over from {third} (controller_id, not proven)" in agent.get(f"/requests/{first}/history").text


def test_a_request_can_be_withdrawn_assigned_and_given_more_time(agent: Client, host: Host) -> None:
    """Each is one press, and stands in the log."""
    number = host.submit(asked())
    due = host.workflow.get(number).due_at
    agent.form(f"/requests/{number}/assign", agent=BY)
    assert host.workflow.get(number).agent == BY
    assert agent.form(f"/requests/{number}/assign", agent=address(Role.READ_ONLY)).status_code == 400
    agent.form(f"/requests/{number}/extend", because="many systems")
    assert due is not None
    assert (host.workflow.get(number).due_at or due) > due
    agent.form(f"/requests/{number}/pause", because="which account", revision=revision(host, number))
    assert "Clock stopped" in agent.get("/requests").text
    agent.form(f"/requests/{number}/resume", revision=revision(host, number))
    agent.form(f"/requests/{number}/withdraw", revision=revision(host, number))
    assert host.workflow.get(number).decision == "withdrawn"


def test_a_proof_of_identity_is_attached_and_comes_back_as_a_download(agent: Client, host: Host) -> None:
    """Never shown by the browser itself, and every look is noted."""
    number = host.submit(asked(channel="privacy_center"))
    agent.form(f"/requests/{number}/files", files={"file": ("pass <ü>.pdf", b"%PDF-1.7 passport", "text/html")})
    page = agent.get(f"/requests/{number}").text
    href = re.findall(rf'href="(/requests/{number}/files/\d+)"', page)[0]
    got = agent.get(href)
    assert got.content == b"%PDF-1.7 passport"
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["content-disposition"].startswith("attachment;")
    assert "file.read" in [event["event"] for event in host.history(number)]
    other = host.submit(asked(email="b@example.com"))
    assert agent.get(href.replace(number, other)).status_code == 404
    assert agent.form(f"/requests/{number}/files", files={"file": ("x.exe", b"MZ\x00\x01\x02", "text/plain")}).status_code == 400


# --- who sees what -------------------------------------------------------------------------------------------------------------------------


def test_a_reader_sees_the_request_but_not_the_person(signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """No name, no address, no conversation, and nothing is opened."""
    number = host.submit(asked(email_evidence=EVIDENCE))
    host.conversation.note(number, "secret remark", by=BY)
    reader = signed_in_as(Role.READ_ONLY)
    for path in ("", "/history"):
        page = reader.get(f"/requests/{number}{path}").text
        assert "Deletion" in page
        for secret in ("Lovelace", "ada@example.com", "secret remark", "Letter 1"):
            assert secret not in page
    assert "request.read" not in [event["event"] for event in host.history(number)]
    assert reader.form(f"/requests/{number}/accept", revision="0").status_code == 403
    assert reader.get(f"/requests/{number}/record.json?personal=1").status_code == 403


def test_support_talks_but_decides_nothing(signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """They see the person and the conversation; the buttons of decisions are not there."""
    number = host.submit(asked())
    support = signed_in_as(Role.SUPPORT)
    page = support.get(f"/requests/{number}").text
    assert "Ada Lovelace" in page
    assert "Message user" in page
    for button in ("/accept", "/reject", "/withdraw", "/verify"):
        assert f'action="/requests/{number}{button}"' not in page


def test_a_request_that_is_none_is_not_there(agent: Client) -> None:
    """404, for a number and for nonsense."""
    assert agent.get("/requests/DSR-0000-0000-0000-0000").status_code == 404
    assert agent.get("/requests/nonsense").status_code == 404


# --- conversation --------------------------------------------------------------------------------------------------------------------------


def test_messages_answers_and_notes_stand_in_the_conversation(agent: Client, host: Host, inbox: Inbox) -> None:
    """A message leaves by mail, the answer comes back new, a note leaves to nobody; all of it escaped."""
    number = host.submit(asked())
    agent.form(f"/requests/{number}/message", body="Which shop?", kind="message")
    agent.form(f"/requests/{number}/message", body="Two accounts", kind="note")
    assert len(inbox.letters) == 1
    token = re.findall(rf"/p/{Purpose.ANSWER}/(\S+)", inbox.texts[0])[0]
    host.conversation.answer(token, f"The one in Bonn {SCRIPT}")
    assert "New answer" in agent.get("/requests").text
    page = agent.get(f"/requests/{number}").text
    assert "Which shop?" in page
    assert "only for colleagues" in page
    assert "The one in Bonn &lt;script&gt;" in page
    assert "New answer" not in agent.get("/requests").text
    assert "What was said on other platforms is not shown." not in page


def test_every_mail_of_the_request_stands_in_the_conversation(agent: Client, host: Host, inbox: Inbox) -> None:
    """What it was, when, to whom in part, and how far it has come; its text where it is kept; no link and no code that is the person's alone.
    Shredded, nothing of it is left."""
    number = host.submit(asked(channel="privacy_center"))
    assert "Nothing was said or sent here yet" in agent.get(f"/requests/{number}").text
    host.conversation.ask_to_verify(number, by=BY)
    host.conversation.message(number, "Which shop?", by=BY)
    inbox.answer = "451 later"
    host.workflow.reject(number, Reason.NO_MATCH, by=BY)

    def said() -> str:
        text: str = agent.get(f"/requests/{number}").text
        talk = text[text.index('id="conversation"') :]
        return " ".join(re.sub(r"<[^>]+>", " ", talk[: talk.index("</section>")]).split())

    assert re.search(r"Verification e-mail .*E-mail to a…@example\.com, sent .* UTC", said())
    assert "Which shop? E-mail to a…@example.com, sent" in said()
    assert "ada@example.com" not in said()
    assert "/p/verify/" not in said()
    inbox.answer = "250 OK"
    host.replies.edit(number, subject="Your request", body="We know nobody of this name.", by=BY)
    host.replies.close(number, by=BY, revision=host.workflow.get(number).revision)
    assert re.search(r"Reply .*Read it Your request We know nobody of this name\.", said())
    assert [entry.mail.mail.kind for entry in correspondence(host, number) if entry.mail] == ["verify", "message", "reply"]
    host.shred(number, by=BY)
    assert correspondence(host, number) == []


def test_a_message_that_cannot_be_sent_is_kept_in_the_form(agent: Client, host: Host) -> None:
    """The person has no address: what was typed is there still."""
    number = host.submit(asked(channel="privacy_center"))
    empty = agent.form(f"/requests/{number}/message", body="   ", kind="message")
    assert empty.status_code == 400
    assert "Is empty" in empty.text
    long = agent.form(f"/requests/{number}/message", body="x" * 9000, kind="message")
    assert long.status_code == 400
    assert "x" * 9000 in long.text


def test_a_mail_in_doubt_is_settled_by_a_person(agent: Client, host: Host, inbox: Inbox) -> None:
    """The server hung up: the page asks, and sends again only when told to."""
    number = host.submit(asked())
    inbox.vanish = True
    agent.form(f"/requests/{number}/message", body="Which shop?", kind="message")
    page = agent.get(f"/requests/{number}").text
    assert "Nobody knows whether an e-mail to the person was sent" in page
    sent, again = re.findall(rf'action="(/requests/{number}/mails/\d+/(?:sent|again))"', page)
    other = host.submit(asked(email="b@example.com"))
    assert agent.form(sent.replace(number, other)).status_code == 400
    assert agent.form(sent).status_code == 303
    assert "Nobody knows" not in agent.get(f"/requests/{number}").text
    assert agent.form(again).status_code == 409
    assert len(inbox.letters) == 1


# --- closed --------------------------------------------------------------------------------------------------------------------------------


def _closed(host: Host) -> str:
    number = host.submit(asked("do_not_mail"))
    host.workflow.accept(number, by=BY)
    host.workflow.finish(number, by=BY, all_done=True)
    host.replies.close(number, by=BY, revision=host.workflow.get(number).revision)
    return number


def test_the_closed_page_and_the_history(agent: Client, host: Host) -> None:
    """That it is closed, who handled it, every event, an unbroken chain."""
    number = _closed(host)
    page = agent.get(f"/requests/{number}").text
    assert "Closed. The request was fulfilled." in page
    assert "See request history" in page
    assert "the chain is unbroken" in page
    assert "Handled by Person agent" in page
    history = agent.get(f"/requests/{number}/history").text
    for sentence in ("The request was received", "The request was accepted and is being processed.", "The request was closed."):
        assert sentence in history
    assert "The log is unbroken" in history
    assert re.findall(r"<title>(.*?)</title>", history) == [f"History of {number} – Example GmbH"]


def test_the_closed_page_of_a_copy(agent: Client, signed_in_as: Callable[[Role], Client], host: Host, inbox: Inbox) -> None:
    """When each data source gave its part and who says so, with their note, what was left out in review, and whether the person has fetched it."""
    number = host.submit(asked(type="copy"))
    host.workflow.accept(number, by=BY, sources=["shop", "cabinet"])
    host.processing.search(number)
    host.processing.give_free(number, ["shop"], by=BY)
    host.processing.run(number)
    host.processing.mark_done(number, "cabinet", by=BY, result="elsewhere", note="handed over on the fourth floor")
    host.delivery.generate(number, by=BY)
    host.workflow.finish(number, by=BY)
    host.replies.close(number, by=BY, revision=host.workflow.get(number).revision)
    assert "Note: handed over on the fourth floor" in agent.get(f"/requests/{number}").text
    assert "Note: handed over on the fourth floor" in agent.get(f"/requests/{number}/history").text
    assert "fourth floor" not in signed_in_as(Role.READ_ONLY).get(f"/requests/{number}").text

    def rows() -> list[str]:
        page = agent.get(f"/requests/{number}").text
        table = page[page.index('id="result"') :]
        return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in table[: table.index("</table>")].split("<tr>")[2:]]

    shop, cabinet, paper = sorted(rows(), key=lambda row: ("Left out" in row, "Person agent" in row))
    assert re.fullmatch(r".* Collected \d+ \w+ \d{4}, \d\d:\d\d UTC The vendor", shop)
    assert re.fullmatch(r".* Answered separately \d+ \w+ \d{4}, \d\d:\d\d UTC Person agent Note: handed over on the fourth floor", cabinet)
    assert re.fullmatch(r".* Left out in review – –", paper)
    assert "Not fetched yet. The link ends" in " ".join(re.sub(r"<[^>]+>", " ", agent.get(f"/requests/{number}").text).split())
    assert re.search(r"can be used once, until \d+ \w+ \d{4}\.", inbox.texts[-1])
    token = re.findall(r"/p/copy/(\S+)", inbox.texts[-1])[0]
    host.delivery.send_code(token)
    _, blocks = host.delivery.fetch(token, re.findall(r"\b(\d{6})\b", inbox.texts[-1])[0])
    assert len(b"".join(blocks))
    assert "The person fetched it" in agent.get(f"/requests/{number}").text


def test_a_broken_log_is_shown_as_broken(agent: Client, host: Host) -> None:
    """Someone has changed the ledger behind our back."""
    number = _closed(host)
    with host.ledger.engine.begin() as connection:
        connection.execute(cases.update().where(cases.c.case == number).values(stage="reply", ended_at=None))
    assert "The log is broken" in agent.get(f"/requests/{number}/history").text


def test_the_record_comes_as_json_and_pdf(agent: Client, host: Host) -> None:
    """Without personal data unless it is asked for; each is noted."""
    number = _closed(host)
    plain = agent.get(f"/requests/{number}/record.json")
    assert plain.headers["content-disposition"] == f'attachment; filename="{number}-record.json"'
    assert "Lovelace" not in plain.text
    assert json.loads(plain.text)["chain"]["verified"] is True
    assert "Lovelace" in agent.get(f"/requests/{number}/record.json?personal=1").text
    pdf = agent.get(f"/requests/{number}/record.pdf")
    assert pdf.headers["content-disposition"] == f'attachment; filename="{number}-record.pdf"'
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    personal = agent.get(f"/requests/{number}/record.pdf?personal=1")
    assert personal.headers["content-disposition"] == f'attachment; filename="{number}-personal.pdf"'
    assert [event["event"] for event in host.history(number)].count("record.exported") == 4


def test_a_shredded_request_still_has_its_pages(admin: Client, host: Host) -> None:
    """The person is gone from them; number, dates and log stay."""
    number = _closed(host)
    open_one = host.submit(asked(email="b@example.com"))
    assert admin.form(f"/requests/{open_one}/shred").status_code == 400
    assert admin.form(f"/requests/{number}/shred").status_code == 303
    page = admin.get(f"/requests/{number}")
    assert page.status_code == 200
    assert "The personal data of this request is destroyed" in page.text
    assert "Lovelace" not in page.text
    history = admin.get(f"/requests/{number}/history")
    assert history.status_code == 200
    assert "was destroyed in our own store" in history.text
    assert admin.get(f"/requests/{number}/record.json").status_code == 200
    assert number in admin.get("/requests?view=closed").text


# --- in a browser --------------------------------------------------------------------------------------------------------------------------


def test_review_by_keyboard_alone(browse: Callable[..., Page], host: Host) -> None:
    """From the list to processing without a mouse; Escape closes what asks, and nothing is done by it."""
    number = host.submit(asked())
    page = browse(Role.AGENT)
    page.goto("/requests")
    page.get_by_role("link", name=number).focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/requests/{number}")
    asking = page.locator("summary", has_text="Continue")
    asking.focus()
    page.keyboard.press("Enter")
    inside = page.locator(".confirm-body", has_text="not be able to go back").get_by_role("button", name="Continue")
    inside.wait_for()
    inside.focus()
    page.keyboard.press("Escape")
    assert not inside.is_visible()
    assert host.workflow.get(number).stage == "review"
    page.keyboard.press("Enter")
    inside.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Data sources", exact=True).wait_for()
    assert host.workflow.get(number).stage == "process"
