"""Mail that needs somebody, and the settings as they stand in ``dsr.toml``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from dsr_sdk.host import Host
from dsr_sdk.host.answers.outbox import MailState
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app
from tests.portal.conftest import Client
from tests.smtp import Inbox
from tests.world import World, deletion

TO = "canary@example.com"


def opened(portal_world: World, inbox: Inbox | None) -> tuple[Host, Client]:
    """A host with a mail server, or without, and an agent at its portal."""
    portal_world.mail = inbox.toml if inbox is not None else ""
    host = portal_world.open()
    return host, signed_in(host, Role.AGENT)


def signed_in(host: Host, role: Role) -> Client:
    client = Client(create_app(host, engine=False), follow_redirects=False)
    token = host.accounts.sign_in(f"{role.value.replace('_', '-')}@example.com", "a sentence that opens doors", client="tests")
    client.cookies.set("dsr_session", token)
    session = host.accounts.session(token)
    assert session is not None
    client.csrf = session.csrf
    return client


def written(host: Host, case: str | None, kind: str = "message", to: str = TO) -> int:
    with host.outbox.deciding() as (connection, book):
        return host.outbox.write(connection, book, case=case, kind=kind, to=to, subject="Geheimnis", body="Geheimnis")


def test_a_mail_in_doubt_is_confirmed(portal_world: World, inbox: Inbox) -> None:
    """The server vanished: the page names the case and the Message-ID, and nothing of what is in the mail."""
    host, client = opened(portal_world, inbox)
    case = host.submit(deletion(TO))
    mail = written(host, case)
    inbox.vanish = True
    assert host.outbox.send(mail) is MailState.DOUBT
    text = client.get("/outbox").text
    assert "Nobody knows whether they were sent" in text
    assert case in text
    identity = host.outbox.get(mail).message_id
    assert identity is not None
    assert identity.replace("<", "&lt;").replace(">", "&gt;") in text
    assert "canary" not in text
    assert "Geheimnis" not in text
    assert client.form(f"/outbox/{mail}/sent").headers["location"] == "/outbox"
    assert host.outbox.get(mail).state is MailState.SENT
    late = client.form(f"/outbox/{mail}/sent")
    assert late.status_code == 409
    assert "No e-mail needs you" in client.get("/outbox").text


def test_a_mail_in_doubt_or_refused_is_sent_again(portal_world: World, inbox: Inbox) -> None:
    """By a person's word, and once more: a refused one shows what the server said."""
    host, client = opened(portal_world, inbox)
    inbox.refuse[TO] = "550 no such mailbox"
    mail = written(host, None, "invite")
    host.outbox.sweep()
    text = client.get("/outbox").text
    assert "Could not be sent" in text
    assert "550" in text
    assert "It was sent" not in text
    assert client.form(f"/outbox/{mail}/sent").status_code == 409
    inbox.refuse.clear()
    client.form(f"/outbox/{mail}/again")
    host.outbox.sweep()
    assert host.outbox.get(mail).state is MailState.SENT
    assert len(inbox.letters) == 1
    assert client.form(f"/outbox/{mail}/again").status_code == 409


def test_a_program_that_died_while_handing_over(portal_world: World, inbox: Inbox) -> None:
    """Its mail is in doubt on the page before any sweep has said so."""

    class Killed(BaseException):
        pass

    def die(step: str) -> None:
        if step == "mail handover":
            raise Killed

    portal_world.mail = inbox.toml
    host = portal_world.open(on_step=die)
    mail = written(host, None, "notice")
    with pytest.raises(Killed):
        host.outbox.send(mail)
    client = signed_in(host, Role.AGENT)
    assert "No e-mail needs you" in client.get("/outbox").text
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1), tick=True):
        client = signed_in(host, Role.AGENT)
        assert f'action="/outbox/{mail}/sent"' in client.get("/outbox").text
        assert [row.id for row in host.outbox.stuck()] == [mail]


def test_a_reply_is_settled_at_its_request(portal_world: World, inbox: Inbox) -> None:
    """It closes the request, so the list only leads there."""
    host, client = opened(portal_world, inbox)
    case = host.submit(deletion(TO))
    mail = written(host, case, "reply")
    inbox.vanish = True
    host.outbox.send(mail)
    text = client.get("/outbox").text
    assert f'href="/requests/{case}"' in text
    assert f"/outbox/{mail}/" not in text
    for answer in ("sent", "again"):
        refused = client.form(f"/outbox/{mail}/{answer}")
        assert refused.status_code == 400
        assert "settled at its request" in refused.text
    assert host.outbox.get(mail).state is MailState.DOUBT
    assert host.outbox.stuck() == []


