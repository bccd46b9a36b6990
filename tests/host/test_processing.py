"""The process stage: what the panel shows is what is done, once, whoever else is at it, and nothing bars the way that has an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import time_machine

from dsr_sdk import ControllerId, Email, Erased, Failed, Match, RequestError, TransientError, UnsupportedError
from dsr_sdk.errors import ApprovalError, ConflictError
from dsr_sdk.host import Host
from dsr_sdk.host.process.panel import PanelSource, SourceState
from dsr_sdk.host.process.processing import HOLDS
from dsr_sdk.request import Request
from dsr_sdk.testing import Fault, Person, serve
from tests.smtp import Inbox
from tests.toys import Acting, Exploding, ExplodingLetters, Jobs, Keyed, Letters, Manually, Revealing, Toy, ToyVendor
from tests.world import World, deletion

AMY, BOB = "amy@example.com", "bob@example.com"
ADA = "ada@example.com"


class Switched(Letters):
    """An e-mail integration that is off until somebody activates it."""

    slug, title = "switched", "Switched"

    class Config(Letters.Config):
        active: bool = False


class Told(Manually):
    """By hand, with a text for a deletion and one for a copy."""

    slug, title = "told", "Told"

    class Config(Manually.Config):
        instructions: str = "Look into the cabinet."
        instructions_deletion: str = "Shred the folder."
        instructions_copy: str = "Scan the folder."


def accepted(host: Host, request: Request | None = None, **more: Any) -> str:
    """A case in process."""
    case = host.submit(request or deletion(channel="api", **more))
    host.workflow.accept(case, by=AMY)
    return case


def office(world: World, *, mail: Inbox | None = None) -> Host:
    """A host with the workflow."""
    world.tables = "[workflow]"
    if mail is not None:
        world.mail = mail.toml
    return world.open()


def row(host: Host, case: str, source: str) -> PanelSource:
    """One line of the panel."""
    return next(row for row in host.processing.panel(case).sources if row.source == source)


def states(host: Host, case: str) -> dict[str, SourceState]:
    """How every data source stands."""
    return {row.source: row.state for row in host.processing.panel(case).sources}


def together(*acts: Callable[[], object]) -> list[BaseException | object]:
    """Do these at the same moment; what each came to."""
    start = threading.Barrier(len(acts))
    results: list[BaseException | object] = [None] * len(acts)

    def run(n: int, act: Callable[[], object]) -> None:
        start.wait(20)
        try:
            results[n] = act()
        except Exception as error:  # noqa: BLE001 - what became of it is the point
            results[n] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def events(host: Host, case: str, event: str) -> list[dict[str, Any]]:
    """The audit events of one kind."""
    return [entry for entry in host.history(case) if entry["event"] == event]


# --- searching, and the panel --------------------------------------------------------------------------------------------------------


def test_from_search_to_reply(world: World, inbox: Inbox) -> None:
    """Automated, e-mail and manual data sources side by side: searched, given free, run, marked, confirmed, continued."""
    crm = world.add("crm", Toy, None, ADA, ADA)
    world.add("empty", Toy)
    world.add("paper", Letters)
    world.add("cabinet", Manually)
    host = office(world, mail=inbox)
    case = accepted(host)
    panel = host.processing.panel(case)
    assert (panel.verb, panel.confirm, panel.selectable) == ("Delete", "All data was deleted", 0)
    assert states(host, case) == {
        "cabinet": SourceState.BY_HAND,
        "crm": SourceState.NOT_SEARCHED,
        "empty": SourceState.NOT_SEARCHED,
        "paper": SourceState.NOT_SEARCHED,
    }
    host.processing.search(case)
    panel = host.processing.panel(case)
    assert [(line.source, line.process, line.state, line.found, line.selectable, line.ticked) for line in panel.sources] == [
        ("cabinet", "manual", SourceState.BY_HAND, None, False, False),
        ("crm", "automated", SourceState.FOUND, 2, True, False),
        ("empty", "automated", SourceState.NOTHING_FOUND, 0, False, False),
        ("paper", "email", SourceState.EMAIL_READY, None, True, False),
    ]
    assert panel.selectable == 2
    assert len(panel.blockers) == 3
    assert crm.contacts
    assert host.processing.give_free(case, ["crm", "empty", "paper"], by=AMY) == 2
    assert states(host, case)["crm"] is SourceState.WORKING
    assert crm.contacts, "giving free does not run"
    host.processing.run(case)
    panel = host.processing.panel(case)
    assert {line.source: line.state for line in panel.sources} == {
        "cabinet": SourceState.BY_HAND,
        "crm": SourceState.DONE,
        "empty": SourceState.NOTHING_FOUND,
        "paper": SourceState.EMAIL_SENT,
    }
    assert not crm.contacts
    assert [line.source for line in panel.sources if line.last_deleted is not None] == ["crm"]
    with pytest.raises(RequestError, match=r"marked as done.*all data was deleted|All data was deleted"):
        host.workflow.finish(case, by=AMY)
    host.processing.mark_done(case, "paper", by=AMY, note="they answered")
    host.processing.mark_done(case, "cabinet", by=AMY)
    assert row(host, case, "paper").last_deleted is None
    assert host.processing.blockers(case, all_done=False) == ['the box "All data was deleted" is not ticked']
    assert host.processing.blockers(case, all_done=True) == []
    host.workflow.finish(case, by=AMY, all_done=True)
    assert host.workflow.get(case).stage == "reply"
    assert host.processing.blockers(case, all_done=False) == []


def test_the_panel_calls_nobody(world: World) -> None:
    """It is polled: no vendor hears of it and no personal data stands in its repr."""
    Exploding.touched.clear()
    world.add("crm", Exploding, None, ADA)
    host = office(world)
    case = accepted(host, subject={"email": ADA, "first_name": "Ada", "last_name": "Lovelace"})
    panel = host.processing.panel(case)
    assert Exploding.touched == []
    assert "Lovelace" not in repr(panel)
    assert ADA not in repr(panel)


def test_searching_again_is_safe_and_at_once_is_one_search(world: World) -> None:
    """Five at the same moment: the vendor is asked once, all of them see the result."""
    calls: list[str] = []

    def find(api: Any, subject: Any) -> Any:
        calls.append("find")
        threading.Event().wait(0.2)
        yield Match("contact", "c1")

    world.add("crm", Acting)
    Acting.script = {"find": find}
    host = office(world)
    case = accepted(host)
    assert together(*[lambda: host.processing.search(case)] * 5) == [None] * 5
    assert calls == ["find"]
    host.processing.search(case)
    assert calls == ["find", "find"]
    assert row(host, case, "crm").found == 1


def test_two_hosts_search_at_once(world: World) -> None:
    """Two processes of one ledger: the second joins the searches of the first."""
    calls: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def find(api: Any, subject: Any) -> Any:
        calls.append("find")
        begun.set()
        assert go_on.wait(20)
        yield Match("contact", "c1")

    world.add("crm", Acting)
    Acting.script = {"find": find}
    host = office(world)
    other = world.open()
    case = accepted(host)
    first = threading.Thread(target=lambda: host.processing.search(case))
    first.start()
    assert begun.wait(20)
    panel = other.processing.panel(case)
    assert (panel.searching, panel.sources[0].state) == (True, SourceState.SEARCHING)
    second = threading.Thread(target=lambda: other.processing.search(case))
    second.start()
    threading.Timer(0.3, go_on.set).start()
    first.join(30)
    second.join(30)
    assert calls == ["find"]
    assert states(other, case) == {"crm": SourceState.FOUND}


def test_what_could_not_be_checked(world: World) -> None:
    """A vendor that is down stands as could not check, bars the way, and is asked again; there is nothing to give free."""
    vendor = world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    vendor.faults = [Fault("status", status=401, times=-1)]
    host.processing.search(case)
    line = row(host, case, "crm")
    assert line.state is SourceState.COULD_NOT_CHECK
    assert line.detail
    with pytest.raises(RequestError, match="search again"):
        host.processing.give_free(case, ["crm"], by=AMY)
    assert "could not be checked" in host.processing.blockers(case, all_done=True)[0]
    vendor.faults = []
    host.processing.retry(case, "crm", by=AMY)
    assert row(host, case, "crm").state is SourceState.FOUND


def test_only_a_case_in_process_is_searched(world: World) -> None:
    """No vendor hears of a request that nobody has accepted."""
    Exploding.touched.clear()
    world.add("crm", Exploding)
    host = office(world)
    case = host.submit(deletion(channel="api"))
    with pytest.raises(ConflictError, match="in review, not in process"):
        host.processing.search(case)
    with pytest.raises(ConflictError, match="in review, not in process"):
        host.processing.give_free(case, ["crm"], by=AMY)
    assert Exploding.touched == []


def test_a_source_that_was_not_chosen(world: World) -> None:
    """It is neither searched nor given free; once it is added it is."""
    world.add("crm", Toy, None, ADA)
    shop = world.add("shop", Toy, None, ADA)
    host = office(world)
    case = host.submit(deletion(channel="api"))
    host.workflow.accept(case, by=AMY, sources=["crm"])
    for act in (lambda: host.processing.search(case, sources=["shop"]), lambda: host.processing.give_free(case, ["shop"], by=AMY)):
        with pytest.raises(RequestError, match="was not chosen"):
            act()
    host.processing.add_source(case, "shop", by=AMY)
    host.processing.search(case)
    assert host.processing.give_free(case, ["crm", "shop"], by=AMY) == 2
    host.processing.run(case)
    assert not shop.contacts
    with pytest.raises(RequestError, match="not used in request handling"):
        host.processing.add_source(case, "nothing", by=AMY)


def test_a_source_is_added_in_review_beside_the_others(world: World) -> None:
    """Adding one from the request page does not take the chosen ones away."""
    world.add("crm", Toy)
    world.add("shop", Toy)
    host = office(world)
    case = host.submit(deletion(channel="api"))
    host.workflow.choose(case, ["crm"], by=AMY)
    host.processing.add_source(case, "shop", by=AMY)
    host.workflow.accept(case, by=AMY)
    assert set(states(host, case)) == {"crm", "shop"}


# --- giving free ---------------------------------------------------------------------------------------------------------------------


def test_exactly_what_the_panel_showed(world: World) -> None:
    """No new search: a contact that appeared since stays, and is reported."""
    vendor = world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    vendor.seed([Person(ADA)])
    searches = vendor.calls["GET search"]
    host.processing.give_free(case, ["crm"], by=AMY)
    assert vendor.calls["GET search"] == searches
    host.processing.run(case)
    assert list(vendor.effects) == ["erase crm-1"]
    assert row(host, case, "crm").state is SourceState.REAPPEARED
    host.processing.retry(case, "crm", by=AMY)
    assert (row(host, case, "crm").state, row(host, case, "crm").selectable) == (SourceState.FOUND, True)
    assert host.processing.give_free(case, ["crm"], by=AMY) == 1
    host.processing.run(case)
    assert row(host, case, "crm").state is SourceState.DONE
    assert set(vendor.effects.values()) == {1}


def test_what_reappeared_and_went_away(world: World) -> None:
    """Found again after its deletion, gone when searched once more: done."""
    vendor = world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    vendor.seed([Person(ADA)])
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    assert row(host, case, "crm").state is SourceState.REAPPEARED
    vendor.contacts.clear()
    host.processing.retry(case, "crm", by=AMY)
    assert row(host, case, "crm").state is SourceState.DONE
    assert host.processing.blockers(case, all_done=True) == []


def test_a_few_now_and_the_others_later(world: World) -> None:
    """Each part keeps how it stands, however many are given free after it, in the panel and in the report."""
    vendors = {name: world.add(name, Toy, None, ADA) for name in ("a", "b", "c")}
    world.add("none", Toy)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    assert host.processing.give_free(case, ["a"], by=AMY) == 1
    host.processing.run(case)
    assert states(host, case) == {"a": SourceState.DONE, "b": SourceState.FOUND, "c": SourceState.FOUND, "none": SourceState.NOTHING_FOUND}
    vendors["b"].poisoned.add("b-1")
    host.processing.give_free(case, ["b"], by=BOB)
    host.processing.run(case)
    host.processing.search(case)
    assert host.processing.give_free(case, ["a", "b", "c"], by=BOB) == 1
    host.processing.run(case)
    assert states(host, case) == {"a": SourceState.DONE, "b": SourceState.FAILED, "c": SourceState.DONE, "none": SourceState.NOTHING_FOUND}
    assert {line.source: line.status.value for line in host.status(case).sources} == {
        "a": "verified",
        "b": "failed",
        "c": "verified",
        "none": "nothing_found",
    }
    assert [entry["data"]["sources"] for entry in events(host, case, "sources.given_free")] == [["a"], ["b"], ["c"]]
    assert (row(host, case, "a").ticked_by, row(host, case, "c").ticked_by) == (AMY, BOB)
    assert {name: dict(vendor.effects) for name, vendor in vendors.items()} == {"a": {"erase a-1": 1}, "b": {}, "c": {"erase c-1": 1}}


def test_twice_gives_nothing_more(world: World, inbox: Inbox) -> None:
    """The same again, from another host, and after the work is done: nothing is given free, erased or sent a second time."""
    vendor = world.add("crm", Toy, None, ADA)
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    other = world.open()
    case = accepted(host)
    host.processing.search(case)
    assert host.processing.give_free(case, ["crm", "paper", "crm"], by=AMY) == 2
    assert other.processing.give_free(case, ["crm", "paper"], by=BOB) == 0
    host.processing.run(case)
    other.processing.search(case)
    assert other.processing.give_free(case, ["crm", "paper"], by=BOB) == 0
    other.run_all()
    assert vendor.effects == {"erase crm-1": 1}
    assert len(inbox.letters) == 1


def test_two_press_delete_at_once(world: World, inbox: Inbox) -> None:
    """Two agents, each in a process of their own: every data source is given free once, each letter sent once, each contact erased once."""
    names = [f"s{n}" for n in range(6)]
    vendors = [world.add(name, Jobs if n % 2 else Toy, None, ADA) for n, name in enumerate(names)]
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    other = world.open()
    case = accepted(host)
    host.processing.search(case)

    def press(host: Host, by: str) -> int:
        given = host.processing.give_free(case, [*names, "paper"], by=by)
        host.processing.run(case)
        return given

    assert sorted(together(lambda: press(host, AMY), lambda: press(other, BOB)), key=str) == [0, 7]
    host.run_all(wait=30)
    assert len(events(host, case, "sources.given_free")) == 1
    assert len(inbox.letters) == 1
    assert [sorted(vendor.effects.values()) for vendor in vendors] == [[1]] * 6
    assert set(states(host, case).values()) == {SourceState.DONE, SourceState.EMAIL_SENT}


def test_two_with_the_same_page_before_them(world: World) -> None:
    """The revision that both have seen: one goes on, the other is told, and their data source is still to be given free."""
    world.add("a", Toy, None, ADA)
    world.add("b", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    revision = host.processing.panel(case).case.revision
    results = together(
        lambda: host.processing.give_free(case, ["a"], by=AMY, revision=revision),
        lambda: host.processing.give_free(case, ["b"], by=BOB, revision=revision),
    )
    assert [result for result in results if not isinstance(result, ConflictError)] == [1]
    assert sorted(states(host, case).values()) == [SourceState.FOUND, SourceState.WORKING]


def test_another_search_found_something_else(world: World) -> None:
    """What the agent has before their eyes is what they give free: a later search with another result is refused, with the same it is not."""
    vendor = world.add("crm", Toy, None, ADA)
    world.add("shop", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    seen = host.processing.panel(case).seen
    host.processing.search(case)
    vendor.seed([Person(ADA)])
    assert host.processing.give_free(case, ["shop"], by=AMY, seen=seen) == 1
    host.processing.search(case)
    with pytest.raises(ConflictError, match="found something else"):
        host.processing.give_free(case, ["crm"], by=AMY, seen=seen)
    assert host.processing.give_free(case, ["crm"], by=AMY, seen=host.processing.panel(case).seen) == 1


def test_what_was_searched_long_ago(world: World) -> None:
    """What came to the vendor since would be left behind: search again."""
    world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    with time_machine.travel(datetime.now(UTC) + HOLDS + timedelta(minutes=1)), pytest.raises(RequestError, match="search again"):
        host.processing.give_free(case, ["crm"], by=AMY)
    assert host.processing.give_free(case, ["crm"], by=AMY) == 1


def test_one_that_comes_after_another(world: World) -> None:
    """The source of truth is not deleted before what syncs from it: it cannot be given free alone, and begins when the other has ended."""
    first = world.add("first", Toy, None, ADA)
    second = world.add("second", Toy, None, ADA, after=["first"])
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    with pytest.raises(RequestError, match="comes after"):
        host.processing.give_free(case, ["second"], by=AMY)
    first.faults = [Fault("status", status=500)]
    assert host.processing.give_free(case, ["first", "second"], by=AMY) == 2
    host.run(case, wait=30)
    assert not first.contacts
    assert not second.contacts


def test_withdrawn_no_more(world: World) -> None:
    """From the first data source on it cannot be withdrawn."""
    world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    with pytest.raises(ConflictError, match="given free already"):
        host.workflow.withdraw(case, by=AMY)


def test_a_source_taken_away_after_the_search(world: World) -> None:
    """It is said, it bars the way, and it can be overridden; nothing is given free of it."""
    world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    del world.sources["crm"]
    later = world.open()
    line = row(later, case, "crm")
    assert (line.state, line.selectable, line.detail) == (SourceState.COULD_NOT_CHECK, False, "this data source is not configured any more")
    with pytest.raises((RequestError, ApprovalError)):
        later.processing.give_free(case, ["crm"], by=AMY)
    later.processing.search(case)
    later.processing.override(case, "crm", by=AMY, reason="the contract has ended, all was handed back")
    assert later.processing.blockers(case, all_done=True) == []


# --- letters -------------------------------------------------------------------------------------------------------------------------


def test_ticking_an_email_source_sends_once(world: World, inbox: Inbox) -> None:
    """Ticked, unticked, ticked, by two at once and before any search: one letter, and the line of the recent activity word for word."""
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    case = accepted(host)
    together(*[lambda: host.processing.tick_email(case, "paper", by=AMY)] * 3)
    host.processing.run(case)
    host.processing.untick(case, "paper", by=AMY)
    host.processing.tick_email(case, "paper", by=BOB)
    host.processing.run(case)
    host.run_all()
    assert len(inbox.letters) == 1
    line = row(host, case, "paper")
    assert (line.state, line.ticked, line.selectable, line.last_deleted) == (SourceState.EMAIL_SENT, True, False, None)
    texts = [activity.text for activity in host.processing.panel(case).activity]
    assert texts.count("Requested deletion from Paper Ltd") == 1
    assert len(events(host, case, "source.unticked")) == 1
    host.processing.mark_done(case, "paper", by=AMY)
    assert (row(host, case, "paper").state, row(host, case, "paper").last_deleted) == (SourceState.DONE, None)


@pytest.mark.parametrize("waits", ["not begun", "put off", "refused"])
def test_a_letter_that_has_not_left_is_unticked_and_ticked_again(world: World, inbox: Inbox, waits: str) -> None:
    """Unticked, no engine sends it, and the case may be withdrawn again; ticked again, it is sent exactly once."""
    if waits == "put off":
        inbox.refuse = {"privacy@paper.example": "451 4.7.1 not now"}
    elif waits == "refused":
        inbox.refuse = {"privacy@paper.example": "550 5.1.1 no such mailbox"}
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    case = accepted(host)
    for turn in (1, 2):  # the second time there is a cancelled letter already
        host.processing.tick_email(case, "paper", by=AMY)
        if waits != "not begun":
            host.processing.run(case)
        line = row(host, case, "paper")
        assert (line.ticked, line.cancellable, line.sent_at) == (True, True, None)
        with pytest.raises(ConflictError):
            host.workflow.withdraw(case, by=BOB)
        assert host.processing.untick(case, "paper", by=BOB)
        assert not host.processing.untick(case, "paper", by=BOB)
        line = row(host, case, "paper")
        assert (line.state, line.ticked, line.ticked_by, line.selectable) == (SourceState.EMAIL_READY, False, None, True)
        assert len(events(host, case, "letter.cancelled")) == turn
        inbox.refuse = {} if turn == 2 else inbox.refuse
        host.run_all(wait=30)
        assert not inbox.letters
    assert "Unticked Paper Ltd: its letter is not sent" in [activity.text for activity in host.processing.panel(case).activity]
    assert host.processing.blockers(case, all_done=True) == ["Paper Ltd: the deletion e-mail is not sent yet"]
    together(*[lambda: host.processing.tick_email(case, "paper", by=AMY)] * 3)
    host.run_all(wait=30)
    assert len(inbox.letters) == 1
    line = row(host, case, "paper")
    assert (line.state, line.cancellable, line.sent_at is None) == (SourceState.EMAIL_SENT, False, False)
    assert not host.processing.untick(case, "paper", by=BOB)
    assert (row(host, case, "paper").state, len(events(host, case, "source.unticked"))) == (SourceState.EMAIL_SENT, 1)


def test_unticked_and_nothing_else_given_free_it_may_be_withdrawn(world: World, inbox: Inbox) -> None:
    """As if it had never been ticked."""
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    case = accepted(host)
    host.processing.tick_email(case, "paper", by=AMY)
    host.processing.untick(case, "paper", by=AMY)
    host.workflow.withdraw(case, by=BOB)
    host.run_all()
    assert not inbox.letters


def test_a_letter_under_way_is_not_unticked(world: World, inbox: Inbox) -> None:
    """While the engine has it: nobody knows how far it is. One in doubt that is to be sent again may have arrived, and is not cancelled either."""
    world.add("paper", Letters)
    refused: list[Exception] = []

    def meanwhile(step: str) -> None:
        if step in ("before mail", "handover", "after mail"):
            try:
                host.processing.untick(case, "paper", by=BOB)
            except ConflictError as error:
                refused.append(error)

    world.tables, world.mail = "[workflow]", inbox.toml
    host = world.open(on_step=meanwhile)
    case = accepted(host)
    host.processing.tick_email(case, "paper", by=AMY)
    inbox.vanish = True
    host.processing.run(case)
    assert [str(error) for error in refused] == ["paper: the letter is being sent at this moment (look at it again)"] * 2
    inbox.vanish = False
    host.processing.retry(case, "paper", by=AMY, resend=True)
    assert not row(host, case, "paper").cancellable
    with pytest.raises(ConflictError, match="being sent"):
        host.processing.untick(case, "paper", by=BOB)


def test_unticked_while_the_engine_reaches_for_it(world: World, inbox: Inbox) -> None:
    """Again and again at the same moment: either the letter leaves or it was cancelled, and the history says the same as the mailbox."""
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    sent = 0
    for turn in range(8):
        case = accepted(host, email=f"p{turn}@example.com")
        host.processing.tick_email(case, "paper", by=AMY)
        together(lambda: host.processing.run(case), lambda: host.processing.untick(case, "paper", by=BOB))  # noqa: B023
        host.processing.run(case)
        sent += 1 - len(events(host, case, "letter.cancelled"))
        assert len(inbox.letters) == sent
        host.processing.tick_email(case, "paper", by=AMY)
        host.processing.run(case)
        sent = turn + 1
        assert len(inbox.letters) == sent


@pytest.mark.parametrize("type_", ["copy", "do_not_sell"])
def test_letters_ask_for_deletion_only(world: World, inbox: Inbox, type_: str) -> None:
    """Any other request is a typed error, by the box and by the button."""
    world.add("paper", ExplodingLetters)
    host = office(world, mail=inbox)
    case = accepted(host, type=type_)
    host.processing.search(case)
    assert not row(host, case, "paper").selectable
    with pytest.raises(UnsupportedError, match="deletion only"):
        host.processing.tick_email(case, "paper", by=AMY)
    with pytest.raises(UnsupportedError, match="deletion only"):
        host.processing.give_free(case, ["paper"], by=AMY)
    host.run_all()
    assert not inbox.letters


def test_an_email_integration_that_is_off(world: World, inbox: Inbox) -> None:
    """It cannot be ticked until somebody activates it; meanwhile it is a person's work."""
    world.add("paper", Switched)
    host = office(world, mail=inbox)
    case = accepted(host)
    host.processing.search(case)
    assert (row(host, case, "paper").state, row(host, case, "paper").selectable) == (SourceState.BY_HAND, False)
    with pytest.raises(RequestError, match="not active"):
        host.processing.tick_email(case, "paper", by=AMY)
    host.processing.run(case)
    assert not inbox.letters
    world.add("paper", Switched, active=True)
    later = world.open()
    later.processing.tick_email(case, "paper", by=AMY)
    later.processing.run(case)
    assert len(inbox.letters) == 1


