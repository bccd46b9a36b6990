"""What stands around every page: headers, tokens, origins, sizes, and what errors tell."""

from __future__ import annotations

import http.client
import logging
import re
import select
import socket
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request

from dsr_sdk.errors import ConflictError, DsrError, LedgerError, RequestError, TransientError
from dsr_sdk.host import Host
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app, security
from dsr_sdk.portal.errors import status_of
from dsr_sdk.portal.security import client_of, own_path, read_signed, signed
from tests.portal.conftest import PASSWORD, WORKFLOW, Client, Live, address
from tests.world import World

HOME = {"origin": "http://testserver"}


# --- headers ----------------------------------------------------------------------------------------------------------------------------


def test_every_answer_is_dressed(client: Client, admin: Client) -> None:
    """Pages, errors, redirects and files carry the same protection; pages are stored nowhere."""
    for response in (client.get("/sign-in"), client.get("/"), client.get("/nothing"), admin.get("/"), admin.get("/static/portal.css")):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "same-origin"
        assert "server" not in response.headers
    assert admin.get("/").headers["cache-control"] == "no-store"


def test_static_files_are_kept_by_version(client: Client) -> None:
    """A file with its version in the address may be kept for ever; without, it is not stored."""
    page = client.get("/sign-in").text
    address = re.search(r'href="(/static/portal\.css\?v=[0-9a-f]+)"', page)
    assert address is not None
    assert "immutable" in client.get(address[1]).headers["cache-control"]
    assert client.get("/static/portal.css").headers["cache-control"] == "no-store"
    assert client.get("/static/../app.py").status_code == 404


def test_nothing_comes_from_elsewhere(admin: Client) -> None:
    """No page names another host, and none has a style or a script of its own: the policy would stop them."""
    for url in ("/", "/account", "/accounts", "/accounts/new", "/accounts/keys", "/nothing"):
        text = admin.get(url).text
        assert not re.search(r'(src|href|action)="(https?:)?//', text), url
        assert "<style" not in text
        assert " style=" not in text
        assert not re.search(r"\son[a-z]+=", text), url
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), url


def test_htmx_is_the_published_file() -> None:
    """What stands in static/ is htmx.org 2.0.11 of the npm registry, byte for byte, with its licence beside it."""
    import hashlib

    from dsr_sdk.portal.rendering import HERE

    assert hashlib.sha256((HERE / "static" / "htmx.min.js").read_bytes()).hexdigest() == HTMX
    assert "Zero-Clause BSD" in (HERE / "static" / "htmx.LICENSE.txt").read_text()


HTMX = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"


def test_https_is_kept(portal_world: World) -> None:
    """Where people come by https, browsers are told to stay there, and cookies travel nowhere else."""
    portal_world.tables = '[workflow]\npublic_url = "https://privacy.example.com"'
    host = portal_world.open()
    client = Client(create_app(host, engine=False), base_url="https://privacy.example.com", follow_redirects=False)
    page = client.visit("/sign-in")
    assert "max-age=31536000" in page.headers["strict-transport-security"]
    data = {"csrf": client.csrf, "account": address(Role.AGENT), "password": PASSWORD}
    answer = client.post("/sign-in", data=data, headers={"origin": "https://privacy.example.com"})
    cookie = next(cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith("__Host-dsr_session="))
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie


# --- forms ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong", None])
def test_a_form_needs_the_token_of_its_session(agent: Client, host: Host, token: str | None) -> None:
    """Without the token, or with another one, nothing is changed."""
    data = {"name": "Changed"} | ({"csrf": token} if token is not None else {})
    assert agent.post("/account/name", data=data, headers=HOME).status_code == 403
    assert host.accounts.get(address(Role.AGENT)).name != "Changed"


def test_the_token_of_another_session_does_not_do(signed_in_as: Callable[[Role], Client], host: Host) -> None:
    """A token belongs to one session: an attacker's own is worth nothing in the victim's browser."""
    attacker, victim = signed_in_as(Role.SUPPORT), signed_in_as(Role.ADMIN)
    victim.csrf = attacker.csrf
    assert victim.form("/account/name", name="Changed").status_code == 403
    assert host.accounts.get(address(Role.ADMIN)).name != "Changed"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example", "http://testserver:81"])
def test_a_form_from_elsewhere_is_refused(agent: Client, host: Host, origin: str) -> None:
    """A right token from a wrong origin is refused, too."""
    answer = agent.post("/account/name", data={"csrf": agent.csrf, "name": "Changed"}, headers={"origin": origin})
    assert answer.status_code == 403
    assert host.accounts.get(address(Role.AGENT)).name != "Changed"


