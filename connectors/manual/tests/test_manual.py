"""The data source done by hand: what it declares, what it is configured with, and that it never answers for the person."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from dsr_connector_manual import Manual

from dsr_sdk import ConfigError, Process, RequestType, Subject, UnsupportedError, Verb
from dsr_sdk.mail import Letterhead
from dsr_sdk.registry import Registry
from dsr_sdk.result import Match
from dsr_sdk.testing.suite import ConnectorSuite

ADA = Subject.of("ada@example.com")
PAPER = {"owner": "Reception, Berlin", "instructions": "Look in cabinet 3.\nShred the file."}


def opened(**settings: Any) -> Registry:
    """A host's registry with the data source in it."""
    registry = Registry(points=[EntryPoint("manual", "dsr_connector_manual:Manual", "dsr_sdk.connectors")])
    registry.open("paper", "manual", settings)
    return registry


class TestManualSuite(ConnectorSuite):
    """The tests every connector has to pass, as far as nothing is called: declaration and packaging."""

    connector = Manual


def test_declaration() -> None:
    """The contract allows a connector without a single verb when a person does the work; each excuse says so."""
    assert Manual.process is Process.MANUAL
    excuses = [Manual.supports(verb) for verb in Verb]
    assert all(excuse is not None and excuse.reason.startswith("done by hand: ") for excuse in excuses)


def test_settings() -> None:
    """Owner and instructions are what the checklist shows."""
    config = opened(**PAPER).sources["paper"].connector.config
    assert (config.owner, config.instructions) == (PAPER["owner"], PAPER["instructions"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("owner", None), ("owner", " "), ("owner", "A\nB"), ("instructions", None), ("instructions", " \n"), ("instructions", "x" * 5_001)],
)
def test_wrong_settings(field: str, value: str | None) -> None:
    """Without both, nobody would know what to do."""
    settings = {**PAPER, field: value} if value is not None else {key: text for key, text in PAPER.items() if key != field}
    with pytest.raises(ConfigError, match=f"sources.paper.{field}"):
        opened(**settings)


@pytest.mark.parametrize("hook", ["dsr_find", "dsr_delete", "dsr_export", "dsr_opt_out", "dsr_email"])
def test_answers_for_nobody(hook: str) -> None:
    """Whatever it is asked, it says that a person has to do it: an empty answer would read as *nothing held*."""
    head = Letterhead(company="Example GmbH", domain="requests.example.org", agent="agent@example.com")
    match = Match("file", "1")
    asked: dict[str, dict[str, Any]] = {
        "dsr_find": {"api": None, "subjects": [ADA]},
        "dsr_delete": {"api": None, "matches": [match]},
        "dsr_export": {"api": None, "match": match},
        "dsr_opt_out": {"api": None, "match": match},
        "dsr_email": {"subject": ADA, "type": RequestType.DELETION, "letterhead": head},
    }
    with pytest.raises(UnsupportedError, match="by hand"):
        opened(**PAPER).caller(hook, "paper")(source="paper", **asked[hook])
