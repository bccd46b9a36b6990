"""Single sign-on, at a small OpenID provider that really answers: discovery, authorization, token, keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from fastapi import FastAPI, Form, Header
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from dsr_sdk.host import Host
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app
from tests.portal.conftest import WORKFLOW, Client, Live, address
from tests.world import World

BACK = "http://testserver/sign-in/oidc/back"
HOME = {"origin": "http://testserver"}


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Provider:
    """An OpenID provider at which one person is signed in already. What it does wrong is told by its attributes."""

    def __init__(self) -> None:
        self.url = ""
        self.email: str = address(Role.AGENT)
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.key = self.signing = RSAKey.generate_key(2048, {"kid": "one"})
        self.methods = ["client_secret_basic"]
        self.calls: list[str] = []
        self.ages: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self.app = FastAPI()
        self.app.add_api_route("/.well-known/openid-configuration", self.describe)
        self.app.add_api_route("/authorize", self.authorize)
        self.app.add_api_route("/token", self.token, methods=["POST"])
        self.app.add_api_route("/jwks", self.keys)

    def describe(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "token_endpoint_auth_methods_supported": self.methods,
        }

    def authorize(
        self, client_id: str, redirect_uri: str, state: str, nonce: str, code_challenge: str, code_challenge_method: str, max_age: str = ""
    ) -> Response:
        self.ages.append(max_age)
        assert (client_id, redirect_uri, code_challenge_method) == ("portal", BACK, "S256")
        code = f"code-{len(self._codes)}"
        self._codes[code] = {"nonce": nonce, "challenge": code_challenge}
        return RedirectResponse(f"{redirect_uri}?{urlencode({'code': code, 'state': state})}", status_code=302)

    def token(
        self,
        code: Annotated[str, Form()],
        code_verifier: Annotated[str, Form()],
        redirect_uri: Annotated[str, Form()],
        client_secret: Annotated[str, Form()] = "",
        authorization: Annotated[str, Header()] = "",
    ) -> Response:
        self.calls.append("token")
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode() if authorization else f"portal:{client_secret}"
        if given not in ("portal:s%2Fecret", "portal:s/ecret"):
            return JSONResponse({"error": "invalid_client"}, 401)
        kept = self._codes.pop(code, None)
        challenge = _text(hashlib.sha256(code_verifier.encode()).digest())
        if kept is None or kept["challenge"] != challenge or redirect_uri != BACK:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "sub": "1", "aud": "portal", "iat": now, "exp": now + 300, "nonce": kept["nonce"]}
        claims |= {"email": self.email, "email_verified": True} | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.header["alg"] == "RS256":
            token = jwt.encode(self.header, claims, self.signing)
        else:  # no library makes these any more
            signed = ".".join(_text(json.dumps(part).encode()) for part in (self.header, claims))
            public = self.key.as_pem(private=False)
            token = f"{signed}.{_text(hmac.digest(public, signed.encode(), 'sha256')) if self.header['alg'] == 'HS256' else ''}"
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})

    def keys(self) -> Any:
        self.calls.append("keys")
        return KeySet([self.key]).as_dict(private=False)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The provider, on loopback."""
    provider = Provider()
    with Live(provider.app) as live:
        provider.url = live.url
        yield provider


