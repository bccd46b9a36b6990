"""The inventory: what may be added, what takes part in request handling, and what nobody may put into its settings."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from dsr_connector_email import EmailIntegration
from dsr_connector_manual import Manual
from pydantic import SecretStr, field_validator, model_validator
from sqlalchemy import insert, select, update

from dsr_sdk import Category, ConfigError, ConflictError, ConnectorConfig, RequestError
from dsr_sdk.engine import Status
from dsr_sdk.errors import AuthError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.host.inventory.catalogue import offers, recognise, vendors
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.desk import case_sources
from dsr_sdk.ledger.desk import inventory as table
from dsr_sdk.ledger.schema import cases
from dsr_sdk.registry import Registry
from dsr_sdk.testing import Person, transport
from tests.smtp import Inbox
from tests.toys import TOKEN, Toy, ToyVendor
from tests.world import World, deletion, point

ALICE = "alice@example.com"
BOB = "bob@example.com"
REFERENCE = {"token": "env:TOY_TOKEN"}


class Needy(Toy):
    """A vendor with settings of every kind; it retains nothing."""

    slug, title, category = "needy", "Needy", Category.SUPPORT

    class Config(ConnectorConfig):
        token: SecretStr
        region: str
        lists: tuple[str, ...] = ()
        pages: int = 3


@pytest.fixture
def host(world: World, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with one data source in its file, a vendor to add, and the connectors for letters and manual work."""
    return prepared(world, monkeypatch)


def prepared(world: World, monkeypatch: pytest.MonkeyPatch, *, mail: str = "") -> Host:
    monkeypatch.setenv("TOY_TOKEN", TOKEN)
    world.mail = mail
    world.tables = "[workflow]" if mail else ""
    world.add("crm", Toy, None, "ada@example.com", token="env:TOY_TOKEN")
    world.classes |= {"manual": Manual, "email": EmailIntegration, "needy": Needy}
    vendor = world.vendors["shop"] = ToyVendor(prefix="shop-")
    vendor.token = TOKEN
    vendor.seed([Person("ada@example.com")])
    world.transports["shop"] = transport(vendor)
    return world.open()


def events(host: Host) -> list[tuple[str, str, Any]]:
    """What the audit log says of the inventory."""
    return [(event["event"], event["actor"], event["data"]) for event in host.history("HOST") if event["event"].startswith("inventory.")]


def stored(host: Host) -> str:
    """Everything the inventory's table holds."""
    with reading(host.ledger.engine) as connection:
        return json.dumps([list(map(str, row)) for row in connection.execute(select(table))])


def names(host: Host, **filters: Any) -> list[str]:
    return [system.name for system in host.inventory.systems(**filters)]


# --- the catalogue -----------------------------------------------------------------------------------------------------------------------


def test_the_known_vendors_are_honest() -> None:
    """At least fifty, each once, in a category of the list; an address only with the page of the vendor's own that names it."""
    assert len(vendors()) >= 50
    for slug, vendor in vendors().items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", slug)
        assert vendor.category in Category
        assert vendor.api in ("erases", "partly", "unknown")
        assert (vendor.api == "unknown") == (not vendor.basis)
        assert (vendor.privacy_address is None) == (vendor.read_at is None) == ("privacy_address" in vendor.unchecked)
        if vendor.privacy_address and vendor.read_at:
            assert vendor.privacy_address.endswith(f"@{vendor.domain}")
            assert f"{vendor.domain}/" in vendor.read_at


def test_catalogue_offers_connectors_and_vendors() -> None:
    """An installed connector is automated, a known vendor without one can be written to; the generic connectors are no systems."""
    zendesk = type("Zendesk", (Toy,), {"__doc__": "x", "slug": "zendesk", "title": "Zendesk"})
    registry = Registry(points=[point("zendesk", zendesk), point("toy", Toy)])
    found = {offer.slug: offer for offer in offers(registry)}
    assert (found["toy"].process, found["toy"].installed, found["toy"].connector) == ("automated", True, "toy")
    assert (found["zendesk"].process, found["zendesk"].installed) == ("automated", True)
    assert (found["klaviyo"].process, found["klaviyo"].installed, found["klaviyo"].connector) == ("email", False, "email")
    assert found["klaviyo"].privacy_address is None
    assert "privacy_address" in found["klaviyo"].unchecked
    assert "email" not in found
    assert "manual" not in found
    assert len(found) == len(vendors()) + 1


