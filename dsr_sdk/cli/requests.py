"""``dsr submit``: requests into the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dsr_sdk.cli import intake, output, people
from dsr_sdk.cli.session import Json, opened

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("submit")(submit)


def submit(
    ctx: typer.Context,
    place: Annotated[str | None, typer.Argument(metavar="FILE|-", help="JSON or JSON Lines; - for standard input.", show_default=False)] = None,
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
    regime: Annotated[str | None, typer.Option(help="The law it is made under (eu_gdpr, us_ca_ccpa ...).", show_default=False)] = None,
    country: Annotated[str | None, typer.Option(help="Country of residence, two letters.", show_default=False)] = None,
    language: Annotated[str | None, typer.Option(help="Language to answer in.", show_default="en")] = None,
    received: Annotated[str | None, typer.Option(help="When it was received, with time zone.", show_default="now")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own id of the request: submitted twice, it is one case.", show_default=False)] = None,
    skip_invalid: Annotated[bool, typer.Option("--skip-invalid", help="Submit the good ones although others are wrong.")] = False,
    rejected: Annotated[Path | None, typer.Option(help="Write the wrong ones there.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Take requests in: from a file, from standard input, or one from options. Prints their case numbers.

    When one of a file is wrong, each is listed with its line, and none is taken in.
    """
    own = {"type": type_, "scope": scope, "regime": regime, "country": country, "language": language, "received_at": received, "reference": reference}
    named = people.identities(email, phone, user_id, vendor_id)
    if place is not None and (named or first_name or last_name or any(value is not None for value in own.values())):
        raise typer.BadParameter("a file, or options: not both", param_hint="FILE")
    if place is None and not (type_ and named):
        raise typer.BadParameter("give a file, - for standard input, or --type with --email, --phone or an id", param_hint="FILE")
    taking = intake.read(place) if place is not None else intake.Intake([intake.Entry("", _request(own, named, first_name, last_name))])
    if taking.cases:
        from dsr_sdk.errors import RequestError

        raise RequestError("holds case numbers, which are in the ledger already", source=place, fix=f"dsr run {place}")
    with opened(ctx) as host:
        taken, errors = intake.submit(host, taking, skip_invalid=skip_invalid, rejected=rejected)
        workflow = host.config.workflow is not None
    if json:
        invalid = [{"where": error.source, "message": error.message} for error in errors]
        output.as_json({"submitted": [row.to_json() for row in taken], "invalid": invalid})
    else:
        for row in taken:
            output.say(row.case)
    known = sum(1 for row in taken if not row.new)
    if known:
        output.note(f"{known} of {len(taken)} known already by reference: the earlier case stands")
    if errors and not skip_invalid:
        output.note(f"{len(errors)} of {len(taking.entries)} requests are wrong: nothing was submitted (--skip-invalid submits the others)")
        raise typer.Exit(2)
    if taken and not json:
        if workflow:
            rest = f"case show {taken[0].case}" if len(taken) == 1 else "case list"
        else:
            rest = f"plan {taken[0].case if len(taken) == 1 else '--all-received'}"
        output.note(f"next: {ctx.obj.line(rest)}")
    if errors:
        output.note(f"{len(errors)} of {len(taking.entries)} requests are wrong and were skipped")
        raise typer.Exit(1)


def _request(own: dict[str, Any], named: list[Any], first_name: str, last_name: str) -> dict[str, Any]:
    people_: list[dict[str, Any]] = [identity.model_dump(mode="json") for identity in named]
    if first_name or last_name:
        people_.append({"kind": "name", "first": first_name, "last": last_name})
    given = {key: value for key, value in own.items() if value is not None}
    return {"channel": "agent", **given, "subject": {"identities": people_}}
