"""The command line, ``dsr``: a thin face on `dsr_sdk.host.Host`. No rule lives here."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """The entry point of ``dsr``: runs the command line and leaves with its exit code (see ``docs/cli.md``)."""
    try:
        from dsr_sdk.cli.app import run
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in ("typer", "click"):
            raise
        sys.stderr.write("error: the command line is not installed\nfix: pip install 'dsr-sdk[host]'\n")
        sys.exit(3)
    run()
