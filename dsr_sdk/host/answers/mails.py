"""Mails as they stand in the ledger: their kinds, their states, and what may be told of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select

from dsr_sdk.ledger.desk import mails

__all__ = ["KINDS", "MAILS", "Mail", "MailState", "mail_of", "state_of"]

KINDS = ("reply", "message", "verify", "code", "copy", "receipt", "invite", "notice")
"""What mails are about. A reply and a message are a person's words; the rest says of itself that a program sent it."""


class MailState(StrEnum):
    """How far a mail has come."""

    READY = "ready"
    HANDOVER = "handover"
    SENT = "sent"
    DOUBT = "doubt"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it stands, without what is in it.

    Attributes:
        message_id: What to look for in the mail server's log; None before it was first handed over.
        error: Why it was not sent, in one sentence; empty when nothing went wrong.
    """

    id: int
    case: str | None
    kind: str
    state: MailState
    created_at: datetime
    sent_at: datetime | None
    next_at: datetime | None
    attempt: int
    message_id: str | None
    error: str


MAILS = select(*(column for column in mails.c if not column.name.startswith("sealed")))
"""Every mail, without what is in it, as `mail_of` reads it."""


def mail_of(row: Any, moment: datetime) -> Mail:
    """A mail from a row of `MAILS`."""
    error = str(json.loads(row.error).get("message", "")) if row.error else ""
    return Mail(row.id, row.case, row.kind, state_of(row, moment), row.created_at, row.sent_at, row.next_at, row.attempt, row.message_id, error)


def state_of(row: Any, moment: datetime) -> MailState:
    """The state; one in handover for longer than its sender can take is in doubt before any sweep says so."""
    state = MailState(row.state)
    return MailState.DOUBT if state is MailState.HANDOVER and (row.next_at is None or row.next_at <= moment) else state
