"""A transport that holds what passes against a description: strict, and silent about people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsr_sdk.testing import Checked, Exemption, Person, transport
from dsr_sdk.testing.openapi import Description
from dsr_sdk.testing.scenario import ADA, ScenarioHttp, config_of, find, identity_of, subject_of
from tests.testing import wrong
from tests.testing.test_mutations import described
from tests.testing.toys import Toy, ToySandbox

EMAIL = identity_of(Toy, ADA)
assert EMAIL is not None


@pytest.fixture
def description(tmp_path: Path) -> Description:
    """The toy vendor's description of its API."""
    (tmp_path / "toy.json").write_text(json.dumps(described()), encoding="utf-8")
    return Description.load(tmp_path / "toy.json")


def passing(description: Description, connector: type[Toy] = Toy, *exemptions: Exemption, sandbox: type[ToySandbox] = ToySandbox) -> Checked:
    """What a check and a search leave in a checked transport."""
    fake = sandbox()
    fake.seed([ADA, Person("grace@example.org", "Grace")])
    wire = Checked(transport(fake), description, exemptions=exemptions)
    http = ScenarioHttp(connector(config_of(connector, sandbox)), transport=wire)
    http.connector.dsr_check(http.api())
    assert EMAIL is not None
    assert find(http.connector, http, subject_of(ADA, EMAIL))
    http.close()
    return wire


def test_what_is_as_described_leaves_nothing_but_its_calls(description: Description) -> None:
    """The operations that were called are known by the description's names, so that a test can demand them."""
    wire = passing(description)
    assert wire.findings == []
    assert wire.calls == {"GET /v1/ping", "GET /v1/contacts"}


def test_requests_and_answers_are_looked_at(description: Description) -> None:
    """A parameter that nobody describes, a number where a text belongs: each is a finding, without a value."""
    (sent,) = passing(description, wrong.SendsMore).findings
    assert "request query parameter * is not declared" in sent
    (answered,) = passing(description, sandbox=wrong.NumbersSandbox).findings
    assert "/ok is an integer" in answered
    assert ADA.email not in sent + answered


def test_what_is_known_may_be_exempt(description: Description) -> None:
    """By operation, place and problem, as in a suite; another operation's exemption covers nothing."""
    known = Exemption("the description is behind", operation="GET /v1/contacts", where="request query parameter *")
    assert passing(description, wrong.SendsMore, known).findings == []
    other = Exemption("the description is behind", operation="GET /v1/orders", where="request query parameter *")
    assert len(passing(description, wrong.SendsMore, other).findings) == 1


def test_a_path_that_is_not_described_is_named_by_exemptions_only(tmp_path: Path) -> None:
    """A path may hold a person, so a finding does not repeat it; the author, who knows it, may exempt it."""
    less = described()
    del less["paths"]["/v1/contacts"]
    (tmp_path / "less.json").write_text(json.dumps(less), encoding="utf-8")
    description = Description.load(tmp_path / "less.json")
    found = passing(description).findings
    assert found
    assert all("is for a path that is not described" in one and "contacts" not in one for one in found)
    known = Exemption("in the reference only", operation="GET /v1/contacts", problem="is for a path that is not described")
    assert passing(description, Toy, known).findings == []
