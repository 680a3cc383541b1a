"""Say what is exported: tables of typed fields, and the rows that calls, lines and sums make.

A row is a tuple with one value for each field, in the product's own terms: amounts in nanos, times
in microseconds UTC, quantities whole or Decimal, None for unknown. The formats turn these into
what their files hold. Knows no file and no database.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from meter.core.ledger import Entry
from meter.core.rates import RateCard
from meter.reports.charging import Book, charge_in, lines_of
from meter.store.changes import Change
from meter.store.reads import CallRow, UsageRow

Row = tuple[Any, ...]


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"  # a quantity: int or Decimal
    AMOUNT = "amount"  # nanos
    TIME = "time"  # microseconds UTC, shown in the zone of the export
    UTC = "utc"  # microseconds UTC, shown as such whatever the zone
    FLAG = "flag"
    JSON = "json"  # a mapping or a list of texts and numbers


@dataclass(frozen=True, slots=True)
class Field:
    """One column. `summed` fields have a total; an amount's currency is in the field `currency`."""

    name: str
    kind: Kind = Kind.TEXT
    summed: bool = False
    currency: str = "currency"


@dataclass(frozen=True, slots=True)
class Table:
    """A named list of fields. `name` is also that of the sheet.

    `currency` is the field that says the currency of a row; totals are by it.
    """

    name: str
    fields: tuple[Field, ...]
    currency: str = "currency"

    @property
    def names(self) -> list[str]:
        """Return the names of the fields."""
        return [field.name for field in self.fields]


