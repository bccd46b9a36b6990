"""*Reply & close*: one action, one mail, and a case that is closed only when its reply has left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
import time_machine

from dsr_sdk import ConfigError, RejectedError, Request, RequestType, TransientError, hookimpl
from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.host.answers.outbox import MailState
from dsr_sdk.host.answers.templates import COPY_LINK, COPY_UNTIL, Template
from dsr_sdk.host.cases.workflow import Reason
from tests.smtp import Inbox
from tests.toys import Manually, Revealing, Toy
from tests.world import World

BY = "alice@example.com"
TO = "canary@example.com"


class Titled(Revealing):
    """It says what people call what it keeps."""

    slug, title = "titled", "Titled"
    holds = (Revealing.holds[0], Revealing.holds[1], replace(Revealing.holds[2], title="payments"))


class Killed(BaseException):
    """The process ends here."""


class Told:
    """An observer of ends."""

    def __init__(self) -> None:
        self.closed: list[tuple[str, RequestType]] = []

    @hookimpl
    def dsr_request_closed(self, case: str, type: RequestType) -> None:
        self.closed.append((case, type))


def opened(world: World, inbox: Inbox | None, **options: Any) -> Host:
    world.mail = inbox.toml if inbox is not None else ""
    world.tables = "[workflow]"
    return world.open(**options)


def rejected(host: Host, email: str | None = TO, **more: Any) -> str:
    subject = {"email": email, "first_name": "Ada"} if email else {"user_id": "u-1"}
    case = host.submit(Request.parse({"type": "deletion", "subject": subject, **more}))
    host.workflow.reject(case, Reason.NO_MATCH, by=BY)
    return case


def revision(host: Host, case: str) -> int:
    return host.workflow.get(case).revision


def stage(host: Host, case: str) -> str | None:
    return host.workflow.get(case).stage


def events(host: Host, case: str) -> list[str]:
    return [event["event"] for event in host.history(case)]


def test_reply_and_close(world: World, inbox: Inbox) -> None:
    """The pre-filled text leaves, then the case is closed; observers are told once; which text in which language is recorded."""
    told = Told()
    host = opened(world, inbox, plugins=[told])
    case = rejected(host, language="de-AT")
    host.replies.close(case, by=BY, revision=revision(host, case))
    (text,) = inbox.texts
    assert text.startswith("Guten Tag Ada,")
    assert (stage(host, case), told.closed) == ("closed", [(case, RequestType.DELETION)])
    assert host.workflow.get(case).ended_at is not None
    data = next(event["data"] for event in host.history(case) if event["event"] == "reply.sent")
    assert (data["template"], data["language"], data["asked"]) == ("deletion.rejected.de", "de", "de-AT")
    reply = host.replies.get(case)
    assert (reply.state, reply.body.split()) == (MailState.SENT, text.split())
    with pytest.raises(ConflictError):
        host.replies.close(case, by=BY)
    assert len(inbox.letters) == 1
    assert "canary" not in repr(host.history(case)) + repr(reply)


@pytest.mark.parametrize(
    ("language", "words"), [("en", "except at: Toy"), ("de", "ausgenommen: Toy"), ("fr", "sauf auprès de : Toy"), ("es", "salvo en: Toy")]
)
def test_the_reply_names_what_was_left_out(sqlite_world: World, inbox: Inbox, language: str, words: str) -> None:
    """It does not say that all was carried out; nor does the record, nor the dashboard."""
    vendor = sqlite_world.add("shop", Toy, None, TO)
    vendor.poisoned.add("shop-1")
    host = opened(sqlite_world, inbox)
    case = host.submit(Request.parse({"type": "deletion", "subject": {"email": TO}, "language": language, "channel": "api"}))
    host.workflow.accept(case, by=BY)
    host.processing.search(case)
    host.processing.give_free(case, ["shop"], by=BY)
    host.processing.run(case)
    host.processing.override(case, "shop", by=BY, reason="they are bankrupt")
    assert host.processing.panel(case).confirm == "Everything else was deleted (not: Toy)"
    host.workflow.finish(case, by=BY, all_done=True)
    (said,) = [entry["data"]["text"] for entry in host.history(case) if entry["event"] == "processing.confirmed"]
    assert said == "everything else was deleted (not: Toy)"
    assert words in host.replies.get(case).body
    (stats,) = host.inbox.dashboard().sources
    assert (stats.done, stats.failed, stats.waiting) == (0, 0, 0)


def test_the_reply_to_a_deletion(sqlite_world: World, inbox: Inbox) -> None:
    """It lists each data source with what became of it, and what is kept and why, with the right to complain about that."""
    sqlite_world.add("crm", Revealing, None, TO)
    sqlite_world.add("shop", Toy)
    sqlite_world.add("cabinet", Manually)
    host = opened(sqlite_world, inbox)
    case = host.submit(Request.parse({"type": "deletion", "regime": "eu_gdpr", "subject": {"email": TO, "first_name": "Ada"}}))
    host.workflow.accept(case, by=BY)
    host.processing.search(case)
    before = host.replies.get(case)
    host.processing.give_free(case, ["crm"], by=BY)
    host.processing.mark_done(case, "cabinet", by=BY)
    host.processing.run(case)
    host.workflow.finish(case, by=BY, all_done=True)
    host.replies.close(case, by=BY)
    (text,) = inbox.texts
    lines = text.splitlines()
    assert "- Revealing: deleted" in lines
    assert "- Toy: no data of yours found" in lines
    assert "- Cabinet: looked through by hand, done" in lines
    assert "- Revealing (invoice): tax law, ten years" in lines
    assert "We looked in:" in lines
    assert "complaint with a data protection supervisory authority" in text
    assert "not carried out" in before.body


def test_what_is_kept_is_called_what_people_call_it(sqlite_world: World, inbox: Inbox) -> None:
    """By the title that the connector declares for it."""
    sqlite_world.add("crm", Titled, None, TO)
    host = opened(sqlite_world, inbox)
    case = host.submit(Request.parse({"type": "deletion", "subject": {"email": TO}}))
    host.workflow.accept(case, by=BY)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=BY)
    host.processing.run(case)
    host.workflow.finish(case, by=BY, all_done=True)
    assert "- Titled (payments): tax law, ten years" in host.replies.get(case).body.splitlines()


@pytest.mark.parametrize(
    ("language", "until", "looked"),
    [
        ("en", "until 29 November 2026.", "We looked in:"),
        ("de", "bis zum 29. November 2026.", "Wir haben nachgesehen in:"),
        ("fr", "jusqu'au 29 novembre 2026.", "Nous avons cherché dans :"),
        ("es", "hasta el 29 de noviembre de 2026.", "Hemos buscado en:"),
    ],
)
def test_a_copy_s_letter_says_until_when(sqlite_world: World, inbox: Inbox, language: str, until: str, looked: str) -> None:
    """The day on which the link ends, in the letter's language, counted from the day it leaves, however old the text is."""
    sqlite_world.add("crm", Toy, None, TO)
    host = opened(sqlite_world, inbox)
    with time_machine.travel(datetime(2026, 11, 12, 9, tzinfo=UTC)) as clock:
        case = host.submit(Request.parse({"type": "copy", "language": language, "subject": {"email": TO}}))
        host.workflow.accept(case, by=BY)
        host.processing.search(case)
        host.processing.give_free(case, ["crm"], by=BY)
        host.processing.run(case)
        host.delivery.generate(case, by=BY)
        host.workflow.finish(case, by=BY, all_done=True)
        reply = host.replies.get(case)
        assert COPY_UNTIL in reply.body
        host.replies.edit(case, subject=reply.subject, body=reply.body, by=BY)
        clock.move_to(datetime(2026, 11, 22, 9, tzinfo=UTC))
        host.replies.close(case, by=BY)
    (text,) = inbox.texts
    assert until in text
    assert looked in text
    assert COPY_UNTIL not in text


