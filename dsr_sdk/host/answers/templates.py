"""Texts of replies: those that come along, for every type, decision and language, and the host's own. See ``docs/replies.md``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConflictError, MissingIdentityError, RequestError
from dsr_sdk.host.answers.wording import LANGUAGES, Wording, fallbacks, wording
from dsr_sdk.host.cases.workflow import Decision
from dsr_sdk.host.desk import HOST, Desk, now
from dsr_sdk.host.process.panel import PanelSource, SourceState, sources_of
from dsr_sdk.host.words import resource_title
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import accounts, templates
from dsr_sdk.mail.headers import checked_line
from dsr_sdk.request import Request, RequestType

if TYPE_CHECKING:
    from dsr_sdk.host.answers.rendering import Value

__all__ = ["COPY_LINK", "COPY_UNTIL", "Template", "Templates"]

COPY_LINK = "[link to the copy]"
"""Stands for the link in a reply that is not sent yet. The link itself is made when the reply leaves, and written nowhere else."""
COPY_UNTIL = "[day the link ends]"
"""Stands for the day on which it ends."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")
_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Template:
    """A text to reply with.

    Attributes:
        id: ``deletion.accepted.en`` for one that comes along, a number for one of the host's own; None for one not saved yet.
        type: The request type it is for; None for every one.
        decision: The decision it is for; None for every one.
        preferred: Pre-filled without being chosen.
        automatic: A case that reaches reply with it is replied to and closed without an agent.
        revision: What the editor has seen, for `Templates.save`.
    """

    id: str | None
    name: str
    type: str | None
    decision: str | None
    language: str
    subject: str
    body: str
    preferred: bool = False
    automatic: bool = False
    revision: int = 0
    builtin: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """The template for a case, and how it was come by.

    Attributes:
        asked: The language the person asked for.
        words: The words its names are filled in with: of the template's language, or the nearest there is.
    """

    template: Template
    asked: str
    words: Wording = field(repr=False)


