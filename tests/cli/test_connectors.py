"""``dsr connectors``."""

from __future__ import annotations

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
