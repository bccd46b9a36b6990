"""The pages behind links: what a person does there, and what a thief, a scanner and a second use get."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import time_machine
from pydantic import SecretStr

from dsr_sdk import Category, ConnectorConfig
from dsr_sdk.host import Host
from dsr_sdk.host.arrivals.form_words import LANGUAGES, form_words
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.portal import create_app
from dsr_sdk.portal.security import cookie_name
from tests.portal.conftest import WORKFLOW, Client, Live
from tests.portal.test_pages import findings
from tests.portal.test_process_page import until
from tests.smtp import Inbox
from tests.toys import Toy
from tests.world import World, deletion

if TYPE_CHECKING:
    from playwright.sync_api import Page

AMY, ADA = "amy@example.com", "ada@example.com"
PDF = b"%PDF-1.7\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF\n"


class Needy(Toy):
    """A vendor that needs a region."""

    slug, title, category = "needy", "Needy", Category.SUPPORT

    class Config(ConnectorConfig):
        token: SecretStr
        region: str


@pytest.fixture
def host(portal_world: World, inbox: Inbox) -> Host:
    """A host with a data source and a mail server."""
    portal_world.tables, portal_world.mail = WORKFLOW + "\nmax_file_mb = 1", inbox.toml
    portal_world.classes["needy"] = Needy
    portal_world.add("toy", Toy, None, ADA)
    return portal_world.open()


def submit(host: Host, **more: Any) -> str:
    """A request whose identity is unproven, unless told otherwise."""
    return host.submit(deletion(**{"channel": "privacy_center", **more}))


def link(host: Host, inbox: Inbox) -> str:
    """The address of the page in the newest letter."""
    host.outbox.sweep()
    found = re.search(r"http://testserver(/p/[a-z]+/[\w-]+)", inbox.texts[-1])
    assert found is not None
    return found[1]


def to_verify(host: Host, inbox: Inbox, **more: Any) -> tuple[str, str]:
    """A request, and the link that verifies its address."""
    number = submit(host, **more)
    host.conversation.ask_to_verify(number, by=AMY)
    return number, link(host, inbox)


def to_answer(host: Host, inbox: Inbox, text: str = "Which account do you mean?", **more: Any) -> tuple[str, str]:
    """A request, and the link that answers a message."""
    number = submit(host, **more)
    host.conversation.message(number, text, by=AMY)
    return number, link(host, inbox)


def to_copy(host: Host, *, large: bool = False, **more: Any) -> tuple[str, str]:
    """A copy that is ready, and the link to it; a large one fits into no buffer on its way."""
    number = submit(host, type="copy", **{"channel": "api", **more})
    host.workflow.accept(number, by=AMY)
    host.processing.search(number)
    host.processing.give_free(number, ["toy"], by=AMY)
    host.processing.run(number)
    for _ in range(12 if large else 0):
        host.files.attach(number, [PDF + os.urandom(990_000)], name="a.pdf", purpose="copy", by=AMY)
    host.delivery.generate(number, by=AMY)
    return number, host.delivery.offer(number, by=AMY).removeprefix("http://testserver")


def to_help(host: Host, inbox: Inbox) -> str:
    """The link that asks a colleague."""
    host.inventory.add_offer("needy", by=AMY)
    host.inventory.ask_for_help("needy", "carol@example.com", note="The EU account <please>.", by=AMY)
    return link(host, inbox)


def code_in(inbox: Inbox) -> str:
    """The code in the newest letter."""
    found = re.search(r"\b(\d{6})\b", inbox.texts[-1])
    assert found is not None
    return found[1]


def gone(answer: Any) -> bool:
    """Whether it is the one page for links that do not work."""
    return answer.status_code == 410 and form_words("en")("links.gone_title") in answer.text


# --- confirm an address ------------------------------------------------------------------------------------------------------------------


def test_a_button_confirms_the_address(client: Client, host: Host, inbox: Inbox) -> None:
    """Scanners open the link as often as they like; the button counts, once; what it proves is the e-mail address."""
    number, path = to_verify(host, inbox)
    for _ in range(3):
        page = client.visit(path)
        assert page.status_code == 200
        assert number in page.text
    assert client.head(path).status_code in (200, 405)
    assert host.workflow.get(number).verified_by is None
    assert form_words("en")("links.verified_title") in client.form(path).text
    assert host.workflow.get(number).verified_by == "email"
    assert gone(client.get(path))
    assert gone(client.form(path))


def test_a_button_from_elsewhere_confirms_nothing(client: Client, host: Host, inbox: Inbox) -> None:
    """Another site cannot press it for the person."""
    number, path = to_verify(host, inbox)
    client.visit(path)
    assert client.post(path, data={"csrf": client.csrf}, headers={"origin": "https://evil.example"}).status_code == 403
    assert client.post(path, headers={"origin": "http://testserver"}).status_code == 403
    assert host.workflow.get(number).verified_by is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_speak_the_requests_language(client: Client, host: Host, inbox: Inbox, language: str) -> None:
    """Whatever the browser asks for: the person chose it with the request."""
    text = form_words(language)
    for path, title in ((to_verify(host, inbox, language=language)[1], "verify"), (to_answer(host, inbox, language=language)[1], "answer")):
        page = client.get(path, headers={"accept-language": "xx"}).text
        assert f'<html lang="{language}">' in page
        assert text(f"links.{title}_title") in page
    gone_page = client.get("/p/verify/nothing", headers={"accept-language": language})
    assert text("links.gone_title") in gone_page.text
    assert f'<html lang="{language}">' in gone_page.text


# --- links that do not work --------------------------------------------------------------------------------------------------------------


def test_every_wrong_link_is_the_same_page(client: Client, host: Host, inbox: Inbox) -> None:
    """Stolen and changed, expired, used, of another purpose, of a closed or shredded request: word for word the same, with the same status."""
    closed, path_closed = to_answer(host, inbox)
    host.workflow.reject(closed, Reason.OTHER, by=AMY)
    host.replies.edit(closed, by=AMY, mode="none", reason="told by telephone")
    host.replies.close(closed, by=AMY)
    _, used = to_verify(host, inbox)
    client.visit(used)
    client.form(used)
    shredded, path_shredded = to_answer(host, inbox)
    host.workflow.reject(shredded, Reason.OTHER, by=AMY)
    host.replies.edit(shredded, by=AMY, mode="none", reason="told by telephone")
    host.replies.close(shredded, by=AMY)
    host.shred(shredded, by=AMY)
    _, good = to_answer(host, inbox)
    token = good.rpartition("/")[2]
    wrong = [
        path_closed,
        used,
        path_shredded,
        f"/p/verify/{token}",
        f"/p/copy/{token}",
        f"/p/help/{token}",
        f"/p/answer/{token[:-1]}",
        f"/p/answer/{token.swapcase()}",
        "/p/answer/x",
        f"/p/copy/{'x' * 5000}",
        "/p/verify/%00",
        "/p/answer/%F0%9F%98%80",
    ]
    client.visit(good)
    pages = {client.get(path).text for path in wrong}
    assert len(pages) == 1
    for path in wrong:
        assert gone(client.get(path)), path
        assert gone(client.form(path, answer="x", code="1", do="fetch")), path
    assert client.get(good).status_code == 200
    with time_machine.travel(datetime.now(UTC) + timedelta(days=15)):
        assert gone(client.get(good))
        assert gone(client.form(good, answer="too late"))
    assert client.get("/p/nothing/x").status_code == 404


# --- answer ------------------------------------------------------------------------------------------------------------------------------


def test_the_person_answers(client: Client, agent: Client, host: Host, inbox: Inbox) -> None:
    """With words and files, and again: the agents read it in the conversation. What an agent wrote is shown, notes are not."""
    number, path = to_answer(host, inbox)
    host.conversation.note(number, "smells of fraud", by=AMY)
    page = client.visit(path)
    assert "Which account do you mean?" in page.text
    assert "fraud" not in page.text
    answer = client.form(path, answer="The blue one.\r\nAda", files={"files": ("passport.pdf", PDF, "application/pdf")})
    assert form_words("en")("links.answered_title") in answer.text
    client.form(path, answer="And the red one")
    said = [message for message in host.conversation.of(number) if message.direction == "in"]
    assert [message.body for message in said] == ["The blue one.\nAda", "And the red one"]
    assert [file.name for file in said[0].files] == ["passport.pdf"]
    assert "The blue one" not in client.get(path).text


def test_a_script_in_a_message_or_an_answer(client: Client, host: Host, inbox: Inbox) -> None:
    """It is text, on the page and on the way back."""
    script = "<script>alert(1)</script>"
    _, path = to_answer(host, inbox, f"Hello {script}")
    assert script not in client.visit(path).text
    answer = client.form(path, answer=script + "x" * 9000)
    assert answer.status_code == 400
    assert script not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ([("files", ("evil.exe", b"MZ\x90\x00" + b"\x00" * 100, "application/octet-stream"))], 400),
        ([("files", ("bomb.zip", b"PK\x03\x04" + b"\x00" * 100, "application/zip"))], 400),
        ([("files", ("empty.pdf", b"", "application/pdf"))], 400),
        ([("files", ("large.pdf", PDF + b" " * (1 << 20), "application/pdf"))], 400),
        ([("files", ("large.pdf", PDF + b" " * (3 << 20), "application/pdf"))], 413),
        ([("files", (f"{i}.pdf", PDF, "application/pdf")) for i in range(6)], 400),
    ],
)
def test_files_that_are_not_taken(client: Client, host: Host, inbox: Inbox, files: Any, status: int) -> None:
    """A program, an archive, nothing, too much, too many: refused with what may be sent; the words stay, and nothing is kept."""
    number, path = to_answer(host, inbox)
    client.visit(path)
    answer = client.form(path, files=files, answer="see the file")
    assert answer.status_code == status
    if status == 400:
        assert form_words("en")("links.answer_file", count=5, size=1) in answer.text
        assert "see the file" in answer.text
        assert 'aria-invalid="true"' in answer.text
    assert [message for message in host.conversation.of(number) if message.direction == "in"] == []
    assert host.files.of(number) == []


def test_an_empty_answer(client: Client, host: Host, inbox: Inbox) -> None:
    """It is asked for again."""
    _, path = to_answer(host, inbox)
    client.visit(path)
    answer = client.form(path, answer="  \n")
    assert answer.status_code == 400
    assert form_words("en")("links.answer_empty") in answer.text


def test_a_file_for_the_person(client: Client, host: Host, inbox: Inbox) -> None:
    """What was sent with a message is fetched behind the link; what the person sent does not come out again."""
    number = submit(host)
    info = host.files.attach(number, io.BytesIO(PDF), name="Straße.pdf", media_type="application/pdf", purpose="message", by=AMY)
    host.conversation.message(number, "Please see the file", by=AMY, files=[info.id])
    path = link(host, inbox)
    assert f"{path}/files/{info.id}" in client.visit(path).text
    answer = client.get(f"{path}/files/{info.id}")
    assert answer.content == PDF
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert "filename*=UTF-8''Stra%C3%9Fe.pdf" in answer.headers["content-disposition"]
    client.form(path, answer="mine", files={"files": ("mine.pdf", PDF, "application/pdf")})
    mine = max(file.id for file in host.files.of(number))
    for other in (mine, mine + 1, "x", "-1", "9" * 30):
        assert gone(client.get(f"{path}/files/{other}"))


def test_a_flood_of_answers(client: Client, host: Host, inbox: Inbox) -> None:
    """The link takes twenty; then it is like any other that is used up."""
    number, path = to_answer(host, inbox)
    client.visit(path)
    for i in range(20):
        assert client.form(path, answer=f"answer {i}").status_code == 200
    assert gone(client.form(path, answer="one more"))
    assert len([message for message in host.conversation.of(number) if message.direction == "in"]) == 20


# --- fetch a copy ------------------------------------------------------------------------------------------------------------------------


def test_a_copy_is_fetched_once_with_the_code(client: Client, host: Host, inbox: Inbox) -> None:
    """The link alone opens nothing: the code goes to the person's own address. With both it is downloaded, once."""
    number, path = to_copy(host)
    page = client.visit(path)
    assert number in page.text
    assert 'name="code"' not in page.text
    sent = client.form(path, do="send")
    assert (sent.status_code, sent.headers["location"]) == (303, path)
    page = client.get(path)
    assert 'autocomplete="one-time-code"' in page.text
    assert re.search(r"We have sent a 6-digit code to a…@example\.com at \d\d:\d\d UTC\.", page.text)
    assert ADA not in page.text
    code = code_in(inbox)
    wrong = client.form(path, do="fetch", code=f"{(int(code) + 1) % 10**6:06d}")
    assert wrong.status_code == 400
    assert form_words("en")("links.copy_wrong") in wrong.text
    right = client.form(path, do="fetch", code=f"{code[:3]} {code[3:]}")
    assert (right.status_code, right.headers["location"]) == (303, f"{path}?go=5")
    page = client.get(f"{path}?go=5")
    assert form_words("en")("links.copy_started") in page.text
    assert form_words("en")("links.copy_wrong") not in page.text
    assert f'content="0; url={path}/data"' in page.text
    answer = client.get(f"{path}/data")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["cache-control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as package:
        assert package.testzip() is None
    assert gone(client.get(path))
    assert gone(client.form(path, do="fetch", code=code))
    assert ("copy.delivered", "subject") in [(event["event"], event["actor"]) for event in host.history(number)]


def test_a_copy_that_breaks_off_is_taken_up_in_the_same_browser(live: Live, host: Host, inbox: Inbox) -> None:
    """The connection drops half way: that browser may begin again without a new code, every other visitor finds the link used up. Fetched
    whole, it is over for both. Neither HEAD nor GET uses anything up."""
    number, path = to_copy(host, large=True)
    with httpx.Client(base_url=live.url) as browser, httpx.Client(base_url=live.url) as scanner:
        page = browser.get(path)
        send = {"csrf": re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]}
        browser.post(path, data={**send, "do": "send"})
        right = browser.post(path, data={**send, "do": "fetch", "code": code_in(inbox)})
        assert right.headers["location"] == f"{path}?go=5"
        with browser.stream("GET", f"{path}/data") as answer:
            assert answer.status_code == 200
            size = int(answer.headers["content-length"])
            assert size > len(next(answer.iter_raw(1000)))
        until(lambda: "copy.broken_off" in {event["event"] for event in host.history(number)})
        for visitor in (browser, scanner, browser):
            visitor.head(path)
            visitor.head(f"{path}/data")
        assert scanner.get(f"{path}/data").status_code == 410
        assert "http-equiv" not in browser.get(f"{path}?go=5").text  # loaded again, the page that began a download begins none
        assert scanner.get(path).status_code == 410
        assert scanner.post(path, data={**send, "do": "fetch"}).status_code in (403, 410)
        page = browser.get(path)
        assert (page.status_code, "Attempts left: 4" in page.text, 'name="code"' in page.text) == (200, True, False)
        assert browser.post(path, data={**send, "do": "fetch"}).headers["location"] == f"{path}?go=4"
        page = browser.get(f"{path}?go=4")
        assert ("http-equiv" in page.text, "Attempts left: 3" in page.text) == (True, True)
        whole = browser.get(f"{path}/data")
        assert (whole.status_code, len(whole.content)) == (200, size)
        with zipfile.ZipFile(io.BytesIO(whole.content)) as package:
            assert package.testzip() is None
        until(lambda: "copy.delivered" in {event["event"] for event in host.history(number)})
        assert browser.get(path).status_code == 410
        assert browser.get(f"{path}/data").status_code == 410
        assert browser.post(path, data={**send, "do": "fetch"}).status_code == 410
    assert [event["event"] for event in host.history(number)].count("copy.started") == 2


