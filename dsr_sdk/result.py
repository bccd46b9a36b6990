"""What connectors answer: matches, records, and outcomes that leave nothing unsaid. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar

from dsr_sdk.errors import ContractError
from dsr_sdk.identity import AnyIdentity

__all__ = [
    "Absent",
    "Anonymized",
    "Erased",
    "Failed",
    "Match",
    "OptedOut",
    "Outcome",
    "Pending",
    "Reason",
    "Record",
    "Retained",
    "outcome_from_json",
    "outcome_to_json",
]


@dataclass(frozen=True, slots=True)
class Match:
    """Something of the data subject's that a data source holds, found by `find` and acted on by `erase`, `export` or `opt_out`.

    Attributes:
        resource: One of the resources the connector declares in ``holds``.
        id: The vendor's id of it; with `resource` it is unique within the data source.
        count: How many records stand behind it (the invoices of a customer); 1 unless said.
        identities: Further identities of the person that the vendor revealed (its user id, the controller's id).
        data: What `erase` needs beside the id (the list a member is on). Strings only; kept sealed.

    ``repr`` hides everything but the resource: ids and data may be personal.
    """

    resource: str
    id: str
    count: int = 1
    identities: tuple[AnyIdentity, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise ContractError(f"a match of {self.resource} needs a non-empty string id, not {type(self.id).__name__}")

    def __repr__(self) -> str:
        return f"<Match {self.resource}>"


@dataclass(frozen=True, slots=True)
class Record:
    """One record handed to the person: `data` is a JSON object as the vendor gave it (or the part that is about this person)."""

    resource: str
    data: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<Record {self.resource}>"


class Reason(StrEnum):
    """Why data is kept although its erasure was asked for (GDPR Art. 17(3), CCPA 1798.105(d) and their like)."""

    LEGAL_OBLIGATION = "legal_obligation"
    LEGAL_CLAIMS = "legal_claims"
    PROOF_OF_OPT_OUT = "proof_of_opt_out"
    SECURITY = "security"
    PUBLIC_INTEREST = "public_interest"
    CONTRACT = "contract"
    OTHERS_DATA = "others_data"
    VENDOR_CANNOT = "vendor_cannot"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Base of the outcomes. An author returns one of the subclasses; the host derives every status from it."""

    kind: ClassVar[str] = ""
    final: ClassVar[bool] = True
    """Whether nothing more is to be done for the match."""
    clean: ClassVar[bool] = False
    """Whether the person's data is gone (or was never there): the only outcomes that count as deleted."""


@dataclass(frozen=True, slots=True)
class Erased(Outcome):
    """The vendor confirmed that it is deleted."""

    kind: ClassVar[str] = "erased"
    clean: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Anonymized(Outcome):
    """What remains can no longer be linked to the person."""

    kind: ClassVar[str] = "anonymized"
    clean: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Absent(Outcome):
    """It was already gone when we came to act on it."""

    kind: ClassVar[str] = "absent"
    clean: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class OptedOut(Outcome):
    """The vendor confirmed that it will not sell or share the person's data."""

    kind: ClassVar[str] = "opted_out"


@dataclass(frozen=True, slots=True)
class Retained(Outcome):
    """It is kept, lawfully, and this is why. ``text`` is shown to the person."""

    reason: Reason
    text: str
    kind: ClassVar[str] = "retained"


@dataclass(frozen=True, slots=True)
class Pending(Outcome):
    """The vendor accepted the job and carries it out later.

    Attributes:
        job: What `poll` asks the vendor about; matches with the same job are polled once.
        check_after: When it is worth asking.

    ``repr`` hides the job: it may name the person.
    """

    job: str = field(repr=False)
    check_after: timedelta = timedelta(minutes=1)
    kind: ClassVar[str] = "pending"
    final: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.check_after < timedelta(0):
            raise ContractError("Pending(check_after=...) lies in the past")


@dataclass(frozen=True, slots=True)
class Failed(Outcome):
    """The vendor refused this match for good; ``text`` says why, without personal data."""

    text: str
    code: str = ""
    kind: ClassVar[str] = "failed"


_KINDS: dict[str, type[Outcome]] = {kind.kind: kind for kind in (Erased, Anonymized, Absent, OptedOut, Retained, Pending, Failed)}


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as a JSON object. `Pending.job` is left out: it may name the person and is stored sealed."""
    data: dict[str, Any] = {"kind": outcome.kind}
    if isinstance(outcome, Retained):
        data |= {"reason": outcome.reason.value, "text": outcome.text}
    elif isinstance(outcome, Pending):
        data |= {"check_after": outcome.check_after.total_seconds()}
    elif isinstance(outcome, Failed):
        data |= {"text": outcome.text, "code": outcome.code}
    return data


def outcome_from_json(data: Mapping[str, Any], *, job: str = "") -> Outcome:
    """The inverse of `outcome_to_json`. Raises `ContractError` for an unknown kind."""
    kind = data.get("kind")
    if kind == "retained":
        return Retained(Reason(data["reason"]), data["text"])
    if kind == "pending":
        return Pending(job, timedelta(seconds=data["check_after"]))
    if kind == "failed":
        return Failed(data["text"], data.get("code", ""))
    if kind in _KINDS:
        return _KINDS[kind]()
    raise ContractError(f"there is no outcome kind {kind!r}")
