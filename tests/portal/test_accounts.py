"""People and keys, and the own account."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta

import pyotp
import time_machine

from dsr_sdk.host import Host
from dsr_sdk.host.people.roles import Role
from tests.portal.conftest import PASSWORD, Client, Open, address

NEW = "another sentence that opens doors"


def _person(admin: Client, name: str) -> str:
    """The address of a person's page."""
    found = re.search(rf'href="(/accounts/[0-9a-f]+)">{re.escape(name)}<', admin.get("/accounts").text)
    assert found is not None
    return found[1]


# --- people -----------------------------------------------------------------------------------------------------------------------------


def test_a_person_is_added_and_comes_in(admin: Client, client: Client, host: Host) -> None:
    """The admin gets a link to hand over, shown once; with it the person sets a password and signs in."""
    answer = admin.form("/accounts/new", account="New@Example.com", name="New Person", role="agent")
    assert answer.status_code == 200
    link = re.search(r"http://testserver(/join/[\w-]+)", answer.text)
    assert link is not None
    client.visit(link[1])
    assert client.form(link[1], password=NEW, again=NEW).status_code == 303
    client.visit("/sign-in")
    assert client.form("/sign-in", account="new@example.com", password=NEW).status_code == 303
    assert host.accounts.get("new@example.com").role is Role.AGENT
    assert host.history("HOST")[-1]["actor"] == "new@example.com"


def test_a_wrong_field_is_said_beside_the_form(admin: Client) -> None:
    """What was typed is still there."""
    answer = admin.form("/accounts/new", account="no address", name="New Person", role="agent")
    assert answer.status_code == 400
    assert "Is not an e-mail address" in answer.text
    assert 'value="New Person"' in answer.text
    assert admin.form("/accounts/new", account=address(Role.AGENT), name="Twice", role="agent").status_code == 400


def test_no_address_holds_an_e_mail_address(admin: Client) -> None:
    """Addresses of pages end up in histories and logs."""
    for url in ("/accounts", _person(admin, "Person agent")):
        assert not [link for link in re.findall(r'(?:href|action)="([^"]*)"', admin.get(url).text) if "@" in link]


def test_roles_and_access_are_changed(admin: Client, host: Host) -> None:
    """Role, name, sessions, lock, deactivation: each is one press, and the page says what was done."""
    url, account = _person(admin, "Person support"), address(Role.SUPPORT)
    assert admin.form(f"{url}/role", role="agent").headers["location"] == url
    assert "The role is now: agent." in admin.get(url).text
    assert "The role is now" not in admin.get(url).text
    assert host.accounts.get(account).role is Role.AGENT
    admin.form(f"{url}/name", name="Other Name")
    token = host.accounts.sign_in(account, PASSWORD, client="tests")
    admin.form(f"{url}/sign-out")
    assert host.accounts.session(token) is None
    admin.form(f"{url}/active", active="0")
    assert not host.accounts.get(account).active
    assert "Deactivated" in admin.get(url).text
    admin.form(f"{url}/active", active="1")
    found = host.accounts.get(account)
    assert (found.active, found.name) == (True, "Other Name")


def test_a_locked_account_is_seen_and_unlocked(admin: Client, client: Client, host: Host) -> None:
    """An admin ends a lock before its time."""
    client.visit("/sign-in")
    for _ in range(10):
        client.form("/sign-in", account=address(Role.AGENT), password="wrong wrong wrong")
    url = _person(admin, "Person agent")
    assert "Locked" in admin.get(url).text
    admin.form(f"{url}/unlock")
    assert "Locked" not in admin.get(url).text
    assert client.form("/sign-in", account=address(Role.AGENT), password=PASSWORD).status_code == 303


def test_the_last_admin_stays(admin: Client, host: Host) -> None:
    """Nobody locks everybody out."""
    url = _person(admin, "Person admin")
    for action, fields in (("role", {"role": "agent"}), ("active", {"active": "0"})):
        answer = admin.form(f"{url}/{action}", **fields)
        assert answer.status_code == 409
        assert "Make another admin first" in answer.text
    assert host.accounts.get(address(Role.ADMIN)).role is Role.ADMIN


def test_a_forgotten_password_is_set_by_a_link(admin: Client, host: Host) -> None:
    """The old one does until the new one is set."""
    answer = admin.form(f"{_person(admin, 'Person agent')}/invite")
    token = re.search(r"/join/([\w-]+)", answer.text)
    assert token is not None
    host.accounts.accept_invite(token[1], NEW)
    assert host.accounts.sign_in(address(Role.AGENT), NEW, client="tests")


