"""Who may do what: every route of the portal with every role, and with nobody."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount

from dsr_sdk.host import Host
from dsr_sdk.host.people.roles import Role, allowed
from dsr_sdk.portal import create_app
from dsr_sdk.portal.app import PUBLIC, ROUTERS
from dsr_sdk.portal.web import Gate, KeyGate
from tests.portal.conftest import Client, address
from tests.world import World


@dataclass(frozen=True)
class Declared:
    """A route and who may: a gate, or None for a route that is listed as public."""

    method: str
    path: str
    gate: Gate | KeyGate | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def address(self) -> str:
        """The path with values that belong to nothing."""
        return re.sub(r"\{([^}:]+)(:[^}]+)?\}", lambda found: "0" if found[1] in ("id", "number", "file", "link") else "nothing", self.path)


def _gates(dependant: Dependant) -> Iterator[Gate | KeyGate]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Gate | KeyGate):
            yield dependency.call
        yield from _gates(dependency)


def _declared() -> list[Declared]:
    found = []
    for name in ROUTERS:
        routes: list[BaseRoute] = importlib.import_module(f"dsr_sdk.portal.routes.{name}").router.routes
        for route in routes:
            assert isinstance(route, APIRoute), f"{name}: routes are declared with @router.get or @router.post"
            gates = list(_gates(route.dependant))
            assert len(gates) <= 1, f"{route.path}: one declaration is enough"
            found += [Declared(method, route.path, gates[0] if gates else None) for method in sorted(route.methods or ()) if method != "HEAD"]
    return found


DECLARED = _declared()
SESSIONS = [route for route in DECLARED if isinstance(route.gate, Gate)]
KEYS = [route for route in DECLARED if isinstance(route.gate, KeyGate)]


def test_every_route_declares_who_may() -> None:
    """A route without a declaration is one for everybody, and stands on the list of those; nothing else stands there."""
    open_ = {route.name for route in DECLARED if route.gate is None} | {"GET /healthz"}
    assert open_ == PUBLIC


def test_no_route_is_outside_the_routers(app: FastAPI) -> None:
    """Beside the routers there are the static files and the health check: what this module walks is all there is."""
    others = [route for route in app.routes if type(route).__name__ != "_IncludedRouter"]
    named = {route.path for route in others if isinstance(route, APIRoute)}
    mounted = {route.path for route in others if isinstance(route, Mount)}
    assert mounted == {"/static"}
    assert named <= {"/healthz", *(route.path for route in DECLARED)}
    assert len(others) == len([route for route in others if isinstance(route, APIRoute | Mount)])


def test_addresses_are_unique() -> None:
    """No route hides another of the same address."""
    names = [route.name for route in DECLARED]
    assert len(names) == len(set(names))


def test_nobody_is_let_in(client: Client) -> None:
    """Without a session every route that is not public leads to the sign-in, whatever it does, and with a made-up one too."""
    for made_up in ("", "x" * 43):
        if made_up:
            client.cookies.set("dsr_session", made_up)
        for route in SESSIONS:
            response = client.request(route.method, route.address, headers={"origin": "http://testserver"})
            assert response.status_code == 303, route.name
            assert response.headers["location"].startswith("/sign-in"), route.name


@pytest.mark.parametrize("role", Role)
def test_each_role_may_what_its_permissions_say(role: Role, signed_in_as: Callable[[Role], Client]) -> None:
    """A role is let in wherever its permission is the declared one, and gets 403 everywhere else."""
    client = signed_in_as(role)
    for route in SESSIONS:
        if route.path in ("/sign-out", "/account/sign-out-everywhere"):  # they end the very session; see test_sign_in
            continue
        assert isinstance(route.gate, Gate)
        data = {"csrf": client.csrf} if route.method != "GET" else None
        response = client.request(route.method, route.address, data=data, headers={"origin": "http://testserver"})
        may = route.gate.permission is None or allowed(role, route.gate.permission)
        assert response.status_code < 500, (route.name, response.text)
        assert (response.status_code != 403) is may, (route.name, role, response.status_code)
        assert not response.headers.get("location", "").startswith("/sign-in"), route.name


DELICATE = {
    "POST /accounts/new": {"account": "new@example.com", "name": "New", "role": "agent"},
    "POST /accounts/keys": {"name": "Web shop", "role": "support"},
    "POST /accounts/{id}/role": {"role": "admin"},
    "POST /accounts/{id}/invite": {},
    "POST /accounts/{id}/second-factor": {},
}
"""What opens doors to others, with a form for it: it asks once more who somebody is, ten minutes after they have said so."""


def test_what_opens_doors_asks_once_more(admin: Client, host: Host) -> None:
    """And nothing else does, whatever the route: a form for each, a session that is an hour old, and the page is there or it is not."""
    person = host.ledger.vault.fingerprint("portal", "account", address(Role.AGENT)).hex()[:16]
    asked = set()
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=15)):
        for route in SESSIONS:
            if route.path in ("/sign-out", "/account/sign-out-everywhere"):
                continue
            url = route.path.replace("{id}", person) if route.path.startswith("/accounts/{id}") else route.address
            data = {"csrf": admin.csrf, **DELICATE.get(route.name, {})} if route.method != "GET" else None
            answer = admin.request(route.method, url, data=data, headers={"origin": "http://testserver"})
            assert answer.status_code < 500, (route.name, answer.text)
            if "Please confirm that it is you" in answer.text:
                assert answer.status_code == 403, route.name
                asked.add(route.name)
    assert asked == set(DELICATE)


@pytest.mark.parametrize("role", Role)
def test_each_key_may_what_its_permissions_say(role: Role, host: Host, client: Client) -> None:
    """The same for the API and its keys; a session opens nothing there."""
    _, text = host.accounts.make_key("tests", role, by="tests")
    for route in KEYS:
        assert isinstance(route.gate, KeyGate)
        answer = client.request(route.method, route.address, headers={"authorization": f"Bearer {text}"})
        may = allowed(role, route.gate.permission)
        assert answer.status_code < 500, (route.name, answer.text)
        assert (answer.status_code != 403) is may, (route.name, role, answer.status_code)
        assert client.request(route.method, route.address).status_code in (401, 429), route.name


def test_works_without_workflow(portal_world: World) -> None:
    """A host without [workflow] has a portal, too: it says what is missing."""
    portal_world.tables = ""
    host = portal_world.open()
    client = Client(create_app(host, engine=False), follow_redirects=False)
    assert client.get("/sign-in").status_code == 200