def test_edited_while_processing(world: World, inbox: Inbox) -> None:
    """An agent writes the reply while the case is processed. The text leaves as it stands, braces and all; when the facts change, it says so."""
    world.add("crm", Toy, None, TO)
    host = opened(world, inbox)
    case = host.submit(Request.parse({"type": "deletion", "subject": {"email": TO, "first_name": "Ada"}}))
    with pytest.raises(ConflictError):
        host.replies.edit(case, subject="x", body="y", by=BY)
    host.workflow.accept(case, by=BY)
    host.replies.edit(case, subject="Your data", body="Dear Ada,\r\n{{ first_name }} <script>", by=BY)
    reply = host.replies.get(case)
    assert (reply.subject, reply.body, reply.edited_by, reply.outdated) == ("Your data", "Dear Ada,\n{{ first_name }} <script>\n", BY, False)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=BY)
    host.processing.run(case)
    assert host.replies.get(case).outdated
    host.replies.edit(case, by=BY, template=reply.template)
    fresh = host.replies.get(case)
    assert "Toy: deleted" in fresh.body
    assert not fresh.outdated
    host.replies.edit(case, subject="Your data", body="{{ first_name }} <script>", by=BY)
    host.workflow.finish(case, by=BY, all_done=True)
    host.replies.close(case, by=BY)
    assert inbox.texts[0].splitlines() == ["{{ first_name }} <script>"]
    with host.replies.reading() as connection:
        assert "script" not in repr([tuple(row) for row in connection.exec_driver_sql("SELECT * FROM replies")])


