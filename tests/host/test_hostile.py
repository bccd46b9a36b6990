"""People who ask in bad faith: what is proven is what is used, a mailbox opens nothing but its own records, and no text they type breaks a reply."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from dsr_sdk import ControllerId, Email, Match, Request, Subject
from dsr_sdk.engine import Standing
from dsr_sdk.errors import ConflictError, LedgerError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.answers.links import LinkError
from dsr_sdk.host.answers.templates import COPY_LINK
from dsr_sdk.host.cases.filters import Filter
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.process.panel import SourceState
from dsr_sdk.http import Api, StartingAfter
from dsr_sdk.identity import Name, Verification
from dsr_sdk.testing import Person
from tests.smtp import Inbox
from tests.toys import Letters, Toy
from tests.world import World

BY, BOB = "alice@example.com", "bob@example.com"
MALLORY, VICTIM = "mallory@example.org", "victim@example.com"
THEIRS = "user-of-the-victim"


class Billing(Toy):
    """Knows people by the controller's id only, and can do everything about them."""

    slug, title = "billing", "Billing"
    identified_by = (ControllerId,)

    def find(self, api: Api, subject: Subject) -> Iterator[Match]:
        for row in api.pages("/v1/contacts", {"user_id": subject.user_id}, paging=StartingAfter("data")):
            yield Match("contact", row["id"])


def office(world: World, inbox: Inbox | None = None) -> Host:
    world.mail = inbox.toml if inbox is not None else ""
    world.tables = '[workflow]\npublic_url = "https://privacy.example.com"'
    return world.open()


def shop(world: World) -> None:
    """Two data sources: one finds by address, one by the controller's id; both know the victim, and one knows Mallory."""
    world.add("crm", Toy, None, Person(MALLORY), Person(VICTIM))
    world.add("billing", Billing, None, Person(VICTIM, user_id=THEIRS))


def submitted(host: Host, type_: str = "copy", *, channel: str = "privacy_center", **subject: Any) -> str:
    told = subject or {"email": MALLORY, "user_id": THEIRS, "first_name": "Ada"}
    return host.submit(Request.parse({"type": type_, "channel": channel, "subject": told}))


def confirmed(host: Host, inbox: Inbox, case: str) -> None:
    """The person presses the button behind the verification mail."""
    host.conversation.ask_to_verify(case, by=BY)
    host.conversation.confirm_address(inbox.texts[-1].split("https://privacy.example.com/p/verify/")[1].split()[0])


def searched(host: Host, case: str) -> dict[str, Any]:
    host.workflow.accept(case, by=BY)
    host.processing.search(case)
    return {row.source: row for row in host.processing.panel(case).sources}


# --- what is proven is what is used --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["copy", "deletion"])
def test_a_mailbox_does_not_open_what_was_typed_beside_it(world: World, inbox: Inbox, type_: str) -> None:
    """Mallory's own address, and a stranger's id in the form: the address is confirmed, and the stranger's record is neither read nor erased."""
    shop(world)
    host = office(world, inbox)
    case = submitted(host, type_)
    confirmed(host, inbox, case)
    rows = searched(host, case)
    assert rows["crm"].state is SourceState.FOUND
    assert (rows["billing"].state, rows["billing"].found) == (SourceState.MISSING_IDENTIFIER, None)
    assert any("customer id" in warning and "not proven" in warning for warning in rows["billing"].warnings)
    assert not world.vendors["billing"].calls
    host.processing.give_free(case, ["crm"], by=BY)
    host.run(case)
    assert not world.vendors["billing"].effects


def test_a_second_address_is_as_unproven(world: World, inbox: Inbox) -> None:
    """Two addresses in one request: the one that was confirmed is searched with, and the plan says that the other one was not."""
    shop(world)
    host = office(world, inbox)
    identities = [{"kind": "email", "value": MALLORY}, {"kind": "email", "value": VICTIM}]
    case = submitted(host, identities=identities)
    assert {identity.key for identity in host.inbox.review(case).unproven} == {("email", MALLORY), ("email", VICTIM)}
    confirmed(host, inbox, case)
    assert [identity.key for identity in host.inbox.review(case).unproven] == [("email", VICTIM)]
    row = searched(host, case)["crm"]
    assert (row.found, [warning for warning in row.warnings if "e-mail address" in warning] != []) == (1, True)
    plan = host.latest_plan(case)
    assert plan is not None
    assert VICTIM not in repr(plan.to_json())
    assert VICTIM not in plan.body().decode()


