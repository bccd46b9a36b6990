"""Real vendors' published traffic, replayed through every connector that has some: no wrong conclusion anywhere."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest

from dsr_sdk.registry import Registry
from dsr_sdk.testing import Person
from dsr_sdk.testing.recordings import replay_recordings
from tests.reference import shared

EXTRA: dict[str, dict[str, Any]] = {
    "hubspot": {"deals": 1, "tickets": 1, "emails": 1, "calls": 1, "notes": 1},
    "mailchimp": {"lists": ["a1b2c3d4e5", "f6a7b8c9d0"], "orders": 1, "carts": 1, "tags": 1, "notes": 1, "events": 1, "goals": 1, "activity": 1},
}
PERSON = Person("ada@example.com", "Ada", "Lovelace", "+14155550123", "user-1", EXTRA)


@pytest.mark.parametrize("slug", ["hubspot", "mailchimp", "stripe", "zendesk"])
def test_no_recorded_answer_is_misread(slug: str) -> None:
    """Each recorded interaction that the connector could have made leads it to the right conclusion."""
    directory = shared("recordings", slug)
    sandbox = next(point for point in entry_points(group="dsr_sdk.sandboxes") if point.name == slug).load()
    report = replay_recordings(Registry().load(slug), directory, sandbox=sandbox, person=PERSON)
    assert not report.failed, "\n".join(str(row) for row in report.failed)
    assert report.rows
