"""``dsr case``: a request from the day it comes in to the day it is closed. One module a stage; every command is a method of the host."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from dsr_sdk.cli.case import copies, files, looking, process, reply, review, taking

__all__ = ["SECTIONS", "register"]

SECTIONS: dict[str, tuple[str, ...]] = {
    "Take in and look": ("new", "import", "list", "find", "show", "history", "record"),
    "Review": ("verify", "ask-to-verify", "accept", "reject", "withdraw", "merge", "assign", "extend", "pause", "resume"),
    "Process": (
        *("sources", "search", "identifier", "add-source", "free", "tick", "untick", "mark", "retry", "override", "go-on", "finish"),
        *("copy-preview", "copy-redact", "copy-restore", "copy-generate", "copy-download", "copy-offer"),
    ),
    "Reply": ("reply", "close", "settle"),
    "Beside it": ("message", "conversation", "note", "files", "file-add", "file-get", "file-remove", "shred"),
}
"""The commands in the order of work, as the help shows them."""


class _Sections(TyperGroup):
    """The help in sections: nobody reads a list of forty."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of work."""
        return [name for names in SECTIONS.values() for name in names]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A heading for each stage."""
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=90)) for name in names])


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, cls=_Sections)
    for module in (taking, looking, review, process, copies, reply, files):
        module.register(group)
    app.add_typer(group, name="case", help="Requests in the workflow: review, process, reply, close. The request behind a case; shredding it.")
