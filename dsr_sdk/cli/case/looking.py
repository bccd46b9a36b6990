"""``dsr case list``, ``find``, ``show``, ``history``, ``record``, and ``shred``: which cases there are, and what is known of one."""

from __future__ import annotations

import io
import json as json_
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsr_sdk.cli import consent, output
from dsr_sdk.cli.case import shown
from dsr_sdk.cli.session import By, CaseNumber, Json, Overwrite, Yes, agent, case_number, opened

if TYPE_CHECKING:
    from dsr_sdk.host import Host
    from dsr_sdk.ledger.cases import Case

__all__ = ["register"]

Day = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", show_default=False)]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (("list", list_), ("find", find), ("show", show), ("history", history), ("record", record), ("shred", shred)):
        group.command(name)(command)


def list_(
    ctx: typer.Context,
    closed: Annotated[bool, typer.Option("--closed", help="Closed cases, the newest first; otherwise the open ones, due soonest first.")] = False,
    stage: Annotated[str | None, typer.Option(help="review, process, reply or closed.", show_default=False)] = None,
    type_: Annotated[str | None, typer.Option("--type", help="deletion, copy ...", show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="With this data source.", show_default=False)] = None,
    agent_: Annotated[str | None, typer.Option("--agent", help="Assigned to this agent.", show_default=False)] = None,
    unassigned: Annotated[bool, typer.Option("--unassigned", help="Assigned to nobody.")] = False,
    channel: Annotated[str | None, typer.Option(help="privacy_center, agent, mine_app ...", show_default=False)] = None,
    due_before: Day = None,
    due_after: Day = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Their time is up.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many a page.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="CURSOR", help="The next page, as the one before says.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List cases. Holds no personal data."""
    from dsr_sdk.host.cases.filters import Filter

    if unassigned and agent_ is not None:
        raise typer.BadParameter("--agent or --unassigned, not both", param_hint="--unassigned")
    wanted = Filter(
        open=not closed,
        stage=stage,
        type=type_,
        source=source,
        agent="" if unassigned else agent_,
        due_before=_day(due_before, "--due-before"),
        due_after=_day(due_after, "--due-after"),
        overdue=overdue,
        channel=channel,
    )
    with opened(ctx) as host:
        page = host.inbox.page(wanted, after=after, limit=limit)
        counts = host.inbox.counts()
    if json:
        output.as_json(
            {
                "cases": [shown.case_json(case) | {"unread": case.number in page.unread} for case in page.cases],
                "next": page.next,
                "counts": {
                    "by_stage": counts.by_stage,
                    "overdue": counts.overdue,
                    "due_soon": counts.due_soon,
                    "unassigned": counts.unassigned,
                    "unread": counts.unread,
                },
            }
        )
        return
    _table(page.cases, page.unread)
    told = [f"{count} in {name}" for name, count in counts.by_stage.items()]
    told += [f"{count} {name}" for name, count in (("overdue", counts.overdue), ("due soon", counts.due_soon)) if count]
    told += [f"{counts.unread} answers nobody has read"] if counts.unread else []
    output.note("open: " + ", ".join(told))
    if page.next:
        output.note(f"more: the same with --after {page.next}")
    elif not page.cases and not any(counts.by_stage.values()):
        output.note(f"next: {ctx.obj.line('case new --type deletion --email ADDRESS')}, or {ctx.obj.line('case import FILE')}")


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("is not a day like 2026-03-31", param_hint=option) from None


def _table(cases: Any, unread: Any = ()) -> None:
    from dsr_sdk.host.cases.clocks import is_overdue

    rows = []
    for case in cases:
        due = "" if case.ended_at else "clock stands still" if case.paused_at else output.when(case.due_at)
        told = ["overdue"] if is_overdue(case) else []
        told += ["unread answer"] if case.number in unread else []
        told += [case.decision] if case.decision and case.decision != "accepted" else []
        told += [f"as {case.duplicate_of}"] if case.duplicate_of and case.stage == "review" else []
        ended = output.when(case.ended_at)
        verified = case.verified_by or ""
        rows.append((case.number, output.words(case.type), case.stage or "", due, ended, verified, case.agent or "", ", ".join(told)))
    output.table(("case", "type", "stage", "due", "closed", "verified", "agent", "note"), rows)


def find(
    ctx: typer.Context,
    text: Annotated[
        str, typer.Argument(metavar="TEXT|-", help="A case number however spelt, or a whole e-mail address, phone number or id.", show_default=False)
    ],
    json: Json = False,
) -> None:
    """Find cases by number, or by exactly who it is about; - reads it from standard input, which leaves no trace in the shell's history."""
    with opened(ctx) as host:
        found = host.inbox.search(consent.text_of(text, "TEXT"))
    if json:
        output.as_json({"cases": [shown.case_json(case) for case in found]})
    elif found:
        _table(found)
    else:
        output.note("no case; what is sealed is found by a whole address, number or id only")


# --- one case ------------------------------------------------------------------------------------------------------------------------


def show(ctx: typer.Context, case: CaseNumber, by: By = "", json: Json = False) -> None:
    """Show the request behind a case, and in a workflow where it stands, by when, and what helps to decide. This is personal data."""
    number = case_number(case)
    with opened(ctx) as host:
        current = host.workflow.get(number)
        data = host.request(number, by=agent(by)).model_dump(mode="json", exclude_none=True)
        about = _workflow(host, current) if current.stage is not None else None
        if json:
            output.as_json(data | ({"workflow": about} if about else {}))
            return
        if about:
            output.say(shown.head(current))
            _show_workflow(about)
        people = data.pop("subject")["identities"]
        evidence = data.pop("email_evidence", [])
        custom = data.pop("custom_fields", {})
        for key, value in (data | custom).items():
            if value not in ({}, "", []):
                output.say(output.clean(f"{output.words(key)}: {value}"))
        for one in people:
            known = " ".join(str(one[key]) for key in ("namespace", "vendor", "value", "first", "last") if one.get(key))
            output.say(output.clean(f"{output.words(one['kind'])}: {known}"))
        for mail in evidence:
            reply = f", answers to {mail['reply_to']}" if mail.get("reply_to") else ""
            output.say(output.clean(f"e-mail of ours: {mail['sent_at']}  {mail['subject']}  from {mail['from_address']}{reply}"))
        if about:
            shown.next_step(ctx, host, current)


def _workflow(host: Host, case: Case) -> dict[str, Any]:
    """What the review panel shows beside the request itself."""
    review = host.inbox.review(case.number)
    return shown.case_json(case) | {
        "proof_of_identity": review.requirement.value,
        "methods": [method.value for method in review.methods],
        "evidence_proves_identity": review.evidence_proves,
        "due": list(review.due.facts),
        "overdue": review.due.overdue,
        "may_extend": review.due.may_extend,
        "duplicates": [other.number for other in review.duplicates],
        "others": [{"case": other.number, "type": other.type, "stage": other.stage} for other in review.others],
        "erased_before": [{"source": row.source, "case": row.case, "at": row.at.isoformat()} for row in review.earlier_erasures],
        "answers_unread": host.conversation.unread(case.number),
    }


def _show_workflow(about: dict[str, Any]) -> None:
    if about["verified_by"]:
        output.say(f"identity: verified by {about['verified_by']}")
    else:
        ways = f" ({', '.join(about['methods'])})" if about["methods"] else ""
        output.say(f"identity: not verified; proof is {about['proof_of_identity']}{ways}")
    for fact in about["due"]:
        output.say(output.clean(f"deadline: {fact}"))
    for other in about["duplicates"]:
        output.say(f"the same person and type, still open: {other}")
    for other in about["others"]:
        output.say(f"this person also has: {output.words(other['type'])} {other['case']}, in {other['stage']}")
    for row in about["erased_before"]:
        output.say(f"erased before: {row['source']} in {row['case']}")
    if about["answers_unread"]:
        output.say(f"answers nobody has read: {about['answers_unread']}")


def history(
    ctx: typer.Context,
    case: CaseNumber,
    personal: Annotated[bool, typer.Option("--personal", help="Open the conversation, too.")] = False,
    json: Json = False,
) -> None:
    """Show everything that happened to a case, in words: who handled it, what was said when, when data was deleted."""
    number = case_number(case)
    with opened(ctx) as host:
        told = host.records.history(number, personal=personal)
    if json:
        output.as_json(
            {
                "case": number,
                "agents": list(told.agents),
                "events": [{"n": row.n, "at": row.at.isoformat(), "actor": row.actor, "event": row.event, "text": row.text} for row in told.events],
                "conversation": [
                    {"at": row.at.isoformat(), "direction": row.direction, "author": row.author, "body": row.body, "mail": row.mail}
                    for row in told.conversation
                ],
                "deletions": [{"source": row.source, "title": row.title, "at": row.at.isoformat(), "by": row.by} for row in told.deletions],
                "verified": told.verified,
                "problems": list(told.problems),
            }
        )
    else:
        output.say(shown.head(told.case))
        output.say(output.clean(f"handled by: {', '.join(told.agents) or 'nobody yet'}"))
        output.table(("at", "who", "what"), [(output.when(row.at), row.actor, row.text) for row in told.events])
        for said in told.conversation:
            output.say(output.clean(f"{output.when(said.at)}  {said.author} ({said.direction})" + (f": {said.body}" if said.body else "")))
        for row in told.deletions:
            output.say(output.clean(f"deleted: {row.title}, {output.when(row.at)}"))
        for problem in told.problems:
            output.say(output.clean(f"the log does not verify: {problem}"))
    if not told.verified:
        raise typer.Exit(6)


def record(
    ctx: typer.Context,
    case: CaseNumber,
    out: Annotated[Path | None, typer.Option(help="Write it there instead of standard output.", show_default=False)] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="As PDF; needs --out.")] = False,
    personal: Annotated[bool, typer.Option("--personal", help="With the person, the conversation and the reply.")] = False,
    overwrite: Overwrite = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Take the record of a case away, as JSON or PDF. Without --personal it holds no personal data, and may be kept for ever."""
    number = case_number(case)
    if pdf and out is None:
        raise typer.BadParameter("a PDF needs a file: --out FILE", param_hint="--pdf")
    with opened(ctx) as host:
        if pdf:
            stream = io.BytesIO()
            host.records.pdf(number, stream, personal=personal, by=agent(by))
            data = stream.getvalue()
        else:
            made = host.records.record(number, personal=personal, by=agent(by))
            if out is None:
                output.as_json(made)
                return
            data = json_.dumps(made, ensure_ascii=False, indent=2).encode() + b"\n"
    assert out is not None  # noqa: S101 - both ways lead here with a file; tells the type checker
    size = consent.keep(out, [data], overwrite=overwrite)
    if json:
        output.as_json({"case": number, "path": str(out), "bytes": size, "personal": personal})
    else:
        output.say(f"wrote {out}: {size} bytes" + (", personal data in it" if personal else ""))


def shred(ctx: typer.Context, case: CaseNumber, by: By = "", yes: Yes = False, json: Json = False) -> None:
    """Destroy the case's key: its personal data is gone from our own ledger, too. Number, dates, counts and the audit log stay."""
    from dsr_sdk.errors import ApprovalError

    number = case_number(case)
    with opened(ctx) as host:
        host.status(number)  # raises when there is no such case
        if not yes:
            if json or not output.interactive():
                raise ApprovalError("shredding cannot be undone, and nobody is here to confirm it", source=number, fix="say --yes")
            if not output.confirmed(f"Shred {number}? Nobody can open its request again."):
                raise ApprovalError("was not shredded", source=number)
        host.shred(number, by=agent(by))
    output.as_json({"case": number, "shredded": True}) if json else output.say(f"shredded {number}")
