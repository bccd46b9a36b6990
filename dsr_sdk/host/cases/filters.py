"""Filters of the requests page, and the queries they become: keyset paging, each over an index that has the page's order already.

A page is read in two steps: first the keys of its cases, from an index that carries everything a filter may ask for; then the rows of
those few. So what a filter sorts out costs an index entry, not a row with its sealed request, and a deep page costs what the first does.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Select, exists, literal, literal_column, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from dsr_sdk.errors import RequestError
from dsr_sdk.host.cases.workflow import Stage
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.columns import Instant
from dsr_sdk.ledger.desk import case_sources, messages
from dsr_sdk.ledger.schema import cases
from dsr_sdk.request import CASE_NUMBER, Channel, RequestType

__all__ = ["OPEN", "Cursor", "Filter", "Page", "SavedFilter", "keys"]

OPEN: tuple[ColumnElement[bool], ...] = (cases.c.stage.is_not(None), cases.c.ended_at.is_(None))
"""Cases that are not closed, in the words of the indexes that hold only them."""

_ENDED = cases.c.ended_at.is_not(None)
_Keys = Select[datetime, str]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which cases a requests page shows. Every part narrows; what is None does not.

    Attributes:
        open: Open cases, the one due soonest first; otherwise closed ones, the one closed last first.
        stage: ``review``, ``process``, ``reply``; ``closed`` is the same as ``open=False``.
        source: A data source that was chosen for the case.
        agent: The account it is assigned to; ``""`` for cases assigned to nobody.
        due_before: Due on this day or earlier; days are those of UTC.
        due_after: Due on this day or later.
        overdue: The time is up; of closed cases, they were closed too late. A clock that stands still is never overdue.
        unread: An answer of the person was read by nobody.

    Raises:
        RequestError: A stage, type or channel that does not exist.
    """

    open: bool = True
    stage: str | None = None
    type: str | None = None
    source: str | None = None
    agent: str | None = None
    due_before: date | None = None
    due_after: date | None = None
    overdue: bool = False
    channel: str | None = None
    unread: bool = False

    def __post_init__(self) -> None:
        for field, words in (("stage", Stage), ("type", RequestType), ("channel", Channel)):
            if getattr(self, field) is not None and getattr(self, field) not in list(words):
                raise RequestError("does not exist", field=field, fix=", ".join(words))
        if self.stage == Stage.CLOSED:
            object.__setattr__(self, "open", False)
            object.__setattr__(self, "stage", None)
        if self.stage is not None and not self.open:
            raise RequestError("closed cases are in no other stage", field="stage")

    @property
    def narrow(self) -> bool:
        """Whether it asks for something that has an index of its own."""
        return any(part is not None for part in (self.type, self.agent, self.channel))

    def to_json(self) -> str:
        """As it is saved."""
        said = {name: value.isoformat() if isinstance(value, date) else value for name, value in asdict(self).items()}
        return json.dumps({name: value for name, value in said.items() if value not in (None, False) or name == "open"})

    @classmethod
    def from_json(cls, text: str) -> Filter:
        """A filter that was saved. Raises `RequestError` for anything else."""
        try:
            said = json.loads(text)
            known = {field.name for field in fields(cls)}
            if not isinstance(said, dict) or set(said) - known:
                raise ValueError
            for name, value in said.items():
                if not isinstance(value, bool if name in ("open", "overdue", "unread") else str):
                    raise TypeError
            days = {name: date.fromisoformat(said[name]) for name in ("due_before", "due_after") if name in said}
        except (ValueError, TypeError):
            raise RequestError("is no filter of the requests page", field="filter") from None
        return cls(**{**said, **days})


@dataclass(frozen=True, slots=True)
class SavedFilter:
    """A filter under a name, an account's own."""

    id: int
    name: str
    filter: Filter


