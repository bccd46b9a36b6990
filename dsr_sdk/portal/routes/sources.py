"""The inventory: every data source and those used in request handling, the catalogue to add from, and what discovery proposes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.connector import Category
from dsr_sdk.errors import ConflictError, DsrError, RequestError
from dsr_sdk.host.inventory.catalogue import BY_HAND, BY_LETTER, Offer, vendors
from dsr_sdk.host.inventory.discovery import Discovered
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.portal.errors import status_of
from dsr_sdk.portal.forms import Form
from dsr_sdk.portal.rendering import words
from dsr_sdk.portal.web import Posted, host_of, is_htmx, often, page, redirect, signed_in

if TYPE_CHECKING:
    from dsr_sdk.host.inventory.systems import System

__all__ = ["address_of", "given_settings", "router"]

router = APIRouter()

Seeing = Annotated[Session, signed_in(Permission.SEE_CASES)]
Deciding = Annotated[Session, signed_in(Permission.INVENTORY)]

_PAGE: Final = 50
_FOUND: Final = 200
"""Systems that a search shows; who sees as many types another word."""
_TAKEN: Final = ("add", "proposals", "search")
_VIEWS: Final = ("all", "handling")


def address_of(name: str) -> str:
    """The address of a system's own page; one whose name is that of another page has a longer one."""
    quoted = quote(name, safe="")
    return f"/sources/{quoted}/page" if name in _TAKEN else f"/sources/{quoted}"


# --- the list ------------------------------------------------------------------------------------------------------------------------------


@router.get("/sources")
def show(request: Request, session: Seeing) -> Response:
    """A page of the inventory, by title: all of it, or what is used in request handling."""
    asked = request.query_params
    number = asked.get("page", "1")
    return _list(request, asked, number=int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1)


@router.post("/sources/search")
def search(request: Request, session: Seeing, form: Posted) -> Response:
    """Systems in which words occur. It is a form, because people search for the owner, too, and an owner is a person."""
    text = form.text("text")[:200]
    if not text and not is_htmx(request):
        return redirect(request, _address(_view(form.texts()), form.text("category")))
    return _list(request, form.texts(), text=text)


@router.get("/sources/search")
def searched(request: Request, session: Seeing) -> Response:
    """Where reloading the page of a search leads."""
    return redirect(request, "/sources")


def _view(asked: Mapping[str, str]) -> str:
    view = asked.get("view") or "all"
    return view if view in _VIEWS else "all"


def _address(view: str, category: str = "", number: int = 1) -> str:
    said = {"view": view if view != "all" else "", "category": category, "page": str(number) if number > 1 else ""}
    query = urlencode({name: value for name, value in said.items() if value})
    return f"/sources?{query}" if query else "/sources"


def _list(request: Request, asked: Mapping[str, str], *, text: str = "", number: int = 1) -> Response:
    host = host_of(request)
    view = _view(asked)
    category = asked.get("category") if asked.get("category") in tuple(Category) else None
    everything = host.inventory.systems()
    within = [system for system in everything if view == "all" or system.handling]
    found = within
    if text or category:
        found = host.inventory.systems(handling=True if view == "handling" else None, category=category, text=text or None)
    pages = max(1, math.ceil(len(found) / _PAGE))
    number = min(max(1, number), pages)
    kinds = Counter(system.category for system in within)
    return page(
        request,
        "sources/list.html",
        block="systems",
        title="Data sources",
        view=view,
        category=category or "",
        text=text,
        systems=found[:_FOUND] if text else found[(number - 1) * _PAGE : number * _PAGE],
        found=len(found),
        first=1 if text else (number - 1) * _PAGE + 1,
        number=number,
        pages=1 if text else pages,
        counts={"all": len(everything), "handling": sum(system.handling for system in everything)},
        broken=[system for system in within if system.broken],
        offered=[system for system in everything if system.offered],
        proposed=len(host.inventory.systems(proposed=True)),
        categories=[(kind.value, words(kind), kinds[kind.value]) for kind in Category if kinds[kind.value] or kind == category],
        previous=_address(view, category or "", number - 1) if number > 1 and not text else None,
        next=_address(view, category or "", number + 1) if number < pages and not text else None,
        link=lambda view: _address(view, category or ""),
        address_of=address_of,
    )


