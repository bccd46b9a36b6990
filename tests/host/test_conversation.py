"""The conversation with the person: mail out, answers by a link, notes among agents, and the mail that verifies an address."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from dsr_sdk import Request
from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.conversation import MAX_ANSWERS, MAX_TEXT
from dsr_sdk.host.answers.links import LinkError
from dsr_sdk.host.answers.outbox import MailState
from dsr_sdk.host.cases.workflow import Reason
from tests.smtp import Inbox
from tests.world import World, ended

BY = "alice@example.com"
TO = "canary@example.com"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0" * 40


def opened(world: World, inbox: Inbox | None, **more: Any) -> tuple[Host, str]:
    world.mail = inbox.toml if inbox is not None else ""
    world.tables = '[workflow]\npublic_url = "https://privacy.example.com"'
    host = world.open()
    data = {"type": "deletion", "channel": "privacy_center", "subject": {"email": TO, "first_name": "Ada", "last_name": "L"}, **more}
    return host, host.submit(Request.parse(data))


def token_of(inbox: Inbox, purpose: str, letter: int = -1) -> str:
    return inbox.texts[letter].split(f"https://privacy.example.com/p/{purpose}/")[1].split()[0]


def events(host: Host, case: str) -> list[str]:
    return [event["event"] for event in host.history(case)]


def test_message_and_answer(world: World, inbox: Inbox) -> None:
    """A mail with a link; the answer behind it is in the conversation, unread until an agent looks."""
    host, case = opened(world, inbox)
    host.conversation.message(case, "Which account\ndo you mean?", by=BY)
    (text,) = inbox.texts
    assert text.startswith("Which account")
    assert case in text
    token = token_of(inbox, "answer")
    host.conversation.answer(token, "The one\r\nof 2019\x00 <script>alert(1)</script>")
    assert host.conversation.unread(case) == 1
    out, back = host.conversation.of(case)
    assert (out.direction, out.author, out.body, out.mail_state, out.read) == ("out", BY, "Which account\ndo you mean?", MailState.SENT, True)
    assert (back.direction, back.author, back.body) == ("in", "subject", "The one\nof 2019 <script>alert(1)</script>")
    assert not back.read
    assert not host.conversation.of(case, by=BY)[1].read  # as the agent finds it
    assert host.conversation.of(case)[1].read
    assert host.conversation.unread(case) == 0
    host.conversation.of(case, by="bob@example.com")
    assert events(host, case).count("messages.read") == 1
    stored = repr(host.history(case)) + repr(host.conversation.of(case))
    with host.conversation.reading() as connection:
        stored += repr([tuple(row) for row in connection.exec_driver_sql("SELECT * FROM messages")])
    for secret in ("2019", "Which account", "canary", token):
        assert secret not in stored


def test_in_the_persons_language(sqlite_world: World, inbox: Inbox) -> None:
    """What frames the agent's words is in the language of the request, or the nearest there is."""
    host, case = opened(sqlite_world, inbox, language="de-CH")
    host.conversation.message(case, "Bonjour", by=BY)
    assert "Zum Antworten" in inbox.texts[0]
    long = "word " * 1_500
    host.conversation.message(case, long, by=BY)
    assert inbox.texts[1].split().count("word") == 1_500


def test_a_message_waits_for_the_server(world: World, inbox: Inbox) -> None:
    """Put off: it stands in the conversation as waiting, and a sweep sends it. Refused: the conversation says so."""
    host, case = opened(world, inbox)
    inbox.answer = "451 later"
    host.conversation.message(case, "Hello", by=BY)
    assert host.conversation.of(case)[0].mail_state is MailState.READY
    inbox.answer = "250 OK"
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        assert host.outbox.sweep() == 1
    assert host.conversation.of(case)[0].mail_state is MailState.SENT
    inbox.refuse[TO] = "550 5.1.1 no"
    host.conversation.message(case, "Hello again", by=BY)
    message = host.conversation.of(case)[1]
    assert message.mail_state is MailState.FAILED
    assert message.mail is not None
    assert "550" in host.outbox.get(message.mail).error


