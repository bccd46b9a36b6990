"""The requests page: lists, filters, search, saved filters, many at once, and how requests are taken in by hand and by file."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from dsr_sdk import Request
from dsr_sdk.host import Host
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.people.roles import Role
from tests.portal.conftest import Client, address
from tests.portal.test_outbox_page import opened
from tests.smtp import Inbox
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

BY = address(Role.AGENT)
SCRIPT = "<script>alert(1)</script>"


def asked(type: str = "deletion", email: str = "ada@example.com", *, days: int = 0, channel: str = "mine_app", **more: Any) -> Request:
    """A request that came in some days ago."""
    names = {"first_name": more.pop("first", "Ada"), "last_name": more.pop("last", "Lovelace")}
    received = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    return Request.parse({"type": type, "subject": {"email": email, **names}, "channel": channel, "received_at": received, **more})


def listed(text: str) -> list[str]:
    """The case numbers of the list, in its order."""
    return list(dict.fromkeys(re.findall(r'href="/requests/(DSR-[0-9A-Z-]{19})"', text)))


def test_the_one_due_soonest_comes_first(agent: Client, host: Host) -> None:
    """Overdue and due-soon requests carry a badge that says so in words."""
    late, fresh, soon = host.submit_many([asked(days=40), asked(email="b@example.com"), asked(email="c@example.com", days=27)])
    page = agent.get("/requests")
    assert listed(page.text) == [late, soon, fresh]
    assert re.search(r"\d+ days? overdue", page.text)
    assert re.search(r"\d days? left|Due today", page.text)


def test_open_and_closed_requests_are_two_lists(agent: Client, host: Host) -> None:
    """A closed request leaves the open list and stands in the other."""
    number = _closed(host)
    assert number not in agent.get("/requests").text
    closed = agent.get("/requests?view=closed")
    assert listed(closed.text) == [number]
    assert 'aria-current="page">Closed' in closed.text


def _closed(host: Host) -> str:
    number = host.submit(asked("do_not_mail"))
    host.workflow.accept(number, by="agent@example.com")
    host.workflow.finish(number, by="agent@example.com", all_done=True)
    host.replies.edit(number, mode="none", reason="told by telephone", by="agent@example.com")
    host.replies.close(number, by="agent@example.com", revision=host.workflow.get(number).revision)
    return number


def test_who_asks_is_shown_in_part_to_those_who_may_see_people(agent: Client, signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """A masked address, else initials, else the end of a number; a tick that is explained in words; no way in that is called like a role."""
    told = [asked(), Request.parse({"type": "copy", "subject": {"phone": "+4915112345678", "first_name": "Grace", "last_name": "Hopper"}})]
    told += [Request.parse({"type": "copy", "subject": {"phone": "+4915112345678"}}), Request.parse({"type": "copy", "subject": {"user_id": "u-7"}})]
    told += [asked(email=f"person{n}@example.com", channel="agent") for n in range(46)]
    numbers = host.submit_many(told)
    shown = agent.get("/requests").text
    for label in ("a…@example.com", "G. H.", "…678"):
        assert f">{label}</span>" in shown
    assert "ada@example.com" not in shown
    assert 'aria-label="Identity verified"' in shown
    assert "identity verified</p>" in shown
    assert '"Came by">Letter or phone<' in shown
    blind = signed_in_as(Role.READ_ONLY).get("/requests").text
    assert "a…@example.com" not in blind
    cases = [host.workflow.get(number) for number in numbers]
    assert len(host.inbox.people(cases)) == 49
    host.workflow.reject(numbers[0], Reason.OTHER, by=BY)
    host.replies.edit(numbers[0], mode="none", reason="told", by=BY)
    host.replies.close(numbers[0], by=BY)
    host.shred(numbers[0], by=BY)
    assert numbers[0] not in host.inbox.people(cases)


def test_answers_that_nobody_has_read_are_one_step_from_the_dashboard(portal_world: World, inbox: Inbox) -> None:
    """A tile counts them, and leads to the list of their requests; read, the request leaves it. The filter can be saved."""
    host, agent = opened(portal_world, inbox)
    quiet, number = host.submit_many([asked(email="b@example.com"), asked()])
    host.conversation.message(number, "Which shop?", by=BY)
    host.outbox.sweep()
    host.conversation.answer(re.findall(r"/p/answer/(\S+)", inbox.texts[-1])[0], "The one in Bonn")
    tile = re.search(r'href="/requests\?unread=1">.*?New answers</span><span class="figure-value">(\d+)', agent.get("/").text, re.DOTALL)
    assert tile is not None
    assert tile[1] == "1"
    assert listed(agent.get("/requests?unread=1").text) == [number]
    assert agent.form("/requests/filters", name="Answers", unread="1").headers["location"] == "/requests?unread=1"
    assert host.inbox.saved_filters(BY)[0].filter.unread
    agent.get(f"/requests/{number}")
    assert listed(agent.get("/requests?unread=1").text) == []
    assert quiet in agent.get("/requests").text


def test_what_was_found_stands_without_filters(agent: Client, host: Host) -> None:
    """Closed and open requests are found alike: no filter beside them says otherwise."""
    _closed(host)
    host.submit(asked())
    page = agent.form("/requests/search", text="ada@example.com").text
    assert "2 requests found" in page
    assert "All open" not in page


def test_filters_narrow_the_list(agent: Client, host: Host) -> None:
    """By status, type, source of the request, agent and due date; they stand in the address, and hold nothing personal."""
    deletion, copy, late = host.submit_many(
        [asked(), asked("copy", "b@example.com", channel="privacy_center"), asked(email="c@example.com", days=60)]
    )
    host.workflow.accept(deletion, by=address(Role.AGENT))
    host.workflow.assign(deletion, address(Role.AGENT), by="tests")
    assert listed(agent.get("/requests?stage=process").text) == [deletion]
    assert listed(agent.get("/requests?type=copy").text) == [copy]
    assert listed(agent.get("/requests?channel=privacy_center").text) == [copy]
    assert listed(agent.get("/requests?agent=me").text) == [deletion]
    assert set(listed(agent.get("/requests?agent=-").text)) == {copy, late}
    assert listed(agent.get("/requests?due=overdue").text) == [late]
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    assert listed(agent.get(f"/requests?due_before={day}").text) == [late]
    assert set(listed(agent.get(f"/requests?due_after={day}").text)) == {deletion, copy}


def test_nobody_s_address_stands_in_the_filter_s_addresses(agent: Client, host: Host) -> None:
    """Agents are chosen by a key, and the key finds their requests."""
    number = host.submit(asked())
    host.workflow.assign(number, address(Role.ADMIN), by="tests")
    key = re.search(r'<option value="([0-9a-f]{16})">Person admin', agent.get("/requests").text)
    assert key
    assert listed(agent.get(f"/requests?agent={key[1]}").text) == [number]


@pytest.mark.parametrize("query", ["stage=nonsense", "type=nonsense", "due_before=yesterday", "after=nonsense"])
def test_a_filter_that_is_none_is_refused(agent: Client, query: str) -> None:
    """With a page that says what is wrong."""
    assert agent.get(f"/requests?{query}").status_code == 400


def test_pages_follow_each_other(agent: Client, host: Host) -> None:
    """Fifty a page, by links that need no counting; going on and back shows each request once."""
    numbers = set(host.submit_many([asked(email=f"p{n}@example.com") for n in range(60)]))
    first = agent.get("/requests")
    forward = unescape(re.findall(r'rel="next" href="([^"]+)"', first.text)[0])
    second = agent.get(forward)
    assert len(listed(first.text)) == 50
    assert set(listed(first.text)) | set(listed(second.text)) == numbers
    back = unescape(re.findall(r'rel="prev" href="([^"]+)"', second.text)[0])
    assert listed(agent.get(back).text) == listed(first.text)


# --- search --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spell", [str, str.lower, lambda number: number.replace("-", " "), lambda number: number[4:]])
def test_a_case_number_leads_to_its_request(agent: Client, host: Host, spell: Callable[[str], str]) -> None:
    """However it is spelt."""
    number = host.submit(asked())
    answer = agent.form("/requests/search", text=spell(number))
    assert (answer.status_code, answer.headers["location"]) == (303, f"/requests/{number}")


def test_a_person_is_found_by_their_exact_address_in_a_form(agent: Client, host: Host) -> None:
    """The address stands in no address, neither before nor after; part of it finds nothing."""
    numbers = host.submit_many([asked(), asked("copy"), asked(email="other@example.com")])
    found = agent.form("/requests/search", text="ADA@example.com")
    assert set(listed(found.text)) == set(numbers[:2])
    assert "ada@example.com" not in found.text.lower()
    assert "Nothing found" in agent.form("/requests/search", text="ada@").text
    assert agent.get("/requests/search").headers["location"] == "/requests"


def test_who_may_not_see_people_does_not_find_them(signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """A reader finds case numbers, and learns nothing about whether an address is known."""
    number = host.submit(asked())
    reader = signed_in_as(Role.READ_ONLY)
    assert "Nothing found" in reader.form("/requests/search", text="ada@example.com").text
    assert reader.form("/requests/search", text=number).headers["location"] == f"/requests/{number}"


# --- saved filters -------------------------------------------------------------------------------------------------------------------------


def test_filters_are_saved_used_and_forgotten(agent: Client, admin: Client, host: Host) -> None:
    """They are an account's own."""
    copy = host.submit_many([asked(), asked("copy", "b@example.com")])[1]
    answer = agent.form("/requests/filters", name="My <copies>", type="copy")
    assert answer.headers["location"] == "/requests?type=copy"
    page = agent.get("/requests")
    assert "My &lt;copies&gt;" in page.text
    href = re.findall(r'class="chip[^"]*"><a href="([^"]+)"', page.text)[0]
    assert listed(agent.get(unescape(href)).text) == [copy]
    assert "My &lt;copies&gt;" not in admin.get("/requests").text
    drop = re.findall(r'action="(/requests/filters/\d+/drop)"', page.text)[0]
    assert admin.form(drop).status_code == 400
    assert agent.form(drop).status_code == 303
    assert "My &lt;copies&gt;" not in agent.get("/requests").text


