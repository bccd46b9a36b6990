"""The ledger's tables: one schema on SQLite and PostgreSQL.

Personal data stands only in columns named ``sealed...`` (AES-GCM under the key of the case) and, as keyed hashes, in columns named
``fingerprint``. Everything else may outlive the person: case number, dates, counts, outcomes, the audit chain.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from dsr_sdk.ledger import desk  # noqa: F401 - its tables belong to the metadata, whoever imports it
from dsr_sdk.ledger.columns import ROW_ID, Instant, metadata

__all__ = ["Instant", "audit", "case_identities", "cases", "checkpoints", "meta", "metadata", "plans", "suppression", "tasks"]


meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

cases = Table(
    "cases",
    metadata,
    Column("case", String(24), primary_key=True),
    Column("type", String(20), nullable=False),
    Column("scope", String(20), nullable=False),
    Column("channel", String(20), nullable=False),
    Column("regime", String(32)),
    Column("status", String(20), nullable=False, doc="received, planned, approved, done, shredded"),
    Column("received_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("reference_fingerprint", LargeBinary(32), unique=True),
    Column("wrapped_key", LargeBinary, doc="the case key under the master key; NULL once the case is shredded"),
    Column("sealed_request", LargeBinary),
    Column("version", Integer, nullable=False, server_default="0"),
    # --- the workflow's; all NULL for a host that has a workflow of its own ---
    Column("stage", String(10), doc="review, process, reply, closed; NULL outside the workflow"),
    Column("stage_at", Instant, doc="when it entered the stage"),
    Column("revision", Integer, nullable=False, server_default="0", doc="counts the decisions of people; the loser of a race is told"),
    Column("decision", String(12), doc="accepted, rejected, withdrawn, duplicate; NULL while in review"),
    Column("reason", String(40), doc="code of the reason of a decision"),
    Column("agent", String(200), doc="the account that it is assigned to"),
    Column("due_at", Instant, doc="when the person must have been answered"),
    Column("verified_by", String(20), doc="oauth, email, document, questions, controller; NULL while the identity is unproven"),
    Column("verified_at", Instant),
    Column("duplicate_of", String(24), doc="an older open case of the same person and type"),
    Column("ended_at", Instant, doc="when it was closed"),
    Column("paused_at", Instant, doc="since when its clock stands still; NULL while it runs"),
)
Index("ix_cases_status_received_at", cases.c.status, cases.c.received_at)
# The requests page reads open cases by due date and closed ones by their end, a page at a time. Closed cases are not in the indexes of
# the open ones, so working through what is open costs the same however long the history grows. Every index carries all that a filter
# may ask for, so a filter that few cases pass is answered from the index alone, without touching the sealed rows.
_OPEN = cases.c.stage.is_not(None) & cases.c.ended_at.is_(None)
_ENDED = cases.c.ended_at.is_not(None)
_ASKED = (cases.c.stage, cases.c.type, cases.c.agent, cases.c.channel)
for _name, _first in (("open", None), ("open_stage", cases.c.stage), ("open_type", cases.c.type), ("open_agent", cases.c.agent)):
    _head = () if _first is None else (_first,)
    _columns = (*_head, cases.c.due_at, cases.c.case, *(column for column in _ASKED if column is not _first), cases.c.paused_at, cases.c.ended_at)
    Index(f"ix_cases_{_name}", *_columns, sqlite_where=_OPEN, postgresql_where=_OPEN)
for _name, _first in (("ended", None), ("ended_type", cases.c.type), ("ended_agent", cases.c.agent), ("ended_channel", cases.c.channel)):
    _head = () if _first is None else (_first,)
    _tail = (column for column in _ASKED[1:] if column is not _first)
    _columns = (*_head, cases.c.ended_at, cases.c.case, *_tail, cases.c.due_at, cases.c.received_at)
    Index(f"ix_cases_{_name}", *_columns, sqlite_where=_ENDED, postgresql_where=_ENDED)

case_identities = Table(
    "case_identities",
    metadata,
    Column("case", String(24), ForeignKey("cases.case"), primary_key=True),
    Column("fingerprint", LargeBinary(32), primary_key=True),
    Column("kind", String(20), nullable=False),
)
Index(None, case_identities.c.fingerprint)

plans = Table(
    "plans",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("case", String(24), ForeignKey("cases.case"), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("approved_at", Instant),
    Column("approved_by", String(200)),
    Column("sealed_body", LargeBinary),
)
Index(None, plans.c.case, plans.c.id)

tasks = Table(
    "tasks",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("case", String(24), ForeignKey("cases.case"), nullable=False),
    Column("source", String(63), nullable=False),
    Column("action", String(12), nullable=False, doc="find, erase, export, opt_out, email, manual, gap, verify"),
    Column("state", String(12), nullable=False, doc="waiting, ready, acting, pending, doubt, done, failed"),
    Column("next_at", Instant, doc="when a drain should take it; NULL when nothing is due"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("resource", String(100)),
    Column("count", Integer),
    Column("sealed", LargeBinary, doc="the match, or what was found"),
    Column("sealed_job", LargeBinary, doc="the vendor's job, while it is pending"),
    Column("job_fingerprint", LargeBinary(32), doc="the same for tasks that wait for the same job: polled once"),
    Column("intent_at", Instant, doc="when the effect was about to be made"),
    Column("step", String(20), doc="how far an effect in several steps had come"),
    Column("outcome", Text, doc="JSON, see result.outcome_to_json"),
    Column("error", Text, doc="JSON: class and message, without personal data"),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
)
# Finished tasks have no next_at, so the index a drain reads holds only live work and stays small however long the history grows.
Index("ix_tasks_due", tasks.c.source, tasks.c.next_at, sqlite_where=tasks.c.next_at.is_not(None), postgresql_where=tasks.c.next_at.is_not(None))
Index("ix_tasks_case", tasks.c.case, tasks.c.source)
# What the dashboard counts for each data source: live work has no finished_at.
_EFFECT = tasks.c.action.not_in(("find", "verify"))
_COUNTED = (tasks.c.source, tasks.c.finished_at, tasks.c.case, tasks.c.state, tasks.c.action)
Index("ix_tasks_effects", *_COUNTED, sqlite_where=_EFFECT, postgresql_where=_EFFECT)

suppression = Table(
    "suppression",
    metadata,
    Column("fingerprint", LargeBinary(32), primary_key=True),
    Column("source", String(63), primary_key=True),
    Column("case", String(24), nullable=False),
    Column("erased_at", Instant, nullable=False),
)
Index(None, suppression.c.erased_at)

audit = Table(
    "audit",
    metadata,
    Column("seq", ROW_ID, primary_key=True, autoincrement=True),
    Column("case", String(24), nullable=False),
    Column("n", Integer, nullable=False, doc="1, 2, 3 ... within the case"),
    Column("at", Instant, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("event", String(60), nullable=False),
    Column("data", Text, nullable=False, doc="canonical JSON, without personal data"),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("case", "n"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    Column("to_seq", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
)
