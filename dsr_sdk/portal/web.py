"""What every page of the portal is made with. A page of the portal looks like this::

    router = APIRouter()

    @router.get("/requests/{case}")
    def show(request: Request, session: Annotated[Session, signed_in(Permission.SEE_CASES)], case: str) -> Response:
        found = host_of(request).workflow.get(case)
        return page(request, "case/review.html", case=found)

    @router.post("/requests/{case}/accept")
    def accept(request: Request, session: Annotated[Session, signed_in(Permission.REVIEW)], form: Posted, case: str) -> Response:
        host_of(request).workflow.accept(case, by=session.account.account, revision=form.number("revision"))
        return redirect(request, f"/requests/{case}", said="The request goes on to processing.")

Rules:

- Plain ``def``: the host's methods block, so they run in the thread pool. Imports of the types in signatures are real ones (FastAPI reads them).
- Every route declares who may: ``signed_in(Permission.X)``, ``signed_in()`` for anybody with an account, ``with_key(Permission.X)`` for the
  API. A route for people without an account is listed in ``app.PUBLIC``, and takes its form by `OpenPosted`. `tests/portal/test_matrix.py`
  walks them all.
- The session stands before the form in the signature: who is not signed in does not get their body read. CSRF token and origin are checked
  there for everything that is not GET. Every form holds ``{{ csrf }}``.
- Errors of the library are not caught to be shown: `dsr_sdk.portal.errors` makes them a page that names the fix, with the right status
  (a part of a page, for htmx). Catch one to show it beside the field: ``page(..., status=400, error=error)``.
- What opens doors to others gets the session, not its account's name, as ``by``. The host's `NeedsProof` becomes *Please confirm that it is
  you*, with the fields of the form in it; sent again with a proof, the form does what it was for. No route has to know.
- After a POST comes a `redirect`, with what was done as ``said`` - a sentence without personal data, it travels in a cookie.
- No personal data in addresses (a search by identity is a POST), in titles, or in what is ``said``.
- A change wakes the engine by itself (`security.Guard`).

Every template has, beside what `page` is given: ``session`` (None when nobody is signed in), ``may(Permission.X)``, ``csrf``, ``flashes``,
``company``, ``path``, ``now``, ``ui`` (macros, see ``templates/ui.html``), ``static("file")``, filters ``when day ago words size``,
``due_in(moment, days)``, ``plural(3, "source")``. ``page(..., block="panel")`` renders only that block for htmx, the whole page for everyone
else: the same address serves both.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Depends
from fastapi.routing import APIRoute
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dsr_sdk.errors import RequestError
from dsr_sdk.host.people.accounts import ApiKey, Session
from dsr_sdk.host.people.roles import Permission, allowed
from dsr_sdk.portal import security
from dsr_sdk.portal.forms import Form
from dsr_sdk.portal.rendering import environment

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = [
    "Form",
    "Gate",
    "KeyGate",
    "NotAllowed",
    "NotProven",
    "OpenPosted",
    "Posted",
    "SignedOut",
    "TooOften",
    "client_of",
    "find_session",
    "host_of",
    "is_htmx",
    "often",
    "open_form",
    "page",
    "redirect",
    "signed_in",
    "with_key",
]

client_of = security.client_of

Tone = Literal["good", "info", "warn", "bad"]


class SignedOut(Exception):
    """Nobody is signed in, or the session has ended."""


class NotAllowed(Exception):
    """Whoever is signed in may not do this.

    Args:
        why: What was missing: a permission's name, or ``form`` when the form is not one of ours.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class NotProven(Exception):
    """Whoever was asked to confirm that it is them has not.

    Args:
        error: What was wrong with the proof.
    """

    def __init__(self, error: RequestError) -> None:
        super().__init__(str(error))
        self.error = error


class TooOften(Exception):
    """Someone does this too often."""


def host_of(request: Request) -> Host:
    """The host behind this portal."""
    host: Host = request.app.state.host
    return host


