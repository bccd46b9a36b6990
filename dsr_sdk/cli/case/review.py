"""The review of cases: proof of identity, accept, reject, withdraw, merge; assigning, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsr_sdk.cli import consent, output
from dsr_sdk.cli.case import files, shown
from dsr_sdk.cli.session import By, CaseNumber, Json, Yes, agent, case_number, opened

if TYPE_CHECKING:
    from dsr_sdk.host import Host

__all__ = ["Cases", "many", "register"]

Cases = Annotated[list[str], typer.Argument(metavar="CASE...", help="Case numbers.", show_default=False)]
Because = Annotated[str, typer.Option(help="Why, without personal data: it stands in the audit log.", show_default=False)]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("verify", verify),
        ("ask-to-verify", ask_to_verify),
        ("accept", accept),
        ("reject", reject),
        ("withdraw", withdraw),
        ("merge", merge),
        ("assign", assign),
        ("extend", extend),
        ("pause", pause),
        ("resume", resume),
    ):
        group.command(name)(command)


def verify(
    ctx: typer.Context,
    case: CaseNumber,
    method: Annotated[str, typer.Option(help="document, questions, email, oauth or controller.", show_default=False)],
    note: Annotated[str, typer.Option(help="What was seen, without personal data: it stands in the audit log.", show_default=False)] = "",
    arrived: Annotated[str | None, typer.Option(help="When the proof arrived, with time zone.", show_default="now")] = None,
    file: Annotated[list[Path] | None, typer.Option(help="What proves it, to be sealed with the case; may be repeated.", show_default=False)] = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Record that the person's identity was proven."""
    from dsr_sdk.host.cases.verification import Method

    number = case_number(case)
    if method not in set(Method):
        raise typer.BadParameter(f"one of {', '.join(Method)}", param_hint="--method")
    with opened(ctx) as host:
        with files.attached(host, number, file or (), purpose="identity", by=agent(by)):
            host.workflow.verify(number, Method(method), by=agent(by), note=note, arrived_at=_moment(arrived))
        shown.decided(ctx, host, number, json=json)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment: datetime | None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter("is not a moment with time zone, like 2026-03-31T12:00+02:00", param_hint="--arrived")
    return moment


def ask_to_verify(ctx: typer.Context, case: CaseNumber, by: By = "", json: Json = False) -> None:
    """Mail the person a link that proves that they read mail at the request's address."""
    number = case_number(case)
    with opened(ctx) as host:
        host.conversation.ask_to_verify(number, by=agent(by))
        mail = next((mail for mail in reversed(host.outbox.of(number)) if mail.kind == "verify"), None)
        state = mail.state.value if mail else "written"
    if json:
        output.as_json({"case": number, "mail": state})
    else:
        output.say(f"asked the person of {number} to confirm the address: the mail is {state}")


# --- the four ways out of review -------------------------------------------------------------------------------------------------------