class Templates(Desk):
    """Keeps texts, finds the one for a case, and fills it in."""

    def list(self, type: str | None = None, decision: str | None = None, language: str | None = None) -> list[Template]:
        """Templates that may be used for a type, a decision and a language: the host's own first, by name, then those that come along."""
        own = [row for row in self._own() if type is None or row.type in (None, type)]
        found = [*own, *(_builtin(t.value, d.value, code) for code in LANGUAGES for t in RequestType for d in Decision if type in (None, t.value))]
        return [row for row in found if (decision is None or row.decision in (None, decision)) and (language is None or row.language == language)]

    def get(self, id: str) -> Template:
        """One template. Raises `RequestError` when there is none."""
        with self.reading() as connection:
            return self._get(connection, id)

    def save(self, template: Template, *, by: str, revision: int | None = None) -> Template:
        """Keep a template. One without an id, or one that comes along, becomes a new one of the host's own.

        Args:
            revision: What the editor has seen; the template's own when not given.

        Raises:
            RequestError: It cannot be filled in: says which line and name, or which field is wrong.
            ConflictError: Someone else has saved it meanwhile.
        """
        template = self._checked(template)
        values = {name: getattr(template, name) for name in ("name", "type", "decision", "language", "subject", "body", "preferred", "automatic")}
        with self.deciding() as (connection, book):
            values |= {"updated_at": book.now, "updated_by": by}
            if template.id is None or template.builtin:
                seen = 0
                number = int(connection.execute(insert(templates).values(revision=0, **values).returning(templates.c.id)).scalar_one())
            else:
                number, seen = _number(template.id), (template.revision if revision is None else revision) + 1
                mine = templates.c.id == number, templates.c.revision == seen - 1, templates.c.archived_at.is_(None)
                if connection.execute(update(templates).where(*mine).values(revision=seen, **values)).rowcount != 1:
                    raise ConflictError("someone else has changed this template meanwhile", source=template.name, fix="look at it again")
            if template.preferred:  # one a place: the newest word counts
                same = (
                    templates.c.type.is_not_distinct_from(template.type),
                    templates.c.decision.is_not_distinct_from(template.decision),
                    templates.c.language == template.language,
                )
                connection.execute(update(templates).where(*same, templates.c.id != number).values(preferred=False, automatic=False))
            book.note(HOST, "template.saved", by, template=number, revision=seen, preferred=template.preferred, automatic=template.automatic)
        return replace(template, id=str(number), revision=seen, builtin=False)

    def archive(self, id: str, *, by: str) -> None:
        """Put a template of the host's own away. Replies that began from it stay as they are.

        Raises:
            RequestError: It comes along with the SDK, or there is none.
        """
        with self.deciding() as (connection, book):
            values = {"archived_at": book.now, "updated_at": book.now, "updated_by": by, "preferred": False, "automatic": False}
            mine = templates.c.id == _number(id), templates.c.archived_at.is_(None)
            if id not in _BUILTIN and connection.execute(update(templates).where(*mine).values(**values)).rowcount:
                book.note(HOST, "template.archived", by, template=_number(id))
                return
        raise RequestError("there is no such template of your own", field="id", fix="those that come along stay; save one of your own instead")

    # --- for a case ----------------------------------------------------------------------------------------------------------------

    def choose(self, case: str) -> Template:
        """The template that a case's reply is pre-filled with. See `chosen`."""
        return self.chosen(case).template

    def chosen(self, case: str) -> Chosen:
        """The template for a case: language by language (the one asked for, without its country, the host's, English) the host's own
        preferred one, else the one that comes along.

        Raises:
            ConflictError: Nothing is decided about the case yet.
        """
        with self.reading() as connection:
            row = self.ledger.cases.get(connection, case)
            asked = self.ledger.cases.requests(connection, [case])[case].language
        decision = _decision(row)
        tags = fallbacks(asked, self.host.config.host.language)
        own = [t for t in self._own() if t.preferred and t.type in (None, row.type) and t.decision in (None, decision)]
        for tag in tags:
            fitting = [t for t in own if t.language == tag]
            if fitting:
                best = max(fitting, key=lambda t: (t.type is not None, t.decision is not None, _number(t.id or "0")))
                return Chosen(best, asked, self._words(best.language))
            if tag in LANGUAGES:
                return Chosen(_builtin(row.type, decision, tag), asked, wording(tag))
        raise AssertionError("English is always there")

    def render(self, template: Template, case: str) -> tuple[str, str]:
        """Subject and body for a case. `COPY_LINK` stands where the link to a copy will be.

        Raises:
            RequestError: The template cannot be filled in; says which line, never a value.
        """
        return self._fill(template.subject, template.body, self._facts(case, self._words(template.language)), template.name)

    def preview(self, subject: str, body: str, language: str) -> tuple[str, str]:
        """Subject and body with sample values.

        Raises:
            RequestError: The template cannot be filled in; says which line and name.
        """
        return self._fill(subject, body, self._sample(self._words(language)), None)

    def mail(self, name: str, language: str, values: Mapping[str, str]) -> tuple[str, str]:
        """Subject and body of one of the packaged mails (``message``, ``verify``) in a language, or the nearest there is."""
        from dsr_sdk.host.answers import rendering

        words = self._words(language)
        filled = [
            rendering.fill(rendering.check(text, field=field, source=name, names=values), values, field=field)
            for field, text in zip(("subject", "body"), words.mails[name], strict=True)
        ]
        return " ".join(filled[0].split()), filled[1]

    def linked(self, body: str, link: str, language: str) -> str:
        """A reply as it leaves: with the link to the copy, and the day on which it ends when it leaves now."""
        until = self._words(language).day(now() + timedelta(days=self.settings.copy_days))
        return body.replace(COPY_LINK, link).replace(COPY_UNTIL, until)

    def words(self, language: str) -> Wording:
        """The words of a language, or of the nearest there is."""
        return self._words(language)

    def person(self, request: Request) -> dict[str, str]:
        """What a letter calls a person: each name on one line, and no longer than names are."""
        name = request.subject.name
        first, last = (_short(part) for part in ((name.first, name.last) if name else ("", "")))
        return {"first_name": first, "last_name": last, "full_name": " ".join(part for part in (first, last) if part)}

    # --- within --------------------------------------------------------------------------------------------------------------------

    def _facts(self, case: str, words: Wording) -> dict[str, Value]:
        with self.reading() as connection:
            row = self.ledger.cases.get(connection, case)
            request = self.ledger.cases.requests(connection, [case])[case]
            rows, _ = sources_of(self.host, connection, row)
            agent = connection.execute(select(accounts.c.name).where(accounts.c.account == row.agent)).scalar() if row.agent else None
        decision = _decision(row)
        accepted = decision == Decision.ACCEPTED.value
        retained = tuple(
            (f"{s.title} ({resource_title(self.host, s.source, resource)})" if resource else s.title, text)
            for s in rows
            if s.state not in _UNDONE
            for resource, text in s.retained
        )
        try:
            email = request.subject.email
        except MissingIdentityError:
            email = ""
        return {
            **self.person(request),
            "email": email,
            "company": self.host.config.host.company,
            "case": case,
            "type": words.types[row.type],
            "received_on": words.day(row.received_at),
            "due_on": words.day(row.due_at),
            "decision": words.decisions[decision],
            "reason": words.reasons.get(row.reason or "", "") if decision == Decision.REJECTED.value else "",
            "remedy": words.remedy(row.regime),
            "sources": tuple((source.title, _said(source, row.type, words)) for source in rows) if accepted else (),
            "except_for": _titles(rows, SourceState.OVERRIDDEN) if accepted else "",
            "not_finished": _titles(rows, SourceState.ACCEPTED) if accepted else "",
            "retained": retained if accepted and row.type == RequestType.DELETION.value else (),
            "copy_link": COPY_LINK if accepted and row.type == RequestType.COPY.value else "",
            "copy_until": COPY_UNTIL if accepted and row.type == RequestType.COPY.value else "",
            "earlier_case": row.duplicate_of or "" if decision == Decision.DUPLICATE.value else "",
            "agent": agent or self.host.config.host.company,
        }

    def _sample(self, words: Wording) -> dict[str, Value]:
        received = datetime(2026, 3, 2, tzinfo=UTC)
        return {
            "first_name": "Ada",
            "last_name": "Lovelace",
            "full_name": "Ada Lovelace",
            "email": "ada@example.com",
            "company": self.host.config.host.company,
            "case": "DSR-0000-0000-0000-0000",
            "type": words.types["deletion"],
            "received_on": words.day(received),
            "due_on": words.day(received + timedelta(days=31)),
            "decision": words.decisions["accepted"],
            "reason": words.reasons["no_match"],
            "remedy": words.remedy("eu_gdpr"),
            "sources": (("Stripe", words.results["deleted"]), ("Archive", words.results["confirmed"])),
            "except_for": "Zendesk",
            "not_finished": "Amplitude",
            "retained": (("Stripe (invoices)", "…"),),
            "copy_link": "https://privacy.example.com/p/copy/…",
            "copy_until": words.day(received + timedelta(days=38)),
            "earlier_case": "DSR-1111-1111-1111-1111",
            "agent": "Alice",
        }

    def _fill(self, subject: str, body: str, values: Mapping[str, Value], name: str | None) -> tuple[str, str]:
        from dsr_sdk.host.answers import rendering

        line = rendering.fill(rendering.check(subject, field="subject", source=name), values, field="subject", source=name)
        text = rendering.fill(rendering.check(body, field="body", source=name), values, field="body", source=name)
        # A subject is one line, and nothing in it is decoded by a mail program: a name may hold anything.
        return " ".join(line.replace("=?", "= ?").split())[:200].strip(), text.strip("\n") + "\n"

    def _words(self, language: str) -> Wording:
        return wording(next(tag for tag in fallbacks(language, self.host.config.host.language) if tag in LANGUAGES))

    def _checked(self, template: Template) -> Template:
        try:
            name = checked_line(template.name, limit=100)
        except ValueError as error:
            raise RequestError(str(error), field="name") from None
        language = template.language.lower()
        if not _LANGUAGE.fullmatch(language) or len(language) > 35:
            raise RequestError("is not a language tag like en or pt-br", field="language", source=name)
        if template.type is not None and template.type not in tuple(RequestType):
            raise RequestError("is not a type of request", field="type", source=name, fix=f"one of: {', '.join(RequestType)}")
        if template.decision is not None and template.decision not in tuple(Decision):
            raise RequestError("is not a decision", field="decision", source=name, fix=f"one of: {', '.join(Decision)}")
        if template.automatic and not template.preferred:
            raise RequestError("is sent without being chosen, so it must be preferred", field="automatic", source=name)
        if not template.subject.strip() or not template.body.strip():
            raise RequestError("is empty", field="body" if template.subject.strip() else "subject", source=name)
        # Tried with everything there and with nothing there: what would fail for some person fails here.
        sample = self._sample(self._words(language))
        for values in (sample, {key: "" if isinstance(value, str) else () for key, value in sample.items()}):
            self._fill(template.subject, template.body, values, name)
        return replace(template, name=name, language=language)

    def _own(self) -> Sequence[Template]:
        with self.reading() as connection:
            rows = connection.execute(select(templates).where(templates.c.archived_at.is_(None)).order_by(templates.c.name, templates.c.id))
            return [_template(row) for row in rows]

    def _get(self, connection: Connection, id: str) -> Template:
        if id in _BUILTIN:
            return _builtin(*_BUILTIN[id])
        row = connection.execute(select(templates).where(templates.c.id == _number(id), templates.c.archived_at.is_(None))).first()
        if row is None:
            raise RequestError("there is no such template", field="template", fix="see: dsr templates list")
        return _template(row)