def is_htmx(request: Request) -> bool:
    """Whether a script of ours asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


# --- who may -----------------------------------------------------------------------------------------------------------------------------


def find_session(request: Request, *, used: bool = True) -> Session | None:
    """The session of the cookie, as it stands now: a role taken away a moment ago is gone. Blocks.

    Args:
        used: Whether a person has asked. A page that asks by itself keeps no session from ending.
    """
    host = host_of(request)
    token = request.cookies.get(security.cookie_name(host, "session"))
    return host.accounts.session(token, used=used) if token else None


class Gate:
    """The dependency behind `signed_in`. ``permission`` is what `tests/portal/test_matrix.py` reads; None means any account.

    Args:
        polled: Scripts of ours ask for it by themselves.
    """

    def __init__(self, permission: Permission | None, *, polled: bool = False) -> None:
        self.permission = permission
        self.polled = polled

    async def __call__(self, request: Request) -> Session:
        """The session, if whoever sent this may do it."""
        session = await run_in_threadpool(find_session, request, used=not (self.polled and is_htmx(request)))
        if session is None:
            raise SignedOut
        request.state.session = session
        if self.permission is not None and not allowed(session.account.role, self.permission):
            raise NotAllowed(self.permission.value)
        if "\0" in request.scope["path"] or any("\0" in value for value in request.query_params.values()):
            raise _unreadable("address")  # PostgreSQL stores none, and complains of it as of an error of ours
        if request.method not in security.SAFE:
            await _check_form(request, session.csrf)
            await _take_proof(request, session)
        return session


class KeyGate:
    """The dependency behind `with_key`."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> ApiKey:
        """The API key of the header ``Authorization: Bearer dsr_...``, if it may do this."""
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        key = None
        if kind.lower() == "bearer" and text:
            key = await run_in_threadpool(host_of(request).accounts.key, text.strip())
        if key is None:
            often(request, "api-key", "30/minute")
            raise SignedOut
        if not allowed(key.role, self.permission):
            raise NotAllowed(self.permission.value)
        known = _parameters(request.scope["route"])
        if not known.issuperset(request.query_params):  # a filter that is mistyped must not find everything
            raise RequestError("there is no such query parameter here", fix=f"known here: {', '.join(sorted(known)) or 'none'}")
        return key


def _parameters(route: APIRoute) -> frozenset[str]:
    """The names of a route's query parameters."""
    found, open_ = set[str](), [route.dependant]
    while open_:
        part = open_.pop()
        found.update(field.alias for field in part.query_params)
        open_ += part.dependencies
    return frozenset(found)


def signed_in(permission: Permission | None = None, *, polled: bool = False) -> Any:
    """A dependency: the `Session` of somebody who has this permission. ``session: Annotated[Session, signed_in(Permission.REVIEW)]``

    Args:
        polled: Scripts of ours ask for it by themselves: then it counts as nobody's use of the portal.
    """
    return Depends(Gate(permission, polled=polled))


def with_key(permission: Permission) -> Any:
    """A dependency for the API: the `ApiKey` that has this permission. ``key: Annotated[ApiKey, with_key(Permission.INTAKE)]``"""
    return Depends(KeyGate(permission))


def often(request: Request, what: str, rule: str) -> None:
    """Count that this client does something; raises `TooOften` (a page, 429) when it is more than a rule such as ``20/minute`` allows."""
    if not request.app.state.limiter.hit(rule, what, client_of(request)):
        raise TooOften


# --- forms -------------------------------------------------------------------------------------------------------------------------------


async def _check_form(request: Request, csrf: str) -> None:
    """Refuse a form that is not one of ours; the origin first, before the body is read."""
    if not security.same_origin(request):
        raise NotAllowed("form")
    given = request.headers.get("x-csrf-token")
    if given is None:
        given = (await Form.read(request)).text("csrf")
    if not hmac.compare_digest(csrf.encode(), given.encode()):
        await request.close()
        raise NotAllowed("form")


async def _take_proof(request: Request, session: Session) -> None:
    """A form that comes from *Please confirm that it is you* brings a proof along, beside the fields it was sent with first."""
    if "x-csrf-token" in request.headers:
        return
    request.state.form = form = await Form.read(request)
    if "proof_password" not in form:
        return
    confirm, code = host_of(request).accounts.own.confirm, form.text("proof_code") or None
    try:
        await run_in_threadpool(confirm, session, form.secret("proof_password"), code, client=client_of(request))
    except RequestError as error:
        raise NotProven(error) from None


async def _posted(request: Request) -> AsyncIterator[Form]:
    if getattr(request.state, "session", None) is None:
        raise RuntimeError("the session stands before the form in the signature of a route")
    try:
        form = await Form.read(request)
        if any("\0" in text for text in form.everything()):
            raise _unreadable("form")
        yield form
    finally:
        await request.close()  # uploads are open files


