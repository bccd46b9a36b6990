"""The process stage in the portal: search, delete N sources, letters, manual marks, overrides, copies, and the way on."""

from __future__ import annotations

import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dsr_sdk import Record
from dsr_sdk.errors import RejectedError
from dsr_sdk.host import Host
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.people.roles import Role
from dsr_sdk.host.process.panel import SourceState
from dsr_sdk.host.process.processing import Processing
from dsr_sdk.portal import create_app
from dsr_sdk.request import Request
from dsr_sdk.testing import Person
from tests.portal.conftest import Client, Live, address
from tests.portal.test_case_page import revision
from tests.portal.test_requests_page import SCRIPT, asked
from tests.smtp import Inbox
from tests.toys import Acting, Jobs, Keyed, Letters, Manually, Revealing, Toy, ToyVendor
from tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

BY = address(Role.AGENT)
ADA = "ada@example.com"


@pytest.fixture
def shop(portal_world: World, inbox: Inbox) -> ToyVendor:
    """One of the data sources; the others are added with it, and a mail server."""
    portal_world.mail = inbox.toml
    portal_world.add("crm", Revealing, None, ADA)
    portal_world.add("warehouse", Keyed, None, Person(ADA, user_id="u-17"))
    portal_world.add("support", Acting, None, ADA)
    portal_world.add("paper", Letters, None)
    portal_world.add("cabinet", Manually, None)
    return portal_world.add("shop", Toy, None, ADA)


@pytest.fixture
def host(portal_world: World, shop: ToyVendor) -> Host:
    """With its data sources."""
    return portal_world.open()


def processed(host: Host, *sources: str, type: str = "deletion", search: bool = True, **more: Any) -> str:
    """A request in process, with these data sources."""
    number = host.submit(asked(type, **more))
    host.workflow.accept(number, by=BY, sources=sources)
    if search and sources:
        host.processing.search(number)
    return number


def until(met: Callable[[], bool]) -> None:
    """Wait for something in the background."""
    limit = time.monotonic() + 60
    while not met():
        assert time.monotonic() < limit
        time.sleep(0.02)


def state(host: Host, number: str, source: str) -> SourceState:
    """How a data source stands."""
    return {row.source: row.state for row in host.processing.panel(number).sources}[source]


def shown(host: Host, number: str, *sources: str) -> dict[str, Any]:
    """What the form of the panel sends."""
    return {"sources": list(sources), "seen": str(host.processing.panel(number).seen), "revision": revision(host, number)}


# --- searching -----------------------------------------------------------------------------------------------------------------------------


def test_accepting_searches_in_the_background(agent: Client, host: Host) -> None:
    """The answer does not wait; a moment later the found count stands there."""
    number = host.submit(asked())
    assert agent.form(f"/requests/{number}/accept", revision=revision(host, number), choosing="1", sources=["shop"]).status_code == 303
    until(lambda: state(host, number, "shop") is SourceState.FOUND)
    page = agent.get(f"/requests/{number}").text
    assert "Data found" in page
    assert re.search(r'<span class="number">1</span>', page)
    assert 'name="sources" value="shop"' in page


def test_the_page_offers_to_search_what_was_not_searched(agent: Client, host: Host) -> None:
    """Say, after the portal was ended in the middle."""
    number = processed(host, "shop", search=False)
    assert "Not searched yet" in agent.get(f"/requests/{number}").text
    assert agent.form(f"/requests/{number}/search").status_code == 303
    until(lambda: state(host, number, "shop") is SourceState.FOUND)


def test_the_panel_is_polled_only_while_something_works(agent: Client, host: Host) -> None:
    """A request at rest asks for nothing; one that works does, and has a link for those without scripts."""
    number = processed(host, "shop")
    assert "every 2s" not in agent.get(f"/requests/{number}").text
    agent.form(f"/requests/{number}/give-free/confirmed", **shown(host, number, "shop"))
    page = agent.get(f"/requests/{number}").text
    assert 'hx-trigger="every 2s"' in page
    assert "Refresh</a>" in page
    host.processing.run(number)
    assert state(host, number, "shop") is SourceState.DONE
    assert "every 2s" not in agent.get(f"/requests/{number}").text


