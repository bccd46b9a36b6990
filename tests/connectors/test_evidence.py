"""What each connector claims to have been checked against is held by a test that is marked with it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dsr_sdk import Connector, Evidence, Process
from dsr_sdk.registry import Registry

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