def test_a_copy_is_not_downloaded_twice_at_once(client: Client, host: Host, inbox: Inbox) -> None:
    """While one download runs, the page says so, and takes nothing away."""
    _, path = to_copy(host)
    client.visit(path)
    client.form(path, do="send")
    token = path.rpartition("/")[2]
    secret = host.delivery.confirm(token, code_in(inbox))
    client.cookies.set(cookie_name(host, "pickup"), secret)
    under_way = host.delivery.take(token, secret)
    next(under_way.blocks)
    busy = client.get(f"{path}/data")
    assert busy.status_code == 409
    assert form_words("en")("links.copy_busy") in busy.text
    under_way.blocks.close()
    assert client.get(f"{path}/data").status_code == 200


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_page_says_that_the_download_has_started(browse: Callable[..., Page], host: Host, inbox: Inbox, scripts: bool) -> None:
    """After a wrong code and the right one: the file arrives, the old error is gone, and the page says what happens next. No script is needed."""
    _, path = to_copy(host)
    page = browse(java_script_enabled=scripts)
    page.goto(path)
    page.get_by_role("button", name="Send me the code").click()
    assert "We have sent a 6-digit code to a…@example.com" in page.get_by_role("status").last.inner_text()
    code = code_in(inbox)
    page.get_by_label("Code from the e-mail").fill(f"{(int(code) + 1) % 10**6:06d}")
    page.get_by_role("button", name="Download my data").click()
    assert form_words("en")("links.copy_wrong") in page.get_by_role("alert").inner_text()
    page.get_by_label("Code from the e-mail").fill(code)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download my data").click()
    with zipfile.ZipFile(download.value.path()) as package:
        assert package.testzip() is None
    assert page.locator("h1").inner_text() == form_words("en")("links.copy_started_title")
    assert page.get_by_role("alert").count() == 0


