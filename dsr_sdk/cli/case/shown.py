"""Cases of the workflow as the command line shows them, and what to do next. No personal data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from dsr_sdk.cli import output, reports

if TYPE_CHECKING:
    from dsr_sdk.host import Host
    from dsr_sdk.host.cases.inbox import BulkResult
    from dsr_sdk.host.process.panel import Panel, PanelSource
    from dsr_sdk.ledger.cases import Case

__all__ = ["bulk", "case_json", "decided", "head", "next_step", "panel_json", "show_deeds", "show_panel", "source_json"]


def case_json(case: Case) -> dict[str, Any]:
    """A case with its place in the workflow, for ``--json``."""
    return reports.case_json(case) | {
        "stage": case.stage,
        "decision": case.decision,
        "reason": case.reason,
        "agent": case.agent,
        "due_at": _iso(case.due_at),
        "paused_at": _iso(case.paused_at),
        "verified_by": case.verified_by,
        "duplicate_of": case.duplicate_of,
        "ended_at": _iso(case.ended_at),
        "revision": case.revision,
    }


def _iso(moment: Any) -> str | None:
    return moment.isoformat() if moment else None


def head(case: Case) -> str:
    """A case in one line."""
    parts = [case.number, output.words(case.type), case.stage or case.status]
    if case.decision and case.decision != "accepted":
        parts.append(case.decision + (f" ({output.words(case.reason)})" if case.reason else ""))
    if case.ended_at:
        parts.append(f"closed {output.when(case.ended_at)}")
    elif case.paused_at:
        parts.append(f"clock stands still since {output.when(case.paused_at)}")
    elif case.due_at:
        parts.append(f"due {output.when(case.due_at)}")
    if case.agent:
        parts.append(f"with {case.agent}")
    return output.clean("  ".join(parts))


def decided(ctx: typer.Context, host: Host, number: str, *, json: bool) -> None:
    """How a case stands after a decision, and what comes next."""
    case = host.workflow.get(number)
    if json:
        output.as_json(case_json(case))
        return
    output.say(head(case))
    next_step(ctx, host, case)


def bulk(results: Sequence[BulkResult], *, json: bool) -> None:
    """What became of many; raises `typer.Exit` with 1 when one of them could not be done."""
    if json:
        output.as_json({"results": [{"case": row.case, "ok": row.ok, "error": row.error or None} for row in results]})
    else:
        for row in results:
            output.say(output.clean(f"{row.case}: {'done' if row.ok else row.error}"))
    if not all(row.ok for row in results):
        raise typer.Exit(1)


def next_step(ctx: typer.Context, host: Host, case: Case) -> None:
    """The command that people mostly need next."""
    from dsr_sdk.host.cases.verification import Requirement
    from dsr_sdk.host.cases.workflow import Stage
    from dsr_sdk.request import RequestType

    line, number = ctx.obj.line, case.number
    if case.stage == Stage.REVIEW:
        if case.duplicate_of:
            output.note(f"the same person waits for the same already: {line(f'case merge {number} --into {case.duplicate_of}')}, or go on with both")
        if case.verified_by is None and host.workflow.requirement(case) is Requirement.REQUIRED:
            ask = f"{line(f'case ask-to-verify {number}')}, or " if host.config.mail is not None else ""
            output.note(f"next: the identity must be proven: {ask}{line(f'case verify {number} --method document')}")
        else:
            output.note(f"next: {line(f'case accept {number}')} (or case reject)")
    elif case.stage == Stage.PROCESS:
        if RequestType(case.type).automatic:
            _process(ctx, host.processing.panel(number))
        else:
            output.note(f"next: people handle it; when it is done: {line(f'case finish {number} --all-done')}")
    elif case.stage == Stage.REPLY:
        output.note(f"next: read {line(f'case reply {number}')}, then {line(f'case close {number}')}")


def _process(ctx: typer.Context, panel: Panel) -> None:
    from dsr_sdk.host.process.panel import SourceState as State

    line, number = ctx.obj.line, panel.case.number
    states: dict[State, list[str]] = {}
    for row in panel.sources:
        states.setdefault(row.state, []).append(row.source)
    said = []
    if State.NOT_SEARCHED in states:
        said.append(line(f"case search {number}"))
    elif panel.selectable:
        said.append(line(f"case free {number}"))
    for state in (State.MISSING_IDENTIFIER, State.AMBIGUOUS):
        if state in states and not said:
            said.append(line(f"case identifier {number} --email ... (or --phone, --user-id, --vendor-id)"))
    for state, command in (
        (State.BY_HAND, "mark"),
        (State.IN_DOUBT, "mark"),
        (State.FAILED, "retry"),
        (State.REAPPEARED, "retry"),
        (State.COULD_NOT_CHECK, "retry"),
        (State.EMAIL_SENT, "mark"),
    ):
        said.extend(line(f"case {command} {number} {name}") for name in states.get(state, ()) if len(said) < 3)
    if not said and panel.blockers and any(state in states for state in (State.WORKING, State.WAITING)):
        said.append(f"{line(f'run {number} --wait 60')} (it waits for a vendor)")
    if not panel.blockers:
        if panel.case.type == "copy" and panel.confirm:
            said.append(line(f"case copy-generate {number}"))
        else:
            said.append(line(f"case finish {number}" + (" --all-done" if panel.confirm else "")))
    if said:
        output.note(f"next: {'; '.join(said)}")


# --- the panel -----------------------------------------------------------------------------------------------------------------------


def show_panel(panel: Panel) -> None:
    """Every data source, what bars the way, and what happened lately."""
    output.say(head(panel.case))
    if not panel.sources:
        output.say("no data source takes part")
    rows = [
        (
            row.source,
            row.title,
            row.process,
            output.words(row.state.value),
            "" if row.found is None else str(row.found),
            "yes" if row.ticked else "",
            output.when(row.last_deleted),
            output.when(row.next_at),
            "; ".join(part for part in (row.detail, f"needs {output.words(row.missing)}" if row.missing else "", *row.warnings) if part),
        )
        for row in panel.sources
    ]
    if rows:
        output.table(("source", "title", "process", "state", "found", "given free", "last deleted", "next due", "detail"), rows)
    for row in panel.sources:
        for resource, text in row.retained:
            output.say(output.clean(f"{row.source}: kept: {resource}: {text}"))
        for info in row.files:
            output.say(f"{row.source}: file {info.id}, {info.media_type}, {info.size} bytes")
    for sentence in panel.blockers:
        output.say(output.clean(f"still open: {sentence}"))
    for line in panel.activity[:5]:
        output.say(output.clean(f"{output.when(line.at)}  {line.actor}  {line.text}"))


def show_deeds(panel: Panel, rows: Sequence[PanelSource]) -> None:
    """What giving these free does, source by source."""
    cells = []
    for row in rows:
        for resource, deed, count, why in row.deeds:
            cells.append((row.source, output.words(str(deed)), str(count), resource, why))
        if not row.deeds:
            cells.append((row.source, "write a letter" if row.process == "email" else (panel.verb or "").lower(), "", "", row.detail))
        cells.extend((row.source, "warning", "", "", warning) for warning in row.warnings)
    output.table(("source", "what", "records", "of", "why"), cells)


def source_json(row: PanelSource) -> dict[str, Any]:
    """A data source of a panel, for ``--json``; no reason of an override, which may be personal."""
    return {
        "source": row.source,
        "title": row.title,
        "category": row.category,
        "process": row.process,
        "state": row.state.value,
        "found": row.found,
        "selectable": row.selectable,
        "given_free": row.ticked,
        "given_free_by": row.ticked_by,
        "given_free_at": _iso(row.ticked_at),
        "last_deleted": _iso(row.last_deleted),
        "sent_at": _iso(row.sent_at),
        "cancellable": row.cancellable,
        "next_at": _iso(row.next_at),
        "missing": [kind for kind in row.missing.split(", ") if kind],
        "detail": row.detail,
        "deeds": [{"resource": resource, "deed": str(deed), "records": count, "why": why} for resource, deed, count, why in row.deeds],
        "warnings": list(row.warnings),
        "retained": [{"resource": resource, "text": text} for resource, text in row.retained],
        "awaited": row.awaited,
        "result": row.result or None,
        "overridden_by": row.overridden_by,
        "overridden_at": _iso(row.overridden_at),
        "files": [info.id for info in row.files],
        "owner": row.owner,
    }


def panel_json(panel: Panel) -> dict[str, Any]:
    """The whole panel, for ``--json``."""
    return {
        "case": case_json(panel.case),
        "sources": [source_json(row) for row in panel.sources],
        "searching": panel.searching,
        "selectable": panel.selectable,
        "blockers": list(panel.blockers),
        "confirm": panel.confirm or None,
        "needs": list(panel.needs),
        "activity": [{"at": line.at.isoformat(), "actor": line.actor, "text": line.text} for line in panel.activity],
    }
