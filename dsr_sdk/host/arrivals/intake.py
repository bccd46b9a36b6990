"""How requests come in beside `Host.submit`: the public form, an agent's hand, a file, the REST API.

Whatever comes in becomes a `Request`, is taken in by one transaction with its audit event, and is told to nobody twice: a form sent twice, a
file imported twice and a reference used twice lead to the case there is.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConfigError, RequestError
from dsr_sdk.host.answers.links import Purpose
from dsr_sdk.host.arrivals.form_words import form_words
from dsr_sdk.host.arrivals.forms import TRAP, FormError, FormSpec, form_of, read_form
from dsr_sdk.host.arrivals.intake_files import FileImport, ImportResult, format_of
from dsr_sdk.host.arrivals.intake_rows import Format, request_of
from dsr_sdk.host.arrivals.throttle import Throttle, network, too_many
from dsr_sdk.host.cases.verification import Requirement, requirement, unmarked
from dsr_sdk.host.desk import Desk, now
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.host.people.workers import may
from dsr_sdk.identity import Email
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.database import LedgerConflict
from dsr_sdk.ledger.schema import case_identities, cases
from dsr_sdk.request import Channel, Regime, Request, RequestType

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host

__all__ = ["ImportResult", "Intake", "Taken"]

_BY_HAND = (Channel.AGENT, Channel.EMAIL, Channel.APP, Channel.PROVIDER)
_EARLIEST = timedelta(days=3660)
_LATEST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that was taken in: its case, and whether the case is new."""

    case: str
    new: bool