# --- adding --------------------------------------------------------------------------------------------------------------------------------


@router.get("/sources/add")
def add_form(request: Request, session: Deciding) -> Response:
    """The catalogue; with ``offer``, the form for one of it; with ``custom``, the form for a system of one's own."""
    asked = request.query_params
    if asked.get("custom"):
        return _custom(request, title=asked.get("title", "")[:200])
    if asked.get("offer"):
        return _offer(request, _offered(request, asked["offer"]))
    text, category = asked.get("text", "")[:100], asked.get("category", "")
    host = host_of(request)
    offers = host.inventory.catalogue(text=text, category=category if category in tuple(Category) else None)
    kinds = Counter(offer.category for offer in host.inventory.catalogue())
    there: Counter[str] = Counter(system.vendor or system.connector or "" for system in host.inventory.systems())
    return page(
        request,
        "sources/add.html",
        block="offers",
        title="Add data source",
        text=text,
        category=category,
        offers=offers,
        there=there,
        categories=[(kind.value, words(kind), kinds[kind.value]) for kind in Category if kinds[kind.value]],
    )


@router.post("/sources/add")
def add(request: Request, session: Deciding, form: Posted) -> Response:
    """Add what the catalogue offers, or a system of one's own. Whatever is wrong, what was typed stays."""
    offer = _offered(request, form.text("offer")) if form.text("offer") else None
    given = {name: form.text(name) for name in _FIELDS} | {"handling": form.flag("handling")}
    try:
        system = _add(request, session, form, offer, given)
    except DsrError as error:
        if status_of(error) >= 500:
            raise
        settings = given_settings(form)
        if offer is not None:
            return _offer(request, offer, status=status_of(error), error=error, given=given, settings=settings)
        return _custom(request, status=status_of(error), error=error, **given)
    return redirect(request, address_of(system.name), said=_said(system))


_INSTRUCTIONS: Final = ("instructions", "instructions_deletion", "instructions_copy")
_FIELDS: Final = ("title", "category", "reach", "privacy_address", *_INSTRUCTIONS, "owner", "note")


def _offered(request: Request, slug: str) -> Offer:
    offer = next((offer for offer in host_of(request).inventory.catalogue() if offer.slug == slug), None)
    if offer is None:
        raise RequestError("the catalogue offers no such system", field="offer", fix="search it, or create a custom system")
    return offer


def _add(request: Request, session: Session, form: Form, offer: Offer | None, given: Mapping[str, Any]) -> System:
    """What a form asks for, said to the inventory. ``reach`` is how: by an API now, later, by e-mail, by hand, or not at all."""
    inventory, by, reach = host_of(request).inventory, session.account.account, given["reach"]
    told: dict[str, Any] = {"owner": given["owner"] or None, "note": given["note"] or None, "by": by}
    handling = bool(given["handling"])
    if offer is not None and reach == "api":
        settings = inventory.typed(offer.connector, given_settings(form))
        return inventory.add(
            None, given["title"], category=offer.category, connector=offer.connector, settings=settings, handling=handling, vendor=offer.slug, **told
        )
    category, vendor = (offer.category, offer.slug) if offer is not None else (given["category"], None)
    if reach == "email":  # letters are switched on by themselves, and only then is it used in handling
        settings = {"privacy_address": given["privacy_address"]} if given["privacy_address"] else {}
        return inventory.add(None, given["title"], category=category, connector=BY_LETTER, settings=settings, vendor=vendor, **told)
    if reach == "hand" and given["instructions"]:
        settings = {name: given[name] for name in _INSTRUCTIONS if given[name]} | {"owner": given["owner"] or by}
        return inventory.add(None, given["title"], category=category, connector=BY_HAND, settings=settings, handling=handling, vendor=vendor, **told)
    if reach in ("hand", "later"):
        connector = BY_HAND if reach == "hand" else None
        return inventory.add(None, given["title"], category=category, connector=connector, handling=handling, vendor=vendor, **told)
    raise RequestError("is missing", field="reach", fix="say how the system is reached")


def given_settings(form: Form) -> dict[str, str]:
    """The connector's settings that a form holds, as texts."""
    return {name.removeprefix("set_"): value.strip() for name, value in form.texts().items() if name.startswith("set_") and value.strip()}


