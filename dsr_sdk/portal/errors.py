"""Errors as pages: the status that fits, one sentence, and what to do about it. For the API as JSON, for htmx as a part of a page.

Nothing here repeats what was typed: the library's errors hold no personal data, and of all others only a number is shown.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dsr_sdk.errors import (
    ApprovalError,
    AuthError,
    ConfigError,
    ConflictError,
    DsrError,
    LedgerError,
    MissingIdentityError,
    NotFoundError,
    RejectedError,
    RequestError,
    TransientError,
    UnsupportedError,
    VaultError,
)
from dsr_sdk.host.people.accounts import NeedsProof
from dsr_sdk.portal import security
from dsr_sdk.portal.problems import problem, wrong_method
from dsr_sdk.portal.rendering import words
from dsr_sdk.portal.web import NotAllowed, NotProven, SignedOut, TooOften, host_of, is_htmx, page

__all__ = ["failed", "install", "status_of", "too_large"]

_STATUS: tuple[tuple[type[DsrError], int], ...] = (
    (ConflictError, 409),
    (RequestError, 400),
    (ApprovalError, 409),
    (MissingIdentityError, 409),
    (UnsupportedError, 409),
    (ConfigError, 409),
    (VaultError, 410),
    (NotFoundError, 404),
    (TransientError, 503),
    (AuthError, 502),
    (RejectedError, 502),
    (LedgerError, 503),
)

_TITLES = {
    400: "This could not be done",
    403: "You may not do this",
    404: "There is nothing here",
    405: "This cannot be done here",
    409: "This cannot be done now",
    410: "This is no longer there",
    413: "This is too large",
    429: "Too many attempts",
    500: "Something went wrong on our side",
    502: "Another system refused",
    503: "This does not work right now",
}


def status_of(error: DsrError) -> int:
    """The HTTP status of an error of the library: who acts next decides."""
    if getattr(error, "status", None) in (404, 429) and isinstance(error, RequestError):
        return int(vars(error)["status"])
    if isinstance(error, LedgerError) and error.message.startswith("there is no such"):
        return 404
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 400)


def show(request: Request, status: int, message: str, fix: str = "", *, field: str | None = None, title: str | None = None) -> Response:
    """The answer for an error, in the form that whoever asks can read."""
    if request.url.path.startswith("/api/"):
        return problem(status, message, field=field, fix=fix)
    title = title or _TITLES.get(status, "This could not be done")
    if is_htmx(request):
        response: Response = page(request, "flash.html", status=status, tone="bad", text=f"{message}. {fix}" if fix else message)
        response.headers["hx-retarget"] = "#flashes"
        response.headers["hx-reswap"] = "innerHTML show:window:top"
        return response
    return page(request, "error.html", status=status, title=title, code=status, message=message, fix=fix, back=_back(request))


def _back(request: Request) -> str:
    """The page that the person comes from, if it is one of ours."""
    parts = urlsplit(request.headers.get("referer", ""))
    path = parts.path if parts.netloc == request.headers.get("host", "") else ""
    return security.own_path(f"{path}?{parts.query}" if path and parts.query else path, "/")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _library(request: Request, error: DsrError) -> Response:
    where = ": ".join(part for part in (error.source, error.field) if part)
    response = show(
        request, status_of(error), _sentence(f"{where}: {error.message}" if where else error.message), _sentence(error.fix or ""), field=error.field
    )
    wait = getattr(error, "retry_after", None)
    if wait:
        response.headers["retry-after"] = str(math.ceil(wait))
    return response


def _signed_out(request: Request, error: Exception) -> Response:
    if request.url.path.startswith("/api/"):
        response = show(request, 401, "an API key is missing, or it does not hold any more", "send it as: Authorization: Bearer dsr_...")
        response.headers["www-authenticate"] = "Bearer"
        return response
    target = request.url.path if request.method in security.SAFE else _back(request)
    address = "/sign-in" if target == "/" else f"/sign-in?next={quote(target, safe='/?=')}"
    if is_htmx(request):
        return Response(status_code=401, headers={"hx-redirect": address})
    return RedirectResponse(address, status_code=303)


def _not_allowed(request: Request, error: NotAllowed) -> Response:
    if error.why == "form":
        return show(
            request,
            403,
            "The form was not sent from a page of this portal, or the page was open for too long",
            "Go back, load the page again, and send it once more",
            title="The form does not hold any more",
        )
    return show(request, 403, f"Your role does not include: {words(error.why).lower()}", "Ask an administrator of the portal for it")


def _confirm(request: Request, error: NeedsProof | NotProven) -> Response:
    """*Please confirm that it is you*: the same form once more, with room for a proof. What was typed goes along, so nobody types it twice."""
    form = getattr(request.state, "form", None)
    if is_htmx(request) or form is None:
        return show(request, 403, "Please confirm that it is you", "Sign out, and sign in again")
    oidc = host_of(request).config.portal.oidc
    context: dict[str, Any] = {
        "action": request.url.path,
        "fields": [(name, value) for name, value in form.pairs() if not name.startswith("proof_")],
        "back": _back(request),
        "oidc": oidc.title if oidc is not None else None,
        "error": error.error if isinstance(error, NotProven) else None,
    }
    return page(request, "account/confirm.html", status=403, title="Please confirm that it is you", **context)


def _too_often(request: Request, error: Exception) -> Response:
    response = show(request, 429, "This was tried too often", "Wait a few minutes, then try again")
    response.headers["retry-after"] = "60"
    return response


def _http(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        return show(request, 404, "There is no page at this address", "Begin at the start page")
    if error.status_code == 405 and request.url.path.startswith("/api/"):
        return wrong_method(request)
    if error.status_code == 405:
        response = show(request, 405, "This address does not do that", "Use the buttons of the pages")
    else:
        response = show(request, error.status_code, "The request could not be read", "Load the page again")
    response.headers.update(error.headers or {})
    return response


def _invalid(request: Request, error: RequestValidationError) -> Response:
    names = sorted({".".join(str(part) for part in row["loc"][1:]) or "body" for row in error.errors()})
    field = ", ".join(name[:80] for name in names[:5])
    status = 422 if request.url.path.startswith("/api/") else 400
    said = "; ".join(sorted({str(row["msg"]) for row in error.errors()})[:5]) if status == 422 else "is not valid"
    return show(request, status, f"{field}: {said}", field=field)


def failed(request: Request, number: str) -> Response:
    """The answer for an error that nobody expected. Its number stands in the log."""
    message = f"The error was recorded under the number {number}"
    return show(request, 500, message, "Try again; if it stays, give this number to whoever runs the portal")


def too_large(request: Request, limit: int) -> Response:
    """The answer for a body that is larger than what may be sent."""
    response = show(request, 413, f"At most {limit // (1024 * 1024)} MB may be sent", "Choose a smaller file, or several, one by one")
    response.headers["connection"] = "close"
    return response


def install(app: FastAPI) -> None:
    """Let the app answer errors this way. The handlers render in the thread pool, as the pages do."""

    def handler(make: Callable[[Request, Any], Response]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            return await run_in_threadpool(make, request, error)

        return handle

    kinds: tuple[tuple[type[Exception], Callable[[Request, Any], Response]], ...] = (
        (DsrError, _library),
        (SignedOut, _signed_out),
        (NotAllowed, _not_allowed),
        (NeedsProof, _confirm),
        (NotProven, _confirm),
        (TooOften, _too_often),
        (HTTPException, _http),
        (RequestValidationError, _invalid),
    )
    for kind, make in kinds:
        app.add_exception_handler(kind, handler(make))
