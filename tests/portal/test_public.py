"""The public form in the portal: languages, errors, floods, and what a visitor must not learn or do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from dsr_sdk.host import Host
from dsr_sdk.host.arrivals.form_words import LANGUAGES, form_words
from dsr_sdk.portal import create_app
from tests.portal.conftest import Client
from tests.portal.test_pages import findings
from tests.smtp import Inbox
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

GOOD = {"type": "deletion", "first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com", "country": "DE", "phone": ""}
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that the test moves."""
    with time_machine.travel(datetime(2026, 3, 2, 12, tzinfo=UTC), tick=False) as traveller:
        yield traveller


def fill_in(client: Client, clock: time_machine.Traveller, *, language: str = "en", **more: str) -> Any:
    """Open the form, take ten seconds, send it."""
    shown = client.visit(f"/privacy/{language}")
    [stamp] = re.findall(r'name="stamp" value="([^"]+)"', shown.text)
    clock.shift(timedelta(seconds=10))
    return client.form(f"/privacy/{language}", **{**GOOD, "stamp": stamp, **more})


def test_from_the_form_to_a_case(client: Client, host: Host, clock: time_machine.Traveller) -> None:
    """What is sent becomes a case; the next page tells its number, and so does loading it again, and sending it again."""
    answer = fill_in(client, clock)
    assert (answer.status_code, answer.headers["location"]) == (303, "/privacy/en/sent")
    [case] = host.cases()
    for _ in range(2):
        page = client.get("/privacy/en/sent")
        assert case.number in page.text
        assert form_words("en")("done.required") in page.text
    assert case.number not in answer.headers["location"]
    assert (case.channel, case.stage) == ("privacy_center", "review")


def test_without_a_cookie_nothing_is_told(client: Client) -> None:
    """The page after the form leads back to the form for everybody else, and for a forged cookie."""
    assert client.get("/privacy/en/sent").headers["location"] == "/privacy/en"
    client.cookies.set("dsr_sent", "W10.00")
    assert client.get("/privacy/en/sent").headers["location"] == "/privacy/en"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_page(client: Client, host: Host, clock: time_machine.Traveller, language: str) -> None:
    """The page says its language, its texts are in it, and it leads to the others."""
    page = client.visit(f"/privacy/{language}")
    assert f'<html lang="{language}">' in page.text
    assert all(f'href="/privacy/{other}" lang="{other}"' in page.text for other in LANGUAGES)
    text = form_words(language)
    assert text("form.submit") in page.text
    assert text("form.email_help").replace("’", "’") in page.text
    assert text("errors.missing") in fill_in(client, clock, language=language, first_name="").text
    assert text("done.heading") in client.get(fill_in(client, clock, language=language).headers["location"]).text
    assert [host.request(case.number).language for case in host.cases()] == [language]


def test_the_browser_chooses_the_language(client: Client) -> None:
    """/privacy leads to the form in the language that the browser asks for."""
    answer = client.get("/privacy", headers={"accept-language": "fr-CH,fr;q=0.9,en;q=0.8"})
    assert (answer.headers["location"], answer.headers["vary"]) == ("/privacy/fr", "Accept-Language")
    assert client.get("/privacy", headers={"accept-language": "ja"}).headers["location"] == "/privacy/en"
    assert client.get("/privacy/ja").status_code == 404


def test_what_is_wrong_is_told_and_what_was_typed_stays(client: Client, host: Host, clock: time_machine.Traveller) -> None:
    """The summary has the focus and leads to the fields; each field is tied to its error; nothing typed is lost, and no case is made."""
    answer = fill_in(client, clock, email="nobody", country="", custom="x", first_name=f'"{SCRIPT}')
    assert answer.status_code == 400
    assert 'id="errors" autofocus' in answer.text
    assert '<a href="#f-email">' in answer.text
    assert 'aria-describedby="f-email-help f-email-error" aria-invalid="true"' in answer.text
    assert 'value="nobody"' in answer.text
    assert SCRIPT not in answer.text
    assert "<title>Error: " in answer.text
    assert list(host.cases()) == []


def test_a_form_in_no_time_and_a_stale_one(client: Client, host: Host, clock: time_machine.Traveller) -> None:
    """Sent in no time, or hours later, it comes back with a sentence and all that was typed; sent once more, it is taken."""
    for wait, said in ((timedelta(0), "errors.fast"), (timedelta(hours=5), "errors.expired")):
        shown = client.visit("/privacy/en")
        [stamp] = re.findall(r'name="stamp" value="([^"]+)"', shown.text)
        clock.shift(wait)
        answer = client.form("/privacy/en", **GOOD, stamp=stamp)
        assert answer.status_code == 400
        assert form_words("en")(said) in answer.text
        clock.shift(timedelta(seconds=3))
        [stamp] = re.findall(r'name="stamp" value="([^"]+)"', answer.text)
        assert client.form("/privacy/en", **GOOD, stamp=stamp).status_code == 303


