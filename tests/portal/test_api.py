"""The REST API: what goes in and out, who may, how it says no, and that calls can be made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest

from dsr_sdk.host import Host
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app
from dsr_sdk.portal.routes import api as routes
from tests.portal.conftest import WORKFLOW, Client
from tests.smtp import Inbox
from tests.toys import Toy
from tests.world import World

GOOD: dict[str, Any] = {"type": "deletion", "subject": {"email": "ada@example.com"}, "channel": "agent", "country": "DE"}
V1 = "/api/v1/requests"


class Api:
    """A client with a key."""

    def __init__(self, host: Host, client: Client, role: Role) -> None:
        self.client = client
        self.id, self.key = host.accounts.make_key(f"shop {role}", role, by="tests")
        self.headers = {"authorization": f"Bearer {self.key}"}

    def get(self, path: str) -> Any:
        """GET, with the key."""
        return self.client.get(path, headers=self.headers)

    def post(self, path: str, body: Any = None) -> Any:
        """POST, with the key."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.client.post(path, content=content, headers={**self.headers, "content-type": "application/json"})


@pytest.fixture
def host(portal_world: World, inbox: Inbox) -> Host:
    """A host with a data source and a mail server."""
    portal_world.tables, portal_world.mail = WORKFLOW, inbox.toml
    portal_world.add("toy", Toy, None, "ada@example.com")
    return portal_world.open()


@pytest.fixture
def keyed(host: Host, client: Client) -> Callable[[Role], Api]:
    """Clients with a key of a role."""
    return lambda role: Api(host, client, role)


@pytest.fixture
def api(keyed: Callable[[Role], Api]) -> Api:
    """A client with an agent's key."""
    return keyed(Role.AGENT)


def refused(answer: Any, status: int, field: str | None = None) -> dict[str, Any]:
    """The problem of an answer that says no."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    if field is not None:
        assert field in [body.get("field"), *(row["field"] for row in body.get("errors", []))]
    return body


def taken(api: Api, **more: Any) -> str:
    """A new request; its number."""
    answer = api.post(V1, {**GOOD, **more})
    assert answer.status_code == 201, answer.text
    number: str = answer.json()["case"]
    return number


# --- in and out --------------------------------------------------------------------------------------------------------------------------


def test_a_request_comes_in(api: Api, host: Host) -> None:
    """It is in review with its due date; the key's name stands in the audit log; no personal data comes back."""
    answer = api.post(V1, GOOD)
    assert answer.status_code == 201
    said = answer.json()
    assert (said["new"], said["stage"], said["regime"], said["verified_by"]) == (True, "review", "eu_gdpr", None)
    assert said["due_at"]
    assert "ada@example.com" not in answer.text
    assert ("request.entered", "api:shop agent") in [(event["event"], event["actor"]) for event in host.history(said["case"])]
    assert host.request(said["case"]).subject.email == "ada@example.com"


