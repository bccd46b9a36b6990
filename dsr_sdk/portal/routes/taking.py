"""Taking requests in: one that an agent writes down, or a file of them."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import DsrError, RequestError
from dsr_sdk.host.arrivals.form_words import form_words, localised
from dsr_sdk.host.arrivals.forms import correction_field
from dsr_sdk.host.arrivals.intake import ImportResult
from dsr_sdk.host.cases.deadlines import US_STATES
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.host.settings import FieldKind
from dsr_sdk.portal.forms import Form
from dsr_sdk.portal.rendering import words
from dsr_sdk.portal.web import Posted, host_of, page, redirect, signed_in
from dsr_sdk.request import CORRECTION, Channel, Regime, RequestType, Scope

__all__ = ["router"]

router = APIRouter()

Taking = Annotated[Session, signed_in(Permission.INTAKE)]

_LANGUAGES = {"en": "English", "de": "Deutsch", "fr": "Français", "es": "Español"}
_PLAIN = ("type", "scope", "channel", "first_name", "last_name", "email", "phone", "user_id", "country", "region", "regime", "language")
_HOW = ((Channel.AGENT, "By letter, by phone, in person"), (Channel.EMAIL, "By e-mail"), (Channel.APP, "In the app"), (Channel.PROVIDER, "Provider"))
_FORMATS = (("csv", "CSV"), ("json", "JSON: a list"), ("jsonl", "JSON Lines"))


@router.get("/requests/new")
def new(request: Request, session: Taking) -> Response:
    """A request that reached the company by letter, by phone, by e-mail."""
    return _new(request, {"type": request.query_params.get("type", "deletion"), "received": datetime.now(UTC).date().isoformat()})


def _new(request: Request, given: dict[str, str], *, error: DsrError | None = None) -> Response:
    host = host_of(request)
    return page(
        request,
        "requests/new.html",
        status=400 if error else 200,
        title="New request",
        given={
            "type": "",
            "scope": "account",
            "channel": "agent",
            "language": host.config.host.language,
            "once": secrets.token_urlsafe(12),
            **given,
        },
        error=error,
        types=[(type_.value, words(type_)) for type_ in RequestType],
        scopes=[(Scope.ACCOUNT.value, words(Scope.ACCOUNT)), (Scope.APP_DATA.value, words(Scope.APP_DATA))],
        channels=[(channel.value, label) for channel, label in _HOW],
        regimes=[("", "From where they live"), *((regime.value, words(regime)) for regime in Regime)],
        countries=[("", "Not known"), *form_words("en").countries.items()],
        regions=[("", "Not known, or elsewhere"), *US_STATES.items()],
        languages=list((_LANGUAGES | {host.config.host.language: _LANGUAGES.get(host.config.host.language, host.config.host.language)}).items()),
        fields=[(field, localised(field.label, "en")) for field in _own(request)],
        own_choices={field.name: [(choice, choice) for choice in field.choices] for field in _own(request)},
        kinds=FieldKind,
        asks_correction=_asks_correction(request),
        today=datetime.now(UTC).date().isoformat(),
    )


def _own(request: Request) -> tuple[Any, ...]:
    return host_of(request).config.privacy_center.fields


def _asks_correction(request: Request) -> bool:
    """Whether the page asks what is to be corrected by a field of its own: not where the company's form has one for it."""
    return correction_field(host_of(request).config.privacy_center) == CORRECTION and CORRECTION not in {field.name for field in _own(request)}


@router.post("/requests/new")
def create(request: Request, session: Taking, form: Posted) -> Response:
    """The case, in review. What cannot be taken comes back as it was typed."""
    fields: dict[str, Any] = {name: form.text(name) for name in _PLAIN}
    if fields["type"] != RequestType.DELETION.value:
        fields["scope"] = ""
    fields |= {f"custom.{field.name}": form.text(f"custom_{field.name}") for field in _own(request)}
    if _asks_correction(request):
        fields[f"custom.{CORRECTION}"] = form.text(f"custom_{CORRECTION}")
    try:
        fields["received_at"] = _received(form)
        number = host_of(request).intake.create(fields, by=session.account.account, once=form.text("once"))
    except RequestError as error:
        return _new(request, dict(form.texts()), error=error)
    return redirect(request, f"/requests/{number}", said="The request is taken in.")


def _received(form: Form) -> datetime | None:
    """The day it reached the company: this moment for today, else noon of that day, so that it is the same day everywhere in Europe."""
    day: date | None = form.day("received")
    moment = datetime.now(UTC)
    return None if day is None or day == moment.date() else datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


@router.get("/requests/import")
def upload(request: Request, session: Taking) -> Response:
    """A file of requests."""
    return _upload(request)


def _upload(request: Request, *, error: DsrError | None = None, result: ImportResult | None = None, checked: bool = False) -> Response:
    host = host_of(request)
    limit = host.workflow.settings.max_file_mb
    context: dict[str, Any] = {"error": error, "result": result, "checked": checked, "formats": _FORMATS, "limit": limit}
    return page(request, "requests/import.html", status=400 if error else 200, title="Import requests", **context)


@router.post("/requests/import")
def take(request: Request, session: Taking, form: Posted) -> Response:
    """Check the file, or take it in: all of it, or, when asked to, what of it is right."""
    files = form.files("file")
    if not files:
        return _upload(request, error=RequestError("no file was chosen", field="file", fix="choose one"))
    suffix = (files[0].filename or "").rpartition(".")[2].lower()
    name = form.text("format") or {"ndjson": "jsonl"}.get(suffix, suffix)
    checked = form.text("do") == "check"
    try:
        format_ = next((known for known in ("csv", "json", "jsonl") if known == name), None)
        result = host_of(request).intake.import_file(
            files[0].file,
            format=format_,
            by=session.account.account,
            dry_run=checked,
            partial=form.flag("partial"),
        )
    except RequestError as error:
        return _upload(request, error=error)
    return _upload(request, result=result, checked=checked)
