"""The privacy center: the form for people without an account, in their language, and the page that says it has arrived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dsr_sdk.errors import ConfigError
from dsr_sdk.host.arrivals.form_words import negotiate
from dsr_sdk.host.arrivals.forms import TRAP, FormError, FormSpec, languages_of
from dsr_sdk.host.arrivals.throttle import TooManyError
from dsr_sdk.portal import security
from dsr_sdk.portal.web import OpenPosted, client_of, host_of, page
from dsr_sdk.request import CASE_NUMBER

__all__ = ["chosen_language", "router"]

router = APIRouter()

Language = Annotated[str, Path(max_length=10)]


def chosen_language(request: Request) -> str:
    """The language that the visitor's browser asks for, of those that are offered."""
    offered = languages_of(host_of(request).config.privacy_center)
    own = host_of(request).config.host.language.partition("-")[0]
    return negotiate(request.headers.get("accept-language", ""), offered, own if own in offered else offered[0])


def _form(request: Request, language: str) -> FormSpec:
    """The form; no page at all where there is no privacy center, or none in this language."""
    try:
        form = host_of(request).intake.form(language)
    except ConfigError:
        raise HTTPException(404) from None
    if form.language != language:
        raise HTTPException(404)
    return form


@router.get("/privacy")
def start(request: Request) -> Response:
    """On to the form in the visitor's language."""
    language = chosen_language(request)
    _form(request, language)
    return RedirectResponse(f"/privacy/{language}", status_code=303, headers={"vary": "Accept-Language"})


@router.get("/privacy/{language}")
def show(request: Request, language: Language) -> Response:
    """The empty form. ``?type=copy`` chooses a type: for links in a privacy policy."""
    form = _form(request, language)
    return _page(request, form, {"type": request.query_params.get("type", ""), "stamp": host_of(request).intake.stamp()})


def _page(request: Request, form: FormSpec, given: Mapping[str, str], *, errors: Mapping[str, str] | None = None, status: int = 200) -> Response:
    found = errors or {}
    labels = {spec.name: spec.label for spec in (*form.fields, *form.custom)}
    labels |= {"type": form.text("form.type"), "scope": form.text("form.scope"), TRAP: form.text("form.trap")}
    return page(
        request,
        "public/form.html",
        status=status,
        title=f"{form.text('errors.error')}: {form.title}" if found else form.title,
        language=form.language,
        wide=True,
        form=form,
        t=form.text,
        given=given,
        errors=found,
        labels=labels,
        trap=TRAP,
    )


@router.post("/privacy/{language}")
def submit(request: Request, form: OpenPosted, language: Language) -> Response:
    """Take the form in. What is wrong with it is told beside each field, and everything stays as it was typed."""
    spec = _form(request, language)
    host = host_of(request)
    given = dict(form.texts())
    try:
        number = host.intake.submit_form(given, client=client_of(request), language=language)
    except FormError as error:
        if error.errors.get("") == spec.text("errors.expired"):
            given["stamp"] = host.intake.stamp()
        return _page(request, spec, given, errors=error.errors, status=400)
    except TooManyError as error:
        minutes = max(1, -(-error.retry_after // 60))
        response = _page(request, spec, given, errors={"": spec.text("errors.often", minutes=minutes)}, status=429)
        response.headers["retry-after"] = str(error.retry_after)
        return response
    response = RedirectResponse(f"/privacy/{language}/sent", status_code=303)
    needed = host.intake.asks_for(number).value
    # In a cookie, not in the address: a case number in a browser's history is nobody's business.
    security.put_cookie(host, response, "sent", security.signed(host, "sent", [number, needed]), seconds=900, strict=True)
    return response


@router.get("/privacy/{language}/sent")
def sent(request: Request, language: Language) -> Response:
    """That it has arrived, under which number, and what happens next. The same whoever it was."""
    form = _form(request, language)
    host = host_of(request)
    told = security.read_signed(host, "sent", request.cookies.get(security.cookie_name(host, "sent")))
    if not (isinstance(told, list) and len(told) == 2 and CASE_NUMBER.fullmatch(str(told[0]))):
        return RedirectResponse(f"/privacy/{language}", status_code=303)
    number, needed = told
    return page(
        request,
        "public/sent.html",
        title=form.text("done.heading"),
        language=form.language,
        wide=True,
        t=form.text,
        case=number,
        next=form.text(f"done.{needed}"),
    )
