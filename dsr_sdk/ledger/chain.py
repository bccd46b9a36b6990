"""The chain that an audit log forms, and how it is checked: pure arithmetic, so that an exported log is checked without any database.

An entry's hash covers the entry and the hash of the one before it in the same case. Canonical JSON is what Python's ``json`` writes with
sorted keys, without white space, unescaped, in UTF-8.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["GENESIS", "JSON", "AuditProblem", "AuditReport", "ChainCheck", "canonical", "checkpoint_digest", "checkpoint_statement", "entry_hash"]

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""What an entry's data may be made of."""

GENESIS: Final = "0" * 64
"""What stands in for the hash before the first entry of a case, and for the digest before the first checkpoint."""

_MAX_PROBLEMS: Final = 1000  # more tell nothing new, and a log that is all wrong must not fill the memory

canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
"""A value as canonical JSON. Raises TypeError or ValueError for what JSON cannot say."""


def entry_hash(*, case: str, n: int, at: int, actor: str, event: str, data: str, prev: str) -> str:
    """The hash of one entry, in hex: SHA-256 over the canonical JSON of these seven fields.

    Args:
        case: The case number.
        n: The entry's number in its case, from 1.
        at: Milliseconds since 1970-01-01T00:00Z.
        actor: Who did it.
        event: What happened.
        data: The canonical JSON of the data, as it stands in the ledger.
        prev: The hash of the entry before it, ``GENESIS`` for the first.
    """
    # The keys stand in their sorted order, so this is canonical(...) of the whole, without parsing the data for it.
    entry = (
        f'{{"actor":{canonical(actor)},"at":{at},"case":{canonical(case)},"data":{data},'
        f'"event":{canonical(event)},"n":{n},"prev":{canonical(prev)}}}'
    )  # fmt: skip
    return hashlib.sha256(entry.encode("utf-8", "surrogatepass")).hexdigest()


def checkpoint_digest(prev: str) -> hashlib._Hash:
    """The running digest of a checkpoint: feed it the hex hash of each entry in the order of ``seq``.

    Args:
        prev: The digest of the checkpoint before it, ``GENESIS`` for the first.
    """
    return hashlib.sha256(prev.encode())


def checkpoint_statement(*, digest: str, from_seq: int, to_seq: int, at: int) -> bytes:
    """What the signature of a checkpoint is made over."""
    return f"dsr-sdk/v1/checkpoint|{digest}|{from_seq}|{to_seq}|{at}".encode()


@dataclass(frozen=True, slots=True)
class AuditProblem:
    """One thing that is wrong with an audit log.

    Args:
        case: The case, when the problem is in one case's chain; None for a checkpoint, which knows no cases, and for a line of a file.
        n: The number of the entry in the case, of the checkpoint, or of the line.
        what: What is wrong.
    """

    case: str | None
    n: int
    what: str

    def __str__(self) -> str:
        return self.what if self.case is None else f"case {self.case}, entry {self.n}: {self.what}"


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a check of the audit log found.

    Args:
        events: Entries checked.
        cases: Cases they belong to.
        checkpoints: Checkpoints checked.
        uncovered: Entries newer than the last checkpoint: removing the newest of these would go unnoticed.
        signatures_checked: Whether a public key was given, without which whoever can write the ledger could write checkpoints too.
        problems: What is wrong, the first thousand.
        omitted: How many problems there were beyond these.
    """

    events: int
    cases: int
    checkpoints: int = 0
    uncovered: int = 0
    signatures_checked: bool = False
    problems: tuple[AuditProblem, ...] = ()
    omitted: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what was checked."""
        return not self.problems


class ChainCheck:
    """Follows the chains of cases entry by entry, and collects what is wrong. Entries come grouped by case, in the order of ``n``."""

    def __init__(self) -> None:
        self.events = 0
        self.cases = 0
        self.problems: list[AuditProblem] = []
        self.omitted = 0
        self._case: str | None = None
        self._n = 0
        self._seq = 0
        self._hash: str | None = GENESIS

    def add(self, *, case: str, n: int, at: int, actor: str, event: str, data: str, hash_: str, seq: int | None = None) -> None:
        """Check the next entry. ``seq``, when known, is its place in the whole log, and has to rise within the case."""
        if case != self._case:
            self.cases += 1
            self._case, self._n, self._seq, self._hash = case, 0, 0, GENESIS
        self.events += 1
        expected = self._n + 1
        if n != expected:
            if n > expected:
                self.report(case, expected, "is missing" if n == expected + 1 else f"is missing, and so are all up to {n - 1}")
            else:
                self.report(case, n, f"comes after entry {self._n}: repeated or out of order")
            self._hash = None  # what this entry should follow from is not known; the next can be checked again
        if self._hash is not None and hash_ != entry_hash(case=case, n=n, at=at, actor=actor, event=event, data=data, prev=self._hash):
            self.report(case, n, "was changed, or does not follow from the entry before it")
        if seq is not None:
            if seq <= self._seq:
                self.report(case, n, "was written before the entry it follows: reordered")
            self._seq = seq
        # The hash as it stands, right or wrong, so that one changed entry is one problem and not all that follow it.
        self._n, self._hash = n, hash_

    def report(self, case: str | None, n: int, what: str) -> None:
        """Note a problem."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(AuditProblem(case, n, what))
        else:
            self.omitted += 1
