"""``dsr plan`` and ``dsr approve``: what would be done, and the decision to do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dsr_sdk.cli import output, plans, progress
from dsr_sdk.cli.session import By, CaseNumbers, Json, Yes, agent, case_number, opened

if TYPE_CHECKING:
    from dsr_sdk.engine import Plan
    from dsr_sdk.host import Host

__all__ = ["PATIENCE", "consent", "make", "register"]

PATIENCE = 30.0
"""Seconds that planning stays for searches which are put off: a plan with a gap costs a person's time."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("plan")(plan)
    app.command("approve")(approve)


def plan(
    ctx: typer.Context,
    cases: CaseNumbers = None,
    all_received: Annotated[bool, typer.Option("--all-received", help="Every case that was not planned yet.")] = False,
    sources: Annotated[list[str] | None, typer.Option("--source", help="Only this data source; may be repeated.", show_default=False)] = None,
    show: Annotated[bool, typer.Option("--show", help="Show the newest plan again, and search nothing.")] = False,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Stay for searches that a rate limit or a passing failure puts off.")
    ] = PATIENCE,
    json: Json = False,
) -> None:
    """Search every data source and say what would be done. Changes nothing at any vendor."""
    if bool(cases) == all_received:
        raise typer.BadParameter("name cases, or say --all-received", param_hint="CASE")
    numbers = list(dict.fromkeys(case_number(case) for case in cases or ()))
    with opened(ctx, warn=not show) as host:
        if all_received:
            numbers = [case.number for case in host.cases(status=["received"])]
        made = [_newest(host, number) for number in numbers] if show else make(host, numbers, sources=sources, wait=wait)
    if json:
        output.as_json(made[0].to_json() if cases and len(numbers) == 1 else {"plans": [one.to_json() for one in made]})
    elif made:
        plans.show_all(made)
        waiting = [one for one in made if one.approved_at is None]
        if waiting:
            few = " ".join(one.case for one in waiting[: plans.FEW]) + (" ..." if len(waiting) > plans.FEW else "")
            output.note(f"next: {ctx.obj.line(f'approve {few}')}")
    else:
        output.note("no case waits for its first plan")
    if not show and not all(one.complete for one in made):
        raise typer.Exit(1)


def approve(
    ctx: typer.Context,
    cases: CaseNumbers = None,
    hash_: Annotated[str, typer.Option("--hash", help="Approve only if the newest plan has this hash.", show_default=False)] = "",
    by: By = "",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Approve the newest plan of each case: exactly what it lists may then be done by dsr run."""
    from dsr_sdk.errors import ApprovalError

    if not cases:
        raise typer.BadParameter("name the cases to approve", param_hint="CASE")
    numbers = list(dict.fromkeys(case_number(case) for case in cases))
    if hash_ and len(numbers) != 1:
        raise typer.BadParameter("goes with one case", param_hint="--hash")
    with opened(ctx) as host:
        chosen = [_newest(host, number) for number in numbers]
        if hash_ and chosen[0].hash != hash_.strip().lower():
            raise ApprovalError("the newest plan has another hash", source=numbers[0], fix=f"look at it again: dsr plan {numbers[0]} --show")
        waiting = [one for one in chosen if one.approved_at is None]
        consent(waiting, yes=yes, quiet=json)
        host.approve_many(waiting, by=agent(by))
        stand = [_newest(host, number) for number in numbers]
    if json:
        output.as_json(
            {
                "approved": [
                    {"case": one.case, "hash": one.hash, "at": one.approved_at.isoformat() if one.approved_at else None, "by": one.approved_by}
                    for one in stand
                ]
            }
        )
        return
    fresh = {one.case for one in waiting}
    for one in stand:
        earlier = "" if one.case in fresh else f" (already, {output.when(one.approved_at)})"
        output.say(f"approved {one.case}{earlier}")
    output.note(f"next: {ctx.obj.line('run ' + ' '.join(numbers[: plans.FEW]) + (' ...' if len(numbers) > plans.FEW else ''))}")


def make(host: Host, numbers: Sequence[str], *, sources: Sequence[str] | None = None, wait: float = PATIENCE) -> list[Plan]:
    """Plan cases, with progress, stopping gently."""
    if not numbers:
        return []
    with progress.shown("searching") as report:
        return progress.gently(host, lambda: host.plan_many(numbers, sources=sources or None, wait=wait, on_progress=report))


def consent(chosen: Sequence[Plan], *, yes: bool, quiet: bool = False) -> None:
    """Show plans and get the reader's yes when carrying them out cannot be undone.

    Args:
        quiet: Show nothing, and so ask nothing (``--json``).

    Raises:
        ApprovalError: Nobody is there to ask, or the answer is no.
    """
    from dsr_sdk.errors import ApprovalError

    if chosen and not quiet:
        plans.show_all(chosen)
    final = [one for one in chosen if one.irreversible]
    if not final or yes:
        return
    if quiet or not output.interactive():
        cases = final[0].case if len(final) == 1 else f"{len(final)} cases"
        raise ApprovalError(
            "carrying it out cannot be undone, and nobody is here to confirm it", source=cases, fix="look at the plan, then say --yes"
        )
    subject = "this plan" if len(chosen) == 1 else f"these {len(chosen)} plans"
    if not output.confirmed(f"Carrying out {subject} cannot be undone. Approve?"):
        raise ApprovalError("was not approved", source=final[0].case if len(final) == 1 else None)


def _newest(host: Host, number: str) -> Plan:
    from dsr_sdk.errors import ApprovalError

    newest = host.latest_plan(number)
    if newest is None:
        host.status(number)  # raises when there is no such case
        raise ApprovalError("there is no plan yet", source=number, fix=f"make one: dsr plan {number}")
    return newest
