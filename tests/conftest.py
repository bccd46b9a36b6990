"""Which tests are thorough: they say the same again on a second database, in a browser, or of a whole example, and take longer than all others.

``make test`` runs the others, in a few minutes; ``make test-thorough`` runs these; continuous integration runs both, and so does plain
``pytest``. What depends on locking, on SQL or on a race is run on both databases by ``make test``, too. A single test is marked where it
stands; here is what whole folders have in common.
"""

from __future__ import annotations

import pytest

BROWSER = frozenset({"browse", "chromium", "walk", "scene"})
"""Fixtures that start a browser."""

BOTH = ("test_workflow", "test_outbox")
"""Modules of ``tests/host`` whose tests run on PostgreSQL in the quick half as well."""

RACES = ("two_", "at_once", "against", "another_process", "under_way", "killed")
"""Words in the names of further tests that do: races and crashes, where one database is not like the other."""

PAGES = frozenset(
    {
        "test_accounts",
        "test_api",
        "test_fuzz",
        "test_outbox_page",
        "test_pages",
        "test_reply_page",
        "test_requests_page",
        "test_single_sign_on",
        "test_sources_pages",
        "test_templates_pages",
    }
)
"""Modules of ``tests/portal`` left to the thorough half: pages whose rules the host's own tests hold already."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is thorough."""
    for item in items:
        browser = bool(BROWSER & set(getattr(item, "fixturenames", ())))
        if browser or _again(item) or item.path.stem == "test_distributed":
            item.add_marker(pytest.mark.thorough)
        if browser and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))  # a browser that shares two slow cores with three others


def _again(item: pytest.Item) -> bool:
    """Whether it says on PostgreSQL, or on a page, what another test says already."""
    folder, module = item.path.parent.name, item.path.stem
    if folder == "portal" and module in PAGES:
        return True
    if "postgresql" not in item.name or module in BOTH:
        return False
    return folder == "copy" or module == "test_kill" or (folder == "host" and not any(word in item.name for word in RACES))
