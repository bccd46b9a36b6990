"""The pages behind links: confirm an address, answer a message, fetch a copy, help to connect a system.

Looking uses nothing up; only a button does. Whatever is wrong with a link, the page is the same, and its status too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any
from urllib.parse import quote

from anyio import CancelScope
from fastapi import APIRouter, Depends, Path
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dsr_sdk.errors import DsrError, LedgerError, RequestError
from dsr_sdk.host.answers.conversation import MAX_FILES, MAX_TEXT, Thread
from dsr_sdk.host.answers.links import LinkError, Purpose
from dsr_sdk.host.arrivals.form_words import FormWords, form_words
from dsr_sdk.host.inventory.connecting import HelpPage
from dsr_sdk.host.process.handover import CODE_HOLDS
from dsr_sdk.host.process.pickup import PICKUP_TRIES, Parcel, Waiting
from dsr_sdk.portal.errors import status_of
from dsr_sdk.portal.forms import Form
from dsr_sdk.portal.routes.public import chosen_language
from dsr_sdk.portal.security import cookie_name, put_cookie
from dsr_sdk.portal.web import OpenPosted, TooOften, host_of, often, open_form, page

__all__ = ["router"]

router = APIRouter()

Token = Annotated[str, Path()]

_PICKUP = "pickup"
"""The cookie of the browser that has given the code for a copy."""


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


async def _answering(request: Request, token: Token) -> AsyncIterator[Form]:
    """The form of whoever holds a link that holds. Of anybody else nothing is read, let alone 26 MB: an empty one, and the page says why."""
    try:
        await run_in_threadpool(host_of(request).links.look, token, Purpose.ANSWER)
    except LinkError:
        yield Form(FormData())
        return
    async with open_form(request) as form:
        yield form


@router.post("/p/answer/{token}")
@_guarded
def answered(request: Request, form: Annotated[Form, Depends(_answering)], token: Token) -> Response:
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
    return StreamingResponse(blocks, media_type=media_type, headers=_saved(name))


def _saved(name: str) -> dict[str, str]:
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_. ") else "_" for letter in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return {"content-disposition": disposition, "cache-control": "no-store"}


# --- fetch a copy ------------------------------------------------------------------------------------------------------------------------


class _Handed(StreamingResponse):
    """A copy on its way. Whatever ends it, a visitor who is gone among it, its blocks are closed: so the history says how far it came."""

    def __init__(self, parcel: Parcel) -> None:
        super().__init__(parcel.blocks, media_type="application/zip", headers=_saved(parcel.name) | {"content-length": str(parcel.size)})
        self._blocks = parcel.blocks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with CancelScope(shield=True):
                await run_in_threadpool(self._blocks.close)


def _waiting(request: Request, token: str) -> Waiting | None:
    """What this very browser has given the code for and may still fetch; None for every other visitor."""
    host = host_of(request)
    try:
        return host.delivery.waiting(token, request.cookies.get(cookie_name(host, _PICKUP), ""))
    except LinkError:
        return None


def _again(request: Request, token: str, waiting: Waiting, *, error: str = "", begun: bool = False, status: int = 200) -> Response:
    """The page of the browser that gave the code.

    Args:
        begun: The download begins with this page: the page itself asks for the file, so that it works without scripts, and stays to say so.
    """
    t = form_words(host_of(request).request(waiting.case).language)
    minutes = max(1, round((waiting.until - datetime.now(UTC)).total_seconds() / 60))
    return _show(
        request,
        "copy",
        t,
        "links.copy_started_title" if begun else "links.copy_title",
        status=status,
        token=token,
        case=waiting.case,
        # The attempt that begins with this page is none that is left.
        resume=t("links.copy_resume", minutes=minutes, count=max(0, waiting.tries - begun)),
        left=waiting.tries - begun,
        begun=begun,
        sent="",
        error=error,
    )


def _sent(request: Request, token: str, t: FormWords) -> str:
    """The sentence about the newest code: to whom, and when. Empty when none was sent, or the last one has expired."""
    code = host_of(request).delivery.code_sent(token)
    if code is None:
        return ""
    minutes = int(CODE_HOLDS.total_seconds() // 60)
    return t("links.copy_code_sent", address=code.to, time=f"{code.at.astimezone(UTC):%H:%M} UTC", minutes=minutes)


@router.get("/p/copy/{token}")
@_guarded
def copy(request: Request, token: Token) -> Response:
    """A button that sends a code; then a place for the code; then, in the browser that gave it, a button until the copy was fetched.

    Opened once more, the page that begins a download begins none: ``go`` holds only as long as that attempt was not made.
    """
    waiting = _waiting(request, token)
    if waiting is not None:
        return _again(request, token, waiting, begun=request.query_params.get("go") == f"{waiting.tries}")
    t, case = _words(request, token, Purpose.COPY)
    return _show(request, "copy", t, "links.copy_title", token=token, case=case, resume="", sent=_sent(request, token, t), error="")


def _go(token: str, tries: int) -> Response:
    return RedirectResponse(f"/p/copy/{quote(token, safe='')}?go={tries}", status_code=303)


@router.post("/p/copy/{token}")
@_guarded
def copied(request: Request, form: OpenPosted, token: Token) -> Response:
    """Send the code, or, with the right one, go on to the page that begins the download. One that broke off needs no code again."""
    host = host_of(request)
    waiting = _waiting(request, token)
    if waiting is not None:
        if _too_often(request, "copy", "20/minute"):
            return _again(request, token, waiting, error=form_words(host.request(waiting.case).language)("links.often"), status=429)
        return _go(token, waiting.tries)
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
            return RedirectResponse(f"/p/copy/{quote(token, safe='')}", status_code=303)
    else:
        try:
            secret = host.delivery.confirm(token, code)
        except LinkError:
            raise
        except RequestError:
            error = t("links.copy_wrong")
        else:  # the code is used up: with the cookie this browser may begin, now and later
            going = _go(token, PICKUP_TRIES)
            put_cookie(host, going, _PICKUP, secret)
            return going
    shown = {"token": token, "case": case, "resume": "", "sent": _sent(request, token, t), "field": form.text("do") != "send"}
    return _show(request, "copy", t, "links.copy_title", status=status, error=error, **shown)


@router.get("/p/copy/{token}/data")
@_guarded
def copy_data(request: Request, token: Token) -> Response:
    """The copy itself, for the browser that gave the code: it begins an attempt, and the last byte uses the link up.

    Nobody else gets anything here, so nothing that opens links in advance uses anything up.
    """
    host = host_of(request)
    waiting = _waiting(request, token)
    if waiting is None:
        return _gone(request)
    words = form_words(host.request(waiting.case).language)
    if _too_often(request, "copy", "20/minute"):
        return _again(request, token, waiting, error=words("links.often"), status=429)
    try:
        return _Handed(host.delivery.take(token, request.cookies[cookie_name(host, _PICKUP)]))
    except LinkError:
        raise
    except RequestError:
        return _again(request, token, waiting, error=words("links.copy_busy"), status=409)
    except DsrError:
        return _again(request, token, waiting, error=words("links.later"), status=503)


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
