"""Every page, of the portal and of the public, as people get it: axe finds nothing that keeps anybody out, and none is wider than the screen.

Which pages there are is read off the app: a route that answers GET and is neither visited here nor listed as something else than a page
fails, and so does a template of a page that was not rendered on the way.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import TYPE_CHECKING, Any
from unittest import mock

import pyotp
import pytest
from dsr_connector_email import EmailIntegration
from dsr_connector_manual import Manual
from sqlalchemy import update

from dsr_sdk import Record
from dsr_sdk.errors import RejectedError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.templates import Template
from dsr_sdk.host.arrivals.intake import Intake
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.people.roles import Role
from dsr_sdk.ledger.database import writing
from dsr_sdk.ledger.desk import sessions
from dsr_sdk.ledger.schema import cases
from dsr_sdk.portal import create_app
from dsr_sdk.portal.rendering import HERE, environment
from dsr_sdk.testing import Person
from tests.portal.conftest import PASSWORD, Live, address
from tests.portal.test_matrix import DECLARED
from tests.portal.test_requests_page import asked
from tests.smtp import Inbox
from tests.toys import Acting, Keyed, Letters, Manually, Revealing, Toy
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BY = address(Role.AGENT)
ADA = "ada@example.com"
LONG = "an-address-without-any-place-to-break-it-that-goes-on-and-on@a-rather-long-domain-of-a-company.example.com"
TAGS = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa")

NOT_PAGES = {
    "/p/answer/{token}/files/{file}": "a download",
    "/p/copy/{token}/data": "a download",
    "/privacy": "leads to the form in the visitor's language",
    "/requests/{number}/copy/download": "a download",
    "/requests/{number}/files/{id}": "a download",
    "/requests/{number}/panel": "a part of a page",
    "/requests/{number}/record.json": "a download",
    "/requests/{number}/record.pdf": "a download",
    "/sign-in/oidc": "leads to the identity provider",
    "/sign-in/oidc/back": "leads into the portal",
    "/sources/search": "leads to the list, when it is loaded again",
}
ELSEWHERE = {"no_workflow.html", "set_up.html"}
"""Of a host that is not set up yet: they have a test of their own."""


# --- the company ---------------------------------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A host with something on every page. `at` holds the case numbers by what they show, `links` the addresses that were mailed."""

    host: Host
    at: dict[str, str]
    links: dict[str, str]