def test_codes_cannot_be_guessed_or_flooded(client: Client, host: Host, inbox: Inbox) -> None:
    """After ten wrong codes the link is dead, with the right code too; and only so many codes are sent."""
    _, path = to_copy(host)
    client.visit(path)
    statuses = [client.form(path, do="send").status_code for _ in range(12)]
    assert statuses[0] == 303
    assert statuses[-1] == 429
    assert len(inbox.letters) == statuses.count(303) <= 10
    code = code_in(inbox)
    app = create_app(host, engine=False)
    with Client(app, follow_redirects=False) as other:
        other.visit(path)
        guesses = [other.form(path, do="fetch", code=f"{(int(code) + 1 + i) % 10**6:06d}").status_code for i in range(10)]
        assert guesses[:9] == [400] * 9
        assert gone(other.form(path, do="fetch", code=code))


def test_a_code_that_cannot_be_sent(client: Client, host: Host, inbox: Inbox) -> None:
    """The page says to try again; the link stays good."""
    _, path = to_copy(host)
    client.visit(path)
    inbox.answer = "451 later"
    answer = client.form(path, do="send")
    assert answer.status_code == 503
    assert form_words("en")("links.later") in answer.text
    inbox.answer = "250 OK"
    assert client.form(path, do="send").status_code == 303


