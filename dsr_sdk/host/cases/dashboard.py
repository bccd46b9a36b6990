"""The dashboard: what is open, how long requests take to close, and how each data source is doing. Counts only, no personal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Integer, case, func, literal_column, select, type_coerce
from sqlalchemy.engine import Connection

from dsr_sdk.host.cases.inbox import open_by
from dsr_sdk.host.desk import now
from dsr_sdk.host.process.panel import title_of
from dsr_sdk.ledger.desk import LEFT_OUT, case_sources
from dsr_sdk.ledger.schema import cases, tasks
from dsr_sdk.ledger.tasks import LIVE

if TYPE_CHECKING:
    from dsr_sdk.host.cases.inbox import Inbox

__all__ = ["Dashboard", "SourceStats", "dashboard"]

_WEEKS = 12
_RECENT = timedelta(days=30)
_EFFECTS = tasks.c.action.not_in([literal_column("'find'"), literal_column("'verify'")])  # in the words of their index


@dataclass(frozen=True, slots=True)
class SourceStats:
    """How one data source is doing.

    Attributes:
        done: Cases whose work there ended well in the last 30 days; one that was gone on with without it is counted nowhere.
        failed: Cases in which something there failed in the last 30 days and was not mended since.
        waiting: Cases in which something is still to happen there: by the engine, a vendor, or a person.
    """

    name: str
    title: str
    done: int
    failed: int
    waiting: int

    @property
    def success(self) -> float | None:
        """The share that ended well, 0 to 1; None while nothing has ended."""
        ended = self.done + self.failed
        return self.done / ended if ended else None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The figures.

    Attributes:
        by_stage: Open cases in review, process and reply.
        by_type: Open cases by right.
        due_soon: Open cases whose time is up within ``due_soon_days``.
        overdue: Open cases whose time is up.
        days_to_close: The last twelve weeks, the oldest first: ISO week (``2026-W31``), median days from receipt to close, cases closed.
        sources: Data sources used in request handling.
        closed_30_days: Cases closed in the last 30 days.
    """

    by_stage: dict[str, int]
    by_type: dict[str, int]
    due_soon: int
    overdue: int
    days_to_close: list[tuple[str, float | None, int]]
    sources: list[SourceStats]
    closed_30_days: int


def dashboard(inbox: Inbox) -> Dashboard:
    """The figures of this moment."""
    host = inbox.host
    counts = inbox.counts()
    moment = now()
    with inbox.reading() as connection:
        recent = select(func.count()).select_from(cases)
        return Dashboard(
            by_stage=counts.by_stage,
            by_type=open_by(connection, "type"),
            due_soon=counts.due_soon,
            overdue=counts.overdue,
            days_to_close=_days_to_close(connection, moment),
            sources=[_stats(connection, name, title_of(host, name), moment) for name in host.usable_sources()],
            closed_30_days=connection.execute(recent.where(cases.c.ended_at >= moment - _RECENT)).scalar_one(),
        )


def _days_to_close(connection: Connection, moment: datetime) -> list[tuple[str, float | None, int]]:
    """Medians by week. The database counts tenths of days, so that not every case closed in a quarter has to be fetched."""
    today = moment.date()
    monday = today - timedelta(days=today.weekday(), weeks=_WEEKS - 1)
    begin = moment.replace(hour=0, minute=0, second=0, microsecond=0) - (today - monday)
    ended, received = type_coerce(cases.c.ended_at, BigInteger), type_coerce(cases.c.received_at, BigInteger)
    week = ((ended - round(begin.timestamp() * 1000)) // literal_column("604800000", Integer)).label("week")
    tenths = ((ended - received) // literal_column("8640000", Integer)).label("tenths")
    query = select(week, tenths, func.count()).where(cases.c.ended_at >= begin).group_by(week, tenths).order_by(week, tenths)
    weeks: dict[int, list[tuple[int, int]]] = {}
    for number, length, count in connection.execute(query):
        weeks.setdefault(number, []).append((length, count))
    return [(_iso(monday + timedelta(weeks=number)), *_median(weeks.get(number, []))) for number in range(_WEEKS)]


def _median(lengths: Sequence[tuple[int, int]]) -> tuple[float | None, int]:
    """The median of (tenths of days, how many), in days, and how many there are altogether."""
    total = seen = sum(count for _, count in lengths)
    for length, count in reversed(lengths):
        seen -= count
        if seen <= total // 2:
            return max(0, length) / 10, total
    return None, 0


def _iso(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def _stats(connection: Connection, name: str, title: str, moment: datetime) -> SourceStats:
    # Where somebody went on without it, it neither ended well nor badly, and nothing is waited for.
    skipped = select(case_sources.c.case).where(case_sources.c.source == name, LEFT_OUT)
    here = select(tasks.c.case).where(tasks.c.source == name, _EFFECTS, tasks.c.case.not_in(skipped))
    broke = func.max(case((tasks.c.state == "failed", 1), else_=0)).label("broke")
    ended = here.add_columns(broke).where(tasks.c.finished_at >= moment - _RECENT).group_by(tasks.c.case).subquery()
    total, failed = connection.execute(select(func.count(), func.coalesce(func.sum(ended.c.broke), 0)).select_from(ended)).one()
    live = here.where(tasks.c.finished_at.is_(None), tasks.c.state.in_(LIVE)).distinct().subquery()
    waiting = connection.execute(select(func.count()).select_from(live)).scalar_one()
    return SourceStats(name, title, total - failed, int(failed), waiting)
