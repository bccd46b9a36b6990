"""The API a connector is handed: statuses, redirects, JSON, retries, and what may be said about a request."""

from __future__ import annotations

import logging
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dsr_sdk import AuthError, ConfigError, ContractError, DsrError, NotFoundError, RejectedError, TransientError
from dsr_sdk.http import Api, BasicAuth, BearerAuth, HeaderKey, Offset, PageNumber, QueryKey, RetryPolicy
from dsr_sdk.http.redact import error_code
from dsr_sdk.testing import Answer, Call, Sandbox, route, serve
from tests.http.conftest import make

CANARY = "canary-7f3e9d2b@secret.example"


def answering(status: int = 200, content: bytes = b"{}", **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """Always the same answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(status, content=content, headers=named)


# --- statuses ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RejectedError),
        (401, AuthError),
        (403, AuthError),
        (404, NotFoundError),
        (405, RejectedError),
        (408, TransientError),
        (409, RejectedError),
        (410, NotFoundError),
        (422, RejectedError),
        (425, TransientError),
        (429, TransientError),
        (451, RejectedError),
        (500, TransientError),
        (502, TransientError),
        (503, TransientError),
        (504, TransientError),
        (599, TransientError),
    ],
)
def test_statuses(status: int, error: type[DsrError]) -> None:
    """Each status is an error of the class whose reader can do something about it."""
    with pytest.raises(error, match=rf"DELETE /v1/x/{{id}} answered {status}") as caught:
        make(answering(status)).api().delete("/v1/x/{id}", id="5")
    assert type(caught.value) is error
    assert caught.value.source == "made"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_successes(status: int) -> None:
    """2xx is an answer."""
    reply = make(answering(status, b"")).api().delete("/v1/x")
    assert (reply.status, reply.ok, reply.absent) == (status, True, False)


def test_absent_only_for_those_who_ask() -> None:
    """A 404 is a value with ``absent_ok``; a proxy's page that says 404 is none."""
    assert make(answering(404)).api().get("/x", absent_ok=True).absent
    assert make(answering(410)).api().delete("/x", absent_ok=True).absent
    with pytest.raises(NotFoundError):
        make(answering(404, b"<html>not here", content_type="text/html")).api().get("/x", absent_ok=True)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_a_web_page_confirms_nothing(method: str) -> None:
    """A proxy's page with status 200 must not be read as an erasure."""
    page = answering(200, b"\n<!DOCTYPE html><title>Maintenance</title>")
    with pytest.raises(ConfigError, match="web page"):
        getattr(make(page).api(), method)("/v1/x")


def test_error_codes_are_bare_words() -> None:
    """Of a vendor's error body only a machine-readable code is repeated."""
    body = b'{"error": {"code": "contact_locked", "message": "canary-7f3e9d2b@secret.example is locked"}}'
    with pytest.raises(RejectedError) as caught:
        make(answering(400, body)).api().get("/x")
    assert caught.value.code == "contact_locked"
    assert "contact_locked" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert error_code({"code": CANARY}) is None
    assert error_code({"errors": [{"code": "a_code"}]}) == "a_code"
    assert error_code(["x"]) is None


# --- JSON --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "headers", "error"),
    [
        (b'{"data": [', {}, TransientError),
        (b"", {}, TransientError),
        (b"NaN", {}, TransientError),
        (b"\xff\xfe", {}, TransientError),
        (b"[" * 100_000, {}, TransientError),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, {}, TransientError),
        (b"<html>", {}, ConfigError),
        (b"oops", {"content_type": "text/html"}, ConfigError),
    ],
    ids=["truncated", "empty", "NaN", "no UTF-8", "deep list", "deep object", "HTML", "HTML by its type"],
)
def test_bodies_that_are_no_json(content: bytes, headers: dict[str, str], error: type[DsrError]) -> None:
    """Never an empty answer: cut off, nested without end, a web page."""
    reply = make(answering(200, content, **headers)).api().get("/x")
    with pytest.raises(error) as caught:
        reply.json()
    assert "GET /x" in str(caught.value)


def test_objects_are_demanded() -> None:
    """A list where an object belongs."""
    with pytest.raises(TransientError, match="list where an object belongs"):
        make(answering(200, b"[]")).api().get("/x").object()


