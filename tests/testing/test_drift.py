"""Drift: cassettes against the vendor's description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dsr_sdk import ConfigError, ContractError
from dsr_sdk.testing import Exemption
from dsr_sdk.testing.drift import drift
from dsr_sdk.testing.openapi import DEFAULT_TOLERANCES, Description, Tolerance
from tests.reference import shared

ROOT = Path(__file__).resolve().parents[2]


def described(schema: dict[str, Any]) -> Description:
    """One operation."""
    answer = {"description": "", "content": {"application/json": {"schema": schema}}}
    get = {"parameters": [{"in": "query", "name": "email", "required": True, "schema": {"type": "string"}}], "responses": {"200": answer}}
    return Description({"openapi": "3.1.0", "paths": {"/people": {"get": get}}})


def tape(path: Path, uri: str, answer: str, status: int = 200) -> Path:
    """A cassette with one interaction."""
    request = {"method": "GET", "uri": uri, "body": "", "headers": {}}
    response = {"status": {"code": status, "message": ""}, "headers": {"content-type": ["application/json"]}, "body": {"string": answer}}
    path.write_text(yaml.safe_dump({"version": 1, "interactions": [{"request": request, "response": response}]}))
    return path


TEXTS = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def test_what_fits_does_not_drift(tmp_path: Path) -> None:
    """Nothing to say."""
    assert drift(described(TEXTS), tape(tmp_path / "a.yaml", "https://x.example/people?email=a", '{"name": "Ada"}')) == []


def test_requests_are_held_strictly(tmp_path: Path) -> None:
    """A parameter that is not described, one that is required and absent: no tolerance covers a request."""
    rows = drift(described(TEXTS), tape(tmp_path / "a.yaml", "https://x.example/people?mail=ada%40x.org", '{"name": "Ada"}'), frozenset(Tolerance))
    assert sorted(str(row) for row in rows) == [
        "1: GET /people: request query parameter * is not declared (meant: email?)",
        "1: GET /people: request query parameter email is required and absent",
    ]


def test_answers_are_held_leniently_and_say_so(tmp_path: Path) -> None:
    """What a tolerance covers is reported with its name; what none covers is an error."""
    path = tape(tmp_path / "a.yaml", "https://x.example/people?email=a", '{"name": null}')
    (row,) = drift(described(TEXTS), path)
    assert (row.finding.severity, row.finding.tolerance) == ("tolerated", Tolerance.NULL_FOR_NON_NULLABLE)
    assert str(row).endswith("(tolerated: null_for_non_nullable)")
    path = tape(tmp_path / "b.yaml", "https://x.example/people?email=a", "{}")
    (row,) = drift(described(TEXTS), path)
    assert row.finding.severity == "error"
    (row,) = drift(described(TEXTS), path, DEFAULT_TOLERANCES | {Tolerance.MISSING_REQUIRED})
    assert row.finding.severity == "tolerated"


def test_a_path_is_named_without_ids(tmp_path: Path) -> None:
    """Ids and addresses in a path are nobody's business; versions stay readable."""
    path = tape(tmp_path / "a.yaml", "https://x.example/v3/people/ada%40x.org/cus_123/notes/2", "{}")
    (row,) = drift(described(TEXTS), path)
    assert str(row) == "1: GET /v3/people/*/*/notes/*: request is for a path that is not described"


def test_a_damaged_cassette_is_one_line(tmp_path: Path) -> None:
    """The file, and what to do."""
    (tmp_path / "a.yaml").write_text("- {}")
    with pytest.raises(ConfigError, match=r"a\.yaml: is a cassette of another version of vcrpy"):
        drift(described(TEXTS), tmp_path / "a.yaml")


@pytest.mark.parametrize("slug", ["stripe", "amplitude"])
def test_recorded_cassettes_fit(slug: str) -> None:
    """Where nothing is exempt, the cassettes of this repository fit the vendor's description; the others are held by their suites."""
    description = Description.load(shared("specs", f"{slug}.yaml"))
    for path in sorted((ROOT / "connectors" / slug / "tests" / "cassettes").glob("*.yaml")):
        assert [str(row) for row in drift(description, path) if row.finding.severity == "error"] == []


def test_an_exemption_is_about_something() -> None:
    """Without a reason, or about everything, it would hide whatever comes."""
    for wrong in ({"reason": " ", "operation": "GET /a"}, {"reason": "because"}):
        with pytest.raises(ContractError, match="needs a reason"):
            Exemption(**wrong)
