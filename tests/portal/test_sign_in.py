"""Signing in and out: what lets in, what ends a session, the first account, invitations."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyotp
import pytest
import time_machine

from dsr_sdk.errors import RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app
from tests.portal.conftest import PASSWORD, WORKFLOW, Client, Open, address
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page


def _in(client: Client) -> bool:
    """Whether the client is signed in."""
    return bool(client.get("/account").status_code == 200)


def _sign_in(client: Client, role: Role = Role.AGENT, password: str = PASSWORD, **more: str) -> int:
    client.visit("/sign-in")
    return client.form("/sign-in", account=address(role), password=password, **more).status_code


def test_signing_in_leads_to_the_page_that_was_wanted(client: Client) -> None:
    """The session's cookie is not readable by scripts, and the wanted page comes next; never one of another host."""
    wanted = client.get("/accounts")
    assert wanted.headers["location"] == "/sign-in?next=/accounts"
    page = client.visit(wanted.headers["location"])
    assert 'name="next" value="/accounts"' in page.text
    answer = client.form("/sign-in", account=address(Role.ADMIN), password=PASSWORD, next="/accounts")
    assert (answer.status_code, answer.headers["location"]) == (303, "/accounts")
    cookie = next(cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith("dsr_session="))
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert client.get("/accounts").status_code == 200
    assert client.get("/sign-in?next=//evil.example").headers["location"] == "/"


@pytest.mark.parametrize(
    ("account", "password"), [(address(Role.AGENT), "not the password"), ("nobody@example.com", PASSWORD), ("x", "plugh plugh plugh")]
)
def test_every_failure_reads_the_same(client: Client, account: str, password: str) -> None:
    """Nobody learns which accounts there are."""
    client.visit("/sign-in")
    answer = client.form("/sign-in", account=account, password=password)
    assert answer.status_code == 400
    assert "This account and password do not sign in" in answer.text
    assert password not in answer.text
    assert not _in(client)


def test_too_many_failures_lock(client: Client) -> None:
    """After ten wrong passwords the right one does not do either, for a while."""
    for _ in range(10):
        assert _sign_in(client, password="not the password") == 400
    assert _sign_in(client) == 400
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=16)):
        assert _sign_in(client) == 303


def test_signing_out_ends_the_session(agent: Client, host: Host) -> None:
    """The token is worth nothing afterwards, also for who has copied it."""
    token = agent.cookies["dsr_session"]
    assert agent.form("/sign-out").headers["location"] == "/sign-in"
    assert host.accounts.session(token) is None
    assert not _in(agent)


def test_signing_out_is_no_link(agent: Client) -> None:
    """A picture on a page of somebody else's signs nobody out."""
    assert agent.get("/sign-out").status_code == 405
    assert _in(agent)


def test_a_session_ends_when_nobody_does_anything(agent: Client) -> None:
    """After an hour without a request, and after twelve in any case."""
    start = datetime.now(UTC)
    with time_machine.travel(start + timedelta(minutes=59)):
        assert _in(agent)
    with time_machine.travel(start + timedelta(minutes=59 + 61)):
        assert not _in(agent)


def test_a_session_ends_in_any_case(agent: Client) -> None:
    """Somebody who never rests signs in again after twelve hours."""
    start = datetime.now(UTC)
    for half_hours in range(24):
        with time_machine.travel(start + timedelta(minutes=30 * half_hours)):
            assert _in(agent)
    with time_machine.travel(start + timedelta(hours=12, seconds=1)):
        assert not _in(agent)


def test_a_demoted_users_session_loses_its_rights_at_once(signed_in_as: Open, host: Host) -> None:
    """The role is that of this moment, not that of the sign-in: the next page is refused, and the next form too."""
    client = signed_in_as(Role.DATA_PRIVACY)
    host.accounts.set_role(address(Role.DATA_PRIVACY), Role.ADMIN, by="tests")
    assert client.get("/accounts").status_code == 200
    host.accounts.set_role(address(Role.DATA_PRIVACY), Role.READ_ONLY, by="tests")
    refused = client.get("/accounts")
    assert refused.status_code == 403
    assert "Ask an administrator" in refused.text
    assert client.form("/accounts/keys", name="key", role="admin").status_code == 403
    assert "/accounts" not in client.get("/account").text.split('aria-label="Main"')[1].split("</nav>")[0]


