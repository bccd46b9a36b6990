"""The HTTP side of a source: what one answer leaves behind for the next call (nothing), and whose connections are whose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dsr_sdk import AuthError, ConfigError, ConnectorConfig, ContractError, DsrError, RejectedError, TransientError
from dsr_sdk.http import BearerAuth, HeaderKey, Reply, RetryPolicy, SourceHttp, client
from dsr_sdk.http.guard import GuardedTransport
from dsr_sdk.testing import Answer, Call, Sandbox, route, serve
from tests.http.conftest import Made, Script, make


class Echo(Sandbox):
    """Says what it was sent."""

    slug, title = "echo", "Echo"

    @route("GET", "/{id}")
    def echo(self, call: Call) -> Answer:
        return Answer.json({"id": call.ids["id"], "cookie": call.headers.get("cookie")}, headers={"Set-Cookie": f"person={call.ids['id']}; Path=/"})


# --- nothing is kept -----------------------------------------------------------------------------------------------------------------------


def test_cookies_are_forgotten() -> None:
    """What a vendor sets for one person must not be sent for the next."""
    with serve(Echo()) as server:
        http = make(base_url=server.url, allow_private_hosts=True)
        api = http.api()
        assert [api.get("/{id}", id=person).json()["cookie"] for person in ("ada", "bob", "cleo")] == [None, None, None]
        http.close()


def test_cookies_of_a_redirect_are_forgotten() -> None:
    """Not even from the redirect to its own target."""
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("cookie"))
        if request.url.path == "/old":
            return httpx.Response(302, headers={"location": "/new", "set-cookie": "person=ada"})
        return httpx.Response(200, json={})

    make(answer).api().get("/old")
    assert seen == [None, None]


def test_headers_of_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, the connector's, and this call's, the later ones first."""
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200)

    monkeypatch.setattr(Made, "headers", lambda self: {"X-Version": "7", "X-Who": "connector"})
    make(answer).api().get("/x", headers={"X-Who": "call"})
    assert seen[0]["user-agent"].startswith("dsr-sdk")
    assert (seen[0]["accept"], seen[0]["x-version"], seen[0]["x-who"]) == ("application/json", "7", "call")
    assert "br" not in seen[0]["accept-encoding"]


def test_forms_and_bodies() -> None:
    """JSON, a form, and a DELETE with a body."""
    seen: list[tuple[str, str | None, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.headers.get("content-type"), request.content))
        return httpx.Response(200)

    api = make(answer).api()
    api.post("/x", {"a": "ä"})
    api.post("/x", form={"a": "1&2"})
    api.delete("/x", json={"ids": [1]})
    api.patch("/x", [])
    assert seen == [
        ("POST", "application/json", '{"a":"ä"}'.encode()),
        ("POST", "application/x-www-form-urlencoded", b"a=1%262"),
        ("DELETE", "application/json", b'{"ids":[1]}'),
        ("PATCH", "application/json", b"[]"),
    ]
    assert api.calls == 4


def test_headers_of_an_answer() -> None:
    """Names in lower case, several of one name joined, bytes outside ASCII no obstacle."""
    raw = [(b"X-Id", b"1"), (b"LINK", b"<a>"), (b"link", b"<b>"), (b"X-Name", b"\xe4")]
    reply = make(lambda request: httpx.Response(200, headers=raw, content=b"\xff")).api().get("/x")
    assert (reply.headers["x-id"], reply.headers["link"], reply.headers["x-name"]) == ("1", "<a>, <b>", "ä")
    assert reply.text == "\ufffd"


# --- connections -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every transport that is made, and whether it was closed."""
    made: list[Any] = []

    class Watched(GuardedTransport):
        closed = False

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            made.append(self)

        def close(self) -> None:
            self.closed = True
            super().close()

    monkeypatch.setattr(client, "GuardedTransport", Watched)
    return made


