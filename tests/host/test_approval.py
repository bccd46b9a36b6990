"""Approval: exactly what was seen, once, and nothing beyond it."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from sqlalchemy import text

from dsr_sdk import ApprovalError, Email, Erased, LedgerError, Match, TransientError, VaultError
from dsr_sdk.engine import Deed, Status
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.testing import Fault, Person
from tests.toys import Acting, Jobs, Toy
from tests.world import World, deletion


def test_nothing_runs_without_approval(world: World) -> None:
    """A plan alone does nothing, whichever way the host is run."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    with pytest.raises(ApprovalError, match="no plan of this case is approved"):
        host.run(case)
    host.plan(case)
    with pytest.raises(ApprovalError, match="no plan of this case is approved"):
        host.run(case)
    host.run_all()
    assert len(vendor.contacts) == 1


def test_a_case_that_does_not_exist(world: World) -> None:
    """A typing error in a case number is told as one."""
    host = world.open()
    for act in (host.status, host.plan, host.run, host.shred, host.request):
        with pytest.raises(LedgerError, match="no such case"):
            act("DSR-0000-0000-0000-0000")


def test_what_appeared_after_the_plan_is_not_touched(world: World) -> None:
    """Execution may not exceed the approval: a record created meanwhile stays, and the verification reports it."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    plan = host.plan(case)
    vendor.seed([Person("ada@example.com")])
    host.approve(plan)
    report = host.run(case)
    assert list(vendor.effects) == ["erase crm-1"]
    assert report.sources[0].status is Status.REAPPEARED


def test_a_superseded_plan_is_refused(world: World) -> None:
    """Two plans, the older one approved by mistake: refused, and nothing happens."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    old = host.plan(case)
    host.plan(case)
    with pytest.raises(ApprovalError, match="not the newest"):
        host.approve(old)
    host.run_all()
    assert vendor.contacts


@pytest.mark.parametrize("what", ["id", "deed", "data", "source", "hash", "scope", "case"])
def test_a_plan_changed_in_memory_is_refused(world: World, what: str) -> None:
    """Whatever is executed is covered by the hash: another match, another deed, other data, another source."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case, other = host.submit(deletion()), host.submit(deletion("bob@example.com"))
    plan = host.plan(case)
    host.plan(other)
    (row,) = plan.sources
    (match,) = row.matches
    changed = {
        "id": lambda: dataclasses.replace(match, match={**match.match, "id": "crm-99"}),
        "deed": lambda: dataclasses.replace(match, deed=Deed.EXPORT),
        "data": lambda: dataclasses.replace(match, match={**match.match, "data": {"list": "another"}}),
    }
    if what in changed:
        plan = dataclasses.replace(plan, sources=(dataclasses.replace(row, matches=(changed[what](),)),))
    elif what == "source":
        plan = dataclasses.replace(plan, sources=(dataclasses.replace(row, source="shop"),))
    elif what == "case":
        plan = dataclasses.replace(plan, case=other)
    elif what == "scope":
        plan = dataclasses.replace(plan, scope="app_data")
    else:
        plan = dataclasses.replace(plan, hash="0" * 64)
    with pytest.raises(ApprovalError):
        host.approve(plan)
    assert host.status(case).approved is False


def test_a_plan_changed_in_the_database_is_refused(world: World) -> None:
    """Someone edits the stored plan: its seal breaks; someone edits its hash: it does not fit."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    plan = host.plan(case)
    with writing(host.ledger.engine) as connection:
        connection.execute(text("UPDATE plans SET hash = :hash"), {"hash": "0" * 64})
    with pytest.raises(ApprovalError):
        host.approve(plan)
    loaded = host.latest_plan(case)
    assert loaded is not None
    with pytest.raises(ApprovalError, match="do not fit its hash"):
        host.approve(loaded)
    with reading(host.ledger.engine) as connection:
        sealed = bytearray(connection.execute(text("SELECT sealed_body FROM plans")).scalar_one())
    sealed[-1] ^= 1
    with writing(host.ledger.engine) as connection:
        connection.execute(text("UPDATE plans SET sealed_body = :sealed"), {"sealed": bytes(sealed)})
    with pytest.raises(VaultError, match="tampering"):
        host.latest_plan(case)


