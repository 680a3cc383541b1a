"""Keep sums of each month by subject and model, from those of each day.

Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
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
    month = MONTH[op.get_bind().dialect.name]
    op.execute(
        f"INSERT INTO {NAME} SELECT {month} AS month_us, {groups}, {sums} FROM usage_subject_days"
        f" GROUP BY 1, {groups}"
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table(NAME)


NAME = "usage_subject_model_months"
KEYS = (
    "subject", "provider", "model", "model_served", "currency", "list_currency", "billed_currency",
)  # fmt: skip
REPORTED = (
    "cost_nanos", "list_nanos", "billed_nanos", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
SUMS = (
    *REPORTED, *[f"{each}_calls" for each in REPORTED], "calls", "unpriced", "estimated", "unknown",
    "unmetered", "failed", "refused",
)  # fmt: skip
MONTH = {
    "sqlite": "unixepoch(started_us / 1000000, 'unixepoch', 'start of month') * 1000000",
    "postgresql": "extract(epoch FROM date_trunc('month',"
    " to_timestamp(started_us / 1000000) AT TIME ZONE 'UTC'))::bigint * 1000000",
}