@dataclass(frozen=True, slots=True)
class Page:
    """A page of cases, without personal data.

    Attributes:
        cases: In the list's order.
        next: What to give as ``after`` for the page behind this one; None at the end.
        previous: The same for the page before this one; None at the beginning.
        unread: Those of the cases in which an answer of the person was read by nobody.
    """

    cases: tuple[Case, ...]
    next: str | None
    previous: str | None
    unread: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two cases of a list: the key of the case on one side of it, and which way to go."""

    at: datetime
    case: str
    back: bool = False

    def __str__(self) -> str:
        text = f"{'p' if self.back else 'n'}{round(self.at.timestamp() * 1000)}.{self.case}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> Cursor:
        """A cursor as a page gave it out. Raises `RequestError` for anything else."""
        try:
            plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            match = re.fullmatch(rf"([np])(\d{{1,14}})\.({CASE_NUMBER.pattern})", plain)
            if match is None:
                raise ValueError
            return cls(datetime.fromtimestamp(int(match[2]) / 1000, UTC), match[3], match[1] == "p")
        except (ValueError, binascii.Error, OverflowError):
            raise RequestError("is no page of this list", field="after", fix="begin at the first page") from None


def keys(filter: Filter, cursor: Cursor | None, *, now: datetime, limit: int, rare: bool = False) -> _Keys:
    """The query for the keys of a page: at most `limit` of (due or ended, case), in the direction of the cursor.

    Args:
        rare: The filter's data source has few closed cases, so they are gone through instead of all that the rest of the filter finds.
    """
    return (_open_keys(filter, cursor, now) if filter.open else _ended_keys(filter, cursor, rare)).limit(limit)


def _open_keys(filter: Filter, cursor: Cursor | None, now: datetime) -> _Keys:
    query = select(cases.c.due_at, cases.c.case).where(*OPEN, *_asked(filter))
    if filter.overdue:
        query = query.where(cases.c.due_at < now, cases.c.paused_at.is_(None))
    if filter.source is not None:
        query = query.where(_uses(filter.source))
    return _placed(query, filter, cursor, cases.c.due_at, cases.c.case, ascending=True)


def _ended_keys(filter: Filter, cursor: Cursor | None, rare: bool) -> _Keys:
    asked = [*_asked(filter), *((cases.c.ended_at > cases.c.due_at,) if filter.overdue else ())]
    if filter.source is not None and (rare or not filter.narrow):
        # The closed cases of one data source, in their order: it may have been gone for years, with everything newer before them.
        sources = case_sources
        query = select(sources.c.ended_at, sources.c.case).where(sources.c.source == filter.source, sources.c.ended_at.is_not(None))
        if asked:
            query = query.where(exists(select(literal_column("1")).where(cases.c.case == sources.c.case, *asked)))
        return _placed(query, filter, cursor, sources.c.ended_at, sources.c.case, ascending=False)
    query = select(cases.c.ended_at, cases.c.case).where(_ENDED, *asked)
    if filter.source is not None:
        query = query.where(_uses(filter.source))
    return _placed(query, filter, cursor, cases.c.ended_at, cases.c.case, ascending=False)


def _asked(filter: Filter) -> list[ColumnElement[bool]]:
    asked: list[ColumnElement[bool]] = []
    if filter.stage is not None:
        asked.append(cases.c.stage == filter.stage)
    if filter.type is not None:
        asked.append(cases.c.type == filter.type)
    if filter.channel is not None:
        asked.append(cases.c.channel == filter.channel)
    if filter.unread:
        asked.append(cases.c.case.in_(select(messages.c.case).where(messages.c.direction == literal_column("'in'"), messages.c.read_at.is_(None))))
    if filter.agent is not None:
        asked.append(cases.c.agent == filter.agent if filter.agent else cases.c.agent.is_(None))
    if filter.due_after is not None:
        asked.append(cases.c.due_at >= _midnight(filter.due_after))
    if filter.due_before is not None and filter.due_before < date.max:  # there is no day after that, and nothing is due on it
        asked.append(cases.c.due_at < _midnight(filter.due_before) + timedelta(days=1))
    return asked


def _uses(source: str) -> ColumnElement[bool]:
    return exists(select(literal_column("1")).where(case_sources.c.case == cases.c.case, case_sources.c.source == source))


def _placed(query: _Keys, filter: Filter, cursor: Cursor | None, at: Any, case: Any, *, ascending: bool) -> _Keys:
    """The order of the list, from the cursor on."""
    ascending = ascending is not (cursor is not None and cursor.back)
    if cursor is not None:
        here, there = tuple_(at, case), tuple_(literal(cursor.at, Instant), literal(cursor.case))
        query = query.where(here > there if ascending else here < there)
    others = (filter.stage, filter.type) if filter.open else (filter.type, filter.channel)  # what else there is an index of
    if filter.agent == "" and at.table is cases and others == (None, None):
        # All of them are NULL, but PostgreSQL sees only from the order asked for that it is the order of the agents' index.
        query = query.order_by(cases.c.agent.asc() if ascending else cases.c.agent.desc())
    turned: Callable[[Any], Any] = (lambda column: column.asc()) if ascending else (lambda column: column.desc())
    return query.order_by(turned(at), turned(case))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
