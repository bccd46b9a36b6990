"""The audit log: who did what to which case, and when. Append-only, hash-chained per case, with signed checkpoints over the whole.

A chain shows that an entry was changed, moved or taken out. It cannot show that its newest entries, or a whole case, are gone: that is
what checkpoints are for. They cover every entry up to their making, and are signed with a key that does not stand in the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, func, insert, select, text, type_coerce
from sqlalchemy.engine import Connection

from dsr_sdk.errors import ContractError
from dsr_sdk.ledger.chain import GENESIS, JSON, AuditProblem, AuditReport, canonical, checkpoint_digest, checkpoint_statement, entry_hash
from dsr_sdk.ledger.schema import audit, checkpoints
from dsr_sdk.ledger.vault import Vault
from dsr_sdk.ledger.verification import verify, verify_exported

__all__ = ["JSON", "AuditEvent", "AuditProblem", "AuditReport", "Checkpoint", "append", "checkpoint", "export", "verify", "verify_exported"]

_MAX_TEXT: Final = 500
_MAX_DATA: Final = 20_000
_PAGE: Final = 1000  # rows held in memory while streaming

# On PostgreSQL an entry gets its seq when it is inserted, but shows only when its transaction commits. A checkpoint must not overtake
# one on its way, so those who append hold this advisory lock together, and whoever makes a checkpoint holds it alone.
_GATE: Final = 0x6473722D61756474  # "dsr-audt"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that happened.

    Args:
        case: The case number, at most 24 characters.
        event: What happened, in one dotted name (``task.finished``), at most 60 characters.
        actor: Who did it: an agent's account, ``host``, ``connector:stripe``; at most 200 characters. Never the data subject's name.
        data: Facts about it, without personal data: counts, outcomes, names of sources, hashes. Each text at most 500 characters.
        at: When it happened; an aware datetime, kept to the millisecond.
    """

    case: str
    event: str
    actor: str
    data: Mapping[str, JSON]
    at: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement of what the log held. Keep a copy of its ``digest`` elsewhere, and not even the ledger's owner can rewrite it."""

    at: datetime
    from_seq: int
    to_seq: int
    digest: str
    signature: str


def append(connection: Connection, vault: Vault | None, events: Sequence[AuditEvent]) -> None:
    """Add entries to the log, in this order, in the transaction of ``connection`` (from ``writing``): one query and one insert for all.

    Append once per transaction, with every event: on PostgreSQL each call waits for the other writers of its cases, and two
    transactions that call it several times may deadlock (one of them then fails with ``LedgerBusy``).

    Args:
        connection: From ``writing(engine)``.
        vault: Not used today, the chain is unkeyed; here so that entries could be signed one by one without a change for callers.
        events: What happened, for any number of cases.

    Raises:
        ContractError: An event has a text longer than it may be, data that JSON cannot say, or a naive time. The message names the
            event and the key, never the value; nothing was written.
    """
    checked = [(_text_of(event), _milliseconds(event.at, event.event)) for event in events]
    if not checked:
        return
    heads = _heads(connection, sorted({event.case for event in events}))
    rows = []
    for event, (data, at) in zip(events, checked, strict=True):
        last, prev = heads.get(event.case, (0, GENESIS))
        n = last + 1
        hash_ = entry_hash(case=event.case, n=n, at=at, actor=event.actor, event=event.event, data=data, prev=prev)
        heads[event.case] = n, hash_
        rows.append({"case": event.case, "n": n, "at": event.at, "actor": event.actor, "event": event.event, "data": data, "hash": hash_})
    connection.execute(_INSERT, rows)


def checkpoint(connection: Connection, vault: Vault, at: datetime) -> Checkpoint | None:
    """Sign what was appended since the last checkpoint, in the transaction of ``connection``. None, and cheap, when nothing was.

    On PostgreSQL it waits for the transactions that are appending; give it one of its own, so that they need not wait for you.
    """
    start, end, prev = _uncovered(connection)
    if end < start:
        return None
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:gate)"), {"gate": _GATE})
        start, end, prev = _uncovered(connection)
        if end < start:
            return None
    running = checkpoint_digest(prev)
    covered = select(audit.c.hash).where(audit.c.seq.between(start, end)).order_by(audit.c.seq)
    for hash_ in connection.execute(covered, execution_options={"yield_per": _PAGE}).scalars():
        running.update(hash_.encode())
    digest = running.hexdigest()
    statement = checkpoint_statement(digest=digest, from_seq=start, to_seq=end, at=_milliseconds(at, "checkpoint"))
    made = Checkpoint(at=at, from_seq=start, to_seq=end, digest=digest, signature=vault.sign(statement).hex())
    row = {"at": made.at, "from_seq": made.from_seq, "to_seq": made.to_seq, "digest": made.digest, "signature": made.signature}
    connection.execute(insert(checkpoints), row)
    return made