def test_catalogue_is_searched_and_filtered() -> None:
    """By words of title, slug, domain or another name, best first; by a category of the closed list and no other."""
    registry = Registry(points=[])
    assert [offer.slug for offer in offers(registry, text="ZOHO crm")] == ["zoho_crm"]
    assert [offer.slug for offer in offers(registry, text="sendinblue")] == ["brevo"]
    assert offers(registry, text="mail")[0].title.lower().startswith("mail")
    assert {offer.category for offer in offers(registry, category="payments")} == {"payments"}
    assert offers(registry, text="no such thing") == []
    with pytest.raises(RequestError, match=r"no such category.*advertising"):
        offers(registry, category="toys")


def test_a_connector_that_breaks_is_offered_with_its_error() -> None:
    """It hides neither itself nor the others."""
    registry = Registry(points=[point("toy", Toy), point("amplitude", object())])
    found = {offer.slug: offer for offer in offers(registry)}
    assert "quarantined" in (found["amplitude"].broken or "")
    assert (found["amplitude"].title, found["amplitude"].process) == ("Amplitude", "")
    assert found["toy"].broken is None


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("zendesk", "zendesk"),
        ("Zendesk (EU)", "zendesk"),
        ("mailchimp_saml", "mailchimp"),
        ("Zoho CRM", "zoho_crm"),
        ("Square Enix", None),
        ("Boxes Ltd", None),
        ("saml", None),
        ("", None),
    ],
)
def test_vendors_are_recognised_without_guessing(name: str, slug: str | None) -> None:
    """By name, with words that tell accounts apart; a name that only begins alike is another's."""
    found = recognise(name)
    assert (found.slug if found else None) == slug


def test_vendors_are_recognised_by_domain() -> None:
    """A host of the vendor's domain is the vendor's, one that only ends alike is not."""
    assert recognise("Helpdesk", domain="acme.zendesk.com") is vendors()["zendesk"]
    assert recognise("Helpdesk", domain="notzendesk.com") is None


# --- two lists ---------------------------------------------------------------------------------------------------------------------------


def test_the_files_data_sources_are_always_used(host: Host) -> None:
    """They stand in both lists, say where they are configured, and are changed in the file only."""
    crm = host.inventory.get("crm")
    assert (crm.title, crm.process, crm.handling, crm.configured_in, crm.origin) == ("Toy", "automated", True, "dsr.toml", "dsr.toml")
    assert crm.identified_by == ("email",)
    assert crm.holds
    assert TOKEN not in repr(crm)
    for change in (
        lambda: host.inventory.set_handling("crm", False, by=ALICE),
        lambda: host.inventory.update("crm", title="x", by=ALICE),
        lambda: host.inventory.remove("crm", by=ALICE),
    ):
        with pytest.raises(RequestError, match=r"stands in dsr\.toml"):
            change()
    with pytest.raises(ConflictError, match="of this name already"):
        host.inventory.add("crm", "Other", category="crm", by=ALICE)


def test_a_system_that_nobody_set_up_is_only_listed(host: Host) -> None:
    """It stands in the list of all systems and in no request; used in handling it is looked through by hand."""
    made = host.inventory.add(None, "Müller's Cabinet", category="custom", owner="Office", note="third floor\n\nkey at the desk", by=ALICE)
    assert (made.name, made.process, made.handling, made.note) == ("muller-s-cabinet", "", False, "third floor\n\nkey at the desk")
    assert names(host) == ["muller-s-cabinet", "crm"]
    assert names(host, handling=True) == ["crm"]
    assert names(host, handling=False) == ["muller-s-cabinet"]
    assert host.usable_sources() == ["crm"]
    used = host.inventory.set_handling(made.name, True, by=ALICE)
    assert (used.process, used.handling, used.settings["owner"]) == ("manual", True, "Office")
    assert host.usable_sources() == ["crm", "muller-s-cabinet"]
    plan = host.plan(host.submit(deletion()))
    assert {row.source for row in plan.sources} == {"crm", "muller-s-cabinet"}


def test_lists_are_filtered(host: Host) -> None:
    """By category and by words of name, title or owner."""
    host.inventory.add("paper", "Paper Mill", category="marketing", owner="Carol", by=ALICE)
    host.inventory.add("staff-list", "Staff list", category="staff", by=ALICE)
    assert names(host, category="marketing") == ["paper"]
    assert names(host, text="MILL carol") == ["paper"]
    assert names(host, text="carol staff") == []


