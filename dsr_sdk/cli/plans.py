"""A plan as people read it: what was found, what would be erased, what is kept and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsr_sdk.cli import output

if TYPE_CHECKING:
    from dsr_sdk.engine import Plan
    from dsr_sdk.engine.plan import Deed, PlannedSource

__all__ = ["show", "show_all", "what"]

FEW = 3
"""Plans that are shown in full; more are shown one line each."""
MANY = 40
"""Lines that are shown at most."""


def show_all(plans: Sequence[Plan]) -> None:
    """Plans in full when they are few, otherwise a line each."""
    if len(plans) <= FEW:
        for number, plan in enumerate(plans):
            if number:
                output.say()
            show(plan)
        return
    rows = [
        (
            plan.case,
            output.words(plan.type),
            sum(1 for source in plan.sources if source.matches),
            what(plan),
            "; ".join(_gaps(plan)),
            len(plan.warnings) + sum(len(source.warnings) for source in plan.sources) or "",
        )
        for plan in sorted(plans, key=_calm)[:MANY]
    ]
    output.table(("case", "type", "sources", "what would be done", "unclear", "warnings"), rows)
    if len(plans) > MANY:
        output.say(f"and {len(plans) - MANY} more; those with gaps and warnings come first")
    gaps = sum(1 for plan in plans if not plan.complete)
    output.say(f"{len(plans)} plans" + (f", {gaps} not complete" if gaps else "") + f". In all: {what(*plans)}.")


def _calm(plan: Plan) -> bool:
    """Whether there is nothing about it to look at first."""
    return plan.complete and not plan.warnings and not any(source.warnings for source in plan.sources)


def what(*plans: Plan) -> str:
    """In one phrase: ``erase 5, keep 2 by law, write 1 letter``."""
    from dsr_sdk.engine.plan import Deed, Standing

    phrases = ((Deed.ERASE, "erase"), (Deed.EXPORT, "copy"), (Deed.OPT_OUT, "opt out"), (Deed.RETAIN, "keep"), (Deed.LEAVE, "leave"))
    sources = [source for plan in plans for source in plan.sources]
    said = [f"{verb} {count}" for deed, verb in phrases if (count := sum(source.count(deed) for source in sources))]
    letters = sum(1 for source in sources if source.standing is Standing.BY_EMAIL)
    by_hand = sum(1 for source in sources if source.standing is Standing.BY_HAND)
    said += [f"write {letters} letter{'s' if letters > 1 else ''}"] if letters else []
    said += [f"{by_hand} by hand"] if by_hand else []
    return ", ".join(said) or "nothing"


def show(plan: Plan) -> None:
    """One plan in full."""
    from dsr_sdk.engine.plan import Deed

    scope = f", {output.words(plan.scope)}" if plan.type == "deletion" else ""
    output.say(f"{plan.case}  {output.words(plan.type)}{scope}  planned {output.when(plan.made_at)}")
    acting = {"deletion": "erase", "copy": "copy", "do_not_sell": "opt out"}.get(plan.type, "do")
    rows = [
        (
            source.source,
            source.title,
            output.words(source.standing.value),
            source.count(*Deed) if source.matches else "",
            _resources(source, Deed.ERASE, Deed.ALONG, Deed.EXPORT, Deed.OPT_OUT),
            _resources(source, Deed.RETAIN),
            _resources(source, Deed.LEAVE),
            source.calls or "",
        )
        for source in plan.sources
    ]
    output.table(("source", "title", "standing", "found", acting, "keep", "leave", "calls"), rows)
    for source in plan.sources:
        for line in _remarks(source):
            output.say(output.clean(f"{source.source}: {line}"))
    for warning in plan.warnings:
        output.say(output.clean(f"warning: {warning}"))
    if not plan.complete:
        output.say(f"not complete: {'; '.join(_gaps(plan))}. The case cannot be finished before that is mended and planned again.")
    approved = f"approved {output.when(plan.approved_at)} by {output.clean(plan.approved_by)}" if plan.approved_at else "not approved"
    output.say(f"in all: {what(plan)}. {approved}.")
    output.say(f"hash {plan.hash}")


def _resources(source: PlannedSource, *deeds: Deed) -> str:
    counts: dict[str, int] = {}
    for match in source.matches:
        if match.deed in deeds:
            counts[match.resource] = counts.get(match.resource, 0) + match.count
    return ", ".join(f"{resource} {count}" for resource, count in counts.items())


def _remarks(source: PlannedSource) -> list[str]:
    from dsr_sdk.engine.plan import Standing

    lines: list[str] = []
    if source.detail and source.standing is not Standing.FOUND:
        lines.append(f"{output.words(source.standing.value)}: {source.detail}")
    reasons = dict.fromkeys((match.deed.value, match.resource, match.note) for match in source.matches if match.note)
    said = {"retain": "kept", "leave": "left"}
    lines.extend(f"{said.get(deed, deed)}: {resource}: {reason}" for deed, resource, reason in reasons)
    lines.extend(f"warning: {warning}" for warning in source.warnings)
    return lines


def _gaps(plan: Plan) -> list[str]:
    from dsr_sdk.engine.plan import Standing

    gaps = (Standing.COULD_NOT_CHECK, Standing.MISSING_IDENTIFIER, Standing.AMBIGUOUS_IDENTIFIER)
    return output.grouped((source.standing.value, source.source) for source in plan.sources if source.standing in gaps)
