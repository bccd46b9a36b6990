"""The checker of HTTP messages against API descriptions: every rule with a message that keeps it and one that breaks it.

The second part holds the checker against the vendors' descriptions and recordings of `../shared`, where these are present: does it
read every description, does it stay quiet about what the real vendor answered, and does it speak up once that is damaged?
"""

from __future__ import annotations

import copy
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import yaml

from dsr_sdk.errors import ConfigError
from dsr_sdk.testing.openapi import DEFAULT_TOLERANCES, Description, Finding, Tolerance

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SHARED = next((parent / "shared" for parent in Path(__file__).resolve().parents if (parent / "shared" / "specs").is_dir()), None)
needs_shared = pytest.mark.skipif(SHARED is None, reason="no 'shared' folder with vendors' descriptions and recordings beside the repository")

PERSON_30 = """
openapi: 3.0.3
info: {title: Made up, version: '1'}
servers: [{url: 'https://{site}.example.com/api/v2'}]
components:
  securitySchemes:
    key: {type: apiKey, in: header, name: X-Made-Up}
    token: {type: apiKey, in: query, name: token}
  parameters:
    Page: {name: 'page[size]', in: query, schema: {type: integer, minimum: 0, exclusiveMinimum: true, maximum: 100}}
  schemas:
    Base: {type: object, properties: {kind: {type: string, enum: [person, company]}}}
    Person:
      allOf:
      - $ref: '#/components/schemas/Base'
      - type: object
        required: [id, email]
        properties:
          id: {type: integer, readOnly: true}
          email: {type: string, format: email, maxLength: 40}
          phone: {type: string, nullable: true, pattern: '^\\+[0-9]+$'}
          password: {type: string, writeOnly: true}
          friends: {type: array, items: {$ref: '#/components/schemas/Person'}}
          labels: {type: object, additionalProperties: {type: string}}
          notes: {type: object}
          home: {nullable: true, allOf: [{$ref: '#/components/schemas/Address'}]}
          cut: {$ref: '#/components/schemas/Cut'}
    Address: {type: object, additionalProperties: false, properties: {city: {type: string}}}
    Cut: {x-trimmed: schema Cut left out}
paths:
  /people:
    get:
      operationId: listPeople
      parameters:
      - {name: email, in: query, required: true, schema: {type: string}}
      - {name: active, in: query, schema: {type: boolean}}
      - {name: ids, in: query, schema: {type: array, items: {type: integer}}}
      - {name: fields, in: query, style: form, explode: false, schema: {type: array, items: {type: string, enum: [id, email]}}}
      - name: created
        in: query
        style: deepObject
        explode: true
        schema: {anyOf: [{type: object, properties: {gte: {type: integer}, lt: {type: integer}}}, {type: integer}]}
      - {name: expand, in: query, style: deepObject, explode: true, schema: {type: array, items: {type: string}}}
      - {name: filter, in: query, content: {application/json: {schema: {type: object, properties: {name: {type: string}}}}}}
      - {name: X-Account, in: header, required: true, schema: {type: integer}}
      - {name: X-Made-Up, in: header, required: true, schema: {type: string}}
      - $ref: '#/components/parameters/Page'
      responses:
        '200':
          description: ok
          content:
            application/json:
              schema: {type: object, properties: {data: {type: array, items: {$ref: '#/components/schemas/Person'}}}}
        4XX: {description: wrong, content: {application/json: {schema: {type: object, required: [error]}}}}
    post:
      requestBody:
        required: true
        content:
          application/json: {schema: {$ref: '#/components/schemas/Person'}}
          application/*: {}
      responses: {'201': {description: ok}}
  /people/export?format={format}#csv:
    get:
      parameters: [{name: format, in: path, required: true, schema: {type: string, enum: [csv]}}]
      responses: {'200': {description: ok}}
  /people/search: {get: {responses: {'200': {description: ok}}}}
  /people/{person}:
    parameters: [{name: person, in: path, required: true, schema: {type: integer}}]
    get:
      responses:
        '200': {description: ok, content: {application/json: {schema: {$ref: '#/components/schemas/Person'}}}}
    delete: {responses: {'204': {description: gone}}}
  /people/{person}/photo.json: {get: {responses: {default: {description: any}}}}
  /elsewhere:
    servers: [{url: 'https://other.example.com/v9/{region}'}]
    get: {responses: {'200': {description: ok}}}
  /customers:
    post:
      requestBody:
        content:
          application/x-www-form-urlencoded:
            encoding: {tags: {style: form, explode: false}}
            schema:
              type: object
              properties:
                email: {type: string}
                balance: {type: integer}
                live: {type: boolean}
                address: {anyOf: [{type: object, properties: {city: {type: string}, floor: {type: integer}}}, {type: string, enum: ['']}]}
                items: {type: array, items: {type: object, required: [price], properties: {price: {type: integer}}}}
                expand: {type: array, items: {type: string}}
                tags: {type: array, items: {type: string}}
                metadata: {type: object, additionalProperties: {type: string}}
      responses: {'200': {description: ok}}
"""

