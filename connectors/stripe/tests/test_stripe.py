"""The Stripe connector against its sandbox, against Stripe's own API description, and against answers that Stripe really gave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import yaml
from dsr_connector_stripe import API_VERSION, KEPT, Stripe
from dsr_connector_stripe.sandbox import StripeSandbox

from dsr_sdk import (
    Absent,
    AuthError,
    ConfigError,
    ControllerId,
    Email,
    Erased,
    Failed,
    Match,
    RejectedError,
    Retained,
    Subject,
    TransientError,
    VendorId,
)
from dsr_sdk.http import RetryPolicy, SourceHttp
from dsr_sdk.testing import Fault, Person, transport
from dsr_sdk.testing.checked import Checked
from dsr_sdk.testing.openapi import Description
from dsr_sdk.testing.suite import ConnectorSuite
from tests.reference import beside, shared

ADA = Person("ada@example.com", "Ada", "Lovelace", "+14155550123", "user-1")
BOB = Person("bob@example.org", "Bob", user_id="user-2")


def connected(where: StripeSandbox | httpx.BaseTransport, **settings: Any) -> tuple[Stripe, SourceHttp]:
    """A configured connector and its way to the sandbox, or to any transport. Nothing waits."""
    connector = Stripe(Stripe.Config(**{**StripeSandbox.credentials, **settings}))
    wire = transport(where) if isinstance(where, StripeSandbox) else where
    return connector, SourceHttp(connector, transport=wire, retry=RetryPolicy(base=0.0), sleep=lambda seconds: None)


def sandbox_with(*people: Person) -> StripeSandbox:
    """A sandbox with people in it, and without rate limits."""
    sandbox = StripeSandbox()
    sandbox.limits = []
    sandbox.seed(people)
    return sandbox


def found(connector: Stripe, http: SourceHttp, subject: Subject | str) -> list[Match]:
    """What is found for a subject, or for an address."""
    return list(connector.dsr_find(http.api(), [Subject.of(subject) if isinstance(subject, str) else subject])[0])


def by_vendor_id(value: str, vendor: str = "stripe") -> Subject:
    """A subject known by a vendor's id only."""
    return Subject.of(identities=[VendorId(vendor=vendor, value=value)])


def customers(matches: list[Match]) -> list[str]:
    """The ids of the customers among the matches."""
    return [match.id for match in matches if match.resource == "customer"]


def answering(answer: Callable[[httpx.Request], tuple[int, Any]]) -> httpx.MockTransport:
    """A vendor that answers as told; whatever is not told is an empty list."""

    def handle(request: httpx.Request) -> httpx.Response:
        status, body = answer(request)
        return httpx.Response(status, json=body) if not isinstance(body, str) else httpx.Response(status, text=body)

    return httpx.MockTransport(handle)


def listing(*rows: dict[str, Any], more: bool = False) -> dict[str, Any]:
    """A page of Stripe's."""
    return {"object": "list", "data": list(rows), "has_more": more, "url": "/v1/x"}


class TestStripeSuite(ConnectorSuite):
    """The tests every connector has to pass."""

    connector = Stripe
    sandbox = StripeSandbox
    cassettes = Path(__file__).parent / "cassettes"
    description = beside("specs", "stripe.yaml")
    # A path Stripe does not know is told from an object it does not know ("Unrecognized request URL"), also while copying.
    expected_faults: ClassVar = {("export", "status 404"): ConfigError}


