"""The reply in the portal: pre-filled, another template, preview, free text, no reply, *Reply & close*, and what is in doubt."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from dsr_sdk.host import Host
from dsr_sdk.host.answers.templates import Template
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.people.roles import Role
from tests.portal.conftest import Client, address
from tests.portal.test_case_page import revision
from tests.portal.test_requests_page import SCRIPT, asked
from tests.smtp import Inbox
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

BY = address(Role.AGENT)


@pytest.fixture
def portal_world(portal_world: World, inbox: Inbox) -> World:
    """With a mail server."""
    portal_world.mail = inbox.toml
    return portal_world


def in_reply(host: Host, *, rejected: bool = False, **more: Any) -> str:
    """A request that waits for its reply."""
    number = host.submit(asked("do_not_mail", **more))
    if rejected:
        host.workflow.reject(number, Reason.NO_MATCH, by=BY)
    else:
        host.workflow.accept(number, by=BY)
        host.workflow.finish(number, by=BY, all_done=True)
    return number


def typed(page: str) -> dict[str, str]:
    """What the editor holds."""
    subject = re.findall(r'name="subject"[^>]*value="([^"]*)"', page)[0]
    body = re.findall(r'<textarea id="f-body"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)[0]
    template = re.findall(r'<input type="hidden" name="template" value="([^"]*)"', page)[0]
    return {"subject": unescape(subject), "body": unescape(body), "template": unescape(template), "mode": "mail", "reason": ""}


def send(agent: Client, host: Host, number: str, **fields: str) -> Any:
    """Press *Reply & close*."""
    seen = {"revision": revision(host, number), "text": str(host.replies.get(number).revision)}
    return agent.form(f"/requests/{number}/reply", **{**seen, "do": "close", **fields})


def test_the_reply_is_there_already_and_leaves_as_it_stands(agent: Client, host: Host, inbox: Inbox) -> None:
    """One press sends it and closes the request."""
    number = in_reply(host)
    page = agent.get(f"/requests/{number}").text
    fields = typed(page)
    assert "Ada Lovelace" in fields["body"]
    assert "Reply &amp; close" in page
    answer = send(agent, host, number, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/requests/{number}")
    assert host.workflow.get(number).stage == "closed"
    assert len(inbox.letters) == 1
    assert inbox.letters[0].rcpt_tos == ["ada@example.com"]
    assert fields["body"].split("\n")[0] in inbox.texts[0]


def test_free_text_is_sent_as_it_was_typed(agent: Client, host: Host, inbox: Inbox) -> None:
    """Braces in it are braces, and no name of a variable is filled in."""
    number = in_reply(host)
    send(agent, host, number, subject="Your request", body="Dear Ada,\n\n{{ subject.__class__ }}\nBye", mode="mail", template="", reason="")
    assert "{{ subject.__class__ }}" in inbox.texts[0]
    assert "Reply" in agent.get(f"/requests/{number}").text


def test_another_template_is_one_choice_away(agent: Client, host: Host) -> None:
    """By an address that holds no text of it; a template that is none is refused."""
    number = in_reply(host)
    own = host.templates.save(Template(None, "Short", "do_not_mail", "accepted", "en", "Done", "Done, {{ first_name }}."), by=BY)
    page = agent.get(f"/requests/{number}?template={own.id}").text
    assert typed(page)["body"].strip() == "Done, Ada."
    assert typed(page)["template"] == own.id
    assert typed(agent.get(f"/requests/{number}").text)["body"].strip() != "Done, Ada."
    assert agent.get(f"/requests/{number}?template=nonsense").status_code == 400


def test_the_preview_shows_the_letter_and_sends_nothing(agent: Client, host: Host, inbox: Inbox) -> None:
    """What was typed stays in the editor, escaped; nothing is stored."""
    number = in_reply(host)
    page = agent.form(
        f"/requests/{number}/reply", do="preview", revision="0", text="0", subject="Hello", body=f"Dear {SCRIPT}", mode="mail", template="", reason=""
    )
    assert "As the person reads it" in page.text
    assert page.text.count("Dear &lt;script&gt;") == 2
    assert SCRIPT not in page.text
    assert not inbox.letters
    assert host.replies.get(number).edited_at is None


def test_it_can_be_written_while_processing(agent: Client, host: Host, inbox: Inbox) -> None:
    """Saved, it is what the reply stage begins with; it cannot be sent before."""
    number = host.submit(asked("do_not_mail"))
    host.workflow.accept(number, by=BY)
    page = agent.get(f"/requests/{number}/reply").text
    assert "still being processed" in page
    assert "Reply &amp; close" not in page
    fields = {"subject": "Early", "body": "Written early.", "mode": "mail", "template": "", "reason": ""}
    saved = agent.form(f"/requests/{number}/reply", do="save", revision=revision(host, number), text="0", **fields)
    assert saved.headers["location"] == f"/requests/{number}/reply"
    assert send(agent, host, number, **fields).status_code == 409
    assert not inbox.letters
    host.workflow.finish(number, by=BY, all_done=True)
    assert typed(agent.get(f"/requests/{number}").text)["body"].strip() == "Written early."


def test_no_reply_needs_a_reason_and_sends_nothing(agent: Client, host: Host, inbox: Inbox) -> None:
    """The reason stands with the closed request."""
    number = in_reply(host)
    fields = {"subject": "s", "body": "b", "mode": "none", "template": ""}
    refused = send(agent, host, number, reason="", **fields)
    assert refused.status_code == 400
    assert host.workflow.get(number).stage == "reply"
    assert send(agent, host, number, reason="told by telephone", **fields).status_code == 303
    assert not inbox.letters
    assert "told by telephone" in agent.get(f"/requests/{number}").text


def test_a_refused_mail_keeps_text_and_stage(agent: Client, host: Host, inbox: Inbox) -> None:
    """The page says why, with what was typed still in the editor; the next press sends it."""
    number = in_reply(host)
    inbox.refuse["ada@example.com"] = "550 no such user"
    fields = {"subject": "My words", "body": "My own words.", "mode": "mail", "template": "", "reason": ""}
    refused = send(agent, host, number, **fields)
    assert refused.status_code == 502
    assert "the case stays in reply" in refused.text
    assert typed(refused.text)["body"].strip() == "My own words."
    assert host.workflow.get(number).stage == "reply"
    inbox.refuse.clear()
    assert send(agent, host, number, **typed(agent.get(f"/requests/{number}").text)).status_code == 303
    assert [text.strip() for text in inbox.texts] == ["My own words."]


def test_doubt_is_visible_and_settled_by_a_person(agent: Client, host: Host, inbox: Inbox) -> None:
    """The server hung up: nothing is sent again by itself, the editor is locked, and the request closes with "it was sent"."""
    number = in_reply(host)
    inbox.vanish = True
    doubtful = send(agent, host, number, **typed(agent.get(f"/requests/{number}").text))
    assert doubtful.status_code == 409
    page = agent.get(f"/requests/{number}").text
    assert "It is not known whether the reply was sent" in page
    assert "It was sent" in page
    assert "Send again" in page
    assert '<fieldset class="plain" disabled>' in page
    assert agent.form(f"/requests/{number}/reply/settle", answer="perhaps").status_code == 400
    assert agent.form(f"/requests/{number}/reply/settle", answer="sent").status_code == 303
    assert host.workflow.get(number).stage == "closed"
    assert len(inbox.letters) == 1


def test_doubt_may_end_in_sending_again(agent: Client, host: Host, inbox: Inbox) -> None:
    """A second letter, because a person wanted it."""
    number = in_reply(host)
    inbox.vanish = True
    send(agent, host, number, **typed(agent.get(f"/requests/{number}").text))
    inbox.vanish = False
    assert agent.form(f"/requests/{number}/reply/settle", answer="again").status_code == 303
    assert host.workflow.get(number).stage == "closed"
    assert len(inbox.letters) == 2


def test_of_two_who_reply_one_sends(agent: Client, admin: Client, host: Host, inbox: Inbox) -> None:
    """The other is told, and their text goes nowhere."""
    number = in_reply(host)
    fields = typed(agent.get(f"/requests/{number}").text)
    seen = revision(host, number)
    assert send(agent, host, number, revision=seen, **fields).status_code == 303
    late = send(admin, host, number, revision=seen, **{**fields, "body": "Another text"})
    assert late.status_code == 409
    assert "The request was closed." in late.text
    assert "Person agent" in late.text
    assert "Another text" in late.text
    assert len(inbox.letters) == 1


@pytest.mark.parametrize(("stage", "do"), [("process", "save"), ("reply", "save"), ("reply", "close")])
def test_of_two_who_write_the_reply_nobody_s_text_is_lost(agent: Client, admin: Client, host: Host, inbox: Inbox, stage: str, do: str) -> None:
    """The second is told who was faster, sees both texts, and nothing is stored or sent; saving once more is their decision."""
    if stage == "reply":
        number = in_reply(host)
    else:
        number = host.submit(asked("do_not_mail"))
        host.workflow.accept(number, by=BY)
    place = f"/requests/{number}" if stage == "reply" else f"/requests/{number}/reply"
    seen = {"revision": revision(host, number), "text": re.findall(r'name="text" value="(\d+)"', agent.get(place).text)[0]}
    fields = typed(agent.get(place).text)
    assert admin.form(f"/requests/{number}/reply", do="save", **seen, **{**fields, "body": "Hers."}).status_code == 303
    late = agent.form(f"/requests/{number}/reply", do=do, **seen, **{**fields, "body": f"His {SCRIPT}"})
    assert late.status_code == 409
    assert typed(late.text)["body"].strip() == f"His {SCRIPT}"
    assert "Hers." in late.text
    assert "omeone else has changed the reply meanwhile" in late.text
    assert "Person admin" in late.text
    assert (host.replies.get(number).body.strip(), inbox.letters, SCRIPT in late.text) == ("Hers.", [], False)
    anew = {"revision": revision(host, number), "text": re.findall(r'name="text" value="(\d+)"', late.text)[0]}
    assert agent.form(f"/requests/{number}/reply", do="save", **anew, **typed(late.text)).status_code == 303
    assert host.replies.get(number).body.strip() == f"His {SCRIPT}"


def test_a_look_in_between_hides_nobody_s_text(agent: Client, admin: Client, host: Host) -> None:
    """Preview, another template, a subject that cannot be mailed: none of these pages shows what the other wrote, so saving still asks."""
    number = in_reply(host)
    seen, fields = {"revision": revision(host, number), "text": "0"}, typed(agent.get(f"/requests/{number}").text)
    own = host.templates.save(Template(None, "Short", "do_not_mail", "accepted", "en", "Done", "Done."), by=BY)
    admin.form(f"/requests/{number}/reply", do="save", **seen, **{**fields, "body": "Hers."})
    pages = (
        agent.form(f"/requests/{number}/reply", do="preview", **seen, **fields),
        agent.get(f"/requests/{number}?template={own.id}&text=0"),
        agent.form(f"/requests/{number}/reply", do="save", **seen, **{**fields, "mode": "fax"}),
    )
    for page in pages:
        [read] = set(re.findall(r'name="text" value="(\d+)"', page.text))
        late = agent.form(f"/requests/{number}/reply", do="save", **{**seen, "text": read}, **{**fields, "body": "His."})
        assert (late.status_code, host.replies.get(number).body.strip()) == (409, "Hers.")


def test_nobody_sends_a_text_that_they_have_not_read(agent: Client, admin: Client, host: Host, inbox: Inbox) -> None:
    """Pressed on a page that shows the text as it was, nothing leaves: neither that one nor the other's."""
    number = in_reply(host)
    seen, fields = {"revision": revision(host, number), "text": "0"}, typed(agent.get(f"/requests/{number}").text)
    admin.form(f"/requests/{number}/reply", do="save", **seen, **{**fields, "body": "Hers."})
    assert agent.form(f"/requests/{number}/reply", do="close", **seen, **fields).status_code == 409
    assert (inbox.letters, host.replies.get(number).body.strip()) == ([], "Hers.")


