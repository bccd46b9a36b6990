"""Draining a source: batches, jobs, patience, and who is harmed by whom."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from dsr_sdk import (
    AuthError,
    ConfigError,
    ContractError,
    Erased,
    Failed,
    Match,
    OptedOut,
    Pending,
    RejectedError,
    Request,
    TransientError,
)
from dsr_sdk.engine import Progress, Status
from dsr_sdk.http import RateLimit
from dsr_sdk.testing import Answer, Call, Fault, Person, route
from tests.toys import Acting, Batched, Jobs, SharedJob, Toy, ToyVendor, dumped, limited
from tests.world import FAST, World, deletion


def status_of(host: Any, case: str, source: str = "crm") -> Status:
    """How one source stands."""
    found: Status = next(row.status for row in host.status(case).sources if row.source == source)
    return found


def test_one_person_is_erased(world: World) -> None:
    """The plain path: found, approved, erased, verified, and nobody else touched."""
    vendor = world.add("crm", Toy, None, "ada@example.com", "bob@example.com")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    assert status_of(host, case) is Status.VERIFIED
    assert host.status(case).status == "done"
    assert not vendor.holds("ada@example.com")
    assert vendor.holds("bob@example.com")
    assert host.audit_verify().ok


# --- batches -----------------------------------------------------------------------------------------------------------------------


def test_250_people_are_three_calls(world: World) -> None:
    """A vendor that takes 100 a call is called three times for 250 people of as many requests, for searching and for erasing."""
    people = [f"p{n}@example.com" for n in range(250)]
    vendor = world.add("crm", Batched, None, *people)
    host = world.open()
    cases = world.erase(host, *people)
    assert vendor.calls["POST delete_many"] == 3
    assert sorted(vendor.batches) == [50, 100, 100]
    assert vendor.calls["POST search_many"] == 3
    assert not vendor.contacts
    assert {host.status(case).status for case in cases[:3]} == {"done"}
    assert max(vendor.effects.values()) == 1


def test_one_bad_item_does_not_take_its_batch_along(sqlite_world: World) -> None:
    """The vendor refuses a whole batch for one item: it is halved until that item stands alone."""
    world = sqlite_world
    people = [f"p{n}@example.com" for n in range(20)]
    vendor = world.add("crm", Batched, None, *people)
    vendor.poisoned.add("crm-8")
    host = world.open()
    cases = world.erase(host, *people)
    assert set(vendor.contacts) == {"crm-8"}
    assert [status_of(host, case) for case in cases].count(Status.FAILED) == 1
    assert status_of(host, cases[7]) is Status.FAILED
    assert set(vendor.effects.values()) == {1}


def test_items_of_a_batch_have_outcomes_of_their_own(sqlite_world: World) -> None:
    """A batch that answers item by item: an error in it belongs to its item alone."""
    world = sqlite_world

    class Mixed(Batched):
        """Refuses every third."""

        slug = "mixed"

        def erase_many(self, api: Any, matches: Any) -> Any:
            return [RejectedError("refused") if n % 3 == 2 else Erased() for n, _ in enumerate(matches)]

    people = [f"p{n}@example.com" for n in range(6)]
    world.add("crm", Mixed, None, *people)
    host = world.open()
    cases = world.erase(host, *people)
    assert [status_of(host, case) is Status.FAILED for case in cases] == [False, False, True, False, False, True]


@pytest.mark.parametrize("connector", [Batched, Jobs], ids=["batch", "single"])
def test_two_requests_for_one_person_ask_the_vendor_once(world: World, connector: Any) -> None:
    """The same match in two cases: one effect, and its answer counts for both."""
    vendor = world.add("crm", connector, None, "ada@example.com")
    host = world.open()
    cases = world.erase(host, "ada@example.com", "ada@example.com", wait=30)
    assert set(vendor.effects.values()) == {1}
    assert [status_of(host, case) for case in cases] == [Status.VERIFIED, Status.VERIFIED]


# --- vendors' jobs -----------------------------------------------------------------------------------------------------------------


def test_a_job_is_polled_until_it_ends(world: World) -> None:
    """Pending is no end: the job is asked about until the vendor is done."""
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    vendor.jobs_finish = False
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    assert status_of(host, case) is Status.PENDING
    assert host.status(case).status == "approved"
    vendor.jobs_finish = True
    assert host.run(case, wait=5).settled
    assert status_of(host, case) is Status.VERIFIED
    assert vendor.calls["POST start"] == 1


def test_one_poll_serves_everybody_in_a_job(world: World) -> None:
    """Thirty people wait for one job: it is asked about once a time, not thirty times."""
    people = [f"p{n}@example.com" for n in range(30)]
    vendor = world.add("crm", SharedJob, None, *people)
    host = world.open()
    cases = world.erase(host, *people, wait=30)
    assert vendor.calls["POST start"] == 1
    assert vendor.calls["GET job"] == 1
    assert {status_of(host, case) for case in cases} == {Status.VERIFIED}


def test_a_job_that_never_ends_fails(sqlite_world: World) -> None:
    """After `pending_for` a job counts as failed, and somebody is told."""
    world = sqlite_world
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    vendor.jobs_finish = False
    host = world.open(options=dataclasses.replace(FAST, pending_for=timedelta(milliseconds=100)))
    (case,) = world.erase(host, "ada@example.com", wait=30)
    report = host.status(case)
    assert report.sources[0].status is Status.FAILED
    assert "did not finish" in report.sources[0].detail
    assert report.needs_someone


def test_a_failed_job_may_be_started_again(sqlite_world: World) -> None:
    """A vendor's job failed; retrying starts another one, and that one has its own time."""
    world = sqlite_world
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    vendor.jobs_finish = False
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    vendor.fail_jobs()
    time.sleep(0.25)
    host.run(case)
    assert status_of(host, case) is Status.FAILED
    vendor.jobs.clear()
    vendor.jobs_finish = True
    assert host.retry(case) == 1
    host.run(case, wait=30)
    assert status_of(host, case) is Status.VERIFIED


