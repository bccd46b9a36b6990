"""The code on the pages runs, and prints what the pages say."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsr_sdk import Connector, Subject
from dsr_sdk.host import initialise
from dsr_sdk.http import SourceHttp
from dsr_sdk.testing import Answer, Call, Person, Sandbox, route, serve, transport
from dsr_sdk.testing.suite import ConnectorSuite
from tests.docs.pages import DOCS, ROOT, Block, agrees, blocks


class AcmeSandbox(Sandbox):
    """The vendor of the README's example."""

    slug, title = "acme", "Acme"

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, str] = {}
        self.added = 0

    def add_person(self, person: Person) -> None:
        """A contact."""
        self.added += 1
        self.contacts[f"c_{self.added}"] = person.email

    def holds(self, email: str) -> bool:
        """Whether the address is still somebody's."""
        return email in self.contacts.values()

    def records(self, email: str) -> dict[str, int]:
        """Contacts are all there is."""
        return {"contact": sum(one == email for one in self.contacts.values())}

    @route("GET", "/v1/contacts")
    def search(self, call: Call) -> Answer:
        """Contacts by address, a page at a time."""
        ids = [id_ for id_, email in self.contacts.items() if email.lower() == call.params["email"].lower()]
        start = ids.index(call.params["starting_after"]) + 1 if "starting_after" in call.params else 0
        end = start + int(call.params["limit"])
        return Answer.json({"data": [{"id": id_} for id_ in ids[start:end]], "has_more": end < len(ids)})

    @route("GET", "/v1/contacts/{id}")
    def contact(self, call: Call) -> Answer:
        """One contact."""
        id_ = call.ids["id"]
        return Answer.json({"id": id_, "email": self.contacts[id_]}) if id_ in self.contacts else self.no_route(call)

    @route("DELETE", "/v1/contacts/{id}")
    def delete(self, call: Call) -> Answer:
        """Delete one."""
        if self.contacts.pop(call.ids["id"], None) is None:
            return self.no_route(call)
        self.effect(f"erase {call.ids['id']}")
        return Answer.empty()


TOOLS = {"python": (), "dsr": ("-c", "from dsr_sdk.cli import main; main()"), "ruff": ("-m", "ruff"), "mypy": ("-m", "mypy")}
"""What is typed in a console, and how this interpreter runs it: nothing has to be on the path."""