# --- many at once --------------------------------------------------------------------------------------------------------------------------


def _value(host: Host, number: str) -> str:
    return f"{number}:{host.workflow.get(number).revision}"


def test_many_are_assigned_after_a_page_that_lists_them(agent: Client, host: Host) -> None:
    """Nothing happens before the second press."""
    numbers = host.submit_many([asked(), asked(email="b@example.com")])
    values = [_value(host, number) for number in numbers]
    page = agent.form("/requests/bulk", action="assign", agent=address(Role.AGENT), cases=values)
    assert "Assign 2 requests to Person agent?" in page.text
    assert set(listed(page.text)) == set(numbers)
    assert host.workflow.get(numbers[0]).agent is None
    done = agent.form("/requests/bulk/do", action="assign", agent=address(Role.AGENT), cases=values)
    assert "2 of 2 requests done" in done.text
    assert {host.workflow.get(number).agent for number in numbers} == {address(Role.AGENT)}


def test_an_error_of_one_stops_no_other(agent: Client, host: Host) -> None:
    """One is not verified, one was decided meanwhile, one goes on; each is told."""
    good, unproven, raced = host.submit_many(
        [asked("do_not_mail"), asked(email="b@example.com", channel="privacy_center"), asked("do_not_mail", "c@example.com")]
    )
    values = [_value(host, number) for number in (good, unproven, raced)]
    page = agent.form("/requests/bulk", action="continue", cases=values)
    assert "you will not be able to go back and reject these requests" in page.text
    host.workflow.withdraw(raced, by="someone")
    done = agent.form("/requests/bulk/do", action="continue", cases=values)
    assert "1 of 3 requests done" in done.text
    assert "is not verified" in done.text
    assert [host.workflow.get(number).stage for number in (good, unproven, raced)] == ["process", "review", "reply"]


