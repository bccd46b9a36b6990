"""Processing: search the data sources of a case, give them free, mark what is done by hand, and say what still bars the way.

Searching changes nothing anywhere. Giving free is the one irreversible step: it approves exactly what the panel showed of the data
sources that were ticked, and from then on the engine carries it out, whether or not anybody keeps the page open.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.engine import Connection

from dsr_sdk.connector import Process
from dsr_sdk.engine.plan import plan_hash
from dsr_sdk.engine.settle import again
from dsr_sdk.engine.work import elsewhere
from dsr_sdk.errors import ConflictError, RequestError, UnsupportedError
from dsr_sdk.host.approval import SUPERSEDED, approve
from dsr_sdk.host.process.marks import came_to
from dsr_sdk.host.process.panel import FINAL, UNDER_WAY, PanelSource, SourceState
from dsr_sdk.host.process.planned import UNBEGUN, Planned, joined, newest, unbegun, worked
from dsr_sdk.host.process.searching import BARS, Searching
from dsr_sdk.identity import AnyIdentity, VendorId
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import case_sources, inventory
from dsr_sdk.ledger.tasks import LIVE, Update
from dsr_sdk.request import RequestType

__all__ = ["Processing"]

HOLDS = timedelta(days=7)
"""How long what a search found may still be given free. What came to the vendor since would be left behind."""

_OVERRIDE = ("overridden_at", "overridden_by", "overridden_state", "sealed_reason")

_ENDED = (SourceState.DONE, SourceState.RETAINED, SourceState.REAPPEARED)
_LEFT = (SourceState.NOT_SEARCHED, SourceState.OVERRIDDEN)
"""Where a new identifier is not searched with by itself: the first search is still to come, or somebody goes on without it."""

LEAST_REASON = 10
"""Characters of a reason: enough that somebody else understands it."""


class Processing(Searching):
    """The process stage of cases. `by` names who decides."""

    # --- giving free ---------------------------------------------------------------------------------------------------------------

    def give_free(self, case: str, sources: Sequence[str], *, by: str, revision: int | None = None, seen: int | None = None) -> int:
        """*Delete N sources*: approve exactly what was found there, and nothing beyond it. How many were given free by this call.

        It is committed when this returns and cannot be taken back; the engine carries it out (`run`, or whoever runs the host). Data
        sources that are given free already, and those where nothing was found, count for nothing.

        Args:
            seen: `Panel.seen`: what the agent had before their eyes. Refused when a later search has found something else there.

        Raises:
            ConflictError: Someone else has decided about the case meanwhile, or searched with another result.
            RequestError: A data source was not chosen, not searched, or searched too long ago: search again.
            UnsupportedError: A letter for a request that is no deletion.
        """
        self.host.refresh_sources()  # of another process's making; never within a transaction
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage="process", revision=revision)
            self._automatic(current)
            rows, planned = self._rows(connection, current)
            names = list(dict.fromkeys(sources))
            self._known(rows, names)
            wanted = [rows[name] for name in names if not rows[name].ticked and rows[name].state is not SourceState.NOTHING_FOUND]
            changed = self._changed(connection, [row.source for row in wanted])
            for row in wanted:
                self._may_be_given(row, planned, current, book, changed.get(row.source))
            if seen is not None:
                self._as_shown(connection, current, wanted, planned, seen)
            self._in_order(rows, [row.source for row in wanted])
            if wanted:
                self._free(connection, book, current, wanted, planned, by)
        return len(wanted)

    def _changed(self, connection: Connection, names: Sequence[str]) -> dict[str, datetime]:
        """When data sources of the inventory were changed last."""
        ours = [name for name in names if name not in self.host.config.sources]
        query = select(inventory.c.name, inventory.c.updated_at).where(inventory.c.name.in_(ours))
        return {row.name: row.updated_at for row in connection.execute(query)}

    def _may_be_given(self, row: PanelSource, planned: dict[str, Planned], case: Case, book: Book, changed_at: datetime | None) -> None:
        if row.process == Process.EMAIL.value and case.type != RequestType.DELETION:
            raise UnsupportedError("letters ask for deletion only", source=row.source, fix="handle it by hand, and mark it as done")
        if row.state is SourceState.BY_HAND:
            if row.process == Process.EMAIL.value:
                raise RequestError("the e-mail integration is not active", source=row.source, fix="activate it, or mark it as done by hand")
            raise RequestError("is done by hand", source=row.source, fix="do it, and mark it as done")
        if row.state in (SourceState.MISSING_IDENTIFIER, SourceState.AMBIGUOUS):
            raise RequestError(f"needs one of: {row.missing}", source=row.source, fix="enter it")
        if not row.selectable or row.source not in planned:
            raise RequestError(f"{BARS.get(row.state, 'has nothing to be given free')}", source=row.source, fix="search again")
        part = planned[row.source]
        configured = self.host.registry.sources[row.source]
        if row.state is SourceState.FOUND and (part.row.connector != configured.connector.slug or book.now - part.made_at > HOLDS):
            raise RequestError("was searched too long ago", source=row.source, fix="search again")
        moved = part.row.account and configured.account and part.row.account != configured.account
        if row.state is SourceState.FOUND and (moved or (changed_at is not None and changed_at > part.made_at)):
            # It may lead to another account now, where the ids that were found are somebody else's.
            raise RequestError("was changed since it was searched", source=row.source, fix="search again")

    def _as_shown(self, connection: Connection, case: Case, rows: Sequence[PanelSource], planned: dict[str, Planned], seen: int) -> None:
        names = [row.source for row in rows if planned[row.source].plan > seen]
        shown = newest(self.ledger, connection, case.number, names, upto=seen)
        for name in names:
            if name not in shown or self._hash(case, shown[name]) != self._hash(case, planned[name]):
                raise ConflictError("a later search has found something else there", source=name, fix="look at it again")

    def _hash(self, case: Case, part: Planned) -> str:
        return plan_hash(self.vault, case.number, case.type, case.scope, (part.row,))

    def _in_order(self, rows: dict[str, PanelSource], names: Sequence[str]) -> None:
        """A data source that must come after another is not given free before it."""
        for name in names:
            for before in self.host.registry.predecessors(name):
                row = rows.get(before)
                if row is not None and before not in names and row.state in (SourceState.FOUND, SourceState.EMAIL_READY):
                    raise RequestError(f"comes after {row.title}, which is not given free", source=name, fix=f"tick {row.title} as well")

    def _free(
        self, connection: Connection, book: Book, case: Case, rows: Sequence[PanelSource], planned: dict[str, Planned], by: str, **told: bool
    ) -> None:
        """Store what was found at these data sources as a plan of its own, and approve that."""
        names = [row.source for row in rows]
        whole = joined(case, (planned[name] for name in names))
        assert whole is not None  # noqa: S101 - there is a row of each of the names; tells the type checker
        narrow = whole.narrowed(names, self.vault, book.now)
        self.ledger.plans.add(connection, [(case.number, narrow.hash, narrow.body())], book.now)
        id_ = self.ledger.plans.newest_ids(connection, [case.number])[case.number]
        stored = narrow.stored(id_)
        approve(connection, self.ledger, self.host.registry, [stored], by, book)
        ticked = case_sources.c.case == case.number, case_sources.c.source.in_(names), case_sources.c.ticked_at.is_(None)
        connection.execute(update(case_sources).where(*ticked).values(ticked_at=book.now, ticked_by=by))
        self._own_again(connection, case, names)
        self.change(connection, case)
        book.note(case.number, "sources.given_free", by, sources=names, **told)

    def _own_again(self, connection: Connection, case: Case, names: Sequence[str]) -> None:
        """Work that is taken up again is not overridden any more; the audit log keeps that it was."""
        mine = case_sources.c.case == case.number, case_sources.c.source.in_(names), case_sources.c.overridden_at.is_not(None)
        connection.execute(update(case_sources).where(*mine).values(**dict.fromkeys(_OVERRIDE)))

    def tick_email(self, case: str, source: str, *, by: str) -> None:
        """Tick an e-mail integration: its letter is given to the engine, and leaves once, however often it is ticked.

        Raises:
            RequestError: It is not active, or is no e-mail integration.
            UnsupportedError: The request is no deletion.
        """
        with self.reading() as connection:
            current = self._processed(connection, case)
            row = self._one(connection, current, source)
        if row.process != Process.EMAIL.value:
            raise RequestError("is not asked by e-mail", source=source, fix="give it free with the others")
        if current.type != RequestType.DELETION:
            raise UnsupportedError("letters ask for deletion only", source=source, fix="handle it by hand, and mark it as done")
        if not row.ticked and row.state is not SourceState.EMAIL_READY:
            self.search(case, sources=[source])  # asks nobody: it only looks whether a letter can be written
        self.give_free(case, [source], by=by)

    def untick(self, case: str, source: str, *, by: str) -> bool:
        """Take the tick of an e-mail integration back. A letter that waits, or that was refused, is cancelled; ticked again, it is sent once.

        A letter that has left cannot be unsent: that somebody unticked it is recorded, nothing is taken back, and ticking again sends nothing.
        Nor is anything taken back at a data source of another kind.

        Returns:
            Whether a letter was cancelled.

        Raises:
            ConflictError: The letter is being sent at this moment, or another data source waits for it.
        """
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage="process")
            rows, planned = self._rows(connection, current)
            self._known(rows, [source])
            row = rows[source]
            if not row.ticked:
                return False
            if not row.cancellable:
                if row.process == Process.EMAIL.value and row.state in UNDER_WAY:
                    raise ConflictError("the letter is being sent at this moment", source=source, fix="look at it again")
                book.note(case, "source.unticked", by, source=source)
                return False
            self._cancel(connection, book, current, source, planned[source], by)
        return True

    def _cancel(self, connection: Connection, book: Book, case: Case, source: str, planned: Planned, by: str) -> None:
        tasks = self.ledger.tasks.of(connection, [case.number], opened=False)
        letters = {task.id: task for task in tasks if task.source == source and unbegun(task)}
        if self.ledger.tasks.hold(connection, letters, UNBEGUN) != set(letters):  # an engine has taken it since it was read
            raise ConflictError("the letter is being sent at this moment", source=source, fix="look at it again")
        waiting = {task.source for task in tasks if task.state == "waiting"} & set(self.host.registry.sources)
        if any(source in self.host.registry.predecessors(name) for name in waiting):
            raise ConflictError("another data source is given free and waits for this letter", source=source, fix="let it be sent")
        ended = [Update(task, "done", outcome={"kind": SUPERSEDED}, finished_at=book.now) for task in letters.values()]
        self.ledger.tasks.update(connection, ended)
        whole = joined(case, [planned])
        assert whole is not None  # noqa: S101 - it is made of one part; tells the type checker
        found = whole.narrowed([source], self.vault, book.now)  # the same letter once more, approved by nobody
        self.ledger.plans.add(connection, [(case.number, found.hash, found.body())], book.now)
        mine = case_sources.c.case == case.number, case_sources.c.source == source
        connection.execute(update(case_sources).where(*mine).values(ticked_at=None, ticked_by=None))
        if not worked(task for task in tasks if task.id not in letters):
            self.ledger.cases.set_status(connection, [case.number], "planned")  # as if nothing had been given free: it may be withdrawn again
        self.change(connection, case)
        book.note(case.number, "letter.cancelled", by, source=source)

    def run(self, case: str) -> None:
        """Carry out what is due for this case now, as far as it goes."""
        with self.reading() as connection:
            approved = self.ledger.plans.latest(connection, [case], approved=True)
        if case in approved:
            self.host.run(case)

    # --- what people add -----------------------------------------------------------------------------------------------------------

    def add_source(self, case: str, source: str, *, by: str) -> None:
        """Add a data source that is relevant after all.

        Raises:
            RequestError: It is not used in request handling, or people handle requests of this type.
        """
        with self.reading() as connection:
            current = self.ledger.cases.get(connection, case)
            self._automatic(current)
            known = list(connection.execute(select(case_sources.c.source).where(case_sources.c.case == case)).scalars())
        self.host.workflow.choose(case, [*known, source] if current.stage == "review" else [source], by=by)

    def add_identifier(self, case: str, identity: AnyIdentity, *, by: str) -> None:
        """Enter an identifier, and search with it wherever it is understood: where nothing was found without it, something may be found with
        it. Where something was deleted or collected already, what is found now may be given free once more.

        Raises:
            ConflictError: The case is not being processed.
        """
        self.host.refresh_sources()
        with self.reading() as connection:
            rows, _ = self._rows(connection, self._processed(connection, case))
        self.host.add_identity(case, identity, by=by)
        searched = [row.source for row in rows.values() if row.state in _ENDED or (not row.ticked and row.state not in _LEFT)]
        opened = [name for name in searched if self._understands(name, identity)]
        if opened:
            self.search(case, sources=opened)

    def _understands(self, source: str, identity: AnyIdentity) -> bool:
        configured = self.host.registry.sources.get(source)
        if configured is None:
            return False
        connector = configured.connector
        return isinstance(identity, connector.identified_by) and not (isinstance(identity, VendorId) and identity.vendor != connector.slug)

    def mark_done(self, case: str, source: str, *, by: str, note: str = "", files: Sequence[int] = (), result: str = "") -> None:
        """Record that a person made sure: it was done by hand, or a vendor has answered a letter. Of a letter in doubt it says that it was
        sent; mark it once more when the vendor has answered.

        Args:
            note: What they saw or did; kept sealed.
            files: Ids of files of this case that prove it.
            result: Of a copy, what it came to, for package, reply and record: ``nothing_found``, ``attached`` (files of this data source go
                with the copy), ``elsewhere`` (answered beside it). May be left out where such files are attached.

        Raises:
            ConflictError: The case is not being processed.
            RequestError: Nothing there waits for a person, or it is not said what a copy came to.
        """
        self.host.refresh_sources()
        with self.reading() as connection:
            current = self._processed(connection, case)
            waits = self._one(connection, current, source)
            planned = newest(self.ledger, connection, case, [source])
        if waits.state is SourceState.BY_HAND and source not in planned:
            self.search(case, sources=[source])
        with self.deciding() as (connection, book):
            current = self.held(connection, case, stage="process")
            rows, planned = self._rows(connection, current)
            row = rows[source]
            if row.state not in (SourceState.BY_HAND, SourceState.EMAIL_SENT, SourceState.IN_DOUBT):
                raise RequestError("nothing there waits for a person", source=source, fix="look at the case again")
            result = came_to(self.host, connection, current, source, result)
            self.host.files.prove(connection, current, files, source)
            if not row.ticked:
                self._free(connection, book, current, [row], planned, by, by_hand=True)
            else:
                self.change(connection, current)
        self.host.confirm(case, source, by=by, note=note, result=result)

    def retry(self, case: str, source: str, *, by: str, resend: bool = False) -> None:
        """Try again what failed there. What is found again after its deletion is searched first, and may then be given free once more; so is
        what was found in another account than the data source leads to now.

        Args:
            resend: Also a letter of which nobody knows whether it was sent: it may then arrive twice.

        Raises:
            RequestError: Nothing failed there.
        """
        self.host.refresh_sources()
        with self.deciding() as (connection, book):
            current, row = self._still_open(connection, case, source)
            failed = [
                task
                for task in self.ledger.tasks.of(connection, [case], sources=[source])
                if task.action not in ("gap", "find")
                and (task.state == "failed" or (resend and task.state == "doubt"))
                and not (row.source in self.host.registry.sources and elsewhere(task, self.host.registry.sources[row.source]))
            ]
            if failed:
                self.ledger.tasks.update(connection, [again(task, book.now, resend=resend) for task in failed])
                if not row.late:  # one that is late is not waited for this time either
                    self._own_again(connection, current, [source])
                self.change(connection, current)
                book.note(case, "tasks.retried", by, source=source, count=len(failed))
        if failed:
            return
        if row.state not in (SourceState.REAPPEARED, SourceState.COULD_NOT_CHECK, SourceState.FAILED, SourceState.NOT_SEARCHED):
            raise RequestError("nothing failed there", source=source, fix="look at the case again")
        self.search(case, sources=[source])

    def override(self, case: str, source: str, *, by: str, reason: str) -> None:
        """Take responsibility for going on without a data source.

        Args:
            reason: At least 10 characters; kept sealed with the case, and shown in its record.

        Raises:
            RequestError: The reason is too short, or there is nothing to override: it is finished, or may be changing something just now.
        """
        self._going_on(case, source, by, reason, waiting=False)

    def go_on(self, case: str, source: str, *, by: str, reason: str) -> None:
        """Go on without waiting for a vendor that has accepted everything (`PanelSource.awaited`). It keeps being asked, also after the case
        is closed, and what it says counts: it is done then, or it has failed, which opens a case that went on.

        Args:
            reason: At least 10 characters; kept sealed with the case, and shown in its record.

        Raises:
            RequestError: The reason is too short, or it is not only waited for: something is in flight, or is still to be tried.
        """
        self._going_on(case, source, by, reason, waiting=True)

    def _going_on(self, case: str, source: str, by: str, reason: str, *, waiting: bool) -> None:
        text = reason.strip()
        if len(text) < LEAST_REASON:
            raise RequestError(f"a reason has at least {LEAST_REASON} characters", field="reason", source=source)
        self.host.refresh_sources()
        with self.deciding() as (connection, book):
            current, row = self._still_open(connection, case, source)
            if waiting:
                if not row.awaited:
                    raise RequestError("the vendor has not accepted it, or has ended it", source=source, fix="look at the case again")
                self._gone_on(connection, book, current, row, by, text)
                return
            live = [task for task in self.ledger.tasks.of(connection, [case], sources=[source], opened=False) if task.state in LIVE]
            if row.state in UNDER_WAY or any(task.action in ("erase", "opt_out") and task.intent_at is not None for task in live):
                raise RequestError("is being worked on: what is under way cannot be overridden", source=source, fix="wait for it to end")
            if row.state in FINAL:
                raise RequestError("there is nothing to override", source=source, fix="look at the case again")
            self._gone_on(connection, book, current, row, by, text)
            if row.late and not any(other.late for other in self._rows(connection, current)[0].values()):
                self.ledger.cases.set_status(connection, [case], "done", closed_at=book.now)

    def _still_open(self, connection: Connection, number: str, source: str) -> tuple[Case, PanelSource]:
        """A case that is `held`, and its data source, where something may still be tried again or answered for: while it is processed, and
        later where a vendor that nobody waited for has failed."""
        current = self.held(connection, number, stage=("process", "reply", "closed"))
        self._automatic(current)
        row = self._one(connection, current, source)
        if current.stage != "process" and not row.late:
            self.held(connection, number, stage="process")  # says where it stands
        return current, row

    def _gone_on(self, connection: Connection, book: Book, case: Case, row: PanelSource, by: str, reason: str) -> None:
        sealed = self.ledger.cases.key(connection, case.number).seal(reason.encode(), "case_sources.sealed_reason")
        mine = case_sources.c.case == case.number, case_sources.c.source == row.source
        values = dict(zip(_OVERRIDE, (book.now, by, row.state.value, sealed), strict=True))
        if connection.execute(update(case_sources).where(*mine).values(**values)).rowcount != 1:
            raise RequestError("was not chosen for this case", source=row.source, fix="add it first")
        self.change(connection, case)
        book.note(case.number, "source.not_awaited" if row.awaited else "source.overridden", by, source=row.source, state=row.state.value)