def test_without_a_mail_server_nothing_is_lost(portal_world: World) -> None:
    """The page says how many wait, and what to add."""
    host, client = opened(portal_world, None)
    written(host, host.submit(deletion(TO)))
    host.outbox.sweep()
    text = " ".join(client.get("/outbox").text.split())
    assert "This host sends no e-mail" in text
    assert "e-mails wait" in text or "1 e-mail waits" in text
    assert "<code>[mail]</code>" in text


def test_put_off_mails_say_why(portal_world: World, inbox: Inbox) -> None:
    """They leave by themselves later: no button, but the server's reason."""
    host, client = opened(portal_world, inbox)
    inbox.refuse[TO] = "451 try later"
    written(host, None, "notice")
    host.outbox.sweep()
    text = client.get("/outbox").text
    assert "1 e-mail is put off" in text
    assert "451" in text
    assert [row.kind for row in host.outbox.waiting()] == ["notice"]


def test_who_may_decide_about_mail(portal_world: World, inbox: Inbox) -> None:
    """Whoever may not write to people sees the list without buttons; a mail that is none is not found."""
    host, client = opened(portal_world, inbox)
    inbox.vanish = True
    mail = written(host, None)
    host.outbox.send(mail)
    reader = signed_in(host, Role.READ_ONLY)
    assert "/outbox/" not in reader.get("/outbox").text.split("<main")[1]
    assert reader.form(f"/outbox/{mail}/sent").status_code == 403
    for wrong in ("0", "nonsense", "99999999999", "-1"):
        assert client.form(f"/outbox/{wrong}/again").status_code == 404, wrong


# --- settings ----------------------------------------------------------------------------------------------------------------------------


def test_settings_are_shown_and_secrets_are_not(portal_world: World, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file says about workflow, deadlines and privacy center; neither secrets nor where they lie."""
    monkeypatch.setenv("CANARY_MAIL", "canary-secret")
    monkeypatch.setenv("CANARY_OIDC", "canary-secret")
    portal_world.mail = inbox.toml + '\nusername = "u-canary"\npassword = "env:CANARY_MAIL"'
    portal_world.tables = """
[workflow]
regime = "us_ca_ccpa"
public_url = "http://testserver"
holidays = [2026-12-25]
keep_days = 400

[privacy_center]
title = { en = "Your <b>data</b>" }

[[privacy_center.fields]]
name = "number"
label = { en = "Customer number", de = "Kundennummer" }
required = true
types = ["deletion"]

[portal.oidc]
issuer = "https://login.example.com"
client_id = "privacy-portal"
client_secret = "env:CANARY_OIDC"

[discovery.okta]
domain = "example.okta.com"
token = "env:CANARY_OKTA"
"""
    host = portal_world.open()
    client = signed_in(host, Role.ADMIN)
    text = " ".join(client.get("/settings").text.split())
    assert "canary" not in text.lower()
    assert "dsr.key" not in text
    for words in (
        "California CCPA",
        "15 working days",
        "11 CCR 7021(b)",
        "25 Dec 2026",
        "400",
        "Kundennummer",
        "https://login.example.com",
        "SQLite",
    ):
        assert words in text, words
    assert "Your &lt;b&gt;data&lt;/b&gt;" in text
    own = re.search(r'<tr class="own"><th scope="row">([^<]+)', text)
    assert own is not None
    assert own[1].strip() == "California CCPA"
    assert text.count("<caption") == text.count("<table")


def test_only_those_who_run_the_installation_see_settings(signed_in_as: Callable[[Role], Client]) -> None:
    """The page, and its entry in the menu."""
    for role in Role:
        client = signed_in_as(role)
        assert client.get("/settings").status_code == (200 if role is Role.ADMIN else 403)
        assert ('href="/settings"' in client.get("/sources").text) is (role is Role.ADMIN)


def test_without_workflow_the_pages_work(portal_world: World) -> None:
    """Data sources, templates, mail and settings are there without request handling, too."""
    portal_world.tables = ""
    client = signed_in(portal_world.open(), Role.ADMIN)
    for url in ("/sources", "/sources/add", "/sources/proposals", "/templates", "/templates/deletion.accepted.en", "/outbox", "/settings"):
        assert client.get(url).status_code == 200, url
    assert "Request handling is not switched on" in client.get("/settings").text
