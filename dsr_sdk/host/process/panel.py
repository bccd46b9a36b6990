"""The panel of a case: how each of its data sources stands, what may be ticked, and what still bars the way on.

Everything here is read from the ledger and nothing is stored, so the panel shows the truth whoever did the work: another agent, the
engine, or a process that has died meanwhile.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from dsr_sdk.connector import Process
from dsr_sdk.engine import Deed, SourceReport, Standing, Status
from dsr_sdk.host.process.planned import Planned, standing, worked
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import inventory
from dsr_sdk.ledger.schema import audit
from dsr_sdk.ledger.tasks import LIVE, Task
from dsr_sdk.request import RequestType

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host
    from dsr_sdk.host.process.files import FileInfo

__all__ = ["FINAL", "UNDER_WAY", "Activity", "Panel", "PanelSource", "SourceState", "activities", "sources_of", "verb_of"]


class SourceState(StrEnum):
    """How a data source of a case stands.

    ``done``: deleted, handed over, opted out, or confirmed by a person. ``working``: the engine has it in hand. ``waiting``: for the
    vendor, or for another try. ``email_ready``: may be ticked. ``email_sent``: asked, not answered.
    """

    NOT_SEARCHED = "not_searched"
    SEARCHING = "searching"
    NOTHING_FOUND = "nothing_found"
    FOUND = "found"
    MISSING_IDENTIFIER = "missing_identifier"
    AMBIGUOUS = "ambiguous"
    COULD_NOT_CHECK = "could_not_check"
    UNSUPPORTED = "unsupported"
    WORKING = "working"
    WAITING = "waiting"
    EMAIL_READY = "email_ready"
    EMAIL_SENT = "email_sent"
    IN_DOUBT = "in_doubt"
    BY_HAND = "by_hand"
    DONE = "done"
    RETAINED = "retained"
    FAILED = "failed"
    REAPPEARED = "reappeared"
    OVERRIDDEN = "overridden"


FINAL = frozenset({SourceState.NOTHING_FOUND, SourceState.UNSUPPORTED, SourceState.DONE, SourceState.RETAINED, SourceState.OVERRIDDEN})
"""States with which a data source does not bar the way to the reply."""

UNDER_WAY = frozenset({SourceState.WORKING, SourceState.WAITING})
"""States in which something may be happening at the vendor at this moment: nobody can take responsibility for going on without it."""

_PLANNED = {
    Standing.FOUND: SourceState.FOUND,
    Standing.NOTHING_FOUND: SourceState.NOTHING_FOUND,
    Standing.COULD_NOT_CHECK: SourceState.COULD_NOT_CHECK,
    Standing.MISSING_IDENTIFIER: SourceState.MISSING_IDENTIFIER,
    Standing.AMBIGUOUS_IDENTIFIER: SourceState.AMBIGUOUS,
    Standing.UNSUPPORTED: SourceState.UNSUPPORTED,
    Standing.BY_EMAIL: SourceState.EMAIL_READY,
    Standing.BY_HAND: SourceState.BY_HAND,
}
_REPORTED = {
    Status.FAILED: SourceState.FAILED,
    Status.REAPPEARED: SourceState.REAPPEARED,
    Status.COULD_NOT_CHECK: SourceState.COULD_NOT_CHECK,
    Status.MISSING_IDENTIFIER: SourceState.MISSING_IDENTIFIER,
    Status.AMBIGUOUS_IDENTIFIER: SourceState.AMBIGUOUS,
    Status.IN_DOUBT: SourceState.IN_DOUBT,
    Status.PLANNED: SourceState.WORKING,
    Status.WAITING: SourceState.WAITING,
    Status.PENDING: SourceState.WAITING,
    Status.REQUESTED: SourceState.EMAIL_SENT,
    Status.BY_HAND: SourceState.BY_HAND,
    Status.UNSUPPORTED: SourceState.UNSUPPORTED,
    Status.RETAINED: SourceState.RETAINED,
    Status.LEFT: SourceState.RETAINED,
    Status.DELETED: SourceState.DONE,
    Status.VERIFIED: SourceState.DONE,
    Status.COPIED: SourceState.DONE,
    Status.OPTED_OUT: SourceState.DONE,
    Status.CONFIRMED: SourceState.DONE,
    Status.NOTHING_FOUND: SourceState.NOTHING_FOUND,
}


@dataclass(frozen=True, slots=True)
class PanelSource:
    """One data source of one case.

    Attributes:
        process: ``automated``, ``email`` or ``manual``.
        found: Records that the search found; None while it is not searched, or is asked by letter or by hand.
        ticked: Given free: what was found is being worked on, or was. It cannot be taken back.
        selectable: May be ticked now.
        last_deleted: When the vendor confirmed the last erasure; a letter sent or a mark made by hand is none.
        detail: For people, without personal data.
        missing: The kinds of identifier of which it needs one (``controller_id``), where that is what is missing.
        retained: What is kept, and why: (resource, text).
        deeds: What the search found and what giving free does with it: (resource, `Deed`, records, why it is kept or left).
        warnings: What an agent should look at before giving free.
        reason: Why it was overridden.
        next_at: When the next thing is due by itself.
        owner: Whom to ask.
    """

    source: str
    title: str
    category: str
    process: str
    state: SourceState
    found: int | None = None
    ticked: bool = False
    selectable: bool = False
    last_deleted: datetime | None = None
    detail: str = ""
    missing: str = ""
    retained: tuple[tuple[str, str], ...] = ()
    deeds: tuple[tuple[str, str, int, str], ...] = ()
    warnings: tuple[str, ...] = ()
    reason: str = field(default="", repr=False)
    overridden_by: str | None = None
    overridden_at: datetime | None = None
    ticked_by: str | None = None
    ticked_at: datetime | None = None
    files: tuple[FileInfo, ...] = ()
    next_at: datetime | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """A line of the recent activity."""

    at: datetime
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """What the process stage shows.

    Attributes:
        searching: Whether a search is under way somewhere: look again soon.
        selectable: How many data sources may be ticked now.
        blockers: What bars the way to the reply, as sentences, with every box ticked.
        activity: Newest first.
        verb: What the button says before ``N sources``; empty where people handle everything.
        confirm: What the box in front of *Continue* says; empty where none is needed.
        seen: Hand it to `Processing.give_free`, which then refuses what is not shown here.
    """

    case: Case
    sources: tuple[PanelSource, ...]
    searching: bool
    selectable: int
    blockers: tuple[str, ...]
    activity: tuple[Activity, ...]
    verb: str
    confirm: str
    seen: int


def verb_of(type_: str) -> str:
    """What is done with data sources for a type of request; empty where people handle everything."""
    return {RequestType.DELETION.value: "Delete", RequestType.COPY.value: "Collect", RequestType.DO_NOT_SELL.value: "Opt out"}.get(type_, "")


def sources_of(
    host: Host, connection: Connection, case: Case, *, files: Mapping[str, tuple[FileInfo, ...]] | None = None
) -> tuple[tuple[PanelSource, ...], dict[str, Planned]]:
    """How every data source of a case stands, in the order of their names, and what the plans say about each."""
    if not RequestType(case.type).automatic:
        return (), {}  # people handle it: no data source takes part
    stands = standing(host.ledger, connection, case)
    names, reports = stands.names, stands.reports
    owners = {row.name: row.owner for row in connection.execute(select(inventory.c.name, inventory.c.owner).where(inventory.c.name.in_(names)))}
    reader = _Reader(host, connection, case)
    rows = tuple(
        reader.source(
            name,
            stands.chosen.get(name),
            stands.planned.get(name),
            reports.get(name),
            stands.tasks.get(name, []),
            (files or {}).get(name, ()),
            owners.get(name),
        )
        for name in names
    )
    return rows, stands.planned


class _Reader:
    """Puts one data source's row together."""

    def __init__(self, host: Host, connection: Connection, case: Case) -> None:
        self._host = host
        self._connection = connection
        self._case = case

    def source(
        self,
        name: str,
        chosen: Any,
        planned: Planned | None,
        reported: SourceReport | None,
        tasks: Sequence[Task],
        files: tuple[FileInfo, ...],
        owner: str | None,
    ) -> PanelSource:
        configured = self._host.registry.sources.get(name)
        connector = configured.connector if configured else None
        state, detail, free = self._stands(name, planned, reported, tasks)
        reason = ""
        if chosen is not None and chosen.overridden_at is not None:
            if state not in FINAL:
                state = SourceState.OVERRIDDEN
            if chosen.sealed_reason is not None:
                reason = self._host.ledger.cases.key(self._connection, self._case.number).open(chosen.sealed_reason, _REASON).decode()
        row = planned.row if planned else None
        missing = ""
        if state in (SourceState.MISSING_IDENTIFIER, SourceState.AMBIGUOUS) and connector is not None:
            missing = ", ".join(str(kind.model_fields["kind"].default) for kind in connector.identified_by)
        searched = row is not None and row.standing in (Standing.FOUND, Standing.NOTHING_FOUND)
        kept = [(match.resource, match.note) for match in row.matches if match.deed in (Deed.RETAIN, Deed.LEAVE)] if row else []
        deeds = Counter[tuple[str, str, str]]()
        for match in row.matches if row else ():
            deeds[match.resource, match.deed.value, match.note] += match.count
        return PanelSource(
            source=name,
            title=(row.title if row and connector is None else title_of(self._host, name)),
            category=connector.category.value if connector else "",
            process=connector.process.value if connector else Process.AUTOMATED.value,
            state=state,
            found=row.count(*Deed) if row and searched else None,
            ticked=free,
            selectable=chosen is not None
            and self._case.stage == "process"
            and not free
            and state in (SourceState.FOUND, SourceState.EMAIL_READY)
            and connector is not None,
            last_deleted=reported.last_deleted if reported else None,
            detail=detail,
            missing=missing,
            retained=tuple(dict.fromkeys((*(reported.retained if reported else ()), *kept))),
            deeds=tuple((resource, deed, count, note) for (resource, deed, note), count in deeds.items()),
            warnings=row.warnings if row else (),
            reason=reason,
            overridden_by=chosen.overridden_by if chosen is not None else None,
            overridden_at=chosen.overridden_at if chosen is not None else None,
            ticked_by=chosen.ticked_by if chosen is not None else None,
            ticked_at=chosen.ticked_at if chosen is not None else None,
            files=files,
            next_at=reported.next_at if reported and free else None,
            owner=owner,
        )

    def _stands(self, name: str, planned: Planned | None, reported: SourceReport | None, tasks: Sequence[Task]) -> tuple[SourceState, str, bool]:
        """State, detail, and whether it is given free."""
        if reported is None or not (worked(tasks) or (planned is not None and planned.approved_at is not None)):
            return (*self._searched(name, planned, tasks), False)
        state, detail = self._given_free(name, reported, tasks)
        if planned is not None and planned.approved_at is None and state not in UNDER_WAY:
            # Searched again since: what has failed, is back or is new may be given free once more. A copy is always found again.
            if planned.row.standing is Standing.FOUND and not (self._case.type == RequestType.COPY and state in FINAL):
                return SourceState.FOUND, detail, False
            if planned.row.standing is Standing.NOTHING_FOUND and state is SourceState.REAPPEARED:
                return SourceState.DONE, "searched again: nothing is left", True
        return state, detail, True

    def _searched(self, name: str, planned: Planned | None, tasks: Sequence[Task]) -> tuple[SourceState, str]:
        finds = [task for task in tasks if task.action == "find"]
        configured = self._host.registry.sources.get(name)
        if configured is None:
            broken = self._host.broken.get(name)
            return SourceState.COULD_NOT_CHECK, str(broken) if broken else _GONE
        if planned is None:
            if any(task.state in LIVE for task in finds):
                return SourceState.SEARCHING, ""
            if configured.connector.process is Process.MANUAL:
                return SourceState.BY_HAND, str(getattr(configured.connector.config, "instructions", ""))
            return SourceState.NOT_SEARCHED, ""
        if planned.row.standing is Standing.COULD_NOT_CHECK:
            if any(task.state in LIVE for task in finds):
                return SourceState.SEARCHING, planned.row.detail
            if any(task.state == "done" and task.finished_at is not None and task.finished_at > planned.made_at for task in finds):
                return SourceState.NOT_SEARCHED, "the answer has come meanwhile: search again"
        return _PLANNED[planned.row.standing], planned.row.detail

    def _given_free(self, name: str, reported: SourceReport, tasks: Sequence[Task]) -> tuple[SourceState, str]:
        state, detail = _REPORTED[reported.status], reported.detail
        if name not in self._host.registry.sources and state in UNDER_WAY:
            broken = self._host.broken.get(name)
            return SourceState.FAILED, str(broken) if broken else _GONE
        if state is SourceState.WAITING and any(task.state == "acting" for task in tasks):
            return SourceState.WORKING, detail
        letters = [task for task in tasks if task.action == "email"]
        if state is SourceState.EMAIL_SENT and any((task.outcome or {}).get("cc_refused") for task in letters):
            detail += "; the mail server refused the copy (CC)"
        return state, detail


