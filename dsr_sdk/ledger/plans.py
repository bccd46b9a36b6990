"""Plans in the ledger: what was found, what is to be done about it, and who approved exactly that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.ledger.book import chunks
from dsr_sdk.ledger.schema import cases, plans
from dsr_sdk.ledger.tasks import Tasks

__all__ = ["PlanRow", "Plans"]


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A stored plan; `body` is its JSON, opened."""

    id: int
    case: str
    hash: str
    made_at: datetime
    approved_at: datetime | None
    approved_by: str | None
    body: bytes


class Plans:
    """Every method takes the connection of a transaction opened by its caller."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def add(self, connection: Connection, rows: Iterable[tuple[str, str, bytes]], now: datetime) -> None:
        """Store plans: (case, hash, body)."""
        rows = list(rows)
        keys = self._tasks.keys(connection, [case for case, _, _ in rows])
        stored = [
            {"case": case, "hash": hash_, "made_at": now, "sealed_body": keys[case].seal(body, "plans.sealed_body")} for case, hash_, body in rows
        ]
        if stored:
            connection.execute(insert(plans), stored)

    def newest_ids(self, connection: Connection, numbers: Sequence[str]) -> dict[str, int]:
        """The id of the newest plan of each case that has one; nothing is opened."""
        found: dict[str, int] = {}
        for chunk in chunks(numbers):
            query = select(plans.c.case, func.max(plans.c.id)).where(plans.c.case.in_(chunk)).group_by(plans.c.case)
            found.update((case, id_) for case, id_ in connection.execute(query))
        return found

    def made_at(self, connection: Connection, numbers: Sequence[str]) -> dict[str, datetime]:
        """When the newest plan of each case was made."""
        found: dict[str, datetime] = {}
        for chunk in chunks(list(self.newest_ids(connection, numbers).values())):
            found.update((case, at) for case, at in connection.execute(select(plans.c.case, plans.c.made_at).where(plans.c.id.in_(chunk))))
        return found

    def approvals(self, connection: Connection, numbers: Sequence[str]) -> dict[str, tuple[int, str, datetime | None]]:
        """Of the newest plan of each case its id, its hash and when it was approved; nothing is opened."""
        newest = list(self.newest_ids(connection, numbers).values())
        found: dict[str, tuple[int, str, datetime | None]] = {}
        for chunk in chunks(newest):
            rows = connection.execute(select(plans.c.case, plans.c.id, plans.c.hash, plans.c.approved_at).where(plans.c.id.in_(chunk)))
            found.update((case, (id_, hash_, at)) for case, id_, hash_, at in rows)
        return found

    def latest(self, connection: Connection, numbers: Sequence[str], *, approved: bool = False) -> dict[str, PlanRow]:
        """The newest plan of each case that has one, or its newest approved one; opened."""
        found: dict[str, PlanRow] = {}
        for chunk in chunks(numbers):
            newest = select(func.max(plans.c.id)).where(plans.c.case.in_(chunk)).group_by(plans.c.case)
            if approved:
                newest = newest.where(plans.c.approved_at.is_not(None))
            rows = connection.execute(
                select(
                    plans.c.id,
                    plans.c.case,
                    plans.c.hash,
                    plans.c.made_at,
                    plans.c.approved_at,
                    plans.c.approved_by,
                    plans.c.sealed_body,
                    cases.c.wrapped_key,
                )
                .select_from(plans.join(cases, cases.c.case == plans.c.case))
                .where(plans.c.id.in_(newest))
            )
            for id_, case, hash_, made_at, approved_at, approved_by, sealed, wrapped in rows:
                if sealed is not None:
                    body = self._tasks.vault.unwrap(case, wrapped).open(sealed, "plans.sealed_body")
                    found[case] = PlanRow(id_, case, hash_, made_at, approved_at, approved_by, body)
        return found

    def history(self, connection: Connection, number: str) -> Iterator[PlanRow]:
        """The plans of one case, newest first, each opened when it is asked for. None of a case that was shredded."""
        ids = connection.execute(select(plans.c.id).where(plans.c.case == number).order_by(plans.c.id.desc())).scalars().all()
        for id_ in ids:
            columns = (plans.c.hash, plans.c.made_at, plans.c.approved_at, plans.c.approved_by, plans.c.sealed_body, cases.c.wrapped_key)
            row = connection.execute(select(*columns).select_from(plans.join(cases, cases.c.case == plans.c.case)).where(plans.c.id == id_)).one()
            if row.sealed_body is not None:
                body = self._tasks.vault.unwrap(number, row.wrapped_key).open(row.sealed_body, "plans.sealed_body")
                yield PlanRow(id_, number, row.hash, row.made_at, row.approved_at, row.approved_by, body)

    def mark_approved(self, connection: Connection, ids: Sequence[int], by: str, now: datetime) -> None:
        """Record an approval. It happens once: a plan already approved is left as it is."""
        for chunk in chunks(ids):
            connection.execute(update(plans).where(plans.c.id.in_(chunk), plans.c.approved_at.is_(None)).values(approved_at=now, approved_by=by))
