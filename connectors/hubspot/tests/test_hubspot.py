"""HubSpot's connector against its sandbox, HubSpot's own description, and answers that the real HubSpot gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml
from dsr_connector_hubspot import HubSpot
from dsr_connector_hubspot.sandbox import INDEX_LAG, HubSpotSandbox

from dsr_sdk import (
    Absent,
    AuthError,
    ConfigError,
    ControllerId,
    DsrError,
    Email,
    Erased,
    Failed,
    Match,
    Outcome,
    Phone,
    Record,
    RejectedError,
    Subject,
    TransientError,
    VendorId,
)
from dsr_sdk.http import RetryPolicy, SourceHttp
from dsr_sdk.testing import Exemption, Fault, Person, transport
from dsr_sdk.testing.checked import Checked
from dsr_sdk.testing.openapi import Description
from tests.reference import shared

ADA = "ada@example.com"
UNDESCRIBED = [
    Exemption(operation=operation, problem="is for a path that is not described", reason="HubSpot describes it elsewhere, our copy leaves it out")
    for operation in ("GET /crm/v3/properties/*", "GET /crm/v4/objects/*")
]


def http(handler: httpx.BaseTransport | HubSpotSandbox, **settings: Any) -> SourceHttp:
    """A configured source that talks to a sandbox, or to any other transport."""
    connector = HubSpot(HubSpot.Config(**HubSpotSandbox.credentials, **settings))
    wire = transport(handler) if isinstance(handler, HubSpotSandbox) else handler
    return SourceHttp(connector, transport=wire, retry=RetryPolicy(attempts=1))


def find(source: SourceHttp, subject: Subject) -> list[Match]:
    """What the host gets from asking for one person."""
    return list(source.connector.dsr_find(source.api(), [subject])[0])


def erase(source: SourceHttp, match: Match) -> Outcome | DsrError:
    """What the host gets from erasing one match."""
    return source.connector.dsr_delete(source.api(), [match])[0]


def export(source: SourceHttp, match: Match) -> list[Record]:
    """What the host gets from copying one match."""
    return list(source.connector.dsr_export(source.api(), match))


@pytest.fixture
def sandbox() -> HubSpotSandbox:
    """An account with Ada, who has a history, and Bob, whose address is much like hers."""
    account = HubSpotSandbox()
    history = {"deals": 2, "tickets": 1, "emails": 2, "calls": 1, "notes": 1, "additional_emails": ["ada.work@example.com"]}
    account.seed([Person(ADA, "Ada", "Lovelace", "+442079460958", "u-1", {"hubspot": history}), Person("ada@example.com.au", "Bob")])
    return account


def test_everything_linked_to_a_contact_is_found_with_its_number(sandbox: HubSpotSandbox) -> None:
    """A contact, its activities, deals and tickets are matches, and what HubSpot reveals of the person comes with the contact."""
    matches = find(http(sandbox, user_id_property="user_id"), Subject.of(ADA))
    assert [(match.resource, match.count) for match in matches] == [("contact", 1), ("activity", 4), ("deal", 2), ("ticket", 1)]
    known = {identity.key for identity in matches[0].identities}
    assert known == {
        VendorId(vendor="hubspot", value=matches[0].id).key,
        Email(value=ADA).key,
        Email(value="ada.work@example.com").key,
        Phone(value="+442079460958").key,
        ControllerId(value="u-1").key,
    }


def test_erasing_leaves_neither_the_contact_nor_a_block_on_the_address(sandbox: HubSpotSandbox) -> None:
    """Deleting is done by id, once; find then finds nothing, a second deletion is Absent, and the blocklist stays empty."""
    source = http(sandbox)
    contact = find(source, Subject.of(ADA))[0]
    assert erase(source, contact) == Erased()
    assert find(source, Subject.of(ADA)) == []
    assert erase(source, contact) == Absent()
    assert sandbox.effects == {f"erase {contact.id}": 1}
    assert not sandbox.blocklist
    assert not sandbox.holds(ADA)
    assert sandbox.holds("ada@example.com.au")


@pytest.mark.parametrize("address", ["ada@example.com.au", "a@example.com", "ada@example.co", "xada@example.com"])
def test_a_neighbour_is_never_taken(address: str) -> None:
    """Nobody is found by an address that merely begins or ends like theirs."""
    account = HubSpotSandbox()
    account.seed([Person(ADA)])
    assert find(http(account), Subject.of(address)) == []


def test_a_neighbour_in_hubspots_own_answer_is_refused() -> None:
    """Should HubSpot resolve an address to a contact that does not show it, the search fails: it neither takes the contact nor says "nobody"."""

    def answer(request: httpx.Request) -> httpx.Response:
        bob = {"id": "7", "properties": {"email": "bob@example.com", "hs_additional_emails": None}}
        return httpx.Response(200, json={"status": "COMPLETE", "results": [bob], "total": 1})

    with pytest.raises(RejectedError, match="does not show it"):
        find(http(httpx.MockTransport(answer)), Subject.of(ADA))


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("ada@example.com", "ADA@example.com"),
        ("ada+news@example.com", "ada+news@example.com"),
        ("o'hara/x%40=?&#@example.com", "o'hara/x%40=?&#@example.com"),
        ("jürgen@example.com", "JÜRGEN@example.com"),
    ],
)
def test_case_plus_and_special_characters_in_addresses(stored: str, asked: str) -> None:
    """Letters' case does not matter, everything else does, and nothing in an address can break a request."""
    account = HubSpotSandbox()
    account.seed([Person(stored), Person("ada@example.net")])
    source = http(account)
    [match] = find(source, Subject.of(asked))
    assert erase(source, match) == Erased()
    assert not account.holds(stored)


