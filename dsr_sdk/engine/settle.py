"""The bookkeeping side: turn results into the ledger's rows, audit events and follow-up work, all in one transaction."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from dsr_sdk.engine.work import EFFECTS, Acted, Broke, Exported, Found, Options, Result, Sent, match_to_json
from dsr_sdk.errors import AuthError, ConfigError, ContractError, DsrError, LedgerError, TransientError, VaultError
from dsr_sdk.ledger.book import Book
from dsr_sdk.ledger.schema import case_identities
from dsr_sdk.ledger.store import Ledger
from dsr_sdk.ledger.tasks import LIVE, NewTask, Task, Update
from dsr_sdk.registry import DataSource, Registry
from dsr_sdk.result import Anonymized, Erased, Failed, Pending, outcome_to_json

__all__ = ["Settled", "Settler", "again", "error_to_json", "finish_cases", "release"]


_SOONEST_POLL = timedelta(milliseconds=200)  # a job that says "ask at once" must not turn a drain into a loop without pause


def error_to_json(error: DsrError) -> dict[str, Any]:
    """An error as the ledger keeps it: class, who acts next, message. No personal data, by the contract of `DsrError`."""
    return {"class": type(error).__name__, "acts_next": error.acts_next, "message": str(error)[:500]}


@dataclass(slots=True)
class Settled:
    """What a group of results came to, for observers and progress."""

    finished: list[tuple[Task, Result]] = field(default_factory=list)
    postponed: int = 0
    operator_errors: list[DsrError] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    reopened: list[str] = field(default_factory=list)


class Settler:
    """Writes down what came of one source's tasks."""

    def __init__(self, source: DataSource, registry: Registry, ledger: Ledger, options: Options) -> None:
        self._source = source
        self._connector = source.connector
        self._ledger = ledger
        self._options = options
        self._actor = f"connector:{source.connector.slug}"
        self._registry = registry

    def settle(self, connection: Connection, results: Sequence[Result], book: Book) -> Settled:
        """Write results into the open transaction."""
        settled = Settled()
        self._ledger.cases.hold(connection, list({result.task.case for result in results if result.task.action != "find"}))
        updates = [self._update(result, book, settled) for result in results]
        self._ledger.tasks.update(connection, updates)
        acted = [
            result.task for result, update in zip(results, updates, strict=True) if result.task.action in EFFECTS or result.task.action == "export"
        ]
        if acted:
            self._follow_up(connection, acted, book, settled)
        if settled.reopened:
            # Fulfilled was said too early: the person is back, and the case stays open until a new plan has dealt with it.
            self._ledger.cases.set_status(connection, settled.reopened, "approved")
            for case in settled.reopened:
                book.note(case, "request.reopened", "host", source=self._source.name)
        self._late(connection, updates, book)
        return settled

    def _late(self, connection: Connection, updates: Sequence[Update], book: Book) -> None:
        """What a vendor had accepted has failed after somebody went on without waiting for it: the case is open again, until it is mended."""
        ended = {change.task.case: change.state for change in updates if change.task.action in EFFECTS and change.state in ("done", "failed")}
        ended |= {change.task.case: change.state for change in updates if change.task.action in EFFECTS and change.state == "failed"}
        stages = self._ledger.cases.in_workflow(connection, sorted(ended))
        past = [case for case, stage in sorted(stages.items()) if stage in ("reply", "closed")]
        late = [case for case in past if ended[case] == "failed"]
        self._ledger.cases.set_status(connection, late, "approved")
        for case in late:
            book.note(case, "request.failed_late", "host", source=self._source.name)
        opened = [case for case in past if case not in late and self._ledger.cases.get(connection, case).status == "approved"]
        counts = self._ledger.tasks.live_counts(connection, opened)
        again = {
            task.case
            for task in self._ledger.tasks.of(connection, list(counts), actions=["verify"], opened=False)
            if (task.outcome or {}).get("kind") == "reappeared"
        }
        mended = [case for case, left in counts.items() if not left and case not in again]
        self._ledger.cases.set_status(connection, mended, "done", closed_at=book.now)

    # --- one result ----------------------------------------------------------------------------------------------------------------

    def _update(self, result: Result, book: Book, settled: Settled) -> Update:
        task = result.task
        if isinstance(result, Broke):
            return self._broke(task, result.error, book, settled)
        if isinstance(result, Acted):
            return self._acted(result, book, settled)
        settled.finished.append((task, result))
        if isinstance(result, Found):
            return self._found(result, book, settled)
        if isinstance(result, Exported):
            book.note(task.case, "data.exported", self._actor, source=task.source, resource=task.resource, records=result.records)
            outcome = {"kind": "exported", "records": result.records, "sha256": result.sha256}
            return Update(task, "done", outcome=outcome, finished_at=book.now)
        if isinstance(result, Sent):
            # The activity line of an e-mail integration, word for word (product document 002).
            book.note(
                task.case,
                "letter.sent",
                self._actor,
                source=task.source,
                text=f"Requested deletion from {_title(self._source)}",
                cc_refused=result.cc_refused,
            )
            outcome = {"kind": "pending", "check_after": 0, "message_id": result.message_id} | ({"cc_refused": True} if result.cc_refused else {})
            return Update(task, "pending", outcome=outcome, intent_at=task.intent_at, step="sent")
        raise ContractError(f"nothing settles {type(result).__name__}")

    def _found(self, result: Found, book: Book, settled: Settled) -> Update:
        task = result.task
        count = sum(match.count for match in result.matches)
        if task.action == "verify":
            kind = "reappeared" if result.matches else "verified"
            book.note(task.case, f"erasure.{kind}", self._actor, source=task.source, count=count)
            if result.matches:
                settled.reopened.append(task.case)
            payload = {**task.payload, "left": [match_to_json(match) for match in result.matches]}
            return Update(task, "done", outcome={"kind": kind, "count": count}, payload=payload, count=count, finished_at=book.now)
        book.note(task.case, "source.searched", self._actor, source=task.source, found=count)
        payload = {**task.payload, "matches": [match_to_json(match) for match in result.matches], "account": self._source.account}
        return Update(task, "done", outcome={"kind": "found", "count": count}, payload=payload, count=count, finished_at=book.now)

    def _acted(self, result: Acted, book: Book, settled: Settled) -> Update:
        task, outcome = result.task, result.outcome
        said = outcome_to_json(outcome)
        if isinstance(outcome, Pending):
            accepted_at = (task.intent_at or task.created_at) if task.state == "pending" else book.now
            if book.now - accepted_at > self._options.pending_for:
                failed = Failed(f"the vendor's job did not finish within {self._options.pending_for.days} days", code="job_overdue")
                return self._acted(Acted(task, failed), book, settled)
            settled.postponed += 1
            if task.state != "pending":
                book.note(task.case, f"{task.action}.accepted", self._actor, source=task.source, resource=task.resource)
            return Update(
                task,
                "pending",
                next_at=book.now + max(outcome.check_after, _SOONEST_POLL),
                outcome=said,
                job=outcome.job,
                attempt=0,
                intent_at=accepted_at,
            )
        settled.finished.append((task, result))
        book.note(task.case, f"{task.action}.{outcome.kind}", self._actor, source=task.source, resource=task.resource)
        state = "failed" if isinstance(outcome, Failed) else "done"
        return Update(task, state, outcome=said, finished_at=book.now)

    def _broke(self, task: Task, error: DsrError, book: Book, settled: Settled) -> Update:
        said = error_to_json(error)
        pending = task.state == "pending"
        maybe_done = isinstance(error, TransientError) and error.maybe_done
        # Once it is open whether an effect happened, it stays open until the vendor has answered: every later try asks it first.
        intent = (task.intent_at or (book.now if maybe_done else None)) if task.action in EFFECTS else None
        if isinstance(error, TransientError | LedgerError) and not isinstance(error, VaultError):
            if task.action == "email" and maybe_done:
                book.note(task.case, "letter.in_doubt", self._actor, source=task.source)
                settled.finished.append((task, Broke(task, error)))
                return Update(task, "doubt", error=said, outcome=task.outcome, intent_at=task.intent_at, step="handover")
            throttled = bool(getattr(error, "retry_after", None)) and not maybe_done
            attempt = task.attempt if throttled else task.attempt + 1
            if attempt < self._options.attempts:
                settled.postponed += 1
                return Update(
                    task,
                    "pending" if pending else "ready",
                    next_at=book.now + self._wait(error, attempt),
                    attempt=attempt,
                    error=said,
                    outcome=task.outcome,
                    intent_at=intent,
                )
        elif isinstance(error, AuthError | ConfigError):
            settled.operator_errors.append(error)
            if pending:
                settled.postponed += 1
                return Update(
                    task, "pending", next_at=book.now + self._options.longest_backoff, error=said, outcome=task.outcome, intent_at=task.intent_at
                )
        settled.finished.append((task, Broke(task, error)))
        book.note(task.case, f"{task.action}.failed", self._actor, source=task.source, resource=task.resource, error=type(error).__name__)
        return Update(task, "failed", error=said, outcome=task.outcome, intent_at=intent, finished_at=book.now)

    def _wait(self, error: DsrError, attempt: int) -> timedelta:
        retry_after: float | None = getattr(error, "retry_after", None)
        if retry_after:  # "again, at once" says nothing: it must not turn a drain into a loop without pause
            return timedelta(seconds=retry_after)
        wait: timedelta = min(self._options.longest_backoff, self._options.backoff * 2.0 ** max(0, attempt - 1))
        return wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    # --- what follows --------------------------------------------------------------------------------------------------------------

    def _follow_up(self, connection: Connection, acted: Sequence[Task], book: Book, settled: Settled) -> None:
        """Suppression, verification, sources that waited for this one, and cases that are complete now."""
        cases = list(dict.fromkeys(task.case for task in acted))
        rows = self._ledger.tasks.of(connection, cases, sources=[self._source.name])
        by_case: dict[str, list[Task]] = {case: [] for case in cases}
        for row in rows:
            by_case[row.case].append(row)
        complete = [case for case in cases if not any(task.state in LIVE and task.action not in ("verify", "find") for task in by_case[case])]
        erased = [case for case in complete if any(_clean(task) for task in by_case[case])]
        if erased:
            self._suppress(connection, erased, book.now)
            checks = [self._verification(case, by_case[case], book.now) for case in erased]
            self._ledger.tasks.update(connection, [check for check in checks if isinstance(check, Update)])
            self._ledger.tasks.add(connection, [check for check in checks if isinstance(check, NewTask)], book.now)
        release(connection, self._ledger, self._registry, self._source.name, complete, book.now)
        settled.closed = finish_cases(connection, self._ledger, complete, book)

    def _verification(self, case: str, tasks: Sequence[Task], now: datetime) -> Update | NewTask | None:
        """The check of what was erased, with everything that was ever searched with. One that waits for its time takes the later erasure in, and
        waits for that, too; one that is due may be under way, with what was known before, so there is another."""
        identities: dict[str, Any] = {}
        for task in tasks:
            if task.action == "find" and task.payload is not None:
                for identity in task.payload["identities"]:
                    if identity["kind"] != "name":
                        identities[repr(sorted(identity.items()))] = identity
        if not identities:
            return None
        scope = next((task.payload.get("scope", "account") for task in tasks if task.action == "find" and task.payload), "account")
        spared = [[task.payload["resource"], task.payload["id"]] for task in tasks if task.action == "erase" and task.payload and not _clean(task)]
        payload = {"identities": list(identities.values()), "scope": scope, "spared": spared, "account": self._source.account}
        at = now + self._connector.lag
        for task in tasks:
            if task.action == "verify" and task.state == "ready" and task.next_at is not None and task.next_at > now and not task.attempt:
                return Update(task, "ready", next_at=at, payload=payload)
        return NewTask(case, self._source.name, "verify", "ready", at, payload)

    def _suppress(self, connection: Connection, cases: Sequence[str], now: datetime) -> None:
        rows = connection.execute(select(case_identities.c.fingerprint, case_identities.c.case).where(case_identities.c.case.in_(cases)))
        self._ledger.cases.suppress(connection, [(bytes(fingerprint), self._source.name, case) for fingerprint, case in rows], now)


