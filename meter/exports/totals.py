"""Put a total into words and records, for the files and the people that show it."""

from typing import Any

from meter.core.money import nanos_to_text
from meter.exports.summing import Total
from meter.exports.tables import Kind, Table
from meter.exports.texts import decimal_text


def total_record(table: Table, total: Total) -> dict[str, Any]:
    """Return a total by field name: amounts and fractions as decimal texts, counts as numbers."""
    record: dict[str, Any] = {"currency": total.currency, "rows": total.rows}
    for field in table.fields:
        value = total.sums.get(field.name)
        if not field.summed or value is None:
            continue
        if field.kind is Kind.AMOUNT:
            record[field.name] = nanos_to_text(int(value))
        else:
            record[field.name] = value if isinstance(value, int) else decimal_text(value)
    return record


def total_sentence(table: Table, total: Total) -> str:
    """Return the amounts of a total for a person: "cost 12.5 USD"; "" where it has none.

    What is the same as the first is not said again.
    """
    amounts = {
        field.name: total.sums[field.name]
        for field in table.fields
        if field.kind is Kind.AMOUNT and field.name in total.sums
    }
    first = "cost" if "cost" in amounts else next(iter(amounts), "")
    return ", ".join(
        f"{name} {nanos_to_text(int(nanos))} {total.currency or ''}".strip()
        for name, nanos in amounts.items()
        if name == first or nanos != amounts[first]
    )
