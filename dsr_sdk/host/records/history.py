"""The history of a case: every event with words, who handled it, what was said, and when data was deleted. Checked as it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from dsr_sdk.host.desk import HOST, Desk
from dsr_sdk.host.process.panel import PanelSource, SourceState, sources_of, title_of
from dsr_sdk.host.records.retention import POLICY
from dsr_sdk.host.records.sentences import sentence
from dsr_sdk.ledger import audit
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import mails, messages
from dsr_sdk.ledger.schema import audit as audit_table
from dsr_sdk.request import RequestType

__all__ = ["Deletion", "Handed", "Histories", "History", "HistoryEvent", "Said", "grouped"]

_NOBODY: Final = frozenset({"host", "subject", POLICY})
_SEARCHING: Final = frozenset({"source.searched", "find.failed", "plan.made"})
_LOOKING: Final = frozenset({"request.read", "messages.read", "file.read", "copy.downloaded", "record.exported"})


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of the audit log, with words. `data` holds no personal data."""

    n: int
    at: datetime
    actor: str
    event: str
    text: str
    data: Mapping[str, Any] = field(repr=False)
    hash: str = field(repr=False)
    prev: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Said:
    """One message of the conversation.

    Attributes:
        direction: ``out`` to the person, ``in`` from the person, ``note`` among agents.
        body: None where personal data is left out, or gone.
        files: Ids of the files that came with it.
        mail: How far its e-mail has come; None for one that went by none.
    """

    at: datetime
    direction: str
    author: str
    body: str | None = field(default=None, repr=False)
    files: tuple[int, ...] = ()
    mail: str | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """When data was deleted at a data source.

    Attributes:
        by: ``vendor``: it confirmed it; otherwise the account that made sure by hand, or of a vendor's answer to a letter.
    """

    source: str
    title: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Handed:
    """What became of a copy that was offered to the person.

    Attributes:
        until: When the newest link to it ends.
        fetched_at: When its last byte had left; None while nobody has fetched it.
        broken_off_at: When a download of it broke off last.
    """

    offered_at: datetime
    until: datetime | None
    fetched_at: datetime | None = None
    broken_off_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class History:
    """A case from its arrival on.

    Attributes:
        agents: Everybody who has done something about it, in the order of their first deed.
        deletions: Of a deletion request: when each data source's data was deleted.
        results: Of any request: when each data source gave its result, and who says so.
        notes: What people wrote when they marked a data source as done: (data source, note). Personal data, empty unless asked for.
        left_out: Data sources that somebody left out in review: slug and title.
        handed: What became of the copy; None where none was offered.
        verified: Whether the chain of its events is unbroken and agrees with how the case stands.
        problems: What is wrong with it, where it is not.
    """

    case: Case
    agents: tuple[str, ...]
    events: tuple[HistoryEvent, ...]
    conversation: tuple[Said, ...]
    sources: tuple[PanelSource, ...]
    deletions: tuple[Deletion, ...]
    verified: bool
    problems: tuple[str, ...] = ()
    results: tuple[Deletion, ...] = ()
    notes: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    left_out: tuple[tuple[str, str], ...] = ()
    handed: Handed | None = None


def grouped(events: Sequence[HistoryEvent]) -> list[tuple[HistoryEvent, int]]:
    """Events for reading: a data source that was searched again and again, with nothing done in between, stands once, with how often.

    Which of them it was matters to nobody who reads; in the JSON form, and for the chain, every one stands by itself.
    """
    told: list[tuple[HistoryEvent, int]] = []
    seen: dict[tuple[str, str], int] = {}
    for event in events:
        if event.event not in _SEARCHING:
            seen.clear()
        key = (event.event, event.text)
        if event.event in _SEARCHING and key in seen:
            first, count = told[seen[key]]
            told[seen[key]] = (first, count + 1)
        else:
            seen[key] = len(told)
            told.append((event, 1))
    return told


class Histories(Desk):
    """Reads histories. `Records` offers it."""

    def of(self, case: str, *, personal: bool = False) -> History:
        """Everything that happened to a case.

        Args:
            personal: Open the conversation, too. Without, it says who wrote when. Of a shredded case it is closed for good.

        Raises:
            LedgerError: There is no such case.
        """
        with self.reading() as connection:
            current = self.ledger.cases.get(connection, case)
            sources, _ = sources_of(self.host, connection, current)
            titles = {row.source: row.title for row in sources}
            entries = list(audit.export(connection, case))
            said = self._said(connection, case)
        notes: tuple[tuple[str, str], ...] = ()
        if personal and not current.shredded:
            said, notes = self._opened(case), self._notes(case)
        events = tuple(_event(entry, titles) for entry in entries)
        problems = _problems(current, entries)
        return History(
            case=current,
            agents=_agents(events),
            events=events,
            conversation=said,
            sources=sources,
            deletions=_deletions(current, sources, events),
            verified=not problems,
            problems=problems,
            results=_results(current, sources, events),
            notes=notes,
            left_out=tuple((name, title_of(self.host, name)) for name in _left_out(sources, events)),
            handed=_handed(events),
        )

    def _notes(self, number: str) -> tuple[tuple[str, str], ...]:
        with self.reading() as connection:
            found = self.ledger.tasks.of(connection, [number])
        marked = (task for task in found if task.action in ("email", "manual") and isinstance(task.payload, dict))
        return tuple((task.source, str(task.payload["note"])) for task in marked if task.payload.get("note"))

    def of_host(self, limit: int) -> list[HistoryEvent]:
        """See `Records.host_events`."""
        with self.reading() as connection:
            last = connection.execute(select(func.max(audit_table.c.n)).where(audit_table.c.case == HOST)).scalar_one() or 0
            entries = list(audit.export(connection, HOST, after=max(0, last - max(0, limit))))  # every sign-in is an entry: not all of them
        return [_event(entry, {}) for entry in reversed(entries)]

    def _said(self, connection: Connection, number: str) -> tuple[Said, ...]:
        """The conversation without what was said in it."""
        query = (
            select(messages.c.at, messages.c.direction, messages.c.author, mails.c.state)
            .outerjoin(mails, mails.c.id == messages.c.mail)
            .where(messages.c.case == number)
            .order_by(messages.c.id)
        )
        return tuple(Said(at, direction, author, mail=state) for at, direction, author, state in connection.execute(query))

    def _opened(self, number: str) -> tuple[Said, ...]:
        return tuple(
            Said(
                row.at,
                row.direction,
                row.author,
                row.body,
                tuple(file.id for file in row.files),
                str(row.mail_state) if row.mail_state is not None else None,
            )
            for row in self.host.conversation.of(number)
        )