# --- keys -------------------------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_revoked(admin: Client, host: Host) -> None:
    """Its text is on the page that made it, and on no other."""
    text = re.search(r"dsr_[\w-]{43}", admin.form("/accounts/keys", name="Web shop", role="support", days="30").text)
    assert text is not None
    key = host.accounts.key(text[0])
    assert key is not None
    assert (key.name, key.role) == ("Web shop", Role.SUPPORT)
    page = admin.get("/accounts/keys").text
    assert "Web shop" in page
    assert text[0] not in page
    assert admin.form(f"/accounts/keys/{key.id}/revoke").status_code == 303
    assert host.accounts.key(text[0]) is None
    assert "Revoked" in admin.get("/accounts/keys").text


def test_a_key_needs_a_name_and_days(admin: Client) -> None:
    """What is wrong is said above the form."""
    assert "Needs 1 to 100 characters" in admin.form("/accounts/keys", name="", role="support", days="30").text
    assert admin.form("/accounts/keys", name="x", role="support", days="many").status_code == 400
    assert admin.form("/accounts/keys", name="x", role="nobody", days="").status_code == 400


# --- the own account --------------------------------------------------------------------------------------------------------------------


def test_the_own_password_needs_the_old_one(agent: Client, host: Host) -> None:
    """At an unlocked screen nobody takes an account over; afterwards every session is over."""
    wrong = agent.form("/account/password", current="not the password", password=NEW, again=NEW)
    assert wrong.status_code == 400
    assert "The current password or the code is wrong" in wrong.text
    assert agent.form("/account/password", current=PASSWORD, password=NEW, again=NEW + "!").status_code == 400
    assert agent.form("/account/password", current=PASSWORD, password="short", again="short").status_code == 400
    assert agent.get("/account").status_code == 200
    other = host.accounts.sign_in(address(Role.AGENT), PASSWORD, client="tests")
    assert agent.form("/account/password", current=PASSWORD, password=NEW, again=NEW).headers["location"] == "/sign-in"
    assert agent.get("/account").status_code == 303
    assert host.accounts.session(other) is None
    assert host.accounts.sign_in(address(Role.AGENT), NEW, client="tests")


def test_a_second_factor_is_turned_on_and_off(agent: Client, host: Host) -> None:
    """The secret is shown to who has given the password, a first code turns it on, recovery codes are shown once."""
    assert agent.form("/account/second-factor", current="not the password").status_code == 400
    page = agent.form("/account/second-factor", current=PASSWORD)
    secret = re.search(r'name="secret" value="(\w+)"', page.text)
    assert secret is not None
    uri = re.search(r'name="uri" value="([^"]+)"', page.text)
    assert uri is not None
    key = {"secret": secret[1], "uri": html.unescape(uri[1])}
    totp = pyotp.TOTP(secret[1])
    assert '<svg class="qr"' in page.text
    assert agent.form("/account/second-factor/confirm", secret=secret[1], uri="javascript:alert(1)", code="0").status_code == 400
    wrong = agent.form("/account/second-factor/confirm", **key, code="000000")
    assert wrong.status_code == 400
    assert secret[1] in wrong.text
    codes = re.findall(r"<li>(\w{5}-\w{5})</li>", agent.form("/account/second-factor/confirm", **key, code=totp.now()).text)
    assert len(codes) == 10
    assert host.accounts.get(address(Role.AGENT)).second_factor
    assert agent.form("/account/second-factor/off", current=PASSWORD, code="000000").status_code == 400
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=2)):
        assert agent.form("/account/second-factor/off", current=PASSWORD, code=totp.now()).status_code == 303
    assert not host.accounts.get(address(Role.AGENT)).second_factor


def test_a_lost_telephone_is_helped_by_an_admin(admin: Client, host: Host) -> None:
    """The second factor is taken away, and it stands in the audit log who did."""
    secret, _ = host.accounts.enable_totp(address(Role.AGENT))
    host.accounts.confirm_totp(address(Role.AGENT), pyotp.TOTP(secret).now())
    admin.form(f"{_person(admin, 'Person agent')}/second-factor")
    assert not host.accounts.get(address(Role.AGENT)).second_factor
    assert host.history("HOST")[-1]["actor"] == address(Role.ADMIN)


def test_signing_out_everywhere(signed_in_as: Open) -> None:
    """Every session of the account is over, and of nobody else's."""
    here, there, other = signed_in_as(Role.AGENT), signed_in_as(Role.AGENT), signed_in_as(Role.SUPPORT)
    assert here.form("/account/sign-out-everywhere").status_code == 303
    assert [client.get("/account").status_code for client in (here, there, other)] == [303, 303, 200]
