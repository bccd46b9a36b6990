"""`dsr_sdk.mail.send` against real servers on loopback: above all, what is known about a letter when something goes wrong."""

from __future__ import annotations

import logging
import smtplib
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from pydantic import SecretStr, ValidationError

from dsr_sdk import AuthError, ConfigError, DsrError, RejectedError, RequestType, Subject, TransientError
from dsr_sdk.mail import Letterhead, Mailer, MailSettings, Post, Receipt, build_message, deletion_letter, message_id

CANARIES = ("canary", "Kanarienvogel", "privacy@", "support@", "agent@", "example-gmbh", "hunter2", "mailuser")
HEAD = Letterhead(company="Example GmbH", domain="requests.example.org", agent="agent@example.com", cc="support@example.net")
CANARY = Subject.of("canary@example.com", first_name="Kanarienvogel", last_name="Übermut")
LETTER = deletion_letter(CANARY, RequestType.DELETION, HEAD, to="privacy@acme.example", vendor="Acme")
MESSAGE = build_message(LETTER, "task-1")
TO, CC = "privacy@acme.example", "support@example.net"


class Journal:
    """Stands for the engine: counts how often it was told that the message may be sent from here on."""

    def __init__(self) -> None:
        self.marks = 0

    def __call__(self) -> None:
        self.marks += 1


@pytest.fixture
def journal() -> Journal:
    """The engine's record."""
    return Journal()