def test_a_poll_that_failed_for_good_is_retried_as_a_poll(world: World) -> None:
    """The vendor has the job: when asking about it failed, trying again must ask again, not start a second job."""
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    vendor.jobs_finish = False
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    vendor.faults = [Fault("status", on="/v1/jobs/", status=400, times=-1)]
    time.sleep(0.25)
    host.run(case)
    assert status_of(host, case) is Status.FAILED
    vendor.faults, vendor.jobs_finish = [], True
    assert host.retry(case) == 1
    host.run(case, wait=30)
    assert status_of(host, case) is Status.VERIFIED
    assert vendor.calls["POST start"] == 1


# --- patience ----------------------------------------------------------------------------------------------------------------------


def test_a_passing_failure_passes(world: World) -> None:
    """503 now and then: tried again by itself, without anybody noticing."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    vendor.faults = [Fault("status", method="DELETE", status=503, times=4)]
    host = world.open()
    (case,) = world.erase(host, "ada@example.com", wait=5)
    assert status_of(host, case) is Status.VERIFIED


def test_a_lasting_failure_fails(sqlite_world: World) -> None:
    """A vendor that is down for good: the tries are counted, the case stays open, and running it again after a retry works."""
    world = sqlite_world
    vendor = world.add("crm", Toy, None, "ada@example.com")
    vendor.faults = [Fault("status", method="DELETE", status=500, times=-1)]
    host = world.open()
    (case,) = world.erase(host, "ada@example.com", wait=5)
    assert status_of(host, case) is Status.FAILED
    assert host.status(case).status == "approved"
    vendor.faults = []
    host.retry(case)
    host.run(case)
    assert status_of(host, case) is Status.VERIFIED
    assert host.status(case).status == "done"


def test_retry_after_is_obeyed(world: World) -> None:
    """429 with Retry-After longer than a call may wait: the task comes back when the vendor said, and no try is lost on it."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    vendor.faults = [Fault("status", method="DELETE", status=429, headers={"Retry-After": "30"})]
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    row = host.status(case).sources[0]
    assert row.status is Status.WAITING
    assert row.next_at is not None
    received = host.status(case).received_at
    assert timedelta(seconds=28) < row.next_at - received < timedelta(seconds=40)
    assert vendor.holds("ada@example.com")


