"""A whole host in a temporary directory, with toy vendors as its data sources: what the tests of engine and host stand on."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import sql

import dsr_sdk.http.client
import dsr_sdk.registry
from dsr_sdk import Connector, Request
from dsr_sdk.engine import Options
from dsr_sdk.host import Host, initialise
from dsr_sdk.http import RetryPolicy
from dsr_sdk.ledger.schema import metadata
from dsr_sdk.testing import Person, Sandbox, transport
from tests.postgres import PostgresServer
from tests.toys import ToyVendor

__all__ = ["FAST", "World", "deletion", "ended", "memory", "point", "shared_database", "sqlite_world", "staff", "world", "world_template"]

FAST = Options(
    attempts=3, backoff=timedelta(milliseconds=5), longest_backoff=timedelta(milliseconds=20), group_seconds=0.005, pending_for=timedelta(days=60)
)
"""Patience for tests."""


class _Point(EntryPoint):
    """An entry point whose object is at hand."""

    loaded: Any

    def load(self) -> Any:
        return self.loaded


def point(name: str, loaded: Any) -> EntryPoint:
    """An entry point in the group of connectors that loads `loaded`."""
    made = _Point(name, f"somewhere:{name}", "dsr_sdk.connectors")
    vars(made)["loaded"] = loaded  # entry points refuse to be changed in any other way
    return made


def deletion(email: str = "ada@example.com", **more: Any) -> Request:
    """A request to erase somebody."""
    return Request.parse({"type": "deletion", "subject": {"email": email}, **more})


def staff(host: Host, *accounts: str) -> None:
    """Accounts that requests can be given to: the first an admin's."""
    for number, account in enumerate(accounts):
        host.accounts.create(account, account.partition("@")[0].capitalize(), "agent" if number else "admin", by="tests")


class World:
    """A host's directory and its data sources."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, template: Path, database: str | None) -> None:
        self.directory = directory
        self.database = database
        self.classes: dict[str, type[Connector]] = {}
        self.sources: dict[str, str] = {}
        self.transports: dict[str, httpx.BaseTransport] = {}
        self.vendors: dict[str, Sandbox] = {}
        self.mail = ""
        self.tables = ""
        """More of ``dsr.toml``: ``[workflow]`` and its neighbours."""
        self.stack = ExitStack()
        if database is None:
            shutil.copytree(template, directory, dirs_exist_ok=True)
        else:
            initialise(directory, company="Example GmbH", database=database)
        self._base = (directory / "dsr.toml").read_text()
        real = importlib.metadata.entry_points

        def entry_points(*, group: str) -> Iterable[EntryPoint]:
            if group == dsr_sdk.registry.CONNECTORS:
                return [point(slug, loaded) for slug, loaded in self.classes.items()]
            return real(group=group)

        monkeypatch.setattr(dsr_sdk.registry, "entry_points", entry_points)
        monkeypatch.setattr(dsr_sdk.http.client, "RetryPolicy", functools.partial(RetryPolicy, base=0.005))

    @property
    def db(self) -> Path:
        """The file of the SQLite ledger."""
        return self.directory / "dsr.db"

    def add(
        self,
        name: str,
        connector: type[Connector],
        vendor: Sandbox | None = None,
        *people: str | Person,
        transport_: httpx.BaseTransport | None = None,
        **settings: Any,
    ) -> ToyVendor:
        """Configure a data source; the vendor's sandbox with these people in it."""
        self.classes[connector.slug] = connector
        vendor = vendor or ToyVendor(prefix=f"{name}-")
        vendor.seed([Person(person) if isinstance(person, str) else person for person in people])
        self.vendors[name] = vendor
        self.transports[name] = transport_ or transport(vendor)
        lines = [f"[sources.{name}]", f'connector = "{connector.slug}"', *(f"{key} = {_toml(value)}" for key, value in settings.items())]
        self.sources[name] = "\n".join(lines)
        assert isinstance(vendor, ToyVendor)
        return vendor

    def write(self) -> Path:
        """Write ``dsr.toml``."""
        path = self.directory / "dsr.toml"
        path.write_text("\n\n".join([self._base, self.mail, self.tables, *self.sources.values()]))
        return path

    def open(
        self,
        *,
        options: Options | None = FAST,
        on_step: Callable[[str], None] = lambda step: None,
        plugins: Sequence[object] = (),
        transports: Mapping[str, httpx.BaseTransport] | None = None,
    ) -> Host:
        """Open the host; closed when the test ends."""
        host = Host.open(self.write(), transports=self.transports | dict(transports or {}), options=options, on_step=on_step, plugins=plugins)
        self.stack.callback(_close, host)
        return host

    def erase(self, host: Host, *emails: str, wait: float = 0.0, **more: Any) -> list[str]:
        """Submit, plan, approve and run deletions for these people; the case numbers."""
        cases = host.submit_many([deletion(email, **more) for email in emails])
        host.approve_many(host.plan_many(cases))
        host.run_all(wait=wait)
        return cases


def ended(host: Host, case: str) -> None:
    """Reject a case and close it without a reply: what is closed may be shredded."""
    from dsr_sdk.host.cases.workflow import Reason

    host.workflow.reject(case, Reason.OTHER, by="alice@example.com")
    host.replies.edit(case, subject="", body="", mode="none", reason="asked to, by telephone", by="alice@example.com")
    host.replies.close(case, by="alice@example.com", revision=host.workflow.get(case).revision)


def _close(host: Host) -> None:
    try:
        host.close()
    except Exception:  # noqa: BLE001 - a test that damaged the ledger has made its point; its connections are let go of
        host.ledger.engine.dispose()


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value) if isinstance(value, int | float) else '"' + str(value) + '"'


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory where there is one: nothing here outlives a power cut, so waiting for a disk would only cost time."""
    shared = Path("/dev/shm")
    if not (shared.is_dir() and os.access(shared, os.W_OK)):
        yield tmp_path_factory.mktemp("memory")
        return
    with tempfile.TemporaryDirectory(prefix="dsr-tests-", dir=shared) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def world_template(memory: Path) -> Path:
    """A fresh host to copy: making one migrates a database, which takes half a second."""
    directory = memory / "template"
    initialise(directory, company="Example GmbH")
    with Host.open(directory / "dsr.toml"):
        pass  # closing the last connection empties the write-ahead log, so that the file alone is the ledger
    return directory


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for every host on PostgreSQL: emptying it takes a tenth of the time that making a new one does."""
    name = postgres_server.create_database()
    yield name
    postgres_server.drop_database(name)


def _emptied(server: PostgresServer, database: str) -> str:
    tables = sql.SQL(", ").join(sql.Identifier(table) for table in metadata.tables)
    server.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(tables), database)
    return server.url(database)


@pytest.fixture
def sqlite_world(memory: Path, monkeypatch: pytest.MonkeyPatch, world_template: Path) -> Iterator[World]:
    """A host on SQLite."""
    yield from _world(memory, monkeypatch, world_template, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, memory: Path, monkeypatch: pytest.MonkeyPatch, world_template: Path) -> Iterator[World]:
    """A host on each database in turn."""
    database = None
    if request.param == "postgresql":
        database = _emptied(request.getfixturevalue("postgres_server"), request.getfixturevalue("shared_database"))
    yield from _world(memory, monkeypatch, world_template, database)


def _world(memory: Path, monkeypatch: pytest.MonkeyPatch, template: Path, database: str | None) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="host", dir=memory) as directory:
        world = World(Path(directory), monkeypatch, template, database)
        with world.stack:
            yield world
