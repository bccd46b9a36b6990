"""*Please confirm that it is you*: the page that stands before what opens doors to others, and goes on where it was."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
import time_machine

from dsr_sdk.host import Host
from dsr_sdk.host.people.roles import Role
from dsr_sdk.host.people.sessions import PROVEN_FOR
from tests.portal.conftest import PASSWORD, Client, address
from tests.portal.test_accounts import _person

LATER = PROVEN_FOR + timedelta(seconds=30)
TITLE = "Please confirm that it is you"


def hidden(text: str) -> dict[str, str]:
    """The fields of the page that were typed before."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', text)
    return {name: html.unescape(value) for name, value in found if name != "csrf"}


def action(text: str) -> str:
    """Where its form goes."""
    found = re.search(r'<form class="stack" method="post" action="([^"]+)"', text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("/accounts/new", {"account": "new@example.com", "name": 'New "Person"', "role": "admin"}),
        ("/accounts/keys", {"name": "Web <shop>", "role": "support", "days": "30"}),
        ("role", {"role": "admin"}),
        ("invite", {}),
        ("second-factor", {}),
    ],
)
def test_it_goes_on_where_it_was(admin: Client, host: Host, what: str, fields: dict[str, str]) -> None:
    """Ten minutes after the sign-in the page asks; a wrong password asks again; the right one does what was asked for, as it was typed."""
    url = what if what.startswith("/") else f"{_person(admin, 'Person agent')}/{what}"
    with time_machine.travel(datetime.now(UTC) + LATER):
        before = len(host.history("HOST"))
        page = admin.form(url, **fields)
        assert page.status_code == 403
        assert TITLE in page.text
        assert (action(page.text), hidden(page.text)) == (url, fields)
        assert len(host.history("HOST")) == before
        wrong = admin.form(url, **hidden(page.text), proof_account="x", proof_password="not the password")
        assert wrong.status_code == 403
        assert "The current password or the code is wrong" in wrong.text
        assert "not the password" not in wrong.text
        assert (action(wrong.text), hidden(wrong.text)) == (url, fields)
        assert len(host.history("HOST")) == before
        done = admin.form(url, **hidden(wrong.text), proof_account="x", proof_password=PASSWORD)
        assert done.status_code in (200, 303)
        assert TITLE not in done.text
        assert len(host.history("HOST")) > before or what == "second-factor"
        assert admin.form(url, **fields | ({"account": "two@example.com"} if "account" in fields else {})).status_code in (200, 303)


def test_it_asks_for_the_code_too(admin: Client, host: Host) -> None:
    """Where the account has a second factor."""
    start = datetime.now(UTC)
    with time_machine.travel(start) as clock:
        begun = admin.form("/account/second-factor", current=PASSWORD)
        secret = re.search(r'name="secret" value="(\w+)"', begun.text)
        uri = re.search(r'name="uri" value="([^"]+)"', begun.text)
        assert secret is not None
        assert uri is not None
        totp = pyotp.TOTP(secret[1])
        admin.form("/account/second-factor/confirm", secret=secret[1], uri=html.unescape(uri[1]), code=totp.now())
        clock.shift(LATER)
        key: dict[str, Any] = {"name": "Web shop", "role": "support", "days": ""}
        page = admin.form("/accounts/keys", **key)
        assert 'name="proof_code"' in page.text
        assert "authenticator app is needed" in admin.form("/accounts/keys", **key, proof_password=PASSWORD).text
        assert not host.accounts.keys()
        assert admin.form("/accounts/keys", **key, proof_password=PASSWORD, proof_code=totp.now()).status_code == 200
        assert len(host.accounts.keys()) == 1


def test_a_proof_needs_a_form_of_ours(admin: Client, host: Host) -> None:
    """Nobody tries passwords from a page elsewhere."""
    answer = admin.post("/accounts/keys", data={"proof_password": PASSWORD, "name": "x", "role": "admin"}, headers={"origin": "http://testserver"})
    assert answer.status_code == 403
    assert "The form does not hold any more" in answer.text
    assert not host.accounts.keys()


def test_looking_asks_for_nothing(admin: Client) -> None:
    """Nor does what closes doors: revoking, deactivating, signing out."""
    person = _person(admin, "Person agent")
    with time_machine.travel(datetime.now(UTC) + LATER):
        for url in ("/accounts", "/accounts/new", "/accounts/keys", person):
            assert admin.get(url).status_code == 200
        for done in ("sign-out", "unlock", "active"):
            assert admin.form(f"{person}/{done}", active="0").status_code == 303


def test_the_own_account_is_not_an_admins(admin: Client, host: Host) -> None:
    """Under *People and keys* the own password and second factor are not replaced."""
    own = _person(admin, "Person admin")
    for what in ("invite", "second-factor"):
        answer = admin.form(f"{own}/{what}")
        assert answer.status_code == 400
        assert "This is your own account" in answer.text
    assert "account.invited" not in [event["event"] for event in host.history("HOST")]


def test_a_second_factor_ends_the_other_sessions(admin: Client, host: Host) -> None:
    """And not the one it is turned on in."""
    other = host.accounts.sign_in(address(Role.ADMIN), PASSWORD, client="tests")
    begun = admin.form("/account/second-factor", current=PASSWORD)
    fields = {name: html.unescape(value) for name, value in re.findall(r'name="(secret|uri)" value="([^"]+)"', begun.text)}
    assert admin.form("/account/second-factor/confirm", **fields, code=pyotp.TOTP(fields["secret"]).now()).status_code == 200
    assert host.accounts.session(other) is None
    assert admin.get("/account").status_code == 200