def test_retry_after_zero_is_no_loop(sqlite_world: World) -> None:
    """A vendor that says *again, at once* for ever must not turn a drain into an endless loop."""
    world = sqlite_world
    vendor = world.add("crm", Toy, None, "ada@example.com")
    vendor.faults = [Fault("status", method="DELETE", status=429, headers={"Retry-After": "0"}, times=-1)]
    host = world.open()
    done = threading.Thread(target=lambda: world.erase(host, "ada@example.com", wait=30), daemon=True)
    done.start()
    done.join(20)
    alive = done.is_alive()
    vendor.faults = []
    done.join(20)
    assert not alive


def test_a_slow_limit_lets_everyone_through(sqlite_world: World) -> None:
    """Two calls a second and several people: slow, but everybody's turn comes."""
    world = sqlite_world
    people = [f"p{n}@example.com" for n in range(3)]
    world.add("crm", limited(Toy, RateLimit(5, per=1)), None, *people)
    host = world.open()
    cases = world.erase(host, *people, wait=15)
    assert {status_of(host, case) for case in cases} == {Status.VERIFIED}


# --- operators' errors -------------------------------------------------------------------------------------------------------------


def test_a_wrong_key_stops_the_source_after_three(world: World) -> None:
    """Hammering a vendor with a wrong key locks accounts: after three refusals the source is left alone, and the rest stays due."""
    people = [f"p{n}@example.com" for n in range(40)]
    vendor = world.add("crm", Toy, None, *people, threads=1)
    other = world.add("shop", Batched, None, *people)
    host = world.open()
    cases = host.submit_many([deletion(email) for email in people])
    host.approve_many(host.plan_many(cases))
    vendor.token = "another"
    vendor.calls.clear()
    asked: list[Call] = []
    real = vendor.denied

    def denied(call: Call) -> Answer:
        asked.append(call)
        return real(call)

    vendor.denied = denied  # type: ignore[method-assign]  # counted where the vendor refuses
    drained = host.run_all()
    assert isinstance(drained["crm"].halted, AuthError)
    assert len(asked) == 3
    statuses = [status_of(host, case) for case in cases]
    assert statuses.count(Status.FAILED) == 3
    assert statuses.count(Status.PLANNED) == 37
    assert not other.contacts
    vendor.token = None
    for case in cases:
        host.run(case)
    assert {status_of(host, case) for case in cases} == {Status.VERIFIED}


def test_a_wrong_key_with_many_threads_stops_soon(sqlite_world: World) -> None:
    """Calls under way when the third refusal arrives cannot be taken back, but no further ones are begun."""
    world = sqlite_world
    people = [f"p{n}@example.com" for n in range(60)]
    vendor = world.add("crm", Toy, None, *people, threads=4)
    host = world.open()
    cases = host.submit_many([deletion(email) for email in people])
    host.approve_many(host.plan_many(cases))
    vendor.token = "another"
    asked: list[Call] = []
    real = vendor.denied
    vendor.denied = lambda call: asked.append(call) or real(call)  # type: ignore[method-assign,func-returns-value]  # likewise
    assert host.run_all()["crm"].halted is not None
    assert len(asked) <= 3 + 3


def test_one_source_down_harms_no_other(sqlite_world: World) -> None:
    """A vendor that cannot be reached, one that answers web pages, one that is fine."""
    world = sqlite_world
    down = world.add("down", Toy, None, "ada@example.com")
    page = world.add("page", Batched, None, "ada@example.com")
    fine = world.add("fine", Jobs, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion())
    plan = host.plan(case)
    down.faults = [Fault("reset", times=-1)]
    page.faults = [Fault("html", times=-1)]
    host.approve(plan)
    report = host.run(case, wait=30)
    statuses = {row.source: row.status for row in report.sources}
    assert statuses == {"down": Status.FAILED, "page": Status.FAILED, "fine": Status.VERIFIED}
    assert not fine.contacts
    assert report.status == "approved"


# --- connectors with bugs ----------------------------------------------------------------------------------------------------------

SECRET = "ada.lovelace@secret.example"