class TestFind:
    """Who is found, and who is not."""

    def test_two_customers_with_one_address_are_both_found(self) -> None:
        """Stripe lets any number of customers share an address: each is a match of its own."""
        sandbox = sandbox_with(Person(ADA.email, extra={"stripe": {"customers": 2}}), BOB)
        assert sorted(customers(found(*connected(sandbox), ADA.email))) == sandbox.customer_ids()[:2]

    def test_the_address_is_tried_as_given_and_in_lower_case(self) -> None:
        """Stripe's filter compares letter by letter, so both spellings are asked for, and a customer found twice is one match."""
        sandbox = sandbox_with(Person(ADA.email, extra={"stripe": {"email": "Ada@Example.com"}}), ADA, BOB)
        matches = found(*connected(sandbox, search_other_spellings=False), "Ada@Example.com")
        assert sorted(customers(matches)) == sandbox.customer_ids()[:2]

    def test_search_finds_a_spelling_nobody_told_us(self) -> None:
        """A customer stored as ADA@example.com is found for ada@example.com, because search ignores case; without search it is missed."""
        sandbox = sandbox_with(Person(ADA.email, extra={"stripe": {"email": "ADA@example.com"}}))
        assert customers(found(*connected(sandbox), ADA.email)) == sandbox.customer_ids()
        assert found(*connected(sandbox, search_other_spellings=False), ADA.email) == []

    def test_a_stale_index_never_yields_another_person(self) -> None:
        """Search says the address is Ada's, the customer as it stands says Bob's: Bob is left alone."""
        sandbox = sandbox_with(BOB)
        bob = sandbox.customer_ids()[0]
        sandbox.index[bob] = ({**sandbox.customers[bob], "email": ADA.email}, None)
        assert found(*connected(sandbox), ADA.email) == []

    def test_a_list_that_ignores_its_filter_never_yields_another_person(self) -> None:
        """Should Stripe ever answer customers of another address, they are not Ada's."""
        wire = answering(lambda request: (200, listing({"id": "cus_bob", "object": "customer", "email": BOB.email})))
        assert found(*connected(wire, search_other_spellings=False), ADA.email) == []

    def test_an_erased_customer_is_not_found_again_while_the_index_lags(self) -> None:
        """Search still knows the customer for a while after the deletion: the proof of erasure must not trip over that."""
        sandbox = sandbox_with(ADA)
        connector, http = connected(sandbox)
        connector.dsr_delete(http.api(), found(connector, http, ADA.email)[:1])
        stale = http.api().get("/v1/customers/search", {"query": f'email:"{ADA.email}"'}).object()
        assert len(stale["data"]) == 1
        assert found(connector, http, ADA.email) == []

    def test_an_account_without_search_is_told_which_setting_to_change(self) -> None:
        """Merchants in India have no search: that is a matter of configuration, and no reason to find less in silence."""
        sandbox = sandbox_with(ADA)
        sandbox.search_available = False
        with pytest.raises(ConfigError, match="search_other_spellings"):
            found(*connected(sandbox), ADA.email)
        assert customers(found(*connected(sandbox, search_other_spellings=False), ADA.email)) == sandbox.customer_ids()

    def test_a_customer_is_found_by_its_id(self) -> None:
        """Another source may have revealed the customer's id; an unknown id and a deleted customer are nobody."""
        sandbox = sandbox_with(ADA)
        connector, http = connected(sandbox)
        customer = sandbox.customer_ids()[0]
        assert customers(found(connector, http, by_vendor_id(customer))) == [customer]
        assert found(connector, http, by_vendor_id("cus_unknown")) == []
        connector.dsr_delete(http.api(), [Match("customer", customer)])
        assert found(connector, http, by_vendor_id(customer)) == []

    def test_another_vendors_id_asks_stripe_nothing(self) -> None:
        """An id of Shopify's means nothing at Stripe, and must not be looked up there by chance."""
        sandbox = sandbox_with(ADA)
        assert found(*connected(sandbox), by_vendor_id(sandbox.customer_ids()[0], vendor="shopify")) == []
        assert not sandbox.calls

    @pytest.mark.parametrize(
        ("address", "misread"),
        [("ada+news@example.com", "ada news@example.com"), ("o'ada&x=1@example.com", "o'ada"), ("ada%41@example.com", "adaA@example.com")],
    )
    def test_odd_addresses_arrive_as_they_are(self, address: str, misread: str) -> None:
        """A plus is not a space, and no sign ends the query early: neither in the list nor in the search language."""
        sandbox = sandbox_with(Person(address), Person(ADA.email), Person(misread))
        assert customers(found(*connected(sandbox), address)) == sandbox.customer_ids()[:1]

    def test_identities_are_revealed(self) -> None:
        """The customer's id, and your own user id when it stands in the metadata."""
        sandbox = sandbox_with(ADA)
        match = found(*connected(sandbox, user_id_metadata="user_id"), ADA.email)[0]
        assert match.identities == (VendorId(vendor="stripe", value=match.id), ControllerId(value="user-1"))

    @pytest.mark.parametrize("metadata", [None, {}, {"user_id": None}, {"user_id": " "}, {"user_id": "a\nb"}, {"user_id": 7}])
    def test_metadata_without_a_user_id_reveals_none(self, metadata: Any) -> None:
        """Whatever people put into metadata, finding goes on."""
        sandbox = sandbox_with(ADA)
        sandbox.customers[sandbox.customer_ids()[0]]["metadata"] = metadata
        match = found(*connected(sandbox, user_id_metadata="user_id"), ADA.email)[0]
        assert [type(identity) for identity in match.identities] == [VendorId]

    def test_a_customer_full_of_nulls_is_found(self) -> None:
        """Every field but id and object may be null or absent in some version of the API."""
        wire = answering(lambda request: (200, listing({"id": "cus_1", "object": "customer", "email": None, "metadata": None})))
        connector, http = connected(wire, search_other_spellings=False)
        assert customers(found(connector, http, ADA.email)) == ["cus_1"]

    @pytest.mark.parametrize("row", [None, "cus_1", {"object": "customer"}, {"id": None, "email": "ada@example.com"}])
    def test_a_row_that_is_no_customer_is_an_error(self, row: Any) -> None:
        """A list of something else must not read as nobody there."""
        wire = answering(lambda request: (200, {"object": "list", "data": [row], "has_more": False}))
        with pytest.raises(RejectedError):
            found(*connected(wire), ADA.email)


