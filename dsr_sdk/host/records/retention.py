"""Retention: what is closed for longer than ``workflow.keep_days`` is shredded, unless something about it is still open.

Shredding destroys the key of a case: what remains is its number, dates, counts, outcomes and the audit chain. See `Host.shred`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.engine import Connection

from dsr_sdk.errors import LedgerError, RequestError
from dsr_sdk.host.answers.links import Purpose
from dsr_sdk.host.desk import Desk, now
from dsr_sdk.host.process.panel import SourceState
from dsr_sdk.host.process.pickup import PICKUP_SILENT
from dsr_sdk.ledger.book import chunks
from dsr_sdk.ledger.cases import CASE_COLUMNS, Case, case_of
from dsr_sdk.ledger.database import LedgerBusy, purge_deleted
from dsr_sdk.ledger.desk import case_sources, links, mails
from dsr_sdk.ledger.schema import cases
from dsr_sdk.ledger.tasks import LIVE

__all__ = ["POLICY", "Retention", "Ripe"]

POLICY: Final = "retention policy"
"""Who shreds, in the audit log."""


@dataclass(frozen=True, slots=True)
class Ripe:
    """A closed case whose time is up.

    Attributes:
        waits_for: Why it is left alone for now, for people; empty when it is shredded.
    """

    case: str
    ended_at: datetime
    waits_for: str = ""


class Retention(Desk):
    """Carries the policy out. `Records.retention` offers it."""

    def ripe(self) -> list[Ripe]:
        """The cases whose time is up, the longest closed first, with those among them that wait for something. Nothing when ``keep_days`` is
        not set."""
        if self.settings.keep_days is None:
            return []
        moment = now()
        before = moment - timedelta(days=self.settings.keep_days)
        return [row for page in self._pages(before) for row in self._judged(page, moment)]

    def run(self) -> list[str]:
        """Shred every case whose time is up and that waits for nothing; their numbers. Twice, or in two processes at once, is harmless."""
        self.host.files.tidy()
        shredded = [row.case for row in self.ripe() if not row.waits_for and self._shred(row)]
        if shredded:
            # A reader may have kept what was deleted in SQLite's log: the next run, or SQLite itself, empties it.
            with suppress(LedgerBusy):
                purge_deleted(self.ledger.engine)
        return shredded

    def _shred(self, row: Ripe) -> bool:
        with self.deciding() as (connection, _):
            self.ledger.cases.hold(connection, [row.case])
            case = self.ledger.cases.get(connection, row.case)
            if case.shredded:
                return False
            if case.status == "approved":
                # Data was found again after the end, and is gone since: it was dealt with, and nobody closes a case twice.
                if self._waiting(connection, [case], now())[case.number]:
                    return False
                self.ledger.cases.set_status(connection, [case.number], "done", closed_at=case.ended_at)
        try:
            self.host.shred(row.case, by=POLICY)
        except LedgerBusy:  # shredded, and only the log could not be emptied
            return True
        except (RequestError, LedgerError):  # opened again at this very moment, or someone else has shredded it
            return False
        return True

    def _pages(self, before: datetime) -> Iterator[list[Case]]:
        """Closed cases that still have a key, in pages: what is shredded while they are read does not disturb."""
        query = select(*CASE_COLUMNS).where(cases.c.ended_at.is_not(None), cases.c.ended_at <= before, cases.c.wrapped_key.is_not(None))
        with self.reading() as connection:
            rows = connection.execute(query.order_by(cases.c.ended_at, cases.c.case)).all()
        yield from ([case_of(row) for row in page] for page in chunks(rows))

    def _judged(self, page: Sequence[Case], moment: datetime) -> Iterator[Ripe]:
        with self.reading() as connection:
            waiting = self._waiting(connection, page, moment)
        yield from (Ripe(case.number, case.ended_at or moment, waiting[case.number]) for case in page)

    def _waiting(self, connection: Connection, page: Sequence[Case], moment: datetime) -> dict[str, str]:
        """For each case what it waits for; empty for nothing."""
        numbers = [case.number for case in page]
        waiting = dict.fromkeys(numbers, "")
        # One that no sweep takes (a code, put off) was given up: whoever wanted it has asked for another, or never will.
        leaving = (mails.c.state == "handover") | ((mails.c.state == "ready") & mails.c.next_at.is_not(None))
        unsent = select(mails.c.case).where(mails.c.case.in_(numbers), leaving)
        for number in connection.execute(unsent).scalars():
            waiting[number] = "an e-mail of it was not sent yet"
        # The link, or the code that was given with it; and a download of the last try, which has no use left and an end of its own.
        live = links.c.purpose.in_((Purpose.COPY.value, Purpose.PICKUP.value)) & (links.c.uses_left > 0) & (links.c.expires_at > moment)
        under_way = (links.c.purpose == Purpose.PICKUP.value) & (links.c.used_at > moment - PICKUP_SILENT)
        fetchable = select(links.c.case).where(links.c.case.in_(numbers), live | under_way)
        for number in connection.execute(fetchable).scalars():
            waiting[number] = "the person may still fetch the copy"
        known = {*self.host.registry.sources, *self.host.broken}
        went_on = select(case_sources.c.case, case_sources.c.source).where(
            case_sources.c.case.in_(numbers), case_sources.c.overridden_state == SourceState.WAITING.value
        )
        awaited = {(row.case, row.source) for row in connection.execute(went_on)}
        for task in self.ledger.tasks.of(connection, numbers, actions=["erase", "opt_out"], opened=False):
            if task.source in known and task.state in LIVE:
                waiting[task.case] = f"{task.source} has accepted it, and has not finished yet"
            elif task.source in known and task.state == "failed" and (task.case, task.source) in awaited:
                waiting[task.case] = f"{task.source} had accepted it, and failed after the end"
        newest = {(task.case, task.source): task for task in self.ledger.tasks.of(connection, numbers, actions=["verify"], opened=False)}
        for (number, source), task in newest.items():
            if task.state in LIVE and source in known:  # of a data source that is gone it would wait in vain
                waiting[number] = f"the deletion at {source} is not verified yet"
            elif (task.outcome or {}).get("kind") == "reappeared":
                waiting[number] = f"data was found again at {source}"
        return waiting
