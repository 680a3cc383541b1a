"""Make the tables of the feed: which records there are, in the order of their commits.

What is in the ledger already is put into it. Frozen: a later change of the schema is a later
migration.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.LargeBinary(16).with_variant(postgresql.UUID(), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feed_arrivals",
        sa.Column("id", ID, nullable=False),
        sa.Column("more", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_feed_arrivals"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feed_portions",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("part", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sources", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", "part", name="pk_feed_portions"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO feed_arrivals (id) SELECT call_id FROM usage_events"
        " UNION SELECT id FROM corrections UNION SELECT source_id FROM entries"
    )


def downgrade() -> None:
    """Remove the tables."""
    op.drop_table("feed_portions")
    op.drop_table("feed_arrivals")
    op.drop_table("counters")
