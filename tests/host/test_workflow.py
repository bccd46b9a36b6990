"""The workflow: every step that exists, every one that does not, and who wins when two press at once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from dsr_sdk import ApprovalError, LedgerError, RequestError, hookimpl
from dsr_sdk.errors import ConfigError, ConflictError
from dsr_sdk.host import Host
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.cases.workflow import STEPS, Decision, Reason, Stage
from dsr_sdk.identity import ControllerId
from dsr_sdk.ledger.database import reading, writing
from dsr_sdk.ledger.desk import case_sources
from dsr_sdk.ledger.schema import cases
from dsr_sdk.request import RequestType
from tests.toys import Toy
from tests.world import World, deletion, staff

AMY, BOB = "amy@example.com", "bob@example.com"


def office(world: World) -> Host:
    """A host with the workflow and one data source."""
    world.tables = "[workflow]"
    world.add("crm", Toy, None, "ada@example.com")
    return world.open()


def close(host: Host, case: str) -> None:
    """The second half of *Reply & close*: the workflow's own step, without the letter."""
    with host.workflow.deciding() as (connection, book):
        host.workflow.close(connection, book, host.workflow.held(connection, case), by=AMY)


def brought(host: Host, stage: Stage) -> str:
    """A case in a stage; in review with another of the same person beside it, to merge with."""
    host.submit(deletion(type="do_not_mail"))
    case = host.submit(deletion(type="do_not_mail"))
    if stage is not Stage.REVIEW:
        host.workflow.accept(case, by=AMY)
    if stage in (Stage.REPLY, Stage.CLOSED):
        host.workflow.finish(case, by=AMY, all_done=True)
    if stage is Stage.CLOSED:
        close(host, case)
    assert host.workflow.get(case).stage == stage
    return case


ACTS: dict[str, Callable[[Host, str], None]] = {
    "accept": lambda host, case: host.workflow.accept(case, by=BOB),
    "reject": lambda host, case: host.workflow.reject(case, Reason.NO_MATCH, by=BOB),
    "withdraw": lambda host, case: host.workflow.withdraw(case, by=BOB),
    "merge": lambda host, case: host.workflow.merge(case, host.workflow.alike(case)[0], by=BOB),
    "finish": lambda host, case: host.workflow.finish(case, by=BOB, all_done=True),
    "close": close,
}


def stored(host: Host, case: str) -> Any:
    """Everything that a step could have changed."""
    with reading(host.ledger.engine) as connection:
        chosen = connection.execute(select(case_sources.c.source).where(case_sources.c.case == case)).scalars().all()
        return host.ledger.cases.get(connection, case), sorted(chosen), len(host.ledger.history(connection, case))


# --- the state machine ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "step"), list(STEPS), ids="-".join)
def test_every_step_leads_where_it_says(world: World, stage: Stage, step: str) -> None:
    """Each legal step, with its audit event and its actor."""
    host = office(world)
    case = brought(host, stage)
    before = host.workflow.get(case)
    ACTS[step](host, case)
    after = host.workflow.get(case)
    assert after.stage == STEPS[stage, step]
    assert after.revision > before.revision
    assert (after.ended_at is not None) == (after.stage == Stage.CLOSED)
    (event,) = [entry for entry in host.history(case) if entry["data"].get("step") == step]
    assert (event["event"], event["actor"]) == (f"stage.{after.stage}", AMY if step == "close" else BOB)


@pytest.mark.parametrize(("stage", "step"), [pair for pair in itertools.product(Stage, ACTS) if pair not in STEPS], ids="-".join)
def test_every_other_step_is_refused(sqlite_world: World, stage: Stage, step: str) -> None:
    """No stage is skipped, entered again or left backwards; a refused step leaves nothing behind."""
    host = office(sqlite_world)
    case = brought(host, stage)
    before = stored(host, case)
    with pytest.raises(ConflictError):
        ACTS[step](host, case)
    assert stored(host, case) == before


def test_the_table_of_steps_is_the_whole_machine() -> None:
    """Every step is tried above, and every stage but the last leads somewhere."""
    assert {step for _, step in STEPS} == set(ACTS)
    assert {stage for stage, _ in STEPS} == set(Stage) - {Stage.CLOSED}
    assert all(target is not stage and target is not Stage.REVIEW for (stage, _), target in STEPS.items())


