"""Looking and searching: the half of processing that changes nothing anywhere.

What `Processing` decides rests on this: the panel, what bars the way on, and searches of which two at once make one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host.desk import Desk
from dsr_sdk.host.process.activity import activities
from dsr_sdk.host.process.panel import FINAL, Panel, PanelSource, SourceState, exceptions, sources_of, verb_of
from dsr_sdk.host.process.planned import Planned
from dsr_sdk.ledger.cases import Case
from dsr_sdk.request import RequestType

if TYPE_CHECKING:
    from dsr_sdk.engine import Progress
    from dsr_sdk.host.host import Host

__all__ = ["BARS", "Searching"]

_ALL_DELETED = "All data was deleted"
_INTERNAL = "It was handled internally"
_NO_COPY = "Answer without a generated copy"

BARS = {
    SourceState.NOT_SEARCHED: "not searched yet",
    SourceState.SEARCHING: "is being searched",
    SourceState.FOUND: "data found, nothing done about it yet",
    SourceState.MISSING_IDENTIFIER: "an identifier is missing",
    SourceState.AMBIGUOUS: "it knows several identifiers, and it is not clear which is the person's",
    SourceState.COULD_NOT_CHECK: "could not be checked",
    SourceState.WORKING: "is being worked on",
    SourceState.WAITING: "not finished yet",
    SourceState.EMAIL_READY: "the deletion e-mail is not sent yet",
    SourceState.EMAIL_SENT: "asked by e-mail, not marked as done yet",
    SourceState.IN_DOUBT: "nobody knows whether its e-mail was sent",
    SourceState.BY_HAND: "to be done by hand, not marked as done yet",
    SourceState.FAILED: "failed",
    SourceState.REAPPEARED: "data found again",
}
"""Why a data source bars the way to the reply, after its title and a colon."""

_FOUND = {"deletion": "data found, not deleted yet", "copy": "data found, not collected yet", "do_not_sell": "data found, not opted out yet"}

_AGAIN = (SourceState.REAPPEARED, SourceState.FAILED, SourceState.COULD_NOT_CHECK, SourceState.DONE, SourceState.RETAINED)
"""States in which a data source that was given free may be searched once more: nothing is under way there."""


class Searching(Desk):
    """The first half of `Processing`."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._searches = _Turns()

    # --- looking -------------------------------------------------------------------------------------------------------------------

    def panel(self, case: str) -> Panel:
        """How every data source of a case stands. Cheap: no vendor is called and the request is not opened.

        Raises:
            LedgerError: There is no such case.
        """
        self.host.refresh_sources()
        with self.reading() as connection:
            current = self.ledger.cases.get(connection, case)
            files = self.host.files.by_source(connection, current)
            sources, planned = sources_of(self.host, connection, current, files=files)
            return Panel(
                case=current,
                sources=sources,
                searching=any(row.state is SourceState.SEARCHING for row in sources),
                selectable=sum(row.selectable for row in sources),
                blockers=tuple(self._blockers(connection, current, sources, all_done=True)),
                activity=activities(self.host, connection, current),
                verb=verb_of(current.type),
                confirm=self._box(connection, current, sources),
                needs=tuple(self._needs(connection, current, sources)) if current.stage == "process" else (),
                seen=max((row.plan for row in planned.values()), default=0),
            )

    def blockers(self, case: str, *, all_done: bool, connection: Connection | None = None) -> list[str]:
        """What bars the way from process to reply, as sentences; empty when the way is free, and for a case in another stage.

        Args:
            all_done: Whether the box in front of *Continue* is ticked: for a deletion "all data was deleted"; for what people handle, that
                they did; for a copy, the decision to answer without a package.
            connection: Of a transaction that is open already.
        """
        if connection is None:
            with self.reading() as own:
                return self.blockers(case, all_done=all_done, connection=own)
        current = self.ledger.cases.get(connection, case)
        if current.stage != "process":
            return []
        sources, _ = sources_of(self.host, connection, current)
        return self._blockers(connection, current, sources, all_done=all_done)

    def _blockers(self, connection: Connection, case: Case, sources: Sequence[PanelSource], *, all_done: bool) -> list[str]:
        found = [f"{row.title}: {_bars(case, row)}" for row in sources if row.state not in FINAL]
        return found if all_done else [*found, *self._needs(connection, case, sources)]

    def _needs(self, connection: Connection, case: Case, sources: Sequence[PanelSource]) -> list[str]:
        box = self._box(connection, case, sources)
        if box and case.type == RequestType.COPY:
            return [f'the copy is not generated, or not since the last change: generate it, or tick "{box}"']
        return [f'the box "{box}" is not ticked'] if box else []

    def word(self, connection: Connection, case: Case) -> str:
        """What a person says by ticking the box in front of *Continue*; empty where there is none."""
        return self._box(connection, case, sources_of(self.host, connection, case)[0])

    def _box(self, connection: Connection, case: Case, sources: Sequence[PanelSource]) -> str:
        """What a person has to say before *Continue*; empty when the ledger says it all."""
        but = exceptions(sources)
        if case.type == RequestType.DELETION:
            return f"Everything else was deleted ({but})" if but else _ALL_DELETED
        if case.type == RequestType.COPY:
            return "" if self.host.delivery.is_current(connection, case) else _NO_COPY
        if case.type == RequestType.DO_NOT_SELL and but:
            return f"Everything else was handled ({but})"
        if case.type == RequestType.DO_NOT_SELL and any(row.state is SourceState.DONE for row in sources):
            return _INTERNAL if any(row.state is SourceState.UNSUPPORTED for row in sources) else ""
        return _INTERNAL

    # --- searching -----------------------------------------------------------------------------------------------------------------

    def search(
        self,
        case: str,
        *,
        sources: Sequence[str] | None = None,
        wait: float = 0.0,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """Search the chosen data sources that are not given free yet. Changes nothing at any vendor; safe to call again and at the same time.

        Args:
            sources: Only these; one that was given free is searched again where nothing is under way.
            wait: Seconds to stay for searches that a rate limit or a passing failure put off.

        Raises:
            ConflictError: The case is not being processed.
            RequestError: People handle requests of this type, or a data source was not chosen for the case.
        """
        self.host.refresh_sources()
        with self.reading() as connection:
            current = self._processed(connection, case)
            before = self._rows(connection, current)[1]
        with self._searches.turn(case):
            # Whoever had the turn before may have searched for us, too.
            with self.reading() as connection:
                rows, planned = self._rows(connection, current)
            self._known(rows, sources or ())
            names = [
                name
                for name, row in rows.items()
                if self._searchable(row, named=sources is not None and name in sources, all_=sources is None)
                and _plan_of(planned, name) == _plan_of(before, name)
            ]
            if names:
                self.host.plan_many([case], sources=names, wait=wait, on_progress=on_progress)

    def _searchable(self, row: PanelSource, *, named: bool, all_: bool) -> bool:
        if row.source not in self.host.registry.sources and row.source not in self.host.broken:
            return False
        if not row.ticked:
            return named or all_
        return named and row.state in _AGAIN

    # --- what all of them ask ------------------------------------------------------------------------------------------------------

    def _automatic(self, case: Case) -> None:
        if not RequestType(case.type).automatic:
            raise RequestError("people handle requests of this type: no data source takes part", source=case.number, fix="confirm it, and continue")

    def _processed(self, connection: Connection, number: str) -> Case:
        case = self.ledger.cases.get(connection, number)
        if case.stage != "process":
            raise ConflictError(f"the case is in {case.stage or 'no workflow'}, not in process", source=number, fix="look at it again")
        self._automatic(case)
        return case

    def _rows(self, connection: Connection, case: Case) -> tuple[dict[str, PanelSource], dict[str, Planned]]:
        sources, planned = sources_of(self.host, connection, case)
        return {row.source: row for row in sources}, planned

    def _known(self, rows: dict[str, PanelSource], names: Sequence[str]) -> None:
        for name in names:
            if name not in rows:
                raise RequestError("was not chosen for this case", source=name, fix="add it first")

    def _one(self, connection: Connection, case: Case, source: str) -> PanelSource:
        rows, _ = self._rows(connection, case)
        self._known(rows, [source])
        return rows[source]


def _bars(case: Case, row: PanelSource) -> str:
    return _FOUND.get(case.type, BARS[row.state]) if row.state is SourceState.FOUND else BARS[row.state]


def _plan_of(planned: dict[str, Planned], name: str) -> int:
    return planned[name].plan if name in planned else 0


class _Turns:
    """One at a time for each key; whoever comes meanwhile waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def turn(self, key: str) -> Iterator[None]:
        with self._lock:
            lock, users = self._turns.get(key, (threading.Lock(), 0))
            self._turns[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._turns[key]
                if users == 1:
                    del self._turns[key]
                else:
                    self._turns[key] = lock, users - 1
