"""The start page: how much is open, what is due, how long it takes, how the data sources do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.portal import charts
from dsr_sdk.portal.rendering import words
from dsr_sdk.portal.web import host_of, page, signed_in

__all__ = ["router"]

router = APIRouter()


@router.get("/")
def show(request: Request, session: Annotated[Session, signed_in(Permission.SEE_CASES)]) -> Response:
    """The dashboard."""
    host = host_of(request)
    if host.config.workflow is None:
        return page(request, "no_workflow.html", title="Dashboard")
    found, counts = host.inbox.dashboard(), host.inbox.counts()
    types = charts.rows(sorted(((words(code), count) for code, count in found.by_type.items()), key=lambda row: -row[1]))
    weeks = charts.columns([(week, median, count) for week, median, count in found.days_to_close])
    stages = [(stage, found.by_stage.get(stage, 0)) for stage in ("review", "process", "reply")]
    sources = [(row, charts.shares((row.done, row.waiting, row.failed))) for row in found.sources]
    return page(request, "dashboard.html", title="Dashboard", found=found, counts=counts, stages=stages, types=types, weeks=weeks, sources=sources)