def test_a_deactivated_users_session_is_over(signed_in_as: Open, host: Host) -> None:
    """Not even the own account is shown any more."""
    client = signed_in_as(Role.SUPPORT)
    host.accounts.set_active(address(Role.SUPPORT), False, by="tests")
    assert not _in(client)
    assert _sign_in(client, Role.SUPPORT) == 400


def test_a_form_after_the_session_leads_back_to_its_page(agent: Client, host: Host) -> None:
    """Whoever presses a button too late signs in, and comes back to the page the button was on."""
    host.accounts.sign_out_everywhere(address(Role.AGENT))
    answer = agent.post("/account/name", data={"name": "x"}, headers={"referer": "http://testserver/account?x=1"})
    assert answer.headers["location"] == "/sign-in?next=/account?x=1"
    assert agent.get("/account", headers={"hx-request": "true"}).headers["hx-redirect"] == "/sign-in?next=/account"


# --- the second factor ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(host: Host) -> str:
    """The agent's second factor, turned on an hour ago."""
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=1)):
        secret, _ = host.accounts.enable_totp(address(Role.AGENT))
        host.accounts.confirm_totp(address(Role.AGENT), pyotp.TOTP(secret).now())
    return secret


def _half(text: str) -> str:
    found = re.search(r'name="half" value="([^"]+)"', text)
    assert found is not None
    return found[1]


def test_the_second_factor_is_asked_for_in_a_second_step(client: Client, secret: str) -> None:
    """The password is typed once; a wrong code asks again, the right one lets in."""
    client.visit("/sign-in")
    step = client.form("/sign-in", account=address(Role.AGENT), password=PASSWORD)
    assert step.status_code == 200
    assert PASSWORD not in step.text
    assert not _in(client)
    wrong = client.form("/sign-in", half=_half(step.text), code="000000")
    assert wrong.status_code == 400
    assert client.form("/sign-in", half=_half(wrong.text), code=pyotp.TOTP(secret).now()).status_code == 303
    assert _in(client)


def test_a_first_step_does_not_hold_for_ever(client: Client, secret: str) -> None:
    """Five minutes later, or changed by a letter, the password is asked for again."""
    client.visit("/sign-in")
    half = _half(client.form("/sign-in", account=address(Role.AGENT), password=PASSWORD).text)
    assert client.form("/sign-in", half=half[:-8] + "AAAAAAA=", code=pyotp.TOTP(secret).now()).status_code == 400
    later = datetime.now(UTC) + timedelta(minutes=6)
    with time_machine.travel(later):
        answer = client.form("/sign-in", half=half, code=pyotp.TOTP(secret).now())
    assert answer.status_code == 400
    assert "the time for the code is over" in answer.text.lower()


# --- the first account ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def empty(memory: Path, monkeypatch: pytest.MonkeyPatch, world_template: Path, tmp_path: Path) -> World:
    """A host without any account."""
    world = World(tmp_path / "empty", monkeypatch, world_template, None)
    world.tables = WORKFLOW
    return world


