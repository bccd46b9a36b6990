"""The tables of request handling: accounts, conversations, letters to the person, files, links, templates, the inventory.

The rule is that of ``schema.py``: what tells about a data subject stands in columns named ``sealed...``, under the key of its case. Agents
are no data subjects here: their accounts are e-mail addresses in the open, as they are in the audit log.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, literal_column

from dsr_sdk.ledger.columns import ROW_ID, Instant, metadata

__all__ = [
    "LEFT_OUT",
    "accounts",
    "api_keys",
    "case_sources",
    "files",
    "filters",
    "inventory",
    "links",
    "mails",
    "messages",
    "metadata",
    "redactions",
    "replies",
    "sessions",
    "templates",
]

# --- one case's -----------------------------------------------------------------------------------------------------------------------

case_sources = Table(
    "case_sources",
    metadata,
    Column("case", String(24), ForeignKey("cases.case"), primary_key=True),
    Column("source", String(63), primary_key=True),
    Column("added_at", Instant, nullable=False, doc="when it was chosen as relevant to the request"),
    Column("added_by", String(200), nullable=False),
    Column("ticked_at", Instant, doc="when an agent gave it free: deletion, letter, manual work"),
    Column("ticked_by", String(200)),
    Column("overridden_at", Instant, doc="when an agent took responsibility for going on without it"),
    Column("overridden_by", String(200)),
    Column("overridden_state", String(20), doc="how it stood then: waiting means that only the waiting was given up"),
    Column("sealed_reason", LargeBinary, doc="why it was overridden"),
    Column("ended_at", Instant, doc="the case's, so that the closed cases of a data source are read in order"),
)
Index(None, case_sources.c.source, case_sources.c.ended_at, case_sources.c.case)
LEFT_OUT = case_sources.c.overridden_at.is_not(None) & (case_sources.c.overridden_state != literal_column("'waiting'"))
"""Somebody went on without it, in the words of its index."""
_LEFT_OUT = (case_sources.c.source, case_sources.c.case, case_sources.c.overridden_at, case_sources.c.overridden_state)  # SQLite reads no row then
Index("ix_case_sources_left_out", *_LEFT_OUT, sqlite_where=LEFT_OUT, postgresql_where=LEFT_OUT)

messages = Table(
    "messages",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("case", String(24), ForeignKey("cases.case"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("direction", String(8), nullable=False, doc="out (to the person), in (from the person), note (among agents)"),
    Column("author", String(200), nullable=False, doc="an account, or subject"),
    Column("sealed", LargeBinary, doc="JSON: body, subject, file ids"),
    Column("mail", ROW_ID, doc="the letter it went out with"),
    Column("read_at", Instant, doc="when an agent first saw an answer"),
)
Index(None, messages.c.case, messages.c.id)
_UNREAD = (messages.c.direction == "in") & messages.c.read_at.is_(None)
Index("ix_messages_unread", messages.c.case, sqlite_where=_UNREAD, postgresql_where=_UNREAD)

mails = Table(
    "mails",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("case", String(24), ForeignKey("cases.case")),
    Column("kind", String(20), nullable=False, doc="reply, message, verify, code, copy, receipt, invite, notice"),
    Column("state", String(12), nullable=False, doc="ready, handover, sent, doubt, failed, dropped"),
    Column("sealed", LargeBinary, doc="JSON: to, subject, body; under the case's key, or the host's box where there is no case"),
    Column("sealed_to", LargeBinary, doc="the address, masked, under the case's key: it stays when the mail's text is gone"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("next_at", Instant, doc="when a sweep should take it; NULL when nothing is due"),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant),
    Column("message_id", String(200)),
    Column("error", Text, doc="JSON: class and message, without personal data"),
)
Index("ix_mails_due", mails.c.next_at, sqlite_where=mails.c.next_at.is_not(None), postgresql_where=mails.c.next_at.is_not(None))
Index(None, mails.c.case)

links = Table(
    "links",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("case", String(24), ForeignKey("cases.case")),
    Column("purpose", String(20), nullable=False, doc="verify, answer, copy, help, code, pickup"),
    Column("digest", LargeBinary(32), nullable=False, unique=True, doc="keyed hash of the token: the token itself is kept nowhere"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("uses_left", Integer, nullable=False, server_default="1"),
    Column("tries_left", Integer, nullable=False, server_default="10", doc="wrong codes that may still be given"),
    Column("used_at", Instant),
    Column("sealed", LargeBinary, doc="JSON: what belongs to the link"),
)
Index(None, links.c.case)

files = Table(
    "files",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("case", String(24), ForeignKey("cases.case"), nullable=False),
    Column("purpose", String(20), nullable=False, doc="evidence, identity, copy, package, message"),
    Column("source", String(63), doc="the data source it proves or was collected from"),
    Column("sealed", LargeBinary, doc="JSON: name, media type"),
    Column("size", Integer, nullable=False, doc="bytes"),
    Column("sha256", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("removed_at", Instant),
)
Index(None, files.c.case)

redactions = Table(
    "redactions",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("case", String(24), ForeignKey("cases.case"), nullable=False),
    Column("source", String(63), nullable=False),
    Column("resource", String(100), nullable=False),
    Column("sealed", LargeBinary, doc="JSON: which record, which field, why"),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(200), nullable=False),
    sqlite_autoincrement=True,  # rows are deleted here: a number that came again would let somebody take back another redaction than they saw
)
Index(None, redactions.c.case)

replies = Table(
    "replies",
    metadata,
    Column("case", String(24), ForeignKey("cases.case"), primary_key=True),
    Column("mode", String(8), nullable=False, doc="mail, or none: closed without a reply"),
    Column("template", String(100), doc="the template it began from"),
    Column("language", String(35)),
    Column("sealed", LargeBinary, doc="JSON: subject, body, the reason of a missing reply"),
    Column("edited_at", Instant, nullable=False),
    Column("edited_by", String(200), nullable=False),
    Column("revision", Integer, nullable=False, server_default="0", doc="of the text: goes up each time it is written"),
    Column("mail", ROW_ID, doc="the letter it was sent with"),
)

# --- the host's -----------------------------------------------------------------------------------------------------------------------

templates = Table(
    "templates",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False),
    Column("type", String(20), doc="the request type it is for; NULL for every one"),
    Column("decision", String(12), doc="accepted, rejected, withdrawn, duplicate; NULL for every one"),
    Column("language", String(35), nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("preferred", Boolean, nullable=False, server_default="0", doc="pre-filled without being chosen"),
    Column("automatic", Boolean, nullable=False, server_default="0", doc="sent and closed without an agent, once a case reaches reply"),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("updated_at", Instant, nullable=False),
    Column("updated_by", String(200), nullable=False),
    Column("archived_at", Instant),
)

inventory = Table(
    "inventory",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("title", String(200), nullable=False),
    Column("category", String(40), nullable=False),
    Column("vendor", String(63), doc="slug in the list of known vendors, or of the connector it could be reached by"),
    Column("domain", String(253), doc="the vendor's domain, where discovery told it"),
    Column("connector", String(63), doc="slug; NULL while nothing is set up"),
    Column("settings", Text, nullable=False, server_default="{}", doc="JSON; secrets as references only"),
    Column("handling", Boolean, nullable=False, server_default="0", doc="used in request handling"),
    Column("origin", String(40), nullable=False, doc="agent, catalogue, discovery:NAME"),
    Column("state", String(12), nullable=False, doc="proposed, accepted, dismissed; configured: a note on a data source of dsr.toml"),
    Column("owner", String(200), doc="whom to ask"),
    Column("note", Text),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("checked_at", Instant),
    Column("checked", Text, doc="what the last connection check said"),
    Column("check_ok", Boolean, doc="whether it went well"),
    Column("offered", Text, doc="JSON; settings a colleague proposed through a help link, until an account takes or drops them"),
    Column("revision", Integer, nullable=False, server_default="0"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", String(200), primary_key=True, doc="e-mail address, lower case"),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False, doc="admin, agent, data_privacy, support, read_only"),
    Column("password_hash", String(200), doc="argon2id; NULL for accounts that sign in elsewhere"),
    Column("sealed_totp", LargeBinary, doc="the secret of the second factor, in the host's box"),
    Column("totp_step", Integer, doc="the last time step accepted: a code counts once"),
    Column("active", Boolean, nullable=False, server_default="1"),
    Column("epoch", Integer, nullable=False, server_default="0", doc="sessions of an older epoch are over"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("locked_until", Instant),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True, doc="keyed hash of the cookie"),
    Column("account", String(200), ForeignKey("accounts.account"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("proven_at", Instant, nullable=False, doc="when its account last gave a proof of who it is"),
    Column("seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)
Index(None, sessions.c.account)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("used_at", Instant),
)

filters = Table(
    "filters",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("account", String(200), nullable=False),
    Column("name", String(100), nullable=False),
    Column("query", Text, nullable=False, doc="JSON; holds no personal data: a search for a person is not saved"),
    Column("created_at", Instant, nullable=False),
)
Index(None, filters.c.account)
