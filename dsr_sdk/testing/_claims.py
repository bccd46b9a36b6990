"""What a connector claims to have been checked against, and what holds the claims."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsr_sdk.testing._packaged import package_of, project_of

if TYPE_CHECKING:
    from dsr_sdk.connector import Connector

__all__ = ["SHIPPED", "Provenance", "cassettes_in", "layers_in", "layers_marked", "ship", "shipped", "summary", "written"]

SHIPPED = "evidence.json"
"""The file in a connector's package that says where its cassettes come from: they themselves stay with the tests and are not installed."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a cassette comes from, as it says itself."""

    name: str
    recorded_from: str
    recorded_on: str
    api_version: str

    def __str__(self) -> str:
        where = {"sandbox": "sandbox", "live": "live account"}.get(self.recorded_from, self.recorded_from or "unknown")
        api = "unversioned API" if self.api_version == "unversioned" else f"API {self.api_version or 'unknown'}"
        return f"{where}, {self.recorded_on or 'undated'}, {api}"


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
        yield Provenance(path.stem, *said)


# --- what is installed with the connector --------------------------------------------------------------------------------------------


def summary(tapes: Iterable[Provenance]) -> str:
    """Where cassettes come from, in a line; the same said once."""
    return "; ".join(dict.fromkeys(str(tape) for tape in tapes))


def written(tapes: Iterable[Provenance]) -> str:
    """The text of `SHIPPED`."""
    rows = [{name: getattr(tape, name) for name in Provenance.__slots__} for tape in tapes]
    return json.dumps({"cassettes": rows}, ensure_ascii=False, indent=2) + "\n"


def ship(connector: type[Connector], directory: Path) -> Path | None:
    """Write `SHIPPED` into the connector's package, if the directory is the one of its own project's cassettes; the file."""
    project, package = project_of(connector), package_of(connector)
    if project is None or package is None or directory.resolve() != project.parent / "tests" / "cassettes":
        return None
    path = package / SHIPPED
    path.write_text(written(cassettes_in(directory)), encoding="utf-8")
    return path


def shipped(connector: type[Connector]) -> tuple[Provenance, ...] | None:
    """What the installed connector says of its cassettes; None where it says nothing, or nothing that can be read."""
    package = package_of(connector)
    try:
        rows = json.loads((package / SHIPPED).read_text(encoding="utf-8"))["cassettes"] if package else None
        return None if rows is None else tuple(Provenance(*(str(row[name]) for name in Provenance.__slots__)) for row in rows)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # another's file: whatever is wrong with it, it tells nothing
        return None


# --- what tests hold -----------------------------------------------------------------------------------------------------------------


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