class TestRetained:
    """What outlives the customer."""

    def test_what_is_kept_is_counted_truly(self) -> None:
        """More than a page of invoices is counted to the end; nothing there is no match."""
        wish = {"invoices": 230, "charges": 1, "payment_intents": 0, "subscriptions": 2}
        sandbox = sandbox_with(Person(ADA.email, extra={"stripe": wish}), BOB)
        counts = {match.resource: match.count for match in found(*connected(sandbox), ADA.email)}
        assert counts == {"customer": 1, "invoice": 230, "charge": 1, "subscription": 2}

    def test_everything_kept_is_declared_with_its_reason(self) -> None:
        """An agent and the person are told what stays and why."""
        assert {holds.resource for holds in Stripe.holds if holds.on_erase is Retained} == set(KEPT)

    def test_cancelled_subscriptions_are_counted_and_copied(self) -> None:
        """Stripe leaves cancelled subscriptions out of its list unless asked."""
        sandbox = sandbox_with(ADA)
        sandbox.rows["subscription"][0]["status"] = "canceled"
        connector, http = connected(sandbox)
        match = next(match for match in found(connector, http, ADA.email) if match.resource == "subscription")
        assert [record.data["status"] for record in connector.dsr_export(http.api(), match)] == ["canceled"]


class TestErase:
    """What an erasure does, and what its answers mean."""

    def test_the_customer_goes_and_the_records_stay(self) -> None:
        """Payment methods go with the customer, subscriptions end, invoices and payments remain, Bob is left alone."""
        sandbox = sandbox_with(ADA, BOB)
        connector, http = connected(sandbox)
        matches = found(connector, http, ADA.email)
        assert connector.dsr_delete(http.api(), matches[:1]) == [Erased()]
        assert not sandbox.holds(ADA.email)
        assert sandbox.holds(BOB.email)
        assert {row["status"] for row in sandbox.rows["subscription"] if row["customer"] == matches[0].id} == {"canceled"}
        assert sum(row["customer"] == matches[0].id for row in sandbox.rows["invoice"]) == 1

    def test_deleted_between_find_and_erase_is_absent(self) -> None:
        """Stripe answers 404 resource_missing to the second deletion, and nothing happens twice."""
        sandbox = sandbox_with(ADA)
        connector, http = connected(sandbox)
        match = found(connector, http, ADA.email)[0]
        assert connector.dsr_delete(http.api(), [match]) == [Erased()]
        assert connector.dsr_delete(http.api(), [match]) == [Absent()]
        assert sandbox.effects == {f"erase {match.id}": 1}

    @pytest.mark.parametrize("body", [{}, {"id": "cus_1", "object": "customer"}, {"id": "cus_1", "object": "customer", "deleted": False}])
    def test_without_confirmation_it_is_not_erased(self, body: dict[str, Any]) -> None:
        """Only ``deleted: true`` is a yes."""
        connector, http = connected(answering(lambda request: (200, body)))
        assert isinstance(connector.dsr_delete(http.api(), [Match("customer", "cus_1")])[0], Failed)

    def test_a_wrong_address_is_not_absence(self) -> None:
        """Stripe's 404 for a path it does not know comes from a wrong base URL: it says nothing about the customer."""
        sandbox = sandbox_with(ADA)
        body = '{"error": {"message": "Unrecognized request URL (DELETE: /x/v1/customers/cus_1).", "type": "invalid_request_error"}}'
        sandbox.faults = [Fault("status", status=404, body=body)]
        connector, http = connected(sandbox)
        with pytest.raises(ConfigError, match="base URL"):
            connector.dsr_delete(http.api(), [Match("customer", "cus_1")])

    def test_no_idempotency_key_is_sent(self) -> None:
        """Stripe's documentation forbids it on DELETE, which is idempotent by itself; the version is pinned on every request."""
        seen: list[httpx.Headers] = []

        def answer(request: httpx.Request) -> tuple[int, Any]:
            seen.append(request.headers)
            return 200, {"id": "cus_1", "object": "customer", "deleted": True}

        connector, http = connected(answering(answer))
        connector.dsr_delete(http.api(operation_key="case-1"), [Match("customer", "cus_1")])
        assert "idempotency-key" not in seen[0]
        assert seen[0]["stripe-version"] == API_VERSION

    def test_a_lock_is_tried_again_at_once(self) -> None:
        """A lock_timeout concerns this customer only: tried again, without halting the source."""
        sandbox = sandbox_with(ADA)
        body = '{"error": {"code": "lock_timeout", "type": "invalid_request_error", "message": "This object cannot be accessed right now."}}'
        sandbox.faults = [Fault("status", method="DELETE", status=429, body=body, times=2)]
        connector, http = connected(sandbox)
        assert connector.dsr_delete(http.api(), [Match("customer", sandbox.customer_ids()[0])]) == [Erased()]
        http.retry = RetryPolicy(attempts=1)
        sandbox.faults = [Fault("status", method="DELETE", status=429, body=body)]
        with pytest.raises(TransientError) as caught:
            connector.dsr_delete(http.api(), [Match("customer", "cus_1")])
        assert caught.value.retry_after is None
        assert http.pacer.reserve("GET", "/v1/customers", longest=5.0) < 0.5

    def test_the_rate_limit_halts_the_source_for_a_second(self) -> None:
        """Limits count by the second: that long nothing is sent."""
        sandbox = sandbox_with(ADA)
        sandbox.faults = [Fault("status", status=429, body='{"error": {"code": "rate_limit", "type": "invalid_request_error"}}')]
        connector, http = connected(sandbox)
        http.retry = RetryPolicy(attempts=1)
        with pytest.raises(TransientError) as caught:
            connector.dsr_delete(http.api(), [Match("customer", "cus_1")])
        assert caught.value.retry_after == 1.0
        assert http.pacer.reserve("GET", "/v1/customers", longest=5.0) > 0.5

    def test_stripe_says_itself_what_may_be_repeated(self) -> None:
        """``Stripe-Should-Retry: true`` makes a refusal a passing one."""
        sandbox = sandbox_with(ADA)
        fault = Fault("status", status=409, headers={"Stripe-Should-Retry": "true"}, body='{"error": {"type": "invalid_request_error"}}')
        sandbox.faults = [fault]
        connector, http = connected(sandbox)
        assert connector.dsr_delete(http.api(), [Match("customer", sandbox.customer_ids()[0])]) == [Erased()]


