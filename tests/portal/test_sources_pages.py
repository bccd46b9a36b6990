"""Data sources in the portal: the two lists, the catalogue, a system's own page, and what a colleague or a discovery proposes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from dsr_connector_email import EmailIntegration
from dsr_connector_manual import Manual
from pydantic import SecretStr
from sqlalchemy import select

from dsr_sdk import Category, ConnectorConfig
from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import Purpose
from dsr_sdk.host.people.roles import Role
from dsr_sdk.ledger.database import reading
from dsr_sdk.ledger.desk import inventory as table
from dsr_sdk.testing import transport
from tests.portal.conftest import Client, address
from tests.portal.test_pages import findings
from tests.smtp import Inbox
from tests.toys import TOKEN, Toy, ToyVendor
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

ODD = '<script>alert("1")</script> & Söhne 🦉'
ADMIN = address(Role.ADMIN)


class Needy(Toy):
    """A vendor with settings of every kind."""

    slug, title, category = "needy", "Needy", Category.SUPPORT

    class Config(ConnectorConfig):
        token: SecretStr
        region: str
        archive: bool = True


@pytest.fixture
def host(portal_world: World, monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> Host:
    """A host with one data source in its file, one that cannot be used, a list of vendors, and connectors to add."""
    monkeypatch.setenv("TOY_TOKEN", TOKEN)
    monkeypatch.delenv("NOT_THERE", raising=False)
    portal_world.mail = inbox.toml
    portal_world.tables += '\n\n[discovery.csv]\npath = "vendors.csv"'
    portal_world.add("crm", Toy, None, token="env:TOY_TOKEN")
    portal_world.add("broken", Needy, None, token="env:NOT_THERE", region="eu")
    portal_world.classes |= {"manual": Manual, "email": EmailIntegration}
    vendor = portal_world.vendors["needy"] = ToyVendor(prefix="needy-")
    vendor.token = TOKEN
    portal_world.transports["needy"] = transport(vendor)
    (portal_world.directory / "vendors.csv").write_text(
        f'vendor,owner\nPayroll Ltd,carol@example.com\n"{ODD.replace(chr(34), chr(34) * 2)}",\nIdle,\n'
    )
    return portal_world.open()


@pytest.fixture
def shop(host: Host) -> Host:
    """The host with systems of every kind."""
    inv = host.inventory
    inv.add("needy", "Help desk", category="support", connector="needy", settings={"token": "env:TOY_TOKEN", "region": "eu"}, handling=True, by=ADMIN)
    inv.add("letters", "Letters Ltd", category="marketing", connector="email", settings={"privacy_address": "privacy@letters.example"}, by=ADMIN)
    inv.add("odd", ODD, category="custom", handling=True, owner="carol@example.com", by=ADMIN)
    inv.add("idle", "Idle", category="crm", vendor="needy", by=ADMIN)
    return host


def seen(client: Client, url: str) -> str:
    """A page's text, with blanks made one."""
    response = client.visit(url)
    assert response.status_code == 200, response.text
    return " ".join(response.text.split())


def revision(host: Host, name: str) -> int:
    return host.inventory.get(name).revision


# --- the lists ---------------------------------------------------------------------------------------------------------------------------


def test_two_lists_with_the_process_of_each(admin: Client, shop: Host) -> None:
    """All data sources, and those used in request handling, with API, Email or Manual beside each, and an arrow to its own page."""
    everything = seen(admin, "/sources")
    assert 'All data sources <span class="count">6</span>' in everything
    assert 'Used in request handling <span class="count">4</span>' in everything
    for name, kind in (("needy", "API"), ("letters", "Email"), ("odd", "Manual"), ("idle", "Not set up")):
        row = everything[everything.index(f'href="/sources/{name}"') :]
        row = row[: row.index("</tr>")]
        assert kind in row, name
        assert f'<td class="go"><a href="/sources/{name}"' in row
    used = seen(admin, "/sources?view=handling")
    assert 'href="/sources/needy"' in used
    assert 'href="/sources/letters"' not in used
    assert '<caption class="unseen">Data sources used in request handling, by name</caption>' in used


