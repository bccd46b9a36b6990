"""The host: requests in, plans, approvals, runs and proof out. Every face (command line, portal, a program) calls these methods.

with Host.open("dsr.toml") as host:
    case = host.submit(request)
    plan = host.plan(case)
    host.approve(plan, by="alice@example.com")
    report = host.run(case)
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dsr_sdk.connector import Process
from dsr_sdk.engine import Drained, Options, Plan, Planner, Progress, Report, SourceReport, Status, report
from dsr_sdk.engine.settle import again, finish_cases, release
from dsr_sdk.errors import ApprovalError, ConfigError, ConflictError, LedgerError, RequestError
from dsr_sdk.host.approval import approve
from dsr_sdk.host.cases.identities import entering
from dsr_sdk.host.cases.trust import trust
from dsr_sdk.host.copies import make_copy
from dsr_sdk.host.desk import now as _now
from dsr_sdk.host.equipment import Equipment
from dsr_sdk.host.opening import Opened, open_parts
from dsr_sdk.host.process.planned import standing
from dsr_sdk.host.runner import Runner
from dsr_sdk.identity import AnyIdentity
from dsr_sdk.ledger import audit
from dsr_sdk.ledger.book import Book, chunks
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.database import LedgerConflict, purge_deleted, reading, writing
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.tasks import LIVE, NewTask, Update
from dsr_sdk.request import Request, RequestType

if TYPE_CHECKING:
    import httpx

    from dsr_sdk.copy import Manifest

__all__ = ["Host"]

_PATIENCE = 30.0
"""Seconds that planning and running a case stay for a data source that someone else is draining."""

_AUTOMATIC_RETRY = ("AuthError", "ConfigError")
"""Errors of the operator's: once the key or the URL is mended, running the case again tries again."""