JOB_31 = {
    "openapi": "3.1.0",
    "info": {"title": "Made up", "version": "1"},
    "paths": {
        "/jobs": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}},
                "responses": {"200": {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}}},
            }
        }
    },
    "components": {
        "schemas": {
            "Job": {
                "type": "object",
                "required": ["kind"],
                "properties": {
                    "kind": {"const": "erase"},
                    "reason": {"type": ["string", "null"]},
                    "size": {"type": "integer", "exclusiveMinimum": 0},
                    "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
                    "who": {
                        "oneOf": [
                            {"type": "object", "required": ["email"], "properties": {"email": {"type": "string"}}},
                            {"type": "object", "required": ["phone"], "properties": {"phone": {"type": "string"}}},
                        ]
                    },
                    "child": {"$ref": "#/components/schemas/Job"},
                },
                "not": {"required": ["reason", "size"]},
            }
        }
    },
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Description:
    """A made-up description in OpenAPI 3.0, as YAML."""
    path = tmp_path_factory.mktemp("specs") / "people.yaml"
    path.write_text(PERSON_30)
    return Description.load(path)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Description:
    """A made-up description in OpenAPI 3.1, as JSON."""
    path = tmp_path_factory.mktemp("specs") / "jobs.json"
    path.write_text(json.dumps(JOB_31))
    return Description.load(path)


def said(findings: list[Finding]) -> list[str]:
    """Findings without their operation, for comparison."""
    return [f"{one.where} {one.problem}" + (f" [{one.tolerance}]" if one.tolerance else "") for one in findings]


