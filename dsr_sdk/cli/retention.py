"""``dsr retention run``: closed cases are shredded when their time is up."""

from __future__ import annotations

from typing import Annotated

import typer

from dsr_sdk.cli import output, progress
from dsr_sdk.cli.session import Json, opened

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(lambda: None)  # a group, although it has one command
    group.command("run")(run)
    app.add_typer(group, name="retention", help="Cases that are closed for longer than keep_days under [workflow].")


def run(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list them, and what others wait for.")] = False,
    json: Json = False,
) -> None:
    """Shred the cases that are closed for longer than keep_days. A portal with an engine does it once a day."""
    with opened(ctx) as host:
        keep = host.records.settings.keep_days
        waiting = [row for row in host.records.ripe() if row.waits_for]
        done = progress.gently(host, lambda: host.records.retention(dry_run=dry_run))
    if json:
        output.as_json(
            {
                "keep_days": keep,
                "dry_run": dry_run,
                "cases": done,
                "waiting": [{"case": row.case, "closed": row.ended_at.isoformat(), "waits_for": row.waits_for} for row in waiting],
            }
        )
        return
    for number in done:
        output.say(f"{'would be shredded' if dry_run else 'shredded'}: {number}")
    for row in waiting:
        output.say(output.clean(f"left alone: {row.case}: waits for {row.waits_for}"))
    if keep is None:
        output.note("nothing is shredded by itself: keep_days under [workflow] says after how many days")
    elif not done:
        output.note(f"no case is closed for longer than {keep} days")
