"""The application: its global options, its commands in the order of work, and what becomes of an error.

A command's module is imported when the command is called: ``dsr --help`` loads typer and this file.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dsr_sdk.cli.session import Session

__all__ = ["COMMANDS", "app", "run"]

COMMANDS = {
    "init": ("setup", "Make a new host: configuration, master key, ledger."),
    "connectors": ("connectors", "What is installed, what it does, and how that is known."),
    "connector": ("connector_new", "Make a new connector from the template."),
    "sources": ("sources", "The data sources of this host: list, check, add."),
    "submit": ("requests", "Take requests in, from a file or from options."),
    "plan": ("planning", "Search every data source; say what would be done."),
    "approve": ("planning", "Approve exactly what a plan lists."),
    "run": ("running", "Carry out what was approved; or a file, all the way."),
    "status": ("cases", "How a case stands, or the list of cases."),
    "confirm": ("cases", "Record that a person made sure."),
    "retry": ("cases", "Put what failed back to work."),
    "identity": ("cases", "Add an identity that a data source was missing."),
    "recheck": ("cases", "Verify the erasures of a case again."),
    "history": ("cases", "Who did what to a case, and when."),
    "copy": ("copies", "Write the package that a person receives."),
    "copy-verify": ("copies", "Check that a package is whole."),
    "case": ("case", "Requests in the workflow: review, process, reply, close."),
    "inventory": ("inventory", "The systems you use, and which take part in requests."),
    "templates": ("templates", "Texts of replies: show, preview, keep in files."),
    "outbox": ("outbox", "Mails that are stuck; send what is due."),
    "accounts": ("accounts", "Who may sign in to the portal; keys of its API."),
    "serve": ("serving", "Serve the portal, and carry out what is due."),
    "retention": ("retention", "Shred cases that were closed long enough ago."),
    "audit": ("proof", "Verify the audit log, or export a case's part of it."),
    "sandbox": ("sandboxes", "Serve fakes of the vendors' APIs, to try things."),
    "cassette": ("cassettes", "Record, lint, show and replay a connector's traffic."),
}
"""Every command: its module under `dsr_sdk.cli`, whose ``register`` adds it, and its line in the help."""

_HELP = """Erase a person's data, or hand it over, at every SaaS product you use.

First: dsr init, dsr connectors, dsr sources add, dsr sources check.
Then, for each request: dsr submit, dsr plan, dsr approve, dsr run, dsr status.

As a desk with review, reply and a portal: dsr init --workflow, dsr serve, dsr case.

Without --yes, dsr run changes nothing at any vendor: it says what it would do.
"""
_GLOBAL = ("--config", "--debug")
_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
_STOPS_OPTIONS = "--"


class _Lazy(MutableMapping[str, Any]):
    """The commands, built on first use."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            module = import_module(f"dsr_sdk.cli.{COMMANDS[name][0]}")
            part = typer.Typer(rich_markup_mode=None, add_completion=False)
            part.callback()(lambda: None)  # a group, however many commands the module adds
            module.register(part)
            self._built.update(typer.main.get_group(part).commands)
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Root(TyperGroup):
    """The root: global options may stand anywhere on the line, and every error ends as two lines and an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Lazy()

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of work."""
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands in the help, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Bring global options to the front, where click wants them."""
        if args[:1] == ["--show-completion"] and args[1:]:
            _show_completion(args[1])
        front: list[str] = []
        rest: list[str] = []
        waiting = iter(args)
        for arg in waiting:
            if arg == _STOPS_OPTIONS:
                rest.extend((arg, *waiting))
            elif arg.partition("=")[0] in _GLOBAL:
                front.append(arg)
                if arg == "--config":
                    front.extend(value for value in (next(waiting, None),) if value is not None)
            else:
                rest.append(arg)
        return super().parse_args(ctx, [*front, *rest])

    def invoke(self, ctx: Any) -> Any:
        """Run the command. What goes wrong is explained; only usage errors are left to typer."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:  # the last place that can explain it without showing values
            from dsr_sdk.cli import failures

            if failures.belongs_to_typer(error):
                raise
            session = ctx.obj if isinstance(ctx.obj, Session) else Session()
            raise typer.Exit(failures.explain(error, debug=session.debug)) from None


app = typer.Typer(
    cls=Root,
    name="dsr",
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: loading rich costs more than everything else that --help does
    pretty_exceptions_enable=False,  # typer's own would show local variables, and with them personal data
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _show_completion(shell: str) -> None:
    """Print the script for a shell that is named; typer's own option takes the shell it runs in, which a build machine does not have."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # there in every version, though not in __all__

    if shell not in _SHELLS:
        raise typer.BadParameter(f"one of {', '.join(_SHELLS)}", param_hint="--show-completion")
    typer.echo(get_completion_script(prog_name="dsr", complete_var="_DSR_COMPLETE", shell=shell))
    raise typer.Exit


def _version(value: bool) -> None:
    if value:
        from dsr_sdk import __version__

        typer.echo(f"dsr-sdk {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    config: Annotated[Path, typer.Option(envvar="DSR_CONFIG", help="The host's configuration.")] = Path("dsr.toml"),
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. It may hold personal data.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version)] = False,
) -> None:
    ctx.obj = Session(config, debug, named=ctx.get_parameter_source("config").name == "COMMANDLINE")  # type: ignore[union-attr]  # a parameter that exists has a source


def run() -> None:
    """Run the command line in this process, and leave it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a terminal of another encoding must not end a run
    signal.signal(signal.SIGTERM, _terminate)
    app(prog_name="dsr")


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C said by a machine: stop gently."""
    raise KeyboardInterrupt
