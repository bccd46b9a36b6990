"""Imports go down only, the package loads nothing that is not asked for, and every module is small, documented and clear about what it offers."""

from __future__ import annotations

import ast
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import dsr_sdk

PACKAGE = Path(dsr_sdk.__file__).parent

FLOORS = (
    ("errors",),
    ("_model",),
    ("_taxonomy",),
    ("identity",),
    ("request",),
    ("result",),
    ("hookspecs",),
    ("connector",),
    ("secret",),
    ("http",),
    ("mail",),
    ("registry",),
    ("ledger",),
    ("engine",),
    ("copy",),
    ("host",),
    ("interop",),
    ("testing",),
    ("portal",),
    ("cli",),
)
"""Lowest first; what stands on one floor may not import each other. Only the command line stands on ``testing``, to serve sandboxes and draft
connectors for authors, and on ``portal``, to serve that."""

HALVES = {"_declaration": "connector"}
"""Private halves of a module, split off for its length: they stand where it stands, and may see each other."""

LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}

LONGEST = 400
LONGER = {
    "copy/package": "one archive format, written and read back; a split would part the two sides of it",
    "engine/distributed": "one job, with the schema, the timers and the rescue that belong to it",
    "host/host": "the one face that a host application sees; every method is a few lines over a lower floor",
    "testing/_drafting": "one generator: a connector drafted from an API description",
}
"""Modules that may be longer, and why. No module may be longer than 500 lines."""


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or path.name != "__init__.py"}
MIGRATIONS = {name: path for name, path in MODULES.items() if name.startswith("ledger/migrations")}
PUBLIC = {name: path for name, path in MODULES.items() if name not in MIGRATIONS and not path.stem.startswith("_")} | {
    name: path for name, path in MODULES.items() if path.name == "__init__.py"
}


def _for_types(node: ast.If) -> bool:
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING")


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below one, without what only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _for_types(child):
            for other in child.orelse:
                yield other
                yield from _nodes(other)
            continue
        yield child
        yield from _nodes(child)


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything of ours that a module imports, inside functions too."""
    for node in _nodes(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "dsr_sdk")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full"
            if node.module == "dsr_sdk":
                yield from ((node.lineno, f"dsr_sdk.{alias.name}") for alias in node.names)
            elif node.module and node.module.startswith("dsr_sdk."):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _floor(dotted: str) -> str:
    """The floor that an imported name stands on; names of the package itself stand where they are defined."""
    name = dotted.split(".")[1]
    return HALVES.get(name) or dsr_sdk._HOME_OF.get(name, name)


def test_every_module_stands_on_a_floor() -> None:
    """A new module or package is given its place here first."""
    assert {name.split("/")[0] for name in MODULES} <= LEVEL.keys() | HALVES.keys()


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_only(name: str) -> None:
    """A module imports from its own floor or from one below it, and never from the package's lazy top."""
    own = HALVES.get(name.split("/")[0], name.split("/")[0])
    upwards = [
        f"{name}.py:{line} imports {dotted}"
        for line, dotted in _imported(MODULES[name])
        if (floor := _floor(dotted)) != own and floor != "__version__" and LEVEL[floor] >= LEVEL[own]
    ]
    assert not upwards


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(("testing", "cli"))])
def test_nobody_stands_on_testing(name: str) -> None:
    """What an author runs tests with is no part of what runs in production."""
    assert not [dotted for _, dotted in _imported(MODULES[name]) if dotted.startswith("dsr_sdk.testing")]


def test_only_one_floor_knows_httpx() -> None:
    """httpx is imported by ``http`` and, for fakes of vendors, by ``testing``: everyone else sees `dsr_sdk.http`."""
    knowing = set()
    for name, path in MODULES.items():
        for node in _nodes(_tree(path)):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if any(imported.split(".")[0] in ("httpx", "httpcore") for imported in names):
                knowing.add(name.split("/")[0])
    assert knowing <= {"http", "testing"}