_BUILTIN = {f"{t.value}.{d.value}.{code}": (t.value, d.value, code) for t in RequestType for d in Decision for code in LANGUAGES}
_UNDONE = (SourceState.OVERRIDDEN, SourceState.UNSUPPORTED)
_RESULTS = {
    SourceState.NOTHING_FOUND: "nothing_found",
    SourceState.RETAINED: "retained",
    SourceState.EMAIL_SENT: "requested",
}
_DONE = {"deletion": "deleted", "copy": "copied", "do_not_sell": "opted_out"}


def _titles(rows: Iterable[PanelSource], state: SourceState) -> str:
    """The data sources that stand so, in words."""
    return ", ".join(row.title for row in rows if row.state is state)


def _said(source: PanelSource, type: str, words: Wording) -> str:
    """What became of a data source, as the person is told."""
    if source.state is SourceState.ACCEPTED:  # until when, as far as the vendor says; nothing where that is past
        expected = source.next_at is not None and source.next_at > now()
        return words.results["accepted_until" if expected else "accepted"].format(day=words.day(source.next_at))
    return words.results[_result(source, type)]


def _result(source: PanelSource, type: str) -> str:
    """What is said of a data source. What a person did by hand is *done*; only a vendor's own answer is *deleted*."""
    if source.state is SourceState.DONE and source.result:
        return {"attached": "copied"}.get(source.result, source.result)
    if source.state is SourceState.DONE:
        return _DONE.get(type, "confirmed") if source.process == "automated" else "answered" if source.process == "email" else "confirmed"
    return _RESULTS.get(source.state, "not_done")


def _decision(case: Case) -> str:
    if case.decision is None:
        raise ConflictError("nothing is decided about this case yet, so there is nothing to reply", source=case.number)
    return case.decision


def _builtin(type: str, decision: str, language: str) -> Template:
    words = wording(language)
    subject, body = words.texts[decision, type]
    name = f"{words.types[type]}: {words.decisions[decision]}"
    return Template(f"{type}.{decision}.{language}", name, type, decision, language, subject, body, builtin=True)


def _template(row: Any) -> Template:
    return Template(
        str(row.id), row.name, row.type, row.decision, row.language, row.subject, row.body, bool(row.preferred), bool(row.automatic), row.revision
    )


def _number(id: str) -> int:
    return int(id) if id.isascii() and id.isdigit() and len(id) < 10 else -1


def _short(name: str) -> str:
    # Control characters cannot be mailed, and `COPY_LINK` would be replaced by a link: no reply could leave.
    plain = "".join(letter for letter in name if unicodedata.category(letter) not in ("Cc", "Cs") or letter.isspace())
    return " ".join(plain.replace("[", "(").replace("]", ")").split())[:_NAME_LENGTH].strip()
