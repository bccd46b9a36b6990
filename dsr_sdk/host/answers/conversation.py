"""The conversation with the person: messages by mail, answers by a link, notes among agents; and the mail that verifies an address.

It shows what was said here, and nothing of what passed between the person and the company elsewhere: by telephone, in a help desk, in
anybody's own mailbox.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConflictError, DsrError, MissingIdentityError, RequestError
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.host.answers.outbox import MailState
from dsr_sdk.host.cases.verification import Method, Requirement, reached
from dsr_sdk.host.cases.workflow import Decision, Stage
from dsr_sdk.host.desk import Desk
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import messages
from dsr_sdk.mail.plain import plain_body
from dsr_sdk.request import Request, RequestType

if TYPE_CHECKING:
    from dsr_sdk.host.process.files import FileInfo

__all__ = ["MAX_ANSWERS", "MAX_FILES", "MAX_TEXT", "Conversation", "Message", "Thread"]

MAX_TEXT = 8_000
"""Characters a message, an answer or a note may have."""
MAX_FILES = 5
"""Files with one message."""
_AT_ONCE = timedelta(minutes=1)
"""Who sends the same words twice in this time has pressed twice."""
MAX_ANSWERS = 20
"""Answers by one link; a case takes five times as many."""

_CONTEXT = "messages.sealed"
_OPEN = (Stage.REVIEW.value, Stage.PROCESS.value, Stage.REPLY.value)


@dataclass(frozen=True, slots=True)
class Message:
    """Something that was said.

    Attributes:
        direction: ``out`` (to the person), ``in`` (from the person), ``note`` (among agents: the person never sees it).
        author: An account, or ``subject``.
        files: What came with it.
        mail: The mail it went out with, and how far that has come.
        read: An agent has seen it; always so for what agents wrote.
    """

    id: int
    at: datetime
    direction: str
    author: str
    body: str = field(repr=False)
    files: tuple[FileInfo, ...] = field(default=(), repr=False)
    mail: int | None = None
    mail_state: MailState | None = None
    read: bool = True


@dataclass(frozen=True, slots=True)
class Thread:
    """What the person sees behind a link: what was written to them, and no more.

    Attributes:
        answers_left: How many answers the link still takes.
    """

    case: str
    company: str
    language: str
    messages: tuple[Message, ...]
    answers_left: int
    expires_at: datetime


class Conversation(Desk):
    """What agents and the person say to each other about a case."""

    def of(self, case: str, *, by: str | None = None) -> list[Message]:
        """The conversation of a case, oldest first; empty once it is shredded.

        Args:
            by: The agent who looks at it: answers are then read. None for a program.
        """
        with self.reading() as connection:
            found = self._of(connection, self.ledger.cases.get(connection, case))
        if by is not None and any(not message.read for message in found):
            unread = [message.id for message in found if not message.read]
            with self.deciding() as (connection, book):
                done = connection.execute(update(messages).where(messages.c.id.in_(unread), messages.c.read_at.is_(None)).values(read_at=book.now))
                if done.rowcount:
                    book.note(case, "messages.read", by, count=done.rowcount)
        return found

    def unread(self, case: str) -> int:
        """Answers that no agent has seen."""
        query = select(func.count()).where(messages.c.case == case, messages.c.direction == "in", messages.c.read_at.is_(None))
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())

    # --- agents --------------------------------------------------------------------------------------------------------------------

    def message(self, case: str, body: str, *, by: str, files: Sequence[int] = ()) -> int:
        """*Message user*: a mail to the person, with a link to answer. Written down, then sent; one that is put off is sent later by itself,
        and `Message.mail_state` tells of one that cannot be sent.

        Args:
            files: Files of the case (purpose ``message``) that the person may fetch behind the link.

        Returns:
            The message's id. Of the same words without files, said by the same agent within a minute, it is that of the first.

        Raises:
            ConflictError: The case is closed.
            RequestError: The text cannot be mailed, or the person has no e-mail address.
        """
        body = plain_body(body, limit=MAX_TEXT).rstrip("\n")
        if len(files) > MAX_FILES:
            raise RequestError(f"a message has at most {MAX_FILES} files", field="files", source=case)
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage=_OPEN)
            request = self.ledger.cases.requests(connection, [case])[case]
            to = _address(request)
            known = {info.id for info in self.host.files.listed(connection, current, purpose="message")}
            if not known.issuperset(files):
                raise RequestError("there is no such file", field="files", source=case)
            if not files and (same := self._just_said(connection, current, body, by, book.now)) is not None:
                return same
            words = self.host.templates.words(request.language)
            text = body if not files else f"{body}\n\n{words.mails['files'][1]}"
            valid = timedelta(days=self.settings.link_days)
            token = self.host.links.make(Purpose.ANSWER, case=case, connection=connection, book=book, valid=valid, uses=MAX_ANSWERS)
            subject, letter = self.host.templates.mail(
                "message",
                request.language,
                {
                    "body": text,
                    "case": case,
                    "company": self.host.config.host.company,
                    "until": words.day(book.now + valid),
                    "link": self.host.links.url(Purpose.ANSWER, token),
                },
            )
            mail = self.host.outbox.write(connection, book, case=case, kind="message", to=to, subject=subject, body=letter)
            number = self._add(connection, book, case, "out", by, body, files, mail)
            book.note(case, "message.written", by, message=number, mail=mail, files=len(files))
        self._send(mail)
        return number

    def note(self, case: str, body: str, *, by: str) -> int:
        """Something for the other agents, at any time. The person never sees it. The note's id.

        Raises:
            RequestError: It is empty or too long.
        """
        body = plain_body(body, limit=MAX_TEXT).rstrip("\n")
        with self.deciding() as (connection, book):
            self.held(connection, case)
            number = self._add(connection, book, case, "note", by, body, (), None)
            book.note(case, "note.added", by, message=number)
        return number

    def ask_to_verify(self, case: str, *, by: str) -> None:
        """Send the person a mail with a link that proves that they read mail at the request's address. An earlier link ends. A copy is handed
        over to a confirmed address only, so for one it may be asked when the person was proven otherwise, and up to the reply.

        Raises:
            ConflictError: The identity is proven already, or the case is past processing.
            RequestError: The law forbids to ask for it, or there is no e-mail address.
        """
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage=_asked_in(self.ledger.cases.get(connection, case)))
            if self.host.workflow.requirement(current) is Requirement.FORBIDDEN:
                raise RequestError("the law forbids to ask for proof of identity here", source=case, fix="go on without it")
            request = self.ledger.cases.requests(connection, [case])[case]
            if current.verified_at is not None and (current.type != RequestType.COPY or reached(request) is not None):
                raise ConflictError("the person's identity is verified already", source=case, fix="look at it again")
            to = _address(request)
            words = self.host.templates.words(request.language)
            valid = timedelta(days=self.settings.link_days)
            self.host.links.revoke(case, Purpose.VERIFY, connection=connection)
            token = self.host.links.make(Purpose.VERIFY, case=case, connection=connection, book=book, data={"address": to}, valid=valid)
            subject, letter = self.host.templates.mail(
                "verify",
                request.language,
                {
                    **self.host.templates.person(request),
                    "type": words.types[current.type],
                    "case": case,
                    "company": self.host.config.host.company,
                    "until": words.day(book.now + valid),
                    "link": self.host.links.url(Purpose.VERIFY, token),
                },
            )
            mail = self.host.outbox.write(connection, book, case=case, kind="verify", to=to, subject=subject, body=letter)
            book.note(case, "identity.asked", by, method=Method.EMAIL.value, mail=mail)
        self._send(mail)

    # --- the person ----------------------------------------------------------------------------------------------------------------

    def confirm_address(self, token: str) -> None:
        """The person pressed the button behind the link of a verification mail: the case is verified by e-mail. A proof that was there before
        stays.

        Raises:
            LinkError: The link cannot be used (any more), or nobody waits for the proof.
        """
        case = self.host.links.look(token, Purpose.VERIFY).case
        with self.deciding() as (connection, book):
            self.ledger.cases.hold(connection, [case] if case is not None else [])  # first, as everyone does: the case, then its links
            link = self.host.links.use(token, Purpose.VERIFY, connection, book)
            current = self._current(connection, link.case, _OPEN)
            current = self._current(connection, link.case, _asked_in(current))
            address = link.data.get("address")
            if current.verified_at is not None:
                self.host.workflow.mark(connection, current, Method.EMAIL, address=address)
                book.note(current.number, "address.confirmed", "subject")
            else:
                self.host.workflow.prove(connection, book, current, Method.EMAIL, by="subject", address=address)

    def thread(self, token: str) -> Thread:
        """What the page behind an answer link shows. Uses nothing up. Raises `LinkError`."""
        link = self.host.links.look(token, Purpose.ANSWER)
        with self.reading() as connection:
            current = self._current(connection, link.case, _OPEN)
            language = self.ledger.cases.requests(connection, [current.number])[current.number].language
            written = tuple(message for message in self._of(connection, current) if message.direction == "out")
        return Thread(current.number, self.host.config.host.company, language, written, link.uses_left, link.expires_at)

    def fetch(self, token: str, file: int) -> tuple[FileInfo, Iterator[bytes]]:
        """A file that was sent to the person with a message. What they sent themselves does not come out again: a link may be forwarded.

        Raises:
            LinkError: The link cannot be used, or the file is none of these.
        """
        thread = self.thread(token)
        if not any(info.id == file for message in thread.messages for info in message.files):
            raise LinkError("this link cannot be used", fix="it may be mistyped, too old, or used already: ask for a new one")
        return self.host.files.read(thread.case, file)

    def answer(self, token: str, body: str, files: Sequence[tuple[BinaryIO, str, str]] = ()) -> None:
        """The person answers. The link takes `MAX_ANSWERS` within its days.

        Args:
            files: At most `MAX_FILES`: stream, name, media type. See `Files.attach` for what is taken.

        Raises:
            LinkError: The link cannot be used (any more), or the case is closed.
            RequestError: The text is empty or too long, a file is not taken, or there were too many answers. Nothing of it is kept.
        """
        body = plain_body(_printable(body), limit=MAX_TEXT).rstrip("\n")
        if len(files) > MAX_FILES:
            raise RequestError(f"an answer has at most {MAX_FILES} files", field="files")
        link = self.host.links.look(token, Purpose.ANSWER)
        with self.reading() as connection:
            case = self._current(connection, link.case, _OPEN).number
        with self.host.files.attached(case, files, purpose="message", by="subject") as attached, self.deciding() as (connection, book):
            self.ledger.cases.hold(connection, [case])
            self.host.links.use(token, Purpose.ANSWER, connection, book)
            self._current(connection, case, _OPEN)
            so_far = connection.execute(select(func.count()).where(messages.c.case == case, messages.c.direction == "in")).scalar_one()
            if so_far >= 5 * MAX_ANSWERS:
                raise RequestError("there are too many answers", source=case, fix="wait for ours")
            number = self._add(connection, book, case, "in", "subject", body, attached, None)
            book.note(case, "message.received", "subject", message=number, files=len(attached))

    # --- within --------------------------------------------------------------------------------------------------------------------

    def _just_said(self, connection: Connection, case: Case, body: str, by: str, at: datetime) -> int | None:
        """The message with which the same agent has said the same a moment ago: its mail is not written twice."""
        for last in self._of(connection, case)[-1:]:
            if (last.direction, last.author, last.body, last.files) == ("out", by, body, ()) and at - last.at < _AT_ONCE:
                return last.id
        return None

    def _current(self, connection: Connection, number: str | None, stages: Sequence[str]) -> Case:
        """The case of a link, where it stands in one of these stages; otherwise the link is no good, and does not say why."""
        case = self.ledger.cases.get(connection, number) if number is not None else None
        if case is None or case.stage not in stages or case.shredded:
            raise LinkError("this link cannot be used", fix="it may be mistyped, too old, or used already: ask for a new one")
        return case

    def _of(self, connection: Connection, case: Case) -> list[Message]:
        query = select(messages).where(messages.c.case == case.number, messages.c.sealed.is_not(None)).order_by(messages.c.id)
        rows = connection.execute(query).all() if not case.shredded else []
        if not rows:
            return []
        key = self.ledger.cases.key(connection, case.number)
        files = {info.id: info for info in self.host.files.listed(connection, case, purpose="message")}
        found = []
        for row in rows:
            content = json.loads(key.open(row.sealed, _CONTEXT))
            attached = tuple(files[number] for number in content["files"] if number in files)
            state = self.host.outbox.of_id(connection, row.mail).state if row.mail is not None else None
            read = row.direction != "in" or row.read_at is not None
            found.append(Message(row.id, row.at, row.direction, row.author, content["body"], attached, row.mail, state, read))
        return found

    def _add(
        self, connection: Connection, book: Book, case: str, direction: str, author: str, body: str, files: Sequence[int], mail: int | None
    ) -> int:
        content = json.dumps({"body": body, "files": list(files)}).encode()
        values: dict[str, Any] = {"case": case, "at": book.now, "direction": direction, "author": author, "mail": mail}
        sealed = self.ledger.cases.key(connection, case).seal(content, _CONTEXT)
        return int(connection.execute(insert(messages).values(sealed=sealed, **values).returning(messages.c.id)).scalar_one())

    def _send(self, mail: int) -> None:
        """Send it right away where that works. Where not, the mail itself says why, and a sweep sends what can still be sent."""
        with suppress(DsrError):
            self.host.outbox.send(mail)


def _asked_in(case: Case) -> tuple[str, ...]:
    """Where a case stands that may still wait for an address to be confirmed."""
    copy = case.type == RequestType.COPY and case.decision == Decision.ACCEPTED and case.verified_at is not None
    return _OPEN if copy else _OPEN[:2]


def _address(request: Request) -> str:
    try:
        return request.subject.email
    except MissingIdentityError:
        raise RequestError("the person has no e-mail address", source=request.case, fix="reach them another way, and note what was said") from None


def _printable(text: str) -> str:
    """What a browser may have sent along unseen is left out: the person is not there to be told."""
    return "".join(character for character in text if character in "\r\n\t" or unicodedata.category(character) not in ("Cc", "Cs"))
