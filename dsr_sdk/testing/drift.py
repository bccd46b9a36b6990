"""Drift: how far a recorded cassette has moved away from the vendor's description, or the description from it.

    for row in drift(Description.load("stripe.yaml"), Path("tests/cassettes/erase.yaml")):
        print(row)

Requests are held against it strictly, answers leniently: each way in which vendors are known to answer otherwise is a named `Tolerance`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from dsr_sdk.testing._findings import DEFAULT_TOLERANCES, Finding, Tolerance
from dsr_sdk.testing._tape import load
from dsr_sdk.testing.openapi import Description

__all__ = ["Drift", "drift", "request_findings", "response_findings"]


class Exchange(Protocol):
    """A request with its answer."""

    @property
    def call(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def status(self) -> int: ...
    @property
    def answer_headers(self) -> Mapping[str, str]: ...
    @property
    def answer(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between a recorded interaction and the description. Holds nothing of the recorded values."""

    number: int
    """Which interaction of the cassette, counted from 1."""
    call: str
    finding: Finding

    def __str__(self) -> str:
        note = f" (tolerated: {self.finding.tolerance})" if self.finding.tolerance else ""
        return f"{self.number}: {self.call}: {self.finding.where} {self.finding.problem}{note}"


@dataclass(frozen=True, slots=True)
class _Recorded:
    call: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer_headers: Mapping[str, str]
    answer: bytes


def drift(description: Description, cassette: Path, tolerances: Collection[Tolerance] = DEFAULT_TOLERANCES) -> list[Drift]:
    """Every difference between a cassette and a description, in the order recorded; what is tolerated is reported as such.

    Raises:
        ConfigError: The file is no cassette; one line that names it and what to do.
    """
    out = []
    for number, row in enumerate(load(Path(cassette))["interactions"], 1):
        one = _exchange(row)
        found = [*request_findings(description, one), *response_findings(description, one, tolerances)]
        out += [Drift(number, one.call, finding) for finding in found]
    return out


def request_findings(description: Description, one: Exchange) -> list[Finding]:
    """What in the request is not as described."""
    return [_named(finding, one) for finding in description.check_request(one.method, one.url, one.headers, one.body)]


def response_findings(description: Description, one: Exchange, tolerances: Collection[Tolerance] = DEFAULT_TOLERANCES) -> list[Finding]:
    """What in the answer is not as described. To a request that is not described there is nothing to say about the answer."""
    if description.operation(one.method, one.url) is None:
        return []
    found = description.check_response(one.method, one.url, one.status, one.answer_headers, one.answer, tolerances)
    return [_named(finding, one) for finding in found]


def _named(finding: Finding, one: Exchange) -> Finding:
    """An operation that is not described is named by the call."""
    return replace(finding, operation=one.call) if finding.operation.endswith(" *") else finding


def _exchange(row: Mapping[str, Any]) -> _Recorded:
    request, response = row["request"], row["response"]
    method, url = str(request["method"]).upper(), str(request["uri"])
    # Ids and addresses in a path are nobody's business here; a version is.
    shape = re.sub(r"/(?!(?:v\d+|\d+\.\d+)(?:/|$))(?=[^/]*[\d@%<])[^/]+", "/*", urlsplit(url).path)
    return _Recorded(
        f"{method} {shape}",
        method,
        url,
        _headers(request["headers"]),
        _bytes(request.get("body")),
        int(response["status"]["code"]),
        _headers(response["headers"]),
        _bytes(response["body"].get("string")),
    )


def _headers(raw: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): ", ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in raw.items()}


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else str(body).encode()