@pytest.mark.parametrize("resolves_secondary", [True, False])
def test_one_address_may_be_primary_here_and_secondary_there(resolves_secondary: bool) -> None:
    """Both contacts are found, whether or not batch/read knows secondary addresses."""
    account = HubSpotSandbox()
    account.resolves_secondary = resolves_secondary
    first = account.add_contact(Person(ADA))
    second = account.add_contact(Person("countess@example.com", extra={"hubspot": {"additional_emails": ["old@example.com", "Ada@example.com"]}}))
    account.add_contact(Person("neighbour@example.com", extra={"hubspot": {"additional_emails": ["ada@example.com.au"]}}))
    assert [match.id for match in find(http(account), Subject.of(ADA))] == [first, second]


def test_a_contact_that_search_does_not_know_yet_is_found() -> None:
    """The search index lags; reading by address does not."""
    account = HubSpotSandbox()
    contact_id = account.add_contact(Person(ADA), indexed=False)
    assert [match.id for match in find(http(account), Subject.of(ADA))] == [contact_id]


def test_a_contact_that_only_the_index_still_shows_is_not_found() -> None:
    """A hit of the search that cannot be read any more is no match: otherwise every verification would fail for a minute."""
    account = HubSpotSandbox()
    account.resolves_secondary = False
    contact_id = account.add_contact(Person("countess@example.com", extra={"hubspot": {"additional_emails": [ADA]}}))
    source = http(account)
    assert len(find(source, Subject.of(ADA))) == 1
    account.delete(contact_id)
    assert find(source, Subject.of(ADA)) == []
    account.advance(INDEX_LAG + 1)
    assert find(source, Subject.of(ADA)) == []


def test_a_contact_that_changed_its_address_since_it_was_indexed_is_not_found() -> None:
    """The index shows the old address; the contact as it stands does not belong to the person asked for."""
    account = HubSpotSandbox()
    account.resolves_secondary = False
    contact_id = account.add_contact(Person("countess@example.com", extra={"hubspot": {"additional_emails": [ADA]}}))
    shown_by_index = account.contact(contact_id)
    assert shown_by_index is not None
    index_answer = {"total": 1, "results": [shown_by_index.show(["email", "hs_additional_emails"])]}
    shown_by_index.properties["hs_additional_emails"] = None
    account.faults = [Fault("status", on="/crm/v3/objects/contacts/search", status=200, body=json.dumps(index_answer))]
    assert find(http(account), Subject.of(ADA)) == []


