"""Packaging: a stranger installs the distribution, and a host finds, lists and loads the connector by its metadata."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, EntryPoint, entry_points

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from dsr_sdk.connector import Process
from dsr_sdk.testing._bench import Bench, require
from dsr_sdk.testing._packaged import SANDBOXES, entry_point_of, in_a_test, package_of, probe, project_of, readme_of

__all__ = ["SECTIONS", "Packaging"]

SECTIONS = {
    "setup": r"set ?up|configur",
    "limits": r"limit",
    "retained": r"retain|kept|becomes of it|holds",
    "evidence": r"evidence",
}
"""The sections of a README by what must stand in their headings."""


class Packaging(Bench):
    """The part of `ConnectorSuite` about the distribution."""

    def test_entry_point(self) -> None:
        """The distribution's entry points lead to the connector, and to its sandbox, under the connector's slug: so a host finds them.

        Mend: in pyproject.toml ``[project.entry-points."dsr_sdk.connectors"]`` and ``"dsr_sdk.sandboxes"``; install again after a change."""
        point = self._point()
        require(point.name == self.connector.slug, f"the entry point is called {point.name}, the connector {self.connector.slug}")
        if self.sandbox is not None and not in_a_test(self.sandbox):
            named = {one.name: one for one in entry_points(group=SANDBOXES)}
            found = named.get(self.connector.slug)
            require(found is not None, f'no sandbox is installed: add {self.connector.slug} to [project.entry-points."{SANDBOXES}"]')
            right = found is not None and (found.module, found.attr) == (self.sandbox.__module__, self.sandbox.__qualname__)
            require(right, "the entry point of the sandbox leads to another class than the suite's")

    def test_distribution(self) -> None:
        """The distribution has a name and a version that pip orders, a summary, a Python it needs, and depends on dsr-sdk.

        Mend: ``name = "dsr-connector-..."``, ``version``, ``description``, ``requires-python`` and ``dependencies = ["dsr-sdk"]``."""
        distribution = self._distribution()
        try:
            Version(distribution.version)
            needs = [Requirement(line) for line in distribution.requires or ()]
        except (InvalidVersion, InvalidRequirement) as error:
            raise AssertionError(f"{distribution.name}: {error}") from None
        require(bool((distribution.metadata.get("Summary") or "").strip()), "the distribution has no description")  # type: ignore[attr-defined]  # a Message
        require(bool(distribution.metadata.get("Requires-Python")), "the distribution does not say which Python it needs")  # type: ignore[attr-defined]  # likewise
        named = {re.sub(r"[-_.]+", "-", need.name).lower() for need in needs}
        require("dsr-sdk" in named, "the distribution does not depend on dsr-sdk")

    def test_listed_without_import(self) -> None:
        """The connector is listed, with version and summary, before any of its code is imported: a broken one is in nobody's way.

        Mend: nothing in the package may be imported by an ``.pth`` file or another entry point; two distributions must not share a slug."""
        seen = probe(self.connector.slug, self._point().module)
        require(seen.listed is not None, f"{self.connector.slug} is not among the installed connectors: is the slug taken by two distributions?")
        require(seen.listed is not None and bool(seen.listed[1] and seen.listed[2]), "it is listed without a version or without a summary")
        require(not seen.imported_early, "listing the connectors imports this one")

    def test_import_budget(self) -> None:
        """Importing the connector loads nothing heavy and connects to nothing: a host has sixty of them.

        Mend: import test tools in tests only, the sandbox in its own module, and what is rarely needed inside the function that needs it."""
        seen = probe(self.connector.slug, self._point().module)
        require(not seen.loaded, f"importing the connector loads {', '.join(seen.loaded)}")
        require(not seen.connected, "importing the connector opens a connection")

    def test_typed(self) -> None:
        """The package says that it is typed, so that a host's type checker reads it.

        Mend: an empty file ``py.typed`` in the package, and the package in the wheel."""
        self._point()
        package = package_of(self.connector)
        require(package is not None, "the connector is a single module, which cannot carry py.typed: make it a package")
        require(package is not None and (package / "py.typed").is_file(), "the package has no py.typed")

    def test_readme(self) -> None:
        """The README has a section on setup, on limits, on what is held and retained, and on evidence, which names each layer that is claimed.

        Mend: headings that say so (``## Setup``, ``## Limits``, ``## What Acme holds, and what becomes of it``, ``## Evidence``)."""
        text = readme_of(self.connector, self._distribution())
        require(bool(text.strip()), "the distribution has no README")
        headings = [line.lstrip("# ").lower() for line in re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines() if line.startswith("#")]
        wanted = SECTIONS if self.connector.process is Process.AUTOMATED else {"setup": SECTIONS["setup"], "evidence": SECTIONS["evidence"]}
        missing = [name for name, pattern in wanted.items() if not any(re.search(pattern, heading) for heading in headings)]
        require(not missing, f"the README has no section on {', '.join(missing)}")
        evidence = re.split(r"(?m)^#+ .*evidence.*$", text, maxsplit=1, flags=re.IGNORECASE)[1].lower()
        unnamed = [layer.value for layer in self.connector.evidence if layer.value not in evidence]
        require(not unnamed, f"the README's section on evidence does not name {', '.join(unnamed)}")

    def _point(self) -> EntryPoint:
        if in_a_test(self.connector):
            pytest.skip("the connector is defined in a test: no distribution has it")
        point = entry_point_of(self.connector)
        if point is None and project_of(self.connector) is None:
            pytest.skip("the connector is in no distribution yet: there is no pyproject.toml beside it")
        if point is None:
            where = f'{self.connector.slug} = "{self.connector.__module__}:{self.connector.__qualname__}"'
            raise AssertionError(f'no installed distribution has the entry point {where} in [project.entry-points."dsr_sdk.connectors"]')
        return point

    def _distribution(self) -> Distribution:
        distribution = self._point().dist
        if distribution is None:
            raise AssertionError("the entry point belongs to no distribution")
        return distribution