def _none(*_: Any) -> Any:
    return None


def _wrong(*_: Any) -> Any:
    return "done"


def _raises(*_: Any) -> Any:
    raise KeyError(SECRET)


def _exits(*_: Any) -> Any:
    raise SystemExit(SECRET)


def _records(*_: Any) -> Iterator[Any]:
    yield {"email": SECRET}


def _recurses(*_: Any) -> Any:
    return _recurses()


@pytest.mark.parametrize("verb", ["find", "erase", "export", "opt_out", "poll"])
@pytest.mark.parametrize("bug", [_none, _wrong, _raises, _exits, _recurses], ids=["None", "str", "KeyError", "SystemExit", "recursion"])
def test_a_buggy_verb_is_a_contract_error_of_its_own_source(sqlite_world: World, verb: str, bug: Any) -> None:
    """Whatever a connector's verb does wrong, its author is named, no value is repeated, and the other source is unharmed."""
    world = sqlite_world
    script: dict[str, Any] = {"erase": lambda api, match: Pending("job-1", timedelta(0)), verb: bug}
    buggy = type("Buggy", (Acting,), {"__doc__": "x", "slug": "buggy", "script": script})
    world.add("crm", buggy, None, "ada@example.com")
    world.add("shop", Toy, None, "ada@example.com")
    host = world.open()
    type_ = {"export": "copy", "opt_out": "do_not_sell"}.get(verb, "deletion")
    case = host.submit(Request.parse({"type": type_, "subject": {"email": "ada@example.com"}}))
    plan = host.plan(case)
    host.approve(plan)
    report = host.run(case, wait=30)
    crm, shop = report.sources
    assert crm.status is (Status.COULD_NOT_CHECK if verb == "find" else Status.FAILED)
    assert shop.status in (Status.VERIFIED, Status.COPIED, Status.OPTED_OUT)
    assert "ContractError" in dumped([host.history(case)]) or verb == "find"
    assert verb in crm.detail or "answered" in crm.detail or "yielded" in crm.detail
    assert SECRET not in dumped([report.to_json(), plan.to_json(), host.history(case)])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([Match("contact", "1"), "2"], "yielded str"),
        ([Match("unheard_of", "1")], "unheard_of"),
        ([None], "yielded NoneType"),
    ],
    ids=["no match", "undeclared resource", "None"],
)
def test_a_find_that_yields_something_else_could_not_check(sqlite_world: World, found: list[Any], said: str) -> None:
    """A search that answers nonsense is never *nothing found*."""
    buggy = type("Buggy", (Acting,), {"__doc__": "x", "slug": "buggy", "script": {"find": lambda api, subject: iter(found)}})
    sqlite_world.add("crm", buggy)
    host = sqlite_world.open()
    plan = host.plan(host.submit(deletion()))
    assert plan.sources[0].standing.value == "could_not_check"
    assert said in plan.sources[0].detail
    assert not plan.complete


@pytest.mark.parametrize("answer", [[], [Erased()] * 3, None, ["ok", "ok"], [None, Erased()]], ids=["none", "too many", "None", "strings", "a None"])
def test_a_batch_with_wrong_answers_is_never_a_success(sqlite_world: World, answer: Any) -> None:
    """`erase_many` must answer one outcome a match, in order; otherwise nobody knows whose is whose."""
    buggy = type("Buggy", (Batched,), {"__doc__": "x", "slug": "buggy", "erase_many": lambda self, api, matches: answer})
    sqlite_world.add("crm", buggy, None, "ada@example.com", "bob@example.com")
    host = sqlite_world.open()
    cases = sqlite_world.erase(host, "ada@example.com", "bob@example.com")
    assert {status_of(host, case) for case in cases} == {Status.FAILED}


@pytest.mark.parametrize("answer", [[], [[]] * 3, None, [["x"], []]], ids=["none", "too many", "None", "strings"])
def test_a_batch_search_with_wrong_answers_could_not_check(sqlite_world: World, answer: Any) -> None:
    """`find_many` must answer one list a person; a short answer is not *nothing found*, and never another person's."""
    buggy = type("Buggy", (Batched,), {"__doc__": "x", "slug": "buggy", "find_many": lambda self, api, subjects: answer})
    sqlite_world.add("crm", buggy)
    host = sqlite_world.open()
    plans = host.plan_many(host.submit_many([deletion("ada@example.com"), deletion("bob@example.com")]))
    assert {plan.sources[0].standing.value for plan in plans} == {"could_not_check"}


