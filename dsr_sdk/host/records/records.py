"""Records: what happened to a case, who did it, what was said and when data was deleted: to look at, and to take away as JSON or PDF.

A record without personal data can be made of any case, of a shredded one too: it is what an auditor asks for years later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, BinaryIO, Final

from sqlalchemy import select
from sqlalchemy.engine import Connection

from dsr_sdk.host.desk import Desk, now
from dsr_sdk.host.process.panel import PanelSource
from dsr_sdk.host.records.history import Deletion, Histories, History, HistoryEvent, Said
from dsr_sdk.host.records.retention import Retention, Ripe
from dsr_sdk.ledger.cases import Case
from dsr_sdk.ledger.desk import files, mails, replies
from dsr_sdk.request import Request

__all__ = ["VERSION", "Deletion", "History", "HistoryEvent", "Records", "Said"]

VERSION: Final = 1
"""Of the record's JSON form: ``docs/schemas/record.json``."""


class Records(Desk):
    """Histories, records, retention."""

    def history(self, case: str, *, personal: bool = False) -> History:
        """Everything that happened to a case.

        Args:
            personal: Open the conversation, too. Without, it says who wrote when. Of a shredded case it is closed for good.

        Raises:
            LedgerError: There is no such case.
        """
        return Histories(self.host).of(case, personal=personal)

    def record(self, case: str, *, personal: bool = False, by: str | None = None) -> dict[str, Any]:
        """The record of a case as JSON values; its schema is ``docs/schemas/record.json``.

        Args:
            personal: With the person, the conversation and the reply. Without, it holds no personal data and may be kept for ever.
            by: Who takes it away: stands in the audit log, after what this record holds. None for a program of one's own.
        """
        return self._record(case, personal=personal, by=by, format="JSON")

    def pdf(self, case: str, stream: BinaryIO, *, personal: bool = False, by: str | None = None) -> None:
        """Write the same as a PDF (A4). See `dsr_sdk.host.records.record_pdf` for the scripts it can show.

        Raises:
            ConfigError: fpdf2 is not installed.
        """
        from dsr_sdk.host.records.record_pdf import write_pdf

        write_pdf(self._record(case, personal=personal, by=by, format="PDF"), stream)

    def retention(self, *, dry_run: bool) -> list[str]:
        """Shred the cases that are closed for longer than ``workflow.keep_days``; their numbers. With `dry_run`, those that would be."""
        policy = Retention(self.host)
        return [row.case for row in policy.ripe() if not row.waits_for] if dry_run else policy.run()

    def ripe(self) -> list[Ripe]:
        """The cases whose time is up, with the reason why some of them are left alone for now."""
        return Retention(self.host).ripe()

    def host_events(self, limit: int = 200) -> list[HistoryEvent]:
        """What happened to the installation itself, newest first: accounts, keys, data sources."""
        return Histories(self.host).of_host(limit)

    # --- what a record is made of --------------------------------------------------------------------------------------------------

    def _record(self, number: str, *, personal: bool, by: str | None, format: str) -> dict[str, Any]:
        made_at = now()
        history = self.history(number, personal=personal)
        case = history.case
        opened = personal and not case.shredded
        request = self.host.request(number) if opened else None
        with self.reading() as connection:
            reply = self._reply(connection, number, opened)
            attached = self._files(connection, number)
            letters = connection.execute(
                select(mails.c.kind, mails.c.state, mails.c.created_at, mails.c.sent_at).where(mails.c.case == number).order_by(mails.c.id)
            ).all()
        made: dict[str, Any] = {
            "schema": "dsr-sdk/record",
            "version": VERSION,
            "made_at": made_at.isoformat(),
            "company": self.host.config.host.company,
            "personal": personal,
            "case": _case(case),
            "person": _person(request) if request is not None else None,
            "agents": list(history.agents),
            "sources": [_source(row, opened) for row in history.sources],
            "deletions": [{"source": row.source, "title": row.title, "at": row.at.isoformat(), "by": row.by} for row in history.deletions],
            "conversation": [
                {
                    "at": row.at.isoformat(),
                    "direction": row.direction,
                    "author": row.author,
                    "body": row.body,
                    "files": list(row.files),
                    "mail": row.mail,
                }
                for row in history.conversation
            ],
            "reply": reply,
            "files": attached,
            "mails": [
                {"kind": row.kind, "state": row.state, "created_at": row.created_at.isoformat(), "sent_at": _iso(row.sent_at)} for row in letters
            ],
            "history": [
                {
                    "n": row.n,
                    "at": row.at.isoformat(),
                    "actor": row.actor,
                    "event": row.event,
                    "text": row.text,
                    "data": row.data,
                    "prev": row.prev,
                    "hash": row.hash,
                }
                for row in history.events
            ],
            "chain": {
                "verified": history.verified,
                "entries": len(history.events),
                "last": history.events[-1].hash if history.events else None,
                "problems": list(history.problems),
            },
        }
        if by is not None:
            with self.deciding() as (_, book):
                book.note(number, "record.exported", by, format=format, personal=personal)
        return made

    def _reply(self, connection: Connection, number: str, opened: bool) -> dict[str, Any] | None:
        row = connection.execute(
            select(replies, mails.c.sent_at).outerjoin(mails, mails.c.id == replies.c.mail).where(replies.c.case == number)
        ).first()
        if row is None:
            return None
        said: Mapping[str, Any] = {}
        if opened and row.sealed is not None:
            said = json.loads(self.ledger.cases.key(connection, number).open(row.sealed, "replies.sealed"))
        return {
            "mode": row.mode,
            "template": row.template,
            "language": row.language,
            "edited_at": row.edited_at.isoformat(),
            "edited_by": row.edited_by,
            "sent_at": _iso(row.sent_at),
            "subject": said.get("subject") or None,
            "body": said.get("body") or None,
            "reason": said.get("reason") or None,
        }

    def _files(self, connection: Connection, number: str) -> list[dict[str, Any]]:
        rows = connection.execute(select(files).where(files.c.case == number).order_by(files.c.id))
        return [
            {
                "id": row.id,
                "purpose": row.purpose,
                "source": row.source,
                "size": row.size,
                "sha256": row.sha256,
                "created_at": row.created_at.isoformat(),
                "created_by": row.created_by,
                "removed_at": _iso(row.removed_at),
            }
            for row in rows
        ]


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _case(case: Case) -> dict[str, Any]:
    return {
        "number": case.number,
        "type": case.type,
        "scope": case.scope,
        "channel": case.channel,
        "regime": case.regime,
        "stage": case.stage,
        "decision": case.decision,
        "reason": case.reason,
        "agent": case.agent,
        "received_at": case.received_at.isoformat(),
        "due_at": _iso(case.due_at),
        "verified_by": case.verified_by,
        "verified_at": _iso(case.verified_at),
        "duplicate_of": case.duplicate_of,
        "ended_at": _iso(case.ended_at),
        "shredded": case.shredded,
    }


def _person(request: Request) -> dict[str, Any]:
    name = request.subject.name
    written = json.loads(request.model_dump_json())
    return {
        "name": f"{name.first} {name.last}".strip() if name else None,
        "identities": [
            {"kind": row.kind, "value": " ".join(row.key[1:]), "source": row.source} for row in request.subject.identities if row.kind != "name"
        ],
        **{key: written[key] for key in ("country", "language", "custom_fields", "email_evidence", "reference")},
    }


def _source(row: PanelSource, opened: bool) -> dict[str, Any]:
    return {
        "source": row.source,
        "title": row.title,
        "process": row.process,
        "state": row.state.value,
        "found": row.found,
        "last_deleted": _iso(row.last_deleted),
        "ticked_at": _iso(row.ticked_at),
        "ticked_by": row.ticked_by,
        "retained": [{"resource": resource, "text": text} for resource, text in row.retained],
        "result": row.result or None,
        "overridden_at": _iso(row.overridden_at),
        "overridden_by": row.overridden_by,
        "reason": (row.reason or None) if opened else None,
    }