def test_the_panel_alone_opens_no_personal_data(agent: Client, host: Host) -> None:
    """What is polled is a part of the page without the person; anybody else is led to the page."""
    number = processed(host, "shop")
    before = len(host.history(number))
    part = agent.get(f"/requests/{number}/panel", headers={"hx-request": "true"})
    assert part.status_code == 200
    assert "<html" not in part.text
    assert ADA not in part.text
    assert "Lovelace" not in part.text
    assert len(host.history(number)) == before
    assert agent.get(f"/requests/{number}/panel").headers["location"] == f"/requests/{number}"
    host.workflow.withdraw(number, by=BY)
    gone = agent.get(f"/requests/{number}/panel", headers={"hx-request": "true"})
    assert gone.headers["hx-redirect"] == f"/requests/{number}"


# --- delete N sources ----------------------------------------------------------------------------------------------------------------------


def test_deleting_lists_what_is_erased_and_kept_before_it_is_done(agent: Client, host: Host, shop: ToyVendor) -> None:
    """The page names N, every resource and why something is kept; "Last deleted" stands there only after the vendor has confirmed."""
    number = processed(host, "shop", "crm", "cabinet")
    page = agent.form(f"/requests/{number}/give-free", **shown(host, number, "shop", "crm")).text
    assert "Delete the data of Ada Lovelace from 2 data sources?" in page
    assert "Delete 2 sources" in page
    assert re.search(r"4 kept", page)
    assert "tax law, ten years" in page
    assert host.processing.panel(number).selectable == 2
    fields = dict(re.findall(r'<input type="hidden" name="(seen|revision)" value="([^"]*)"', page))
    done = agent.form(f"/requests/{number}/give-free/confirmed", sources=["shop", "crm"], **fields)
    assert done.headers["location"] == f"/requests/{number}#panel"
    assert "Last deleted" not in agent.get(f"/requests/{number}").text
    host.processing.run(number)
    panel = agent.get(f"/requests/{number}").text
    assert panel.count("Last deleted") == 2
    assert re.search("Delete 2 sources: (Revealing, Toy|Toy, Revealing)", panel)
    assert not shop.holds(ADA)


def test_without_a_script_the_button_names_no_number(agent: Client, host: Host) -> None:
    """The page after it does; with nothing ticked it leads back."""
    number = processed(host, "shop")
    assert "Delete selected sources" in agent.get(f"/requests/{number}").text
    assert "Delete 1 source" in agent.form(f"/requests/{number}/give-free", **shown(host, number, "shop")).text
    nothing = agent.form(f"/requests/{number}/give-free", seen="0", revision="0")
    assert nothing.status_code == 303
    assert "Tick at least one data source first." in agent.get(nothing.headers["location"]).text


def test_what_was_found_meanwhile_is_not_deleted_unseen(agent: Client, host: Host, shop: ToyVendor) -> None:
    """A second search has found more than the page showed: nothing is given free."""
    number = processed(host, "shop")
    before = shown(host, number, "shop")
    shop.seed([Person(ADA)])
    host.processing.search(number)
    late = agent.form(f"/requests/{number}/give-free/confirmed", **before)
    assert late.status_code == 409
    assert "later search has found something else" in late.text
    assert state(host, number, "shop") is SourceState.FOUND


def test_of_two_who_delete_one_is_told(agent: Client, admin: Client, host: Host, shop: ToyVendor) -> None:
    """Both confirmed the same page; it is deleted once."""
    number = processed(host, "shop")
    fields = shown(host, number, "shop")
    assert agent.form(f"/requests/{number}/give-free/confirmed", **fields).status_code == 303
    second = admin.form(f"/requests/{number}/give-free/confirmed", **fields)
    assert second.status_code == 409
    assert "Data sources were given free: Toy" in second.text
    host.processing.run(number)
    assert sum(shop.effects.values()) == 1