def ask(description: Description, query: str, **headers: str) -> list[str]:
    """What is found in a request for the list of people."""
    given = {"x-account": "1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return said(description.check_request("GET", f"https://a.example.com/api/v2/people?{query}", given, b""))


def post(description: Description, path: str, body: Any, headers: dict[str, str] | None = None) -> list[str]:
    """What is found in a request that carries a body."""
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return said(description.check_request("POST", f"http://127.0.0.1:1{path}", JSON if headers is None else headers, raw))


def answer(
    description: Description, path: str, status: int, body: Any, *more: Tolerance, method: str = "GET", kind: str = "application/json"
) -> list[str]:
    """What is found in a response; ``more`` are tolerances beyond the default ones."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:1{path}"
    return said(description.check_response(method, url, status, {"content-type": kind}, raw, DEFAULT_TOLERANCES | set(more)))


class TestLoading:
    """What a file has to be."""

    def test_it_is_read_once(self, tmp_path: Path) -> None:
        """The same unchanged file gives the same description, a changed one is read again."""
        path = tmp_path / "spec.yaml"
        path.write_text(PERSON_30)
        first = Description.load(path)
        assert Description.load(str(path)) is first
        path.write_text(PERSON_30 + "\n# changed\n")
        assert Description.load(path) is not first

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (None, "cannot be read"),
            ("a: [1", "not valid YAML in line"),
            ("{'a'", "neither valid JSON nor YAML"),
            ("just a text", "no OpenAPI 3.0 or 3.1 description"),
            ("swagger: '2.0'", "Swagger 2.0"),
            ("openapi: 3.0.0\npaths: []\ncomponents: [1]", "'components' is not a mapping"),
        ],
    )
    def test_a_file_that_is_none(self, tmp_path: Path, text: str | None, expected: str) -> None:
        """A missing, broken or foreign file is a configuration error: one line that names the file."""
        path = tmp_path / "vendor.yaml"
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigError, match=expected) as caught:
            Description.load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_reference_that_leads_nowhere(self) -> None:
        """A dangling reference is a configuration error when it is needed."""
        schema = {"$ref": "#/components/schemas/Gone"}
        raw = {"openapi": "3.0.0", "paths": {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}}}
        with pytest.raises(ConfigError, match="leads nowhere"):
            Description(raw, source="vendor.yaml").check_request("POST", "/a", JSON, b"{}")

    def test_texts_stay_texts(self, tmp_path: Path) -> None:
        """YAML 1.1's dates and switches are texts in OpenAPI: an enum of ``on`` holds no ``true``."""
        path = tmp_path / "spec.yaml"
        path.write_text(
            "openapi: 3.0.0\npaths:\n  /a:\n    get:\n      parameters:\n"
            "      - {name: when, in: query, schema: {type: string, enum: [on, 2020-01-01, 12:30]}}\n"
        )
        for text in ("on", "2020-01-01", "12:30"):
            assert Description.load(path).check_request("GET", f"/a?when={text}", {}, b"") == []


class TestOperations:
    """Which operation a request is for."""

    @pytest.mark.parametrize(
        ("method", "url", "expected"),
        [
            ("GET", "https://x.example.com/api/v2/people?email=a", "GET /people"),
            ("get", "/api/v2/people/7", "GET /people/{person}"),
            ("GET", "/api/v2/people/search", "GET /people/search"),
            ("GET", "/api/v2/people/a%2Fb/photo.json", "GET /people/{person}/photo.json"),
            ("GET", "http://localhost:8000/v9/eu/elsewhere", "GET /elsewhere"),
            ("GET", "/people", "None"),
            ("GET", "/api/v2/people/", "None"),
            ("GET", "/api/v2/people/7/photoXjson", "None"),
            ("PUT", "/api/v2/people", "None"),
            ("PARAMETERS", "/api/v2/people/7", "None"),
            ("GET", "/api/v2/elsewhere", "None"),
        ],
    )
    def test_by_method_and_path(self, people: Description, method: str, url: str, expected: str) -> None:
        """The server's base path counts, the host does not, and a literal path comes before a template."""
        assert str(people.operation(method, url)) == expected

    def test_by_host_when_told(self, tmp_path: Path) -> None:
        """With ``match_host`` a URL has to be on a described server."""
        path = tmp_path / "spec.yaml"
        path.write_text(PERSON_30)
        description = Description.load(path, match_host=True)
        assert description.operation("GET", "https://acme.example.com/api/v2/people") is not None
        assert description.operation("GET", "https://example.org/api/v2/people") is None

    def test_all_of_them(self, people: Description) -> None:
        """Every described operation is listed, with its id."""
        assert len(list(people.operations())) == 9
        assert {one.operation_id for one in people.operations()} == {"listPeople", None}

    def test_a_request_for_none(self, people: Description) -> None:
        """A path or method that is not described is an error that repeats nothing of the URL."""
        (path,) = people.check_request("GET", "/api/v2/anna@example.org", {}, b"")
        assert str(path) == "GET *: request is for a path that is not described"
        (method,) = people.check_request("PATCH", "/api/v2/people/7", {}, b"")
        assert str(method) == "PATCH /people/{person}: request has a method that is not described for this path (described: DELETE, GET)"


class TestQuery:
    """Query parameters, strictly."""

    @pytest.mark.parametrize(
        "query",
        [
            "email=a%40example.org",
            "email=a&active=true&page[size]=100&page%5Bsize%5D=99",
            "email=a&ids=1&ids=2",
            "email=a&fields=id,email",
            "email=a&created[gte]=1&created%5Blt%5D=2",
            "email=a&created=7",
            "email=a&expand[]=x&expand[]=y",
            "email=a&expand[0]=x",
            "email=a&filter=%7B%22name%22%3A%22x%22%7D",
            "email=a&token=secret",
        ],
    )
    def test_as_described(self, people: Description, query: str) -> None:
        """Texts are read as their schemas say: lists, nested objects, JSON; the key in the query is none of our business."""
        if query.count("size") == 2:
            query = query.replace("&page%5Bsize%5D=99", "")
        assert ask(people, query) == []

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", "request query parameter email is required and absent"),
            ("email=a&emial=b", "request query parameter * is not declared (meant: email?)"),
            ("email=a&email=b", "request query parameter email is an array, described as string"),
            ("email=a&active=yes", "request query parameter active is a string, described as boolean"),
            ("email=a&ids=1&ids=x", "request query parameter ids /1 is a string, described as integer"),
            ("email=a&ids[]=1", "request query parameter * is not declared (meant: ids?)"),
            ("email=a&fields=id,x", "request query parameter fields /1 is none of the 2 described values"),
            ("email=a&page[size]=0", "request query parameter page[size] breaks exclusiveMinimum 0"),
            ("email=a&page[size]=101", "request query parameter page[size] breaks maximum 100"),
            ("email=a&created[gte]=x", "request query parameter created /gte is a string, described as integer"),
            ("email=a&created[gt]=1", "request query parameter created has an undeclared property (meant: gte?)"),
            ("email=a&filter=x", "request query parameter filter is a string, described as object"),
        ],
    )
    def test_otherwise(self, people: Description, query: str, expected: str) -> None:
        """What is undeclared, absent or of another type is an error."""
        assert ask(people, query) == [expected]


