"""What the portal's tests share: a host with people of every role, clients signed in as them, a live server, a browser."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from fastapi import FastAPI

from dsr_sdk.host import Host
from dsr_sdk.host.people.roles import Role
from dsr_sdk.portal import create_app
from dsr_sdk.portal.security import cookie_name
from tests.postgres import postgres_server, postgres_url
from tests.smtp import inbox
from tests.world import World, memory, shared_database, sqlite_world, world, world_template

with warnings.catch_warnings():  # starlette would rather have its client on another library, which nobody here needs
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

if TYPE_CHECKING:
    import httpx
    from playwright.sync_api import Browser, Page

__all__ = [
    "PASSWORD",
    "Client",
    "Open",
    "address",
    "inbox",
    "memory",
    "postgres_server",
    "postgres_url",
    "shared_database",
    "sqlite_world",
    "world",
    "world_template",
]

PASSWORD = "a sentence that opens doors"

WORKFLOW = '[workflow]\nregime = "eu_gdpr"\npublic_url = "http://testserver"'


def address(role: Role) -> str:
    """The account of a role."""
    return f"{role.value.replace('_', '-')}@example.com"


class Client(TestClient):
    """A browser without a window: keeps cookies, and sends forms as the portal's own pages do. Redirects are not followed."""

    csrf = ""

    def form(self, url: str, files: Any = None, **fields: Any) -> httpx.Response:
        """Send a form with its token, from a page of ours."""
        response: httpx.Response = self.post(url, data={"csrf": self.csrf, **fields}, files=files, headers={"origin": "http://testserver"})
        return response

    def visit(self, url: str) -> httpx.Response:
        """Look at a page and keep the token of its forms."""
        response: httpx.Response = self.get(url)
        found = re.search(r'name="csrf" value="([^"]+)"', response.text)
        if found:
            self.csrf = found[1]
        return response


Open = Callable[..., Client]


@pytest.fixture(scope="session")
def portal_template(world_template: Path, memory: Path) -> Path:
    """A fresh host with an account of each role: hashing their passwords takes a while, so it is done once."""
    directory = memory / "portal-template"
    shutil.copytree(world_template, directory)
    with Host.open(directory / "dsr.toml") as host:
        for role in Role:
            host.accounts.create(address(role), f"Person {role.value}", role, PASSWORD, by="tests")
    return directory


@pytest.fixture
def portal_world(memory: Path, monkeypatch: pytest.MonkeyPatch, portal_template: Path) -> Iterator[World]:
    """A world with ``[workflow]`` and people; add data sources before it is opened."""
    with tempfile.TemporaryDirectory(prefix="portal", dir=memory) as directory:
        world = World(Path(directory), monkeypatch, portal_template, None)
        world.tables = WORKFLOW
        with world.stack:
            yield world


@pytest.fixture
def host(portal_world: World) -> Host:
    """The host of `portal_world`, opened."""
    return portal_world.open()


@pytest.fixture
def app(host: Host) -> Iterator[FastAPI]:
    """Its portal, without an engine."""
    app = create_app(host, engine=False)
    yield app
    app.state.searches.close()  # they would go on while the host is closed under them


@pytest.fixture
def client(app: FastAPI) -> Iterator[Client]:
    """Somebody who is not signed in."""
    with Client(app, follow_redirects=False) as client:
        yield client


@pytest.fixture
def signed_in_as(app: FastAPI, host: Host) -> Callable[[Role], Client]:
    """Clients signed in as one of the roles, without going through the form."""

    def make(role: Role) -> Client:
        client = Client(app, follow_redirects=False)
        token = host.accounts.sign_in(address(role), PASSWORD, client="tests")
        client.cookies.set(cookie_name(host, "session"), token)
        session = host.accounts.session(token)
        assert session is not None
        client.csrf = session.csrf
        return client

    return make


@pytest.fixture
def agent(signed_in_as: Callable[[Role], Client]) -> Client:
    """A client signed in as an agent."""
    return signed_in_as(Role.AGENT)


@pytest.fixture
def admin(signed_in_as: Callable[[Role], Client]) -> Client:
    """A client signed in as an administrator."""
    return signed_in_as(Role.ADMIN)


class Live:
    """A portal served by uvicorn on loopback, the way `dsr_sdk.portal.serve` does."""

    def __init__(self, app: FastAPI, at: socket.socket | None = None) -> None:
        self.socket = at or socket.create_server(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False, proxy_headers=False, ws="none")
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)

    def __enter__(self) -> Live:
        self._thread.start()
        until = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        return self

    def __exit__(self, *error: object) -> None:
        self.server.should_exit = True
        self._thread.join(20)
        self.socket.close()


@pytest.fixture
def live(app: FastAPI) -> Iterator[Live]:
    """The portal on a real socket."""
    with Live(app) as live:
        yield live


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless. Where there is none, the test is skipped and says so."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("browser tests need Chromium: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium: Browser, live: Live, host: Host) -> Iterator[Callable[..., Page]]:
    """Pages of a browser on the live portal, signed in as a role or not at all; settings as `Browser.new_context` takes them."""
    contexts = []

    def open_(role: Role | None = None, **settings: Any) -> Page:
        context = chromium.new_context(base_url=live.url, **settings)
        contexts.append(context)
        if role is not None:
            token = host.accounts.sign_in(address(role), PASSWORD, client="tests")
            context.add_cookies([{"name": cookie_name(host, "session"), "value": token, "url": live.url}])
        return context.new_page()

    yield open_
    for context in contexts:
        context.close()
