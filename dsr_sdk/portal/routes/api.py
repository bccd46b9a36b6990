"""The REST API, version 1: each route is one method of the host. See `dsr_sdk.portal.api_models` for what goes in and out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel
from starlette.requests import Request

from dsr_sdk.errors import ConflictError, RequestError
from dsr_sdk.host import Host
from dsr_sdk.host.cases.inbox import Filter
from dsr_sdk.host.cases.workflow import Stage
from dsr_sdk.host.people.accounts import ApiKey
from dsr_sdk.host.people.roles import Permission, allowed
from dsr_sdk.portal.api_models import (
    Accept,
    Assign,
    CaseOut,
    Day,
    Decide,
    Detail,
    Done,
    Finish,
    GiveFree,
    Given,
    GoOn,
    HistoryOut,
    Line,
    Merge,
    MessageIn,
    MessageOut,
    PageOut,
    Reject,
    ReplyIn,
    Search,
    TakenOut,
    Verify,
    description,
)
from dsr_sdk.portal.problems import ApiRoute, InvalidError, answers, parsed
from dsr_sdk.portal.security import client_of
from dsr_sdk.portal.web import NotAllowed, TooOften, host_of, with_key
from dsr_sdk.request import CASE_NUMBER, Channel, RequestType
from dsr_sdk.request import Request as PersonsRequest

__all__ = ["CALLS", "router"]

CALLS = "600/minute"
"""How often one key, or one client without any, may call."""

_M = TypeVar("_M", bound=BaseModel)


def _pace(request: Request) -> None:
    """Count the call, by the key it names, however that is spaced."""
    who = request.headers.get("authorization", "").partition(" ")[2].strip() or client_of(request)
    if not request.app.state.limiter.hit(CALLS, "api", who):
        raise TooOften


router = APIRouter(prefix="/api/v1", route_class=ApiRoute, dependencies=[Depends(_pace)], generate_unique_id_function=lambda route: route.name)

Number = Annotated[str, Path(alias="case", pattern=f"^{CASE_NUMBER.pattern}$", description="the case number")]
Source = Annotated[str, Path(max_length=63, pattern=r"^[^\x00-\x1f\x7f]+$", description="a data source of the request")]
Looker = Annotated[ApiKey, with_key(Permission.SEE_CASES)]
Reviewer = Annotated[ApiKey, with_key(Permission.REVIEW)]
Processor = Annotated[ApiKey, with_key(Permission.PROCESS)]
Replier = Annotated[ApiKey, with_key(Permission.REPLY)]
Person = Annotated[bool, Query(description="with the personal data; needs a role that may see it, and stands in the audit log")]


def _body(model: type[_M]) -> Any:
    """A dependency: the body as a model. It stands after the key in a signature, so that nobody else's body is read."""

    async def read(request: Request) -> _M:
        return parsed(model, await request.body())

    return Depends(read)


def _takes(model: type[BaseModel]) -> dict[str, Any]:
    """What a route takes, for its description."""
    needed = any(field.is_required() for field in model.model_fields.values())
    return {"requestBody": {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}, "required": needed}}


def _by(key: ApiKey) -> str:
    """Who did it, in the audit log."""
    return f"api:{key.name}"


def _open(host: Host, case: str) -> None:
    """Requests that are not in the workflow cannot be handled here."""
    if host.workflow.get(case).stage is None:
        raise ConflictError("the request is not in the workflow", source=case, fix="it was taken in before [workflow] stood in dsr.toml")


def _decide(request: Request, case: str, act: Callable[[Host], object]) -> CaseOut:
    host = host_of(request)
    _open(host, case)
    act(host)
    found: CaseOut = CaseOut.of(host.workflow.get(case))
    return found


# --- in and out --------------------------------------------------------------------------------------------------------------------------


async def _request(request: Request) -> PersonsRequest:
    try:
        return PersonsRequest.parse(await request.body())
    except RequestError as error:
        parts = [part.partition(" ") for part in error.message.split("; ")]
        known = [(field, said) for field, _, said in parts if field.partition(".")[0] in PersonsRequest.model_fields]
    raise InvalidError(known or [("", "is not valid JSON, or is no request")])


@router.post(
    "/requests",
    status_code=201,
    responses={200: {"model": TakenOut, "description": "The reference is known: this is the request there is."}, **answers(409)},
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/GivenRequest"}}}, "required": True}},
)
def take(
    request: Request,
    key: Annotated[ApiKey, with_key(Permission.INTAKE)],
    given: Annotated[PersonsRequest, Depends(_request)],
    response: Response,
) -> TakenOut:
    """Take a request in. The same `reference` again gives the same request, so a call whose answer was lost can be made again."""
    host = host_of(request)
    found = host.intake.take(given, by=_by(key))
    response.status_code = 201 if found.new else 200
    taken: TakenOut = TakenOut.of(host.workflow.get(found.case), new=found.new)
    return taken


