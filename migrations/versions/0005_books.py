"""Make room for the prices of other books than the cost's, and for imported rate files.

Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_AMOUNTS = ("list_nanos", "billed_nanos")
_BOOKS = (
    "list_currency", "list_card_id", "list_unpriced", "billed_currency", "billed_card_id",
    "billed_unpriced",
)  # fmt: skip


def upgrade() -> None:
    """Add the columns and the table; an event without them is billed at its cost."""
    for table in ("usage_events", "corrections"):
        for name in _AMOUNTS:
            op.add_column(table, sa.Column(name, sa.BigInteger()))
    for table in ("routes", "corrections"):
        for name in _BOOKS:
            op.add_column(table, sa.Column(name, sa.Text()))
    op.create_table(
        "price_files",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("imported_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger()),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "number", name="pk_price_files"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Remove them, with what was billed and every imported price."""
    op.drop_table("price_files")
    for table in ("routes", "corrections"):
        for name in _BOOKS:
            op.drop_column(table, name)
    for table in ("usage_events", "corrections"):
        for name in _AMOUNTS:
            op.drop_column(table, name)
