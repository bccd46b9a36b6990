"""What every command knows: which configuration, and how to open its host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import output

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["By", "CaseNumber", "CaseNumbers", "Json", "Overwrite", "Session", "Yes", "agent", "case_number", "grouped", "opened"]


@dataclass(frozen=True, slots=True)
class Session:
    """The global options.

    Attributes:
        named: Whether ``--config`` stood on the line, so that commands shown to the reader need it, too.
    """

    config: Path = Path("dsr.toml")
    debug: bool = False
    named: bool = False

    def line(self, rest: str) -> str:
        """A command as the reader would type it next."""
        import shlex

        return f"dsr --config {shlex.quote(str(self.config))} {rest}" if self.named else f"dsr {rest}"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
By = Annotated[str, typer.Option(envvar="DSR_AGENT", show_default="your user name", help="Who decides; stands in the audit log.")]


def grouped(app: typer.Typer, name: str, help_: str, *commands: tuple[str, Callable[..., Any]]) -> None:
    """Add commands to the app as a group: ``dsr NAME COMMAND``."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for command, function in commands:
        group.command(command)(function)
    app.add_typer(group, name=name, help=help_)


def case_number(text: str) -> str:
    """A case number in its own spelling.

    Raises:
        RequestError: It is none.
    """
    from dsr_sdk.errors import RequestError
    from dsr_sdk.request import CASE_NUMBER

    number = text.strip().upper()
    if not CASE_NUMBER.fullmatch(number):
        raise RequestError("is not a case number", field="CASE", fix="they look like DSR-7K2M-0QXN-V4TB-91HC; see: dsr status")
    return number


CaseNumber = Annotated[str, typer.Argument(metavar="CASE", help="A case number.", show_default=False)]
CaseNumbers = Annotated[list[str] | None, typer.Argument(metavar="CASE", help="Case numbers.", show_default=False)]


def agent(by: str) -> str:
    """Who the audit log is to name: as given, or the account that runs the command."""
    if by:
        return by
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "agent"


@contextmanager
def opened(ctx: typer.Context, *, warn: bool = False) -> Iterator[Host]:
    """The host of the configuration.

    Args:
        warn: Say which data sources and plugins cannot be used.
    """
    from dsr_sdk.host import Host

    with Host.open(ctx.obj.config) as host:
        if warn:
            for name, error in host.broken.items():
                output.note(f"warning: {name} cannot be used and counts as could not check: {error}")
        yield host
