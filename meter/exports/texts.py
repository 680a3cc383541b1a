"""Turn values into the texts that CSV, JSON and people read. Exact: no amount becomes a float."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from meter.core.money import nanos_to_text
from meter.core.rates import datetime_of
from meter.core.windows import zone
from meter.exports.tables import Kind, Table

Convert = Callable[[Any], Any]


def time_text(tz: str) -> Callable[[int], str]:
    """Return what writes a moment: "2026-11-22T20:00:00.000001+08:00" in Asia/Shanghai."""
    there = zone(tz)

    def text(at_us: int) -> str:
        return datetime_of(at_us).astimezone(there).isoformat(timespec="microseconds")

    return text


def utc_text(at_us: int) -> str:
    """Return a moment as FOCUS has it: "2026-11-22T12:00:00Z"."""
    return datetime_of(at_us).isoformat().replace("+00:00", "Z")


def decimal_text(quantity: int | Decimal) -> str:
    """Return a quantity as plain digits, never with an exponent."""
    return f"{quantity:f}" if isinstance(quantity, Decimal) else str(quantity)


def json_text(value: object) -> str:
    """Return compact JSON; decimals are texts."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def converters(table: Table, by_kind: dict[Kind, Convert]) -> list[Convert | None]:
    """Return for each field what converts its values, None where they stay as they are."""
    return [by_kind.get(field.kind) for field in table.fields]


def texts_of(tz: str) -> dict[Kind, Convert]:
    """Return what turns amounts, quantities and times into texts."""
    return {
        Kind.AMOUNT: nanos_to_text,
        Kind.DECIMAL: decimal_text,
        Kind.TIME: time_text(tz),
        Kind.UTC: utc_text,
    }
