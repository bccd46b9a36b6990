"""From the public form to the last page, in a browser: the person on one side, an agent on the other, real mail between them.

Nothing here calls the host to get on; it is asked only how things stand in the end. Every page is watched on the way: a script of somebody
else's that runs or an error in the console fails the walk it happened on.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsr_sdk import Record
from dsr_sdk.host import Host
from dsr_sdk.host.arrivals.intake import Intake
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app
from dsr_sdk.portal.engine import Engine
from dsr_sdk.testing import Answer, Call, route
from tests.portal.conftest import PASSWORD, Live, address
from tests.smtp import Inbox
from tests.toys import Acting, Letters, Manually, Revealing, Toy, ToyVendor
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Route

ADA = "ada@example.com"
SCRIPT = "<script>alert(1)</script>"
PICTURE = '"><img src=x onerror=alert(2)>'

TYPES = {
    "deletion": "Delete my personal data",
    "copy": "Send me a copy of my personal data",
    "do_not_sell": "Do not sell or share my personal data",
    "do_not_mail": "Do not send me any advertising",
    "right_to_edit": "Correct my personal data",
}


class Slow(ToyVendor):
    """A vendor that erases nobody before the test lets it."""

    def __init__(self, free: threading.Event) -> None:
        super().__init__()
        self.free = free
        self.asked = threading.Event()

    @route("DELETE", "/v1/contacts/{id}")
    def delete(self, call: Call) -> Answer:
        self.asked.set()
        assert self.free.wait(20)
        return super().delete(call)


class Walk:
    """The portal with its engine, its mail, and the browsers that are open on it."""

    def __init__(self, chromium: Browser, host: Host, live: Live, inbox: Inbox, engine: Engine) -> None:
        self.chromium, self.host, self.live, self.inbox, self.engine = chromium, host, live, inbox, engine
        self.contexts: list[Any] = []
        self.complaints: list[str] = []

    # --- browsers -----------------------------------------------------------------------------------------------------------------

    def browser(self, **settings: Any) -> Page:
        """A page in a browser of its own that nobody is signed in with."""
        context = self.chromium.new_context(base_url=self.live.url, **{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("dialog", self._asked)
        page.on("pageerror", lambda error: self.complaints.append(f"an error: {error}"))
        page.on("console", lambda message: self._said(message.type, message.text))
        return page

    def _asked(self, dialog: Dialog) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and "the server responded with a status of" not in text:
            self.complaints.append(f"the console: {text}")

    def agent(self, role: Role = Role.AGENT, **settings: Any) -> Page:
        """Somebody who has signed in, through the form."""
        page = self.browser(**settings)
        page.goto("/requests")
        page.get_by_label("E-mail address").fill(address(role))
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Requests").wait_for()
        return page

    def close(self) -> None:
        """Every browser, then the verdict on what they complained about."""
        for context in self.contexts:
            context.close()
        assert self.complaints == []

    # --- the person ---------------------------------------------------------------------------------------------------------------

    def ask(self, page: Page, type: str, *, first: str = "Ada", last: str = "Lovelace", email: str = ADA) -> str:
        """Fill in the public form; the case number that the next page tells."""
        page.goto("/privacy/en")
        page.get_by_label(TYPES[type]).check()
        page.get_by_label("First name").fill(first)
        page.get_by_label("Last name").fill(last)
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Country of residence").select_option("DE")
        if type == "right_to_edit":
            page.get_by_label("What is wrong, and what should it be?").fill("My street is wrong")
        page.get_by_role("button", name="Send request").click()
        page.get_by_role("heading", name="We have received your request").wait_for()
        return page.locator(".case-number").inner_text()

    def confirm(self, page: Page, email: str = ADA) -> None:
        """Open the link of the mail, press the button."""
        page.goto(self.link("verify", email))
        page.get_by_role("button", name="Yes, this is my address").click()
        page.get_by_role("heading", name="Thank you, your address is confirmed").wait_for()

    # --- mail ---------------------------------------------------------------------------------------------------------------------

    def letters(self, to: str = ADA) -> list[str]:
        """What has arrived for somebody."""
        return [message_from_bytes(letter.content, policy=policy.default).get_content() for letter in self.inbox.letters if letter.rcpt_tos == [to]]

    def link(self, purpose: str, to: str = ADA) -> str:
        """The newest link of a purpose that somebody was sent."""
        pattern = re.compile(rf"{re.escape(self.live.url)}/p/{purpose}/\S+")
        self.until(lambda: any(pattern.search(text) for text in self.letters(to)))
        return [str(found) for text in self.letters(to) for found in pattern.findall(text)][-1]

    def until(self, met: Callable[[], object]) -> None:
        """Wait for something that is not on a page."""
        limit = time.monotonic() + 15
        while not met():
            assert time.monotonic() < limit
            time.sleep(0.02)

    def settle(self) -> None:
        """Let the engine look twice more at what there is to do."""
        before = self.engine.rounds
        for n in (1, 2):
            self.engine.wake()
            self.until(lambda n=n: self.engine.rounds >= before + n)  # type: ignore[misc]

    # --- the agent ----------------------------------------------------------------------------------------------------------------

    def open(self, page: Page, number: str) -> None:
        """From the list to the request."""
        page.goto("/requests")
        page.get_by_role("link", name=number).click()
        page.wait_for_url(f"**/requests/{number}")

    def go_on(self, page: Page) -> None:
        """*Continue*, and once more where it asks."""
        page.locator("summary", has_text="Continue").click()
        page.locator(".confirm-body").get_by_role("button", name="Continue").click()
        page.locator("#panel").wait_for()

    def give_free(self, page: Page, verb: str, *titles: str) -> None:
        """Tick data sources, press the button with their number, and the one of the page that asks."""
        for title in titles:
            page.get_by_role("checkbox", name=f"{verb} {title}", exact=True).check()
        page.locator("button[data-counts]").click()

    def finish(self, page: Page, box: str | None = None) -> None:
        """On to the reply."""
        if box is not None:
            page.get_by_label(box).check()
        page.locator(".finish").get_by_role("button", name="Continue").click()
        page.locator("summary", has_text="Reply & close").wait_for()

    def reply_and_close(self, page: Page) -> None:
        """Send what is pre-filled: the button asks first, and says where it is sent."""
        page.locator("summary", has_text="Reply & close").click()
        page.locator(".confirm-body").get_by_role("button", name="Reply & close").click()
        page.locator(".steps .current, .steps [aria-current=step]", has_text="Close").wait_for()

    def told_once(self, number: str, *words: str, to: str = ADA) -> str:
        """The one reply, when the engine has had every chance to send another."""
        self.settle()
        [text] = [text for text in self.letters(to) if number in text and "If you have questions, simply answer this e-mail." in text]
        for word in words:
            assert word in text
        return text


@pytest.fixture
def free() -> Iterator[threading.Event]:
    """Set, when slow vendors may go on."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def walk(portal_world: World, inbox: Inbox, chromium: Browser, monkeypatch: pytest.MonkeyPatch, free: threading.Event) -> Iterator[Walk]:
    """A company with a CRM, a shop, a helpdesk that answers what the test says, a vendor that takes mail, and a filing cabinet."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    portal_world.tables = f'[workflow]\nregime = "eu_gdpr"\npublic_url = "{url}"'
    portal_world.mail = inbox.toml
    for name, connector in (("crm", Revealing), ("shop", Toy), ("support", Acting)):
        portal_world.add(name, connector, None, ADA)
    for name in ("slow1", "slow2", "slow3", "slow4", "slow5", "slow6"):
        portal_world.add(name, type("Slowly", (Toy,), {"__doc__": "One call a contact.", "slug": name, "title": name.title()}), Slow(free), ADA)
    portal_world.add("paper", Letters)
    portal_world.sources["paper"] += '\nvendor = "Paper Ltd"'
    portal_world.add("cabinet", Manually)
    monkeypatch.setattr(Intake, "fastest", timedelta(0))
    host = portal_world.open()
    app = create_app(host, engine=True)
    with listening, Live(app, listening) as live:
        walk = Walk(chromium, host, live, inbox, app.state.engine)
        yield walk
        walk.close()


def only(page: Page, *titles: str) -> None:
    """Choose the data sources of a request in review."""
    for box in page.locator("input[name=sources]").all():
        box.uncheck()
    for title in titles:
        page.locator(".source-choice").get_by_label(title, exact=True).check()


def row(page: Page, source: str) -> Any:
    """A data source in the panel."""
    return page.locator(f"#source-{source}")


# --- the five types ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_deletion(walk: Walk, portal_world: World, scripts: bool, tmp_path: Path) -> None:
    """Form, mail, link, review, six data sources of four kinds, reply, history; once more in a browser that runs no script at all."""
    person = walk.browser(java_script_enabled=scripts, viewport={"width": 380, "height": 800})
    number = walk.ask(person, "deletion")
    page = walk.agent(java_script_enabled=scripts)
    walk.open(page, number)
    assert page.get_by_role("button", name="Continue").is_disabled()  # not before the person has confirmed
    walk.confirm(person)
    page.reload()
    page.get_by_text("Verified").first.wait_for()
    only(page, "Revealing", "Toy", "Paper Ltd", "Manually")
    walk.go_on(page)

    def followed(there: Callable[[], bool]) -> None:
        """With scripts the page follows by itself. Without, it has a link."""
        limit = time.monotonic() + 15
        while not there():
            assert time.monotonic() < limit
            if not scripts and page.get_by_role("link", name="Refresh").count():
                page.get_by_role("link", name="Refresh").click()
            page.wait_for_timeout(50)

    followed(lambda: page.get_by_text("Data found", exact=True).count() == 2)
    button = page.locator("button[data-counts]")
    if scripts:
        assert button.inner_text().strip() == "Delete 0 sources"
        page.get_by_role("checkbox", name="Delete Toy").check()
        assert button.inner_text().strip() == "Delete 1 source"
    walk.give_free(page, "Delete", "Toy", "Revealing")
    assert page.get_by_role("heading", level=1).inner_text() == "Delete the data of Ada Lovelace from 2 data sources?"
    assert "tax law, ten years" in page.locator("main").inner_text()
    page.get_by_role("button", name="Delete 2 sources").click()
    followed(lambda: page.get_by_text("Last deleted").count() == 2)
    assert not portal_world.vendors["shop"].holds(ADA)

    if scripts:
        page.get_by_role("checkbox", name="Send deletion e-mail to Paper Ltd").check()
    else:
        row(page, "paper").locator("summary", has_text="Send deletion e-mail").click()
    assert "Lovelace" in row(page, "paper").locator(".letter-ask .confirm-body").inner_text()
    row(page, "paper").get_by_role("button", name="Send e-mail").click()
    followed(lambda: row(page, "paper").get_by_text("Email Sent").count() == 1)
    page.get_by_text("Requested deletion from Paper Ltd").first.wait_for()
    walk.until(lambda: len(walk.letters("privacy@paper.example")) == 1)

    proof = tmp_path / "shredded.png"
    proof.write_bytes(b"\x89PNG\r\n\x1a\n a picture of the shredder")
    cabinet = row(page, "cabinet")
    cabinet.locator("summary", has_text="Mark as done").click()
    cabinet.get_by_label("What did you see or do?").fill("shredded the folder")
    cabinet.get_by_label("Evidence").set_input_files(proof)
    cabinet.get_by_role("button", name="Mark as done").click()
    row(page, "cabinet").get_by_text("shredded.png").wait_for()

    paper = row(page, "paper")
    paper.locator("summary", has_text="Mark as done").click()
    paper.get_by_label("What did you see or do?").fill("they have confirmed it")
    paper.get_by_role("button", name="Mark as done").click()
    page.get_by_text("Marked Paper Ltd as done").first.wait_for()
    walk.finish(page, "All data was deleted")
    walk.reply_and_close(page)
    assert "Closed. The request was fulfilled." in page.locator("main").inner_text()
    walk.told_once(number, "Dear Ada Lovelace", "tax law, ten years")

    page.get_by_role("link", name="See request history").click()
    page.get_by_text("The log is unbroken").wait_for()
    told = page.locator("main").inner_text()
    for sentence in ("The request was received", "The request was closed", "Person agent"):
        assert sentence in told
    assert len(walk.letters("privacy@paper.example")) == 1
    assert walk.host.workflow.get(number).stage == "closed"


def test_copy(walk: Walk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Collected, a file added, a field taken out, generated, and a link in the reply that opens once, with a code from a second mail."""
    records = [Record("ticket", {"id": 1, "note": "friend of Bob Roe", "order": "A-17"}), Record("ticket", {"id": 2, "order": "A-18"})]
    monkeypatch.setattr(Acting, "script", {"export": lambda api, match: iter(records)})
    person = walk.browser(accept_downloads=True)
    number = walk.ask(person, "copy")
    walk.confirm(person)
    page = walk.agent()
    walk.open(page, number)
    only(page, "Acting")
    walk.go_on(page)
    row(page, "support").get_by_text("Data found").wait_for()
    walk.give_free(page, "Collect", "Acting")
    page.get_by_role("button", name="Collect from 1 source").click()
    row(page, "support").get_by_text("Collected").wait_for()

    file = tmp_path / "letter.txt"
    file.write_text("found in the basement")
    page.locator("#copy-file").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("link", name="letter.txt").wait_for()
    page.get_by_role("link", name="Look through the data").click()
    page.get_by_role("checkbox", name="Redact /note").check()
    page.get_by_label("Why?", exact=True).fill("names another customer")
    page.get_by_role("button", name="Take out what is ticked").click()
    page.get_by_text("Redacted.").wait_for()
    page.get_by_role("link", name="Back to the request").click()
    page.get_by_role("button", name="Generate copy").click()
    page.locator("#copy").get_by_text("Ready").wait_for()
    walk.finish(page)
    walk.reply_and_close(page)

    walk.told_once(number, "/p/copy/")
    link = walk.link("copy")
    person.goto(link)
    person.get_by_role("button", name="Send me the code").click()
    person.get_by_label("Code from the e-mail").wait_for()
    walk.until(lambda: re.findall(r"Your code is (\d{6})", "".join(walk.letters())))
    [code] = re.findall(r"Your code is (\d{6})", "".join(walk.letters()))
    person.get_by_label("Code from the e-mail").fill("000000" if code != "000000" else "000001")
    person.get_by_role("button", name="Download my data").click()
    person.get_by_text("This code is wrong or has expired.").first.wait_for()
    person.get_by_label("Code from the e-mail").fill(code)
    with person.expect_download() as downloading:
        person.get_by_role("button", name="Download my data").click()
    saved = tmp_path / "copy.zip"
    downloading.value.save_as(saved)
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    everything = b"".join(files.values())
    assert b"A-17" in everything
    assert b"A-18" in everything
    assert b"found in the basement" in everything
    assert b"Bob Roe" not in everything
    assert any(json.loads(data) for name, data in files.items() if name.endswith("manifest.json"))
    person.goto(link)
    person.get_by_role("heading", name="This link does not work (any more)").wait_for()