def test_an_automated_source_works_at_once(host: Host, world: World) -> None:
    """Added while the host is open, as from a request's page: searched, erased, verified, and checked."""
    made = host.inventory.add("shop", "Shop", category="commerce", connector="toy", settings=REFERENCE, handling=True, by=ALICE)
    assert (made.process, made.handling, made.broken, made.configured_in) == ("automated", True, None, "inventory")
    assert host.usable_sources() == ["crm", "shop"]
    case = host.submit(deletion())
    host.approve(host.plan(case))
    report = host.run(case, wait=5)
    assert {row.source: row.status for row in report.sources} == {"crm": Status.VERIFIED, "shop": Status.VERIFIED}
    assert not world.vendors["shop"].holds("ada@example.com")
    assert events(host)[0] == ("inventory.added", ALICE, {"system": "shop", "connector": "toy", "handling": True})


def test_what_is_not_used_in_handling_is_in_no_new_plan(host: Host) -> None:
    """But what was approved there is still carried out, and it can be named."""
    host.inventory.add("shop", "Shop", category="commerce", connector="toy", settings=REFERENCE, handling=True, by=ALICE)
    case = host.submit(deletion())
    host.approve(host.plan(case))
    host.inventory.set_handling("shop", False, by=ALICE)
    later = host.submit(deletion("bob@example.com"))
    assert {row.source for row in host.plan(later).sources} == {"crm"}
    assert {row.source for row in host.plan(later, sources=["shop"]).sources} == {"shop"}
    assert {row.source: row.status for row in host.run(case, wait=5).sources}["shop"] is Status.VERIFIED


def test_unusable_titles_and_names_are_refused(host: Host) -> None:
    """Nothing that breaks a line, a mail header or a name gets in."""
    right: dict[str, Any] = {"name": "shop", "title": "Shop", "category": "crm", "by": ALICE}
    for wrong in ({"name": "Upper"}, {"name": "../x"}, {"title": "a\nb"}, {"title": " "}, {"category": "toys"}, {"owner": "a\r\nBcc: b"}):
        with pytest.raises(RequestError):
            host.inventory.add(**right | wrong)
    assert names(host) == ["crm"]


def test_names_are_made_of_titles(host: Host) -> None:
    """And a second one of the same title gets a number; a title in another alphabet gets a name, too."""
    made = [host.inventory.add(None, title, category="custom", by=ALICE).name for title in ("Shop", "Shop", "商店", "CRM")]
    assert made == ["shop", "shop-2", "system", "crm-2"]


# --- settings ----------------------------------------------------------------------------------------------------------------------------


def test_secrets_are_references(host: Host) -> None:
    """A secret in the open is refused and stands nowhere afterwards: not in the table, the log, the error."""
    canary = "sk-live-canary-77"
    with pytest.raises(ConfigError, match="written in the open") as caught:
        host.inventory.add("shop", "Shop", category="crm", connector="toy", settings={"token": canary}, by=ALICE)
    assert canary not in str(caught.value)
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings=REFERENCE, by=ALICE)
    with pytest.raises(ConfigError, match="written in the open"):
        host.inventory.update("shop", settings={"token": canary}, by=ALICE)
    assert canary not in stored(host) + json.dumps(events(host))
    assert TOKEN not in stored(host) + json.dumps(events(host)) + repr(host.inventory.get("shop"))
    assert host.inventory.get("shop").settings == REFERENCE


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"token": "env:X", "pages": "many", "region": "eu"}, "sources.shop.pages"),
        ({"token": "env:X"}, "sources.shop.region: is missing"),
        ({"token": "env:X", "region": "eu", "colour": "red"}, "colour: is not a setting"),
        ({"token": "env:X", "region": "eu", "base_url": "https://evil.example"}, "may stand in dsr.toml only"),
        ({"token": "env:X", "region": "eu", "allow_private_hosts": True}, "may stand in dsr.toml only"),
        ({"token": "file:dsr.key", "region": "eu"}, "secret of the host itself"),
        ({"token": "file:./x/../dsr.key", "region": "eu"}, "secret of the host itself"),
        ({"token": "env:DSR_SMTP", "region": "eu"}, "secret of the host itself"),
        ({"token": "file:/etc/shadow", "region": "eu"}, "a file elsewhere"),
        ({"token": "file:../other/key", "region": "eu"}, "a file elsewhere"),
        ({"token": "file:~/.ssh/id_rsa", "region": "eu"}, "a file elsewhere"),
    ],
)
def test_settings_are_judged(sqlite_world: World, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], said: str) -> None:
    """By the connector; and where the host's secrets go, and which of them, is not decided in the inventory."""
    monkeypatch.setenv("DSR_SMTP", "x")
    mail = '[mail]\nhost = "127.0.0.1"\nusername = "u"\npassword = "env:DSR_SMTP"\ndomain = "r.example.com"\nagent = "a@example.com"'
    host = prepared(sqlite_world, monkeypatch, mail=mail)
    with pytest.raises(ConfigError, match=re.escape(said)):
        host.inventory.add("shop", "Shop", category="crm", connector="needy", settings=settings, by=ALICE)
    assert names(host) == ["crm"]


