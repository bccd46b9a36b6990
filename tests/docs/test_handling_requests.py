"""The page for privacy agents: its commands are typed as they stand there, and print what it says."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, Block, agrees, blocks
from tests.smtp import Inbox, inbox

__all__ = ["inbox"]

typer_testing = pytest.importorskip("typer.testing", reason="the command line is not there")

PAGE = DOCS / "handling-requests.md"


class Shell:
    """As much of a shell as the page needs, in this process: thirty starts of Python would take a minute."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.names: dict[str, str] = {}

    def type(self, line: str) -> str:
        """Carry a line out; what it prints."""
        line = re.sub(r'"\$(\w+)"', lambda match: self.names[match[1]], line)
        assigned = re.fullmatch(r"(\w+)=\$\((.+)\)", line)
        if assigned:
            self.names[assigned[1]] = self.type(assigned[2]).strip()
            return ""
        command, *words = shlex.split(line, comments=True)
        if command == "dsr":
            return self._dsr(words)
        if command == "cd":
            self.monkeypatch.chdir(words[0])
        elif command == "export":
            name, _, value = words[0].partition("=")
            self.monkeypatch.setenv(name, value)
        else:
            text, arrow, file = words
            assert (command, arrow) == ("echo", ">"), line
            Path(file).write_text(text + "\n")
        return ""

    def _dsr(self, words: list[str]) -> str:
        from dsr_sdk.cli.app import app

        ran = typer_testing.CliRunner().invoke(app, words, prog_name="dsr")
        assert ran.exit_code == 0, f"dsr {' '.join(words)}\n{ran.stdout}\n{ran.stderr}"
        printed: str = ran.stdout
        return printed


def _carry_out(shell: Shell, block: Block, port: int) -> str:
    if block.title:
        with Path(block.title).open("a") as file:
            file.write(block.text.replace("2525", str(port)))
    elif block.language == "sh" and block.mark != "not-run":
        return "".join(shell.type(line) for line in block.text.splitlines() if line.strip())
    return ""


def test_the_page_from_its_first_line_to_its_last(tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ends well, prints what stands below it, and the letters that the page speaks of have left."""
    monkeypatch.chdir(tmp_path)
    for name in ("DSR_CONFIG", "DSR_AGENT"):
        monkeypatch.delenv(name, raising=False)
    assert "DSR_AGENT" not in os.environ
    shell = Shell(monkeypatch)
    printed = ""
    for block in blocks(PAGE):
        if block.language == "text":
            assert agrees(block.text, printed), f"line {block.line}: printed\n{printed}"
        else:
            printed = _carry_out(shell, block, inbox.port)
    assert len(inbox.letters) == 3  # to the vendor, and one reply to each person
    assert "/p/copy/" in inbox.texts[-1]
