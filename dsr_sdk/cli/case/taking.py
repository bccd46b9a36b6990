"""``dsr case new`` and ``dsr case import``: requests that agents take in."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer

from dsr_sdk.cli import consent, output, people, progress
from dsr_sdk.cli.case import shown
from dsr_sdk.cli.session import By, Json, agent, opened

__all__ = ["register"]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("new")(new)
    group.command("import")(import_)


def new(
    ctx: typer.Context,
    place: Annotated[
        str | None, typer.Argument(metavar="FILE|-", help="One request as JSON; - for standard input. Or give options.", show_default=False)
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="deletion, copy, do_not_sell, do_not_mail or right_to_edit.", show_default=False)
    ] = None,
    email: people.Emails = None,
    phone: people.Phones = None,
    user_id: people.UserIds = None,
    vendor_id: people.VendorIds = None,
    first_name: Annotated[str, typer.Option(help="Only helps; a name alone identifies nobody.", show_default=False)] = "",
    last_name: Annotated[str, typer.Option(show_default=False)] = "",
    scope: Annotated[str | None, typer.Option(help="account or app_data (deletion only).", show_default="account")] = None,
    regime: Annotated[str | None, typer.Option(help="The law it is made under (eu_gdpr, us_ca_ccpa ...).", show_default="by country")] = None,
    country: Annotated[str | None, typer.Option(help="Country of residence, two letters.", show_default=False)] = None,
    language: Annotated[str | None, typer.Option(help="Language to answer in.", show_default="en")] = None,
    received: Annotated[str | None, typer.Option(help="When it was received, with time zone.", show_default="now")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own id of the request: given twice, it is one case.", show_default=False)] = None,
    channel: Annotated[str | None, typer.Option(help="How it reached you: agent, email, app, provider.", show_default="agent")] = None,
    custom: Annotated[
        list[str] | None, typer.Option("--custom", metavar="NAME=VALUE", help="A field of your form; may be repeated.", show_default=False)
    ] = None,
    correction: Annotated[
        str | None, typer.Option(help="Of a right to edit: what is wrong, and what it should be; - for standard input.", show_default=False)
    ] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Write down a request that reached you by letter, telephone or e-mail. Prints its case number."""
    own = {
        "type": type_,
        "scope": scope,
        "regime": regime,
        "country": country,
        "language": language,
        "received_at": received,
        "reference": reference,
        "channel": channel,
    }
    named = people.identities(email, phone, user_id, vendor_id)
    if place is not None:
        if named or custom or first_name or last_name or any(value is not None for value in (*own.values(), correction)):
            raise typer.BadParameter("a file, or options: not both", param_hint="FILE")
        fields = _read(place)
    else:
        if not type_ or not named:
            raise typer.BadParameter("give --type with --email, --phone or an id; or one request as JSON: FILE, or -", param_hint="--type")
        fields = {key: value for key, value in own.items() if value is not None}
        subject = [identity.model_dump(mode="json") for identity in named]
        if first_name or last_name:
            subject.append({"kind": "name", "first": first_name, "last": last_name})
        fields["subject"] = {"identities": subject}
        fields |= {f"custom.{name}": value for name, value in (_pair(text) for text in custom or ())}
        if correction is not None:
            from dsr_sdk.request import CORRECTION

            fields[f"custom.{CORRECTION}"] = consent.text_of(correction, "--correction")
    with opened(ctx) as host:
        number = host.intake.create(fields, by=agent(by))
        case = host.workflow.get(number)
        if json:
            output.as_json(shown.case_json(case))
            return
        output.say(number)
        shown.next_step(ctx, host, case)


def _read(place: str) -> dict[str, Any]:
    from dsr_sdk.errors import RequestError

    name = "stdin" if place == "-" else place
    try:
        text = consent.text_of("-", "FILE") if place == "-" else Path(place).read_text(encoding="utf-8-sig")
        fields = json_.loads(text)
    except OSError as error:
        raise RequestError(f"cannot be read: {(error.strerror or type(error).__name__).lower()}", source=name) from None
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise RequestError("is not one request as a JSON object", source=name, fix="several of them: dsr case import FILE")
    return fields


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter("write it as NAME=VALUE", param_hint="--custom")
    return name.strip(), value


def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSON or JSON Lines.", show_default=False)],
    format_: Annotated[str | None, typer.Option("--format", help="csv, json or jsonl.", show_default="by the file's name")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only; nothing is taken in.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Take in what is right although something is wrong.")] = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Take in a file of requests. When one row is wrong, each is named with its line, and none is taken in."""
    formats = ("csv", "json", "jsonl")
    if format_ is not None and format_ not in formats:
        raise typer.BadParameter(f"one of {', '.join(formats)}", param_hint="--format")
    with opened(ctx) as host, progress.counted("importing") as report:
        result = progress.gently(
            host,
            lambda: host.intake.import_file(
                file,
                format=format_,  # type: ignore[arg-type]  # one of the three, as was made sure of
                by=agent(by),
                dry_run=dry_run,
                partial=partial,
                on_progress=report,
            ),
        )
    if json:
        output.as_json(
            {
                "rows": result.rows,
                "taken": result.taken,
                "duplicates": result.duplicates,
                "wrong": result.wrong,
                "dry_run": dry_run,
                "errors": [{"line": line, "message": message} for line, message in result.errors],
            }
        )
    else:
        for line, message in result.errors:
            output.note(f"{file}:{line}: {message}")
        if result.wrong > len(result.errors):
            output.note(f"and {result.wrong - len(result.errors)} more")
        known = f", {result.duplicates} known already" if result.duplicates else ""
        output.say(f"{result.rows} requests: {result.taken} {'would be taken in' if dry_run else 'taken in'}{known}, {result.wrong} wrong")
        if result.wrong and not partial:
            output.note("nothing was taken in: mend the lines above, or say --partial")
        elif result.taken:
            output.note(f"next: {ctx.obj.line('case list' if not dry_run else f'case import {file}')}")
    if result.wrong:
        raise typer.Exit(1 if partial else 2)