def test_a_category_and_words_narrow_the_list(admin: Client, shop: Host) -> None:
    """The filter stands in the address, what is searched for does not: an owner is a person."""
    text = seen(admin, "/sources?category=support")
    assert ('href="/sources/needy"' in text, 'href="/sources/odd"' in text) == (True, False)
    found = admin.form("/sources/search", text="carol@example.com", category="custom")
    assert ('href="/sources/odd"' in found.text, 'href="/sources/needy"' in found.text) == (True, False)
    assert admin.form("/sources/search", text="", category="custom", view="handling").headers["location"] == "/sources?view=handling&category=custom"
    assert "No data source fits" in admin.form("/sources/search", text="no such thing").text
    assert admin.get("/sources/search").headers["location"] == "/sources"
    assert admin.get("/sources?category=nonsense&view=nonsense&page=x").status_code == 200


def test_a_script_gets_the_list_alone(admin: Client, shop: Host) -> None:
    """While somebody types, only the list is exchanged."""
    admin.visit("/sources")
    answer = admin.post("/sources/search", data={"csrf": admin.csrf, "text": "help"}, headers={"origin": "http://testserver", "hx-request": "true"})
    assert answer.text.lstrip().startswith('<div id="systems">')
    assert 'href="/sources/needy"' in answer.text
    cleared = admin.post("/sources/search", data={"csrf": admin.csrf, "text": ""}, headers={"origin": "http://testserver", "hx-request": "true"})
    assert cleared.status_code == 200
    assert 'href="/sources/odd"' in cleared.text


def test_what_cannot_be_used_says_why(admin: Client, shop: Host) -> None:
    """A source with a missing secret stands in the list with its error, and on its page with what mends it."""
    assert "NOT_THERE is not set" in seen(admin, "/sources")
    page = seen(admin, "/sources/broken")
    assert "It cannot be used" in page
    assert "<code>sources.broken.token</code>: the environment variable NOT_THERE is not set" in page
    assert "Set it, or correct the name" in page
    assert "It stands in dsr.toml" in page


def test_odd_names_stay_names(admin: Client, portal_world: World, host: Host) -> None:
    """Markup in a title is shown and does nothing; names that are other pages' addresses have a page, too."""
    for title in (ODD, "Add", "Proposals", "Search"):
        host.inventory.add(None, title, category="custom", by=ADMIN)
    text = seen(admin, "/sources")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; Söhne 🦉" in text
    assert "&lt;script&gt;" in seen(admin, "/sources/script-alert-1-script-sohne")
    for name in ("add", "proposals", "search"):
        assert f'href="/sources/{name}/page"' in text
        assert f'<span class="mono quiet-text">{name}</span>' in seen(admin, f"/sources/{name}/page")
    assert admin.get("/sources/no%20such%20%3Cb%3E").status_code == 404


def test_names_of_the_file_with_odd_characters(portal_world: World, signed_in_to: Callable[[Host], Client]) -> None:
    """A name in dsr.toml may hold anything: the link to its page works."""
    portal_world.classes["manual"] = Manual
    portal_world.sources["odd"] = '[sources."a/b <i>? #"]\nconnector = "manual"\ninstructions = "Look."\nowner = "Bob"'
    client = signed_in_to(portal_world.open())
    link = re.search(r'class="system-name" href="([^"]+)"', client.get("/sources").text)
    assert link is not None
    assert link[1] == "/sources/a%2Fb%20%3Ci%3E%3F%20%23"
    assert "a/b &lt;i&gt;? #" in seen(client, link[1])


@pytest.fixture
def signed_in_to() -> Callable[[Host], Client]:
    """An administrator at a host that a test has opened itself."""
    from dsr_sdk.portal import create_app

    def make(host: Host) -> Client:
        client = Client(create_app(host, engine=False), follow_redirects=False)
        client.cookies.set("dsr_session", host.accounts.sign_in(ADMIN, "a sentence that opens doors", client="tests"))
        return client

    return make


def test_five_hundred_systems(admin: Client, host: Host) -> None:
    """Fifty a page, in order, each once; a page comes in no time."""
    with host.inventory.changing() as (connection, book):
        for n in range(500):
            host.inventory.place(
                connection,
                book,
                ADMIN,
                name=f"s{n:03d}",
                title=f"System {n:03d}",
                category="custom",
                origin="agent",
                state="accepted",
                handling=n % 2 == 0,
            )
    url, names = "/sources", []
    while url:
        text = admin.get(url).text
        names += re.findall(r'class="system-name" href="/sources/([^"]+)"', text)
        found = re.search(r'rel="next" href="([^"]+)"', text)
        url = found[1].replace("&amp;", "&") if found else ""
    assert len(names) == len(set(names)) == 502
    assert names.index("s001") + 1 == names.index("s002")
    assert "51–100 of 502" in admin.get("/sources?page=2").text
    assert admin.get("/sources?page=99999").status_code == 200