def test_pending_without_a_poll_fails_loudly(sqlite_world: World) -> None:
    """A connector that answers Pending and cannot poll: the case stays open."""
    buggy = type("Buggy", (Toy,), {"__doc__": "x", "slug": "buggy", "erase": lambda self, api, match: Pending("j", timedelta(0))})
    sqlite_world.add("crm", buggy, None, "ada@example.com")
    host = sqlite_world.open()
    (case,) = sqlite_world.erase(host, "ada@example.com", wait=30)
    assert status_of(host, case) is Status.FAILED


def test_what_the_vendor_refused_for_good_is_a_failure(sqlite_world: World) -> None:
    """`Failed` is an answer; the case stays open with its reason."""
    world = sqlite_world
    acting = type(
        "Refusing", (Acting,), {"__doc__": "x", "slug": "refusing", "script": {"erase": lambda api, match: Failed("legal hold", code="hold")}}
    )
    world.add("crm", acting, None, "ada@example.com")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    row = host.status(case).sources[0]
    assert (row.status, row.detail) == (Status.FAILED, "legal hold")


# --- order -------------------------------------------------------------------------------------------------------------------------


def _ordered(world: World, journal: list[str], name: str, **settings: Any) -> None:
    def erase(api: Any, match: Match) -> Erased:
        journal.append(name)
        api.delete("/v1/contacts/{id}", id=match.id)
        return Erased()

    world.add(name, type(name.title(), (Acting,), {"__doc__": "x", "slug": name, "script": {"erase": erase}}), None, "ada@example.com", **settings)


def test_sources_wait_for_those_before_them(world: World) -> None:
    """`after`: the source that would re-sync a person into the next one is erased first, along a chain."""
    journal: list[str] = []
    _ordered(world, journal, "third", after=["second"])
    _ordered(world, journal, "second", after=["first"])
    _ordered(world, journal, "first")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    assert journal == ["first", "second", "third"]
    assert host.status(case).settled


def test_two_predecessors_finish_at_the_same_time(world: World) -> None:
    """A source that waits for two others begins even when both end at the very same moment, and its case is finished."""
    journal: list[str] = []
    both = threading.Barrier(2)

    def before(name: str) -> Any:
        def erase(api: Any, match: Match) -> Erased:
            both.wait(10)
            journal.append(name)
            return Erased()

        return erase

    for name in ("left", "right"):
        world.add(name, type(name.title(), (Acting,), {"__doc__": "x", "slug": name, "script": {"erase": before(name)}}), None, "ada@example.com")
    _ordered(world, journal, "last", after=["left", "right"])
    host = world.open()
    for _ in range(5):
        world.vendors["last"].seed([Person("ada@example.com")])
        (case,) = world.erase(host, "ada@example.com", wait=30)
        assert journal.pop() == "last"
        assert host.status(case).status == "done"


def test_sources_do_not_stand_in_each_others_way(world: World) -> None:
    """Four sources finish the same cases in small groups and in different orders: none of them gives way, and every case is finished."""
    people = [f"p{n}@example.com" for n in range(30)]
    for name, connector in (("single", Toy), ("jobs", Jobs), ("batch", Batched), ("shared", SharedJob)):
        world.add(name, connector, None, *people, threads=4)
    host = world.open(options=dataclasses.replace(FAST, group=5, group_seconds=0.002))
    cases = host.submit_many([deletion(email) for email in people])
    host.approve_many(host.plan_many(cases))
    host.run_all(wait=30)
    assert {host.status(case).status for case in cases} == {"done"}
    if world.database is not None:
        with host.ledger.engine.connect() as connection:
            query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            assert connection.execute(query).scalar_one() == 0


