"""A data source that leads to another account than the one that was searched: what was found in the first is never touched in the second."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dsr_sdk import ConnectorConfig, ControllerId, Email, Match, RequestError, Subject
from dsr_sdk.engine import Status
from dsr_sdk.host import Host
from dsr_sdk.host.process.panel import SourceState
from dsr_sdk.http import Api, StartingAfter
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.tasks import Task, Update
from dsr_sdk.testing import Person, transport
from tests.toys import Jobs, Toy, ToyVendor
from tests.world import World, deletion

ADA, BOB, AMY = "ada@example.com", "bob@example.com", "amy@example.com"
ONE, TWO = "https://one.example", "https://two.example"


class Tenants(Toy):
    """One address for everybody: a setting says whose account it is, as in most products."""

    slug, title = "tenants", "Tenants"

    class Config(ConnectorConfig):
        tenant: str = ONE

    def auth(self) -> Any:
        return None

    def headers(self) -> Mapping[str, str]:
        return {"x-tenant": self.config.tenant}


class Accounts(httpx.BaseTransport):
    """Two accounts of one vendor, each behind an address or a header of its own."""

    def __init__(self) -> None:
        self.one, self.two = ToyVendor(prefix="c"), ToyVendor(prefix="c")
        self._ways = {ONE: transport(self.one), TWO: transport(self.two)}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._ways[request.headers.get("x-tenant", f"https://{request.url.host}")].handle_request(request)


def moving(world: World, *people: str, connector: Any = Toy, inventory: bool = False) -> tuple[Accounts, Callable[[], Host], Host]:
    """A data source ``crm`` that leads to account one; what makes it lead to account two, and gives the host; the host."""
    accounts = Accounts()
    accounts.one.seed([Person(person) for person in people or (ADA,)])
    accounts.two.seed([Person(f"other{n}@example.com") for n, _ in enumerate(people or (ADA,))])
    if not inventory:
        world.add("crm", connector, transport_=accounts, base_url=ONE)
        host = world.open()

        def move() -> Host:
            world.add("crm", connector, transport_=accounts, base_url=TWO)
            return world.open()

        return accounts, move, host
    world.classes["tenants"] = Tenants
    world.transports["crm"] = accounts
    world.tables = "[workflow]"
    host = world.open()
    host.inventory.add("crm", "CRM", category="crm", connector="tenants", settings={"tenant": ONE}, handling=True, by=AMY)

    def change() -> Host:
        host.inventory.update("crm", settings={"tenant": TWO}, by=AMY)
        return host

    return accounts, change, host


def stands(host: Host, case: str) -> tuple[Status, str]:
    """How the data source stands, and why."""
    (row,) = host.status(case).sources
    return row.status, row.detail


def work(host: Host, case: str, action: str = "erase") -> list[Task]:
    """Tasks of a case."""
    with reading(host.ledger.engine) as connection:
        return host.ledger.tasks.of(connection, [case], actions=[action])


@pytest.mark.parametrize("type_", ["deletion", "copy", "do_not_sell"])
def test_what_was_approved_for_one_account_is_not_carried_out_in_another(world: World, type_: str) -> None:
    """Approved, then pointed elsewhere by hand in dsr.toml: somebody else has that id there. It fails, says why and what to do, is not tried
    again by itself, and a new plan goes on in the new account."""
    accounts, move, host = moving(world)
    accounts.two.seed([Person(ADA)])
    case = host.submit(deletion(type=type_))
    host.approve(host.plan(case))
    host = move()
    for _ in range(3):
        host.run(case, wait=0.2)
        status, why = stands(host, case)
        assert status is Status.FAILED
        assert "another account" in why
        assert "search again" in why
    assert not accounts.two.effects
    assert accounts.two.calls["GET tickets"] == 0
    assert accounts.two.holds("other0@example.com")
    (event,) = [event for event in host.history(case) if event["event"].endswith(".failed")]
    assert event["data"]["error"] == "ApprovalError"
    plan = host.plan(case)
    assert [match.match["id"] for match in plan.sources[0].matches] == ["c2"]
    host.approve(plan)
    host.run(case)
    assert stands(host, case)[0] in (Status.VERIFIED, Status.COPIED, Status.OPTED_OUT)
    assert host.status(case).status == "done"
    assert accounts.two.holds("other0@example.com")
    assert host.audit_verify().ok


def test_the_same_id_in_another_account_is_other_work(world: World) -> None:
    """What has failed at one account is not taken up at another because their ids are alike: the new plan's work is its own."""
    accounts, move, host = moving(world)
    case = host.submit(deletion())
    host.approve(host.plan(case))
    accounts.two.contacts = {"c1": Person(ADA)}
    host = move()
    host.run(case)
    assert stands(host, case)[0] is Status.FAILED
    host.approve(host.plan(case))
    host.run(case)
    assert stands(host, case)[0] is Status.VERIFIED
    assert accounts.one.holds(ADA)
    assert not accounts.two.holds(ADA)