class Host(Equipment):
    """One controller's request handling over one ledger. Threads may share it. Make it with `open`."""

    def __init__(self, parts: Opened) -> None:
        self.config = parts.config
        self.ledger: Ledger = parts.ledger
        self.registry = parts.registry
        self._sources = parts.sources
        self.spool = parts.spool
        self._runner: Runner = parts.runner

    @classmethod
    def open(
        cls,
        path: str | Path = "dsr.toml",
        *,
        transports: Mapping[str, httpx.BaseTransport] | None = None,
        options: Options | None = None,
        on_step: Callable[[str], None] = lambda step: None,
        plugins: Sequence[object] = (),
    ) -> Self:
        """Open the host that a ``dsr.toml`` describes.

        Args:
            path: The file.
            transports: Instead of the network, by data source (sandboxes, cassettes).
            options: Instead of ``[engine]``.
            on_step: Told every step of the journal; for tests.
            plugins: Wrappers and observers, beside the installed ones (see `dsr_sdk.hookspecs`).

        Raises:
            ConfigError: The file is wrong. A single data source that cannot be used does not raise: see `broken`.
            LedgerError: The ledger cannot be used; `VaultError` for the wrong master key.
        """
        return cls(open_parts(Path(path), transports=transports, options=options, on_step=on_step, plugins=plugins))

    def close(self) -> None:
        """Sign what the audit log has gained, and let go of connections."""
        try:
            with writing(self.ledger.engine) as connection:
                audit.checkpoint(connection, self.ledger.vault, _now())
        finally:
            self._runner.close()
            self.ledger.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- requests ------------------------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> str:
        """Take a request in; its case number. The same ``reference`` twice gives the same case."""
        return self.submit_many([request])[0]

    def submit_many(self, requests: Sequence[Request]) -> list[str]:
        """Take many in, a few hundred a transaction; case numbers in the same order.

        Raises:
            RequestError: A case number is taken.
        """
        numbers: list[str] = []
        for chunk in chunks(requests):
            try:
                numbers.extend(self._submit(chunk))
            except LedgerConflict:  # on PostgreSQL someone else may hand in the same reference at this very moment: now it is there
                numbers.extend(self._submit(chunk))
        return numbers

    def _submit(self, requests: Sequence[Request]) -> list[str]:
        with writing(self.ledger.engine) as connection:
            book = Book(_now())
            if self.config.workflow is not None:
                requests = [self.workflow.brought(request) for request in requests]
            taken = self.ledger.cases.add(connection, requests, book)
            if self.config.workflow is not None:
                new = {number for number, fresh in taken if fresh}
                self.workflow.begin(connection, [request for request in requests if request.case in new], book)
            self.ledger.write(connection, book)
        return [number for number, _ in taken]

    def request(self, case: str, *, by: str | None = None) -> Request:
        """The request of a case, opened. Raises `VaultError` when it was shredded.

        Args:
            by: The person who looks at it; stands in the audit log, once an hour. None when a program does, on a person's behalf.
        """
        with reading(self.ledger.engine) as connection:
            request = self.ledger.cases.requests(connection, [case])[case]
            told = by is None or self.ledger.noted_since(connection, case, "request.read", by, _now() - timedelta(hours=1))
        if by is not None and not told:
            with writing(self.ledger.engine) as connection:
                book = Book(_now())
                book.note(case, "request.read", by)
                self.ledger.write(connection, book)
        return request

    def cases(self, *, status: Sequence[str] = ()) -> Iterator[Case]:
        """Every case, without personal data, in the order of their numbers."""
        after: str | None = None
        while True:
            with reading(self.ledger.engine) as connection:
                page = self.ledger.cases.page(connection, status=status, after=after)
            yield from page
            if not page:
                return
            after = page[-1].number

    def add_identity(self, case: str, identity: AnyIdentity, *, by: str = "agent") -> None:
        """Add an identity that a data source was missing. Plan again afterwards.

        One that the request has, and that nobody has proven, is from here on the agent's word.

        Raises:
            ConflictError: The case is past processing: nothing is searched for it any more.
        """
        with writing(self.ledger.engine) as connection:
            book = Book(_now())
            self.ledger.cases.hold(connection, [case])  # of two who add an identity at once neither is lost
            stage = self.ledger.cases.get(connection, case).stage
            if stage in ("reply", "closed"):
                raise ConflictError(f"the case is in {stage}: nothing is searched for it any more", source=case, fix="look at it again")
            request = self.ledger.cases.requests(connection, [case])[case]
            self.ledger.cases.replace_request(connection, entering(request, identity))
            book.note(case, "identity.added", by, kind=identity.kind)
            self.ledger.write(connection, book)

    # --- plan, approve, run --------------------------------------------------------------------------------------------------------

    def plan(self, case: str, *, sources: Sequence[str] | None = None, wait: float = 0.0) -> Plan:
        """Search the data sources and say what would be done. Changes nothing at any vendor.

        Args:
            sources: Names of the data sources to take; None for all.
            wait: Seconds to stay for searches that a rate limit or a passing failure put off; without, they stand as *could not check*.
        """
        return self.plan_many([case], sources=sources, wait=wait)[0]

    def plan_many(
        self,
        cases: Sequence[str],
        *,
        sources: Sequence[str] | None = None,
        wait: float = 0.0,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> list[Plan]:
        """Plans for many cases: their searches are drained together, so batch lookups reach across people."""
        self.refresh_sources()
        chosen = list(sources) if sources is not None else self.usable_sources()
        for name in chosen:
            if name not in self.registry.sources and name not in self.broken:
                raise ConfigError("there is no such data source", source=name, fix=f"sources: {', '.join(self.registry.sources) or 'none'}")

        begun = time.monotonic()

        def drain(numbers: Sequence[str]) -> dict[str, str]:
            spent = time.monotonic() - begun
            drained = self._runner.run(
                actions=["find"], cases=numbers, wait=max(0.0, wait - spent), patience=max(0.0, _PATIENCE - spent), on_progress=on_progress
            )
            return {name: str(row.halted) for name, row in drained.items() if row.halted is not None}

        planner = Planner(self.ledger, self.registry, drain, _now, partial(trust, self.ledger.cases))
        broken = {name: str(self.broken[name]) for name in chosen if name in self.broken}
        plans: list[Plan] = []
        for chunk in chunks(cases, 2000):
            plans.extend(planner.plan(chunk, [name for name in chosen if name in self.registry.sources], broken=broken))
        return plans

    def latest_plan(self, case: str, *, approved: bool = False) -> Plan | None:
        """The newest plan of a case, or its newest approved one."""
        with reading(self.ledger.engine) as connection:
            row = self.ledger.plans.latest(connection, [case], approved=approved).get(case)
        if row is None:
            return None
        return Plan.from_body(
            row.body, id=row.id, case=row.case, hash=row.hash, made_at=row.made_at, approved_at=row.approved_at, approved_by=row.approved_by
        )

    def approve(self, plan: Plan, *, by: str = "agent") -> None:
        """Approve exactly this plan. From here on `run` carries it out. Twice does nothing.

        Raises:
            ApprovalError: It is not the newest plan of its case, or not what was stored.
        """
        self.approve_many([plan], by=by)

    def approve_many(self, plans: Sequence[Plan], *, by: str = "agent") -> None:
        """Approve many plans, a few hundred a transaction."""
        for chunk in chunks(plans):
            with writing(self.ledger.engine) as connection:
                book = Book(_now())
                closed = approve(connection, self.ledger, self.registry, chunk, by, book)
                self.ledger.write(connection, book)
            self._closed(closed)

    def run(self, case: str, *, wait: float = 0.0, on_progress: Callable[[Progress], None] = lambda progress: None) -> Report:
        """Carry out the approved plan of a case, as far as it goes now. Run it again whenever something is due.

        Args:
            wait: Seconds to stay for what comes due (a vendor's job, a retry, the verification).

        Raises:
            ApprovalError: No plan of the case was approved.
        """
        return self.run_many([case], wait=wait, on_progress=on_progress)[0]

    def run_many(self, cases: Sequence[str], *, wait: float = 0.0, on_progress: Callable[[Progress], None] = lambda progress: None) -> list[Report]:
        """Carry out the approved plans of many cases: they are drained together, so batches reach across people. See `run`.

        Raises:
            ApprovalError: No plan of one of the cases was approved; nothing was done for any.
        """
        self.refresh_sources()
        for chunk in chunks(cases):
            with reading(self.ledger.engine) as connection:
                approvals = self.ledger.plans.approvals(connection, chunk)
            for case in chunk:
                if (case not in approvals or approvals[case][2] is None) and not self._has_work(case):
                    self.status(case)  # raises when there is no such case
                    raise ApprovalError(
                        "no plan of this case is approved", source=case, fix=f"look at it with: dsr plan {case}, then: dsr approve {case}"
                    )
        for chunk in chunks(cases):
            self._retry(chunk, only=_AUTOMATIC_RETRY)
        if cases:  # no cases would mean all of them
            self._runner.run(cases=cases, wait=wait, patience=_PATIENCE, on_progress=on_progress)
        return [self.status(case) for case in cases]

    def run_all(self, *, wait: float = 0.0, on_progress: Callable[[Progress], None] = lambda progress: None) -> dict[str, Drained]:
        """Drain everything that is due, at every data source."""
        self.refresh_sources()
        return self._runner.run(wait=wait, on_progress=on_progress)

    def _has_work(self, case: str) -> bool:
        with reading(self.ledger.engine) as connection:
            return any(task.action not in ("find", "gap") for task in self.ledger.tasks.of(connection, [case]))

    # --- what people do ------------------------------------------------------------------------------------------------------------

    def confirm(self, case: str, source: str, *, by: str, note: str = "", result: str = "") -> None:
        """Record that a person made sure: a manual source is done, a vendor has answered a letter. Of a letter in doubt it says that it was
        sent; the vendor's answer is confirmed later, by a second call.

        Args:
            note: What they saw or did; kept sealed with the case.
            result: Of a copy, what it came to: see `Processing.mark_done`.

        Raises:
            RequestError: Nothing of this case waits for a person there.
        """
        with writing(self.ledger.engine) as connection:
            book = Book(_now())
            self.ledger.cases.hold(connection, [case])
            waiting = [
                task
                for task in self.ledger.tasks.of(connection, [case], sources=[source])
                if task.action in ("email", "manual") and task.state in ("pending", "doubt")
            ]
            if not waiting:
                raise RequestError("nothing here waits for a person", source=source, fix=f"see: dsr status {case}")
            sealed = {"by": by, "note": note} if note else None
            said = {"result": result} if result else {}
            updates = [
                Update(task, "pending", outcome={"kind": "pending", "check_after": 0}, payload=sealed, intent_at=task.intent_at, step="sent")
                if task.state == "doubt"
                else Update(task, "done", outcome={"kind": "confirmed", **said}, payload=sealed, intent_at=task.intent_at, finished_at=book.now)
                for task in waiting
            ]
            self.ledger.tasks.update(connection, updates)
            sent = any(task.state == "doubt" for task in waiting)
            book.note(case, "letter.confirmed_sent" if sent else "source.confirmed", by, source=source, note=bool(note), **said)
            if source in self.registry.sources:
                release(connection, self.ledger, self.registry, source, [case], book.now)
            closed = finish_cases(connection, self.ledger, [case], book)
            self.ledger.write(connection, book)
        self._closed(closed)

    def retry(self, case: str, *, source: str | None = None, only: Sequence[str] = (), resend: bool = False) -> int:
        """Put what failed back to work; how many tasks.

        Args:
            source: Only there; None for every source.
            only: Only failures of these error classes; empty for all.
            resend: Also letters that are in doubt: they may then arrive twice.
        """
        return self._retry([case], source=source, only=only, resend=resend)

    def _retry(self, cases: Sequence[str], *, source: str | None = None, only: Sequence[str] = (), resend: bool = False) -> int:
        with writing(self.ledger.engine) as connection:
            book = Book(_now())
            self.ledger.cases.hold(connection, cases)  # of two who retry at once the second must not wake what the first has had done meanwhile
            failed = [
                task
                for task in self.ledger.tasks.of(connection, cases, sources=[source] if source else (), opened=False)
                if task.action != "gap"
                and (task.error or {}).get("class") != "Shredded"
                and (task.state == "failed" or (resend and task.state == "doubt"))
                and (not only or (task.error or {}).get("class") in only)
            ]
            self.ledger.tasks.update(connection, [again(task, book.now, resend=resend) for task in failed])
            for case, count in Counter(task.case for task in failed).items():
                book.note(case, "tasks.retried", "host", count=count)
            self.ledger.write(connection, book)
        return len(failed)

    def recheck(self, case: str) -> int:
        """Verify every erasure of a case again, now. How many sources."""
        with writing(self.ledger.engine) as connection:
            now = _now()
            newest = {task.source: task for task in self.ledger.tasks.of(connection, [case], actions=["verify"])}
            new = [NewTask(case, task.source, "verify", "ready", now, {**task.payload, "left": []}) for task in newest.values() if task.payload]
            self.ledger.tasks.add(connection, new, now)
        return len(new)

    # --- looking -------------------------------------------------------------------------------------------------------------------

    def status(self, case: str) -> Report:
        """How a case stands, source by source."""
        with reading(self.ledger.engine) as connection:
            current = self.ledger.cases.get(connection, case)
            if current.stage is not None:  # searched and given free a few sources at a time: no single plan tells of all of them
                stands = standing(self.ledger, connection, current).report
        if current.stage is None:
            plan = self.latest_plan(case)
            with reading(self.ledger.engine) as connection:
                stands = report(current, plan, self.ledger.tasks.of(connection, [case]))
        return replace(stands, sources=tuple(self._usable(row) for row in stands.sources))

    def _usable(self, row: SourceReport) -> SourceReport:
        """Work that waits for a data source which is no longer there, or cannot be used, waits in vain: say so."""
        if row.source in self.registry.sources or row.status not in (Status.PLANNED, Status.WAITING, Status.PENDING):
            return row
        why = str(self.broken[row.source]) if row.source in self.broken else "this data source is not configured any more"
        return replace(row, status=Status.FAILED, detail=why)

    def history(self, case: str) -> list[dict[str, Any]]:
        """The audit events of a case."""
        with reading(self.ledger.engine) as connection:
            return self.ledger.history(connection, case)

    def check(self, source: str) -> str:
        """One harmless call that proves a data source's settings. Raises `DsrError` saying what to mend."""
        if source in self.broken:
            raise self.broken[source]
        if source not in self.registry.sources:
            raise ConfigError("there is no such data source", source=source, fix=f"sources: {', '.join(self.registry.sources) or 'none'}")
        configured = self.registry.sources[source]
        if configured.connector.process is not Process.AUTOMATED:
            return "nothing to check: handled by " + configured.connector.process.value
        http = self._runner.http(configured)
        if http is None:
            return "nothing to check"
        return str(self.registry.caller("dsr_check", source)(source=source, api=http.api()))

    def copy(
        self, case: str, path: Path, *, progress: Callable[[str, int], None] | None = None, overwrite: bool = False, by: str = "agent"
    ) -> Manifest:
        """Write the copy package of a copy request.

        Raises:
            RequestError: The case is no copy request, or nothing was collected for it yet.
        """
        request = self.request(case)
        if request.type is not RequestType.COPY:
            raise RequestError("is not a copy request", source=case)
        if self.workflow.get(case).stage is not None:
            return self.delivery.write(case, path, progress=progress, overwrite=overwrite, by=by)
        plan = self.latest_plan(case, approved=True)
        if plan is None:
            raise ApprovalError("nothing was collected yet", source=case, fix=f"dsr plan {case}, dsr approve {case}, dsr run {case}")
        with reading(self.ledger.engine) as connection:
            tasks = self.ledger.tasks.of(connection, [case])
            stands = report(self.ledger.cases.get(connection, case), plan, tasks)
        manifest = make_copy(
            path,
            request=request,
            plan=plan,
            report=stands,
            tasks=tasks,
            registry=self.registry,
            spool=self.spool,
            company=self.config.host.company,
            made_at=_now(),
            progress=progress,
            overwrite=overwrite,
        )
        with writing(self.ledger.engine) as connection:
            book = Book(_now())
            book.note(case, "copy.made", by, manifest_sha256=manifest.sha256)
            self.ledger.write(connection, book)
        return manifest

    # --- proof and oblivion --------------------------------------------------------------------------------------------------------

    def audit_verify(self) -> audit.AuditReport:
        """Check the whole audit log: every chain and every signed checkpoint."""
        with reading(self.ledger.engine) as connection:
            return audit.verify(connection, self.ledger.vault.public_key())

    def audit_export(self, case: str) -> Iterator[dict[str, audit.JSON]]:
        """The audit record of a case, entry by entry."""
        with reading(self.ledger.engine) as connection:
            yield from audit.export(connection, case)

    def shred(self, case: str, *, by: str = "agent") -> None:
        """Destroy the case's key: its personal data is gone from our own store, too. Number, dates, counts and the audit chain stay.

        Raises:
            RequestError: Work is still under way for it.
            LedgerError: It is shredded already; what an earlier call could not purge, because someone was reading, is purged now.
        """
        with writing(self.ledger.engine) as connection:
            book = Book(_now())
            self.ledger.cases.hold(connection, [case])  # of two who shred at once the second finds it done
            current = self.ledger.cases.get(connection, case)
            if current.status == "approved" or current.stage not in (None, "closed"):
                raise RequestError("the case is not finished", source=case, fix=f"finish it first: dsr status {case}")
            if not current.shredded:
                open_ = self.ledger.tasks.of(connection, [case], actions=["erase", "opt_out"], opened=False)
                if any(task.state in LIVE for task in open_):  # somebody went on without waiting; the answer is asked for with this key
                    raise RequestError("a vendor has accepted it, and has not finished yet", source=case, fix="wait for its answer")
                self.ledger.cases.shred(connection, case, book, by)
                self.ledger.write(connection, book)
        shutil.rmtree(self.spool / case, ignore_errors=True)
        purge_deleted(self.ledger.engine)
        if current.shredded:
            raise LedgerError("the case is shredded already", source=case)

    def _closed(self, cases: Sequence[str]) -> None:
        hook = self.registry.manager.hook
        if cases and hook.dsr_request_closed.get_hookimpls():
            with reading(self.ledger.engine) as connection:
                types = {case: self.ledger.cases.get(connection, case).type for case in cases}
            for case, type_ in types.items():
                self.registry.tell("dsr_request_closed", case=case, type=RequestType(type_))