def test_a_stored_plan_can_be_approved(world: World) -> None:
    """The plan as the ledger has it is the plan that was made."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    made = host.plan(case)
    loaded = host.latest_plan(case)
    assert loaded is not None
    assert loaded.hash == made.hash
    host.approve(loaded, by="alice@example.com")
    again = host.latest_plan(case)
    assert again is not None
    assert again.approved_by == "alice@example.com"
    host.run(case)
    assert not vendor.contacts


def test_twice_is_once(world: World) -> None:
    """Approving twice adds no work."""
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    plan = host.plan(case)
    host.approve(plan)
    host.approve(plan)
    host.run(case, wait=30)
    host.approve(plan)
    host.run(case, wait=30)
    assert vendor.calls["POST start"] == 1
    assert [event["event"] for event in host.history(case)].count("plan.approved") == 1


def test_two_agents_approve_at_the_same_moment(world: World) -> None:
    """Both click; the work is done once."""
    vendor = world.add("crm", Jobs, None, *(f"p{n}@example.com" for n in range(5)))
    host = world.open()
    for n in range(5):
        case = host.submit(deletion(f"p{n}@example.com"))
        plan = host.plan(case)
        together = threading.Barrier(4)

        def approve(plan: Any = plan, together: Any = together) -> None:
            together.wait(10)
            host.approve(plan)

        threads = [threading.Thread(target=approve) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [event["event"] for event in host.history(case)].count("plan.approved") == 1
    host.run_all(wait=30)
    assert set(vendor.effects.values()) == {1}
    assert vendor.calls["POST start"] == 5


def test_what_is_done_is_not_planned_again(world: World) -> None:
    """A second plan holds what is new only; what is under way or done is left out."""
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    vendor.jobs_finish = False
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    assert host.plan(case).sources[0].matches == ()
    vendor.seed([Person("ada@example.com")])
    plan = host.plan(case)
    assert [match.match["id"] for match in plan.sources[0].matches] == ["crm-3"]
    host.approve(plan)
    vendor.jobs_finish = True
    report = host.run(case, wait=30)
    assert report.status == "done"
    assert vendor.calls["POST start"] == 2


def test_a_failed_erasure_is_taken_over_by_a_new_plan(world: World) -> None:
    """Failed, planned again, approved, done: the failure of before does not keep the case open for ever."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    vendor.poisoned.add("crm-1")
    assert host.run(case).sources[0].status is Status.FAILED
    vendor.poisoned.clear()
    host.approve(host.plan(case))
    report = host.run(case)
    assert (report.status, report.settled) == ("done", True)
    assert report.sources[0].status is Status.VERIFIED
    assert report.sources[0].outcomes == {"erased": 1}


def test_a_new_plan_does_not_forget_what_may_have_happened(world: World) -> None:
    """The connection broke after a job was started, until the tries were used up. A new plan asks the vendor before it starts another."""
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    vendor.faults = [Fault("drop_after", on="/v1/jobs", method="POST"), Fault("status", on="/v1/jobs", method="GET", times=-1, status=503)]
    host.run(case, wait=30)
    assert host.status(case).sources[0].status is Status.FAILED
    assert vendor.effects == {"job crm-1": 1}
    vendor.faults = []
    host.approve(host.plan(case))
    report = host.run(case, wait=30)
    assert report.settled
    assert vendor.effects == {"job crm-1": 1}


def test_a_retry_does_not_forget_what_may_have_happened(world: World) -> None:
    """The same, with retry instead of a new plan, and with another error standing in the way of asking."""
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    vendor.faults = [
        Fault("drop_after", on="/v1/jobs", method="POST"),
        Fault("status", on="/v1/jobs", method="GET", times=1, status=401),
    ]
    host.run(case, wait=30)
    assert host.status(case).sources[0].status is Status.FAILED
    assert vendor.effects == {"job crm-1": 1}
    host.retry(case)
    assert host.run(case, wait=30).settled
    assert vendor.effects == {"job crm-1": 1}


