"""Errors of the REST API: ``application/problem+json`` (RFC 9457). They name the field and what to do, and never a value."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dsr_sdk.errors import (
    ApprovalError,
    ConfigError,
    ConflictError,
    DsrError,
    LedgerError,
    MissingIdentityError,
    RequestError,
    TransientError,
    UnsupportedError,
    VaultError,
)

__all__ = ["ApiRoute", "InvalidError", "Problem", "Wrong", "answers", "parsed", "problem", "wrong_method"]

MEDIA_TYPE = "application/problem+json"

_M = TypeVar("_M", bound=BaseModel)

_TITLES = {
    401: "No valid API key",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    409: "Not possible now",
    410: "Gone",
    413: "Too large",
    422: "Not valid",
    429: "Too many requests",
    500: "Unexpected error",
    502: "Another system refused",
    503: "Not possible at the moment",
}

_MEANINGS = {
    401: "The API key is missing, unknown, expired or revoked.",
    403: "The role of the API key does not include this.",
    404: "There is no such request.",
    409: "The request is not where this can be done, someone else was faster (look at its revision), or the host is not set up for it.",
    410: "The personal data of this request was destroyed.",
    413: "The body is larger than 1 MB.",
    422: "Something in the call is missing or wrong. It names the field.",
    429: "Too many calls. `Retry-After` says how many seconds to wait.",
    502: "Another system, such as the mail server, refused for good.",
    503: "Another system, or the ledger, cannot be used at the moment. Try again.",
}

_STATUS: tuple[tuple[type[DsrError], int], ...] = (
    (ConflictError, 409),
    (RequestError, 422),
    (ApprovalError, 409),
    (MissingIdentityError, 409),
    (UnsupportedError, 409),
    (ConfigError, 409),
    (VaultError, 410),
    (LedgerError, 503),
    (TransientError, 503),
)


class Wrong(BaseModel):
    """One thing that is wrong in a call."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    field: str | None = None
    fix: str | None = None
    errors: list[Wrong] = Field(default_factory=list)


class InvalidError(RequestError):
    """Several things are wrong in a call."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        self.errors = list(dict.fromkeys(errors))
        said = "; ".join(f"{field} {message}" if field else message for field, message in self.errors)
        super().__init__(said, fix="see /api/v1/openapi.json")


def problem(
    status: int,
    detail: str,
    *,
    field: str | None = None,
    fix: str | None = None,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as the API answers it."""
    rows = [Wrong(field=name, message=message) for name, message in errors]
    title = _TITLES.get(status, "Not possible")
    body = Problem(title=title, status=status, detail=detail, field=field or None, fix=fix or None, errors=rows)
    content = {key: value for key, value in body.model_dump().items() if value not in (None, [])}
    return JSONResponse(content, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The statuses of a route, as FastAPI documents them; those that every route has are in it anyway."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in (401, 403, 413, 422, 429, 503, *statuses)}


def wrong_method(request: Request) -> Response:
    """The answer to a method that an address does not have, with those it has: several routes share one."""
    from dsr_sdk.portal.routes.api import router

    routes = [route for route in router.routes if isinstance(route, APIRoute) and route.path_regex.match(request.url.path)]
    allow = sorted({method for route in routes for method in route.methods or ()})
    headers = {"allow": ", ".join(allow)} if allow else None
    return problem(405, "this address does not know this method", fix="see /api/v1/openapi.json", headers=headers)


def _of(error: DsrError) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 502)
    if isinstance(error, LedgerError) and error.message.startswith("there is no such"):
        status = 404
    where = ": ".join(part for part in (error.source, error.field) if part)
    wait = getattr(error, "retry_after", None)
    return problem(
        status,
        f"{where}: {error.message}" if where else error.message,
        field=error.field,
        fix=error.fix,
        errors=error.errors if isinstance(error, InvalidError) else (),
        headers={"retry-after": str(math.ceil(wait))} if wait else None,
    )


class ApiRoute(APIRoute):
    """A route whose errors are problems. Those of the gate, and what nobody expected, are made by `dsr_sdk.portal.errors`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # a coroutine is an awaitable
        """The handler, with its errors caught."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except DsrError as error:
                return _of(error)
            except RequestValidationError as error:
                rows = [(".".join(str(part) for part in row["loc"][1:]), _sentence(row)) for row in error.errors()]
                return _of(InvalidError(rows))

        return handled


def parsed(model: type[_M], body: bytes) -> _M:
    """A body as a model; an empty one has no fields.

    Raises:
        InvalidError: Names each wrong field.
    """
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        known = _names(model.model_json_schema())
        rows = []
        for row in error.errors(include_input=False, include_context=False, include_url=False):
            path = [str(part) if str(part) in known or isinstance(part, int) else "(field)" for part in row["loc"]]
            rows.append((".".join(path), _sentence(row)))
    raise InvalidError(rows)


def _names(schema: Any) -> set[str]:
    """Every name of a property: what a caller may have made up is not among them."""
    if isinstance(schema, dict):
        own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
        return own.union(*(_names(part) for part in schema.values()))
    if isinstance(schema, list):
        return set[str]().union(*(_names(part) for part in schema))
    return set()


def _sentence(row: Mapping[str, Any]) -> str:
    match row["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a field of this"
        case "json_invalid":
            return "is not valid JSON"
    said = str(row["msg"]).removeprefix("Value error, ")
    return said[:1].lower() + said[1:]
