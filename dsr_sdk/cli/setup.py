"""``dsr init``: a new host in a directory."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dsr_sdk.cli import output
from dsr_sdk.cli.session import Json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made if it is not there.")] = Path(),
    company: Annotated[str, typer.Option(help="The company's name, as people know it: it stands in letters and copies.")] = "",
    database: Annotated[str, typer.Option(help="The ledger: sqlite:///FILE, postgresql://..., or a reference (env:NAME).")] = "sqlite:///dsr.db",
    workflow: Annotated[
        bool, typer.Option("--workflow", help="With review, process, reply and close, for dsr case and dsr serve; also for a host that is there.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a new host: dsr.toml, a master key, an empty ledger. What is there already is kept."""
    path = directory / "dsr.toml"
    if not company and not path.exists():
        if not output.interactive():
            raise typer.BadParameter("say whose requests these are", param_hint="--company")
        company = typer.prompt("The company's name", err=True)
    if "://" in database and "@" in database and ":" in database.partition("://")[2].rpartition("@")[0]:
        output.note("warning: the database's password stands in dsr.toml in the open; better: --database env:DSR_DATABASE")

    from dsr_sdk.host import initialise

    was = {entry.name for entry in directory.iterdir()} if directory.is_dir() else set()
    initialise(directory, company=company or "-", database=database)
    made = sorted({entry.name for entry in directory.iterdir()} - was)
    made = [name for name in made if not name.endswith(("-wal", "-shm", ".lock"))]
    tables: list[str] = []
    if workflow:
        from dsr_sdk.host.starting import add_workflow

        tables = add_workflow(path)
    if json:
        output.as_json({"config": str(path), "made": made, "tables": tables})
        return
    for name in made:
        output.say(f"made {directory / name}" + ("  <- keep a copy elsewhere: without it nothing can be opened again" if name == "dsr.key" else ""))
    for name in tables:
        output.say(f"added [{name}] to {path}")
    if not made and not tables:
        output.say(f"{path} was there already; nothing was changed")
    go = f"cd {shlex.quote(str(directory))} && " if directory != Path() else ""
    if workflow:
        output.note(f"next: {go}dsr serve for the portal, or dsr inventory add NAME and dsr case new on the command line")
        return
    output.note(f"next: {go}dsr connectors, then dsr sources add NAME --connector SLUG (or try it first: dsr sandbox up)")