def test_a_form_of_another_site_is_refused_without_an_origin(agent: Client) -> None:
    """Browsers that send no origin say where a request comes from in another way."""
    data = {"csrf": agent.csrf, "name": "Changed"}
    assert agent.post("/account/name", data=data, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert agent.post("/account/name", data=data, headers={"sec-fetch-site": "same-origin"}).status_code == 303


def test_the_token_may_come_as_a_header(agent: Client, host: Host) -> None:
    """htmx sends it that way."""
    assert agent.post("/account/name", data={"name": "Changed"}, headers={**HOME, "x-csrf-token": agent.csrf}).status_code == 303
    assert host.accounts.get(address(Role.AGENT)).name == "Changed"


def test_visitors_have_a_token_too(client: Client) -> None:
    """Nobody is signed in by a form of another site: the sign-in has its token, bound to the visitor's cookie."""
    client.visit("/sign-in")
    fields = {"account": address(Role.AGENT), "password": PASSWORD}
    assert client.post("/sign-in", data=fields, headers=HOME).status_code == 403
    stolen = client.csrf
    client.cookies.clear()
    client.visit("/sign-in")
    assert client.csrf != stolen
    assert client.post("/sign-in", data={**fields, "csrf": stolen}, headers=HOME).status_code == 403
    assert client.form("/sign-in", **fields).status_code == 303


def test_a_form_in_another_tab_still_holds(client: Client) -> None:
    """Whoever opens a second page, by a link in a mail for instance, can still send the form of the first."""
    client.visit("/sign-in")
    client.get("/set-up")
    client.get("/nothing")
    assert client.form("/sign-in", account=address(Role.AGENT), password=PASSWORD).status_code == 303


def test_a_visitors_cookie_is_never_read_by_scripts(client: Client) -> None:
    """It goes to our own pages only."""
    assert {"HttpOnly", "SameSite=lax"} <= {part.strip() for part in client.get("/sign-in").headers["set-cookie"].split(";")}


# --- sizes ------------------------------------------------------------------------------------------------------------------------------


def _send(live: Live, headers: list[str], body: bytes = b"") -> tuple[int, int]:
    """Send raw bytes; the status, and how many of the body's bytes were taken before the answer."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        connection.sendall("\r\n".join(["POST /account/name HTTP/1.1", "Host: testserver", *headers, "", ""]).encode())
        sent = 0
        answer = b""
        while b"\r\n\r\n" not in answer:
            readable, writable, _ = select.select([connection], [connection] if body else [], [], 20)
            if writable and not readable:
                taken = connection.send(body[sent % len(body) :])  # whole chunks follow one another
                sent += taken
            if readable:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
    response = answer.decode("latin-1")
    return int(response.split()[1]) if response else 0, sent


def test_an_upload_of_2_gb_is_refused_by_its_length(live: Live) -> None:
    """It is refused before a byte of it was sent."""
    status, _ = _send(live, ["Content-Type: multipart/form-data; boundary=x", f"Content-Length: {2 * 1024**3}"])
    assert status == 413


def test_an_upload_without_a_length_is_refused_when_it_grows(live: Live, signed_in_as: Callable[[Role], Client]) -> None:
    """Sent in chunks, it is cut off soon after the limit: the memory and the disk see no more."""
    client = signed_in_as(Role.AGENT)
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    part = (b"a=" + b"x" * 1021 + b"&") * 512  # fields that are each allowed
    chunk = b"%x\r\n%s\r\n" % (len(part), part)
    status, sent = _send(live, ["Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked", f"Cookie: {cookie}"], chunk)
    assert status == 413
    assert sent < 32 * 1024 * 1024


def test_who_is_not_signed_in_has_no_body_read(live: Live) -> None:
    """An announced upload within the limit is answered at once: nothing is received for somebody who may not send it."""
    status, _ = _send(live, ["Content-Type: multipart/form-data; boundary=x", f"Content-Length: {20 * 1024**2}"])
    assert status == 303


@pytest.mark.parametrize("length", ["-1", "1e9", "0x10", "ten"])
def test_a_length_that_is_no_number_is_refused(client: Client, length: str) -> None:
    """It is no way around the limit."""
    assert client.post("/sign-in", headers={**HOME, "content-length": length}, content=b"").status_code == 413


def test_a_file_that_is_a_little_too_large_shows_a_page(live: Live, signed_in_as: Callable[[Role], Client]) -> None:
    """The browser may finish sending, and is told: a connection that is torn would look like a broken portal."""
    client = signed_in_as(Role.AGENT)
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=20)
    headers = {"content-type": "multipart/form-data; boundary=x", "cookie": cookie}
    connection.request("POST", "/account/name", body=b"x" * (30 * 1024 * 1024), headers=headers)
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"At most 26 MB" in answer.read()
    connection.close()


def test_a_form_has_a_limit_of_its_own(agent: Client) -> None:
    """A form without files may have 1 MB; a page says so."""
    answer = agent.form("/account/name", name="x" * (1024 * 1024 + 1))
    assert answer.status_code == 413
    assert "At most 1 MB" in answer.text


# --- what errors tell -------------------------------------------------------------------------------------------------------------------


def _failing(host: Host, error: Exception) -> FastAPI:
    app = create_app(host, engine=False)

    def fail() -> None:
        raise error

    app.add_api_route("/failing", fail)
    app.add_api_route("/api/failing", fail)
    return app


def test_an_unexpected_error_tells_a_number_only(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the page nor the log holds the text of an error that nobody has thought of: it may hold what a person has typed."""
    client = Client(_failing(host, ValueError("ada@example.com has a secret")))
    with caplog.at_level(logging.INFO):
        answer = client.get("/failing")
    assert answer.status_code == 500
    number = re.search(r"under the number ([0-9a-f]{8})", answer.text)
    assert number is not None
    assert number[1] in caplog.text
    assert "ValueError" in caplog.text
    assert "test_security.py" in caplog.text
    for text in (answer.text, caplog.text):
        assert "ada@example.com" not in text
        assert "secret" not in text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestError("is wrong", field="name", fix="mend it"), 400),
        (ConflictError("someone else was faster", fix="look at it again"), 409),
        (LedgerError("there is no such case", source="DSR-X"), 404),
        (LedgerError("is locked"), 503),
        (TransientError("later", retry_after=7.2), 503),
    ],
)
def test_errors_of_the_library_name_the_fix(host: Host, error: DsrError, status: int) -> None:
    """As a page, as a part of a page, and as JSON: the same status, the same sentence."""
    client = Client(_failing(host, error))
    assert status_of(error) == status
    page, part, api = client.get("/failing"), client.get("/failing", headers={"hx-request": "true"}), client.get("/api/failing")
    assert {page.status_code, part.status_code, api.status_code} == {status}
    assert "<html" in page.text
    assert "<html" not in part.text
    assert part.headers["hx-retarget"] == "#flashes"
    assert api.json()["status"] == status
    if error.fix:
        assert all(error.fix in answer.text.lower() for answer in (page, part, api))
    if isinstance(error, TransientError):
        assert page.headers["retry-after"] == "8"


