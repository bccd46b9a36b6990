"""Mail to people: written down first, sent once, and what nobody can know is said."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
import time_machine
from aiosmtpd.smtp import AuthResult

from dsr_sdk import AuthError, ConfigError, RejectedError, RequestError, TransientError
from dsr_sdk.errors import ConflictError, ContractError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.outbox import MailState
from tests.mail.conftest import Certificate, certificate
from tests.smtp import Inbox, Server
from tests.world import World, deletion, ended

__all__ = ["certificate"]

TO = "canary@example.com"


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No test here may leave an address or a text in a log of ours or on the terminal."""
    caplog.set_level(logging.DEBUG)
    yield
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name != "mail.log")  # aiosmtpd's own: the server may know
    printed = "".join(capfd.readouterr())
    assert "canary" not in ours + printed
    assert "Geheimnis" not in ours + printed


class Killed(BaseException):
    """The process ends here."""


def opened(world: World, inbox: Inbox | None, **options: Any) -> tuple[Host, str]:
    world.mail = inbox.toml if inbox is not None else ""
    world.tables = "[workflow]"
    host = world.open(**options)
    return host, host.submit(deletion(TO))


def written(host: Host, case: str | None, *, to: str = TO, subject: str = "Your request", body: str = "Geheimnis", **more: Any) -> int:
    with host.outbox.deciding() as (connection, book):
        return host.outbox.write(connection, book, **{"case": case, "kind": "message", "to": to, "subject": subject, "body": body, **more})


def events(host: Host, case: str) -> list[str]:
    return [event["event"] for event in host.history(case) if event["event"].startswith("mail.")]


def later(**time: float) -> time_machine.travel:
    return time_machine.travel(datetime.now(UTC) + timedelta(**time))


def test_a_mail_is_sent_once(world: World, inbox: Inbox) -> None:
    """From the company, answers to the agent; however often it is sent or swept, it leaves once."""
    host, case = opened(world, inbox)
    mail = written(host, case)
    assert host.outbox.send(mail) is MailState.SENT
    assert host.outbox.send(mail) is MailState.SENT
    assert host.outbox.sweep() == 0
    (letter,) = inbox.letters
    message = message_from_bytes(letter.content, policy=policy.default)
    assert (letter.mail_from, letter.rcpt_tos) == ("example-gmbh@requests.example.com", [TO])
    assert (message["Reply-To"], message["Subject"], message["Cc"]) == ("agent@example.com", "Your request", None)
    assert message.get_content().splitlines() == ["Geheimnis"]
    row = host.outbox.get(mail)
    assert (row.state, row.message_id) == (MailState.SENT, message["Message-ID"])
    assert events(host, case) == ["mail.sent"]


def test_nothing_of_it_lies_open(world: World, inbox: Inbox) -> None:
    """Address and text are sealed under the case's key, and in no audit event; shredding the case ends them, sent or not."""
    host, case = opened(world, inbox)
    mail = written(host, case)
    with host.outbox.reading() as connection:
        stored = repr([tuple(row) for row in connection.exec_driver_sql("SELECT * FROM mails")])
    assert "canary" not in stored + repr(host.history(case)) + repr(host.outbox.get(mail))
    ended(host, case)
    host.shred(case)
    assert host.outbox.sweep() == 0
    assert host.outbox.send(mail) is MailState.DROPPED
    assert not inbox.letters


def test_without_a_mail_server_nothing_is_lost(world: World, inbox: Inbox) -> None:
    """The error names the setting; once it is there, the next sweep sends what waited."""
    host, case = opened(world, None)
    mail = written(host, case)
    with pytest.raises(ConfigError, match=r"fill in \[mail\]"):
        host.outbox.send(mail)
    assert host.outbox.sweep() == 0
    world.mail = inbox.toml
    with later(hours=2):
        assert world.open().outbox.sweep() == 1
    assert inbox.letters[0].rcpt_tos == [TO]