class TestHeadersAndPath:
    """Header and path parameters."""

    def test_required_headers(self, people: Description) -> None:
        """A required header has to be there and of its type; headers that carry a key are left to the connector's auth."""
        url = "/api/v2/people?email=a"
        assert people.check_request("GET", url, {"X-ACCOUNT": "12", "Other": "x"}, b"") == []
        assert said(people.check_request("GET", url, {}, b"")) == ["request header X-Account is required and absent"]
        assert said(people.check_request("GET", url, {"x-account": "x"}, b"")) == ["request header X-Account is a string, described as integer"]

    def test_path_parameters(self, people: Description) -> None:
        """A path parameter is of its type."""
        assert people.check_request("DELETE", "/api/v2/people/7", {}, b"") == []
        findings = people.check_request("DELETE", "/api/v2/people/anna", {}, b"")
        assert [str(one) for one in findings] == ["DELETE /people/{person}: request path parameter person is a string, described as integer"]

    def test_parameters_of_a_path_that_are_in_the_query(self, people: Description) -> None:
        """Some descriptions write a query or a fragment into the path."""
        assert people.check_request("GET", "/api/v2/people/export?format=csv", {}, b"") == []
        assert said(people.check_request("GET", "/api/v2/people/export", {}, b"")) == ["request query parameter format is required and absent"]


