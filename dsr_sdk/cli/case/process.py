"""Processing a case: search its data sources, give them free, mark what people did, and continue to the reply."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsr_sdk.cli import consent, output, people, progress
from dsr_sdk.cli.case import files, shown
from dsr_sdk.cli.case.review import Cases, many
from dsr_sdk.cli.session import By, CaseNumber, Json, Yes, agent, case_number, opened

if TYPE_CHECKING:
    from dsr_sdk.host import Host
    from dsr_sdk.host.process.panel import PanelSource

__all__ = ["register"]

SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="A data source of the case.", show_default=False)]
SourceNames = Annotated[list[str] | None, typer.Argument(metavar="SOURCE", help="Data sources of the case; all when left out.", show_default=False)]
Wait = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Stay for what is put off, or comes due: a vendor's job, a retry.")]

Why = Annotated[str, typer.Option("--reason", help="Why; at least 10 characters, kept sealed. - reads it from standard input.", show_default=False)]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    for name, command in (
        ("sources", sources),
        ("search", search),
        ("identifier", identifier),
        ("add-source", add_source),
        ("free", free),
        ("tick", tick),
        ("untick", untick),
        ("mark", mark),
        ("retry", retry),
        ("override", override),
        ("go-on", go_on),
        ("finish", finish),
    ):
        group.command(name)(command)


def sources(ctx: typer.Context, case: CaseNumber, json: Json = False) -> None:
    """Show how every data source of a case stands, what is still open, and what happened lately. Asks no vendor."""
    number = case_number(case)
    with opened(ctx) as host:
        _panel(ctx, host, number, json=json)


def _panel(ctx: typer.Context, host: Host, number: str, *, json: bool) -> tuple[PanelSource, ...]:
    panel = host.processing.panel(number)
    if json:
        output.as_json(shown.panel_json(panel))
    else:
        shown.show_panel(panel)
        shown.next_step(ctx, host, panel.case)
    return panel.sources


def search(ctx: typer.Context, case: CaseNumber, source: SourceNames = None, wait: Wait = 30, json: Json = False) -> None:
    """Search the data sources of a case. Changes nothing at any vendor. Ends with 1 when something could not be searched."""
    from dsr_sdk.host.process.panel import SourceState as State

    number = case_number(case)
    with opened(ctx, warn=True) as host:
        with progress.shown("searching") as report:
            progress.gently(host, lambda: host.processing.search(number, sources=source or None, wait=wait, on_progress=report))
        rows = _panel(ctx, host, number, json=json)
    if any(row.state in (State.COULD_NOT_CHECK, State.MISSING_IDENTIFIER, State.AMBIGUOUS, State.SEARCHING) for row in rows):
        raise typer.Exit(1)


def identifier(
    ctx: typer.Context,
    case: CaseNumber,
    email: people.Emails = None,
    phone: people.Phones = None,
    user_id: people.UserIds = None,
    vendor_id: people.VendorIds = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Enter an identifier that a data source was missing. Where it was missing is searched again."""
    number = case_number(case)
    found = people.some(email, phone, user_id, vendor_id)
    with opened(ctx) as host:
        for one in found:
            progress.gently(host, lambda one=one: host.processing.add_identifier(number, one, by=agent(by)))  # type: ignore[misc]  # bound at once
        _panel(ctx, host, number, json=json)


def add_source(ctx: typer.Context, case: CaseNumber, source: SourceName, by: By = "", json: Json = False) -> None:
    """Add a data source that is relevant after all."""
    number = case_number(case)
    with opened(ctx) as host:
        host.processing.add_source(number, source, by=agent(by))
        _panel(ctx, host, number, json=json)


# --- giving free -----------------------------------------------------------------------------------------------------------------------