def in_threads(number: int, work: Callable[[int], object]) -> None:
    """Run it in so many threads at once, and wait for them."""
    together = threading.Barrier(number)

    def run(n: int) -> None:
        together.wait(10)
        work(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_one_transport_a_thread(opened: list[Any]) -> None:
    """Four threads, three calls each: four transports, every answer its own caller's, all closed at the end."""
    with serve(Echo()) as server:
        http = make(base_url=server.url, allow_private_hosts=True)
        got: list[tuple[str, str]] = []
        together = threading.Barrier(4)

        def work(n: int) -> None:
            for i in range(3):
                wanted = f"p{n}-{i}"
                got.append((wanted, http.api().get("/{id}", id=wanted).json()["id"]))
            together.wait(10)

        in_threads(4, work)
        assert len(got) == 12
        assert all(wanted == given for wanted, given in got)
        assert len(opened) == 4
        http.close()
        assert all(transport.closed for transport in opened)


def test_connections_of_ended_threads_are_let_go_of(opened: list[Any]) -> None:
    """Every drain starts threads of its own: a host that runs for weeks must not keep the connections of all of them."""
    with serve(Echo()) as server:
        http = make(base_url=server.url, allow_private_hosts=True)
        for _ in range(5):
            in_threads(1, lambda n: http.api().get("/{id}", id="ada"))
        assert len(opened) == 5
        assert [transport.closed for transport in opened] == [True, True, True, True, False]
        http.close()
        assert opened[-1].closed


def test_closed_source_can_be_used_again(opened: list[Any]) -> None:
    """Closing lets go of connections, not of the source."""
    with serve(Echo()) as server:
        http = make(base_url=server.url, allow_private_hosts=True)
        for _ in range(2):
            assert http.api().get("/{id}", id="ada").ok
            http.close()
        http.close()
    assert [transport.closed for transport in opened] == [True, True]


def test_transport_that_is_given() -> None:
    """A sandbox's or a cassette's is shared by all threads, outlives each of them, and is closed with the source."""

    closed: list[int] = []

    class Given(httpx.MockTransport):
        def close(self) -> None:
            closed.append(1)

    given = Given(lambda request: httpx.Response(200))
    http = SourceHttp(Made(), transport=given)
    for _ in range(3):
        in_threads(2, lambda n: http.api().get("/x"))
    assert closed == []
    http.close()
    assert closed == [1]


# --- redirects and refusals --------------------------------------------------------------------------------------------------------------------

CANARY = "canary-7f3e9d2b"


@pytest.mark.parametrize(
    "location",
    [
        f"https://[{CANARY}",
        f"https://api.made.example:{CANARY}/",
        f"https://api.made.example:99999/{CANARY}",
        f"//{CANARY}\u2100.example/",
        f"https://{CANARY}\x7f.example",
        f"javascript:{CANARY}",
        f"https:{CANARY}",
        "x" * 70_000,
    ],
)
def test_redirect_to_nowhere(location: str) -> None:
    """A Location that is no URL of this host, or no URL at all: refused in words, and not repeated."""
    http = make(lambda request: httpx.Response(302, headers=[(b"location", location.encode())]), auth=BearerAuth(SecretStr("s3cret")))
    with pytest.raises(ConfigError, match=r"^made: base_url: GET /x redirects") as caught:
        http.api().get("/x")
    assert CANARY not in str(caught.value)


def test_redirect_without_a_location() -> None:
    """A redirect that does not say where."""
    with pytest.raises(ConfigError, match="answered 302, a redirect"):
        make(lambda request: httpx.Response(302)).api().get("/x")


def test_redirect_keeps_what_belongs_to_the_call() -> None:
    """The call's headers and the signature go along; its parameters are the Location's, and a chain of three is followed."""
    seen: list[tuple[str, str | None, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers.get("x-trace"), request.headers.get("authorization")))
        step = len(seen)
        return httpx.Response(307, headers={"location": f"?page={step}"}) if step < 4 else httpx.Response(200, json={})

    reply = make(answer, auth=BearerAuth(SecretStr("t"))).api().get("/x", {"q": "1"}, headers={"X-Trace": "5"})
    assert [url.removeprefix("https://api.made.example") for url, _, _ in seen] == ["/x?q=1", "/x?page=1", "/x?page=2", "/x?page=3"]
    assert {(trace, signed) for _, trace, signed in seen} == {("5", "Bearer t")}
    assert reply.call == "GET /x"


@pytest.mark.parametrize("base", ["https://API.Made.example", "https://api.made.example:443", "https://bücher.example"])
def test_spellings_of_one_host(base: str) -> None:
    """Capitals, the usual port and an international name are the same host in every spelling."""
    same = {"https://bücher.example": "https://xn--bcher-kva.example/new"}.get(base, "https://api.made.example/new")

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200) if request.url.path == "/new" else httpx.Response(302, headers={"location": same})

    assert make(answer, base_url=base).api().get("/x").ok


