"""Mailchimp's connector against its sandbox, Mailchimp's own description, and answers that the real Mailchimp gave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml
from dsr_connector_mailchimp import Mailchimp
from dsr_connector_mailchimp.sandbox import PERMISSIONS, MailchimpSandbox, member_id

from dsr_sdk import (
    Absent,
    AuthError,
    ConfigError,
    DsrError,
    Erased,
    Failed,
    Match,
    NotFoundError,
    OptedOut,
    Outcome,
    Record,
    RejectedError,
    Subject,
    TransientError,
    UnsupportedError,
    Verb,
)
from dsr_sdk.http import RetryPolicy, SourceHttp
from dsr_sdk.testing import Exemption, Fault, Person, serve, transport
from dsr_sdk.testing.checked import Checked
from dsr_sdk.testing.openapi import Description
from tests.reference import shared

ADA = "ada@example.com"
FIRST, SECOND = "a1b2c3d4e5", "f6a7b8c9d0"
UNDESCRIBED = Exemption(
    operation="* */ecommerce/stores*", problem="is for a path that is not described", reason="in the reference, not in our trimmed description"
)


def http(handler: httpx.BaseTransport | MailchimpSandbox, **settings: Any) -> SourceHttp:
    """A configured source that talks to a sandbox, or to any other transport."""
    connector = Mailchimp(Mailchimp.Config(**{**MailchimpSandbox.credentials, **settings}))
    wire = transport(handler) if isinstance(handler, MailchimpSandbox) else handler
    return SourceHttp(connector, transport=wire, retry=RetryPolicy(attempts=1))


def find(source: SourceHttp, address: str) -> list[Match]:
    """What the host gets from asking for one person."""
    return list(source.connector.dsr_find(source.api(), [Subject.of(address)])[0])


def erase(source: SourceHttp, match: Match) -> Outcome | DsrError:
    """What the host gets from erasing one match."""
    return source.connector.dsr_delete(source.api(), [match])[0]


def export(source: SourceHttp, match: Match) -> list[Record]:
    """What the host gets from copying one match."""
    return list(source.connector.dsr_export(source.api(), match))


def person(address: str = ADA, **wishes: Any) -> Person:
    """Ada, as this Mailchimp should know her."""
    return Person(address, "Ada", "Lovelace", "+442079460958", "u-1", {"mailchimp": wishes})


@pytest.fixture
def sandbox() -> MailchimpSandbox:
    """An account with Ada on both audiences and in the store, and Bob, whose address is much like hers."""
    account = MailchimpSandbox()
    account.seed([person(lists=[FIRST, SECOND], orders=2, carts=1, activity=3, events=2, notes=1, tags=4, goals=1)])
    account.seed([Person("ada@example.com.au", "Bob", extra={"mailchimp": {"lists": [FIRST], "orders": 1, "carts": 1}})])
    return account


def test_every_audience_and_every_store_is_searched(sandbox: MailchimpSandbox) -> None:
    """A person is a member once for each audience, and a customer once for each store."""
    matches = find(http(sandbox, user_id_field="USERID"), ADA)
    assert [match.resource for match in matches] == ["member", "member", "customer"]
    assert [match.data.get("list_id") for match in matches] == [FIRST, SECOND, None]
    assert [identity.key for identity in matches[0].identities] == [
        ("vendor_id", "mailchimp", member_id(ADA)[:10]),
        ("phone", "+442079460958"),
        ("controller_id", "user_id", "u-1"),
    ]


def test_erasing_takes_everything_and_nothing_of_the_neighbour(sandbox: MailchimpSandbox) -> None:
    """Members are forgotten, the customer goes with orders and carts, a second round is Absent and finds nothing."""
    source = http(sandbox)
    matches = find(source, ADA)
    assert [erase(source, match) for match in matches] == [Erased(), Erased(), Erased()]
    assert not sandbox.holds(ADA)
    assert sandbox.holds("ada@example.com.au")
    assert [len(items) for items in sandbox.stores["store_001"].values()] == [1, 1, 1]
    assert find(source, ADA) == []
    assert [erase(source, match) for match in matches] == [Absent(), Absent(), Absent()]
    assert set(sandbox.effects.values()) == {1}
    assert sandbox.forgotten == {(FIRST, member_id(ADA)), (SECOND, member_id(ADA))}


@pytest.mark.parametrize("status", ["archived", "cleaned", "pending", "transactional", "unsubscribed"])
def test_members_in_every_status_are_found_and_erased(status: str) -> None:
    """An archived member is not gone: Mailchimp holds everything it held before, and refuses only to archive it again."""
    account = MailchimpSandbox()
    account.seed([person(status=status)])
    source = http(account)
    [match] = find(source, ADA)
    assert export(source, match)[0].data["status"] == status
    assert erase(source, match) == Erased()
    assert not account.holds(ADA)


@pytest.mark.parametrize("address", ["ada@example.com.au", "a@example.com", "ada@example.co", "xada@example.com"])
def test_a_neighbour_is_never_taken(address: str) -> None:
    """Nobody is found by an address that merely begins or ends like theirs."""
    account = MailchimpSandbox()
    account.seed([person(orders=1)])
    assert find(http(account), address) == []


def test_a_store_that_answers_more_than_it_was_asked_for_betrays_nobody(sandbox: MailchimpSandbox) -> None:
    """Should the filter by address be ignored, other people's customers are still not taken."""
    everyone = {"customers": [*sandbox.stores["store_001"]["customers"].values(), {"id": "c9", "email_address": None}], "total_items": 3}
    sandbox.faults = [Fault("status", on="/3.0/ecommerce/stores/store_001/customers", status=200, body=json.dumps(everyone))]
    assert [match.resource for match in find(http(sandbox), ADA)] == ["member", "member", "customer"]


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
    account = MailchimpSandbox()
    account.seed([person(stored, orders=1), person("ada@example.net", orders=1)])
    source = http(account)
    matches = find(source, asked)
    assert [erase(source, match) for match in matches] == [Erased(), Erased()]
    assert not account.holds(stored)


