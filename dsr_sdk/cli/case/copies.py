"""The copy of a copy request: what was collected, what is taken out of it, the package, and the link to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsr_sdk.cli import consent, output, progress
from dsr_sdk.cli.session import By, CaseNumber, Json, Overwrite, agent, case_number, opened

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("copy-preview", preview),
        ("copy-redact", redact),
        ("copy-restore", restore),
        ("copy-generate", generate),
        ("copy-download", download),
        ("copy-offer", offer),
    ):
        group.command(name)(command)


def preview(
    ctx: typer.Context,
    case: CaseNumber,
    after: Annotated[str | None, typer.Option(metavar="CURSOR", help="The next page, as the one before says.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many records.")] = 20,
    json: Json = False,
) -> None:
    """Show what was collected, record by record, and what of it is taken out. This is personal data."""
    number = case_number(case)
    with opened(ctx) as host:
        page = host.delivery.preview(number, after=after, limit=limit)
        taken = host.delivery.redactions(number)
    if json:
        records = [
            {
                "record": row.key,
                "source": row.source,
                "resource": row.resource,
                "hidden": row.hidden,
                "fields": row.fields,
                "redacted": sorted(row.redacted),
            }
            for row in page.records
        ]
        redactions = [
            {"id": row.id, "source": row.source, "resource": row.resource, "record": row.record, "field": row.field, "by": row.created_by}
            for row in taken
        ]
        output.as_json({"case": number, "records": records, "next": page.next, "redactions": redactions})
        return
    for record in page.records:
        output.say(f"{record.source}  {record.resource}  {record.key}" + ("  (taken out)" if record.hidden else ""))
        for name, text in record.fields.items():
            output.say(output.clean(f"    {name or '/'}: {text}" + ("  (taken out)" if name in record.redacted else "")))
    for row in taken:
        what = f"field {row.field}" if row.field else "whole record"
        output.say(output.clean(f"redaction {row.id}: {row.source} {row.resource}, {what}, by {row.created_by}"))
    if page.next:
        output.note(f"more: {ctx.obj.line(f'case copy-preview {number} --after {page.next}')}")
    elif not page.records:
        output.note("nothing was collected yet")


def redact(
    ctx: typer.Context,
    case: CaseNumber,
    record: Annotated[str, typer.Argument(metavar="RECORD", help="As copy-preview names it.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; kept sealed. - reads it from standard input.", show_default=False)],
    field: Annotated[str | None, typer.Option(help="A field (/email); without it the whole record.", show_default=False)] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Take a record, or a field of one, out of the copy. Generate it again afterwards."""
    from dsr_sdk.errors import RequestError

    number = case_number(case)
    with opened(ctx) as host:
        after: str | None = None
        while True:
            page = host.delivery.preview(number, after=after, limit=500)
            row = next((row for row in page.records if row.key == record), None)
            if row is not None or page.next is None:
                break
            after = page.next
        if row is None:
            raise RequestError("there is no such record", field="record", source=number, fix=f"see: dsr case copy-preview {number}")
        why = consent.text_of(reason, "--reason")
        id_ = host.delivery.redact(number, row.source, row.resource, record, field, by=agent(by), reason=why)
    if json:
        output.as_json({"case": number, "redaction": id_})
    else:
        output.say(f"redaction {id_}: {row.source} {row.resource}" + (", one field" if field else ", the whole record"))
        output.note(f"next: {ctx.obj.line(f'case copy-generate {number}')}")


def restore(
    ctx: typer.Context,
    case: CaseNumber,
    redaction: Annotated[int, typer.Argument(metavar="ID", help="As copy-preview names it.", show_default=False)],
    by: By = "",
    json: Json = False,
) -> None:
    """Take a redaction back. Generate the copy again afterwards."""
    number = case_number(case)
    with opened(ctx) as host:
        host.delivery.restore(number, redaction, by=agent(by))
    output.as_json({"case": number, "restored": redaction}) if json else output.say(f"redaction {redaction} is taken back")


def generate(ctx: typer.Context, case: CaseNumber, by: By = "", json: Json = False) -> None:
    """Generate the package, sealed in our own store: what was collected and added by hand, without what is taken out."""
    number = case_number(case)
    with opened(ctx) as host, progress.counted("packing") as report:
        info = progress.gently(host, lambda: host.delivery.generate(number, by=agent(by), progress=report))
    if json:
        made = {"files": info.files, "bytes": info.size, "manifest_sha256": info.manifest_sha256, "made_at": info.made_at.isoformat()}
        output.as_json({"case": number, **made})
    else:
        output.say(f"generated: {info.files} files, {info.size} bytes, manifest sha256 {info.manifest_sha256}")
        output.note(f"next: look at it with {ctx.obj.line(f'case copy-download {number} --out FILE')}, then {ctx.obj.line(f'case finish {number}')}")


def download(
    ctx: typer.Context,
    case: CaseNumber,
    out: Annotated[Path, typer.Option(help="The zip file to write.", show_default=False)],
    overwrite: Overwrite = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Write the generated package to a file of yours, to look at it. This is personal data."""
    number = case_number(case)
    with opened(ctx) as host:
        _, blocks = host.delivery.download(number, by=agent(by))
        size = consent.keep(out, blocks, overwrite=overwrite)
    output.as_json({"case": number, "path": str(out), "bytes": size}) if json else output.say(f"wrote {out}: {size} bytes")


def offer(ctx: typer.Context, case: CaseNumber, by: By = "", json: Json = False) -> None:
    """Make a link to the package, which opens once and asks for a code mailed to the person. The reply makes one by itself."""
    number = case_number(case)
    with opened(ctx) as host:
        url = host.delivery.offer(number, by=agent(by))
        days = host.delivery.settings.copy_days
    if json:
        output.as_json({"case": number, "url": url, "days": days})
    else:
        output.say(url)
        output.note(f"it holds for {days} days; closing the case with a reply that has a link of its own ends this one")
