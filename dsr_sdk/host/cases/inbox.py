"""The requests page: open and closed cases a page at a time, filters, search, counts, and decisions about many cases at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError
from sqlalchemy import delete, func, insert, literal_column, select
from sqlalchemy.engine import Connection

from dsr_sdk.errors import RequestError
from dsr_sdk.host.cases.filters import OPEN, Cursor, Filter, Page, SavedFilter, keys
from dsr_sdk.host.cases.together import BulkResult, Finishing, Step, Together
from dsr_sdk.host.desk import now
from dsr_sdk.host.masking import masked_subject
from dsr_sdk.identity import ControllerId, Email, Identity, Phone
from dsr_sdk.ledger.cases import CASE_COLUMNS, Case, case_of
from dsr_sdk.ledger.database import writing
from dsr_sdk.ledger.desk import case_sources, filters, messages
from dsr_sdk.ledger.schema import case_identities, cases
from dsr_sdk.request import CASE_NUMBER

if TYPE_CHECKING:
    from dsr_sdk.host.cases.dashboard import Dashboard
    from dsr_sdk.host.cases.review import Review

__all__ = ["BulkResult", "Counts", "Filter", "Finishing", "Inbox", "Page", "SavedFilter", "Step"]

_MOST = 50
"""What a search gives at most, and how many filters an account may save."""

_FEW = 2_000
"""So many cases of a data source are gone through in a few milliseconds."""

_SPACING = re.compile(r"[\s\-_.:/]+")
_LOOK_ALIKE = str.maketrans("ILO", "110")  # Crockford: what is read aloud or off paper comes back as one of these


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits, at a glance.

    Attributes:
        by_stage: Open cases in review, process and reply.
        overdue: Open cases whose time is up.
        due_soon: Open cases whose time is up within ``due_soon_days``.
        unassigned: Open cases that nobody has taken.
        unread: Answers of people that nobody has read.
    """

    by_stage: dict[str, int]
    overdue: int
    due_soon: int
    unassigned: int
    unread: int