def test_the_copy_of_a_letter_is_refused(world: World, inbox: Inbox) -> None:
    """To accepted, CC refused: the letter is sent, and the panel says that the copy was not."""
    inbox.refuse = {"copies@example.com": "550 5.1.1 no such mailbox"}
    world.add("paper", Letters)
    world.tables, world.mail = "[workflow]", inbox.toml + '\ncc = "copies@example.com"'
    host = world.open()
    case = accepted(host)
    host.processing.tick_email(case, "paper", by=AMY)
    host.processing.run(case)
    line = row(host, case, "paper")
    assert line.state is SourceState.EMAIL_SENT
    assert "refused the copy (CC)" in line.detail
    assert [letter.rcpt_tos for letter in inbox.letters] == [["privacy@paper.example"]]


def test_the_recipient_of_a_letter_is_refused(world: World, inbox: Inbox) -> None:
    """To refused: nothing was sent, it failed, and it can be tried again."""
    inbox.refuse = {"privacy@paper.example": "550 5.1.1 no such mailbox"}
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    case = accepted(host)
    host.processing.tick_email(case, "paper", by=AMY)
    host.processing.run(case)
    assert row(host, case, "paper").state is SourceState.FAILED
    assert "failed" in host.processing.blockers(case, all_done=True)[0]
    assert not inbox.letters
    inbox.refuse = {}
    host.processing.retry(case, "paper", by=AMY)
    host.processing.run(case)
    assert row(host, case, "paper").state is SourceState.EMAIL_SENT
    assert len(inbox.letters) == 1


