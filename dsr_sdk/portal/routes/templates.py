"""Reply templates: the host's own and those that come along, by type, decision and language; written with a preview beside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import ConflictError, DsrError, LedgerError, RequestError
from dsr_sdk.host.answers.rendering import LISTS, VARIABLES
from dsr_sdk.host.answers.templates import Template
from dsr_sdk.host.answers.wording import LANGUAGES
from dsr_sdk.host.cases.workflow import Decision
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.portal.errors import status_of
from dsr_sdk.portal.forms import Form
from dsr_sdk.portal.rendering import words
from dsr_sdk.portal.web import Posted, host_of, page, redirect, signed_in
from dsr_sdk.request import RequestType

__all__ = ["router"]

router = APIRouter()

Seeing = Annotated[Session, signed_in(Permission.SEE_CASES)]
Writing = Annotated[Session, signed_in(Permission.TEMPLATES)]

_LINE: Final = re.compile(r"line (\d{1,6}): ")
_NAMES: Final[Mapping[str, str]] = {"en": "English", "de": "German", "fr": "French", "es": "Spanish"}


# --- the list ------------------------------------------------------------------------------------------------------------------------------


@router.get("/templates")
def show(request: Request, session: Seeing) -> Response:
    """The host's own templates, and a table of those that come along."""
    asked = request.query_params
    type_ = asked.get("type") if asked.get("type") in tuple(RequestType) else None
    decision = asked.get("decision") if asked.get("decision") in tuple(Decision) else None
    language = asked.get("language") or None
    found = host_of(request).templates.list(type_, decision, language)
    own = [row for row in found if not row.builtin]
    rows: dict[tuple[str, str], dict[str, Template]] = {}
    for row in found:
        if row.builtin:
            rows.setdefault((str(row.type), str(row.decision)), {})[row.language] = row
    return page(
        request,
        "templates/list.html",
        title="Reply templates",
        own=own,
        builtin=sorted(rows.items(), key=lambda item: (list(RequestType).index(RequestType(item[0][0])), list(Decision).index(Decision(item[0][1])))),
        shown=[code for code in LANGUAGES if language in (None, code)],
        type=type_ or "",
        decision=decision or "",
        language=language or "",
        narrowed=bool(type_ or decision or language),
        **_choices(own),
    )


def _choices(own: Sequence[Template] = ()) -> dict[str, Any]:
    more = sorted({row.language for row in own} - set(LANGUAGES))
    return {
        "types": [(type_.value, words(type_)) for type_ in RequestType],
        "decisions": [(decision.value, words(decision)) for decision in Decision],
        "languages": [(code, _NAMES.get(code, code)) for code in (*LANGUAGES, *more)],
        "language_names": _NAMES,
    }


# --- one of them ---------------------------------------------------------------------------------------------------------------------------


def _get(request: Request, id: str) -> Template:
    try:
        return host_of(request).templates.get(id)
    except RequestError:
        raise LedgerError("there is no such template", fix="see the list of templates") from None


@router.get("/templates/new")
def new(request: Request, session: Writing) -> Response:
    """A new one; with ``from``, beginning as a copy of another."""
    begin = request.query_params.get("from", "")
    if begin:
        other = _get(request, begin)
        name = f"{other.name[:94]} (own)" if other.builtin else f"{other.name[:93]} (copy)"
        template = replace(other, id=None, name=name, preferred=False, automatic=False, revision=0, builtin=False)
    else:
        template = Template(None, "", None, None, host_of(request).config.host.language, "", "")
    return _editor(request, template)


@router.get("/templates/{id}")
def edit(request: Request, session: Seeing, id: str) -> Response:
    """One template: to change, for those who may; one that comes along is read and copied."""
    return _editor(request, _get(request, id))


def _editor(request: Request, template: Template, *, status: int = 200, error: DsrError | None = None, waiting: int | None = None) -> Response:
    """The editor, with the preview of what stands in it now.

    Args:
        waiting: Asks whether it is to be automatic, and says how many requests wait for a reply.
    """
    return page(
        request,
        "templates/editor.html",
        status=status,
        title=template.name or "New template",
        written=template,
        error=error,
        waiting=waiting,
        excerpt=_excerpt(template, error),
        preview=_preview(request, template),
        variables=[(name, text, name in LISTS) for name, text in VARIABLES.items()],
        **_choices([template]),
    )