def test_a_predecessor_that_failed_holds_nobody_back(world: World) -> None:
    """The vendor before refuses: those after it are erased nevertheless, and the case stays open."""
    journal: list[str] = []
    acting = type("Refusing", (Acting,), {"__doc__": "x", "slug": "refusing", "script": {"erase": lambda api, match: Failed("no")}})
    world.add("first", acting, None, "ada@example.com")
    _ordered(world, journal, "second", after=["first"])
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    assert journal == ["second"]
    assert host.status(case).status == "approved"


def test_a_circle_is_refused(sqlite_world: World) -> None:
    """Sources that wait for each other would wait for ever."""
    journal: list[str] = []
    _ordered(sqlite_world, journal, "first", after=["second"])
    _ordered(sqlite_world, journal, "second", after=["first"])
    with pytest.raises(ConfigError, match="circle"):
        sqlite_world.open()


def test_a_stranger_before_is_refused(sqlite_world: World) -> None:
    """A misspelt name in `after` would silently order nothing."""
    _ordered(sqlite_world, [], "first", after=["secnod"])
    with pytest.raises(ConfigError, match="secnod"):
        sqlite_world.open()


def test_a_broken_source_before_does_not_close_the_host(sqlite_world: World) -> None:
    """`after` names a source that cannot be used today: that one is broken, the rest work."""
    journal: list[str] = []
    _ordered(sqlite_world, journal, "second", after=["first"])
    sqlite_world.sources["first"] = '[sources.first]\nconnector = "not_installed"'
    host = sqlite_world.open()
    assert set(host.broken) == {"first"}
    (case,) = sqlite_world.erase(host, "ada@example.com")
    assert journal == ["second"]
    assert status_of(host, case, "first") is Status.COULD_NOT_CHECK


# --- verification ------------------------------------------------------------------------------------------------------------------


def test_who_comes_back_is_seen(world: World) -> None:
    """Erased, verified, re-created by a sync, checked again: reappeared."""
    vendor = world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    assert status_of(host, case) is Status.VERIFIED
    vendor.seed([Person("ada@example.com")])
    assert host.recheck(case) == 1
    host.run(case)
    assert status_of(host, case) is Status.REAPPEARED
    assert host.status(case).needs_someone
    assert not host.status(case).settled


def test_an_erasure_that_did_nothing_is_seen(sqlite_world: World) -> None:
    """The vendor says 200 and deletes nothing: the verification finds the person."""
    world = sqlite_world
    acting = type("Liar", (Acting,), {"__doc__": "x", "slug": "liar", "script": {"erase": lambda api, match: Erased()}})
    world.add("crm", acting, None, "ada@example.com")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    assert status_of(host, case) is Status.REAPPEARED


def test_verification_waits_for_the_vendors_lag(sqlite_world: World) -> None:
    """An index that lags: the verification is due after it, not before."""
    world = sqlite_world
    lagging = type("Lagging", (Toy,), {"__doc__": "x", "slug": "lagging", "lag": timedelta(hours=1)})
    world.add("crm", lagging, None, "ada@example.com")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    row = host.status(case).sources[0]
    assert (row.status, row.detail) == (Status.DELETED, "verification is due")
    assert row.next_at is not None
    assert row.next_at - host.status(case).received_at > timedelta(minutes=59)


def test_a_verification_that_cannot_look_is_not_clean(sqlite_world: World) -> None:
    """*Could not check* is never *verified*."""
    world = sqlite_world
    vendor = world.add("crm", Toy, None, "ada@example.com")
    lagging = type("Lagging", (Toy,), {"__doc__": "x", "slug": "toy", "lag": timedelta(milliseconds=300)})
    world.classes["toy"] = lagging
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    vendor.faults = [Fault("status", status=400, times=-1)]
    host.run(case, wait=30)
    assert status_of(host, case) is Status.COULD_NOT_CHECK
    assert not host.status(case).settled


def test_what_is_retained_is_no_reappearance(world: World) -> None:
    """Invoices stay by law: the verification does not count them."""
    from tests.toys import Revealing

    world.add("crm", Revealing, None, "ada@example.com")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com")
    row = host.status(case).sources[0]
    assert row.status is Status.VERIFIED
    assert row.outcomes == {"erased": 3, "retained": 4}
    assert row.retained == (("invoice", "tax law, ten years"),)