def again(task: Task, now: datetime, *, resend: bool = False) -> Update:
    """A failed task as it goes back to work. What the vendor may have done already is asked about before it is done again."""
    if task.error is not None and task.action != "email" and (task.outcome or {}).get("kind") == Pending.kind:
        # The vendor has the job, and only asking about it failed.
        return Update(task, "pending", next_at=now, attempt=0, outcome=task.outcome, intent_at=task.intent_at)
    return Update(task, "ready", next_at=now, attempt=0, intent_at=task.intent_at if task.error is not None and not resend else None)


def release(connection: Connection, ledger: Ledger, registry: Registry, source: str, cases: Sequence[str], now: datetime) -> None:
    """Let the sources that waited for this one begin, in cases where nothing before them is left to do. Hold the cases (`Cases.hold`)."""
    for dependent in registry.sources:
        before = registry.predecessors(dependent)
        if cases and source in before:
            found = ledger.tasks.of(connection, cases, sources=before, opened=False)
            blocked = {task.case for task in found if task.state in LIVE and task.action not in ("verify", "find")}
            ledger.tasks.release_waiting(connection, [case for case in cases if case not in blocked], dependent, now)


def finish_cases(connection: Connection, ledger: Ledger, cases: Sequence[str], book: Book) -> list[str]:
    """Mark those of the cases as done whose every task is finished well. A gap, a failure or an open question keeps a case open.

    In a workflow it is a person who says that processing is over: more data sources may still be given free.
    """
    counts = ledger.tasks.live_counts(connection, cases)
    handled = ledger.cases.in_workflow(connection, cases)
    finished = [case for case in cases if counts[case] == 0 and case not in handled]
    if finished:
        ledger.cases.set_status(connection, finished, "done", closed_at=book.now)
        for case in finished:
            book.note(case, "request.fulfilled", "host")
    return finished


def _clean(task: Task) -> bool:
    return (
        task.action == "erase"
        and task.state == "done"
        and task.outcome is not None
        and task.outcome.get("kind") in (Erased.kind, Anonymized.kind, "absent")
    )


def _title(source: DataSource) -> str:
    """The name the vendor of an e-mail integration goes by."""
    return str(getattr(source.connector.config, "vendor", None) or source.connector.title)