def _unreadable(field: str) -> RequestError:
    return RequestError("holds a character that cannot be stored", field=field, fix="type it anew")


async def _open_posted(request: Request) -> AsyncIterator[Form]:
    if security.has_files(request):  # no such form of ours has any, and nothing is received that nobody has asked for
        raise NotAllowed("form")
    async with open_form(request) as form:
        yield form


@asynccontextmanager
async def open_form(request: Request) -> AsyncIterator[Form]:
    """The form of a visitor, files and all: for a dependency that has made sure that they may send some."""
    await _check_form(request, _visit(request)[1])
    try:
        yield await Form.read(request)
    finally:
        await request.close()


Posted = Annotated[Form, Depends(_posted)]
"""The form of somebody who is signed in; stands after the session in a route's signature."""

OpenPosted = Annotated[Form, Depends(_open_posted)]
"""The form of a visitor without an account: with the token of the page it came from, too; without files."""


def _visit(request: Request) -> tuple[str, str]:
    """A visitor's cookie and the token of their forms. A new cookie when there is none."""
    host = host_of(request)
    visit = request.cookies.get(security.cookie_name(host, "visit")) or getattr(request.state, "visit", "")
    if not visit or len(visit) > 64:
        visit = request.state.visit = secrets.token_urlsafe(24)
    return visit, host.ledger.vault.fingerprint("portal", "visit", visit).hex()


# --- pages -------------------------------------------------------------------------------------------------------------------------------


def page(request: Request, template: str, *, status: int = 200, block: str | None = None, **context: Any) -> HTMLResponse:
    """Render a page.

    Args:
        template: Below ``dsr_sdk/portal/templates``.
        block: For htmx, only this block of it.
    """
    host = host_of(request)
    session: Session | None = getattr(request.state, "session", None)
    visit, token = ("", session.csrf) if session else _visit(request)
    flash, place = _flashes(request)
    beside = bool(flash) and place.startswith("source-") and "panel" in context  # beside what was acted on, where the page has it
    if beside:
        context.setdefault("said_at", {})[place] = flash[0]
    context = {
        "request": request,
        "session": session,
        "may": lambda permission: session is not None and allowed(session.account.role, permission),
        "csrf": Markup('<input type="hidden" name="csrf" value="{}">').format(token),
        "flashes": [] if beside else flash,
        "company": host.config.host.company,
        "notice": host.config.portal.notice,
        "path": request.url.path,
        "now": datetime.now(UTC),
        "title": None,
        **context,
    }
    found = environment().get_template(template)
    if block is not None and is_htmx(request):
        text = "".join(_block(found, block, context))
    else:
        text = found.render(context)
    response = HTMLResponse(text, status_code=status, headers={"vary": "HX-Request"})
    if not session and request.cookies.get(security.cookie_name(host, "visit")) != visit:
        # Lax, not Strict: whoever comes by a link in a mail must keep the cookie, or the form in their other tab would not hold any more.
        security.put_cookie(host, response, "visit", visit)
    if flash and not is_htmx(request):
        security.drop_cookie(host, response, "said")
    return response


def _block(template: Any, name: str, context: dict[str, Any]) -> Iterator[str]:
    if name not in template.blocks:
        raise KeyError(f"{template.name} has no block {name}")
    yield from template.blocks[name](template.new_context(context))


def redirect(request: Request, url: str, *, said: str = "", tone: Tone = "good") -> Response:
    """Go on to a page of ours, with GET.

    Args:
        said: A sentence that stands at the top of it, or, where the address ends in ``#source-NAME``, in the row of that data source;
            without personal data.
    """
    host = host_of(request)
    url = security.own_path(url)
    response: Response
    if is_htmx(request):
        response = Response(status_code=204, headers={"hx-redirect": url})
    else:
        response = RedirectResponse(url, status_code=303)
    if said:
        security.put_cookie(host, response, "said", security.signed(host, "said", [tone, said[:500], url.partition("#")[2]]), seconds=60)
    return response


def _flashes(request: Request) -> tuple[list[tuple[str, str]], str]:
    """What was said, and in which part of the page it is to stand."""
    host = host_of(request)
    value = security.read_signed(host, "said", request.cookies.get(security.cookie_name(host, "said")))
    if isinstance(value, list) and len(value) == 3:
        return [(str(value[0]), str(value[1]))], str(value[2])
    return [], ""