def test_do_not_sell(walk: Walk) -> None:
    """Nobody has to prove anything; they are opted out at what was ticked."""
    number = walk.ask(walk.browser(), "do_not_sell")
    page = walk.agent()
    walk.open(page, number)
    only(page, "Toy")
    walk.go_on(page)
    row(page, "shop").get_by_text("Data found").wait_for()
    walk.give_free(page, "Opt out", "Toy")
    page.get_by_role("button", name="Opt out at 1 source").click()
    row(page, "shop").get_by_text("Opted out").wait_for()
    walk.finish(page)
    walk.reply_and_close(page)
    walk.told_once(number, "Dear Ada Lovelace")


@pytest.mark.parametrize("type", ["do_not_mail", "right_to_edit"])
def test_what_people_handle(walk: Walk, type: str) -> None:
    """No data source is touched; that it was handled is confirmed by a person, and the reply says it."""
    person = walk.browser()
    number = walk.ask(person, type)
    walk.confirm(person)
    page = walk.agent()
    walk.open(page, number)
    assert page.locator("#sources").count() == 0
    assert page.get_by_text("My street is wrong").count() == (type == "right_to_edit")
    walk.go_on(page)
    assert page.get_by_text("Handled internally").count()
    walk.finish(page, "It was handled internally")
    walk.reply_and_close(page)
    walk.told_once(number, "Dear Ada Lovelace")