# --- adding ------------------------------------------------------------------------------------------------------------------------------


def test_the_catalogue_is_searched(admin: Client, shop: Host) -> None:
    """Installed connectors and known vendors, by words and by category; what it lacks can be created."""
    text = seen(admin, "/sources/add")
    assert "Needy" in text
    assert "Freshdesk" in text
    assert "In your inventory" in text
    found = seen(admin, "/sources/add?text=fresh&category=support")
    assert ("Freshdesk" in found, "Klaviyo" in found) == (True, False)
    assert "/sources/add?custom=1&amp;title=No%20such" in seen(admin, "/sources/add?text=No+such")
    assert 'value="No such"' in seen(admin, "/sources/add?custom=1&title=No+such")


def test_an_offer_is_connected_through_its_api(admin: Client, host: Host) -> None:
    """The form asks for what the connector needs, secrets as references."""
    form = seen(admin, "/sources/add?offer=needy")
    assert 'name="set_token"' in form
    assert "set_base_url" not in form
    assert '<option value="True"' in form
    done = admin.form(
        "/sources/add", offer="needy", title="Help desk", reach="api", handling="1", set_token="env:TOY_TOKEN", set_region="eu", set_archive="False"
    )
    assert done.headers["location"] == "/sources/help-desk"
    system = host.inventory.get("help-desk")
    assert (system.connector, system.handling, system.vendor) == ("needy", True, "needy")
    assert dict(system.settings) == {"token": "env:TOY_TOKEN", "region": "eu", "archive": "False"}
    assert "help-desk" in host.usable_sources()


def test_a_secret_in_the_open_is_refused_and_stored_nowhere(admin: Client, host: Host) -> None:
    """The error stands beside the field, what else was typed stays, and the secret is not sent back."""
    admin.visit("/sources/add?offer=needy")
    answer = admin.form("/sources/add", offer="needy", title="Help desk", reach="api", set_token="sk_live_canary", set_region="eu", owner="Carol")
    assert answer.status_code == 409
    assert "is written in the open" in answer.text
    assert 'value="Carol"' in answer.text
    assert "sk_live_canary" not in answer.text
    with reading(host.ledger.engine) as connection:
        assert connection.execute(select(table)).all() == []


def test_an_offer_is_added_for_later(admin: Client, host: Host) -> None:
    """Added now, handled by hand, and a colleague may be asked to connect it."""
    admin.visit("/sources/add?offer=needy")
    admin.form("/sources/add", offer="needy", title="Needy", reach="later", handling="1", owner="Carol")
    system = host.inventory.get("needy")
    assert (system.process, system.handling, system.vendor, system.owner) == ("manual", True, "needy", "Carol")
    assert "Ask a technical colleague" in seen(admin, "/sources/needy")


def test_a_vendor_is_added_as_an_e_mail_integration(admin: Client, host: Host) -> None:
    """It is off, and used in no request, whatever the form says."""
    admin.visit("/sources/add?offer=freshdesk")
    done = admin.form("/sources/add", offer="freshdesk", title="Freshdesk", reach="email", handling="1", privacy_address="privacy@freshdesk.example")
    assert done.headers["location"] == "/sources/freshdesk"
    system = host.inventory.get("freshdesk")
    assert (system.process, system.active, system.handling, system.privacy_address) == ("email", False, False, "privacy@freshdesk.example")
    assert host.inventory.get("freshdesk").origin == "catalogue"


@pytest.mark.parametrize(
    ("fields", "process", "handling"),
    [
        ({"reach": "hand", "handling": "1"}, "manual", True),
        ({"reach": "hand", "instructions": "Open the drawer."}, "manual", False),
        ({"reach": "email", "privacy_address": "p@supplier.example"}, "email", False),
        ({"reach": "later"}, "", False),
    ],
)
def test_a_custom_system_is_created(admin: Client, host: Host, fields: dict[str, str], process: str, handling: bool) -> None:
    """By hand, by e-mail, or only listed."""
    admin.visit("/sources/add?custom=1")
    assert admin.form("/sources/add", title="Filing cabinet", category="custom", **fields).headers["location"] == "/sources/filing-cabinet"
    system = host.inventory.get("filing-cabinet")
    assert (system.process, system.handling) == (process, handling)


