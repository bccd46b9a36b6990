"""Which tests are thorough: they say the same again on a second database, or in a browser, and take longer than all the others together.

``make test`` runs the others, in a few minutes; ``make test-thorough`` runs these; continuous integration runs both, and so does plain
``pytest``. What depends on locking, on SQL or on a crash is run on both databases by ``make test``, too.
"""

from __future__ import annotations

import pytest

BROWSER = frozenset({"browse", "chromium", "walk", "scene"})
"""Fixtures that start a browser."""

BOTH = ("test_processing", "test_workflow", "test_outbox")
"""Modules of ``tests/host`` whose tests run on PostgreSQL in the quick half as well: races, locks, kills."""

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
        folder, module = item.path.parent.name, item.path.stem
        second = folder in ("host", "copy") and "postgresql" in item.name and module not in BOTH
        pages = folder == "portal" and module in PAGES
        if second or pages or module == "test_distributed" or BROWSER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.thorough)
