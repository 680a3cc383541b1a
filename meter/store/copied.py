"""Ask a copy of the calls that lies in ClickHouse for sums, and get what the ledger would say.

The copy has the columns of `CALLS`, one row for each call as it is known now. The statements are
those that the ledger itself is asked, in ClickHouse's words: they sum integers, so that the answers
are the same to the nano. Knows no connection: who has one runs the texts. Called by the export to
ClickHouse.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, SmallInteger, Table, Text, func, select
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import SQLCompiler

from meter.core.call import Basis, Outcome
from meter.store.encoding import UNIT_COLUMNS, pairs_to_json
from meter.store.filters import where
from meter.store.grouping import dimensions_of, whole_name
from meter.store.reads import CallRow
from meter.store.summing import currencies_of, sums_of
from meter.store.types import BASIS_NUMBERS, OUTCOME_NUMBERS
from meter.store.usage_sums import Found, UsageRow, rows_of

CALLS = Table(
    "meter_calls",
    MetaData(),
    Column("call_id", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    Column("subject", Text),
    Column("key_id", Text),
    Column("tags", Text),
    Column("provider", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("upstream", Text),
    Column("model_requested", Text),
    Column("model_served", Text),
    Column("service_tier", Text),
    Column("outcome", SmallInteger, nullable=False),
    Column("basis", SmallInteger, nullable=False),
    Column("status", SmallInteger),
    *[Column(name, BigInteger) for name in UNIT_COLUMNS],
    Column("cost_nanos", BigInteger),
    Column("currency", Text),
    Column("rate_card_id", Text),
    Column("unpriced", Text),
    *[
        column
        for book in ("list", "billed")
        for column in (
            Column(f"{book}_nanos", BigInteger),
            Column(f"{book}_currency", Text),
            Column(f"{book}_card_id", Text),
            Column(f"{book}_unpriced", Text),
        )
    ],
)
"""The columns of a copied call: `version` counts its corrections, and the highest one holds.

`outcome` and `basis` are numbered as in the ledger, `tags` is JSON with sorted names.
"""

Run = Callable[[str], Iterable[Sequence[Any]]]
"""Runs a SELECT and returns its rows."""


def copied_row(call: CallRow) -> tuple[Any, ...]:
    """Return a call as it is known now in the order of `CALLS`."""
    usage: Mapping[str, Any] = call.usage or {}
    books = [
        value
        for charge in (call.listed, call.billed)
        for value in (charge.amount_nanos, charge.currency, charge.card_id, charge.unpriced)
    ]
    assert call.outcome is not None and call.basis is not None
    return (
        str(call.id), call.corrections, call.started_us, call.ended_us, call.subject, call.key_id,
        pairs_to_json(call.tags), call.provider, call.issuer, call.endpoint, call.upstream,
        call.model_requested, call.model_served, call.service_tier,
        OUTCOME_NUMBERS[Outcome(call.outcome)], BASIS_NUMBERS[Basis(call.basis)], call.status,
        *(usage.get(name) for name in UNIT_COLUMNS), call.cost_nanos, call.currency,
        call.rate_card_id, call.unpriced, *books,
    )  # fmt: skip


def usage(
    run: Run,
    *,
    by: Sequence[str],
    since_us: int | None,
    until_us: int | None,
    tz: str,
    filters: Mapping[str, str],
) -> list[UsageRow]:
    """Return sums over the copied calls, as `usage_sums.usage` does over the ledger's.

    Raises: InputError for a name that is not one of its names, ConfigError for an unknown zone.
    """
    events = CALLS.alias("events")
    within = where(events, since_us, until_us, filters)
    named = [whole_name(name) for name in by]
    dimensions_of(named, events, tz, 0, 0)
    bounds = select(func.count(), func.min(events.c.started_us), func.max(events.c.started_us))
    ((calls, first_us, last_us),) = run(_text(bounds.where(within)))
    if not calls:
        return []
    dimensions = dimensions_of(named, events, tz, int(first_us), int(last_us))
    columns = [column for dimension in dimensions for column in dimension.columns]
    currencies = currencies_of(events)
    keys = [column.label(f"key{number}") for number, column in enumerate((*columns, *currencies))]
    chosen = select(*keys, *sums_of(events)).where(within).group_by(*[key.name for key in keys])

    def found() -> Iterator[Found]:
        width = len(columns)
        for row in run(_text(chosen)):
            values = iter(row[:width])
            group = tuple(each.text(*[next(values) for _ in each.columns]) for each in dimensions)
            cost, listed, billed = row[width : width + 3]
            yield Found(group, (cost, listed, billed), [int(value) for value in row[width + 3 :]])

    return rows_of(found())


def _text(statement: Any) -> str:
    """Return a SELECT in ClickHouse's words, over the rows that hold."""
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})
    return f"{compiled} SETTINGS final = 1"


class _Compiler(SQLCompiler):
    """Writes what ClickHouse says otherwise."""

    def visit_floordiv_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Divide whole numbers: `/` would make a float."""
        return f"intDiv({self.process(binary.left, **kw)}, {self.process(binary.right, **kw)})"

    def render_literal_value(self, value: Any, type_: Any) -> str:
        """Write a value: in a text a backslash would begin an escape."""
        if isinstance(value, str):
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"'{escaped}'"
        return super().render_literal_value(value, type_)


class _Dialect(DefaultDialect):
    """ClickHouse, as far as these statements go."""

    name = "clickhouse"
    statement_compiler = _Compiler


_DIALECT = _Dialect()