def test_the_trap_tells_a_human(client: Client, host: Host, clock: time_machine.Traveller) -> None:
    """A filled trap makes no case; it is then shown, so that a person whose browser filled it in can clear it."""
    shown = client.visit("/privacy/en").text
    assert 'class="field trap" aria-hidden="true"' in shown
    answer = fill_in(client, clock, website="https://spam.example")
    assert 'class="field trap wrong"' in answer.text
    assert form_words("en")("errors.trap") in answer.text
    assert list(host.cases()) == []


def test_a_flood_from_one_address(client: Client, host: Host, clock: time_machine.Traveller, inbox: Inbox) -> None:
    """The fourth request of an hour is refused with the time to wait; there are no cases and no mails beyond the third."""
    for _ in range(3):
        assert fill_in(client, clock).status_code == 303
    answer = fill_in(client, clock)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 3000
    assert "60 minutes" in answer.text
    assert len(list(host.cases())) == 3


def test_a_form_from_elsewhere(client: Client, host: Host, clock: time_machine.Traveller) -> None:
    """Without the token of our page, with somebody else's, or from another site, nothing is taken."""
    shown = client.visit("/privacy/en")
    [stamp] = re.findall(r'name="stamp" value="([^"]+)"', shown.text)
    clock.shift(timedelta(seconds=10))
    data = {**GOOD, "stamp": stamp}
    assert client.post("/privacy/en", data=data, headers={"origin": "http://testserver"}).status_code == 403
    assert client.post("/privacy/en", data={**data, "csrf": "x" * 64}, headers={"origin": "http://testserver"}).status_code == 403
    evil = {"origin": "https://evil.example"}
    assert client.post("/privacy/en", data={**data, "csrf": client.csrf}, headers=evil).status_code == 403
    assert list(host.cases()) == []


def test_known_and_unknown_people_get_the_same_page(client: Client, host: Host, clock: time_machine.Traveller) -> None:
    """Word for word, but for the case number: nobody can try out addresses here."""
    pages = []
    for email in ("ada@example.com", "ada@example.com", "stranger@example.com"):
        page = client.get(fill_in(client, clock, email=email).headers["location"]).text
        pages.append(re.sub(r"DSR(-\w{4}){4}", "NUMBER", page))
    assert pages[0] == pages[1] == pages[2]


def test_a_name_that_is_a_script(client: Client, agent: Client, host: Host, clock: time_machine.Traveller) -> None:
    """It is taken as the name it is, and escaped wherever it is shown."""
    assert fill_in(client, clock, first_name=SCRIPT, last_name='"><img src=x onerror=alert(1)>').status_code == 303
    [case] = host.cases()
    shown = agent.get(f"/requests/{case.number}")
    assert shown.status_code == 200
    assert SCRIPT not in shown.text
    assert "<img src=x" not in shown.text
    assert "&lt;script&gt;alert(1)" in shown.text


def test_without_a_privacy_center(portal_world: World) -> None:
    """Switched off, or without a workflow, there is no page."""
    for tables in ("[workflow]\n[privacy_center]\nenabled = false", ""):
        portal_world.tables = tables
        client = Client(create_app(portal_world.open(), engine=False), follow_redirects=False)
        for path in ("/privacy", "/privacy/en", "/privacy/en/sent"):
            assert client.get(path).status_code == 404


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_correction_asks_what_is_to_be_corrected(browse: Callable[..., Page], host: Host, scripts: bool) -> None:
    """The field stands there for that choice only, and so does its heading; what was typed is in the request."""
    page = browse(java_script_enabled=scripts)
    page.goto("/privacy/en")
    field, heading = page.get_by_label("What is wrong, and what should it be?"), page.get_by_role("heading", name="Further details")
    page.get_by_label("Delete my personal data").check()
    assert (field.is_visible(), heading.is_visible()) == (False, False)
    page.get_by_label("Correct my personal data").check()
    assert (field.is_visible(), heading.is_visible()) == (True, True)
    page.get_by_label("First name").fill("Ada")
    page.get_by_label("Last name").fill("Lovelace")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Country of residence").select_option("DE")
    page.wait_for_timeout(2100)
    page.get_by_role("button", name="Send request").click()
    assert page.get_by_role("alert").get_by_text("What is wrong, and what should it be?").is_visible()
    field.fill("My street")
    page.get_by_role("button", name="Send request").click()
    page.get_by_role("heading", name="We have received your request").wait_for()
    [case] = host.cases()
    assert host.request(case.number).custom_fields == {"correction": "My street"}


