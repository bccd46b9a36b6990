"""``dsr inventory``, and ``dsr sources`` with what stands there."""

from __future__ import annotations

from dsr_sdk.testing import SandboxServer
from tests.cli.conftest import Dsr
from tests.smtp import Inbox


def names(dsr: Dsr, *args: str) -> list[str]:
    """The systems that are listed."""
    return [row["name"] for row in dsr("inventory", "list", "--json", *args).json["systems"]]


def test_systems_of_one_s_own(desk: Dsr) -> None:
    """Added, used, taken out, removed; dsr sources shows what is used, and where it stands."""
    desk("inventory", "add", "cabinet", "--title", "Filing cabinet", "--owner", "Office", "--handling")
    desk("inventory", "add", "wiki", "--title", "Wiki")
    assert set(names(desk)) == {"archive", "cabinet", "wiki"}
    assert set(names(desk, "--handling")) == {"archive", "cabinet"}
    rows = {row["name"]: row for row in desk("sources", "list", "--json").json["sources"]}
    assert {name: row["stands_in"] for name, row in rows.items()} == {"archive": "dsr.toml", "cabinet": "inventory"}
    assert [row["source"] for row in desk("sources", "check", "--json").json["sources"]] == ["archive", "cabinet"]
    desk("inventory", "handling", "wiki", "on")
    desk("inventory", "handling", "cabinet", "off")
    assert set(names(desk, "--handling")) == {"archive", "wiki"}
    assert "say --yes" in desk("inventory", "remove", "wiki", code=5).err
    desk("inventory", "remove", "wiki", "--yes")
    assert set(names(desk)) == {"archive", "cabinet"}
    assert "on or off" in desk("inventory", "handling", "cabinet", "perhaps", code=2).err
    assert "dsr.toml" in desk("inventory", "remove", "archive", "--yes", code=2).err


def test_a_connector_is_checked_before_it_is_kept(desk: Dsr, shop: SandboxServer) -> None:
    """Settings in the types the connector wants; a secret in the open is refused and stored nowhere."""
    assert shop
    ran = desk("inventory", "add", "shop-eu", "--connector", "toyshop", "--set", "token=open-secret", code=3)
    assert "open-secret" not in ran.err
    assert "shop-eu" not in names(desk)
    (desk.directory / "shop.key").write_text("made-up-token\n")
    desk("inventory", "add", "shop-eu", "--connector", "toyshop", "--set", "token=file:shop.key", "--set", "pages=7")
    desk("inventory", "set", "shop-eu", "--owner", "Sales", "--set", "pages=9")
    (row,) = [row for row in desk("inventory", "list", "--json").json["systems"] if row["name"] == "shop-eu"]
    assert (row["owner"], row["process"], row["connector"]) == ("Sales", "automated", "toyshop")


def test_the_check_is_kept(desk: Dsr, shop: SandboxServer) -> None:
    """What it said, and when, also when it failed; the exit code says whose turn it is."""
    assert desk("inventory", "check", "shop", "--json").json["systems"][0]["ok"]
    (desk.directory / "token").write_text("wrong\n")
    assert shop
    assert "shop" in desk("inventory", "check", "shop", code=3).err


def test_the_catalogue_and_a_letter_writer(desk: Dsr) -> None:
    """Known vendors come as e-mail integrations, off until somebody gives an address and activates them."""
    assert [row["slug"] for row in desk("inventory", "catalogue", "klaviyo", "--json").json["offers"]] == ["klaviyo"]
    assert "set klaviyo --set privacy_address=ADDRESS" in desk("inventory", "add", "klaviyo", "--from", "klaviyo").err
    desk("inventory", "activate", "klaviyo", code=3)
    desk("inventory", "set", "klaviyo", "--set", "privacy_address=privacy@klaviyo.example")
    row = desk("inventory", "activate", "klaviyo", "--json").json
    assert (row["active"], row["handling"]) == (True, True)
    row = desk("inventory", "activate", "klaviyo", "--off", "--json").json
    assert (row["active"], row["handling"]) == (False, False)


def test_discovery(desk: Dsr) -> None:
    """What is found is proposed, and nothing more; accepted or dismissed it is not proposed again."""
    assert "no discovery is configured" in desk("inventory", "discover").err
    (desk.directory / "vendors.csv").write_text("vendor,category\nSlack,\nPayroll Ltd,staff\n")
    with (desk.directory / "dsr.toml").open("a") as file:
        file.write('\n[discovery.csv]\npath = "vendors.csv"\n')
    assert {row["name"] for row in desk("inventory", "discover", "--json").json["proposed"]} == {"slack", "payroll-ltd"}
    assert set(names(desk, "--proposed")) == {"slack", "payroll-ltd"}
    desk("inventory", "accept", "payroll-ltd", "--handling")
    desk("inventory", "dismiss", "slack")
    assert names(desk, "--proposed") == []
    assert desk("inventory", "discover", "--json").json["proposed"] == []
    (desk.directory / "vendors.csv").unlink()
    assert "error: " in desk("inventory", "discover", code=1).err


def test_a_colleague_is_asked(desk: Dsr, shop: SandboxServer, inbox: Inbox) -> None:
    """A mail with a link; what comes back waits until somebody takes it."""
    from dsr_sdk.host import Host

    assert shop
    desk("inventory", "add", "shop-eu", "--title", "Toy Shop")
    desk("inventory", "ask", "shop-eu", "carol@example.com", "--connector", "toyshop", "--note", "please")
    desk("outbox", "send")
    token = inbox.texts[-1].partition("/p/help/")[2].split()[0]
    (desk.directory / "shop.key").write_text("made-up-token\n")
    with Host.open(desk.directory / "dsr.toml") as host:
        host.inventory.answer_help(token, {"token": "file:shop.key"})
    assert "dsr inventory take shop-eu" in desk("inventory", "list").out
    assert desk("inventory", "take", "shop-eu", "--json").json["connector"] == "toyshop"
