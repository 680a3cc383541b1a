"""Make the tables of prepaid credit.

Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.LargeBinary(16).with_variant(postgresql.UUID(), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "credit_grants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("granted_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger()),
        sa.Column("revoked_us", sa.BigInteger()),
        sa.Column("ends_us", sa.BigInteger()),
        sa.Column("closed_us", sa.BigInteger()),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("left_nanos", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("revoked_reason", sa.Text()),
        sa.Column("revoked_author", sa.Text()),
        sa.CheckConstraint("amount_nanos >= 0", name=op.f("ck_credit_grants_amount")),
        sa.PrimaryKeyConstraint("id", name="pk_credit_grants"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_credit_grants_subject", "credit_grants", ["subject"])
    op.create_index(
        "ix_credit_grants_ends_us",
        "credit_grants",
        ["ends_us"],
        sqlite_where=sa.text("ends_us IS NOT NULL AND closed_us IS NULL"),
        postgresql_where=sa.text("ends_us IS NOT NULL AND closed_us IS NULL"),
    )
    op.create_table(
        "credit_moves",
        sa.Column("source_id", _ID, nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("call_id", _ID),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("author", sa.Text()),
        sa.CheckConstraint("amount_nanos <> 0", name=op.f("ck_credit_moves_amount")),
        sa.PrimaryKeyConstraint("source_id", "number", name="pk_credit_moves"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_credit_moves_subject_currency_at_us",
        "credit_moves",
        ["subject", "currency", "at_us"],
    )
    op.create_index(
        "ix_credit_moves_subject_kind",
        "credit_moves",
        ["subject", "kind"],
        sqlite_where=sa.text("call_id IS NULL"),
        postgresql_where=sa.text("call_id IS NULL"),
    )


def downgrade() -> None:
    """Remove the tables, with what is in them."""
    op.drop_table("credit_moves")
    op.drop_table("credit_grants")
