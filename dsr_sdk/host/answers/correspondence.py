"""Everything that went between the company and one person: messages, answers, notes, and every mail, in the order of time.

A mail's text is deleted from the outbox once it has left. It is shown where it is kept: of a message and of a reply. Of the rest nothing is
shown, even while it waits: it holds links and codes that are for the person alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from dsr_sdk.host.answers.conversation import Message
from dsr_sdk.host.answers.mails import MAILS, Mail, mail_of
from dsr_sdk.host.desk import now
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.desk import mails

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host

__all__ = ["CaseMail", "Entry", "correspondence"]

_TO = "mails.sealed_to"


@dataclass(frozen=True, slots=True)
class CaseMail:
    """A mail of a case.

    Attributes:
        mail: How far it has come.
        to: To whom, masked: ``a…@example.com``; empty when nobody knows any more.
        subject: Empty when its text is kept nowhere, and so is `body`.
    """

    mail: Mail
    to: str = field(repr=False)
    subject: str = field(default="", repr=False)
    body: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was said or sent: a message of the conversation, with the mail it went out with, or a mail by itself."""

    at: datetime
    message: Message | None = None
    mail: CaseMail | None = None


def correspondence(host: Host, number: str, *, by: str | None = None) -> list[Entry]:
    """What was said and sent, the oldest first; empty once the case is shredded.

    Args:
        by: The agent who looks at it: answers are then read. None for a program.
    """
    said = host.conversation.of(number, by=by)
    with reading(host.ledger.engine) as connection:
        case = host.ledger.cases.get(connection, number)
    if case.shredded:
        return []
    sent = _mails(host, case)
    entries = [Entry(message.at, message, sent.pop(message.mail, None) if message.mail is not None else None) for message in said]
    entries += [Entry(mail.mail.created_at, None, mail) for mail in sent.values()]
    return sorted(entries, key=lambda entry: entry.at)


def _mails(host: Host, case: Case) -> dict[int, CaseMail]:
    found: dict[int, CaseMail] = {}
    with reading(host.ledger.engine) as connection:
        rows = connection.execute(MAILS.where(mails.c.case == case.number).order_by(mails.c.id)).all()
        if not rows:
            return found
        key = host.ledger.cases.key(connection, case.number)
        mine = select(mails.c.id, mails.c.sealed_to).where(mails.c.case == case.number, mails.c.sealed_to.is_not(None))
        to = {id_: key.open(sealed, _TO).decode() for id_, sealed in connection.execute(mine)}
        moment = now()
        for row in rows:
            found[row.id] = CaseMail(mail_of(row, moment), to.get(row.id, ""))
    # A copy's link stands in a reply as a mark: what was sent in its place is kept nowhere.
    reply = host.replies.get(case.number) if any(one.mail.kind == "reply" for one in found.values()) else None
    if reply is not None and reply.mail in found:
        one = found[reply.mail]
        found[reply.mail] = CaseMail(one.mail, one.to, reply.subject, reply.body)
    return found
