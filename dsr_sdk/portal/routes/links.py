"""The pages behind links: confirm an address, answer a message, fetch a copy, help to connect a system.

Looking uses nothing up; only a button does. Whatever is wrong with a link, the page is the same, and its status too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from dsr_sdk.errors import DsrError, LedgerError, RequestError
from dsr_sdk.host.answers.conversation import MAX_FILES, MAX_TEXT, Thread
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.host.arrivals.form_words import FormWords, form_words
from dsr_sdk.host.inventory.connecting import HelpPage
from dsr_sdk.portal.errors import status_of
from dsr_sdk.portal.forms import Form
from dsr_sdk.portal.routes.public import chosen_language
from dsr_sdk.portal.web import OpenPosted, TooOften, host_of, often, page

__all__ = ["router"]

router = APIRouter()

Token = Annotated[str, Path()]


def _gone(request: Request) -> Response:
    """The one page for every link that does not work."""
    t = form_words(chosen_language(request))
    return page(request, "public/message.html", status=410, title=t("links.gone_title"), language=t.language, t=t, text=t("links.gone_text"))


def _guarded(view: Callable[..., Response]) -> Callable[..., Response]:
    """A link that does not work is one page, whatever is behind it: unknown, expired, used, its case closed or shredded."""

    @wraps(view)
    def guarded(request: Request, **parts: Any) -> Response:
        try:
            return view(request, **parts)
        except LinkError:
            return _gone(request)
        except LedgerError as error:
            if status_of(error) in (404, 410):
                return _gone(request)
            raise

    return guarded


def _words(request: Request, token: str, purpose: Purpose) -> tuple[FormWords, str]:
    """The texts in the language of the person's request, and its case. Uses nothing up."""
    link = host_of(request).links.look(token, purpose)
    if link.case is None:
        raise LinkError("this link cannot be used")
    return form_words(host_of(request).request(link.case).language), link.case


def _show(request: Request, template: str, t: FormWords, title: str, *, status: int = 200, **context: Any) -> Response:
    error = context.get("error")
    shown = f"{t('errors.error')}: {t(title)}" if error else t(title)
    return page(request, f"public/{template}.html", status=status, title=shown, heading=t(title), language=t.language, t=t, **context)


def _too_often(request: Request, what: str, rule: str) -> bool:
    try:
        often(request, what, rule)
    except TooOften:
        return True
    return False


# --- confirm an address ------------------------------------------------------------------------------------------------------------------


@router.get("/p/verify/{token}")
@_guarded
def verify(request: Request, token: Token) -> Response:
    """The button. A scanner that opens the link presses nothing."""
    t, case = _words(request, token, Purpose.VERIFY)
    return _show(request, "verify", t, "links.verify_title", case=case)


@router.post("/p/verify/{token}")
@_guarded
def verified(request: Request, form: OpenPosted, token: Token) -> Response:
    """The address is the person's."""
    t, _ = _words(request, token, Purpose.VERIFY)
    host_of(request).conversation.confirm_address(token)
    return _show(request, "message", t, "links.verified_title", text=t("links.verified_text"), good=True)


# --- answer ------------------------------------------------------------------------------------------------------------------------------


def _answer(
    request: Request, token: str, thread: Thread, t: FormWords, *, error: str = "", field: str = "", typed: str = "", status: int = 200
) -> Response:
    return _show(
        request,
        "answer",
        t,
        "links.answer_title",
        status=status,
        wide=True,
        thread=thread,
        token=token,
        error=error,
        field=field,
        typed=typed,
        limit=MAX_TEXT,
        size=host_of(request).workflow.settings.max_file_mb,
        until=host_of(request).templates.words(thread.language).day(thread.expires_at),
    )


@router.get("/p/answer/{token}")
@_guarded
def answer(request: Request, token: Token) -> Response:
    """What we have written, and a place to answer."""
    thread = host_of(request).conversation.thread(token)
    return _answer(request, token, thread, form_words(thread.language))


