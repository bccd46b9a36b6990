"""Ways to authenticate, as `httpx.Auth`. Secrets arrive as `SecretStr` and are opened only while a request is being signed."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Generator

import httpx
from pydantic import SecretStr

from dsr_sdk.errors import AuthError, TransientError
from dsr_sdk.http.limits import retry_after

__all__ = ["BasicAuth", "BearerAuth", "HeaderKey", "OAuth2ClientCredentials", "QueryKey"]


class HeaderKey(httpx.Auth):
    """A key in a header of the vendor's own (``Api-Key``), optionally after a prefix (``Klaviyo-API-Key pk_...``)."""

    def __init__(self, header: str, key: SecretStr, *, prefix: str = "") -> None:
        self._header = header
        self._key = key
        self._prefix = prefix

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[self._header] = self._prefix + self._key.get_secret_value()
        yield request


class BearerAuth(HeaderKey):
    """``Authorization: Bearer ...`` (RFC 6750)."""

    def __init__(self, token: SecretStr) -> None:
        super().__init__("Authorization", token, prefix="Bearer ")


class BasicAuth(httpx.Auth):
    """``Authorization: Basic ...`` (RFC 7617); many vendors take a key as user name and leave the password empty."""

    def __init__(self, user: str | SecretStr, password: str | SecretStr = "") -> None:
        self._user = user if isinstance(user, SecretStr) else SecretStr(user)
        self._password = password if isinstance(password, SecretStr) else SecretStr(password)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        pair = f"{self._user.get_secret_value()}:{self._password.get_secret_value()}".encode()
        request.headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
        yield request


class QueryKey(httpx.Auth):
    """A key in the query string. Only where a vendor offers nothing better: URLs end up in other people's logs."""

    def __init__(self, parameter: str, key: SecretStr) -> None:
        self._parameter = parameter
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.url = request.url.copy_set_param(self._parameter, self._key.get_secret_value())
        yield request


class OAuth2ClientCredentials(httpx.Auth):
    """OAuth 2.0 client credentials (RFC 6749 section 4.4): fetches a token, shares it between threads, renews it before it expires
    and once after a 401.

    Args:
        token_url: Where tokens are had. The request goes through the same guarded transport as every other.
        basic: Send id and secret as HTTP Basic (the RFC's first choice) instead of in the body.
    """

    def __init__(self, token_url: str, client_id: str, client_secret: SecretStr, *, scope: str = "", audience: str = "", basic: bool = False) -> None:
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._extra = {key: value for key, value in (("scope", scope), ("audience", audience)) if value}
        self._basic = basic
        self._lock = threading.Lock()
        self._token: SecretStr | None = None
        self._expires_at = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = yield from self._fresh(None)
        request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        response = yield request
        if response.status_code == 401:
            token = yield from self._fresh(token)
            request.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
            yield request

    def _fresh(self, stale: SecretStr | None) -> Generator[httpx.Request, httpx.Response, SecretStr]:
        # Held across the token request on purpose: eight threads that find the token stale fetch one, not eight.
        with self._lock:
            if self._token is not None and self._token is not stale and time.monotonic() < self._expires_at:
                return self._token
            data = {"grant_type": "client_credentials", **self._extra}
            headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
            if self._basic:
                pair = f"{self._client_id}:{self._client_secret.get_secret_value()}".encode()
                headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
            else:
                data |= {"client_id": self._client_id, "client_secret": self._client_secret.get_secret_value()}
            response = yield httpx.Request("POST", self._token_url, data=data, headers=headers)
            status = response.status_code
            if status >= 500 or status == 429:
                raise TransientError(f"the token endpoint answered {status}", retry_after=retry_after(response.headers))
            try:
                body = json.loads(_body(response))
                token, lifetime = SecretStr(_text(body["access_token"])), float(body.get("expires_in") or 300)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                raise AuthError(f"the token endpoint answered {status} without a token", fix="check client_id, client_secret and scope") from None
            self._token = token
            self._expires_at = time.monotonic() + max(lifetime - min(60.0, lifetime / 10), 1.0)
            return token


_MAX_TOKEN_BYTES = 1024 * 1024


def _body(response: httpx.Response) -> bytes:
    """The token endpoint's answer, bounded: it is read before anybody else could."""
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _MAX_TOKEN_BYTES:
            raise TransientError("the token endpoint's answer is too large")
    return body


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a token is a non-empty text")
    return value