@pytest.mark.parametrize("reference", ["file:keys/shop", "file:shop.key", "file:/run/secrets/shop", "keyring:dsr/shop", "env:SHOP"])
def test_references_of_its_own_are_taken(sqlite_world: World, monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    """Although the secret is not there yet: the source stands aside with its error, and the rest works."""
    host = prepared(sqlite_world, monkeypatch)
    made = host.inventory.add("shop", "Shop", category="crm", connector="toy", settings={"token": reference}, handling=True, by=ALICE)
    assert made.broken is not None
    assert "token" in made.broken
    assert set(host.broken) == {"shop"}
    plan = host.plan(host.submit(deletion()))
    assert {row.source for row in plan.sources} == {"crm", "shop"}


def test_a_secret_that_comes_later_is_found_by_the_check(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check looks again, and from then on the source works."""
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings={"token": "env:LATER"}, handling=True, by=ALICE)
    with pytest.raises(ConfigError, match="LATER is not set"):
        host.inventory.check("shop", by=ALICE)
    assert "LATER is not set" in (host.inventory.get("shop").checked or "")
    monkeypatch.setenv("LATER", TOKEN)
    assert host.inventory.check("shop", by=ALICE) == "200"
    assert host.broken == {}
    assert host.inventory.get("shop").checked == "200"


def test_the_check_is_remembered(host: Host, world: World) -> None:
    """When, and what it said; of a data source of the file, too. What fails is kept and raised."""
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings=REFERENCE, by=ALICE)
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        assert host.inventory.check("shop", by=ALICE) == "200"
        assert host.inventory.check("crm", by=ALICE) == "200"
    shop, crm = host.inventory.get("shop"), host.inventory.get("crm")
    assert shop.checked_at is not None
    assert shop.checked_at.isoformat() == "2026-03-01T12:00:00+00:00"
    assert (crm.checked_at, crm.checked, crm.configured_in) == (shop.checked_at, "200", "dsr.toml")
    assert names(host) == ["shop", "crm"]
    vendor = world.vendors["shop"]
    assert isinstance(vendor, ToyVendor)
    vendor.token = "another"
    with pytest.raises(AuthError):
        host.inventory.check("shop", by=BOB)
    assert "401" in (host.inventory.get("shop").checked or "")
    assert events(host)[-1] == ("inventory.checked", BOB, {"system": "shop", "ok": False, "error": "AuthError"})
    host.inventory.add("list", "List", category="crm", by=ALICE)
    with pytest.raises(ConfigError, match="nothing is set up yet"):
        host.inventory.check("list", by=ALICE)


# --- e-mail integrations -------------------------------------------------------------------------------------------------------------------


def test_letters_are_off_until_there_is_an_address_and_somebody_activates(host: Host) -> None:
    """A known vendor comes switched off; without an address it cannot be activated, and unactivated it takes part in no request."""
    made = host.inventory.add_offer("klaviyo", by=ALICE)
    assert (made.title, made.process, made.active, made.privacy_address, made.handling) == ("Klaviyo", "email", False, None, False)
    assert (made.vendor, made.origin, made.category) == ("klaviyo", "catalogue", "marketing")
    with pytest.raises(ConfigError, match="without privacy_address"):
        host.inventory.activate("klaviyo", by=ALICE)
    with pytest.raises(ConfigError, match="switched off"):
        host.inventory.set_handling("klaviyo", True, by=ALICE)
    with pytest.raises(RequestError, match="switched on by itself"):
        host.inventory.update("klaviyo", settings={"privacy_address": "p@klaviyo.example", "active": True}, by=ALICE)
    with pytest.raises(ConfigError, match="privacy_address"):
        host.inventory.update("klaviyo", settings={"privacy_address": "p@klaviyo.example, evil@example.org"}, by=ALICE)
    host.inventory.update("klaviyo", settings={"privacy_address": "p@klaviyo.example"}, by=ALICE)
    host.inventory.activate("klaviyo", by=ALICE)
    assert host.inventory.set_handling("klaviyo", True, by=ALICE).handling
    assert "klaviyo" in host.usable_sources()


def test_another_address_is_activated_anew(host: Host) -> None:
    """Whoever switched it on meant the address that stood there; switched off it leaves request handling."""
    host.inventory.add_offer("klaviyo", settings={"privacy_address": "p@klaviyo.example"}, by=ALICE)
    host.inventory.activate("klaviyo", by=ALICE)
    host.inventory.set_handling("klaviyo", True, by=ALICE)
    kept = host.inventory.update("klaviyo", settings={"privacy_address": "p@klaviyo.example", "cc_support": False}, by=ALICE)
    assert (kept.active, kept.handling) == (True, True)
    moved = host.inventory.update("klaviyo", settings={"privacy_address": "q@klaviyo.example"}, by=BOB)
    assert (moved.active, moved.handling) == (False, False)
    host.inventory.activate("klaviyo", by=ALICE)
    host.inventory.set_handling("klaviyo", True, by=ALICE)
    off = host.inventory.activate("klaviyo", False, by=ALICE)
    assert (off.active, off.handling) == (False, False)
    with pytest.raises(RequestError, match="no e-mail integration"):
        host.inventory.activate(host.inventory.add("list", "List", category="crm", by=ALICE).name, by=ALICE)


def test_an_address_that_was_read_comes_along(host: Host) -> None:
    """Switched off all the same."""
    made = host.inventory.add_offer("salesforce", name="sf", by=ALICE)
    assert (made.name, made.privacy_address, made.active) == ("sf", vendors()["salesforce"].privacy_address, False)
    with pytest.raises(RequestError, match="offers no such"):
        host.inventory.add_offer("nobody", by=ALICE)


def test_an_installed_connector_may_be_listed_before_its_settings_are_known(host: Host) -> None:
    """From the catalogue into the list; with settings it is connected at once."""
    made = host.inventory.add_offer("needy", by=ALICE)
    assert (made.connector, made.process, made.category, made.vendor) == (None, "", "support", "needy")
    set_up = host.inventory.update("needy", connector="needy", settings={"token": "env:TOY_TOKEN", "region": "eu"}, by=ALICE)
    assert (set_up.process, set_up.broken) == ("automated", None)


def test_what_is_not_given_stays(host: Host) -> None:
    """Settings stay when only the title changes, or the connector is named once more; owner and note are taken away by an empty text."""
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings=REFERENCE, owner="Carol", note="x", by=ALICE)
    changed = host.inventory.update("shop", title="Store", category="commerce", connector="toy", owner="", by=BOB)
    assert (changed.title, changed.category, changed.owner, changed.note, dict(changed.settings)) == ("Store", "commerce", None, "x", REFERENCE)
    assert events(host)[-1][2] == {"system": "shop", "changed": ["category", "owner", "title"], "connector": "toy", "settings": ["token"]}
    by_hand = host.inventory.update("shop", connector="manual", by=BOB)
    assert (by_hand.process, by_hand.settings["owner"]) == ("manual", BOB)


# --- several at once ---------------------------------------------------------------------------------------------------------------------


def test_another_process_follows(host: Host, world: World) -> None:
    """What one host decides, another over the same ledger sees when it plans: added, changed, taken out."""
    other = world.open()
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings=REFERENCE, handling=True, by=ALICE)
    assert "shop" not in other.usable_sources()
    case = other.submit(deletion())
    assert {row.source for row in other.plan(case).sources} == {"crm", "shop"}
    assert other.refresh_sources() is False
    before = other.registry.sources["shop"]
    host.inventory.update("shop", settings={"token": "env:NOWHERE"}, by=ALICE)
    assert other.refresh_sources() is True
    assert set(other.broken) == {"shop"}
    host.inventory.update("shop", settings=REFERENCE, by=ALICE)
    other.refresh_sources()
    assert other.broken == {}
    assert other.registry.sources["shop"] is not before
    assert other.check("shop") == "200"
    other.registry.load("toy")
    crm = other.registry.sources["crm"]
    host.inventory.add("list", "List", category="crm", by=ALICE)
    other.refresh_sources()
    assert other.registry.sources["crm"] is crm, "what did not change is left alone"


def test_the_file_wins_by_name(host: Host, world: World) -> None:
    """A data source that comes into the file under a name of the inventory is the file's from then on."""
    host.inventory.add("shop", "From the inventory", category="crm", connector="toy", settings={"token": "env:NOWHERE"}, handling=True, by=ALICE)
    host.close()
    world.add("shop", Toy, None, token="env:TOY_TOKEN")
    again = world.open()
    shop = again.inventory.get("shop")
    assert (shop.configured_in, shop.title, shop.broken) == ("dsr.toml", "Toy", None)
    assert names(again) == ["crm", "shop"]
    assert sorted(again.usable_sources()) == ["crm", "shop"]


def test_a_name_that_has_left_the_file_is_free(host: Host, world: World) -> None:
    """Although its check was remembered; the new one begins without it."""
    host.inventory.check("crm", by=ALICE)
    host.close()
    del world.sources["crm"]
    again = world.open()
    assert names(again) == []
    with pytest.raises(RequestError, match="no such system"):
        again.inventory.get("crm")
    assert again.inventory.add("crm", "Other", category="crm", by=ALICE).checked is None


def test_a_source_stays_when_the_host_is_opened_again(host: Host, world: World) -> None:
    """It stands in the ledger."""
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings=REFERENCE, handling=True, by=ALICE)
    host.close()
    assert world.open().check("shop") == "200"


def test_a_connector_that_is_gone_breaks_its_own_source_only(host: Host, world: World) -> None:
    """Uninstalled meanwhile: it stands in `broken` with the way out, the rest works, and it can be taken out."""
    host.inventory.add("shop", "Shop", category="crm", connector="needy", settings={**REFERENCE, "region": "eu"}, handling=True, by=ALICE)
    host.close()
    del world.classes["needy"]
    again = world.open()
    assert "not installed" in str(again.broken["shop"])
    shop = again.inventory.get("shop")
    assert (shop.process, shop.category, "not installed" in (shop.broken or "")) == ("", "crm", True)
    assert again.check("crm") == "200"
    again.inventory.remove("shop", by=ALICE)
    assert again.broken == {}


def test_of_two_who_change_at_once_one_is_told(host: Host) -> None:
    """By the revision they have seen."""
    seen = host.inventory.add("shop", "Shop", category="crm", by=ALICE).revision
    host.inventory.update("shop", title="Alice's", revision=seen, by=ALICE)
    with pytest.raises(ConflictError, match="someone else"):
        host.inventory.update("shop", title="Bob's", revision=seen, by=BOB)
    assert host.inventory.get("shop").title == "Alice's"


def test_many_threads_add_at_once(host: Host) -> None:
    """Each gets a name of its own, the registry has them all, and reading goes on meanwhile."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def look() -> None:
        while not stop.is_set():
            try:
                host.inventory.systems()
                host.usable_sources()
                host.registry.predecessors("crm")
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test tells of it
                errors.append(error)
                return

    looking = threading.Thread(target=look)
    looking.start()

    def add(_: int) -> str:
        return host.inventory.add(None, "Shop", category="crm", connector="toy", settings=REFERENCE, handling=True, by=ALICE).name

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(add, range(12)))
    stop.set()
    looking.join()
    assert errors == []
    assert sorted(made) == sorted(["shop", *(f"shop-{number}" for number in range(2, 13))])
    assert set(host.usable_sources()) == {"crm", *made}
    assert host.audit_verify().ok


def test_sources_come_and_go_while_others_work(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call to one vendor never reaches a connector that was added meanwhile."""
    host = prepared(sqlite_world, monkeypatch)
    crm = host.registry.caller("dsr_check", "crm")
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings=REFERENCE, handling=True, by=ALICE)
    vendor = sqlite_world.vendors["shop"]
    api = host._runner.http(host.registry.sources["crm"])
    assert api is not None
    assert crm(source="crm", api=api.api()) == "200"
    assert not vendor.calls
    host.inventory.remove("shop", by=ALICE)
    with pytest.raises(ConfigError, match="not configured any more"):
        host.registry.caller("dsr_check", "shop")