def test_before_any_proof_nothing_is_searched(world: World) -> None:
    """Not even a plan beside the panel looks somebody up on the word of a form."""
    shop(world)
    host = office(world)
    plan = host.plan(submitted(host))
    assert {row.standing for row in plan.sources} == {Standing.MISSING_IDENTIFIER}
    assert not any(vendor.calls for vendor in world.vendors.values())


def test_an_agent_who_knows_better_says_so(world: World, inbox: Inbox) -> None:
    """The agent enters the identifier as known to be theirs: it is searched with, with a warning, and the audit log names the agent."""
    shop(world)
    host = office(world, inbox)
    case = submitted(host)
    confirmed(host, inbox, case)
    searched(host, case)
    host.processing.add_identifier(case, ControllerId(value=THEIRS), by=BOB)
    row = next(row for row in host.processing.panel(case).sources if row.source == "billing")
    assert (row.state, row.found) == (SourceState.FOUND, 1)
    assert any("agent's entry (customer id)" in warning for warning in row.warnings)
    review = host.inbox.review(case)
    assert (len(review.unproven), [identity.key for identity in review.entered]) == (0, [("controller_id", "user_id", THEIRS)])
    assert [(event["actor"], event["data"]) for event in host.history(case) if event["event"] == "identity.added"] == [
        (BOB, {"kind": "controller_id"})
    ]
    assert THEIRS not in repr(row) + repr(review) + repr(host.history(case))


def test_what_an_agent_adds_after_the_proof_is_warned_about(world: World, inbox: Inbox) -> None:
    """The proof was of another address: the plan says so wherever the new one was searched with."""
    shop(world)
    host = office(world, inbox)
    case = submitted(host, email=MALLORY)
    confirmed(host, inbox, case)
    host.add_identity(case, Email(value=VICTIM, verified_by=Verification.OAUTH), by=BOB)
    row = searched(host, case)["crm"]
    assert row.found == 2
    assert any("agent's entry (e-mail address)" in warning for warning in row.warnings)


def test_a_proof_of_an_agents_address_proves_no_more(world: World, inbox: Inbox) -> None:
    """Nothing but an id was given, and an agent enters the caller's address: confirming that does not make the id the caller's."""
    shop(world)
    host = office(world, inbox)
    case = submitted(host, user_id=THEIRS)
    host.add_identity(case, Email(value=MALLORY), by=BY)
    confirmed(host, inbox, case)
    marks = {identity.kind: identity.verified_by for identity in host.request(case).subject.identities}
    assert marks == {"controller_id": None, "email": Verification.EMAIL_LINK}
    assert searched(host, case)["billing"].state is SourceState.MISSING_IDENTIFIER


@pytest.mark.parametrize(("method", "kinds"), [(Method.EMAIL, {"email"}), (Method.DOCUMENT, {"email", "controller_id"}), (Method.OAUTH, {"email"})])
def test_what_each_proof_covers(sqlite_world: World, method: Method, kinds: set[str]) -> None:
    """A mailbox its address; an agent's word everything that stands in the request at that moment, and nothing that comes later."""
    host = office(sqlite_world)
    case = submitted(host)
    host.workflow.verify(case, method, by=BY)
    host.add_identity(case, ControllerId(value="later"), by=BY)
    assert {identity.kind for identity in host.request(case).subject.identities if identity.verified_by is not None} == kinds
    assert [identity.value for identity in host.inbox.review(case).entered if isinstance(identity, ControllerId)] == ["later"]


@pytest.mark.parametrize(("channel", "found"), [("api", 1), ("import", 1), ("mine_app", None)])
def test_what_a_channel_vouches_for(world: World, channel: str, found: int | None) -> None:
    """The company's own system knows the id; the consumer app has seen the mailbox and nothing else."""
    shop(world)
    host = office(world)
    assert searched(host, submitted(host, channel=channel))["billing"].found == found


# --- duplicates: what is proven goes along, and nothing else becomes so ----------------------------------------------------------------