def export(connection: Connection, case: str, *, after: int = 0) -> Iterator[dict[str, JSON]]:
    """The entries of one case, oldest first, as JSON objects: write one a line, and ``verify_exported`` checks the file anywhere.

    ``at`` is in milliseconds since 1970-01-01T00:00Z. ``prev`` repeats the hash of the entry before.

    Args:
        after: Leave out the entries up to this number: for looking at the newest ones, not for checking.
    """
    entries = (
        select(audit.c.n, type_coerce(audit.c.at, BigInteger).label("at"), audit.c.actor, audit.c.event, audit.c.data, audit.c.hash)
        .where(audit.c.case == case, audit.c.n > after)
        .order_by(audit.c.n)
    )
    before = select(audit.c.hash).where(audit.c.case == case, audit.c.n == after)
    prev = (connection.execute(before).scalar() if after else None) or GENESIS
    for n, at, actor, event, data, hash_ in connection.execute(entries, execution_options={"yield_per": _PAGE}):
        parsed: JSON
        try:
            parsed = json.loads(data)
        except ValueError:
            parsed = data  # only tampering brings this about: hand it out as it is, for the check to find
        yield {"case": case, "n": n, "at": at, "actor": actor, "event": event, "data": parsed, "prev": prev, "hash": hash_}
        prev = hash_


_INSERT: Final = insert(audit)

# One parameter for any number of cases, so the statement stays the same and no limit on variables matters; one index look-up a case.
_HEADS_SQLITE: Final = text("""
    SELECT head."case", head.n, head.hash FROM json_each(:cases) AS wanted
    JOIN audit AS head ON head."case" = wanted.value AND head.n = (SELECT max(n) FROM audit WHERE "case" = wanted.value)
""")
# LATERAL leaves PostgreSQL no choice; given the join above it may read the whole table, for it cannot guess how few cases are wanted.
_HEADS_POSTGRESQL: Final = text("""
    SELECT wanted.value, head.n, head.hash FROM json_array_elements_text(CAST(:cases AS json)) AS wanted(value)
    CROSS JOIN LATERAL (SELECT n, hash FROM audit WHERE audit."case" = wanted.value ORDER BY n DESC LIMIT 1) AS head
""")

# In one order for everybody, so that two transactions cannot wait for each other crosswise.
_LOCK: Final = text(
    "SELECT pg_advisory_xact_lock_shared(:gate) UNION ALL SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key"
)


def _heads(connection: Connection, cases: Sequence[str]) -> dict[str, tuple[int, str]]:
    """The number and hash of each case's last entry. On PostgreSQL the cases stay locked for other writers until the transaction ends."""
    statement = _HEADS_SQLITE
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"gate": _GATE, "keys": sorted({_lock_key(case) for case in cases})})
        statement = _HEADS_POSTGRESQL
    return {case: (n, hash_) for case, n, hash_ in connection.execute(statement, {"cases": json.dumps(cases)})}


def _lock_key(case: str) -> int:
    return int.from_bytes(hashlib.sha256(f"dsr-audit:{case}".encode()).digest()[:8], "big", signed=True)


def _uncovered(connection: Connection) -> tuple[int, int, str]:
    """What the next checkpoint covers: its first seq, its last, and the digest it goes on from. Nothing when the last is before the first."""
    last = connection.execute(select(checkpoints.c.to_seq, checkpoints.c.digest).order_by(checkpoints.c.id.desc()).limit(1)).first()
    end = connection.execute(select(func.max(audit.c.seq))).scalar_one_or_none() or 0
    return (last.to_seq + 1, end, last.digest) if last else (1, end, GENESIS)


def _milliseconds(at: datetime, event: str) -> int:
    if at.tzinfo is None:
        raise ContractError("the time of an audit event has no time zone", field=event)
    return round(at.timestamp() * 1000)  # as schema.Instant stores it


def _text_of(event: AuditEvent) -> str:
    """The event's data as canonical JSON, once everything about it has been found to fit its column."""
    for field, given, limit in (("event", event.event, 60), ("case", event.case, 24), ("actor", event.actor, 200)):
        if not 0 < len(given) <= limit:  # PostgreSQL would refuse it and SQLite would not
            named = None if field == "event" else event.event
            raise ContractError(f"the {field} of an audit event has 1 to {limit} characters, not {len(given)}", field=named)
    for key, value in event.data.items():
        _guard(event.event, key, value)
    try:
        data = canonical(dict(event.data))
        data.encode()
    except (TypeError, ValueError):
        data = ""
    if not data:
        raise ContractError("the data of an audit event is not JSON", field=event.event)
    if len(data) > _MAX_DATA:
        raise ContractError(f"the data of an audit event has {len(data)} characters; {_MAX_DATA} are allowed", field=event.event)
    return data


def _guard(event: str, key: str, value: JSON) -> None:
    """Long texts are where personal data slips in (an error message, a record); keys that are no texts would change their order in JSON."""
    if not isinstance(key, str) or len(key) > _MAX_TEXT:
        raise ContractError("a key in the data of an audit event is no text, or a very long one", field=event)
    if isinstance(value, str):
        if len(value) > _MAX_TEXT:
            where = f"{event}.{key}" if key.isidentifier() else event  # a key that is no name may be personal data itself
            raise ContractError(f"a text in the data of an audit event has {len(value)} characters; {_MAX_TEXT} are allowed", field=where)
    elif isinstance(value, Mapping):
        for inner, item in value.items():
            _guard(event, inner, item)
    elif isinstance(value, list | tuple):
        for item in value:
            _guard(event, key, item)
