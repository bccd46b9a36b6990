"""The workflow: review, process, reply, closed. Which step leads where, who may still turn back, and what each step asks first.

    review --accept--> process --finish--> reply --close--> closed
       \\--reject, withdraw, merge---------->

Every step is one transaction with its audit event. A step names the revision its caller has seen: of two agents who press at once one
goes on, and the other is told. No step is skipped, taken twice or taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host.cases import deadlines
from dsr_sdk.host.cases.clocks import Clocks
from dsr_sdk.host.cases.identities import merging
from dsr_sdk.host.cases.stages import STEPS, Decision, Reason, Stage
from dsr_sdk.host.cases.verification import Method, Requirement, methods_for, proven, requirement, vouched_by
from dsr_sdk.host.desk import now
from dsr_sdk.host.people.workers import worker
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import case_sources
from dsr_sdk.ledger.schema import case_identities, cases
from dsr_sdk.request import Regime, Request, RequestType

__all__ = ["STEPS", "Decision", "Reason", "Stage", "Workflow"]


_WAITING = (cases.c.stage.is_not(None), cases.c.ended_at.is_(None), or_(cases.c.decision.is_(None), cases.c.decision == Decision.ACCEPTED.value))
"""Cases that somebody still has to answer in substance: a rejected one, or a duplicate, is waiting for its letter only."""

_CONFIRMED = {"Answer without a generated copy": "answered without a package", "It was handled internally": "handled internally"}


class Workflow(Clocks):
    """The steps of cases, and their clocks. Each method is one decision of one person, `by` whom it names."""

    # --- taking in -----------------------------------------------------------------------------------------------------------------

    def brought(self, request: Request) -> Request:
        """The request as it is stored: with what its channel proves marked, see `verification.proven`."""
        method = self._brings(request)
        return request if method is None else proven(request, method)

    def _brings(self, request: Request) -> Method | None:
        if requirement(deadlines.regime_of(request, self.settings), request.type) is Requirement.FORBIDDEN:
            return None
        return vouched_by(request.channel)

    def begin(self, connection: Connection, requests: Sequence[Request], book: Book, *, by_hand: bool = False) -> None:
        """Put new cases into review: with their due date, with the proof their channel brings, and marked when the same person has
        asked for the same thing and is still waiting. Called by `Host.submit_many`, in its transaction.

        Args:
            by_hand: A person wrote it down: whatever channel it names brings no proof along.
        """
        for request in requests:
            regime = deadlines.regime_of(request, self.settings)
            due = deadlines.due(regime, request.type, request.received_at, holidays=self.settings.holidays)
            method = None if by_hand else self._brings(request)
            earlier = self._same(connection, request)
            connection.execute(
                update(cases)
                .where(cases.c.case == request.case)
                .values(
                    stage=Stage.REVIEW.value,
                    stage_at=book.now,
                    regime=regime.value if regime else None,
                    due_at=due.at,
                    verified_by=method.value if method else None,
                    verified_at=book.now if method else None,
                    duplicate_of=earlier,
                )
            )
            book.note(request.case, "stage.review", "host", due_at=due.at.isoformat(), because=due.because)
            if method is not None:
                book.note(request.case, "identity.verified", "host", method=method.value)
            if earlier is not None:
                book.note(request.case, "request.duplicate", "host", of=earlier)

    def _same(self, connection: Connection, request: Request) -> str | None:
        """The oldest case of the same person and type that is still to be answered."""
        known = select(case_identities.c.fingerprint).where(case_identities.c.case == request.case)
        # In two steps, because one would let SQLite walk through every open case of the type: an import would cost its square.
        others = list(
            connection.execute(
                select(case_identities.c.case).where(case_identities.c.fingerprint.in_(known), case_identities.c.case != request.case).distinct()
            ).scalars()
        )
        if not others:
            return None
        found: str | None = connection.execute(
            select(cases.c.case)
            .where(
                cases.c.case.in_(others),
                cases.c.type == request.type.value,
                cases.c.scope == request.scope.value,
                *_WAITING,
            )
            .order_by(cases.c.received_at, cases.c.case)
            .limit(1)
        ).scalar()
        return found

    def get(self, number: str) -> Case:
        """One case as it stands now. Raises `LedgerError` when there is none."""
        with self.reading() as connection:
            return self.ledger.cases.get(connection, number)

    # --- review --------------------------------------------------------------------------------------------------------------------

    def requirement(self, case: Case) -> Requirement:
        """What the law says about proof of identity for this case."""
        return requirement(Regime(case.regime) if case.regime else None, RequestType(case.type))

    def verify(
        self, number: str, method: Method, *, by: str, revision: int | None = None, note: str = "", arrived_at: datetime | None = None
    ) -> None:
        """Record that the person's identity was proven. A clock that stood still goes on; where the law says so (United Kingdom), the first
        proof begins it anew.

        A proof by e-mail or sign-in covers the address, any other everything that stands in the request now: see `verification.proven`.

        Args:
            note: What was seen; at most 200 characters, without personal data: it stands in the audit log.
            arrived_at: When the proof arrived, for a clock that counts from then; None for this moment.

        Raises:
            ConflictError: Someone else was faster, or the case is past processing.
            RequestError: The law forbids to ask for it, or it would have arrived in the future.
        """
        if arrived_at is not None and arrived_at > now():
            raise RequestError("lies in the future", field="arrived_at", source=number)
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=(Stage.REVIEW.value, Stage.PROCESS.value), revision=revision)
            self.prove(connection, book, case, method, by=by, note=note, arrived_at=arrived_at)

    def prove(
        self,
        connection: Connection,
        book: Book,
        case: Case,
        method: Method,
        *,
        by: str,
        note: str = "",
        arrived_at: datetime | None = None,
        address: str | None = None,
    ) -> None:
        """`verify` a case that is `held`, in the transaction that uses up the proof. `address`: whose mailbox it came from."""
        if method not in methods_for(Regime(case.regime) if case.regime else None, RequestType(case.type)):
            raise RequestError("the law forbids to ask for proof of identity here", source=case.number, fix="go on without it")
        self.mark(connection, case, method, address=address)
        clock = self._proven(connection, book, case, arrived_at or book.now, by)
        self.change(connection, case, verified_by=method.value, verified_at=book.now, **clock)
        book.note(case.number, "identity.verified", by, method=method.value, note=note[:200])

    def mark(self, connection: Connection, case: Case, method: Method, *, address: str | None) -> None:
        """Mark the identities of a case that is `held` that a proof covers."""
        request = self.ledger.cases.requests(connection, [case.number])[case.number]
        self.ledger.cases.replace_request(connection, proven(request, method, address=address))

    def choose(self, number: str, sources: Sequence[str], *, by: str, revision: int | None = None) -> None:
        """Say which data sources are relevant to the request. In review they are set anew; while processing they can only be added.

        Raises:
            RequestError: One of them is not used in request handling.
        """
        self.host.refresh_sources()  # of another process's making; never within a transaction
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=(Stage.REVIEW.value, Stage.PROCESS.value), revision=revision)
            self._choose(connection, book, case, sources, by)
            self.change(connection, case)

    def _choose(self, connection: Connection, book: Book, case: Case, sources: Sequence[str], by: str) -> None:
        usable = self.host.usable_sources()
        for name in sources:
            if name not in usable:
                raise RequestError("is not used in request handling", source=name, fix=f"data sources: {', '.join(usable) or 'none'}")
        known = set(connection.execute(select(case_sources.c.source).where(case_sources.c.case == case.number)).scalars())
        if case.stage == Stage.REVIEW.value and known - set(sources):
            connection.execute(delete(case_sources).where(case_sources.c.case == case.number, case_sources.c.source.in_(known - set(sources))))
        new = [name for name in dict.fromkeys(sources) if name not in known]
        if new:
            connection.execute(insert(case_sources), [{"case": case.number, "source": name, "added_at": book.now, "added_by": by} for name in new])
        if new or known - set(sources):
            left_out = {"left_out": [name for name in usable if name not in sources]} if case.stage == Stage.REVIEW.value else {}
            book.note(case.number, "sources.chosen", by, sources=list(dict.fromkeys(sources)), **left_out)

    def accept(self, number: str, *, by: str, revision: int | None = None, sources: Sequence[str] | None = None) -> None:
        """Continue to processing. It cannot be taken back, and the request cannot be rejected any more.

        Args:
            sources: The data sources to process; None keeps what was chosen, or takes all that are used in request handling. A type that
                has no automatic processing takes none.

        Raises:
            ConflictError: Someone else was faster.
            RequestError: The identity is not proven, and for this right it must be.
        """
        self.host.refresh_sources()  # a data source that another process has just added is searched, too
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=Stage.REVIEW.value, revision=revision)
            if self.requirement(case) is Requirement.REQUIRED and case.verified_by is None:
                raise RequestError(
                    "the person's identity is not verified, and for this right it must be",
                    source=number,
                    fix="ask for proof (Message user, or a verification e-mail), or reject the request",
                )
            if not RequestType(case.type).automatic:
                sources = ()
            elif sources is None:
                chosen = connection.execute(select(case_sources.c.source).where(case_sources.c.case == number)).scalars()
                sources = list(chosen) or self.host.usable_sources()
            self._choose(connection, book, case, sources, by)
            self._step(connection, book, case, "accept", by, decision=Decision.ACCEPTED)

    def reject(self, number: str, reason: Reason, *, by: str, revision: int | None = None) -> None:
        """Refuse the request, and go straight to the reply that says why.

        Raises:
            ConflictError: The case was continued already, or someone else was faster.
            RequestError: It would be refused for want of a proof that the law forbids to ask for.
        """
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=Stage.REVIEW.value, revision=revision)
            if reason is Reason.NOT_VERIFIED and self.requirement(case) is Requirement.FORBIDDEN:
                raise RequestError("the law forbids to make this right depend on proof of identity", source=number, fix="give another reason")
            self._step(connection, book, case, "reject", by, decision=Decision.REJECTED, reason=reason.value)

    def withdraw(self, number: str, *, by: str, revision: int | None = None) -> None:
        """The person has taken the request back. Possible until the first data source was given free.

        Raises:
            ConflictError: Data sources are being processed already.
        """
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=(Stage.REVIEW.value, Stage.PROCESS.value), revision=revision)
            if case.stage == Stage.PROCESS.value and self._given_free(connection, case):
                raise ConflictError(
                    "data sources were given free already: it cannot be withdrawn any more", source=number, fix="finish it, and say so"
                )
            self._step(connection, book, case, "withdraw", by, decision=Decision.WITHDRAWN)

    def merge(self, number: str, into: str, *, by: str, revision: int | None = None, typed: bool = False) -> None:
        """Close a case as the duplicate of another one, which goes on with what the duplicate has proven: see `identities.merging`.

        Args:
            typed: Take over what was only typed there as well, as such. Where the right asks for no proof, it always goes along.

        Raises:
            RequestError: The other is not an open case of the same person and type, or is answered at another address.
        """
        with self.deciding() as (connection, book):
            # Both are held, in one order: two agents who merge two cases into each other at once must not close both of them.
            self.ledger.cases.hold(connection, [number, into])
            case = self.held(connection, number, stage=Stage.REVIEW.value, revision=revision)
            if into not in self._alike(connection, case):
                raise RequestError("is no open case of the same person and type", source=into, fix="see the duplicates shown in review")
            goes_on = self.ledger.cases.get(connection, into)
            if goes_on.stage == Stage.REPLY.value:
                raise RequestError("is only waiting for its reply, and does nothing more", source=into, fix="go on with this one")
            self._carry(connection, book, goes_on, number, by, typed)
            self._step(connection, book, case, "merge", by, decision=Decision.DUPLICATE, duplicate_of=into)
            book.note(into, "request.merged", by, duplicate=number)

    def _carry(self, connection: Connection, book: Book, into: Case, number: str, by: str, typed: bool) -> None:
        found = self.ledger.cases.requests(connection, [number, into.number])
        typed = typed or self.requirement(into) is not Requirement.REQUIRED
        request, taken = merging(found[into.number], found[number], typed=typed)
        if taken:
            self.ledger.cases.replace_request(connection, request)
            self.change(connection, into)  # whoever looked at it before has not seen these
            kinds = [f"{identity.kind}, {'proven' if identity.verified_by else 'not proven'}" for identity in taken]
            book.note(into.number, "identity.carried", by, of=number, identities=kinds)

    def alike(self, number: str) -> list[str]:
        """Other cases of the same person, type and scope that are still to be answered, the oldest first."""
        with self.reading() as connection:
            return self._alike(connection, self.ledger.cases.get(connection, number))

    def _alike(self, connection: Connection, case: Case) -> list[str]:
        known = select(case_identities.c.fingerprint).where(case_identities.c.case == case.number)
        query = (
            select(cases.c.case, cases.c.received_at)
            .distinct()
            .join(case_identities, case_identities.c.case == cases.c.case)
            .where(case_identities.c.fingerprint.in_(known), cases.c.case != case.number, cases.c.type == case.type, cases.c.scope == case.scope)
            .where(*_WAITING)
            .order_by(cases.c.received_at, cases.c.case)
        )
        return list(connection.execute(query).scalars())

    # --- process -------------------------------------------------------------------------------------------------------------------

    def finish(self, number: str, *, by: str, revision: int | None = None, all_done: bool = False) -> None:
        """Continue to the reply. It cannot be taken back: processing is over.

        Args:
            all_done: The agent's own word that everything outside the connected data sources was done ("all data was deleted"; for *do not
                mail* and *right to edit*: that it was handled internally; for a copy: that it is answered without a package).

        Raises:
            ConflictError: Someone else was faster.
            RequestError: Something is still open; the message says what, the rest is in `Host.processing.blockers`.
        """
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=Stage.PROCESS.value, revision=revision)
            blockers = self.host.processing.blockers(number, all_done=all_done, connection=connection)
            if blockers:
                raise RequestError("; ".join(blockers[:5]), source=number, fix="deal with it, or override it with a reason")
            word = self.host.processing.word(connection, case)
            if all_done and word:  # what was said, and nothing that nobody was asked
                book.note(number, "processing.confirmed", by, text=_CONFIRMED.get(word, word[:1].lower() + word[1:]))
            self.ledger.cases.set_status(connection, [number], "done", closed_at=book.now)
            self._step(connection, book, case, "finish", by)
        self.host.registry.tell("dsr_request_closed", case=number, type=RequestType(case.type))

    def _given_free(self, connection: Connection, case: Case) -> bool:
        """Whether anything may have been done: also by a plan approved beside the panel (`Host.approve`)."""
        ticked = select(case_sources.c.source).where(case_sources.c.case == case.number, case_sources.c.ticked_at.is_not(None)).limit(1)
        return case.status in ("approved", "done") or connection.execute(ticked).first() is not None

    # --- reply and close -----------------------------------------------------------------------------------------------------------

    def close(self, connection: Connection, book: Book, case: Case, *, by: str) -> None:
        """End a case that is `held` in reply: the second half of *Reply & close*, in the transaction that records the reply."""
        self._step(connection, book, case, "close", by, ended_at=book.now)
        connection.execute(update(case_sources).where(case_sources.c.case == case.number).values(ended_at=book.now))

    # --- at any time ---------------------------------------------------------------------------------------------------------------

    def assign(self, number: str, agent: str | None, *, by: str) -> None:
        """Give a case to an agent, or to nobody. It is no decision about the case: nobody's work is lost by it.

        Raises:
            RequestError: There is no such account, it is not active, or its role works no requests.
        """
        agent = worker(self.host, agent) if agent is not None else None
        with self.deciding() as (connection, book):
            case = self.held(connection, number, stage=(Stage.REVIEW.value, Stage.PROCESS.value, Stage.REPLY.value))
            connection.execute(update(cases).where(cases.c.case == case.number).values(agent=agent))
            book.note(number, "case.assigned", by, agent=agent)

    # --- the step itself -----------------------------------------------------------------------------------------------------------

    def _step(self, connection: Connection, book: Book, case: Case, step: str, by: str, **values: object) -> None:
        target = STEPS.get((Stage(case.stage), step)) if case.stage else None
        if target is None:
            raise ConflictError(f"a case in {case.stage} cannot {step}", source=case.number, fix="look at it again")
        # Nobody waits for the person any more: a clock that stood still on would never say that the answer is late.
        clock = self._running(connection, book, case, by) if target is Stage.REPLY else {}
        self.change(connection, case, stage=target.value, stage_at=book.now, **values, **clock)
        said = {key: str(value) for key, value in values.items() if key in ("decision", "reason", "duplicate_of")}
        book.note(case.number, f"stage.{target.value}", by, step=step, **said)
