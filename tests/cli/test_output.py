"""What is written where, and how long work is shown and stopped."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from dsr_sdk.cli import output, progress
from dsr_sdk.engine import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_vendors_words_do_not_steer_the_terminal() -> None:
    """Escape sequences, bidirectional marks and newlines are taken out."""
    assert output.clean("a\x1b[31mb\u202ec\nd") == "a[31mbc d"


def test_plain_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns that are empty throughout are left out; numbers stand to the right; nothing is cut off."""
    output.table(("name", "empty", "count", "text"), [("a", "", 5, "x" * 300), ("bbbbbb", "", 50, "")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME    COUNT  TEXT", f"a           5  {'x' * 300}", "bbbbbb     50"]


def test_table_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """The heads are there."""
    output.table(("name", "count"), [])
    assert capsys.readouterr().out == "NAME  COUNT\n"


def test_rich_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal Rich draws it; square brackets are text, not markup."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    output.table(("name", "count"), [("[red]x[/red]", 1)])
    assert "[red]x[/red]" in terminal.getvalue()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    """Bars where there is a terminal that can draw them."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with progress.shown("searching") as report:
        report(Progress("shop", 1, 2, 1))
        report(Progress("shop", 2, 2, 1))
    assert "searching shop" in terminal.getvalue()
    with progress.counted("packing") as counted:
        counted("shop", 500)
    assert "packing shop: 500" in terminal.getvalue()


class Stoppable:
    """A host that can be told to stop."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


def test_gently_returns_and_raises() -> None:
    """The work's result and its error come through, a TimeoutError of its own included."""
    host: Any = Stoppable()
    assert progress.gently(host, lambda: 5) == 5

    def broken() -> None:
        raise TimeoutError("the work's own")

    with pytest.raises(TimeoutError, match="own"):
        progress.gently(host, broken)
    assert not host.stopped