# --- other ends ----------------------------------------------------------------------------------------------------------------------------


def test_a_request_is_rejected_and_the_person_told_why(walk: Walk) -> None:
    """Review, reject, reply, closed: processing is left out, and nothing is searched."""
    number = walk.ask(walk.browser(), "deletion")
    page = walk.agent()
    walk.open(page, number)
    page.locator("summary", has_text="Reject").click()
    page.get_by_label("Reason", exact=True).select_option("insuf_verification")
    page.locator(".confirm-body").get_by_role("button", name="Reject").click()
    walk.reply_and_close(page)
    assert page.locator(".steps .skipped", has_text="Process").count() == 1
    walk.told_once(number, "could not verify")
    assert walk.host.workflow.get(number).decision == "rejected"


def test_two_browsers_press_continue_at_once(walk: Walk) -> None:
    """Both forms are on the wire before either is answered: one goes on, the other is told who did what."""
    person = walk.browser()
    number = walk.ask(person, "deletion")
    walk.confirm(person)
    held: list[Route] = []
    pages = [walk.agent(), walk.agent(Role.ADMIN)]
    for page in pages:
        walk.open(page, number)
        only(page, "Toy")
        page.locator("summary", has_text="Continue").click()
        page.route("**/accept", lambda route: held.append(route))
    for page in pages:
        page.locator(".confirm-body").get_by_role("button", name="Continue").click(no_wait_after=True)
    while len(held) < 2:
        pages[0].wait_for_timeout(20)
    for each in held:
        each.continue_()
    for page in pages:
        page.locator("#panel, #happened").first.wait_for()
    told = [page for page in pages if page.locator("#happened").count()]
    assert len(told) == 1
    assert "Nothing of what you pressed was done" in told[0].locator("main").inner_text()
    assert "The request was accepted" in told[0].locator("main").inner_text()
    assert [event["event"] for event in walk.host.history(number)].count("case.accepted") <= 1
    told[0].get_by_role("link", name="Look at the request").click()
    told[0].locator("#panel").wait_for()