class TestExport:
    """What a copy contains."""

    def test_a_copy_has_everything_behind_each_match(self) -> None:
        """Customer, payment methods and every group, all pages, and nobody else's."""
        sandbox = sandbox_with(BOB, Person(ADA.email, extra={"stripe": {"payment_methods": 120, "charges": 101}}))
        connector, http = connected(sandbox)
        records = [record for match in found(connector, http, ADA.email) for record in connector.dsr_export(http.api(), match)]
        counts = {resource: sum(record.resource == resource for record in records) for resource in {record.resource for record in records}}
        assert counts == {"customer": 1, "payment_method": 120, "invoice": 1, "charge": 101, "payment_intent": 1, "subscription": 1}
        assert BOB.email not in json.dumps([record.data for record in records])

    def test_lists_inside_the_customer_are_read_to_their_end(self) -> None:
        """A list inside an object ends after ten entries: the rest is fetched."""
        first = {**listing({"id": "card_1"}, more=True), "url": "/v1/customers/cus_1/sources"}

        def answer(request: httpx.Request) -> tuple[int, Any]:
            if request.url.path == "/v1/customers/cus_1":
                return 200, {"id": "cus_1", "object": "customer", "sources": first, "tax_ids": listing()}
            return 200, listing({"id": "card_1"}, {"id": "card_2"}) if request.url.path.endswith("/sources") else listing()

        connector, http = connected(answering(answer))
        customer = next(iter(connector.dsr_export(http.api(), Match("customer", "cus_1")))).data
        assert [card["id"] for card in customer["sources"]["data"]] == ["card_1", "card_2"]

    def test_a_customer_deleted_since_is_copied_as_what_is_left(self) -> None:
        """The stub is all that Stripe still has behind the customer."""
        sandbox = sandbox_with(ADA)
        connector, http = connected(sandbox)
        match = found(connector, http, ADA.email)[0]
        connector.dsr_delete(http.api(), [match])
        assert [dict(record.data) for record in connector.dsr_export(http.api(), match)] == [{"id": match.id, "object": "customer", "deleted": True}]

    @pytest.mark.parametrize("page", [listing(more=True), listing({"id": "in_1"}, more=True)])
    def test_paging_that_leads_nowhere_is_an_error(self, page: dict[str, Any]) -> None:
        """Another page after an empty one, or the same page for ever: an error, and no copy that looks complete."""
        connector, http = connected(answering(lambda request: (200, page)))
        with pytest.raises(RejectedError):
            list(connector.dsr_export(http.api(), Match("invoice", "cus_1")))