def test_reject_goes_straight_to_reply(world: World) -> None:
    """A rejected request never enters process; its reason is recorded, and no data source is chosen."""
    host = office(world)
    case = host.submit(deletion())
    host.workflow.reject(case, Reason.SUSPECTED_FRAUD, by=AMY)
    stands, chosen, _ = stored(host, case)
    assert (stands.stage, stands.decision, stands.reason, chosen) == ("reply", Decision.REJECTED, "suspected_fraud", [])
    assert [entry["event"] for entry in host.history(case)] == ["request.received", "stage.review", "identity.verified", "stage.reply"]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_recorded(sqlite_world: World, reason: Reason) -> None:
    """The codes of the Data Rights Protocol, as they go out."""
    host = office(sqlite_world)
    case = host.submit(deletion())
    host.workflow.reject(case, reason, by=AMY)
    assert host.history(case)[-1]["data"]["reason"] == host.workflow.get(case).reason == reason.value


def test_after_continue_there_is_no_reject(world: World) -> None:
    """Product document 001: once you click "Continue", you will not be able to go back and reject the request."""
    host = office(world)
    case = host.submit(deletion())
    host.workflow.accept(case, by=AMY)
    with pytest.raises(ConflictError, match="the case is in process, not in review"):
        host.workflow.reject(case, Reason.NO_MATCH, by=AMY)
    assert host.workflow.get(case).decision == Decision.ACCEPTED


def test_a_case_that_does_not_exist(world: World) -> None:
    """A typing error is told as one."""
    host = office(world)
    with pytest.raises(LedgerError, match="no such case"):
        host.workflow.accept("DSR-0000-0000-0000-0000", by=AMY)


# --- two at once ---------------------------------------------------------------------------------------------------------------------


