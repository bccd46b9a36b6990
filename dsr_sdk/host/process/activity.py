"""The recent activity of a case: what happened lately while it was processed, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.engine import Connection

from dsr_sdk.connector import Process
from dsr_sdk.host.process.panel import title_of, verb_of
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.schema import audit

if TYPE_CHECKING:
    from dsr_sdk.host.host import Host

__all__ = ["Activity", "activities"]


@dataclass(frozen=True, slots=True)
class Activity:
    """A line of the recent activity."""

    at: datetime
    actor: str
    text: str


_LINES = {
    "letter.in_doubt": "Nobody knows whether the letter to {title} was sent",
    "letter.confirmed_sent": "Confirmed that the letter to {title} was sent",
    "source.confirmed": "Marked {title} as done",
    "source.overridden": "Went on without {title}",
    "source.not_awaited": "Went on without waiting for {title}, which has accepted it",
    "request.failed_late": "{title} failed after processing had ended",
    "source.unticked": "Unticked {title}: nothing was taken back",
    "letter.cancelled": "Unticked {title}: its letter is not sent",
    "erase.accepted": "{title} accepted the deletion",
    "erase.erased": "Deleted from {title}",
    "erase.anonymized": "Anonymised at {title}",
    "erase.failed": "Deletion failed at {title}",
    "email.failed": "The letter to {title} could not be sent",
    "export.failed": "Collecting failed at {title}",
    "data.exported": "Collected from {title}",
    "opt_out.opted_out": "Opted out at {title}",
    "opt_out.failed": "Opting out failed at {title}",
    "erasure.verified": "Searched {title} again: nothing is left of what was deleted",
    "erasure.reappeared": "Found again at {title} after deletion",
    "stage.process": "Accepted the request",
    "identity.added": "Added an identifier",
    "identity.carried": "Took identifiers over from a duplicate: search again",
    "file.attached": "Attached a file",
    "file.removed": "Removed a file",
    "copy.generated": "Generated the copy",
    "copy.broken_off": "The person's download of the copy broke off",
    "copy.delivered": "The person has fetched the copy",
    "tasks.retried": "Tried again at {title}",
}


def activities(host: Host, connection: Connection, case: Case, *, limit: int = 20) -> tuple[Activity, ...]:
    """What happened lately while processing, newest first; the same line again and again stands once."""
    wanted = (*_LINES, "letter.sent", "sources.given_free")
    query = (
        select(audit.c.at, audit.c.actor, audit.c.event, audit.c.data)
        .where(audit.c.case == case.number, audit.c.event.in_(wanted))
        .order_by(audit.c.n.desc())
        .limit(limit * 5)
    )
    found: list[Activity] = []
    for line in _lines(host, case, connection.execute(query)):
        if not found or (found[-1].actor, found[-1].text) != (line.actor, line.text):
            found.append(line)
    return tuple(found[:limit])


def _lines(host: Host, case: Case, rows: Iterable[Any]) -> Iterator[Activity]:
    letters = {name for name, source in host.registry.sources.items() if source.connector.process is Process.EMAIL}
    for at, actor, event, raw in rows:
        data = json.loads(raw)
        if event == "letter.sent":
            text = str(data["text"])  # word for word as product document 002 has it
        elif event == "sources.given_free":
            if data.get("by_hand"):
                continue  # that is how a mark begins, and the mark has a line of its own
            names = [title_of(host, name) for name in data["sources"]]
            text = f"{verb_of(case.type)} {len(names)} source{'' if len(names) == 1 else 's'}: {', '.join(names)}"
            if all(name in letters for name in data["sources"]):
                text = f"Let the e-mail be sent to {', '.join(names)}"
        else:
            text = _LINES[event].format(title=title_of(host, str(data.get("source", ""))))
        yield Activity(at, actor, text)
