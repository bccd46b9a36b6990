"""The check of the audit log: every chain, every checkpoint, with bounded memory however long the log has grown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from sqlalchemy import BigInteger, select, type_coerce
from sqlalchemy.engine import Connection

from dsr_sdk.ledger.chain import GENESIS, AuditReport, ChainCheck, canonical, checkpoint_digest, checkpoint_statement
from dsr_sdk.ledger.schema import audit, checkpoints
from dsr_sdk.ledger.vault import is_signed

__all__ = ["verify", "verify_exported"]

_PAGE: Final = 1000  # rows held in memory while streaming


def verify(connection: Connection, public_key: bytes | None = None, *, anchor: str | None = None) -> AuditReport:
    """Check the whole log and report everything that is wrong with it, not only the first thing.

    Args:
        connection: From ``reading(engine)``, so that what is written meanwhile does not disturb.
        public_key: ``Vault.public_key()`` as it was noted elsewhere, 32 bytes. Without it the signatures go unchecked.
        anchor: The digest of a checkpoint that was noted elsewhere: reports when the log no longer holds it, which is the only way to
            see that the newest checkpoints were removed together with all they covered.
    """
    check = ChainCheck()
    entries = select(
        audit.c.seq,
        audit.c.case,
        audit.c.n,
        type_coerce(audit.c.at, BigInteger).label("at"),
        audit.c.actor,
        audit.c.event,
        audit.c.data,
        audit.c.hash,
    ).order_by(audit.c.case, audit.c.n)
    for seq, case, n, at, actor, event, data, hash_ in connection.execute(entries, execution_options={"yield_per": _PAGE}):
        check.add(case=case, n=n, at=at, actor=actor, event=event, data=data, hash_=hash_, seq=seq)
    made, uncovered = _check_checkpoints(connection, check, public_key, anchor)
    return AuditReport(
        events=check.events,
        cases=check.cases,
        checkpoints=made,
        uncovered=uncovered,
        signatures_checked=public_key is not None,
        problems=tuple(check.problems),
        omitted=check.omitted,
    )


def verify_exported(lines: Iterable[str | bytes]) -> AuditReport:
    """Check the chains in an exported JSON Lines file, of one case or several. Needs no database and no key.

    A file cut short at its end still is a whole chain: compare its last hash with the ledger's when that matters.
    """
    check = ChainCheck()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            fields = {field: entry[field] for field in ("case", "n", "at", "actor", "event")}
            data, hash_ = canonical(entry["data"]), entry["hash"]
            if not all(isinstance(fields[field], str) for field in ("case", "actor", "event")):
                raise TypeError
            if not all(type(fields[field]) is int for field in ("n", "at")):
                raise TypeError
        except (KeyError, TypeError, ValueError):
            check.report(None, number, f"line {number} is not an entry of an audit log")
            continue
        check.add(**fields, data=data, hash_=hash_)
    return AuditReport(events=check.events, cases=check.cases, problems=tuple(check.problems), omitted=check.omitted)


def _check_checkpoints(connection: Connection, check: ChainCheck, public_key: bytes | None, anchor: str | None) -> tuple[int, int]:
    """Go along the log and its checkpoints side by side. Gives how many checkpoints there are, and how many entries come after the last."""
    paged = {"yield_per": _PAGE}
    hashes = iter(connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq), execution_options=paged))
    statement = select(
        checkpoints.c.id,
        type_coerce(checkpoints.c.at, BigInteger).label("at"),
        checkpoints.c.from_seq,
        checkpoints.c.to_seq,
        checkpoints.c.digest,
        checkpoints.c.signature,
    ).order_by(checkpoints.c.id)
    made, covered_to, prev = 0, 0, GENESIS
    anchored = anchor is None
    entry = next(hashes, None)
    for row in connection.execute(statement, execution_options=paged):
        made += 1
        running = checkpoint_digest(prev)
        while entry is not None and entry.seq <= row.to_seq:
            running.update(entry.hash.encode())
            entry = next(hashes, None)
        if row.from_seq != covered_to + 1:
            check.report(None, row.id, f"checkpoint {row.id} does not go on where the one before it ends: one was removed or changed")
        elif running.hexdigest() != row.digest:
            check.report(
                None, row.id, f"checkpoint {row.id} was made over other entries (seq {row.from_seq} to {row.to_seq}): removed, added or changed"
            )
        if public_key is not None and not _signature_holds(public_key, row.signature, row.digest, row.from_seq, row.to_seq, row.at):
            check.report(None, row.id, f"checkpoint {row.id} is not signed with this ledger's key: changed or forged")
        anchored = anchored or row.digest == anchor
        # As it stands, right or wrong, so that one bad checkpoint is one problem and not all that follow it.
        covered_to, prev = row.to_seq, row.digest
    if not anchored:
        check.report(None, made, "the checkpoint noted elsewhere is not in the log: the newest were removed, or this is another ledger")
    uncovered = 0
    while entry is not None:
        uncovered += 1
        entry = next(hashes, None)
    return made, uncovered


def _signature_holds(public_key: bytes, signature: str, digest: str, from_seq: int, to_seq: int, at: int) -> bool:
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        return False
    return is_signed(public_key, raw, checkpoint_statement(digest=digest, from_seq=from_seq, to_seq=to_seq, at=at))