def test_a_contact_in_the_recycling_bin_is_found_and_erased() -> None:
    """An archived contact can be restored for 90 days, so it is still held; and it may share its address with a live one."""
    account = HubSpotSandbox()
    binned = account.add_contact(Person(ADA, "Ada"))
    account.archive(binned)
    live = account.add_contact(Person(ADA, "Ada"))
    source = http(account)
    matches = find(source, Subject.of(ADA))
    assert [match.id for match in matches] == [live, binned]
    assert export(source, matches[1])[0].data["archived"] is True
    assert [erase(source, match) for match in matches] == [Erased(), Erased()]
    assert not account.holds(ADA)


def test_the_recycling_bin_can_be_left_alone() -> None:
    """With recycling_bin=False nobody asks for archived contacts."""
    account = HubSpotSandbox()
    account.seed([Person(ADA, extra={"hubspot": {"archived": True}})])
    source = http(account, recycling_bin=False)
    assert find(source, Subject.of(ADA)) == []
    assert account.calls["POST batch_read"] == 1


def test_a_contact_deleted_between_find_and_erase_is_absent(sandbox: HubSpotSandbox) -> None:
    """Someone was faster: that is no failure."""
    source = http(sandbox)
    contact = find(source, Subject.of(ADA))[0]
    sandbox.delete(contact.id)
    assert erase(source, contact) == Absent()
    assert not sandbox.effects


def test_a_contact_archived_between_find_and_erase_is_erased(sandbox: HubSpotSandbox) -> None:
    """The recycling bin is no hiding place."""
    source = http(sandbox)
    contact = find(source, Subject.of(ADA))[0]
    sandbox.archive(contact.id)
    assert erase(source, contact) == Erased()
    assert not sandbox.holds(ADA)


def test_a_refusal_while_the_contact_is_still_there_is_a_failure(sandbox: HubSpotSandbox) -> None:
    """A 404 that a living contact contradicts must never read as "it was gone already"."""
    source = http(sandbox)
    contact = find(source, Subject.of(ADA))[0]
    sandbox.faults = [Fault("status", on="/crm/v3/objects/contacts/gdpr-delete", status=404)]
    assert erase(source, contact) == Failed("HubSpot refuses to delete the contact, which is still there", "OBJECT_NOT_FOUND")


def test_a_broken_connection_after_the_deletion_does_no_harm(sandbox: HubSpotSandbox) -> None:
    """The host does not know whether it happened, asks again, and nothing happens twice."""
    source = http(sandbox)
    contact = find(source, Subject.of(ADA))[0]
    sandbox.faults = [Fault("drop_after", on="/crm/v3/objects/contacts/gdpr-delete")]
    with pytest.raises(TransientError):
        erase(source, contact)
    assert erase(source, contact) == Absent()
    assert sandbox.effects == {f"erase {contact.id}": 1}


def test_null_properties_are_read() -> None:
    """HubSpot sends null for a property that was asked for and has no value."""
    account = HubSpotSandbox()
    account.seed([Person(ADA, extra={"hubspot": {"properties": {"phone": "(020) 7946 0958", "mobilephone": None}}})])
    source = http(account, user_id_property="user_id")
    [match] = find(source, Subject.of(ADA))
    assert [identity.kind for identity in match.identities] == ["vendor_id", "email"]
    [record] = export(source, match)
    assert None not in record.data["properties"].values()