def test_pointed_back_it_goes_on(world: World) -> None:
    """A mistake in dsr.toml that was mended: retried, the work is done where it was approved for."""
    accounts, move, host = moving(world)
    case = host.submit(deletion())
    host.approve(host.plan(case))
    move().run(case)
    assert accounts.one.holds(ADA)
    assert host.retry(case) == 1
    host.run(case)
    assert stands(host, case)[0] is Status.VERIFIED
    assert not accounts.one.holds(ADA)


def test_the_inventory_is_held_to_it_too(world: World) -> None:
    """Given free, then set up anew in the portal before the engine has run: it fails, bars the way, and is searched again on a press."""
    accounts, change, host = moving(world, inventory=True)
    case = host.submit(deletion(channel="api"))
    host.workflow.accept(case, by=AMY, sources=["crm"])
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    accounts.two.seed([Person(ADA)])
    change()
    host.run_all()
    (row,) = host.processing.panel(case).sources
    assert row.state is SourceState.FAILED
    assert "another account" in row.detail
    assert not accounts.two.effects
    host.processing.retry(case, "crm", by=AMY)
    (row,) = host.processing.panel(case).sources
    assert (row.state, row.found, row.selectable) == (SourceState.FOUND, 1, True)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.run_all()
    assert host.processing.panel(case).sources[0].state is SourceState.DONE
    assert (accounts.two.holds(ADA), accounts.two.holds("other0@example.com")) == (False, True)


def test_what_was_searched_elsewhere_is_not_given_free(world: World) -> None:
    """Pointed elsewhere in dsr.toml between the search and the press."""
    world.tables = "[workflow]"
    _, move, host = moving(world)
    case = host.submit(deletion(channel="api"))
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    host = move()
    with pytest.raises(RequestError, match="search again"):
        host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.search(case)
    assert host.processing.panel(case).sources[0].state is SourceState.NOTHING_FOUND


def test_a_search_that_nobody_has_read_counts_for_its_own_account_only(world: World) -> None:
    """Planning was interrupted after its searches, and the data source pointed elsewhere: the new account is searched."""
    accounts, move, host = moving(world)
    accounts.two.seed([Person(ADA)])
    case = host.submit(deletion())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dsr_sdk.engine.planner.Planner._write", lambda *_: [])
        host.plan_many([case])
    assert work(host, case, "find")[0].state == "done"
    plan = move().plan(case)
    assert [match.match["id"] for match in plan.sources[0].matches] == ["c2"]


class Settled(Toy):
    """Has settings of every kind."""

    slug, title = "settled", "Settled"

    class Config(ConnectorConfig):
        token: SecretStr = SecretStr("unset")
        region: str = "eu"
        lists: frozenset[str] = frozenset()


def test_another_secret_is_no_other_account(world: World) -> None:
    """Rotated between approval and run, written in another order, or spelt out where it was left at its default: the work goes on."""
    for name in ("old", "new"):
        (world.directory / f"{name}.key").write_text(name)
    vendor = world.add("crm", Settled, None, ADA, token="file:old.key", lists=["a", "b", "c"])
    vendor.token = "old"
    host = world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    vendor.token = "new"
    world.add("crm", Settled, vendor, token="file:new.key", region="eu", lists=["c", "a", "b"], allow_private_hosts=True)
    host = world.open()
    host.run(case)
    assert stands(host, case)[0] is Status.VERIFIED


@pytest.mark.parametrize("change", [{"region": "us"}, {"lists": ["a"]}, {"base_url": "https://us.toy.example"}])
def test_any_other_setting_may_lead_elsewhere(sqlite_world: World, change: dict[str, Any]) -> None:
    """Nobody but the vendor knows what a setting means: when one has changed, somebody looks again."""
    vendor = sqlite_world.add("crm", Settled, None, ADA)
    host = sqlite_world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    sqlite_world.add("crm", Settled, vendor, **change)
    host = sqlite_world.open()
    host.run(case)
    assert stands(host, case)[0] is Status.FAILED
    assert vendor.holds(ADA)


def test_tasks_that_do_not_say_go_on(world: World) -> None:
    """Work of a ledger from before accounts were told apart."""
    accounts, move, host = moving(world)
    accounts.two.contacts = {"c1": Person(ADA)}
    case = host.submit(deletion())
    host.approve(host.plan(case))
    with writing(host.ledger.engine) as connection:
        (task,) = host.ledger.tasks.of(connection, [case], actions=["erase"])
        payload = {name: value for name, value in task.payload.items() if name != "account"}
        host.ledger.tasks.update(connection, [Update(task, "ready", next_at=task.next_at, payload=payload, count=task.count)])
    host = move()
    host.run(case)
    assert stands(host, case)[0] is Status.VERIFIED
    assert not accounts.two.contacts