def pointers(host: Host, case: str) -> dict[str, Any]:
    """What stands in a request: value -> (source, proof)."""
    rows = host.request(case).subject.identities
    return {identity.value: (identity.source, identity.verified_by) for identity in rows if not isinstance(identity, Name)}


def carried(host: Host, case: str) -> list[Any]:
    return [(event["actor"], event["data"]) for event in host.history(case) if event["event"] == "identity.carried"]


def test_what_the_duplicate_has_proven_goes_along(world: World, inbox: Inbox) -> None:
    """The id that an agent has seen a document for is searched with in the case that goes on; whether that one is verified stays as it was."""
    shop(world)
    host = office(world, inbox)
    first = submitted(host, email=VICTIM)
    second = submitted(host, email=VICTIM, user_id=THEIRS)
    host.workflow.verify(second, Method.DOCUMENT, by=BY)
    seen = host.workflow.get(first).revision
    host.workflow.merge(second, first, by=BOB)
    assert pointers(host, first) == {VICTIM: ("request", Verification.DOCUMENT), THEIRS: ("request", Verification.DOCUMENT)}
    told = {"of": second, "identities": ["email, proven", "controller_id, proven"]}
    assert (carried(host, first), host.workflow.get(first).verified_by) == ([(BOB, told)], None)
    assert VICTIM not in repr(host.history(first))
    with pytest.raises(ConflictError):
        host.workflow.accept(first, by=BY, revision=seen)
    with pytest.raises(RequestError, match="not verified"):
        host.workflow.accept(first, by=BY)
    confirmed(host, inbox, first)
    assert searched(host, first)["billing"].found == 1
    assert [case.number for case in host.inbox.search(THEIRS)] == [second, first]


@pytest.mark.parametrize("typed", [True, False])
def test_what_was_typed_into_the_duplicate_stays_typed(world: World, inbox: Inbox, typed: bool) -> None:
    """A stranger who names the victim's address and an id asks for the same: merged, that id opens nothing, whether it is taken over or not."""
    shop(world)
    host = office(world, inbox)
    first = submitted(host, email=VICTIM)
    confirmed(host, inbox, first)
    second = submitted(host, email=VICTIM, user_id=THEIRS)
    host.workflow.merge(second, first, by=BY, typed=typed)
    assert pointers(host, first) == {VICTIM: ("request", Verification.EMAIL_LINK)} | ({THEIRS: ("request", None)} if typed else {})
    assert searched(host, first)["billing"].state is SourceState.MISSING_IDENTIFIER
    assert not world.vendors["billing"].calls
    assert len(carried(host, first)) == typed


@pytest.mark.parametrize("typed", [True, False])
def test_a_strangers_own_mailbox_is_not_proven_in_the_case_of_whom_they_named(world: World, inbox: Inbox, typed: bool) -> None:
    """The two are the same person's by what was typed: no proof goes along, neither the stranger's nor an agent's word about the stranger."""
    shop(world)
    host = office(world, inbox)
    first = submitted(host, email=VICTIM)
    confirmed(host, inbox, first)
    second = submitted(host, identities=[{"kind": "email", "value": VICTIM}])
    host.add_identity(second, Email(value=MALLORY), by=BY)
    link = host.conversation
    with link.deciding() as (connection, book):
        case = link.held(connection, second)
        host.workflow.prove(connection, book, case, Method.EMAIL, by="subject", address=MALLORY)
    assert pointers(host, second)[MALLORY] == ("agent", Verification.EMAIL_LINK)
    host.workflow.merge(second, first, by=BY, typed=typed)
    assert pointers(host, first) == {VICTIM: ("request", Verification.EMAIL_LINK)} | ({MALLORY: ("request", None)} if typed else {})
    assert host.inbox.review(first).entered == ()


def test_an_opt_out_takes_everything_along(world: World) -> None:
    """No proof is asked for, so what was typed counts there as it would have counted here."""
    host = office(world)
    first, second = submitted(host, "do_not_sell", email=VICTIM), submitted(host, "do_not_sell", email=VICTIM, user_id=THEIRS)
    host.workflow.merge(second, first, by=BY)
    assert pointers(host, first) == {VICTIM: ("request", None), THEIRS: ("request", None)}


