"""The plan: what was found at every data source, and what would be done about it. An agent approves exactly that, by its hash."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from dsr_sdk.ledger.tasks import json_text
from dsr_sdk.ledger.vault import Vault

__all__ = ["Deed", "Plan", "PlannedMatch", "PlannedSource", "Standing"]


class Standing(StrEnum):
    """What planning learned about one data source."""

    FOUND = "found"
    NOTHING_FOUND = "nothing_found"
    COULD_NOT_CHECK = "could_not_check"
    MISSING_IDENTIFIER = "missing_identifier"
    AMBIGUOUS_IDENTIFIER = "ambiguous_identifier"
    UNSUPPORTED = "unsupported"
    BY_EMAIL = "by_email"
    BY_HAND = "by_hand"


class Deed(StrEnum):
    """What would be done with a match. ``along``: it is erased with another match and needs no call of its own."""

    ERASE = "erase"
    ALONG = "along"
    EXPORT = "export"
    OPT_OUT = "opt_out"
    RETAIN = "retain"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class PlannedMatch:
    """One match and what is to become of it. `match` is its JSON (personal); ``repr`` hides it.

    Attributes:
        note: Why it is retained or left alone.
    """

    resource: str
    deed: Deed
    count: int
    match: Mapping[str, Any] = field(repr=False)
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """One data source in a plan.

    Attributes:
        searched: How many identities it was searched with.
        calls: About how many calls acting will take.
        detail: For people: the error, the missing identifier, the vendor written to.
        warnings: What an agent should look at before approving.
        account: Which account was searched (`DataSource.account`); empty when nothing was found there, or nobody knows.
    """

    source: str
    title: str
    connector: str
    standing: Standing
    matches: tuple[PlannedMatch, ...] = ()
    searched: int = 0
    calls: int = 0
    detail: str = ""
    warnings: tuple[str, ...] = ()
    account: str = ""

    def count(self, *deeds: Deed) -> int:
        """Records behind the matches with these deeds."""
        return sum(match.count for match in self.matches if match.deed in deeds)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was found for one case and what is to be done.

    Attributes:
        hash: Keyed hash over everything that will be executed; approving stores it, and execution may not exceed it.
        warnings: About the case as a whole: duplicates, an earlier erasure.
    """

    id: int
    case: str
    type: str
    scope: str
    sources: tuple[PlannedSource, ...]
    hash: str
    made_at: datetime
    warnings: tuple[str, ...] = ()
    approved_at: datetime | None = None
    approved_by: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every source could be checked. A plan that is not complete can be approved, but its case cannot be finished clean."""
        return not any(
            source.standing in (Standing.COULD_NOT_CHECK, Standing.MISSING_IDENTIFIER, Standing.AMBIGUOUS_IDENTIFIER) for source in self.sources
        )

    @property
    def irreversible(self) -> bool:
        """Whether carrying it out changes anything at a vendor."""
        acts = (Deed.ERASE, Deed.OPT_OUT)
        return any(source.count(*acts) or source.standing is Standing.BY_EMAIL for source in self.sources)

    def narrowed(self, sources: Collection[str], vault: Vault, now: datetime) -> Plan:
        """The same plan for some of its data sources only: the same matches and deeds, and so another hash. Not stored, not approved."""
        rows = tuple(row for row in self.sources if row.source in sources)
        hash_ = plan_hash(vault, self.case, self.type, self.scope, rows)
        return replace(self, id=0, sources=rows, hash=hash_, made_at=now, approved_at=None, approved_by=None)

    def stored(self, id: int) -> Plan:
        """The same plan under the id that the ledger gave it."""
        return replace(self, id=id)

    def body(self) -> bytes:
        """The plan as JSON, for the ledger (sealed there)."""
        sources = [asdict(source) for source in self.sources]
        return json_text({"type": self.type, "scope": self.scope, "sources": sources, "warnings": self.warnings}).encode()

    @classmethod
    def from_body(
        cls, body: bytes, *, id: int, case: str, hash: str, made_at: datetime, approved_at: datetime | None, approved_by: str | None
    ) -> Plan:
        """The inverse of `body`."""
        data = json.loads(body)
        sources = []
        for row in data["sources"]:
            matches = tuple(
                PlannedMatch(item["resource"], Deed(item["deed"]), item["count"], item["match"], item["note"]) for item in row.pop("matches")
            )
            row["standing"] = Standing(row["standing"])
            row["warnings"] = tuple(row["warnings"])
            sources.append(PlannedSource(matches=matches, **row))
        return cls(id, case, data["type"], data["scope"], tuple(sources), hash, made_at, tuple(data["warnings"]), approved_at, approved_by)

    def to_json(self) -> dict[str, Any]:
        """The plan without personal data: what ``dsr plan --json`` prints."""
        return {
            "case": self.case,
            "type": self.type,
            "scope": self.scope,
            "hash": self.hash,
            "made_at": self.made_at.isoformat(),
            "approved_at": self.approved_at.isoformat() if self.approved_at else None,
            "approved_by": self.approved_by,
            "complete": self.complete,
            "irreversible": self.irreversible,
            "warnings": list(self.warnings),
            "sources": [
                {
                    "source": source.source,
                    "title": source.title,
                    "connector": source.connector,
                    "standing": source.standing.value,
                    "searched": source.searched,
                    "calls": source.calls,
                    "detail": source.detail,
                    "warnings": list(source.warnings),
                    "matches": _counted(source),
                }
                for source in self.sources
            ],
        }


def _counted(source: PlannedSource) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str, str], int] = {}
    for match in source.matches:
        key = (match.resource, match.deed.value, match.note)
        rows[key] = rows.get(key, 0) + match.count
    return [{"resource": resource, "deed": deed, "count": count, "note": note} for (resource, deed, note), count in rows.items()]


def _deed(match: PlannedMatch) -> list[Any]:
    return [match.resource, str(match.match["id"]), match.deed.value, sorted((match.match.get("data") or {}).items())]


def plan_hash(vault: Vault, case: str, type_: str, scope: str, sources: tuple[PlannedSource, ...]) -> str:
    """A keyed hash over what will be executed: case, type, scope, and for every source its account and each match and deed."""
    deeds = [
        [
            source.source,
            source.connector,
            source.standing.value,
            sorted(_deed(match) for match in source.matches),
            *([source.account] if source.account else []),  # plans from before accounts were told apart keep their hash
        ]
        for source in sources
    ]
    text = json.dumps([case, type_, scope, deeds], ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return vault.fingerprint("plan", text).hex()