class Inbox(Together):
    """Lists of cases. Nothing here opens personal data, but `review`, and `people`, which gives it masked."""

    # --- lists ---------------------------------------------------------------------------------------------------------------------

    def page(self, filter: Filter, *, after: str | None = None, limit: int = 50) -> Page:
        """A page of cases: of the open ones the one due soonest first, of the closed ones the one closed last.

        Args:
            after: `Page.next` or `Page.previous` of a page of the same filter; None for the first page.
            limit: 1 to 500.

        Raises:
            RequestError: `after` is no such thing.
        """
        limit = max(1, min(limit, 500))
        cursor = Cursor.of(after) if after else None
        with self.reading() as connection:
            rare = self._rare(connection, filter)
            found = [(at, case) for at, case in connection.execute(keys(filter, cursor, now=now(), limit=limit + 1, rare=rare))]
            if not found and cursor is not None and cursor.back:  # everything before it has gone meanwhile
                cursor = None
                found = [(at, case) for at, case in connection.execute(keys(filter, None, now=now(), limit=limit + 1, rare=rare))]
            more, found = len(found) > limit, found[:limit]
            back = cursor is not None and cursor.back
            if back:
                found.reverse()
            numbers = [case for _, case in found]
            rows = self._rows(connection, numbers)
            unread = self._unread(connection, numbers)
        first = str(Cursor(*found[0], back=True)) if found and (more if back else cursor is not None) else None
        last = str(Cursor(*found[-1])) if found and (back or more) else None
        return Page(tuple(rows[case] for case in numbers), last, first, frozenset(unread))

    def search(self, text: str, *, people: bool = True) -> list[Case]:
        """Cases by their number, however it is spelt, or by exact identity: e-mail address, international phone number, or the controller's
        own id (``namespace:value`` for ids outside the namespace ``user_id``). The newest first, at most 50.

        What is sealed cannot be searched; identities are found by their keyed hashes, so part of an address finds nothing.

        Args:
            people: Whether identities are looked for; without, case numbers alone.
        """
        text = text.strip()
        number = _case_number(text)
        with self.reading() as connection:
            if number is not None:
                rows = connection.execute(select(*CASE_COLUMNS).where(cases.c.case == number, cases.c.stage.is_not(None)))
                if found := [case_of(row) for row in rows]:
                    return found
            prints = [self.ledger.cases.fingerprint(identity) for identity in (_identities(text) if people else ())]
            if not prints:
                return []
            query = (
                select(*CASE_COLUMNS)
                .where(cases.c.case.in_(select(case_identities.c.case).where(case_identities.c.fingerprint.in_(prints))))
                .where(cases.c.stage.is_not(None))
                .order_by(cases.c.received_at.desc(), cases.c.case)
                .limit(_MOST)
            )
            return [case_of(row) for row in connection.execute(query)]

    def people(self, found: Iterable[Case]) -> dict[str, str]:
        """Who asks, masked (``a…@example.com``), by case number; nothing for those of whom nothing can be said, or that cannot be opened."""
        numbers = [case.number for case in found]
        with self.reading() as connection:
            opened = self.ledger.cases.readable(connection, numbers)
        return {number: label for number, request in opened.items() if (label := masked_subject(request.subject))}

    def counts(self) -> Counts:
        """How many wait. Reads the indexes of what is open, whatever the number of closed cases."""
        moment = now()
        soon = moment + timedelta(days=self.settings.due_soon_days)
        running = (*OPEN, cases.c.paused_at.is_(None))
        count = select(func.count()).select_from(cases)
        with self.reading() as connection:
            by_stage = dict.fromkeys(("review", "process", "reply"), 0) | open_by(connection, "stage")
            overdue = connection.execute(count.where(*running, cases.c.due_at < moment)).scalar_one()
            due_soon = connection.execute(count.where(*running, cases.c.due_at >= moment, cases.c.due_at < soon)).scalar_one()
            unassigned = connection.execute(count.where(*OPEN, cases.c.agent.is_(None))).scalar_one()
            unread = connection.execute(select(func.count()).select_from(messages).where(*_UNREAD)).scalar_one()
        return Counts(by_stage, overdue, due_soon, unassigned, unread)

    def dashboard(self) -> Dashboard:
        """What is open, how long it takes, and how the data sources are doing."""
        from dsr_sdk.host.cases.dashboard import dashboard

        return dashboard(self)

    def review(self, case: str, *, by: str | None = None, language: str = "en") -> Review:
        """Everything that the review panel shows of a case, personal data among it.

        Args:
            by: The person who looks at it; stands in the audit log. None when a program does, on a person's behalf.
            language: Of the labels of the privacy center's fields.

        Raises:
            LedgerError: There is no such case.
        """
        from dsr_sdk.host.cases.review import review

        return review(self.host, case, by=by, language=language)

    def _rare(self, connection: Connection, filter: Filter) -> bool:
        """Whether few enough closed cases had the filter's data source to go through all of them."""
        if filter.open or filter.source is None or not filter.narrow:
            return False
        some = select(case_sources.c.case).where(case_sources.c.source == filter.source, case_sources.c.ended_at.is_not(None)).limit(_FEW + 1)
        return int(connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()) <= _FEW

    def _rows(self, connection: Connection, numbers: Sequence[str]) -> dict[str, Case]:
        rows = connection.execute(select(*CASE_COLUMNS).where(cases.c.case.in_(numbers))) if numbers else ()
        return {row[0]: case_of(row) for row in rows}

    def _unread(self, connection: Connection, numbers: Sequence[str]) -> set[str]:
        if not numbers:
            return set()
        query = select(messages.c.case).where(*_UNREAD)
        return set(connection.execute(query.where(messages.c.case.in_(numbers))).scalars())

    # --- saved filters -------------------------------------------------------------------------------------------------------------

    def save_filter(self, account: str, name: str, filter: Filter) -> int:
        """Keep a filter under a name; one of the same name is replaced. Its id.

        Raises:
            RequestError: The name is empty or longer than 100 characters, or the account has saved 50 already.
        """
        name = " ".join(name.split())
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise RequestError("must have 1 to 100 characters", field="name")
        with writing(self.ledger.engine) as connection:
            connection.execute(delete(filters).where(filters.c.account == account, filters.c.name == name))
            if connection.execute(select(func.count()).select_from(filters).where(filters.c.account == account)).scalar_one() >= _MOST:
                raise RequestError(f"more than {_MOST} filters are not kept", field="filter", fix="drop one first")
            row = {"account": account, "name": name, "query": filter.to_json(), "created_at": now()}
            made: int = connection.execute(insert(filters).values(**row).returning(filters.c.id)).scalar_one()
        return made

    def saved_filters(self, account: str) -> list[SavedFilter]:
        """An account's filters, by name. One that a newer program saved and this one cannot read is left out."""
        with self.reading() as connection:
            rows = connection.execute(
                select(filters.c.id, filters.c.name, filters.c.query).where(filters.c.account == account).order_by(filters.c.name, filters.c.id)
            ).all()
        found: list[SavedFilter] = []
        for id_, name, query in rows:
            try:
                found.append(SavedFilter(id_, name, Filter.from_json(query)))
            except RequestError:
                continue
        return found

    def drop_filter(self, account: str, id: int) -> None:
        """Forget a filter of one's own. Raises `RequestError` when the account has no such filter."""
        with writing(self.ledger.engine) as connection:
            if connection.execute(delete(filters).where(filters.c.account == account, filters.c.id == id)).rowcount != 1:
                raise RequestError("there is no such filter", field="filter")


_UNREAD = (messages.c.direction == literal_column("'in'"), messages.c.read_at.is_(None))  # in the words of their index


def open_by(connection: Connection, column: Literal["stage", "type"]) -> dict[str, int]:
    """How many open cases there are of each stage or type."""
    what = cases.c[column]
    query = select(what, func.count()).where(*OPEN).group_by(what)
    return {str(value): int(count) for value, count in connection.execute(query)}


def _case_number(text: str) -> str | None:
    """A case number from whatever a person typed: any case, any spacing, with or without the prefix, with letters taken for digits."""
    letters = _SPACING.sub("", text).upper()
    letters = (letters[3:] if len(letters) == 19 and letters.startswith("DSR") else letters).translate(_LOOK_ALIKE)
    number = "-".join(["DSR", *(letters[start : start + 4] for start in range(0, len(letters), 4))])
    return number if CASE_NUMBER.fullmatch(number) else None


def _identities(text: str) -> list[Identity]:
    """Whatever identities a text may be."""
    if not text or len(text) > 512:
        return []
    namespace, colon, value = text.partition(":")
    tries: list[tuple[type[Identity], dict[str, str]]] = [(Email, {"value": text}), (Phone, {"value": text}), (ControllerId, {"value": text})]
    if colon:
        tries.append((ControllerId, {"value": value, "namespace": namespace}))
    found: list[Identity] = []
    for kind, data in tries:
        try:
            found.append(kind.model_validate(data))
        except ValidationError:  # it is not of this kind; what it says would quote the text
            continue
    return found