def test_an_agents_word_goes_along_as_that(world: World, inbox: Inbox) -> None:
    """Never as a proof, and never instead of one."""
    host = office(world, inbox)
    first, second = submitted(host, email=VICTIM), submitted(host, email=VICTIM)
    confirmed(host, inbox, second)
    host.add_identity(second, ControllerId(value=THEIRS), by=BY)
    host.workflow.merge(second, first, by=BY)
    assert pointers(host, first) == {VICTIM: ("request", Verification.EMAIL_LINK), THEIRS: ("agent", None)}


def test_opting_out_needs_no_proof(world: World) -> None:
    """Where none may be demanded, everything that was given is searched with."""
    shop(world)
    host = office(world)
    rows = searched(host, submitted(host, "do_not_sell"))
    assert not any("not proven" in warning for row in rows.values() for warning in row.warnings)
    assert world.vendors["billing"].calls


def test_letters_go_out_for_proven_addresses_only(world: World, inbox: Inbox) -> None:
    """No proof of an address, no letter about it."""
    world.add("partner", Letters)
    host = office(world, inbox)
    case = submitted(host, "deletion", user_id=THEIRS)
    host.workflow.verify(case, Method.DOCUMENT, by=BY)
    assert searched(host, case)["partner"].state is SourceState.MISSING_IDENTIFIER


def test_a_copy_goes_to_an_address_that_was_shown_to_be_theirs(world: World, inbox: Inbox) -> None:
    """Proven by a document, with an address that an agent has mistyped: no link is made before somebody who reads mail there has said so."""
    shop(world)
    host = office(world, inbox)
    case = submitted(host)
    host.workflow.verify(case, Method.DOCUMENT, by=BY)
    assert not host.inbox.review(case).reached
    searched(host, case)
    host.processing.give_free(case, ["crm", "billing"], by=BY)
    host.run(case)
    host.delivery.generate(case, by=BY)
    host.workflow.finish(case, by=BY)
    with pytest.raises(RequestError, match="nobody has shown"):
        host.delivery.offer(case, by=BY)
    with pytest.raises(RequestError, match="nobody has shown"):
        host.replies.close(case, by=BY)
    assert inbox.texts == []
    confirmed(host, inbox, case)
    assert host.workflow.get(case).verified_by == "document"
    assert [event["event"] for event in host.history(case)].count("address.confirmed") == 1
    host.replies.close(case, by=BY)
    assert "/p/copy/" in inbox.texts[-1]
    with pytest.raises(ConflictError):
        host.conversation.ask_to_verify(case, by=BY)


@pytest.mark.parametrize("channel", ["agent", "email", "app", "provider"])
def test_what_an_agent_writes_down_is_unproven(world: World, channel: str) -> None:
    """Whoever may take requests in may not thereby verify them, however the request is said to have come."""
    host = office(world)
    case = host.intake.create({"type": "copy", "email": MALLORY, "user_id": THEIRS, "channel": channel}, by=BY)
    assert host.workflow.get(case).verified_by is None
    assert len(host.inbox.review(case).unproven) == 2
    with pytest.raises(RequestError, match="identity is not verified"):
        host.workflow.accept(case, by=BY)


@pytest.mark.parametrize("channel", ["import", "mine_app", "api"])
def test_a_file_proves_nothing_where_its_sender_may_not(world: World, channel: str) -> None:
    """An account that takes requests in and may not verify: neither the channel of a row nor a mark in it counts."""
    host = office(world)
    subject = {"identities": [{"kind": "email", "value": MALLORY, "verified_by": "oauth", "source": "agent"}]}
    row = json.dumps({"type": "copy", "channel": channel, "subject": subject}).encode()
    host.intake.import_file(io.BytesIO(row), format="jsonl", by=BOB, vouched=False)
    (case,) = host.inbox.search(MALLORY)
    assert (case.verified_by, len(host.inbox.review(case.number).unproven)) == (None, 1)
    host.intake.import_file(io.BytesIO(row + b" "), format="jsonl", by=BOB)
    assert len([case for case in host.inbox.search(MALLORY) if case.verified_by is not None]) == 1


# --- one person's case is not another's ------------------------------------------------------------------------------------------------