# --- redirects ---------------------------------------------------------------------------------------------------------------------


def redirecting(location: str, status: int = 302) -> Callable[[httpx.Request], httpx.Response]:
    """One redirect from ``/old``."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/old":
            return httpx.Response(status, headers={"location": location})
        return httpx.Response(200, json={"path": request.url.path, "auth": request.headers.get("authorization")})

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_get_follows_on_its_own_host(status: int) -> None:
    """And is signed there, too."""
    http = make(redirecting("/new", status), auth=BearerAuth(SecretStr("t")))
    assert http.api().get("/old").json() == {"path": "/new", "auth": "Bearer t"}


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/new",
        "//evil.example/new",
        "http://api.made.example/new",
        "https://api.made.example:8443/new",
        "https://api.made.example@evil.example/",
        "https://api.made.example.evil.example/",
    ],
)
def test_nobody_follows_elsewhere(location: str) -> None:
    """Another host, another port, another scheme: the key would go along."""
    with pytest.raises(ConfigError, match="another host") as caught:
        make(redirecting(location), auth=BearerAuth(SecretStr("t"))).api().get("/old")
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_an_effect_is_never_redirected(method: str) -> None:
    """Whoever erases at the wrong address must be told so."""
    with pytest.raises(ConfigError, match="a redirect"):
        getattr(make(redirecting("/new", 307)).api(), method)("/old")


def test_circles_end() -> None:
    """A redirect to itself."""
    with pytest.raises(ConfigError, match="circles"):
        make(redirecting("/old")).api().get("/old")


# --- paths and queries -------------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=40).filter(lambda text: text not in (".", "..")))
def test_a_slot_is_one_segment(value: str) -> None:
    """Whatever an id holds (slashes, dots, question marks, line breaks, any Unicode): it stays one segment of the path, and comes back whole."""
    seen: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200)

    make(answer).api().get("/v1/people/{id}/mail", id=value)
    (url,) = seen
    raw = url.raw_path.decode()
    assert raw.startswith("/v1/people/")
    assert raw.endswith("/mail")
    assert raw.count("/") == 4
    assert url.host == "api.made.example"
    assert unquote(raw.split("/")[3]) == value


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800"])
def test_a_slot_that_climbs_is_refused(value: str) -> None:
    """``..`` would erase something else."""
    with pytest.raises(RejectedError, match="cannot stand in a path"):
        make(answering()).api().delete("/v1/people/{id}", id=value)


def test_templates_are_checked() -> None:
    """A slot without a value, a value without a slot, a path without a slash, a number for an id: the author is told."""
    api = make(answering()).api()
    calls: list[tuple[str, dict[str, str]]] = [("/v1/{id}", {}), ("/v1", {"id": "1"}), ("v1", {})]
    for path, slots in calls:
        with pytest.raises(ContractError):
            api.get(path, **slots)  # type: ignore[arg-type]  # mypy takes slots for any parameter
    with pytest.raises(RejectedError):
        api.get("/v1/{id}", id=5)  # type: ignore[arg-type]  # as an author without mypy would


@given(st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=5), st.text(max_size=20), max_size=4))
def test_parameters_cannot_be_smuggled(params: dict[str, str]) -> None:
    """A value with ``&`` or ``#`` stays that value."""
    seen: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200)

    make(answer).api().get("/x", params)
    assert dict(seen[0].params) == params
    assert not seen[0].fragment