# --- who else is draining ----------------------------------------------------------------------------------------------------------


def test_opt_outs_are_carried_out(sqlite_world: World) -> None:
    """Do not sell: each match is opted out once, nothing is deleted, nothing is verified."""
    world = sqlite_world
    vendor = world.add("crm", Toy, None, "ada@example.com", "ada@example.com")
    host = world.open()
    case = host.submit(Request.parse({"type": "do_not_sell", "subject": {"email": "ada@example.com"}}))
    host.approve(host.plan(case))
    report = host.run(case)
    assert report.sources[0].status is Status.OPTED_OUT
    assert sorted(vendor.effects) == ["opt out crm-1", "opt out crm-2"]
    assert set(vendor.effects.values()) == {1}
    assert report.status == "done"


def test_two_drains_of_one_source_at_once(world: World) -> None:
    """One drains, the other says that it is busy and does nothing."""
    begun, go_on = threading.Event(), threading.Event()

    def erase(api: Any, match: Match) -> Erased:
        begun.set()
        assert go_on.wait(20)
        return Erased()

    world.add("crm", type("Slow", (Acting,), {"__doc__": "x", "slug": "slow", "script": {"erase": erase}}), None, "ada@example.com")
    host, second = world.open(), world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    first = threading.Thread(target=host.run_all)
    first.start()
    assert begun.wait(20)
    drained = second.run_all()
    go_on.set()
    first.join()
    assert drained["crm"].busy
    assert drained["crm"].finished == 0


