"""Signing in and out, the first account, and invitations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import DsrError, RequestError
from dsr_sdk.host.people.accounts import NeedsCode, Session, SignInError
from dsr_sdk.portal import security
from dsr_sdk.portal.web import OpenPosted, client_of, find_session, host_of, often, page, redirect, signed_in

__all__ = ["begin", "refuse", "router"]

router = APIRouter()

_HALF_SECONDS = 300


def begin(request: Request, token: str, target: str | None) -> Response:
    """Go on as whoever has just signed in: with the session's cookie, to the page they wanted."""
    response = redirect(request, security.own_path(target))
    security.put_cookie(host_of(request), response, "session", token)
    return response


@router.get("/sign-in")
def show(request: Request, next: str = "/") -> Response:
    """The form; the way to the first account while there is none."""
    host = host_of(request)
    if find_session(request) is not None:
        return redirect(request, security.own_path(next))
    if not host.accounts.list():
        return redirect(request, "/set-up")
    return _form(request, security.own_path(next))


def _form(request: Request, target: str, *, status: int = 200, error: DsrError | None = None, account: str = "") -> Response:
    return page(request, "sign_in.html", status=status, title="Sign in", next=target, error=error, account=account, oidc=_oidc(request))


def _oidc(request: Request) -> str | None:
    settings = host_of(request).config.portal.oidc
    return settings.title if settings is not None else None


@router.post("/sign-in")
def sign_in(request: Request, form: OpenPosted) -> Response:
    """Account and password; with a second factor, the code comes in a second step."""
    host = host_of(request)
    target = security.own_path(form.text("next"))
    code = form.text("code") or None
    account, password = form.text("account"), form.secret("password")
    if "half" in form:
        found = security.unsealed(host, "half", form.text("half"), seconds=_HALF_SECONDS)
        if not isinstance(found, list):
            error = RequestError("the time for the code is over", fix="sign in again")
            return _form(request, target, status=400, error=error)
        account, password = found
    if not account or not password:
        return _form(request, target, status=400, error=RequestError("account and password are needed"), account=account)
    try:
        token = host.accounts.sign_in(account, password, code, client=client_of(request))
    except NeedsCode:
        return _code(request, target, account, password)
    except SignInError as error:
        if "half" in form:
            return _code(request, target, account, password, status=400, error=error)
        return _form(request, target, status=400, error=error, account=account)
    return begin(request, token, target)


def _code(request: Request, target: str, account: str, password: str, *, status: int = 200, error: DsrError | None = None) -> Response:
    # The first half travels with the form, sealed: nobody types it twice, and nothing of it is kept here.
    half = security.sealed(host_of(request), "half", [account, password])
    return page(request, "sign_in_code.html", status=status, title="Enter your code", next=target, half=half, error=error)


def refuse(request: Request, target: str) -> Response:
    """The form again, for somebody whom the identity provider knows and we do not."""
    error = RequestError("there is no active account of this verified address", fix="ask an administrator to add you")
    return _form(request, target, status=403, error=error)


@router.post("/sign-out")
def sign_out(request: Request, session: Annotated[Session, signed_in()]) -> Response:
    """End this session."""
    host = host_of(request)
    host.accounts.sign_out(request.cookies[security.cookie_name(host, "session")])
    response = redirect(request, "/sign-in", said="You are signed out.")
    security.drop_cookie(host, response, "session")
    response.headers["clear-site-data"] = '"cache"'
    return response


# --- the first account ------------------------------------------------------------------------------------------------------------------


@router.get("/set-up")
@router.get("/set-up/{token}")
def set_up_form(request: Request, token: str = "") -> Response:
    """Make the first administrator. The token is printed where the portal was started."""
    if host_of(request).accounts.list():
        return redirect(request, "/sign-in")
    return page(request, "set_up.html", title="Set up the portal", token=token, error=None, account="", name="")


@router.post("/set-up")
def set_up(request: Request, form: OpenPosted) -> Response:
    """The first administrator, signed in at once."""
    often(request, "set-up", "10/minute")
    host = host_of(request)
    token, account, name, password = form.text("token"), form.text("account"), form.text("name"), form.secret("password")
    try:
        _same(password, form.secret("again"))
        host.accounts.first_admin(token, account, name, password)
    except RequestError as error:
        return page(request, "set_up.html", status=400, title="Set up the portal", token=token, error=error, account=account, name=name)
    return begin(request, host.accounts.sign_in(account, password, client=client_of(request)), "/")


# --- invitations ------------------------------------------------------------------------------------------------------------------------


@router.get("/join/{token}")
def join_form(request: Request, token: str) -> Response:
    """Set the password of an account by invitation."""
    often(request, "join", "30/minute")
    return page(request, "join.html", title="Choose a password", invited=host_of(request).accounts.invited(token), token=token, error=None)


@router.post("/join/{token}")
def join(request: Request, form: OpenPosted, token: str) -> Response:
    """The password is set; the invitation is used up."""
    often(request, "join", "30/minute")
    host = host_of(request)
    invited = host.accounts.invited(token)
    try:
        _same(form.secret("password"), form.secret("again"))
        host.accounts.accept_invite(token, form.secret("password"))
    except RequestError as error:
        return page(request, "join.html", status=400, title="Choose a password", invited=invited, token=token, error=error)
    return redirect(request, "/sign-in", said="Your password is set. Sign in with it.")


def _same(password: str, again: str) -> None:
    if password != again:
        raise RequestError("the two passwords differ", field="password", fix="type the same one twice")
