"""The clock of one case: when it began, when it stood still, whether it was extended, and why it ends on the day it does.

What happened to a clock stands in the audit log, and is worked out from there; the case carries the result, ``due_at``, and ``paused_at``
while the clock stands still.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from dsr_sdk.errors import RequestError
from dsr_sdk.host.cases import deadlines
from dsr_sdk.host.cases.verification import Requirement, requirement
from dsr_sdk.host.desk import Desk, now
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import Case
from dsr_sdk.request import Regime, RequestType

__all__ = ["Clocks", "Explanation", "is_overdue"]

_WORKED_ON = ("review", "process", "reply")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a case is due when it is.

    Attributes:
        at: When the person must have been answered.
        facts: Sentences for a page, in order: when the clock began, what the law gives, what was added.
        overdue: The time is up, or was when the case was closed. Never while the clock stands still.
        soon: It ends within ``due_soon_days``.
        paused_since: Since when the clock stands still; None while it runs.
        may_extend: The law knows an extension that was not taken yet, and the time is not up.
        may_pause: The clock may be stopped now.
    """

    at: datetime | None
    facts: tuple[str, ...]
    overdue: bool
    soon: bool
    paused_since: datetime | None
    may_extend: bool
    may_pause: bool


@dataclass(frozen=True, slots=True)
class _Course:
    """What the audit log says about a clock."""

    start: datetime
    restarted: bool = False
    paused_days: int = 0
    extended: bool = False


def is_overdue(case: Case, at: datetime | None = None) -> bool:
    """Whether a case's time is up at a moment (now); of a closed case, whether it was closed too late."""
    if case.due_at is None or (case.paused_at is not None and case.ended_at is None):
        return False
    return (case.ended_at or at or now()) > case.due_at