@pytest.mark.parametrize(
    ("field", "value"), [("subject", "a\r\nBcc: evil@example.com"), ("subject", "=?x?="), ("body", " "), ("body", "x" * 60_000), ("mode", "fax")]
)
def test_what_cannot_be_a_reply(sqlite_world: World, inbox: Inbox, field: str, value: str) -> None:
    """Refused when it is written, not when it is sent."""
    host = opened(sqlite_world, inbox)
    case = rejected(host)
    with pytest.raises(RequestError) as caught:
        host.replies.edit(case, **{"subject": "x", "body": "y", "by": BY, field: value})  # type: ignore[arg-type]  # a field of text
    assert caught.value.field == field
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "refuse", "error", "said"),
    [
        ("451 4.3.0 later", None, TransientError, r"the reply was not sent, so the case stays in reply: .*451"),
        ("250 OK", "550 5.1.1 no canary", RejectedError, r"the reply was not sent, so the case stays in reply: .*naming the recipient \(550 5.1.1\)"),
    ],
)
def test_the_mail_cannot_be_sent(world: World, inbox: Inbox, answer: str, refuse: str | None, error: type[Exception], said: str) -> None:
    """The case stays in reply with a clear error and its text; corrected and pressed again it leaves once."""
    told = Told()
    host = opened(world, inbox, plugins=[told])
    case = rejected(host)
    host.replies.edit(case, subject="Hello", body="kept", by=BY)
    inbox.answer = answer
    if refuse:
        inbox.refuse[TO] = refuse
    with pytest.raises(error, match=said) as caught:
        host.replies.close(case, by=BY, revision=revision(host, case))
    assert "canary" not in str(caught.value)
    reply = host.replies.get(case)
    assert (stage(host, case), reply.body, told.closed) == ("reply", "kept\n", [])
    assert reply.state in (MailState.DROPPED, MailState.FAILED)
    assert reply.error
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1)):
        assert host.outbox.sweep() == 0
    inbox.answer = "250 OK"
    inbox.refuse.clear()
    host.replies.edit(case, subject="Hello", body="kept and corrected", by=BY)
    host.replies.close(case, by=BY)
    assert [text.strip() for text in inbox.texts] == ["kept and corrected"]
    assert (stage(host, case), len(told.closed)) == ("closed", 1)


def test_no_mail_server(world: World) -> None:
    """Without [mail] the case stays, and the error names the setting; closing without a reply works all the same."""
    host = opened(world, None)
    case = rejected(host)
    with pytest.raises(ConfigError, match=r"fill in \[mail\]"):
        host.replies.close(case, by=BY)
    assert stage(host, case) == "reply"
    host.replies.edit(case, mode="none", reason="told by telephone", by=BY)
    host.replies.close(case, by=BY)
    assert stage(host, case) == "closed"


def test_no_address(world: World, inbox: Inbox) -> None:
    """Someone known by a number only cannot be mailed: that is said, and nothing is closed in silence."""
    host = opened(world, inbox)
    case = rejected(host, None)
    with pytest.raises(RequestError, match="no e-mail address"):
        host.replies.close(case, by=BY)
    assert stage(host, case) == "reply"