def test_a_letter_in_doubt(world: World, inbox: Inbox) -> None:
    """Nobody knows whether it was sent: a person finds out, marks it sent, and later answered; or overrides it. It is not sent again by itself."""
    inbox.vanish = True
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    case = accepted(host)
    host.processing.tick_email(case, "paper", by=AMY)
    host.processing.run(case)
    inbox.vanish = False
    assert row(host, case, "paper").state is SourceState.IN_DOUBT
    with pytest.raises(RequestError, match="nothing failed"):
        host.processing.retry(case, "paper", by=AMY)
    host.processing.run(case)
    assert len(inbox.letters) == 1
    host.processing.mark_done(case, "paper", by=AMY)
    assert row(host, case, "paper").state is SourceState.EMAIL_SENT
    host.processing.mark_done(case, "paper", by=AMY)
    assert row(host, case, "paper").state is SourceState.DONE


# --- identifiers, by hand, overriding ------------------------------------------------------------------------------------------------


def test_a_missing_identifier_is_entered(world: World) -> None:
    """It is named, entered, and searched with where it is understood and nowhere else; another kind opens nothing there."""
    keyed = world.add("keyed", Keyed, None, Person("other@example.com", user_id="u-1"))
    crm = world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    line = row(host, case, "keyed")
    assert (line.state, line.missing, line.found) == (SourceState.MISSING_IDENTIFIER, "controller_id", None)
    with pytest.raises(RequestError, match="controller_id"):
        host.processing.give_free(case, ["keyed"], by=AMY)
    calls = crm.calls.total()
    host.processing.add_identifier(case, Email(value="second@example.com"), by=AMY)
    assert row(host, case, "keyed").state is SourceState.MISSING_IDENTIFIER
    assert crm.calls.total() > calls
    calls = crm.calls.total()
    host.processing.add_identifier(case, ControllerId(value="u-1"), by=AMY)
    line = row(host, case, "keyed")
    assert (line.state, line.found, line.missing) == (SourceState.FOUND, 1, "")
    assert crm.calls.total() == calls
    assert host.processing.give_free(case, ["keyed", "crm"], by=AMY) == 2
    host.processing.run(case)
    assert not keyed.contacts