def test_more_audiences_than_fit_on_a_page() -> None:
    """The last audience of many counts as much as the first."""
    account = MailchimpSandbox()
    account.largest_page = 7
    account.lists = {f"list{number:06}": {} for number in range(20)}
    account.seed([person(lists=["list000019"])])
    assert [match.data["list_id"] for match in find(http(account), ADA)] == ["list000019"]


def test_a_member_deleted_between_find_and_erase_is_absent(sandbox: MailchimpSandbox) -> None:
    """Someone was faster: that is no failure."""
    source = http(sandbox)
    match = find(source, ADA)[0]
    del sandbox.lists[FIRST][member_id(ADA)]
    assert erase(source, match) == Absent()
    assert not sandbox.effects


def test_an_audience_deleted_while_we_search_holds_nobody(sandbox: MailchimpSandbox) -> None:
    """A 404 for a member of an audience that vanished after it was listed is no wrong base URL."""
    listed = {"lists": [{"id": "gone000000"}, {"id": SECOND}], "total_items": 2}
    sandbox.faults = [Fault("status", on="/3.0/lists", status=200, body=json.dumps(listed))]
    assert [match.resource for match in find(http(sandbox), ADA)] == ["member", "customer"]


def test_a_broken_connection_after_the_deletion_does_no_harm(sandbox: MailchimpSandbox) -> None:
    """The host does not know whether it happened, asks again, and nothing happens twice."""
    source = http(sandbox)
    match = find(source, ADA)[0]
    sandbox.faults = [Fault("drop_after", on=f"/3.0/lists/{FIRST}/members/{member_id(ADA)}/actions")]
    with pytest.raises(TransientError):
        erase(source, match)
    assert erase(source, match) == Absent()
    assert sandbox.effects == {f"erase {match.id}": 1}


def test_a_run_that_breaks_off_between_orders_is_taken_up_again(sandbox: MailchimpSandbox) -> None:
    """The customer is deleted last: as long as an order is left, the customer is found."""
    source = http(sandbox)
    customer = find(source, ADA)[-1]
    sandbox.faults = [Fault("status", on="/3.0/ecommerce", method="DELETE", after=1, status=503)]
    with pytest.raises(TransientError):
        erase(source, customer)
    assert find(source, ADA)[-1] == customer
    assert erase(source, customer) == Erased()
    assert set(sandbox.effects.values()) == {1}


def test_more_orders_than_fit_on_a_page_are_all_deleted() -> None:
    """Deleting while paging by offset would leave every second page."""
    account = MailchimpSandbox()
    account.largest_page = 3
    account.seed([person(orders=10, carts=5)])
    source = http(account)
    assert erase(source, find(source, ADA)[-1]) == Erased()
    assert account.stores["store_001"] == {"customers": {}, "orders": {}, "carts": {}}