class TestRequestBody:
    """Request bodies, strictly."""

    @pytest.mark.parametrize(
        "body",
        [
            {"email": "a@example.org"},
            {"email": "a@example.org", "kind": "person", "phone": None, "home": None, "notes": {"any": 1}, "cut": {"any": [1]}},
            {"email": "a@example.org", "labels": {"anything": "x"}, "friends": [{"email": "b@example.org", "friends": []}]},
        ],
    )
    def test_as_described(self, people: Description, body: Any) -> None:
        """``allOf`` counts as one object, free-form objects stay free, and what a trimmed description left out accepts anything."""
        assert post(people, "/api/v2/people", body) == []

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, "request body lacks the required property email"),
            ([], "request body is an array, described as object"),
            ({"email": "a@b.org", "emial": 1}, "request body has an undeclared property (meant: email?)"),
            (
                {"email": "a@b.org", "x": 1, "y": 2},
                "request body has 2 undeclared properties (declared: cut, email, friends, home, id, kind, labels,",
            ),
            ({"email": "a@b.org", "id": 1}, "request body /id is read-only or ruled out"),
            ({"email": 7}, "request body /email is an integer, described as string"),
            ({"email": "nobody"}, "request body /email is not of the format email"),
            ({"email": "a" * 40 + "@b.org"}, "request body /email breaks maxLength 40"),
            ({"email": "a@b.org", "phone": "12"}, r"request body /phone does not match the pattern ^\+[0-9]+$"),
            ({"email": "a@b.org", "kind": "robot"}, "request body /kind is none of the 2 described values"),
            ({"email": "a@b.org", "kind": None}, "request body /kind is null, described as string"),
            ({"email": "a@b.org", "labels": {"anna": 1}}, "request body /labels/* is an integer, described as string"),
            ({"email": "a@b.org", "home": {"town": "x"}}, "request body /home has an undeclared property"),
            ({"email": "a@b.org", "friends": [{"email": "c@d.org"}, {"phone": None}]}, "request body /friends/1 lacks the required property email"),
            ({"email": "a@b.org", "friends": [{"email": "c@d.org", "z": 1}]}, "request body /friends/0 has an undeclared property"),
        ],
    )
    def test_otherwise(self, people: Description, body: Any, expected: str) -> None:
        """Each broken rule is one error, at its place, in the description's words."""
        found = [line for line in post(people, "/api/v2/people", body) if "null and fits" not in line]
        assert any(line.startswith(expected) for line in found), found

    def test_presence_and_content_type(self, people: Description) -> None:
        """A body is there exactly where one is described, and of a described content type."""
        assert said(people.check_request("DELETE", "/api/v2/people/7", {}, b"{}")) == ["request body is sent, where none is described"]
        assert said(people.check_request("POST", "/api/v2/people", {}, b"")) == ["request body is required and absent"]
        assert post(people, "/api/v2/people", {"email": "a@b.org"}, {}) == ["request body has no content type"]
        assert post(people, "/api/v2/people", "x", {"content-type": "text/plain"})[0].startswith("request body has a content type that is not")
        assert post(people, "/api/v2/people", "<x/>", {"content-type": "application/xml; charset=utf-8"}) == []
        assert post(people, "/api/v2/people", "{") == ["request body is not JSON"]
        assert people.check_request("POST", "/api/v2/customers", {}, b"") == []

    @pytest.mark.parametrize(
        "body",
        [
            "email=a%40b.org&balance=-5&live=true",
            "address[city]=Rome&address[floor]=2",
            "address=",
            "items[0][price]=1&items[1][price]=2",
            "expand[]=a&expand[]=b",
            "expand=a&expand=b",
            "tags=a,b",
            "metadata[anna]=x",
        ],
    )
    def test_forms(self, people: Description, body: str) -> None:
        """Forms are read with nested brackets, and every text as its schema says."""
        assert post(people, "/api/v2/customers", body, FORM) == []

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("balance=much", "request body /balance is a string, described as integer"),
            ("name=x", "request body has an undeclared property"),
            ("address[town]=x", "request body /address has an undeclared property"),
            ("address[floor]=x", "request body /address/floor is a string, described as integer"),
            ("items[0][price]=x", "request body /items/0/price is a string, described as integer"),
            ("items[0][count]=1", "request body /items/0 lacks the required property price"),
            ("email[x]=1", "request body /email is an object, described as string"),
        ],
    )
    def test_broken_forms(self, people: Description, body: str, expected: str) -> None:
        """A form is held to its schema like JSON."""
        assert post(people, "/api/v2/customers", body, FORM)[0].startswith(expected)

    def test_json_schema_as_it_is(self, jobs: Description) -> None:
        """OpenAPI 3.1 is JSON Schema: lists of types, ``const``, ``prefixItems``, ``not``, references in a circle."""
        assert post(jobs, "/jobs", {"kind": "erase", "reason": None, "pair": ["a", 1], "child": {"kind": "erase", "size": 1}}) == []
        assert post(jobs, "/jobs", {"kind": "copy"}) == ["request body /kind is not the one described value"]
        assert post(jobs, "/jobs", {"kind": "erase", "size": 0}) == ["request body /size breaks exclusiveMinimum 0"]
        assert post(jobs, "/jobs", {"kind": "erase", "pair": [1, 1]}) == ["request body /pair/0 is an integer, described as string"]
        assert post(jobs, "/jobs", {"kind": "erase", "child": {"kind": "erase", "x": 1}})[0].startswith("request body /child has an undeclared")
        assert post(jobs, "/jobs", {"kind": "erase", "size": 1, "reason": "x"}) == ["request body breaks not"]

    def test_one_of(self, jobs: Description) -> None:
        """Alternatives that each require something of their own rule each other out; the nearest one is explained."""
        assert post(jobs, "/jobs", {"kind": "erase", "who": {"email": "a"}}) == []
        assert post(jobs, "/jobs", {"kind": "erase", "who": {"email": "a", "phone": "b"}})[0].startswith("request body /who fits several of the")
        assert post(jobs, "/jobs", {"kind": "erase", "who": {"email": 1}}) == ["request body /who/email is an integer, described as string"]
        assert post(jobs, "/jobs", {"kind": "erase", "who": 1}) == ["request body /who is an integer and fits none of the 2 described alternatives"]


