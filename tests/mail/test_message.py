"""`dsr_sdk.mail.message`: the message as other programs will read it."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.policy import Policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr_sdk import ContractError
from dsr_sdk.mail import Letter, build_message, message_id
from dsr_sdk.mail.message import envelope_of, wire

LETTER = Letter(
    to="privacy@acme.example",
    sender="example-gmbh@requests.example.org",
    sender_name="Example GmbH",
    reply_to="agent@example.com",
    subject="Request to delete personal data",
    body="Dear Acme,\n.\n..\nZoë 晴\n",
    cc="support@example.net",
)
DATE = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def read(message: EmailMessage) -> EmailMessage:
    """The message as its reader parses it from the wire."""
    content = wire(message)
    assert content.endswith(b"\r\n.\r\n")
    return message_from_bytes(content[:-3].replace(b"\r\n..", b"\r\n."), policy=policy.SMTP)


def test_headers() -> None:
    """Every header, and no other."""
    assert dict(read(build_message(LETTER, "task-1", date=DATE))) == {
        "From": "Example GmbH <example-gmbh@requests.example.org>",
        "Reply-To": "agent@example.com",
        "To": "privacy@acme.example",
        "Cc": "support@example.net",
        "Subject": "Request to delete personal data",
        "Date": "Fri, 01 May 2026 12:00:00 +0000",
        "Message-ID": f"<{hashlib.sha256(b'task-1').hexdigest()[:32]}@requests.example.org>",
        "Auto-Submitted": "auto-generated",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
        "MIME-Version": "1.0",
    }


def test_body_arrives_as_written() -> None:
    """Unicode and lines of dots come through, in ASCII on the wire."""
    message = build_message(LETTER, "task-1")
    assert wire(message).isascii()
    assert read(message).get_content().replace("\r\n", "\n") == LETTER.body


def test_message_id_is_the_operation() -> None:
    """The same operation has the same Message-ID, whenever and however often; another has another; a key says nothing about itself."""
    first, again, other = (build_message(LETTER, key)["Message-ID"] for key in ("task-1", "task-1", "task-2"))
    assert first == again == message_id("task-1", "requests.example.org")
    assert first != other
    assert "task-1" not in first


def test_what_it_takes() -> None:
    """A key, and a date with its time zone."""
    with pytest.raises(ContractError, match="key"):
        build_message(LETTER, "")
    with pytest.raises(ContractError, match="time zone"):
        build_message(LETTER, "task-1", date=datetime(2026, 5, 1))  # noqa: DTZ001 - the missing zone is the point


def test_auto_submitted_can_be_left_out() -> None:
    """For vendors whose ticket system sets automatic messages aside."""
    assert "Auto-Submitted" not in build_message(LETTER, "task-1", auto_submitted=False)


@given(company=st.text(min_size=1, max_size=200), body=st.text(max_size=300))
def test_one_sender_whatever_its_name(company: str, body: str) -> None:
    """Commas, quotes, angle brackets, emoji and long names: the reader sees one sender, ours, and a message without bare line breaks."""
    try:
        letter = dataclasses.replace(LETTER, sender_name=company, body=body)
    except ContractError:
        return
    message = read(build_message(letter, "task-1", date=DATE))
    assert [address.addr_spec for address in message["From"].addresses] == [LETTER.sender]
    assert [address.addr_spec for address in message["To"].addresses] == [LETTER.to]
    assert list(message) == list(build_message(LETTER, "task-1", date=DATE))


def test_envelope() -> None:
    """The envelope is what the headers say, and hides it."""
    envelope = envelope_of(build_message(LETTER, "task-1"))
    assert (envelope.sender, envelope.to, envelope.cc, envelope.domain) == (LETTER.sender, (LETTER.to,), (LETTER.cc,), "requests.example.org")
    assert repr(envelope) == "<Envelope>"


@pytest.mark.parametrize(
    ("header", "value", "match"),
    [
        ("Bcc", "hidden@example.com", "Bcc"),
        ("To", None, "To"),
        ("From", None, "From"),
        ("From", "a@example.com, b@example.com", "From"),
        ("Message-ID", None, "Message-ID"),
        ("To", "prïvacy@acme.example", "To holds"),
        ("Cc", "not an address", "Cc holds"),
    ],
)
def test_messages_that_are_not_sent(header: str, value: str | None, match: str) -> None:
    """A message that hides a recipient, has none, or could not be recognised again is refused without being quoted."""
    message = build_message(LETTER, "task-1")
    del message[header]
    if value is not None:
        message[header] = value
    with pytest.raises(ContractError, match=match) as caught:
        envelope_of(message)
    assert "@" not in str(caught.value)


class Smuggler(EmailMessage):
    """A message whose bytes hold what `raw` says."""

    raw = b""

    def as_bytes(self, unixfrom: bool = False, policy: Policy | None = None) -> bytes:
        return super().as_bytes(unixfrom, policy) + self.raw


@pytest.mark.parametrize(
    "raw", [b"one\n.\nMAIL FROM:<evil@example.com>\r\n", b"one\r.\rtwo\r\n", b"\x00\r\n", "ü\r\n".encode(), b"a" * 999 + b"\r\n"]
)
def test_no_smuggling(raw: bytes) -> None:
    """A bare line feed around a dot ends the message for some servers, and a second one begins: such a message is not sent at all."""
    message = Smuggler(policy=policy.SMTP)
    for header, value in build_message(LETTER, "task-1").items():
        message[header] = str(value)
    message.raw = raw
    with pytest.raises(ContractError, match="safely"):
        wire(message)