def test_a_copy_holds_the_member_and_everything_kept_about_it() -> None:
    """Long lists are paged to their end, those without a total too; links to Mailchimp's API are left out."""
    account = MailchimpSandbox()
    account.seed([person(activity=1200, events=1100, notes=2, tags=60, goals=3, orders=2, carts=1)])
    source = http(account)
    records = [record for match in find(source, ADA) for record in export(source, match)]
    counts = {resource: sum(record.resource == resource for record in records) for resource in dict.fromkeys(record.resource for record in records)}
    assert counts == {"member": 1, "activity": 1200, "event": 1100, "note": 2, "tag": 60, "goal": 3, "customer": 1, "order": 2, "cart": 1}
    assert all("_links" not in record.data for record in records)


def test_a_list_that_mailchimp_does_not_keep_is_an_empty_one(sandbox: MailchimpSandbox) -> None:
    """The member is there; a 404 for its goals does not spoil the copy. A 404 for the member itself does."""
    source = http(sandbox)
    match = find(source, ADA)[0]
    path = f"/3.0/lists/{FIRST}/members/{member_id(ADA)}"
    sandbox.faults = [Fault("status", on=f"{path}/{part}", status=404) for part in ("goals", "events")]
    assert {record.resource for record in export(source, match)} == {"member", "activity", "note", "tag"}
    del sandbox.lists[FIRST][member_id(ADA)]
    with pytest.raises(RejectedError, match="what had just been found"):
        export(source, match)


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"PHONE": "+442079460958", "USERID": 100}, ["vendor_id", "phone", "controller_id"]),
        ({"PHONE": "(020) 7946-0958", "USERID": ""}, ["vendor_id"]),
        ({"PHONE": {"addr1": "1 Example Street"}, "USERID": None}, ["vendor_id"]),
        ({"PHONE": 442079460958, "USERID": 1.5}, ["vendor_id"]),
        ({}, ["vendor_id"]),
        ([], ["vendor_id"]),
        (None, ["vendor_id"]),
    ],
)
def test_merge_fields_of_every_type(fields: Any, kinds: list[str]) -> None:
    """Merge fields are text, numbers, addresses; without any the object is an empty list, as PHP writes it."""
    account = MailchimpSandbox()
    account.seed([person(merge_fields=fields)])
    [match] = find(http(account, user_id_field="USERID"), ADA)
    assert [identity.kind for identity in match.identities] == kinds


def test_a_bare_403_is_too_much_traffic(sandbox: MailchimpSandbox) -> None:
    """Under heavy load Mailchimp's edge answers 403 without a problem document: it must not stop the source as a refused key would."""
    source = http(sandbox)
    for body in ("", "<html><head><title>Access Denied</title></head></html>"):
        with pytest.raises(TransientError, match="sheds load"):
            find(http(httpx.MockTransport(lambda request, body=body: httpx.Response(403, text=body))), ADA)
    problem = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "You don't have permission to access the requested resource."}
    sandbox.faults = [Fault("status", status=403, body=json.dumps(problem))]
    with pytest.raises(AuthError):
        find(source, ADA)


def test_too_many_connections_is_tried_again(sandbox: MailchimpSandbox) -> None:
    """A 429 carries no header that says how long: the host's own pause has to do."""
    sandbox.faults = [Fault("status", status=429, body=sandbox.too_many(None, 1).body.decode())]  # type: ignore[arg-type]  # the call is not looked at
    with pytest.raises(TransientError) as caught:
        find(http(sandbox), ADA)
    assert caught.value.retry_after is None


def test_the_data_centre_comes_from_the_key_or_the_settings() -> None:
    """A key names its data centre; one that does not needs the setting, and nothing else can get into the host name."""
    assert http(MailchimpSandbox()).base_url == "https://us6.api.mailchimp.com/3.0"
    assert http(MailchimpSandbox(), api_key="no-suffix", server="us21").base_url == "https://us21.api.mailchimp.com/3.0"
    for key in ("0123456789abcdef", "0123-evil.example/", "0123-", "0123-US6"):
        with pytest.raises(ConfigError, match="data centre"):
            http(MailchimpSandbox(), api_key=key)


def test_the_key_is_checked(sandbox: MailchimpSandbox) -> None:
    """check() says what it proved; a wrong key is the operator's to mend."""
    source = http(sandbox)
    assert source.connector.dsr_check(source.api()) == "2 audiences can be read"
    wrong = http(sandbox, api_key="wrong-us6")
    with pytest.raises(AuthError):
        wrong.connector.dsr_check(wrong.api())


