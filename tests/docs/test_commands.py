"""The commands on the pages exist, with the options that are shown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tests.docs.pages import DOCS, ROOT, blocks, pages, text_of


def _typed() -> Iterator[tuple[str, str]]:
    """(page, line) for each ``dsr ...`` in a shell block or in code within a sentence."""
    for page in pages():
        name = str(page.relative_to(ROOT))
        if page.is_relative_to(DOCS / "testing") or page.name in ("cli.md", "configuration.md", "CHANGELOG.md"):
            continue
        lines = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
        lines += re.findall(r"`(dsr [^`\n]+)`", text_of(page))
        yield from ((name, line) for line in lines if line.startswith("dsr "))


@pytest.mark.parametrize(("page", "line"), sorted(set(_typed())), ids=lambda text: str(text))
def test_command(page: str, line: str) -> None:
    """A command that a page shows is one of ``dsr``, and so is each of its options."""
    app = pytest.importorskip("dsr_sdk.cli.app", reason="the command line is not there").app
    command: Any = typer.main.get_command(app)
    known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    for word in shlex.split(line, comments=True)[1:]:
        inner = getattr(command, "commands", None)
        if word.startswith("--"):
            assert word in known, f"{page}: {line}: there is no {word}"
        elif inner:
            assert word in inner, f"{page}: {line}: there is no command {word}"
            command = inner[word]
            known |= {option for parameter in command.params for option in parameter.opts}


def test_measurements() -> None:
    """Each section of docs/performance.md names a measurement that is there, and each measurement has its section."""
    named = set(re.findall(r"python -m benchmarks\.(\w+)", text_of(DOCS / "performance.md")))
    helpers = {"__init__", "__main__", "common", "target", "vendors"}
    assert named == {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - helpers