def test_the_lazy_top_names_what_there_is() -> None:
    """Names, their homes and the list for type checkers say the same."""
    assert set(dsr_sdk.__all__) == {*dsr_sdk._HOME_OF, "__version__"}
    declared = {
        alias.name
        for node in _tree(PACKAGE / "__init__.py").body
        if isinstance(node, ast.If) and _for_types(node)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert declared == set(dsr_sdk._HOME_OF)


# --- what is loaded -----------------------------------------------------------------------------------------------------------------


def _loaded(program: str) -> set[str]:
    """The modules that a program has loaded in a fresh interpreter: top-level names, and ours in full."""
    text = f"{program}\nimport json, sys\nsys.__stdout__.write('\\n' + json.dumps(sorted(sys.modules)))\n"
    answer = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    modules = json.loads(answer.stdout.splitlines()[-1])
    return {*modules, *(module.split(".")[0] for module in modules)}


HELP = """
import sys
sys.argv = ["dsr", "--help"]
from dsr_sdk.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        ("import dsr_sdk", ("httpx", "jinja2", "sqlalchemy", "cryptography", "pydantic", "pluggy", "dsr_sdk.connector", "dsr_sdk.errors")),
        ("from dsr_sdk import Connector", ("httpx", "jinja2", "sqlalchemy", "cryptography", "rich", "typer", "dsr_sdk.http", "dsr_sdk.mail")),
        ("from dsr_sdk import *", ("httpx", "jinja2", "sqlalchemy", "cryptography", "dsr_sdk.http")),
        ("import dsr_sdk.http", ("jinja2", "sqlalchemy", "cryptography", "typer", "dsr_sdk.mail")),
        ("import dsr_sdk.registry", ("httpx", "jinja2", "sqlalchemy", "cryptography", "dsr_sdk.http")),
        ("import dsr_sdk.testing", ("sqlalchemy", "cryptography", "typer")),
        (
            HELP,
            ("pydantic", "httpx", "sqlalchemy", "rich", "jinja2", "cryptography", "alembic"),
        ),
    ],
    ids=lambda value: ("dsr --help" if value == HELP else value) if isinstance(value, str) else "",
)
def test_import_budget(program: str, unwanted: tuple[str, ...]) -> None:
    """What is not needed yet is not loaded yet: a command answers at once, and a host pays for what it uses."""
    loaded = _loaded(program)
    assert "dsr_sdk" in loaded
    assert not loaded & set(unwanted)
    assert not [module for module in loaded if module.startswith("dsr_connector_")]


# --- what a module looks like --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_module_says_what_it_is(name: str) -> None:
    """Every module begins with a docstring."""
    assert (ast.get_docstring(_tree(MODULES[name])) or "").strip()


@pytest.mark.parametrize("name", MODULES)
def test_module_is_small(name: str) -> None:
    """A module is about one noun, and a reader sees the end of it."""
    lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= (500 if name in LONGER else LONGEST)


def test_longer_modules_are_still_long() -> None:
    """An exception that is no longer needed is taken off the list."""
    assert {name for name in LONGER if len(MODULES[name].read_text(encoding="utf-8").splitlines()) > LONGEST} == set(LONGER)


def _offered(path: Path) -> list[str] | None:
    for node in _tree(path).body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            offered: list[str] = ast.literal_eval(node.value)
            return offered
    return None


@pytest.mark.parametrize("name", PUBLIC)
def test_public_module_says_what_it_offers(name: str) -> None:
    """Every module without an underscore has an ``__all__`` of names that exist, sorted with or without regard to case, nothing twice."""
    offered = _offered(PUBLIC[name])
    if offered is None:
        # A package that is only a place for its modules offers nothing itself.
        assert PUBLIC[name].name == "__init__.py"
        assert len(_tree(PUBLIC[name]).body) == 1
        return
    assert len(offered) == len(set(offered))
    groups = itertools.groupby(offered, key=lambda word: (not word.isupper(), not word[:1].isupper()))  # constants, classes, functions
    runs = [list(group) for _, group in groups]
    assert offered in (sorted(offered), sorted(offered, key=str.lower)) or (len(runs) <= 3 and all(run == sorted(run) for run in runs))
    defined = {
        target.id
        for node in ast.walk(_tree(PUBLIC[name]))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else [])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(_tree(PUBLIC[name])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
    lazy = {
        constant.value
        for node in ast.walk(_tree(PUBLIC[name]))
        if isinstance(node, ast.Dict)
        for constant in node.keys
        if isinstance(constant, ast.Constant)
    }
    assert set(offered) <= defined | lazy