def test_a_wrong_form_keeps_what_was_typed(admin: Client, host: Host) -> None:
    """No title, no category of ours, no way to reach it: said beside the field."""
    admin.visit("/sources/add?custom=1")
    for fields, wrong in (
        ({"title": "", "reach": "hand", "category": "custom"}, "title"),
        ({"title": "X", "category": "custom"}, "reach"),
        ({"title": "X", "reach": "hand", "category": "nonsense"}, "category"),
        ({"title": "X", "reach": "email", "category": "custom", "privacy_address": "nobody"}, "privacy_address"),
    ):
        answer = admin.form("/sources/add", note="Third floor", **fields)
        assert answer.status_code in (400, 409), wrong
        assert "Third floor" in answer.text, wrong
        assert "note bad" in answer.text
    assert host.inventory.systems(handling=False) == []
    assert admin.get("/sources/add?offer=nonsense").status_code == 400


# --- one of them -------------------------------------------------------------------------------------------------------------------------


def test_a_page_tells_what_is_known(admin: Client, shop: Host) -> None:
    """Integration type, owner, what it holds and what becomes of it, settings as references."""
    text = seen(admin, "/sources/needy")
    assert '<dt>Integration type</dt><dd><span class="process">' in text
    assert "</svg> API</span>" in text
    assert "<code>env:TOY_TOKEN</code>" in text
    assert TOKEN not in text
    held = shop.inventory.get("needy").holds
    assert held
    assert {"erased": "Erased", "retained": "Retained"}[held[0].on_erase] in text
    assert "carol@example.com" in seen(admin, "/sources/odd")


def test_a_connection_is_checked(admin: Client, shop: Host, portal_world: World) -> None:
    """What the last check said, and when, stays on the page, also when it failed."""
    admin.visit("/sources/needy")
    assert admin.form("/sources/needy/check").headers["location"] == "/sources/needy"
    assert "The connection works." in seen(admin, "/sources/needy")
    vendor = portal_world.vendors["needy"]
    assert isinstance(vendor, ToyVendor)
    vendor.token = "another"
    answer = admin.form("/sources/needy/check")
    assert answer.status_code == 502
    assert "401" in answer.text
    assert shop.inventory.get("needy").check_ok is False
    assert "check-said bad" in seen(admin, "/sources/needy")
    assert admin.form("/sources/crm/check").headers["location"] == "/sources/crm"
    assert admin.form("/sources/broken/check").status_code == 409
    assert admin.form("/sources/nothing/check").status_code == 404


def test_used_in_request_handling_or_not(admin: Client, shop: Host) -> None:
    """From the next request on, and with what the page has shown: who was too slow is told."""
    admin.visit("/sources/idle")
    admin.form("/sources/idle/handling", use="1", revision=0)
    assert shop.inventory.get("idle").process == "manual"
    assert "idle" in shop.usable_sources()
    late = admin.form("/sources/idle/handling", use="0", revision=0)
    assert late.status_code == 409
    assert "someone else has changed it" in late.text.lower()
    admin.form("/sources/idle/handling", use="0", revision=revision(shop, "idle"))
    assert "idle" not in shop.usable_sources()
    assert admin.form("/sources/crm/handling", use="0", revision=0).status_code == 400


def test_an_e_mail_integration_is_off_until_activated(admin: Client, shop: Host) -> None:
    """Activated it may be ticked in requests; without a privacy address it cannot be; switched off it leaves request handling."""
    assert "Activate the e-mail integration" in seen(admin, "/sources/letters")
    assert (
        "use in request handling"
        not in seen(admin, "/sources/letters").split("Activate the e-mail")[0].lower().split("page-actions")[1].split("</div>")[0]
    )
    admin.form("/sources/letters/active", active="1", use="1", revision=revision(shop, "letters"))
    system = shop.inventory.get("letters")
    assert (system.active, system.handling) == (True, True)
    assert "Deactivate" in seen(admin, "/sources/letters")
    admin.form("/sources/letters/active", active="0", revision=revision(shop, "letters"))
    assert (shop.inventory.get("letters").active, shop.inventory.get("letters").handling) == (False, False)
    shop.inventory.add("nowhere", "Nowhere", category="custom", connector="email", by=ADMIN)
    assert "A privacy address is missing" in seen(admin, "/sources/nowhere")
    refused = admin.form("/sources/nowhere/active", active="1", revision=0)
    assert refused.status_code == 409
    assert "privacy_address" in refused.text
    assert shop.inventory.get("nowhere").active is False


