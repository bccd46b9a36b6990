"""Before something that cannot be taken back: what it is was shown, and a person says yes, on the terminal or with ``--yes``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import typer

from dsr_sdk.cli import output

__all__ = ["free", "keep", "sure", "text_of"]


def sure(question: str, what: str, *, yes: bool, json: bool = False, source: str | None = None) -> None:
    """Go on when ``--yes`` was said, or the reader says so now.

    Args:
        question: Asked on a terminal.
        what: Why it is asked, for whoever is not there: ``the request cannot be rejected afterwards``.

    Raises:
        ApprovalError: Nobody is there to ask, or the answer is no. Nothing was done.
    """
    from dsr_sdk.errors import ApprovalError

    if yes:
        return
    if json or not output.interactive():
        raise ApprovalError(f"nothing was done: {what}, and nobody is here to confirm it", source=source, fix="look at it, then say --yes")
    if not output.confirmed(question):
        raise ApprovalError("nothing was done", source=source)


def text_of(given: str, option: str) -> str:
    """A text from the line; ``-`` reads it from standard input, so that it stays out of the shell's history."""
    if given != "-":
        return given
    try:
        return typer.get_text_stream("stdin").read().strip()
    except UnicodeDecodeError:
        raise typer.BadParameter("standard input is no text", param_hint=option) from None


def free(path: Path, *, overwrite: bool) -> None:
    """Make sure that no file of the reader's is replaced unasked. Raises `ConfigError` when there is one of this name."""
    from dsr_sdk.errors import ConfigError

    if path.exists() and not overwrite:
        raise ConfigError("there is a file of this name already", source=str(path), fix="choose another name, or say --overwrite")


def keep(path: Path, blocks: Iterable[bytes], *, overwrite: bool) -> int:
    """Write personal data to a file that only its owner can read; how many bytes. What was begun and not finished is taken away.

    Raises:
        ConfigError: There is a file of this name already, or it cannot be written.
    """
    from dsr_sdk.errors import ConfigError

    free(path, overwrite=overwrite)
    part = path.with_name(f".{path.name}.part")
    size = 0
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for block in blocks:
                file.write(block)
                size += len(block)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot be written: {(error.strerror or type(error).__name__).lower()}", source=str(path)) from None
    finally:
        part.unlink(missing_ok=True)
    return size