@pytest.mark.parametrize("prefix", ["", "/3.0"])
def test_the_sandbox_is_served_with_and_without_the_version_in_front(sandbox: MailchimpSandbox, prefix: str) -> None:
    """Whoever serves the sandbox may use its bare address as the base URL."""
    with serve(sandbox) as server:
        config = Mailchimp.Config(**MailchimpSandbox.credentials, base_url=server.url + prefix, allow_private_hosts=True)
        source = SourceHttp(Mailchimp(config))
        assert len(find(source, ADA)) == 3
        source.close()


def test_an_empty_account_holds_nobody() -> None:
    """No audiences, no stores: empty pages are answers."""
    account = MailchimpSandbox()
    account.lists, account.stores = {}, {}
    assert find(http(account), ADA) == []


def test_an_account_without_e_commerce_is_searched_all_the_same(sandbox: MailchimpSandbox) -> None:
    """A 404 for the stores, once the audiences have answered, takes nothing away from the members found."""
    sandbox.faults = [Fault("status", on="/3.0/ecommerce/stores", status=404)]
    assert [match.resource for match in find(http(sandbox), ADA)] == ["member", "member"]


def test_a_wrong_path_is_not_nobody(sandbox: MailchimpSandbox) -> None:
    """A 404 for the audiences themselves means a wrong base URL."""
    sandbox.faults = [Fault("status", on="/3.0/lists", status=404)]
    with pytest.raises(ConfigError, match="base_url"):
        find(http(sandbox), ADA)


# --- opting out ----------------------------------------------------------------------------------------------------------------------


def opt_out(source: SourceHttp, match: Match) -> Outcome:
    """What the host gets from opting out one match."""
    return source.connector.dsr_opt_out(source.api(), match)


def given(account: MailchimpSandbox, list_id: str, address: str = ADA) -> list[str]:
    """The permissions that a member has given."""
    return [one["text"] for one in account.lists[list_id][member_id(address)].get("marketing_permissions", ()) if one["enabled"]]


def test_opting_out_withdraws_one_permission_and_no_more(sandbox: MailchimpSandbox) -> None:
    """Advertising elsewhere is over, on every audience; the mail the person wants goes on, and nobody else is touched."""
    source = http(sandbox)
    assert [opt_out(source, match) for match in find(source, ADA)] == [OptedOut()] * 3
    assert [given(sandbox, list_id) for list_id in (FIRST, SECOND)] == [["Email", "Direct Mail"]] * 2
    assert {members[member_id(ADA)]["status"] for members in sandbox.lists.values()} == {"subscribed"}
    assert given(sandbox, FIRST, "ada@example.com.au") == list(PERMISSIONS)


def test_who_has_not_given_the_permission_is_opted_out_already() -> None:
    """Nothing is changed that is as it should be."""
    account = MailchimpSandbox()
    account.seed([person(permissions=["Email"], status="unsubscribed")])
    source = http(account)
    assert [opt_out(source, match) for match in find(source, ADA)] == [OptedOut()]
    assert not account.calls["PATCH update_member"]


def test_a_store_customer_is_opted_out_as_a_member_of_the_stores_audience() -> None:
    """The customer itself has no permissions: it is advertised to through the store's audience, or not at all."""
    account = MailchimpSandbox()
    account.seed([person(lists=[SECOND], orders=1)])
    source = http(account)
    assert [opt_out(source, match) for match in find(source, ADA)] == [OptedOut(), Absent()]
    account.add_member(FIRST, person())
    customer = find(source, ADA)[-1]
    assert (customer.resource, opt_out(source, customer)) == ("customer", OptedOut())
    assert account.opted_out(ADA)


def test_a_store_that_names_no_audience_is_no_opt_out() -> None:
    """Whose member the customer is cannot be told then."""
    account = MailchimpSandbox()
    account.seed([person(orders=1)])
    source = http(account)
    customer = find(source, ADA)[-1]
    account.faults = [Fault("status", on="/3.0/ecommerce/stores/store_001", after=1, status=200, body='{"id": "store_001", "list_id": null}')]
    with pytest.raises(RejectedError, match="without the store's audience"):
        opt_out(source, customer)


@pytest.mark.parametrize("wording", ["customized online ADVERTISING ", "Direct Mail"])
def test_the_permission_is_known_by_its_text(wording: str) -> None:
    """A controller may have reworded it, or share under another one; ids differ between audiences."""
    account = MailchimpSandbox()
    account.seed([person()])
    source = http(account, advertising_permission=wording)
    assert opt_out(source, find(source, ADA)[0]) == OptedOut()
    assert [text for text in PERMISSIONS if text not in given(account, FIRST)] == [
        next(text for text in PERMISSIONS if text.lower() in wording.lower())
    ]


