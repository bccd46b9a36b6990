"""A connector as others meet it: installed, listed by its metadata, imported in a fresh process."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any

from dsr_sdk.connector import Connector
from dsr_sdk.registry import CONNECTORS

__all__ = ["HEAVY", "SANDBOXES", "Probe", "entry_point_of", "in_a_test", "package_of", "probe", "project_of", "readme_of"]

SANDBOXES = "dsr_sdk.sandboxes"
"""Entry point group of sandboxes."""

HEAVY = ("sqlalchemy", "alembic", "jinja2", "typer", "fastapi", "vcr", "pytest", "yaml", "dsr_sdk.testing", "dsr_sdk.ledger", "dsr_sdk.host")
"""What importing a connector must not load: a host loads sixty of them. (httpx by itself loads rich where that is installed.)"""

_SCRIPT = """
import json, sys
slug, module, heavy, sys.path[:] = json.loads(sys.argv[1])
from dsr_sdk.registry import Registry
listed = Registry().available().get(slug)
told = {"listed": listed and [listed.distribution, listed.version, listed.summary], "imported_early": module in sys.modules}
before = set(sys.modules)
import socket
calls = []
real = socket.socket.connect
socket.socket.connect = lambda self, address: calls.append(str(address))
import importlib
importlib.import_module(module)
told["loaded"] = sorted(name for name in heavy if name in sys.modules and name not in before)
told["connected"] = calls
print(json.dumps(told))
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a fresh process saw: the connector listed, then imported."""

    listed: tuple[str, str, str] | None
    """Distribution, version, summary; None when the slug is not among the installed connectors."""
    imported_early: bool
    loaded: tuple[str, ...]
    connected: tuple[str, ...]


def in_a_test(connector: type) -> bool:
    """Whether a class is defined in a test: such a one is no distribution's."""
    parts = connector.__module__.split(".")
    return any(part.startswith("test_") or part in ("tests", "conftest", "__main__") for part in parts)


def project_of(connector: type) -> Path | None:
    """The ``pyproject.toml`` above a class, at most two directories up; None when it is in no project yet."""
    file = getattr(sys.modules.get(connector.__module__), "__file__", None)
    places = [place / "pyproject.toml" for place in list(Path(file).resolve().parents)[:3]] if file else []
    return next((place for place in places if place.is_file()), None)


def entry_point_of(connector: type[Connector], group: str = CONNECTORS) -> EntryPoint | None:
    """The installed entry point that leads to the class."""
    for point in entry_points(group=group):
        if point.module == connector.__module__ and point.attr == connector.__qualname__:
            return point
    return None


def package_of(connector: type[Connector]) -> Path | None:
    """The directory of the package the connector stands in; None for a single module."""
    module = sys.modules.get(connector.__module__.partition(".")[0])
    paths = list(getattr(module, "__path__", ()))
    return Path(paths[0]) if paths else None


@functools.cache
def probe(slug: str, module: str, path: tuple[str, ...] | None = None) -> Probe:
    """List and import a connector in a process of its own. Asked once."""
    told = json.dumps([slug, module, HEAVY, list(path or sys.path)])
    ran = subprocess.run(  # noqa: S603 - this interpreter, this module's own script
        [sys.executable, "-c", _SCRIPT, told], capture_output=True, text=True, timeout=60, check=False
    )
    if ran.returncode:
        raise AssertionError(f"importing {module} in a fresh process fails: {(ran.stderr.strip().splitlines() or ['?'])[-1]}")
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    listed = said["listed"]
    return Probe(tuple(listed) if listed else None, said["imported_early"], tuple(said["loaded"]), tuple(said["connected"]))


def readme_of(connector: type[Connector], distribution: Distribution) -> str:
    """The README: beside the sources when there are any (an editable install's metadata is a snapshot), else as it was packed."""
    project = project_of(connector)
    if project is not None:
        named = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
        if _plain(str(named.get("name", ""))) == _plain(distribution.name):
            readme = project.parent / str(named.get("readme") or "README.md")
            return readme.read_text(encoding="utf-8") if readme.is_file() else ""
    metadata = distribution.metadata
    return str(metadata.get("Description") or metadata.get_payload() or "")  # type: ignore[attr-defined]  # an email.message.Message


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
