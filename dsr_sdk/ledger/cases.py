"""Cases in the ledger: requests sealed under a key of their own, found again by keyed hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from dsr_sdk.errors import LedgerError, RequestError, VaultError
from dsr_sdk.identity import Identity
from dsr_sdk.ledger import desk
from dsr_sdk.ledger.book import Book, chunks
from dsr_sdk.ledger.schema import case_identities, cases, plans, suppression, tasks
from dsr_sdk.ledger.tasks import LIVE
from dsr_sdk.ledger.vault import CaseKey, Vault
from dsr_sdk.request import CASE_NUMBER, Request

__all__ = ["CASE_COLUMNS", "Case", "Cases", "case_of"]


@dataclass(frozen=True, slots=True)
class Case:
    """A case without its personal data.

    Attributes:
        status: How far the engine is: received, planned, approved, done, shredded.
        closed_at: When every data source had answered. Not the end of the case in a workflow: that is ``ended_at``.
        stage: Where it stands in the workflow; None when the host application has one of its own. See `dsr_sdk.host.cases.workflow`.
        revision: Counts the decisions of people about it.
    """

    number: str
    type: str
    scope: str
    channel: str
    regime: str | None
    status: str
    received_at: datetime
    closed_at: datetime | None
    shredded: bool
    stage: str | None = None
    stage_at: datetime | None = None
    revision: int = 0
    decision: str | None = None
    reason: str | None = None
    agent: str | None = None
    due_at: datetime | None = None
    verified_by: str | None = None
    verified_at: datetime | None = None
    duplicate_of: str | None = None
    ended_at: datetime | None = None
    paused_at: datetime | None = None


class Cases:
    """Every method takes the connection of a transaction opened by its caller, who decides what is committed together."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    def add(self, connection: Connection, requests: Sequence[Request], book: Book) -> list[tuple[str, bool]]:
        """Store new requests; for each the case number, and whether it is new (a reference seen before gives the earlier case).

        Raises:
            RequestError: A case number is taken.
        """
        references = {request.reference: self.vault.fingerprint("reference", request.reference) for request in requests if request.reference}
        known: dict[bytes, str] = {}
        if references:
            rows = connection.execute(
                select(cases.c.reference_fingerprint, cases.c.case).where(cases.c.reference_fingerprint.in_(references.values()))
            )
            known = {bytes(row[0]): row[1] for row in rows}
        taken = set(self.statuses(connection, [request.case for request in requests]))
        answer: list[tuple[str, bool]] = []
        case_rows, identity_rows = [], []
        for request in requests:
            reference = references.get(request.reference) if request.reference else None
            if reference is not None and reference in known:
                answer.append((known[reference], False))
                continue
            if request.case in taken:
                raise RequestError("there is a case of this number already", field="case", fix="leave case out; use reference for your own id")
            taken.add(request.case)
            key, wrapped = self.vault.new_case_key(request.case)
            case_rows.append(
                {
                    "case": request.case,
                    "type": request.type.value,
                    "scope": request.scope.value,
                    "channel": request.channel.value,
                    "regime": request.regime.value if request.regime else None,
                    "status": "received",
                    "received_at": request.received_at,
                    "created_at": book.now,
                    "reference_fingerprint": reference,
                    "wrapped_key": wrapped,
                    "sealed_request": key.seal(request.model_dump_json().encode(), "cases.sealed_request"),
                }
            )
            seen = set()
            for identity in request.subject.identities:
                fingerprint = self.fingerprint(identity)
                if identity.kind != "name" and fingerprint not in seen:
                    seen.add(fingerprint)
                    identity_rows.append({"case": request.case, "fingerprint": fingerprint, "kind": identity.kind})
            if reference is not None:
                known[reference] = request.case
            book.note(request.case, "request.received", "host", type=request.type.value, channel=request.channel.value)
            answer.append((request.case, True))
        if case_rows:
            connection.execute(insert(cases), case_rows)
        if identity_rows:
            connection.execute(insert(case_identities), identity_rows)
        return answer

    def fingerprint(self, identity: Identity) -> bytes:
        """The keyed hash under which an identity is found again."""
        return self.vault.fingerprint("identity", *identity.key)

    def get(self, connection: Connection, number: str) -> Case:
        """One case. Raises `LedgerError` when there is none."""
        known = CASE_NUMBER.fullmatch(number) is not None  # whatever stands in an address on the web is asked for
        row = connection.execute(_CASES.where(cases.c.case == number)).first() if known else None
        if row is None:
            raise LedgerError("there is no such case", source=number if known else None, fix="see: dsr status")
        return case_of(row)

    def statuses(self, connection: Connection, numbers: Sequence[str]) -> dict[str, str]:
        """The status of each case."""
        found: dict[str, str] = {}
        for chunk in chunks(numbers):
            found.update((case, status) for case, status in connection.execute(select(cases.c.case, cases.c.status).where(cases.c.case.in_(chunk))))
        return found

    def page(self, connection: Connection, *, status: Sequence[str] = (), after: str | None = None, limit: int = 1000) -> list[Case]:
        """Cases in the order of their numbers, after the one named."""
        query = _CASES.order_by(cases.c.case).limit(limit)
        if status:
            query = query.where(cases.c.status.in_(status))
        if after is not None:
            query = query.where(cases.c.case > after)
        return [case_of(row) for row in connection.execute(query)]

    def requests(self, connection: Connection, numbers: Sequence[str]) -> dict[str, Request]:
        """The requests behind cases, opened. Raises `VaultError` for one that was shredded."""
        found = {number: self._opened(number, *sealed) for number, *sealed in self._sealed(connection, numbers)}
        for number in numbers:
            if number not in found:
                raise LedgerError("there is no such case", source=number, fix="see: dsr status")
        return found

    def readable(self, connection: Connection, numbers: Sequence[str]) -> dict[str, Request]:
        """Those of the requests that can be opened: for lists, where one that is shredded or damaged must not hide the others."""
        found: dict[str, Request] = {}
        for number, *sealed in self._sealed(connection, numbers):
            with suppress(VaultError):
                found[number] = self._opened(number, *sealed)
        return found

    def _sealed(self, connection: Connection, numbers: Sequence[str]) -> Iterator[Any]:
        for chunk in chunks(numbers):
            yield from connection.execute(select(cases.c.case, cases.c.wrapped_key, cases.c.sealed_request).where(cases.c.case.in_(chunk)))

    def _opened(self, number: str, wrapped: bytes | None, sealed: bytes) -> Request:
        return Request.model_validate_json(self.vault.unwrap(number, wrapped).open(sealed, "cases.sealed_request"))

    def replace_request(self, connection: Connection, request: Request) -> None:
        """Store a request again with identities added."""
        key = self.key(connection, request.case)
        connection.execute(
            update(cases)
            .where(cases.c.case == request.case)
            .values(sealed_request=key.seal(request.model_dump_json().encode(), "cases.sealed_request"), version=cases.c.version + 1)
        )
        known = {bytes(row[0]) for row in connection.execute(select(case_identities.c.fingerprint).where(case_identities.c.case == request.case))}
        rows = [
            {"case": request.case, "fingerprint": fingerprint, "kind": identity.kind}
            for identity in request.subject.identities
            if identity.kind != "name" and (fingerprint := self.fingerprint(identity)) not in known
        ]
        if rows:
            connection.execute(insert(case_identities), rows)

    def key(self, connection: Connection, number: str) -> CaseKey:
        """The key of a case. Raises `VaultError` when it was shredded."""
        row = connection.execute(select(cases.c.wrapped_key).where(cases.c.case == number)).first()
        if row is None:
            raise LedgerError("there is no such case", source=number, fix="see: dsr status")
        return self.vault.unwrap(number, row[0])

    def set_status(self, connection: Connection, numbers: Sequence[str], status: str, *, closed_at: datetime | None = None) -> None:
        """Move cases to a status."""
        for chunk in chunks(numbers):
            connection.execute(update(cases).where(cases.c.case.in_(chunk)).values(status=status, closed_at=closed_at, version=cases.c.version + 1))

    def in_workflow(self, connection: Connection, numbers: Sequence[str]) -> dict[str, str]:
        """The stage of each of the cases that are in the workflow."""
        found: dict[str, str] = {}
        for chunk in chunks(numbers):
            rows = connection.execute(select(cases.c.case, cases.c.stage).where(cases.c.case.in_(chunk), cases.c.stage.is_not(None)))
            found.update((case, stage) for case, stage in rows)
        return found

    def hold(self, connection: Connection, numbers: Sequence[str]) -> None:
        """Keep others from deciding about these cases until the transaction ends (PostgreSQL; SQLite has one writer anyway). Call it once
        a transaction, first, with every case it may change: then no two transactions can wait for each other crosswise.

        Two sources that finish a case at the same moment would otherwise each see the other as unfinished, and nobody would close it.
        """
        if connection.dialect.name == "postgresql":
            for chunk in chunks(sorted(numbers)):
                connection.execute(select(cases.c.case).where(cases.c.case.in_(chunk)).order_by(cases.c.case).with_for_update(key_share=True))

    def same_people(self, connection: Connection, numbers: Sequence[str]) -> dict[str, list[Case]]:
        """For each of the cases the others that share an identity with it; cases without any are left out."""
        mine, theirs = case_identities.alias("mine"), case_identities.alias("theirs")
        pairs: dict[str, list[str]] = {}
        for chunk in chunks(numbers):
            joined = mine.join(theirs, (theirs.c.fingerprint == mine.c.fingerprint) & (theirs.c.case != mine.c.case))
            rows = connection.execute(select(mine.c.case, theirs.c.case).select_from(joined).where(mine.c.case.in_(chunk)).distinct())
            for case, other in rows:
                pairs.setdefault(case, []).append(other)
        others: dict[str, Case] = {}
        for chunk in chunks(sorted({other for found in pairs.values() for other in found})):
            others.update((row[0], case_of(row)) for row in connection.execute(_CASES.where(cases.c.case.in_(chunk))))
        return {case: [others[other] for other in sorted(found)] for case, found in pairs.items()}

    def shred(self, connection: Connection, number: str, book: Book, actor: str) -> None:
        """Destroy a case's key and everything sealed under it. Case number, dates, counts, outcomes and the audit chain stay."""
        connection.execute(
            update(cases).where(cases.c.case == number).values(wrapped_key=None, sealed_request=None, reference_fingerprint=None, status="shredded")
        )
        connection.execute(update(tasks).where(tasks.c.case == number).values(sealed=None, sealed_job=None, job_fingerprint=None, next_at=None))
        connection.execute(update(tasks).where(tasks.c.case == number, tasks.c.state.in_(LIVE)).values(state="failed", error='{"class":"Shredded"}'))
        connection.execute(update(plans).where(plans.c.case == number).values(sealed_body=None))
        connection.execute(delete(case_identities).where(case_identities.c.case == number))
        for table in _SEALED:
            connection.execute(update(table).where(table.c.case == number).values(sealed=None))
        connection.execute(update(desk.mails).where(desk.mails.c.case == number).values(next_at=None, sealed_to=None))
        connection.execute(update(desk.links).where(desk.links.c.case == number).values(uses_left=0))
        # A download that is under way looks at its row every few seconds, and breaks off.
        pickups = desk.links.c.case == number, desk.links.c.purpose == "pickup"
        connection.execute(update(desk.links).where(*pickups).values(used_at=None))
        connection.execute(update(desk.case_sources).where(desk.case_sources.c.case == number).values(sealed_reason=None))
        self.vault.forget(number)
        book.note(number, "case.shredded", actor)

    def suppress(self, connection: Connection, rows: Iterable[tuple[bytes, str, str]], now: datetime) -> None:
        """Remember keyed hashes of who was erased where: (fingerprint, source, case)."""
        wanted = {(fingerprint, source): case for fingerprint, source, case in rows}
        if not wanted:
            return
        known: set[tuple[bytes, str]] = set()
        for chunk in chunks([fingerprint for fingerprint, _ in wanted]):
            found = connection.execute(select(suppression.c.fingerprint, suppression.c.source).where(suppression.c.fingerprint.in_(chunk)))
            known |= {(bytes(fingerprint), source) for fingerprint, source in found}
        new = [
            {"fingerprint": fingerprint, "source": source, "case": case, "erased_at": now}
            for (fingerprint, source), case in wanted.items()
            if (fingerprint, source) not in known
        ]
        if new:
            connection.execute(insert(suppression), new)

    def erased_before(self, connection: Connection, numbers: Sequence[str]) -> dict[str, list[tuple[str, str, datetime]]]:
        """For each of the cases the earlier erasures of its person: (source, case, when), oldest first."""
        found: dict[str, dict[tuple[str, str], datetime]] = {}
        joined = case_identities.join(
            suppression, (suppression.c.fingerprint == case_identities.c.fingerprint) & (suppression.c.case != case_identities.c.case)
        )
        columns = (case_identities.c.case, suppression.c.source, suppression.c.case, suppression.c.erased_at)
        for chunk in chunks(numbers):
            rows = connection.execute(select(*columns).select_from(joined).where(case_identities.c.case.in_(chunk)).order_by(suppression.c.erased_at))
            for case, source, earlier, at in rows:
                found.setdefault(case, {}).setdefault((source, earlier), at)
        return {case: [(source, earlier, at) for (source, earlier), at in rows.items()] for case, rows in found.items()}


_SEALED = (desk.messages, desk.mails, desk.links, desk.files, desk.redactions, desk.replies)
_HANDLING = (
    cases.c.stage,
    cases.c.stage_at,
    cases.c.revision,
    cases.c.decision,
    cases.c.reason,
    cases.c.agent,
    cases.c.due_at,
    cases.c.verified_by,
    cases.c.verified_at,
    cases.c.duplicate_of,
    cases.c.ended_at,
    cases.c.paused_at,
)
CASE_COLUMNS = (
    cases.c.case,
    cases.c.type,
    cases.c.scope,
    cases.c.channel,
    cases.c.regime,
    cases.c.status,
    cases.c.received_at,
    cases.c.closed_at,
    cases.c.wrapped_key.is_(None),
    *_HANDLING,
)
"""What `case_of` reads, for queries of one's own."""

_CASES = select(*CASE_COLUMNS)


def case_of(row: Any) -> Case:
    """A case from a row of `CASE_COLUMNS`."""
    number, type_, scope, channel, regime, status, received_at, closed_at, shredded, *handling = row
    return Case(number, type_, scope, channel, regime, status, received_at, closed_at, bool(shredded), *handling)