def test_the_first_start_leads_to_the_set_up(empty: World) -> None:
    """With the token that was printed, and with nothing else, the first admin is made and signed in; then the door is closed."""
    with empty.stack:
        host = empty.open()
        client = Client(create_app(host, engine=False), follow_redirects=False)
        assert client.get("/").headers["location"] == "/sign-in"
        assert client.get("/sign-in").headers["location"] == "/set-up"
        client.visit("/set-up")
        fields = {"account": "first@example.com", "name": "First", "password": PASSWORD, "again": PASSWORD}
        assert client.form("/set-up", token="guessed", **fields).status_code == 400
        token = host.accounts.first_admin_token()
        assert token in client.visit(f"/set-up/{token}").text
        assert client.form("/set-up", token=token, **{**fields, "again": "something else"}).status_code == 400
        answer = client.form("/set-up", token=token, **fields)
        assert answer.headers["location"] == "/"
        assert client.get("/accounts").status_code == 200
        stranger = Client(create_app(host, engine=False), follow_redirects=False)
        assert stranger.get(f"/set-up/{token}").headers["location"] == "/sign-in"
        stranger.visit("/sign-in")
        assert stranger.form("/set-up", token=token, **{**fields, "account": "second@example.com"}).status_code == 400
        assert [account.account for account in host.accounts.list()] == ["first@example.com"]


def test_tokens_are_not_guessed_in_bulk(empty: World) -> None:
    """After ten attempts a minute is taken."""
    with empty.stack:
        client = Client(create_app(empty.open(), engine=False), follow_redirects=False)
        client.visit("/set-up")
        answers = [client.form("/set-up", token=str(n), account="a@example.com", name="a", password="p", again="p").status_code for n in range(11)]
        assert answers == [400] * 10 + [429]


# --- invitations ------------------------------------------------------------------------------------------------------------------------


def test_an_invitation_sets_a_password_once(client: Client, host: Host) -> None:
    """The link opens a form, the form sets the password, and neither does it again."""
    host.accounts.create("new@example.com", "New", Role.SUPPORT, by="tests")
    token = host.accounts.invite("new@example.com", by="tests")
    page = client.visit(f"/join/{token}")
    assert "new@example.com" in page.text
    assert client.form(f"/join/{token}", password="short", again="short").status_code == 400
    assert client.form(f"/join/{token}", password=PASSWORD, again=PASSWORD).headers["location"] == "/sign-in"
    assert client.get(f"/join/{token}").status_code == 400
    assert client.form(f"/join/{token}", password=PASSWORD + "!", again=PASSWORD + "!").status_code == 400
    client.visit("/sign-in")
    assert client.form("/sign-in", account="new@example.com", password=PASSWORD).status_code == 303


def test_a_wrong_invitation_tells_nothing(client: Client, host: Host) -> None:
    """Unknown, used and expired read the same."""
    host.accounts.create("new@example.com", "New", Role.SUPPORT, by="tests")
    with time_machine.travel(datetime.now(UTC) - timedelta(days=4)):
        expired = host.accounts.invite("new@example.com", by="tests")
    with pytest.raises(RequestError):
        host.accounts.invited(expired)

    def told(token: str) -> str:
        return re.sub(r'value="[^"]*"|href="[^"]*"', "", client.get(f"/join/{token}").text)

    assert told(expired) == told("unknown")


def test_signing_in_by_keyboard_without_scripts(browse: Callable[..., Page]) -> None:
    """In a real browser that runs no script: skip link first, then the form, the page that was wanted, and out again."""
    page = browse(java_script_enabled=False)
    page.goto("/account")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Tab")
    page.keyboard.type(address(Role.AGENT))
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="Your account").wait_for()
    page.get_by_role("button", name="Sign out", exact=True).press("Enter")
    page.get_by_role("heading", level=1, name="Sign in").wait_for()
    assert page.get_by_role("status").inner_text().strip() == "You are signed out."


def test_a_second_press_sends_nothing(browse: Callable[..., Page], host: Host) -> None:
    """With scripts, a form that is on its way is not sent twice, and the browser complains about nothing of ours."""
    page = browse(Role.AGENT)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    sent: list[str] = []
    page.goto("/account")
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.get_by_label("Name", exact=True).fill("Ada")
    page.evaluate("() => { const form = document.querySelector('form[action=\"/account/name\"]'); form.requestSubmit(); form.requestSubmit(); }")
    page.get_by_text("Your name is changed.").wait_for()
    assert len(sent) == 1
    assert host.accounts.get(address(Role.AGENT)).name == "Ada"
    assert not complaints