def test_a_copy_holds_every_property_its_history_and_everything_linked(sandbox: HubSpotSandbox) -> None:
    """HubSpot shows six properties unless asked for more by name: a copy that stops there would leave most of the data out."""
    source = http(sandbox)
    records = [record for match in find(source, Subject.of(ADA)) for record in export(source, match)]
    assert [record.resource for record in records] == ["contact", *["activity"] * 4, "deal", "deal", "ticket"]
    contact = records[0].data
    assert contact["properties"]["phone"] == "+442079460958"
    assert contact["propertiesWithHistory"]["phone"][0]["value"] == "+442079460958"
    assert {record.data["object_type"] for record in records[1:]} == {"emails", "calls", "notes", "deals", "tickets"}
    assert all(ADA in json.dumps(record.data) for record in records)


def test_a_copy_that_would_be_incomplete_is_refused(sandbox: HubSpotSandbox) -> None:
    """Gone since it was found, contact or deal: a shorter copy must not pass for a whole one."""
    source = http(sandbox)
    contact, _, deals, _ = find(source, Subject.of(ADA))
    del sandbox.objects["deals", next(one.id for one in sandbox.objects.values() if one.kind == "deals")]
    with pytest.raises(RejectedError, match="1 of 2 deals"):
        export(source, deals)
    sandbox.delete(contact.id)
    for match in (contact, deals):
        with pytest.raises(RejectedError):
            export(source, match)


def test_more_links_than_fit_on_a_page_are_all_found_and_copied() -> None:
    """A contact is shown with the first links only; the others come from the associations API and are read in batches."""
    account = HubSpotSandbox()
    account.association_page = 10
    account.seed([Person(ADA, extra={"hubspot": {"notes": 120, "deals": 10}})])
    source = http(account)
    matches = find(source, Subject.of(ADA))
    assert [(match.resource, match.count) for match in matches] == [("contact", 1), ("activity", 120), ("deal", 10)]
    notes = {record.data["id"] for record in export(source, matches[1])}
    assert len(notes) == 120


def test_the_same_object_under_two_labels_counts_once() -> None:
    """A deal may be linked to a contact as "Primary" and as "Decision maker": HubSpot lists it twice."""
    account = HubSpotSandbox()
    contact_id = account.add_contact(Person(ADA, extra={"hubspot": {"deals": 1}}))
    contact = account.contact(contact_id)
    assert contact is not None
    contact.links["deals"] *= 2
    assert [match.count for match in find(http(account), Subject.of(ADA))] == [1, 1]


def test_a_vendor_id_finds_the_contact_it_was_merged_into() -> None:
    """An id that another source revealed is looked up exactly; HubSpot answers a merged id with the surviving contact."""
    account = HubSpotSandbox()
    contact_id = account.add_contact(Person(ADA, extra={"hubspot": {"properties": {"hs_merged_object_ids": "51;52"}}}))
    source = http(account)
    for known in (contact_id, "52"):
        matches = find(source, Subject.of(identities=[VendorId(vendor="hubspot", value=known)]))
        assert [match.id for match in matches] == [contact_id]
    assert find(source, Subject.of(identities=[VendorId(vendor="hubspot", value="53")])) == []
    before = sum(account.calls.values())
    assert find(source, Subject.of(identities=[VendorId(vendor="stripe", value=contact_id)])) == []
    assert sum(account.calls.values()) == before, "another vendor's id was sent to HubSpot"


def test_the_token_is_checked(sandbox: HubSpotSandbox) -> None:
    """check() says what it proved; a wrong token is the operator's to mend."""
    source = http(sandbox)
    assert source.connector.dsr_check(source.api()) == "contacts can be read"
    wrong = SourceHttp(HubSpot(HubSpot.Config(access_token="pat-na1-wrong")), transport=transport(sandbox))
    with pytest.raises(AuthError, match="INVALID_AUTHENTICATION"):
        wrong.connector.dsr_check(wrong.api())


