"""What each connector claims to have been checked against is held by a test that is marked with it."""

from __future__ import annotations

import ast
import shutil
import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dsr_sdk import Connector, Evidence, Process
from dsr_sdk.registry import Registry
from dsr_sdk.testing import _claims
from dsr_sdk.testing._claims import SHIPPED, Provenance, cassettes_in, ship, shipped, summary
from dsr_sdk.testing._packaged import package_of
from dsr_sdk.testing.cassettes import SCENARIOS, record
from dsr_sdk.testing.checks import evidence
from dsr_sdk.testing.suite import ConnectorSuite
from tests.testing.running import caught
from tests.testing.toys import Toy, ToySandbox

ROOT = Path(__file__).resolve().parents[2]
CONNECTORS = sorted(path.parent.name for path in ROOT.glob("connectors/*/pyproject.toml"))


@pytest.fixture(params=CONNECTORS)
def connector(request: pytest.FixtureRequest) -> type[Connector]:
    """Each connector of this repository, as a host would load it."""
    return Registry().load(request.param)


def layers_held(slug: str) -> set[str]:
    """The evidence layers that tests of a connector are marked with; the conformance suite's cassette check counts as *sandbox*."""
    held: set[str] = set()
    for path in ROOT.glob(f"connectors/{slug}/tests/test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                names = {target.id for line in node.body if isinstance(line, ast.Assign) for target in line.targets if isinstance(target, ast.Name)}
                if "ConnectorSuite" in bases and "cassettes" in names:
                    held.add("sandbox")
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "evidence":
                        held.update(
                            argument.value for argument in mark.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                        )
    return held


def test_every_claimed_layer_is_held(connector: type[Connector]) -> None:
    """A layer without a test is a boast."""
    assert {layer.value for layer in connector.evidence} <= layers_held(connector.slug)


def test_every_held_layer_is_claimed(connector: type[Connector]) -> None:
    """And a test without a claim is hidden from those who choose a connector by it."""
    assert layers_held(connector.slug) <= {layer.value for layer in connector.evidence}


def test_nothing_claims_live(connector: type[Connector]) -> None:
    """No machine of this project has reached a vendor yet. Whoever records against one removes this test for that connector."""
    assert Evidence.LIVE not in connector.evidence


def test_automated_connectors_have_cassettes_that_say_where_from(connector: type[Connector]) -> None:
    """Both scenarios are recorded, and each cassette says that it was recorded from the sandbox."""
    if connector.process is not Process.AUTOMATED:
        assert connector.evidence == ()
        return
    for scenario in ("erase", "copy"):
        text = (ROOT / "connectors" / connector.slug / "tests" / "cassettes" / f"{scenario}.yaml").read_text(encoding="utf-8")
        assert "recorded_from: sandbox" in text


def test_readmes_state_the_evidence(connector: type[Connector]) -> None:
    """A README has a section or a line on evidence, and says which layers there are."""
    text = (ROOT / "connectors" / connector.slug / "README.md").read_text(encoding="utf-8").lower()
    assert "evidence" in text
    for layer in connector.evidence:
        assert {"spec": "description"}.get(layer.value, layer.value) in text or layer.value in text


# --- where the cassettes come from, told wherever the connector is -------------------------------------------------------------------


def tapes_of(connector: type[Connector]) -> tuple[Provenance, ...]:
    """What a connector's cassettes say themselves."""
    return tuple(cassettes_in(ROOT / "connectors" / connector.slug / "tests" / "cassettes"))


def test_each_cassette_says_where_it_comes_from(connector: type[Connector]) -> None:
    """Sandbox or live, a day, a version of the API (or that it has none), and one for each verb that can be recorded."""
    tapes = tapes_of(connector)
    if connector.process is not Process.AUTOMATED:
        assert not tapes
        return
    assert [tape.name for tape in tapes] == sorted(name for name, verb in SCENARIOS.items() if connector.supports(verb) is None)
    for tape in tapes:
        assert tape.recorded_from in ("sandbox", "live")
        assert date.fromisoformat(tape.recorded_on) >= date(2026, 1, 1)
        assert tape.api_version


def test_the_package_says_the_same(connector: type[Connector]) -> None:
    """What is installed, and so shown by ``dsr connectors``, is what the cassettes say. Mend: ``python docs/generate.py``."""
    assert (shipped(connector) or ()) == tapes_of(connector)


def test_the_readmes_say_the_same(connector: type[Connector]) -> None:
    """The connector's own README, in its section on evidence, and its row in the project's. Mend: ``python docs/generate.py``."""
    own = (ROOT / "connectors" / connector.slug / "README.md").read_text(encoding="utf-8").partition("\n## Evidence\n")[2]
    (row,) = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith(f"| [{connector.title}]")]
    tapes = tapes_of(connector)
    assert row.endswith(f" | {summary(tapes) or '-'} |")
    if tapes:
        line = own.partition("<!-- provenance: made by docs/generate.py -->\n")[2].partition("\n")[0]
        assert line.startswith(f"Checked against: **{', '.join(layer.value for layer in connector.evidence)}**. Cassettes: ")
        assert all(str(tape) in line and f"`{tape.name}`" in line for tape in tapes)


def test_the_file_is_in_the_wheel(connector: type[Connector]) -> None:
    """It lies in the package, all of which the distribution takes along."""
    package = package_of(connector)
    assert package is not None
    project = tomllib.loads((package.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [package.name]
    assert (package / SHIPPED).is_file() is (connector.process is Process.AUTOMATED)


def test_recording_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording into the project's own directory of cassettes refreshes the file; recording anywhere else leaves it alone."""
    tests, package = tmp_path / "tests" / "cassettes", tmp_path / "package"
    tests.mkdir(parents=True)
    package.mkdir()
    monkeypatch.setattr(_claims, "project_of", lambda connector: tmp_path / "pyproject.toml")
    monkeypatch.setattr(_claims, "package_of", lambda connector: package)
    record(Toy, ToySandbox, tmp_path / "elsewhere")
    assert not (package / SHIPPED).exists()
    record(Toy, ToySandbox, tests)
    told = shipped(Toy)
    assert told == tuple(cassettes_in(tests))
    assert [tape.name for tape in told or ()] == ["copy", "erase"]
    assert {tape.recorded_from for tape in told or ()} == {"sandbox"}
    shutil.rmtree(tests)
    assert ship(Toy, tests) == package / SHIPPED
    assert shipped(Toy) == ()


def test_a_boast_in_the_package_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's check of cassettes fails when the package says *live* of what was recorded from the sandbox."""
    record(Toy, ToySandbox, tmp_path)
    suite = type("Suite", (ConnectorSuite,), {"connector": Toy, "sandbox": ToySandbox, "cassettes": tmp_path})
    honest = tuple(cassettes_in(tmp_path))
    monkeypatch.setattr(evidence, "shipped", lambda connector: honest)
    assert not caught(suite, "cassettes")
    boast = tuple(replace(tape, recorded_from="live") for tape in honest)
    monkeypatch.setattr(evidence, "shipped", lambda connector: boast)
    (said,) = caught(suite, "cassettes")
    assert "evidence.json in the package says something else" in said
    assert str(boast[0]).startswith("live account, ")