def _preview(request: Request, template: Template) -> dict[str, Any]:
    """Subject and body with sample values, or what is wrong with them, and where."""
    shown: dict[str, Any] = {"subject": "", "body": "", "error": None, "excerpt": None, "empty": not (template.subject or template.body)}
    try:
        shown["subject"], shown["body"] = host_of(request).templates.preview(template.subject, template.body, template.language or "en")
    except RequestError as error:
        shown |= {"error": error, "excerpt": _excerpt(template, error)}
    return shown


def _excerpt(template: Template, error: DsrError | None) -> list[tuple[int, str, bool]] | None:
    """The line at fault with its neighbours: number, text, whether it is the one."""
    found = _LINE.search(error.message) if error is not None and error.field in ("subject", "body") else None
    if error is None or found is None:
        return None
    lines = (template.subject if error.field == "subject" else template.body).split("\n")
    at = int(found[1])
    return [(number, lines[number - 1], number == at) for number in range(max(1, at - 1), min(len(lines), at + 1) + 1)]


@router.post("/templates/preview")
def preview(request: Request, session: Writing, form: Posted) -> Response:
    """The preview of what is being written; nothing is kept."""
    template = _written(request, form)
    return page(request, "templates/preview_page.html", block="preview", title="Preview", preview=_preview(request, template), written=template)


def _written(request: Request, form: Form, template: Template | None = None) -> Template:
    """What stands in the form, over the template that it is about."""
    return replace(
        template or Template(None, "", None, None, "", "", ""),
        name=form.text("name"),
        type=form.text("type") or None,
        decision=form.text("decision") or None,
        language=form.text("language"),
        subject=form.text("subject"),
        body=form.text("body"),
        preferred=form.flag("preferred"),
        automatic=form.flag("automatic"),
    )


@router.post("/templates/new")
def create(request: Request, session: Writing, form: Posted) -> Response:
    """Keep a new one, or preview it."""
    return _save(request, session, form, None)


@router.post("/templates/{id}")
def save(request: Request, session: Writing, form: Posted, id: str) -> Response:
    """Keep the changes, or preview them. Whatever is wrong, what was typed stays."""
    return _save(request, session, form, _get(request, id))


def _save(request: Request, session: Session, form: Form, kept: Template | None) -> Response:
    template = _written(request, form, kept)
    if form.text("do") == "preview":
        if kept is not None:
            template = replace(template, revision=form.number("revision"))
        return _editor(request, template)
    if kept is not None and kept.builtin:
        raise RequestError("comes along with the SDK and stays as it is", field="template", fix="make one of your own from it")
    host = host_of(request)
    try:
        if kept is not None:  # what was seen, not what is there by now
            template = replace(template, revision=form.number("revision"))
        if _newly_automatic(template, kept) and not form.flag("sure"):
            waiting = host.inbox.counts().by_stage["reply"] if host.config.workflow is not None else 0
            return _editor(request, template, status=400, waiting=waiting)
        host.templates.save(template, by=session.account.account)
    except ConflictError as error:
        return _editor(request, template, status=409, error=error)
    except RequestError as error:
        return _editor(request, template, status=status_of(error), error=error)
    said = "The template is saved. It goes out by itself from now on." if template.automatic else "The template is saved."
    return redirect(request, "/templates", said=said, tone="warn" if template.automatic else "good")


def _newly_automatic(template: Template, kept: Template | None) -> bool:
    """Whether saving it sends replies that nobody has looked at, and nobody has said so yet. It takes those that wait already, too."""
    meant = template.automatic, template.type, template.decision, template.language
    return template.automatic and template.preferred and (kept is None or meant != (kept.automatic, kept.type, kept.decision, kept.language))


@router.post("/templates/{id}/archive")
def archive(request: Request, session: Writing, form: Posted, id: str) -> Response:
    """Put one away."""
    _get(request, id)
    host_of(request).templates.archive(id, by=session.account.account)
    return redirect(request, "/templates", said="The template is put away. Replies that began from it stay as they are.")
