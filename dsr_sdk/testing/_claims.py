"""What a connector claims to have been checked against, and what holds the claims."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Provenance", "cassettes_in", "layers_in", "layers_marked"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a cassette comes from, as it says itself."""

    path: Path
    recorded_from: str
    recorded_on: str
    api_version: str


def cassettes_in(directory: Path | None) -> Iterator[Provenance]:
    """The provenance of each cassette in a directory; one that says none is left to `lint`."""
    from dsr_sdk.errors import ConfigError
    from dsr_sdk.testing._tape import load

    for path in sorted(directory.glob("*.yaml")) if directory else ():
        try:
            metadata = load(path).get("metadata", {})
        except ConfigError:
            continue
        said = [str(metadata.get(key, "")) for key in ("recorded_from", "recorded_on", "api_version")]
        yield Provenance(path, *said)


def layers_marked(suite: type) -> set[str]:
    """The evidence layers with which tests beside a suite are marked."""
    try:
        here = Path(inspect.getfile(suite)).parent
    except (OSError, TypeError):
        return set()
    return layers_in(here)


def layers_in(directory: Path) -> set[str]:
    """The evidence layers that tests in a directory are marked with (``@pytest.mark.evidence("spec")``)."""
    held: set[str] = set()
    for path in sorted(directory.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                held.update(layer for mark in node.decorator_list for layer in _layers_of(mark))
    return held


def _layers_of(mark: ast.expr) -> Iterator[str]:
    if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "evidence":
        yield from (argument.value for argument in mark.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str))
