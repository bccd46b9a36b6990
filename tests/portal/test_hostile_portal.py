"""What a hostile visitor, a careless hand and odd input must not be able to do in the portal. Each test was a hole once."""

from __future__ import annotations

import http.client
import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.request import Request as Call

import pytest
import time_machine
from fastapi import FastAPI
from starlette.requests import Request

from dsr_sdk.errors import TransientError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import Purpose
from dsr_sdk.host.desk import now
from dsr_sdk.host.people.roles import Role
from dsr_sdk.host.settings import OidcSettings
from dsr_sdk.portal import create_app, security
from dsr_sdk.portal.security import client_of, cookie_name
from dsr_sdk.portal.single_sign_on import Provider
from tests.portal.conftest import PASSWORD, WORKFLOW, Client, Live, address
from tests.portal.test_requests_page import asked
from tests.smtp import Inbox
from tests.toys import Toy
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

BY = address(Role.AGENT)
HOME = {"origin": "http://testserver"}
PDF = b"%PDF-1.7\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF\n"
HUGE = "9" * 25


@pytest.fixture
def portal_world(portal_world: World, inbox: Inbox) -> World:
    """With a mail server and a data source."""
    portal_world.mail = inbox.toml
    portal_world.add("shop", Toy, None, "ada@example.com")
    return portal_world


def attach(host: Host, number: str, purpose: str, by: str = BY) -> int:
    """A file of a request."""
    return host.files.attach(number, io.BytesIO(PDF), name="proof.pdf", purpose=purpose, by=by).id


# --- who one is, as far as limits go -------------------------------------------------------------------------------------------------------


