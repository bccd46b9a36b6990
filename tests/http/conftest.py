"""What the HTTP tests share: a connector to talk through, vendors that misbehave, and a server that says byte for byte what it is told."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from dsr_sdk import Category, Connector, ConnectorConfig, Unsupported
from dsr_sdk.http import RateHeaders, RateLimit, RetryPolicy, SourceHttp

__all__ = ["Made", "make"]


class Made(Connector):
    """A connector that does nothing: the tests call its API themselves."""

    slug, title, category = "made", "Made", Category.CUSTOM
    base_url = "https://api.made.example"
    signing: httpx.Auth | None = None
    erase = Unsupported("x")
    export = Unsupported("x")
    opt_out = Unsupported("x")
    email = Unsupported("x")

    def auth(self) -> httpx.Auth | None:
        return self.signing


def make(
    answer: Callable[[httpx.Request], httpx.Response] | None = None,
    *,
    auth: httpx.Auth | None = None,
    limits: tuple[RateLimit, ...] = (),
    rate_headers: RateHeaders | None = None,
    idempotency_header: str | None = None,
    base_url: str | None = None,
    allow_private_hosts: bool = False,
    **options: Any,
) -> SourceHttp:
    """The HTTP side of a source, answered by a function, or by the network without one."""
    namespace = {
        "__doc__": "x",
        "limits": limits,
        "rate_headers": rate_headers,
        "idempotency_header": idempotency_header,
        "signing": auth,
    }
    connector = type("Local", (Made,), namespace)(ConnectorConfig(base_url=base_url, allow_private_hosts=allow_private_hosts))
    options.setdefault("retry", RetryPolicy(base=0.001))
    return SourceHttp(connector, transport=httpx.MockTransport(answer) if answer else None, **options)


class Script:
    """A server that answers every connection with the same pieces, and waits between them."""

    def __init__(self, pieces: Callable[[], Iterable[bytes | float]], context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self._pieces = pieces
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection:
                stream = self._context.wrap_socket(connection, server_side=True) if self._context else connection
                with stream:
                    self.requests.append(stream.recv(65536))
                    for piece in self._pieces():
                        if self._stopped.is_set():
                            return
                        if isinstance(piece, float):
                            time.sleep(piece)
                        else:
                            stream.sendall(piece)
        except OSError:
            return

    def close(self) -> None:
        """Stop it."""
        self._stopped.set()
        self._socket.close()


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    """Starts scripted servers."""
    running: list[Script] = []

    def start(*pieces: bytes | float, context: ssl.SSLContext | None = None, endless: bytes = b"", pause: float = 0.02) -> Script:
        def all_pieces() -> Iterator[bytes | float]:
            yield from pieces
            while endless:
                yield endless
                yield pause

        running.append(Script(all_pieces, context))
        return running[-1]

    yield start
    for server in running:
        server.close()
