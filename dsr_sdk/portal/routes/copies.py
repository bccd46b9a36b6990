"""The copy of a copy request: what was collected, what is taken out of it, files added by hand, and the package."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import RequestError
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.host.process.delivery import PreviewRecord
from dsr_sdk.host.process.panel import title_of
from dsr_sdk.portal.casework import Id, attached, attempt, found, names_of, need
from dsr_sdk.portal.routes.case import about, streamed
from dsr_sdk.portal.web import Posted, host_of, page, signed_in

__all__ = ["router"]

router = APIRouter()

Processing = Annotated[Session, signed_in(Permission.PROCESS)]

_PAGE = 25
_FIELDS = 12
"""Fields of a record that are shown unfolded."""
_NOTHING = ("", "null", "[]", "{}")
"""How a field without a value reads."""


class _Shown:
    """A record as the page shows it: what is empty, and has nothing taken out of it, stands folded."""

    def __init__(self, record: PreviewRecord, changeable: bool) -> None:
        self.source, self.resource, self.key = record.source, record.resource, record.key
        self.hidden, self.redacted, self.changeable = record.hidden, record.redacted, changeable
        fields = list(record.fields.items())
        self.empty = [(pointer, text) for pointer, text in fields if text.strip() in _NOTHING and pointer not in record.redacted]
        self.filled = [pair for pair in fields if pair not in self.empty]


@router.get("/requests/{number}/copy")
def show(request: Request, session: Processing, number: str) -> Response:
    """What was collected, record by record, with a box beside each field: what is ticked is taken out."""
    need(session, Permission.SEE_PERSON)
    host, case = host_of(request), found(request, number)
    after = request.query_params.get("after")
    preview = host.delivery.preview(number, after=after or None, limit=_PAGE)
    start = int(after) if after and after.isdigit() else 0
    changeable = case.stage in ("process", "reply")
    return page(
        request,
        "case/copy.html",
        **(about(request, session, case, talk=False) | {"title": f"Redact the copy of {number}"}),
        records=[_Shown(record, changeable) for record in preview.records],
        shown_fields=_FIELDS,
        after=after or "",
        next=f"/requests/{number}/copy?after={preview.next}" if preview.next else None,
        previous=(f"/requests/{number}/copy" + (f"?after={start - _PAGE}" if start > _PAGE else "")) if start else None,
        redactions=host.delivery.redactions(number),
        titles={record.source: title_of(host, record.source) for record in preview.records},
        changeable=changeable,
        people=names_of(host),
    )


def _back(number: str, after: str) -> str:
    return f"/requests/{number}/copy" + (f"?after={after}" if after.isascii() and after.isdigit() else "")


@router.post("/requests/{number}/copy/redact")
def redact(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """Take what is ticked out of the copy: whole records, and single fields."""
    need(session, Permission.SEE_PERSON)
    host, by = host_of(request), session.account.account
    wanted = [value.split("|", 3) for value in form.list("fields")]
    if not wanted:
        raise RequestError("nothing is ticked", field="fields", fix="tick the fields or records that the person must not see")
    if any(len(parts) != 4 for parts in wanted):
        raise RequestError("is no field of this copy", field="fields", fix="load the page again")

    def act() -> None:
        for source, resource, record, field in wanted:
            host.delivery.redact(number, source, resource, record, field or None, by=by, reason=form.text("reason"))

    return attempt(request, number, act, to=_back(number, form.text("after")), said="Redacted. Generate the copy when you are done.")


@router.post("/requests/{number}/copy/restore/{id}")
def restore(request: Request, session: Processing, form: Posted, number: str, id: Id) -> Response:
    """Take a redaction back."""
    host, by = host_of(request), session.account.account
    return attempt(request, number, lambda: host.delivery.restore(number, id, by=by), to=_back(number, form.text("after")), said="Put back.")


@router.post("/requests/{number}/copy/files")
def add(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """Add files by hand: what a data source without an integration has handed over."""
    files = form.files("file")
    if not files:
        raise RequestError("no file was chosen", field="file", fix="choose one")
    found(request, number)
    host, by, source = host_of(request), session.account.account, form.text("source") or None

    def act() -> None:
        with attached(host, number, files, purpose="copy", source=source, by=by):
            pass

    return attempt(request, number, act, to=f"/requests/{number}#copy", said="Added. Generate the copy when you are done.")


@router.post("/requests/{number}/copy/files/{id}/remove")
def drop(request: Request, session: Processing, form: Posted, number: str, id: Id) -> Response:
    """Take a file out again."""
    host, by = host_of(request), session.account.account
    to = f"/requests/{number}#copy"
    return attempt(request, number, lambda: host.files.remove(number, id, by=by, purpose="copy"), to=to, said="The file is gone.")


@router.post("/requests/{number}/copy/generate")
def generate(request: Request, session: Processing, form: Posted, number: str) -> Response:
    """*Generate copy*: the package, sealed in our store."""
    host, by = host_of(request), session.account.account
    return attempt(request, number, lambda: host.delivery.generate(number, by=by), to=f"/requests/{number}#copy", said="The copy is generated.")


@router.get("/requests/{number}/copy/download")
def download(request: Request, session: Processing, number: str) -> Response:
    """The package, for an agent who looks at it."""
    need(session, Permission.SEE_PERSON)
    name, blocks = host_of(request).delivery.download(number, by=session.account.account)
    return streamed(name, "application/zip", blocks)
