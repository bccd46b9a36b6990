"""Signing in at the company's identity provider: there and back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dsr_sdk.host.people.accounts import SignInError
from dsr_sdk.portal import security
from dsr_sdk.portal.routes.sign_in import begin, refuse
from dsr_sdk.portal.single_sign_on import Asked, Provider
from dsr_sdk.portal.web import client_of, host_of, often

__all__ = ["router"]

router = APIRouter()

_COOKIE = "oidc"
_SECONDS = 600


def _provider(request: Request) -> Provider:
    settings = host_of(request).config.portal.oidc
    if settings is None:
        raise HTTPException(404)
    state = request.app.state
    if getattr(state, "provider", None) is None:
        state.provider = Provider(host_of(request), settings)
    provider: Provider = state.provider
    return provider


def _back(request: Request) -> str:
    return f"{host_of(request).accounts.address}/sign-in/oidc/back"


@router.get("/sign-in/oidc")
def go(request: Request, next: str = "/", again: bool = False) -> Response:
    """To the provider; again, for somebody who is signed in and is to confirm that it is them."""
    provider = _provider(request)
    often(request, "oidc", "30/minute")
    asked = Asked.new()
    response = RedirectResponse(provider.address(asked, _back(request), again=again), status_code=303)
    value = security.sealed(host_of(request), _COOKIE, [asked.state, asked.nonce, asked.verifier, security.own_path(next)])
    security.put_cookie(host_of(request), response, _COOKIE, value, seconds=_SECONDS)
    return response


@router.get("/sign-in/oidc/back")
def come_back(request: Request) -> Response:
    """Back from the provider, with its answer in the address."""
    host = host_of(request)
    provider = _provider(request)
    often(request, "oidc", "30/minute")
    kept: Any = security.unsealed(host, _COOKIE, request.cookies.get(security.cookie_name(host, _COOKIE)), seconds=_SECONDS)
    asked, target = (Asked(*kept[:3]), str(kept[3])) if isinstance(kept, list) and len(kept) == 4 else (None, "/")
    person = provider.person(request.query_params, asked, _back(request))
    try:
        client = client_of(request)
        token = host.accounts.sign_in_oidc(person.issuer, person.email, verified=person.verified, client=client, proven_at=person.proven_at)
    except SignInError:
        return refuse(request, target)
    response = begin(request, token, target)
    security.drop_cookie(host, response, _COOKIE)
    return response
