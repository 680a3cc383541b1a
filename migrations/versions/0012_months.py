"""Divide the events on PostgreSQL by month; make coarser rollups and the table of followers.

The table of events that was there becomes the partition of the rest as it is: no row is read or
moved, so nobody waits longer than for a change of the catalogue. The coarser rollups are the sums
of the finer ones. Frozen: a later change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the events a parent, and the table."""
    op.create_table(
        "followers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("portion", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.Column("following", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_followers"),
        sqlite_with_rowid=False,
    )
    native = op.get_bind().dialect.name == "postgresql"
    for name, (finer, keys) in COARSER.items():
        texts = (*keys, *CURRENCIES)
        op.create_table(
            name,
            sa.Column("started_us", sa.BigInteger(), autoincrement=False, nullable=False),
            *[sa.Column(each, sa.Text(), nullable=False) for each in texts],
            *[sa.Column(each, sa.BigInteger(), nullable=False) for each in SUMS],
            sa.PrimaryKeyConstraint("started_us", *texts, name=f"pk_{name}"),
            sqlite_with_rowid=False,
        )
        start = _DAY if name == "usage_days" else _MONTH["postgresql" if native else "sqlite"]
        groups, sums = ", ".join(texts), ", ".join(f"sum({each})" for each in SUMS)
        op.execute(
            f"INSERT INTO {name} SELECT {start} AS start, {groups}, {sums} FROM {finer}"
            f" GROUP BY 1, {groups}"
        )
    if native:
        _rebuild(_DIVIDE)


def downgrade() -> None:
    """Put all events into one table again, and remove the others."""
    for name in ("followers", *COARSER):
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        _rebuild(_UNITE)


def _rebuild(statements: tuple[str, ...]) -> None:
    """Change the table of events; the views of it see the new one afterwards."""
    bind = op.get_bind()
    found = bind.exec_driver_sql(
        "SELECT viewname, definition FROM pg_views WHERE schemaname = current_schema()"
        " AND position('usage_events' IN definition) > 0"
    )
    views = [(view, definition) for view, definition in found]
    for view, _ in views:
        bind.exec_driver_sql(f"DROP VIEW {view}")
    for statement in statements:
        bind.exec_driver_sql(statement)
    for view, definition in views:
        bind.exec_driver_sql(f"CREATE VIEW {view} AS {definition}")


COARSER = {
    "usage_days": (
        "usage_hours", ("provider", "issuer", "endpoint", "model", "model_served"),
    ),
    "usage_subject_months": ("usage_subject_days", ("subject",)),
}  # fmt: skip
CURRENCIES = ("currency", "list_currency", "billed_currency")
REPORTED = (
    "cost_nanos", "list_nanos", "billed_nanos", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
SUMS = (
    *REPORTED, *[f"{each}_calls" for each in REPORTED], "calls", "unpriced", "estimated", "unknown",
    "unmetered", "failed", "refused",
)  # fmt: skip
_DAY = "started_us / 86400000000 * 86400000000"
_MONTH = {
    "sqlite": "unixepoch(started_us / 1000000, 'unixepoch', 'start of month') * 1000000",
    "postgresql": "extract(epoch FROM date_trunc('month',"
    " to_timestamp(started_us / 1000000) AT TIME ZONE 'UTC'))::bigint * 1000000",
}

_DIVIDE = (
    "ALTER TABLE usage_events RENAME TO usage_events_rest",
    "ALTER TABLE usage_events_rest RENAME CONSTRAINT pk_usage_events TO usage_events_rest_pkey",
    "ALTER INDEX ix_usage_events_started_us RENAME TO usage_events_rest_started_us_idx",
    "ALTER INDEX ix_usage_events_subject_started_us"
    " RENAME TO usage_events_rest_subject_started_us_idx",
    "CREATE TABLE usage_events (LIKE usage_events_rest) PARTITION BY RANGE (call_id)",
    "ALTER TABLE usage_events ADD CONSTRAINT pk_usage_events PRIMARY KEY (call_id)",
    "CREATE INDEX ix_usage_events_started_us ON usage_events (started_us)",
    "CREATE INDEX ix_usage_events_subject_started_us ON usage_events (subject, started_us)",
    # Its own indexes are taken as they are.
    "ALTER TABLE usage_events ATTACH PARTITION usage_events_rest DEFAULT",
)

_UNITE = (
    "CREATE TABLE usage_events_whole (LIKE usage_events)",
    "INSERT INTO usage_events_whole SELECT * FROM usage_events",
    "DROP TABLE usage_events",
    "ALTER TABLE usage_events_whole RENAME TO usage_events",
    "ALTER TABLE usage_events ADD CONSTRAINT pk_usage_events PRIMARY KEY (call_id)",
    "CREATE INDEX ix_usage_events_started_us ON usage_events (started_us)",
    "CREATE INDEX ix_usage_events_subject_started_us ON usage_events (subject, started_us)",
)