def test_a_call_can_be_made_again(api: Api, host: Host) -> None:
    """The same reference is the same request: 201 the first time, 200 after."""
    answers = [api.post(V1, {**GOOD, "reference": "shop-1"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert [answer.json()["new"] for answer in answers] == [True, False, False]
    assert len({answer.json()["case"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b"", ""),
        (b"{}", "type"),
        (b"\xff\xfe", ""),
        (b'{"type": "deletion", "subject": {"email": "\\ud800@example.com"}}', ""),
        (b"[" * 200_000, ""),
        ({**GOOD, "type": "SECRET"}, "type"),
        ({**GOOD, "subject": {"email": "SECRET"}}, "subject.identities.0.value"),
        ({**GOOD, "SECRET": 1}, None),
        ({**GOOD, "received_at": "9999-12-31T23:59:59Z"}, "received_at"),
        ({**GOOD, "received_at": "0001-01-01T00:00:00Z"}, "received_at"),
    ],
)
def test_what_is_no_request_is_named_by_field(api: Api, host: Host, body: Any, field: str | None) -> None:
    """422, the field, and never the value, whatever was sent."""
    answer = api.post(V1, body)
    refused(answer, 422, field)
    assert "SECRET" not in answer.text
    assert list(host.cases()) == []


def test_a_case_number_that_is_taken(api: Api) -> None:
    """A number of the caller's own choice is taken once."""
    number = "DSR-0000-0000-0000-0000"
    assert api.post(V1, {**GOOD, "case": number}).status_code == 201
    refused(api.post(V1, {**GOOD, "case": number}), 422, "case")


def test_the_list_is_paged_and_filtered(api: Api) -> None:
    """Pages follow each other by a cursor and hold every request once; filters narrow."""
    numbers = {taken(api, subject={"email": f"p{i}@example.com"}) for i in range(7)}
    copy = taken(api, type="copy")
    seen: list[str] = []
    after = ""
    while True:
        page = api.get(f"{V1}?type=deletion&limit=3&after={after}").json()
        seen += [row["case"] for row in page["requests"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == 7
    assert set(seen) == numbers
    assert [row["case"] for row in api.get(f"{V1}?type=copy&stage=review&channel=agent&agent=&due_after=2020-01-01").json()["requests"]] == [copy]
    assert api.get(f"{V1}?open=false").json() == {"requests": [], "next": None}
    assert api.get(f"{V1}?overdue=true&source=toy").json()["requests"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "stage=x",
        "type=x",
        "after=nonsense",
        "due_before=x",
        "due_after=0",
        "agent=%00",
        "source=%00",
        "open=maybe",
        "stage=review&open=0",
    ],
)
def test_filters_that_are_none(api: Api, query: str) -> None:
    """422 with the name of the filter."""
    refused(api.get(f"{V1}?{query}"), 422)


def test_a_filter_that_is_mistyped_does_not_find_everything(api: Api) -> None:
    """An unknown query parameter is refused, and the answer names those that there are; what was typed is not repeated."""
    problem = refused(api.get(f"{V1}?stagee=review"), 422)
    assert "stage" in problem["fix"]
    assert "stagee" not in str(problem)


def test_how_a_request_stands(api: Api, host: Host) -> None:
    """Stage, due date, requirement and data sources; what is said of a source follows the search and the deletion."""
    number = taken(api, channel="api")
    shown = api.get(f"{V1}/{number}").json()
    assert (shown["stage"], shown["verified_by"], shown["requirement"], shown["person"]) == ("review", "controller", "required", None)
    assert api.post(f"{V1}/{number}/accept", {"revision": shown["revision"]}).json()["stage"] == "process"
    found = api.post(f"{V1}/{number}/search").json()
    assert [(row["source"], row["state"], row["found"]) for row in found["sources"]] == [("toy", "found", 1)]
    given = api.post(f"{V1}/{number}/give-free", {"sources": ["toy"], "seen": found["seen"]})
    assert given.json()["given"] == 1
    assert api.post(f"{V1}/{number}/give-free", {"sources": ["toy"]}).json()["given"] == 0
    host.run(number, wait=5)
    [row] = api.get(f"{V1}/{number}").json()["sources"]
    assert row["last_deleted"]
    assert api.post(f"{V1}/{number}/finish", {"all_done": True}).json()["stage"] == "reply"
    assert api.post(f"{V1}/{number}/close").json()["stage"] == "closed"
    assert [row["case"] for row in api.get(f"{V1}?open=false").json()["requests"]] == [number]


def test_what_a_person_did_is_said_by_the_api_too(api: Api, host: Host) -> None:
    """Marks and going on without waiting are the host's: what nothing waits for is refused, and a reason is needed."""
    number = taken(api, channel="api")
    api.post(f"{V1}/{number}/accept")
    refused(api.post(f"{V1}/{number}/sources/toy/done", {"note": "seen"}), 422)
    refused(api.post(f"{V1}/{number}/sources/toy/done", {"result": "whatever"}), 422)
    refused(api.post(f"{V1}/{number}/sources/toy/go-on", {"reason": "short"}), 422)
    refused(api.post(f"{V1}/{number}/sources/toy/go-on", {"reason": "they take ten days"}), 422)


def test_personal_data_only_when_asked_for(api: Api, keyed: Callable[[Role], Api], host: Host) -> None:
    """With ?person=true, for roles that may, and in the audit log; of a shredded request it is gone."""
    number = taken(api)
    reader = keyed(Role.READ_ONLY)
    for path in (f"{V1}/{number}", f"{V1}/{number}/history", f"{V1}/{number}/record.json", V1):
        assert "ada@example.com" not in api.get(path).text
        assert reader.get(path).status_code == 200
    assert api.get(f"{V1}/{number}?person=true").json()["person"]["subject"]["identities"][0]["value"] == "ada@example.com"
    assert "ada@example.com" in api.get(f"{V1}/{number}/record.json?person=true").text
    refused(reader.get(f"{V1}/{number}?person=true"), 403)
    refused(reader.get(f"{V1}/{number}/record.json?person=true"), 403)
    read = [event["actor"] for event in host.history(number) if event["event"] == "request.read"]
    assert read == ["api:shop agent"]
    assert "record.exported" in [event["event"] for event in host.history(number)]


def test_history(api: Api) -> None:
    """Every event with words, and whether the chain holds."""
    number = taken(api)
    api.post(f"{V1}/{number}/verify", {"method": "document", "note": "passport seen"})
    said = api.get(f"{V1}/{number}/history").json()
    assert said["verified"] is True
    assert said["agents"] == ["api:shop agent"]
    assert [event["event"] for event in said["events"]][:2] == ["request.received", "stage.review"]
    assert all(event["text"] for event in said["events"])


# --- decisions ---------------------------------------------------------------------------------------------------------------------------


def test_review_to_close_without_processing(api: Api, inbox: Inbox) -> None:
    """Rejected, answered in one's own words, closed: each step once, in its order."""
    number = taken(api)
    refused(api.post(f"{V1}/{number}/accept"), 422)
    refused(api.post(f"{V1}/{number}/reject", {"reason": "SECRET"}), 422, "reason")
    assert api.post(f"{V1}/{number}/reject", {"reason": "no_match"}).json()["decision"] == "rejected"
    refused(api.post(f"{V1}/{number}/accept"), 409)
    assert api.post(f"{V1}/{number}/reply", {"subject": "About your request", "body": "We know nothing about you."}).status_code == 200
    assert api.post(f"{V1}/{number}/close").json()["stage"] == "closed"
    refused(api.post(f"{V1}/{number}/close"), 409)
    assert len(inbox.letters) == 1


def test_without_a_reply_there_is_a_reason(api: Api, inbox: Inbox) -> None:
    """Closing without a reply needs to say why."""
    number = taken(api)
    api.post(f"{V1}/{number}/withdraw")
    api.post(f"{V1}/{number}/reply", {"mode": "none"})
    refused(api.post(f"{V1}/{number}/close"), 422)
    api.post(f"{V1}/{number}/reply", {"mode": "none", "reason": "answered by telephone"})
    assert api.post(f"{V1}/{number}/close").json()["stage"] == "closed"
    assert inbox.letters == []


def test_the_second_of_two_is_told(api: Api) -> None:
    """Who decides on what has changed meanwhile gets 409, and nothing happens."""
    number = taken(api)
    seen = api.get(f"{V1}/{number}").json()["revision"]
    assert api.post(f"{V1}/{number}/verify", {"method": "questions", "revision": seen}).status_code == 200
    problem = refused(api.post(f"{V1}/{number}/withdraw", {"revision": seen}), 409)
    assert problem["fix"] == "look at it again"
    assert api.get(f"{V1}/{number}").json()["stage"] == "review"


def test_messages_and_duplicates(api: Api, inbox: Inbox) -> None:
    """A message goes to the person; a duplicate is merged into the older request."""
    first = taken(api)
    second = taken(api)
    assert api.get(f"{V1}/{second}").json()["duplicate_of"] == first
    assert api.post(f"{V1}/{first}/message", {"text": "Which address?"}).status_code == 201
    assert len(inbox.letters) == 1
    assert api.post(f"{V1}/{second}/merge", {"into": first}).json()["decision"] == "duplicate"
    refused(api.post(f"{V1}/{first}/merge", {"into": "DSR-0000-0000-0000-0000"}), 422)


def test_a_request_is_given_to_an_agent(api: Api, host: Host) -> None:
    """To an account that can work it; another is refused by the field's name."""
    number = taken(api)
    host.accounts.create("eve@example.com", "Eve", "read_only", by="tests")
    for agent in ("nobody@example.com", "eve@example.com"):
        assert "agent" in json.dumps(refused(api.post(f"{V1}/{number}/assign", {"agent": agent}), 422))
    refused(api.post(f"{V1}/{number}/assign", {}), 422, "agent")
    host.accounts.create("carol@example.com", "Carol", "agent", by="tests")
    assert api.post(f"{V1}/{number}/assign", {"agent": "carol@example.com"}).json()["agent"] == "carol@example.com"
    assert api.post(f"{V1}/{number}/assign", {"agent": None}).json()["agent"] is None


def test_no_proof_is_recorded_where_the_law_forbids(api: Api) -> None:
    """A Californian's opt-out cannot be made to depend on proof, by the API neither."""
    number = taken(api, type="do_not_sell", regime="us_ca_ccpa")
    assert api.get(f"{V1}/{number}").json()["requirement"] == "forbidden"
    refused(api.post(f"{V1}/{number}/verify", {"method": "document"}), 422)
    refused(api.post(f"{V1}/{number}/reject", {"reason": "insuf_verification"}), 422)


# --- who may -----------------------------------------------------------------------------------------------------------------------------


def test_keys(api: Api, client: Client, host: Host, keyed: Callable[[Role], Api]) -> None:
    """Without a key, with a made-up or a revoked one, and with somebody's session: 401. With a role that may not: 403."""
    for headers in ({}, {"authorization": "Bearer dsr_nothing"}, {"authorization": f"Basic {api.key}"}, {"authorization": api.key}):
        answer = client.get(V1, headers=headers)
        refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    support = keyed(Role.SUPPORT)
    number = taken(support)
    refused(support.post(f"{V1}/{number}/reject", {"reason": "other"}), 403)
    refused(keyed(Role.READ_ONLY).post(V1, GOOD), 403)
    host.accounts.revoke_key(api.id, by="tests")
    refused(api.get(V1), 401)


def test_a_session_opens_nothing(agent: Client) -> None:
    """The portal's cookie is no key: the API knows no cookies, so no page elsewhere can use them."""
    refused(agent.get(V1), 401)


def test_calls_are_counted_by_key(api: Api, keyed: Callable[[Role], Api], monkeypatch: pytest.MonkeyPatch) -> None:
    """One key that calls too often is told to wait; another is not hit."""
    monkeypatch.setattr(routes, "CALLS", "3/minute")
    assert [api.get(V1).status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = api.get(V1)
    refused(answer, 429)
    assert int(answer.headers["retry-after"]) > 0
    assert keyed(Role.AGENT).get(V1).status_code == 200


def test_nothing_there(api: Api, client: Client) -> None:
    """Unknown requests, addresses and methods are problems, too."""
    for path in ("", "/history", "/record.json"):
        refused(api.get(f"{V1}/DSR-0000-0000-0000-0000{path}"), 404)
    refused(api.post(f"{V1}/DSR-0000-0000-0000-0000/withdraw"), 404)
    refused(api.get(f"{V1}/nothing"), 422, "case")
    refused(api.get("/api/v1/nothing"), 404)
    answer = client.delete(V1, headers=api.headers)
    refused(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


def test_too_large_a_body(api: Api) -> None:
    """More than a megabyte is refused, and not read."""
    refused(api.post(V1, b" " * (2 << 20)), 413)


def test_outside_the_workflow(portal_world: World) -> None:
    """A request from before [workflow] can be looked at and not handled; a host without [workflow] takes requests in all the same."""
    portal_world.tables = ""
    host = portal_world.open()
    with Client(create_app(host, engine=False), follow_redirects=False) as client:
        api = Api(host, client, Role.AGENT)
        number = taken(api)
        assert api.get(f"{V1}/{number}").json()["stage"] is None
        refused(api.post(f"{V1}/{number}/withdraw"), 409)


# --- the description ---------------------------------------------------------------------------------------------------------------------


def test_the_description_needs_no_key(client: Client) -> None:
    """Whoever writes a client reads it; what is answered to bad calls is documented for every route."""
    description = client.get("/api/v1/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    operations = [operation for methods in description["paths"].values() for operation in methods.values()]
    assert len(operations) == 19
    assert len({operation["operationId"] for operation in operations}) == 19
    for operation in operations:
        assert {"401", "403", "422", "429"} <= set(operation["responses"])
        assert "application/problem+json" in operation["responses"]["422"]["content"]
        assert operation["description"]


def test_requests_fit_the_description(client: Client) -> None:
    """A request in full and one in short fit the schema, and what is none does not."""
    description = client.get("/api/v1/openapi.json").json()
    schema = {"$ref": "#/components/schemas/GivenRequest", "components": description["components"]}
    full = {**GOOD, "subject": {"identities": [{"kind": "email", "value": "ada@example.com"}]}}
    assert jsonschema_rs.is_valid(schema, GOOD)
    assert jsonschema_rs.is_valid(schema, full)
    assert not jsonschema_rs.is_valid(schema, {**GOOD, "more": 1})
    assert not jsonschema_rs.is_valid(schema, {**GOOD, "subject": {"phone": 1}})


def test_methods_are_the_hosts() -> None:
    """Every way of proof can be recorded by the API."""
    schema = routes.openapi()["components"]["schemas"]["Method"]
    assert schema["enum"] == [method.value for method in Method]