def free(
    ctx: typer.Context,
    case: CaseNumber,
    source: SourceNames = None,
    wait: Wait = 0,
    no_run: Annotated[bool, typer.Option("--no-run", help="Only give free; the portal's engine or dsr run carries it out.")] = False,
    yes: Yes = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Give data sources free: exactly what the search has found there is deleted, collected or opted out, and letters are sent.

    Shows what that is, and asks. It cannot be taken back. Then it is carried out.
    """
    from dsr_sdk.errors import RequestError
    from dsr_sdk.host.process.panel import SourceState as State

    number = case_number(case)
    with opened(ctx, warn=True) as host:
        panel = host.processing.panel(number)
        known = {row.source: row for row in panel.sources}
        names = list(dict.fromkeys(source)) if source else [row.source for row in panel.sources if row.selectable]
        rows = [known[name] for name in names if name in known and known[name].selectable]
        if not names:
            fix = f"search first: dsr case search {number}" if any(row.state is State.NOT_SEARCHED for row in panel.sources) else ""
            raise RequestError("nothing can be given free now", source=number, fix=fix or f"see: dsr case sources {number}")
        if rows and not json:
            shown.show_deeds(panel, rows)
        verb, count = panel.verb or "Give free", len(rows)
        if rows:
            question = f"{verb} {count} source{'' if count == 1 else 's'}? This cannot be undone."
            consent.sure(question, f"giving {count} source{'' if count == 1 else 's'} free cannot be undone", yes=yes, json=json, source=number)
        given = host.processing.give_free(number, names, by=agent(by), revision=panel.case.revision, seen=panel.seen)
        if not json:
            output.note(f"gave {given} data source{'' if given == 1 else 's'} free")
        if not no_run:
            with progress.shown("carrying out") as report:
                progress.gently(host, lambda: host.run(number, wait=wait, on_progress=report))
        after = _panel(ctx, host, number, json=json)
    if any(row.source in names and row.state in (State.FAILED, State.IN_DOUBT, State.REAPPEARED) for row in after):
        raise typer.Exit(1)


def tick(ctx: typer.Context, case: CaseNumber, source: SourceName, yes: Yes = False, by: By = "", json: Json = False) -> None:
    """Tick an e-mail integration: its letter leaves, once, however often it is ticked."""
    from dsr_sdk.host.process.panel import SourceState as State

    number = case_number(case)
    with opened(ctx) as host:
        seen = {row.source: row for row in host.processing.panel(number).sources}
        if source in seen and not seen[source].ticked:
            title = output.clean(seen[source].title)
            consent.sure(f"Send the letter to {title}? It cannot be unsent.", "a letter cannot be unsent", yes=yes, json=json, source=source)
        host.processing.tick_email(number, source, by=agent(by))
        progress.gently(host, lambda: host.processing.run(number))
        rows = _panel(ctx, host, number, json=json)
    if any(row.source == source and row.state in (State.FAILED, State.IN_DOUBT) for row in rows):
        raise typer.Exit(1)


def untick(ctx: typer.Context, case: CaseNumber, source: SourceName, by: By = "", json: Json = False) -> None:
    """Take the tick of an e-mail integration back: a letter that has not begun to leave is not sent. One that has left cannot be unsent."""
    number = case_number(case)
    with opened(ctx) as host:
        cancelled = host.processing.untick(number, source, by=agent(by))
        output.note("the letter is not sent" if cancelled else "nothing was taken back")
        _panel(ctx, host, number, json=json)


# --- what people do --------------------------------------------------------------------------------------------------------------------


def mark(
    ctx: typer.Context,
    case: CaseNumber,
    source: SourceName,
    note: Annotated[str, typer.Option(help="What was seen or done; kept sealed with the case.", show_default=False)] = "",
    file: Annotated[list[Path] | None, typer.Option(help="What proves it, to be sealed with the case; may be repeated.", show_default=False)] = None,
    result: Annotated[str, typer.Option(help="Of a copy, what it came to: nothing-found, attached or elsewhere.", show_default=False)] = "",
    by: By = "",
    json: Json = False,
) -> None:
    """Mark a data source as done: by hand, or because the vendor has answered the letter."""
    number = case_number(case)
    with opened(ctx) as host:
        with files.attached(host, number, file or (), purpose="evidence", source=source, by=agent(by)) as ids:
            host.processing.mark_done(number, source, by=agent(by), note=note, files=ids, result=result.replace("-", "_"))
        _panel(ctx, host, number, json=json)


def retry(
    ctx: typer.Context,
    case: CaseNumber,
    source: SourceName,
    resend: Annotated[bool, typer.Option("--resend", help="Also a letter in doubt: it may then arrive twice.")] = False,
    wait: Wait = 0,
    by: By = "",
    json: Json = False,
) -> None:
    """Try again what failed at a data source, and carry it out."""
    from dsr_sdk.host.process.panel import SourceState as State

    number = case_number(case)
    with opened(ctx) as host:
        with progress.shown("carrying out") as report:
            progress.gently(host, lambda: host.processing.retry(number, source, by=agent(by), resend=resend))
            if any(row.source == source and row.ticked for row in host.processing.panel(number).sources):
                progress.gently(host, lambda: host.run(number, wait=wait, on_progress=report))
        rows = _panel(ctx, host, number, json=json)
    if any(row.source == source and row.state in (State.FAILED, State.COULD_NOT_CHECK, State.IN_DOUBT) for row in rows):
        raise typer.Exit(1)


def override(
    ctx: typer.Context,
    case: CaseNumber,
    source: SourceName,
    reason: Why,
    by: By = "",
    json: Json = False,
) -> None:
    """Take responsibility for going on without a data source."""
    number = case_number(case)
    with opened(ctx) as host:
        host.processing.override(number, source, by=agent(by), reason=consent.text_of(reason, "--reason"))
        _panel(ctx, host, number, json=json)


def go_on(
    ctx: typer.Context,
    case: CaseNumber,
    source: SourceName,
    reason: Why,
    by: By = "",
    json: Json = False,
) -> None:
    """Go on without waiting for a vendor that has accepted it. It is asked on, and if it fails the case is open again."""
    number = case_number(case)
    with opened(ctx) as host:
        host.processing.go_on(number, source, by=agent(by), reason=consent.text_of(reason, "--reason"))
        _panel(ctx, host, number, json=json)


def finish(
    ctx: typer.Context,
    case: Cases,
    all_done: Annotated[
        bool,
        typer.Option("--all-done", help="Your word: all data was deleted; it was handled internally; it is answered without a generated copy."),
    ] = False,
    yes: Yes = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Continue to the reply: processing is over. It cannot be taken back."""
    from dsr_sdk.errors import RequestError

    def words(host: Host, numbers: Sequence[str]) -> Sequence[str]:
        needed = [row for row in host.inbox.finishing(numbers) if row.word and not row.blockers]
        if not all_done and (json or yes or not output.interactive()):
            return ()
        for row in needed:
            output.note(f'{row.case}: "{row.word}"')
        said = all_done or (bool(needed) and output.confirmed(f"Is it so, of {'this one' if len(needed) == 1 else f'each of these {len(needed)}'}?"))
        return [row.case for row in needed] if said else ()

    def one(host: Host, number: str, revision: int) -> None:
        panel = host.processing.panel(number)
        word = all_done
        if panel.case.stage == "process" and panel.confirm and not word and not panel.blockers:
            if json or yes or not output.interactive():
                fix = f"dsr case copy-generate {number}, or say --all-done" if panel.case.type == "copy" else "say --all-done when it is so"
                raise RequestError(f'needs your word: "{panel.confirm}"', source=number, fix=fix)
            word = output.confirmed(f'"{panel.confirm}": is it so?')
        host.workflow.finish(number, by=agent(by), revision=revision, all_done=word)

    many(
        ctx,
        case,
        "finish",
        one,
        question="Continue {what} to the reply? Nothing can be processed afterwards.",
        refusal="nothing can be processed afterwards",
        yes=yes,
        by=agent(by),
        json=json,
        words=words,
    )
