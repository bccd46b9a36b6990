"""``dsr audit``: the audit log, checked and handed out."""

from __future__ import annotations

import json as json_
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsr_sdk.cli import output
from dsr_sdk.cli.session import CaseNumber, Json, case_number, opened

if TYPE_CHECKING:
    from dsr_sdk.ledger.audit import AuditReport

__all__ = ["register"]

_WRONG = 6


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("verify")(verify)
    group.command("export")(export)
    app.add_typer(group, name="audit", help="The audit log: verify it, or export a case's part of it.")


def verify(
    ctx: typer.Context,
    export_file: Annotated[
        Path | None, typer.Option(help="Check an exported file instead of the ledger; needs no host and no key.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Check every entry of the audit log and every signed checkpoint."""
    report = _of_file(export_file) if export_file is not None else _of_ledger(ctx)
    if json:
        output.as_json(
            {
                "ok": report.ok,
                "events": report.events,
                "cases": report.cases,
                "checkpoints": report.checkpoints,
                "uncovered": report.uncovered,
                "signatures_checked": report.signatures_checked,
                "problems": [{"case": problem.case, "n": problem.n, "what": problem.what} for problem in report.problems],
                "omitted": report.omitted,
            }
        )
    else:
        for problem in report.problems:
            output.say(output.clean(problem))
        if report.omitted:
            output.say(f"and {report.omitted} more")
        signed = f", {report.checkpoints} checkpoints signed by this ledger's key" if report.signatures_checked else ""
        newer = f"; {report.uncovered} entries are newer than the last checkpoint" if report.uncovered else ""
        verdict = "ok" if report.ok else "NOT ok"
        output.say(f"{verdict}: {report.events} entries of {report.cases} cases{signed}{newer}")
    if not report.ok:
        raise typer.Exit(_WRONG)


def _of_ledger(ctx: typer.Context) -> AuditReport:
    with opened(ctx) as host:
        return host.audit_verify()


def _of_file(path: Path) -> AuditReport:
    from dsr_sdk.errors import RequestError
    from dsr_sdk.ledger.audit import verify_exported

    try:
        with path.open("rb") as lines:
            report = verify_exported(lines)
    except OSError as error:
        raise RequestError(f"cannot be read: {(error.strerror or '').lower()}", source=str(path)) from None
    if not report.events and report.ok:
        raise RequestError("holds no audit entry", source=str(path), fix="write one with: dsr audit export CASE --out FILE")
    return report


def export(
    ctx: typer.Context,
    case: CaseNumber,
    out: Annotated[Path | None, typer.Option(help="The file to write; standard output when left out.", show_default=False)] = None,
) -> None:
    """Hand out the audit log of a case as JSON Lines: anyone can check it with dsr audit verify --export-file."""
    number = case_number(case)
    with opened(ctx) as host:
        host.status(number)  # raises when there is no such case
        lines = [json_.dumps(entry, ensure_ascii=False) + "\n" for entry in host.audit_export(number)]
    if out is None:
        output.say("".join(lines).rstrip("\n"))
        return
    from dsr_sdk.errors import ConfigError

    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot be written: {(error.strerror or '').lower()}", source=str(out), field="--out") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(lines)
    output.note(f"wrote {len(lines)} entries to {out}")