def test_parameters_of_every_kind() -> None:
    """None is left out, lists repeat, booleans are written as JSON writes them."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.query.decode())
        return httpx.Response(200)

    make(answer).api().get("/x", {"a": None, "b": [1, 2], "c": True, "d": 0, "e": ""})
    assert seen == ["b=1&b=2&c=true&d=0&e="]


# --- retries -----------------------------------------------------------------------------------------------------------------------


class Failing:
    """Fails so many times, then answers; counts the calls and remembers when they came."""

    def __init__(self, times: int, status: int = 503, **headers: str) -> None:
        self.times = times
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.calls: list[httpx.Request] = []
        self.at: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        self.at.append(time.monotonic())
        if len(self.calls) <= self.times:
            return httpx.Response(self.status, headers=self.headers)
        return httpx.Response(200, json={})


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_what_may_be_repeated_is(method: str) -> None:
    """GET, PUT and DELETE: a passing failure is not seen."""
    vendor = Failing(2)
    assert getattr(make(vendor).api(), method)("/x").ok
    assert len(vendor.calls) == 3


@pytest.mark.parametrize("method", ["post", "patch"])
def test_what_may_not_be_repeated_is_not(method: str) -> None:
    """POST and PATCH might take effect twice; with ``retry=True`` the author says that they do not."""
    vendor = Failing(1)
    with pytest.raises(TransientError):
        getattr(make(vendor).api(), method)("/x", {})
    assert len(vendor.calls) == 1
    vendor = Failing(1)
    assert getattr(make(vendor).api(), method)("/x", {}, retry=True).ok
    assert len(vendor.calls) == 2


def test_an_idempotency_key_allows_repeating() -> None:
    """The same key for each try, another one for the next call, the same again when the unit of work is done over; reading carries none."""
    vendor = Failing(1)
    http = make(vendor, idempotency_header="Idempotency-Key")
    for _ in range(2):
        api = http.api(operation_key="op")
        api.post("/x", {})
        api.post("/y", {})
        api.get("/z")
    keys = [(request.url.path, request.headers.get("idempotency-key")) for request in vendor.calls]
    assert keys == [("/x", "op-0"), ("/x", "op-0"), ("/y", "op-1"), ("/z", None), ("/x", "op-0"), ("/y", "op-1"), ("/z", None)]


def test_without_an_operation_nothing_is_keyed() -> None:
    """A search is no operation: its POST carries no key and is not repeated."""
    vendor = Failing(1)
    with pytest.raises(TransientError):
        make(vendor, idempotency_header="Idempotency-Key").api().post("/x", {})
    assert "idempotency-key" not in vendor.calls[0].headers


def test_tries_end() -> None:
    """Three in all, then the drain's turn."""
    vendor = Failing(9)
    with pytest.raises(TransientError):
        make(vendor).api().get("/x")
    assert len(vendor.calls) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_what_does_not_pass_is_not_repeated(status: int) -> None:
    """Asking again would not help, and might lock an account."""
    vendor = Failing(1, status)
    with pytest.raises(DsrError):
        make(vendor).api().get("/x")
    assert len(vendor.calls) == 1


def test_a_short_retry_after_is_waited_for() -> None:
    """The vendor's own wait, not ours."""
    vendor = Failing(1, 429, retry_after="1")
    make(vendor).api().get("/x")
    assert vendor.at[1] - vendor.at[0] >= 0.95


def test_a_long_retry_after_is_the_drains() -> None:
    """Handed over at once, with the seconds in it; and the pacer holds the other threads back."""
    vendor = Failing(9, 429, retry_after="120")
    http = make(vendor)
    with pytest.raises(TransientError) as caught:
        http.api().get("/x")
    assert caught.value.retry_after == 120
    assert len(vendor.calls) == 1
    with pytest.raises(TransientError, match="used up") as held:
        http.api().get("/y")
    assert len(vendor.calls) == 1
    assert held.value.retry_after is not None
    assert 110 < held.value.retry_after <= 120


def test_a_retry_after_that_is_a_date() -> None:
    """An HTTP date, seconds ahead of now."""
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    with pytest.raises(TransientError) as caught:
        make(Failing(9, 503, retry_after=when)).api().get("/x")
    assert caught.value.retry_after is not None
    assert 80 < caught.value.retry_after <= 90


def test_tries_of_a_policy() -> None:
    """One try is one try, and an error of another kind passes through at once."""
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise TransientError("no")

    with pytest.raises(TransientError):
        RetryPolicy(attempts=1).run(fail, repeat=True)
    with pytest.raises(TransientError):
        RetryPolicy(attempts=3, base=0.001).run(fail, repeat=False)
    assert len(calls) == 2

    def other() -> None:
        calls.append(1)
        raise TransientError("no") if len(calls) == 3 else KeyError("x")

    with pytest.raises(KeyError):
        RetryPolicy(attempts=5, base=0.001).run(other, repeat=True)


