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
    out = dsr("cassette", "recordings", "toyshop", "tapes").out
    assert out.startswith("toyshop: ")
    counts = dsr("cassette", "recordings", "toyshop", "tapes", "--json").json["counts"]
    assert counts["ok"] > 0
    assert counts["not ok"] == 0
    assert "error: " in dsr("cassette", "recordings", "toyshop", "nosuch", code=3).err


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