def at_once(*acts: Callable[[], None]) -> list[BaseException | None]:
    """Run these at the same moment, each in a thread; what each raised."""
    barrier = threading.Barrier(len(acts))
    raised: list[BaseException | None] = [None] * len(acts)

    def run(place: int) -> None:
        barrier.wait()
        try:
            acts[place]()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            raised[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def one_won(raised: Sequence[BaseException | None]) -> bool:
    """Exactly one got through, and every other was told why not."""
    return sum(error is None for error in raised) == 1 and all(isinstance(error, ConflictError) for error in raised if error is not None)


def test_two_agents_press_continue_at_once(world: World) -> None:
    """Both look at the same page, both press: one goes on, the other is told, and it happened once."""
    host = office(world)
    for _ in range(5):
        case = host.submit(deletion())
        seen = host.workflow.get(case).revision
        raised = at_once(
            lambda: host.workflow.accept(case, by=AMY, revision=seen),  # noqa: B023 - it ends before the next one begins
            lambda: host.workflow.accept(case, by=BOB, revision=seen),  # noqa: B023
        )
        assert one_won(raised), raised
        assert host.workflow.get(case).revision == seen + 1
        assert [entry["event"] for entry in host.history(case)].count("stage.process") == 1
    assert host.audit_verify().ok


def test_one_continues_while_the_other_rejects(world: World) -> None:
    """Whichever comes first holds; never both."""
    host = office(world)
    for _ in range(5):
        case = host.submit(deletion())
        raised = at_once(
            lambda: host.workflow.accept(case, by=AMY),  # noqa: B023
            lambda: host.workflow.reject(case, Reason.OTHER, by=BOB),  # noqa: B023
        )
        assert one_won(raised), raised
        stands = host.workflow.get(case)
        assert (stands.stage, stands.decision) in {("process", "accepted"), ("reply", "rejected")}


def test_two_finish_at_once(world: World) -> None:
    """Continue from process to reply, pressed twice."""
    host = office(world)
    case = brought(host, Stage.PROCESS)
    raised = at_once(*(partial(host.workflow.finish, case, by=by, all_done=True) for by in (AMY, BOB)))
    assert one_won(raised), raised
    assert [entry["event"] for entry in host.history(case)].count("stage.reply") == 1


def test_two_cases_merged_into_each_other_at_once(world: World) -> None:
    """One of them goes on: a person whose every case is a duplicate of another one would never be answered."""
    host = office(world)
    for turn in range(5):
        one, two = (host.submit(deletion(f"person{turn}@example.com")) for _ in range(2))
        raised = at_once(lambda: host.workflow.merge(one, two, by=AMY), lambda: host.workflow.merge(two, one, by=BOB))  # noqa: B023
        assert sum(error is None for error in raised) == 1, raised
        assert sorted(str(host.workflow.get(case).stage) for case in (one, two)) == ["reply", "review"]


def test_a_page_that_is_out_of_date(world: World) -> None:
    """Whoever has not seen what was decided meanwhile is told, whatever they press."""
    host = office(world)
    case = host.submit(deletion(channel="privacy_center"))
    seen = host.workflow.get(case).revision
    host.workflow.verify(case, Method.EMAIL, by=BOB, revision=seen)
    acts: list[Callable[[], None]] = [
        lambda: host.workflow.accept(case, by=AMY, revision=seen),
        lambda: host.workflow.reject(case, Reason.OTHER, by=AMY, revision=seen),
        lambda: host.workflow.withdraw(case, by=AMY, revision=seen),
        lambda: host.workflow.choose(case, ["crm"], by=AMY, revision=seen),
        lambda: host.workflow.verify(case, Method.DOCUMENT, by=AMY, revision=seen),
    ]
    for act in acts:
        with pytest.raises(ConflictError, match="someone else has decided"):
            act()
    host.workflow.accept(case, by=AMY, revision=seen + 1)


# --- identity ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["deletion", "copy", "right_to_edit"])
def test_where_identity_must_be_proven(world: World, type_: str) -> None:
    """Refused without a proof, and possible with one; nothing was chosen by the attempt."""
    host = office(world)
    case = host.submit(deletion(type=type_, channel="privacy_center"))
    before = stored(host, case)
    with pytest.raises(RequestError, match="not verified, and for this right it must be"):
        host.workflow.accept(case, by=AMY)
    assert stored(host, case) == before
    host.workflow.verify(case, Method.DOCUMENT, by=AMY, note="passport seen")
    stands = host.workflow.get(case)
    assert (stands.verified_by, stands.verified_at is not None) == ("document", True)
    host.workflow.accept(case, by=AMY)
    (event,) = [entry for entry in host.history(case) if entry["event"] == "identity.verified"]
    assert (event["actor"], event["data"]) == (AMY, {"method": "document", "note": "passport seen"})


@pytest.mark.parametrize("regime", ["eu_gdpr", "us_va", None])
@pytest.mark.parametrize("type_", ["do_not_sell", "do_not_mail"])
def test_where_proof_is_optional(sqlite_world: World, regime: str | None, type_: str) -> None:
    """An opt-out outside California: continues without, and takes a proof when one is there."""
    host = office(sqlite_world)
    without, with_ = (host.submit(deletion(email, type=type_, regime=regime, channel="privacy_center")) for email in ("a@b.co", "c@d.co"))
    host.workflow.accept(without, by=AMY)
    host.workflow.verify(with_, Method.QUESTIONS, by=AMY)
    assert host.workflow.get(with_).verified_by == "questions"


@pytest.mark.parametrize("regime", ["us_ca_ccpa", "us_ca_delete_act_drop"])
@pytest.mark.parametrize("type_", ["do_not_sell", "do_not_mail"])
def test_where_proof_is_forbidden(world: World, regime: str, type_: str) -> None:
    """Opting out in California (11 CCR 7026(d), 7060(b)): nobody may ask, reject for want of it, or record it; continuing needs none."""
    host = office(world)
    case = host.submit(deletion(type=type_, regime=regime, channel="mine_app"))
    assert host.workflow.get(case).verified_by is None
    for method in Method:
        with pytest.raises(RequestError, match="the law forbids to ask"):
            host.workflow.verify(case, method, by=AMY)
    with pytest.raises(RequestError, match="the law forbids"):
        host.workflow.reject(case, Reason.NOT_VERIFIED, by=AMY)
    host.workflow.accept(case, by=AMY)
    assert not [entry for entry in host.history(case) if entry["event"] == "identity.verified"]


@pytest.mark.parametrize(
    ("channel", "method"),
    [("mine_app", "oauth"), ("api", "controller"), ("provider", "controller"), ("privacy_center", None), ("agent", None), ("email", None)],
)
def test_what_a_channel_proves(sqlite_world: World, channel: str, method: str | None) -> None:
    """The consumer app signs in at the mailbox; a controller's system knows its users; a form proves nothing."""
    host = office(sqlite_world)
    case = host.submit(deletion(channel=channel))
    assert host.workflow.get(case).verified_by == method


# --- data sources --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", list(RequestType))
def test_which_types_choose_data_sources(world: World, type_: RequestType) -> None:
    """*Do not mail* and *right to edit* choose none, even when asked to: people handle them. The others take all, or what was chosen."""
    host = office(world)
    world_wide = host.submit(deletion(type=type_.value))
    host.workflow.accept(world_wide, by=AMY)
    assert stored(host, world_wide)[1] == (["crm"] if type_.automatic else [])
    asked = host.submit(deletion("bob@example.com", type=type_.value))
    host.workflow.choose(asked, ["crm"], by=AMY)
    host.workflow.accept(asked, by=AMY)
    assert stored(host, asked)[1] == (["crm"] if type_.automatic else [])


def test_choosing(world: World) -> None:
    """In review anew each time; while processing only more; never what is not there; not in reply."""
    world.add("shop", Toy)
    world.add("desk", Toy)
    host = office(world)
    case = host.submit(deletion())
    host.workflow.choose(case, ["shop", "desk"], by=AMY)
    host.workflow.choose(case, ["crm", "crm"], by=AMY)
    assert stored(host, case)[1] == ["crm"]
    with pytest.raises(RequestError, match="not used in request handling"):
        host.workflow.choose(case, ["fax"], by=AMY)
    host.workflow.accept(case, by=AMY)
    assert stored(host, case)[1] == ["crm"]
    host.workflow.choose(case, ["shop"], by=BOB)
    assert stored(host, case)[1] == ["crm", "shop"]
    chosen = [entry["data"]["sources"] for entry in host.history(case) if entry["event"] == "sources.chosen"]
    assert chosen == [["shop", "desk"], ["crm"], ["shop"]]
    rejected = host.submit(deletion("bob@example.com"))
    host.workflow.reject(rejected, Reason.OTHER, by=AMY)
    with pytest.raises(ConflictError):
        host.workflow.choose(rejected, ["crm"], by=AMY)


def test_accepting_with_sources_named(world: World) -> None:
    """What is named on accepting replaces what was chosen before; naming none takes none."""
    world.add("shop", Toy)
    host = office(world)
    case, none = host.submit(deletion()), host.submit(deletion("bob@example.com"))
    host.workflow.choose(case, ["shop"], by=AMY)
    host.workflow.accept(case, by=AMY, sources=["crm"])
    host.workflow.accept(none, by=AMY, sources=[])
    assert (stored(host, case)[1], stored(host, none)[1]) == (["crm"], [])


# --- withdrawal ----------------------------------------------------------------------------------------------------------------------


def test_withdrawing_before_anything_was_given_free(world: World) -> None:
    """In review, and while processing until something was given free: nothing was done, and the case goes to its reply."""
    host = office(world)
    in_review, in_process = (host.submit(deletion(email)) for email in ("a@example.com", "b@example.com"))
    host.workflow.accept(in_process, by=AMY)
    host.processing.search(in_process)
    for case in (in_review, in_process):
        host.workflow.withdraw(case, by=AMY)
        stands = host.workflow.get(case)
        assert (stands.stage, stands.decision) == ("reply", "withdrawn")


def test_withdrawing_after_something_was_given_free(world: World) -> None:
    """Refused: what is deleted stays deleted, and the reply must say so."""
    host = office(world)
    case = host.submit(deletion())
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    assert host.processing.give_free(case, ["crm"], by=AMY) == 1
    with pytest.raises(ConflictError, match="given free already"):
        host.workflow.withdraw(case, by=AMY)
    assert host.workflow.get(case).stage == "process"


def test_withdrawing_after_an_approval_beside_the_panel(world: World) -> None:
    """`dsr approve` gives free as well, though no box was ticked."""
    host = office(world)
    case = host.submit(deletion())
    host.workflow.accept(case, by=AMY)
    host.approve(host.plan(case), by=BOB)
    with pytest.raises(ConflictError, match="given free already"):
        host.workflow.withdraw(case, by=AMY)


# --- duplicates ----------------------------------------------------------------------------------------------------------------------


def test_duplicates_are_noticed(world: World) -> None:
    """Same person, same type, still to be answered: the oldest is named. Another type, person or scope is no duplicate."""
    host = office(world)
    first = host.submit(deletion("Ada@Example.com"))
    second = host.submit(deletion("ada@example.com", channel="privacy_center"))
    third = host.submit(
        deletion(subject={"identities": [{"kind": "email", "value": "ada@example.com"}, {"kind": "phone", "value": "+4915112345678"}]})
    )
    assert [host.workflow.get(case).duplicate_of for case in (first, second, third)] == [None, first, first]
    assert [entry["data"] for entry in host.history(second) if entry["event"] == "request.duplicate"] == [{"of": first}]
    assert host.workflow.alike(third) == [first, second]
    others = [deletion(type="copy"), deletion("bob@example.com"), deletion(scope="app_data")]
    assert [host.workflow.get(case).duplicate_of for case in host.submit_many(others)] == [None, None, None]


def test_duplicates_in_one_batch(world: World) -> None:
    """An import with the same person twice."""
    host = office(world)
    first, second = host.submit_many([deletion(), deletion()])
    assert [host.workflow.get(case).duplicate_of for case in (first, second)] == [None, first]


def test_what_is_decided_is_no_duplicate(world: World) -> None:
    """A rejected case that waits for its letter, and a closed one: whoever asks again asks anew."""
    host = office(world)
    rejected = host.submit(deletion())
    host.workflow.reject(rejected, Reason.NOT_VERIFIED, by=AMY)
    again = host.submit(deletion())
    assert host.workflow.get(again).duplicate_of is None
    close(host, rejected)
    assert host.workflow.alike(again) == []


def test_merging(world: World) -> None:
    """The duplicate goes to its reply, the other goes on, and both histories tell."""
    host = office(world)
    first, second = host.submit(deletion()), host.submit(deletion())
    host.workflow.merge(second, first, by=AMY)
    stands = host.workflow.get(second)
    assert (stands.stage, stands.decision, stands.duplicate_of) == ("reply", "duplicate", first)
    assert host.workflow.get(first).stage == "review"
    last = host.history(first)[-1]
    assert (last["event"], last["actor"], last["data"]) == ("request.merged", AMY, {"duplicate": second})


def test_merging_with_what_is_no_duplicate(world: World) -> None:
    """Itself, another person's, another type, one that is rejected, one that waits for its reply, one that is not there."""
    host = office(world)
    case = host.submit(deletion(type="do_not_mail"))
    rejected = host.submit(deletion(type="do_not_mail"))
    host.workflow.reject(rejected, Reason.OTHER, by=AMY)
    finished = host.submit(deletion(type="do_not_mail"))
    host.workflow.accept(finished, by=AMY)
    host.workflow.finish(finished, by=AMY, all_done=True)
    others = [case, host.submit(deletion("bob@example.com")), host.submit(deletion(type="copy")), rejected, "DSR-0000-0000-0000-0000"]
    for into in others:
        with pytest.raises(RequestError, match="no open case of the same person and type"):
            host.workflow.merge(case, into, by=AMY)
    with pytest.raises(RequestError, match="only waiting for its reply"):
        host.workflow.merge(case, finished, by=AMY)
    assert host.workflow.get(case).stage == "review"


# --- finishing -----------------------------------------------------------------------------------------------------------------------


def test_finishing_a_deletion(world: World) -> None:
    """Bars are told in sentences; with everything done and the box ticked it goes to reply, with both in the history."""
    host = office(world)
    case = host.submit(deletion())
    host.workflow.accept(case, by=AMY)
    with pytest.raises(RequestError) as refused:
        host.workflow.finish(case, by=AMY, all_done=True)
    assert not isinstance(refused.value, ConflictError)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    with pytest.raises(RequestError, match="is not ticked"):
        host.workflow.finish(case, by=AMY)
    host.workflow.finish(case, by=BOB, all_done=True)
    stands = host.workflow.get(case)
    assert (stands.stage, stands.status, stands.closed_at is not None) == ("reply", "done", True)
    told = [(entry["event"], entry["actor"]) for entry in host.history(case)][-2:]
    assert told == [("processing.confirmed", BOB), ("stage.reply", BOB)]


@pytest.mark.parametrize("type_", ["do_not_mail", "right_to_edit"])
def test_what_people_handle(world: World, type_: str) -> None:
    """No data source, no call to a connector; an internal confirmation before it goes on."""
    host = office(world)
    case = host.submit(deletion(type=type_))
    host.workflow.accept(case, by=AMY)
    with pytest.raises(RequestError, match="not ticked"):
        host.workflow.finish(case, by=AMY)
    host.workflow.finish(case, by=AMY, all_done=True)
    assert [entry["data"] for entry in host.history(case) if entry["event"] == "processing.confirmed"] == [{"text": "handled internally"}]
    assert not world.vendors["crm"].calls


def test_observers_hear_of_a_finished_case_once(sqlite_world: World) -> None:
    """`dsr_request_closed` when a person says that processing is over, and not before."""
    heard: list[tuple[str, RequestType]] = []

    class Observer:
        @hookimpl
        def dsr_request_closed(self, case: str, type: RequestType) -> None:
            heard.append((case, type))

    sqlite_world.tables = "[workflow]"
    sqlite_world.add("crm", Toy, None, "ada@example.com")
    host = sqlite_world.open(plugins=[Observer()])
    case = host.submit(deletion())
    host.workflow.accept(case, by=AMY)
    host.processing.search(case)
    host.processing.give_free(case, ["crm"], by=AMY)
    host.processing.run(case)
    assert heard == []
    host.workflow.finish(case, by=AMY, all_done=True)
    assert heard == [(case, RequestType.DELETION)]


def test_closing_ends_the_case_at_its_data_sources_too(world: World) -> None:
    """The requests page reads the closed cases of a data source in the order of their end."""
    host = office(world)
    case = host.submit(deletion())
    host.workflow.accept(case, by=AMY)
    with writing(host.ledger.engine) as connection:
        connection.execute(update(cases).where(cases.c.case == case).values(stage="reply"))
    close(host, case)
    with reading(host.ledger.engine) as connection:
        (ended,) = connection.execute(select(case_sources.c.ended_at).where(case_sources.c.case == case)).scalars()
    assert ended == host.workflow.get(case).ended_at


# --- people, and the engine underneath -----------------------------------------------------------------------------------------------


def test_assigning_is_nobodys_decision(world: World) -> None:
    """It does not make another agent's page out of date; a closed case is assigned to nobody any more."""
    host = office(world)
    staff(host, AMY, BOB)
    case = host.submit(deletion())
    seen = host.workflow.get(case).revision
    host.workflow.assign(case, BOB, by=AMY)
    assert host.workflow.get(case).agent == BOB
    host.workflow.assign(case, None, by=BOB)
    host.workflow.reject(case, Reason.OTHER, by=AMY, revision=seen)
    close(host, case)
    with pytest.raises(ConflictError):
        host.workflow.assign(case, AMY, by=AMY)
    assert [(entry["actor"], entry["data"]) for entry in host.history(case) if entry["event"] == "case.assigned"] == [
        (AMY, {"agent": BOB}),
        (BOB, {"agent": None}),
    ]


def test_a_case_is_given_to_somebody_who_can_work_it(world: World) -> None:
    """An unknown account, one that is not active, and a role that works no requests: each is said in one line that names the field."""
    host = office(world)
    staff(host, AMY, BOB)
    host.accounts.create("eve@example.com", "Eve", "read_only", by=AMY)
    host.accounts.set_active(BOB, False, by=AMY)
    case = host.submit(deletion())
    for agent, why in (
        ("carol@example.com", "is no account"),
        (BOB, "is not active"),
        ("eve@example.com", "works no requests"),
        ("", "is no account"),
    ):
        with pytest.raises(RequestError, match=why) as raised:
            host.workflow.assign(case, agent, by=AMY)
        assert (raised.value.field, "\n" in str(raised.value), agent in str(raised.value)) == ("agent", False, agent == "")
        with pytest.raises(RequestError, match=why):
            host.inbox.bulk("assign", [(case, None)], by=AMY, agent=agent)
    assert host.workflow.get(case).agent is None
    host.workflow.assign(case, " Amy@Example.com", by=AMY)
    assert host.workflow.get(case).agent == AMY


@pytest.mark.parametrize("stage", list(Stage))
def test_an_identity_is_added_while_something_can_be_searched_with_it(world: World, stage: Stage) -> None:
    """Past processing it would stand in the request as if it had been looked for."""
    host = office(world)
    case = brought(host, stage)
    before = stored(host, case)
    if stage in (Stage.REVIEW, Stage.PROCESS):
        host.add_identity(case, ControllerId(value="u-7"), by=AMY)
        assert host.request(case).subject.user_id == "u-7"
        return
    with pytest.raises(ConflictError, match=f"the case is in {stage}"):
        host.add_identity(case, ControllerId(value="u-7"), by=AMY)
    assert stored(host, case) == before


@pytest.mark.parametrize("stage", [Stage.REVIEW, Stage.REPLY, Stage.CLOSED])
def test_approving_needs_a_case_in_process(world: World, stage: Stage) -> None:
    """Whoever approves a plan beside the panel is held to the same stages."""
    host = office(world)
    case = host.submit(deletion())
    plan = host.plan(case)
    if stage is not Stage.REVIEW:
        host.workflow.reject(case, Reason.OTHER, by=AMY)
    if stage is Stage.CLOSED:
        close(host, case)
    with pytest.raises(ApprovalError, match=f"the case is in {stage}"):
        host.approve(plan, by=AMY)
    host.run_all()
    vendor = world.vendors["crm"]
    assert vendor.contacts  # type: ignore[attr-defined]


def test_a_host_without_a_workflow(world: World) -> None:
    """No stages: submit, plan, approve and run as ever; the workflow's steps say what is missing."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    case = host.submit(deletion(channel="privacy_center"))
    host.submit(deletion(channel="privacy_center"))
    host.approve(host.plan(case))
    assert host.run(case).status == "done"
    stands = host.workflow.get(case)
    assert (stands.stage, stands.due_at, stands.verified_by, stands.status) == (None, None, None, "done")
    with pytest.raises(LedgerError, match="not in the workflow"):
        host.workflow.accept(case, by=AMY)
    with pytest.raises(ConfigError, match="no workflow"):
        host.inbox.counts()
    assert host.inbox.search(case) == []


def test_switching_the_workflow_on_later(world: World) -> None:
    """Cases taken in before keep to the old way; new ones have stages."""
    world.add("crm", Toy, None, "ada@example.com")
    host = world.open()
    old = host.submit(deletion())
    host.close()
    world.tables = "[workflow]"
    host = world.open()
    new = host.submit(deletion())
    assert (host.workflow.get(old).stage, host.workflow.get(new).stage) == (None, "review")
    assert host.workflow.get(new).duplicate_of is None
    host.approve(host.plan(old))
    assert host.run(old).status == "done"


def test_the_same_reference_twice_is_one_case(world: World) -> None:
    """Handing in again what was decided already changes nothing."""
    host = office(world)
    case = host.submit(deletion(reference="r-1"))
    host.workflow.accept(case, by=AMY)
    before = stored(host, case)
    assert host.submit(deletion(reference="r-1")) == case
    assert stored(host, case) == before


def test_the_history_names_who_did_what(world: World) -> None:
    """Every event of the workflow has its actor; nothing personal stands in any."""
    host = office(world)
    staff(host, AMY, BOB)
    case = host.submit(deletion(channel="privacy_center"))
    host.workflow.assign(case, BOB, by=AMY)
    host.workflow.verify(case, Method.QUESTIONS, by=BOB)
    host.workflow.accept(case, by=BOB)
    host.workflow.withdraw(case, by=AMY)
    close(host, case)
    told = [(entry["event"], entry["actor"]) for entry in host.history(case)]
    assert told == [
        ("request.received", "host"),
        ("stage.review", "host"),
        ("case.assigned", AMY),
        ("identity.verified", BOB),
        ("sources.chosen", BOB),
        ("stage.process", BOB),
        ("stage.reply", AMY),
        ("stage.closed", AMY),
    ]
    assert "ada@example.com" not in str(host.history(case))
    assert host.audit_verify().ok