_TOKENS = (
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip

CALLS = Table(
    "calls",
    (
        Field("call_id"),
        Field("operation_id"),
        Field("state"),
        Field("started", Kind.TIME),
        Field("ended", Kind.TIME),
        Field("first_byte", Kind.TIME),
        Field("subject"),
        Field("key"),
        Field("tags", Kind.JSON),
        Field("provider"),
        Field("issuer"),
        Field("upstream"),
        Field("endpoint"),
        Field("path"),
        Field("model"),
        Field("model_served"),
        Field("service_tier"),
        Field("streaming", Kind.FLAG),
        Field("outcome"),
        Field("basis"),
        Field("status", Kind.INTEGER),
        *(Field(name, Kind.INTEGER, summed=True) for name in _TOKENS),
        Field("other_units", Kind.JSON),
        Field("estimated_input_tokens", Kind.INTEGER),
        Field("counted_output_tokens", Kind.INTEGER),
        Field("cost", Kind.AMOUNT, summed=True),
        Field("currency"),
        Field("rate_card_id"),
        Field("unpriced"),
        Field("list_cost", Kind.AMOUNT, summed=True, currency="list_currency"),
        Field("list_currency"),
        Field("list_card_id"),
        Field("billed", Kind.AMOUNT, summed=True, currency="billed_currency"),
        Field("billed_currency"),
        Field("billed_card_id"),
        Field("billed_unpriced"),
        Field("provider_cost", Kind.AMOUNT),
        Field("bound_cost", Kind.AMOUNT),
        Field("bound_currency"),
        Field("response_id"),
        Field("traits", Kind.JSON),
        Field("defects", Kind.JSON),
        Field("corrections", Kind.INTEGER),
    ),
)
"""One row for each call that ended, with its corrections applied."""

LINES = Table(
    "lines",
    (
        Field("source_id"),
        Field("call_id"),
        Field("line", Kind.INTEGER),
        Field("started", Kind.TIME),
        Field("subject"),
        Field("key"),
        Field("tags", Kind.JSON),
        Field("provider"),
        Field("issuer"),
        Field("endpoint"),
        Field("model"),
        Field("model_served"),
        Field("service_tier"),
        Field("basis"),
        Field("book"),
        Field("unit"),
        Field("quantity", Kind.DECIMAL),
        Field("price", Kind.AMOUNT),
        Field("per", Kind.INTEGER),
        Field("amount", Kind.AMOUNT, summed=True),
        Field("currency"),
        Field("rate_card_id"),
        Field("corrections", Kind.INTEGER),
    ),
)
"""One row for each charge line: quantity x price / per = amount.

`source_id` and `line` name it: the source is the call, or the correction that stated the lines.
"""

ENTRIES = Table(
    "entries",
    (
        Field("source_id"),
        Field("number", Kind.INTEGER),
        Field("at", Kind.TIME),
        Field("debit"),
        Field("credit"),
        Field("amount", Kind.AMOUNT),
        Field("currency"),
        Field("spend", Kind.AMOUNT, summed=True),
    ),
)
"""The ledger. `spend` is the amount with the sign that it has for what subjects have used."""

_COUNTS = ("unpriced", "estimated", "unknown", "unmetered", "failed", "refused")


def usage_table(by: Sequence[str]) -> Table:
    """Return the table of sums grouped by these names."""
    fields = (
        *(Field(name) for name in by),
        Field("calls", Kind.INTEGER, summed=True),
        *(Field(name, Kind.INTEGER, summed=True) for name in _TOKENS),
        Field("cost", Kind.AMOUNT, summed=True),
        *((Field("currency"),) if "currency" not in by else ()),
        Field("list_cost", Kind.AMOUNT, summed=True, currency="list_currency"),
        Field("list_currency"),
        Field("billed", Kind.AMOUNT, summed=True, currency="billed_currency"),
        Field("billed_currency"),
        *(Field(name, Kind.INTEGER, summed=True) for name in _COUNTS),
    )
    return Table("usage", fields)


def call_rows(calls: Iterable[CallRow]) -> Iterator[Row]:
    """Yield a row of `CALLS` for each call."""
    for call in calls:
        usage: Mapping[str, Any] = call.usage or {}
        others = {name: usage[name] for name in usage if name not in _TOKENS}
        yield (
            str(call.id),
            str(call.operation_id),
            call.state,
            call.started_us,
            call.ended_us,
            call.first_byte_us,
            call.subject,
            call.key_id,
            dict(call.tags) or None,
            call.provider,
            call.issuer,
            call.upstream,
            call.endpoint,
            call.path,
            call.model_requested,
            call.model_served,
            call.service_tier,
            call.streaming,
            call.outcome and call.outcome.value,
            call.basis and call.basis.value,
            call.status,
            *(usage.get(name) for name in _TOKENS),
            others or None,
            call.estimated_input_tokens,
            call.counted_output_tokens,
            call.cost_nanos,
            call.currency,
            call.rate_card_id,
            call.unpriced,
            call.listed.amount_nanos,
            call.listed.currency,
            call.listed.card_id,
            call.billed.amount_nanos,
            call.billed.currency,
            call.billed.card_id,
            call.billed.unpriced,
            call.provider_cost_nanos,
            call.bound_cost_nanos,
            call.bound_currency,
            call.response_id,
            dict(call.traits) or None,
            list(call.defects) or None,
            call.corrections,
        )


CardNamed = Callable[[str], RateCard | None]
"""Returns the stored rate card of an id."""


def line_rows(calls: Iterable[CallRow], book: Book, card_named: CardNamed) -> Iterator[Row]:
    """Yield a row of `LINES` for each charge line of each call in a price book."""
    for call in calls:
        yield from _line_rows(call.id, call, book, card_named, 0, 1)


def changed_line_rows(
    changes: Iterable[Change], book: Book, card_named: CardNamed
) -> Iterator[Row]:
    """Yield what each statement adds to the charge lines; what it takes back is below zero."""
    for change in changes:
        taken_back: list[Row] = []
        if change.before is not None:
            found = _line_rows(change.source_id, change.before, book, card_named, 0, -1)
            taken_back = list(found)
        yield from taken_back
        yield from _line_rows(change.source_id, change.call, book, card_named, len(taken_back), 1)


def _line_rows(
    source_id: UUID, call: CallRow, book: Book, card_named: CardNamed, before: int, sign: int
) -> Iterator[Row]:
    charge = charge_in(call, book)
    for number, line in enumerate(lines_of(call, book, card_named), start=before + 1):
        yield (
            str(source_id),
            str(call.id),
            number,
            call.started_us,
            call.subject,
            call.key_id,
            dict(call.tags) or None,
            call.provider,
            call.issuer,
            call.endpoint,
            call.model_requested,
            call.model_served,
            call.service_tier,
            call.basis and call.basis.value,
            book,
            line.unit,
            sign * line.quantity,
            line.nanos,
            line.per,
            sign * line.amount_nanos,
            charge.currency,
            charge.card_id,
            call.corrections,
        )


def usage_rows(rows: Iterable[UsageRow], by: Sequence[str]) -> Iterator[Row]:
    """Yield a row of `usage_table(by)` for each row of sums."""
    for row in rows:
        yield (
            *row.group,
            row.calls,
            *(getattr(row, name) for name in _TOKENS),
            row.cost_nanos,
            *((row.currency,) if "currency" not in by else ()),
            row.list_nanos,
            row.list_currency,
            row.billed_nanos,
            row.billed_currency,
            *(getattr(row, name) for name in _COUNTS),
        )


def entry_rows(entries: Iterable[Entry]) -> Iterator[Row]:
    """Yield a row of `ENTRIES` for each entry of the ledger."""
    for entry in entries:
        sign = entry.debit.startswith("spend:") - entry.credit.startswith("spend:")
        yield (
            str(entry.source_id),
            entry.number,
            entry.at_us,
            entry.debit,
            entry.credit,
            entry.amount_nanos,
            entry.currency,
            sign * entry.amount_nanos if sign else None,
        )