@pytest.mark.parametrize("kind", ["reply", "message", "verify", "code", "copy", "receipt", "invite", "notice"])
def test_who_speaks(sqlite_world: World, inbox: Inbox, kind: str) -> None:
    """An agent's words are not marked as a program's, which some help desks never read; notices are, so that no vacation notice comes back."""
    host, case = opened(sqlite_world, inbox)
    host.outbox.send(written(host, case, kind=kind))
    assert (b"Auto-Submitted" in inbox.letters[0].content) == (kind not in ("reply", "message"))
    with pytest.raises(ContractError):
        written(host, case, kind="gossip")


def test_put_off_and_tried_again(world: World, inbox: Inbox) -> None:
    """A server that cannot serve us now is asked again by sweeps, later each time; the mail arrives once."""
    inbox.answer = "451 4.3.0 later canary@example.com"
    host, case = opened(world, inbox)
    mail = written(host, case)
    with pytest.raises(TransientError) as caught:
        host.outbox.send(mail)
    assert "canary" not in str(caught.value)
    row = host.outbox.get(mail)
    assert (row.state, row.error) == (MailState.READY, "the mail server cannot serve us now, while taking the message over (451 4.3.0)")
    with later(minutes=1):
        assert host.outbox.sweep() == 0
    inbox.answer = "250 OK"
    with later(minutes=2):
        assert host.outbox.sweep() == 1
    assert len(inbox.letters) == 1
    assert events(host, case) == ["mail.put_off", "mail.sent"]


def test_put_off_for_days(world: World, inbox: Inbox) -> None:
    """After three days it has failed and a person is told; at their word it is tried again, under the same Message-ID."""
    inbox.answer = "451 4.3.0 later"
    host, case = opened(world, inbox)
    mail = written(host, case)
    assert host.outbox.sweep() == 0
    with later(days=3, minutes=1):
        assert host.outbox.sweep() == 0
        first = host.outbox.get(mail)
        assert first.state is MailState.FAILED
        assert [row.id for row in host.outbox.stuck()] == [mail]
        inbox.answer = "250 OK"
        assert host.outbox.sweep() == 0
        host.outbox.resend(mail, by="alice@example.com")
        assert host.outbox.sweep() == 1
    assert host.outbox.get(mail).message_id == first.message_id


def test_a_server_in_trouble_is_left_alone(sqlite_world: World, inbox: Inbox) -> None:
    """A sweep stops after three mails in a row were put off: each may cost a timeout, and the next ones would fare the same."""
    inbox.answer = "421 4.3.2 closing"
    host, case = opened(sqlite_world, inbox)
    mails = [written(host, case) for _ in range(6)]
    assert host.outbox.sweep() == 0
    assert [host.outbox.get(mail).attempt for mail in mails] == [1, 1, 1, 0, 0, 0]


def test_one_recipient_of_two_is_refused(world: World, inbox: Inbox) -> None:
    """A refused address fails for good and says so without naming it; the other person's mail leaves all the same."""
    inbox.refuse[TO] = "550 5.1.1 no such user canary@example.com"
    host, case = opened(world, inbox)
    other = host.submit(deletion("bob@example.com"))
    refused, taken = written(host, case), written(host, other, to="bob@example.com")
    assert host.outbox.sweep() == 1
    assert [letter.rcpt_tos for letter in inbox.letters] == [["bob@example.com"]]
    row = host.outbox.get(refused)
    assert (row.state, row.error) == (MailState.FAILED, "the mail server refused naming the recipient (550 5.1.1)")
    assert host.outbox.get(taken).state is MailState.SENT
    assert host.outbox.send(refused) is MailState.FAILED
    again = written(host, case)
    with pytest.raises(RejectedError) as caught:
        host.outbox.send(again)
    assert "canary" not in str(caught.value) + repr(caught.value.__context__) + repr(host.history(case))


def test_the_last_answer_never_comes(world: World, inbox: Inbox) -> None:
    """In doubt: no sweep and no second press sends it again, a person decides. Sent again, it is recognisable as the same mail."""
    inbox.vanish = True
    host, case = opened(world, inbox)
    mail = written(host, case)
    assert host.outbox.send(mail) is MailState.DOUBT
    inbox.vanish = False
    with later(days=9):
        assert host.outbox.sweep() == 0
        assert host.outbox.send(mail) is MailState.DOUBT
    assert len(inbox.letters) == 1
    host.outbox.resend(mail, by="alice@example.com")
    assert host.outbox.send(mail) is MailState.SENT
    identities = {message_from_bytes(letter.content, policy=policy.default)["Message-ID"] for letter in inbox.letters}
    assert (len(inbox.letters), len(identities)) == (2, 1)
    assert events(host, case) == ["mail.in_doubt", "mail.resent", "mail.sent"]


