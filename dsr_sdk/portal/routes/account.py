"""The own account: name, password, second factor, sessions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import DsrError, RequestError
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.portal import qr, security
from dsr_sdk.portal.web import Form, Posted, client_of, host_of, often, page, redirect, signed_in

__all__ = ["router"]

router = APIRouter()

Own = Annotated[Session, signed_in()]


@router.get("/account")
def show(request: Request, session: Own) -> Response:
    """What the account is, and what can be changed."""
    return _show(request)


def _show(request: Request, *, status: int = 200, wrong: str = "", error: DsrError | None = None) -> Response:
    return page(request, "account/own.html", status=status, title="Your account", wrong=wrong, error=error)


def _proof(request: Request, form: Form) -> dict[str, Any]:
    return {"current": form.secret("current"), "code": form.text("code") or None, "client": client_of(request)}


@router.post("/account/name")
def rename(request: Request, session: Own, form: Posted) -> Response:
    """Another name."""
    host_of(request).accounts.set_name(session.account.account, form.text("name"), by=session.account.account)
    return redirect(request, "/account", said="Your name is changed.")


@router.post("/account/password")
def set_password(request: Request, session: Own, form: Posted) -> Response:
    """Another password; every session ends, this one too."""
    host = host_of(request)
    try:
        if form.secret("password") != form.secret("again"):
            raise RequestError("the two new passwords differ", field="password", fix="type the same one twice")
        host.accounts.own.set_password(session, form.secret("password"), **_proof(request, form))
    except RequestError as error:
        return _show(request, status=400, wrong="password", error=error)
    response = redirect(request, "/sign-in", said="Your password is changed, and every session has ended. Sign in with the new one.")
    security.drop_cookie(host, response, "session")
    return response


@router.post("/account/second-factor")
def begin_second_factor(request: Request, session: Own, form: Posted) -> Response:
    """The secret for the authenticator app; the first code turns it on."""
    try:
        secret, uri = host_of(request).accounts.own.begin_second_factor(session, **_proof(request, form))
    except RequestError as error:
        return _show(request, status=400, wrong="second-factor", error=error)
    return _second_factor(request, secret, uri)


def _second_factor(request: Request, secret: str, uri: str, *, status: int = 200, error: DsrError | None = None) -> Response:
    try:
        side, drawn = qr.path(uri)
    except ValueError:  # an account with a very long name: the key is typed
        side, drawn = 0, ""
    context: dict[str, Any] = {"secret": secret, "uri": uri, "side": side, "drawn": drawn, "error": error}
    return page(request, "account/second_factor.html", status=status, title="Second factor", **context)


@router.post("/account/second-factor/confirm")
def confirm_second_factor(request: Request, session: Own, form: Posted) -> Response:
    """The first code; then recovery codes, shown once."""
    often(request, "second-factor", "10/minute")
    secret, uri = form.text("secret"), form.text("uri")
    if not uri.startswith("otpauth://totp/"):
        raise RequestError("is no address of an authenticator app", field="uri", fix="begin again at your account")
    try:
        codes = host_of(request).accounts.own.confirm_second_factor(session, form.text("code"))
    except RequestError as error:
        return _second_factor(request, secret, uri, status=400, error=error)
    return page(request, "account/recovery.html", title="Recovery codes", codes=codes)


@router.post("/account/second-factor/off")
def end_second_factor(request: Request, session: Own, form: Posted) -> Response:
    """Take the own second factor away."""
    try:
        host_of(request).accounts.own.end_second_factor(session, **_proof(request, form))
    except RequestError as error:
        return _show(request, status=400, wrong="second-factor", error=error)
    return redirect(request, "/account", said="The second factor is off.", tone="warn")


@router.post("/account/sign-out-everywhere")
def sign_out_everywhere(request: Request, session: Own) -> Response:
    """End every session, this one too."""
    host = host_of(request)
    host.accounts.sign_out_everywhere(session.account.account)
    response = redirect(request, "/sign-in", said="You are signed out everywhere.")
    security.drop_cookie(host, response, "session")
    return response