class TestResponse:
    """Responses, leniently: tolerated by default, by opting in, or never."""

    GOOD: ClassVar[dict[str, Any]] = {"id": 1, "email": "a@b.org"}

    def test_as_described(self, people: Description) -> None:
        """Nothing is said about what is described, nor about properties no one rules out; a write-only property is not missed."""
        assert answer(people, "/api/v2/people", 200, {"data": [self.GOOD, {**self.GOOD, "extra": 1}], "more": False}) == []
        assert answer(people, "/api/v2/people/7", 204, b"", method="DELETE") == []
        assert answer(people, "/api/v2/people", 404, {"error": 1}) == []

    @pytest.mark.parametrize(
        ("path", "status", "body", "expected"),
        [
            ("/people/7", 200, {"id": 1, "email": None}, "response 200 body /email is null, described as string [null_for_non_nullable]"),
            ("/people/7", 404, {}, "response 404 has a status that is not described [undescribed_status]"),
            (
                "/people/7",
                200,
                {**GOOD, "home": {"x": 1}},
                "response 200 body /home has an undeclared property (declared: city) [additional_properties]",
            ),
        ],
    )
    def test_tolerated_by_default(self, people: Description, path: str, status: int, body: Any, expected: str) -> None:
        """Three differences are tolerated unless told otherwise, and reported all the same."""
        assert answer(people, f"/api/v2{path}", status, body) == [expected]
        strict = people.check_response("GET", f"/api/v2{path}", status, JSON, json.dumps(body).encode(), ())
        assert [one.severity for one in strict] == ["error"]

    @pytest.mark.parametrize(
        ("tolerance", "method", "path", "status", "body"),
        [
            (Tolerance.MISSING_REQUIRED, "GET", "/people/7", 200, {"id": 1}),
            (Tolerance.MISSING_REQUIRED, "GET", "/people/7", 200, b""),
            (Tolerance.UNKNOWN_ENUM, "GET", "/people/7", 200, {**GOOD, "kind": "robot"}),
            (Tolerance.TYPE_DIFFERS, "GET", "/people/7", 200, {**GOOD, "friends": "none"}),
            (Tolerance.TYPE_DIFFERS, "GET", "/people/7", 200, {**GOOD, "home": "Rome"}),
            (Tolerance.UNDESCRIBED_SUCCESS, "DELETE", "/people/7", 200, b""),
            (Tolerance.UNDESCRIBED_BODY, "DELETE", "/people/7", 204, {"deleted": True}),
            (Tolerance.UNDESCRIBED_BODY, "GET", "/people/search", 200, {"deleted": True}),
        ],
    )
    def test_tolerated_when_told(self, people: Description, tolerance: Tolerance, method: str, path: str, status: int, body: Any) -> None:
        """The other differences are errors until the caller opts in."""
        (strict,) = answer(people, f"/api/v2{path}", status, body, method=method)
        assert "[" not in strict
        assert answer(people, f"/api/v2{path}", status, body, tolerance, method=method) == [f"{strict} [{tolerance}]"]

    def test_content_types(self, people: Description) -> None:
        """Another content type is an error until tolerated; JSON under another name is checked all the same."""
        (finding,) = answer(people, "/api/v2/people/7", 200, b"<p>", kind="text/html")
        assert finding == "response 200 has a content type that is not described"
        both = answer(people, "/api/v2/people/7", 200, {"id": "x", "email": "a"}, Tolerance.UNDESCRIBED_CONTENT_TYPE, kind="application/hal+json")
        assert both == [f"{finding} [undescribed_content_type]", "response 200 body /id is a string, described as integer"]

    def test_never_tolerated(self, people: Description) -> None:
        """What is no JSON, breaks a limit, or answers an operation that does not exist is an error whatever is tolerated."""
        everything = tuple(Tolerance)
        assert answer(people, "/api/v2/people/7", 200, b"<p>", *everything) == ["response 200 has a body that is not JSON"]
        long = {**self.GOOD, "email": "a" * 41}
        assert answer(people, "/api/v2/people/7", 200, long, *everything) == ["response 200 body /email breaks maxLength 40"]
        assert answer(people, "/api/v2/robots", 200, {}, *everything) == ["response 200 is for a path that is not described"]

    def test_an_error_status_without_a_described_body(self) -> None:
        """A 4xx described without saying what its body looks like is as good as not described."""
        raw = {"openapi": "3.0.0", "paths": {"/a": {"get": {"responses": {"400": {"description": "wrong"}}}}}}
        expected = ["response 400 has a body, where none is described [undescribed_status]"]
        assert said(Description(raw).check_response("GET", "/a", 400, JSON, b'{"error": 1}')) == expected

    def test_tolerances_reach_into_alternatives(self) -> None:
        """Of several alternatives the one that fits but for something tolerated is the one meant."""
        dog = {"type": "object", "required": ["bark"], "properties": {"bark": {"type": "string"}}}
        cat = {"type": "object", "required": ["meow"], "properties": {"meow": {"type": "string"}}}
        content = {"application/json": {"schema": {"oneOf": [{"type": "string"}, dog, cat]}}}
        raw = {"openapi": "3.1.0", "paths": {"/a": {"get": {"responses": {"200": {"content": content}}}}}}
        found = said(Description(raw).check_response("GET", "/a", 200, JSON, b'{"meow": null}'))
        assert found == ["response 200 body /meow is null, described as string [null_for_non_nullable]"]

    def test_patterns_of_other_engines(self) -> None:
        """A pattern the validator cannot read is passed over, one it can read holds."""
        for pattern, expected in ((r"^[\w-_]+$", 0), ("^[a-z]+$", 1)):
            content = {"application/json": {"schema": {"type": "string", "pattern": pattern}}}
            raw = {"openapi": "3.0.0", "paths": {"/a": {"get": {"responses": {"200": {"content": content}}}}}}
            assert len(Description(raw).check_response("GET", "/a", 200, JSON, b'"@"')) == expected