@pytest.fixture(autouse=True)
def _nothing_leaks(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No test here may leave an address, a name or a password in a log of ours (down to DEBUG) or on the terminal."""
    caplog.set_level(logging.DEBUG)
    yield
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name != "mail.log")  # aiosmtpd's own: the server may know
    printed = "".join(capfd.readouterr())
    assert not [canary for canary in CANARIES if canary in ours or canary in printed]


def refused(kind: type[DsrError], mailer: Mailer, journal: Journal | None = None) -> Any:
    """The error that sending raises; it is of exactly this kind, and it says nothing it must not say anywhere in its traceback."""
    with pytest.raises(kind) as caught:
        mailer.send(MESSAGE, before_data=journal)
    error = caught.value
    assert type(error) is kind
    assert error.__context__ is None
    assert error.__cause__ is None
    told = f"{error} {error!r} {error.args} {vars(error)} " + "".join(traceback.TracebackException.from_exception(error).format_exception_only())
    assert not [canary for canary in CANARIES if canary in told]
    return error


# --- it is sent -------------------------------------------------------------------------------------------------------------------


def test_sent(serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any, journal: Journal) -> None:
    """The letter arrives at the recipient and the copy, whole, and the receipt says so."""
    receipt = Mailer(settings(serve())).send(MESSAGE, before_data=journal)
    assert receipt == Receipt(message_id("task-1", "requests.example.org"), accepted=2)
    assert journal.marks == 1
    [envelope] = inbox.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == ("example-gmbh@requests.example.org", [TO, CC])
    assert "Message-ID: " + receipt.message_id in envelope.content.decode()
    assert b"First name: Kanarienvogel" in envelope.content


def test_sent_without_copy_and_journal(serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any) -> None:
    """Both are optional."""
    letter = deletion_letter(CANARY, RequestType.DELETION, HEAD, to=TO, cc=False)
    assert Mailer(settings(serve())).send(build_message(letter, "task-2")).accepted == 1
    assert inbox.messages[0].rcpt_tos == [TO]


def test_post(serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any, journal: Journal) -> None:
    """What the engine uses: a letter and a key go in, and the same key goes out under the same Message-ID."""
    post = Post(HEAD, Mailer(settings(serve())), auto_submitted=False)
    receipts = [post.send(LETTER, key="task-1", before_data=journal) for _ in range(2)]
    assert [receipt.message_id for receipt in receipts] == [message_id("task-1", HEAD.domain)] * 2
    assert journal.marks == 2
    assert b"Auto-Submitted" not in inbox.messages[0].content
    assert repr(post) == "<Post>"


def test_dots_arrive(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """A line that begins with a dot does not end the message."""
    message = build_message(LETTER, "task-1")
    message.set_content("one\n.\ntwo\n..three\n")
    Mailer(settings(scripted(script))).send(message)
    assert script.content.endswith(b"one\r\n..\r\ntwo\r\n...three\r\n.\r\n")


def test_calls_itself_by_the_sending_domain(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """The conversation is the expected one, and the name of this machine does not occur in it."""
    Mailer(settings(scripted(script))).send(MESSAGE)
    script.done.wait(10)
    assert script.heard == ["hello", "ehlo", "mail", "rcpt", "rcpt", "data", "end", "quit"]
    assert script.lines[0] == b"ehlo requests.example.org\r\n"


# --- STARTTLS, TLS and login ------------------------------------------------------------------------------------------------------


def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"mailuser", b"hunter2"), handled=False)


@pytest.fixture
def secured(serve: Callable[..., int], settings: Callable[..., MailSettings], certificate: Any) -> Callable[..., MailSettings]:
    """Settings for a server that demands STARTTLS and a login."""
    port = serve(tls_context=certificate.context, require_starttls=True, authenticator=login, auth_required=True)

    def make(**changed: Any) -> MailSettings:
        proper = {"security": "starttls", "cafile": certificate.cafile, "username": "mailuser", "password": "hunter2"}
        return settings(port, **{**proper, **changed})

    return make


def test_starttls_and_login(secured: Callable[..., MailSettings], inbox: Any) -> None:
    """With the right password the letter is sent, over TLS."""
    assert Mailer(secured()).send(MESSAGE).accepted == 2
    assert len(inbox.messages) == 1


def test_wrong_password(secured: Callable[..., MailSettings], inbox: Any, journal: Journal) -> None:
    """The operator has to act, nothing was sent, and the password stands nowhere."""
    error = refused(AuthError, Mailer(secured(password="hunter2-wrong")), journal)
    assert "535" in str(error)
    assert (journal.marks, inbox.messages) == (0, [])


def test_login_wanted(secured: Callable[..., MailSettings], journal: Journal) -> None:
    """No login given, and the server wants one: the operator has to act."""
    assert "530" in str(refused(AuthError, Mailer(secured(username=None, password=None)), journal))
    assert journal.marks == 0


def test_untrusted_certificate(secured: Callable[..., MailSettings], inbox: Any) -> None:
    """A certificate of no known authority ends it before the login."""
    assert "cafile" in str(refused(ConfigError, Mailer(secured(cafile=None))))
    assert inbox.messages == []


def test_certificate_of_another_host(secured: Callable[..., MailSettings], certificate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name in the certificate is checked too."""
    real = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda address, *rest, **more: real(("127.0.0.1", address[1]), *rest, **more))
    assert "certificate" in str(refused(ConfigError, Mailer(secured(host="mail.example"))))


def test_starttls_is_not_optional(serve: Callable[..., int], settings: Callable[..., MailSettings], journal: Journal) -> None:
    """A server (or somebody between) that offers no STARTTLS gets nothing in plain text."""
    refused(ConfigError, Mailer(settings(serve(), security="starttls")), journal)
    assert journal.marks == 0


def test_tls_from_the_start(serve: Callable[..., int], settings: Callable[..., MailSettings], certificate: Any, inbox: Any) -> None:
    """``security = "tls"`` (port 465)."""
    port = serve(ssl_context=certificate.context)
    assert Mailer(settings(port, security="tls", cafile=certificate.cafile)).send(MESSAGE).accepted == 2
    assert len(inbox.messages) == 1


def test_untrusted_certificate_from_the_start(
    serve: Callable[..., int], settings: Callable[..., MailSettings], certificate: Any, inbox: Any, journal: Journal
) -> None:
    """The certificate is verified there as well: smtplib by itself would not."""
    assert "cafile" in str(refused(ConfigError, Mailer(settings(serve(ssl_context=certificate.context), security="tls")), journal))
    assert (journal.marks, inbox.messages) == (0, [])


