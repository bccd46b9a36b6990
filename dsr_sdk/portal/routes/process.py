"""The process stage: search the data sources, give them free, mark what people did, and continue to the reply."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission, allowed
from dsr_sdk.host.process.letters import outgoing
from dsr_sdk.host.process.panel import FINAL, UNDER_WAY, PanelSource, SourceState, listed, title_of
from dsr_sdk.identity import AnyIdentity, ControllerId, Email, Phone, VendorId
from dsr_sdk.ledger.cases import Case
from dsr_sdk.portal.casework import attached, attempt, conflict, found, names_of, searches_of
from dsr_sdk.portal.web import Posted, host_of, is_htmx, page, redirect, signed_in
from dsr_sdk.request import RequestType

__all__ = ["panel_of", "router"]

router = APIRouter()

Seeing = Annotated[Session, signed_in(Permission.SEE_CASES)]
Processing = Annotated[Session, signed_in(Permission.PROCESS)]

_SOON = timedelta(minutes=1)
_STATES: dict[SourceState, tuple[str, str, str]] = {
    SourceState.NOT_SEARCHED: ("Not searched yet", "quiet", "search"),
    SourceState.SEARCHING: ("Searching…", "info", "refresh"),
    SourceState.NOTHING_FOUND: ("Nothing found", "good", "check"),
    SourceState.FOUND: ("Data found", "accent", "database"),
    SourceState.MISSING_IDENTIFIER: ("Missing identifier", "warn", "key"),
    SourceState.AMBIGUOUS: ("Several identifiers", "warn", "key"),
    SourceState.COULD_NOT_CHECK: ("Could not be checked", "bad", "alert"),
    SourceState.UNSUPPORTED: ("Does not do this", "quiet", "info"),
    SourceState.WORKING: ("Working…", "info", "refresh"),
    SourceState.WAITING: ("Waiting", "info", "clock"),
    SourceState.EMAIL_READY: ("Ready to send", "quiet", "mail"),
    SourceState.EMAIL_SENT: ("Email Sent", "info", "mail"),
    SourceState.IN_DOUBT: ("Nobody knows whether it was sent", "bad", "alert"),
    SourceState.BY_HAND: ("To be done by hand", "warn", "hand"),
    SourceState.DONE: ("Done", "good", "check"),
    SourceState.RETAINED: ("Kept by law", "good", "lock"),
    SourceState.FAILED: ("Failed", "bad", "alert"),
    SourceState.REAPPEARED: ("Found again", "bad", "alert"),
    SourceState.OVERRIDDEN: ("Went on without it", "warn", "hand"),
    SourceState.ACCEPTED: ("Accepted, not finished", "info", "clock"),
}
_RESULTS = {"attached": "Files attached", "elsewhere": "Answered separately"}
_DONE = {"deletion": "Deleted", "copy": "Collected", "do_not_sell": "Opted out"}
_RETRY = (SourceState.FAILED, SourceState.REAPPEARED, SourceState.COULD_NOT_CHECK)
_MARK = (SourceState.BY_HAND, SourceState.EMAIL_SENT, SourceState.IN_DOUBT)
_KINDS = (
    ("automated", "Integrations", "Reached through their interface."),
    ("email", "E-mail integrations", "Each is asked by an e-mail of its own, sent once. You see it before it is sent."),
    ("manual", "Manual data sources", "Done by a person, and marked one by one."),
)
_IDENTIFIERS = {"email": "E-mail address", "phone": "Phone number", "controller_id": "Customer id", "vendor_id": "Id at the vendor"}
_MADE: dict[str, type[Email | Phone | ControllerId]] = {"email": Email, "phone": Phone, "controller_id": ControllerId}


# --- looking -------------------------------------------------------------------------------------------------------------------------------


def panel_of(
    request: Request, session: Session, case: Case, *, whole: bool = False, said_at: dict[str, tuple[str, str]] | None = None
) -> dict[str, Any]:
    """What the panel is made of. Cheap, and without personal data: pages ask for it every two seconds while something works.

    Args:
        whole: For the whole page: with the letters as they would leave, which stay there when the panel is replaced.
        said_at: What is said beside a data source, by the id of its row.
    """
    host = host_of(request)
    searches = searches_of(request)
    under_way = searches.running(case.number)  # asked first: one that ends while the panel is read is followed once more
    panel = host.processing.panel(case.number)
    here = {row.source for row in panel.sources}
    may = allowed(session.account.role, Permission.PROCESS)
    searching = panel.searching or under_way
    person = allowed(session.account.role, Permission.SEE_PERSON) and not case.shredded
    ready = [row.source for row in panel.sources if row.state is SourceState.EMAIL_READY and not row.ticked]
    return {
        "case": case,
        "panel": panel,
        "said_at": said_at or {},
        "letters": outgoing(host, case.number, ready) if whole and may and person else {},
        "letters_ready": bool(ready),
        "waits": _waits(panel.waited_for),
        "follows": any(row.state is SourceState.WAITING for row in panel.sources),
        "enterable": lambda row: [(kind, _IDENTIFIERS.get(kind, kind)) for kind in row.takes] if row.enterable else [],
        "groups": [(kind, title, text, rows) for kind, title, text in _KINDS if (rows := [row for row in panel.sources if row.process == kind])],
        "state_of": lambda row: _state(panel.case.type, row),
        "S": SourceState,
        "retryable": _RETRY,
        "markable": _MARK,
        "overridable": lambda row: row.state not in FINAL and row.state not in UNDER_WAY,
        "identifiers": lambda row: [(kind, _IDENTIFIERS.get(kind, kind)) for kind in row.missing.split(", ") if kind],
        "vendor_of": lambda row: _slug(request, row.source),
        "searching": searching,
        "search_failed": searches.failed(case.number),
        "unsearched": [row.source for row in panel.sources if row.state is SourceState.NOT_SEARCHED],
        "working": searching or any(_works(row) for row in panel.sources),
        "finished": sum(row.state in FINAL for row in panel.sources),
        "may_process": may,
        "addable": [(name, title_of(host, name)) for name in host.usable_sources() if name not in here] if may else [],
        "automatic": RequestType(case.type).automatic,
        "names": names_of(host),
        "packaged": host.delivery.package(case.number) if case.type == RequestType.COPY and not case.shredded else None,
        "ungenerable": host.delivery.generable(case.number) if case.type == RequestType.COPY and not case.shredded else "",
        "redacted": len(host.delivery.redactions(case.number)) if case.type == RequestType.COPY and not case.shredded else 0,
        "added": host.files.of(case.number, purpose="copy") if case.type == RequestType.COPY and not case.shredded else [],
        "person": person,
    }


def _waits(rows: Sequence[PanelSource]) -> list[tuple[str, datetime | None]]:
    """What is waited for, by the day on which it is expected: the titles, and when; None for in a moment."""
    soon = datetime.now(UTC) + _SOON
    days: dict[date | None, list[PanelSource]] = {}
    for row in sorted(rows, key=lambda row: (row.next_at or soon, row.title), reverse=True):
        days.setdefault(row.next_at.date() if row.next_at and row.next_at > soon else None, []).append(row)
    return [(listed(sorted(row.title for row in here)), here[0].next_at if day else None) for day, here in days.items()]


def _state(type_: str, row: PanelSource) -> tuple[str, str, str]:
    label, tone, icon = _STATES[row.state]
    if row.state is SourceState.DONE and row.process == "automated":
        label = _DONE.get(type_, label)
    if row.state is SourceState.DONE and row.result:
        label = _RESULTS.get(row.result, label)
    if row.cancellable and row.state in UNDER_WAY:
        label = "Not sent yet"
    return label, tone, icon


def _slug(request: Request, source: str) -> str:
    configured = host_of(request).registry.sources.get(source)
    return configured.connector.slug if configured else ""


def _works(row: PanelSource) -> bool:
    """Whether a row may change by itself within the next minute."""
    if row.state is SourceState.WAITING:
        return row.next_at is not None and row.next_at < datetime.now(UTC) + _SOON
    return row.state is SourceState.WORKING


@router.get("/requests/{number}/panel")
def panel(request: Request, session: Annotated[Session, signed_in(Permission.SEE_CASES, polled=True)], number: str) -> Response:
    """The panel alone, for a page that follows what happens; for everyone else, the page."""
    case = found(request, number)
    if not is_htmx(request):
        return redirect(request, f"/requests/{number}")
    if case.stage != "process":  # someone has continued meanwhile: the whole page is another one
        return redirect(request, f"/requests/{number}")
    return page(request, "case/panel.html", **panel_of(request, session, case))


def _again(request: Request, session: Session, number: str, said: str = "", source: str = "") -> Response:
    """Where an action leads: the panel for htmx, the page for everyone else; to the row of the data source, and what is said stands there."""
    case = found(request, number)
    if is_htmx(request) and case.stage == "process":
        said_at = {f"source-{source}": ("good", said)} if said and source else None
        return page(request, "case/panel.html", **panel_of(request, session, case, whole=True, said_at=said_at))
    return redirect(request, _row(number, source), said=said)


def _row(number: str, source: str) -> str:
    return f"/requests/{number}#{f'source-{source}' if source else 'panel'}"


# --- searching and giving free -------------------------------------------------------------------------------------------------------------


@router.post("/requests/{number}/search")
def search(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """Search the data sources, in the background."""
    _in_process(request, number)
    searches_of(request).start(number, form.list("sources") or None)
    return _again(request, session, number)


def _in_process(request: Request, number: str) -> Case:
    case = found(request, number)
    if case.stage != "process":
        raise ConflictError(f"the request is in {case.stage}, not in process", source=number, fix="look at it again")
    return case


@router.post("/requests/{number}/give-free")
def ask(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """What would be done at the ticked data sources, before it is done."""
    try:
        case = _in_process(request, number)
    except ConflictError as error:
        return conflict(request, number, error)
    ticked = form.list("sources")
    panel = host_of(request).processing.panel(number)
    rows = [row for row in panel.sources if row.source in ticked and row.selectable]
    if not rows:
        return redirect(request, f"/requests/{number}#panel", said="Tick at least one data source first.", tone="warn")
    letters = [row for row in rows if row.process == "email"]
    return page(
        request,
        "case/give_free.html",
        title=f"{panel.verb} at {len(rows)} data sources",
        case=case,
        whom=_whom(request, session, case),
        panel=panel,
        rows=rows,
        letters=letters,
        acted=sum(count for row in rows for _, deed, count, _ in row.deeds if deed in ("erase", "along", "export", "opt_out")),
        kept=sum(count for row in rows for _, deed, count, _ in row.deeds if deed in ("retain", "leave")),
        seen=form.text("seen"),
        revision=form.text("revision"),
    )


def _whom(request: Request, session: Session, case: Case) -> str:
    """Whose data it is, for those who may see it."""
    if case.shredded or not allowed(session.account.role, Permission.SEE_PERSON):
        return ""
    review = host_of(request).inbox.review(case.number, by=session.account.account)
    return str(review.subject_name or review.email or "")


@router.post("/requests/{number}/give-free/confirmed")
def give_free(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """*Delete N sources*. From here on the engine carries it out, whether or not the page stays open."""
    host, by = host_of(request), session.account.account
    sources, revision, seen = form.list("sources"), form.number("revision"), form.number("seen")
    return attempt(
        request,
        number,
        lambda: host.processing.give_free(number, sources, by=by, revision=revision, seen=seen),
        to=f"/requests/{number}#panel",
    )


@router.post("/requests/{number}/sources/{source}/letter")
def tick(request: Request, session: Processing, form: Posted, number: str, source: str) -> Response:
    """Tick an e-mail integration: its letter is sent, once."""
    try:
        host_of(request).processing.tick_email(number, source, by=session.account.account)
    except ConflictError as error:
        if is_htmx(request):
            raise
        return conflict(request, number, error)
    return _again(request, session, number, "The e-mail is on its way.", source)


@router.post("/requests/{number}/sources/{source}/letter/cancel")
def untick(request: Request, session: Processing, form: Posted, number: str, source: str) -> Response:
    """Take the tick back: a letter that has not begun to leave is not sent."""
    try:
        cancelled = host_of(request).processing.untick(number, source, by=session.account.account)
    except ConflictError as error:
        if is_htmx(request):
            raise
        return conflict(request, number, error)
    return _again(request, session, number, "The letter is not sent." if cancelled else "It has left, and cannot be unsent.", source)


# --- what people do ------------------------------------------------------------------------------------------------------------------------


@router.post("/requests/{number}/sources/{source}/done")
def mark_done(request: Request, session: Processing, form: Posted, number: str, source: str) -> Response:
    """A person made sure, with a note and with files that prove it."""
    host, by = host_of(request), session.account.account

    def act() -> None:
        _in_process(request, number)
        with ExitStack() as stack:
            evidence = stack.enter_context(attached(host, number, form.files("file"), purpose="evidence", source=source, by=by))
            stack.enter_context(attached(host, number, form.files("copy"), purpose="copy", source=source, by=by))
            host.processing.mark_done(number, source, by=by, note=form.text("note"), files=evidence, result=form.text("result"))

    return attempt(request, number, act, to=_row(number, source), said="Marked.")


@router.post("/requests/{number}/sources/{source}/retry")
def retry(request: Request, session: Processing, form: Posted, number: str, source: str) -> Response:
    """Try again what failed."""
    host, by, resend = host_of(request), session.account.account, form.flag("resend")
    states = {row.source: row.state for row in host.processing.panel(number).sources}
    if states.get(source) is SourceState.COULD_NOT_CHECK:
        searches_of(request).start(number, [source])
        return _again(request, session, number, source=source)
    return attempt(
        request,
        number,
        lambda: host.processing.retry(number, source, by=by, resend=resend),
        to=_row(number, source),
        said="It is tried again.",
    )


@router.post("/requests/{number}/sources/{source}/override")
def override(request: Request, session: Processing, form: Posted, number: str, source: str) -> Response:
    """Go on without a data source, with a reason."""
    host, by, reason = host_of(request), session.account.account, form.text("reason")
    return attempt(request, number, lambda: host.processing.override(number, source, by=by, reason=reason), to=_row(number, source))


@router.post("/requests/{number}/sources/{source}/go-on")
def go_on(request: Request, session: Processing, form: Posted, number: str, source: str) -> Response:
    """Go on without waiting for a vendor that has accepted it, with a reason. It is asked on."""
    host, by, reason = host_of(request), session.account.account, form.text("reason")
    said = "You go on without waiting. We keep asking."
    return attempt(request, number, lambda: host.processing.go_on(number, source, by=by, reason=reason), to=_row(number, source), said=said)


@router.post("/requests/{number}/identifier")
def identifier(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """Enter an identifier that was missing; where it was, is searched again."""
    host, by = host_of(request), session.account.account
    identity = _identity(form.text("kind"), form.needed("value", "identifier"), form.text("vendor"))
    return attempt(
        request,
        number,
        lambda: host.processing.add_identifier(number, identity, by=by),
        to=_row(number, form.text("source")),
        said="Added.",
    )


def _identity(kind: str, value: str, vendor: str) -> AnyIdentity:
    try:
        if kind == "vendor_id":
            return VendorId(value=value, vendor=vendor, source="agent")
        if kind in _MADE:
            return _MADE[kind](value=value, source="agent")
    except ValidationError as error:
        said = error.errors(include_input=False, include_context=False)[0]["msg"].removeprefix("Value error, ")
        raise RequestError(said, field=_IDENTIFIERS.get(kind, "identifier").lower(), fix="look at what was typed") from None
    raise RequestError("is no kind of identifier", field="kind", fix="choose one")


@router.post("/requests/{number}/add-source")
def add_source(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """Add a data source that is relevant after all, and search it."""
    host, by, source = host_of(request), session.account.account, form.needed("source", "data source")

    def act() -> None:
        host.processing.add_source(number, source, by=by)
        searches_of(request).start(number, [source])

    return attempt(request, number, act, to=f"/requests/{number}#panel")


@router.post("/requests/{number}/finish")
def finish(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """Continue to the reply. It cannot be taken back."""
    host, by, revision, all_done = host_of(request), session.account.account, form.number("revision"), form.flag("all_done")
    return attempt(request, number, lambda: host.workflow.finish(number, by=by, revision=revision, all_done=all_done))
