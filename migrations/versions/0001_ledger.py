"""Make the tables of the ledger.

Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.LargeBinary(16).with_variant(postgresql.UUID(), "postgresql")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "open_calls",
        sa.Column("call_id", _ID, nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("estimated_input_tokens", sa.BigInteger()),
        sa.Column("bound_input_tokens", sa.BigInteger()),
        sa.Column("bound_output_tokens", sa.BigInteger()),
        sa.Column("bound_cost_nanos", sa.BigInteger()),
        sa.Column("streaming", sa.SmallInteger(), nullable=False),
        sa.Column("operation_id", _ID, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("model_requested", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("key_id", sa.Text()),
        sa.Column("tags", sa.Text()),
        sa.Column("bound_currency", sa.Text()),
        sa.Column("rate_card_id", sa.Text()),
        sa.Column("path", sa.Text()),
        sa.Column("upstream", sa.Text()),
        sa.PrimaryKeyConstraint("call_id", name="pk_open_calls"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "holds",
        sa.Column("call_id", _ID, nullable=False),
        sa.Column("budget_id", sa.Text(), nullable=False),
        sa.Column("window_start_us", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_holds_amount")),
        sa.PrimaryKeyConstraint("call_id", "budget_id", name="pk_holds"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_events",
        sa.Column("call_id", _ID, nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("route_id", sa.BigInteger(), nullable=False),
        sa.Column("first_byte_after_us", sa.BigInteger()),
        sa.Column("estimated_input_tokens", sa.BigInteger()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("cache_read_tokens", sa.BigInteger()),
        sa.Column("cache_write_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("reasoning_tokens", sa.BigInteger()),
        sa.Column("counted_output_tokens", sa.BigInteger()),
        sa.Column("cost_nanos", sa.BigInteger()),
        sa.Column("provider_cost_nanos", sa.BigInteger()),
        sa.Column("bound_cost_nanos", sa.BigInteger()),
        sa.Column("status", sa.SmallInteger()),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("basis", sa.SmallInteger(), nullable=False),
        sa.Column("streaming", sa.SmallInteger(), nullable=False),
        sa.Column("swept", sa.SmallInteger()),
        sa.Column("operation_id", _ID),
        sa.Column("subject", sa.Text()),
        sa.Column("key_id", sa.Text()),
        sa.Column("tags", sa.Text()),
        sa.Column("other_units", sa.Text()),
        sa.Column("lines", sa.Text()),
        sa.Column("response_id", sa.Text()),
        sa.Column("traits", sa.Text()),
        sa.Column("defects", sa.Text()),
        sa.Column("path", sa.Text()),
        sa.PrimaryKeyConstraint("call_id", name="pk_usage_events"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_usage_events_started_us", "usage_events", ["started_us"])
    op.create_index("ix_usage_events_subject_started_us", "usage_events", ["subject", "started_us"])
    op.create_table(
        "routes",
        sa.Column("id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("model_requested", sa.Text()),
        sa.Column("model_served", sa.Text()),
        sa.Column("service_tier", sa.Text()),
        sa.Column("upstream", sa.Text()),
        sa.Column("currency", sa.Text()),
        sa.Column("rate_card_id", sa.Text()),
        sa.Column("unpriced", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_routes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "corrections",
        sa.Column("id", _ID, nullable=False),
        sa.Column("call_id", _ID, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("first_byte_us", sa.BigInteger()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("cache_read_tokens", sa.BigInteger()),
        sa.Column("cache_write_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("reasoning_tokens", sa.BigInteger()),
        sa.Column("counted_output_tokens", sa.BigInteger()),
        sa.Column("cost_nanos", sa.BigInteger()),
        sa.Column("provider_cost_nanos", sa.BigInteger()),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger()),
        sa.Column("outcome", sa.SmallInteger()),
        sa.Column("basis", sa.SmallInteger(), nullable=False),
        sa.Column("other_units", sa.Text()),
        sa.Column("lines", sa.Text()),
        sa.Column("currency", sa.Text()),
        sa.Column("rate_card_id", sa.Text()),
        sa.Column("unpriced", sa.Text()),
        sa.Column("model_served", sa.Text()),
        sa.Column("service_tier", sa.Text()),
        sa.Column("response_id", sa.Text()),
        sa.Column("traits", sa.Text()),
        sa.Column("defects", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_corrections"),
        sa.UniqueConstraint("call_id", "number", name="uq_corrections_call_id_number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "entries",
        sa.Column("source_id", _ID, nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("debit", sa.Text(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.CheckConstraint("amount_nanos > 0", name=op.f("ck_entries_amount")),
        sa.PrimaryKeyConstraint("source_id", "number", name="pk_entries"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "balances",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("debits", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("debits >= 0 AND credits >= 0", name=op.f("ck_balances_sums")),
        sa.PrimaryKeyConstraint("account", "currency", name="pk_balances"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "claims",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("call_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_claims"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope_kind", sa.Text(), nullable=False),
        sa.Column("scope_value", sa.Text(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("limit_amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text()),
        sa.Column("span", sa.Text(), nullable=False),
        sa.Column("tz", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("limit_amount >= 0", name=op.f("ck_budgets_limit")),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_budgets_scope_value", "budgets", ["scope_value"])
    op.create_table(
        "budget_windows",
        sa.Column("budget_id", sa.Text(), nullable=False),
        sa.Column("window_start_us", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held >= 0", name=op.f("ck_budget_windows_held")),
        sa.PrimaryKeyConstraint("budget_id", "window_start_us", name="pk_budget_windows"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rate_cards",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("effective_from_us", sa.BigInteger(), nullable=False),
        sa.Column("effective_to_us", sa.BigInteger()),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("checked", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rate_cards"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Remove every table, with what is in it."""
    op.drop_table("rate_cards")
    op.drop_table("budget_windows")
    op.drop_table("budgets")
    op.drop_table("claims")
    op.drop_table("balances")
    op.drop_table("entries")
    op.drop_table("corrections")
    op.drop_table("routes")
    op.drop_table("usage_events")
    op.drop_table("holds")
    op.drop_table("open_calls")
