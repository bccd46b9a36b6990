"""``dsr status``, ``dsr history`` and what people do about a case outside the workflow: confirm, retry, recheck, add an identity."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Annotated

import typer

from dsr_sdk.cli import output, people, reports
from dsr_sdk.cli.session import By, CaseNumber, Json, agent, case_number, opened

__all__ = ["register"]

SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="A data source.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("status", status),
        ("history", history),
        ("confirm", confirm),
        ("retry", retry),
        ("recheck", recheck),
        ("identity", identity),
    ):
        app.command(name)(command)


def status(
    ctx: typer.Context,
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="One case, source by source.", show_default=False)] = None,
    only: Annotated[
        list[str] | None, typer.Option("--status", help="Only cases that are received, planned, approved, done or shredded.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many cases to list, the newest first.")] = 50,
    json: Json = False,
) -> None:
    """Show how a case stands, or list the cases. Holds no personal data."""
    with opened(ctx) as host:
        if case is not None:
            report = host.status(case_number(case))
            output.as_json(report.to_json()) if json else reports.show(report)
            return
        counts: Counter[str] = Counter()
        found = []
        for row in host.cases(status=only or ()):
            counts[row.status] += 1
            found.append(row)
    newest = heapq.nlargest(limit, found, key=lambda row: (row.received_at, row.number))
    if json:
        output.as_json({"cases": [reports.case_json(row) for row in newest], "counts": dict(counts)})
        return
    if not found:
        output.note(f"no case; next: {ctx.obj.line('submit FILE')}")
        return
    reports.show_cases(newest)
    more = f", the newest {len(newest)} are shown (--limit)" if len(newest) < len(found) else ""
    output.note(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) + more)


def history(ctx: typer.Context, case: CaseNumber, json: Json = False) -> None:
    """Show the audit events of a case: who did what, and when."""
    number = case_number(case)
    with opened(ctx) as host:
        host.status(number)  # raises when there is no such case
        events = host.history(number)
    if json:
        output.as_json({"case": number, "events": [{**event, "at": _text(event["at"])} for event in events]})
        return
    rows = [(event["n"], output.when(event["at"]), event["event"], event["actor"], _facts(event["data"])) for event in events]
    output.table(("n", "at", "event", "actor", "data"), rows)


def _text(moment: object) -> object:
    return moment.isoformat() if hasattr(moment, "isoformat") else moment


def _facts(data: object) -> str:
    if not isinstance(data, dict):
        return str(data)
    said = (f"{output.words(str(key))} {_fact(value)}" for key, value in data.items() if value not in (None, {}, ""))
    return ", ".join(said)


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {count}" for key, count in value.items()) + ")"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text[:12] + "..." if len(text) == 64 else text  # a hash; --json has all of it


def confirm(
    ctx: typer.Context,
    case: CaseNumber,
    source: SourceName,
    by: By = "",
    note: Annotated[str, typer.Option(help="What was seen or done; kept sealed with the case.", show_default=False)] = "",
    json: Json = False,
) -> None:
    """Record that a person made sure: it was done by hand, the vendor answered the letter, a letter in doubt was sent."""
    number = case_number(case)
    with opened(ctx) as host:
        host.confirm(number, source, by=agent(by), note=note)
        report = host.status(number)
    output.as_json(report.to_json()) if json else reports.show(report)


def retry(
    ctx: typer.Context,
    case: CaseNumber,
    source: Annotated[str | None, typer.Option(help="Only there.", show_default=False)] = None,
    resend: Annotated[bool, typer.Option("--resend", help="Also letters in doubt: they may then arrive twice.")] = False,
    json: Json = False,
) -> None:
    """Put what failed back to work; dsr run then does it."""
    number = case_number(case)
    with opened(ctx) as host:
        host.status(number)  # raises when there is no such case
        count = host.retry(number, source=source, resend=resend)
    if json:
        output.as_json({"case": number, "retried": count})
    elif count:
        output.say(f"{count} back to work")
        output.note(f"next: {ctx.obj.line(f'run {number}')}")
    else:
        output.say("nothing had failed")


def recheck(ctx: typer.Context, case: CaseNumber, json: Json = False) -> None:
    """Verify every erasure of a case again, now; dsr run then does it."""
    number = case_number(case)
    with opened(ctx) as host:
        host.status(number)  # raises when there is no such case
        count = host.recheck(number)
    if json:
        output.as_json({"case": number, "sources": count})
    elif count:
        output.say(f"{count} data source{'s' if count > 1 else ''} to be verified again")
        output.note(f"next: {ctx.obj.line(f'run {number}')}")
    else:
        output.say("nothing of this case was verified yet")


def identity(
    ctx: typer.Context,
    case: CaseNumber,
    email: people.Emails = None,
    phone: people.Phones = None,
    user_id: people.UserIds = None,
    vendor_id: people.VendorIds = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Add an identity that a data source was missing; then plan again."""
    number = case_number(case)
    found = people.some(email, phone, user_id, vendor_id)
    with opened(ctx) as host:
        for one in found:
            host.add_identity(number, one, by=agent(by))
    if json:
        output.as_json({"case": number, "added": [one.kind for one in found]})
    else:
        output.say(f"added {', '.join(output.words(one.kind) for one in found)}")
        output.note(f"next: {ctx.obj.line(f'plan {number}')}")
