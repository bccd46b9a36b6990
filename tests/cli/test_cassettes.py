"""``dsr cassette``."""

from __future__ import annotations

import json
from pathlib import Path

from dsr_sdk.testing import SandboxServer
from tests.cli.conftest import Dsr


def recorded(dsr: Dsr) -> list[str]:
    """The toy shop's cassettes."""
    paths: list[str] = dsr("cassette", "record", "toyshop", "--out", "tapes", "--json").json["cassettes"]
    return paths


def test_record_lint_replay(dsr: Dsr) -> None:
    """From the sandbox to files that may be committed and that the connector runs from alone."""
    paths = recorded(dsr)
    assert [Path(path).name for path in paths] == ["erase.yaml", "copy.yaml", "opt_out.yaml"]
    assert dsr("cassette", "lint", *paths).out == "ok: 3 cassettes\n"
    assert dsr("cassette", "lint", *paths, "--json").json == {"ok": True, "problems": []}
    ran = dsr("cassette", "replay", "toyshop", *paths)
    assert len([line for line in ran.out.splitlines() if ": ok: " in line]) == 3
    assert all(row["ok"] for row in dsr("cassette", "replay", "toyshop", *paths, "--json").json["cassettes"])


def test_show(dsr: Dsr) -> None:
    """Where it comes from, and its calls."""
    path = recorded(dsr)[0]
    out = dsr("cassette", "show", path).out
    assert "recorded from: sandbox" in out
    assert "DELETE" in out
    shown = dsr("cassette", "show", path, "--json").json
    assert shown["metadata"]["scenario"] == "erase"
    assert {call["status"] for call in shown["calls"]} == {200, 204}


def test_recordings(dsr: Dsr) -> None:
    """What was recorded elsewhere is fed to the connector; the toy shop's own cassettes will do."""
    recorded(dsr)
    out = dsr("cassette", "replay", "toyshop", "--recordings", "tapes").out
    assert out.startswith("toyshop: ")
    counts = dsr("cassette", "replay", "toyshop", "--recordings", "tapes", "--json").json["counts"]
    assert counts["ok"] > 0
    assert counts["not ok"] == 0
    assert "error: " in dsr("cassette", "replay", "toyshop", "--recordings", "nosuch", code=3).err
    (dsr.directory / "person.json").write_text(json.dumps({"email": "tester@example.com", "extra": {"toyshop": {"invoices": 1}}}))
    more = dsr("cassette", "replay", "toyshop", "--recordings", "tapes", "--person", "person.json", "--json").json["counts"]
    assert more["ok"] >= counts["ok"]
    assert "goes with --recordings" in dsr("cassette", "replay", "toyshop", "x.yaml", "--person", "person.json", code=2).err
    assert "name cassettes, or --recordings DIR" in dsr("cassette", "replay", "toyshop", code=2).err
    (dsr.directory / "tapes" / "broken.yaml").write_text("a: [1")
    assert "broken.yaml: is no vcrpy recording" in dsr("cassette", "replay", "toyshop", "--recordings", "tapes", code=3).err


def described(dsr: Dsr, **changed: object) -> str:
    """A description of the toy shop's API, and where it is."""
    by_id = [{"in": "path", "name": "id", "required": True, "schema": {"type": "string"}}]
    query: list[dict[str, object]] = [{"in": "query", "name": name, "schema": {}} for name in ("email", "id", "limit", "starting_after")]
    fine = {"responses": {"200": {"description": "", "content": {"application/json": {"schema": {"type": "object"}}}}, "204": {"description": ""}}}
    paths = {
        "/v1/contacts": {"get": {"parameters": query, **fine}},
        "/v1/contacts/{id}": {"parameters": by_id, "get": fine, "delete": fine},
        "/v1/contacts/{id}/opt-out": {"parameters": by_id, "put": fine},
    }
    (dsr.directory / "toyshop.json").write_text(json.dumps({"openapi": "3.0.3", "info": {}, "paths": {**paths, **changed}}))
    return "toyshop.json"


def test_drift(dsr: Dsr) -> None:
    """A cassette fits the description, or each difference is named by interaction, call and place; the values are not."""
    paths = recorded(dsr)
    assert dsr("cassette", "drift", "--openapi", described(dsr), *paths).out == "ok: 3 cassettes\n"
    listing = {"get": {"parameters": [{"in": "query", "name": "mail", "schema": {}}], "responses": {"200": {"description": ""}}}}
    changed = described(dsr, **{"/v1/contacts": listing})
    ran = dsr("cassette", "drift", "--openapi", changed, paths[0], code=1)
    assert "1: GET /v1/contacts: request query parameter * is not declared" in ran.out
    assert "has a body, where none is described" in ran.out
    assert "@" not in ran.out
    data = dsr("cassette", "drift", "--openapi", changed, "--tolerate", "undescribed_body", "--json", paths[0], code=1).json
    assert not data["ok"]
    assert "undescribed_body" in data["tolerances"]
    assert {(row["severity"], row["tolerance"]) for row in data["drift"]} == {("error", None), ("tolerated", "undescribed_body")}


def test_drift_errors(dsr: Dsr) -> None:
    """A description or a cassette that cannot be read is one line that names the file."""
    paths = recorded(dsr)
    assert "toyshop.json: the API description cannot be read" in dsr("cassette", "drift", "--openapi", "toyshop.json", *paths, code=3).err
    (dsr.directory / "old.yaml").write_text("- {}")
    assert "old.yaml: is a cassette of another version" in dsr("cassette", "drift", "--openapi", described(dsr), "old.yaml", code=3).err
    assert "is none of" in dsr("cassette", "drift", "--openapi", described(dsr), "--tolerate", "much", *paths, code=2).err


def test_what_is_wrong_with_a_cassette(dsr: Dsr) -> None:
    """A secret in it, and a connector that does something else."""
    path = Path(recorded(dsr)[0])
    path.write_text(path.read_text().replace("DELETE", "PATCH"))
    assert "NOT ok" in dsr("cassette", "replay", "toyshop", str(path), code=1).out
    path.write_text(path.read_text().replace("recorded_from:", "recorded_form:"))
    assert "provenance is missing" in dsr("cassette", "lint", str(path), code=1).out
    assert not dsr("cassette", "lint", "nosuch.yaml", "--json", code=1).json["ok"]


def test_live_needs_consent(dsr: Dsr, shop: SandboxServer) -> None:
    """From the vendor itself: a person who is erased, a configured data source, and somebody's yes."""
    (dsr.directory / "person.json").write_text(json.dumps({"email": "tester@example.com", "first_name": "Test"}))
    live = ("cassette", "record", "toyshop", "--out", "tapes", "--live", "shop")
    assert "--live and --person go together" in dsr(*live, code=2).err
    assert "would be erased at the vendor" in dsr(*live, "--person", "person.json", code=5).err
    assert "is not a person" in dsr(*live, "--person", "token", code=2).err
    assert "cannot be read" in dsr(*live, "--person", "nosuch", code=2).err
    assert "no data source of this name" in dsr(*live[:-1], "nosuch", "--person", "person.json", code=3).err


def test_record_errors(dsr: Dsr) -> None:
    """A connector that is not installed, and one without a sandbox."""
    assert "is not installed" in dsr("cassette", "replay", "nosuch", "x.yaml", code=3).err
    assert "has no installed sandbox" in dsr("cassette", "record", "manual", "--out", "tapes", code=3).err
