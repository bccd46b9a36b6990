"""Checks HTTP messages against a vendor's own OpenAPI description (3.0 or 3.1): requests strictly, responses leniently.

A connector that sends what the vendor describes is not thereby right, but one that sends anything else is most likely wrong: so
everything a description does not name is an error in a request. Vendors, in turn, keep to their descriptions loosely: each way in
which they are known not to is a `Tolerance`, and what is tolerated is still reported.

    description = Description.load("specs/stripe.yaml")
    assert not description.check_request("GET", "https://api.stripe.com/v1/customers?email=a%40example.org", {}, b"")
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from dsr_sdk.testing._description import METHODS, Route, read, routes, version
from dsr_sdk.testing._findings import DEFAULT_TOLERANCES, Exemption, Finding, Problem, Tolerance, findings, hint, problems
from dsr_sdk.testing._schema import Bundle, Purpose
from dsr_sdk.testing._wire import MISSING, Parameter, form, pairs

__all__ = ["DEFAULT_TOLERANCES", "Description", "Exemption", "Finding", "Operation", "Tolerance"]

_IGNORED_HEADERS: Final = {"accept", "authorization", "content-type", "cookie", "proxy-authorization"}
_KEY_HEADER: Final = re.compile(r"(^|.*[-_])(api[-_]?(key|token|username)|(access|auth)[-_]?token|secret)$")
_NO_BODY: Final = {204, 205, 304}


@dataclass(frozen=True, slots=True)
class Operation:
    """One described operation. Prints as ``DELETE /v1/customers/{customer}``."""

    method: str
    path: str
    operation_id: str | None
    parameters: tuple[Parameter, ...] = field(repr=False, compare=False)
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    """The operation as the description has it."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Description:
    """A vendor's description of its API. Safe to share between threads and tests: nothing in it changes but caches."""

    def __init__(self, raw: dict[str, Any], *, source: str = "description", match_host: bool = False) -> None:
        self._bundle = Bundle(raw, source)
        self._match_host = match_host
        self._routes = routes(self._bundle)
        self._operations: dict[tuple[int, str], Operation] = {}
        schemes = [self._bundle.resolve(scheme) for scheme in ((raw.get("components") or {}).get("securitySchemes") or {}).values()]
        keys = [scheme for scheme in schemes if scheme.get("type") == "apiKey"]
        self._key_headers = {str(scheme.get("name")).lower() for scheme in keys if scheme.get("in") == "header"}
        self._key_queries = {str(scheme.get("name")) for scheme in keys if scheme.get("in") == "query"}

    @classmethod
    def load(cls, path: str | Path, *, match_host: bool = False) -> Description:
        """Read a description in YAML or JSON; a file that has not changed is read once in a process.

        Args:
            path: The file.
            match_host: Whether a URL's host has to be one of the described servers. Off by default: a sandbox has a host of its own.

        Raises:
            ConfigError: The file is missing, broken, or no OpenAPI 3.0 or 3.1 description.
        """
        path = Path(path)
        key = (version(path), match_host)
        if key not in _loaded:
            _loaded[key] = cls(read(path), source=str(path), match_host=match_host)
        return _loaded[key]

    def operations(self) -> Iterator[Operation]:
        """All described operations."""
        for route in self._routes:
            for method in METHODS & route.item.keys():
                yield self._operation(route, method)

    def operation(self, method: str, url: str) -> Operation | None:
        """The operation that a request is for; literal parts of a path come before ``{templates}``."""
        return (self._match(method, urlsplit(url)) or (None, {}))[0]

    def check_request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> list[Finding]:
        """Everything in a request that is not as described. Never changes or sends anything."""
        parts = urlsplit(url)
        match = self._match(method, parts)
        if match is None:
            return [self._no_operation(method, parts, "request")]
        operation, values = match
        lower = {name.lower(): value for name, value in headers.items()}
        out: list[Finding] = []
        for parameter in operation.parameters:
            if parameter.place == "path" and parameter.name in values:
                value: Any = parameter.from_text(values[parameter.name], self._bundle)
            elif parameter.place == "header" and not self._is_key_header(parameter.name):
                text = lower.get(parameter.name.lower())
                value = MISSING if text is None else parameter.from_text(text, self._bundle)
            else:
                continue
            out += self._parameter(operation, parameter, value)
        out += self._query(operation, parts.query)
        out += self._request_body(operation, lower.get("content-type", ""), body)
        return out

    def check_response(
        self,
        method: str,
        url: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        tolerances: Collection[Tolerance] = DEFAULT_TOLERANCES,
    ) -> list[Finding]:
        """Everything in a response that is not as described; what ``tolerances`` cover is reported as ``tolerated``."""
        match = self._match(method, urlsplit(url))
        where = f"response {status}"
        if match is None:
            return [self._no_operation(method, urlsplit(url), where)]
        operation = match[0]

        def weigh(text: str, tolerance: Tolerance | None = None) -> list[Finding]:
            return findings([Problem("", text, tolerance)], where, str(operation), tolerances)

        described = {str(code).upper(): response for code, response in (operation.raw.get("responses") or {}).items()}
        found = next((described[code] for code in (str(status), f"{status // 100}XX", "DEFAULT") if code in described), None)
        if found is None:
            return weigh("has a status that is not described", Tolerance.UNDESCRIBED_STATUS if status >= 400 else Tolerance.UNDESCRIBED_SUCCESS)
        content = self._bundle.resolve(found).get("content") or {}
        if method.upper() == "HEAD" or status in _NO_BODY:
            return weigh("has a body, which its status rules out", Tolerance.UNDESCRIBED_BODY) if body.strip() else []
        if not body.strip():
            return weigh("has no body, where one is described", Tolerance.MISSING_REQUIRED) if content else []
        if not content:
            tolerance = Tolerance.UNDESCRIBED_STATUS if status >= 400 else Tolerance.UNDESCRIBED_BODY
            return weigh("has a body, where none is described", tolerance)
        out: list[Finding] = []
        media = _media(next((value for name, value in headers.items() if name.lower() == "content-type"), ""))
        kind = _described_as(media, content)
        if kind is None:
            out += weigh("has a content type that is not described", Tolerance.UNDESCRIBED_CONTENT_TYPE)
            kind = next((name for name in content if _is_json(name)), None) if _is_json(media) or not media else None
        if kind is None or not (_is_json(media) or (not media and _is_json(kind))):
            return out
        try:
            value = json.loads(body)
        except ValueError:
            return out + weigh("has a body that is not JSON")
        found_problems = self._check((content[kind] or {}).get("schema", True), value, "response", tolerances)
        return out + findings(found_problems, f"{where} body", str(operation), tolerances)

    def _query(self, operation: Operation, query: str) -> Iterator[Finding]:
        given = pairs(query)
        known: set[str] = set(self._key_queries)
        names = [parameter.name for parameter in operation.parameters if parameter.place == "query"]
        for parameter in operation.parameters:
            if parameter.place == "query":
                value, keys = parameter.from_query(given, self._bundle)
                known |= keys
                if parameter.name not in self._key_queries:
                    yield from self._parameter(operation, parameter, value)
        for key in dict.fromkeys(key for key, _ in given if key not in known):
            yield Finding("request query parameter *", f"is not declared{hint(key, names)}", str(operation))

    def _parameter(self, operation: Operation, parameter: Parameter, value: Any) -> list[Finding]:
        kind = {"query": "query parameter", "path": "path parameter"}.get(parameter.place, "header")
        where = f"request {kind} {parameter.name}"
        if value is MISSING:
            return [Finding(where, "is required and absent", str(operation))] if parameter.required else []
        return findings(self._check(parameter.schema, value, "request"), where, str(operation))

    def _request_body(self, operation: Operation, content_type: str, body: bytes) -> list[Finding]:
        def error(problem: str) -> list[Finding]:
            return [Finding("request body", problem, str(operation))]

        described = self._bundle.resolve(operation.raw.get("requestBody"))
        if described is None:
            return error("is sent, where none is described") if body else []
        if not body:
            return error("is required and absent") if described.get("required") is True else []
        content = described.get("content") or {}
        media = _media(content_type)
        kind = _described_as(media, content)
        if kind is None:
            return error("has no content type" if not media else f"has a content type that is not described (described: {', '.join(content)})")
        schema = (content[kind] or {}).get("schema", True)
        if _is_json(media):
            try:
                value = json.loads(body)
            except ValueError:
                return error("is not JSON")
        elif media == "application/x-www-form-urlencoded":
            value = form(body, schema, (content[kind] or {}).get("encoding") or {}, self._bundle)
        else:
            return []
        return findings(self._check(schema, value, "request"), "request body", str(operation))

    def _check(self, schema: Any, value: Any, purpose: Purpose, tolerances: Collection[Tolerance] = ()) -> list[Problem]:
        return problems(self._bundle.compile(schema, purpose), value, tolerances)

    def _match(self, method: str, url: SplitResult) -> tuple[Operation, dict[str, str]] | None:
        """The operation, and the decoded values of its path parameters; of equals, the one whose parameters take the values."""
        candidates = [
            (self._operation(route, method.lower()), values)
            for route in self._routes
            if method.lower() in METHODS & route.item.keys() and (values := self._values(route, url)) is not None
        ]

        def fits(candidate: tuple[Operation, dict[str, str]]) -> bool:
            operation, values = candidate
            path = [parameter for parameter in operation.parameters if parameter.place == "path" and parameter.name in values]
            return all(
                self._bundle.compile(parameter.schema, "plain").is_valid(parameter.from_text(values[parameter.name], self._bundle))
                for parameter in path
            )

        return candidates[0] if len(candidates) == 1 else next((one for one in candidates if fits(one)), next(iter(candidates), None))

    def _values(self, route: Route, url: SplitResult) -> dict[str, str] | None:
        values = route.match(url.path or "/", url.netloc if self._match_host else None)
        return None if values is None else {name: unquote(text) for name, text in values.items()}

    def _operation(self, route: Route, method: str) -> Operation:
        key = (id(route), method)
        if key not in self._operations:
            raw = route.item[method]
            given = [self._bundle.resolve(one) for one in [*(route.item.get("parameters") or ()), *(raw.get("parameters") or ())]]
            own = {(one.get("in"), one.get("name")): Parameter.of(one) for one in given}
            query = {template.strip("{}"): name for name, template in pairs(urlsplit(route.path).query)}
            parameters = tuple(one.in_query(query[one.name]) if one.place == "path" and one.name in query else one for one in own.values())
            self._operations[key] = Operation(method.upper(), route.path, raw.get("operationId"), parameters, raw)
        return self._operations[key]

    def _no_operation(self, method: str, url: SplitResult, where: str) -> Finding:
        others = [route for route in self._routes if self._values(route, url) is not None]
        if not others:
            return Finding(where, "is for a path that is not described", f"{method.upper()} *")
        methods = ", ".join(sorted(name.upper() for name in METHODS & others[0].item.keys()))
        return Finding(where, f"has a method that is not described for this path (described: {methods})", f"{method.upper()} {others[0].path}")

    def _is_key_header(self, name: str) -> bool:
        lower = name.lower()
        return lower in _IGNORED_HEADERS or lower in self._key_headers or _KEY_HEADER.match(lower) is not None


_loaded: dict[tuple[tuple[Path, int, int], bool], Description] = {}


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_json(media: str) -> bool:
    return media.partition(";")[0].strip().lower().endswith(("/json", "+json"))


def _described_as(media: str, content: Mapping[str, Any]) -> str | None:
    """The key under which a media type is described: itself, or a range it falls in."""
    if not media:
        return None
    wanted = (media, f"{media.partition('/')[0]}/*", "*/*")
    return next((name for want in wanted for name in content if _media(name) == want), None)