def test_two_identifiers_at_once(world: World) -> None:
    """Two agents each enter one: neither is lost."""
    world.add("crm", Toy)
    host = office(world)
    case = accepted(host)
    adders = [partial(host.processing.add_identifier, case, Email(value=f"e{n}@example.com"), by=AMY) for n in range(4)]
    assert together(*adders) == [None] * 4
    assert len(host.request(case).subject.all(Email)) == 5


def test_manual_sources_one_by_one(world: World) -> None:
    """Each is marked, with evidence; the box is asked for all the same; a second mark is refused."""
    for name in ("cabinet", "cellar"):
        world.add(name, Manually)
    host = office(world)
    case = accepted(host)
    proof = host.files.attach(case, [b"%PDF-1.7 shredded"], name="proof.pdf", purpose="evidence", by=AMY)
    host.processing.mark_done(case, "cabinet", by=AMY, note="shredded the folder of A. L.", files=[proof.id])
    panel = host.processing.panel(case)
    lines = {line.source: line for line in panel.sources}
    assert (lines["cabinet"].state, lines["cellar"].state) == (SourceState.DONE, SourceState.BY_HAND)
    assert [info.name for info in lines["cabinet"].files] == ["proof.pdf"]
    assert panel.blockers == ("Cellar: to be done by hand, not marked as done yet",)
    assert lines["cabinet"].last_deleted is None
    assert "folder" not in str(host.history(case))
    with pytest.raises(RequestError, match="nothing there waits"):
        host.processing.mark_done(case, "cabinet", by=BOB)
    with pytest.raises(RequestError, match="no such file"):
        host.processing.mark_done(case, "cellar", by=BOB, files=[4711])
    host.processing.mark_done(case, "cellar", by=BOB)
    assert host.processing.blockers(case, all_done=True) == []