def test_a_person_says_that_it_was_sent(world: World, inbox: Inbox) -> None:
    """Then it is, and cannot be sent again."""
    inbox.vanish = True
    host, case = opened(world, inbox)
    mail = written(host, case)
    host.outbox.send(mail)
    host.outbox.confirm_sent(mail, by="alice@example.com")
    assert host.outbox.send(mail) is MailState.SENT
    for decide in (host.outbox.confirm_sent, host.outbox.resend):
        with pytest.raises(ConflictError, match="is not"):
            decide(mail, by="bob@example.com")
    assert len(inbox.letters) == 1


@pytest.mark.parametrize(
    ("step", "sent", "state"),
    [("before mail", 0, MailState.SENT), ("mail handover", 0, MailState.DOUBT), ("after mail", 1, MailState.DOUBT)],
)
def test_killed(world: World, inbox: Inbox, step: str, sent: int, state: MailState) -> None:
    """Before anything left it is simply sent later; between handover and record nobody can know, and it is not sent again by itself."""

    def dies(name: str) -> None:
        if name == step:
            raise Killed

    host, case = opened(world, inbox, on_step=dies)
    mail = written(host, case)
    with pytest.raises(Killed):
        host.outbox.sweep()
    assert len(inbox.letters) == sent
    after = world.open()
    if step != "before mail":
        with pytest.raises(ConflictError, match="being sent at this moment"):
            after.outbox.send(mail)
    with later(hours=1):
        after.outbox.sweep()
        after.outbox.sweep()
        assert after.outbox.get(mail).state is state
        assert len(inbox.letters) == (1 if step == "before mail" else sent)
        if state is MailState.DOUBT:
            after.outbox.confirm_sent(mail, by="alice@example.com")
    assert after.outbox.get(mail).state is MailState.SENT


def test_many_sweeps_at_once(world: World, inbox: Inbox) -> None:
    """Threads of two hosts sweep together: every mail leaves once."""
    host, case = opened(world, inbox)
    second = world.open()
    mails = [written(host, case) for _ in range(5)]
    together = threading.Barrier(4)
    sent: list[int] = []

    def sweep(which: Host) -> None:
        together.wait(10)
        sent.append(which.outbox.sweep())

    threads = [threading.Thread(target=sweep, args=(which,)) for which in (host, second, host, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(sent), len(inbox.letters)) == (5, 5)
    assert {host.outbox.get(mail).state for mail in mails} == {MailState.SENT}


def test_two_send_the_same_mail(world: World, inbox: Inbox) -> None:
    """Both have opened it and are connecting: the one that comes second to the handover sends nothing, and is told."""
    entered = threading.Barrier(2)

    def together(name: str) -> None:
        if name == "before mail":
            entered.wait(10)

    host, case = opened(world, inbox, on_step=together)
    mail = written(host, case)
    ends: list[str] = []

    def send() -> None:
        try:
            ends.append(str(host.outbox.send(mail)))
        except ConflictError:
            ends.append("conflict")

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inbox.letters) == 1
    assert "sent" in ends
    assert host.outbox.get(mail).state is MailState.SENT