@pytest.mark.parametrize("wishes", [{"permissions": None}, {}])
def test_an_audience_without_the_permission_is_somebodys_task(wishes: dict[str, Any]) -> None:
    """There is nothing to withdraw, so nothing was: a person has to look. It is never told as an opt-out."""
    account = MailchimpSandbox()
    account.seed([person(**wishes)])
    source = http(account, **({} if wishes else {"advertising_permission": "Sell my data"}))
    outcome = opt_out(source, find(source, ADA)[0])
    assert isinstance(outcome, Failed)
    assert outcome.code == "no_permission"
    assert not account.opted_out(ADA)


def test_an_answer_that_does_not_show_the_change_is_no_opt_out(sandbox: MailchimpSandbox) -> None:
    """A 200 alone confirms nothing."""
    source = http(sandbox)
    match = find(source, ADA)[0]
    unchanged = json.dumps(sandbox.lists[FIRST][member_id(ADA)])
    sandbox.faults = [Fault("status", method="PATCH", status=200, body=unchanged)]
    with pytest.raises(RejectedError, match="left the permission as it was"):
        opt_out(source, match)


def test_an_account_that_never_advertises_has_no_opt_out(sandbox: MailchimpSandbox) -> None:
    """An empty setting says so: plans show the reason, and everything else works as ever."""
    source = http(sandbox, advertising_permission="")
    excuse = source.connector.supports(Verb.OPT_OUT)
    assert excuse is not None
    assert "nobody is advertised to" in excuse.reason
    with pytest.raises(UnsupportedError):
        opt_out(source, find(source, ADA)[0])
    assert source.connector.supports(Verb.ERASE) is None
    assert Mailchimp.supports(Verb.OPT_OUT) is None


# --- Mailchimp's own description -----------------------------------------------------------------------------------------------------


@pytest.mark.evidence("spec")
def test_every_message_is_as_mailchimp_describes_it(sandbox: MailchimpSandbox) -> None:
    """Whatever the connector sends and the sandbox answers fits Mailchimp's description, through find, copy, erasure and errors."""
    wire = Checked(transport(sandbox), Description.load(shared("specs", "mailchimp.yaml")), exemptions=[UNDESCRIBED])
    source = http(wire)
    source.connector.dsr_check(source.api())
    matches = find(source, ADA)
    for match in matches:
        export(source, match)
    assert [opt_out(source, match) for match in matches] == [OptedOut()] * 3
    assert [erase(source, match) for match in matches] == [Erased()] * 3
    assert [erase(source, match) for match in matches] == [Absent()] * 3
    assert wire.findings == []
    member = "/lists/{list_id}/members/{subscriber_hash}"
    assert {f"POST {member}/actions/delete-permanent", f"GET {member}/activity-feed", f"GET {member}/goals", f"PATCH {member}"} <= wire.calls
    assert "GET /ecommerce/stores/{store_id}/customers" in wire.calls


# --- what the real Mailchimp answered -------------------------------------------------------------------------------------------------


def recorded(wanted: Callable[[dict[str, Any]], bool]) -> Iterator[tuple[str, httpx.Response]]:
    """Recorded answers of the real Mailchimp, with the path they answered."""
    for path in sorted(shared("recordings", "mailchimp").glob("*.yaml")):
        for interaction in yaml.safe_load(path.read_text())["interactions"]:
            if wanted(interaction):
                answer = interaction["response"]
                headers = {name: ", ".join(values) for name, values in answer["headers"].items() if name.lower() != "content-encoding"}
                uri = httpx.URL(interaction["request"]["uri"])
                yield uri.path, httpx.Response(answer["status"]["code"], headers=headers, text=answer["body"]["string"])


def is_member(status: int) -> Callable[[dict[str, Any]], bool]:
    """Picks the recorded answers with this status to GET of one member."""
    return lambda one: one["request"]["method"] == "GET" and "/members/" in one["request"]["uri"] and one["response"]["status"]["code"] == status


def playing(path: str, answer: httpx.Response) -> SourceHttp:
    """A source whose account has the recorded audience, no stores, and answers for one member as recorded."""
    list_id = path.split("/")[3]

    def real(request: httpx.Request) -> httpx.Response:
        if request.url.path == path:
            return answer
        if request.url.path.endswith("/lists"):
            return httpx.Response(200, json={"lists": [{"id": list_id}], "total_items": 1})
        return httpx.Response(200, json={"stores": [], "total_items": 0})

    return http(httpx.MockTransport(real), user_id_field="USERID")