def test_a_visitor_does_not_choose_the_address_they_are_counted_by(portal_world: World) -> None:
    """Some proxies write their entry into a header of its own, below the one that the visitor has sent: the last one counts, not the first."""
    portal_world.tables = WORKFLOW + "\n[portal]\ntrust_proxy = true"
    app = create_app(portal_world.open(), engine=False)
    headers = [(b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-for", b"203.0.113.9")]
    assert client_of(Request({"type": "http", "app": app, "headers": headers, "client": ("192.0.2.1", 5)})) == "203.0.113.9"


@pytest.mark.parametrize(
    ("entry", "client"),
    [("203.0.113.9:49152", "203.0.113.9"), ("[2001:db8::1]:49152", "2001:db8::1"), ("2001:db8::1", "2001:db8::1")],
)
def test_a_connection_is_no_client_of_its_own(portal_world: World, entry: str, client: str) -> None:
    """Some proxies write the port as well, which is another one each time."""
    portal_world.tables = WORKFLOW + "\n[portal]\ntrust_proxy = true"
    app = create_app(portal_world.open(), engine=False)
    scope = {"type": "http", "app": app, "headers": [(b"x-forwarded-for", entry.encode())], "client": ("192.0.2.1", 5)}
    assert client_of(Request(scope)) == client


def test_one_subscriber_is_one_client() -> None:
    """Of IPv6 the network is counted: one subscriber has 2^64 addresses, and would never meet a limit."""
    limiter = security.Limiter()
    assert [limiter.hit("2/minute", "try", f"2001:db8::{n}") for n in range(1, 4)] == [True, True, False]
    assert limiter.hit("2/minute", "try", "2001:db8:1::1")


def test_a_key_is_one_key_however_it_is_written(host: Host, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and capitals before an API key do not make it another one for the limit."""
    monkeypatch.setattr("dsr_sdk.portal.routes.api.CALLS", "2/minute")
    _, key = host.accounts.make_key("shop", Role.SUPPORT, by="tests")
    headers = [f"Bearer {key}", f"bearer {key}", f"Bearer    {key}"]
    assert [client.get("/api/v1/requests", headers={"authorization": text}).status_code for text in headers] == [200, 200, 429]


# --- what is read of whom ------------------------------------------------------------------------------------------------------------------


def _upload(live: Live, path: str, size: int) -> tuple[int, int]:
    """Send a form with a file as anybody may; the status, and how much was taken before it was told."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=20)
    connection.putrequest("POST", path)
    for name, value in (("origin", live.url), ("content-type", "multipart/form-data; boundary=x"), ("content-length", str(size))):
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(head)  # and not a byte more: whoever waits for the rest does not answer
    try:
        answer = connection.getresponse()
        answer.read(100)
        return answer.status, len(head)
    finally:
        connection.close()


@pytest.mark.parametrize(("path", "status"), [("/sign-in", 403), ("/privacy/en", 403), ("/p/verify/x", 403), ("/p/answer/made-up", 410)])
def test_a_visitor_uploads_nothing_where_no_file_is_asked_for(live: Live, path: str, status: int) -> None:
    """A form with files is answered before its file is there: otherwise anybody fills the disk with 26 MB at a time, without any link."""
    assert _upload(live, path, 20 * 1024 * 1024)[0] == status


def test_a_link_that_holds_takes_files(host: Host, client: Client) -> None:
    """The person it was sent to can still send some."""
    number = host.submit(asked())
    with host.conversation.deciding() as (connection, book):
        token = host.links.make(Purpose.ANSWER, case=number, connection=connection, book=book, valid=timedelta(days=1), uses=2)
    client.visit(f"/p/answer/{token}")
    assert client.form(f"/p/answer/{token}", answer="Here", files={"files": ("a.pdf", PDF, "application/pdf")}).status_code == 200
    assert [message.body for message in host.conversation.of(number)] == ["Here"]
    assert client.post(f"/p/answer/{token}", data={"answer": "x"}, headers=HOME).status_code == 403


def test_the_api_takes_a_megabyte_whatever_it_is_called(host: Host, client: Client) -> None:
    """A body does not become larger by calling itself a file."""
    _, key = host.accounts.make_key("shop", Role.SUPPORT, by="tests")
    for kind in ("application/json", "text/csv", "multipart/form-data; boundary=x"):
        headers = {"authorization": f"Bearer {key}", "content-type": kind}
        assert client.post("/api/v1/requests", content=b" " * (1024 * 1024 + 1), headers=headers).status_code == 413, kind


# --- sessions and accounts -----------------------------------------------------------------------------------------------------------------


def test_a_page_that_asks_by_itself_keeps_nobody_signed_in(agent: Client, host: Host) -> None:
    """The panel looks every two seconds while something works. A screen that was left alone ends all the same."""
    number = host.submit(asked())
    host.workflow.accept(number, by=BY)
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(3):
            clock.shift(timedelta(minutes=25))
            answer = agent.get(f"/requests/{number}/panel", headers={"hx-request": "true"})
        assert answer.status_code == 401
        assert answer.headers["hx-redirect"].startswith("/sign-in")


def test_what_a_person_asks_for_keeps_them_signed_in(agent: Client, host: Host) -> None:
    """The same three looks, by the person."""
    with time_machine.travel(now(), tick=False) as clock:
        for _ in range(3):
            clock.shift(timedelta(minutes=25))
            assert agent.get("/requests").status_code == 200


def test_an_unlocked_screen_is_not_the_account(admin: Client, host: Host) -> None:
    """An admin's own password and second factor change only for who knows the password, not by the page about other people."""
    mine = re.search(r'href="/accounts/(\w{16})">Person admin', admin.get("/accounts").text)
    assert mine is not None
    page = admin.get(f"/accounts/{mine[1]}").text
    assert "/invite" not in page
    assert 'href="/account"' in page
    for action in ("invite", "second-factor"):
        refused = admin.form(f"/accounts/{mine[1]}/{action}")
        assert refused.status_code == 400
        assert "/join/" not in refused.text
    other = re.search(r'href="/accounts/(\w{16})">Person agent', admin.get("/accounts").text)
    assert other is not None
    assert "/join/" in admin.form(f"/accounts/{other[1]}/invite").text


def test_codes_of_a_second_factor_are_not_guessed(agent: Client, host: Host) -> None:
    """Turning one on takes a code of six digits; ten tries are enough for a person."""
    agent.form("/account/second-factor", current=PASSWORD)
    tries = [agent.form("/account/second-factor/confirm", secret="x", uri="otpauth://totp/x", code="000000").status_code for _ in range(11)]
    assert tries[:10] == [400] * 10
    assert tries[10] == 429


def test_a_silent_provider_does_not_take_the_portal_along(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Visitors who go to sign in while the identity provider keeps silent wait for it once, not one after the other."""
    asked_for: list[str] = []

    def silence(self: Provider, request: Call) -> dict[str, Any]:
        asked_for.append(request.full_url)
        time.sleep(0.06)
        raise TransientError("the identity provider cannot be reached")

    monkeypatch.setattr("dsr_sdk.portal.single_sign_on._TIMEOUT", 0.1)
    monkeypatch.setattr(Provider, "_fetch", silence)
    provider = Provider(host, OidcSettings(issuer="https://login.example.com", client_id="portal", client_secret="env:NOWHERE"))
    for _ in range(3):
        with pytest.raises(TransientError):
            provider._described()
    assert len(asked_for) == 1


def test_no_variable_of_a_shell_reroutes_the_clients_secret() -> None:
    """As towards vendors, proxies of the environment are ignored where a secret is sent."""
    code = "from dsr_sdk.portal import single_sign_on as s; print([vars(h)['proxies'] for h in s._OPENER.handlers if 'proxies' in vars(h)])"
    proxies = {"https_proxy": "http://192.0.2.1:3128", "http_proxy": "http://192.0.2.1:3128"}
    ran = subprocess.run([sys.executable, "-c", code], env={**os.environ, **proxies}, capture_output=True, text=True, check=True)
    assert "192.0.2.1" not in ran.stdout


# --- files ---------------------------------------------------------------------------------------------------------------------------------


def test_only_a_proof_of_identity_is_thrown_away_in_review(agent: Client, host: Host) -> None:
    """Not what the person has sent, nor what proves a deletion, nor a file of another request, whatever stands in the address."""
    number, other = host.submit(asked()), host.submit(asked(email="b@example.com"))
    kept = [attach(host, number, "message", "subject"), attach(host, number, "evidence")]
    for id_ in kept:
        assert agent.form(f"/requests/{number}/files/{id_}/remove").status_code == 400
    proof = attach(host, number, "identity")
    assert agent.form(f"/requests/{other}/files/{proof}/remove").status_code == 400
    assert agent.form(f"/requests/{number}/files/{proof}/remove").status_code == 303
    assert [info.id for info in host.files.of(number)] == kept


def test_a_file_is_removed_after_being_asked(agent: Client, host: Host) -> None:
    """It cannot be brought back, so a slip of the hand does not do it: the button that does stands inside one that asks."""
    number = host.submit(asked())
    id_ = attach(host, number, "identity")
    asking = re.findall(r'<details class="confirm".*?</details>', agent.get(f"/requests/{number}").text, re.DOTALL)
    assert any(f"/requests/{number}/files/{id_}/remove" in text for text in asking)


def test_what_is_not_handed_out_is_not_noted_as_read(agent: Client, host: Host) -> None:
    """The generated copy has an address of its own. Asked for as a file it is not handed out, and nobody is said to have opened it."""
    number = host.submit(asked("copy"))
    copy = host.files.keep(number, [b"PK"], name="copy.zip", media_type="application/zip", purpose="package", source=None, by=BY)
    assert agent.get(f"/requests/{number}/files/{copy.id}").status_code == 404
    assert "file.read" not in [event["event"] for event in host.history(number)]
    assert agent.get(f"/requests/{number}/files/{attach(host, number, 'identity')}").status_code == 200
    assert [event["event"] for event in host.history(number)].count("file.read") == 1


def test_a_file_for_a_copy_belongs_to_a_copy(agent: Client, host: Host) -> None:
    """Archives are taken for copies alone; calling one that does not make a deletion a copy."""
    number = host.submit(asked())
    files = {"file": ("a.zip", b"PK\x03\x04" + b"\0" * 100, "application/zip")}
    assert agent.form(f"/requests/{number}/copy/files", files=files).status_code == 400
    assert host.files.of(number) == []


# --- slips of the hand ---------------------------------------------------------------------------------------------------------------------


def test_enter_in_the_subject_sends_nothing(agent: Client, host: Host) -> None:
    """Enter presses the first button of a form. That of the reply saves: it does not send a letter that cannot be unsent, and close."""
    number = host.submit(asked("do_not_mail"))
    host.workflow.accept(number, by=BY)
    host.workflow.finish(number, by=BY, all_done=True)
    page = agent.get(f"/requests/{number}").text
    form = re.search(rf'<form [^>]*action="/requests/{number}/reply">.*?</form>', page, re.DOTALL)
    assert form is not None
    buttons = re.findall(r'<button type="submit"[^>]*|<button [^>]*type="submit"[^>]*', form[0])
    assert 'value="save"' in buttons[0]
    assert any('value="close"' in button for button in buttons[1:])


def test_enter_saves_in_a_browser(browse: Callable[..., Page], host: Host, inbox: Inbox) -> None:
    """The same, pressed for real."""
    number = host.submit(asked("do_not_mail"))
    host.workflow.accept(number, by=BY)
    host.workflow.finish(number, by=BY, all_done=True)
    page = browse(Role.AGENT)
    page.goto(f"/requests/{number}")
    page.fill("#f-subject", "Another subject")
    page.press("#f-subject", "Enter")
    page.get_by_text("It is not sent yet").wait_for()
    assert (host.workflow.get(number).stage, inbox.letters) == ("reply", [])
    assert host.replies.get(number).subject == "Another subject"


def test_an_automatic_template_asks_first(admin: Client, host: Host, inbox: Inbox) -> None:
    """It answers everybody who waits, at once and unseen: one tick and a press on *Save* are not enough, and what was written stays."""
    number = host.submit(asked("do_not_mail"))
    host.workflow.accept(number, by=BY)
    host.workflow.finish(number, by=BY, all_done=True)
    fields = {"name": "Short", "type": "do_not_mail", "decision": "accepted", "language": "en", "subject": "S", "body": "Written text"}
    answer = admin.form("/templates/new", **fields, preferred="1", automatic="1")
    assert answer.status_code == 400
    assert "1 request waits for a reply now" in answer.text
    assert "Written text" in answer.text
    assert host.replies.automatic() == 0
    assert admin.form("/templates/new", **fields, preferred="1", automatic="1", sure="1").status_code == 303
    assert host.replies.automatic() == 1
    assert len(inbox.letters) == 1
    made = next(row for row in host.templates.list() if row.automatic)
    again = {**fields, "preferred": "1", "automatic": "1", "revision": str(made.revision)}
    assert admin.form(f"/templates/{made.id}", **{**again, "body": "Other text"}).status_code == 303
    wider = {**again, "type": "", "revision": str(made.revision + 1)}
    assert admin.form(f"/templates/{made.id}", **wider).status_code == 400


def test_an_answer_is_read_where_it_is_shown(agent: Client, host: Host) -> None:
    """The page on which a copy is redacted does not show the conversation: an answer that came meanwhile stays new."""
    number = host.submit(asked("copy"))
    host.workflow.accept(number, by=BY)
    with host.conversation.deciding() as (connection, book):
        token = host.links.make(Purpose.ANSWER, case=number, connection=connection, book=book, valid=timedelta(days=1))
    host.conversation.answer(token, "Please leave out the photos")
    assert agent.get(f"/requests/{number}/copy").status_code == 200
    assert host.conversation.unread(number) == 1
    assert agent.get(f"/requests/{number}").status_code == 200
    assert host.conversation.unread(number) == 0


def test_a_request_that_is_entered_twice_is_one(agent: Client, host: Host) -> None:
    """A button pressed twice makes one case; the next person, entered with the same page by the back button, another."""
    agent.visit("/requests/new")
    once = re.search(r'name="once" value="([^"]+)"', agent.get("/requests/new").text)
    assert once is not None
    fields = {"type": "deletion", "email": "ada@example.com", "channel": "agent", "language": "en", "once": once[1]}
    first, second = (agent.form("/requests/new", **fields).headers["location"] for _ in range(2))
    assert first == second
    assert agent.form("/requests/new", **{**fields, "email": "bob@example.com"}).headers["location"] != first
    assert len(list(host.cases())) == 2


def test_a_message_that_is_pressed_twice_is_sent_once(agent: Client, host: Host, inbox: Inbox) -> None:
    """The same words of the same agent, a moment later, are the same message; others are not, nor are they after an answer or a while."""
    number = host.submit(asked())
    for text in ("Which account?", "Which account?", "Which account do you mean?", "Which account?"):
        assert agent.form(f"/requests/{number}/message", kind="message", body=text).status_code == 303
    assert len(inbox.letters) == 3
    with time_machine.travel(now() + timedelta(minutes=2)):
        host.conversation.message(number, "Which account?", by=BY)
    assert len(inbox.letters) == 4


def test_a_search_that_is_pressed_often_is_made_once(agent: Client, app: FastAPI, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search asks every vendor. While one waits or runs, the same one is not begun again; afterwards it is."""
    number = host.submit(asked())
    host.workflow.accept(number, by=BY)
    made: list[str] = []
    free = threading.Event()

    def search(case: str, **more: Any) -> None:
        made.append(case)
        free.wait(10)

    monkeypatch.setattr(host.processing, "search", search)
    for _ in range(5):
        assert agent.form(f"/requests/{number}/search").status_code == 303
    free.set()
    until = time.monotonic() + 10
    while app.state.searches.running(number):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert made == [number]
    agent.form(f"/requests/{number}/search")
    app.state.searches.close()
    assert made == [number, number]


def test_no_file_is_dropped_in_silence(agent: Client, host: Host) -> None:
    """A note takes no files: who has chosen one is told, and the text stays."""
    number = host.submit(asked())
    answer = agent.form(f"/requests/{number}/message", files={"file": ("a.pdf", PDF, "application/pdf")}, kind="note", body="See the letter")
    assert answer.status_code == 400
    assert "A note has no files" in answer.text
    assert "See the letter" in answer.text
    assert host.conversation.of(number) == []


# --- odd input -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def numbers(host: Host) -> tuple[str, str]:
    """A copy that is processed, and a deletion in review."""
    copy, deletion = host.submit(asked("copy")), host.submit(asked())
    host.workflow.accept(copy, by=BY)
    return copy, deletion


@pytest.mark.parametrize(
    "path",
    [
        "/requests/{copy}/files/" + HUGE,
        "/requests/{copy}/copy?after=" + HUGE,
        "/requests/{copy}/copy?after=" + "9" * 5000,
        "/requests/{copy}/copy?after=²",
        "/requests?due_before=9999-12-31",
        "/requests?due_after=0001-01-01",
        "/requests?source=%00",
        "/requests?agent=%00",
        "/sources/%00",
        "/sources/%00/connect",
    ],
)
def test_no_address_is_an_error_of_ours(admin: Client, numbers: tuple[str, str], path: str) -> None:
    """Numbers that no database has a column for, the last day of the calendar, characters that PostgreSQL does not store."""
    assert admin.get(path.format(copy=numbers[0])).status_code < 500


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/requests/{copy}/mails/" + HUGE + "/sent", {}),
        ("/requests/{copy}/files/" + HUGE + "/remove", {}),
        ("/requests/{copy}/copy/restore/" + HUGE, {}),
        ("/requests/{copy}/copy/files/" + HUGE + "/remove", {}),
        ("/requests/filters/" + HUGE + "/drop", {}),
        ("/accounts/keys/" + HUGE + "/revoke", {}),
        ("/sources/%00/remove", {"revision": "0"}),
        ("/sources/proposals", {"do": "accept:\0"}),
        ("/templates/new", {"name": "a", "language": "en", "subject": "a\0", "body": "b\0"}),
        ("/requests/{deletion}/merge", {"into": "\0", "revision": "0"}),
        ("/requests/{copy}/copy/redact", {"fields": "\0|b|c|d", "reason": "x"}),
    ],
)
def test_no_form_is_an_error_of_ours(admin: Client, numbers: tuple[str, str], path: str, fields: dict[str, str]) -> None:
    """The same in forms: what cannot be is told to whoever sent it."""
    answer = admin.form(path.format(copy=numbers[0], deletion=numbers[1]), **fields)
    assert answer.status_code in (400, 404), answer.status_code


def test_the_last_day_of_the_calendar_is_a_day(host: Host, client: Client, numbers: tuple[str, str]) -> None:
    """Everything is due before it."""
    _, key = host.accounts.make_key("shop", Role.READ_ONLY, by="tests")
    answer = client.get("/api/v1/requests?due_before=9999-12-31", headers={"authorization": f"Bearer {key}"})
    assert (answer.status_code, len(answer.json()["requests"])) == (200, 2)


def test_postgresql_meets_no_character_it_cannot_store(world: World) -> None:
    """What it complains of as of an error in the program is refused before; on both databases alike."""
    world.tables = WORKFLOW
    host = world.open()
    host.accounts.create(address(Role.ADMIN), "Admin", Role.ADMIN, PASSWORD, by="tests")
    admin = Client(create_app(host, engine=False), follow_redirects=False)
    token = host.accounts.sign_in(address(Role.ADMIN), PASSWORD, client="tests")
    admin.cookies.set(cookie_name(host, "session"), token)
    session = host.accounts.session(token)
    assert session is not None
    admin.csrf = session.csrf
    for path in ("/sources/%00", "/requests?source=%00", "/requests?agent=%00", "/requests?due_before=9999-12-31"):
        assert admin.get(path).status_code < 500, path
    assert admin.form("/templates/new", name="a", language="en", subject="a", body="b\0").status_code == 400
    assert admin.form("/sources/proposals", do="dismiss:\0").status_code == 400


@pytest.mark.parametrize("path", ["/requests/%E2%82%AC", "/sources/%E2%82%AC", "/requests/a%26b%3D%23c"])
def test_who_is_signed_out_is_led_back_from_any_address(client: Client, path: str) -> None:
    """For scripts, too, whose header takes no letter outside Latin-1; and nothing in it ends the target early."""
    part = client.get(path, headers={"hx-request": "true"})
    assert part.status_code == 401
    assert part.headers["hx-redirect"].startswith("/sign-in?next=/")
    assert part.headers["hx-redirect"].isascii()
    assert client.get(path).status_code == 303
    assert "&b" not in part.headers["hx-redirect"]