@router.post("/p/answer/{token}")
@_guarded
def answered(request: Request, form: OpenPosted, token: Token) -> Response:
    """Take the answer, with its files. What cannot be taken stays as it was typed; files have to be chosen again."""
    host = host_of(request)
    thread = host.conversation.thread(token)
    t = form_words(thread.language)
    text, uploads = form.text("answer"), form.files("files")
    error = field = ""
    status = 400
    if not text:
        error, field = t("links.answer_empty"), "answer"
    elif len(text) > MAX_TEXT:
        error, field = t("errors.long", limit=f"{MAX_TEXT}"), "answer"
    else:
        try:
            host.conversation.answer(token, text, [(file.file, file.filename or "", file.content_type or "") for file in uploads])
        except LinkError:
            raise
        except RequestError as wrong:
            if wrong.field is not None and uploads:
                size = host.workflow.settings.max_file_mb
                error, field = t("links.answer_file", count=MAX_FILES, size=size), "files"
            else:
                error, field = t("links.often"), "answer"
                status = 429
    if error:
        return _answer(request, token, thread, t, error=error, field=field, typed=text, status=status)
    return _show(request, "message", t, "links.answered_title", text=t("links.answered_text"), good=True)


@router.get("/p/answer/{token}/files/{file}")
@_guarded
def attached(request: Request, token: Token, file: str) -> Response:
    """A file that was sent to the person."""
    if not (file.isascii() and file.isdigit() and len(file) < 18):
        raise LinkError("this link cannot be used")
    info, blocks = host_of(request).conversation.fetch(token, int(file))
    return _download(info.name, blocks, info.media_type)


def _download(name: str, blocks: Any, media_type: str) -> Response:
    """A file to be saved, never shown: whatever it holds, it does not run on our pages."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_. ") else "_" for letter in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return StreamingResponse(blocks, media_type=media_type, headers={"content-disposition": disposition, "cache-control": "no-store"})


# --- fetch a copy ------------------------------------------------------------------------------------------------------------------------


@router.get("/p/copy/{token}")
@_guarded
def copy(request: Request, token: Token) -> Response:
    """A button that sends a code; then a place for the code."""
    t, case = _words(request, token, Purpose.COPY)
    return _show(request, "copy", t, "links.copy_title", token=token, case=case, sent="sent" in request.query_params, error="")


@router.post("/p/copy/{token}")
@_guarded
def copied(request: Request, form: OpenPosted, token: Token) -> Response:
    """Send the code, or, with the right one, the copy: once."""
    host = host_of(request)
    t, case = _words(request, token, Purpose.COPY)
    code = form.text("code")
    error, status = "", 400
    if _too_often(request, "copy", "20/minute"):
        error, status = t("links.often"), 429
    elif form.text("do") == "send":
        try:
            host.delivery.send_code(token)
        except LinkError:
            raise
        except RequestError:
            error, status = t("links.often"), 429
        except DsrError:
            error, status = t("links.later"), 503
        else:
            return RedirectResponse(f"/p/copy/{quote(token, safe='')}?sent=1", status_code=303)
    else:
        try:
            name, blocks = host.delivery.fetch(token, code)
        except LinkError:
            raise
        except RequestError:
            error = t("links.copy_wrong")
        else:
            return _download(name, blocks, "application/zip")
    return _show(request, "copy", t, "links.copy_title", status=status, token=token, case=case, sent=True, error=error)


# --- help to connect ---------------------------------------------------------------------------------------------------------------------


def _help(request: Request, token: str, found: HelpPage, *, given: Mapping[str, str] | None = None, error: DsrError | None = None) -> Response:
    return page(
        request,
        "public/help.html",
        status=400 if error else 200,
        title=f"Connect {found.title}",
        t=form_words("en"),
        wide=True,
        help=found,
        token=token,
        given=given or {},
        error=error,
    )


@router.get("/p/help/{token}")
@_guarded
def help_(request: Request, token: Token) -> Response:
    """What a colleague needs to know, and a place for the settings: nothing of any request."""
    return _help(request, token, host_of(request).inventory.help(token))


@router.post("/p/help/{token}")
@_guarded
def helped(request: Request, form: OpenPosted, token: Token) -> Response:
    """Take the settings as a proposal."""
    found = host_of(request).inventory.help(token)
    given = _settings(form, found)
    try:
        host_of(request).inventory.answer_help(token, given)
    except LinkError:
        raise
    except DsrError as error:
        if status_of(error) >= 500:
            raise
        return _help(request, token, found, given=given, error=error)
    text = f"Whoever asked you sees it now, and decides whether {found.title} is connected this way. You can close this page."
    return page(request, "public/message.html", title="Thank you", t=form_words("en"), text=text, good=True)


def _settings(form: Form, found: HelpPage) -> dict[str, str]:
    return {setting.name: form.text(f"set_{setting.name}") for setting in found.settings if form.text(f"set_{setting.name}")}