def test_no_reply(world: World, inbox: Inbox) -> None:
    """To close without a reply needs a reason, which is kept sealed; that there was none is recorded."""
    told = Told()
    host = opened(world, inbox, plugins=[told])
    case = rejected(host)
    host.replies.edit(case, mode="none", by=BY)
    with pytest.raises(RequestError, match="needs a reason"):
        host.replies.close(case, by=BY)
    host.replies.edit(case, mode="none", reason="canary told us by telephone", by=BY)
    host.replies.close(case, by=BY, revision=revision(host, case))
    assert (inbox.letters, stage(host, case), len(told.closed)) == ([], "closed", 1)
    assert "reply.none" in events(host, case)
    assert "canary" not in repr(host.history(case))
    assert host.replies.get(case).reason == "canary told us by telephone"


def test_two_agents_write_at_once(world: World, inbox: Inbox) -> None:
    """Whoever has not seen the text that stands overwrites nothing, and sends nothing either; who has not looked at all is let be."""
    host = opened(world, inbox)
    case = rejected(host)
    seen = host.replies.get(case).revision
    assert (seen, host.replies.edit(case, subject="a", body="Hers", by=BY, revision=seen)) == (0, 1)
    with pytest.raises(ConflictError, match="someone else has changed the reply"):
        host.replies.edit(case, subject="b", body="His", by="bob@example.com", revision=seen)
    with pytest.raises(ConflictError, match="someone else has changed the reply"):
        host.replies.edit(case, mode="none", reason="told by telephone", by="bob@example.com", revision=seen)
    with pytest.raises(ConflictError, match="someone else has changed the reply"):
        host.replies.close(case, by="bob@example.com", text=seen)
    stands = host.replies.get(case)
    assert (stands.body, stands.edited_by, stands.revision, inbox.letters) == ("Hers\n", BY, 1, [])
    raised = together(4, lambda: host.replies.edit(case, subject="c", body="All at once", by=BY, revision=1))
    assert [type(error) for error in raised] == [ConflictError] * 3
    host.replies.edit(case, subject="d", body="Without looking", by=BY)
    host.replies.close(case, by=BY, revision=revision(host, case), text=3)
    assert [text.strip() for text in inbox.texts] == ["Without looking"]


@pytest.mark.parametrize("step", ["reply written", "before mail", "mail handover", "after mail", "reply sent"])
def test_killed(world: World, inbox: Inbox, step: str) -> None:
    """Wherever the program dies, the reply is never sent twice by itself. Where nobody can know, the case asks a person."""

    def dies(name: str) -> None:
        if name == step:
            raise Killed

    host = opened(world, inbox, on_step=dies)
    case = rejected(host)
    with pytest.raises(Killed):
        host.replies.close(case, by=BY)
    told = Told()
    host = opened(world, inbox, plugins=[told])
    assert stage(host, case) == "reply"
    doubtful = step in ("mail handover", "after mail")
    if doubtful:
        with pytest.raises(ConflictError, match="being sent at this moment"):
            host.replies.close(case, by=BY)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        host.outbox.sweep()
        if doubtful:
            for _ in range(2):
                with pytest.raises(ConflictError, match="not known whether the reply was sent"):
                    host.replies.close(case, by=BY)
                with pytest.raises(ConflictError, match="not known"):
                    host.replies.edit(case, subject="x", body="y", by=BY)
            assert host.replies.get(case).state is MailState.DOUBT
            assert len(inbox.letters) == (step == "after mail")
            host.replies.settle(case, sent=step == "after mail", by=BY)
        else:
            host.replies.close(case, by=BY)
    assert len(inbox.letters) == 1
    assert (stage(host, case), len(told.closed)) == ("closed", 1)


