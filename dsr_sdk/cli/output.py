"""Where words go: results to standard output, notes and questions to standard error. Rich is loaded on a terminal only."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

__all__ = ["as_json", "clean", "confirmed", "grouped", "interactive", "note", "say", "table", "when", "words"]

_GAP = 2
_GOOD, _WAITING, _BAD = "green", "yellow", "red"
_STYLES: Mapping[str, str] = {
    **dict.fromkeys(("deleted", "verified", "copied", "opted out", "done", "ok", "closed"), _GOOD),
    **dict.fromkeys(("waiting", "pending", "planned", "requested", "by hand", "by email", "approved", "retained", "left"), _WAITING),
    **dict.fromkeys(
        (
            "failed",
            "reappeared",
            "could not check",
            "missing identifier",
            "ambiguous identifier",
            "in doubt",
            "quarantined",
            "cannot be used",
        ),
        _BAD,
    ),
}


def clean(text: object) -> str:
    """Text without control characters: a vendor's words must not steer a terminal."""
    return "".join(" " if character in "\n\r\t" else character for character in str(text) if character in "\n\r\t" or _shown(character))


def _shown(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs")


def say(text: str = "") -> None:
    """A result, for standard output."""
    typer.echo(text)


def note(text: str) -> None:
    """Something beside the result, for standard error."""
    typer.echo(clean(text), err=True)


def as_json(data: Any) -> None:
    """The result as one JSON document."""
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2))


def words(value: str) -> str:
    """A status as people read it."""
    return value.replace("_", " ")


def grouped(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Names by what is the matter with them: ``missing identifier: hubspot, stripe``."""
    found: dict[str, list[str]] = {}
    for what, name in pairs:
        found.setdefault(what, []).append(name)
    return [f"{words(what)}: {', '.join(names)}" for what, names in found.items()]


def when(moment: datetime | None) -> str:
    """A moment, to the minute."""
    from datetime import UTC

    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") + " UTC" if moment else ""


def interactive() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirmed(question: str) -> bool:
    """Ask; the answer must be yes or no."""
    return typer.confirm(question, default=False, err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table. On a terminal Rich draws it and breaks long texts; elsewhere it is plain text in columns, one line a row."""
    cells = [[(cell if isinstance(cell, int) else clean(cell)) for cell in row] for row in rows]
    kept = [i for i, column in enumerate(columns) if not cells or i == 0 or any(row[i] != "" for row in cells)]
    heads = [columns[i] for i in kept]
    lines = [[row[i] for i in kept] for row in cells]
    widths = _narrowest(heads, lines)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and sum(widths) + _GAP * len(widths) <= shutil.get_terminal_size().columns:
        _rich(heads, lines, widths)
    else:
        _plain(heads, lines)


def _narrowest(columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> list[int]:
    """The width of each column below which words would be broken; the first is never broken at all."""
    widths = []
    for i, column in enumerate(columns):
        cells = (column, *(str(row[i]) for row in rows))
        widths.append(max((len(part) for cell in cells for part in ([cell] if i == 0 else cell.split())), default=0))
    return widths


def _plain(columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
    widths = [max(len(column), *(len(str(row[i])) for row in rows), 0) for i, column in enumerate(columns)]
    for row in ([column.upper() for column in columns], *rows):
        parts = [str(cell).rjust(width) if isinstance(cell, int) else cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        say("  ".join(parts).rstrip())


def _rich(columns: Sequence[str], rows: Sequence[Sequence[str | int]], widths: Sequence[int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[i], int) for row in rows)
        drawn.add_column(column, justify="right" if numbers else "left", no_wrap=i == 0, min_width=widths[i], overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell), style=_STYLES.get(str(cell), "")) for cell in row))
    Console().print(drawn)