def test_tls_on_a_plain_port(serve: Callable[..., int], settings: Callable[..., MailSettings], certificate: Any) -> None:
    """The usual mix-up of ports is recognised."""
    assert "587" in str(refused(ConfigError, Mailer(settings(serve(), security="tls", cafile=certificate.cafile))))


def test_no_login_offered(serve: Callable[..., int], settings: Callable[..., MailSettings]) -> None:
    """A login is configured and the server knows none."""
    refused(ConfigError, Mailer(settings(serve(), username="mailuser", password="hunter2")))


def test_unknown_ways_to_log_in(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """A server that only offers a mechanism we do not speak."""
    script.answers["ehlo"] = b"250-mail.example\r\n250 AUTH XOAUTH2\r\n"
    refused(ConfigError, Mailer(settings(scripted(script), username="mailuser", password="hunter2")))


def test_login_fails_for_now(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """454 at the login is not a wrong password."""
    script.answers |= {"ehlo": b"250-mail.example\r\n250 AUTH PLAIN\r\n", "auth": b"454 4.7.0 hunter2 later\r\n"}
    assert "454 4.7.0" in str(refused(TransientError, Mailer(settings(scripted(script), username="mailuser", password="hunter2"))))


def test_login_refused_in_other_words(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """Any 5xx at the login is about the login."""
    script.answers |= {"ehlo": b"250-mail.example\r\n250 AUTH PLAIN\r\n", "auth": b"554 5.7.0 mailuser is locked\r\n"}
    assert "554 5.7.0" in str(refused(AuthError, Mailer(settings(scripted(script), username="mailuser", password="hunter2"))))


# --- refused, before anything was transmitted -------------------------------------------------------------------------------------


def test_recipient_refused(serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any, journal: Journal) -> None:
    """Without the recipient nothing is sent to anybody, the copy included."""
    inbox.refuse[TO] = f"550 5.1.1 <{TO}> unknown user"
    error = refused(RejectedError, Mailer(settings(serve())), journal)
    assert (error.code, str(error)) == ("550", "the mail server refused naming the recipient (550 5.1.1)")
    assert (journal.marks, inbox.messages) == (0, [])


@pytest.mark.parametrize("answer", ["550 no such user", "450 greylisted"])
def test_copy_refused(answer: str, serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any, journal: Journal) -> None:
    """The request to the vendor does not depend on the copy: it is sent, and the receipt says what was left out."""
    inbox.refuse[CC] = answer
    assert Mailer(settings(serve())).send(MESSAGE, before_data=journal) == Receipt(MESSAGE["Message-ID"], accepted=1, refused=1)
    assert (journal.marks, inbox.messages[0].rcpt_tos) == (1, [TO])


def test_greylisted(serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any, journal: Journal) -> None:
    """Not now: certainly not sent, and the host tries again."""
    inbox.refuse[TO] = f"451 4.7.1 {TO} greylisted"
    error = refused(TransientError, Mailer(settings(serve())), journal)
    assert (error.maybe_done, journal.marks) == (False, 0)
    assert "451 4.7.1" in str(error)


@pytest.mark.parametrize("step", ["hello", "ehlo", "mail", "rcpt", "data"])
@pytest.mark.parametrize("answer", [None, ...], ids=["hangs up", "stalls"])
def test_silence_before_the_message(
    step: str, answer: Any, scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any, journal: Journal
) -> None:
    """Whatever the server does before the message was transmitted, it was not sent."""
    script.answers[step] = answer
    error = refused(TransientError, Mailer(settings(scripted(script), timeout=0.3)), journal)
    assert (error.maybe_done, journal.marks, script.content) == (False, 0, b"")


@pytest.mark.parametrize(
    ("step", "answer", "kind"),
    [
        ("hello", b"421 busy\r\n", TransientError),
        ("hello", b"554 5.7.1 canary go away\r\n", ConfigError),
        ("mail", b"451 later\r\n", TransientError),
        ("mail", b"553 example-gmbh not yours\r\n", RejectedError),
        ("mail", b"530 5.7.0 log in first\r\n", AuthError),
        ("rcpt", b"421 closing\r\n", TransientError),
        ("rcpt", b"552 canary over quota\r\n", RejectedError),
        ("rcpt", b"complete nonsense canary\r\n", TransientError),
        ("rcpt", b"354 what?\r\n", TransientError),
        ("data", b"451 canary\r\n", TransientError),
        ("data", b"554 canary\r\n", RejectedError),
        ("data", b"250 sent, honestly\r\n", TransientError),
    ],
)
def test_refusals_by_code(
    step: str, answer: bytes, kind: type[DsrError], scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any, journal: Journal
) -> None:
    """4xx is for the host, 5xx for this item, and the server's own words are not passed on."""
    script.answers[step] = answer
    error = refused(kind, Mailer(settings(scripted(script))), journal)
    assert (getattr(error, "maybe_done", False), journal.marks, script.content) == (False, 0, b"")


def test_refused_transaction_is_reset(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """The server is told to forget it, and no DATA follows."""
    script.answers["rcpt"] = b"550 no\r\n"
    refused(RejectedError, Mailer(settings(scripted(script))))
    script.done.wait(10)
    assert script.heard == ["hello", "ehlo", "mail", "rcpt", "rset", "quit"]


def test_server_closes_while_the_copy_is_named(
    scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any, journal: Journal
) -> None:
    """421 is about the connection and not about the copy: nothing is sent."""
    replies = iter([b"250 fine\r\n", b"421 closing\r\n"])
    script.answers["rcpt"] = lambda: next(replies)
    assert refused(TransientError, Mailer(settings(scripted(script))), journal).maybe_done is False
    assert journal.marks == 0


def test_nobody_there(settings: Callable[..., MailSettings], journal: Journal) -> None:
    """A server that is down, or whose name does not resolve, may be back later."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert refused(TransientError, Mailer(settings(port)), journal).maybe_done is False
    assert refused(TransientError, Mailer(settings(port, host="mail.invalid", allow_plain=True)), journal).maybe_done is False


def test_a_journal_that_cannot_write(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """When it cannot be recorded that the message may be sent, it is not sent; the journal's own error passes through."""

    def full() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Mailer(settings(scripted(script))).send(MESSAGE, before_data=full)
    script.done.wait(10)
    assert (script.heard[-1], script.content) == ("data", b"")


def test_recorded_before_the_first_byte(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """When the journal is called, the server has agreed to everything and has seen nothing of the message."""
    seen: list[tuple[str, bytes]] = []
    Mailer(settings(scripted(script))).send(MESSAGE, before_data=lambda: seen.append((script.heard[-1], script.content)))
    assert seen == [("data", b"")]


# --- from the first byte to the last answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, ..., b"25", b"nonsense canary\r\n", b"354 more?\r\n", b"2" * 10_000 + b"\r\n", b"550 x" * 5_000])
def test_no_answer_after_the_message(
    answer: Any, scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any, journal: Journal
) -> None:
    """It may have been sent: only a person may decide to send it again. What is no proper answer is none."""
    script.answers |= {"end": answer, "hang up": True}
    error = refused(TransientError, Mailer(settings(scripted(script), data_timeout=0.3)), journal)
    assert (error.maybe_done, journal.marks) == (True, 1)


def test_hangs_up_in_the_middle_of_the_message(
    scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any, journal: Journal
) -> None:
    """Most servers forget half a message, and a letter is worth the doubt."""
    script.answers["content"] = b""
    error = refused(TransientError, Mailer(settings(scripted(script))), journal)
    assert (error.maybe_done, journal.marks) == (True, 1)


def test_an_answer_cut_off_after_its_code(scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """The three digits are the answer; the rest is for people."""
    script.answers |= {"end": b"250", "hang up": True}
    assert Mailer(settings(scripted(script))).send(MESSAGE).accepted == 2


def test_aiosmtpd_drops_the_connection_after_data(
    serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with a real server: it has the message, and we cannot know."""

    async def take_and_drop(server: Any, session: Any, envelope: Any) -> str:
        inbox.messages.append(envelope)
        server.transport.abort()
        return "250 never arrives"

    monkeypatch.setattr(inbox, "handle_DATA", take_and_drop)
    assert refused(TransientError, Mailer(settings(serve())), journal).maybe_done is True
    assert (journal.marks, len(inbox.messages)) == (1, 1)


@pytest.mark.parametrize(("answer", "kind"), [("451 4.3.0 canary later", TransientError), ("554 5.7.1 canary spam", RejectedError)])
def test_refused_after_the_message(
    answer: str, kind: type[DsrError], serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any, journal: Journal
) -> None:
    """The server's last word is a no: it was transmitted, and certainly not sent."""
    inbox.answer = answer
    error = refused(kind, Mailer(settings(serve())), journal)
    assert getattr(error, "maybe_done", False) is False
    assert (journal.marks, inbox.messages) == (1, [])


@pytest.mark.parametrize("answer", [None, ..., b"500 what?\r\n", b"nonsense\r\n"])
def test_nothing_after_the_last_answer_matters(answer: Any, scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any) -> None:
    """A server that fails at QUIT has taken the message all the same."""
    script.answers["quit"] = answer
    assert Mailer(settings(scripted(script), timeout=0.3)).send(MESSAGE).accepted == 2


def test_a_slow_answer_is_waited_for(
    serve: Callable[..., int], settings: Callable[..., MailSettings], inbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last answer has its own, longer time limit, because giving up on it is the expensive mistake."""
    import asyncio

    real = inbox.handle_DATA

    async def think(server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(0.6)
        answer: str = await real(server, session, envelope)
        return answer

    monkeypatch.setattr(inbox, "handle_DATA", think)
    assert Mailer(settings(serve(), timeout=0.3, data_timeout=10)).send(MESSAGE).accepted == 2


# --- settings ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_plain_text_on_this_machine(host: str) -> None:
    """Without TLS only where no network is crossed."""
    assert MailSettings(host=host, security="none").security == "none"


@pytest.mark.parametrize("host", ["mail.example", "192.168.0.1", "localhost.example", "127.0.0.1.example"])
def test_plain_text_elsewhere(host: str) -> None:
    """Another machine needs the operator's explicit word."""
    with pytest.raises(ValidationError, match="allow_plain"):
        MailSettings(host=host, security="none")
    assert MailSettings(host=host, security="none", allow_plain=True).allow_plain


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "mail.example\r\nRSET"},
        {"host": ""},
        {"port": 0},
        {"username": "mailuser"},
        {"password": "hunter2"},
        {"username": "mailuser", "password": "hunter2-ü"},
        {"username": "mailuser\x00", "password": "hunter2"},
        {"security": "ssl"},
        {"timeout": 0},
        {"debug": True},
    ],
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    """Refused when they are read, without repeating a value."""
    with pytest.raises(ValidationError) as caught:
        MailSettings(**{"host": "mail.example", **wrong})
    assert not [canary for canary in CANARIES if canary in str(caught.value)]


def test_defaults_are_safe() -> None:
    """STARTTLS on the submission port; reprs show nothing."""
    safe = MailSettings(host="mail.example", username="mailuser", password=SecretStr("hunter2"))
    assert (safe.port, safe.security, repr(safe), repr(Mailer(safe))) == (587, "starttls", "<MailSettings>", "<Mailer>")


def test_unreadable_certificates(tmp_path: Path) -> None:
    """A missing or wrong cafile is found when the mailer is made, not when the first letter is due."""
    (tmp_path / "not.pem").write_text("canary")
    for name in ("not.pem", "missing.pem"):
        with pytest.raises(ConfigError, match="cafile"):
            Mailer(MailSettings(host="mail.example", cafile=tmp_path / name))


def test_debugging_is_never_on(
    scripted: Callable[..., int], settings: Callable[..., MailSettings], script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """smtplib's debugging prints every line of the conversation; nothing here switches it on."""
    monkeypatch.setattr(smtplib.SMTP, "set_debuglevel", lambda *_: pytest.fail("debugging was switched on"))
    Mailer(settings(scripted(script))).send(MESSAGE)
    assert smtplib.SMTP.debuglevel == 0