class Intake(Desk):
    """The ways in."""

    fastest = timedelta(seconds=2)
    """Nobody fills in the form faster."""
    stale = timedelta(hours=4)
    """How long an open page can be sent."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._throttle = Throttle(self.vault)

    # --- the public form -----------------------------------------------------------------------------------------------------------

    def form(self, language: str = "en") -> FormSpec:
        """The form in a language, or in the first one offered.

        Raises:
            ConfigError: There is no privacy center: it is switched off, or the host has no workflow.
        """
        _ = self.settings
        if not self.host.config.privacy_center.enabled:
            raise ConfigError("the privacy center is switched off", field="privacy_center.enabled", fix="set it to true")
        return form_of(self.host.config.privacy_center, self.host.config.host.company, language)

    def stamp(self) -> str:
        """What an empty form carries in its field ``stamp``: when it was given out, signed. Good for `stale`."""
        text = f"{int(now().timestamp() * 1000)}.{secrets.token_urlsafe(12)}"
        return f"{text}.{self._signature(text)}"

    def submit_form(self, data: Mapping[str, str], *, client: str, language: str) -> str:
        """Take in what a visitor has sent: a case in review whose identity is unproven, and an e-mail that asks to confirm the address,
        or, where the law forbids to ask, only says that the request has come.

        Whether we know the person makes no difference to anything that a visitor sees. Sent twice, the same form gives the same case.

        Args:
            data: The fields as they came: those of `form`, ``type``, ``scope``, ``stamp`` and the trap.
            client: The visitor's network address: counted by a keyed hash in memory, kept nowhere.
            language: Of the form; the request is answered in it.

        Returns:
            The case number.

        Raises:
            FormError: With what to tell, field by field.
            TooManyError: Too much came from this address or this client.
        """
        form = self.form(language)
        nonce = self._sent_by_a_person(form, data)
        fields = read_form(form, data)
        said = self.vault.fingerprint("form", nonce, json.dumps(fields, sort_keys=True))
        request = Request.parse({**fields, "channel": Channel.PRIVACY_CENTER, "reference": f"form-{said.hex()}"})
        known = self._known(request)
        if known is not None:
            return known
        limits = self.host.config.privacy_center
        self._throttle.hit("client", network(client), limits.per_client_hour)
        self._throttle.hit("address", request.subject.email, limits.per_address_hour)
        return self._take_form(request)

    def _sent_by_a_person(self, form: FormSpec, data: Mapping[str, str]) -> str:
        """The nonce of the form's stamp, if it is ours, neither too young nor too old, and the trap is empty."""
        if data.get(TRAP, "").strip():
            raise FormError({TRAP: form.text("errors.trap")})
        text, _, signature = data.get("stamp", "").rpartition(".")
        genuine = hmac.compare_digest(self._signature(text).encode(), signature.encode(errors="replace")) if text.isascii() else False
        age = timedelta(milliseconds=now().timestamp() * 1000 - int(text.partition(".")[0])) if genuine else None
        if age is None or age > self.stale:
            raise FormError({"": form.text("errors.expired")})
        if age < self.fastest:
            raise FormError({"": form.text("errors.fast")})
        return text

    def _signature(self, text: str) -> str:
        return self.vault.fingerprint("form stamp", text).hex()

    def _known(self, request: Request) -> str | None:
        """The case of a reference."""
        digest = self.vault.fingerprint("reference", request.reference or "")
        with self.reading() as connection:
            number: str | None = connection.execute(select(cases.c.case).where(cases.c.reference_fingerprint == digest)).scalar()
        return number

    def _take_form(self, request: Request) -> str:
        try:
            return self._try_form(request)
        except LedgerConflict:  # the same form, sent twice at once to two processes: now it is there
            return self._try_form(request)

    def _try_form(self, request: Request) -> str:
        with self.deciding() as (connection, book):
            self._not_flooded(connection, request, book)
            [taken] = self._add(connection, [request], book)
            if taken.new:
                self._confirm(connection, request, book)
        return taken.case

    def _not_flooded(self, connection: Connection, request: Request, book: Book) -> None:
        """Count in the ledger too: it knows what other processes took, and what was before a restart."""
        hour = timedelta(hours=1)
        fingerprint = self.ledger.cases.fingerprint(request.subject.first(Email))
        count, oldest = connection.execute(
            select(func.count(), func.min(cases.c.created_at))
            .select_from(case_identities.join(cases, cases.c.case == case_identities.c.case))
            .where(
                case_identities.c.fingerprint == fingerprint, cases.c.channel == Channel.PRIVACY_CENTER.value, cases.c.created_at > book.now - hour
            )
        ).one()
        if count >= self.host.config.privacy_center.per_address_hour:
            raise too_many(max(1, int((oldest + hour - book.now).total_seconds())))

    def _confirm(self, connection: Connection, request: Request, book: Book) -> None:
        """The e-mail after a form. Nothing that the visitor has typed stands in it: the address may be a stranger's, and the text an advert."""
        text = form_words(request.language)
        case = self.ledger.cases.get(connection, request.case)
        needed = self._requirement(case.regime, request.type)
        lines = [text("mail.hello"), "", text("mail.received", company=self.host.config.host.company), ""]
        lines += [text("mail.request", type=text(f"types.{request.type.value}")), text("mail.case", case=request.case), ""]
        if needed is Requirement.FORBIDDEN:
            lines += [text("mail.forbidden"), ""]
        else:
            valid = timedelta(days=self.settings.link_days)
            data = {"address": request.subject.email}
            token = self.host.links.make(Purpose.VERIFY, case=request.case, connection=connection, book=book, data=data, valid=valid)
            until = self.host.templates.words(request.language).day(book.now + valid)
            lines += [text(f"mail.{needed.value}"), "", self.host.links.url(Purpose.VERIFY, token), "", text("mail.valid", until=until), ""]
        lines += [text("mail.stranger" if needed is Requirement.REQUIRED else "mail.stranger_free"), ""]
        lines += [text("mail.bye"), self.host.config.host.company]
        kind = "receipt" if needed is Requirement.FORBIDDEN else "verify"
        subject = text("mail.subject", case=request.case)
        try:
            self.host.outbox.write(connection, book, case=request.case, kind=kind, to=request.subject.email, subject=subject, body="\n".join(lines))
        except RequestError as error:  # an address that is one, and not in ASCII: the request has arrived all the same
            book.note(request.case, "mail.failed", "host", kind=kind, error=type(error).__name__)

    def asks_for(self, case: str) -> Requirement:
        """What the page after the form tells about proof: it follows from type and law alone."""
        found = self.host.workflow.get(case)
        return self._requirement(found.regime, RequestType(found.type))

    @staticmethod
    def _requirement(regime: str | None, type_: RequestType) -> Requirement:
        return requirement(Regime(regime) if regime else None, type_)

    # --- people and programs of ours -----------------------------------------------------------------------------------------------

    def create(self, fields: Mapping[str, Any], *, by: str, once: str = "") -> str:
        """Take in a request that an agent has written down; its case number. Its identity is unproven.

        Args:
            fields: Those of a `Request`; ``email``, ``phone``, ``user_id``, ``first_name``, ``last_name`` may stand beside ``subject``, and
                ``custom.NAME`` beside ``custom_fields``. ``channel`` is ``agent``, or ``email``, ``app``, ``provider``: how it reached the
                agent. Empty texts count as not given.
            once: What the form was given out with. Sent twice, the same form gives the same case.

        Raises:
            RequestError: Names the field.
        """
        given = {key: value for key, value in fields.items() if value not in (None, "")}
        if once:
            said = self.vault.fingerprint("form", once, json.dumps(given, sort_keys=True, default=str))
            given["reference"] = f"form-{said.hex()}"
        request = request_of(given, channel=Channel.AGENT, own={field.name: field for field in self.host.config.privacy_center.fields})
        if request.channel not in _BY_HAND:
            raise RequestError("cannot be given by an agent", field="channel", fix=f"one of {', '.join(_BY_HAND)}")
        self.check_time(request, now())
        return self.take_many([request], by=by, by_hand=True)[0].case

    def take(self, request: Request, *, by: str) -> Taken:
        """Take in a request that a person or a program of ours hands over. The same ``reference`` twice gives the same case.

        Raises:
            RequestError: It was received in the future, or more than ten years ago; or its case number is taken.
        """
        self.check_time(request, now())
        return self.take_many([request], by=by)[0]

    def import_file(
        self,
        source: str | Path | IO[bytes],
        *,
        format: Format | None = None,
        by: str,
        dry_run: bool = False,
        partial: bool = False,
        vouched: bool = True,
        on_progress: Callable[[str, int], None] = lambda step, rows: None,
    ) -> ImportResult:
        """Take in a file of requests. See `dsr_sdk.host.arrivals.intake_files`, and ``docs/intake.md`` for what may stand in one.

        Args:
            source: A path, or a binary stream that can be read again from where it stands.
            format: ``csv``, ``json`` (a list) or ``jsonl``; None reads it off the name of the path.
            dry_run: Check only.
            vouched: Whether its channels prove whom it is about. Never for an account that may not review: whoever may only take requests in
                would verify them by way of a file.
            partial: Take what is right although something is wrong. Otherwise one wrong row keeps the whole file out.
            on_progress: Told ``checked`` or ``taken``, and how many rows so far.

        Raises:
            RequestError: The file cannot be opened, or its format is not told. Wrong rows do not raise: they are in the result.
        """
        if isinstance(source, str | Path):
            path = Path(source)
            told = format or format_of(path)
            try:
                with path.open("rb") as stream:
                    return self.import_file(stream, format=told, by=by, dry_run=dry_run, partial=partial, vouched=vouched, on_progress=on_progress)
            except OSError as error:
                raise RequestError(f"cannot be read: {type(error).__name__}", source=path.name, fix="look at the path") from None
        if format is None:
            raise RequestError("is not told", field="format", fix="csv, json or jsonl")
        vouched = vouched and may(self.host, by, Permission.REVIEW)
        file = FileImport(self, source, format, on_progress)
        found = file.check()
        if dry_run:
            return found
        return file.take(by=by, vouched=vouched) if partial or not found.wrong else replace(found, taken=0, duplicates=0)

    # --- one transaction -----------------------------------------------------------------------------------------------------------

    def take_many(self, requests: Sequence[Request], *, by: str, by_hand: bool = False) -> list[Taken]:
        """Take in a few hundred requests in one transaction, in their order.

        Args:
            by_hand: A person wrote them down: no channel vouches for anybody.

        Raises:
            RequestError: A case number is taken; then none was taken in.
        """
        try:
            return self._try(requests, by, by_hand)
        except LedgerConflict:  # on PostgreSQL someone else may hand in the same reference at this very moment: now it is there
            return self._try(requests, by, by_hand)

    def _try(self, requests: Sequence[Request], by: str, by_hand: bool) -> list[Taken]:
        with self.deciding() as (connection, book):
            taken = self._add(connection, requests, book, by_hand=by_hand)
            for found in taken:
                if found.new:
                    book.note(found.case, "request.entered", by)
        return taken

    def _add(self, connection: Connection, requests: Sequence[Request], book: Book, *, by_hand: bool = False) -> list[Taken]:
        if self.host.config.workflow is not None:
            requests = [unmarked(request) if by_hand else self.host.workflow.brought(request) for request in requests]
        taken = [Taken(number, new) for number, new in self.ledger.cases.add(connection, requests, book)]
        if self.host.config.workflow is not None:
            fresh = {found.case for found in taken if found.new}
            self.host.workflow.begin(connection, [request for request in requests if request.case in fresh], book, by_hand=by_hand)
        return taken

    @staticmethod
    def check_time(request: Request, moment: datetime) -> None:
        """Deadlines count from when it was received: a day that cannot be meant makes a due date that means nothing.

        Raises:
            RequestError: It is in the future, or more than ten years ago.
        """
        if not moment - _EARLIEST <= request.received_at <= moment + _LATEST:
            raise RequestError("is in the future, or more than ten years ago", field="received_at", fix="give the day when the request was received")