def test_a_missing_scope_is_the_operators_to_mend(sandbox: HubSpotSandbox) -> None:
    """A private app without the tickets scope must not make the tickets look as if there were none."""
    body = {"status": "error", "message": "This app hasn't been granted all required scopes", "category": "MISSING_SCOPES"}
    sandbox.faults = [Fault("status", on="/crm/v3/objects/contacts/1", status=403, body=json.dumps(body))]
    with pytest.raises(AuthError, match="MISSING_SCOPES"):
        find(http(sandbox), Subject.of(ADA))


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"status": "error", "errorType": "RATE_LIMIT", "message": "You have reached your secondly limit.", "policyName": "SECONDLY"}, 1.0),
        ({"message": "You have reached your ten_secondly_rolling limit.", "errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}, 10.0),
        ({"status": "error", "message": "You have reached your ten_secondly_rolling limit.", "category": "RATE_LIMITS"}, 10.0),
        ({"status": "error", "message": "You have reached your daily limit.", "policyName": "DAILY"}, 3600.0),
        ({"status": "error", "message": "You have reached your secondly limit.", "category": "RATE_LIMITS"}, 1.0),
        ("<html>too many</html>", 1.0),
        (None, 1.0),
    ],
)
def test_a_429_says_how_long_to_wait(body: Any, seconds: float) -> None:
    """HubSpot names the limit in the body, in one of several forms, and sends no Retry-After."""
    answer = httpx.Response(429, json=body) if isinstance(body, dict) else httpx.Response(429, text=body or "")
    with pytest.raises(TransientError) as caught:
        find(http(httpx.MockTransport(lambda request: answer)), Subject.of(ADA))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", [423, 477])
def test_locked_and_migrating_mean_later(status: int) -> None:
    """HubSpot's 423 and 477 are not this item's fault: https://developers.hubspot.com/docs/api-reference/error-handling."""
    wire = httpx.MockTransport(lambda request: httpx.Response(status, headers={"Retry-After": "30"}))
    with pytest.raises(TransientError) as caught:
        find(http(wire), Subject.of(ADA))
    assert caught.value.retry_after == 30


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "PENDING", "results": []},
        {"status": "COMPLETE"},
        {"vid": 7, "properties": {"email": {"value": ADA}}},
        {"status": "COMPLETE", "results": [{"vid": 7, "properties": {"email": {"value": ADA}}}]},
        {"status": "COMPLETE", "results": [None]},
        {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [{"status": "error", "category": "VALIDATION_ERROR", "message": "no"}]},
        {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [{"status": "error", "message": "no"}]},
    ],
)
def test_an_answer_that_does_not_say_who_is_there_is_never_nobody(answer: dict[str, Any]) -> None:
    """Unfinished batches, bodies of API v1, and errors beside the results mean "could not check"."""
    with pytest.raises((TransientError, RejectedError)):
        find(http(httpx.MockTransport(lambda request: httpx.Response(207, json=answer))), Subject.of(ADA))


def test_an_empty_account_holds_nobody() -> None:
    """Unknown addresses are named in a 207, and search answers an empty page."""
    assert find(http(HubSpotSandbox()), Subject.of(ADA)) == []


def test_the_search_limit_is_kept(sandbox: HubSpotSandbox) -> None:
    """Eight searches are paced at five a second: HubSpot never has to refuse one."""
    source = http(sandbox)
    for number in range(8):
        find(source, Subject.of(f"nobody{number}@example.com"))
    assert sandbox.refused == 0


# --- HubSpot's own description -----------------------------------------------------------------------------------------------------


@pytest.mark.evidence("spec")
def test_every_message_is_as_hubspot_describes_it(sandbox: HubSpotSandbox) -> None:
    """Whatever the connector sends and the sandbox answers fits HubSpot's OpenAPI description, through find, copy, erasure and errors."""
    wire = Checked(transport(sandbox), Description.load(shared("specs", "hubspot.yaml")), exemptions=UNDESCRIBED)
    source = http(wire)
    source.connector.dsr_check(source.api())
    matches = find(source, Subject.of(ADA))
    for match in matches:
        export(source, match)
    assert find(source, Subject.of("nobody@example.com")) == []
    assert erase(source, matches[0]) == Erased()
    assert erase(source, matches[0]) == Absent()
    assert wire.findings == []
    assert {"POST /crm/v3/objects/contacts/gdpr-delete", "POST /crm/v3/objects/contacts/search"} <= wire.calls