def test_a_failure_is_shown_and_tried_again(agent: Client, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason and a button; what can be done is done."""

    def locked(api: Any, match: Any) -> Any:
        raise RejectedError("the contact is locked")

    monkeypatch.setattr(Acting, "script", {"erase": locked})
    number = processed(host, "support", "shop")
    agent.form(f"/requests/{number}/give-free/confirmed", **shown(host, number, "support", "shop"))
    host.processing.run(number)
    page = agent.get(f"/requests/{number}").text
    assert "the contact is locked" in page
    assert page.count("Last deleted") == 1
    monkeypatch.setattr(Acting, "script", {"erase": lambda api, match: Toy.erase(api=api, match=match, self=None)})  # type: ignore[arg-type]
    assert agent.form(f"/requests/{number}/sources/support/retry").status_code == 303
    host.processing.run(number)
    assert state(host, number, "support") is SourceState.DONE


def test_going_on_without_a_data_source_needs_a_reason(agent: Client, host: Host) -> None:
    """At least ten characters; reason and name stand on the page, escaped."""
    number = processed(host, "shop")
    assert agent.form(f"/requests/{number}/sources/shop/override", reason="no").status_code == 400
    agent.form(f"/requests/{number}/sources/shop/override", reason=f"the contract has ended {SCRIPT}")
    page = agent.get(f"/requests/{number}").text
    assert "Person agent went on without it" in page
    assert "the contract has ended &lt;script&gt;" in page
    assert SCRIPT not in page


def test_a_missing_identifier_is_entered_where_it_is_missed(agent: Client, host: Host) -> None:
    """What cannot be one is refused without being repeated."""
    number = processed(host, "warehouse")
    page = agent.get(f"/requests/{number}").text
    assert "Missing identifier" in page
    assert "Customer id" in page
    wrong = agent.form(f"/requests/{number}/identifier", kind="phone", value="call me maybe")
    assert wrong.status_code == 400
    assert "call me maybe" not in wrong.text
    agent.form(f"/requests/{number}/identifier", kind="controller_id", value="u-17")
    assert state(host, number, "warehouse") is SourceState.FOUND


def test_data_sources_are_added_from_here(agent: Client, host: Host) -> None:
    """And searched at once."""
    number = processed(host, "cabinet")
    page = agent.get(f"/requests/{number}").text
    assert "Add data source" in page
    assert agent.form(f"/requests/{number}/add-source", source="nonsense").status_code == 400
    agent.form(f"/requests/{number}/add-source", source="shop")
    until(lambda: state(host, number, "shop") is SourceState.FOUND)


def test_without_data_sources_the_page_says_what_to_do(admin: Client, agent: Client, host: Host) -> None:
    """Set them up in minutes, or ask a technical colleague; or delete by hand."""
    number = processed(host)
    page = admin.get(f"/requests/{number}").text
    assert '<a href="/sources/add">set them up in minutes</a>' in page
    assert "ask a technical colleague" in page
    assert 'href="/sources/add"' not in agent.get(f"/requests/{number}").text


# --- letters and work by hand --------------------------------------------------------------------------------------------------------------


def test_ticking_a_letter_sends_it_once(agent: Client, host: Host, inbox: Inbox) -> None:
    """Email Sent, and the line of the recent activity word for word; a second tick sends nothing, and it is not deleted by that."""
    number = processed(host, "paper")
    page = agent.get(f"/requests/{number}").text
    assert "Send e-mail" in page
    for _ in range(2):
        assert agent.form(f"/requests/{number}/sources/paper/letter").status_code == 303
        host.processing.run(number)
    page = agent.get(f"/requests/{number}").text
    assert len(inbox.letters) == 1
    assert "Email Sent" in page
    assert "Requested deletion from Paper Ltd" in page
    assert "Last deleted" not in page


def test_a_letter_is_shown_before_it_is_sent(agent: Client, host: Host, inbox: Inbox) -> None:
    """Its box asks first, with recipient, copy, subject and the four facts; it is not one of those that select, and the page says so; what
    is polled holds none of it."""
    number = processed(host, "paper", "shop")
    page = agent.get(f"/requests/{number}").text
    asked_ = re.search(r'<details class="confirm letter-ask" id="letter-paper".*?</details>', page, re.DOTALL)
    assert asked_
    for text in ("Send deletion e-mail…", "Subject", "Request to delete personal data", "Copy to", "Type of request", "Lovelace", ADA, "Cancel"):
        assert text in asked_[0], text
    assert 'hx-trigger="change"' not in page
    assert "not the e-mails: each asks by itself" in page
    polled = agent.get(f"/requests/{number}/panel", headers={"hx-request": "true"}).text
    assert 'id="letter-paper"' in polled
    assert ADA not in polled
    assert "Lovelace" not in polled
    assert not inbox.letters
    said = agent.form(f"/requests/{number}/sources/paper/letter")
    assert said.headers["location"].endswith("#source-paper")


def test_what_is_said_stands_beside_what_was_acted_on(agent: Client, host: Host) -> None:
    """After *Mark as done* in the row, not at the head of the page; once."""
    number = processed(host, "cabinet", "shop")
    done = agent.form(f"/requests/{number}/sources/cabinet/done", note="seen to")
    assert done.headers["location"] == f"/requests/{number}#source-cabinet"
    page = agent.get(f"/requests/{number}").text
    row = re.search(r'id="source-cabinet">.*?</li>', page, re.DOTALL)
    assert row
    assert "Marked." in row[0]
    assert page.count("Marked.") == 1
    assert "Marked." not in agent.get(f"/requests/{number}").text


@pytest.fixture
def jobs(portal_world: World) -> ToyVendor:
    """A vendor whose jobs do not end, before the host is opened."""
    vendor = portal_world.add("jobs", Jobs, None, ADA)
    vendor.jobs_finish = False
    return vendor


def test_going_on_without_waiting(jobs: ToyVendor, agent: Client, host: Host) -> None:
    """Where a vendor has accepted it and nothing else is left, the page says that there is nothing to do, and follows slowly; with a reason
    one may go on, the record keeps it, and the box says what is not finished. It failed after the close: the page says so, and what to do."""
    number = processed(host, "shop", "jobs")
    page = agent.get(f"/requests/{number}").text
    assert "Nothing to do now" not in page
    host.processing.give_free(number, ["shop", "jobs"], by=BY)
    host.processing.run(number)
    page = agent.get(f"/requests/{number}").text
    assert "Nothing to do now: Jobs in a moment" in page
    assert "Go on without waiting…" in page
    assert agent.form(f"/requests/{number}/sources/jobs/go-on", reason="short").status_code == 400
    gone = agent.form(f"/requests/{number}/sources/jobs/go-on", reason="ten days are too long")
    assert gone.headers["location"] == f"/requests/{number}#source-jobs"
    page = agent.get(f"/requests/{number}").text
    assert "Accepted, not finished" in page
    assert "Everything else was deleted (accepted, not finished yet: Jobs)" in page
    assert agent.form(f"/requests/{number}/finish", revision=revision(host, number), all_done="1").status_code == 303
    assert "Accepted, not finished yet: Jobs" in agent.get(f"/requests/{number}").text
    assert "accepted" in host.replies.get(number).body
    host.replies.close(number, by=BY)
    jobs.jobs_fail = True
    time.sleep(0.3)  # the soonest poll
    host.run_all()
    page = agent.get(f"/requests/{number}").text
    assert "Jobs failed after you had gone on" in page
    assert "Congrats" not in page
    assert agent.form(f"/requests/{number}/sources/jobs/override", reason="they have gone out of business").status_code == 303
    assert state(host, number, "jobs") is SourceState.OVERRIDDEN


def test_an_identifier_is_entered_where_a_warning_asks_for_it(agent: Client, host: Host) -> None:
    """*Enter it as an identifier if you know it is*: the field stands there."""
    addresses = [{"kind": "email", "value": value, "source": "typed"} for value in (ADA, "second@example.com")]
    number = host.submit(Request.parse({"type": "deletion", "channel": "privacy_center", "subject": {"identities": addresses}}))
    host.workflow.verify(number, Method.EMAIL, by=BY)
    host.workflow.accept(number, by=BY, sources=["shop"])
    host.processing.search(number)
    page = agent.get(f"/requests/{number}").text
    assert "nter it as an identifier" in page
    assert 'id="enter-shop"' in page
    entered = agent.form(f"/requests/{number}/identifier", kind="email", value="second@example.com", source="shop")
    assert entered.headers["location"] == f"/requests/{number}#source-shop"
    assert "not searched with" not in agent.get(f"/requests/{number}").text


def test_a_ticked_letter_is_shown_as_what_it_is(agent: Client, host: Host, inbox: Inbox) -> None:
    """Not sent yet, it can be unticked, without a script too; sent, the box is locked, with the time."""
    number = processed(host, "paper")
    path = f"/requests/{number}/sources/paper/letter"
    agent.form(path)
    page = agent.get(f"/requests/{number}").text
    assert "ticked, not sent yet" in page
    assert "Not sent yet" in page
    assert "Do not send it" in page
    unticked = agent.form(f"{path}/cancel")
    assert unticked.status_code == 303
    host.run_all()
    assert (inbox.letters, state(host, number, "paper")) == ([], SourceState.EMAIL_READY)
    agent.form(path)
    host.run_all()
    assert len(inbox.letters) == 1
    page = agent.get(f"/requests/{number}").text
    assert "cannot be unsent" in page
    assert re.search(r'<input type="checkbox" id="tick-paper" checked disabled aria-label="The e-mail to Paper Ltd was sent', page)
    assert "Do not send it" not in page
    assert "has left, and cannot be unsent" in agent.get(agent.form(f"{path}/cancel").headers["location"]).text
    assert len(inbox.letters) == 1


def test_letters_ask_for_deletion_only(agent: Client, host: Host, inbox: Inbox) -> None:
    """For a copy the page offers no sending, and a form that wants it is refused."""
    number = processed(host, "paper", type="copy")
    page = agent.get(f"/requests/{number}").text
    assert "E-mail integrations ask for deletion only" in page
    assert "/sources/paper/letter" not in page
    assert agent.form(f"/requests/{number}/sources/paper/letter").status_code == 409
    assert not inbox.letters


def test_manual_data_sources_are_marked_one_by_one(agent: Client, host: Host) -> None:
    """With a note and evidence; a file of a kind that is not taken marks nothing."""
    number = processed(host, "cabinet")
    path = f"/requests/{number}/sources/cabinet/done"
    assert "Look into the cabinet" in agent.get(f"/requests/{number}").text
    bad = agent.form(path, files={"file": ("x.exe", b"MZ\x00\x01", "application/pdf")}, note="done")
    assert bad.status_code == 400
    assert state(host, number, "cabinet") is SourceState.BY_HAND
    agent.form(path, files={"file": ("photo.png", b"\x89PNG\r\n\x1a\n...", "image/png")}, note="shredded the folder")
    assert state(host, number, "cabinet") is SourceState.DONE
    page = agent.get(f"/requests/{number}").text
    assert "photo.png" in page
    assert "Marked Cabinet as done" in page
    again = agent.form(path, files={"file": ("second.png", b"\x89PNG\r\n\x1a\n...", "image/png")}, note="again")
    assert again.status_code == 400
    assert [info.name for info in host.files.of(number)] == ["photo.png"]


# --- the way on ----------------------------------------------------------------------------------------------------------------------------


def test_continue_is_off_until_everything_is_done(agent: Client, host: Host) -> None:
    """The reasons stand there; the box "All data was deleted" is needed as well; then there is no way back."""
    number = processed(host, "shop", "cabinet")
    page = agent.get(f"/requests/{number}").text
    assert re.search(r'class="button primary" disabled aria-describedby="blockers">.{0,900}Continue</button>', page, re.DOTALL)
    assert "Toy: data found, not deleted yet" in page
    assert "All data was deleted" in page
    agent.form(f"/requests/{number}/give-free/confirmed", **shown(host, number, "shop"))
    host.processing.run(number)
    agent.form(f"/requests/{number}/sources/cabinet/done", note="done")
    page = agent.get(f"/requests/{number}").text
    assert "Before you can continue" not in page
    refused = agent.form(f"/requests/{number}/finish", revision=revision(host, number))
    assert refused.status_code == 400
    assert "is not ticked" in refused.text
    seen = revision(host, number)
    assert agent.form(f"/requests/{number}/finish", revision=seen, all_done="1").status_code == 303
    assert host.workflow.get(number).stage == "reply"
    assert agent.form(f"/requests/{number}/finish", revision=seen, all_done="1").status_code == 409


@pytest.mark.parametrize("type", ["do_not_mail", "right_to_edit"])
def test_what_people_handle_is_confirmed_instead(agent: Client, host: Host, type: str) -> None:
    """No data source, no search; a box that says it was handled internally."""
    number = processed(host, type=type)
    page = agent.get(f"/requests/{number}").text
    assert "have no automatic processing" in page
    assert "It was handled internally" in page
    assert "Delete selected sources" not in page
    assert agent.form(f"/requests/{number}/finish", revision=revision(host, number)).status_code == 400
    assert agent.form(f"/requests/{number}/finish", revision=revision(host, number), all_done="1").status_code == 303


def test_what_is_to_be_corrected_stands_where_it_is_confirmed(agent: Client, signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """In the words of the person, for those who may see them; where nobody has said it, that is said."""
    number = processed(host, type="right_to_edit", custom_fields={"correction": "Grace <b>Hoper</b> is Hopper"})
    page = agent.get(f"/requests/{number}").text
    handled = page[page.index('id="internal"') :]
    assert "Grace &lt;b&gt;Hoper&lt;/b&gt; is Hopper" in handled[: handled.index("</section>")]
    assert "Hoper" not in signed_in_as(Role.READ_ONLY).get(f"/requests/{number}").text
    assert "has not said what is to be corrected" in agent.get(f"/requests/{processed(host, type='right_to_edit')}").text


def test_support_looks_on(signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """No button of processing is there, and none works."""
    number = processed(host, "shop", "paper", "cabinet")
    support = signed_in_as(Role.SUPPORT)
    page = support.get(f"/requests/{number}").text
    for part in ("/give-free", "/finish", "/sources/cabinet/done", "/override"):
        assert f'action="/requests/{number}{part}' not in page or part == "/give-free"
    assert support.form(f"/requests/{number}/give-free/confirmed", **shown(host, number, "shop")).status_code == 403
    assert support.form(f"/requests/{number}/sources/paper/letter").status_code == 403


# --- copies --------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(host: Host, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy request whose data is collected."""
    records = [Record("ticket", {"id": 1, "note": "friend of Bob Roe", "items": [{"name": SCRIPT}]}), Record("ticket", {"id": 2})]
    monkeypatch.setattr(Acting, "script", {"export": lambda api, match: iter(records)})
    number = processed(host, "support", type="copy")
    host.processing.give_free(number, ["support"], by=BY)
    host.processing.run(number)
    return number


def test_a_copy_is_looked_through_redacted_and_generated(agent: Client, host: Host, copied: str) -> None:
    """Boxes per field, a reason, a way back; the package holds what is left, and files added by hand."""
    page = agent.get(f"/requests/{copied}/copy").text
    assert "friend of Bob Roe" in page
    assert SCRIPT not in page
    note = next(value for value in re.findall(r'name="fields" value="([^"]+)"', page) if value.endswith("/note"))
    assert agent.form(f"/requests/{copied}/copy/redact", reason="x").status_code == 400
    assert agent.form(f"/requests/{copied}/copy/redact", fields=[note], reason="").status_code == 400
    assert agent.form(f"/requests/{copied}/copy/redact", fields=["nonsense"], reason="x").status_code == 400
    agent.form(f"/requests/{copied}/copy/redact", fields=[note], reason="names another customer")
    assert "names another customer" in agent.get(f"/requests/{copied}/copy").text
    agent.form(f"/requests/{copied}/copy/files", files={"file": ("letter.txt", b"by hand", "text/plain")}, source="support")
    assert agent.form(f"/requests/{copied}/copy/generate").status_code == 303
    assert "Ready" in agent.get(f"/requests/{copied}").text
    package = agent.get(f"/requests/{copied}/copy/download")
    with zipfile.ZipFile(BytesIO(package.content)) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert b"Bob Roe" not in everything
    assert b"by hand" in everything
    redaction = host.delivery.redactions(copied)[0].id
    agent.form(f"/requests/{copied}/copy/restore/{redaction}")
    assert "Something has changed since" in agent.get(f"/requests/{copied}").text
    assert agent.get(f"/requests/{copied}/copy/download").status_code == 400


def test_what_cannot_work_yet_is_off_and_says_why(agent: Client, host: Host) -> None:
    """*Generate copy* before anything is collected; the list of what is missing names the copy; an error page for people has no number."""
    number = processed(host, "shop", type="copy", search=False)
    page = agent.get(f"/requests/{number}").text
    assert re.search(r'disabled aria-describedby="ungenerable">Generate copy', page)
    assert "Not yet: nothing was collected yet." in page
    assert "The copy is not generated, or not since the last change" in page
    refused = agent.form(f"/requests/{number}/copy/generate")
    assert refused.status_code == 400
    assert "Status 400" not in refused.text


def test_a_long_record_is_folded(agent: Client, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty fields and what goes beyond a dozen stand folded, each with its box; the way back stands at the head, too."""
    data = {f"field_{n}": f"value {n}" for n in range(15)} | {"blank": "", "nothing": None}
    monkeypatch.setattr(Acting, "script", {"export": lambda api, match: iter([Record("ticket", data)])})
    number = processed(host, "support", type="copy")
    host.processing.give_free(number, ["support"], by=BY)
    host.processing.run(number)
    page = agent.get(f"/requests/{number}/copy").text
    assert "3 more fields</summary>" in page
    assert "2 empty fields</summary>" in page
    assert all(f'aria-label="Redact /{name}"' in page for name in data)
    assert page.count("#copy") >= 2


def test_the_closed_page_names_what_was_left_out(agent: Client, host: Host) -> None:
    """With the reason, and without congratulating; the reply warns of it before; no question is without a way out of it."""
    number = processed(host, "shop")
    host.processing.override(number, "shop", by=BY, reason="they are bankrupt")
    host.workflow.finish(number, by=BY, all_done=True)
    page = agent.get(f"/requests/{number}").text
    assert "It was not carried out everywhere" in page
    assert "Left out: Toy." in page
    assert "Preview first" in page
    assert "data-cancel" in page
    host.replies.close(number, by=BY)
    page = agent.get(f"/requests/{number}").text
    assert "Closed. 1 data source was left out" in page
    assert "Toy (they are bankrupt)" in page
    assert "The request was fulfilled" not in page


def test_a_copy_needs_a_package_or_a_decision(agent: Client, host: Host, copied: str) -> None:
    """Continue without one is a box of its own, not required once it is generated."""
    assert "Answer without a generated copy" in agent.get(f"/requests/{copied}").text
    assert agent.form(f"/requests/{copied}/finish", revision=revision(host, copied)).status_code == 400
    agent.form(f"/requests/{copied}/copy/generate")
    assert "Answer without a generated copy" not in agent.get(f"/requests/{copied}").text
    assert agent.form(f"/requests/{copied}/finish", revision=revision(host, copied)).status_code == 303


# --- in a browser --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def live(host: Host) -> Iterator[Live]:
    """With the engine beside it."""
    with Live(create_app(host, engine=True)) as live:
        yield live


def test_the_button_counts_and_progress_comes_by_itself(browse: Callable[..., Page], host: Host, inbox: Inbox) -> None:
    """Ticks change the number at once; after the confirmation the page follows the engine without being loaded again."""
    number = processed(host, "shop", "crm", "paper")
    page = browse(Role.AGENT)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda message: broken.append(message.text) if message.type == "error" else None)
    page.goto(f"/requests/{number}")
    button = page.locator("button[data-counts]")
    assert (button.inner_text().strip(), button.is_disabled()) == ("Delete 0 sources", True)
    page.get_by_label("Delete Toy").check()
    assert button.inner_text().strip() == "Delete 1 source"
    page.get_by_label("Select all").check()
    assert button.inner_text().strip() == "Delete 2 sources"
    button.click()
    page.get_by_role("button", name="Delete 2 sources").click()
    page.wait_for_url(f"**/requests/{number}#panel")
    page.get_by_text("Last deleted").nth(1).wait_for()
    box = page.get_by_label("Send deletion e-mail to Paper Ltd")
    box.check()
    page.get_by_role("button", name="Cancel").locator("visible=true").click()
    page.locator("#tick-paper:not(:checked)").wait_for()
    assert not inbox.letters
    box.check()
    page.set_viewport_size({"width": 1280, "height": 500})
    send = page.get_by_role("button", name="Send e-mail")
    send.scroll_into_view_if_needed()
    top = "document.getElementById('source-paper').getBoundingClientRect().top"
    before = page.evaluate(top)
    send.click()
    page.get_by_text("Email Sent").wait_for()
    assert abs(page.evaluate(top) - before) < 5, "what was acted on stays where it was"
    assert len(inbox.letters) == 1
    assert not broken


def test_what_is_typed_is_not_replaced_under_the_hands(browse: Callable[..., Page], host: Host) -> None:
    """While the panel follows the engine, a half-written reason stays, and so do ticks and what is unfolded."""
    number = processed(host, "shop", "crm", "cabinet")
    page = browse(Role.AGENT)
    page.goto(f"/requests/{number}")
    page.get_by_label("Delete Toy").check()
    page.locator("#mark-cabinet summary").click()
    page.evaluate("htmx.ajax('GET', location.pathname + '/panel', {target: '#panel', swap: 'outerHTML'})")
    page.wait_for_timeout(500)
    assert page.get_by_label("Delete Toy").is_checked()
    assert page.locator("#mark-cabinet").evaluate("it => it.open")
    page.locator("#note-cabinet").fill("half a sentence")
    page.evaluate("htmx.ajax('GET', location.pathname + '/panel', {target: '#panel', swap: 'outerHTML'})")
    page.wait_for_timeout(500)
    assert page.locator("#note-cabinet").input_value() == "half a sentence"


def test_the_browser_may_be_closed_while_it_deletes(
    browse: Callable[..., Page], host: Host, shop: ToyVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is gone once the press has arrived, and before anybody has answered it; the engine goes on."""
    arrived, gone = threading.Event(), threading.Event()
    give_free = Processing.give_free

    def watched(*arguments: Any, **more: Any) -> int:
        given = give_free(*arguments, **more)
        arrived.set()
        assert gone.wait(60)
        return given

    monkeypatch.setattr(Processing, "give_free", watched)
    number = processed(host, "shop", "crm")
    page = browse(Role.AGENT)
    page.goto(f"/requests/{number}")
    page.get_by_label("Select all").check()
    page.locator("button[data-counts]").click()
    page.get_by_role("button", name="Delete 2 sources").click(no_wait_after=True)
    assert arrived.wait(60)
    page.close()
    gone.set()
    until(lambda: {state(host, number, name) for name in ("shop", "crm")} <= {SourceState.DONE, SourceState.RETAINED})
    assert not shop.holds(ADA)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_a_request_has_a_serious_accessibility_finding(
    browse: Callable[..., Page], host: Host, copied: str, inbox: Inbox, scheme: str
) -> None:
    """As axe sees it: names, roles, contrast, tables, in both colour schemes."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    review, process = host.submit(asked(email="r@example.com")), processed(host, "shop", "crm", "warehouse", "paper", "cabinet")
    unproven = host.submit(asked(email="u@example.com", channel="privacy_center"))
    reply = host.submit(asked("do_not_mail", email="m@example.com"))
    closed = host.submit(asked("do_not_mail", email="c@example.com"))
    for number in (reply, closed):
        host.workflow.accept(number, by=BY)
        host.workflow.finish(number, by=BY, all_done=True)
    host.replies.close(closed, by=BY, revision=host.workflow.get(closed).revision)
    host.conversation.message(process, "Which shop?", by=BY)
    numbers = (review, unproven, process, copied, reply, closed)
    paths = [*(f"/requests/{number}" for number in numbers), f"/requests/{closed}/history", f"/requests/{copied}/copy", f"/requests/{process}/reply"]
    page = browse(Role.ADMIN, color_scheme=scheme)
    for path in ["/requests", "/requests?view=closed", "/requests/new", "/requests/import", *paths]:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200
        found = [row for row in axe.run(page).response["violations"] if row["impact"] in ("serious", "critical")]
        assert not found, (path, [(row["id"], [node["html"][:200] for node in row["nodes"]]) for row in found])


def test_a_letter_that_was_refused_is_unticked_by_its_box(browse: Callable[..., Page], host: Host, inbox: Inbox) -> None:
    """With a script the box itself takes the tick back, on a telephone; ticked again, the letter is sent, and the box is locked."""
    inbox.refuse = {"privacy@paper.example": "550 5.1.1 no such mailbox"}
    number = processed(host, "paper")
    page = browse(Role.AGENT, viewport={"width": 380, "height": 700})
    page.goto(f"/requests/{number}")
    box = page.locator("#tick-paper")
    box.check()
    page.get_by_role("button", name="Send e-mail").click()
    page.get_by_text("Failed", exact=True).wait_for()
    assert box.is_checked()
    box.uncheck()
    page.locator('#tick-paper[aria-label^="Send deletion e-mail to Paper Ltd"]:not(:checked)').wait_for()
    until(lambda: state(host, number, "paper") is SourceState.EMAIL_READY)
    assert not inbox.letters
    inbox.refuse = {}
    box.check()
    page.get_by_role("button", name="Send e-mail").click()
    page.get_by_text("Email Sent", exact=True).wait_for()
    assert (box.is_checked(), box.is_disabled(), len(inbox.letters)) == (True, True, 1)
