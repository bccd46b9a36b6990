"""The tests every connector has to pass, for HubSpot: a person who has something in every corner of it."""

from __future__ import annotations

from pathlib import Path

from dsr_connector_hubspot import HubSpot
from dsr_connector_hubspot.sandbox import HubSpotSandbox

from dsr_sdk.testing import Exemption, Person
from dsr_sdk.testing.suite import ConnectorSuite
from tests.reference import beside


class TestHubSpot(ConnectorSuite):
    """The standard tests."""

    connector = HubSpot
    sandbox = HubSpotSandbox
    cassettes = Path(__file__).parent / "cassettes"
    description = beside("specs", "hubspot.yaml")
    exemptions = (
        Exemption(
            operation="GET /crm/v3/properties/*",
            problem="is for a path that is not described",
            reason="the properties API has a description of its own, which our trimmed copy leaves out",
        ),
    )
    person = Person(
        "ada@example.com",
        "Ada",
        "Lovelace",
        "+14155550123",
        "user-1",
        {"hubspot": {"deals": 1, "tickets": 1, "emails": 1, "calls": 1, "notes": 1}},
    )