def test_many_are_continued_with_a_word_for_each(agent: Client, host: Host) -> None:
    """The page in between lists which requests need it, none ticked; what is still open is left out, with the reason, and nothing is confirmed by
    silence."""
    first, second, open_ = host.submit_many([asked("do_not_mail"), asked("do_not_mail", "b@example.com"), asked(email="c@example.com")])
    for number in (first, second, open_):
        host.workflow.accept(number, by="someone")
    host.workflow.withdraw(open_, by="someone")
    values = [_value(host, number) for number in (first, second, open_)]
    page = agent.form("/requests/bulk", action="continue", cases=values).text
    assert "2 requests need your word" in page
    assert re.findall(r'name="confirmed" type="checkbox" value="([^"]+)"( checked)?', page) == [(first, ""), (second, "")]
    assert "Is in reply already" in page
    done = agent.form("/requests/bulk/do", action="continue", cases=values, confirmed=[first]).text
    assert "1 of 3 requests done" in done
    assert "is not ticked" in done
    assert [host.workflow.get(number).stage for number in (first, second, open_)] == ["reply", "process", "reply"]


def test_what_bars_the_way_is_said_before_many_are_continued(agent: Client, host: Host) -> None:
    """A request of which something is still to be done is left out, and the page says what: a copy without a package is no matter of a box."""
    number = host.submit(asked("copy"))
    host.workflow.accept(number, by="someone")
    page = agent.form("/requests/bulk", action="continue", cases=[_value(host, number)]).text
    assert "Is left out: the copy is not generated" in page
    assert 'name="confirmed"' not in page
    done = agent.form("/requests/bulk/do", action="continue", cases=[_value(host, number)], confirmed=[number]).text
    assert "0 of 1 request done" in done
    assert host.workflow.get(number).stage == "process"


