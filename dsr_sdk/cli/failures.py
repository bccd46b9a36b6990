"""What a command says when it fails, and its exit code. One line that names the place, one that says what to do; never a value."""

from __future__ import annotations

import traceback
from pathlib import Path

import typer

from dsr_sdk.cli import output
from dsr_sdk.errors import DsrError

__all__ = ["INTERRUPTED", "belongs_to_typer", "explain", "show", "worst"]

INTERRUPTED = 130
_TYPER = (typer.Exit, typer.Abort, EOFError, BrokenPipeError, next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"))


def belongs_to_typer(error: BaseException) -> bool:
    """Whether typer itself ends the command with it: an exit, a usage error, a reader that went away (``dsr status | head``)."""
    return isinstance(error, _TYPER)


def show(error: DsrError) -> None:
    """``error: source: field: message`` and ``fix: ...``."""
    where = ": ".join(part for part in (error.source, error.field) if part)
    output.note(f"error: {where}: {error.message}" if where else f"error: {error.message}")
    if error.fix:
        output.note(f"fix: {error.fix}")


def explain(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong; the exit code."""
    if debug and not isinstance(error, KeyboardInterrupt):
        typer.echo("".join(traceback.format_exception(error)), err=True)
    if isinstance(error, KeyboardInterrupt):
        output.note("stopped: nothing is lost; run the same command again to go on")
        return INTERRUPTED
    if isinstance(error, DsrError):
        show(error)
        return error.exit_code
    output.note(f"error: this is a bug in dsr-sdk: {type(error).__name__} at {_place(error)}")
    output.note("fix: report it with this line; --debug shows more, but may show personal data")
    return 1


def worst(errors: list[DsrError]) -> int:
    """The exit code of a command in which several things went wrong."""
    return max((error.exit_code for error in errors), default=0)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    parts = Path(ours[-1].filename).parts
    start = max((i for i, part in enumerate(parts) if part.startswith("dsr_")), default=len(parts) - 1)
    return f"{'/'.join(parts[start:])}:{ours[-1].lineno}"