_REASON = "case_sources.sealed_reason"
_GONE = "this data source is not configured any more"


def title_of(host: Host, name: str) -> str:
    """What a data source goes by: as the inventory calls it, or its vendor. One that people do stands under its own name: *By hand* would
    tell nobody, the person who reads the reply least of all, what was gone through."""
    configured = host.registry.sources.get(name)
    given = host.titles.get(name)
    if given or configured is None:
        return given or name
    if configured.connector.process is Process.MANUAL:
        return name.replace("_", " ").replace("-", " ").capitalize()
    return str(getattr(configured.connector.config, "vendor", None) or configured.connector.title)


# --- recent activity ------------------------------------------------------------------------------------------------------------------

_LINES = {
    "letter.in_doubt": "Nobody knows whether the letter to {title} was sent",
    "letter.confirmed_sent": "Confirmed that the letter to {title} was sent",
    "source.confirmed": "Marked {title} as done",
    "source.overridden": "Went on without {title}",
    "source.unticked": "Unticked {title}: nothing was taken back",
    "erase.accepted": "{title} accepted the deletion",
    "erase.erased": "Deleted from {title}",
    "erase.anonymized": "Anonymised at {title}",
    "erase.failed": "Deletion failed at {title}",
    "email.failed": "The letter to {title} could not be sent",
    "export.failed": "Collecting failed at {title}",
    "data.exported": "Collected from {title}",
    "opt_out.opted_out": "Opted out at {title}",
    "opt_out.failed": "Opting out failed at {title}",
    "erasure.verified": "Searched {title} again: nothing is left",
    "erasure.reappeared": "Found again at {title} after deletion",
    "identity.added": "Added an identifier",
    "file.attached": "Attached a file",
    "file.removed": "Removed a file",
    "copy.generated": "Generated the copy",
    "copy.delivered": "The person has fetched the copy",
    "tasks.retried": "Tried again at {title}",
}


