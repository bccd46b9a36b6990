"""Nothing below us speaks of people or secrets: no log, no error, no traceback, no repr."""

from __future__ import annotations

import gc
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

import dsr_sdk.http
from dsr_sdk import DsrError
from dsr_sdk.http import (
    BasicAuth,
    BearerAuth,
    Cursor,
    HeaderKey,
    LinkHeader,
    NextUrl,
    OAuth2ClientCredentials,
    Offset,
    PageNumber,
    QueryKey,
    RateHeaders,
    RateLimit,
    Reply,
    RetryPolicy,
    SourceHttp,
    StartingAfter,
)
from dsr_sdk.http.redact import error_code, quiet
from tests.http.conftest import Made, Script, make

PERSON = "canary-7f3e9d2b@person.example"
SECRET = "s3cret-9a1b8c7d"
CANARIES = ("canary-7f3e9d2b", "s3cret-9a1b8c7d", "canary%2D7f3e9d2b", "Y2FuYXJ5", "czNjcmV0")
"""As they are, percent-encoded, and as base 64 begins with them."""


def clean(text: str) -> bool:
    """Nobody's address and no secret is in it."""
    return not any(canary in text for canary in CANARIES)


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Every logger there is says everything it knows."""
    caplog.set_level(logging.DEBUG)
    loggers = [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    yield caplog
    for logger, level, propagate in before:
        logger.setLevel(level)
        logger.propagate = propagate


def everything_said(error: BaseException) -> str:
    """All that an error says wherever it is shown: itself, its attributes, its traceback with every cause that is printed."""
    return f"{error} {error!r} {vars(error)} {error.args} {''.join(traceback.format_exception(error))}"


HEAD = "HTTP/1.1 {} X\r\nX-Person: " + PERSON + "\r\nSet-Cookie: a=" + PERSON + "\r\n"
BODY = '{"error": {"code": "' + PERSON + '", "message": "' + PERSON + " " + SECRET + '"}, "email": "' + PERSON + '"}'


def answer(status: int, body: str = BODY, *lines: str) -> bytes:
    """An answer that repeats the person wherever it can."""
    return (HEAD.format(status) + "".join(f"{line}\r\n" for line in lines) + f"Content-Length: {len(body)}\r\n\r\n{body}").encode()


ANSWERS = {
    **{str(status): answer(status) for status in (200, 204, 304, 400, 401, 403, 404, 409, 418, 422, 429, 500, 503)},
    "redirect elsewhere": answer(302, "", f"Location: https://elsewhere.example/{PERSON}"),
    "redirect to nowhere": answer(302, "", f"Location: https://[{PERSON}"),
    "redirect in circles": answer(302, "", f"Location: /people/{PERSON}"),
    "html": answer(200, f"<html>{PERSON}", "Content-Type: text/html"),
    "html error": answer(404, f"<html>{PERSON}", "Content-Type: text/html"),
    "no json": answer(200, PERSON),
    "cut": answer(200)[:-20],
    "no http": PERSON.encode() + b"\r\n\r\n",
    "bad header": (HEAD.format(200) + f"{PERSON}\r\n\r\n").encode(),
    "bad chunk": (HEAD.format(200) + f"Transfer-Encoding: chunked\r\n\r\n{PERSON}\r\n").encode(),
    "bad gzip": answer(200, BODY, "Content-Encoding: gzip"),
    "bad length": (HEAD.format(200) + f"Content-Length: {PERSON}\r\n\r\n").encode(),
    "rate": answer(429, BODY, f"Retry-After: {PERSON}"),
    "nothing": b"",
}

WAYS: dict[str, Callable[[str], httpx.Auth]] = {
    "bearer": lambda url: BearerAuth(SecretStr(SECRET)),
    "query": lambda url: QueryKey("api_key", SecretStr(SECRET)),
    "oauth": lambda url: OAuth2ClientCredentials(f"{url}/token", "client", SecretStr(SECRET)),
}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_said(way: str, kind: str, script: Callable[..., Script], loud: pytest.LogCaptureFixture) -> None:
    """A vendor that repeats the person and the key in every place, over a real connection: no log at any level of any logger, and no error in any
    rendering, says either."""
    server = script(ANSWERS[kind])
    http = make(base_url=server.url, allow_private_hosts=True, auth=WAYS[way](server.url), retry=RetryPolicy(attempts=2, base=0.0, longest=0.0))
    for method in ("get", "post"):
        call = getattr(http.api(operation_key=PERSON), method)
        try:
            reply = call("/people/{id}/{key}", params={"email": PERSON}, headers={"X-Person": PERSON}, id=PERSON, key=SECRET)
            assert clean(repr(reply))
            list(http.api().pages("/people/{id}", {"email": PERSON}, paging=NextUrl("data", next="email"), id=PERSON))
        except DsrError as error:
            said = everything_said(error)
            assert clean(said), said
        else:
            assert kind in ("200", "204", "304", "no json")
    http.close()
    assert server.requests
    assert clean(loud.text)


def test_our_calls_are_quiet_and_others_are_not(script: Callable[..., Script], loud: pytest.LogCaptureFixture) -> None:
    """While one thread of ours calls, the host application's own calls on another thread log as they always did."""
    server = script(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with quiet():
        with quiet():
            httpx.get(server.url + "/inner-of-ours", trust_env=False)
        httpx.get(server.url + "/still-ours", trust_env=False)

        def application() -> None:
            httpx.get(server.url + "/of-the-application", trust_env=False)

        other = threading.Thread(target=application)
        other.start()
        other.join()
    httpx.get(server.url + "/afterwards", trust_env=False)
    assert "ours" not in loud.text
    assert "/of-the-application" in loud.text
    assert "/afterwards" in loud.text
    gc.collect()


def test_quiet_ends_with_an_error(loud: pytest.LogCaptureFixture) -> None:
    """A call that fails does not leave the thread silent."""
    with pytest.raises(KeyError), quiet():
        raise KeyError
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as application:
        application.get("https://application.example/page")
    assert "application.example" in loud.text


# --- codes ---------------------------------------------------------------------------------------------------------------------------------


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.emails()
    | st.sampled_from(["+49 151 12345678", "Ada Lovelace", "not_found"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "type", "error", "errors", "errorCode", "category", "name", "title", "status", "x"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_code_is_one_bare_word(body: Any) -> None:
    """Of any error body only a short word of letters, digits, dots and dashes is taken: never an address, a number or a sentence."""
    code = error_code(body)
    if code is not None:
        assert code.isascii()
        assert code[0].isalpha()
        assert len(code) <= 61
        assert not set(code) & set("@ +/:?&=%\"'<>\n\r\t\\")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": "invalid_grant"}, "invalid_grant"),
        ({"error": {"type": "card_error", "code": "expired-card"}}, "expired-card"),
        ({"errors": [{"code": "E.12"}, {"code": "E.13"}]}, "E.12"),
        ({"category": "OBJECT_NOT_FOUND", "message": "x"}, "OBJECT_NOT_FOUND"),
        ({"code": 40_401, "errorCode": "RecordNotFound"}, "RecordNotFound"),
        ({"name": "Lovelace", "title": "Countess"}, None),
        ({"error": "the contact ada is locked"}, None),
        ({"error": PERSON}, None),
        ({"code": "x" * 62}, None),
        ({"code": "a\n"}, None),
        ({"code": "49151"}, None),
        ({"errors": []}, None),
        ({"errors": ["x"]}, None),
        ([], None),
        ("not_found", None),
        (None, None),
    ],
)
def test_codes_of_vendors(body: Any, code: str | None) -> None:
    """Where vendors put their codes."""
    assert error_code(body) == code


# --- reprs -----------------------------------------------------------------------------------------------------------------------------------


def test_reprs() -> None:
    """Whatever of this floor is printed, in a debugger or by an error tracker, shows neither person nor key, not even one level deep."""
    auths = [
        BearerAuth(SecretStr(SECRET)),
        HeaderKey("X-Key", SecretStr(SECRET)),
        BasicAuth(SECRET, SECRET),
        BasicAuth(SecretStr(SECRET), SecretStr(SECRET)),
        QueryKey("key", SecretStr(SECRET)),
        OAuth2ClientCredentials("https://login.example/token", "client", SecretStr(SECRET)),
    ]
    http = make(lambda request: httpx.Response(200, json={"email": PERSON}, headers={"X-Person": PERSON}), auth=auths[-1])
    auths[-1]._token = SecretStr(SECRET)  # type: ignore[attr-defined]  # as after its first call
    auths[-1]._expires_at = float("inf")  # type: ignore[attr-defined]  # likewise
    unit = http.api(operation_key="key")
    reply = unit.get("/people/{id}", {"email": PERSON}, id=PERSON)
    things: list[Any] = [
        *auths,
        http,
        unit,
        reply,
        Reply(404, {"x": PERSON}, PERSON.encode(), call="GET /people/{id}", url=f"https://x.example/{PERSON}"),
        Cursor("a", "b", "c"),
        LinkHeader(),
        NextUrl("a"),
        Offset("a"),
        PageNumber("a"),
        StartingAfter("a"),
        RateHeaders(),
        RateLimit(1, 1),
        RetryPolicy(),
        SourceHttp(Made()),
    ]
    for thing in things:
        assert clean(repr(thing)), type(thing)
        assert clean(str(thing)), type(thing)
        assert clean(f"{thing}")
        if not isinstance(thing, Reply):  # its body is for the connector's eyes
            assert clean(repr(getattr(thing, "__dict__", {}))), type(thing)
    covered = {type(thing).__name__ for thing in things} | {"Paging", "at", "retry_after"}
    assert covered >= set(dsr_sdk.http.__all__)
