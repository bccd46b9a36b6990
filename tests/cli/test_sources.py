"""``dsr sources``."""

from __future__ import annotations

import stat

import pytest

from dsr_sdk.cli import output
from dsr_sdk.testing import Fault, SandboxServer
from tests.cli.conftest import Dsr, configure


def test_none_yet(dsr: Dsr) -> None:
    """An empty list says how to go on."""
    assert "sources add" in dsr("sources", "list").err
    assert dsr("sources", "list", "--json").json == {"sources": []}
    assert "sources add" in dsr("sources", "check").err


def test_list_shows_what_cannot_be_used(dsr: Dsr, shop: SandboxServer) -> None:
    """One broken source is explained, the other works."""
    configure(dsr, shop.url, name="other", extra='pages = "many"\n')
    out = dsr("sources", "list").out
    assert "shop    toyshop    Toy Shop  automated  dsr.toml   configured" in out
    assert "other: sources.other.pages: " in out
    assert [row["status"] for row in dsr("sources", "list", "--json").json["sources"]] == ["configured", "cannot_be_used"]


def test_check(dsr: Dsr, shop: SandboxServer) -> None:
    """Each source says whether it can be worked with."""
    assert dsr("sources", "check").out == "shop: ok: contacts can be read\n"
    assert dsr("sources", "check", "shop", "--json").json == {"sources": [{"source": "shop", "ok": True, "answer": "contacts can be read"}]}


def test_check_says_what_to_mend(dsr: Dsr, shop: SandboxServer) -> None:
    """A wrong token is an error of the operator's, and does not stop the check of the others."""
    configure(dsr, shop.url, name="other", extra="")
    shop.sandbox.faults = [Fault("status", status=401)]
    ran = dsr("sources", "check", code=3)
    assert ran.err.startswith("error: shop: ")
    assert ran.out == "other: ok: contacts can be read\n"
    shop.sandbox.faults = [Fault("status", status=401)]
    rows = dsr("sources", "check", "--json", code=3).json["sources"]
    assert [row["ok"] for row in rows] == [False, True]


def test_check_survives_a_connectors_bug(dsr: Dsr, shop: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that breaks is the connector author's to mend: exit code 4."""
    from toyshop import ToyShop  # type: ignore[import-not-found]  # installed by the fixture

    def check(self: object, api: object) -> str:
        raise KeyError("ada@example.com")

    monkeypatch.setattr(ToyShop, "check", check)
    assert "broke: KeyError" in dsr("sources", "check", code=4).err


def test_check_of_a_stranger(dsr: Dsr) -> None:
    """A source that is not configured."""
    assert "there is no such data source" in dsr("sources", "check", "nosuch", code=3).err


def test_add_keeps_comments(dsr: Dsr, shop: SandboxServer) -> None:
    """The file is edited, not rewritten; its mode stays; the new source works."""
    path = dsr.directory / "dsr.toml"
    path.chmod(0o640)
    before = path.read_text()
    ran = dsr(
        "sources", "add", "shop-eu", "--connector", "toyshop", "--after", "shop", "--threads", "2",
        *("--set", "token=file:token", "--set", f"base_url={shop.url}/v1", "--set", "allow_private_hosts=true", "--set", "pages=7"),
    )  # fmt: skip
    after = path.read_text()
    assert after.startswith(before.rstrip("\n"))
    assert 'after = ["shop"]\nthreads = 2\n' in after
    assert "pages = 7\n" in after
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "next: dsr sources check shop-eu" in ran.err
    assert [row.name for row in dsr.directory.iterdir() if row.name.startswith(".dsr.toml")] == []
    dsr("sources", "check", "shop-eu")


def test_add_refuses_a_secret_in_the_open(dsr: Dsr) -> None:
    """A secret is given as a reference, and what was typed is not repeated."""
    before = (dsr.directory / "dsr.toml").read_bytes()
    ran = dsr("sources", "add", "toyshop", "--set", "token=hush-hush", code=3)
    assert "error: sources.toyshop.token: is written in the open" in ran.err
    assert "hush" not in ran.err + ran.out
    assert (dsr.directory / "dsr.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        (["toyshop"], "sources.toyshop.token: is missing", 3),
        (["toyshop", "--set", "token=file:token", "--set", "nosuch=1"], "sources.toyshop.nosuch: is not a setting of this connector", 3),
        (["toyshop", "--set", "token=file:token", "--set", "pages=many"], "sources.toyshop.pages: ", 3),
        (["toyshop", "--set", "token=file:token", "--after", "nosuch"], "there is no data source 'nosuch'", 3),
        (["Bad Name", "--connector", "toyshop", "--set", "token=file:token"], "a data source's name is lower-case letters", 3),
        (["x", "--connector", "nosuch"], "is not installed", 3),
        (["toyshop", "--set", "token"], "write it as KEY=VALUE", 2),
        (["toyshop", "--set", "token=file:token", "--set", "threads=3"], "is no setting of a connector", 3),
    ],
)
def test_add_validates_before_writing(dsr: Dsr, args: list[str], said: str, code: int) -> None:
    """The connector judges its settings, and nothing is written when it says no."""
    before = (dsr.directory / "dsr.toml").read_bytes()
    assert said in dsr("sources", "add", *args, code=code).err
    assert (dsr.directory / "dsr.toml").read_bytes() == before


def test_add_twice(dsr: Dsr, shop: SandboxServer) -> None:
    """A name is taken once."""
    assert "of this name already" in dsr("sources", "add", "shop", "--connector", "toyshop", "--set", "token=file:token", code=3).err


def test_add_for_another_machine(dsr: Dsr) -> None:
    """A secret that is not here is a warning: the file may be meant for a server. The list then says so."""
    ran = dsr("sources", "add", "toyshop", "--set", "token=env:NOT_SET_HERE", "--json")
    assert ran.json["warnings"] == ["sources.toyshop.token: the environment variable NOT_SET_HERE is not set (set it, or correct the name)"]
    assert "cannot be used" in dsr("sources", "list").out


def test_add_asks_for_what_is_missing(dsr: Dsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the missing settings are asked for, with their descriptions; what is typed for a secret is not echoed."""
    monkeypatch.setattr(output, "interactive", lambda: True)
    ran = dsr("sources", "add", "toyshop", input="file:token\n")
    assert "token (an API token): where is it kept?" in ran.err
    assert "file:token" not in ran.err + ran.out
    assert 'token = "file:token"' in (dsr.directory / "dsr.toml").read_text()