# --- what the real HubSpot answered --------------------------------------------------------------------------------------------------


def recorded(wanted: Callable[[dict[str, Any]], bool]) -> Iterator[httpx.Response]:
    """Recorded answers of the real HubSpot."""
    for path in sorted(shared("recordings", "hubspot").glob("*.yaml")):
        for interaction in yaml.safe_load(path.read_text())["interactions"]:
            if wanted(interaction):
                answer = interaction["response"]
                headers = {name: ", ".join(values) for name, values in answer["headers"].items() if name.lower() != "content-encoding"}
                yield httpx.Response(answer["status"]["code"], headers=headers, text=answer["body"]["string"])


@pytest.mark.evidence("recordings")
def test_recorded_429s_are_waited_for() -> None:
    """Real 429s of the search: category RATE_LIMITS, no policyName, no Retry-After."""
    answers = list(recorded(lambda one: one["response"]["status"]["code"] == 429))
    assert answers
    for answer in answers:
        with pytest.raises(TransientError) as caught:
            find(http(httpx.MockTransport(lambda request, answer=answer: answer)), Subject.of(ADA))
        assert caught.value.retry_after == 1.0


@pytest.mark.evidence("recordings")
def test_recorded_searches_name_no_neighbour() -> None:
    """Real v3 search results, of companies and custom objects: none of them is taken for Ada."""
    answers = list(recorded(lambda one: one["request"]["uri"].partition("?")[0].endswith("/search") and one["response"]["status"]["code"] == 200))
    assert any(answer.json()["results"] for answer in answers)
    for answer in answers:

        def real(request: httpx.Request, answer: httpx.Response = answer) -> httpx.Response:
            return answer if request.url.path.endswith("/search") else httpx.Response(207, json={"status": "COMPLETE", "results": []})

        assert find(http(httpx.MockTransport(real)), Subject.of(ADA)) == []


@pytest.mark.evidence("recordings")
def test_recorded_404s_of_an_unknown_contact_are_absent() -> None:
    """Real "contact does not exist" bodies, with and without a category, in answer to the deletion."""
    answers = list(recorded(lambda one: one["response"]["status"]["code"] == 404 and "contact does not exist" in one["response"]["body"]["string"]))
    assert {b"OBJECT_NOT_FOUND" in answer.content for answer in answers} == {True, False}
    for answer in answers:

        def real(request: httpx.Request, answer: httpx.Response = answer) -> httpx.Response:
            return answer if request.url.path.endswith("/gdpr-delete") else httpx.Response(207, json={"status": "COMPLETE", "results": []})

        assert erase(http(httpx.MockTransport(real)), Match("contact", "7")) == Absent()


@pytest.mark.evidence("recordings")
def test_a_recorded_web_servers_404_is_a_wrong_base_url() -> None:
    """A real Tomcat page says nothing about the person, neither while finding nor while erasing."""
    answers = list(recorded(lambda one: one["response"]["status"]["code"] == 404 and "<html>" in one["response"]["body"]["string"]))
    assert answers
    for answer in answers:
        source = http(httpx.MockTransport(lambda request, answer=answer: answer))
        with pytest.raises(ConfigError):
            find(source, Subject.of(ADA))
        with pytest.raises(ConfigError):
            erase(source, Match("contact", "7"))


@pytest.mark.evidence("recordings")
def test_recorded_profiles_of_api_v1_are_not_mistaken_for_nobody() -> None:
    """Real v1 profiles, had some proxy answered with them, are an error and not an empty answer."""
    answers = list(recorded(lambda one: "/profile" in one["request"]["uri"] and one["response"]["status"]["code"] == 200))
    assert answers
    for answer in answers:
        with pytest.raises((TransientError, RejectedError)):
            find(http(httpx.MockTransport(lambda request, answer=answer: answer)), Subject.of(ADA))
