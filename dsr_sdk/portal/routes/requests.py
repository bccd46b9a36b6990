"""The requests page: open and closed requests, filters, search, and the same decision for many of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.errors import RequestError
from dsr_sdk.host.cases.inbox import Filter, Page
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission, allowed
from dsr_sdk.host.process.panel import title_of
from dsr_sdk.ledger.cases import Case
from dsr_sdk.portal.casework import Id, agents_of, names_of, need, ticked
from dsr_sdk.portal.rendering import channel_words, words
from dsr_sdk.portal.web import Posted, host_of, page, redirect, signed_in
from dsr_sdk.request import Channel, RequestType

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["router"]

router = APIRouter()

Seeing = Annotated[Session, signed_in(Permission.SEE_CASES)]
Reviewing = Annotated[Session, signed_in(Permission.REVIEW)]

_PAGE = 50
_NOBODY = "-"
_STAGES = ("review", "process", "reply")
Action = Literal["assign", "continue", "close"]
Step = Literal["accept", "finish", "close", "assign"]
_ACTIONS: Mapping[Action, str] = {"assign": "Assign", "continue": "Continue", "close": "Reply & close"}


# --- the list ------------------------------------------------------------------------------------------------------------------------------


@router.get("/requests")
def show(request: Request, session: Seeing) -> Response:
    """A page of requests: open ones, the one due soonest first; or closed ones, the one closed last first."""
    asked = request.query_params
    host = host_of(request)
    wanted = _filter(host, asked, session)
    found = host.inbox.page(wanted, after=asked.get("after") or None, limit=_PAGE)
    return _list(request, session, wanted, found)


def _list(
    request: Request, session: Session, filter: Filter, found: Page, *, status: int = 200, searched: Sequence[Case] | None = None, **more: Any
) -> Response:
    host = host_of(request)
    counts, agents = host.inbox.counts(), agents_of(host)
    query = query_of(host, filter, session)
    sources = [(name, title_of(host, name)) for name in host.usable_sources()]
    saved = [(row, "/requests?" + urlencode(query_of(host, row.filter, session))) for row in host.inbox.saved_filters(session.account.account)]
    cases = found.cases if searched is None else tuple(searched)
    soon = host.workflow.settings.due_soon_days
    return page(
        request,
        "requests/list.html",
        status=status,
        title="Requests",
        filter=filter,
        query=query,
        cases=cases,
        people=host.inbox.people(cases) if allowed(session.account.role, Permission.SEE_PERSON) else {},
        unread=found.unread,
        searched=searched is not None,
        counts=counts,
        open_count=sum(counts.by_stage.values()),
        soon=soon,
        soon_day=(datetime.now(UTC) + timedelta(days=soon)).date().isoformat(),
        names=names_of(host),
        agents=agents,
        keys={account: _key(host, account) for account, _ in agents},
        sources=sorted(sources, key=lambda row: row[1].casefold()),
        types=[(type_.value, words(type_)) for type_ in RequestType],
        channels=[(channel.value, channel_words(channel)) for channel in Channel],
        stages=_STAGES,
        saved=saved,
        narrowed=bool(set(query) - {"view"}),
        actions=[(action, label) for action, label in _ACTIONS.items() if _may(session, action)],
        link=lambda **changed: _address(query, **changed),
        next=_address(query, after=found.next) if found.next and searched is None else None,
        previous=_address(query, after=found.previous) if found.previous and searched is None else None,
        **more,
    )


def _key(host: Host, account: str) -> str:
    """What stands in addresses instead of an agent's e-mail address."""
    return host.ledger.vault.fingerprint("portal", "account", account).hex()[:16]


def _filter(host: Host, asked: Mapping[str, str], session: Session) -> Filter:
    """The filter that an address asks for. What is empty narrows nothing."""
    agent = asked.get("agent") or None
    if agent is not None and agent not in ("me", _NOBODY):
        agent = next((account.account for account in host.accounts.list() if _key(host, account.account) == agent), agent)
    soon_days = host.workflow.settings.due_soon_days
    due_before, overdue = _day(asked, "due_before"), asked.get("due") == "overdue"
    if asked.get("due") == "soon":
        due_before = (datetime.now(UTC) + timedelta(days=soon_days)).date() if due_before is None else due_before
    closed = asked.get("view") == "closed"
    return Filter(
        open=not closed,
        stage=None if closed else asked.get("stage") or None,
        type=asked.get("type") or None,
        source=asked.get("source") or None,
        agent={"me": session.account.account, _NOBODY: ""}.get(agent, agent) if agent else None,
        due_before=due_before,
        due_after=_day(asked, "due_after"),
        overdue=overdue,
        channel=asked.get("channel") or None,
        unread=asked.get("unread") == "1",
    )


