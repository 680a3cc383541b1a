"""Make the tables of rollups: sums that reports read instead of every call.

What is in the ledger already reaches them through the feed, which a later migration makes.
Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = {
    "usage_hours": ("provider", "issuer", "endpoint", "model", "model_served"),
    "usage_subject_days": ("subject", "provider", "model", "model_served"),
    "usage_key_days": ("key_id", "subject", "model"),
    "usage_tag_days": ("tag_name", "tag_value", "model"),
}
CURRENCIES = ("currency", "list_currency", "billed_currency")
REPORTED = (
    "cost_nanos", "list_nanos", "billed_nanos", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
COUNTED = ("calls", "unpriced", "estimated", "unknown", "unmetered", "failed", "refused")


def upgrade() -> None:
    """Make the tables."""
    for name, keys in TABLES.items():
        texts = (*keys, *CURRENCIES)
        sums = (*REPORTED, *[f"{each}_calls" for each in REPORTED], *COUNTED)
        op.create_table(
            name,
            sa.Column("started_us", sa.BigInteger(), autoincrement=False, nullable=False),
            *[sa.Column(each, sa.Text(), nullable=False) for each in texts],
            *[sa.Column(each, sa.BigInteger(), nullable=False) for each in sums],
            sa.PrimaryKeyConstraint("started_us", *texts, name=f"pk_{name}"),
            sqlite_with_rowid=False,
        )


def downgrade() -> None:
    """Remove the tables."""
    for name in reversed(TABLES):
        op.drop_table(name)