def _said(system: System) -> str:
    if system.connector == BY_LETTER:
        return "The data source is added. Its e-mail integration is off until you activate it."
    used = "It is used in request handling from now on." if system.handling else "It is not used in request handling yet."
    return f"The data source is added. {used}"


def _offer(request: Request, offer: Offer, *, status: int = 200, error: DsrError | None = None, **more: Any) -> Response:
    automated = offer.process == "automated"
    given = {
        "title": offer.title,
        "reach": "api" if automated else "email",
        "privacy_address": offer.privacy_address or "",
        **dict.fromkeys(_INSTRUCTIONS, ""),
        "owner": "",
        "note": "",
        "handling": True,
    }
    known = vendors().get(offer.slug)
    return page(
        request,
        "sources/offer.html",
        status=status,
        title=f"Add {offer.title}",
        offer=offer,
        vendor=known,
        error=error,
        given=given | more.get("given", {}),
        asked=host_of(request).inventory.needed(offer.connector) if automated else (),
        settings=more.get("settings", {}),
    )


def _custom(request: Request, *, status: int = 200, error: DsrError | None = None, **given: Any) -> Response:
    empty = {"title": "", "category": "custom", "reach": "hand", "privacy_address": "", "owner": "", "note": "", "handling": True}
    empty |= dict.fromkeys(_INSTRUCTIONS, "")
    return page(
        request,
        "sources/custom.html",
        status=status,
        title="Create a custom system",
        error=error,
        given=empty | given,
        categories=[(kind.value, words(kind)) for kind in Category],
    )


# --- discovery -----------------------------------------------------------------------------------------------------------------------------


@router.get("/sources/proposals")
def proposals(request: Request, session: Seeing) -> Response:
    """What discovery has found and nobody has decided about; and what was dismissed."""
    return _proposals(request)


def _proposals(request: Request, *, status: int = 200, result: Discovered | None = None, error: DsrError | None = None) -> Response:
    host = host_of(request)
    proposed = host.inventory.systems(proposed=True)
    return page(
        request,
        "sources/proposals.html",
        status=status,
        title="Found by discovery",
        proposed=proposed[:_FOUND],
        more=max(0, len(proposed) - _FOUND),
        dismissed=host.inventory.dismissed(),
        result=result,
        error=error,
        settings=host.config.discovery,
    )


@router.post("/sources/discover")
def discover(request: Request, session: Deciding, form: Posted) -> Response:
    """Ask the discoverers. What they could not answer is shown; what they found is on the page, too."""
    often(request, "discover", "10/minute")
    found = host_of(request).inventory.discover(by=session.account.account)
    if found.failed or not found.asked:
        return _proposals(request, result=found)
    new = f"{len(found)} new {'system is' if len(found) == 1 else 'systems are'} proposed" if found else "Nothing new was found"
    return redirect(request, "/sources/proposals", said=f"{new}; {found.known} stood in the inventory already.")


@router.post("/sources/proposals")
def decide(request: Request, session: Deciding, form: Posted) -> Response:
    """Accept or dismiss one proposal, or the ticked ones: the button's value names one, ``ticked`` means all of those."""
    host, by = host_of(request), session.account.account
    action, _, one = form.text("do").partition(":")
    if action not in ("accept", "use", "dismiss"):
        raise RequestError("is nothing that can be done", field="do", fix="accept it, or dismiss it")
    names = [one] if one else form.list("names")
    if not names:
        return _proposals(request, status=400, error=RequestError("No system is ticked", fix="tick some in the list"))
    done, last = 0, None
    for name in names:
        try:
            if action == "dismiss":
                host.inventory.dismiss(name, by=by)
            else:
                host.inventory.accept_proposal(name, by=by, handling=action == "use")
            done += 1
        except (ConflictError, RequestError) as error:  # somebody else was faster with this one; the others are still to be decided
            last = error
    if last is not None:
        return _proposals(request, status=status_of(last), error=last)
    what = {"accept": "in the inventory", "use": "in the inventory, and used in request handling by hand until connected", "dismiss": "dismissed"}[
        action
    ]
    return redirect(request, "/sources/proposals", said=f"{done} {'system is' if done == 1 else 'systems are'} {what}.")