# --- signing, and what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (BearerAuth(SecretStr("s3cret")), "authorization", "Bearer s3cret"),
        (HeaderKey("X-Api-Key", SecretStr("s3cret")), "x-api-key", "s3cret"),
        (HeaderKey("Authorization", SecretStr("s3cret"), prefix="Key "), "authorization", "Key s3cret"),
        (BasicAuth("user", SecretStr("s3cret")), "authorization", "Basic dXNlcjpzM2NyZXQ="),
        (BasicAuth(SecretStr("s3cret")), "authorization", "Basic czNjcmV0Og=="),
    ],
)
def test_signing(auth: httpx.Auth, header: str, value: str) -> None:
    """Each helper writes what its standard says, and its repr shows nothing of it."""
    vendor = Failing(0)
    make(vendor, auth=auth).api().get("/x")
    assert vendor.calls[0].headers[header] == value
    assert "s3cret" not in repr(auth) + repr(vars(auth))


def test_a_key_in_the_query() -> None:
    """Added to what is asked, replacing nothing."""
    vendor = Failing(0)
    make(vendor, auth=QueryKey("api_key", SecretStr("s3cret"))).api().get("/x", {"a": "1"})
    assert dict(vendor.calls[0].url.params) == {"a": "1", "api_key": "s3cret"}


class Misbehaving(Sandbox):
    """Fails in every way for paths that hold a person."""

    slug, title = "misbehaving", "Misbehaving"

    @route("GET", "/people/{id}")
    def person(self, call: Call) -> Answer:
        kind = call.params.get("kind", "")
        if kind.isdigit():
            return Answer.json({"error": {"code": "x", "message": CANARY}}, int(kind), {"X-Person": CANARY})
        return Answer(200, b'{"email": "' + CANARY.encode(), breakage=kind)


@pytest.mark.parametrize("kind", ["200", "302", "400", "401", "404", "429", "500", "reset", "reset_mid_body", ""])
def test_nothing_is_said_of_persons_and_secrets(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Over a real connection, at DEBUG, for every failure: neither logs nor errors nor their causes repeat an id, a query, a header or a key."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "vcr"):
        caplog.set_level(logging.DEBUG, logger=name)
    with serve(Misbehaving()) as server:
        http = make(base_url=server.url, allow_private_hosts=True, auth=BearerAuth(SecretStr("s3cret-key")), retry=RetryPolicy(attempts=1))
        caught: Any = None
        try:
            http.api().get("/people/{id}", {"kind": kind, "email": CANARY}, headers={"X-Trace": CANARY}, id=CANARY).json()
        except DsrError as error:
            caught = error
        http.close()
    assert (caught is None) == (kind == "200")
    said = caplog.text
    while caught is not None:
        said += f"{caught!r} {caught} {vars(caught)}"
        caught = caught.__cause__ or (caught.__context__ if not caught.__suppress_context__ else None)
    assert "canary" not in said
    assert "s3cret" not in said


def test_others_may_log(caplog: pytest.LogCaptureFixture) -> None:
    """The host application's own use of httpx logs as it always did."""
    caplog.set_level(logging.DEBUG)
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        client.get("https://application.example/page")
    assert "application.example" in caplog.text


def test_reprs_show_nothing() -> None:
    """A reply's repr is its status and its call."""
    reply = make(answering(200, CANARY.encode())).api().get("/people/{id}", id=CANARY)
    assert repr(reply) == "<Reply 200 to GET /people/{id}>"
    assert CANARY not in repr(make(answering()).api()) + repr(Api)


@pytest.mark.parametrize("name", ["", None])
def test_a_parameter_without_a_name_is_refused(name: Any) -> None:
    """On the wire it would be ``&=100``: nobody means that, and a vendor may read it as anything."""
    api = make(lambda request: httpx.Response(200, json={"data": []})).api()
    for call in (
        lambda: api.get("/people", {name: 100}),
        lambda: api.post("/people", form={name: 100}),
        lambda: list(api.pages("/people", paging=PageNumber("data", param=name))),
        lambda: list(api.pages("/people", paging=Offset("data", param=name), method="POST")),
    ):
        with pytest.raises(ContractError, match=r"/people: a parameter has no name"):
            call()
