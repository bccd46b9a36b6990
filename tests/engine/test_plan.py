"""Planning: what is found, what would be done about it, and what an agent is told before approving."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dsr_sdk import ControllerId, Email, Match, Request, TransientError
from dsr_sdk.engine import Deed, Plan, Standing, Status
from dsr_sdk.testing import Fault, Person
from tests.toys import Acting, Batched, Exploding, ExplodingLetters, Jobs, Keyed, Letters, Manually, Revealing, Toy, dumped
from tests.world import World, deletion


def standing(plan: Plan, source: str) -> Standing:
    """How one source stands in a plan."""
    return next(row.standing for row in plan.sources if row.source == source)


def test_planning_changes_nothing(world: World) -> None:
    """However often a plan is made, nothing happens at any vendor, and the same findings give the same hash."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    batch = world.add("batch", Batched, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    plans = [host.plan(case) for _ in range(3)]
    assert not vendor.effects
    assert not batch.effects
    assert len(vendor.contacts) == len(batch.contacts) == 1
    assert len({plan.hash for plan in plans}) == 1
    assert len({plan.id for plan in plans}) == 3


def test_every_standing(sqlite_world: World) -> None:
    """Each way a source can stand is told apart from every other."""
    world = sqlite_world
    world.add("found", Toy, None, "ada@example.com")
    world.add("nothing", Batched)
    down = world.add("down", Jobs)
    world.add("needs_id", Keyed)
    world.add("paper", Letters)
    world.add("cabinet", Manually)
    world.sources["missing"] = '[sources.missing]\nconnector = "not_installed"'
    down.faults = [Fault("status", status=400, times=-1)]
    host = world.open()
    plan = host.plan(host.submit(deletion()))
    assert {row.source: row.standing.value for row in plan.sources} == {
        "found": "found",
        "nothing": "nothing_found",
        "down": "could_not_check",
        "needs_id": "missing_identifier",
        "paper": "by_email",
        "cabinet": "by_hand",
        "missing": "could_not_check",
    }
    assert not plan.complete
    assert plan.irreversible
    assert "ada@example.com" not in dumped(plan.to_json()) + repr(plan)


def test_what_a_source_cannot_do_is_left_to_a_person(sqlite_world: World) -> None:
    """A source that cannot hand over a copy is not skipped in silence."""
    world = sqlite_world
    world.add("batch", Batched, None, "ada@example.com")
    host = world.open()
    plan = host.plan(host.submit(Request.parse({"type": "copy", "subject": {"email": "ada@example.com"}})))
    assert standing(plan, "batch") is Standing.BY_HAND
    assert plan.sources[0].detail == "not part of this test"


def test_what_is_retained_is_planned_as_retained(sqlite_world: World) -> None:
    """Invoices stay by law: nobody asks the vendor to erase them."""
    world = sqlite_world
    world.add("crm", Revealing, None, "ada@example.com")
    host = world.open()
    plan = host.plan(host.submit(deletion()))
    (row,) = plan.sources
    assert [(match.resource, match.deed, match.count) for match in row.matches] == [
        ("contact", Deed.ERASE, 1),
        ("invoice", Deed.RETAIN, 4),
        ("ticket", Deed.ERASE, 2),
    ]


def test_erasing_app_data_leaves_the_account(world: World) -> None:
    """Scope app_data: tickets go, the contact stays, and the report says so."""
    vendor = world.add("crm", Revealing, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion(scope="app_data"))
    plan = host.plan(case)
    deeds = {match.resource: match.deed for match in plan.sources[0].matches}
    assert deeds["contact"] is Deed.LEAVE
    assert deeds["ticket"] is Deed.ERASE
    host.approve(plan)
    report = host.run(case)
    assert vendor.holds("ada@example.com")
    assert ("contact", "belongs to the account, which stays") in report.sources[0].retained
    # The toy's ticket stays visible, so its verification finds it: what counts is that the contact is not held against it.
    assert report.sources[0].outcomes["erased"] == 2


# --- identities --------------------------------------------------------------------------------------------------------------------


