"""What the command line's tests share: a toy vendor installed beside the real ones, hosts, and ``dsr`` itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dsr_sdk.cli.app import app
from dsr_sdk.host import initialise
from dsr_sdk.testing import Person, SandboxServer, serve
from tests.smtp import Inbox, inbox

__all__ = ["PEOPLE", "PERSONAL", "Dsr", "Ran", "configure", "impatient", "inbox", "request", "requests_file"]

PEOPLE = (
    Person("ada@example.com", "Ada", "Lovelace", "+491713920012", "user-1", {"toyshop": {"contacts": 2, "invoices": 3}}),
    Person("bob@example.org", "Bob", "Builder", "+14155550123", "user-2"),
    Person("eve@example.net", "Eve", "Evens", "+14155550124", "user-3"),
)
PERSONAL = ("ada@", "bob@", "eve@", "Lovelace", "Builder", "491713920012", "user-1")


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document it is."""
        return json.loads(self.out)


@dataclass
class Dsr:
    """``dsr`` in a host's directory."""

    directory: Path
    toys: Path

    def __call__(self, *args: str, input: str | None = None, code: int | None = 0, secret: bool = True) -> Ran:
        """Run a command in this process.

        Args:
            code: The exit code it must have; None for any.
            secret: Nothing it says may be personal.
        """
        result = CliRunner().invoke(app, list(args), input=input, prog_name="dsr")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        ran = Ran(result.exit_code, result.stdout, result.stderr)
        assert code is None or ran.code == code, f"{ran.code}\n{ran.out}\n{ran.err}"
        if secret:
            assert not [word for word in PERSONAL if word in ran.out + ran.err]
        return ran

    def case(self, email: str = "ada@example.com", *args: str, type: str = "deletion") -> str:
        """Submit a request; its case number."""
        return self("submit", "--type", type, "--email", email, *args).out.strip()

    def process(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        environment = {**os.environ, "PYTHONPATH": str(self.toys), **options.pop("env", {})}
        code = "import sys; from dsr_sdk.cli import main; sys.argv[0] = 'dsr'; main()"
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([sys.executable, "-c", code, *args], cwd=self.directory, env=environment, text=True, **pipes)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for ``sys.path`` with two installed distributions: the toy shop, and one whose connector cannot be imported."""
    directory = tmp_path_factory.mktemp("toys")
    shutil.copy(Path(__file__).with_name("toyshop.py"), directory / "toyshop.py")
    (directory / "toybroken.py").write_text("raise RuntimeError('made to break')\n")
    groups = {
        "toyshop": "[dsr_sdk.connectors]\ntoyshop = toyshop:ToyShop\n[dsr_sdk.sandboxes]\ntoyshop = toyshop:ToyShopSandbox\n",
        "toybroken": "[dsr_sdk.connectors]\ntoybroken = toybroken:ToyBroken\n[dsr_sdk.sandboxes]\ntoybroken = toybroken:ToySandbox\n",
    }
    for name, points in groups.items():
        info = directory / f"{name}-1.2.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\nSummary: A toy.\n")
        (info / "entry_points.txt").write_text(points)
    return directory


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host to copy: making one takes half a second."""
    directory = tmp_path_factory.mktemp("template")
    initialise(directory, company="Example GmbH")
    (directory / "token").write_text("made-up-token\n")
    return directory


@pytest.fixture
def dsr(tmp_path: Path, template: Path, toys: Path, monkeypatch: pytest.MonkeyPatch) -> Dsr:
    """``dsr`` in a fresh host without data sources."""
    directory = tmp_path / "host"
    shutil.copytree(template, directory)
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(toys)
    for name in ("DSR_CONFIG", "DSR_AGENT"):
        monkeypatch.delenv(name, raising=False)
    return Dsr(directory, toys)


@pytest.fixture
def shop(dsr: Dsr) -> Iterator[SandboxServer]:
    """The toy shop, served with people in it, and configured as the data source ``shop``."""
    from toyshop import ToyShopSandbox  # type: ignore[import-not-found]  # installed by the fixture above

    with serve(ToyShopSandbox()) as server:
        server.sandbox.seed(PEOPLE)
        configure(dsr, server.url)
        yield server


@pytest.fixture
def desk(dsr: Dsr, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> Dsr:
    """``dsr`` in a host with a workflow, a mail server and a data source that people look through."""
    monkeypatch.setenv("DSR_AGENT", "alice@example.com")
    dsr("init", "--workflow")
    with (dsr.directory / "dsr.toml").open("a") as file:
        file.write(f"\n{inbox.toml}\n")
        file.write('\n[sources.archive]\nconnector = "manual"\ninstructions = "Look at shelf 4."\nowner = "Office"\n')
    return dsr


def configure(dsr: Dsr, url: str, *, name: str = "shop", extra: str = "") -> None:
    """Add a toy shop to ``dsr.toml``."""
    with (dsr.directory / "dsr.toml").open("a") as file:
        file.write(f'\n[sources.{name}]\nconnector = "toyshop"\nbase_url = "{url}/v1"\nallow_private_hosts = true\ntoken = "file:token"\n{extra}')


def impatient(dsr: Dsr) -> None:
    """Let passing failures be tried again soon."""
    with (dsr.directory / "dsr.toml").open("a") as file:
        file.write("\n[engine]\nbackoff_seconds = 0.5\n")


def requests_file(dsr: Dsr, *rows: dict[str, Any] | str, name: str = "requests.jsonl") -> str:
    """A JSON Lines file; a string stands as it is."""
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    (dsr.directory / name).write_text(text)
    return name


def request(email: str = "ada@example.com", **fields: Any) -> dict[str, Any]:
    """A request."""
    return {"type": "deletion", "subject": {"email": email}, **fields}
