"""OAuth 2.0 client credentials: one token for everybody, renewed before it expires and once after a refusal."""

from __future__ import annotations

import gzip
import threading
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dsr_sdk import AuthError, ConfigError, DsrError, TransientError
from dsr_sdk.http import OAuth2ClientCredentials, RetryPolicy
from tests.http.conftest import make


class Vendor:
    """A token endpoint and an API."""

    def __init__(self) -> None:
        self.tokens: list[httpx.Request] = []
        self.calls: list[httpx.Request] = []
        self.valid: str | None = None
        self.lifetime: Any = 3600
        self.answer: httpx.Response | None = None
        self.slow = threading.Event()
        self.slow.set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            self.slow.wait(5)
            self.tokens.append(request)
            if self.answer is not None:
                return self.answer
            self.valid = f"token-{len(self.tokens)}"
            return httpx.Response(200, json={"access_token": self.valid, "expires_in": self.lifetime, "token_type": "bearer"})
        self.calls.append(request)
        if request.headers["authorization"] != f"Bearer {self.valid}":
            return httpx.Response(401, content=gzip.compress(b"x" * 1000), headers={"content-encoding": "gzip"})
        return httpx.Response(200, json={})


def auth(**options: Any) -> OAuth2ClientCredentials:
    """The helper, as a connector makes it."""
    return OAuth2ClientCredentials("https://login.made.example/token", "client", SecretStr("s3cret"), **options)


def test_a_token_is_fetched_and_kept() -> None:
    """One token serves many calls; the request is as RFC 6749 says."""
    vendor = Vendor()
    http = make(vendor, auth=auth(scope="erase", audience="api"))
    for _ in range(3):
        http.api().get("/x")
    assert len(vendor.tokens) == 1
    body = dict(httpx.QueryParams(vendor.tokens[0].content.decode()))
    assert body == {"grant_type": "client_credentials", "scope": "erase", "audience": "api", "client_id": "client", "client_secret": "s3cret"}


def test_the_secret_may_go_as_basic() -> None:
    """The RFC's first choice: the body then holds no secret."""
    vendor = Vendor()
    make(vendor, auth=auth(basic=True)).api().get("/x")
    assert vendor.tokens[0].headers["authorization"] == "Basic Y2xpZW50OnMzY3JldA=="
    assert b"s3cret" not in vendor.tokens[0].content


def test_an_expired_token_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A little before its time is over."""
    vendor = Vendor()
    now = [1000.0]
    monkeypatch.setattr("dsr_sdk.http.auth.time.monotonic", lambda: now[0])
    http = make(vendor, auth=auth())
    http.api().get("/x")
    now[0] += 3500
    http.api().get("/x")
    assert len(vendor.tokens) == 1
    now[0] += 50
    http.api().get("/x")
    assert len(vendor.tokens) == 2


def test_a_refused_token_is_renewed_once() -> None:
    """Revoked before its time: one new token, and the same call again, a POST too (it was not carried out)."""
    vendor = Vendor()
    http = make(vendor, auth=auth())
    http.api().get("/x")
    vendor.valid = "revoked"
    assert http.api().post("/y", {"a": 1}).ok
    assert len(vendor.tokens) == 2
    assert [request.content for request in vendor.calls[-2:]] == [b'{"a":1}'] * 2


def test_a_token_that_is_always_refused() -> None:
    """No loop: refused twice is refused."""
    vendor = Vendor()
    vendor.answer = httpx.Response(200, json={"access_token": "never"})
    with pytest.raises(AuthError, match="answered 401"):
        make(vendor, auth=auth()).api().get("/x")
    assert len(vendor.calls) == 2


def test_eight_threads_fetch_one_token() -> None:
    """They wait for the one that fetches; when it is refused for all of them, they fetch one more and no eight."""
    vendor = Vendor()
    vendor.slow.clear()
    http = make(vendor, auth=auth())
    together = threading.Barrier(9)

    def call() -> None:
        together.wait(10)
        http.api().get("/x")

    for revoked in (False, True):
        if revoked:
            vendor.valid = "revoked"
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        together.wait(10)
        vendor.slow.set()
        for thread in threads:
            thread.join()
        assert len(vendor.tokens) == (2 if revoked else 1)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (httpx.Response(500), TransientError, "token endpoint answered 500"),
        (httpx.Response(429), TransientError, "token endpoint answered 429"),
        (httpx.Response(400, json={"error": "invalid_client", "error_description": "s3cret is wrong"}), AuthError, "answered 400 without a token"),
        (httpx.Response(401, text="no"), AuthError, "answered 401 without a token"),
        (httpx.Response(200, text="<html>"), AuthError, "without a token"),
        (httpx.Response(200, json=[]), AuthError, "without a token"),
        (httpx.Response(200, json={"access_token": None}), AuthError, "without a token"),
        (httpx.Response(200, json={"access_token": ""}), AuthError, "without a token"),
        (httpx.Response(200, json={"access_token": "t", "expires_in": "soon"}), AuthError, "without a token"),
        (httpx.Response(200, content=b"[" * 100_000), AuthError, "without a token"),
        (httpx.Response(302, headers={"location": "https://evil.example/"}), AuthError, "answered 302"),
    ],
    ids=["500", "429", "400", "401", "html", "list", "null", "empty", "no number", "deep", "redirect"],
)
def test_token_endpoints_that_fail(answer: httpx.Response, error: type[DsrError], said: str) -> None:
    """Each with whose turn it is; the call itself is never made, and the secret never repeated."""
    vendor = Vendor()
    vendor.answer = answer
    with pytest.raises(error, match=said) as caught:
        make(vendor, auth=auth(), retry=RetryPolicy(attempts=1)).api().post("/x")
    assert not vendor.calls
    assert "s3cret" not in str(caught.value)


def test_a_token_endpoint_without_end() -> None:
    """A token of 200 MB, compressed to 200 KB, is not unpacked into memory."""
    vendor = Vendor()
    bomb = gzip.compress(b"0" * 200_000_000, 1)
    vendor.answer = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(bomb))
    with pytest.raises(TransientError, match="too large"):
        make(vendor, auth=auth(), retry=RetryPolicy(attempts=1)).api().get("/x")


def test_a_token_after_a_failure() -> None:
    """A token endpoint that was down is asked again by the next call."""
    vendor = Vendor()
    vendor.answer = httpx.Response(500)
    http = make(vendor, auth=auth(), retry=RetryPolicy(attempts=1))
    with pytest.raises(TransientError):
        http.api().get("/x")
    vendor.answer = None
    assert http.api().get("/x").ok


def test_the_token_endpoint_is_guarded() -> None:
    """It goes through the same guard: no token request reaches a private address."""
    http = make(base_url="https://one.one.one.one", auth=OAuth2ClientCredentials("http://127.0.0.1:1/token", "client", SecretStr("s3cret")))
    with pytest.raises(ConfigError, match="private address"):
        http.api().get("/x")
    http.close()