def test_a_copy_tells_nobody_to_destroy_anything(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand there is a text for each type of request, and a general one for the others; what to do about a blind spot in a deletion is
    said in a deletion."""
    monkeypatch.setattr(Toy, "blind_spot", "faxes")
    monkeypatch.setattr(Toy, "blind_spot_erase", "shred them")
    world.add("crm", Toy, None, ADA)
    world.add("cabinet", Told, None)
    world.add("cellar", Manually, None)
    host = office(world)
    texts: dict[str, tuple[str, str, str]] = {}
    for type_ in ("deletion", "copy", "do_not_sell"):
        case = host.submit(Request.parse({"type": type_, "subject": {"email": ADA}, "channel": "api"}))
        host.workflow.accept(case, by=AMY)
        before = {line.source: line.detail for line in host.processing.panel(case).sources}
        host.processing.search(case)
        lines = {line.source: line for line in host.processing.panel(case).sources}
        assert before["cabinet"] == lines["cabinet"].detail
        texts[type_] = before["cabinet"], before["cellar"], " ".join(lines["crm"].warnings)
    general = texts["deletion"][1]
    assert texts["deletion"] == ("Shred the folder.", general, "cannot be searched: faxes; shred them")
    assert texts["copy"] == ("Scan the folder.", general, "cannot be searched: faxes")
    assert texts["do_not_sell"][:2] == ("Look into the cabinet.", general)


def test_two_mark_the_same_at_once(world: World) -> None:
    """One mark counts, the other agent is told."""
    world.add("cabinet", Manually)
    host = office(world)
    case = accepted(host)
    results = together(*[lambda: host.processing.mark_done(case, "cabinet", by=AMY)] * 3)
    assert [result for result in results if result is None] == [None]
    assert len(events(host, case, "source.confirmed")) == 1


def test_partial_failure(world: World) -> None:
    """One of two contacts is refused: the source failed and says so, the other sources are done; tried again, it is done."""
    vendor = world.add("crm", Toy, None, ADA, ADA)
    world.add("shop", Toy, None, ADA)
    vendor.poisoned.add("crm-2")
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm", "shop"], by=AMY)
    host.processing.run(case)
    line = row(host, case, "crm")
    assert (line.state, states(host, case)["shop"]) == (SourceState.FAILED, SourceState.DONE)
    assert line.last_deleted is not None, "one of the two was deleted, and the vendor said so"
    with pytest.raises(RequestError, match="Toy: failed"):
        host.workflow.finish(case, by=AMY, all_done=True)
    vendor.poisoned.clear()
    host.processing.retry(case, "crm", by=AMY)
    host.processing.run(case)
    assert row(host, case, "crm").state is SourceState.DONE
    assert vendor.effects == {"erase crm-1": 1, "erase crm-2": 1}
    assert [entry["actor"] for entry in events(host, case, "tasks.retried")] == [AMY]


def test_an_override(world: World) -> None:
    """It needs a reason, which stands sealed with the case and nowhere else; tried again after all, it counts no more."""
    vendor = world.add("crm", Toy, None, ADA)
    vendor.poisoned.add("crm-1")
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    with pytest.raises(RequestError, match="at least 10 characters"):
        host.processing.override(case, "crm", by=BOB, reason="   too short   "[:9])
    host.processing.override(case, "crm", by=BOB, reason="Ada's account is locked by a dispute")
    line = row(host, case, "crm")
    assert (line.state, line.reason, line.overridden_by) == (SourceState.OVERRIDDEN, "Ada's account is locked by a dispute", BOB)
    assert line.overridden_at is not None
    assert "dispute" not in str(host.history(case))
    assert "dispute" not in repr(line)
    assert host.processing.blockers(case, all_done=True) == []
    with pytest.raises(RequestError, match="nothing to override"):
        host.processing.override(case, "crm", by=BOB, reason="once more, for no reason")
    vendor.poisoned.clear()
    host.processing.retry(case, "crm", by=AMY)
    host.processing.run(case)
    line = row(host, case, "crm")
    assert (line.state, line.overridden_at, line.reason) == (SourceState.DONE, None, "")


def test_what_is_under_way_cannot_be_overridden(world: World) -> None:
    """A vendor's job that runs, and work that waits for its next try: something may be happening there. The job may be left to itself, as
    what it is; an erasure that no vendor has accepted may not."""
    jobs = world.add("jobs", Jobs, None, ADA)
    jobs.jobs_finish = False
    crm = world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["jobs", "crm"], by=AMY)
    crm.faults = [Fault("status", headers={"Retry-After": "3600"})]
    host.processing.run(case)
    assert states(host, case) == {"jobs": SourceState.WAITING, "crm": SourceState.WAITING}
    assert row(host, case, "jobs").next_at is not None
    for name in ("jobs", "crm"):
        with pytest.raises(RequestError, match="under way cannot be overridden"):
            host.processing.override(case, name, by=AMY, reason="because I am tired of it")
    assert (row(host, case, "jobs").awaited, row(host, case, "crm").awaited) == (True, False)
    with pytest.raises(RequestError, match="has not accepted"):
        host.processing.go_on(case, "crm", by=AMY, reason="because I am tired of it")
    assert len(host.processing.blockers(case, all_done=True)) == 2


def awaited(world: World) -> tuple[Host, str, ToyVendor]:
    """A case whose only data source has a job that does not end, and that somebody has gone on without waiting for."""
    jobs = world.add("jobs", Jobs, None, ADA)
    jobs.jobs_finish = False
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["jobs"], by=AMY)
    assert row(host, case, "jobs").awaited is False, "no vendor has accepted anything yet"
    with pytest.raises(RequestError, match="has not accepted"):
        host.processing.go_on(case, "jobs", by=BOB, reason="it takes them ten days")
    host.processing.run(case)
    host.processing.go_on(case, "jobs", by=BOB, reason="it takes them ten days")
    return host, case, jobs


def closed(host: Host, case: str) -> None:
    """Continue, and close without a reply."""
    host.workflow.finish(case, by=AMY, all_done=True)
    host.replies.edit(case, mode="none", reason="told by telephone", by=AMY)
    host.replies.close(case, by=AMY)


def test_going_on_without_waiting(world: World) -> None:
    """Recorded with reason and actor; the vendor is asked on, and what it says after the close stands in the history; until then the key of
    the case stays."""
    host, case, jobs = awaited(world)
    line = row(host, case, "jobs")
    assert (line.state, line.awaited, line.reason, line.overridden_by) == (SourceState.ACCEPTED, False, "it takes them ten days", BOB)
    assert [entry["actor"] for entry in events(host, case, "source.not_awaited")] == [BOB]
    assert "ten days" not in str(host.history(case))
    panel = host.processing.panel(case)
    assert (panel.blockers, panel.confirm) == ((), "Everything else was deleted (accepted, not finished yet: Jobs)")
    closed(host, case)
    with pytest.raises(RequestError, match="has not finished yet"):
        host.shred(case)
    jobs.jobs_finish = True
    time.sleep(0.25)  # the soonest poll
    host.run_all()
    line = row(host, case, "jobs")
    assert (line.state, line.last_deleted is not None) == (SourceState.DONE, True)
    assert len(events(host, case, "erase.erased")) == 1
    assert host.workflow.get(case).status == "done"
    host.shred(case)


def test_a_failure_after_going_on_becomes_visible(world: World) -> None:
    """While it is processed it bars the way again; after the close the case is open again, until it is tried again or answered for."""
    host, case, jobs = awaited(world)
    closed(host, case)
    jobs.jobs_finish, jobs.jobs_fail = True, True
    time.sleep(0.25)
    host.run_all()
    line = row(host, case, "jobs")
    assert (line.state, line.late, host.workflow.get(case).status) == (SourceState.FAILED, True, "approved")
    assert len(events(host, case, "request.failed_late")) == 1
    with pytest.raises(RequestError, match="not finished"):
        host.shred(case)
    jobs.jobs_fail = False
    host.processing.retry(case, "jobs", by=AMY)
    host.run_all()
    time.sleep(0.25)
    host.run_all()
    line = row(host, case, "jobs")
    assert (line.state, line.late, host.workflow.get(case).status) == (SourceState.DONE, False, "done")


def test_a_late_failure_is_answered_for(world: World) -> None:
    """In process it bars the way; past it, somebody may take the responsibility, and the case is finished again."""
    host, case, jobs = awaited(world)
    jobs.jobs_finish, jobs.jobs_fail = True, True
    time.sleep(0.25)
    host.run_all()
    assert (row(host, case, "jobs").state, row(host, case, "jobs").late) == (SourceState.FAILED, False)
    assert host.processing.blockers(case, all_done=True) == ["Jobs: failed"]
    host.processing.override(case, "jobs", by=AMY, reason="they answer nobody")
    assert host.processing.panel(case).confirm == "Everything else was deleted (not: Jobs)"
    closed(host, case)
    assert row(host, case, "jobs").state is SourceState.OVERRIDDEN


def test_an_override_against_a_retry(world: World) -> None:
    """One agent overrides what another puts back to work: whatever comes first, no work is under way behind an override."""
    vendor = world.add("crm", Toy, None, ADA)
    vendor.poisoned.add("crm-1")
    host = office(world)
    for _ in range(5):
        case = accepted(host)
        host.processing.search(case)
        host.processing.give_free(case, ["crm"], by=AMY)
        host.processing.run(case)
        together(
            partial(host.processing.override, case, "crm", by=AMY, reason="a dispute is pending"),
            partial(host.processing.retry, case, "crm", by=BOB),
        )
        line = row(host, case, "crm")
        assert (line.state, line.overridden_at) == (SourceState.WORKING, None)


def test_an_operators_error_is_shown_and_mended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key: the source failed, with words to mend it by; running again with the right one goes on."""
    vendor = world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    vendor.faults = [Fault("status", status=401, times=-1)]
    host.processing.run(case)
    line = row(host, case, "crm")
    assert line.state is SourceState.FAILED
    assert line.detail
    vendor.faults = []
    host.processing.run(case)
    assert row(host, case, "crm").state is SourceState.DONE


def test_retained_and_mixed(world: World) -> None:
    """What the law keeps is shown with its reason, before and after, and does not bar the way."""
    world.add("crm", Revealing, None, Person(ADA, user_id="u-1"))
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    assert row(host, case, "crm").retained == (("invoice", "tax law, ten years"),)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    line = row(host, case, "crm")
    assert (line.state, line.retained) == (SourceState.DONE, (("invoice", "tax law, ten years"),))
    assert host.processing.blockers(case, all_done=True) == []


# --- types of request ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["do_not_mail", "right_to_edit"])
def test_what_people_handle(world: World, inbox: Inbox, type_: str) -> None:
    """No data source, no hook of any connector, no letter: only a person's word leads on."""
    Exploding.touched.clear()
    world.add("crm", Exploding, None, ADA)
    world.add("paper", ExplodingLetters)
    host = office(world, mail=inbox)
    case = accepted(host, type=type_)
    panel = host.processing.panel(case)
    assert (panel.sources, panel.verb, panel.confirm, panel.selectable) == ((), "", "It was handled internally", 0)
    acts: list[Callable[[], object]] = [
        lambda: host.processing.search(case),
        lambda: host.processing.give_free(case, ["crm"], by=AMY),
        lambda: host.processing.tick_email(case, "paper", by=AMY),
        lambda: host.processing.add_source(case, "crm", by=AMY),
        lambda: host.processing.retry(case, "crm", by=AMY),
        lambda: host.processing.mark_done(case, "crm", by=AMY),
        lambda: host.processing.override(case, "crm", by=AMY, reason="because I want to"),
    ]
    for act in acts:
        with pytest.raises(RequestError, match="people handle"):
            act()
    host.processing.run(case)
    host.run_all()
    with pytest.raises(RequestError, match="It was handled internally"):
        host.workflow.finish(case, by=AMY)
    host.workflow.finish(case, by=AMY, all_done=True)
    assert Exploding.touched == []
    assert not inbox.letters


def test_do_not_sell_is_automatic_where_it_can_be(world: World) -> None:
    """A connector with opt-out is called; where none is, people say that they handled it."""
    crm = world.add("crm", Toy, None, ADA)
    world.add("jobs", Jobs, None, ADA)
    host = office(world)
    case = accepted(host, type="do_not_sell")
    host.processing.search(case)
    panel = host.processing.panel(case)
    assert panel.verb == "Opt out"
    assert states(host, case) == {"crm": SourceState.FOUND, "jobs": SourceState.UNSUPPORTED}
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    assert crm.effects == {"opt out crm-1": 1}
    assert states(host, case)["crm"] is SourceState.DONE
    assert host.processing.blockers(case, all_done=False) == ['the box "It was handled internally" is not ticked']
    host.workflow.finish(case, by=AMY, all_done=True)


def test_do_not_sell_done_everywhere_needs_no_word(world: World) -> None:
    """Every data source has opted out by itself: nobody has to say that they did."""
    world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host, type="do_not_sell")
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    assert host.processing.panel(case).confirm == ""
    host.workflow.finish(case, by=AMY)


