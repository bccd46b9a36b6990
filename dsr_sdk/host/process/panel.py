"""The panel of a case: how each of its data sources stands, what may be ticked, and what still bars the way on.

Everything here is read from the ledger and nothing is stored, so the panel shows the truth whoever did the work: another agent, the
engine, or a process that has died meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from dsr_sdk.connector import Process
from dsr_sdk.engine import Deed, SourceReport, Standing, Status
from dsr_sdk.engine.planner import ENTER, instructions
from dsr_sdk.host.process.planned import Planned, handed_over, said_of, standing, taken_on, unbegun, worked
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import inventory
from dsr_sdk.ledger.tasks import LIVE, Task
from dsr_sdk.request import RequestType

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host
    from dsr_sdk.host.process.activity import Activity
    from dsr_sdk.host.process.files import FileInfo

__all__ = ["FINAL", "UNDER_WAY", "Panel", "PanelSource", "SourceState", "exceptions", "listed", "sources_of", "title_of", "verb_of"]


class SourceState(StrEnum):
    """How a data source of a case stands.

    ``done``: deleted, handed over, opted out, or confirmed by a person. ``working``: the engine has it in hand. ``waiting``: for the
    vendor, or for another try. ``accepted``: the vendor has taken it on, and somebody went on without waiting for it. ``email_ready``: may
    be ticked. ``email_sent``: asked, not answered.
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
    ACCEPTED = "accepted"


