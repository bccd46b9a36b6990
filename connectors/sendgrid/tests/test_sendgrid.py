"""The SendGrid connector against its sandbox, against Twilio's own API description, and against answers in the shapes that are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from dsr_connector_sendgrid import SUPPRESSIONS, SendGrid
from dsr_connector_sendgrid.sandbox import LISTS, SendGridSandbox

from dsr_sdk import AuthError, ConfigError, Erased, Match, Outcome, Pending, Reason, RejectedError, Retained, Subject, TransientError
from dsr_sdk.http import SourceHttp
from dsr_sdk.testing import Exemption, Person, Sandbox, transport
from dsr_sdk.testing.checked import Checked
from dsr_sdk.testing.openapi import Description
from dsr_sdk.testing.scenario import ScenarioHttp
from dsr_sdk.testing.suite import ConnectorSuite
from tests.reference import beside, shared

ADA = Person("ada@example.com", "Ada", "Lovelace", "+14155550123", "user-1", {"sendgrid": {"suppressions": LISTS}})
BOB = Person("bob@example.com", "Bob", "Bobson", user_id="user-2")
NOBODY = httpx.Response(404, json={"errors": [{"field": None, "message": "no contacts found"}]})


def connected(where: SendGridSandbox | httpx.BaseTransport, **settings: Any) -> tuple[SendGrid, SourceHttp]:
    """A configured connector and its way to the sandbox, or to any transport. Nothing waits."""
    connector = SendGrid(SendGrid.Config(**{**SendGridSandbox.credentials, **settings}))
    return connector, ScenarioHttp(connector, transport=transport(where) if isinstance(where, SendGridSandbox) else where)


def sandbox_with(*people: Person) -> SendGridSandbox:
    """A sandbox with people in it, and without rate limits."""
    sandbox = SendGridSandbox()
    sandbox.limits = []
    sandbox.seed(people)
    return sandbox


def wishing(person: Person = BOB, **wishes: Any) -> Person:
    """A person of whom the sandbox shall hold something particular."""
    return Person(person.email, person.first_name, person.last_name, person.phone, person.user_id, {"sendgrid": wishes})


def found(connector: SendGrid, http: SourceHttp, *addresses: str) -> list[list[Match]]:
    """What is found for each address, asked for together."""
    return [list(matches) for matches in connector.dsr_find(http.api(), [Subject.of(address) for address in addresses])]


def watched(sandbox: SendGridSandbox, look: Callable[[httpx.Request, httpx.Response], Any]) -> httpx.MockTransport:
    """The sandbox's transport with somebody watching."""
    wire = transport(sandbox)

    def handle(request: httpx.Request) -> httpx.Response:
        response = wire.handle_request(request)
        look(request, response)
        return response

    return httpx.MockTransport(handle)


