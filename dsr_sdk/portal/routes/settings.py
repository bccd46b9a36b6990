"""What ``dsr.toml`` says about request handling, to read. It is changed in the file; secrets, and references to them, are not shown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from dsr_sdk.host.cases.deadlines import CLOCKS, Clock, due
from dsr_sdk.host.people.accounts import Session
from dsr_sdk.host.people.roles import Permission
from dsr_sdk.portal.rendering import words
from dsr_sdk.portal.web import host_of, page, signed_in
from dsr_sdk.request import Regime, RequestType

__all__ = ["router"]

router = APIRouter()

Row = tuple[str, str, str]
"""A setting: its name, its value in words, what it is for."""

_HIDDEN = ("password", "client_secret", "token", "master_key", "database", "username", "oidc", "fields", "holidays", "okta", "csv")
"""Secrets, references to secrets, and what stands on the page by itself."""


_ABOUT = {
    "due_soon_days": "Days before the due date from which a request counts as due soon",
    "enabled": "Whether people can send requests by the public form",
    "types": "The types of request that the form offers",
    "languages": "The languages that the form is offered in",
    "policy_url": "Your privacy policy; the form links to it",
    "host": "The mail server",
    "port": "Where the mail server listens",
    "security": "How the connection to the mail server is kept secret",
    "cafile": "Certificates that are trusted beside those of the system",
    "allow_plain": "Whether passwords may go over a connection that is not kept secret",
    "cc": "Who gets a copy of every letter to a vendor",
    "attempts": "How often something is tried that fails for a while",
    "backoff_seconds": "Seconds before the second attempt; each further one waits longer",
    "longest_backoff_seconds": "Seconds between two attempts at most",
    "pending_days": "Days that a vendor's job is waited for",
}
"""What settings are for that say it nowhere else."""


@router.get("/settings")
def show(request: Request, session: Annotated[Session, signed_in(Permission.SETTINGS)]) -> Response:
    """The settings, table by table, and the deadlines that follow from them."""
    host = host_of(request)
    config = host.config
    workflow, center = config.workflow, config.privacy_center
    own = workflow.regime if workflow is not None else None
    return page(
        request,
        "settings/show.html",
        title="Settings",
        workflow=_rows(workflow) if workflow is not None else None,
        holidays=sorted(workflow.holidays) if workflow is not None else [],
        own=own,
        clocks=_clocks(own, workflow.holidays if workflow is not None else ()),
        center=_rows(center),
        open_form=center.enabled and workflow is not None,
        fields=[
            (
                field.name,
                _localised(field.label),
                words(field.kind.value),
                field.required,
                ", ".join(words(type_) for type_ in field.types),
                field.choices,
            )
            for field in center.fields
        ],
        company=config.host.company,
        installation=[
            ("Company", config.host.company, "Stands in letters, replies and copies"),
            ("Language", config.host.language, "Where a request says none"),
            ("Ledger", {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(host.ledger.engine.dialect.name, host.ledger.engine.dialect.name), ""),
            ("Connectors", ", ".join(config.allow) if config.allow is not None else "All that are installed", "Those that may be loaded"),
            ("Data sources in dsr.toml", str(len(config.sources)), ""),
        ],
        mail=_rows(config.mail) if config.mail is not None else None,
        portal=[*_rows(config.portal), *_sign_in(config.portal.oidc)],
        engine=_rows(config.engine),
        discovery=[
            *([("Okta", config.discovery.okta.domain, "Applications that are assigned there")] if config.discovery.okta else []),
            *([("List of vendors", config.discovery.csv.path, "A CSV file")] if config.discovery.csv else []),
        ],
    )


def _sign_in(oidc: Any) -> list[Row]:
    if oidc is None:
        return [("Single sign-on", "Not set up", "")]
    return [("Single sign-on", oidc.title, f"At {oidc.issuer}, as {oidc.client_id}")]


def _rows(model: BaseModel) -> list[Row]:
    """The fields of a table of the file, but those that are hidden."""
    rows = []
    for name, field in type(model).model_fields.items():
        if name not in _HIDDEN:
            text = field.description or _ABOUT.get(name, "")
            rows.append((name, _value(getattr(model, name)), text[:1].upper() + text[1:]))
    return rows


def _value(value: Any) -> str:
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, Regime | RequestType):
        return words(value)
    if isinstance(value, Mapping):
        return _localised(value) or "–"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(_value(part) for part in value)
    return str(value)


def _localised(texts: Mapping[str, str]) -> str:
    return " · ".join(f"{language}: {text}" for language, text in texts.items())


def _clocks(own: Regime | None, holidays: Collection[date]) -> list[dict[str, Any]]:
    """What each law gives, and when a deletion that came in now is due; laws that give the same stand together, the host's own first."""
    now = datetime.now(UTC)
    together: dict[tuple[Clock, bool], list[Regime]] = {}
    for regime in Regime:
        if regime in CLOCKS:
            together.setdefault((CLOCKS[regime], regime == own), []).append(regime)
    return [
        {
            "regimes": regimes,
            "respond": _span(clock.respond),
            "extend": _span(clock.extend) if clock.extend else "",
            "opt_out": _span(clock.opt_out) if clock.opt_out else "",
            "source": clock.source[:1].upper() + clock.source[1:],
            "due": due(regimes[0], RequestType.DELETION, now, holidays=holidays).at,
        }
        for (clock, _), regimes in sorted(together.items(), key=lambda row: not row[0][1])
    ]


def _span(text: str) -> str:
    number, unit = text.split()
    names = {"months": "month", "days": "day", "bdays": "working day"}
    return f"{number} {names[unit]}{'' if number == '1' else 's'}"