def test_in_doubt_and_sent_again(world: World, inbox: Inbox) -> None:
    """The server hung up instead of answering: a person has it sent again, under the same Message-ID, and the case is closed."""
    inbox.vanish = True
    host = opened(world, inbox)
    case = rejected(host)
    with pytest.raises(ConflictError, match="not known whether the reply was sent"):
        host.replies.close(case, by=BY)
    with pytest.raises(ConflictError, match="not known"):
        host.replies.close(case, by=BY)
    inbox.vanish = False
    host.replies.settle(case, sent=False, by=BY)
    identities = {message_from_bytes(letter.content, policy=policy.default)["Message-ID"] for letter in inbox.letters}
    assert (len(inbox.letters), len(identities), stage(host, case)) == (2, 1, "closed")
    with pytest.raises(ConflictError):
        host.replies.settle(case, sent=True, by=BY)


def together(count: int, act: Callable[[], object]) -> list[Exception]:
    """Run it in several threads at once; what they raised."""
    barrier = threading.Barrier(count)
    raised: list[Exception] = []

    def run() -> None:
        barrier.wait(10)
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the test looks at what it was
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("seen", [True, False])
def test_two_agents_press_at_once(world: World, inbox: Inbox, seen: bool) -> None:
    """One mail, one end; the others are told, whether they named what they had seen or not."""
    told = Told()
    host = opened(world, inbox, plugins=[told])
    case = rejected(host)
    now = revision(host, case) if seen else None
    raised = together(4, lambda: host.replies.close(case, by=BY, revision=now))
    assert all(isinstance(error, ConflictError) for error in raised)
    if stage(host, case) == "reply":  # they got in each other's way: nothing was sent, and pressing again does
        assert not seen
        host.replies.close(case, by=BY)
    assert len(inbox.letters) == 1
    assert (stage(host, case), len(told.closed), events(host, case).count("stage.closed")) == ("closed", 1, 1)


def test_the_link_to_the_copy(sqlite_world: World, inbox: Inbox) -> None:
    """It is made when the reply leaves, and only the mail holds it."""
    sqlite_world.add("crm", Toy, None, TO)
    host = opened(sqlite_world, inbox)
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": TO}}))
    host.workflow.accept(case, by=BY)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=BY)
    host.processing.run(case)
    host.delivery.generate(case, by=BY)
    host.workflow.finish(case, by=BY, all_done=True)
    assert COPY_LINK in host.replies.get(case).body
    inbox.answer = "451 later"
    with pytest.raises(TransientError):
        host.replies.close(case, by=BY)
    inbox.answer = "250 OK"
    host.replies.close(case, by=BY)
    (text,) = inbox.texts
    token = text.split("/p/copy/")[1].split()[0]
    assert host.links.look(token, Purpose.COPY).case == case
    assert COPY_LINK in host.replies.get(case).body
    with host.links.reading() as connection:
        mails = connection.exec_driver_sql("SELECT state, sealed FROM mails ORDER BY id").all()
        usable = connection.exec_driver_sql("SELECT count(*) FROM links WHERE uses_left > 0").scalar_one()
    assert [(row.state, row.sealed is None) for row in mails][-1] == ("sent", True)
    assert usable == 1


def test_two_send_the_link_to_the_copy(sqlite_world: World, inbox: Inbox) -> None:
    """Two agents press at once: the one mail that leaves holds the one link that opens."""
    sqlite_world.add("crm", Toy, None, TO)
    host = opened(sqlite_world, inbox)
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": TO}}))
    host.workflow.accept(case, by=BY)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=BY)
    host.processing.run(case)
    host.delivery.generate(case, by=BY)
    host.workflow.finish(case, by=BY, all_done=True)
    raised = together(4, lambda: host.replies.close(case, by=BY))
    assert all(isinstance(error, RequestError) for error in raised)
    if stage(host, case) == "reply":
        host.replies.close(case, by=BY)
    (text,) = inbox.texts
    assert host.links.look(text.split("/p/copy/")[1].split()[0], Purpose.COPY).case == case


def test_without_a_copy_there_is_no_link(sqlite_world: World, inbox: Inbox) -> None:
    """A reply that promises a copy is not sent while there is none."""
    host = opened(sqlite_world, inbox)
    case = host.submit(Request.parse({"type": "copy", "subject": {"email": TO}}))
    host.workflow.accept(case, by=BY, sources=())
    host.replies.edit(case, subject="x", body=f"Here: {COPY_LINK}", by=BY)
    with host.workflow.deciding() as (connection, _):
        current = host.workflow.held(connection, case)
        host.workflow.change(connection, current, stage="reply")
    with pytest.raises(RequestError):
        host.replies.close(case, by=BY)
    assert (stage(host, case), inbox.letters) == ("reply", [])