def test_a_copy_needs_a_package_or_a_decision(world: World) -> None:
    """Collected, but not generated: continuing needs the agent's own word."""
    world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host, type="copy")
    assert host.processing.panel(case).verb == "Collect"
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    assert states(host, case) == {"crm": SourceState.DONE}
    assert "not generated" in host.processing.blockers(case, all_done=False)[0]
    assert host.processing.blockers(case, all_done=True) == []
    host.delivery.generate(case, by=AMY)
    assert host.processing.blockers(case, all_done=False) == []


# --- whoever else works on the ledger ------------------------------------------------------------------------------------------------


def test_gaps_of_others_are_not_forgotten(world: World) -> None:
    """A whole plan approved from the shell leaves a gap; giving another source free does not settle it."""
    vendor = world.add("crm", Toy, None, ADA)
    world.add("shop", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    vendor.faults = [Fault("status", status=401, times=-1)]
    host.approve(host.plan(case, sources=["crm"]))
    vendor.faults = []
    host.processing.search(case, sources=["shop"])
    host.processing.give_free(case, ["shop"], by=AMY)
    host.processing.run(case)
    assert row(host, case, "crm").state is SourceState.COULD_NOT_CHECK
    assert host.processing.blockers(case, all_done=True)


def test_planning_from_the_shell_meanwhile(world: World, inbox: Inbox) -> None:
    """A new plan of everything does not make what was given free look untouched, nor a letter look unsent."""
    world.add("crm", Toy, None, ADA)
    world.add("paper", Letters)
    host = office(world, mail=inbox)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm", "paper"], by=AMY)
    host.processing.run(case)
    host.plan(case)
    assert states(host, case) == {"crm": SourceState.DONE, "paper": SourceState.EMAIL_SENT}
    assert host.processing.panel(case).selectable == 0


def test_the_browser_is_closed_during_delete_six_sources(world: World) -> None:
    """Giving free is committed at once; the engine's thread goes on by itself, and reopening the panel shows how far it is."""
    vendors = [world.add(f"s{n}", Toy, None, ADA) for n in range(6)]
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    assert host.processing.give_free(case, [f"s{n}" for n in range(6)], by=AMY) == 6
    # Nobody waits for an answer any more. Another process's engine finds the work.
    engine = world.open()
    thread = threading.Thread(target=engine.run_all)
    thread.start()
    thread.join(60)
    again = world.open()
    assert set(states(again, case).values()) == {SourceState.DONE}
    assert all(line.last_deleted is not None for line in again.processing.panel(case).sources)
    assert not any(vendor.contacts for vendor in vendors)


_CHILD = """
import importlib.metadata, os, signal, sys
import dsr_sdk.registry
from dsr_sdk.host import Host
from tests.toys import Jobs
from tests.world import FAST, point
dsr_sdk.registry.entry_points = lambda *, group: [point("jobs", Jobs)] if group == dsr_sdk.registry.CONNECTORS else []
def on_step(step):
    if step == "after effect":
        os.kill(os.getpid(), signal.SIGKILL)
host = Host.open(sys.argv[1], options=FAST, on_step=on_step)
host.processing.search(sys.argv[2])
host.processing.give_free(sys.argv[2], ["s0", "s1", "s2"], by="amy@example.com")
host.run_all()
"""


def test_killed_while_deleting(sqlite_world: World, tmp_path: Path) -> None:
    """kill -9 right after the first effect: a new host on the same ledger shows the truth, resumes, and does nothing twice."""
    world = sqlite_world
    vendors = [ToyVendor(prefix=f"s{n}-") for n in range(3)]
    for n, vendor in enumerate(vendors):
        server = world.stack.enter_context(serve(vendor))
        world.add(f"s{n}", Jobs, vendor, ADA, base_url=server.url, allow_private_hosts=True)
    world.transports.clear()
    host = office(world)
    case = accepted(host)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _CHILD, str(world.directory / "dsr.toml"), case]
    child = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False, timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert sum(len(vendor.effects) for vendor in vendors) >= 1
    later = world.open()
    assert all(line.ticked for line in later.processing.panel(case).sources)
    assert set(states(later, case).values()) <= {SourceState.WORKING, SourceState.WAITING, SourceState.DONE}
    later.run_all(wait=30)
    assert set(states(later, case).values()) == {SourceState.DONE}
    assert [sorted(vendor.effects.values()) for vendor in vendors] == [[1]] * 3
    assert len(events(later, case, "sources.given_free")) == 1
    assert later.audit_verify().ok