def _day(asked: Mapping[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(asked[name]) if asked.get(name) else None
    except ValueError:
        raise RequestError("is not a day", field=name, fix="write it as 2026-01-31") from None


def query_of(host: Host, filter: Filter, session: Session) -> dict[str, str]:
    """A filter as the query of an address: codes and days, and nothing that is personal."""
    agent = None if filter.agent is None else {session.account.account: "me", "": _NOBODY}.get(filter.agent) or _key(host, filter.agent)
    said = {
        "view": None if filter.open else "closed",
        "stage": filter.stage,
        "type": filter.type,
        "source": filter.source,
        "agent": agent,
        "channel": filter.channel,
        "due_after": filter.due_after.isoformat() if filter.due_after else None,
        "due_before": filter.due_before.isoformat() if filter.due_before else None,
        "due": "overdue" if filter.overdue else None,
        "unread": "1" if filter.unread else None,
    }
    return {name: value for name, value in said.items() if value}


def _address(query: Mapping[str, str], **changed: str | None) -> str:
    said = {name: value for name, value in {**query, **changed}.items() if value}
    return "/requests" + ("?" + urlencode(said) if said else "")


# --- search --------------------------------------------------------------------------------------------------------------------------------


@router.post("/requests/search")
def search(request: Request, session: Seeing, form: Posted) -> Response:
    """Requests by case number or exact identity. It is a form, so that no address of a person stands in an address of a page."""
    people = allowed(session.account.role, Permission.SEE_PERSON)
    text = form.text("text")
    found = host_of(request).inbox.search(text, people=people) if text else []
    if len(found) == 1:
        return redirect(request, f"/requests/{found[0].number}")
    return _list(request, session, Filter(), Page((), None, None), searched=found)


@router.get("/requests/search")
def searched(request: Request, session: Seeing) -> Response:
    """Where reloading the page of a search leads: what was searched for is remembered nowhere."""
    return redirect(request, "/requests")


# --- saved filters -------------------------------------------------------------------------------------------------------------------------


@router.post("/requests/filters")
def save(request: Request, session: Seeing, form: Posted) -> Response:
    """Keep the filter of the list under a name."""
    host = host_of(request)
    wanted = _filter(host, form.texts(), session)
    host.inbox.save_filter(session.account.account, form.text("name"), wanted)
    return redirect(request, _address(query_of(host, wanted, session)), said="The filter is saved.")


@router.post("/requests/filters/{id}/drop")
def drop(request: Request, session: Seeing, form: Posted, id: Id) -> Response:
    """Forget a saved filter."""
    host_of(request).inbox.drop_filter(session.account.account, id)
    return redirect(request, "/requests", said="The filter is gone.")


# --- many at once --------------------------------------------------------------------------------------------------------------------------


def _may(session: Session, action: Action) -> bool:
    needed = {"assign": (Permission.REVIEW,), "continue": (Permission.REVIEW, Permission.PROCESS), "close": (Permission.REPLY,)}[action]
    return all(allowed(session.account.role, permission) for permission in needed)


def _action(session: Session, text: str) -> Action:
    action: Action | None = next((known for known in _ACTIONS if known == text), None)
    if action is None:
        raise RequestError("is nothing that can be done with many requests", field="action", fix="choose what to do")
    for permission in (Permission.REPLY,) if action == "close" else (Permission.REVIEW, Permission.PROCESS) if action == "continue" else ():
        need(session, permission)
    return action


@router.post("/requests/bulk")
def ask(request: Request, session: Reviewing, form: Posted) -> Response:
    """Show what would be done with which requests, and ask."""
    host = host_of(request)
    action = _action(session, form.text("action"))
    rows = ticked(form.list("cases"))
    agent = form.text("agent")
    steps = host.inbox.steps(action, [number for number, _ in rows])
    needs = {step.case.number: step.needs for step in steps if step.needs is not None}
    plan = [
        (step.case, f"{number}:{revision}", (step.does, step.why or _STEPS[step.does])) for step, (number, revision) in zip(steps, rows, strict=True)
    ]
    names = names_of(host)
    return page(
        request,
        "requests/bulk.html",
        title=_ACTIONS[action],
        action=action,
        label=_ACTIONS[action],
        plan=plan,
        agent=agent,
        agent_name=names.get(agent, agent),
        names=names,
        able=sum(1 for *_, step in plan if step[0]),
        needs=needs,
        asked=[number for number, row in needs.items() if row.word and not row.blockers],
    )


_STEPS = {
    "assign": "is assigned",
    "close": "the reply is sent, then it is closed",
    "accept": "goes on to processing; it cannot be rejected any more",
    "finish": "goes on to the reply",
}


@router.post("/requests/bulk/do")
def do(request: Request, session: Reviewing, form: Posted) -> Response:
    """Do it, one request after the other, and show what became of each."""
    host = host_of(request)
    action = _action(session, form.text("action"))
    rows = ticked(form.list("cases"))
    agent, confirmed = form.text("agent") or None, form.list("confirmed")
    results = host.inbox.bulk(action, rows, by=session.account.account, agent=agent, confirmed=confirmed)
    for result in results:
        if result.step == "accept" and result.ok and RequestType(host.workflow.get(result.case).type).automatic:
            request.app.state.searches.start(result.case)
    return page(
        request,
        "requests/bulk_done.html",
        title=_ACTIONS[action],
        results=results,
        done=sum(result.ok for result in results),
        stages={result.case: host.workflow.get(result.case).stage for result in results},
    )