class Clocks(Desk):
    """The part of `Workflow` that deals with time."""

    def extend(self, number: str, *, by: str, because: str) -> None:
        """Take the longer time that the law gives for difficult requests. The person must be told within the first.

        Args:
            because: Why; stands in the audit log, so without personal data.

        Raises:
            RequestError: The law knows no extension here, it was taken already, or the time is up.
        """
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=_WORKED_ON)
            course = self._course(connection, case)
            if course.extended:
                raise RequestError("the time was extended already", source=number)
            if is_overdue(case, book.now):
                raise RequestError("the time is up: the law allows to extend it only before", source=number)
            due = self._longer(case, course)
            if due is None:
                raise RequestError("the law knows no extension here", source=number)
            self.change(connection, case, due_at=due.at)
            book.note(number, "deadline.extended", by, due_at=due.at.isoformat(), because=because[:400], rule=due.because)

    def pause_for_clarification(self, number: str, *, by: str, because: str, revision: int | None = None) -> None:
        """Stop the clock while the person is asked something without which the request cannot be answered. It goes on with `resume`, and
        when the person's identity is proven.

        Args:
            because: What is asked for, in general words; stands in the audit log, so without personal data.

        Raises:
            ConflictError: Someone else was faster.
            RequestError: The law lets the clock run, it stands still already, or the time is up.
        """
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=("review", "process"), revision=revision)
            clock = deadlines.clock_of(*_right(case))
            if clock.pauses is None:
                raise RequestError("the law lets the clock run while the person is asked", source=number, fix="ask, and answer in time")
            if case.paused_at is not None:
                raise RequestError("the clock stands still already", source=number)
            if is_overdue(case, book.now):
                raise RequestError("the time is up: the clock can be stopped only before", source=number)
            self.change(connection, case, paused_at=book.now)
            book.note(number, "deadline.paused", by, because=because[:400], rule=clock.pauses)

    def resume(self, number: str, *, by: str, revision: int | None = None) -> None:
        """Let the clock go on: the person has answered. The days from asking to answering do not count, both of them included.

        Raises:
            ConflictError: Someone else was faster.
            RequestError: The clock is running.
        """
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=_WORKED_ON, revision=revision)
            if case.paused_at is None:
                raise RequestError("the clock is running", source=number)
            self.change(connection, case, **self._running(connection, book, case, by))

    def resumed(self, connection: Connection, book: Book, case: Case, *, by: str) -> bool:
        """The same for a case that is `held`, in its caller's transaction; does nothing when the clock is running, and says so.

        The case as the caller holds it is of an older revision afterwards.
        """
        if case.paused_at is None or case.stage not in _WORKED_ON:
            return False
        self.change(connection, case, **self._running(connection, book, case, by))
        return True

    def _running(self, connection: Connection, book: Book, case: Case, by: str) -> Mapping[str, object]:
        """What changes when a clock that stands still goes on."""
        if case.paused_at is None:
            return {}
        course = self._course(connection, case)
        began = max(case.paused_at, course.start)
        days = (book.now.date() - began.date()).days + 1
        due = self._due(case, _Course(course.start, course.restarted, course.paused_days + days, course.extended))
        book.note(case.number, "deadline.resumed", by, days=days, due_at=due.at.isoformat())
        return {"paused_at": None, "due_at": due.at}

    def _proven(self, connection: Connection, book: Book, case: Case, arrived_at: datetime, by: str) -> Mapping[str, object]:
        """What a first proof of identity does to the clock: it goes on, or begins anew where the law says so."""
        type_ = RequestType(case.type)
        regime = _right(case)[0]
        if not deadlines.clock_of(regime, type_).restarts or requirement(regime, type_) is not Requirement.REQUIRED or case.verified_by is not None:
            return self._running(connection, book, case, by)
        start = max(case.received_at, arrived_at)
        due = self._due(case, _Course(start, True, 0, self._course(connection, case).extended))
        because = f"the clock counts from the day the proof of identity arrived: {due.because}"
        book.note(case.number, "deadline.restarted", by, start=start.isoformat(), due_at=due.at.isoformat(), because=because)
        return {"paused_at": None, "due_at": due.at}

    def explain(self, case: Case) -> Explanation:
        """Why the case is due on its day, in sentences."""
        with self.reading() as connection:
            course = self._course(connection, case)
        regime, type_ = _right(case)
        clock = deadlines.clock_of(regime, type_)
        first = self._due(case, _Course(course.start))
        facts = [f"Received on {case.received_at.date()}."]
        if course.restarted:
            facts.append(f"The clock counts from {course.start.date()}, when the proof of identity arrived ({clock.source}).")
        facts.append(f"The law gives {_words(first.because)}.")
        if course.extended and clock.extend:
            facts.append(f"The time was extended by {_words(clock.extend)}.")
        if course.paused_days:
            facts.append(f"{course.paused_days} days do not count: the clock stood still while the person was asked ({clock.pauses}).")
        if case.paused_at is not None:
            facts.append(f"The clock stands still since {case.paused_at.date()} ({clock.pauses}).")
        current = self._due(case, course)
        if current.rolled:
            facts.append("The last day is a day off, so the next working day counts.")
        overdue = is_overdue(case)
        open_ = case.ended_at is None and case.stage in _WORKED_ON
        may_extend = open_ and not overdue and not course.extended and self._longer(case, course) is not None
        return Explanation(
            at=case.due_at,
            facts=tuple(facts),
            overdue=overdue,
            soon=open_ and not overdue and case.due_at is not None and case.due_at < now() + timedelta(days=self.settings.due_soon_days),
            paused_since=case.paused_at if open_ else None,
            may_extend=may_extend,
            may_pause=clock.pauses is not None and case.stage in ("review", "process") and case.paused_at is None and not overdue,
        )

    def _due(self, case: Case, course: _Course) -> deadlines.Due:
        longer = self._longer(case, course) if course.extended else None
        return longer or deadlines.due(*_right(case), course.start, holidays=self.settings.holidays, paused_days=course.paused_days)

    def _longer(self, case: Case, course: _Course) -> deadlines.Due | None:
        return deadlines.extended(*_right(case), course.start, holidays=self.settings.holidays, paused_days=course.paused_days)

    def _course(self, connection: Connection, case: Case) -> _Course:
        return _course_of(case, self.ledger.history(connection, case.number))


def _course_of(case: Case, history: Sequence[Mapping[str, Any]]) -> _Course:
    start, restarted, paused_days, extended = case.received_at, False, 0, False
    for entry in history:
        event, data = entry["event"], entry["data"]
        if event == "deadline.restarted":
            start, restarted, paused_days = datetime.fromisoformat(data["start"]), True, 0  # what was before does not count at all
        elif event == "deadline.resumed":
            paused_days += data["days"]
        elif event == "deadline.extended":
            extended = True
    return _Course(start, restarted, paused_days, extended)


def _right(case: Case) -> tuple[Regime | None, RequestType]:
    return Regime(case.regime) if case.regime else None, RequestType(case.type)


def _words(span: str) -> str:
    """``1 months`` as people say it."""
    number, unit, *rest = span.split(" ")
    unit = {"bdays": "working days"}.get(unit, unit)
    return " ".join([number, unit.removesuffix("s") if number == "1" else unit, *rest])
