"""What goes in and out of the REST API, and its description (OpenAPI 3.1)."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any

from fastapi.openapi.utils import get_openapi
from pydantic import BeforeValidator, Field
from starlette.routing import BaseRoute

from dsr_sdk._model import Model
from dsr_sdk.host.cases.verification import Method
from dsr_sdk.host.cases.workflow import Reason
from dsr_sdk.host.process.panel import Panel
from dsr_sdk.host.records.history import History
from dsr_sdk.ledger.cases import Case
from dsr_sdk.portal.problems import Problem
from dsr_sdk.request import CASE_NUMBER, Request

__all__ = [
    "Accept",
    "CaseOut",
    "Day",
    "Decide",
    "Detail",
    "Done",
    "EventOut",
    "Finish",
    "GiveFree",
    "Given",
    "GoOn",
    "HistoryOut",
    "Line",
    "Merge",
    "MessageIn",
    "MessageOut",
    "PageOut",
    "Reject",
    "ReplyIn",
    "Search",
    "SourceOut",
    "TakenOut",
    "Verify",
    "description",
]

Line = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _is_day(value: object) -> object:
    """Not a number of seconds, which would pass for one."""
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("must be a day such as 2026-01-31")
    return value


Day = Annotated[date, BeforeValidator(_is_day)]
_Text = Annotated[str, Field(max_length=20_000, pattern=r"^[^\x00]*$")]
_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Sources = Annotated[tuple[Line, ...], Field(max_length=500)]

# --- in ----------------------------------------------------------------------------------------------------------------------------------


class Decide(Model):
    """A decision. ``revision`` is that of the request as the caller has seen it: of two who decide at once, one is told (409)."""

    revision: _Count | None = None


class Verify(Decide):
    """The person's identity was proven."""

    method: Method
    note: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="what was seen, without personal data")] = ""


class Accept(Decide):
    """Go on to processing. Without `sources`, those that were chosen, or all that take part in request handling."""

    sources: _Sources | None = None


class Reject(Decide):
    """Refuse the request."""

    reason: Reason


class Merge(Decide):
    """Close it as the duplicate of another."""

    into: Annotated[str, Field(pattern=f"^{CASE_NUMBER.pattern}$")]
    typed: bool = Field(False, description="take over identifiers that were only typed, too; they stay not proven")


class Assign(Model):
    """Give it to an agent. It is no decision: no revision goes up."""

    agent: Line | None = Field(description="an active account whose role works requests; null for nobody")


class Search(Model):
    """Search data sources; without `sources`, all that were chosen and not given free yet."""

    sources: _Sources | None = None


class GiveFree(Decide):
    """Give data sources free: what was found there is deleted, collected or opted out. It cannot be taken back."""

    sources: Annotated[tuple[Line, ...], Field(min_length=1, max_length=500)]
    seen: _Count | None = Field(None, description="of the request as the caller has seen it: refused when a later search has found something else")


class Done(Model):
    """What a person did at a data source, or saw of it."""

    note: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$", description="kept sealed with the request")] = ""
    result: Annotated[str, Field(pattern="^(|nothing_found|attached|elsewhere)$", description="of a copy, what it came to")] = ""


class GoOn(Model):
    """Go on without waiting for a vendor that has accepted it. It is asked on."""

    reason: Annotated[str, Field(min_length=10, max_length=2000, pattern=r"^[^\x00]*$", description="kept sealed with the request")]


class Finish(Decide):
    """Go on to the reply."""

    all_done: bool = Field(False, description="the caller's word that everything outside the connected data sources was done")


class ReplyIn(Model):
    """The reply. Without `subject` and `body`, the template's."""

    subject: Line | None = None
    body: _Text | None = None
    template: Line | None = None
    mode: Annotated[str, Field(pattern="^(mail|none)$")] = "mail"
    reason: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$", description="why there is to be no reply")] = ""
    text_revision: _Count | None = Field(None, description="of the reply's text; 0 stores this one only while nobody has written any")


class MessageIn(Model):
    """A message to the person."""

    text: Annotated[str, Field(min_length=1, max_length=8000, pattern=r"^[^\x00]*$")]


# --- out ---------------------------------------------------------------------------------------------------------------------------------


