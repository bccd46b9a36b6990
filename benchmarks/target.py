"""A vendor that answers at once: a bare asyncio HTTP server in a process of its own, so that the client is what is measured.

Run as ``python -m benchmarks.target``: prints its port. ``GET /counts`` answers the requests seen by kind.
"""

from __future__ import annotations

import asyncio
import collections
import json
import sys
import time
from typing import ClassVar

LIMIT_WINDOW = 1.0


class Vendor(asyncio.Protocol):
    """Speaks just enough HTTP/1.1 for keep-alive requests with a Content-Length."""

    counts: ClassVar[collections.Counter[str]] = collections.Counter()
    seen: ClassVar[collections.deque[float]] = collections.deque()
    limit: ClassVar[int] = 0
    delay: ClassVar[float] = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].decode("latin-1")
            length = 0
            for line in head.split("\r\n")[1:]:
                if line[:15].lower() == "content-length:":
                    length = int(line[15:])
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            method, url, _ = head.split(" ", 2)
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.answer, method, url, body)
            else:
                self.answer(method, url, body)

    def answer(self, method: str, url: str, body: bytes) -> None:
        path, _, query = url.partition("?")
        status, data = self.route(method, path, query, body)
        payload = json.dumps(data).encode() if data is not None else b""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        if not self.transport.is_closing():
            self.transport.write(head.encode() + payload)

    def route(self, method: str, path: str, query: str, body: bytes) -> tuple[int, object]:
        if path == "/counts":
            return 200, dict(self.counts)
        if path == "/limit":
            type(self).limit = int(query)
            return 200, {}
        if path == "/delay":
            type(self).delay = float(query)
            return 200, {}
        kind = f"{method} {path.split('/')[1]}"
        self.counts[kind] += 1
        if self.limit:
            now = time.monotonic()
            while self.seen and now - self.seen[0] >= LIMIT_WINDOW:
                self.seen.popleft()
            if len(self.seen) >= self.limit:
                self.counts["429"] += 1
                return 429, {"error": "slow down"}
            self.seen.append(now)
        if kind == "GET search":
            return 200, {"data": [{"id": "c-" + query.partition("=")[2]}], "has_more": False}
        if kind == "GET customers":
            page = int(query.rpartition("page=")[2] or 1)
            items = [{"id": f"i{page}-{n}", "amount": n, "note": "x" * 40} for n in range(10)]
            return 200, {"items": items, "next": page + 1 if page < 3 else None}
        if kind == "DELETE customers":
            return 204, None
        if kind == "POST deletions":
            return 200, {"job": f"job-{self.counts['POST deletions']}", "accepted": len(json.loads(body)["ids"])}
        if kind == "GET deletions":
            return 200, {"status": "done"}
        if kind == "GET records":
            page = int(query.rpartition("page=")[2] or 1)
            items = [{"id": f"r{page}-{n}", "text": "y" * 900} for n in range(1000)]
            return 200, {"items": items, "next": page + 1 if page < 200 else None}
        return 404, {"error": "not_found"}


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", 0, backlog=256)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
