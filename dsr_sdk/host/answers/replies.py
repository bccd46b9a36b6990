"""The reply to a case, and *Reply & close*: send, then close, as one action.

A case is closed only when its reply has left. If the mail cannot be sent the case stays in reply and the text is kept. If nobody can know
whether it was sent (the program or the server died at the wrong moment), the case stays, too, and a person decides with `Replies.settle`.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, or_, select, true, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import (
    AuthError,
    ConfigError,
    ConflictError,
    ContractError,
    DsrError,
    MissingIdentityError,
    RejectedError,
    RequestError,
    TransientError,
)
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.host.answers.outbox import MailState
from dsr_sdk.host.answers.templates import COPY_LINK
from dsr_sdk.host.cases.workflow import Stage
from dsr_sdk.host.desk import Desk, now
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import CASE_COLUMNS, Case, case_of
from dsr_sdk.ledger.desk import replies, templates
from dsr_sdk.ledger.schema import cases
from dsr_sdk.mail.plain import plain_body, plain_subject

__all__ = ["Replies", "Reply"]

_CONTEXT = "replies.sealed"
_UNSENT = (TransientError, RejectedError, AuthError, ConfigError, ContractError, RequestError)
"""What sending raises when nothing was sent."""
_UNSETTLED = "it is not known whether the reply was sent"
_BUSY = "the reply is being sent at this moment"
_CHANGED = "someone else has changed the reply meanwhile"
_HOST = "host"
_PAUSE = timedelta(minutes=15)
"""How long an automatic reply waits after one that was put off."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it stands: stored by an agent, or pre-filled.

    Attributes:
        mode: ``mail``, or ``none``: closed without one.
        template: The id of the template it began from.
        language: The template's; `asked` is the one the person wants.
        subject: Plain text, and so is `body`: nothing in them is filled in any more, but ``COPY_LINK``.
        reason: Why there is no reply.
        edited_at: None for one that was only pre-filled.
        revision: Of the text; 0 while nobody has written one. Hand it to `Replies.edit`, which then overwrites nobody else's.
        mail: The mail it went out with, for `Outbox`.
        state: How far that has come; None while there is none.
        error: Why it was not sent.
        outdated: The facts have changed since the text was written (a data source was finished meanwhile): read it again.
    """

    case: str
    mode: str
    template: str | None
    language: str | None
    asked: str
    subject: str = field(repr=False)
    body: str = field(repr=False)
    reason: str = field(default="", repr=False)
    edited_at: datetime | None = None
    edited_by: str | None = None
    mail: int | None = None
    state: MailState | None = None
    error: str = ""
    outdated: bool = False
    revision: int = 0


class Replies(Desk):
    """What is answered, and the end of cases."""

    def get(self, case: str) -> Reply:
        """The reply of a case: what was stored, or else what the case's template gives now.

        Raises:
            ConflictError: Nothing is decided about the case yet.
        """
        with self.reading() as connection:
            current = self.ledger.cases.get(connection, case)
            row = connection.execute(select(replies).where(replies.c.case == case)).first()
            if row is not None:
                return self._stored(connection, current, row)
        chosen = self.host.templates.chosen(case)
        subject, body = self.host.templates.render(chosen.template, case)
        return Reply(case, "mail", chosen.template.id, chosen.template.language, chosen.asked, subject, body)

    def edit(
        self,
        case: str,
        *,
        subject: str | None = None,
        body: str | None = None,
        by: str,
        template: str | None = None,
        mode: str = "mail",
        reason: str = "",
        revision: int | None = None,
    ) -> int:
        """Store a reply, while the case is processed or in reply. The text is sent as it stands: braces in it are braces.

        Args:
            subject: None takes the template's, filled in as of now; likewise `body`.
            template: The id of the template it begins from; None for the one that was pre-filled.
            mode: ``mail``, or ``none`` to close without a reply.
            reason: Why there is to be no reply.
            revision: `Reply.revision` of what the caller has read; None for a caller who has not looked.

        Returns:
            The revision of what is stored now.

        Raises:
            ConflictError: Someone else has changed the reply meanwhile; it was sent, or may have been; or the case is not there.
            RequestError: The text cannot be mailed, or the template cannot be filled in.
        """
        if mode not in ("mail", "none"):
            raise RequestError("is mail or none", field="mode")
        before = self.get(case)
        used = template or before.template
        fresh = self._fresh(case, used)
        if mode == "mail":
            subject = plain_subject(fresh[0] if subject is None else subject)
            body = plain_body(fresh[1] if body is None else body)
        content = {"subject": subject or "", "body": body or "", "reason": reason.strip()[:2_000], "facts": _facts(fresh)}
        language = self.host.templates.get(template).language if template else before.language
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage=(Stage.PROCESS.value, Stage.REPLY.value))
            row = connection.execute(select(replies).where(replies.c.case == case)).first()
            self._unsent(connection, case, row)
            self._unchanged(case, row, revision)
            values = {"mode": mode, "template": used, "language": language, "edited_at": book.now, "edited_by": by}
            self._store(connection, current, row, content, values)
            book.note(case, "reply.edited", by, mode=mode, template=used, language=language)
        return _revision(row) + 1

    def close(self, case: str, *, by: str, revision: int | None = None, text: int | None = None) -> None:
        """*Reply & close*: send the reply, and close the case when it has left.

        Args:
            revision: What the caller has seen.
            text: `Reply.revision` of the text that the caller has read: no other is sent.

        Raises:
            ConflictError: Someone else was faster, or it is not known whether the reply was sent (see `settle`). Nothing is sent again.
            RequestError: There is nothing to close it with: no reason where there is no reply, no address, no copy to link to.
            DsrError: The mail was not sent; the case stays in reply, the text is kept, and the message says why.
        """
        reply = self.get(case)
        if reply.state is MailState.DOUBT:
            raise ConflictError(_UNSETTLED, source=case, fix="look for it in the mail server's log, then say that it was sent, or send it again")
        if reply.state is MailState.HANDOVER:
            raise ConflictError(_BUSY, source=case, fix="look again in a few minutes")
        if reply.state is not MailState.SENT:
            if text is not None and text != reply.revision:
                raise ConflictError(_CHANGED, source=case, fix="look at it again")
            if reply.mode == "none":
                return self._without(case, reply, by, revision)
            self._send(case, reply, by, revision)
            return self._end(case, by, None, sent=True)
        return self._end(case, by, revision)

    def settle(self, case: str, *, sent: bool, by: str) -> None:
        """A person has found out about a reply in doubt, and goes on: the case is closed, when it was not sent after sending it again.

        Raises:
            ConflictError: It is not in doubt.
            DsrError: See `close`.
        """
        mail = self.get(case).mail
        if mail is None:
            raise ConflictError("no reply of this case is in doubt", source=case, fix="look at it again")
        with self.deciding() as (connection, book):
            (self.host.outbox.confirmed if sent else self.host.outbox.again)(connection, book, mail, by=by)
        self.close(case, by=by)

    def automatic(self, limit: int = 100) -> int:
        """Reply to and close cases whose template says so, and whose reply no agent has touched; how many. What cannot be sent waits for a
        while, or, where it was refused, for an agent."""
        with self.reading() as connection:
            rules = connection.execute(
                select(templates.c.type, templates.c.decision).where(templates.c.automatic, templates.c.archived_at.is_(None)).distinct()
            ).all()
            if not rules:
                return 0
            meant = [
                (cases.c.type == rule.type if rule.type else true()) & (cases.c.decision == rule.decision if rule.decision else true())
                for rule in rules
            ]
            waiting = (
                select(*CASE_COLUMNS, replies.c.edited_by, replies.c.edited_at)
                .outerjoin(replies, replies.c.case == cases.c.case)
                .where(cases.c.stage == Stage.REPLY.value, cases.c.ended_at.is_(None), cases.c.wrapped_key.is_not(None))
                .where(or_(*meant))
                .where(replies.c.case.is_(None) | (replies.c.edited_by == _HOST))
                .order_by(cases.c.due_at, cases.c.case)
            )
            rows = [(case_of(row[:-2]), row[-1]) for row in connection.execute(waiting)]
        closed = 0
        for case, tried_at in rows:
            if closed == limit:
                break
            if tried_at is not None and now() - tried_at < _PAUSE:
                continue
            with suppress(DsrError):  # it stands with the case; the others are not to wait for it
                chosen = self.host.templates.choose(case.number)
                if not chosen.automatic or self.get(case.number).state in (MailState.DOUBT, MailState.FAILED, MailState.HANDOVER):
                    continue
                self.close(case.number, by=_HOST, revision=case.revision)
                closed += 1
        return closed

    # --- within --------------------------------------------------------------------------------------------------------------------

    def _send(self, case: str, reply: Reply, by: str, revision: int | None) -> None:
        """Write the reply down as a mail and send it, or raise."""
        mail = self._resent(case, reply, revision)
        if mail is None:
            mail = self._write(case, reply, by, revision)
        self.host.step("reply written")
        try:
            state = self.host.outbox.send(mail)
        except ConflictError:
            raise
        except _UNSENT as error:
            with self.deciding() as (connection, book):
                self.host.outbox.drop(connection, mail)
                book.note(case, "reply.not_sent", by, error=type(error).__name__)
            error.message = f"the reply was not sent, so the case stays in reply: {error.message}"
            raise
        if state is MailState.DOUBT:
            raise ConflictError(_UNSETTLED, source=case, fix="look for it in the mail server's log, then say that it was sent, or send it again")
        if state is not MailState.SENT:
            raise ConflictError("someone else is replying to this case", source=case, fix="look at it again")
        self.host.step("reply sent")

    def _resent(self, case: str, reply: Reply, revision: int | None) -> int | None:
        """The mail that a person wants sent again; None when a new one is to be written."""
        if reply.mail is None or reply.state is not MailState.READY or self.host.outbox.get(reply.mail).next_at is None:
            return None
        with self.deciding() as (connection, _):
            self.held(connection, case, stage=Stage.REPLY.value, revision=revision)
        return reply.mail

    def _write(self, case: str, reply: Reply, by: str, revision: int | None) -> int:
        with self.reading() as connection:
            request = self.ledger.cases.requests(connection, [case])[case]
        try:
            to = request.subject.email
        except MissingIdentityError:
            to = ""
        if not to:
            raise RequestError("the person has no e-mail address", source=case, fix="close it without a reply, and reach them another way")
        with self.deciding() as (connection, _):  # before a link is made
            self.held(connection, case, stage=Stage.REPLY.value, revision=revision)
        link = self.host.delivery.offer(case, by=by) if COPY_LINK in reply.body else ""
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage=Stage.REPLY.value, revision=revision)
            row = connection.execute(select(replies).where(replies.c.case == case)).first()
            self._unchanged(case, row, reply.revision)
            self._unsent(connection, case, row)
            if link:
                self._only(connection, case, link)
            body = self.host.templates.linked(reply.body, link, reply.language or request.language)
            mail = self.host.outbox.write(connection, book, case=case, kind="reply", to=to, subject=reply.subject, body=body, later=False)
            content = {"subject": reply.subject, "body": reply.body, "reason": "", "facts": ""} if row is None or row.edited_by == _HOST else None
            values: dict[str, Any] = {"mail": mail}
            if content is not None:
                values |= {"mode": "mail", "template": reply.template, "language": reply.language, "edited_at": book.now, "edited_by": _HOST}
            self._store(connection, current, row, content, values)
            self.change(connection, current)  # whoever presses with what they saw before this is told
        return mail

    def _only(self, connection: Connection, case: str, link: str) -> None:
        """End the links to the copy that earlier attempts made. One that someone else is just sending has ended ours before."""
        try:
            return self.host.links.revoke(case, Purpose.COPY, connection=connection, but=link.rpartition("/")[2])
        except LinkError:
            pass
        raise ConflictError("someone else is replying to this case", source=case, fix="look at it again")

    def _end(self, case: str, by: str, revision: int | None, *, sent: bool = False) -> None:
        """Close a case whose reply has left. One that this very call has sent may have been closed by someone who saw that faster."""
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage=(Stage.REPLY.value, Stage.CLOSED.value), revision=revision)
            if current.stage == Stage.CLOSED.value:
                if sent:
                    return
                raise ConflictError("the case is closed already", source=case, fix="look at it again")
            row = connection.execute(select(replies).where(replies.c.case == case)).one()
            asked = self.ledger.cases.requests(connection, [case])[case].language
            book.note(case, "reply.sent", by, mail=row.mail, template=row.template, language=row.language, asked=asked)
            self._close(connection, book, current, by)
        self.host._closed([case])

    def _without(self, case: str, reply: Reply, by: str, revision: int | None) -> None:
        if not reply.reason:
            raise RequestError("closing without a reply needs a reason", field="reason", source=case)
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage=Stage.REPLY.value, revision=revision)
            row = connection.execute(select(replies).where(replies.c.case == case)).one()
            self._unsent(connection, case, row)
            self._unchanged(case, row, reply.revision)
            book.note(case, "reply.none", by, reason=True)
            self._close(connection, book, current, by)
        self.host._closed([case])

    def _close(self, connection: Connection, book: Book, case: Case, by: str) -> None:
        for purpose in (Purpose.VERIFY, Purpose.ANSWER):
            self.host.links.revoke(case.number, purpose, connection=connection)
        self.host.workflow.close(connection, book, case, by=by)

    def _unsent(self, connection: Connection, case: str, row: Any) -> None:
        """Refuse to change a reply that has left, or may have. A mail that has certainly not is given up: left by someone who died, waiting to
        be sent again with the old text, or of someone who is just connecting and will find it gone."""
        if row is None or row.mail is None:
            return
        state = self.host.outbox.of_id(connection, row.mail).state
        if state is MailState.SENT:
            raise ConflictError("the reply was sent already", source=case, fix="close the case")
        if state in (MailState.DOUBT, MailState.HANDOVER):
            raise ConflictError(_UNSETTLED if state is MailState.DOUBT else _BUSY, source=case, fix="look at it again")
        self.host.outbox.drop(connection, row.mail)

    def _unchanged(self, case: str, row: Any, revision: int | None) -> None:
        if revision is not None and revision != _revision(row):
            raise ConflictError(_CHANGED, source=case, fix="look at it again")

    def _store(self, connection: Connection, case: Case, row: Any, content: dict[str, str] | None, values: dict[str, Any]) -> None:
        if content is not None:
            key = self.ledger.cases.key(connection, case.number)
            values = {**values, "sealed": key.seal(json.dumps(content).encode(), _CONTEXT), "revision": _revision(row) + 1}
        if row is None:
            connection.execute(insert(replies).values(case=case.number, **values))
        else:
            connection.execute(update(replies).where(replies.c.case == case.number).values(**values))

    def _stored(self, connection: Connection, case: Case, row: Any) -> Reply:
        content = {"subject": "", "body": "", "reason": "", "facts": ""}
        asked = ""
        if row.sealed is not None and not case.shredded:
            content = json.loads(self.ledger.cases.key(connection, case.number).open(row.sealed, _CONTEXT))
            asked = self.ledger.cases.requests(connection, [case.number])[case.number].language
        mail = self.host.outbox.of_id(connection, row.mail) if row.mail is not None else None
        outdated = False
        if content["facts"] and row.mode == "mail" and case.stage in (Stage.PROCESS.value, Stage.REPLY.value):
            with suppress(RequestError):  # the template is gone: there is nothing to compare with
                outdated = _facts(self._fresh(case.number, row.template)) != content["facts"]
        return Reply(
            case.number,
            row.mode,
            row.template,
            row.language,
            asked,
            content["subject"],
            content["body"],
            content["reason"],
            row.edited_at,
            row.edited_by,
            row.mail,
            mail.state if mail else None,
            mail.error if mail and mail.state is not MailState.SENT else "",
            outdated,
            row.revision,
        )

    def _fresh(self, case: str, template: str | None) -> tuple[str, str]:
        found = self.host.templates.get(template) if template else self.host.templates.choose(case)
        return self.host.templates.render(found, case)


def _revision(row: Any) -> int:
    return 0 if row is None else int(row.revision)


def _facts(text: tuple[str, str]) -> str:
    """A mark of a filled-in template, to tell later whether it would still say the same. Kept sealed."""
    return hashlib.sha256("\0".join(text).encode()).hexdigest()
