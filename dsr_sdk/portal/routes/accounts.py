"""People and keys: who may sign in, with which role; API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import DsrError, LedgerError, RequestError
from dsr_sdk.host.people.accounts import Account, Session
from dsr_sdk.host.people.roles import MATRIX, Permission, Role
from dsr_sdk.portal.casework import Id
from dsr_sdk.portal.rendering import words
from dsr_sdk.portal.web import Posted, host_of, page, redirect, signed_in

__all__ = ["router"]

router = APIRouter()

Admin = Annotated[Session, signed_in(Permission.ACCOUNTS)]
Keys = Annotated[Session, signed_in(Permission.API_KEYS)]

ROLES: dict[Role, str] = {
    Role.ADMIN: "Everything, accounts and API keys among it.",
    Role.DATA_PRIVACY: "Works requests, and decides on data sources, reply templates and deletion of records.",
    Role.AGENT: "Works requests from review to close.",
    Role.SUPPORT: "Takes requests in and writes to people, but decides nothing.",
    Role.READ_ONLY: "Sees requests and their records, but no personal data.",
}


def _id(request: Request, account: str) -> str:
    """What stands in addresses instead of a person's e-mail address."""
    return host_of(request).ledger.vault.fingerprint("portal", "account", account).hex()[:16]


def _find(request: Request, id: str) -> Account:
    for account in host_of(request).accounts.list():
        if _id(request, account.account) == id:
            return account
    raise LedgerError("there is no such account")


# --- people -----------------------------------------------------------------------------------------------------------------------------


@router.get("/accounts")
def people(request: Request, session: Admin) -> Response:
    """Everybody who may sign in."""
    rows = [(account, _id(request, account.account)) for account in host_of(request).accounts.list()]
    return page(request, "accounts/people.html", title="People and keys", rows=rows)


@router.get("/accounts/new")
def new_form(request: Request, session: Admin) -> Response:
    """Who is to come in."""
    return _new(request)


def _new(request: Request, *, status: int = 200, error: DsrError | None = None, **given: str) -> Response:
    given = {"account": "", "name": "", "role": Role.AGENT.value, **given}
    return page(request, "accounts/new.html", status=status, title="Add a person", roles=_roles(), error=error, given=given)


def _roles() -> list[tuple[str, str, str]]:
    return [(role.value, words(role.value), text) for role, text in ROLES.items()]


@router.post("/accounts/new")
def create(request: Request, session: Admin, form: Posted) -> Response:
    """The account, and the link with which its person sets a password."""
    given = {name: form.text(name) for name in ("account", "name", "role")}
    try:
        made, link = host_of(request).accounts.add(**given, by=session)
    except RequestError as error:
        return _new(request, status=400, error=error, **given)
    return _invited(request, made, link)


def _invited(request: Request, account: Account, link: str) -> Response:
    return page(request, "accounts/invited.html", title="Invitation", account=account, id=_id(request, account.account), link=link)


# Before the routes with an id: "keys" is none.


@router.get("/accounts/keys")
def keys(request: Request, session: Keys) -> Response:
    """Every API key."""
    return _keys(request)


def _keys(request: Request, *, status: int = 200, error: DsrError | None = None, made: str | None = None) -> Response:
    found = host_of(request).accounts.keys()
    # The humblest first: a program that takes requests in needs no more than support.
    options = [(role.value, words(role.value)) for role in (Role.SUPPORT, Role.READ_ONLY, Role.AGENT, Role.DATA_PRIVACY, Role.ADMIN)]
    context: dict[str, Any] = {"keys": found, "role_options": options, "error": error, "made": made, "moment": datetime.now(UTC)}
    return page(request, "accounts/keys.html", status=status, title="API keys", **context)


@router.post("/accounts/keys")
def make_key(request: Request, session: Keys, form: Posted) -> Response:
    """A new key, shown once."""
    try:
        days = form.number("days") if form.text("days") else None
        _, text = host_of(request).accounts.make_key(form.text("name"), form.text("role"), by=session, days=days)
    except RequestError as error:
        return _keys(request, status=400, error=error)
    return _keys(request, made=text)


@router.post("/accounts/keys/{id}/revoke")
def revoke_key(request: Request, session: Keys, id: Id) -> Response:
    """The end of a key."""
    host_of(request).accounts.revoke_key(id, by=session.account.account)
    return redirect(request, "/accounts/keys", said="The key is revoked.")


@router.get("/accounts/{id}")
def person(request: Request, session: Admin, id: str) -> Response:
    """One account."""
    account = _find(request, id)
    granted = {role.value: sorted(words(permission.value) for permission in MATRIX[role]) for role in Role}
    return page(request, "accounts/person.html", title="Account", account=account, id=id, roles=_roles(), granted=granted, moment=datetime.now(UTC))


@router.post("/accounts/{id}/name")
def rename(request: Request, session: Admin, form: Posted, id: str) -> Response:
    """Another name."""
    host_of(request).accounts.set_name(_find(request, id).account, form.text("name"), by=session.account.account)
    return redirect(request, f"/accounts/{id}", said="The name is changed.")


@router.post("/accounts/{id}/role")
def set_role(request: Request, session: Admin, form: Posted, id: str) -> Response:
    """Another role, from the next page on."""
    host_of(request).accounts.set_role(_find(request, id).account, form.text("role"), by=session)
    return redirect(request, f"/accounts/{id}", said=f"The role is now: {words(form.text('role')).lower()}.")


@router.post("/accounts/{id}/active")
def set_active(request: Request, session: Admin, form: Posted, id: str) -> Response:
    """Deactivate, which ends every session, or activate again."""
    active = form.flag("active")
    host_of(request).accounts.set_active(_find(request, id).account, active, by=session.account.account)
    said = "The account is active again." if active else "The account is deactivated, its sessions have ended."
    return redirect(request, f"/accounts/{id}", said=said)


@router.post("/accounts/{id}/invite")
def invite(request: Request, session: Admin, id: str) -> Response:
    """A link with which a new password can be set."""
    account = _find(request, id)
    return _invited(request, account, host_of(request).accounts.invite_link(account.account, by=session))


@router.post("/accounts/{id}/unlock")
def unlock(request: Request, session: Admin, id: str) -> Response:
    """End a lock before its time."""
    host_of(request).accounts.unlock(_find(request, id).account, by=session.account.account)
    return redirect(request, f"/accounts/{id}", said="The account may try again.")


@router.post("/accounts/{id}/second-factor")
def drop_second_factor(request: Request, session: Admin, id: str) -> Response:
    """Take a second factor away: the telephone is lost."""
    host_of(request).accounts.disable_totp(_find(request, id).account, by=session)
    return redirect(request, f"/accounts/{id}", said="The second factor is taken away.", tone="warn")


@router.post("/accounts/{id}/sign-out")
def sign_out(request: Request, session: Admin, id: str) -> Response:
    """End every session of an account."""
    host_of(request).accounts.sign_out_everywhere(_find(request, id).account, by=session.account.account)
    return redirect(request, f"/accounts/{id}", said="Every session of the account has ended.")