# --- help to connect ---------------------------------------------------------------------------------------------------------------------


def test_a_colleague_helps(client: Client, host: Host, inbox: Inbox) -> None:
    """They see what the connector needs, and nothing of any request; settings become a proposal; a secret in the open is refused."""
    path = to_help(host, inbox)
    page = client.visit(path)
    assert page.status_code == 200
    assert "The EU account &lt;please&gt;." in page.text
    assert "dsr sources add needy" in page.text
    assert ADA not in page.text
    refused = client.form(path, set_token="sk-live-canary", set_region="eu")
    assert refused.status_code in (400, 409)
    assert "sk-live-canary" not in str(host.inventory.offered("needy"))
    assert "Thank you" in client.form(path, set_token="env:HOME", set_region="eu").text
    offered = host.inventory.offered("needy")
    assert offered is not None
    assert offered.settings["region"] == "eu"
    assert gone(client.get(path))


# --- in a browser ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scripts", [True, False])
def test_in_a_browser(browse: Callable[..., Page], host: Host, inbox: Inbox, scripts: bool) -> None:
    """On a phone, with and without JavaScript: confirm, answer with a file, fetch a copy."""
    page = browse(viewport={"width": 375, "height": 740}, java_script_enabled=scripts)
    number, path = to_verify(host, inbox)
    page.goto(path)
    page.get_by_role("button", name="Yes, this is my address").click()
    page.get_by_role("heading", name="Thank you, your address is confirmed").wait_for()
    assert host.workflow.get(number).verified_by == "email"
    _, path = to_answer(host, inbox)
    page.goto(path)
    page.get_by_label("Your answer").fill("The blue one")
    page.get_by_label("Attach files").set_input_files({"name": "a.pdf", "mimeType": "application/pdf", "buffer": PDF})
    page.get_by_role("button", name="Send answer").click()
    page.get_by_role("heading", name="Thank you, we have received your answer").wait_for()
    _, path = to_copy(host)
    page.goto(path)
    page.get_by_role("button", name="Send me the code").click()
    page.get_by_label("Code from the e-mail").fill(code_in(inbox))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download my data").click()
    with zipfile.ZipFile(download.value.path()) as package:
        assert package.namelist()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(browse: Callable[..., Page], host: Host, inbox: Inbox, scheme: str) -> None:
    """axe finds nothing serious on any page behind a link, at the width of a phone; nothing is wider than the screen."""
    page = browse(color_scheme=scheme, viewport={"width": 375, "height": 740})
    copy = to_copy(host)[1]
    found = {}
    for path in (to_verify(host, inbox)[1], to_answer(host, inbox)[1], copy, f"{copy}?sent=1", to_help(host, inbox), "/p/verify/nothing"):
        page.goto(path)
        found[path] = findings(page)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found[path].append("wider than the screen")
    assert {path: rows for path, rows in found.items() if rows} == {}