@pytest.fixture
def oidc_host(portal_world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that trusts it."""
    monkeypatch.setenv("PORTAL_SECRET", "s/ecret")
    table = f'[portal.oidc]\nissuer = "{provider.url}"\nclient_id = "portal"\nclient_secret = "env:PORTAL_SECRET"\ntitle = "Example login"'
    portal_world.tables = f"{WORKFLOW}\n\n{table}"
    return portal_world.open()


@pytest.fixture
def browser(oidc_host: Host) -> Client:
    """Somebody who is not signed in at the portal."""
    return Client(create_app(oidc_host, engine=False), follow_redirects=False)


def _there(client: Client, wanted: str = "/accounts", *, asked: str = "") -> str:
    """Go to the provider, which sends the browser back at once; the address of ours it is sent to."""
    away = urlsplit(client.get(asked or f"/sign-in/oidc?next={wanted}").headers["location"])
    connection = http.client.HTTPConnection(away.netloc, timeout=20)
    connection.request("GET", f"{away.path}?{away.query}")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    back = answer.headers["location"]
    assert back.startswith(BACK)
    return back.removeprefix("http://testserver")


def _refused(client: Client, back: str) -> None:
    answer = client.get(back)
    assert answer.status_code in (400, 403), answer.text
    assert client.get("/account").status_code == 303


def test_whom_the_provider_knows_comes_in(browser: Client, provider: Provider) -> None:
    """The sign-in page offers it; there and back, the page that was wanted, with the role that was given here."""
    provider.email = address(Role.ADMIN).upper()
    assert "Sign in with Example login" in browser.get("/sign-in").text
    answer = browser.get(_there(browser))
    assert (answer.status_code, answer.headers["location"]) == (303, "/accounts")
    assert browser.get("/accounts").status_code == 200


def test_a_secret_in_the_form_where_the_provider_wants_it(browser: Client, provider: Provider) -> None:
    """client_secret_post instead of client_secret_basic."""
    provider.methods = ["client_secret_post"]
    assert browser.get(_there(browser)).status_code == 303


def test_a_new_key_is_fetched(browser: Client, provider: Provider) -> None:
    """Providers change their keys; nobody restarts the portal."""
    assert browser.get(_there(browser)).status_code == 303
    provider.key = provider.signing = RSAKey.generate_key(2048, {"kid": "two"})
    provider.header = {"alg": "RS256", "kid": "two"}
    browser.cookies.clear()
    assert browser.get(_there(browser)).status_code == 303
    assert provider.calls.count("keys") == 2


def _signed_by_somebody_else(provider: Provider) -> None:
    provider.signing = RSAKey.generate_key(2048, {"kid": "one"})


def _signed_with_the_public_key(provider: Provider) -> None:
    provider.header = {"alg": "HS256", "kid": "one"}


def _not_signed(provider: Provider) -> None:
    provider.header = {"alg": "none"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": ["portal", "another"]},
        {"azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"nbf": 9999999999},
        {"iss": None},
        {"sub": None},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": None},
        {"email": None},
        {"email": "nobody@example.com"},
        {"at_hash": "another"},
        _signed_by_somebody_else,
        _signed_with_the_public_key,
        _not_signed,
    ],
    ids=lambda wrong: wrong.__name__ if callable(wrong) else str(wrong),
)
def test_a_wrong_token_signs_nobody_in(browser: Client, provider: Provider, wrong: dict[str, Any] | Callable[[Provider], None]) -> None:
    """Whatever is wrong with the token, or missing in it, nobody comes in."""
    if callable(wrong):
        wrong(provider)
    else:
        provider.claims = wrong
    _refused(browser, _there(browser))


def test_an_answer_that_nobody_asked_for_is_refused(browser: Client, oidc_host: Host) -> None:
    """Somebody else's answer, given to a victim's browser, would sign the victim in as somebody else."""
    attacker = Client(create_app(oidc_host, engine=False), follow_redirects=False)
    back = _there(attacker)
    _refused(browser, back)
    _there(browser)
    _refused(browser, back)


def test_an_answer_counts_once(browser: Client, oidc_host: Host) -> None:
    """The code is used up, and so is the question."""
    back = _there(browser)
    assert browser.get(back).status_code == 303
    oidc_host.accounts.sign_out_everywhere(address(Role.AGENT))
    _refused(browser, back)


def test_a_code_needs_its_verifier(browser: Client) -> None:
    """A code that was overheard is worth nothing with another question: the provider compares (PKCE)."""
    overheard = parse_qs(urlsplit(_there(browser)).query)["code"][0]
    own = parse_qs(urlsplit(_there(browser)).query)["state"][0]
    _refused(browser, f"/sign-in/oidc/back?{urlencode({'code': overheard, 'state': own})}")


def test_another_providers_answer_is_refused(browser: Client, provider: Provider) -> None:
    """RFC 9207: the answer says who has given it."""
    back = _there(browser)
    _refused(browser, f"{back}&{urlencode({'iss': 'https://evil.example'})}")
    assert browser.get(f"{back}&{urlencode({'iss': provider.url})}").status_code == 303


def test_who_signs_in_there_confirms_there(browser: Client, provider: Provider, oidc_host: Host) -> None:
    """To make a key, an admin without a password signs in again, and the provider is asked not to take its own session for an answer. What it
    says of the time counts: somebody who was only passed through has proven nothing."""
    provider.email = "sso@example.com"
    oidc_host.accounts.create(provider.email, "Without a password", Role.ADMIN, by="tests")
    provider.claims["auth_time"] = int(time.time()) - 3600
    browser.get(_there(browser, "/accounts/keys"))
    assert provider.ages == [""]
    key = {"name": "Web shop", "role": "support", "days": ""}
    browser.visit("/accounts/keys")
    page = browser.post("/accounts/keys", data={"csrf": browser.csrf, **key}, headers={**HOME, "referer": "http://testserver/accounts/keys"})
    assert page.status_code == 403
    assert "Please confirm that it is you" in page.text
    assert 'name="proof_password"' not in page.text
    again = re.search(r'href="(/sign-in/oidc\?[^"]+)">[^<]*(?:<svg.*?</svg>)?\s*Sign in with Example login again', page.text, re.DOTALL)
    assert again is not None
    for auth_time, made in ((provider.claims["auth_time"], 0), (int(time.time()), 1)):
        provider.claims["auth_time"] = auth_time
        assert browser.get(_there(browser, asked=html.unescape(again[1]))).headers["location"] == "/accounts/keys"
        assert provider.ages[-1] == "0"
        browser.visit("/accounts/keys")
        browser.form("/accounts/keys", **key)
        assert len(oidc_host.accounts.keys()) == made


def test_without_an_address_nobody_is_sent_there(portal_world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that the provider sends people back to is the configured one, never what a header says."""
    monkeypatch.setenv("PORTAL_SECRET", "s/ecret")
    portal_world.tables = f'[portal.oidc]\nissuer = "{provider.url}"\nclient_id = "portal"\nclient_secret = "env:PORTAL_SECRET"'
    client = Client(create_app(portal_world.open(), engine=False), follow_redirects=False)
    answer = client.get("/sign-in/oidc", headers={"host": "evil.example"})
    assert answer.status_code == 409
    assert "nothing says at which address people reach the portal" in answer.text
    assert "evil.example" not in answer.text + str(answer.headers)


def test_a_deactivated_account_stays_out(browser: Client, oidc_host: Host) -> None:
    """Whom the provider still knows, and we do not want any more."""
    oidc_host.accounts.set_active(address(Role.AGENT), False, by="tests")
    _refused(browser, _there(browser))


def test_no_person_is_sent_back(browser: Client) -> None:
    """Somebody who has said no at the provider sees a page that says what to do."""
    back = parse_qs(urlsplit(_there(browser)).query)["state"][0]
    answer = browser.get(f"/sign-in/oidc/back?error=access_denied&state={back}")
    assert answer.status_code == 400
    assert "did not work" in answer.text


def test_a_wrong_secret_is_the_operators(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page names the setting, and not the secret."""
    monkeypatch.setenv("PORTAL_SECRET", "wrong")
    answer = browser.get(_there(browser))
    assert answer.status_code == 409
    assert "Portal.oidc.client_id" in answer.text
    assert "wrong" not in answer.text


def test_a_provider_that_is_away(portal_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others still come in by password, and the page says to try again."""
    monkeypatch.setenv("PORTAL_SECRET", "s/ecret")
    table = '[portal.oidc]\nissuer = "http://127.0.0.1:9"\nclient_id = "portal"\nclient_secret = "env:PORTAL_SECRET"'
    portal_world.tables = f"{WORKFLOW}\n\n{table}"
    client = Client(create_app(portal_world.open(), engine=False), follow_redirects=False)
    answer = client.get("/sign-in/oidc")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text


def test_without_a_provider_there_is_nothing(client: Client) -> None:
    """The routes are there only where they are configured."""
    assert client.get("/sign-in/oidc").status_code == 404
    assert client.get("/sign-in/oidc/back").status_code == 404
    assert "/sign-in/oidc" not in client.get("/sign-in").text