def test_pointed_elsewhere_while_it_is_drained(world: World) -> None:
    """The calls that are under way end where they began. What was not begun is not sent to the other account by the rest of the drain."""
    people = [f"p{n}@example.com" for n in range(30)]
    accounts, change, host = moving(world, *people, inventory=True)
    cases = host.submit_many([deletion(person, channel="api") for person in people])
    for case in cases:
        host.workflow.accept(case, by=AMY, sources=["crm"])
    host.approve_many(host.plan_many(cases))
    first, moved = threading.Lock(), threading.Event()

    def on_step(step: str) -> None:
        if step == "before effect" and not first.acquire(blocking=False):
            moved.wait(60)
        elif step == "after effect" and not moved.is_set():
            change()
            host.refresh_sources()
            moved.set()

    host._runner.on_step = on_step
    host.run_all()
    host.run_all(wait=5)
    assert moved.is_set()
    assert (len(accounts.one.contacts), len(accounts.two.contacts)) == (29, 30)
    assert not accounts.two.effects
    found = Counter(stands(host, case)[0] for case in cases)
    assert found == {Status.FAILED: 29, Status.COULD_NOT_CHECK: 1}  # the one that was erased is not verified elsewhere


def test_a_deletion_in_one_account_is_not_verified_in_another(world: World) -> None:
    """Nothing is found in the account that it leads to now, and that proves nothing: it could not be checked."""

    class Late(Toy):
        """Sees late what it has erased."""

        slug, title, lag = "late", "Late", timedelta(seconds=3)

    _, move, host = moving(world, connector=Late)
    case = host.submit(deletion())
    host.approve(host.plan(case))
    host.run(case)
    assert stands(host, case)[0] is Status.DELETED
    host = move()
    host.run_all(wait=30)
    status, why = stands(host, case)
    assert status is Status.COULD_NOT_CHECK
    assert "another account" in why


def test_a_job_of_one_account_is_not_asked_about_in_another(world: World) -> None:
    """Its number may be anybody's there, and say that all is done."""
    accounts, move, host = moving(world, connector=Jobs)
    accounts.one.jobs_finish = False
    case = host.submit(deletion())
    host.approve(host.plan(case))
    host.run(case)
    assert stands(host, case)[0] is Status.PENDING
    host = move()
    host.run_all(wait=5)
    status, why = stands(host, case)
    assert status is Status.FAILED
    assert "another account" in why
    assert accounts.two.calls["GET job"] == 0


def test_what_a_crash_left_is_not_asked_about_in_another_account(world: World) -> None:
    """Begun in one account, cut short, pointed elsewhere: nothing is there under that id, and that does not mean that it was erased."""
    accounts, move, host = moving(world)
    case = host.submit(deletion())
    host.approve(host.plan(case))
    with writing(host.ledger.engine) as connection:
        host.ledger.tasks.begin(connection, host.ledger.tasks.of(connection, [case], actions=["erase"]), datetime.now(UTC))
    accounts.two.contacts.clear()
    host = move()
    host.run(case)
    assert stands(host, case)[0] is Status.FAILED
    (task,) = work(host, case)
    assert task.intent_at is not None  # pointed back and retried, the vendor is asked first
    assert not accounts.two.calls


class Twice(Toy):
    """Finds by e-mail address and by the controller's id, and sees late what it has erased."""

    slug, title, lag = "twice", "Twice", timedelta(hours=1)
    identified_by = (Email, ControllerId)

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        asked = {"email": subject.email} if subject.has(Email) else {"user_id": subject.user_id}
        for row in api.pages("/v1/contacts", asked, paging=StartingAfter("data")):
            yield Match("contact", row["id"])


def test_a_later_identifiers_erasure_is_verified_too(world: World) -> None:
    """While the first verification waits for the vendor's lag, more is found by another identifier and erased: that is searched for as well, and
    not before the lag of the later erasure."""
    world.add("crm", Twice, None, Person(ADA), Person("old@example.com", user_id="u-1"))
    host = world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    host.run(case)
    (first,) = work(host, case, "verify")
    host.add_identity(case, ControllerId(value="u-1"))
    host.approve(host.plan(case))
    host.run(case)
    (check,) = work(host, case, "verify")
    assert {identity["kind"] for identity in check.payload["identities"]} == {"email", "controller_id"}
    assert first.next_at is not None
    assert check.next_at is not None
    assert check.next_at > first.next_at


def test_a_verification_that_may_be_under_way_is_followed_by_another(world: World) -> None:
    """What it does not look for, the next one does; and until that has ended nothing is called verified."""

    class Prompt(Twice):
        """Without a lag."""

        slug, title, lag = "prompt", "Prompt", timedelta(0)

    vendor = world.add("crm", Prompt, None, Person(ADA), Person("old@example.com", user_id="u-1"))
    host = world.open()
    case = host.submit(deletion())
    host.approve(host.plan(case))
    host._runner.run(actions=["erase"])
    assert [task.state for task in work(host, case, "verify")] == ["ready"]
    host.add_identity(case, ControllerId(value="u-1"))
    host.approve(host.plan(case))
    host._runner.run(actions=["erase"])
    assert not vendor.contacts
    first, second = work(host, case, "verify")
    assert [len(task.payload["identities"]) for task in (first, second)] == [1, 2]
    assert stands(host, case)[0] is Status.DELETED
    host.run_all()
    assert stands(host, case)[0] is Status.VERIFIED
