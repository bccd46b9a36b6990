"""What a newcomer installs: every pinned package works on the oldest Python that the project promises."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib

import pytest
from packaging.specifiers import SpecifierSet

from tests.docs.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_package_is_pinned_and_works_on_the_oldest_python() -> None:
    """Debian 12 has Python 3.11.2: a pinned package that asks for 3.11.5 keeps `make demo` from installing there, while all is well elsewhere."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    for name, version in PINS.items():
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # of another system
            continue
        assert installed.version == version, f"{name} is installed in {installed.version}: constraints.txt says {version}"
        asked = SpecifierSet(str(installed.metadata.json.get("requires_python", "")))
        assert asked.contains(oldest), f"{name} {version} needs Python {asked}: pin an older one in constraints.txt"


@pytest.mark.parametrize("name", ["pluggy", "pydantic", "httpx", "tenacity", "jinja2", "vcrpy", "pytest", "sqlalchemy", "fastapi"])
def test_what_everything_stands_on_is_pinned(name: str) -> None:
    """The file is not empty of what matters."""
    assert name in {pin.lower() for pin in PINS}
