"""Small charts, measured here and drawn by templates as SVG: no script, no inline style. Each has a table that says the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Column", "Row", "columns", "rows", "shares"]

WIDTH = 480
"""Units of a drawing; the page scales it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A horizontal bar: its label, its number, its width."""

    label: str
    count: int
    width: float


@dataclass(frozen=True, slots=True)
class Column:
    """A vertical bar; ``value`` None where there was nothing to measure."""

    label: str
    value: float | None
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns over an axis. ``lines`` are heights and labels of the lines behind them."""

    columns: tuple[Column, ...]
    lines: tuple[tuple[float, str], ...]
    width: int
    height: int
    base: int


def rows(values: Sequence[tuple[str, int]], *, room: int = 300) -> tuple[Row, ...]:
    """Horizontal bars, the longest `room` units wide."""
    longest = max((count for _, count in values), default=0) or 1
    return tuple(Row(label, count, round(max(3.0 if count else 0.0, count / longest * room), 1)) for label, count in values)


def columns(values: Sequence[tuple[str, float | None, int]], *, height: int = 150) -> Chart:
    """Vertical bars: label, value, how many it was measured from."""
    base, top, left = height - 22, 14, 26
    highest = _round_up(max((value or 0 for _, value, _ in values), default=0))
    step = (WIDTH - left) / max(len(values), 1)
    made = []
    for index, (label, value, count) in enumerate(values):
        tall = (value or 0) / highest * (base - top)
        tall = max(tall, 2.0) if value is not None and count else 0.0
        x, width = left + index * step + step * 0.18, step * 0.64
        made.append(Column(label, value, count, round(x, 1), round(base - tall, 1), round(width, 1), round(tall, 1)))
    lines = tuple((round(base - part * (base - top), 1), f"{highest * part:g}") for part in (0.5, 1.0))
    return Chart(tuple(made), lines, WIDTH, height, base)


def shares(counts: Sequence[int], *, room: int = 120) -> tuple[tuple[float, float], ...]:
    """Parts of one bar, side by side: where each begins and how wide it is."""
    whole = sum(counts) or 1
    made, at = [], 0.0
    for count in counts:
        width = round(count / whole * room, 1)
        made.append((round(at, 1), width))
        at += width
    return tuple(made)


def _round_up(value: float) -> float:
    """The next number that reads well on an axis."""
    if value <= 0:
        return 1.0
    size: float = 10 ** math.floor(math.log10(value))
    return next(step * size for step in (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0) if value <= step * size)