def test_links_end_with_the_case(sqlite_world: World, inbox: Inbox) -> None:
    """Who answers a closed case is told that the link is no good any more."""
    host = opened(sqlite_world, inbox)
    case = rejected(host)
    host.conversation.message(case, "Hello?", by=BY)
    token = inbox.texts[0].split("/p/answer/")[1].split()[0]
    host.conversation.thread(token)
    host.replies.close(case, by=BY)
    with pytest.raises(LinkError):
        host.conversation.answer(token, "late")


AUTOMATIC = Template(None, "Auto", "deletion", "rejected", "en", "No", "Sorry: {{ reason }}", preferred=True, automatic=True)


def test_automatic_replies(world: World, inbox: Inbox) -> None:
    """A template that says so replies and closes without an agent, once a case reaches reply; what an agent has written waits for the agent."""
    told = Told()
    host = opened(world, inbox, plugins=[told])
    case, touched, german = rejected(host), rejected(host), rejected(host, language="de")
    assert host.replies.automatic() == 0
    host.templates.save(AUTOMATIC, by=BY)
    host.replies.edit(touched, subject="Mine", body="Mine", by=BY)
    assert host.replies.automatic() == 1
    assert host.replies.automatic() == 0
    assert [stage(host, number) for number in (case, touched, german)] == ["closed", "reply", "reply"]
    assert len(inbox.letters) == len(told.closed) == 1
    closed = next(event for event in host.history(case) if event["event"] == "stage.closed")
    assert closed["actor"] == "host"


def test_automatic_replies_in_trouble(world: World, inbox: Inbox) -> None:
    """Put off is tried again after a while, refused waits for an agent, and one case's trouble is not another's."""
    host = opened(world, inbox)
    host.templates.save(AUTOMATIC, by=BY)
    case, refused = rejected(host), rejected(host, "nobody@example.com")
    inbox.answer = "451 later"
    inbox.refuse["nobody@example.com"] = "550 5.1.1 no"
    assert host.replies.automatic() == 0
    assert host.replies.automatic() == 0
    inbox.answer = "250 OK"
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        assert host.replies.automatic() == 1
        inbox.refuse.clear()
        assert host.replies.automatic() == 0
        host.replies.close(refused, by=BY)
    assert [stage(host, number) for number in (case, refused)] == ["closed", "closed"]
    assert len(inbox.letters) == 2


def test_many_automatic_at_once(world: World, inbox: Inbox) -> None:
    """Two engines apply the rules together: each person gets one mail."""
    host = opened(world, inbox)
    host.templates.save(AUTOMATIC, by=BY)
    cases = [rejected(host) for _ in range(4)]
    assert together(3, host.replies.automatic) == []
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        host.replies.automatic()
    assert len(inbox.letters) == 4
    assert {stage(host, case) for case in cases} == {"closed"}


def test_a_template_chosen_by_hand(sqlite_world: World, inbox: Inbox) -> None:
    """An agent picks another text: it is filled in as of now and sent as it is read."""
    host = opened(sqlite_world, inbox)
    own = host.templates.save(replace(AUTOMATIC, name="Kind", subject="Sorry {{ first_name }}", preferred=False, automatic=False), by=BY)
    case = rejected(host)
    host.replies.edit(case, template=own.id, by=BY)
    reply = host.replies.get(case)
    assert (reply.template, reply.subject) == (own.id, "Sorry Ada")
    host.templates.archive(own.id or "", by=BY)
    assert host.replies.get(case).subject == "Sorry Ada"
    host.replies.close(case, by=BY)
    assert stage(host, case) == "closed"


def test_shredded(sqlite_world: World, inbox: Inbox) -> None:
    """After shredding it is known that a reply was sent, and not what it said."""
    host = opened(sqlite_world, inbox)
    case = rejected(host)
    host.replies.close(case, by=BY)
    host.shred(case)
    reply = host.replies.get(case)
    assert (reply.subject, reply.body, reply.state) == ("", "", MailState.SENT)