@pytest.mark.evidence("recordings")
def test_recorded_members_are_found_by_their_address() -> None:
    """Real members, one of them archived: the id we compute from the address is the one Mailchimp uses, and odd merge fields are read."""
    statuses, user_ids = set(), set()
    for path, answer in recorded(is_member(200)):
        member = answer.json()
        assert hashlib.md5(member["email_address"].encode(), usedforsecurity=False).hexdigest() == member["id"] == path.rpartition("/")[2]
        [match] = find(playing(path, answer), member["email_address"])
        assert match.data == {"list_id": path.split("/")[3], "member": member["id"]}
        statuses.add(member["status"])
        user_ids |= {identity.value for identity in match.identities if identity.kind == "controller_id"}
    assert {"archived", "subscribed"} <= statuses
    assert user_ids == {"100"}, "USERID is a number in Mailchimp"


@pytest.mark.evidence("recordings")
@pytest.mark.parametrize("was_given", [False, True])
def test_a_recorded_permission_is_withdrawn_by_its_own_id(was_given: bool) -> None:
    """A real member of an audience that asks for permissions, in Mailchimp's own words: not given there, so nothing is to do; had it been given,
    the real id is what is sent."""
    members = [answer.json() for _, answer in recorded(lambda one: "Customized Online Advertising" in one["response"]["body"]["string"])]
    assert members
    for member in members:
        permission = next(one for one in member["marketing_permissions"] if one["text"] == PERMISSIONS[-1])
        sent: list[Any] = []

        def real(request: httpx.Request, member: Any = member, permission: Any = permission, sent: list[Any] = sent) -> httpx.Response:
            if request.method == "PATCH":
                sent.append(json.loads(request.content))
            permission["enabled"] = was_given and not sent
            return httpx.Response(200, json=member)

        match = Match("member", "list/hash", data={"list_id": "list", "member": member["id"]})
        assert opt_out(http(httpx.MockTransport(real)), match) == OptedOut()
        change = {"marketing_permission_id": permission["marketing_permission_id"], "enabled": False}
        assert sent == ([{"marketing_permissions": [change]}] if was_given else [])


@pytest.mark.evidence("recordings")
def test_recorded_404s_are_nobody_and_absent() -> None:
    """Real 404 problem documents: nobody while finding, Absent while erasing."""
    answers = list(recorded(is_member(404)))
    assert answers
    for path, answer in answers:
        assert find(playing(path, answer), "wx3ti580f4ycqy185cumm@grouparoo.com") == []
        source = http(httpx.MockTransport(lambda request, answer=answer: answer))
        assert erase(source, Match("member", "list/hash", data={"list_id": "list", "member": "hash"})) == Absent()


@pytest.mark.evidence("recordings")
def test_a_recorded_405_is_no_success() -> None:
    """The real "can not archive" refusal, should delete-permanent ever answer so, is a refusal and neither Erased nor Absent."""
    answers = list(recorded(lambda one: one["response"]["status"]["code"] == 405))
    assert answers
    for _, answer in answers:
        source = http(httpx.MockTransport(lambda request, answer=answer: answer))
        with pytest.raises(RejectedError) as caught:
            erase(source, Match("member", "list/hash", data={"list_id": "list", "member": "hash"}))
        assert not isinstance(caught.value, NotFoundError)


@pytest.mark.evidence("recordings")
def test_recorded_audiences_are_listed() -> None:
    """Real answers to GET /lists, with everything Mailchimp says of an audience: each of them is searched."""
    answers = list(recorded(lambda one: one["request"]["method"] == "GET" and one["request"]["uri"].partition("?")[0].endswith("/lists")))
    assert answers
    for _, answer in answers:
        asked: list[str] = []

        def real(request: httpx.Request, answer: httpx.Response = answer, asked: list[str] = asked) -> httpx.Response:
            if request.url.path.endswith("/lists"):
                return answer
            if "/members/" in request.url.path:
                asked.append(request.url.path.split("/")[3])
                return httpx.Response(404, json={"title": "Resource Not Found", "status": 404})
            return httpx.Response(200, json={"stores": [], "total_items": 0})

        assert find(http(httpx.MockTransport(real)), ADA) == []
        assert asked == [audience["id"] for audience in answer.json()["lists"]]