def activities(host: Host, connection: Connection, case: Case, *, limit: int = 20) -> tuple[Activity, ...]:
    """What happened lately while processing, newest first; the same line again and again stands once."""
    wanted = (*_LINES, "letter.sent", "sources.given_free")
    query = (
        select(audit.c.at, audit.c.actor, audit.c.event, audit.c.data)
        .where(audit.c.case == case.number, audit.c.event.in_(wanted))
        .order_by(audit.c.n.desc())
        .limit(limit * 5)
    )
    found: list[Activity] = []
    for line in _lines(host, case, connection.execute(query)):
        if not found or (found[-1].actor, found[-1].text) != (line.actor, line.text):
            found.append(line)
    return tuple(found[:limit])


def _lines(host: Host, case: Case, rows: Iterable[Any]) -> Iterator[Activity]:
    for at, actor, event, raw in rows:
        data = json.loads(raw)
        if event == "letter.sent":
            text = str(data["text"])  # word for word as product document 002 has it
        elif event == "sources.given_free":
            names = [title_of(host, name) for name in data["sources"]]
            text = f"{verb_of(case.type)} {len(names)} source{'' if len(names) == 1 else 's'}: {', '.join(names)}"
        else:
            text = _LINES[event].format(title=title_of(host, str(data.get("source", ""))))
        yield Activity(at, actor, text)
