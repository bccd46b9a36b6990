"""What stands beside every request, whatever stage it is in: agent, clock, conversation, mails in doubt, its record and its end."""

from __future__ import annotations

import io
import json
from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.portal.casework import Id, attached, attempt, conflict, found, need
from dsr_sdk.portal.routes.case import render
from dsr_sdk.portal.web import Posted, host_of, redirect, signed_in

__all__ = ["router"]

router = APIRouter()

Reviewing = Annotated[Session, signed_in(Permission.REVIEW)]
Messaging = Annotated[Session, signed_in(Permission.MESSAGE)]
Exporting = Annotated[Session, signed_in(Permission.EXPORT_RECORD)]
Shredding = Annotated[Session, signed_in(Permission.SHRED)]


# --- agent and clock -----------------------------------------------------------------------------------------------------------------------


@router.post("/requests/{number}/assign")
def assign(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """Give the request to an agent, or to nobody."""
    host, agent = host_of(request), form.text("agent") or None
    return attempt(request, number, lambda: host.workflow.assign(number, agent, by=session.account.account), said="Assigned.")


@router.post("/requests/{number}/extend")
def extend(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """Take the longer time that the law gives."""
    host, because = host_of(request), form.needed("because", "reason")
    return attempt(
        request,
        number,
        lambda: host.workflow.extend(number, by=session.account.account, because=because),
        said="The time is extended. Tell the person so, and why.",
    )


@router.post("/requests/{number}/pause")
def pause(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """Stop the clock while the person is asked."""
    host, because, revision = host_of(request), form.needed("because", "reason"), form.number("revision")
    by = session.account.account
    return attempt(
        request,
        number,
        lambda: host.workflow.pause_for_clarification(number, by=by, because=because, revision=revision),
        said="The clock stands still until the person has answered.",
    )


@router.post("/requests/{number}/resume")
def resume(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """Let the clock go on."""
    host, revision = host_of(request), form.number("revision")
    return attempt(request, number, lambda: host.workflow.resume(number, by=session.account.account, revision=revision), said="The clock goes on.")


# --- conversation --------------------------------------------------------------------------------------------------------------------------


@router.post("/requests/{number}/message")
def message(request: Request, session: Messaging, form: Posted, number: str) -> Response:
    """*Message user*, or a note for colleagues."""
    host, by = host_of(request), session.account.account
    text, note = form.text("body"), form.text("kind") == "note"
    case = found(request, number)
    try:
        if note and form.files("file"):
            raise RequestError("a note has no files", field="file", fix="choose none, or send it as a message")
        if note:
            host.conversation.note(number, text, by=by)
        else:
            with attached(host, number, form.files("file"), purpose="message", by=by) as files:
                host.conversation.message(number, text, by=by, files=files)
    except ConflictError as error:
        return conflict(request, number, error)
    except RequestError as error:
        return render(request, session, case, status=400, error=error, message=text)
    said = (
        "The note is kept." if note else "The message is sent." if host.config.mail else "The message is written; it is sent once [mail] is set up."
    )
    return redirect(request, f"/requests/{number}#conversation", said=said)


@router.post("/requests/{number}/mails/{id}/{answer}")
def settle(request: Request, session: Messaging, form: Posted, number: str, id: Id, answer: str) -> Response:
    """A person has found out about a mail in doubt: it was sent, or is to be sent again."""
    host, by = host_of(request), session.account.account
    if answer == "sent":
        return attempt(request, number, lambda: host.outbox.confirm_sent(id, by=by, case=number), said="Noted: the e-mail was sent.")
    if answer == "again":
        return attempt(request, number, lambda: host.outbox.resend(id, by=by, case=number), said="The e-mail is sent again.")
    raise RequestError("is no answer", field="mail", fix="say whether it was sent")


# --- record and end ------------------------------------------------------------------------------------------------------------------------


def _personal(request: Request, session: Session) -> bool:
    personal = request.query_params.get("personal") == "1"
    if personal:
        need(session, Permission.SEE_PERSON)
    return personal


def _called(request: Request, number: str) -> str:
    """The name of the file: a record with personal data says so, for the two are kept in different places."""
    return f"{number}-personal" if request.query_params.get("personal") == "1" else f"{number}-record"


@router.get("/requests/{number}/record.json")
def record_json(request: Request, session: Exporting, number: str) -> Response:
    """The record as JSON; without personal data unless asked for."""
    found(request, number)
    made = host_of(request).records.record(number, personal=_personal(request, session), by=session.account.account)
    headers = {"content-disposition": f'attachment; filename="{_called(request, number)}.json"'}
    return Response(json.dumps(made, ensure_ascii=False, indent=2).encode(), media_type="application/json", headers=headers)


@router.get("/requests/{number}/record.pdf")
def record_pdf(request: Request, session: Exporting, number: str) -> Response:
    """The same as PDF."""
    found(request, number)
    stream = io.BytesIO()
    host_of(request).records.pdf(number, stream, personal=_personal(request, session), by=session.account.account)
    headers = {"content-disposition": f'attachment; filename="{_called(request, number)}.pdf"'}
    return Response(stream.getvalue(), media_type="application/pdf", headers=headers)


@router.post("/requests/{number}/shred")
def shred(request: Request, session: Shredding, form: Posted, number: str) -> Response:
    """Destroy the personal data of a closed request in our own store."""
    if found(request, number).stage != "closed":
        raise RequestError("the request is not closed", source=number, fix="close it first")
    host, by = host_of(request), session.account.account
    return attempt(request, number, lambda: host.shred(number, by=by), said="The personal data of this request is destroyed.")
