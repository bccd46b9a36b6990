"""Outcomes and matches: spelled out, exact through the ledger's JSON, and silent about people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr_sdk import Absent, Anonymized, ContractError, Erased, Failed, Match, OptedOut, Pending, Reason, Record, Retained
from dsr_sdk.result import Outcome, outcome_from_json, outcome_to_json

OUTCOMES: list[Outcome] = [
    Erased(),
    Anonymized(),
    Absent(),
    OptedOut(),
    Retained(Reason.LEGAL_OBLIGATION, "tax law"),
    Failed("refused", code="x"),
    Pending("job-1", timedelta(seconds=90)),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=[outcome.kind for outcome in OUTCOMES])
def test_outcomes_round_trip(outcome: Outcome) -> None:
    """What the ledger keeps gives the outcome back; a job's name is kept elsewhere, sealed."""
    data = outcome_to_json(outcome)
    assert "job-1" not in str(data)
    assert outcome_from_json(data, job="job-1") == outcome


def test_what_counts_as_gone() -> None:
    """Only erased, anonymised and absent are clean; only pending is not final."""
    assert [outcome.kind for outcome in OUTCOMES if outcome.clean] == ["erased", "anonymized", "absent"]
    assert [outcome.kind for outcome in OUTCOMES if not outcome.final] == ["pending"]


@pytest.mark.parametrize("data", [{}, {"kind": "deleted"}, {"kind": None}])
def test_unknown_outcomes(data: dict[str, Any]) -> None:
    """An outcome of another version is not guessed at."""
    with pytest.raises(ContractError, match="no outcome kind"):
        outcome_from_json(data)


@pytest.mark.parametrize("id_", ["", None, 5, b"x", ["x"]])
def test_a_match_needs_an_id(id_: Any) -> None:
    """A number would be another id in another place."""
    with pytest.raises(ContractError, match="non-empty string id"):
        Match("contact", id_)


@given(st.text(min_size=1))
def test_reprs_show_nobody(secret: str) -> None:
    """An id, its data and a record's contents are personal."""
    canary = f"canary-{secret}"
    said = repr(Match("contact", canary, data={"list": canary})) + repr(Record("contact", {"email": canary})) + repr(Pending(canary))
    assert "canary" not in said


def test_a_pending_in_the_past() -> None:
    """A negative wait is a bug of the connector's."""
    with pytest.raises(ContractError, match="past"):
        Pending("job", timedelta(seconds=-1))
