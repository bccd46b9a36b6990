"""The first schema: cases, their tasks, and the audit log.

Revision files say what the schema was at their time, so they spell everything out and import nothing of ``dsr_sdk.ledger.schema``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    instant = sa.BigInteger()  # milliseconds since 1970-01-01T00:00Z

    op.create_table(
        "meta",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "cases",
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("scope", sa.String(20), nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("regime", sa.String(32)),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("received_at", instant, nullable=False),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("closed_at", instant),
        sa.Column("reference_fingerprint", sa.LargeBinary(32)),
        sa.Column("wrapped_key", sa.LargeBinary()),
        sa.Column("sealed_request", sa.LargeBinary()),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("case", name="pk_cases"),
        sa.UniqueConstraint("reference_fingerprint", name="uq_cases_reference_fingerprint"),
    )
    op.create_index("ix_cases_status_received_at", "cases", ["status", "received_at"])
    op.create_table(
        "case_identities",
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.PrimaryKeyConstraint("case", "fingerprint", name="pk_case_identities"),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_case_identities_case"),
    )
    op.create_index("ix_case_identities_fingerprint", "case_identities", ["fingerprint"])
    op.create_table(
        "plans",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("made_at", instant, nullable=False),
        sa.Column("approved_at", instant),
        sa.Column("approved_by", sa.String(200)),
        sa.Column("sealed_body", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_plans"),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_plans_case"),
    )
    op.create_index("ix_plans_case_id", "plans", ["case", "id"])
    op.create_table(
        "tasks",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("action", sa.String(12), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("next_at", instant),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("resource", sa.String(100)),
        sa.Column("count", sa.Integer()),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("sealed_job", sa.LargeBinary()),
        sa.Column("job_fingerprint", sa.LargeBinary(32)),
        sa.Column("intent_at", instant),
        sa.Column("step", sa.String(20)),
        sa.Column("outcome", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", instant, nullable=False),
        sa.Column("finished_at", instant),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.ForeignKeyConstraint(["case"], ["cases.case"], name="fk_tasks_case"),
    )
    due = sa.text("next_at IS NOT NULL")
    op.create_index("ix_tasks_due", "tasks", ["source", "next_at"], sqlite_where=due, postgresql_where=due)
    op.create_index("ix_tasks_case", "tasks", ["case", "source"])
    op.create_table(
        "suppression",
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("erased_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "source", name="pk_suppression"),
    )
    op.create_index("ix_suppression_erased_at", "suppression", ["erased_at"])
    op.create_table(
        "audit",
        sa.Column("seq", row_id, autoincrement=True, nullable=False),
        sa.Column("case", sa.String(24), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("event", sa.String(60), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
        sa.UniqueConstraint("case", "n", name="uq_audit_case_n"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("at", instant, nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
    )


def downgrade() -> None:
    """Nothing is older than this: to go back is to delete the ledger, and that no program does."""
    raise NotImplementedError("there is no schema before the first")