# --- removing ----------------------------------------------------------------------------------------------------------------------------


def test_a_source_with_open_work_stays(host: Host) -> None:
    """The sentence says how many requests; taken out of handling, what is under way is finished, and then it goes."""
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings=REFERENCE, handling=True, by=ALICE)
    case = host.submit(deletion())
    host.approve(host.plan(case))
    with pytest.raises(ConflictError, match="a request still has work there"):
        host.inventory.remove("shop", by=ALICE)
    with pytest.raises(ConflictError, match="work there"):
        host.inventory.update("shop", connector="manual", by=ALICE)
    host.inventory.set_handling("shop", False, by=ALICE)
    host.run(case, wait=5)
    host.inventory.remove("shop", by=ALICE)
    assert names(host) == ["crm"]
    assert "shop" not in host.registry.sources
    assert events(host)[-1] == ("inventory.removed", ALICE, {"system": "shop", "connector": "toy"})
    with pytest.raises(RequestError, match="no such system"):
        host.inventory.remove("shop", by=ALICE)


def test_a_source_that_a_request_has_chosen_stays(host: Host) -> None:
    """Also before anything was searched there: while the request is being processed, and nobody has decided to go on without it."""
    host.inventory.add("shop", "Shop", category="crm", connector="toy", settings=REFERENCE, handling=True, by=ALICE)
    numbers = [host.submit(deletion()) for _ in range(2)]
    with writing(host.ledger.engine) as connection:
        connection.execute(update(cases).values(stage="process"))
        rows = [{"case": number, "source": "shop", "added_at": datetime.now(UTC), "added_by": ALICE} for number in numbers]
        connection.execute(insert(case_sources), rows)
    with pytest.raises(ConflictError, match="2 requests still have work there"):
        host.inventory.remove("shop", by=ALICE)
    with writing(host.ledger.engine) as connection:
        connection.execute(update(case_sources).values(overridden_at=datetime.now(UTC)))
    host.inventory.remove("shop", by=ALICE)