def test_the_browser_is_closed_in_the_middle(walk: Walk, portal_world: World, free: threading.Event) -> None:
    """ "Delete 6 sources", and the browser is gone while the vendors are still at it. A page opened later shows that all of it was done."""
    slow = [f"slow{n}" for n in range(1, 7)]
    person = walk.browser()
    number = walk.ask(person, "deletion")
    walk.confirm(person)
    page = walk.agent()
    walk.open(page, number)
    only(page, *(name.title() for name in slow))
    walk.go_on(page)
    page.locator(".source", has_text="Data found").nth(5).wait_for()
    page.get_by_label("Select all").check()
    page.get_by_role("button", name="Delete 6 sources").click()
    page.get_by_role("button", name="Delete 6 sources").click(no_wait_after=True)
    vendors = [portal_world.vendors[name] for name in slow]
    walk.until(lambda: any(vendor.asked.is_set() for vendor in vendors))  # type: ignore[attr-defined]
    page.context.close()
    assert all(vendor.holds(ADA) for vendor in vendors)

    later = walk.agent()
    walk.open(later, number)
    assert later.get_by_text("Last deleted").count() == 0
    assert later.locator("#panel[aria-busy=true]").count() == 1
    free.set()
    later.get_by_text("Last deleted").nth(5).wait_for()
    assert not any(vendor.holds(ADA) for vendor in vendors)
    assert later.locator("#panel[aria-busy=true]").count() == 0


