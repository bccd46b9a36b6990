"""The team's reference material - vendors' API descriptions, published recordings - lies beside the repository and is not part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["beside", "shared"]


def beside(*parts: str) -> Path | None:
    """A file of it for a suite's attribute; None when it is not here, and the checks that need it are skipped."""
    path = Path(__file__).resolve().parent.parent.parent.joinpath("shared", *parts)
    return path if path.exists() else None


def shared(*parts: str) -> Path:
    """A file or folder of it. A test that needs what is not there is skipped, and says so."""
    path = Path(__file__).resolve().parent.parent.parent.joinpath("shared", *parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not here: it lies beside the repository, in ../shared")
    return path
