"""The stages of a case, and every step between them: what `Workflow` goes by."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["STEPS", "Decision", "Reason", "Stage"]


class Stage(StrEnum):
    """Where a case stands."""

    REVIEW = "review"
    PROCESS = "process"
    REPLY = "reply"
    CLOSED = "closed"


class Decision(StrEnum):
    """What became of a request."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    DUPLICATE = "duplicate"


class Reason(StrEnum):
    """Why a request is rejected: the codes of the Data Rights Protocol 1.0."""

    NOT_VERIFIED = "insuf_verification"
    SUSPECTED_FRAUD = "suspected_fraud"
    NO_MATCH = "no_match"
    NOT_COVERED = "claim_not_covered"
    OUTSIDE_JURISDICTION = "outside_jurisdiction"
    TOO_MANY = "too_many_requests"
    OTHER = "other"


STEPS: dict[tuple[Stage, str], Stage] = {
    (Stage.REVIEW, "accept"): Stage.PROCESS,
    (Stage.REVIEW, "reject"): Stage.REPLY,
    (Stage.REVIEW, "withdraw"): Stage.REPLY,
    (Stage.REVIEW, "merge"): Stage.REPLY,
    (Stage.PROCESS, "finish"): Stage.REPLY,
    (Stage.PROCESS, "withdraw"): Stage.REPLY,
    (Stage.REPLY, "close"): Stage.CLOSED,
}
"""Every step there is. Withdrawing while processing ends where the first data source was given free."""
