"""From a letter to an Internet message (RFC 5322), and from a message to what goes over the wire. No I/O."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage

from dsr_sdk.errors import ContractError
from dsr_sdk.mail.compose import Letter
from dsr_sdk.mail.headers import checked_address, checked_domain

__all__ = ["Envelope", "build_message", "envelope_of", "message_id", "wire"]

_POLICY = policy.SMTP.clone(cte_type="7bit")  # ASCII on the wire: no server has to offer 8BITMIME or SMTPUTF8
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
_MAX_WIRE_LINE = 998  # RFC 5321 4.5.3.1.6, without CRLF


def message_id(key: str, domain: str) -> str:
    """The Message-ID of the operation `key`: always the same, so a letter can be recognised and an answer correlated (In-Reply-To).

    `key` must say nothing about the person (a random task id): a hash of personal data would still be personal data.
    """
    if not key:
        raise ContractError("a message needs a non-empty operation key")
    return f"<{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}@{checked_domain(domain)}>"


def build_message(letter: Letter, key: str, *, date: datetime | None = None, auto_submitted: bool = True) -> EmailMessage:
    """The letter as a plain-text message in UTF-8.

    Args:
        letter: What is written.
        key: The operation's key; the same key gives the same Message-ID.
        date: The moment of sending, with time zone; now unless given.
        auto_submitted: Whether it says ``Auto-Submitted: auto-generated`` (RFC 3834), which keeps vacation notices from being sent back.
            Some ticket systems (Zendesk) set such messages aside unread.
    """
    date = datetime.now(UTC) if date is None else date
    if date.tzinfo is None:
        raise ContractError("the date of a message needs a time zone")
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(letter.sender_name, addr_spec=letter.sender)
    message["Reply-To"] = Address(addr_spec=letter.reply_to)
    message["To"] = Address(addr_spec=letter.to)
    if letter.cc is not None:
        message["Cc"] = Address(addr_spec=letter.cc)
    message["Subject"] = letter.subject
    message["Date"] = date
    message["Message-ID"] = message_id(key, letter.sender.rpartition("@")[2])
    if auto_submitted:
        message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body, charset="utf-8")
    return message


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who a message is from and goes to, as the mail server is told. ``repr`` hides it."""

    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    message_id: str

    def __repr__(self) -> str:
        return "<Envelope>"

    @property
    def domain(self) -> str:
        """The sending domain: what we call ourselves to the server (the name of this machine is nobody's business)."""
        return self.sender.rpartition("@")[2]


def envelope_of(message: EmailMessage) -> Envelope:
    """The envelope in a message's own headers. Raises `ContractError` when they do not give a sender, a recipient and a Message-ID."""
    senders = _addresses(message, "From")
    to = _addresses(message, "To")
    identity = str(message["Message-ID"] or "")
    if len(senders) != 1 or not to:
        raise ContractError("a message needs one From and at least one To")
    if not re.fullmatch(r"<[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+>", identity):
        raise ContractError("a message needs a Message-ID: without it nobody can tell whether it was sent")
    if message["Bcc"] is not None:
        raise ContractError("a message has no Bcc: who gets personal data is said openly")
    return Envelope(senders[0], to, _addresses(message, "Cc"), identity)


def wire(message: EmailMessage) -> bytes:
    """The message as it is transmitted after DATA: CRLF, leading dots doubled, the final dot included.

    Raises `ContractError` for bytes that servers read differently (a bare CR or LF), the way messages are smuggled into one another.
    """
    content = message.as_bytes(policy=_POLICY)
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    if _BARE.search(content) or not content.isascii() or any(len(line) > _MAX_WIRE_LINE for line in content.split(b"\r\n")):
        raise ContractError("the message cannot be transmitted safely: a bare line break, a byte beyond ASCII, or a line too long")
    return re.sub(rb"(?m)^\.", b"..", content) + b".\r\n"


def _addresses(message: EmailMessage, header: str) -> tuple[str, ...]:
    problem = False
    found: list[str] = []
    for value in message.get_all(header, []):
        for address in value.addresses:
            try:
                found.append(checked_address(address.addr_spec))
            except ValueError:
                problem = True
    if problem:
        raise ContractError(f"{header} holds something that is not an e-mail address")
    return tuple(found)