def test_what_was_typed_is_not_repeated(admin: Client) -> None:
    """An address that is none is named by its field, without its value."""
    answer = admin.form("/accounts/keys/ada@example.com/revoke")
    assert answer.status_code == 400
    assert "ada@example.com" not in answer.text


def test_a_name_that_is_a_script_tag_stays_a_name(admin: Client, host: Host) -> None:
    """It is escaped wherever it is shown."""
    host.accounts.set_name(address(Role.AGENT), "<script>alert(1)</script>", by="tests")
    text = admin.get("/accounts").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


# --- small parts ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/requests?stage=review", "/requests?stage=review"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
        ("", "/"),
        (None, "/"),
        ("/" + "a" * 600, "/"),
    ],
)
def test_only_our_own_pages_are_gone_on_to(target: str | None, path: str) -> None:
    """A link with a target of somebody else's leads to the start page."""
    assert own_path(target) == path


def test_signed_cookies_are_not_forged(host: Host) -> None:
    """A value is read for its purpose only, and only as it was signed."""
    cookie = signed(host, "said", ["good", "Done."])
    assert read_signed(host, "said", cookie) == ["good", "Done."]
    assert read_signed(host, "other", cookie) is None
    assert read_signed(host, "said", "x" + cookie) is None
    assert read_signed(host, "said", "ü.ü") is None
    assert read_signed(host, "said", None) is None


def _request(app: FastAPI, forwarded: str) -> Request:
    scope: dict[str, Any] = {"type": "http", "app": app, "headers": [(b"x-forwarded-for", forwarded.encode())], "client": ("192.0.2.1", 5)}
    return Request(scope)


def test_a_clients_word_for_its_address_is_not_taken(portal_world: World) -> None:
    """X-Forwarded-For counts only behind a proxy, and then its last entry, which is the proxy's own."""
    app = create_app(portal_world.open(), engine=False)
    assert client_of(_request(app, "203.0.113.9")) == "192.0.2.1"
    portal_world.tables = WORKFLOW + "\n[portal]\ntrust_proxy = true"
    app = create_app(portal_world.open(), engine=False)
    assert client_of(_request(app, "198.51.100.7, 203.0.113.9")) == "203.0.113.9"


def test_the_limiter_counts_each_client(host: Host) -> None:
    """One client's attempts are not another's."""
    limiter = security.Limiter()
    assert [limiter.hit("2/minute", "try", "a") for _ in range(3)] == [True, True, False]
    assert limiter.hit("2/minute", "try", "b")
    assert limiter.hit("2/minute", "other", "a")


def test_health_is_told_to_everybody(live: Live) -> None:
    """A load balancer asks without an account; nothing but *ok* is told."""
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=10)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"ok")
    connection.close()
