"""The contributor's path: what of the pull request's checklist can be checked, for each connector of this repository; and ``make check``."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from dsr_sdk import Connector, Process, Verb
from dsr_sdk.registry import Registry
from dsr_sdk.testing._standard import standard_checks
from dsr_sdk.testing.cassettes import SCENARIOS, lint
from dsr_sdk.testing.checks.packaging import SECTIONS
from dsr_sdk.testing.suite import ConnectorSuite

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("connectors/*/pyproject.toml"))
CHECKLIST = (ROOT / ".github" / "pull_request_template.md").read_text(encoding="utf-8")


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """Each connector's folder."""
    found: Path = request.param
    return found


@pytest.fixture
def connector(folder: Path) -> type[Connector]:
    """Its connector, as a host loads it: the folder is called like the slug."""
    return Registry().load(folder.name)


def suites(folder: Path) -> list[ast.ClassDef]:
    """The suites among a connector's tests."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("tests/test_*.py"))]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return [one for one in classes if any(isinstance(base, ast.Name) and base.id == "ConnectorSuite" for base in one.bases)]


def given(suite: ast.ClassDef) -> set[str]:
    """The attributes a suite sets."""
    plain = {target.id for line in suite.body if isinstance(line, ast.Assign) for target in line.targets if isinstance(target, ast.Name)}
    return plain | {line.target.id for line in suite.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)}


# --- the checklist -----------------------------------------------------------------------------------------------------------------


def test_it_has_a_suite(folder: Path) -> None:
    """It has a suite. That pytest collects it is not switched off."""
    (suite,) = suites(folder)
    assert suite.name.startswith("Test")
    assert "connector" in given(suite)
    assert "__test__" not in given(suite)


def test_no_check_is_taken_away(folder: Path, connector: type[Connector]) -> None:
    """What a suite has of its own is called otherwise than the standard checks, or the connector is exempt from it."""
    (suite,) = suites(folder)
    own = {node.name for node in suite.body if isinstance(node, ast.FunctionDef)} | given(suite)
    assert not own & {f"test_{name}" for name in standard_checks(ConnectorSuite).keys() - connector.exempt.keys()}


def test_cassettes_are_recorded_and_named(folder: Path, connector: type[Connector]) -> None:
    """There is one for each verb of an automated connector, fit to be committed, and the suite replays them."""
    if connector.process is not Process.AUTOMATED:
        pytest.skip("nothing is called")
    (suite,) = suites(folder)
    assert "cassettes" in given(suite)
    for name, verb in SCENARIOS.items():
        if connector.supports(Verb(verb)) is None:
            assert lint(folder / "tests" / "cassettes" / f"{name}.yaml", connector) == []


def test_the_readme_has_its_sections(folder: Path, connector: type[Connector]) -> None:
    """Setup and evidence; limits and what is retained where something is called."""
    text = re.sub(r"```.*?```", "", (folder / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = [line.lower() for line in text.splitlines() if line.startswith("#")]
    wanted = SECTIONS if connector.process is Process.AUTOMATED else {name: SECTIONS[name] for name in ("setup", "evidence")}
    assert not [name for name, pattern in wanted.items() if not any(re.search(pattern, heading) for heading in headings)]


def test_it_is_entered_everywhere(folder: Path) -> None:
    """The changelog, the type checker and the catalogue know it."""
    assert re.search(rf"\b{folder.name}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.IGNORECASE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"connectors/{folder.name}" in project["tool"]["mypy"]["mypy_path"]
    assert f"connectors/{folder.name}/README.md" in (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")


def test_nothing_is_left_of_the_template(folder: Path) -> None:
    """Every REPLACE was replaced."""
    texts = [path for path in folder.rglob("*") if path.suffix in (".py", ".md", ".toml")]
    assert not [str(path.relative_to(ROOT)) for path in texts if "REPLACE:" in path.read_text(encoding="utf-8")]


def test_the_checklist_says_what_is_checked() -> None:
    """What the checklist marks as checked is checked: by the tests above, by the suite, or by continuous integration."""
    marked = re.findall(r"- \[ \] (.+) \(checked[^)]*\)", CHECKLIST)
    held = {
        "`make check` is green.": "ci",
        "It has a suite": "test_it_has_a_suite, test_no_check_is_taken_away",
        "Each check it is exempt from": "ConnectorSuite.test_exemptions",
        "Cassettes of each verb": "test_cassettes_are_recorded_and_named",
        "The README has sections": "test_the_readme_has_its_sections",
        "Each claimed layer": "ConnectorSuite.test_claims_are_held",
        "`CHANGELOG.md`, `mypy_path`": "test_it_is_entered_everywhere",
        "Nothing is left of the template": "test_nothing_is_left_of_the_template",
    }
    assert [next((start for start in held if line.startswith(start)), line) for line in marked] == list(held)
    for names in held.values():
        for name in names.split(", "):
            assert name == "ci" or name in globals() or hasattr(ConnectorSuite, name.partition(".")[2]), name


def test_continuous_integration_runs_everything() -> None:
    """``make check`` is a shortcut for people; continuous integration takes none."""
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make lint" in steps
    assert "make test" in steps
    assert "make check" not in steps


# --- make check --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chooser() -> ModuleType:
    """``tests/affected.py`` as a module."""
    spec = importlib.util.spec_from_file_location("tests_affected", ROOT / "tests" / "affected.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("file", "test"),
    [
        ("connectors/stripe/dsr_connector_stripe/__init__.py", "connectors/stripe/tests"),
        ("connectors/stripe/README.md", "connectors/stripe/tests"),
        ("dsr_sdk/testing/scrub.py", "tests/testing/test_scrub.py"),
        ("dsr_sdk/testing/_schema.py", "tests/testing/test_suite.py"),
        ("dsr_sdk/testing/checks/jobs.py", "tests/testing/test_mutations.py"),
        ("dsr_sdk/testing/checks/jobs.py", "tests/docs/test_catalogue.py"),
        ("tests/testing/wrong.py", "tests/testing/test_mutations.py"),
        ("docs/generate_checks.py", "tests/docs/test_catalogue.py"),
        ("dsr_sdk/ledger/schema.py", "tests/ledger"),
        ("dsr_sdk/connector.py", "tests/core/test_connector.py"),
        ("dsr_sdk/errors.py", "tests/core"),
        ("tests/cli/conftest.py", "tests/cli"),
        ("tests/cli/test_app.py", "tests/cli/test_app.py"),
        ("docs/engine.md", "tests/docs/test_links.py"),
        ("connector_template/copier.yml", "tests/testing/test_template.py"),
        ("Makefile", "tests/testing/test_contributing.py"),
    ],
)
def test_a_change_chooses_its_tests(chooser: ModuleType, file: str, test: str) -> None:
    """The test named after the module, else its floor; a connector's own; and what is chosen exists."""
    chosen = chooser.affected([file])
    assert test in chosen
    assert all((ROOT / one).exists() for one in chosen)


def test_nothing_is_run_twice(chooser: ModuleType) -> None:
    """A module in a folder that is run anyway is not named again."""
    assert chooser.affected(["dsr_sdk/ledger/schema.py", "tests/ledger/test_vault.py"]) == ["tests/ledger"]
    assert chooser.affected(["benchmarks/common.py"]) == []
