"""Make the tables of invoices and their lines.

Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "invoices",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("issued_us", sa.BigInteger(), nullable=False),
        sa.Column("period_start_us", sa.BigInteger(), nullable=False),
        sa.Column("period_end_us", sa.BigInteger(), nullable=False),
        sa.Column("portion", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("tz", sa.Text(), nullable=False),
        sa.Column("voids", sa.Text()),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_invoices"),
        sa.UniqueConstraint("number", name="uq_invoices_number"),
        sa.UniqueConstraint("voids", name="uq_invoices_voids"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_invoices_subject_sequence", "invoices", ["subject", "sequence"])
    op.create_table(
        "invoice_lines",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period_start_us", sa.BigInteger(), nullable=False),
        sa.Column("period_end_us", sa.BigInteger(), nullable=False),
        sa.Column("nanos", sa.BigInteger(), nullable=False),
        sa.Column("per", sa.BigInteger(), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("tz", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.PrimaryKeyConstraint("sequence", "place", name="pk_invoice_lines"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Remove the tables."""
    op.drop_table("invoice_lines")
    op.drop_index("ix_invoices_subject_sequence", "invoices")
    op.drop_table("invoices")
