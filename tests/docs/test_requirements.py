"""The table of requirements: every row of the product documents has its place in the code and a test that shows it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.reference import shared

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "requirements.md"
ROW = re.compile(r"^\| (?P<id>[A-Z]\d+) \| (?P<what>[^|]+) \| (?P<where>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)
WANTED = {
    *(f"R{n}" for n in range(1, 11)),
    *(f"W{n}" for n in range(1, 13)),
    *(f"V{n}" for n in range(1, 9)),
    *(f"I{n}" for n in range(1, 10)),
    *(f"P{n}" for n in range(1, 11)),
    *(f"E{n}" for n in range(1, 13)),
    *(f"Y{n}" for n in range(1, 6)),
}


@cache
def rows() -> dict[str, tuple[str, str]]:
    """The table: id -> (where, tests)."""
    return {row["id"]: (row["where"], row["tests"]) for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))}


@cache
def named_in(path: str) -> frozenset[str]:
    """Names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def test_every_requirement_has_its_row() -> None:
    """Nothing of the product documents is left out, and no row is made up."""
    assert set(rows()) == WANTED


def test_the_reference_asks_for_nothing_else() -> None:
    """The ids are those of the reference, where it is at hand."""
    text = (shared("reference") / "requests-and-protocols.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^\| ([RWVIPEY]\d+) \|", text, re.MULTILINE))
    assert known - {"R11"} == WANTED  # R11 is of the platform's own deletion requests


@pytest.mark.parametrize("row", sorted(WANTED))
def test_a_row_names_code_and_tests_that_exist(row: str) -> None:
    """The modules are there, and so is each test."""
    where, shown = rows()[row]
    modules = re.findall(r"`([^`]+)`", where)
    assert modules
    for module in modules:
        assert (ROOT / "dsr_sdk" / module).exists(), module
    named = re.findall(r"`([^`]+\.py)::([^`]+)`", shown)
    assert named
    for path, name in named:
        assert (ROOT / "tests" / path).exists(), path
        assert name in named_in(f"tests/{path}"), f"{path}::{name}"
