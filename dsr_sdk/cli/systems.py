"""Systems of the inventory as the command line shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from dsr_sdk.cli import output

if TYPE_CHECKING:
    from dsr_sdk.host.inventory.systems import System

__all__ = ["next_of", "system_json", "table", "told"]


def table(rows: Sequence[System]) -> None:
    """A list."""
    cells = [
        (
            *(
                row.name,
                row.title,
                row.category,
                row.process,
                "yes" if row.handling else "",
                row.configured_in if row.state == "accepted" else row.state,
            ),
            *(row.owner or "", output.when(row.checked_at), "cannot be used" if row.broken else "not active" if row.active is False else ""),
        )
        for row in rows
    ]
    output.table(("name", "title", "category", "process", "in requests", "stands in", "owner", "checked", "status"), cells)


def system_json(row: System) -> dict[str, Any]:
    """One, for ``--json``; without its settings."""
    return {
        "name": row.name,
        "title": row.title,
        "category": row.category,
        "process": row.process or None,
        "connector": row.connector,
        "handling": row.handling,
        "origin": row.origin,
        "state": row.state,
        "configured_in": row.configured_in,
        "owner": row.owner,
        "active": row.active,
        "privacy_address": row.privacy_address,
        "broken": row.broken,
        "checked": row.checked,
        "checked_at": row.checked_at.isoformat() if row.checked_at else None,
        "identified_by": list(row.identified_by),
        "revision": row.revision,
    }


def told(ctx: typer.Context, row: System, *, json: bool, next_: str = "") -> None:
    """One, after it was changed.

    Args:
        next_: The command that is mostly needed next.
    """
    if json:
        output.as_json(system_json(row))
        return
    how = f"{row.process or 'listed only'}, {'in requests' if row.handling else 'not in requests'}"
    output.say(output.clean(f"{row.name}: {row.title}, {how}" + (", e-mail not active" if row.active is False else "")))
    if row.broken:
        output.note(f"warning: {row.broken}")
    if next_:
        output.note(f"next: {ctx.obj.line(next_)}")


def next_of(row: System) -> str:
    """What is mostly done next with it."""
    if row.process == "email" and row.active is False:
        return f"inventory activate {row.name}" if row.privacy_address else f"inventory set {row.name} --set privacy_address=ADDRESS"
    if row.process == "automated":
        return f"inventory check {row.name}"
    return "" if row.handling else f"inventory handling {row.name} on"
