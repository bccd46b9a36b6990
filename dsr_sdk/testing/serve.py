"""Sandboxes on the wire: a loopback HTTP server, and an httpx transport for tests that need no socket."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from dsr_sdk.testing.sandbox import Answer, Fault, Person, Sandbox

if TYPE_CHECKING:
    import httpx

__all__ = ["SandboxServer", "serve", "transport"]


def transport(sandbox: Sandbox) -> httpx.MockTransport:
    """The sandbox as an httpx transport, in process: requests keep the vendor's own URLs, so what vcrpy records of it names the vendor."""
    import httpx

    def handle(request: httpx.Request) -> httpx.Response:
        answer = sandbox.answer(request.method, str(request.url), request.headers, request.read())
        if answer.breakage == "stall":
            raise httpx.ReadTimeout("stalled on purpose")
        if answer.breakage == "reset":
            raise httpx.ReadError("reset on purpose")
        if answer.breakage == "reset_mid_body":
            raise httpx.RemoteProtocolError("cut on purpose")
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    return httpx.MockTransport(handle)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # buffered: headers and body leave in one segment
    server: SandboxServer

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = dict(self.headers.items())
        if self.path.startswith("/_sandbox/"):
            answer = self.server.control(self.path, body)
        else:
            answer = self.server.sandbox.answer(self.command, self.path, headers, body)
        if answer.breakage:
            self._break(answer)
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.body and self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815 - names that http.server looks up

    def _break(self, answer: Answer) -> None:
        self.close_connection = True
        if answer.breakage == "stall":
            self.server.stopping.wait(self.server.stall_seconds)
        elif answer.breakage == "reset_mid_body":
            self.send_response_only(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.body) + 1000))
            self.end_headers()
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.wfile.flush()
        # SO_LINGER with zero seconds makes close() send RST instead of FIN: a reset, not a polite end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the client went away, or we closed the socket on purpose
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):  # likewise
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: request lines hold personal data, made-up or not."""


BODIES = {
    "people": '[{"email": "ada@example.com", "first_name": "Ada"}]',
    "advance": '{"seconds": 86400}',
    "faults": '[{"kind": "status", "status": 503}]',
}
"""What the control interface is sent, by example."""


class SandboxServer(ThreadingHTTPServer):
    """One sandbox on loopback. ``/_sandbox/...`` lets another process seed people, let time pass, inject faults and read the counts."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.sandbox = sandbox
        self.stall_seconds = 120.0
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def control(self, path: str, body: bytes) -> Answer:
        """The control interface: POST people | advance | finish | faults, GET counts."""
        verb = path.removeprefix("/_sandbox/")
        try:
            return self._controlled(verb, json.loads(body) if body else None)
        except (ValueError, TypeError, KeyError, AttributeError):
            return Answer.json({"error": f"{verb} takes {BODIES.get(verb, 'no body')}"}, 400)

    def _controlled(self, verb: str, data: Any) -> Answer:
        if verb == "people":
            self.sandbox.seed(Person(**row) for row in data)
        elif verb == "advance":
            self.sandbox.advance(float(data["seconds"]))
        elif verb == "finish":
            with self.sandbox.lock:
                self.sandbox.finish_jobs()
        elif verb == "faults":
            self.sandbox.faults = [Fault(**row) for row in data]
        elif verb == "counts":
            with self.sandbox.lock:
                return Answer.json({"effects": self.sandbox.effects, "calls": self.sandbox.calls, "refused": self.sandbox.refused})
        else:
            return Answer.json({"error": "there is people, advance, finish, faults and counts"}, 404)
        return Answer.json({"ok": True})

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken sandbox must be seen: remember the error for the test that is running."""
        import sys

        self.last_error: Mapping[str, Any] = {"type": str(sys.exc_info()[0]), "at": time.time()}
        super().handle_error(request, client_address)


@contextmanager
def serve(sandbox: Sandbox, port: int = 0) -> Iterator[SandboxServer]:
    """Serve a sandbox on loopback for as long as the block runs."""
    server = SandboxServer(sandbox, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"sandbox-{sandbox.slug}", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