def test_an_opt_out_is_not_recovered_from_an_erasure(world: World) -> None:
    """`recover` looks for an erasure: an opt-out that broke off must be made again, not believed done."""
    made: list[str] = []

    def opt_out(api: Any, match: Match) -> Any:
        made.append(match.id)
        if len(made) == 1:
            raise TransientError("broke off", maybe_done=True)
        from dsr_sdk import OptedOut

        return OptedOut()

    recovering = type(
        "Recovering", (Acting,), {"__doc__": "x", "slug": "recovering", "script": {"opt_out": opt_out}, "recover": lambda self, api, match: Erased()}
    )
    world.add("crm", recovering, None, "ada@example.com")
    from dsr_sdk import Request

    host = world.open()
    case = host.submit(Request.parse({"type": "do_not_sell", "subject": {"email": "ada@example.com"}}))
    host.approve(host.plan(case))
    report = host.run(case, wait=30)
    assert report.sources[0].outcomes == {"opted_out": 1}
    assert len(made) == 2


def test_a_source_that_is_gone(world: World) -> None:
    """A plan is approved after one of its sources was taken out of the configuration: refused with a reason, not a traceback."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    host.plan(case)
    del world.sources["crm"]
    later = world.open()
    plan = later.latest_plan(case)
    assert plan is not None
    with pytest.raises(ApprovalError, match="not in use"):
        later.approve(plan)


def test_an_idempotency_key_belongs_to_its_batch(world: World) -> None:
    """A batch interrupted and then composed anew has another key: the vendor would answer for the old one and pass over who is new."""
    from tests.toys import Batched

    keyed = type("KeyedBatch", (Batched,), {"__doc__": "x", "slug": "keyed_batch", "idempotency_header": "Idempotency-Key"})
    vendor = world.add("crm", keyed, None, "a@example.com", "b@example.com", "c@example.com")
    seen: dict[str, set[str]] = {}
    real = vendor.authorised

    def authorised(call: Any) -> bool:
        if call.path == "/v1/contacts/delete":
            seen.setdefault(call.headers["idempotency-key"], set()).add(call.body.decode())
        return real(call)

    vendor.authorised = authorised  # type: ignore[method-assign]  # looks at every call
    host = world.open()
    cases = host.submit_many([deletion(f"{name}@example.com") for name in "abc"])
    host.approve_many(host.plan_many(cases[:2]))
    vendor.faults = [Fault("reset", on="/v1/contacts/delete", times=3)]
    host.run_all()
    host.approve(host.plan(cases[2]))
    host.run_all(wait=30)
    assert not vendor.contacts
    assert all(len(bodies) == 1 for bodies in seen.values())


def test_references_make_submitting_repeatable(world: World) -> None:
    """The same reference gives the same case: for the same object, for another one, in one batch and from two threads."""
    host = world.open()
    request = deletion(reference="ticket-1")
    case = host.submit(request)
    assert host.submit(request) == case
    assert host.submit(deletion(reference="ticket-1")) == case
    again = [deletion(reference="ticket-2"), deletion(reference="ticket-2"), deletion(reference="ticket-1")]
    first, second, third = host.submit_many(again)
    assert (first, third) == (second, case)
    together = threading.Barrier(4)
    found: list[str] = []

    def submit() -> None:
        together.wait(10)
        found.append(host.submit(deletion(reference="ticket-3")))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert "ticket-1" not in repr(host.request(case))


def test_a_case_number_is_used_once(world: World) -> None:
    """A number given by the caller and taken already is refused; nothing of the batch is stored."""
    from dsr_sdk import RequestError

    host = world.open()
    request = deletion()
    host.submit(request)
    before = len(list(host.cases()))
    with pytest.raises(RequestError, match="case of this number"):
        host.submit_many([deletion("bob@example.com"), request])
    twin = deletion("carl@example.com")
    with pytest.raises(RequestError, match="case of this number"):
        host.submit_many([twin, twin])
    assert len(list(host.cases())) == before


def test_identities_are_found_by_any_spelling(world: World) -> None:
    """Case, white space and Unicode form of an address make no second person."""
    host = world.open()
    world_cases = host.submit_many([deletion("Ada@Example.com"), deletion(" ada@example.com ")])
    assert host.plan(world_cases[1]).warnings
    assert host.request(world_cases[0]).subject.first(Email).given == "Ada@Example.com"