def test_a_browser_that_is_closed_while_it_sends_a_form(walk: Walk, caplog: pytest.LogCaptureFixture) -> None:
    """Half of the form has arrived: nothing is done, and it is no error of ours."""
    head = ["POST /privacy/en HTTP/1.1", f"Host: 127.0.0.1:{walk.live.port}", f"Origin: {walk.live.url}"]
    head += ["Content-Type: application/x-www-form-urlencoded", "Content-Length: 1000", "", "csrf=half"]
    with socket.create_connection(("127.0.0.1", walk.live.port)) as browser:
        browser.sendall("\r\n".join(head).encode())
        time.sleep(0.2)
    time.sleep(0.2)
    assert [record for record in caplog.records if record.name.startswith("dsr_sdk")] == []
    assert list(walk.host.cases()) == []
    assert walk.browser().goto("/privacy/en").ok  # type: ignore[union-attr]


def test_a_name_that_is_a_script_runs_nowhere(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through every page on both sides of the desk: the name is shown as it was typed, and nothing of it is run (see `Walk.close`)."""
    monkeypatch.setattr(Acting, "script", {"export": lambda api, match: iter([Record("ticket", {"id": 1, "note": f"{SCRIPT}{PICTURE}"})])})
    email = "ada@example.com"
    person = walk.browser()
    number = walk.ask(person, "copy", first=SCRIPT, last=PICTURE, email=email)
    walk.confirm(person)
    page = walk.agent()
    page.goto("/requests")
    page.get_by_label("Case number, e-mail address").fill(f"{SCRIPT}{PICTURE}")
    page.get_by_role("button", name="Find", exact=True).click()
    page.get_by_text("Nothing found").wait_for()
    walk.open(page, number)
    assert SCRIPT in page.get_by_role("heading", level=1).inner_text()
    page.locator("summary", has_text="Message user").click()
    page.get_by_label("Message", exact=True).fill(f"Which shop? {SCRIPT}")
    page.get_by_role("button", name="Send", exact=True).click()
    person.goto(walk.link("answer", email))
    person.get_by_label("Your answer").fill(f"The one in Bonn {PICTURE}")
    person.get_by_role("button", name="Send answer").click()
    person.get_by_role("heading", name="Thank you, we have received your answer").wait_for()
    page.goto("/requests")
    page.get_by_text("New answer").wait_for()
    walk.open(page, number)
    assert PICTURE in page.locator("#conversation").inner_text()
    only(page, "Acting", "Manually")
    walk.go_on(page)
    row(page, "support").get_by_text("Data found").wait_for()
    page.locator("#source-cabinet summary", has_text="Skip").click()
    row(page, "cabinet").get_by_label("Why?").fill(f"the cabinet is empty {SCRIPT}")
    row(page, "cabinet").get_by_role("button", name="Go on without it").click()
    assert SCRIPT in row(page, "cabinet").inner_text()
    walk.give_free(page, "Collect", "Acting")
    page.get_by_role("button", name="Collect from 1 source").click()
    row(page, "support").get_by_text("Collected").wait_for()
    page.get_by_role("link", name="Look through the data").click()
    assert SCRIPT in page.locator("main").inner_text()
    page.go_back()
    page.get_by_role("button", name="Generate copy").click()
    page.locator("#copy").get_by_text("Ready").wait_for()
    walk.finish(page)
    page.get_by_role("button", name="Preview").click()
    assert SCRIPT in page.locator("#preview").inner_text()
    walk.reply_and_close(page)
    assert SCRIPT in page.locator("main").inner_text()
    page.get_by_role("link", name="See request history").click()
    assert PICTURE in page.locator("main").inner_text()
    for path in ("/", "/requests?view=closed", "/sources", "/templates", "/outbox"):
        assert page.goto(path).status in (200, 403)  # type: ignore[union-attr]


# --- without a mouse -----------------------------------------------------------------------------------------------------------------------


def reached(page: Page, css: str, *, limit: int = 120) -> None:
    """Press Tab until the focus is there, and make sure that it can be seen."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate("css => document.activeElement.matches(css)", css):
            style = page.evaluate("() => { const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.boxShadow]; }")
            assert style != ["none", "none"], f"{css} does not show that it has the focus"
            return
    raise AssertionError(f"{css} is not reached with the keyboard")


def test_accepting_with_the_keyboard_alone(walk: Walk) -> None:
    """From the sign-in to processing with Tab, Enter, Space and letters; the focus is seen wherever it stops, and the skip link skips."""
    person = walk.browser()
    number = walk.ask(person, "deletion")
    walk.confirm(person)
    page = walk.browser()
    page.goto("/requests")
    if page.evaluate("document.activeElement === document.body"):
        reached(page, "input[name=email], input[type=email]")
    page.keyboard.type(address(Role.AGENT))
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Requests").wait_for()
    reached(page, "a.skip")
    page.keyboard.press("Enter")
    reached(page, f'a[href="/requests/{number}"]', limit=30)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/requests/{number}")
    reached(page, "details.confirm > summary.primary")
    page.keyboard.press("Enter")
    reached(page, ".confirm-body button.primary", limit=3)
    page.keyboard.press("Enter")
    page.locator("#source-shop").get_by_text("Data found").wait_for()
    reached(page, "#tick-shop")
    page.keyboard.press("Space")
    assert page.locator("#tick-shop").is_checked()
    assert walk.host.workflow.get(number).stage == "process"
