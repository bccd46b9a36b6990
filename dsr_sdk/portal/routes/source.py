"""A data source's own page: how it is reached, what it holds, whether it takes part in request handling, who is asked to connect it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.connector import Category, Process
from dsr_sdk.errors import ConfigError, DsrError, LedgerError, RequestError
from dsr_sdk.host.inventory.catalogue import BY_HAND, BY_LETTER, vendors
from dsr_sdk.host.inventory.connecting import Setting
from dsr_sdk.host.inventory.systems import System
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.portal.errors import status_of
from dsr_sdk.portal.rendering import words
from dsr_sdk.portal.routes.sources import address_of, given_settings
from dsr_sdk.portal.web import Posted, host_of, often, page, redirect, signed_in

__all__ = ["router"]

router = APIRouter()

Seeing = Annotated[Session, signed_in(Permission.SEE_CASES)]
Deciding = Annotated[Session, signed_in(Permission.INVENTORY)]


def _system(request: Request, name: str) -> System:
    try:
        return host_of(request).inventory.get(name)
    except RequestError:
        raise LedgerError("there is no such data source", fix="see the list of data sources") from None


# --- looking -------------------------------------------------------------------------------------------------------------------------------


def _show(request: Request, name: str, *, status: int = 200, error: DsrError | None = None, **typed: Any) -> Response:
    """The page.

    Args:
        error: What could not be done about it just now.
        typed: What was written into the form that it came from: ``asking`` or ``editing``, shown again.
    """
    host = host_of(request)
    system = _system(request, name)
    offered, offer_error = None, None
    if system.offered:
        try:
            offered = host.inventory.offered(name)
        except DsrError as caught:
            offer_error = caught
    return page(
        request,
        "sources/source.html",
        status=status,
        title=system.title,
        system=system,
        address=address_of(name),
        broken=host.broken.get(name) if system.state == "accepted" else None,
        own=system.configured_in == "inventory" and system.state == "accepted",
        rows=_rows(request, system),
        about=_about(request, system),
        offered=offered,
        offer_error=offer_error,
        askable=_askable(request, system),
        categories=[(kind.value, words(kind)) for kind in Category],
        error=error,
        asking=typed.get("asking"),
        editing=typed.get("editing"),
    )


def _rows(request: Request, system: System) -> list[tuple[str, str, bool, str]]:
    """The settings as configured: name, value, whether it is a reference to a secret, and what it is for."""
    known = _needed(request, system.connector)
    rows = []
    for name, value in system.settings.items():
        if (name in ("active", "privacy_address", "owner") or name.startswith("instructions")) and system.process in ("email", "manual"):
            continue  # these stand on the page by themselves
        setting = known.get(name)
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        if setting is not None and setting.secret and not text.startswith(("env:", "file:", "keyring:")):
            text = "written in the open"  # in dsr.toml, by hand: it cannot be used, and is not shown
        rows.append((name, text, setting is not None and setting.secret, setting.description if setting else ""))
    return rows


def _needed(request: Request, connector: str | None) -> dict[str, Setting]:
    if connector is None:
        return {}
    try:
        return {setting.name: setting for setting in host_of(request).inventory.needed(connector)}
    except ConfigError:
        return {}


def _about(request: Request, system: System) -> dict[str, Any]:
    """What the connector says of itself."""
    vendor = vendors().get(system.vendor or "")
    told = {"title": system.connector or "", "docs": "", "vendor": vendor}
    try:
        made = host_of(request).registry.load(system.connector) if system.connector else None
    except ConfigError:
        return told
    return told | ({"title": made.title, "docs": made.docs} if made is not None else {})


def _askable(request: Request, system: System) -> list[tuple[str, str]]:
    """The connectors with an API that a colleague may be asked about, that of the system first."""
    host, found = host_of(request), []
    for slug in host.registry.available():
        try:
            made = host.registry.load(slug)
        except ConfigError:
            continue
        if made.process is Process.AUTOMATED:
            found.append((slug, made.title))
    likely = (system.connector, system.vendor)
    return sorted(found, key=lambda row: (row[0] not in likely, row[1].casefold()))


# --- connecting ----------------------------------------------------------------------------------------------------------------------------


@router.get("/sources/{name:path}/connect")
def connect_form(request: Request, session: Deciding, name: str) -> Response:
    """How it is reached: choose, then fill in what that needs."""
    return _connect(request, name, request.query_params.get("by", ""))


def _connect(
    request: Request, name: str, by: str, *, status: int = 200, error: DsrError | None = None, given: dict[str, str] | None = None
) -> Response:
    host = host_of(request)
    system = _system(request, name)
    likely = system.connector or (system.vendor if system.vendor in host.registry.available() else None) or BY_HAND
    options = [
        *_askable(request, system),
        (BY_LETTER, "E-mail integration: a letter to its privacy address"),
        (BY_HAND, "By hand: its owner looks through it"),
    ]
    slug = by if by in dict(options) else likely if likely in dict(options) else BY_HAND
    current = {key: ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value) for key, value in system.settings.items()}
    if slug != system.connector:
        vendor = vendors().get(system.vendor or "")
        current = {"vendor": system.title, "privacy_address": (vendor.privacy_address if vendor else None) or "", "owner": system.owner or ""}
    return page(
        request,
        "sources/connect.html",
        status=status,
        title=f"Connect {system.title}",
        system=system,
        address=address_of(name),
        options=options,
        slug=slug,
        asked=host.inventory.needed(slug),
        given=given if given is not None else current,
        error=error,
    )


@router.post("/sources/{name:path}/connect")
def connect(request: Request, session: Deciding, form: Posted, name: str) -> Response:
    """Keep how it is reached. What was typed stays when the connector does not agree."""
    host, slug, given = host_of(request), form.text("connector"), given_settings(form)
    _system(request, name)
    try:
        settings = host.inventory.typed(slug, given)
        host.inventory.update(name, by=session.account.account, revision=form.number("revision"), connector=slug, settings=settings)
    except DsrError as error:
        if status_of(error) >= 500:
            raise
        return _connect(request, name, slug, status=status_of(error), error=error, given=given)
    said = "The settings are saved." if slug != BY_LETTER else "The settings are saved. Look whether the e-mail integration is active."
    return redirect(request, address_of(name), said=said)


# --- deciding ------------------------------------------------------------------------------------------------------------------------------


def _attempt(request: Request, name: str, act: Callable[[], object], said: str, *, to: str | None = None, **typed: Any) -> Response:
    """Do something about a system and show its page; when it cannot be done, the page says why, and keeps what was typed."""
    _system(request, name)
    try:
        act()
    except DsrError as error:
        return _show(request, name, status=status_of(error), error=error, **typed)
    return redirect(request, to or address_of(name), said=said)


@router.post("/sources/{name:path}/check")
def check(request: Request, session: Deciding, form: Posted, name: str) -> Response:
    """One harmless call that proves the settings."""
    often(request, "check-source", "30/minute")
    return _attempt(request, name, lambda: host_of(request).inventory.check(name, by=session.account.account), "The connection works.")


@router.post("/sources/{name:path}/handling")
def handling(request: Request, session: Deciding, form: Posted, name: str) -> Response:
    """Use it in request handling from the next request on, or no longer."""
    use = form.flag("use")
    said = "It is used in request handling from the next request on." if use else "New requests leave it out. What is under way there is finished."

    def act() -> None:
        host_of(request).inventory.set_handling(name, use, by=session.account.account, revision=form.number("revision"))

    return _attempt(request, name, act, said)


@router.post("/sources/{name:path}/active")
def active(request: Request, session: Deciding, form: Posted, name: str) -> Response:
    """Switch an e-mail integration on, and with it, if wanted, its use in request handling; or off."""
    on, use = form.flag("active"), form.flag("use")
    said = "The e-mail integration is active." if on else "The e-mail integration is off. No letter is sent there."

    def act() -> None:
        inventory, by = host_of(request).inventory, session.account.account
        system = inventory.activate(name, on, by=by, revision=form.number("revision"))
        if on and use and not system.handling:
            inventory.set_handling(name, True, by=by, revision=system.revision)

    return _attempt(request, name, act, said)


@router.post("/sources/{name:path}/edit")
def edit(request: Request, session: Deciding, form: Posted, name: str) -> Response:
    """Title, category, owner, note."""
    given = {field: form.text(field) for field in ("title", "category", "owner", "note")}

    def act() -> None:
        host_of(request).inventory.update(
            name,
            by=session.account.account,
            revision=form.number("revision"),
            title=given["title"],
            category=given["category"],
            owner=given["owner"],
            note=given["note"],
        )

    return _attempt(request, name, act, "The changes are saved.", editing=given)


@router.post("/sources/{name:path}/remove")
def remove(request: Request, session: Deciding, form: Posted, name: str) -> Response:
    """Take it out of the inventory."""

    def act() -> None:
        host_of(request).inventory.remove(name, by=session.account.account, revision=form.number("revision"))

    return _attempt(request, name, act, "The data source is gone from the inventory.", to="/sources")


@router.post("/sources/{name:path}/ask")
def ask(request: Request, session: Deciding, form: Posted, name: str) -> Response:
    """Mail a technical colleague a link that shows what is needed to connect it."""
    given = {field: form.text(field) for field in ("email", "note", "connector")}

    def act() -> None:
        inventory = host_of(request).inventory
        inventory.ask_for_help(name, given["email"], by=session.account.account, note=given["note"], connector=given["connector"] or None)

    return _attempt(request, name, act, "The link is on its way to your colleague.", asking=given)


@router.post("/sources/{name:path}/offered")
def decide_offered(request: Request, session: Deciding, form: Posted, name: str) -> Response:
    """Take the settings a colleague has proposed, or throw them away."""
    answer = form.text("answer")
    if answer not in ("take", "drop"):
        raise RequestError("is no answer", field="answer", fix="take the settings, or drop them")

    def act() -> None:
        inventory, by, revision = host_of(request).inventory, session.account.account, form.number("revision")
        if answer == "take":
            inventory.take_offered(name, by=by, revision=revision)
        else:
            inventory.drop_offered(name, by=by, revision=revision)

    return _attempt(
        request, name, act, "The settings are taken. Check the connection." if answer == "take" else "The proposed settings are thrown away."
    )


# Last: a path takes everything.


@router.get("/sources/{name:path}/page")
def show_taken(request: Request, session: Seeing, name: str) -> Response:
    """The page of a system whose name is that of another page."""
    return _show(request, name)


@router.get("/sources/{name:path}")
def show(request: Request, session: Seeing, name: str) -> Response:
    """One data source."""
    return _show(request, name)
