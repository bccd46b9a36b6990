"""A transport that holds everything that passes against the vendor's description: for tests of an author's own, beside the suite's.

wire = Checked(transport(sandbox), Description.load("acme.yaml"), exemptions=TestAcme.exemptions)
http = ScenarioHttp(connector, transport=wire)
...                                  # whatever the suite does not do: bad days, wrong keys, odd settings
assert wire.findings == []
assert "DELETE /v1/contacts/{id}" in wire.calls
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import httpx

from dsr_sdk.testing._findings import DEFAULT_TOLERANCES, Exemption, Finding, Tolerance
from dsr_sdk.testing.openapi import Description

__all__ = ["Checked"]


class Checked(httpx.BaseTransport):
    """Another transport, with every request held against a description strictly, and every answer but for the tolerances.

    Attributes:
        findings: What is not as described and not exempt, in order. A finding holds no value of a message.
        calls: The described operations that were called, ``DELETE /v1/contacts/{id}``: a test that called nothing has shown nothing.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport,
        description: Description,
        *,
        exemptions: Iterable[Exemption] = (),
        tolerances: Collection[Tolerance] = DEFAULT_TOLERANCES,
    ) -> None:
        self.findings: list[str] = []
        self.calls: set[str] = set()
        self._inner = inner
        self._description = description
        self._exemptions = tuple(exemptions)
        self._tolerances = tolerances

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on, and look at both."""
        body = request.read()
        response = self._inner.handle_request(request)
        answer = response.read()
        about = request.method, str(request.url)
        found = [
            *self._description.check_request(*about, request.headers, body),
            *self._description.check_response(*about, response.status_code, response.headers, answer, self._tolerances),
        ]
        operation = self._description.operation(*about)
        if operation is not None:
            self.calls.add(str(operation))
        # A finding names no path that is not described, for it may hold a person. An exemption does, and is looked up by it.
        called = str(operation) if operation is not None else f"{request.method} {request.url.path}"
        self.findings += [str(one) for one in found if one.severity == "error" and not self._exempt(replace(one, operation=called))]
        return response

    def _exempt(self, finding: Finding) -> bool:
        return any(exemption.covers(finding) for exemption in self._exemptions)

    def close(self) -> None:
        """Close the other transport."""
        self._inner.close()