def accept(
    ctx: typer.Context,
    case: Cases,
    source: Annotated[list[str] | None, typer.Option(help="Only this data source; may be repeated.", show_default="all in request handling")] = None,
    yes: Yes = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Continue to processing. It cannot be taken back, and the request cannot be rejected any more."""
    if source and len(case) > 1:
        raise typer.BadParameter("goes with one case", param_hint="--source")
    many(
        ctx,
        case,
        "accept",
        lambda host, number, revision: host.workflow.accept(number, by=agent(by), revision=revision, sources=source or None),
        question="Accept {what}? It cannot be taken back, and the request cannot be rejected any more.",
        refusal="accepting cannot be taken back",
        yes=yes,
        by=agent(by),
        json=json,
    )


def reject(
    ctx: typer.Context,
    case: CaseNumber,
    reason: Annotated[
        str,
        typer.Option(
            help="insuf_verification, suspected_fraud, no_match, claim_not_covered, outside_jurisdiction, too_many_requests or other.",
            show_default=False,
        ),
    ],
    yes: Yes = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Refuse the request, and go straight to the reply that says why."""
    from dsr_sdk.host.cases.workflow import Reason

    if reason not in set(Reason):
        raise typer.BadParameter(f"one of {', '.join(Reason)}", param_hint="--reason")
    many(
        ctx,
        [case],
        "reject",
        lambda host, number, revision: host.workflow.reject(number, Reason(reason), by=agent(by), revision=revision),
        question=f"Reject {{what}} ({output.words(reason)})? It cannot be taken back.",
        refusal="rejecting cannot be taken back",
        yes=yes,
        by=agent(by),
        json=json,
    )


def withdraw(ctx: typer.Context, case: CaseNumber, yes: Yes = False, by: By = "", json: Json = False) -> None:
    """Record that the person has taken the request back: until the first data source was given free."""
    many(
        ctx,
        [case],
        "withdraw",
        lambda host, number, revision: host.workflow.withdraw(number, by=agent(by), revision=revision),
        question="Has the person taken {what} back? This cannot be undone.",
        refusal="withdrawing cannot be undone",
        yes=yes,
        by=agent(by),
        json=json,
    )


def merge(
    ctx: typer.Context,
    case: CaseNumber,
    into: Annotated[str, typer.Option(help="The case that goes on.", show_default=False)],
    typed: Annotated[bool, typer.Option("--typed", help="Take over identifiers that were only typed there, too; they stay not proven.")] = False,
    yes: Yes = False,
    by: By = "",
    json: Json = False,
) -> None:
    """End a case as the duplicate of another one, which goes on with the identifiers that were proven here."""
    other = case_number(into)
    many(
        ctx,
        [case],
        "merge",
        lambda host, number, revision: host.workflow.merge(number, other, by=agent(by), revision=revision, typed=typed),
        question=f"End {{what}} as a duplicate of {other}? It cannot be taken back.",
        refusal="merging cannot be taken back",
        yes=yes,
        by=agent(by),
        json=json,
    )


def many(
    ctx: typer.Context,
    cases: Sequence[str],
    action: str,
    one: Callable[[Host, str, int], None],
    *,
    question: str,
    refusal: str,
    yes: bool,
    by: str,
    json: bool,
    words: Callable[[Host, Sequence[str]], Sequence[str]] = lambda host, numbers: (),
) -> None:
    """Show cases, make sure, and decide: about one with `one`, about several with `Inbox.bulk`.

    Args:
        question: ``{what}`` stands for the case, or how many.
        words: Of several cases, those of which the caller gives the word that they need.
    """
    numbers = list(dict.fromkeys(case_number(case) for case in cases))
    with opened(ctx) as host:
        seen = [host.workflow.get(number) for number in numbers]
        if not json and not yes:
            for case in seen:
                output.say(shown.head(case))
        what = numbers[0] if len(numbers) == 1 else f"{len(numbers)} cases"
        confirmed = words(host, numbers) if len(numbers) > 1 else ()
        consent.sure(question.format(what=what), refusal, yes=yes, json=json, source=what)
        if len(seen) == 1:
            one(host, seen[0].number, seen[0].revision)
            shown.decided(ctx, host, seen[0].number, json=json)
            return
        rows = [(case.number, case.revision) for case in seen]
        results = host.inbox.bulk(action, rows, by=by, confirmed=confirmed)  # type: ignore[arg-type]  # checked there
    shown.bulk(results, json=json)


# --- agents and clocks -----------------------------------------------------------------------------------------------------------------


def assign(
    ctx: typer.Context,
    case: Cases,
    to: Annotated[str | None, typer.Option(help="An agent's account.", show_default=False)] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="Take them from whoever has them.")] = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Give cases to an agent, or to nobody."""
    if (to is None) is not nobody:
        raise typer.BadParameter("say --to ACCOUNT, or --nobody", param_hint="--to")
    numbers = list(dict.fromkeys(case_number(one) for one in case))
    with opened(ctx) as host:
        if len(numbers) == 1:
            host.workflow.assign(numbers[0], to, by=agent(by))
            shown.decided(ctx, host, numbers[0], json=json)
            return
        results = host.inbox.bulk("assign", [(number, None) for number in numbers], by=agent(by), agent=to)
    shown.bulk(results, json=json)


def extend(ctx: typer.Context, case: CaseNumber, because: Because, by: By = "", json: Json = False) -> None:
    """Take the longer time that the law gives for difficult requests. The person must be told within the first."""
    number = case_number(case)
    with opened(ctx) as host:
        host.workflow.extend(number, by=agent(by), because=because)
        shown.decided(ctx, host, number, json=json)


def pause(ctx: typer.Context, case: CaseNumber, because: Because, by: By = "", json: Json = False) -> None:
    """Stop the clock while the person is asked something, where the law lets it stand still."""
    number = case_number(case)
    with opened(ctx) as host:
        host.workflow.pause_for_clarification(number, by=agent(by), because=because)
        shown.decided(ctx, host, number, json=json)


def resume(ctx: typer.Context, case: CaseNumber, by: By = "", json: Json = False) -> None:
    """Let the clock go on: the person has answered."""
    number = case_number(case)
    with opened(ctx) as host:
        host.workflow.resume(number, by=agent(by))
        shown.decided(ctx, host, number, json=json)
