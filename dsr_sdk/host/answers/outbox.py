"""Mail to people: written into the ledger first, then sent, once.

    ready --the server has agreed to everything--> handover --its last answer--> sent
      |  ^                                            |
      |  `-- resend, by a person's word --------------+--> doubt: nobody knows whether it was sent
      `--> failed: refused, or put off for three days |    `--> sent, by a person's word
      `--> dropped: no longer wanted                  `--> ready: refused with the last answer

A mail cannot be unsent. Whoever sends one writes *handover* down right before the first byte of it leaves, and only one can: that is what
keeps two senders from sending it both. A mail found in *handover* later than its sender can have taken is in doubt, and stays so until a
person has looked. However often it is sent, its Message-ID is the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, true, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConfigError, ConflictError, ContractError, DsrError, RejectedError, RequestError, TransientError, VaultError
from dsr_sdk.host.answers.mails import KINDS, MAILS, Mail, MailState, mail_of, state_of
from dsr_sdk.host.desk import HOST, Desk, now
from dsr_sdk.host.masking import masked_address
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.desk import mails
from dsr_sdk.ledger.vault import CaseKey
from dsr_sdk.mail.headers import checked_address
from dsr_sdk.mail.message import build_message, message_id
from dsr_sdk.mail.plain import plain_body, plain_letter, plain_subject

__all__ = ["KINDS", "Mail", "MailState", "Outbox"]

_BY_PEOPLE = ("reply", "message")
_CONTEXT = "mails.sealed"
_TOLERATED = 3
"""Mails that one after the other are put off before a sweep leaves the server alone: each may cost a timeout."""
_PATIENCE = timedelta(days=3)
"""How long a mail is tried that the server puts off. Mail servers themselves do about the same."""


class _Lost(Exception):
    """Someone else has taken the mail meanwhile. Never leaves this module."""


class Outbox(Desk):
    """Writes mail down and sends it."""

    def write(self, connection: Connection, book: Book, *, case: str | None, kind: str, to: str, subject: str, body: str, later: bool = True) -> int:
        """Write a mail down in the caller's transaction. It leaves when the transaction is over: by `send`, or by a `sweep`.

        Args:
            case: The case under whose key it is sealed; None for one of the host's own.
            kind: One of `KINDS`.
            later: Whether a sweep may send it. Without, it waits for `send` alone.

        Returns:
            Its id.

        Raises:
            RequestError: Address, subject or body cannot be mailed; repeats none of them.
            VaultError: The case was shredded.
        """
        if kind not in KINDS:
            raise ContractError(f"there is no such kind of mail: {kind}")
        content = {"to": _address(to), "subject": plain_subject(subject), "body": plain_body(body)}
        key = self._key(connection, case)
        row = connection.execute(
            insert(mails)
            .values(
                case=case,
                kind=kind,
                state=MailState.READY.value,
                sealed=key.seal(json.dumps(content).encode(), _CONTEXT),
                sealed_to=key.seal(masked_address(content["to"]).encode(), "mails.sealed_to") if case is not None else None,
                next_at=book.now if later else None,
                created_at=book.now,
            )
            .returning(mails.c.id)
        ).scalar_one()
        return int(row)

    def send(self, id: int) -> MailState:
        """Send a mail now, unless it was sent. Never sends again what may have been sent.

        Returns:
            ``sent``; ``doubt`` when the server's last answer never came; or the state of one that is not to be sent.

        Raises:
            TransientError: The server puts it off. A sweep tries again, where one may.
            RejectedError: The server refused it or its recipient for good.
            AuthError: The server refused our login.
            ConfigError: There is no ``[mail]``, or the server is not what it says. The mail waits.
            ConflictError: Someone else is sending it at this moment.
        """
        try:
            return self._send(id)
        except _Lost:
            mail = self.get(id)
        if mail.state in (MailState.READY, MailState.HANDOVER):
            raise ConflictError("this mail is being sent at this moment", source=mail.case, fix="look again in a few minutes")
        return mail.state

    def sweep(self, limit: int = 100) -> int:
        """Send what is due, the oldest first; how many were sent. Two sweeps at once send nothing twice. One mail's failure is not another's."""
        moment = now()
        self._doubt(moment)
        with self.reading() as connection:
            due = list(
                connection.execute(
                    select(mails.c.id)
                    .where(mails.c.next_at <= moment, mails.c.state == MailState.READY.value)
                    .order_by(mails.c.next_at, mails.c.id)
                    .limit(limit)
                ).scalars()
            )
        sent = put_off = 0
        for mail in due:
            try:
                sent += self._send(mail, swept=True) is MailState.SENT
                put_off = 0
            except (_Lost, RejectedError, ContractError, RequestError, VaultError):
                continue  # it stands with the mail, and in the audit log; or its case is damaged, and the others' are not
            except TransientError:
                put_off += 1
                if put_off == _TOLERATED:
                    break
            except DsrError:
                break  # no login, no server, no ledger: the next one would fare the same
        return sent

    def confirm_sent(self, id: int, *, by: str, case: str | None = None) -> None:
        """A person found out that a mail in doubt was sent.

        Args:
            case: Whose mail it must be; None for any.

        Raises:
            RequestError: It is a reply, which `Replies.settle` settles, for that closes its case; or no mail of that case.
            ConflictError: It is not in doubt.
        """
        self._settleable(id, case)
        with self.deciding() as (connection, book):
            self.confirmed(connection, book, id, by=by)

    def resend(self, id: int, *, by: str, case: str | None = None) -> None:
        """A person wants a mail sent that is in doubt or failed. If it was sent after all, it arrives twice, under one Message-ID.

        Args:
            case: Whose mail it must be; None for any.

        Raises:
            RequestError: It is a reply, or no mail of that case: see `confirm_sent`.
            ConflictError: It is neither.
        """
        self._settleable(id, case)
        with self.deciding() as (connection, book):
            self.again(connection, book, id, by=by)

    def _settleable(self, id: int, case: str | None) -> None:
        mail = self.get(id)
        if case is not None and mail.case != case:
            raise RequestError("there is no such mail", field="mail", fix="look at the request again")
        if mail.kind == "reply":
            raise RequestError("a reply is settled at its request", source=mail.case, fix="open the request, and say there whether it was sent")

    def confirmed(self, connection: Connection, book: Book, id: int, *, by: str) -> None:
        """`confirm_sent`, of a reply too, in the caller's transaction."""
        row = self._turn(connection, id, (MailState.DOUBT,), state=MailState.SENT.value, sent_at=book.now, next_at=None, error=None, sealed=None)
        _note(book, row.case, "mail.confirmed_sent", by, mail=id, kind=row.kind)

    def again(self, connection: Connection, book: Book, id: int, *, by: str) -> None:
        """`resend`, of a reply too, in the caller's transaction."""
        wanted = (MailState.DOUBT, MailState.FAILED)
        row = self._turn(connection, id, wanted, state=MailState.READY.value, next_at=book.now, error=None)
        _note(book, row.case, "mail.resent", by, mail=id, kind=row.kind, doubt=row.state == MailState.DOUBT.value)

    def drop(self, connection: Connection, id: int) -> bool:
        """Give up a mail that was certainly not sent; whether it could be given up. Someone who is connecting with it finds it gone."""
        done = connection.execute(
            update(mails).where(mails.c.id == id, mails.c.state == MailState.READY.value).values(state=MailState.DROPPED.value, next_at=None)
        )
        return done.rowcount == 1

    # --- looking -------------------------------------------------------------------------------------------------------------------

    def get(self, id: int) -> Mail:
        """One mail. Raises `RequestError` when there is none."""
        with self.reading() as connection:
            return self.of_id(connection, id)

    def of_id(self, connection: Connection, id: int) -> Mail:
        """`get` in the caller's transaction. One whose sender is overdue is shown in doubt."""
        row = connection.execute(MAILS.where(mails.c.id == id)).first()
        if row is None:
            raise RequestError("there is no such mail", field="id")
        return mail_of(row, now())

    def of(self, case: str) -> list[Mail]:
        """The mails of a case, oldest first."""
        with self.reading() as connection:
            return [mail_of(row, now()) for row in connection.execute(MAILS.where(mails.c.case == case).order_by(mails.c.id))]

    def stuck(self, limit: int = 100, *, replies: bool = False) -> list[Mail]:
        """Mails that need a person: in doubt or failed, the newest first.

        Args:
            replies: Replies to cases, too. They are settled there (`Replies.settle`), for that closes the case.
        """
        moment = now()
        lost = (mails.c.state == MailState.HANDOVER.value) & (mails.c.next_at <= moment)
        wanted = mails.c.state.in_((MailState.DOUBT.value, MailState.FAILED.value)) | lost
        with self.reading() as connection:
            rows = connection.execute(MAILS.where(wanted, true() if replies else mails.c.kind != "reply").order_by(mails.c.id.desc()).limit(limit))
            return [mail_of(row, moment) for row in rows]

    def waiting(self, limit: int = 100) -> list[Mail]:
        """Mails that leave by themselves, the oldest first: not tried yet, or put off, with the reason."""
        with self.reading() as connection:
            rows = connection.execute(
                MAILS.where(mails.c.state == MailState.READY.value, mails.c.next_at.is_not(None)).order_by(mails.c.id).limit(limit)
            )
            return [mail_of(row, now()) for row in rows]

    # --- sending -------------------------------------------------------------------------------------------------------------------

    def _send(self, id: int, *, swept: bool = False) -> MailState:
        """One attempt. A sweep makes it only if it is still due: a second sweep finds the lease of the first and goes on."""
        moment = now()
        claim = self._claim(id, moment, swept)
        if isinstance(claim, MailState):
            return claim
        row, content, lease = claim
        post = self.host.post
        if post is None:
            error = ConfigError("no mail server is configured", field="mail.host", fix="fill in [mail] in dsr.toml; nothing is lost meanwhile")
            self._put_off(row, error, book_it=False)
            raise error
        key = self.vault.fingerprint("mail", str(id)).hex()
        identity = message_id(key, post.letterhead.domain)

        def handing_over() -> None:
            with self.deciding() as (connection, _):
                mine = update(mails).where(mails.c.id == id, mails.c.state == MailState.READY.value, mails.c.attempt == row.attempt)
                done = connection.execute(mine.values(state=MailState.HANDOVER.value, next_at=now() + lease, message_id=identity))
                if done.rowcount != 1:
                    raise _Lost
            self.host.step("mail handover")

        self.host.step("before mail")
        try:
            letter = plain_letter(post.letterhead, **content)
            post.mailer.send(build_message(letter, key, auto_submitted=row.kind not in _BY_PEOPLE), before_data=handing_over)
        except TransientError as error:
            if not error.maybe_done:
                self._put_off(row, error, give_up=moment - row.created_at >= _PATIENCE)
                raise
            self._record(row, MailState.DOUBT, "mail.in_doubt", error)
            return MailState.DOUBT
        except (RejectedError, ContractError, RequestError) as error:
            self._record(row, MailState.FAILED, "mail.failed", error)
            raise
        except DsrError as error:
            self._put_off(row, error)
            raise
        self.host.step("after mail")
        self._record(row, MailState.SENT, "mail.sent", None)
        return MailState.SENT

    def _claim(self, id: int, moment: datetime, swept: bool) -> tuple[Any, dict[str, str], timedelta] | MailState:
        """Count an attempt, so that whoever began before loses at handover, and open the mail. Or the state of one that is not to be sent."""
        lease = self._lease()
        with self.deciding() as (connection, _):
            row = connection.execute(select(mails).where(mails.c.id == id).with_for_update()).first()
            if row is None:
                raise RequestError("there is no such mail", field="id")
            if swept and row.state != MailState.READY.value:
                raise _Lost
            if row.state == MailState.HANDOVER.value:
                if row.next_at is not None and row.next_at > moment:
                    raise _Lost
                return MailState.DOUBT
            if row.state != MailState.READY.value:
                return MailState(row.state)
            if row.sealed is None:  # shredded
                connection.execute(update(mails).where(mails.c.id == id).values(state=MailState.DROPPED.value, next_at=None))
                return MailState.DROPPED
            if swept and (row.next_at is None or row.next_at > moment):
                raise _Lost
            content = json.loads(self._key(connection, row.case).open(row.sealed, _CONTEXT))
            leased = None if row.next_at is None else moment + lease
            claimed = connection.execute(
                update(mails).where(mails.c.id == id).values(attempt=row.attempt + 1, next_at=leased).returning(*mails.c)
            ).one()
        return claimed, content, lease

    def _record(self, row: Any, state: MailState, event: str, error: DsrError | None) -> None:
        """What became of an attempt. Where it is to be recorded but someone else has taken the mail, theirs counts."""
        with self.deciding() as (connection, book):
            mine = update(mails).where(mails.c.id == row.id, mails.c.attempt == row.attempt, mails.c.state.in_(("ready", "handover")))
            sent_at = book.now if state is MailState.SENT else None
            # What was sent is not kept here: a copy link in it would outlive its mail.
            done = connection.execute(
                mine.values(state=state.value, next_at=None, sent_at=sent_at, error=_said(error), **({"sealed": None} if sent_at else {}))
            )
            if done.rowcount == 1:
                said = {"error": type(error).__name__} if error is not None else {}
                _note(book, row.case, event, "host", mail=row.id, kind=row.kind, **said)

    def _put_off(self, row: Any, error: DsrError, *, give_up: bool = False, book_it: bool = True) -> None:
        """It was certainly not sent: try again later, or give up."""
        if give_up:
            return self._record(row, MailState.FAILED, "mail.failed", error)
        options = self.host.options
        wait = min(options.backoff * 2 ** min(row.attempt - 1, 30), options.longest_backoff)
        with self.deciding() as (connection, book):
            mine = update(mails).where(mails.c.id == row.id, mails.c.attempt == row.attempt, mails.c.state.in_(("ready", "handover")))
            next_at = None if row.next_at is None else book.now + wait
            connection.execute(mine.values(state=MailState.READY.value, next_at=next_at, error=_said(error)))
            if book_it and row.attempt == 1:
                _note(book, row.case, "mail.put_off", "host", mail=row.id, kind=row.kind, error=type(error).__name__)
        return None

    def _doubt(self, moment: datetime) -> None:
        """Mails whose sender never came back."""
        overdue = (mails.c.state == MailState.HANDOVER.value) & (mails.c.next_at <= moment)
        with self.reading() as connection:
            if connection.execute(select(mails.c.id).where(overdue).limit(1)).first() is None:
                return
        said = json.dumps({"class": "Interrupted", "message": "the program ended while the mail was being handed over: it may have been sent"})
        with self.deciding() as (connection, book):
            done = update(mails).where(overdue).values(state=MailState.DOUBT.value, next_at=None, error=said)
            for row in connection.execute(done.returning(mails.c.id, mails.c.case, mails.c.kind)).all():
                _note(book, row.case, "mail.in_doubt", "host", mail=row.id, kind=row.kind, error="Interrupted")

    def _turn(self, connection: Connection, id: int, states: Sequence[MailState], **values: Any) -> Any:
        """Change a mail that stands in one of these states; the row as it was before."""
        moment = now()
        row = connection.execute(select(mails).where(mails.c.id == id).with_for_update()).first()
        state = None if row is None else state_of(row, moment)
        if row is None or state not in states:
            raise ConflictError("this mail is not " + " or ".join(states), field="id", fix="look at it again")
        connection.execute(update(mails).where(mails.c.id == id).values(**values))
        return row

    def _lease(self) -> timedelta:
        """The longest that an attempt can take, up to handover and from there: whoever is silent for longer is gone."""
        post = self.host.post
        if post is None:
            return timedelta(minutes=20)
        settings = post.mailer.settings
        return timedelta(seconds=max(10 * settings.timeout, settings.data_timeout + 2 * settings.timeout) + 30)

    def _key(self, connection: Connection, case: str | None) -> CaseKey:
        return self.vault.box() if case is None else self.ledger.cases.key(connection, case)


def _said(error: DsrError | None) -> str | None:
    return None if error is None else json.dumps({"class": type(error).__name__, "message": error.message})


def _note(book: Book, case: str | None, event: str, actor: str, **data: Any) -> None:
    book.note(case or HOST, event, actor, **data)


def _address(to: str) -> str:
    try:
        return checked_address(to)
    except ValueError as error:
        problem = str(error)
    raise RequestError(problem, field="to", fix="reach the person another way")