class CaseOut(Model):
    """A request without its personal data."""

    case: str
    type: str
    scope: str
    channel: str
    regime: str | None
    stage: str | None
    stage_at: datetime | None
    decision: str | None
    reason: str | None
    agent: str | None
    received_at: datetime
    due_at: datetime | None
    paused_at: datetime | None
    verified_by: str | None
    verified_at: datetime | None
    duplicate_of: str | None
    ended_at: datetime | None
    shredded: bool
    revision: int

    @classmethod
    def of(cls, case: Case, **more: Any) -> Any:
        """From the ledger's."""
        own = {name: getattr(case, name) for name in CaseOut.model_fields if name != "case"}
        return cls(case=case.number, **own, **more)


class SourceOut(Model):
    """How a data source of a request stands."""

    source: str
    title: str
    process: str
    state: str
    found: int | None
    ticked: bool
    selectable: bool
    last_deleted: datetime | None
    sent_at: datetime | None
    detail: str
    missing: str
    retained: tuple[tuple[str, str], ...]
    next_at: datetime | None
    awaited: bool
    result: str


class Detail(CaseOut):
    """A request with its data sources."""

    requirement: str
    sources: tuple[SourceOut, ...]
    searching: bool
    selectable: int
    blockers: tuple[str, ...]
    seen: int
    person: Request | None = Field(None, description="the request as it came in; with ?person=true only")

    @classmethod
    def of_panel(cls, panel: Panel, requirement: str, person: Request | None) -> Detail:
        """From what the process page shows."""
        rows = tuple(SourceOut(**{name: getattr(row, name) for name in SourceOut.model_fields}) for row in panel.sources)
        found: Detail = cls.of(
            panel.case,
            requirement=requirement,
            sources=rows,
            searching=panel.searching,
            selectable=panel.selectable,
            blockers=panel.blockers,
            seen=panel.seen,
            person=person,
        )
        return found


class PageOut(Model):
    """A page of requests; `next` is the ``after`` of the next page."""

    requests: tuple[CaseOut, ...]
    next: str | None


class TakenOut(CaseOut):
    """A request that was taken in; not `new` when its reference was known."""

    new: bool


class Given(CaseOut):
    """How many data sources this call has given free."""

    given: int


class MessageOut(Model):
    """The message that was written."""

    message: int


class EventOut(Model):
    """One event of the audit log."""

    n: int
    at: datetime
    actor: str
    event: str
    text: str
    data: dict[str, Any]


class HistoryOut(Model):
    """Everything that happened, without personal data, and whether its chain is unbroken."""

    case: str
    agents: tuple[str, ...]
    verified: bool
    problems: tuple[str, ...]
    events: tuple[EventOut, ...]

    @classmethod
    def of(cls, history: History) -> HistoryOut:
        """From the host's."""
        events = tuple(
            EventOut(n=event.n, at=event.at, actor=event.actor, event=event.event, text=event.text, data=dict(event.data)) for event in history.events
        )
        return cls(case=history.case.number, agents=history.agents, verified=history.verified, problems=history.problems, events=events)


# --- the description ---------------------------------------------------------------------------------------------------------------------

_BODIES = (Verify, Accept, Reject, Decide, Merge, Assign, Search, GiveFree, Done, GoOn, Finish, MessageIn, ReplyIn)

_ABOUT = """\
Requests of data subjects: take them in, follow them, and handle them. Every call needs an API key (`Authorization: Bearer dsr_...`), made by an
administrator in the portal; its role says what it may do. Answers hold no personal data, unless they are asked for it with `?person=true`,
which stands in the audit log. Errors are `application/problem+json` (RFC 9457): they name the field and what to do, and never a value."""

_PERSON = ("email", "phone", "user_id", "first_name", "last_name")


@cache
def request_schema() -> dict[str, Any]:
    """The schemas of a request that comes in, by name: `GivenRequest` and what it consists of. A subject may be written in short."""
    schema = Request.model_json_schema(ref_template="#/components/schemas/Given{model}")
    parts = {f"Given{name}": part for name, part in schema.pop("$defs").items()}
    subject = parts["GivenSubject"]
    subject["properties"] |= {name: {"type": "string", "maxLength": 512} for name in _PERSON}
    subject["required"] = []
    subject["description"] = "The person: `identities` in full, or in short the fields beside it. A name alone identifies nobody."
    return {**parts, "GivenRequest": schema}


def description(routes: list[BaseRoute], version: str) -> dict[str, Any]:
    """The OpenAPI description of the API's routes."""
    made = get_openapi(title="Privacy requests", version=version, description=_ABOUT, routes=routes, separate_input_output_schemas=False)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem, **request_schema()}
    for model in _BODIES:
        body = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**body.pop("$defs", {}), model.__name__: body}
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "an API key: dsr_..."}}
    made["security"] = [{"key": []}]
    made["servers"] = [{"url": "/"}]
    return made
