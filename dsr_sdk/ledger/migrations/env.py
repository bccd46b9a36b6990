"""What Alembic runs around the revisions: on the connection that ``dsr_sdk.ledger.database.migrate`` hands in, in its transaction.

The transaction is ended by ``migrate`` alone, so that all the revisions happen or none does, on both databases.

To draft a new revision, bring a scratch ledger to the present head and compare it with the schema, as ``tests/ledger/test_migrations.py``
does; then write the file by hand, and append its number to ``database.REVISIONS``.
"""

from __future__ import annotations

from alembic import context

from dsr_sdk.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)

with context.begin_transaction():
    context.run_migrations()
