"""The pytest plugin that comes with the SDK: it registers the marks that connectors' tests carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Known to pytest, so that ``--strict-markers`` holds."""
    config.addinivalue_line("markers", "evidence(layer): holds a connector's claim of an evidence layer (sandbox, spec, recordings, live)")