@pytest.mark.parametrize("sent", ["header", "key"])
def test_line_break_in_a_header(sent: str, script: Callable[..., Script]) -> None:
    """It never leaves, it is not tried again for ever, and the value is not repeated."""
    server = script(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    auth = HeaderKey("X-Key", SecretStr(f"{CANARY}\r\nX-Evil: 1")) if sent == "key" else None
    headers = {"X-Who": f"{CANARY}\r\nX-Evil: 1"} if sent == "header" else None
    http = make(base_url=server.url, allow_private_hosts=True, auth=auth)
    with pytest.raises(RejectedError, match="cannot be formed") as caught:
        http.api().get("/x", headers=headers)
    http.close()
    assert CANARY not in str(caught.value)
    assert not any(b"X-Evil" in request for request in server.requests)


def test_error_of_the_way_to_authenticate_names_the_source() -> None:
    """An agent with forty sources has to know which one it is."""

    class Expired(httpx.Auth):
        """Cannot sign any more."""

        def auth_flow(self, request: httpx.Request) -> Any:
            raise AuthError("the refresh token has expired")
            yield request

    with pytest.raises(AuthError, match=r"^made: the refresh token has expired"):
        make(lambda request: httpx.Response(200), auth=Expired()).api().get("/x")


def test_problem_of_the_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector reads answers its own way, 2xx too; None is the usual reading; and a wait it names holds everybody back."""

    def problem(self: Made, reply: Reply) -> DsrError | None:
        if reply.ok and reply.object().get("ok") is False:
            return RejectedError("said no with 200")
        return TransientError("busy", retry_after=30.0) if reply.status == 429 else None

    monkeypatch.setattr(Made, "problem", problem)
    status = [200]
    http = make(lambda request: httpx.Response(status[0], json={"ok": status[0] != 200}))
    with pytest.raises(RejectedError, match=r"^made: said no with 200"):
        http.api().get("/x")
    status[0] = 500
    with pytest.raises(TransientError, match="answered 500"):
        http.api().post("/x")
    status[0] = 429
    with pytest.raises(TransientError, match="busy"):
        http.api().get("/x")
    assert http.pacer.reserve("GET", "/y", longest=0.0) < -25


def test_templates_that_repeat_a_slot() -> None:
    """The same id twice in a path is filled twice, and a value that no slot takes is still noticed."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        return httpx.Response(200)

    api = make(answer).api()
    api.get("/v1/{id}/copies/{id}", id="a/b")
    assert seen == ["/v1/a%2Fb/copies/a%2Fb"]
    with pytest.raises(ContractError, match="does not use other"):
        api.get("/v1/{id}/copies/{id}", id="a", other="b")
    with pytest.raises(ContractError, match="needs id="):
        api.get("/v1/{id}")


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("../admin", "..%2Fadmin"),
        ("%2e%2e", "%252e%252e"),
        ("%2F", "%252F"),
        ("..;", "..%3B"),
        ("a?b=c", "a%3Fb%3Dc"),
        ("a#b", "a%23b"),
        ("a\\b", "a%5Cb"),
        ("...", "..."),
        ("a:b@c", "a%3Ab%40c"),
        ("\x00\r\n", "%00%0D%0A"),
    ],
)
def test_hostile_ids(value: str, segment: str, script: Callable[..., Script]) -> None:
    """On the wire, byte for byte: the id is one segment, nothing is a path, a query or another header."""
    server = script(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    http = make(base_url=server.url, allow_private_hosts=True)
    http.api().delete("/v1/people/{id}/all", id=value)
    http.close()
    assert server.requests[0].split(b"\r\n")[0].decode() == f"DELETE /v1/people/{segment}/all HTTP/1.1"


def test_base_url_with_a_path() -> None:
    """A base URL may have a path, and a slash at its end changes nothing."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200)

    for base in ("https://host.example/api/v2", "https://host.example/api/v2/"):
        make(answer, base_url=base).api().get("/people?kind=a", {"b": "1"})
    assert seen == ["https://host.example/api/v2/people?kind=a&b=1"] * 2


def test_configured_base_url_wins() -> None:
    """A sandbox stands in the vendor's place when the settings say so, and only then."""
    assert SourceHttp(Made()).base_url == "https://api.made.example"
    assert SourceHttp(Made(ConnectorConfig(base_url="https://eu.made.example"))).base_url == "https://eu.made.example"
    with pytest.raises(ConfigError):
        SourceHttp(Made(ConnectorConfig(base_url="http://eu.made.example")), retry=RetryPolicy())
