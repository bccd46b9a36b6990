"""The page of one request: its head, who asks and how that was proven, what was said, and the decisions of the review stage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dsr_sdk.errors import DsrError, LedgerError, RequestError
from dsr_sdk.host.answers.correspondence import correspondence
from dsr_sdk.host.answers.outbox import MailState
from dsr_sdk.host.cases.review import Review
from dsr_sdk.host.cases.verification import Method, Requirement
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission, allowed
from dsr_sdk.host.process.panel import title_of
from dsr_sdk.host.records.history import grouped
from dsr_sdk.host.words import resource_title, vendor_title
from dsr_sdk.ledger.cases import Case
from dsr_sdk.portal.casework import Id, agents_of, attached, attempt, found, names_of, searches_of
from dsr_sdk.portal.rendering import MAIL_KINDS, words
from dsr_sdk.portal.routes.process import panel_of
from dsr_sdk.portal.routes.reply import reply_of
from dsr_sdk.portal.web import Posted, host_of, page, signed_in
from dsr_sdk.request import RequestType

__all__ = ["about", "router", "show", "streamed"]

router = APIRouter()

Seeing = Annotated[Session, signed_in(Permission.SEE_CASES)]
SeeingPerson = Annotated[Session, signed_in(Permission.SEE_PERSON)]
Reviewing = Annotated[Session, signed_in(Permission.REVIEW)]
Messaging = Annotated[Session, signed_in(Permission.MESSAGE)]

_METHODS = {
    Method.DOCUMENT: "Photo ID or another document",
    Method.QUESTIONS: "Answers to questions",
    Method.EMAIL: "They wrote from this e-mail address",
    Method.OAUTH: "They signed in (OAuth)",
    Method.CONTROLLER: "Our own system vouches for them",
}


# --- looking -------------------------------------------------------------------------------------------------------------------------------


@router.get("/requests/{number}")
def show(request: Request, session: Seeing, number: str) -> Response:
    """The page of the stage that the request is in."""
    return render(request, session, found(request, number))


def render(request: Request, session: Session, case: Case, *, status: int = 200, error: DsrError | None = None, message: str = "") -> Response:
    """The page of a request.

    Args:
        error: What went wrong with the message, which is shown again as it was typed.
    """
    host = host_of(request)
    context = about(request, session, case)
    stage = case.stage or "review"
    if stage == "review":
        context |= _review(request, case, context["review"])
    elif stage == "process":
        context |= panel_of(request, session, case, whole=True)
    elif stage == "reply":
        context |= reply_of(request, session, case)
    else:
        context["history"] = host.records.history(case.number, personal=bool(context["person"]))
        context["reply"] = host.replies.get(case.number) if context["person"] else None
    return page(request, f"case/{stage}.html", status=status, error=error, draft=message, **context)


def about(request: Request, session: Session, case: Case, *, talk: bool = True) -> dict[str, Any]:
    """What every page of a request shows: its head and its side. What is personal is there only for those who may see it.

    Args:
        talk: Whether the page shows the conversation: answers of the person count as read then.
    """
    host, account = host_of(request), session.account
    person = allowed(account.role, Permission.SEE_PERSON)
    review = host.inbox.review(case.number, by=account.account) if person else None
    reader = account.account if allowed(account.role, Permission.MESSAGE) else None
    mails = host.outbox.of(case.number)
    return {
        "title": f"Request {case.number}",
        "now": datetime.now(UTC),
        "title_of_resource": partial(resource_title, host),
        "title_of": partial(title_of, host),
        "vendor_title": partial(vendor_title, host),
        "case": case,
        "review": review,
        "person": person and not case.shredded,
        "due": host.workflow.explain(case),
        "soon": host.workflow.settings.due_soon_days,
        "requirement": host.workflow.requirement(case),
        "Requirement": Requirement,
        "names": names_of(host),
        "agents": agents_of(host),
        "entries": correspondence(host, case.number, by=reader) if person and talk else [],
        "mail_kinds": MAIL_KINDS,
        "doubtful": [mail for mail in mails if mail.state is MailState.DOUBT and mail.kind != "reply"],
        "failing": [mail for mail in mails if mail.state is MailState.FAILED and mail.kind in ("message", "verify")],
        "asked": [mail for mail in mails if mail.kind == "verify" and mail.state in (MailState.SENT, MailState.READY)],
        "identity_files": host.files.of(case.number, purpose="identity") if person else [],
        "automatic": RequestType(case.type).automatic,
        "can_mail": host.config.mail is not None,
    }


def _review(request: Request, case: Case, review: Review | None) -> dict[str, Any]:
    host = host_of(request)
    allowed_ = review.methods if review else ()
    forbidden = host.workflow.requirement(case) is Requirement.FORBIDDEN
    usable = set(host.usable_sources())
    sources = [system for system in host.inventory.systems(handling=True) if system.name in usable]
    chosen = {row.source for row in host.processing.panel(case.number).sources}
    return {
        "methods": [(method.value, label) for method, label in _METHODS.items() if method in allowed_],
        "reasons": [(reason.value, words(reason)) for reason in Reason if not (forbidden and reason is Reason.NOT_VERIFIED)],
        "systems": sorted(sources, key=lambda system: system.title.casefold()),
        "chosen": chosen or {system.name for system in sources},
    }


@router.get("/requests/{number}/history")
def history(request: Request, session: Seeing, number: str) -> Response:
    """Everything that happened: who handled it, what was said, when data was deleted, every event, and whether the log is unbroken."""
    case = found(request, number)
    personal = allowed(session.account.role, Permission.SEE_PERSON)
    told = host_of(request).records.history(number, personal=personal)
    context = about(request, session, case) | {"title": f"History of {number}", "history": told, "events": grouped(told.events)}
    return page(request, "case/history.html", **context)


# --- files ---------------------------------------------------------------------------------------------------------------------------------


def streamed(name: str, media_type: str, blocks: Iterator[bytes]) -> Response:
    """Bytes as a download; never shown by the browser itself."""
    plain = "".join(letter for letter in name if letter.isascii() and (letter.isalnum() or letter in "._- ")).strip() or "file"
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return StreamingResponse(blocks, media_type=media_type, headers={"content-disposition": disposition, "cache-control": "no-store"})


@router.get("/requests/{number}/files/{id}")
def download(request: Request, session: SeeingPerson, number: str, id: Id) -> Response:
    """A file of the request."""
    found(request, number)
    host = host_of(request)
    if id not in {info.id for info in host.files.of(number)}:  # nor is it the generated copy; and nothing is noted of what is not read
        raise LedgerError("there is no such file", source=number, fix="look at the copy from the page of the request")
    info, blocks = host.files.read(number, id, by=session.account.account)
    return streamed(info.name, info.media_type, blocks)


@router.post("/requests/{number}/files")
def attach(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """A proof of identity."""
    found(request, number)
    files = form.files("file")
    if not files:
        raise RequestError("no file was chosen", field="file", fix="choose one")
    host = host_of(request)

    def act() -> None:
        with attached(host, number, files, purpose="identity", by=session.account.account):
            pass

    return attempt(request, number, act, said="The file is attached.")


@router.post("/requests/{number}/files/{id}/remove")
def remove(request: Request, session: Reviewing, form: Posted, number: str, id: Id) -> Response:
    """Throw a proof of identity away. What the person sent, and what proves a deletion, stays."""
    host, by = host_of(request), session.account.account
    return attempt(request, number, lambda: host.files.remove(number, id, by=by, purpose="identity"), said="The file is gone.")


# --- verification --------------------------------------------------------------------------------------------------------------------------


@router.post("/requests/{number}/verify")
def verify(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """The agent has seen who they are."""
    method = next((method for method in Method if method.value == form.text("method")), None)
    if method is None:
        raise RequestError("is missing", field="method", fix="say how the identity was proven")
    host, by, revision = host_of(request), session.account.account, form.number("revision")
    return attempt(
        request, number, lambda: host.workflow.verify(number, method, by=by, revision=revision, note=form.text("note")), said="Identity verified."
    )


@router.post("/requests/{number}/ask-to-verify")
def ask_to_verify(request: Request, session: Messaging, form: Posted, number: str) -> Response:
    """Send the e-mail with which the person confirms their address."""
    host = host_of(request)
    said = "The verification e-mail is on its way." if host.config.mail else "The verification e-mail is written; it is sent once [mail] is set up."
    return attempt(request, number, lambda: host.conversation.ask_to_verify(number, by=session.account.account), said=said)


# --- the decisions of review ---------------------------------------------------------------------------------------------------------------


@router.post("/requests/{number}/sources")
def choose(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """Keep which data sources are relevant."""
    host, revision = host_of(request), form.number("revision")
    return attempt(
        request,
        number,
        lambda: host.workflow.choose(number, form.list("sources"), by=session.account.account, revision=revision),
        said="The data sources are chosen.",
    )


@router.post("/requests/{number}/accept")
def accept(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """Continue to processing; the search of the data sources begins by itself."""
    host, revision = host_of(request), form.number("revision")
    automatic = RequestType(found(request, number).type).automatic
    sources = form.list("sources") if automatic and form.flag("choosing") else None

    def act() -> None:
        host.workflow.accept(number, by=session.account.account, revision=revision, sources=sources)
        if automatic:
            searches_of(request).start(number)

    return attempt(request, number, act)


@router.post("/requests/{number}/reject")
def reject(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """Refuse it, and go on to the reply that says why."""
    reason = next((reason for reason in Reason if reason.value == form.text("reason")), None)
    if reason is None:
        raise RequestError("is missing", field="reason", fix="choose one")
    host, revision = host_of(request), form.number("revision")
    return attempt(request, number, lambda: host.workflow.reject(number, reason, by=session.account.account, revision=revision))


@router.post("/requests/{number}/withdraw")
def withdraw(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """The person has taken it back."""
    host, revision = host_of(request), form.number("revision")
    return attempt(request, number, lambda: host.workflow.withdraw(number, by=session.account.account, revision=revision))


@router.post("/requests/{number}/merge")
def merge(request: Request, session: Reviewing, form: Posted, number: str) -> Response:
    """Close it as the duplicate of another one, which goes on."""
    host, by, revision, into = host_of(request), session.account.account, form.number("revision"), form.needed("into")
    return attempt(request, number, lambda: host.workflow.merge(number, into, by=by, revision=revision, typed=form.flag("typed")))
