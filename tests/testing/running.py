"""Runs checks by hand, as pytest would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dsr_sdk.testing._standard import Standard, standard_checks

__all__ = ["Ran", "caught", "outcomes"]

Ran = dict[str, list[str]]
"""The items of each check: empty for passed, ``skipped``, ``xfailed``, or what it said."""


def outcomes(suite: type[Standard], *only: str) -> Ran:
    """Run checks (all, unless some are named) and tell how each item ended."""
    return {name: [_run(suite, check, row) for row in _rows(check)] for name, check in standard_checks(suite).items() if not only or name in only}


def caught(suite: type[Standard], name: str) -> list[str]:
    """What a check said about a suite it does not pass; empty when it passed."""
    return [said for said in outcomes(suite, name)[name] if said not in ("", "skipped", "xfailed")]


def _rows(check: Any) -> Iterator[tuple[Any, ...]]:
    marks = [mark for mark in getattr(check, "pytestmark", []) if mark.name == "parametrize"]
    yield from ((value,) for value in marks[0].args[1]) if marks else [()]


def _run(suite: type[Standard], check: Any, row: tuple[Any, ...]) -> str:
    try:
        check(suite(), *row)
    except pytest.skip.Exception:
        return "skipped"
    except pytest.xfail.Exception:
        return "xfailed"
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever it ends in is what is told
        return "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
    return ""