def test_too_large_a_form(client: Client) -> None:
    """More than a form can hold is refused before it is read."""
    assert client.form("/privacy/en", first_name="x" * (2 << 20)).status_code == 413


def test_custom_fields(portal_world: World, clock: time_machine.Traveller) -> None:
    """The controller's own fields of every kind, with their labels escaped, and the policy's address."""
    kinds = ("text", "long_text", "number", "yes_no", "phone", "country")
    own = "".join(f'[[privacy_center.fields]]\nname = "{kind}"\nlabel = {{en = "Own <{kind}>"}}\nkind = "{kind}"\n' for kind in kinds)
    portal_world.tables = '[workflow]\npublic_url = "http://testserver"\n[privacy_center]\npolicy_url = "https://example.com/privacy"\n' + own
    host = portal_world.open()
    client = Client(create_app(host, engine=False), follow_redirects=False)
    page = client.visit("/privacy/en").text
    assert 'href="https://example.com/privacy"' in page
    assert all(f"Own &lt;{kind}&gt;" in page for kind in kinds)
    given = {"text": "a", "long_text": "b\r\nc", "number": "1,5", "yes_no": "yes", "phone": "+49 171 3920012", "country": "FR"}
    assert fill_in(client, clock, **{f"custom_{name}": value for name, value in given.items()}).status_code == 303
    [case] = host.cases()
    assert host.request(case.number).custom_fields == {**given, "long_text": "b\nc", "number": 1.5, "yes_no": True}


@pytest.mark.parametrize("scripts", [True, False])
def test_in_a_browser(browse: Callable[..., Page], host: Host, scripts: bool) -> None:
    """On a phone, with and without JavaScript: errors get the focus, the scope shows with deletion only, nothing runs off the side."""
    host.intake.fastest = timedelta(0)
    page = browse(viewport={"width": 375, "height": 740}, java_script_enabled=scripts)
    page.goto("/privacy/de")
    page.get_by_role("button", name="Anfrage absenden").click()
    summary = page.locator("#errors")
    summary.wait_for()
    assert "Bitte prüfen Sie Ihre Eingaben" in summary.inner_text()
    page.get_by_label("Mir eine Kopie meiner personenbezogenen Daten senden").check()
    assert not page.get_by_text("Mein Konto und alles, was dazugehört").is_visible()
    page.get_by_label("Meine personenbezogenen Daten löschen").check()
    assert page.get_by_text("Mein Konto und alles, was dazugehört").is_visible()
    page.get_by_label("Vorname").fill("Ada")
    page.get_by_label("Nachname").fill("Lovelace")
    page.get_by_label("E-Mail-Adresse").fill("ada@example.com")
    page.get_by_label("Wohnsitzland").select_option("Österreich")
    page.get_by_role("button", name="Anfrage absenden").click()
    page.get_by_role("heading", name="Ihre Anfrage ist eingegangen").wait_for()
    if scripts:
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    [case] = host.cases()
    assert case.number in page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_keeps_anybody_out(browse: Callable[..., Page], host: Host, scheme: str, width: int) -> None:
    """axe finds nothing serious: the form in every language, with its errors, and the page after it; nothing is wider than the screen."""
    host.intake.fastest = timedelta(0)
    page = browse(color_scheme=scheme, viewport={"width": width, "height": 800})
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        found[name] = findings(page)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found[name].append("wider than the screen")

    for language in LANGUAGES:
        page.goto(f"/privacy/{language}?type=deletion")
        look(language)
    page.goto("/privacy/en?type=copy")
    page.get_by_role("button", name="Send request").click()
    page.locator("#errors").wait_for()
    look("errors")
    assert page.evaluate("document.activeElement.id") == "errors"
    for label, typed in (("First name", "Ada"), ("Last name", "Lovelace"), ("E-mail address", "ada@example.com")):
        page.get_by_label(label).fill(typed)
    page.get_by_label("Country of residence").select_option("DE")
    page.get_by_role("button", name="Send request").click()
    page.get_by_role("heading", name="We have received your request").wait_for()
    look("sent")
    assert {name: rows for name, rows in found.items() if rows} == {}
