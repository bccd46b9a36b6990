"""The reply: pre-filled, edited while processing or after it, previewed, and sent with *Reply & close*."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import ConflictError, DsrError, RequestError
from dsr_sdk.host.answers.outbox import MailState
from dsr_sdk.host.answers.templates import COPY_LINK
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission, allowed
from dsr_sdk.host.process.panel import PanelSource, SourceState, listed
from dsr_sdk.ledger.cases import Case
from dsr_sdk.portal.casework import attempt, conflict, found, need
from dsr_sdk.portal.errors import status_of
from dsr_sdk.portal.forms import Form
from dsr_sdk.portal.web import Posted, host_of, page, redirect, signed_in

__all__ = ["reply_of", "router"]

router = APIRouter()

Replying = Annotated[Session, signed_in(Permission.REPLY)]


def reply_of(
    request: Request,
    session: Session,
    case: Case,
    *,
    typed: dict[str, str] | None = None,
    error: DsrError | None = None,
    preview: bool = False,
    theirs: bool = False,
    read: int | None = None,
) -> dict[str, Any]:
    """What the editor of the reply is made of.

    Args:
        typed: What an agent has written and what is not stored: shown again as it was typed.
        preview: Show it as the person will read it.
        theirs: Somebody else has written it meanwhile: show what they wrote beside what was typed.
        read: The revision of the text that the agent has read, where this page does not show a newer one.
    """
    host = host_of(request)
    context: dict[str, Any] = {"reply": None, "reply_error": error, "preview": preview, "theirs": theirs}
    if case.shredded or not allowed(session.account.role, Permission.SEE_PERSON):
        return context
    reply = host.replies.get(case.number)
    given = {"subject": reply.subject, "body": reply.body, "mode": reply.mode, "reason": reply.reason, "template": reply.template or ""}
    wanted = request.query_params.get("template", "") if request.method == "GET" else ""
    if wanted:
        given["template"] = wanted
        given["subject"], given["body"] = host.templates.render(host.templates.get(wanted), case.number)
        given["mode"] = "mail"
        seen = request.query_params.get("text", "")
        read = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else read
    given |= typed or {}
    known = host.templates.list(case.type, case.decision)
    return context | {
        "reply": reply,
        "read": reply.revision if read is None else read,
        "given": given,
        "fresh_template": bool(wanted),
        "own": [row for row in known if not row.builtin],
        "builtin": [row for row in known if row.builtin],
        "doubt": reply.state is MailState.DOUBT,
        "sending": reply.state is MailState.HANDOVER,
        "COPY_LINK": COPY_LINK,
        **_exceptions(host.processing.panel(case.number).sources),
        "copy_ready": _copy_ready(request, case),
        "may_reply": allowed(session.account.role, Permission.REPLY),
    }


def _exceptions(rows: Sequence[PanelSource]) -> dict[str, str]:
    """Where it was not carried out, or not yet."""
    return {
        "left_out": listed([row.title for row in rows if row.state is SourceState.OVERRIDDEN]),
        "unfinished": listed([row.title for row in rows if row.state is SourceState.ACCEPTED]),
        "late": listed([row.title for row in rows if row.late]),
    }


def _copy_ready(request: Request, case: Case) -> bool:
    if case.type != "copy":
        return True
    package = host_of(request).delivery.package(case.number)
    return package is not None and package.current


def _typed(form: Form) -> dict[str, str]:
    return {name: form.text(name) for name in ("subject", "body", "mode", "reason", "template")}


def _editor(request: Request, session: Session, case: Case, *, status: int = 200, **more: Any) -> Response:
    from dsr_sdk.portal.routes.case import about  # it imports this module

    context = about(request, session, case) | reply_of(request, session, case, **more)
    name = "case/reply.html" if case.stage == "reply" else "case/reply_early.html"
    return page(request, name, status=status, error=None, draft="", **context)


@router.get("/requests/{number}/reply")
def edit(request: Request, session: Replying, number: str) -> Response:
    """The reply, while the request is processed; in reply it stands on the request's own page."""
    need(session, Permission.SEE_PERSON)
    case = found(request, number)
    if case.stage != "process":
        return redirect(request, f"/requests/{number}")
    return _editor(request, session, case)


@router.post("/requests/{number}/reply")
def save(request: Request, session: Replying, form: Posted, number: str) -> Response:
    """Save, preview, or *Reply & close*. Whatever goes wrong, what was typed stays."""
    need(session, Permission.SEE_PERSON)
    case, typed, do = found(request, number), _typed(form), form.text("do")
    if do == "preview":
        return _editor(request, session, case, typed=typed, preview=True, read=form.number("text"))
    host, by = host_of(request), session.account.account
    revision, text = form.number("revision"), form.number("text")
    try:
        if revision != case.revision and do == "close":
            raise ConflictError("someone else has decided about this request meanwhile", source=number)
        text = _store(request, session, case, typed, text)
        if do == "close":
            host.replies.close(number, by=by, revision=revision, text=text)
    except ConflictError as error:
        return _late(request, session, number, error, typed, text)
    except DsrError as error:
        return _editor(request, session, found(request, number), status=status_of(error), typed=typed, error=error, read=text)
    if do == "close":
        return redirect(request, f"/requests/{number}")
    back = f"/requests/{number}/reply" if case.stage == "process" else f"/requests/{number}"
    return redirect(request, back, said="The reply is saved. It is not sent yet.")


def _late(request: Request, session: Session, number: str, error: ConflictError, typed: dict[str, str], read: int) -> Response:
    """Somebody else was faster: what was typed is shown again, in the editor while it can still be used, or to be copied from."""
    case, stands = found(request, number), host_of(request).replies.get(number)
    if stands.state in (MailState.DOUBT, MailState.HANDOVER):
        return _editor(request, session, case, status=409, error=error)
    if case.stage in ("process", "reply") and stands.state is not MailState.SENT and stands.revision != read:
        return _editor(request, session, case, status=409, typed=typed, error=error, theirs=True)
    return conflict(request, number, error, typed=typed["reason"] if typed["mode"] == "none" else f"{typed['subject']}\n\n{typed['body']}")


def _store(request: Request, session: Session, case: Case, typed: dict[str, str], read: int) -> int:
    """Keep what was typed, if it is anything else than what is there. The revision of what is kept."""
    host = host_of(request)
    reply = host.replies.get(case.number)
    before = (reply.mode, reply.subject.strip(), reply.body.strip(), reply.reason)
    if typed["mode"] not in ("mail", "none"):
        raise RequestError("is missing", field="mode", fix="say whether a reply is sent")
    if (typed["mode"], typed["subject"], typed["body"], typed["reason"]) == before and reply.state is None:
        return reply.revision
    return host.replies.edit(
        case.number,
        subject=typed["subject"],
        body=typed["body"],
        by=session.account.account,
        template=typed["template"] or None,
        mode=typed["mode"],
        reason=typed["reason"],
        revision=read,
    )


@router.post("/requests/{number}/reply/settle")
def settle(request: Request, session: Replying, form: Posted, number: str) -> Response:
    """A person has found out about a reply in doubt: it was sent, or is to be sent again. Then the request is closed."""
    host, by, sent = host_of(request), session.account.account, form.text("answer") == "sent"
    if form.text("answer") not in ("sent", "again"):
        raise RequestError("is no answer", field="answer", fix="say whether it was sent")
    try:
        return attempt(request, number, lambda: host.replies.settle(number, sent=sent, by=by))
    except DsrError as error:
        if isinstance(error, ConflictError):
            raise
        return _editor(request, session, found(request, number), status=status_of(error), error=error)