def test_notes_stay_among_agents(world: World, inbox: Inbox) -> None:
    """A note is in the conversation of the agents, in no mail, and not behind the person's link; nor is what they sent themselves."""
    host, case = opened(world, inbox)
    host.conversation.message(case, "Hello", by=BY)
    host.conversation.note(case, "looks odd", by=BY)
    token = token_of(inbox, "answer")
    host.conversation.answer(token, "my passport number is 123")
    thread = host.conversation.thread(token)
    assert [message.body for message in thread.messages] == ["Hello"]
    assert (thread.case, thread.company, thread.answers_left) == (case, "Example GmbH", MAX_ANSWERS - 1)
    assert [message.direction for message in host.conversation.of(case)] == ["out", "note", "in"]
    assert len(inbox.letters) == 1


def test_answers_are_bounded(sqlite_world: World, inbox: Inbox) -> None:
    """Too long, empty, too many, too late, of another case: refused, and nothing of it is kept."""
    host, case = opened(sqlite_world, inbox)
    host.conversation.message(case, "Hello", by=BY)
    token = token_of(inbox, "answer")
    for body in ("", " \x00\n", "x" * (MAX_TEXT + 1)):
        with pytest.raises(RequestError) as caught:
            host.conversation.answer(token, body)
        assert caught.value.field == "body"
    for number in range(MAX_ANSWERS):
        host.conversation.answer(token, f"answer {number}")
    with pytest.raises(LinkError):
        host.conversation.answer(token, "one more")
    assert host.conversation.unread(case) == MAX_ANSWERS
    host.conversation.message(case, "Hello", by=BY)
    late = token_of(inbox, "answer")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=15)), pytest.raises(LinkError):
        host.conversation.answer(late, "late")
    for wrong in ("", "nonsense", late[:-1]):
        with pytest.raises(LinkError):
            host.conversation.answer(wrong, "x")
        with pytest.raises(LinkError):
            host.conversation.confirm_address(wrong)
    with pytest.raises(LinkError):
        host.conversation.confirm_address(late)  # of another purpose


def test_a_case_takes_so_many_answers(sqlite_world: World, inbox: Inbox) -> None:
    """However many links there are, one person cannot fill the ledger."""
    host, case = opened(sqlite_world, inbox)
    for _ in range(5):
        host.conversation.message(case, "Hello", by=BY)
        for number in range(MAX_ANSWERS):
            host.conversation.answer(token_of(inbox, "answer"), str(number))
    host.conversation.message(case, "Hello", by=BY)
    with pytest.raises(RequestError, match="too many answers"):
        host.conversation.answer(token_of(inbox, "answer"), "x")
    assert host.conversation.unread(case) == 5 * MAX_ANSWERS


def test_files(sqlite_world: World, inbox: Inbox) -> None:
    """The person sends a picture; an agent sends one that can be fetched behind the link. What the person sent does not come out there again."""
    host, case = opened(sqlite_world, inbox)
    sent = host.files.attach(case, io.BytesIO(PNG), name="form.png", media_type="image/png", purpose="message", by=BY)
    host.conversation.message(case, "Please see", by=BY, files=[sent.id])
    assert "We have added files" in inbox.texts[0]
    token = token_of(inbox, "answer")
    info, pieces = host.conversation.fetch(token, sent.id)
    assert (info.name, b"".join(pieces)) == ("form.png", PNG)
    host.conversation.answer(token, "here", [(io.BytesIO(PNG), "passport.png", "image/png")])
    (received,) = host.conversation.of(case)[1].files
    assert received.created_by == "subject"
    for file in (received.id, 999):
        with pytest.raises(LinkError):
            host.conversation.fetch(token, file)
    with pytest.raises(RequestError, match="no such file"):
        host.conversation.message(case, "x", by=BY, files=[999])


def test_an_answer_whose_file_is_refused(sqlite_world: World, inbox: Inbox) -> None:
    """One file of two is not taken: nothing is kept, and the link is as good as before."""
    host, case = opened(sqlite_world, inbox)
    host.conversation.message(case, "Hello", by=BY)
    token = token_of(inbox, "answer")
    with pytest.raises(RequestError):
        host.conversation.answer(token, "x", [(io.BytesIO(PNG), "a.png", "image/png"), (io.BytesIO(b"MZ\x90\0" * 99), "b.exe", "image/png")])
    with pytest.raises(RequestError, match="at most 5 files"):
        host.conversation.answer(token, "x", [(io.BytesIO(PNG), "a.png", "image/png")] * 6)
    assert host.files.of(case) == []
    assert host.conversation.thread(token).answers_left == MAX_ANSWERS
    assert host.conversation.unread(case) == 0


