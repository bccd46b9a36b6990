"""The tests every connector has to pass, for HubSpot: a person who has something in every corner of it."""

from __future__ import annotations

from pathlib import Path

from dsr_connector_hubspot import HubSpot
from dsr_connector_hubspot.sandbox import HubSpotSandbox

from dsr_sdk.testing import Person
from dsr_sdk.testing.suite import ConnectorSuite


class TestHubSpot(ConnectorSuite):
    """The standard tests."""

    connector = HubSpot
    sandbox = HubSpotSandbox
    cassettes = Path(__file__).parent / "cassettes"
    person = Person(
        "ada@example.com",
        "Ada",
        "Lovelace",
        "+14155550123",
        "user-1",
        {"hubspot": {"deals": 1, "tickets": 1, "emails": 1, "calls": 1, "notes": 1}},
    )