class TestOperation:
    """Keys and limits."""

    def test_check_names_the_mode(self) -> None:
        """An operator sees whether the key reads test or live customers."""
        connector, http = connected(sandbox_with(ADA))
        assert connector.dsr_check(http.api()) == "customers can be read, test mode"
        connector, http = connected(sandbox_with())
        assert connector.dsr_check(http.api()) == "customers can be read"

    def test_stripes_limits_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hundred people looked up as fast as allowed: Stripe never has to refuse. On a clock that only waiting moves."""
        clock = [1000.0]
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        sandbox = StripeSandbox()
        sandbox.seed([ADA])
        connector, http = connected(sandbox)
        http.sleep = lambda seconds: clock.__setitem__(0, clock[0] + seconds)
        for _ in range(100):
            found(connector, http, ADA.email)
        assert sandbox.refused == 0
        assert clock[0] == pytest.approx(1000 + 100 / 20, rel=0.05)  # search, at twenty a second, is what sets the pace


@pytest.mark.evidence("spec")
def test_every_message_fits_stripes_description() -> None:
    """Finding, copying, erasing, erasing again, a wrong key: requests and the sandbox's answers are as Stripe describes them."""
    wire = Checked(transport(sandbox_with(ADA, BOB)), Description.load(shared("specs", "stripe.yaml"), match_host=True))
    connector, http = connected(wire)
    connector.dsr_check(http.api())
    matches = found(connector, http, "Ada@Example.com")
    for match in matches:
        assert list(connector.dsr_export(http.api(), match))
    for _ in range(2):
        connector.dsr_delete(http.api(), matches[:1])
    found(connector, http, ADA.email)
    wrong, other = connected(wire, api_key="rk_wrong")
    with pytest.raises(AuthError):
        found(wrong, other, ADA.email)
    assert wire.findings == []
    assert len(wire.calls) == 9


# --- what Stripe really answered ------------------------------------------------------------------------------------------------------


def interactions() -> Iterator[tuple[str, str, int, dict[str, str], str]]:
    """Method, URL, status, headers and body of every recorded interaction."""
    for path in sorted(shared("recordings", "stripe").glob("*.yaml")):
        for interaction in yaml.safe_load(path.read_text())["interactions"]:
            request, response = interaction["request"], interaction["response"]
            headers = {name: values[0] for name, values in response["headers"].items() if name.lower() not in ("content-encoding", "content-length")}
            yield request["method"], request["uri"], response["status"]["code"], headers, response["body"]["string"]


def replaying(status: int, headers: dict[str, str], body: str) -> httpx.MockTransport:
    """Stripe, answering one recorded answer to customers by id, and empty lists otherwise."""

    def handle(request: httpx.Request) -> httpx.Response:
        by_id = request.url.path.startswith("/v1/customers/cus_") and request.url.path.count("/") == 3
        return httpx.Response(status, headers=headers, text=body) if by_id else httpx.Response(200, json=listing())

    return httpx.MockTransport(handle)


def answering_customers(*rows: dict[str, Any]) -> httpx.MockTransport:
    """Stripe, with these customers and nothing else."""
    return answering(lambda request: (200, listing(*rows) if request.url.path == "/v1/customers" else listing()))