# --- a technical colleague -------------------------------------------------------------------------------------------------------------------


def asked(world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> tuple[Host, str]:
    """A host that has asked a colleague to connect Needy; the token of the link in the mail."""
    host = prepared(world, monkeypatch, mail=inbox.toml)
    host.inventory.add_offer("needy", by=ALICE)
    host.inventory.ask_for_help("needy", "carol@example.com", note="The EU account, please.", by=ALICE)
    host.outbox.sweep()
    (letter,) = inbox.letters
    assert letter.rcpt_tos == ["carol@example.com"]
    text = letter.content.decode().replace("=\r\n", "")
    found = re.search(r"/p/help/([A-Za-z0-9_-]+)", text)
    assert found is not None
    assert "The EU account, please." in text
    return host, found.group(1)


def test_a_colleague_sees_what_is_needed(world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> None:
    """The connector's settings and how to enter them, the command, the lines of the file; nothing of any request. Looking uses nothing up."""
    host, token = asked(world, monkeypatch, inbox)
    page = [host.inventory.help(token) for _ in range(3)][-1]
    assert (page.title, page.connector, page.asked_by, page.note) == ("Needy", "needy", ALICE, "The EU account, please.")
    assert {setting.name: (setting.required, setting.secret) for setting in page.settings} == {
        "token": (True, True),
        "region": (True, False),
        "lists": (False, False),
        "pages": (False, False),
    }
    assert {setting.name for setting in page.file_settings} == {"base_url", "allow_private_hosts"}
    assert page.command == "dsr sources add needy --connector needy --set token=env:NEEDY_TOKEN --set region=..."
    assert page.snippet.splitlines()[:3] == ["[sources.needy]", 'connector = "needy"', 'token = "env:NEEDY_TOKEN"']


def test_a_colleague_proposes_and_an_account_takes(world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> None:
    """Once; and nothing is connected by the link alone."""
    host, token = asked(world, monkeypatch, inbox)
    host.inventory.answer_help(token, {"token": "env:TOY_TOKEN", "region": "eu", "lists": "a, b", "pages": ""})
    waiting = host.inventory.get("needy")
    assert (waiting.connector, waiting.offered) == (None, True)
    assert "needy" not in host.registry.sources
    offered = host.inventory.offered("needy")
    assert offered is not None
    assert (dict(offered.settings), offered.missing) == ({"token": "env:TOY_TOKEN", "region": "eu", "lists": ["a", "b"]}, ())
    with pytest.raises(LinkError):
        host.inventory.answer_help(token, {"token": "env:TOY_TOKEN", "region": "us"})
    taken = host.inventory.take_offered("needy", by=BOB)
    assert (taken.process, taken.offered, taken.handling, taken.broken) == ("automated", False, False, None)
    assert [event for event, _, _ in events(host)] == [
        "inventory.added",
        "inventory.help_asked",
        "inventory.help_answered",
        "inventory.help_taken",
    ]
    assert "carol" not in json.dumps(events(host))
    assert host.inventory.offered("needy") is None
    with pytest.raises(RequestError, match="nobody has proposed"):
        host.inventory.take_offered("needy", by=BOB)


@pytest.mark.parametrize(
    "settings",
    [
        {"token": "sk-live-canary", "region": "eu"},
        {"token": "env:TOY_TOKEN"},
        {"token": "env:TOY_TOKEN", "region": "eu", "base_url": "https://evil.example"},
        {"token": "env:TOY_TOKEN", "region": "e\nu"},
    ],
)
def test_a_colleague_cannot_give_a_secret_away(sqlite_world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox, settings: dict[str, str]) -> None:
    """Nor forget one, nor lead one elsewhere. The link holds for another try, and nothing was kept."""
    host, token = asked(sqlite_world, monkeypatch, inbox)
    with pytest.raises((ConfigError, RequestError)) as caught:
        host.inventory.answer_help(token, settings)
    assert "canary" not in str(caught.value)
    assert "canary" not in stored(host)
    assert not host.inventory.get("needy").offered
    assert host.links.look(token, Purpose.HELP).uses_left == 1


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("file:dsr.key", "a secret of the host itself"),
        ("file:../dsr.key", "refers to a file elsewhere"),
        ("env:PICKY", "is too short for a key"),
        ("env:NOT_THERE", ""),
        ("env:TOY_TOKEN", ""),
    ],
)
def test_a_link_tells_nothing_of_the_hosts_secrets(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox, reference: str, told: str
) -> None:
    """Whether a reference is the host's own secret, is there, or has the form that the connector wants: the holder of a link gets one answer for
    all of it, once. The account that would take it is told, and cannot take what must not be taken."""
    monkeypatch.setenv("PICKY", "short")

    class Config(Needy.Config):
        @field_validator("token")
        @classmethod
        def long(cls, value: SecretStr) -> SecretStr:
            if len(value.get_secret_value()) < 6:
                raise ValueError("is too short for a key")
            return value

        @model_validator(mode="after")
        def whole(self) -> Config:
            if self.token.get_secret_value() == "short":
                raise ValueError("is too short for a key")
            return self

    monkeypatch.setattr(Needy, "Config", Config)
    host, token = asked(sqlite_world, monkeypatch, inbox)
    host.inventory.answer_help(token, {"token": reference, "region": "eu"})
    with pytest.raises(LinkError):
        host.inventory.answer_help(token, {"token": "env:TOY_TOKEN", "region": "eu"})
    assert host.inventory.get("needy").offered
    if not told:
        assert host.inventory.offered("needy") is not None
        return
    for look in (lambda: host.inventory.offered("needy"), lambda: host.inventory.take_offered("needy", by=ALICE)):
        with pytest.raises(ConfigError, match=told):
            look()
    assert host.inventory.get("needy").connector is None
    host.inventory.drop_offered("needy", by=ALICE)
    assert not host.inventory.get("needy").offered


def test_a_link_ends_with_what_it_was_about(sqlite_world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> None:
    """Somebody connected the system meanwhile, or took it out: the link shows nothing more."""
    host, token = asked(sqlite_world, monkeypatch, inbox)
    host.inventory.update("needy", title="Needy EU", by=BOB)
    for use in (lambda: host.inventory.help(token), lambda: host.inventory.answer_help(token, {"token": "env:TOY_TOKEN", "region": "eu"})):
        with pytest.raises(LinkError, match="cannot be used"):
            use()


def test_a_proposal_may_be_dropped(sqlite_world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> None:
    """Nothing is left of it."""
    host, token = asked(sqlite_world, monkeypatch, inbox)
    host.inventory.answer_help(token, {"token": "env:TOY_TOKEN", "region": "canary-eu"})
    host.inventory.drop_offered("needy", by=ALICE)
    assert host.inventory.offered("needy") is None
    assert "canary" not in stored(host)


def test_help_is_asked_only_where_there_is_some(sqlite_world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> None:
    """Without a connector there is nothing to connect; a wrong address and a host without mail are told; nothing is mailed."""
    host = prepared(sqlite_world, monkeypatch, mail=inbox.toml)
    host.inventory.add("list", "List", category="crm", by=ALICE)
    with pytest.raises(ConfigError, match="no connector with an API"):
        host.inventory.ask_for_help("list", "carol@example.com", by=ALICE)
    with pytest.raises(RequestError, match="email: is not one e-mail address"):
        host.inventory.ask_for_help("list", "carol@example.com\nBcc: x@example.com", by=ALICE)
    with pytest.raises(RequestError, match=r"stands in dsr\.toml"):
        host.inventory.ask_for_help("crm", "carol@example.com", by=ALICE)
    host.inventory.ask_for_help("list", "carol@example.com", connector="needy", by=ALICE)
    host.outbox.sweep()
    assert len(inbox.letters) == 1
    host.close()
    sqlite_world.mail = ""
    with pytest.raises(ConfigError, match="sends no mail"):
        sqlite_world.open().inventory.ask_for_help("list", "carol@example.com", connector="needy", by=ALICE)