def test_strict_objects_stay_fair() -> None:
    """A base class, a free-form alternative and an ``allOf`` closed by mistake do not rule out what they are meant to allow."""
    base = {"type": "object", "properties": {"type": {"type": "string"}}, "discriminator": {"propertyName": "type"}}
    free = {"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "object"}]}
    parts = [{"type": "object", "properties": {name: {}}, "additionalProperties": False} for name in "ab"]
    closed = {"allOf": [parts[0]], "properties": {"b": {}}, "additionalProperties": False}
    loose = {"oneOf": [{"type": "object", "properties": {"a": {}}}, {"type": "object", "properties": {"b": {}}}]}
    none: dict[str, int] = {}
    both, x = {"a": 1, "b": 1}, {"x": 1}
    for schema, good, bad in (
        (base, x, []),
        (free, x, []),
        (closed, both, x),
        ({"allOf": parts}, both, x),
        (loose, both, x),
        ({"anyOf": parts}, {"b": 1}, both),
        ({"type": "object", "properties": {}, "additionalProperties": False}, none, x),
    ):
        body_of = {"content": {"application/json": {"schema": schema}}}
        description = Description({"openapi": "3.0.0", "paths": {"/a": {"post": {"requestBody": body_of}}}})
        assert description.check_request("POST", "/a", JSON, json.dumps(good).encode()) == []
        assert len(description.check_request("POST", "/a", JSON, json.dumps(bad).encode())) == 1


MARK = "anna.maier@example.org"


def examples(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each described operation: its method, a URL for it, and the operation as described."""
    raw = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    for template, item in raw["paths"].items():
        for method in item.keys() & {"get", "put", "post", "delete", "patch"}:
            servers = item[method].get("servers") or item.get("servers") or raw.get("servers") or [{"url": "/"}]
            base = servers[0]["url"].partition("//")[2].partition("/")[2].rstrip("/")
            url = f"/{base}{template}" if base else template
            yield method, re.sub(r"\{[^{}]*\}", "1", re.split("[?#]", url)[0]), item[method]


@needs_shared
class TestVendors:
    """The vendors' own descriptions, and what they really answered."""

    @pytest.mark.thorough
    def test_every_description_is_read_and_compiled(self) -> None:
        """All descriptions load, every schema in them compiles, in reasonable time, and no finding repeats a value or a foreign name."""
        assert SHARED is not None
        slowest, operations, findings = 0.0, 0, 0
        body = {MARK: MARK, "email": MARK, "data": [{MARK: {MARK: MARK}, "email": [MARK], "id": {"x": MARK}}]}
        raw = json.dumps(body).encode()
        form = f"{MARK}={MARK}&email[{MARK}]={MARK}".encode()
        paths = sorted((SHARED / "specs").glob("*.yaml"))
        for path in paths:
            started = time.process_time()
            description = Description.load(path)
            for method, url, operation in examples(path):
                assert description.operation(method, url) is not None, f"{path.name}: {method} {operation.get('operationId')}"
                found: list[Finding] = []
                for kind in ("application/json", "application/vnd.api+json", "application/x-www-form-urlencoded"):
                    sent = form if "form" in kind else raw
                    found += description.check_request(method, f"{url}?{MARK}={MARK}&limit={MARK}", {"Content-Type": kind}, sent)
                for status in operation["responses"]:
                    code = int(status) if str(status).isdigit() else 500
                    found += description.check_response(method, url, code, JSON, raw)
                assert not any(MARK in str(one) for one in found)
                operations += 1
                findings += len(found)
            slowest = max(slowest, time.process_time() - started)
        print(f"\n{len(paths)} descriptions, {operations} operations, {findings} findings, slowest {slowest:.2f} s", file=sys.stderr)  # noqa: T201
        assert len(paths) > 50
        assert slowest < 5

    @pytest.mark.parametrize(
        ("vendor", "at_least", "sensitivity"),
        [
            ("stripe", 17, 0.9),
            ("zendesk", 13, 0.01),
            ("mailchimp", 20, 0.8),
            ("hubspot", 24, 0.9),
            ("intercom", 51, 0.8),
            ("auth0", 14, 0.9),
            ("datadog", 11, 0.8),
        ],
    )
    def test_real_answers_pass_and_damaged_ones_do_not(self, vendor: str, at_least: int, sensitivity: float) -> None:
        """What the vendor answered has no errors; the same with one value of a wrong type is noticed where the description has types.

        The sensitivity tells how much a clean result is worth. Zendesk's is next to nothing: its description leaves users and tickets untyped.
        """
        assert SHARED is not None
        description = Description.load(SHARED / "specs" / f"{vendor}.yaml")
        tolerances = DEFAULT_TOLERANCES | {Tolerance.MISSING_REQUIRED, Tolerance.UNKNOWN_ENUM}
        passed = absent = unreadable = tolerated = damaged = noticed = 0
        for method, url, status, headers, body in recorded(vendor):
            if description.operation(method, url) is None:
                absent += 1
                continue
            value = parsed(body)
            if body and value is None and "json" in headers.get("content-type", ""):
                unreadable += 1  # scrubbed to pieces by those who published it
                continue
            found = description.check_response(method, url, status, headers, body, tolerances)
            assert [str(one) for one in found if one.severity == "error"] == []
            passed += 1
            tolerated += len(found)
            for wrong in damages(value) if status < 400 else ():
                damaged += 1
                answer = description.check_response(method, url, status, headers, json.dumps(wrong).encode(), tolerances)
                noticed += any(one.severity == "error" for one in answer)
        counts = f"{passed} answers pass ({tolerated} tolerated findings), {absent} of operations not described, {unreadable} unreadable"
        print(f"\n{vendor}: {counts}; {noticed} of {damaged} damages noticed", file=sys.stderr)  # noqa: T201
        assert passed >= at_least
        assert noticed >= sensitivity * damaged

    def test_requests_to_a_real_description(self) -> None:
        """Stripe's description takes the requests of Stripe's own documentation, and refuses slips in them."""
        assert SHARED is not None
        stripe = Description.load(SHARED / "specs" / "stripe.yaml")
        base = "https://api.stripe.com/v1/customers"
        for query in ("email=a%40example.org&limit=100&starting_after=cus_1", "created[gte]=1&created[lt]=2", "created=1", "expand[]=data.sources"):
            assert stripe.check_request("GET", f"{base}?{query}", {}, b"") == []
        for query in ("mail=a", "limit=ten", "created[since]=1"):
            assert len(stripe.check_request("GET", f"{base}?{query}", {}, b"")) == 1
        good = b"email=a%40example.org&address[city]=Rome&metadata[x]=1&preferred_locales[0]=it"
        assert stripe.check_request("POST", f"{base}/cus_1", FORM, good) == []
        assert len(stripe.check_request("POST", f"{base}/cus_1", FORM, b"address[town]=Rome")) == 1
        assert len(stripe.check_request("DELETE", f"{base}/cus_1", FORM, b"force=true")) == 1


def recorded(vendor: str) -> Iterator[tuple[str, str, int, dict[str, str], bytes]]:
    """The published recordings of a vendor."""
    assert SHARED is not None
    for path in sorted((SHARED / "recordings" / vendor).glob("*.yaml")):
        for one in yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["interactions"]:
            request, response = one["request"], one["response"]
            url = urlsplit(request["uri"])
            if vendor == "zendesk":  # recorded with a suffix that the description has dropped
                url = url._replace(path=url.path.removesuffix(".json"))
            headers = {name.lower(): values[0] if isinstance(values, list) else values for name, values in response["headers"].items()}
            body = response["body"].get("string") or ""
            yield request["method"], url.geturl(), response["status"]["code"], headers, body if isinstance(body, bytes) else body.encode()


def parsed(body: bytes) -> Any:
    """A JSON body's value; ``None`` if it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def damages(value: Any) -> Iterator[Any]:
    """The value with, in turn, each part down to the third level replaced by one of another type."""

    def places(node: Any, depth: int, *way: Any) -> Iterator[tuple[Any, ...]]:
        if way:
            yield way
        inner = node.items() if isinstance(node, dict) else list(enumerate(node))[:1] if isinstance(node, list) else ()
        for key, part in inner if depth else ():
            yield from places(part, depth - 1, *way, key)

    for *way, last in places(value, 3):
        wrong = copy.deepcopy(value)
        node = wrong
        for step in way:
            node = node[step]
        node[last] = 7.5 if isinstance(node[last], list | dict) else [[7]]
        yield wrong
