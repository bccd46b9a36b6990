"""Mails that need somebody: those of which nobody knows whether they were sent, and those that could not be; and those that still wait."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import DsrError, LedgerError, RequestError
from dsr_sdk.host.answers.outbox import Mail, MailState
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.portal.errors import status_of
from dsr_sdk.portal.rendering import MAIL_KINDS
from dsr_sdk.portal.web import Posted, host_of, page, redirect, signed_in

__all__ = ["router"]

router = APIRouter()

Seeing = Annotated[Session, signed_in(Permission.SEE_CASES)]
Messaging = Annotated[Session, signed_in(Permission.MESSAGE)]

_MOST = 200


@router.get("/outbox")
def show(request: Request, session: Seeing) -> Response:
    """Every such mail, the newest first; never what is in it, or to whom it goes."""
    return _show(request)


def _show(request: Request, *, status: int = 200, error: DsrError | None = None) -> Response:
    host = host_of(request)
    stuck = host.outbox.stuck(_MOST + 1, replies=True)
    waiting = host.outbox.waiting(_MOST + 1)
    return page(
        request,
        "outbox/list.html",
        status=status,
        title="Mail",
        error=error,
        doubtful=[mail for mail in stuck[:_MOST] if mail.state is MailState.DOUBT],
        failed=[mail for mail in stuck[:_MOST] if mail.state is MailState.FAILED],
        more=len(stuck) > _MOST,
        put_off=[mail for mail in waiting[:_MOST] if mail.error],
        waiting=len(waiting),
        most=_MOST,
        configured=host.post is not None,
        kinds=MAIL_KINDS,
    )


def _mail(request: Request, id: str) -> Mail:
    try:
        return host_of(request).outbox.get(int(id) if id.isascii() and id.isdigit() and len(id) < 12 else -1)
    except RequestError:
        raise LedgerError("there is no such mail", fix="see the list of mails") from None


@router.post("/outbox/{id}/sent")
def sent(request: Request, session: Messaging, form: Posted, id: str) -> Response:
    """Somebody has found out that a mail in doubt was sent."""
    mail = _mail(request, id)
    try:
        host_of(request).outbox.confirm_sent(mail.id, by=session.account.account)
    except RequestError as error:
        return _show(request, status=status_of(error), error=error)
    return redirect(request, "/outbox", said="Noted: the e-mail was sent.")


@router.post("/outbox/{id}/again")
def again(request: Request, session: Messaging, form: Posted, id: str) -> Response:
    """Send a mail that is in doubt or has failed once more."""
    mail = _mail(request, id)
    try:
        host_of(request).outbox.resend(mail.id, by=session.account.account)
    except RequestError as error:
        return _show(request, status=status_of(error), error=error)
    return redirect(request, "/outbox", said="The e-mail is sent again. If it arrived the first time, it arrives twice.")
