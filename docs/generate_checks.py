"""The pages of the suite's checks, from their own docstrings and from what they are known to catch: a part of ``generate.py``."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from dsr_sdk.testing._standard import standard_checks
from dsr_sdk.testing.suite import ConnectorSuite

ROOT = Path(__file__).resolve().parent.parent
MADE = "<!-- made by docs/generate.py from the checks' own docstrings: change those, not this page -->"

CATCHES = """
## What it catches

The suite is tested itself: what is made wrong on purpose, in one way, has to fail this check. What it is made from passes every check: `Toy`, `Full`
and `Slow` of `tests/testing/toys.py`, their sandboxes, cassettes and packages.
"""


@dataclass
class Area:
    """What a module of checks is about, and its checks by name."""

    title: str
    says: str
    checks: dict[str, Any] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """Its heading on the index."""
        return f"on-{self.title.lower().replace(' ', '-')}"


def areas() -> list[Area]:
    """All checks, in the order of the suite."""
    found: dict[str, Area] = {}
    for name, check in standard_checks(ConnectorSuite).items():
        title, _, says = inspect.cleandoc(importlib.import_module(check.__module__).__doc__ or "").partition(":")
        found.setdefault(check.__module__, Area(title, " ".join(says.split()))).checks[name] = check
    return list(found.values())


def pages() -> Mapping[str, str]:
    """Every page by its file's name: one a check, and the index."""
    known, caught = areas(), _caught()
    made = {f"{name}.md": _page(area, name, check, caught) for area in known for name, check in area.checks.items()}
    return {"index.md": _index(known), **made}


def navigation() -> str:
    """The checks in ``mkdocs.yml``."""
    lines = ["      - The checks:", "          - testing/checks/index.md"]
    for area in areas():
        lines.append(f"          - {area.title}:")
        lines += [f"              - {name}: testing/checks/{name}.md" for name in area.checks]
    return "\n".join(lines) + "\n"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


# --- the index -------------------------------------------------------------------------------------------------------------------------


def _index(known: list[Area]) -> str:
    every = [check for area in known for check in area.checks.values()]
    head = (
        f"# The checks\n\n{MADE}\n\n"
        f"[The suite](../suite.md) has {len(every)} checks; pytest runs them as {sum(map(_items, every))} tests, because some are tables: each row "
        "is one.\nA check that does not apply to a connector (it has no batches, it gives no description) is skipped and says why. A failing check "
        "names its\npage here. None may be removed; one that cannot hold for a vendor is [declared in the connector](../suite.md#what-cannot-hold).\n"
    )
    parts = [head]
    for area in known:
        rows = [(f"[{name}]({name}.md)", _meaning(check)[0], str(_items(check))) for name, check in area.checks.items()]
        says = f"{area.says[:1].upper()}{area.says[1:]}"
        parts.append(f"\n## On {area.title[:1].lower()}{area.title[1:]}\n\n{says}\n\n{table(('check', 'holds that', 'tests'), rows)}")
    return "".join(parts)


# --- a check -----------------------------------------------------------------------------------------------------------------------------


def _page(area: Area, name: str, check: Any, caught: Mapping[str, list[str]]) -> str:
    meaning, mend = _meaning(check)
    rows = _rows(check)
    facts = [
        ("about", f"[{area.title.lower()}](index.md#{area.anchor})"),
        ("its name in pytest", f"`test_{name}`"),
        ("written in", f"`{Path(inspect.getfile(inspect.unwrap(check))).relative_to(ROOT).as_posix()}`"),
        ("to be exempt from it", f'`exempt = {{"{name}": "why"}}`, where [it cannot hold](../suite.md#what-cannot-hold)'),
    ]
    parts = [f"# `{name}`\n\n{MADE}\n\n{meaning}\n\n## How to mend a failure\n\n{mend[:1].upper()}{mend[1:]}\n\n", table(("", ""), facts)]
    if len(rows) > 1:
        named = ", ".join(f"`{row}`" for row in rows)
        parts.append(f'\n## Its rows\n\n{len(rows)} tests, one for each row. A single one is named like `"{name}[{rows[0]}]"`.\n\n{named}\n')
    if name in caught:
        parts += [CATCHES, *caught[name]]
    return "".join(parts)


def _meaning(check: Any) -> tuple[str, str]:
    meaning, _, mend = (" ".join(part.split()).replace("``", "`") for part in (check.__doc__ or "").partition("Mend:"))
    return meaning, mend


def _rows(check: Any) -> list[str]:
    marks = [mark for mark in getattr(check, "pytestmark", []) if mark.name == "parametrize"]
    return [str(row) for row in marks[0].args[1]] if marks else []


def _items(check: Any) -> int:
    return len(_rows(check)) or 1


# --- what it catches ---------------------------------------------------------------------------------------------------------------------


def _caught() -> dict[str, list[str]]:
    """For each check the wrong connectors, sandboxes, files and packages that its own tests let it find."""
    tests = _mutations()
    right = {kind for kind, (_, sandbox) in tests.SUITES.items() for kind in (kind, sandbox)}
    found: dict[str, list[str]] = {}
    for mutation in tests.MUTATIONS:
        wrong = next(one for one in (mutation.sandbox, mutation.connector) if one is not None and one not in right)
        about = inspect.cleandoc(wrong.__doc__ or "")
        code = f"```py\n{_classes(wrong.__module__)[wrong.__name__]}```\n"
        found.setdefault(mutation.check, []).append(f"\n### {wrong.__name__}\n\n{about} It says: *{_plain(mutation.said)}*.\n\n{code}")
    for check, said in _in_files(tests):
        found.setdefault(check, []).append(f"- It has to say: *{_plain(said)}*.\n")
    return {check: ["\n", *rows] if rows[0].startswith("- ") else rows for check, rows in found.items()}


@functools.cache
def _classes(module: str) -> dict[str, str]:
    """The code of every class of a module; `inspect.getsource` would parse the whole module for each of a hundred."""
    lines = inspect.getsource(importlib.import_module(module)).splitlines(keepends=True)
    tree = ast.parse("".join(lines))
    starts = {one.name: min([one.lineno, *(mark.lineno for mark in one.decorator_list)]) for one in tree.body if isinstance(one, ast.ClassDef)}
    return {one.name: "".join(lines[starts[one.name] - 1 : one.end_lineno]) for one in tree.body if isinstance(one, ast.ClassDef)}


def _in_files(tests: ModuleType) -> Iterator[tuple[str, str]]:
    yield from ((check, said) for check, rows in tests.FILES.items() for _, said in rows)
    yield from ((check, said) for check, (_, said) in tests.PACKAGES.items())


def _mutations() -> ModuleType:
    """The suite's own tests, which stand in no package."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module("tests.testing.test_mutations")
    finally:
        sys.path.remove(str(ROOT))


def _plain(said: str) -> str:
    return said.replace("*", "\\*").replace("_", "\\_")