def test_what_one_source_reveals_opens_another(world: World) -> None:
    """An e-mail address finds an account whose id finds data elsewhere; where the id came from is kept."""
    world.add("crm", Revealing, None, Person("ada@example.com", user_id="u-1"))
    keyed = world.add("keyed", Keyed, None, Person("other@example.com", user_id="u-1"))
    host = world.open()
    case = host.submit(deletion())
    plan = host.plan(case)
    assert standing(plan, "keyed") is Standing.FOUND
    found = [identity for task in _tasks(host, case, "keyed") for identity in task.payload["identities"]]
    assert [(identity["value"], identity["source"]) for identity in found] == [("u-1", "crm")]
    host.approve(plan)
    assert host.run(case).settled
    assert not keyed.contacts


def test_two_different_ids_are_ambiguous(world: World) -> None:
    """Two sources know different ids: neither is searched with, because one of them may be somebody else's."""
    world.add("crm", Revealing, None, Person("ada@example.com", user_id="u-1"))
    world.classes["revealing2"] = type("Revealing2", (Revealing,), {"__doc__": "x", "slug": "revealing2"})
    world.add("shop", world.classes["revealing2"], None, Person("ada@example.com", user_id="u-2"))
    keyed = world.add("keyed", Keyed, None, Person("a@example.com", user_id="u-1"), Person("b@example.com", user_id="u-2"))
    host = world.open()
    plan = host.plan(host.submit(deletion()))
    assert standing(plan, "keyed") is Standing.AMBIGUOUS_IDENTIFIER
    assert not keyed.calls
    assert not plan.complete


def test_an_email_address_at_a_vendor_opens_nothing(sqlite_world: World) -> None:
    """A vendor's record shows a second address: it may be shared, so nobody is searched by it."""
    world = sqlite_world
    shown = type(
        "Shown",
        (Acting,),
        {"__doc__": "x", "slug": "shown", "script": {"find": lambda api, subject: [Match("contact", "1", identities=(Email(value="b@x.example"),))]}},
    )
    world.add("shown", shown)
    crm = world.add("crm", Toy, None, "b@x.example")
    host = world.open()
    plan = host.plan(host.submit(deletion()))
    assert standing(plan, "crm") is Standing.NOTHING_FOUND
    assert len(crm.contacts) == 1


def test_a_missing_identifier_is_added(world: World) -> None:
    """A source needs an id that the request lacks: the case cannot end clean until an agent adds it and plans again."""
    keyed = world.add("keyed", Keyed, None, Person("ada@example.com", user_id="u-7"))
    host = world.open()
    case = host.submit(deletion())
    plan = host.plan(case)
    assert standing(plan, "keyed") is Standing.MISSING_IDENTIFIER
    host.approve(plan)
    assert host.run(case).sources[0].status is Status.MISSING_IDENTIFIER
    assert host.status(case).status == "approved"
    host.add_identity(case, ControllerId(value="u-7"))
    host.approve(host.plan(case))
    report = host.run(case)
    assert (report.status, report.settled) == ("done", True)
    assert not keyed.contacts
    assert "u-7" not in dumped(host.history(case))


def test_two_accounts_of_one_address_are_warned_about(sqlite_world: World) -> None:
    """Two accounts carry the address: both are found, and the agent is told to look."""
    world = sqlite_world
    world.add("crm", Revealing, None, Person("ada@example.com", user_id="u-1"), Person("ada@example.com", user_id="u-2"))
    host = world.open()
    plan = host.plan(host.submit(deletion()))
    assert plan.sources[0].warnings == (
        "2 different accounts (controller_id user_id) carry this person's identity: make sure that all of them are theirs",
    )