def test_support_reads_the_reply_and_sends_nothing(signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """The editor is locked for them; a reader does not see it."""
    number = in_reply(host)
    page = signed_in_as(Role.SUPPORT).get(f"/requests/{number}").text
    assert '<fieldset class="plain" disabled>' in page
    assert "Reply &amp; close" not in page
    reader = signed_in_as(Role.READ_ONLY).get(f"/requests/{number}").text
    assert "The reply is not shown" in reader
    assert "Lovelace" not in reader
    assert send(signed_in_as(Role.SUPPORT), host, number).status_code == 403


def test_the_person_s_language_is_kept(agent: Client, host: Host) -> None:
    """German is answered in German; for a language without a template the page says so."""
    german, finnish = in_reply(host, language="de", rejected=True), in_reply(host, email="b@example.com", language="fi")
    assert "Guten Tag Ada Lovelace" in typed(agent.get(f"/requests/{german}").text)["body"]
    assert "there is no template in it" in agent.get(f"/requests/{finnish}").text


def test_a_template_is_taken_only_when_asked_for(browse: Callable[..., Page], host: Host) -> None:
    """Looking through the list replaces nothing that was typed; the reason for no reply shows only when there is to be none."""
    number = in_reply(host)
    host.templates.save(Template(None, "Short", "do_not_mail", "accepted", "en", "Done", "Done, {{ first_name }}."), by=BY)
    page = browse(Role.AGENT)
    page.goto(f"/requests/{number}")
    page.get_by_label("Template").select_option(label="Short (en)")
    assert page.get_by_label("Message", exact=True).input_value().strip() != "Done, Ada."
    page.get_by_role("button", name="Use this template").click()
    page.wait_for_url("**template=*")
    assert page.get_by_label("Message", exact=True).input_value().strip() == "Done, Ada."
    reason = page.get_by_label("Why is there no reply?")
    assert not reason.is_visible()
    page.get_by_label("Send no reply").check()
    assert reason.is_visible()