FINAL = frozenset(
    {SourceState.NOTHING_FOUND, SourceState.UNSUPPORTED, SourceState.DONE, SourceState.RETAINED, SourceState.OVERRIDDEN, SourceState.ACCEPTED}
)
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
        cancellable: A letter that was ticked, and of which nothing has left: the tick may be taken back (`Processing.untick`).
        sent_at: When its letter was handed to the mail server, or may have been.
        detail: For people, without personal data.
        missing: The kinds of identifier of which it needs one (``controller_id``), where that is what is missing.
        retained: What is kept, and why: (resource, text).
        deeds: What the search found and what giving free does with it: (resource, `Deed`, records, why it is kept or left).
        warnings: What an agent should look at before giving free.
        reason: Why it was overridden.
        next_at: When the next thing is due by itself.
        awaited: The vendor has accepted all that was given free, and is only waited for: `Processing.go_on` may go on without waiting.
        result: Of a copy, what a person said it came to: ``nothing_found``, ``attached``, ``elsewhere`` (answered beside the copy).
        takes: The kinds of identifier that it knows people by.
        enterable: Entering another identifier may change what the search found (a warning says so).
        late: It failed after somebody had gone on without waiting for it, and after processing: it may be tried again, or overridden, even now.
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
    cancellable: bool = False
    sent_at: datetime | None = None
    awaited: bool = False
    late: bool = False
    result: str = ""
    takes: tuple[str, ...] = ()
    enterable: bool = False


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
        needs: What a person still has to say or to make before *Continue*, as sentences, whatever the data sources came to.
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
    needs: tuple[str, ...] = ()

    @property
    def waited_for(self) -> tuple[PanelSource, ...]:
        """The data sources that are waited for, where there is nothing else to do now; empty otherwise."""
        open_ = [row for row in self.sources if row.state not in FINAL]
        waiting = [row for row in open_ if row.state is SourceState.WAITING]
        return tuple(waiting) if all(row.state in UNDER_WAY for row in open_) else ()


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: *Amplitude, SendGrid and Zendesk*."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def exceptions(sources: Sequence[PanelSource]) -> str:
    """Where a request was not carried out, or not yet, after somebody went on all the same; empty for nowhere."""
    left = [row.title for row in sources if row.state is SourceState.OVERRIDDEN]
    taken = [row.title for row in sources if row.state is SourceState.ACCEPTED]
    said = (f"not: {', '.join(left)}" if left else "", f"accepted, not finished yet: {', '.join(taken)}" if taken else "")
    return "; ".join(part for part in said if part)


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
            stands.approved.get(name),
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
        self._sent = handed_over(connection, case.number) if case.type == RequestType.DELETION else {}

    def source(
        self,
        name: str,
        chosen: Any,
        planned: Planned | None,
        approved: Planned | None,
        reported: SourceReport | None,
        tasks: Sequence[Task],
        files: tuple[FileInfo, ...],
        owner: str | None,
    ) -> PanelSource:
        configured = self._host.registry.sources.get(name)
        connector = configured.connector if configured else None
        state, detail, free = self._stands(name, planned, approved, reported, tasks)
        reason = ""
        awaited = state is SourceState.WAITING and taken_on(tasks)
        if chosen is not None and chosen.overridden_at is not None:
            if chosen.overridden_state == SourceState.WAITING.value:
                # Only the waiting was given up: what the vendor says later counts, above all that it failed.
                state = SourceState.ACCEPTED if state in UNDER_WAY else state
            elif state not in FINAL:
                state = SourceState.OVERRIDDEN
            if chosen.sealed_reason is not None:
                reason = self._host.ledger.cases.key(self._connection, self._case.number).open(chosen.sealed_reason, _REASON).decode()
        row = planned.row if planned else None
        takes = tuple(str(kind.model_fields["kind"].default) for kind in connector.identified_by) if connector is not None else ()
        missing = ", ".join(takes) if state in (SourceState.MISSING_IDENTIFIER, SourceState.AMBIGUOUS) else ""
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
            cancellable=free and self._case.stage == "process" and name not in self._sent and any(unbegun(task) for task in tasks),
            sent_at=self._sent.get(name),
            awaited=awaited and state is SourceState.WAITING and self._case.stage == "process" and chosen is not None,
            takes=takes,
            result=said_of(tasks) if state in (SourceState.DONE, SourceState.NOTHING_FOUND) else "",
            enterable=any(text.endswith(ENTER) for text in (row.warnings if row else ())) and not missing and self._case.stage == "process",
            late=state is SourceState.FAILED
            and self._case.stage in ("reply", "closed")
            and chosen is not None
            and chosen.overridden_state == SourceState.WAITING.value,
        )

    def _stands(
        self, name: str, planned: Planned | None, approved: Planned | None, reported: SourceReport | None, tasks: Sequence[Task]
    ) -> tuple[SourceState, str, bool]:
        """State, detail, and whether it is given free."""
        if reported is None or not (worked(tasks) or (planned is not None and planned.approved_at is not None)):
            return (*self._searched(name, planned, tasks), False)
        state, detail = self._given_free(name, reported, tasks)
        if planned is not None and planned.approved_at is None and state not in UNDER_WAY:
            # Searched again since: what has failed, is back or is new may be given free once more. What was copied is always found again.
            copied = self._case.type == RequestType.COPY and state in FINAL and not _more(planned, approved)
            if planned.row.standing is Standing.FOUND and not copied:
                return SourceState.FOUND, detail, False
            if planned.row.standing is Standing.NOTHING_FOUND and state is SourceState.REAPPEARED:
                return SourceState.DONE, "searched again: nothing is left of what was deleted", True
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
                return SourceState.BY_HAND, instructions(configured.connector, RequestType(self._case.type))
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
        if reported.status is Status.CONFIRMED and said_of(tasks) == "nothing_found":
            return SourceState.NOTHING_FOUND, detail
        if state is SourceState.WAITING and any(task.state == "acting" for task in tasks):
            return SourceState.WORKING, detail
        letters = [task for task in tasks if task.action == "email"]
        if state is SourceState.EMAIL_SENT and any((task.outcome or {}).get("cc_refused") for task in letters):
            detail += "; the mail server refused the copy (CC)"
        return state, detail


def _more(planned: Planned, approved: Planned | None) -> bool:
    """Whether a search has found what was not found when the data source was given free."""
    known = {(match.resource, match.match["id"]) for match in approved.row.matches} if approved else set()
    return any((match.resource, match.match["id"]) not in known for match in planned.row.matches)


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