@pytest.mark.evidence("recordings")
def test_recorded_unknown_customers_are_nobody() -> None:
    """Stripe's real 404s, of 2020 and of 2026: nobody while finding, absent while erasing."""
    answers = [row for row in interactions() if row[2] == 404 and row[0] == "GET" and "/v1/customers/" in row[1]]
    assert len(answers) >= 3
    for _, _, status, headers, body in answers:
        connector, http = connected(replaying(status, headers, body))
        assert found(connector, http, by_vendor_id("cus_1")) == []
        assert connector.dsr_delete(http.api(), [Match("customer", "cus_1")]) == [Absent()]


@pytest.mark.evidence("recordings")
def test_recorded_customers_are_found_and_copied() -> None:
    """Real customers of several API versions, with their nulls: found by id, found by address, copied whole."""
    bodies = [
        row for row in interactions() if row[2] == 200 and row[0] in ("GET", "POST") and row[1].partition("?")[0].split("/")[4:5] == ["customers"]
    ]
    assert len(bodies) >= 10
    for _, _, status, headers, body in bodies:
        customer = json.loads(body)
        connector, http = connected(replaying(status, headers, body))
        assert customers(found(connector, http, by_vendor_id(customer["id"]))) == [customer["id"]]
        assert next(iter(connector.dsr_export(http.api(), Match("customer", customer["id"])))).data == customer
        # Not a deletion's answer: whatever Stripe says instead of ``deleted: true`` is no confirmation.
        assert isinstance(connector.dsr_delete(http.api(), [Match("customer", customer["id"])])[0], Failed)
        if customer["email"]:
            listed = answering_customers(customer)
            assert customers(found(*connected(listed, search_other_spellings=False), customer["email"])) == [customer["id"]]


@pytest.mark.evidence("recordings")
def test_recorded_refusal_of_a_key() -> None:
    """Stripe's real 401 is the operator's matter, and its message, which repeats the key, is not passed on."""
    answers = [row for row in interactions() if row[2] == 401]
    assert answers
    for _, _, status, headers, body in answers:
        connector, http = connected(replaying(status, headers, body))
        with pytest.raises(AuthError) as caught:
            found(connector, http, by_vendor_id("cus_1"))
        assert "PRIVATE_KEY" not in str(caught.value)


@pytest.mark.parametrize("name", ["customer", "deleted_customer"])
def test_stripes_own_fixtures(name: str) -> None:
    """Stripe's published examples of 2026: a customer full of nulls is somebody, the stub of a deleted one nobody."""
    body = json.loads(shared("recordings", "stripe", "bodies", "stripe__fixtures3.json").read_text())["resources"][name]
    connector, http = connected(replaying(200, {}, json.dumps(body)))
    assert customers(found(connector, http, by_vendor_id("cus_1"))) == ([body["id"]] if name == "customer" else [])
    outcome = connector.dsr_delete(http.api(), [Match("customer", "cus_1")])[0]
    assert isinstance(outcome, Failed if name == "customer" else Erased)


@pytest.mark.evidence("recordings")
@pytest.mark.parametrize("kind", [*KEPT, "payment_method"])
def test_recorded_records_are_copied(kind: str) -> None:
    """Real charges, invoices, subscriptions and payment methods, some ten years old, pass into the copy unchanged."""
    path = KEPT[kind][0] if kind in KEPT else "/v1/customers/cus_1/payment_methods"
    files = sorted(shared("recordings", "stripe", "bodies").glob(f"dj-stripe__{kind}_*.json"))
    bodies = [json.loads(file.read_text()) for file in files]

    def answer(request: httpx.Request) -> tuple[int, Any]:
        return 200, listing(*bodies) if request.url.path == path else {"id": "cus_1", "object": "customer"}

    connector, http = connected(answering(answer))
    copied = connector.dsr_export(http.api(), Match(kind if kind in KEPT else "customer", "cus_1"))
    assert [dict(record.data) for record in copied if record.resource == kind] == bodies
    assert bodies or kind == "payment_intent"  # of which none was published


def test_an_email_is_asked_for_in_at_most_two_spellings() -> None:
    """Given and lower-cased, each once: two calls to the list, not more."""
    sandbox = sandbox_with()
    found(*connected(sandbox), Subject.of(identities=[Email(value="ADA@Example.com", given="ADA@Example.com")]))
    assert sandbox.calls["GET list_customers"] == 2