def test_it_is_connected_another_way(admin: Client, shop: Host) -> None:
    """Choosing shows what that needs; what the connector refuses stays in the form."""
    assert 'name="set_token"' in seen(admin, "/sources/idle/connect")
    assert 'name="set_privacy_address"' in seen(admin, "/sources/idle/connect?by=email")
    assert 'name="set_active"' not in seen(admin, "/sources/idle/connect?by=email")
    assert 'name="set_instructions"' in seen(admin, "/sources/idle/connect?by=manual")
    wrong = admin.form("/sources/idle/connect", connector="needy", set_token="env:TOY_TOKEN", set_archive="False", revision=0)
    assert wrong.status_code == 409
    assert "is missing" in wrong.text
    assert 'value="env:TOY_TOKEN"' in wrong.text
    assert '<option value="False" selected>No</option>' in wrong.text
    done = admin.form("/sources/idle/connect", connector="needy", set_token="env:TOY_TOKEN", set_region="eu", revision=0)
    assert done.headers["location"] == "/sources/idle"
    assert shop.inventory.get("idle").process == "automated"
    refused = admin.form("/sources/idle/connect", connector="needy", set_token="env:TOY_TOKEN", set_base_url="https://evil.example", revision=1)
    assert "May stand in dsr.toml only" in refused.text


def test_about_is_edited_and_a_system_removed(admin: Client, shop: Host) -> None:
    """Title, category, owner and note; what stands in the file stays there."""
    admin.visit("/sources/idle")
    admin.form("/sources/idle/edit", title="Idle & Sons", category="staff", owner="Bob", note="Ground floor", revision=0)
    system = shop.inventory.get("idle")
    assert (system.title, system.category, system.owner, system.note) == ("Idle & Sons", "staff", "Bob", "Ground floor")
    wrong = admin.form("/sources/idle/edit", title="", category="staff", note="Kept text", revision=1)
    assert wrong.status_code == 400
    assert "Kept text" in wrong.text
    assert admin.form("/sources/crm/remove", revision=0).status_code == 400
    assert admin.form("/sources/idle/remove", revision=1).headers["location"] == "/sources"
    assert admin.get("/sources/idle").status_code == 404


def test_a_colleague_is_asked_and_what_they_propose_is_taken(admin: Client, shop: Host, inbox: Inbox) -> None:
    """The link goes out by mail; the settings wait on the page, and connect nothing before somebody takes them."""
    made: list[str] = []
    make = shop.links.make

    def spy(*args: Any, **more: Any) -> str:
        made.append(make(*args, **more))
        return made[-1]

    shop.links.make = spy  # type: ignore[method-assign]  # the token stands in the mail alone
    admin.visit("/sources/idle")
    for answer in ("drop", "take"):
        done = admin.form("/sources/idle/ask", email="dave@example.com", note="Please.", connector="needy")
        assert done.headers["location"] == "/sources/idle"
        assert "dave" not in done.headers["set-cookie"]
        shop.outbox.sweep()
        assert shop.links.look(made[-1], Purpose.HELP).data["system"] == "idle"
        assert made[-1] in inbox.texts[-1]
        shop.inventory.answer_help(made[-1], {"token": "env:NOT_THERE", "region": "<b>eu</b>"})
        assert "Settings proposed" in seen(admin, "/sources")
        page = seen(admin, "/sources/idle")
        assert "A colleague has proposed settings" in page
        assert "&lt;b&gt;eu&lt;/b&gt;" in page
        assert "NOT_THERE is not set" in page
        assert shop.inventory.get("idle").connector is None
        late = admin.form("/sources/idle/offered", answer=answer, revision=0)
        assert late.status_code == 409
        admin.form("/sources/idle/offered", answer=answer, revision=revision(shop, "idle"))
        assert shop.inventory.get("idle").offered is False
    assert shop.inventory.get("idle").connector == "needy"
    assert admin.form("/sources/idle/offered", answer="maybe", revision=9).status_code == 400


def test_a_wrong_address_of_a_colleague_keeps_the_words(admin: Client, shop: Host) -> None:
    """The form stays open, with what was typed."""
    admin.visit("/sources/idle")
    answer = admin.form("/sources/idle/ask", email="dave", note="Words to Dave", connector="needy")
    assert answer.status_code == 400
    assert "Words to Dave" in answer.text
    assert '<details class="fold" open><summary>Ask somebody</summary>' in answer.text


# --- discovery ---------------------------------------------------------------------------------------------------------------------------


