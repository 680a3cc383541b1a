"""Keep sums of each day by subject alone, from those by subject and model.

Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and fill it."""
    op.create_table(
        NAME,
        sa.Column("started_us", sa.BigInteger(), autoincrement=False, nullable=False),
        *[sa.Column(each, sa.Text(), nullable=False) for each in KEYS],
        *[sa.Column(each, sa.BigInteger(), nullable=False) for each in SUMS],
        sa.PrimaryKeyConstraint("started_us", *KEYS, name=f"pk_{NAME}"),
        sqlite_with_rowid=False,
    )
    groups, sums = ", ".join(KEYS), ", ".join(f"sum({each})" for each in SUMS)
    op.execute(
        f"INSERT INTO {NAME} SELECT started_us, {groups}, {sums} FROM usage_subject_days"
        f" GROUP BY started_us, {groups}"
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table(NAME)


NAME = "usage_subject_plain_days"
KEYS = ("subject", "currency", "list_currency", "billed_currency")
REPORTED = (
    "cost_nanos", "list_nanos", "billed_nanos", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
SUMS = (
    *REPORTED, *[f"{each}_calls" for each in REPORTED], "calls", "unpriced", "estimated", "unknown",
    "unmetered", "failed", "refused",
)  # fmt: skip
