"""What passes between a connector and its sandbox, kept to be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsr_sdk.connector import Connector, ConnectorConfig
from dsr_sdk.testing.sandbox import Person, Sandbox
from dsr_sdk.testing.scenario import World, world

if TYPE_CHECKING:
    import httpx

__all__ = ["Frozen", "Sent", "tapped_world"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it left, and the answer. `call` is the connector's own ``GET /contacts/{id}``; ``repr`` shows no more than that."""

    call: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int
    answer_headers: Mapping[str, str] = field(repr=False)
    answer: bytes = field(repr=False)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.call.partition(" ")[0]

    @property
    def template(self) -> str:
        """The path as the connector wrote it."""
        return self.call.partition(" ")[2]


@contextmanager
def tapped_world(
    connector: type[Connector], sandbox: type[Sandbox], *people: Person, config: ConnectorConfig | None = None
) -> Iterator[tuple[World, list[Sent]]]:
    """A `world` and the list into which everything goes that passes there."""
    import httpx

    sent: list[Sent] = []
    here: list[World] = []

    def through(inner: httpx.BaseTransport) -> httpx.BaseTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            body = request.read()
            response = inner.handle_request(request)
            answer = response.read()
            # A request that authentication makes by itself (a token) goes elsewhere than the call it is made for.
            own = not here or request.method != here[0].http.call.partition(" ")[0]
            call = f"{request.method} {request.url.path}" if own else here[0].http.call
            sent.append(Sent(call, str(request.url), dict(request.headers), body, response.status_code, dict(response.headers), answer))
            return response

        return httpx.MockTransport(handle)

    with world(connector, sandbox, *people, config=config, through=through) as w:
        here.append(w)
        yield w, sent


class Frozen:
    """A vendor at which nothing moves any more: once frozen, every request is answered as it was the first time, or as it was before."""

    def __init__(self) -> None:
        self.on = False
        self._known: dict[tuple[str, str, bytes], httpx.Response] = {}

    def through(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        """The transport that can be frozen."""
        import httpx

        def handle(request: httpx.Request) -> httpx.Response:
            key = (request.method, str(request.url), request.read())
            if not self.on:
                return inner.handle_request(request)
            if key not in self._known:
                self._known[key] = inner.handle_request(request)
                self._known[key].read()
            first = self._known[key]
            return httpx.Response(first.status_code, headers=first.headers, content=first.content)

        return httpx.MockTransport(handle)
