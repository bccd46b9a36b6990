"""``dsr connectors``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Dsr


def test_list_with_a_broken_one_quarantined(dsr: Dsr) -> None:
    """A connector that cannot be imported is explained, and in nobody's way."""
    ran = dsr("connectors")
    (row,) = [line for line in ran.out.splitlines() if line.startswith("toyshop")]
    assert row.split() == [
        "toyshop",
        "Toy",
        "Shop",
        "1.2.3",
        "commerce",
        "automated",
        "email,",
        "vendor",
        "id",
        "erase,",
        "export,",
        "opt",
        "out",
        "sandbox",
        "not",
        "shipped",
    ]
    assert "quarantined: toybroken: importing toybroken failed: RuntimeError" in ran.out


def test_list_json(dsr: Dsr) -> None:
    """--json carries verbs with their excuses."""
    listed = dsr("connectors", "--json").json
    (row,) = [row for row in listed["connectors"] if row["slug"] == "toyshop"]
    assert row["verbs"]["erase"] == {"supported": True, "excuse": None}
    assert row["verbs"]["email"] == {"supported": False, "excuse": "the shop has an API"}
    assert row["evidence"] == ["sandbox"]
    assert list(listed["quarantined"]) == ["toybroken"]


def test_detail(dsr: Dsr) -> None:
    """One connector: what it holds, keeps and why, its limits, and which settings are secrets."""
    out = dsr("connectors", "toyshop").out
    assert "Toy Shop (toyshop 1.2.3, commerce, automated)" in out
    assert "retained (legal obligation)" in out
    assert "invoice: Invoices are kept for ten years." in out
    assert "1000 calls in 1 s" in out
    assert "exempt from the check erase_twice: the shop bills each deletion" in out
    (token,) = [line for line in out.splitlines() if line.startswith("token")]
    assert token.split()[1:3] == ["secret", "required"]
    assert "default: 5" in out


def test_detail_json(dsr: Dsr) -> None:
    """The same as data."""
    detail = dsr("connectors", "toyshop", "--json").json
    assert [setting["name"] for setting in detail["settings"] if setting["secret"]] == ["token"]
    assert detail["holds"][1]["on_erase"] == "retained"
    assert detail["exempt"] == {"erase_twice": "the shop bills each deletion"}


def test_unknown_and_broken(dsr: Dsr) -> None:
    """Asked for by name, what cannot be had is an error that says what to do."""
    assert "fix: pip install dsr-connector-nosuch" in dsr("connectors", "nosuch", code=3).err
    assert "quarantined" in dsr("connectors", "toybroken", code=3).err


def test_the_allow_list_is_obeyed(dsr: Dsr) -> None:
    """What dsr.toml does not allow is not even imported."""
    with (dsr.directory / "dsr.toml").open("a") as file:
        file.write('\n[connectors]\nallow = ["toyshop"]\n')
    listed = dsr("connectors", "--json").json
    assert [row["slug"] for row in listed["connectors"]] == ["toyshop"]
    assert listed["quarantined"] == {}


def test_without_a_host(dsr: Dsr) -> None:
    """A newcomer looks before she makes one."""
    (dsr.directory / "dsr.toml").unlink()
    assert "toyshop" in dsr("connectors").out


# --- where the cassettes come from ---------------------------------------------------------------------------------------------------


def test_provenance_in_the_list(dsr: Dsr) -> None:
    """Sandbox or live, the day, the API's version; where nothing of it is shipped, that is said, and of letters and checklists nothing."""
    listed = {row["slug"]: row["cassettes"] for row in dsr("connectors", "--json").json["connectors"]}
    assert [sorted(row) for row in listed["stripe"]] == [["api_version", "name", "recorded_from", "recorded_on"]] * 2
    assert {(row["recorded_from"], row["api_version"]) for row in listed["stripe"]} == {("sandbox", "2023-08-16")}
    assert (listed["toyshop"], listed["manual"], listed["email"]) == (None, [], [])
    lines = {line.split()[0]: line for line in dsr("connectors").out.splitlines()}
    assert lines["stripe"].endswith(f"sandbox, {listed['stripe'][0]['recorded_on']}, API 2023-08-16")
    assert lines["toyshop"].endswith("not shipped")


def test_provenance_in_detail(dsr: Dsr) -> None:
    """The same of one connector, with the names of the cassettes."""
    (told,) = [line for line in dsr("connectors", "stripe", secret=False).out.splitlines() if line.startswith("cassettes")]
    rows = dsr("connectors", "stripe", "--json", secret=False).json["cassettes"]  # a setting is explained with a made-up address
    assert told == f"cassettes (copy, erase): sandbox, {rows[0]['recorded_on']}, API 2023-08-16"
    assert "cassettes: not shipped" in dsr("connectors", "toyshop").out
    assert "cassettes" not in dsr("connectors", "manual").out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cassettes": [{"name": "erase"}]}', '{"cassettes": 7}', "[" * 100_000, "\udcff"])
def test_unreadable_provenance_is_none(dsr: Dsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Another's file may hold anything: it then tells nothing, and the list is whole."""
    (tmp_path / "evidence.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr("dsr_sdk.testing._claims.package_of", lambda connector: tmp_path)
    listed = {row["slug"]: row["cassettes"] for row in dsr("connectors", "--json").json["connectors"]}
    assert listed["stripe"] is None


def test_provenance_steers_no_terminal(dsr: Dsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a connector tells of itself is shown without control characters, and an unknown origin is not taken for a live one."""
    row = {"name": "erase\u001b[2J", "recorded_from": "moon\u001b[31m", "recorded_on": "", "api_version": ""}
    (tmp_path / "evidence.json").write_text(json.dumps({"cassettes": [row]}), encoding="utf-8")
    monkeypatch.setattr("dsr_sdk.testing._claims.package_of", lambda connector: tmp_path)
    for out in (dsr("connectors").out, dsr("connectors", "hubspot").out):
        assert "\u001b" not in out
        assert "moon[31m, undated, API unknown" in out
