"""Request handling: stages of cases, and the tables of the desk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns of the workflow to the cases, then its tables."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    instant = sa.BigInteger()  # milliseconds since 1970-01-01T00:00Z
    is_open = sa.text("stage IS NOT NULL AND ended_at IS NULL")
    has_ended = sa.text("ended_at IS NOT NULL")

    op.add_column("cases", sa.Column("stage", sa.String(10)))
    op.add_column("cases", sa.Column("stage_at", instant))
    op.add_column("cases", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("cases", sa.Column("decision", sa.String(12)))
    op.add_column("cases", sa.Column("reason", sa.String(40)))
    op.add_column("cases", sa.Column("agent", sa.String(200)))
    op.add_column("cases", sa.Column("due_at", instant))
    op.add_column("cases", sa.Column("verified_by", sa.String(20)))
    op.add_column("cases", sa.Column("verified_at", instant))
    op.add_column("cases", sa.Column("duplicate_of", sa.String(24)))
    op.add_column("cases", sa.Column("ended_at", instant))
    op.add_column("cases", sa.Column("paused_at", instant))
    for name, columns, where in (
        ("open", "due_at case stage type agent channel paused_at ended_at", is_open),
        ("open_stage", "stage due_at case type agent channel paused_at ended_at", is_open),
        ("open_type", "type due_at case stage agent channel paused_at ended_at", is_open),
        ("open_agent", "agent due_at case stage type channel paused_at ended_at", is_open),
        ("ended", "ended_at case type agent channel due_at received_at", has_ended),
        ("ended_type", "type ended_at case agent channel due_at received_at", has_ended),
        ("ended_agent", "agent ended_at case type channel due_at received_at", has_ended),
        ("ended_channel", "channel ended_at case type agent due_at received_at", has_ended),
    ):
        op.create_index(f"ix_cases_{name}", "cases", columns.split(), sqlite_where=where, postgresql_where=where)
    effects = sa.text("(action NOT IN ('find', 'verify'))")
    counted = ["source", "finished_at", "case", "state", "action"]
    op.create_index("ix_tasks_effects", "tasks", counted, sqlite_where=effects, postgresql_where=effects)

    op.create_table(
        "accounts",
        sa.Column("account", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("password_hash", sa.String(200)),
        sa.Column("sealed_totp", sa.LargeBinary()),
        sa.Column("totp_step", sa.Integer()),
        sa.Column("active", sa.Boolean(), nullable=False, server_default="1"),
        sa.Column("epoch", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("locked_until", instant),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("seen_at", instant),
        sa.PrimaryKeyConstraint("account", name="pk_accounts"),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("account", sa.String(200), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("proven_at", instant, nullable=False),
        sa.Column("seen_at", instant, nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.account"], name="fk_sessions_account"),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
    )
    op.create_index("ix_sessions_account", "sessions", ["account"])
    op.create_table(
        "api_keys",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("expires_at", instant),
        sa.Column("revoked_at", instant),
        sa.Column("used_at", instant),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_table(
        "filters",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("account", sa.String(200), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_filters"),
    )
    op.create_index("ix_filters_account", "filters", ["account"])
    op.create_table(
        "case_sources",
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("added_at", instant, nullable=False),
        sa.Column("added_by", sa.String(200), nullable=False),
        sa.Column("ticked_at", instant),
        sa.Column("ticked_by", sa.String(200)),
        sa.Column("overridden_at", instant),
        sa.Column("overridden_by", sa.String(200)),
        sa.Column("overridden_state", sa.String(20)),
        sa.Column("sealed_reason", sa.LargeBinary()),
        sa.Column("ended_at", instant),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_case_sources_case"),
        sa.PrimaryKeyConstraint("case", "source", name="pk_case_sources"),
    )
    op.create_index("ix_case_sources_source_ended_at_case", "case_sources", ["source", "ended_at", "case"])
    left_out = sa.text("overridden_at IS NOT NULL AND overridden_state != 'waiting'")
    left_columns = ["source", "case", "overridden_at", "overridden_state"]
    op.create_index("ix_case_sources_left_out", "case_sources", left_columns, sqlite_where=left_out, postgresql_where=left_out)
    op.create_table(
        "messages",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("mail", row_id),
        sa.Column("read_at", instant),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_messages_case"),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index("ix_messages_case_id", "messages", ["case", "id"])
    unread = sa.text("direction = 'in' AND read_at IS NULL")
    op.create_index("ix_messages_unread", "messages", ["case"], sqlite_where=unread, postgresql_where=unread)
    op.create_table(
        "mails",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("case", sa.String(24)),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("sealed_to", sa.LargeBinary()),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_at", instant),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("sent_at", instant),
        sa.Column("message_id", sa.String(200)),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_mails_case"),
        sa.PrimaryKeyConstraint("id", name="pk_mails"),
    )
    op.create_index("ix_mails_case", "mails", ["case"])
    op.create_index(
        "ix_mails_due", "mails", ["next_at"], sqlite_where=sa.text("next_at IS NOT NULL"), postgresql_where=sa.text("next_at IS NOT NULL")
    )
    op.create_table(
        "links",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("case", sa.String(24)),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("expires_at", instant, nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("tries_left", sa.Integer(), nullable=False, server_default="10"),
        sa.Column("used_at", instant),
        sa.Column("sealed", sa.LargeBinary()),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_links_case"),
        sa.PrimaryKeyConstraint("id", name="pk_links"),
        sa.UniqueConstraint("digest", name="uq_links_digest"),
    )
    op.create_index("ix_links_case", "links", ["case"])
    op.create_table(
        "files",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("purpose", sa.String(20), nullable=False),
        sa.Column("source", sa.String(63)),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("removed_at", instant),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_files_case"),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_case", "files", ["case"])
    op.create_table(
        "redactions",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("resource", sa.String(100), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_redactions_case"),
        sa.PrimaryKeyConstraint("id", name="pk_redactions"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_redactions_case", "redactions", ["case"])
    op.create_table(
        "replies",
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("template", sa.String(100)),
        sa.Column("language", sa.String(35)),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("edited_at", instant, nullable=False),
        sa.Column("edited_by", sa.String(200), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("mail", row_id),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_replies_case"),
        sa.PrimaryKeyConstraint("case", name="pk_replies"),
    )
    op.create_table(
        "templates",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("type", sa.String(20)),
        sa.Column("decision", sa.String(12)),
        sa.Column("language", sa.String(35), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("preferred", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("automatic", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("revision", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("updated_by", sa.String(200), nullable=False),
        sa.Column("archived_at", instant),
        sa.PrimaryKeyConstraint("id", name="pk_templates"),
    )
    op.create_table(
        "inventory",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("category", sa.String(40), nullable=False),
        sa.Column("vendor", sa.String(63)),
        sa.Column("domain", sa.String(253)),
        sa.Column("connector", sa.String(63)),
        sa.Column("settings", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("handling", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("origin", sa.String(40), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("note", sa.Text()),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("updated_at", instant, nullable=False),
        sa.Column("checked_at", instant),
        sa.Column("checked", sa.Text()),
        sa.Column("check_ok", sa.Boolean()),
        sa.Column("offered", sa.Text()),
        sa.Column("revision", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("name", name="pk_inventory"),
    )


def downgrade() -> None:
    """What people decided is not thrown away by a program."""
    raise NotImplementedError("restore a backup instead")