def test_a_shared_number_makes_nobody_a_duplicate(world: World) -> None:
    """Mallory names the victim's telephone number and asks first: the victim's case is not merged into Mallory's, where it would end."""
    host = office(world)
    first = submitted(host, "deletion", email=MALLORY, phone="+491711234567")
    second = submitted(host, "deletion", email=VICTIM, phone="+491711234567")
    assert host.workflow.alike(second) == [first]
    with pytest.raises(RequestError, match="answered at another e-mail address"):
        host.workflow.merge(second, first, by=BY)
    assert host.workflow.get(second).stage == "review"
    same = submitted(host, "deletion", email=VICTIM.upper())
    host.workflow.merge(same, second, by=BY)


def test_a_confirmation_after_the_decision_changes_nothing(world: World, inbox: Inbox) -> None:
    """The link in the mail is dead once the request is rejected, and says nothing about why."""
    host = office(world, inbox)
    case = submitted(host)
    host.conversation.ask_to_verify(case, by=BY)
    token = inbox.texts[-1].split("/p/verify/")[1].split()[0]
    host.workflow.reject(case, Reason.NOT_VERIFIED, by=BY)
    with pytest.raises(LinkError):
        host.conversation.confirm_address(token)
    assert host.workflow.get(case).verified_by is None


# --- what people type --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [COPY_LINK, "[link to [link to the copy]the copy]", "A\x80B", "A\x9b\x9dB", "A\u2028B\x85C", "A\u202eB"])
@pytest.mark.parametrize("type_", ["copy", "deletion"])
def test_no_name_keeps_a_reply_from_leaving(sqlite_world: World, inbox: Inbox, type_: str, name: str) -> None:
    """Control characters, and the words that stand for the link to a copy: the letters leave, on one line and without a link."""
    host = office(sqlite_world, inbox)
    case = submitted(host, type_, email=MALLORY, first_name=name)
    host.conversation.ask_to_verify(case, by=BY)
    host.workflow.reject(case, Reason.NO_MATCH, by=BY)
    host.replies.close(case, by=BY)
    assert host.workflow.get(case).stage == "closed"
    assert len(inbox.texts) == 2
    assert not any("/p/copy/" in text or COPY_LINK in text for text in inbox.texts)


@pytest.mark.parametrize("text", ["\x00", "DSR-\x00", "x" * 5_000, "\ud800", "\u202e"])
def test_no_address_or_name_is_the_databases_error(world: World, text: str) -> None:
    """What anybody can put into an address of the portal, or an account into a name, is refused in a sentence that does not repeat it."""
    host = office(world)
    acts = (
        lambda: host.workflow.get(text),
        lambda: host.conversation.note(text, "x", by=BY),
        lambda: host.workflow.accept(text, by=BY),
        lambda: host.inbox.save_filter(BY, text, Filter()),
        lambda: host.accounts.make_key(text, "agent", by=BY),
    )
    for act in acts:
        with pytest.raises((LedgerError, RequestError), match=r"no such case|characters") as caught:
            act()
        assert text not in str(caught.value)


# --- clocks ------------------------------------------------------------------------------------------------------------------------------


def test_a_clock_does_not_stand_still_past_the_decision(world: World) -> None:
    """Paused to ask the person, then decided anyway: from there on the answer is owed, and may be late."""
    host = office(world)
    with time_machine.travel(datetime(2026, 3, 2, 12, tzinfo=UTC), tick=False) as clock:
        case = host.submit(Request.parse({"type": "deletion", "regime": "eu_gdpr", "channel": "privacy_center", "subject": {"email": MALLORY}}))
        host.workflow.pause_for_clarification(case, by=BY, because="which account")
        clock.move_to(datetime(2026, 3, 5, 12, tzinfo=UTC))
        host.workflow.reject(case, Reason.NO_MATCH, by=BY)
        current = host.workflow.get(case)
        assert (current.paused_at, current.due_at) == (None, datetime(2026, 4, 6, 12, tzinfo=UTC))
        clock.move_to(datetime(2026, 4, 7, 12, tzinfo=UTC))
        assert host.workflow.explain(host.workflow.get(case)).overdue
        assert host.inbox.counts().overdue == 1