def test_activity_is_short_and_newest_first(world: World) -> None:
    """What happened, in words; the same line again and again stands once."""
    world.add("crm", Toy, None, *[ADA] * 5)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    lines = [(line.actor, line.text) for line in host.processing.panel(case).activity]
    assert lines == [
        ("connector:toy", "Searched Toy again: nothing is left of what was deleted"),
        ("connector:toy", "Deleted from Toy"),
        (AMY, "Delete 1 source: Toy"),
        (AMY, "Accepted the request"),
    ]


def test_a_copy_is_not_owed_again_because_it_was_searched_again(world: World) -> None:
    """What was collected is found by every later search, too: it stays done."""
    world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host, type="copy")
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    host.plan(case)
    assert row(host, case, "crm").state is SourceState.DONE


def test_new_data_found_by_a_later_search(world: World) -> None:
    """A deletion is done, and a search from the shell finds another record: it is shown, and bars the way until it is given free."""
    vendor = world.add("crm", Toy, None, ADA)
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    vendor.seed([Person(ADA)])
    host.plan(case)
    assert (row(host, case, "crm").state, row(host, case, "crm").found) == (SourceState.FOUND, 1)
    assert host.processing.give_free(case, ["crm"], by=AMY) == 1
    host.processing.run(case)
    assert row(host, case, "crm").state is SourceState.DONE
    assert vendor.effects == {"erase crm-1": 1, "erase crm-2": 1}