def test_two_agents_at_once(world: World) -> None:
    """Two threads plan and run requests for the same source at the same moment: both get the whole answer."""
    vendor = world.add("crm", Toy, None, *(f"p{n}@example.com" for n in range(6)))
    host = world.open()
    together = threading.Barrier(6)
    statuses: list[tuple[str, str, Status]] = []

    def agent(number: int) -> None:
        case = host.submit(deletion(f"p{number}@example.com"))
        together.wait(10)
        plan = host.plan(case)
        together.wait(30)
        host.approve(plan)
        together.wait(30)
        report = host.run(case)
        statuses.append((plan.sources[0].standing.value, report.status, report.sources[0].status))

    threads = [threading.Thread(target=agent, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [("found", "done", Status.VERIFIED)] * 6
    assert not vendor.contacts
    assert set(vendor.effects.values()) == {1}


def test_one_person_twice_in_two_threads(world: World) -> None:
    """Two requests of one person worked at the same moment: the vendor erases once, both cases end well."""
    vendor = world.add("crm", Jobs, None, "ada@example.com")
    host = world.open()
    cases = host.submit_many([deletion(), deletion()])
    host.approve_many(host.plan_many(cases))
    threads = [threading.Thread(target=lambda case=case: host.run(case, wait=30)) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {host.status(case).status for case in cases} == {"done"}
    assert not vendor.contacts


def test_stopping_leaves_the_rest_due(world: World) -> None:
    """Asked to stop, a drain finishes what is under way, gives the rest back, and nothing is lost."""
    people = [f"p{n}@example.com" for n in range(50)]
    vendor = world.add("crm", Toy, None, *people, threads=2)
    host = world.open()
    cases = host.submit_many([deletion(email) for email in people])
    host.approve_many(host.plan_many(cases))
    real = ToyVendor.delete

    class Stopping(ToyVendor):
        """Asks the host to stop at the fifth erasure."""

        @route("DELETE", "/v1/contacts/{id}")
        def delete(self, call: Call) -> Answer:
            if sum(self.effects.values()) == 5:
                host.stop()
            time.sleep(0.005)
            return real(self, call)

    vendor.__class__ = Stopping
    host.run_all()
    assert 5 <= len(people) - len(vendor.contacts) <= 12
    again = world.open()
    again.run_all()
    assert not vendor.contacts
    assert set(vendor.effects.values()) == {1}
    assert {again.status(case).status for case in cases} == {"done"}


def test_stopping_does_not_break_the_rate_limit(sqlite_world: World) -> None:
    """A call that waits for its turn when the host is stopped is not sent early; it stays due."""
    world = sqlite_world
    vendor = world.add("crm", limited(Toy, RateLimit(1, per=3, method="DELETE")), None, "a@example.com", "b@example.com", "c@example.com")
    host = world.open()
    cases = host.submit_many([deletion(f"{name}@example.com") for name in "abc"])
    host.approve_many(host.plan_many(cases))
    threading.Timer(0.5, host.stop).start()
    host.run_all()
    assert len(vendor.contacts) == 2
    assert sum(vendor.effects.values()) == 1


def test_progress_is_told(sqlite_world: World) -> None:
    """`on_progress` hears of every commit; the last one says that all is done."""
    world = sqlite_world
    world.add("crm", Toy, None, *(f"p{n}@example.com" for n in range(30)))
    host = world.open()
    cases = host.submit_many([deletion(f"p{n}@example.com") for n in range(30)])
    host.approve_many(host.plan_many(cases))
    heard: list[Progress] = []
    host.run_all(on_progress=heard.append)
    assert heard
    assert all(progress.done <= progress.total for progress in heard)
    assert heard[-1].done == heard[-1].total


def test_errors_of_each_kind_say_who_acts(sqlite_world: World) -> None:
    """Every class of error becomes the status that its reader needs, and none becomes a success."""
    world = sqlite_world
    errors = {
        "auth": AuthError("no"),
        "config": ConfigError("no"),
        "contract": ContractError("no"),
        "rejected": RejectedError("no", status=422),
        "transient": TransientError("no"),
    }

    def raising(error: Exception) -> Any:
        def act(api: Any, match: Match) -> OptedOut:
            raise error

        return act

    for name, error in errors.items():
        world.add(name, type(name, (Acting,), {"__doc__": "x", "slug": name, "script": {"erase": raising(error)}}), None, "ada@example.com")
    host = world.open()
    (case,) = world.erase(host, "ada@example.com", wait=30)
    assert {row.status for row in host.status(case).sources} == {Status.FAILED}
    with host.ledger.engine.connect():
        pass
    errors_seen = {task.source: task.error for task in _tasks(host, case) if task.action == "erase"}
    assert {name: error["acts_next"] for name, error in errors_seen.items() if error} == {
        "auth": "operator",
        "config": "operator",
        "contract": "author",
        "rejected": "operator",
        "transient": "host",
    }


def _tasks(host: Any, case: str) -> list[Any]:
    from dsr_sdk.ledger.database import reading

    with reading(host.ledger.engine) as connection:
        return list(host.ledger.tasks.of(connection, [case]))


# --- the lock ----------------------------------------------------------------------------------------------------------------------


class _Cutting(ToyVendor):
    """A vendor in the middle of whose work the database server ends every session that holds a lock on a data source."""

    def __init__(self, cut: Any) -> None:
        super().__init__()
        self.cut = cut
        self.deletes = 0

    @route("DELETE", "/v1/contacts/{id}")
    def delete(self, call: Call) -> Answer:
        self.deletes += 1
        if self.deletes == 5:
            self.cut()
        return super().delete(call)


def test_a_drain_whose_lock_was_lost_begins_nothing_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ended the session that held the lock: someone else may be draining by now. Resumed, everything is done, and once."""
    if world.database is None:
        pytest.skip("a file's lock is held by the operating system, and is not lost")
    monkeypatch.setattr("dsr_sdk.engine.drain._LOCK_SECONDS", 0.0)

    def cut() -> None:
        with host.ledger.engine.connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"))

    people = [f"p{n}@example.com" for n in range(60)]
    vendor = _Cutting(cut)
    world.add("crm", Toy, vendor, *people, threads=2)
    host = world.open(options=dataclasses.replace(FAST, group=4))
    cases = host.submit_many([deletion(email) for email in people])
    host.approve_many(host.plan_many(cases))
    first = host.run_all()["crm"]
    assert "lock" in str(first.halted)
    assert vendor.deletes < 20
    host.run_all()
    assert not vendor.contacts
    assert vendor.deletes == 60
    assert {host.status(case).status for case in cases} == {"done"}