def test_duplicates_are_flagged(world: World) -> None:
    """A second open request of the same person, a copy still owed, an earlier erasure: an agent hears of each."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    first, copy = host.submit(deletion()), host.submit(Request.parse({"type": "copy", "subject": {"email": "ADA@example.com"}}))
    second = host.submit(deletion())
    warnings = " ".join(host.plan(second).warnings)
    assert first in warnings
    assert f"finish {copy}" in warnings
    host.approve(host.plan(first))
    host.run(first)
    assert "erased at crm on" in " ".join(host.plan(second).warnings)
    other = host.plan(host.submit(deletion("bob@example.com")))
    assert not other.warnings


# --- requests that no connector may touch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["do_not_mail", "right_to_edit"])
def test_no_connector_is_called_for_what_people_handle(world: World, type_: str) -> None:
    """Do not mail and right to edit: planning, approving, running, checking again and retrying call no verb of any connector."""
    Exploding.touched.clear()
    world.mail = _MAIL
    world.add("crm", Exploding)
    world.add("paper", ExplodingLetters)
    host = world.open()
    case = host.submit(Request.parse({"type": type_, "subject": {"email": "ada@example.com"}}))
    plan = host.plan(case)
    assert {row.standing for row in plan.sources} == {Standing.BY_HAND}
    host.approve(plan)
    host.run(case, wait=0.2)
    host.retry(case)
    host.recheck(case)
    host.run_all()
    assert {row.status for row in host.status(case).sources} == {Status.BY_HAND}
    host.confirm(case, "crm", by="agent")
    host.confirm(case, "paper", by="agent")
    assert host.status(case).status == "done"
    assert Exploding.touched == []


def test_letters_are_for_deletion_only(sqlite_world: World) -> None:
    """A copy or an opt-out writes to nobody."""
    world = sqlite_world
    Exploding.touched.clear()
    world.mail = _MAIL
    world.add("paper", ExplodingLetters)
    host = world.open()
    for type_ in ("copy", "do_not_sell"):
        case = host.submit(Request.parse({"type": type_, "subject": {"email": "ada@example.com"}}))
        host.approve(host.plan(case))
        host.run(case)
    assert Exploding.touched == []


def test_a_find_that_404s_is_not_nothing_found(sqlite_world: World) -> None:
    """A wrong base URL must not read as *no data, done*."""
    world = sqlite_world
    vendor = world.add("crm", Toy, None, "ada@example.com")
    vendor.faults = [Fault("status", status=404, times=-1)]
    host = world.open()
    plan = host.plan(host.submit(deletion()))
    assert standing(plan, "crm") is Standing.COULD_NOT_CHECK
    assert "check the base URL" in plan.sources[0].detail


def test_a_plan_waits_for_searches_put_off(sqlite_world: World) -> None:
    """A passing failure while searching: without waiting it stands as could not check, with waiting it is found."""
    world = sqlite_world
    asked: list[float] = []

    def find(api: Any, subject: Any) -> Any:
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise TransientError("come back later", retry_after=0.4)
        return [Match("contact", "1")]

    world.add("crm", type("Later", (Acting,), {"__doc__": "x", "slug": "later", "script": {"find": find}}))
    host = world.open()
    case = host.submit(deletion())
    assert standing(host.plan(case), "crm") is Standing.COULD_NOT_CHECK
    assert standing(host.plan(case, wait=30), "crm") is Standing.FOUND
    assert len(asked) == 2


def test_only_the_sources_asked_for(sqlite_world: World) -> None:
    """A plan over chosen sources leaves the others alone."""
    world = sqlite_world
    world.add("crm", Toy, None, "ada@example.com")
    other = world.add("batch", Batched, None, "ada@example.com")
    host = world.open()
    plan = host.plan(host.submit(deletion()), sources=["crm"])
    assert [row.source for row in plan.sources] == ["crm"]
    assert not other.calls


_MAIL = '[mail]\nhost = "127.0.0.1"\nport = 9\nsecurity = "none"\ndomain = "requests.example.com"\nagent = "agent@example.com"'


def _tasks(host: Any, case: str, source: str) -> list[Any]:
    from dsr_sdk.ledger.database import reading

    with reading(host.ledger.engine) as connection:
        return list(host.ledger.tasks.of(connection, [case], sources=[source]))


def test_what_cannot_be_searched_is_told_in_every_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing found is not nothing there: a connector's blind spot stands in the plan as a warning, also when nobody was found."""
    monkeypatch.setattr(Toy, "blind_spot", "faxes")
    world.add("crm", Toy, None)
    host = world.open()
    row = host.plan(host.submit(deletion("nobody@example.com"))).sources[0]
    assert row.standing is Standing.NOTHING_FOUND
    assert row.warnings == ("cannot be searched: faxes",)
