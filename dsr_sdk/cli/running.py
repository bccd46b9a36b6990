"""``dsr run``: from requests or cases to outcomes. Without ``--yes`` it stops at the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsr_sdk.cli import intake, output, planning, plans, progress, reports
from dsr_sdk.cli.session import By, Json, agent, case_number, opened

if TYPE_CHECKING:
    from dsr_sdk.engine import Plan, Report
    from dsr_sdk.host import Host

__all__ = ["register"]

_FRESH = timedelta(days=1)
"""How long a plan that was shown may wait for --yes before the search is made again."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    ctx: typer.Context,
    what: Annotated[
        list[str] | None, typer.Argument(metavar="CASE|FILE|-", help="Case numbers, or requests (JSON, JSON Lines).", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve the plans and carry them out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only, also where a plan is approved already.")] = False,
    wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Stay for what comes due: a vendor's job, a retry, the verification.")] = 0,
    by: By = "",
    skip_invalid: Annotated[bool, typer.Option("--skip-invalid", help="Submit the good requests although others are wrong.")] = False,
    rejected: Annotated[Path | None, typer.Option(help="Write the wrong requests there.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Carry out approved plans; or take requests all the way: submit, plan and, with --yes, approve and carry out.

    Without --yes nothing changes at any vendor: the plans are shown. Without arguments, everything that is due is done.
    """
    if yes and dry_run:
        raise typer.BadParameter("--yes or --dry-run, not both", param_hint="--dry-run")
    if not what:
        if yes or dry_run:
            raise typer.BadParameter("name cases or a file", param_hint="CASE")
        _everything(ctx, wait, json)
        return
    taking, places = _arguments(what)
    with opened(ctx, warn=True) as host:
        taken, errors = intake.submit(host, taking, skip_invalid=skip_invalid, rejected=rejected)
        if errors and not skip_invalid:
            output.note(f"{len(errors)} of {len(taking.entries)} requests are wrong: nothing was submitted (--skip-invalid goes on with the others)")
            raise typer.Exit(2)
        _warn(taking, taken)
        repeatable = len(places) == 1 and places[0] != "-" and not taking.cases and not intake.without_reference(taking.entries)
        order = _Order(ctx, host, yes, dry_run, wait, agent(by), json, places[0] if repeatable else None)
        code = order.carry_out(list(dict.fromkeys((*taking.cases, *(row.case for row in taken)))), taken)
    if code or errors:
        raise typer.Exit(code or 1)


def _everything(ctx: typer.Context, wait: float, json: bool) -> None:
    from dsr_sdk.host.rounds import Postman

    with opened(ctx, warn=True) as host, progress.shown("carrying out") as report:
        with Postman(host) as postman:  # nobody's mail waits for the data sources
            drained = list(progress.gently(host, lambda: host.run_all(wait=wait, on_progress=report)).values())
        replied, sent = _mails(host)
        replied, sent = replied + postman.replied, sent + postman.sent
        later = host.next_due()
        workflow = host.config.workflow is not None
    if json:
        rows = [
            {
                "source": row.source,
                "finished": row.finished,
                "failed": row.failed,
                "postponed": row.postponed,
                "closed": row.closed,
                "halted": str(row.halted) if row.halted else None,
                "busy": row.busy,
            }
            for row in drained
        ]
        output.as_json({"sources": rows} | ({"closed_by_itself": replied, "mails_sent": sent} if workflow else {}))
    elif drained:
        reports.show_drained(drained)
    elif not replied and not sent:
        output.note(f"nothing is due; the next thing is due {output.when(later)}" if later else "nothing is due")
    if not json and (replied or sent):
        output.say(f"{sent} mails sent, {replied} cases replied to and closed by their template")
    if any(row.failed or row.halted for row in drained):
        output.note(f"see: {ctx.obj.line('status')}")
        raise typer.Exit(next((row.halted.exit_code for row in drained if row.halted), 1))


def _mails(host: Host) -> tuple[int, int]:
    """In a workflow, what is due beside the data sources: replies that go out by themselves, and mails; how many of each."""
    if host.config.workflow is None or host.config.mail is None:
        return 0, 0
    return progress.gently(host, lambda: (host.replies.automatic(), host.outbox.sweep()))


def _arguments(what: Sequence[str]) -> tuple[intake.Intake, list[str]]:
    """Case numbers as they are, everything else as a file."""
    from dsr_sdk.request import CASE_NUMBER

    everything = intake.Intake()
    places = []
    for word in what:
        if CASE_NUMBER.fullmatch(word.strip().upper()):
            everything.cases.append(case_number(word))
        else:
            places.append(word)
            read = intake.read(word)
            everything.cases.extend(read.cases)
            everything.entries.extend(read.entries)
    return everything, places


def _warn(taking: intake.Intake, taken: Sequence[intake.Taken]) -> None:
    known = sum(1 for row in taken if not row.new)
    if known:
        output.note(f"{known} of {len(taken)} known already by reference: the earlier case stands")
    anonymous = intake.without_reference(taking.entries)
    if anonymous:
        output.note(f"warning: {anonymous} of {len(taking.entries)} requests have no reference: given again, they would be new cases")


@dataclass(frozen=True, slots=True)
class _Order:
    """What the reader ordered. `again` is the file to name when the same order is given once more."""

    ctx: typer.Context
    host: Host
    yes: bool
    dry_run: bool
    wait: float
    by: str
    json: bool
    again: str | None

    def carry_out(self, numbers: Sequence[str], taken: Sequence[intake.Taken]) -> int:
        """Plan what is to be planned; with consent, approve and carry out. The exit code."""
        standing = {number: self.host.status(number) for number in numbers}
        undecided = [number for number in numbers if self._undecided(standing[number])]
        made = self._planned(undecided)
        if made and not self.json:
            plans.show_all(made)
        if self.yes and made:
            self.host.approve_many(made, by=self.by)
        results: list[Report] = []
        if not self.dry_run:
            # What an earlier plan was approved for goes on, even while a newer plan of the case waits for its own approval.
            due = [number for number in numbers if standing[number].status == "approved" or (self.yes and number in undecided)]
            shown = {report.case: report for report in self._run(due)}
            results = [shown.get(number, standing[number]) for number in numbers if number in shown or number not in undecided]
        if self.json:
            rows = [row.to_json() for row in taken]
            output.as_json({"submitted": rows, "plans": [plan.to_json() for plan in made], "cases": [report.to_json() for report in results]})
        elif results:
            if made:
                output.say()
            reports.show_all(results)
        return self._ending(made, results)

    def _undecided(self, report: Report) -> bool:
        """Whether the case wants a plan: it has none that is approved, or (with --yes) one with gaps that may have been mended."""
        if report.status not in ("received", "planned", "approved"):
            return False
        return self.dry_run or not report.approved or (self.yes and _gaps(report))

    def _planned(self, numbers: Sequence[str]) -> list[Plan]:
        """The newest plans where they are complete and fresh, so that what was shown is what --yes approves; new ones otherwise."""
        kept: dict[str, Plan] = {}
        now = datetime.now(UTC)
        for number in numbers:
            newest = self.host.latest_plan(number)
            if newest is not None and newest.approved_at is None and newest.complete and now - newest.made_at < _FRESH:
                kept[number] = newest
        made = planning.make(self.host, [number for number in numbers if number not in kept], wait=max(planning.PATIENCE, self.wait))
        kept.update((plan.case, plan) for plan in made)
        return [kept[number] for number in numbers]

    def _run(self, numbers: Sequence[str]) -> list[Report]:
        if not numbers:
            return []
        with progress.shown("carrying out") as report:
            return progress.gently(self.host, lambda: self.host.run_many(numbers, wait=self.wait, on_progress=report))

    def _ending(self, made: Sequence[Plan], results: Sequence[Report]) -> int:
        """What to do next, and the exit code."""
        line = self.ctx.obj.line
        if made and not self.yes:
            output.note(
                "this was a dry run: nothing was changed at any vendor" if not results else "not approved yet, so not carried out: the plans above"
            )
            subject = self.again or _few([plan.case for plan in made])
            output.note(f"next: {line(f'run {subject} --yes')}")
        gaps = [report.case for report in results if _gaps(report)]
        if gaps:
            output.note(f"not everything could be checked: mend what the statuses say, or add what is missing ({line('identity CASE')}),")
            output.note(f"then: {line(f'plan {_few(gaps)}')}")
        stuck = [report.case for report in results if report.needs_someone and report.case not in set(gaps)]
        if stuck:
            output.note(f"some of it needs someone: mend what the statuses say, then: {line(f'retry {stuck[0]}')} and {line(f'run {stuck[0]}')}")
        if any(row.next_at for report in results for row in report.sources):
            output.note("some of it comes due by itself: run it again then, or stay with --wait SECONDS")
        incomplete = made and not self.yes and not all(plan.complete for plan in made)
        return 1 if gaps or stuck or incomplete else 0


def _gaps(report: Report) -> bool:
    from dsr_sdk.engine.report import Status

    return any(row.status in (Status.COULD_NOT_CHECK, Status.MISSING_IDENTIFIER, Status.AMBIGUOUS_IDENTIFIER) for row in report.sources)


def _few(numbers: Sequence[str]) -> str:
    return " ".join(numbers[: plans.FEW]) + (" ..." if len(numbers) > plans.FEW else "")
