"""An answer is bounded in size, in time and in depth, whatever the server does; and what breaks off is never an answer."""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dsr_sdk import ConfigError, DsrError, RejectedError, TransientError
from dsr_sdk.http import OAuth2ClientCredentials, RetryPolicy, client, guard
from dsr_sdk.testing import Answer, Fault, Sandbox, serve
from tests.http.conftest import Script, make

Scripts = Callable[..., Script]
ONCE = RetryPolicy(attempts=1)


def headed(body: bytes, *lines: str, length: int | None = None) -> bytes:
    """A whole HTTP/1.1 answer; `length` lies about the body's."""
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body) if length is None else length}", *lines, "", ""]).encode() + body


def get(server: Script, path: str = "/v1/people", **more: Any) -> Any:
    """One GET over a real connection."""
    http = make(base_url=server.url, allow_private_hosts=True, retry=ONCE, **more)
    try:
        return http.api().get(path)
    finally:
        http.close()


# --- size --------------------------------------------------------------------------------------------------------------------------------


def served(body: bytes, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """A vendor with this body, as it is on the wire."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(200, headers=named, stream=httpx.ByteStream(body))


def test_largest_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the limit an answer is taken in; one byte more is this call's failure, not the vendor's, and is not asked for again."""
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(200, content=b"x" * int(request.url.params["n"]))

    api = make(answer).api()
    assert len(api.get("/x", {"n": 1000}, max_bytes=1000).content) == 1000
    with pytest.raises(RejectedError, match=r"GET /x: the answer is larger than 1000 bytes"):
        api.get("/x", {"n": 1001}, max_bytes=1000)
    assert len(asked) == 2


def test_usual_limit() -> None:
    """Without ``max_bytes`` it is 32 MiB."""
    http = make(served(b"x" * (client.MAX_BODY_BYTES + 1)))
    with pytest.raises(RejectedError, match="larger than 33554432 bytes"):
        http.api().get("/x")
    assert len(http.api().get("/x", max_bytes=client.MAX_BODY_BYTES + 1).content) == client.MAX_BODY_BYTES + 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bomb(encoding: str) -> None:
    """Eighty megabytes in eighty kilobytes: counted after unpacking."""
    packer = gzip.compress if encoding == "gzip" else zlib.compress
    with pytest.raises(RejectedError, match="larger than"):
        make(served(packer(b"0" * 80_000_000, 1), content_encoding=encoding)).api().get("/x")


def test_bomb_in_a_bomb() -> None:
    """Compressed several times over, each time a thousandfold: no vendor does that, and nothing is unpacked."""
    twice = gzip.compress(gzip.compress(b"0" * 1_000_000))
    with pytest.raises(TransientError, match="compression is broken"):
        make(served(twice, content_encoding="gzip, gzip"), retry=ONCE).api().get("/x")


def test_compressed_answers_are_read() -> None:
    """What every vendor sends."""
    body = b'{"a": "' + b"x" * 10_000 + b'"}'
    for packed, encoding in ((gzip.compress(body), "gzip"), (zlib.compress(body), "deflate"), (body, "identity")):
        assert make(served(packed, content_encoding=encoding)).api().get("/x").content == body


def test_broken_compression() -> None:
    """Text that says it is compressed: the effect may have happened, the answer is not known."""
    with pytest.raises(TransientError, match="compression is broken") as caught:
        make(served(b"no gzip at all", content_encoding="gzip"), retry=ONCE).api().post("/x")
    assert caught.value.maybe_done


def test_wire_limit(script: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than any answer has a right to be is not read from the wire at all; a call that takes in more may read more."""
    monkeypatch.setattr(guard, "MAX_WIRE_BYTES", 1000)
    monkeypatch.setattr(client, "MAX_BODY_BYTES", 500)
    server = script(headed(b"x" * 5000))
    http = make(base_url=server.url, allow_private_hosts=True)
    api = http.api()
    assert len(api.get("/x", max_bytes=5000).content) == 5000
    with guard.GuardedTransport(allow_private=True) as transport:
        response = transport.handle_request(httpx.Request("GET", server.url))
        with pytest.raises(RejectedError, match="larger than 1000 bytes"):
            response.read()
        response.close()
    http.close()


def test_huge_answer_of_a_sandbox() -> None:
    """Sixty-four megabytes over a real connection: refused while they arrive."""

    class Empty(Sandbox):
        """Has nothing."""

        slug, title = "empty", "Empty"

    sandbox = Empty()
    sandbox.faults.append(Fault("huge", times=-1))
    with serve(sandbox) as server:
        http = make(base_url=server.url, allow_private_hosts=True)
        with pytest.raises(RejectedError, match="larger than"):
            http.api().get("/x")
        sandbox.faults.clear()
        assert http.api().get("/x", absent_ok=True).absent  # the connection that was let go of is in nobody's way
        http.close()


# --- time --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beginning",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ids=["in the body", "in the headers", "in chunks"],
)
def test_slow_drip(beginning: bytes, script: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte every few milliseconds never runs into the timeout of a read; the deadline of the whole answer ends it."""
    monkeypatch.setattr(client, "MAX_SECONDS", 0.3)
    endless = b"1\r\na\r\n" if b"chunked" in beginning else b"a"
    server = script(beginning, endless=endless, pause=0.01)
    began = time.monotonic()
    with pytest.raises(TransientError) as caught:
        get(server)
    assert time.monotonic() - began > 0.2
    assert caught.value.maybe_done


def test_slow_drip_of_a_token(script: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token endpoint is held to the deadline as well: seven other threads wait for it."""
    monkeypatch.setattr(client, "MAX_SECONDS", 0.3)
    server = script(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", endless=b" ", pause=0.01)
    with pytest.raises(DsrError) as caught:
        get(server, auth=OAuth2ClientCredentials(f"{server.url}/token", "client", SecretStr("s3cret")))
    assert "s3cret" not in str(caught.value)


def test_silence(script: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the request and says nothing: in doubt, because it may have acted."""
    monkeypatch.setattr(client, "_TIMEOUT", {"connect": 1.0, "read": 0.2, "write": 1.0, "pool": 1.0})
    server = script(5.0)
    with pytest.raises(TransientError, match=r"GET /v1/people: no answer in time") as caught:
        get(server)
    assert caught.value.maybe_done


def test_no_connection() -> None:
    """Nobody listens: certainly nothing has happened."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    http = make(base_url=f"http://127.0.0.1:{port}", allow_private_hosts=True, retry=ONCE)
    with pytest.raises(TransientError, match="no connection") as caught:
        http.api().post("/x")
    http.close()
    assert not caught.value.maybe_done
    assert caught.value.source == "made"


@pytest.mark.parametrize(
    ("raised", "said", "maybe_done"),
    [
        (httpx.ConnectError("x"), "no connection", False),
        (httpx.ConnectTimeout("x"), "no connection", False),
        (httpx.PoolTimeout("x"), "no connection", False),
        (httpx.ReadTimeout("x"), "no answer in time", True),
        (httpx.WriteTimeout("x"), "no answer in time", True),
        (httpx.ReadError("x"), "the connection broke", True),
        (httpx.WriteError("x"), "the connection broke", True),
        (httpx.CloseError("x"), "the connection broke", True),
        (httpx.RemoteProtocolError("x"), "the connection broke", True),
        (httpx.ProxyError("x"), "the connection broke", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_failures_of_the_network(raised: Exception, said: str, maybe_done: bool) -> None:
    """Each may pass; whether something may have happened at the vendor decides what a restart has to ask."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(TransientError, match=said) as caught:
        make(answer, retry=ONCE).api().post("/x")
    assert (caught.value.maybe_done, caught.value.source) == (maybe_done, "made")


# --- answers that break off ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    [
        headed(b'{"data": [1, 2', length=1000),
        headed(gzip.compress(b'{"data": [1, 2]}' * 100)[:40], "Content-Encoding: gzip", length=1000),
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"dat\r\n',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
    ids=["cut", "cut while compressed", "cut in chunks", "no chunk", "cut in the headers", "no HTTP", "nothing"],
)
def test_broken_off(piece: bytes, script: Scripts) -> None:
    """What ends before its end is a broken connection, never a short answer."""
    with pytest.raises(TransientError, match=r"^made: GET /v1/people: the connection broke") as caught:
        get(script(piece))
    assert caught.value.maybe_done


def test_cut_inside_a_compressed_body() -> None:
    """A compressed body that ends too soon, in an answer that is whole: it is not JSON, and no empty list."""
    packed = gzip.compress(b'{"data": [' + b'{"id": 1}, ' * 1000 + b"1]}")
    reply = make(served(packed[: len(packed) // 2], content_encoding="gzip")).api().get("/x")
    with pytest.raises(TransientError, match="not JSON"):
        reply.json()


@pytest.mark.parametrize("depth", [150, 250])
def test_depth(depth: int) -> None:
    """Two hundred levels are more than any API has."""
    reply = make(served(b"[" * depth + b"]" * depth)).api().get("/x")
    if depth < 200:
        assert isinstance(reply.json(), list)
        return
    with pytest.raises(TransientError, match="not JSON"):
        reply.json()


def test_deep_error_body() -> None:
    """Nor does an error's body exhaust the stack while its code is looked for."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, content=b'{"error":' * 50_000)

    with pytest.raises(RejectedError, match=r"answered 400$"):
        make(answer).api().get("/x")
    nested = b'{"error":' * 150 + b'{"code": "deep"}' + b"}" * 150
    with pytest.raises(RejectedError, match=r"\(deep\)"):
        make(lambda request: httpx.Response(400, content=nested)).api().get("/x")


@pytest.mark.parametrize("fault", ["reset", "reset_mid_body", "cut", "deep", "html"])
def test_faults_of_a_sandbox(fault: str) -> None:
    """What a sandbox breaks on purpose is an error, for GET and for DELETE alike."""

    class Full(Sandbox):
        """Answers everything."""

        slug, title = "full", "Full"

        def no_route(self, call: Any) -> Answer:
            return Answer.json({"data": [1, 2, 3]})

    for method in ("get", "delete"):
        sandbox = Full()
        sandbox.faults.append(Fault(fault, times=-1))
        with serve(sandbox) as server:
            http = make(base_url=server.url, allow_private_hosts=True, retry=ONCE)
            with pytest.raises((TransientError, ConfigError)):
                getattr(http.api(), method)("/x").json()
            http.close()
