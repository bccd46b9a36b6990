"""``dsr copy``: the package a person receives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsr_sdk.cli import consent, output, progress
from dsr_sdk.cli.session import By, CaseNumber, Json, Overwrite, agent, case_number, opened

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("copy")(copy)
    app.command("copy-verify")(verify)


def copy(
    ctx: typer.Context,
    case: CaseNumber,
    out: Annotated[Path, typer.Option(help="The zip file to write.", show_default=False)],
    overwrite: Overwrite = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Write the package of a copy request, from what dsr run collected."""
    number = case_number(case)
    consent.free(out, overwrite=overwrite)
    with opened(ctx) as host, progress.counted("packing") as report:
        manifest = progress.gently(host, lambda: host.copy(number, out, progress=report, overwrite=overwrite, by=agent(by)))
    unchecked = [source for source in manifest.sources if source.incomplete]
    records = sum(source.records for source in manifest.sources)
    if json:
        output.as_json(
            {
                "case": number,
                "path": str(out),
                "records": records,
                "sources": len(manifest.sources),
                "complete": manifest.complete,
                "could_not_check": [source.name for source in unchecked],
                "manifest_sha256": manifest.sha256,
            }
        )
    else:
        output.say(f"wrote {out}: {records} records from {len(manifest.sources)} data sources")
        output.say(f"manifest sha256 {manifest.sha256}")
        for source in unchecked:
            output.say(output.clean(f"not complete: {source.name}: {source.could_not_check}"))
    if not manifest.complete:
        raise typer.Exit(1)


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A package.", show_default=False)],
    json: Json = False,
) -> None:
    """Check that a package is whole and as its manifest says. Needs no host."""
    from dsr_sdk.copy import verify_package

    problems = verify_package(file)
    if json:
        output.as_json({"path": str(file), "ok": not problems, "problems": problems})
    else:
        for problem in problems:
            output.say(output.clean(f"{file}: {problem}"))
        if not problems:
            output.say(f"{file}: ok")
    if problems:
        raise typer.Exit(1)