def test_given_up_while_someone_connects(world: World, inbox: Inbox) -> None:
    """A mail that is dropped between opening and handover does not leave."""
    gave: list[bool] = []

    def drop(name: str) -> None:
        if name == "before mail":
            with host.outbox.deciding() as (connection, _):
                gave.append(host.outbox.drop(connection, mail))

    host, case = opened(world, inbox, on_step=drop)
    mail = written(host, case)
    assert host.outbox.send(mail) is MailState.DROPPED
    assert gave == [True]
    assert not inbox.letters


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "Hello\r\nBcc: evil@example.com"),
        ("subject", "Hello\nBcc: evil@example.com"),
        ("subject", "=?utf-8?q?Bcc:_evil?="),
        ("subject", " "),
        ("subject", "x" * 300),
        ("to", "canary@example.com\r\nBcc: evil@example.com"),
        ("to", "canary@example.com, evil@example.com"),
        ("to", "Canary <canary@example.com>"),
        ("to", "kanarienvögel@example.com"),
        ("to", ""),
        ("body", "\n \n"),
        ("body", "x" * 60_000),
        ("body", "nul\x00"),
    ],
)
def test_no_header_can_be_smuggled_in(sqlite_world: World, inbox: Inbox, field: str, value: str) -> None:
    """What would become a second header or recipient is refused when it is written, and the error repeats nothing."""
    host, case = opened(sqlite_world, inbox)
    with pytest.raises(RequestError) as caught:
        written(host, case, **{field: value})
    assert caught.value.field == field
    assert "evil" not in str(caught.value)
    assert "canary" not in str(caught.value)
    assert host.outbox.of(case) == []


def test_a_body_is_a_body(sqlite_world: World, inbox: Inbox) -> None:
    """Dots at the beginning, lines like headers, pasted line breaks, tabs, endless paragraphs: the text arrives."""
    host, case = opened(sqlite_world, inbox)
    body = "Subject: no\r\n.\r\n..dots\rBcc: evil@example.com\u2028<script>\tÄ漢\n" + "word " * 1000
    host.outbox.send(written(host, case, body=body))
    (text,) = inbox.texts
    assert text.splitlines()[:5] == ["Subject: no", ".", "..dots", "Bcc: evil@example.com", "<script>    Ä漢"]
    assert text.split().count("word") == 1000
    assert inbox.letters[0].rcpt_tos == [TO]


@pytest.fixture
def secured(certificate: Certificate, inbox: Inbox) -> Iterator[Callable[[str], str]]:
    """A server that wants STARTTLS and a login; answers ``[mail]`` for a password."""

    def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"dsr", b"right-4711"), handled=False)

    server = Server(
        inbox,
        hostname="127.0.0.1",
        port=0,
        ready_timeout=30,
        tls_context=certificate.context,
        require_starttls=True,
        auth_required=True,
        authenticator=login,
    )
    server.start()

    def toml(password: str) -> str:
        return (
            f'[mail]\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "starttls"\ncafile = "{certificate.cafile}"\nusername = "dsr"\n'
            f'password = "file:{password}"\ndomain = "requests.example.com"\nagent = "agent@example.com"'
        )

    yield toml
    server.stop()


def test_starttls_and_login(sqlite_world: World, inbox: Inbox, secured: Callable[[str], str]) -> None:
    """A wrong password is the operator's error: the mail waits, and leaves by itself when the password is right."""
    (sqlite_world.directory / "smtp.secret").write_text("wrong-4711")
    sqlite_world.mail, sqlite_world.tables = secured("smtp.secret"), "[workflow]"
    host = sqlite_world.open()
    case = host.submit(deletion(TO))
    mail = written(host, case)
    with pytest.raises(AuthError) as caught:
        host.outbox.send(mail)
    assert "4711" not in str(caught.value)
    assert host.outbox.get(mail).state is MailState.READY
    (sqlite_world.directory / "smtp.secret").write_text("right-4711")
    with later(hours=2):
        assert sqlite_world.open().outbox.sweep() == 1
    assert inbox.letters[0].rcpt_tos == [TO]


def test_without_a_case(sqlite_world: World, inbox: Inbox) -> None:
    """An invitation to a colleague belongs to no case and is sealed in the host's box."""
    host, case = opened(sqlite_world, inbox)
    mail = written(host, None, kind="invite")
    ended(host, case)
    host.shred(case)
    assert host.outbox.sweep() == 1
    assert host.outbox.get(mail).case is None


def test_a_mail_of_nobody(sqlite_world: World, inbox: Inbox) -> None:
    """An id that is none is told as such."""
    host, _ = opened(sqlite_world, inbox)
    for act in (host.outbox.send, host.outbox.get):
        with pytest.raises(RequestError, match="no such mail"):
            act(99)