# --- verification ---------------------------------------------------------------------------------------------------------------------


def test_verified_by_mail(world: World, inbox: Inbox) -> None:
    """The button behind the link proves the address; opening the page alone does not, and the link works once."""
    host, case = opened(world, inbox)
    assert host.workflow.get(case).verified_by is None
    host.conversation.ask_to_verify(case, by=BY)
    (text,) = inbox.texts
    assert text.startswith("Dear Ada L,")
    token = token_of(inbox, "verify")
    host.conversation.confirm_address(token)
    assert host.workflow.get(case).verified_by == "email"
    proven = [(event["actor"], event["data"]["method"]) for event in host.history(case) if event["event"] == "identity.verified"]
    assert proven == [("subject", "email")]
    with pytest.raises(LinkError):
        host.conversation.confirm_address(token)
    with pytest.raises(ConflictError, match="verified already"):
        host.conversation.ask_to_verify(case, by=BY)
    host.workflow.accept(case, by=BY)


def test_asked_twice(world: World, inbox: Inbox) -> None:
    """The newest mail's link counts."""
    host, case = opened(world, inbox)
    host.conversation.ask_to_verify(case, by=BY)
    host.conversation.ask_to_verify(case, by=BY)
    old, new = token_of(inbox, "verify", 0), token_of(inbox, "verify", 1)
    with pytest.raises(LinkError):
        host.conversation.confirm_address(old)
    host.conversation.confirm_address(new)


def test_where_the_law_forbids_to_ask(sqlite_world: World, inbox: Inbox) -> None:
    """A Californian who opts out of sale is asked to prove nothing, not even by a kind mail."""
    host, case = opened(sqlite_world, inbox, type="do_not_sell", regime="us_ca_ccpa")
    with pytest.raises(RequestError, match="law forbids"):
        host.conversation.ask_to_verify(case, by=BY)
    assert not inbox.letters


def test_a_proof_that_comes_too_late(sqlite_world: World, inbox: Inbox) -> None:
    """The request was rejected meanwhile: the link proves nothing any more. A stronger proof that was there before stays."""
    host, case = opened(sqlite_world, inbox)
    host.conversation.ask_to_verify(case, by=BY)
    late = token_of(inbox, "verify")
    host.workflow.reject(case, Reason.NOT_VERIFIED, by=BY)
    with pytest.raises(LinkError):
        host.conversation.confirm_address(late)
    with pytest.raises(ConflictError):
        host.conversation.ask_to_verify(case, by=BY)
    other = host.submit(Request.parse({"type": "deletion", "channel": "privacy_center", "subject": {"email": "bob@example.com"}}))
    host.conversation.ask_to_verify(other, by=BY)
    from dsr_sdk.host.cases.verification import Method

    host.workflow.verify(other, Method.DOCUMENT, by=BY)
    host.conversation.confirm_address(token_of(inbox, "verify"))
    assert host.workflow.get(other).verified_by == "document"


def test_nobody_to_write_to(sqlite_world: World, inbox: Inbox) -> None:
    """A person known by a number only cannot be mailed, and that is said without naming anything."""
    host, case = opened(sqlite_world, inbox, subject={"user_id": "canary-1"})
    for act in (lambda: host.conversation.message(case, "x", by=BY), lambda: host.conversation.ask_to_verify(case, by=BY)):
        with pytest.raises(RequestError, match="no e-mail address") as caught:
            act()
        assert "canary" not in str(caught.value)
    assert host.conversation.note(case, "called them", by=BY)


def test_shredded(sqlite_world: World, inbox: Inbox) -> None:
    """Shredding ends the conversation: its texts, its links, and what was not sent."""
    host, case = opened(sqlite_world, inbox)
    host.conversation.message(case, "Hello", by=BY)
    token = token_of(inbox, "answer")
    ended(host, case)
    host.shred(case)
    assert host.conversation.of(case) == []
    with pytest.raises(LinkError):
        host.conversation.answer(token, "x")
    with pytest.raises(LinkError):
        host.conversation.thread(token)