@pytest.fixture
def host(portal_world: World, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> Host:
    """With data sources of every kind."""
    monkeypatch.setattr(Intake, "fastest", timedelta(0))
    portal_world.mail = inbox.toml
    (portal_world.directory / "vendors.csv").write_text("Vendor,Domain\nLedgerly,ledgerly.example\nMailsmith,mailsmith.example\n")
    portal_world.tables += f'\n\n[discovery.csv]\npath = "{portal_world.directory}/vendors.csv"\n'
    portal_world.add("crm", Revealing, None, ADA)
    portal_world.add("shop", Toy, None, ADA)
    portal_world.add("support", Acting, None, ADA)
    portal_world.add("warehouse", Keyed, None, Person(ADA, user_id="u-17"))
    portal_world.add("paper", Letters)
    portal_world.add("cabinet", Manually)
    portal_world.classes |= {"manual": Manual, "email": EmailIntegration}
    return portal_world.open()


@pytest.fixture
def scene(host: Host, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Requests in every stage, with everything that may stand on their pages."""

    def locked(api: Any, match: Any) -> Any:
        raise RejectedError("the contact is locked")

    records = [Record("ticket", {"id": n, "note": f"friend of {LONG}", "items": [{"name": "x"}]}) for n in range(3)]
    monkeypatch.setattr(Acting, "script", {"erase": locked, "export": lambda api, match: iter(records)})
    now = datetime.now(UTC)
    evidence = [
        {"sent_at": (now - timedelta(days=n)).isoformat(), "subject": f"Letter {n} {LONG}", "from_address": "shop@example.com"} for n in (1, 2)
    ]
    at: dict[str, str] = {}

    def submit(name: str, *more: Any, **fields: Any) -> str:
        at[name] = host.submit(asked(*more, **fields))
        return at[name]

    def processed(name: str, *sources: str, type: str = "deletion", **fields: Any) -> str:
        number = submit(name, type, **fields)
        host.workflow.accept(number, by=BY, sources=sources)
        if sources:
            host.processing.search(number)
        return number

    review = submit("review", email_evidence=evidence)
    submit("duplicate", channel="privacy_center")
    submit("long", email=LONG, first="Wolfeschlegelsteinhausenbergerdorff" * 2, channel="privacy_center", days=40)
    submit("forbidden", "do_not_sell", email="cal@example.com", channel="privacy_center", regime="us_ca_ccpa")
    host.conversation.message(review, f"Which shop? {LONG}", by=BY)
    host.conversation.ask_to_verify(at["duplicate"], by=BY)
    host.files.attach(at["duplicate"], io.BytesIO(b"%PDF-1.7 passport"), name="passport.pdf", media_type="", purpose="identity", by=BY)

    processed("found", "crm", "shop", "support", "warehouse", "paper", "cabinet", email="ada@example.com", last="Found")
    failed = processed("failed", "shop", "support", "cabinet", email=ADA, last="Failed")
    host.processing.give_free(failed, ["support"], by=BY)
    host.run(failed)
    host.processing.override(failed, "cabinet", by=BY, reason=f"the cabinet is empty {LONG}")
    processed("internal", type="do_not_mail", email="dana@example.com")
    copied = processed("copied", "support", type="copy", last="Copy")
    host.processing.give_free(copied, ["support"], by=BY)
    host.run(copied)
    record = host.delivery.preview(copied).records[0]
    host.delivery.redact(copied, record.source, record.resource, record.key, "/note", by=BY, reason="names another customer")
    host.files.attach(copied, io.BytesIO(b"by hand"), name="letter.txt", media_type="text/plain", purpose="copy", by=BY)
    host.delivery.generate(copied, by=BY)

    offered = processed("offered", "support", type="copy", email="ada@example.com", last="Offered")
    host.processing.give_free(offered, ["support"], by=BY)
    host.run(offered)
    host.delivery.generate(offered, by=BY)
    host.workflow.finish(offered, by=BY)
    submit("rejected", email="eve@example.com")
    host.workflow.reject(at["rejected"], Reason.NO_MATCH, by=BY)
    closed = processed("closed", "shop", email="finn@example.com")
    host.processing.override(closed, "shop", by=BY, reason="the shop has closed down") if host.processing.blockers(closed, all_done=True) else None
    host.workflow.finish(closed, by=BY, all_done=True)
    host.replies.close(closed, by=BY, revision=host.workflow.get(closed).revision)
    for name in ("withdrawn", "shredded"):
        number = submit(name, email=f"{name}@example.com")
        host.workflow.withdraw(number, by=BY)
        host.replies.close(number, by=BY, revision=host.workflow.get(number).revision)
    host.shred(at["shredded"], by=BY)
    doubt = processed("doubt", type="do_not_mail", email="gil@example.com")
    inbox.vanish = True
    host.conversation.message(doubt, "Are you there?", by=BY)
    inbox.vanish = False
    with writing(host.ledger.engine) as connection:
        connection.execute(update(cases).where(cases.c.case == at["found"]).values(due_at=now - timedelta(days=3)))

    host.templates.save(Template(None, "Ours", "deletion", "accepted", "en", "About {{ type }}", "Dear {{ full_name }}\n"), by=BY)
    host.accounts.make_key("Web shop", Role.SUPPORT, by=BY)
    host.accounts.create("new@example.com", "Somebody New", Role.AGENT, by=BY)
    host.inventory.add("billing", "Billing", category="payments", handling=True, owner="IT", by=BY)
    host.inventory.ask_for_help("billing", "it@example.com", by=BY, note="Please connect it", connector="toy")
    host.inventory.discover(by=BY)
    host.outbox.sweep()
    links = {}
    for letter in inbox.letters:
        text = message_from_bytes(letter.content, policy=policy.default).get_content()
        for purpose, token in re.findall(r"/p/(\w+)/(\S+)", text):
            links[purpose] = f"/p/{purpose}/{token}"
    link = host.delivery.offer(offered, by=BY)
    links["copy"] = link[link.index("/p/") :]
    host.conversation.answer(links["answer"].rsplit("/", 1)[1], "The one in Bonn")
    links["join"] = f"/join/{host.accounts.invite('new@example.com', by=BY)}"
    links["person"] = "/accounts/" + host.ledger.vault.fingerprint("portal", "account", "new@example.com").hex()[:16]
    secret, _ = host.accounts.enable_totp(address(Role.SUPPORT))
    host.accounts.confirm_totp(address(Role.SUPPORT), pyotp.TOTP(secret).now())
    return Scene(host, at, links)


# --- how to get to the pages ---------------------------------------------------------------------------------------------------------------


def visits(scene: Scene) -> dict[str, list[str]]:
    """Every route that is a page, with the addresses at which it is looked at."""
    at, links = scene.at, scene.links
    template = next(row.id for row in scene.host.templates.list() if not row.builtin)
    builtin = next(row.id for row in scene.host.templates.list("deletion", "accepted", "en") if row.builtin)
    return {
        "/": ["/"],
        "/account": ["/account"],
        "/accounts": ["/accounts"],
        "/accounts/new": ["/accounts/new"],
        "/accounts/keys": ["/accounts/keys"],
        "/accounts/{id}": [scene.links["person"]],
        "/requests": ["/requests", "/requests?view=closed", "/requests?stage=process&due=overdue", "/requests?agent=me&channel=api"],
        "/requests/search": ["/requests/search"],
        "/requests/new": ["/requests/new"],
        "/requests/import": ["/requests/import"],
        "/requests/{number}": [f"/requests/{number}" for number in at.values()],
        "/requests/{number}/history": [f"/requests/{at['closed']}/history", f"/requests/{at['shredded']}/history"],
        "/requests/{number}/copy": [f"/requests/{at['copied']}/copy"],
        "/requests/{number}/reply": [f"/requests/{at['found']}/reply"],
        "/sources": ["/sources", "/sources?view=all"],
        "/sources/add": ["/sources/add", "/sources/add?custom=1", "/sources/add?text=stripe"],
        "/sources/proposals": ["/sources/proposals"],
        "/sources/{name:path}": ["/sources/shop", "/sources/paper", "/sources/billing"],
        "/sources/{name:path}/connect": ["/sources/billing/connect", "/sources/billing/connect?by=toy"],
        "/sources/{name:path}/page": ["/sources/shop/page"],
        "/templates": ["/templates", "/templates?type=deletion"],
        "/templates/new": ["/templates/new", f"/templates/new?from={builtin}"],
        "/templates/{id}": [f"/templates/{template}", f"/templates/{builtin}"],
        "/outbox": ["/outbox"],
        "/settings": ["/settings"],
        # without an account
        "/sign-in": ["/sign-in"],
        "/set-up": ["/set-up"],
        "/set-up/{token}": ["/set-up/nonsense"],
        "/join/{token}": [links["join"]],
        "/privacy/{language}": ["/privacy/en", "/privacy/de?type=copy"],
        "/privacy/{language}/sent": ["/privacy/en/sent"],
        "/p/verify/{token}": [links["verify"], "/p/verify/nonsense"],
        "/p/answer/{token}": [links["answer"]],
        "/p/copy/{token}": [links["copy"]],
        "/p/help/{token}": [links["help"]],
    }


def fill_in(page: Page, email: str = "ada@example.com") -> None:
    """The public form."""
    page.goto("/privacy/en")
    page.get_by_label("Delete my personal data").check()
    page.get_by_label("First name").fill("Ada")
    page.get_by_label("Last name").fill("Lovelace")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Country of residence").select_option("DE")
    press(page, page.get_by_role("button", name="Send request"))


def press(page: Page, button: Locator) -> None:
    """Press what leads to another page, and wait for that."""
    with page.expect_navigation():
        button.click()


def _give_free(page: Page, scene: Scene) -> None:
    page.goto(f"/requests/{scene.at['found']}")
    page.get_by_label("Select all").check()
    press(page, page.locator("button[data-counts]"))


def _bulk(page: Page, scene: Scene, *, done: bool) -> None:
    page.goto("/requests")
    page.locator("input[name=cases]").first.evaluate("it => { it.checked = true }")  # telephones do not offer it
    with page.expect_navigation():
        page.locator(".bulk-bar button[value=assign]").evaluate("it => it.form.requestSubmit(it)")
    if done:
        press(page, page.locator("main form button.primary").first)


def _conflict(page: Page, scene: Scene) -> None:
    page.goto(f"/requests/{scene.at['review']}")
    page.locator("#accept input[name=revision]").evaluate("it => { it.value = '999' }")
    page.locator("summary", has_text="Continue").click()
    press(page, page.locator(".confirm-body").get_by_role("button", name="Continue"))


def _preview(page: Page, scene: Scene) -> None:
    page.goto(f"/requests/{scene.at['rejected']}")
    press(page, page.get_by_role("button", name="Preview"))


def _template_preview(page: Page, scene: Scene) -> None:
    page.goto("/templates/new")
    page.evaluate("document.querySelectorAll('[hx-post]').forEach(it => it.removeAttribute('hx-post'))")
    with page.expect_navigation():
        page.locator("form[action='/templates/new']").evaluate("it => { it.action = '/templates/preview'; it.submit() }")


def _invited(page: Page, scene: Scene) -> None:
    page.goto(scene.links["person"])
    with page.expect_navigation():
        page.evaluate(
            """() => { const f = document.createElement('form'); f.method = 'post'; f.action = '/accounts/new';
            const put = (n, v) => { const i = document.createElement('input'); i.type = 'hidden'; i.name = n; i.value = v; f.append(i) };
            put('csrf', document.querySelector('[name=csrf]').value); put('account', 'late@example.com'); put('name', 'Late'); put('role', 'agent');
            document.body.append(f); f.submit() }"""
        )


def _asked_who_it_is(page: Page, scene: Scene) -> None:
    def proven(at: datetime) -> None:
        with writing(scene.host.ledger.engine) as connection:
            connection.execute(update(sessions).values(proven_at=at))

    proven(datetime.now(UTC) - timedelta(hours=1))
    _invited(page, scene)
    proven(datetime.now(UTC))


def _second_factor(page: Page, scene: Scene, *, on: bool = False) -> None:
    page.goto("/account")
    form = page.locator("form[action='/account/second-factor']")
    form.evaluate("it => { for (let p = it; p; p = p.parentElement) if (p.tagName === 'DETAILS') p.open = true }")
    for field in form.locator("input[type=password]").all():
        field.fill(PASSWORD)
    press(page, form.locator("button"))
    if on:
        secret = re.findall(r"secret=(\w+)", page.locator("a[href^=otpauth]").get_attribute("href") or "")[0]
        page.get_by_label("Code", exact=True).fill(pyotp.TOTP(secret).now())
        press(page, page.get_by_role("button", name="Turn it on"))


def _asked_for_a_code(page: Page, scene: Scene) -> None:
    page.goto("/sign-in")
    page.get_by_label("E-mail address").fill(address(Role.SUPPORT))
    page.get_by_label("Password").fill(PASSWORD)
    press(page, page.get_by_role("button", name="Sign in"))


def _offer(page: Page, scene: Scene) -> None:
    page.goto("/sources/add")
    press(page, page.locator("a[href*='offer=']").first)


def _wrong_sign_in(page: Page, scene: Scene) -> None:
    page.goto("/sign-in")
    page.get_by_label("E-mail address").fill("nobody@example.com")
    page.get_by_label("Password").fill("nothing")
    press(page, page.get_by_role("button", name="Sign in"))


def _empty_form(page: Page, scene: Scene) -> None:
    page.goto("/privacy/en")
    press(page, page.get_by_role("button", name="Send request"))


def _goto(page: Page, url: str) -> None:
    page.goto(url)


def _find(page: Page, scene: Scene) -> None:
    page.goto("/requests")
    page.locator("#q-text").fill("nobody@example.com")
    press(page, page.locator("form.find button"))


def _code_sent(page: Page, scene: Scene) -> None:
    with mock.patch("dsr_sdk.host.process.handover.secrets.randbelow", return_value=123456):
        page.goto(scene.links["copy"])
        press(page, page.get_by_role("button", name="Send me the code"))


def _download_started(page: Page, scene: Scene) -> None:
    page.get_by_label("Code from the e-mail").fill("123456")
    with page.expect_download():
        page.get_by_role("button", name="Download my data").click()


Step = Callable[["Page", Scene], None]

STEPS: dict[str, Step] = {
    "delete N sources": _give_free,
    "many at once": lambda page, scene: _bulk(page, scene, done=False),
    "many at once, done": lambda page, scene: _bulk(page, scene, done=True),
    "too late": _conflict,
    "preview of the reply": _preview,
    "preview of a template": _template_preview,
    "confirm that it is you": _asked_who_it_is,
    "invitation": _invited,
    "second factor": lambda page, scene: _second_factor(page, scene),
    "recovery codes": lambda page, scene: _second_factor(page, scene, on=True),
    "an offer of the catalogue": _offer,
    "nothing found": _find,
    "no such page": lambda page, scene: _goto(page, "/nothing"),
    "no such request": lambda page, scene: _goto(page, "/requests/DSR-0000-0000-0000-0000"),
}
OPEN_STEPS: dict[str, Step] = {
    "wrong password": _wrong_sign_in,
    "a second factor": _asked_for_a_code,
    "a form with errors": _empty_form,
    "a code that was sent": _code_sent,
    "a download that has started": _download_started,
    "a form that was sent": lambda page, scene: fill_in(page, "new@example.net"),
}


# --- looking -------------------------------------------------------------------------------------------------------------------------------

AXE = """async ([tags, rules]) => {
  const only = rules.length ? {type: 'rule', values: rules} : {type: 'tag', values: tags};
  const found = await axe.run(document, {runOnly: only, resultTypes: ['violations']});
  const serious = found.violations.filter((found) => found.impact === 'serious' || found.impact === 'critical');
  const why = (node) => node.any.map((check) => check.message).join('; ');
  return serious.flatMap((found) => found.nodes.slice(0, 3).map((node) => `${found.id}: ${node.html.slice(0, 200)} | ${why(node).slice(0, 200)}`));
}"""
OPENED = """() => { for (const fold of document.querySelectorAll('details')) { fold.removeAttribute('name'); fold.open = true } }"""
WIDER = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


class Eye:
    """Looks at pages and keeps what is wrong with each."""

    def __init__(self, page: Page) -> None:
        from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped] # has no types

        self.page, self.script = page, AXE_SCRIPT
        self.found: dict[str, list[str]] = {}
        self.complaints: list[str] = []
        page.on("console", lambda message: self._said(message.text))
        page.on("pageerror", lambda error: self._said(str(error)))

    def _said(self, text: str) -> None:
        if "the server responded with a status of 4" not in text:
            self.complaints.append(f"{self.page.url}: {text}")

    def look(self, name: str) -> None:
        """At the page as it is now: as it came, and with everything unfolded; light, and the colours once more in dark."""
        page = self.page
        assert "axe" not in page.evaluate("Object.keys(window)")
        wrong = self.found.setdefault(name, [])
        if page.evaluate(WIDER):
            wrong.append("wider than the screen")
        page.evaluate(self.script)
        page.evaluate(OPENED)
        if page.evaluate(WIDER):
            wrong.append("wider than the screen, unfolded")
        wrong += page.evaluate(AXE, [list(TAGS), []])
        page.emulate_media(color_scheme="dark")
        page.evaluate("document.getAnimations().forEach(it => it.finish())")  # colours on their way from light to dark are none of these
        wrong += [f"dark: {row}" for row in page.evaluate(AXE, [[], ["color-contrast", "link-in-text-block"]])]
        page.emulate_media(color_scheme="light")


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The templates of the pages that were made."""
    seen: set[str] = set()
    real = environment().get_template

    def get_template(name: Any, *more: Any, **others: Any) -> Any:
        seen.add(str(name))
        return real(name, *more, **others)

    monkeypatch.setattr(environment(), "get_template", get_template)
    return seen


def test_every_page_is_looked_at(scene: Scene) -> None:
    """A route that answers GET is visited below, or is none of these: nothing can be added to the portal unseen."""
    routes = {route.path for route in DECLARED if route.method == "GET" and not route.path.startswith("/api/")}
    assert set(visits(scene)) | set(NOT_PAGES) == routes
    assert not set(visits(scene)) & set(NOT_PAGES)


@pytest.mark.timeout(900)  # some seventy pages, each read four times over, in a browser that shares two cores with others
@pytest.mark.parametrize("width", [1280, 380])
def test_nothing_keeps_anybody_out(scene: Scene, browse: Callable[..., Page], rendered: set[str], width: int) -> None:
    """No serious finding by WCAG 2.2 A and AA, folded or not, light or dark; no page wider than the screen; and no template left unseen."""
    public = {route.path for route in DECLARED if route.gate is None}
    wrong: dict[str, list[str]] = {}
    complaints: list[str] = []
    for role, steps in ((Role.ADMIN, STEPS), (None, OPEN_STEPS)):
        page = browse(role, viewport={"width": width, "height": 800})
        eye = Eye(page)
        if role is None:
            fill_in(page, "sent@example.net")  # the page after the form is for whoever has sent one
        for path, addresses in visits(scene).items():
            for url in addresses if (path in public) is (role is None) else ():
                answer = page.goto(url)
                assert answer is not None
                assert answer.status < 500, url
                eye.look(re.sub(r"/p/(\w+)/.*", r"/p/\1", url))
        for name, step in steps.items():
            step(page, scene)
            page.wait_for_load_state()
            eye.look(name)
        wrong |= eye.found
        complaints += eye.complaints
    assert {name: rows for name, rows in wrong.items() if rows} == {}
    assert complaints == []
    pages = {
        path.relative_to(HERE / "templates").as_posix() for path in (HERE / "templates").rglob("*.html") if "{% extends" in path.read_text("utf-8")
    }
    assert pages - rendered - ELSEWHERE - {"case/base.html", "public/shell.html"} == set()


@pytest.mark.parametrize("width", [1280, 380])
def test_nor_does_a_portal_that_is_not_set_up(portal_world: World, browse: Callable[..., Page], host: Host, width: int) -> None:
    """The first page of all, and the dashboard of a host without [workflow]."""
    from dsr_sdk.host import initialise

    wrong: dict[str, list[str]] = {}
    path = initialise(portal_world.directory / "new", company="Example GmbH")
    with Host.open(path) as fresh, Live(create_app(fresh, engine=False)) as live:
        page = browse(None, viewport={"width": width, "height": 800})
        eye = Eye(page)
        token = fresh.accounts.first_admin_token()
        page.goto(f"{live.url}/set-up/{token}")
        eye.look("set-up")
        page.locator("input[name=account]").fill("first@example.com")
        page.locator("input[name=name]").fill("The First")
        for field in page.locator("input[type=password]").all():
            field.fill(PASSWORD)
        page.locator("main form button.primary").click()
        page.wait_for_load_state()
        page.goto(f"{live.url}/")
        eye.look("no workflow")
        wrong |= eye.found
        assert "[workflow]" in page.locator("main").inner_text()
    assert {name: rows for name, rows in wrong.items() if rows} == {}
    assert eye.complaints == []
