"""Name the tables of the ledger. Only `meter/store/` and `migrations/env.py` read this.

All amounts are BIGINT nanos of a currency, all times BIGINT microseconds since 1970-01-01 UTC.
Null means unknown or not said, never zero. `usage_events`, `corrections`, `entries` and
`credit_moves` are only ever added to. The wide columns come first because PostgreSQL pads narrow
ones before them.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from meter.store.types import Id

HEAD_REVISION = "0014"
"""The migration that this release's code is written for (a test compares it with the folder)."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

open_calls = Table(
    "open_calls",
    metadata,
    Column("call_id", Id, primary_key=True),
    Column("started_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("estimated_input_tokens", BigInteger),
    Column("bound_input_tokens", BigInteger),
    Column("bound_output_tokens", BigInteger),
    Column("bound_cost_nanos", BigInteger),
    Column("streaming", SmallInteger, nullable=False),
    Column("operation_id", Id, nullable=False),
    Column("provider", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("model_requested", Text),
    Column("subject", Text),
    Column("key_id", Text),
    Column("tags", Text),
    Column("bound_currency", Text),
    Column("rate_card_id", Text),
    Column("path", Text),
    Column("upstream", Text),
    sqlite_with_rowid=False,
)
"""Calls that left and have not ended. `owner` is the process that sent it (see `owners`)."""

holds = Table(
    "holds",
    metadata,
    Column("call_id", Id, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("window_start_us", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("amount >= 0", name="amount"),
    sqlite_with_rowid=False,
)
"""What each open call has set aside, in the measure of the budget."""


usage_events = Table(
    "usage_events",
    metadata,
    Column("call_id", Id, primary_key=True),
    Column("started_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("route_id", BigInteger, nullable=False),
    Column("first_byte_after_us", BigInteger),
    Column("estimated_input_tokens", BigInteger),
    Column("input_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("counted_output_tokens", BigInteger),
    Column("cost_nanos", BigInteger),
    Column("provider_cost_nanos", BigInteger),
    Column("bound_cost_nanos", BigInteger),
    Column("status", SmallInteger),
    Column("outcome", SmallInteger, nullable=False),
    Column("basis", SmallInteger, nullable=False),
    Column("streaming", SmallInteger, nullable=False),
    Column("swept", SmallInteger),
    Column("operation_id", Id),
    Column("subject", Text),
    Column("key_id", Text),
    Column("tags", Text),
    Column("other_units", Text),
    Column("lines", Text),
    Column("response_id", Text),
    Column("traits", Text),
    Column("defects", Text),
    Column("path", Text),
    Column("list_nanos", BigInteger),
    Column("billed_nanos", BigInteger),
    Index(None, "started_us"),
    Index(None, "subject", "started_us"),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (call_id)",
)
"""One immutable row for each call that ended, with its route; see `latest` for both together.

On PostgreSQL a parent of one table for each month (see `months`), and of one for the rest.

`duration_us` and `first_byte_after_us` count from the start. `operation_id` null: the call's own
id. The usage is in the five token columns and in `other_units` (JSON of the quantities without a
column; null: the usage is unknown). `outcome` and `basis` are numbered in `types`. `swept` is 1
when nobody saw the call's end and the sweep wrote the row. `bound_cost_nanos` is in the currency
of the charge, of its rate card where it has none. `list_nanos` and `billed_nanos` are null where
the route names no card of that price book: the amount is the cost then.
"""

REST = "usage_events_rest"
"""The partition of all calls whose month has no table of its own."""

event.listen(
    usage_events,
    "after_create",
    DDL(f"CREATE TABLE {REST} PARTITION OF usage_events DEFAULT").execute_if(  # type: ignore[no-untyped-call]
        dialect="postgresql"
    ),
)

routes = Table(
    "routes",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("provider", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model_requested", Text),
    Column("model_served", Text),
    Column("service_tier", Text),
    Column("upstream", Text),
    Column("currency", Text),
    Column("rate_card_id", Text),
    Column("unpriced", Text),
    Column("list_currency", Text),
    Column("list_card_id", Text),
    Column("list_unpriced", Text),
    Column("billed_currency", Text),
    Column("billed_card_id", Text),
    Column("billed_unpriced", Text),
    sqlite_with_rowid=False,
)
"""What many calls have in common, once: who served which model, rated by which card.

All three columns of a price book are null where its price is that of the cost.

The id is a hash of the rest, so it is known before the row is, and the same everywhere.
"""

corrections = Table(
    "corrections",
    metadata,
    Column("id", Id, primary_key=True),
    Column("call_id", Id, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("first_byte_us", BigInteger),
    Column("input_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("counted_output_tokens", BigInteger),
    Column("cost_nanos", BigInteger),
    Column("provider_cost_nanos", BigInteger),
    Column("number", SmallInteger, nullable=False),
    Column("status", SmallInteger),
    Column("outcome", SmallInteger),
    Column("basis", SmallInteger, nullable=False),
    Column("other_units", Text),
    Column("lines", Text),
    Column("currency", Text),
    Column("rate_card_id", Text),
    Column("unpriced", Text),
    Column("model_served", Text),
    Column("service_tier", Text),
    Column("response_id", Text),
    Column("traits", Text),
    Column("defects", Text),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("list_nanos", BigInteger),
    Column("billed_nanos", BigInteger),
    Column("list_currency", Text),
    Column("list_card_id", Text),
    Column("list_unpriced", Text),
    Column("billed_currency", Text),
    Column("billed_card_id", Text),
    Column("billed_unpriced", Text),
    UniqueConstraint("call_id", "number"),
    sqlite_with_rowid=False,
)
"""Later truths on calls that already have their row: the highest number of a call holds.

Basis, usage and charge are the whole truth; the other columns are null where they stay as they
were in the event.
"""

entries = Table(
    "entries",
    metadata,
    Column("source_id", Id, primary_key=True),
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("debit", Text, nullable=False),
    Column("credit", Text, nullable=False),
    Column("currency", Text, nullable=False),
    CheckConstraint("amount_nanos > 0", name="amount"),
    sqlite_with_rowid=False,
)
"""The ledger. `source_id` is the call or the correction that caused the entry."""

balances = Table(
    "balances",
    metadata,
    Column("account", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("debits", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    CheckConstraint("debits >= 0 AND credits >= 0", name="sums"),
    sqlite_with_rowid=False,
)
"""The sums of the entries, kept in the transaction that adds them."""

claims = Table(
    "claims",
    metadata,
    Column("name", Text, primary_key=True),
    Column("call_id", Id, nullable=False),
    sqlite_with_rowid=False,
)
"""Which call billed a piece of work that can be looked at again: a batch, a job, a file."""

budgets = Table(
    "budgets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("scope_kind", Text, nullable=False),
    Column("scope_value", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("limit_amount", BigInteger, nullable=False),
    Column("currency", Text),
    Column("span", Text, nullable=False),
    Column("tz", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    CheckConstraint("limit_amount >= 0", name="limit"),
    Index(None, "scope_value"),
    sqlite_with_rowid=False,
)
"""Limits. A budget counts every call of the window it was made in, and of later windows.

One whose measure is "credit" is the account of a subject's prepaid credit in a currency. It counts
the calls that started since it was made; its limit is what `credit_grants` has left.
"""

budget_windows = Table(
    "budget_windows",
    metadata,
    Column("budget_id", Text, primary_key=True),
    Column("window_start_us", BigInteger, primary_key=True, autoincrement=False),
    Column("spent", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    CheckConstraint("held >= 0", name="held"),
    sqlite_with_rowid=False,
)
"""Where each budget stands, in its measure; one row for each window that a call touched."""

credit_grants = Table(
    "credit_grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("granted_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("ends_us", BigInteger),
    Column("closed_us", BigInteger),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("left_nanos", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("revoked_reason", Text),
    Column("revoked_author", Text),
    CheckConstraint("amount_nanos >= 0", name="amount"),
    Index(None, "subject"),
    Index(
        None,
        "ends_us",
        sqlite_where=text("ends_us IS NOT NULL AND closed_us IS NULL"),
        postgresql_where=text("ends_us IS NOT NULL AND closed_us IS NULL"),
    ),
    sqlite_with_rowid=False,
)
"""Prepaid credit. `ends_us` is the earlier of expiry and revocation; `closed_us` is when what was
left by then was taken off. `left_nanos` is the sum of the grant's moves, kept in the transaction
that makes them. The row whose id is that of the account (a budget) has what belongs to no grant.
"""

credit_moves = Table(
    "credit_moves",
    metadata,
    Column("source_id", Id, primary_key=True),
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("call_id", Id),
    Column("kind", Text, nullable=False),
    Column("grant_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("name", Text),
    Column("reason", Text),
    Column("author", Text),
    CheckConstraint("amount_nanos <> 0", name="amount"),
    Index(None, "subject", "currency", "at_us"),
    Index(
        None,
        "subject",
        "kind",
        sqlite_where=text("call_id IS NULL"),
        postgresql_where=text("call_id IS NULL"),
    ),
    sqlite_with_rowid=False,
)
"""Every movement of prepaid credit, beside its entry: which grant it came to or was taken from.

`source_id` is that of the entry: a call, a correction, or what a person did, whose `name` is the
id that the person chose. Positive amounts came, negative ones went.
"""

rate_cards = Table(
    "rate_cards",
    metadata,
    Column("id", Text, primary_key=True),
    Column("effective_from_us", BigInteger, nullable=False),
    Column("effective_to_us", BigInteger),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("book", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("checked", Text, nullable=False),
    Column("content", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Every card that a call was rated with; the id is the hash of what it says."""

price_files = Table(
    "price_files",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("imported_us", BigInteger, nullable=False),
    Column("removed_us", BigInteger),
    Column("format", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("content", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Imported rate files, which every process on this ledger uses: of each name the highest number
holds, unless it was removed. `hash` is that of the content.
"""

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("may_name_users", SmallInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("prefix", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("tags", Text),
    Column("models", Text),
    Column("endpoints", Text),
    Column("role", Text),
    UniqueConstraint("hash"),
    sqlite_with_rowid=False,
)
"""The gateway's keys. `hash` is that of the secret, which is stored nowhere; `models` and
`endpoints` are JSON lists of what the key may use (null: everything). `role` is null for a
customer's key, "admin" or "reader" for one of the admin API.
"""

owned_objects = Table(
    "owned_objects",
    metadata,
    Column("upstream", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("watched_us", BigInteger),
    Column("family", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("notes", Text),
    Index(None, "subject", "family", "created_us"),
    Index(
        None,
        "watched_us",
        sqlite_where=text("watched_us IS NOT NULL"),
        postgresql_where=text("watched_us IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""Whose the stored objects of an upstream's account are: files, batches, jobs, answers.

`watched_us`: when to look again whether this work has ended, null for objects that are not looked
after. `notes` is JSON that the owner keeps with an object whose provider keeps none.
"""

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Numbers that count without gaps: each is taken in the transaction that uses it."""

calibration_samples = Table(
    "calibration_samples",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("estimated_tokens", BigInteger, nullable=False),
    Column("reported_tokens", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What estimates of prompts are corrected by: the input tokens of some recent calls as they were
estimated, before any correction, and as they were reported. A new one takes a slot at random.
"""

feed_arrivals = Table(
    "feed_arrivals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("more", LargeBinary),
    sqlite_with_rowid=False,
)
"""What was committed and is in no portion of the feed yet: the sources of one transaction.

A source is a call's event, a correction, or whatever else caused entries. `id` is the first one,
`more` has the ids of the others, 16 bytes each.
"""

feed_portions = Table(
    "feed_portions",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("part", BigInteger, primary_key=True, autoincrement=False),
    Column("sources", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""The feed: sources by the portion in which they were found committed; 16 bytes each, sorted."""

followers = Table(
    "followers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("portion", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("following", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Who reads the feed from outside, and how far each has come: nothing behind that is trimmed."""

upstreams = Table(
    "upstreams",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Upstreams that were added while gateways run. `content` is their table of settings as JSON: it
says where the credential is, never what it is.
"""

invoices = Table(
    "invoices",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("issued_us", BigInteger, nullable=False),
    Column("period_start_us", BigInteger, nullable=False),
    Column("period_end_us", BigInteger, nullable=False),
    Column("portion", BigInteger, nullable=False),
    Column("number", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("tz", Text, nullable=False),
    Column("voids", Text),
    Column("content", Text, nullable=False),
    UniqueConstraint("number"),
    UniqueConstraint("voids"),
    Index(None, "subject", "sequence"),
    sqlite_with_rowid=False,
)
"""Invoices and credit notes, as they were issued: `content` is the whole document in JSON.

`sequence` counts without gaps. `voids` is the number of the invoice that a credit note takes back.
Every record up to `portion` of the feed is covered. Rows are only ever added.
"""

invoice_lines = Table(
    "invoice_lines",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("period_start_us", BigInteger, nullable=False),
    Column("period_end_us", BigInteger, nullable=False),
    Column("nanos", BigInteger, nullable=False),
    Column("per", BigInteger, nullable=False),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("tz", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("quantity", Text, nullable=False),
    Column("model", Text),
    Column("rule", Text),
    Column("effect", Text),
    sqlite_with_rowid=False,
)
"""The lines of the invoices: what was billed of which period, so that nothing is billed twice.

`rule` names the monthly rule that made a line, `effect` says how; null where calls made it.
"""


def _rollup(name: str, *keys: str) -> Table:
    """Return a table of sums: when the interval starts, what the calls have in common, the sums.

    A key is empty where a call has none. The sums are those of `summing.NAMES`.
    """
    return Table(
        name,
        metadata,
        Column("started_us", BigInteger, primary_key=True, autoincrement=False),
        *[Column(key, Text, primary_key=True) for key in (*keys, *_CURRENCIES)],
        *[Column(sum_name, BigInteger, nullable=False) for sum_name in _SUMS],
        sqlite_with_rowid=False,
    )


_CURRENCIES = ("currency", "list_currency", "billed_currency")
_REPORTED = (
    "cost_nanos", "list_nanos", "billed_nanos", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
_SUMS = (
    *_REPORTED, *[f"{name}_calls" for name in _REPORTED], "calls", "unpriced", "estimated",
    "unknown", "unmetered", "failed", "refused",
)  # fmt: skip

_WHO = ("provider", "issuer", "endpoint", "model", "model_served")

usage_hours = _rollup("usage_hours", *_WHO)
"""Sums of each hour UTC by provider, issuer, endpoint and models.

`model` is the one that was asked for, else the one that served.
"""

usage_days = _rollup("usage_days", *_WHO)
"""The same of each day UTC."""

usage_subject_days = _rollup("usage_subject_days", "subject", "provider", "model", "model_served")
"""Sums of each day UTC by subject, provider and models."""

usage_subject_hours = _rollup("usage_subject_hours", "subject")
"""Sums of each hour UTC by subject, for the days of zones that begin inside a day UTC."""

usage_subject_plain_days = _rollup("usage_subject_plain_days", "subject")
"""Sums of each day UTC by subject alone."""

usage_subject_months = _rollup("usage_subject_months", "subject")
"""Sums of each month UTC by subject."""

usage_subject_model_months = _rollup(
    "usage_subject_model_months", "subject", "provider", "model", "model_served"
)
"""Sums of each month UTC by subject, provider and models."""

usage_key_days = _rollup("usage_key_days", "key_id", "subject", "model")
"""Sums of each day UTC by key, subject and model."""

usage_tag_days = _rollup("usage_tag_days", "tag_name", "tag_value", "model")
"""Sums of each day UTC by tag and model: a call counts in each of its tags."""

rollups = {
    table.name: table
    for table in (
        usage_days, usage_hours, usage_subject_months, usage_subject_plain_days,
        usage_subject_model_months, usage_subject_days, usage_subject_hours, usage_key_days,
        usage_tag_days,
    )
}  # fmt: skip
"""Every table of sums, by its name."""