def test_proposals_are_decided_about(admin: Client, host: Host) -> None:
    """Found, accepted, accepted and used, dismissed; what was dismissed can still be accepted."""
    admin.visit("/sources/proposals")
    assert "3%20new" not in admin.form("/sources/discover").headers["location"]
    text = seen(admin, "/sources/proposals")
    assert "3 new systems are proposed" in text
    assert "&lt;script&gt;" in text
    assert "3 systems found by discovery" in seen(admin, "/sources")
    odd = next(system.name for system in host.inventory.systems(proposed=True) if system.title == ODD)
    admin.form("/sources/proposals", do="use:payroll-ltd")
    admin.form("/sources/proposals", do="accept:idle")
    admin.form("/sources/proposals", do="dismiss", names=[odd])
    assert "payroll-ltd" in host.usable_sources()
    assert host.inventory.get("idle").handling is False
    assert "1 dismissed system" in seen(admin, "/sources/proposals")
    assert admin.form("/sources/proposals", do="dismiss:payroll-ltd").status_code == 409
    assert admin.form("/sources/proposals", do="dismiss").status_code == 400
    assert admin.form("/sources/proposals", do="eat:idle").status_code == 400
    admin.form("/sources/proposals", do=f"accept:{odd}")
    assert host.inventory.get(odd).state == "accepted"
    assert admin.form("/sources/discover").status_code == 303
    assert "Nothing new was found" in seen(admin, "/sources/proposals")


def test_a_discovery_that_fails_says_why(admin: Client, host: Host, portal_world: World) -> None:
    """The page names it, and what the others found."""
    (portal_world.directory / "vendors.csv").unlink()
    admin.visit("/sources/proposals")
    answer = admin.form("/sources/discover")
    assert answer.status_code == 200
    assert "The discovery csv could not answer" in answer.text


def test_without_discovery_the_page_says_how(portal_world: World, signed_in_to: Callable[[Host], Client]) -> None:
    """Nobody is asked where nobody was set up."""
    client = signed_in_to(portal_world.open())
    client.visit("/sources/proposals")
    assert "No discovery is set up" in client.form("/sources/discover").text
    assert "No data sources yet" in client.get("/sources").text


# --- who, and how it looks ---------------------------------------------------------------------------------------------------------------


def test_those_who_only_look_see_no_buttons(signed_in_as: Callable[[Role], Client], shop: Host) -> None:
    """An agent sees the inventory; only those who decide about it see forms."""
    shop.inventory.discover(by=ADMIN)
    client = signed_in_as(Role.AGENT)
    for url in ("/sources", "/sources/needy", "/sources/letters", "/sources/proposals"):
        main = client.get(url).text.split("<main")[1]
        actions = set(re.findall(r'<form[^>]* action="([^"]+)"', main))
        assert actions <= {"/sources/search", "/sources/proposals"}, url
        assert "/sources/add" not in main
        assert 'name="do"' not in main
    assert client.form("/sources/needy/check").status_code == 403


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 380)])
def test_nothing_keeps_anybody_out(browse: Callable[..., Page], shop: Host, scheme: str, width: int) -> None:
    """axe finds nothing serious on the pages of data sources, and none is wider than the screen."""
    shop.inventory.discover(by=ADMIN)
    page = browse(Role.ADMIN, color_scheme=scheme, viewport={"width": width, "height": 800})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    found: dict[str, list[str]] = {}
    for url in (
        "/sources",
        "/sources/add",
        "/sources/add?offer=needy",
        "/sources/add?custom=1",
        "/sources/proposals",
        "/sources/needy",
        "/sources/letters",
        "/sources/broken",
        "/sources/needy/connect",
    ):
        page.goto(url)
        page.evaluate("for (const fold of document.querySelectorAll('main details')) fold.open = true")
        found[url] = findings(page)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found[url].append("wider than the screen")
    assert {url: rows for url, rows in found.items() if rows} == {}
    assert complaints == []


def test_a_form_with_hidden_parts_can_be_sent(browse: Callable[..., Page], shop: Host) -> None:
    """A connector's settings that nobody sees hold nobody up; typing in the search exchanges the list."""
    page = browse(Role.ADMIN)
    page.goto("/sources/add?offer=needy")
    page.get_by_label("Later").check()
    assert not page.locator("#f-set_token").is_visible()
    page.get_by_role("button", name="Add data source").click()
    page.wait_for_url("**/sources/needy-2")
    page.goto("/sources")
    page.locator("#q-text").press_sequentially("letters")
    page.locator(".systems tbody tr").nth(1).wait_for(state="detached")
    assert page.locator(".systems tbody tr").count() == 1
    assert page.url.endswith("/sources")
    assert page.evaluate("document.activeElement.id") == "q-text"