def answering(answers: Mapping[str, Any]) -> httpx.MockTransport:
    """A transport that answers by path; anything else with an empty list, or an empty object where SendGrid gives one."""

    def handle(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        answer = answers.get(path, {} if path.startswith("/v3/asm/") else [])
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    return httpx.MockTransport(handle)


def settled(connector: SendGrid, http: SourceHttp, outcomes: Sequence[Any], sandbox: SendGridSandbox, rounds: int = 5) -> list[Outcome]:
    """Ask about every job until it ends, letting so much time pass as was asked for."""
    for _ in range(rounds):
        waits = [outcome.check_after.total_seconds() for outcome in outcomes if isinstance(outcome, Pending)]
        sandbox.advance(max(waits, default=0.0))
        outcomes = [connector.dsr_poll(http.api(), outcome.job) if isinstance(outcome, Pending) else outcome for outcome in outcomes]
    return list(outcomes)


SEARCH = "/v3/marketing/contacts/search/emails"


class TestStandard(ConnectorSuite):
    """The standard tests; the person is on every suppression list."""

    connector = SendGrid
    sandbox = SendGridSandbox
    cassettes = Path(__file__).parent / "cassettes"
    person = ADA
    description = beside("specs", "sendgrid.yaml")
    exemptions = (
        Exemption(operation="GET /v3/scopes", reason="in Twilio's reference (.../api-key-permissions), not in our trimmed copy of its description"),
        Exemption(
            operation="GET /v3/asm/suppressions/*", problem="is for a path that is not described", reason="likewise (.../suppressions-suppressions)"
        ),
        Exemption(operation="DELETE /v3/marketing/contacts", where="* /job_id", reason="described as an object, is a string"),
        Exemption(
            operation="GET /v3/asm/suppressions/global/{email}",
            problem="lacks the required property recipient_email",
            reason='the description\'s own text: "an empty JSON object {} will be returned"',
        ),
    )

    # Its poll is a search, and "this endpoint returns a 404 status code when no contacts are found": 404 is how SendGrid says that they are gone.
    expected_faults = {("poll", "status 404"): None}  # noqa: RUF012 - as in the suite's page

    def fail_jobs(self, sandbox: Sandbox) -> bool:
        """The jobs are dropped. SendGrid's have no state that could say so: the contact just stays."""
        assert isinstance(sandbox, SendGridSandbox)
        sandbox._jobs.clear()
        return False


# --- finding -----------------------------------------------------------------------------------------------------------------------


def test_a_hundred_people_are_searched_for_in_one_call() -> None:
    """Contacts are searched for together, each person gets their own answer, and people who are not there get none."""
    sandbox = sandbox_with(ADA, BOB)
    connector, http = connected(sandbox)
    addresses = [ADA.email, "nobody@example.com", BOB.email, *(f"stranger{i}@example.com" for i in range(97))]
    matches = found(connector, http, *addresses)
    assert [[match.resource for match in one] for one in matches[:3]] == [["contact", *LISTS], [], ["contact"]]
    assert not any(matches[3:])
    assert sandbox.calls["POST search"] == 1
    assert SendGrid.find_batch_size == len(addresses)


def test_nobody_at_all_is_a_404() -> None:
    """SendGrid answers 404 when none of the addresses is known: an answer, and no error."""
    connector, http = connected(sandbox_with(BOB))
    assert found(connector, http, "x@example.com", "y@example.com") == [[], []]


def test_what_find_reveals() -> None:
    """A contact reveals SendGrid's id and, when there is one, the controller's own."""
    connector, http = connected(sandbox_with(BOB, Person("eve@example.com", "Eve")))
    (bob,), (eve,) = found(connector, http, BOB.email, "eve@example.com")
    assert {(identity.kind, identity.key[-1]) for identity in bob.identities} == {("vendor_id", bob.id), ("controller_id", "user-2")}
    assert [identity.kind for identity in eve.identities] == ["vendor_id"]


def test_an_alternate_address_finds_the_contact() -> None:
    """A contact may carry several addresses; each of them is this person's."""
    connector, http = connected(sandbox_with(wishing(alternate_emails=["bobby@example.org"])))
    ((match,),) = found(connector, http, "bobby@example.org")
    assert match.data == {"email": "bobby@example.org"}


def test_the_case_of_an_answer_does_not_matter() -> None:
    """ "Email addresses in the search request do not need to match the case", and the answer may name the address as it was asked for."""
    result = {"Ada@Example.com": {"contact": {"id": "c1", "email": "ADA@example.com", "alternate_emails": None}}}
    connector, http = connected(answering({SEARCH: {"result": result}}))
    ((match,),) = found(connector, http, "ada@example.com")
    assert match.id == "c1"


@pytest.mark.parametrize("entry", [{"error": "contact not found"}, {"contact": None}, {}, None])
def test_the_ways_to_say_not_found(entry: Any) -> None:
    """In a mixed answer the address that is not known carries an error, or nothing."""
    connector, http = connected(answering({SEARCH: {"result": {"ada@example.com": entry}}}))
    assert found(connector, http, "ada@example.com") == [[]]


def test_another_contact_is_never_taken() -> None:
    """A contact that does not carry the address that was asked for is not this person's, whatever it is filed under."""
    result = {"ada@example.com": {"contact": {"id": "c1", "email": "nada@example.com", "alternate_emails": ["ada@example.com.au"]}}}
    connector, http = connected(answering({SEARCH: {"result": result}}))
    assert found(connector, http, "ada@example.com") == [[]]


def test_null_fields_harm_nothing() -> None:
    """Null where text belongs, and lists that are missing, are read without harm."""
    contact = {"id": "c1", "email": None, "alternate_emails": None, "external_id": None, "custom_fields": None}
    answers = {SEARCH: {"result": {"ada@example.com": {"contact": contact}}}, "/v3/asm/suppressions/ada@example.com": {"suppressions": None}}
    connector, http = connected(answering(answers))
    ((match,),) = found(connector, http, "ada@example.com")
    assert [record.data["id"] for record in connector.dsr_export(http.api(), match)] == ["c1"]


@pytest.mark.parametrize("address", ["o'brien@example.com", "ada+news@example.com", "a/b%2f@example.com", "%@example.com", "ada?x=1#y@example.com"])
def test_odd_addresses_stay_whole(address: str) -> None:
    """Addresses stand in JSON and, quoted, in paths: they end neither early, nor on another path."""
    sandbox = sandbox_with(ADA, wishing(Person(address, "Odd"), suppressions=LISTS))
    connector, http = connected(sandbox)
    (matches,) = found(connector, http, address)
    assert [match.resource for match in matches] == ["contact", *LISTS]
    records = [record for match in matches for record in connector.dsr_export(http.api(), match)]
    assert {record.data["email"] for record in records} == {address}


@pytest.mark.parametrize("answer", [httpx.Response(404, text="<html>no</html>"), httpx.Response(404, text="Not Found"), httpx.Response(404, json=[])])
def test_a_404_in_other_words_is_no_answer(answer: httpx.Response) -> None:
    """Only SendGrid's own error body says "nobody": a proxy's 404 must not erase anybody on paper."""
    connector, http = connected(httpx.MockTransport(lambda request: answer))
    with pytest.raises(ConfigError):
        found(connector, http, ADA.email)
    with pytest.raises(ConfigError):
        connector.dsr_poll(http.api(), ADA.email)


def test_a_wrong_base_url_that_speaks_json_is_noticed() -> None:
    """With ``/v3`` written twice every path answers 404 in SendGrid's own words; the global list never does otherwise."""
    connector, http = connected(httpx.MockTransport(lambda request: NOBODY))
    with pytest.raises(ConfigError):
        found(connector, http, ADA.email)


def test_one_invalid_address_refuses_the_search() -> None:
    """One address that SendGrid calls invalid fails the whole call with 400; the host then asks in halves. Nobody is called absent."""
    sandbox = sandbox_with(BOB)
    sandbox.invalid = {"odd@example.com"}
    connector, http = connected(sandbox)
    with pytest.raises(RejectedError) as caught:
        found(connector, http, BOB.email, "odd@example.com")
    assert "odd" not in str(caught.value)
    assert [match.resource for (match,) in found(connector, http, BOB.email)] == ["contact"]


# --- suppressions ------------------------------------------------------------------------------------------------------------------


def test_suppressions_are_declared_retained() -> None:
    """Every list is found, reported to the person as kept, and never asked to be erased."""
    assert [holds.resource for holds in SendGrid.holds if holds.on_erase is Retained] == list(SUPPRESSIONS)
    assert {SendGrid.held(name).retained.reason for name in SUPPRESSIONS} == {Reason.PROOF_OF_OPT_OUT}


def test_suppressions_without_a_contact_are_found() -> None:
    """Somebody may be on a list without being a contact: nothing is to be erased, and the copy still says it."""
    connector, http = connected(sandbox_with(wishing(contact=False, suppressions=["bounce", "global_unsubscribe"])))
    (matches,) = found(connector, http, BOB.email)
    assert [match.resource for match in matches] == ["global_unsubscribe", "bounce"]
    records = [record for match in matches for record in connector.dsr_export(http.api(), match)]
    assert all(record.data["created"] > 0 for record in records), "since when, of each"
    assert records[1].data["status"] == "5.1.1"


def test_a_group_that_is_not_suppressed_is_no_match() -> None:
    """The answer for an address lists every group of the account, with a flag."""
    connector, http = connected(sandbox_with(wishing(suppressions=["group_unsubscribe"])))
    ((_, group),) = found(connector, http, BOB.email)
    assert group.count == 1
    assert [record.data["name"] for record in connector.dsr_export(http.api(), group)] == ["Weekly News"]


def test_the_date_of_an_unsubscribe_is_the_persons_own() -> None:
    """The list with dates is searched by the beginning of an address: the entry of a longer address is not this person's."""
    sandbox = sandbox_with(wishing(suppressions=["global_unsubscribe"]))
    sandbox.add_person(wishing(Person("bob@example.com.au", "Other"), suppressions=["global_unsubscribe"]))
    connector, http = connected(sandbox)
    ((_, match),) = found(connector, http, BOB.email)
    (record,) = connector.dsr_export(http.api(), match)
    assert record.data["email"] == BOB.email


def test_suppressions_survive_an_erasure() -> None:
    """What is kept is still there afterwards, and so found again."""
    sandbox = sandbox_with(ADA)
    connector, http = connected(sandbox)
    (matches,) = found(connector, http, ADA.email)
    outcomes = connector.dsr_delete(http.api(), matches[:1])
    assert settled(connector, http, outcomes, sandbox) == [Erased()]
    assert [[match.resource for match in one] for one in found(connector, http, ADA.email)] == [list(LISTS)]


# --- erasing -----------------------------------------------------------------------------------------------------------------------


def test_contact_and_email_data_go_for_many_people_at_once() -> None:
    """Two people, one erasure job and one deletion; each has a job of his or her own, which names nobody else."""
    sandbox = sandbox_with(ADA, BOB)
    connector, http = connected(sandbox)
    matches = [one[0] for one in found(connector, http, ADA.email, BOB.email)]
    outcomes = connector.dsr_delete(http.api(), matches)
    assert [getattr(outcome, "job", None) for outcome in outcomes] == [ADA.email, BOB.email]
    assert (sandbox.calls["POST erase"], sandbox.calls["DELETE delete_contacts"]) == (1, 1)
    assert settled(connector, http, outcomes, sandbox) == [Erased(), Erased()]
    assert sorted(sandbox.effects.values()) == [1, 1, 1, 1]
    assert not any(sandbox.holds(person.email) for person in (ADA, BOB))


def test_pending_until_the_contact_is_gone() -> None:
    """There is no status to ask for: the contact itself is searched, and `Erased` is said only when it is not found."""
    sandbox = sandbox_with(BOB)
    sandbox.stuck = True
    connector, http = connected(sandbox)
    outcomes = connector.dsr_delete(http.api(), found(connector, http, BOB.email)[0])
    assert [type(outcome) for outcome in settled(connector, http, outcomes, sandbox, rounds=20)] == [Pending]
    sandbox.stuck = False
    assert settled(connector, http, outcomes, sandbox, rounds=1) == [Erased()]


def test_some_are_gone_and_one_is_not() -> None:
    """Of two people erased together, the one whose contact is still there stays pending, alone."""
    sandbox = sandbox_with(ADA, BOB)
    connector, http = connected(sandbox)
    outcomes = connector.dsr_delete(http.api(), [one[0] for one in found(connector, http, ADA.email, BOB.email)])
    sandbox.advance(600)
    sandbox.holds(BOB.email)  # the deletion has run; now Bob signs up again
    sandbox.add_person(BOB)
    assert [type(connector.dsr_poll(http.api(), outcome.job)) for outcome in outcomes if isinstance(outcome, Pending)] == [Erased, Pending]


def test_gone_between_find_and_erase() -> None:
    """SendGrid accepts the deletion of what is not there: the search says that it is gone."""
    sandbox = sandbox_with(BOB)
    connector, http = connected(sandbox)
    (match,) = found(connector, http, BOB.email)[0]
    for _ in range(2):
        assert settled(connector, http, connector.dsr_delete(http.api(), [match]), sandbox) == [Erased()]
    assert set(sandbox.effects.values()) == {1}


def test_jobs_keep_to_the_vendors_sizes() -> None:
    """At most 5,000 addresses and 256 KB a job, and at most a hundred ids a deletion; nobody is left out or named twice."""
    sent: list[httpx.Request] = []

    def accept(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(202, json={"job_id": "j"})

    connector, http = connected(httpx.MockTransport(accept))
    for length, jobs in ((6, 1), (60, 2), (200, 5)):
        sent.clear()
        matches = [Match("contact", f"c{i}", data={"email": f"{i:0{length}}@example.com"}) for i in range(SendGrid.batch_size)]
        assert len(connector.dsr_delete(http.api(), matches)) == len(matches)
        bodies = [request.content for request in sent if request.method == "POST"]
        assert len(bodies) == jobs
        assert max(map(len, bodies)) <= 256_000
        named = [address for body in bodies for address in json.loads(body)["email_addresses"]]
        assert named == [match.data["email"] for match in matches]
        deleted = [request.url.params["ids"].split(",") for request in sent if request.method == "DELETE"]
        assert [len(ids) for ids in deleted] == [100] * 50
        assert max(len(str(request.url)) for request in sent) < 8_000


def test_one_invalid_address_refuses_the_job_and_halves_find_it() -> None:
    """A job with an invalid address is refused as a whole, before anything is deleted; asked in halves, the others are erased."""
    sandbox = sandbox_with(ADA, BOB)
    sandbox.invalid = {BOB.email}
    connector, http = connected(sandbox)
    ada = Match("contact", next(iter(sandbox.accounts[""].contacts)), data={"email": ADA.email})
    bob = Match("contact", "c2", data={"email": BOB.email})
    with pytest.raises(RejectedError) as caught:
        connector.dsr_delete(http.api(), [ada, bob])
    assert BOB.email not in str(caught.value), "SendGrid's own message names the address"
    assert not sandbox.calls["DELETE delete_contacts"]
    assert settled(connector, http, connector.dsr_delete(http.api(), [ada]), sandbox) == [Erased()]


def test_an_account_without_the_erasure_api() -> None:
    """Accounts from before July 2023 may lack it: the check says so, and an erasure is an error, not half a success."""
    sandbox = sandbox_with(BOB)
    sandbox.scopes.remove("recipients.erasejob.create")
    connector, http = connected(sandbox)
    with pytest.raises(ConfigError, match="Data Erasure"):
        connector.dsr_check(http.api())
    with pytest.raises(AuthError):
        connector.dsr_delete(http.api(), found(connector, http, BOB.email)[0])
    assert sandbox.holds(BOB.email)
    connector, http = connected(httpx.MockTransport(lambda request: NOBODY))
    with pytest.raises(ConfigError, match="Data Erasure"):
        connector.dsr_delete(http.api(), [Match("contact", "c1", data={"email": BOB.email})])


def test_the_rate_limit_says_when_in_a_header_of_its_own() -> None:
    """A 429 of SendGrid has no Retry-After, and a plain-text one no JSON either: both are asked again later."""
    reset = {"X-RateLimit-Limit": "150", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}
    for answer in (
        httpx.Response(429, json={"errors": [{"field": None, "message": "too many requests"}]}, headers=reset),
        httpx.Response(429, text="too many requests", headers=reset),
    ):
        connector = SendGrid(SendGrid.Config(**SendGridSandbox.credentials))
        http = SourceHttp(connector, transport=httpx.MockTransport(lambda request, answer=answer: answer), sleep=lambda seconds: None)
        with pytest.raises(TransientError):
            found(connector, http, ADA.email)
        assert http.pacer.reserve("GET", "/v3/scopes", longest=0.0) < -20, "nothing is sent before the window is over"


def test_a_recorded_job_id_is_text() -> None:
    """Described as an object, ``job_id`` is a string in recorded traffic; either is a job that was accepted."""
    for job_id in ("4fc7f8d5-...", {"id": "4fc7f8d5-..."}):
        connector, http = connected(httpx.MockTransport(lambda request, job_id=job_id: httpx.Response(202, json={"job_id": job_id})))
        (outcome,) = connector.dsr_delete(http.api(), [Match("contact", "c1", data={"email": BOB.email})])
        assert isinstance(outcome, Pending)


# --- accounts and regions ----------------------------------------------------------------------------------------------------------


def test_a_subuser_is_an_account_of_its_own() -> None:
    """With ``on_behalf_of`` every call is made there: the parent's contact of the same address stays."""
    sandbox = sandbox_with(BOB, wishing(subuser="shop"))
    connector, http = connected(sandbox, on_behalf_of="shop")
    outcomes = connector.dsr_delete(http.api(), found(connector, http, BOB.email)[0])
    assert settled(connector, http, outcomes, sandbox) == [Erased()]
    assert not sandbox.accounts["shop"].contacts
    assert len(sandbox.accounts[""].contacts) == 1


@pytest.mark.parametrize("wrong", ["", "shop\r\nX-Evil: 1", "a b", "shöp"])
def test_a_subuser_is_one_word(wrong: str) -> None:
    """It becomes a header."""
    with pytest.raises(ValueError, match="on_behalf_of"):
        SendGrid.Config(api_key="x", on_behalf_of=wrong)


def test_the_eu_has_a_host_of_its_own() -> None:
    """EU regional subusers live elsewhere; a wrong region would find nobody."""
    hosts: list[str] = []
    connector, http = connected(watched(sandbox_with(), lambda request, response: hosts.append(request.url.host)), region="eu")
    connector.dsr_check(http.api())
    assert hosts == ["api.eu.sendgrid.com"]


# --- what Twilio's description says ------------------------------------------------------------------------------------------------


@pytest.mark.evidence("spec")
def test_everything_sent_and_answered_fits_the_description() -> None:
    """Every request of finding, copying and erasing, and every answer of the sandbox, is as Twilio describes it, but for the named errors in it."""
    sandbox = sandbox_with(ADA)
    wire = Checked(transport(sandbox), Description.load(shared("specs", "sendgrid.yaml")), exemptions=TestStandard.exemptions)
    connector, http = connected(wire)
    connector.dsr_check(http.api())
    (matches,) = found(connector, http, ADA.email)
    for match in matches:
        assert list(connector.dsr_export(http.api(), match))
    assert settled(connector, http, connector.dsr_delete(http.api(), matches[:1]), sandbox) == [Erased()]
    found(connector, http, ADA.email)
    assert wire.findings == []
    assert len(wire.calls) > 8