class Workshop:
    """A directory in which a page's blocks are carried out: titled ones become files, Python is run, consoles are typed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: dict[str, Any] = {"__name__": "page"}
        self.printed = ""

    def carry_out(self, block: Block) -> None:
        """Do what a reader would do with the block."""
        if block.title:
            self._write(block)
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, f"line {block.line}", "exec"), self.names)
            self.printed = out.getvalue()
        elif block.language == "text":
            assert agrees(block.text, self.printed), f"line {block.line}: printed\n{self.printed}"
        elif block.language == "console":
            self._type(block)

    def _write(self, block: Block) -> None:
        path = self.directory / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(("\n" if path.stat().st_size else "") + block.text)
        if block.title.endswith("pyproject.toml"):
            install(path, self.directory)
        importlib.invalidate_caches()

    def _type(self, block: Block) -> None:
        command, _, shown = block.text.removeprefix("$ ").partition("\n")
        tool, *arguments = shlex.split(command)
        assert tool in TOOLS, f"line {block.line}: only {', '.join(TOOLS)} are typed in a console that tests carry out"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        done = subprocess.run(
            [sys.executable, *TOOLS[tool], *arguments], cwd=self.directory, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert agrees(shown, done.stdout + done.stderr), f"line {block.line}: printed\n{done.stdout}{done.stderr}"
        assert done.returncode == 0 or "Error" in shown or "failed" in shown, f"line {block.line}: failed, and the page does not say so"


def install(pyproject: Path, directory: Path) -> None:
    """What ``pip install -e`` leaves behind, as far as it matters: the distribution's name and its entry points."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    info = directory / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    head = [("Metadata-Version", "2.3"), ("Name", project["name"]), ("Version", project["version"]), ("Summary", project["description"])]
    head += [("Requires-Python", project.get("requires-python", ">=3.11")), *(("Requires-Dist", need) for need in project.get("dependencies", ()))]
    (info / "METADATA").write_text("".join(f"{key}: {value}\n" for key, value in head), encoding="utf-8")
    lines = [line for group, points in project["entry-points"].items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """An empty directory that is also on the path; what was imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("LARDER_TOKEN", "PARLOUR_KEY", "STRIPE_API_KEY"):
        monkeypatch.setenv(name, "")  # so that what a page sets is taken back
    known = set(sys.modules)
    yield Workshop(tmp_path)
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


FRAGMENTS = ("cli.md", "configuration.md", "copy.md", "mail.md", "testing/")
"""Pages whose code is meant to be read, not run; the modules they are about have tests of their own."""

PAGES = [
    name
    for name in (str(path.relative_to(DOCS)) for path in sorted(DOCS.rglob("*.md")))
    if not name.startswith(FRAGMENTS) and any(block.language == "python" for block in blocks(DOCS / name))
]


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, workshop: Workshop) -> None:
    """A page's files, commands and code work in the order they are shown, and print what the page says.

    ``python`` is run, ``text`` is what it prints, ``console`` is typed, a title makes a file; ``py`` and ``sh`` are only read. The pages of the
    hooks share a file that stands on their index."""
    shared = [block for block in blocks(DOCS / "hooks" / "index.md") if block.title == "trying.py"] if page.startswith("hooks/dsr_") else []
    for block in [*shared, *blocks(DOCS / page)]:
        workshop.carry_out(block)


def test_pages_that_must_run() -> None:
    """The pages a newcomer follows are among those that are run."""
    followed = {"write-a-connector.md", "jobs-and-batches.md", "getting-started.md"}
    assert followed | {"embedding.md", "hooks/index.md", "hooks/dsr_delete.md", "http.md", "sandbox.md", "request.md"} <= set(PAGES)


def _readme(mark: str) -> str:
    return next(block.text for block in blocks(ROOT / "README.md") if block.mark == mark)


def _acme() -> type[Connector]:
    names: dict[str, Any] = {"__name__": "acme"}
    exec(compile(_readme("connector"), "README.md", "exec"), names)
    loaded: type[Connector] = names["Acme"]
    return loaded


def test_readme_connector() -> None:
    """The connector of the README finds, copies and erases, and is fifteen lines long under its imports."""
    sandbox = AcmeSandbox()
    sandbox.seed([Person("ada@example.com"), Person("bob@example.com")])
    connector = _acme()()
    api = SourceHttp(connector, transport=transport(sandbox)).api()
    (matches,) = connector.dsr_find(api, [Subject.of("ada@example.com")])
    assert [dict(record.data)["email"] for match in matches for record in connector.dsr_export(api, match)] == ["ada@example.com"]
    assert [outcome.kind for outcome in connector.dsr_delete(api, matches) if not isinstance(outcome, Exception)] == ["erased"]
    assert not sandbox.holds("ada@example.com")
    assert sandbox.holds("bob@example.com")
    code = [line for line in _readme("connector").splitlines() if line.strip() and not line.startswith("from ")]
    assert len(code) == 15


class TestReadmeConnector(ConnectorSuite):
    """The README's connector stands the standard suite, as every connector has to."""

    connector = _acme()
    sandbox = AcmeSandbox


def test_readme_host(workshop: Workshop) -> None:
    """The host of the README erases a person over a real socket, and is eight lines long."""
    (workshop.directory / "acme.py").write_text(_readme("connector"), encoding="utf-8")
    pyproject = workshop.directory / "pyproject.toml"
    pyproject.write_text(
        '[project]\nname = "acme"\nversion = "1"\ndescription = ""\n[project.entry-points."dsr_sdk.connectors"]\nacme = "acme:Acme"\n'
    )
    install(pyproject, workshop.directory)
    sandbox = AcmeSandbox()
    sandbox.seed([Person("ada@example.com")])
    path = initialise(workshop.directory, company="Example GmbH")
    with serve(sandbox) as server:
        with path.open("a") as file:
            file.write(f'\n[sources.acme]\nconnector = "acme"\nbase_url = "{server.url}"\nallow_private_hosts = true\n')
        exec(compile(_readme("host"), "README.md", "exec"), workshop.names)
    assert workshop.names["report"].sources[0].status.value == "verified"
    assert not sandbox.holds("ada@example.com")
    assert len([line for line in _readme("host").splitlines() if line.strip()]) == 7


def test_readme_commands() -> None:
    """The README's two commands, and every command a page tells to type, are there."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command} " in (ROOT / "README.md").read_text(encoding="utf-8")
        assert f"\n{command}:" in makefile


def test_a_wrong_page_is_noticed(workshop: Workshop) -> None:
    """The tests of pages themselves: output that differs fails, and ``...`` stands for anything."""
    workshop.carry_out(Block("python", "", "", "print('one\\ntwo')", 1))
    workshop.carry_out(Block("text", "", "", "one\n...", 2))
    with pytest.raises(AssertionError):
        workshop.carry_out(Block("text", "", "", "one\nthree", 3))