def _event(entry: Mapping[str, Any], titles: Mapping[str, str]) -> HistoryEvent:
    data = entry["data"] if isinstance(entry["data"], Mapping) else {}  # only tampering makes it anything else
    at = datetime.fromtimestamp(entry["at"] / 1000, UTC)
    return HistoryEvent(entry["n"], at, entry["actor"], entry["event"], sentence(entry["event"], data, titles), data, entry["hash"], entry["prev"])


def _problems(case: Case, entries: list[dict[str, Any]]) -> tuple[str, ...]:
    """What is wrong with a case's chain. That its newest entries were cut off shows where the case stands further than they say; whatever
    else is cut off, the signed checkpoints show (`Host.audit_verify`)."""
    problems = [str(problem) for problem in audit.verify_exported(json.dumps(entry) for entry in entries).problems]
    names = [str(entry["event"]) for entry in entries]
    if "request.received" not in names:
        problems.append("the log does not say that the request was received")
    stages = [name.removeprefix("stage.") for name in names if name.startswith("stage.")]
    if case.stage is not None and (not stages or stages[-1] != case.stage):
        problems.append(f"the case stands in {case.stage}, and the log does not say so")
    if case.shredded != ("case.shredded" in names):
        problems.append("the case and the log disagree about whether it was shredded")
    return tuple(problems)


def _agents(events: tuple[HistoryEvent, ...]) -> tuple[str, ...]:
    deeds = (row.actor for row in events if row.event not in _LOOKING and row.actor not in _NOBODY and not row.actor.startswith("connector:"))
    return tuple(dict.fromkeys(deeds))


def _deletions(case: Case, sources: tuple[PanelSource, ...], events: tuple[HistoryEvent, ...]) -> tuple[Deletion, ...]:
    if case.type != RequestType.DELETION.value:
        return ()
    by_hand = {str(row.data.get("source")): row for row in events if row.event == "source.confirmed"}
    found = []
    for row in sources:
        if row.last_deleted is not None:
            found.append(Deletion(row.source, row.title, row.last_deleted, "vendor"))
        elif row.source in by_hand:
            found.append(Deletion(row.source, row.title, by_hand[row.source].at, by_hand[row.source].actor))
    return tuple(found)


def _results(case: Case, sources: tuple[PanelSource, ...], events: tuple[HistoryEvent, ...]) -> tuple[Deletion, ...]:
    """When each data source gave its result: the deletion, what it handed over, a person's mark, or the search that found nothing."""
    known = {row.source: row for row in _deletions(case, sources, events)}
    last = {(row.event, str(row.data.get("source"))): row for row in events}
    for source in sources:
        if source.source in known:
            continue
        by_hand = last.get(("source.confirmed", source.source))
        told = next((found for name in ("data.exported", "opt_out.opted_out") if (found := last.get((name, source.source)))), None)
        if by_hand is not None:
            known[source.source] = Deletion(source.source, source.title, by_hand.at, by_hand.actor)
        elif told is not None:
            known[source.source] = Deletion(source.source, source.title, told.at, "vendor")
        elif source.state is SourceState.NOTHING_FOUND and (searched := last.get(("source.searched", source.source))) is not None:
            known[source.source] = Deletion(source.source, source.title, searched.at, "vendor")
    return tuple(known[source.source] for source in sources if source.source in known)


def _left_out(sources: tuple[PanelSource, ...], events: tuple[HistoryEvent, ...]) -> list[str]:
    """What was left out when the data sources were chosen last, and was not added later."""
    chosen = [row for row in events if row.event == "sources.chosen" and "left_out" in row.data]
    here = {source.source for source in sources}
    return [str(name) for name in chosen[-1].data["left_out"] if name not in here] if chosen else []


def _handed(events: tuple[HistoryEvent, ...]) -> Handed | None:
    last = {row.event: row for row in events}
    offered, fetched, broken = last.get("copy.offered"), last.get("copy.delivered"), last.get("copy.broken_off")
    if offered is None:
        return None
    days = offered.data.get("days")
    until = offered.at + timedelta(days=days) if isinstance(days, int) else None
    return Handed(offered.at, until, fetched.at if fetched else None, broken.at if broken else None)