@router.get("/requests", responses=answers())
def page(
    request: Request,
    key: Looker,
    open: Annotated[bool, Query(description="open requests, the one due soonest first; otherwise closed ones, the last closed first")] = True,
    stage: Stage | None = None,
    type: RequestType | None = None,
    channel: Channel | None = None,
    source: Line | None = None,
    agent: Annotated[Line | None, Query(description="an account; empty for requests assigned to nobody")] = None,
    due_before: Day | None = None,
    due_after: Day | None = None,
    overdue: bool = False,
    after: Annotated[Line | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> PageOut:
    """Requests in the workflow, a page at a time."""
    asked = Filter(
        open=open,
        stage=stage.value if stage else None,
        type=type.value if type else None,
        source=source,
        agent=agent,
        due_before=due_before,
        due_after=due_after,
        overdue=overdue,
        channel=channel.value if channel else None,
    )
    found = host_of(request).inbox.page(asked, after=after or None, limit=limit)
    return PageOut(requests=tuple(CaseOut.of(case) for case in found.cases), next=found.next)


@router.get("/requests/{case}", responses=answers(404, 410))
def show(request: Request, key: Looker, number: Number, person: Person = False) -> Detail:
    """How a request stands: its stage, when it is due, its data sources."""
    host = host_of(request)
    opened = _opened(host, key, number) if person else None
    panel = host.processing.panel(number)
    return Detail.of_panel(panel, host.workflow.requirement(panel.case).value, opened)


def _opened(host: Host, key: ApiKey, number: str) -> PersonsRequest:
    _may_see(key)
    return host.request(number, by=_by(key))


def _may_see(key: ApiKey) -> None:
    if not allowed(key.role, Permission.SEE_PERSON):
        raise NotAllowed(Permission.SEE_PERSON.value)


@router.get("/requests/{case}/history", responses=answers(404))
def history(request: Request, key: Looker, number: Number) -> HistoryOut:
    """Everything that happened to a request, without personal data."""
    return HistoryOut.of(host_of(request).records.history(number))


@router.get("/requests/{case}/record.json", responses=answers(404, 410))
def record(request: Request, key: Annotated[ApiKey, with_key(Permission.EXPORT_RECORD)], number: Number, person: Person = False) -> dict[str, Any]:
    """The record of a request, to be kept: see docs/schemas/record.json."""
    if person:
        _may_see(key)
    return host_of(request).records.record(number, personal=person, by=_by(key))


# --- review ------------------------------------------------------------------------------------------------------------------------------


@router.post("/requests/{case}/verify", responses=answers(404, 409), openapi_extra=_takes(Verify))
def verify(request: Request, key: Reviewer, number: Number, body: Annotated[Verify, _body(Verify)]) -> CaseOut:
    """Record that the person's identity was proven."""
    return _decide(request, number, lambda host: host.workflow.verify(number, body.method, by=_by(key), revision=body.revision, note=body.note))


@router.post("/requests/{case}/accept", responses=answers(404, 409), openapi_extra=_takes(Accept))
def accept(request: Request, key: Reviewer, number: Number, body: Annotated[Accept, _body(Accept)]) -> CaseOut:
    """Go on to processing. It cannot be taken back."""
    return _decide(request, number, lambda host: host.workflow.accept(number, by=_by(key), revision=body.revision, sources=body.sources))


@router.post("/requests/{case}/reject", responses=answers(404, 409), openapi_extra=_takes(Reject))
def reject(request: Request, key: Reviewer, number: Number, body: Annotated[Reject, _body(Reject)]) -> CaseOut:
    """Refuse the request, and go straight to the reply."""
    return _decide(request, number, lambda host: host.workflow.reject(number, body.reason, by=_by(key), revision=body.revision))


@router.post("/requests/{case}/withdraw", responses=answers(404, 409), openapi_extra=_takes(Decide))
def withdraw(request: Request, key: Reviewer, number: Number, body: Annotated[Decide, _body(Decide)]) -> CaseOut:
    """The person has taken the request back."""
    return _decide(request, number, lambda host: host.workflow.withdraw(number, by=_by(key), revision=body.revision))


@router.post("/requests/{case}/merge", responses=answers(404, 409), openapi_extra=_takes(Merge))
def merge(request: Request, key: Reviewer, number: Number, body: Annotated[Merge, _body(Merge)]) -> CaseOut:
    """Close it as the duplicate of another request of the same person and type."""
    return _decide(request, number, lambda host: host.workflow.merge(number, body.into, by=_by(key), revision=body.revision, typed=body.typed))


@router.post("/requests/{case}/assign", responses=answers(404, 409), openapi_extra=_takes(Assign))
def assign(request: Request, key: Reviewer, number: Number, body: Annotated[Assign, _body(Assign)]) -> CaseOut:
    """Give the request to an agent, or to nobody."""
    return _decide(request, number, lambda host: host.workflow.assign(number, body.agent, by=_by(key)))


# --- process -----------------------------------------------------------------------------------------------------------------------------


@router.post("/requests/{case}/search", responses=answers(404, 409, 502), openapi_extra=_takes(Search))
def search(request: Request, key: Processor, number: Number, body: Annotated[Search, _body(Search)]) -> Detail:
    """Search data sources for the person. Changes nothing at any of them."""
    host = host_of(request)
    _open(host, number)
    host.processing.search(number, sources=body.sources)
    return show(request, key, number)


@router.post("/requests/{case}/give-free", responses=answers(404, 409, 502), openapi_extra=_takes(GiveFree))
def give_free(request: Request, key: Processor, number: Number, body: Annotated[GiveFree, _body(GiveFree)]) -> Given:
    """Give data sources free: exactly what the search has found there. The engine carries it out; look at the request to follow it."""
    host = host_of(request)
    _open(host, number)
    given = host.processing.give_free(number, body.sources, by=_by(key), revision=body.revision, seen=body.seen)
    found: Given = Given.of(host.workflow.get(number), given=given)
    return found


@router.post("/requests/{case}/sources/{source}/done", responses=answers(404, 409), openapi_extra=_takes(Done))
def done(request: Request, key: Processor, number: Number, source: Source, body: Annotated[Done, _body(Done)]) -> CaseOut:
    """A person made sure: it was done by hand, or the vendor has answered its letter. Of a copy it says what it came to."""
    return _decide(request, number, lambda host: host.processing.mark_done(number, source, by=_by(key), note=body.note, result=body.result))


@router.post("/requests/{case}/sources/{source}/go-on", responses=answers(404, 409), openapi_extra=_takes(GoOn))
def go_on(request: Request, key: Processor, number: Number, source: Source, body: Annotated[GoOn, _body(GoOn)]) -> CaseOut:
    """Go on without waiting for a vendor that has accepted it (`awaited`)."""
    return _decide(request, number, lambda host: host.processing.go_on(number, source, by=_by(key), reason=body.reason))


@router.post("/requests/{case}/finish", responses=answers(404, 409), openapi_extra=_takes(Finish))
def finish(request: Request, key: Processor, number: Number, body: Annotated[Finish, _body(Finish)]) -> CaseOut:
    """Go on to the reply. It cannot be taken back."""
    return _decide(request, number, lambda host: host.workflow.finish(number, by=_by(key), revision=body.revision, all_done=body.all_done))


# --- reply -------------------------------------------------------------------------------------------------------------------------------


@router.post("/requests/{case}/message", responses=answers(404, 409, 410), openapi_extra=_takes(MessageIn), status_code=201)
def message(
    request: Request, key: Annotated[ApiKey, with_key(Permission.MESSAGE)], number: Number, body: Annotated[MessageIn, _body(MessageIn)]
) -> MessageOut:
    """Write to the person: an e-mail with a link to answer."""
    host = host_of(request)
    _open(host, number)
    return MessageOut(message=host.conversation.message(number, body.text, by=_by(key)))


@router.post("/requests/{case}/reply", responses=answers(404, 409, 410), openapi_extra=_takes(ReplyIn))
def reply(request: Request, key: Replier, number: Number, body: Annotated[ReplyIn, _body(ReplyIn)]) -> CaseOut:
    """Store the reply, or that there is to be none. It is sent by `close`."""

    def edit(host: Host) -> None:
        host.replies.edit(
            number,
            subject=body.subject,
            body=body.body,
            by=_by(key),
            template=body.template,
            mode=body.mode,
            reason=body.reason,
            revision=body.text_revision,
        )

    return _decide(request, number, edit)


@router.post("/requests/{case}/close", responses=answers(404, 409, 410, 502), openapi_extra=_takes(Decide))
def close(request: Request, key: Replier, number: Number, body: Annotated[Decide, _body(Decide)]) -> CaseOut:
    """Reply and close: the reply is sent, then the request is closed, as one action."""
    return _decide(request, number, lambda host: host.replies.close(number, by=_by(key), revision=body.revision))


# --- the description ---------------------------------------------------------------------------------------------------------------------


@cache
def _description() -> dict[str, Any]:
    return description([route for route in router.routes if route.path != "/api/v1/openapi.json"], version("dsr-sdk"))  # type: ignore[attr-defined]


@router.get("/openapi.json", openapi_extra={"security": []}, responses={429: answers()[429]})
def openapi() -> dict[str, Any]:
    """The description of this API."""
    return _description()