def test_a_source_that_another_process_has_added(world: World) -> None:
    """Added to the inventory and to the case in one process: the panel of another one knows it, with its owner."""
    world.add("crm", Toy)
    world.classes[Manually.slug] = Manually
    host = office(world)
    other = world.open()
    case = accepted(host)
    host.inventory.add("cabinet", "Cabinet", category="custom", connector="manually", handling=True, owner="Carla", by=AMY)
    host.processing.add_source(case, "cabinet", by=AMY)
    line = row(other, case, "cabinet")
    assert (line.state, line.owner, line.process) == (SourceState.BY_HAND, "Carla", "manual")
    other.processing.mark_done(case, "cabinet", by=BOB)
    assert row(host, case, "cabinet").state is SourceState.DONE


def test_a_panel_of_many_records_is_quick(world: World) -> None:
    """Two thousand records of one person: polling the panel stays far under a page's patience."""

    world.add("crm", Acting)
    Acting.script = {"find": lambda api, subject: (Match("contact", f"c{n}") for n in range(2000)), "erase": lambda api, match: Erased()}
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    begun = time.process_time()
    assert host.processing.panel(case).sources[0].found == 2000
    spent = time.process_time() - begun
    assert spent < 1.0


class Failing(Acting):
    """Fails as its script says."""

    slug, title = "failing", "Failing"
    script: ClassVar[dict[str, Any]] = {}


def test_a_source_that_comes_and_goes(world: World) -> None:
    """A passing failure waits for its next try and is not called failed before; the vendor's refusal is."""
    answers: list[Any] = [TransientError("busy", retry_after=3600), Erased()]

    def erase(api: Any, match: Match) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world.add("crm", Failing, None, ADA)
    world.add("shop", Failing, None, ADA)
    Failing.script = {"erase": lambda api, match: Failed("is locked") if match.id.startswith("shop") else erase(api, match)}
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm", "shop"], by=AMY)
    host.processing.run(case)
    assert states(host, case) == {"crm": SourceState.WAITING, "shop": SourceState.FAILED}
    assert row(host, case, "shop").detail == "is locked"


def test_a_shredded_case(world: World) -> None:
    """Its panel still opens: dates and counts, and nothing about the person."""
    vendor = world.add("crm", Toy, None, ADA)
    vendor.poisoned.add("crm-1")
    host = office(world)
    case = accepted(host)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    host.processing.override(case, "crm", by=AMY, reason="Ada Lovelace is in a dispute")
    host.workflow.finish(case, by=AMY, all_done=True)
    with host.workflow.deciding() as (connection, book):
        host.workflow.close(connection, book, host.workflow.held(connection, case), by=AMY)
    host.shred(case)
    panel = host.processing.panel(case)
    assert [line.reason for line in panel.sources] == [""]
    assert host.files.of(case) == []
