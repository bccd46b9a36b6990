"""OpenID Connect: authorization code with PKCE, and an ID token of which everything is checked. Needs the extra ``oidc``.

Whoever comes back from the provider is believed only if this very browser has gone there a moment ago (state), with this very question (nonce,
code verifier), and the answer was signed by the provider for us.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from dsr_sdk.errors import ConfigError, DsrError, RequestError, TransientError
from dsr_sdk.secret import resolve

if TYPE_CHECKING:
    from dsr_sdk.host import Host
    from dsr_sdk.host.settings import OidcSettings

__all__ = ["Asked", "Person", "Provider"]

_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Never *none*, and never one in which the provider's public key, or our secret, would be what signs."""

_LEEWAY: Final = 60  # seconds that clocks may differ
_KEPT: Final = 3600.0  # seconds the provider's description is kept
_LARGEST: Final = 1024 * 1024
_LATEST: Final = 2**36  # seconds that a clock may show
_TIMEOUT: Final = 10.0
_REST: Final = 20.0  # seconds that a provider which let us wait is not asked again


@dataclass(frozen=True, slots=True)
class Asked:
    """What was sent along with somebody who went to the provider. ``repr`` hides it."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Asked:
        """Fresh secrets."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    def __repr__(self) -> str:
        return "<Asked>"


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says it is. ``repr`` hides it."""

    issuer: str
    email: str
    verified: bool
    proven_at: datetime | None = None

    def __repr__(self) -> str:
        return "<Person>"


class Provider:
    """The provider of ``[portal.oidc]``. Threads may share it."""

    def __init__(self, host: Host, settings: OidcSettings) -> None:
        self._host = host
        self._settings = settings
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}
        self._silent: dict[str, float] = {}

    def address(self, asked: Asked, back: str, *, again: bool = False) -> str:
        """Where the browser goes to sign in.

        Args:
            back: Our own address that the provider sends it back to.
            again: They are to give a proof there once more, although the provider knows them still.
        """
        challenge = base64.urlsafe_b64encode(hashlib.sha256(asked.verifier.encode()).digest()).decode().rstrip("=")
        question = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": back,
            "scope": "openid email",
            "state": asked.state,
            "nonce": asked.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        } | ({"max_age": "0"} if again else {})
        endpoint = self._endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(question)}"

    def person(self, answer: Mapping[str, str], asked: Asked | None, back: str) -> Person:
        """Whom the provider has sent back.

        Args:
            answer: The query of the address it was sent back to.

        Raises:
            RequestError: Anything about the answer is wrong: nothing is told but that.
            ConfigError: The provider does not take our client, or is none.
            TransientError: The provider cannot be reached.
        """
        if asked is None or not hmac.compare_digest(asked.state.encode(), answer.get("state", "").encode()):
            raise _refused()
        if "iss" in answer and not self._is_issuer(answer["iss"]):  # RFC 9207: the answer of another provider
            raise _refused()
        if not answer.get("code"):
            raise _refused()
        token = self._token(answer["code"], asked, back)
        claims = self._claims(str(token.get("id_token", "")), asked, str(token.get("access_token", "")))
        email = claims.get("email")
        at = claims.get("auth_time")
        proven_at = datetime.fromtimestamp(at, UTC) if isinstance(at, int) and 0 < at < _LATEST else None
        return Person(str(claims["iss"]), email if isinstance(email, str) else "", claims.get("email_verified") is True, proven_at)

    def _is_issuer(self, text: str) -> bool:
        return text.rstrip("/") == self._settings.issuer.rstrip("/")

    # --- asking the provider -------------------------------------------------------------------------------------------------------

    def _described(self) -> dict[str, Any]:
        found = self._get(f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        if not self._is_issuer(str(found.get("issuer", ""))):
            raise _misconfigured("issuer", "the provider at this address calls itself another one")
        return found

    def _endpoint(self, name: str) -> str:
        address = self._described().get(name)
        secure = self._settings.issuer.startswith("http:") or str(address).startswith("https:")
        if not isinstance(address, str) or not address.startswith(("http://", "https://")) or not secure:
            raise _misconfigured("issuer", f"the provider names no usable {name}")
        return address

    def _token(self, code: str, asked: Asked, back: str) -> dict[str, Any]:
        secret = resolve(self._settings.client_secret, field="portal.oidc.client_secret", base=self._host.config.base).get_secret_value()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": asked.verifier}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        methods = self._described().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" in methods:
            pair = f"{quote(self._settings.client_id, safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._settings.client_id, "client_secret": secret}
        return self._fetch(urllib.request.Request(self._endpoint("token_endpoint"), urlencode(form).encode(), headers))  # noqa: S310 - see _endpoint

    def _get(self, address: str, *, fresh: bool = False) -> dict[str, Any]:
        with self._lock:
            kept = self._known.get(address)
            if kept is None or fresh or time.monotonic() - kept[0] > _KEPT:
                # Those who waited here while the provider kept silent do not wait once more: they would take every thread of the portal.
                if time.monotonic() < self._silent.get(address, 0.0):
                    raise _unreachable()
                began = time.monotonic()
                try:
                    found = self._fetch(urllib.request.Request(address))  # noqa: S310 - http or https, by its setting
                except TransientError:
                    if time.monotonic() - began >= _TIMEOUT / 2:
                        self._silent[address] = time.monotonic() + _REST
                    raise
                kept = self._known[address] = time.monotonic(), found
            return kept[1]

    def _fetch(self, request: urllib.request.Request) -> dict[str, Any]:
        request.add_header("accept", "application/json")
        try:
            with _OPENER.open(request, timeout=_TIMEOUT) as answer:
                found = json.loads(answer.read(_LARGEST))
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
            if status in (429, 500, 502, 503, 504):
                raise _unreachable() from None
            if request.data is not None and status == 400:
                raise _refused() from None  # a code that is used up, or not for us
            raise _misconfigured("client_id" if status in (401, 403) else "issuer", f"the provider answers with {status}") from None
        except (OSError, ValueError):
            raise _unreachable() from None
        if not isinstance(found, dict):
            raise _unreachable()
        return found

    # --- the ID token --------------------------------------------------------------------------------------------------------------

    def _claims(self, token: str, asked: Asked, access_token: str) -> Mapping[str, Any]:
        try:
            from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped] # has no types
            from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped] # likewise
            from joserfc import jwt
            from joserfc.errors import JoseError
            from joserfc.jwk import KeySet
        except ImportError:
            raise ConfigError("single sign-on needs the extra oidc", field="portal.oidc", fix='pip install "dsr-sdk[oidc]"') from None
        named = self._described().get("id_token_signing_alg_values_supported") or ["RS256"]
        options = {"iss": {"essential": True, "value": self._described()["issuer"]}, "aud": {"essential": True, "value": self._settings.client_id}}
        for fresh in (False, True):  # a key that is not known yet may be a new one
            keys = self._get(self._endpoint("jwks_uri"), fresh=fresh)
            try:
                read = jwt.decode(token, KeySet.import_key_set(keys), algorithms=sorted(_ALGORITHMS & set(named)))  # type: ignore[arg-type]
                claims = CodeIDToken(
                    read.claims, read.header, options, {"nonce": asked.nonce, "client_id": self._settings.client_id, "access_token": access_token}
                )
                claims.validate(now=int(time.time()), leeway=_LEEWAY)
            except (JoseError, AuthlibBaseError, ValueError, TypeError, KeyError):
                continue
            return dict(claims)
        raise _refused()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A provider's endpoints answer themselves: our secret goes nowhere else."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)  # a variable in somebody's shell reroutes no secret


def _refused() -> DsrError:
    return RequestError("the sign-in at the identity provider did not work", fix="try it once more; if it stays, ask an administrator")


def _misconfigured(field: str, message: str) -> DsrError:
    return ConfigError(message, field=f"portal.oidc.{field}", fix="see docs/portal.md")


def _unreachable() -> DsrError:
    return TransientError("the identity provider cannot be reached", fix="try again in a minute")
