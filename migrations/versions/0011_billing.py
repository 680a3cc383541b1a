"""Make views for other programs, sums by subject and hour, and columns for monthly rules.

The views have the same columns on both databases; docs/sql.md describes them. The rollups are
emptied and fold anew, because what was folded before is not in the new one. Frozen: a later
change of the schema is a later migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ROLLUPS = ("usage_hours", "usage_subject_days", "usage_key_days", "usage_tag_days")
CURRENCIES = ("currency", "list_currency", "billed_currency")
REPORTED = (
    "cost_nanos", "list_nanos", "billed_nanos", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
COUNTED = ("calls", "unpriced", "estimated", "unknown", "unmetered", "failed", "refused")

VIEWS = (
    "meter_calls", "meter_charge_lines", "meter_entries", "meter_invoices", "meter_invoice_lines",
    "meter_credit_moves",
)  # fmt: skip
OUTCOMES = ("completed", "client_closed", "upstream_failed", "timed_out", "refused")
BASES = ("reported", "estimated", "unknown")
SHORT_UNITS = {
    "i": "input_tokens", "cr": "cache_read_tokens", "cw": "cache_write_tokens",
    "cw5": "cache_write_5m_tokens", "cw30": "cache_write_30m_tokens",
    "cw1": "cache_write_1h_tokens", "cw12": "cache_write_12h_tokens",
    "ia": "input_audio_tokens", "ii": "input_image_tokens", "iv": "input_video_tokens",
    "ca": "cache_audio_read_tokens", "ci": "cache_image_read_tokens",
    "it": "tool_use_input_tokens", "o": "output_tokens", "r": "reasoning_tokens",
    "oa": "output_audio_tokens", "oi": "output_image_tokens", "rp": "rejected_prediction_tokens",
    "q": "requests",
}  # fmt: skip


def upgrade() -> None:
    """Make them."""
    op.add_column("invoice_lines", sa.Column("rule", sa.Text()))
    op.add_column("invoice_lines", sa.Column("effect", sa.Text()))
    texts = ("subject", *CURRENCIES)
    sums = (*REPORTED, *[f"{each}_calls" for each in REPORTED], *COUNTED)
    op.create_table(
        "usage_subject_hours",
        sa.Column("started_us", sa.BigInteger(), autoincrement=False, nullable=False),
        *[sa.Column(each, sa.Text(), nullable=False) for each in texts],
        *[sa.Column(each, sa.BigInteger(), nullable=False) for each in sums],
        sa.PrimaryKeyConstraint("started_us", *texts, name="pk_usage_subject_hours"),
        sqlite_with_rowid=False,
    )
    for name in ROLLUPS:
        op.execute(f"DELETE FROM {name}")
    op.execute("DELETE FROM counters WHERE name IN ('rollups: portion', 'rollups: part')")
    native = op.get_context().dialect.name == "postgresql"
    for name, query in views(native=native).items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    """Remove them."""
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    op.drop_table("usage_subject_hours")
    op.drop_column("invoice_lines", "effect")
    op.drop_column("invoice_lines", "rule")


def views(*, native: bool) -> dict[str, str]:
    """Return the query of each view; `native` says that the database is PostgreSQL."""
    truth = {name: _latest(name) for name in ("cost_nanos", *REPORTED[3:])}
    lines = _latest("lines")
    unit = _chosen("parts.unit", SHORT_UNITS)
    calls = f"""
        SELECT {_id("e.call_id", native)} AS call_id,
          {_id("coalesce(e.operation_id, e.call_id)", native)} AS operation_id,
          {_moment("e.started_us", native)} AS started_at, e.started_us,
          coalesce(c.ended_us - e.started_us, e.duration_us) AS duration_us,
          e.subject, e.key_id, e.tags, r.provider, r.issuer, r.upstream, r.endpoint,
          coalesce(r.model_requested, c.model_served, r.model_served) AS model,
          coalesce(c.model_served, r.model_served) AS model_served,
          coalesce(c.service_tier, r.service_tier) AS service_tier,
          {_numbered("coalesce(c.outcome, e.outcome)", OUTCOMES)} AS outcome,
          {_numbered("coalesce(c.basis, e.basis)", BASES)} AS basis,
          coalesce(c.status, e.status) AS status,
          {truth["input_tokens"]}, {truth["cache_read_tokens"]}, {truth["cache_write_tokens"]},
          {truth["output_tokens"]}, {truth["reasoning_tokens"]},
          {_latest("currency", "r")}, {truth["cost_nanos"]},
          {_book("list", "currency")} AS list_currency, {_book("list", "nanos")} AS list_nanos,
          {_book("billed", "currency")} AS billed_currency,
          {_book("billed", "nanos")} AS billed_nanos,
          coalesce(c.number, 0) AS corrections
        FROM {_JOINED}"""
    each = (
        "jsonb_array_elements(parts_of.lines::jsonb) WITH ORDINALITY AS each (value, number)"
        if native
        else "json_each(parts_of.lines) AS each"
    )
    parts = _PARTS_NATIVE if native else _PARTS_SQLITE
    charge_lines = f"""
        SELECT parts.call_id, parts.number, {_moment("parts.started_us", native)} AS started_at,
          parts.started_us, parts.subject, parts.model, {unit} AS unit, parts.quantity,
          parts.price_nanos, parts.per, parts.amount_nanos, parts.currency
        FROM (
          SELECT parts_of.call_id, parts_of.started_us, parts_of.subject, parts_of.model,
            parts_of.currency, {parts}
          FROM (
            SELECT {_id("e.call_id", native)} AS call_id, e.started_us, e.subject,
              coalesce(r.model_requested, c.model_served, r.model_served) AS model,
              {_latest("currency", "r")}, {lines}
            FROM {_JOINED}
          ) AS parts_of CROSS JOIN {each}
        ) AS parts"""
    return {
        "meter_calls": calls,
        "meter_charge_lines": charge_lines,
        "meter_entries": f"""
            SELECT {_id("source_id", native)} AS source_id, number,
              {_moment("at_us", native)} AS made_at, at_us AS made_us, debit, credit, currency,
              amount_nanos
            FROM entries""",
        "meter_invoices": f"""
            SELECT i.number, i.sequence, i.kind, i.subject, i.currency, i.period, i.tz,
              {_moment("i.issued_us", native)} AS issued_at, i.issued_us,
              coalesce((SELECT sum(l.amount_nanos) FROM invoice_lines AS l
                        WHERE l.sequence = i.sequence), 0) AS subtotal_nanos,
              i.voids, note.number AS voided_by, i.content
            FROM invoices AS i LEFT JOIN invoices AS note ON note.voids = i.number""",
        "meter_invoice_lines": """
            SELECT i.number, l.place, i.subject, i.currency, l.kind, l.period, l.tz, l.model,
              l.unit, l.rule, l.effect, l.quantity, l.nanos AS price_nanos, l.per, l.amount_nanos
            FROM invoice_lines AS l JOIN invoices AS i ON i.sequence = l.sequence""",
        "meter_credit_moves": f"""
            SELECT {_id("source_id", native)} AS source_id, number,
              {_moment("at_us", native)} AS made_at, at_us AS made_us, subject, currency, kind,
              grant_id, {_id("call_id", native)} AS call_id, amount_nanos, reason, author
            FROM credit_moves""",
    }


_JOINED = """usage_events AS e JOIN routes AS r ON r.id = e.route_id
          LEFT JOIN corrections AS c ON c.call_id = e.call_id AND NOT EXISTS (
            SELECT 1 FROM corrections AS later
            WHERE later.call_id = c.call_id AND later.number > c.number)"""

_PARTS_NATIVE = """each.number,
            each.value ->> 0 AS unit, (each.value ->> 1)::numeric AS quantity,
            (each.value ->> 2)::bigint AS price_nanos,
            coalesce((each.value ->> 4)::bigint, 1000000) AS per,
            (each.value ->> 3)::bigint AS amount_nanos"""

_PARTS_SQLITE = """each.key + 1 AS number,
            json_extract(each.value, '$[0]') AS unit,
            json_extract(each.value, '$[1]') AS quantity,
            json_extract(each.value, '$[2]') AS price_nanos,
            coalesce(json_extract(each.value, '$[4]'), 1000000) AS per,
            json_extract(each.value, '$[3]') AS amount_nanos"""


def _latest(name: str, table: str = "e") -> str:
    """Return a column of what a correction always states, as it is known now."""
    return f"CASE WHEN c.number IS NULL THEN {table}.{name} ELSE c.{name} END AS {name}"


def _book(book: str, what: str) -> str:
    """Return what a price book says of a call: what the cost says, where it says nothing."""
    own = {"nanos": "e", "currency": "r"}[what]
    cost = {"nanos": "cost_nanos", "currency": "currency"}[what]
    told = [f"{book}_card_id", f"{book}_currency", f"{book}_unpriced"]
    first = ", ".join(f"r.{name}" for name in told)
    later = ", ".join(f"c.{name}" for name in told)
    return (
        f"CASE WHEN c.number IS NULL THEN "
        f"CASE WHEN coalesce({first}) IS NULL THEN {own}.{cost} ELSE {own}.{book}_{what} END "
        f"ELSE CASE WHEN coalesce({later}) IS NULL THEN c.{cost} ELSE c.{book}_{what} END END"
    )


def _numbered(column: str, names: tuple[str, ...]) -> str:
    cases = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(names))
    return f"CASE {column} {cases} END"


def _chosen(column: str, names: dict[str, str]) -> str:
    cases = " ".join(f"WHEN '{short}' THEN '{name}'" for short, name in names.items())
    return f"CASE {column} {cases} ELSE {column} END"


def _id(column: str, native: bool) -> str:
    """Return an id as text, as every other face of the product writes it."""
    if native:
        return f"CAST({column} AS text)"
    digits = f"lower(hex({column}))"
    spans = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    text = " || '-' || ".join(f"substr({digits}, {start}, {size})" for start, size in spans)
    return f"CASE WHEN {column} IS NULL THEN NULL ELSE {text} END"


def _moment(column: str, native: bool) -> str:
    """Return microseconds as a moment: timestamptz, or on SQLite text in UTC."""
    if native:
        return f"timestamptz 'epoch' + {column} * interval '1 microsecond'"
    seconds = f"strftime('%Y-%m-%d %H:%M:%S', {column} / 1000000, 'unixepoch')"
    return f"{seconds} || printf('.%06d', {column} % 1000000)"