def test_many_are_handled_on_a_telephone(browse: Callable[..., Page], host: Host) -> None:
    """At 380 pixels: each request has a box that a finger hits, the bar stands in view with every action, and nothing is cut off."""
    numbers = host.submit_many([asked(), asked(email="b@example.com"), asked("do_not_mail", "c@example.com")])
    page = browse(Role.AGENT, viewport={"width": 380, "height": 700}, has_touch=True)
    page.goto("/requests")
    boxes = page.locator('td.tick input[name="cases"]')
    assert boxes.count() == 3
    size = boxes.first.bounding_box()
    assert size is not None
    assert min(size["width"], size["height"]) >= 24
    bar = page.get_by_role("group", name="For the ticked requests")
    assert not bar.is_visible()
    boxes.first.tap()
    for name in ("Assign…", "Continue…", "Reply & close…"):
        shown = bar.get_by_role("button", name=name).bounding_box()
        assert shown is not None
        assert shown["height"] >= 40
        assert 0 <= shown["x"] <= shown["x"] + shown["width"] <= 380
        assert shown["y"] + shown["height"] <= 700
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    bar.get_by_label("All on this page").tap()
    assert bar.get_by_text("3 ticked").is_visible()
    bar.get_by_label("Agent").select_option(address(Role.AGENT))
    bar.get_by_role("button", name="Assign…").tap()
    page.get_by_role("button", name="Assign").tap()
    page.wait_for_url("**/bulk/do")
    assert {host.workflow.get(number).agent for number in numbers} == {address(Role.AGENT)}
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_bulk_needs_something_ticked_and_a_known_action(agent: Client, host: Host) -> None:
    """Otherwise it says so."""
    number = host.submit(asked())
    assert "no request is ticked" in agent.form("/requests/bulk", action="assign").text.lower()
    assert agent.form("/requests/bulk", action="shred", cases=[_value(host, number)]).status_code == 400
    assert agent.form("/requests/bulk", action="assign", cases=["nonsense"]).status_code == 400
    refused = agent.form("/requests/bulk/do", action="assign", agent=address(Role.READ_ONLY), cases=[_value(host, number)])
    assert refused.status_code == 400
    assert host.workflow.get(number).agent is None


# --- taking in -----------------------------------------------------------------------------------------------------------------------------


def test_an_agent_writes_a_request_down(agent: Client, host: Host) -> None:
    """It stands in review, unverified; its clock counts from the day that was given."""
    day = (datetime.now(UTC) - timedelta(days=3)).date()
    answer = agent.form(
        "/requests/new", type="deletion", scope="account", channel="agent", first_name="Ada", email="ada@example.com", language="de",
        received=day.isoformat(), country="DE",
    )  # fmt: skip
    assert answer.status_code == 303
    case = host.workflow.get(answer.headers["location"].rpartition("/")[2])
    assert (case.stage, case.channel, case.verified_by, case.received_at.date()) == ("review", "agent", None, day)
    assert host.request(case.number).language == "de"


def test_an_agent_writes_down_what_is_to_be_corrected(agent: Client, host: Host) -> None:
    """It has a field of its own, and stands in review; what was typed is not lost with another field's error."""
    assert 'name="custom_correction"' in agent.get("/requests/new").text
    fields = {"type": "right_to_edit", "channel": "email", "language": "en", "custom_correction": "Hoper is Hopper"}
    assert "Hoper is Hopper" in agent.form("/requests/new", **fields, email="nobody", received="").text
    answer = agent.form("/requests/new", **fields, email="grace@example.com", received=datetime.now(UTC).date().isoformat())
    assert answer.status_code == 303
    assert "Hoper is Hopper" in agent.get(answer.headers["location"]).text


def test_what_cannot_be_taken_comes_back_as_it_was_typed(agent: Client, host: Host) -> None:
    """With what is wrong beside it, escaped."""
    page = agent.form("/requests/new", type="copy", channel="agent", first_name=SCRIPT, email="not an address", language="en", received="")
    assert page.status_code == 400
    assert SCRIPT not in page.text
    assert "&lt;script&gt;" in page.text
    assert 'value="not an address"' in page.text
    assert not list(host.cases())


def test_a_file_is_checked_then_taken(agent: Client, host: Host) -> None:
    """Checking takes nothing in; a wrong row keeps the whole file out, unless what is right is wanted."""
    wrong = b"type,email\ndeletion,ada@example.com\nnonsense,b@example.com\n"
    checked = agent.form("/requests/import", files={"file": ("people.csv", wrong, "text/csv")}, do="check")
    assert "It would make 1 case" in checked.text
    assert "<td>" in checked.text
    assert "b@example.com" not in checked.text
    refused = agent.form("/requests/import", files={"file": ("people.csv", wrong, "text/csv")}, do="take")
    assert "Nothing was taken in" in refused.text
    assert not list(host.cases())
    taken = agent.form("/requests/import", files={"file": ("people.csv", wrong, "text/csv")}, do="take", partial="1")
    assert "1 request taken in" in taken.text
    assert [case.channel for case in host.cases()] == ["import"]
    assert agent.form("/requests/import", do="take").status_code == 400
