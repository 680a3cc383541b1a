"""Keep the totals of rows as they pass by: one for each currency, exact.

Where all amounts are in one currency, rows without a currency (unpriced calls) are in its total,
as in `meter usage`. Knows no format.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meter.core.money import Quantity
from meter.exports.tables import Kind, Row, Table


@dataclass(frozen=True, slots=True)
class Total:
    """The sums over rows of one currency (None: rows that have none), by field name.

    `rows` counts them. Amounts are nanos; a field that no row had a value for is absent.
    """

    currency: str | None
    rows: int
    sums: Mapping[str, Quantity]


@dataclass(slots=True)
class Totals:
    """Adds up the summed fields of a table's rows."""

    table: Table
    rows: int = 0
    _counted: dict[str | None, int] = field(default_factory=dict)
    _sums: dict[tuple[str | None, str], Quantity] = field(default_factory=dict)

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows."""
        names = self.table.names
        own = names.index(self.table.currency) if self.table.currency in names else None
        summed = [
            (place, field.name, names.index(field.currency) if field.kind is Kind.AMOUNT else own)
            for place, field in enumerate(self.table.fields)
            if field.summed
        ]
        sums, counted = self._sums, self._counted
        for row in rows:
            self.rows += 1
            currency = None if own is None else row[own]
            counted[currency] = counted.get(currency, 0) + 1
            for place, name, currency_place in summed:
                value = row[place]
                if value is not None:
                    key = (None if currency_place is None else row[currency_place], name)
                    sums[key] = sums.get(key, 0) + value

    def listed(self) -> list[Total]:
        """Return a total for each currency, sorted, that of rows without one at the end."""
        found = self._counted.keys() | {currency for currency, _ in self._sums}
        currencies = sorted(currency for currency in found if currency is not None)
        lone = len(currencies) == 1
        listed = [self._total({currency, None} if lone else {currency}) for currency in currencies]
        if None in found and not lone:
            listed.append(self._total({None}))
        return listed

    def _total(self, currencies: set[str | None]) -> Total:
        sums: dict[str, Quantity] = {}
        for (currency, name), value in self._sums.items():
            if currency in currencies:
                sums[name] = sums.get(name, 0) + value
        named = next((currency for currency in currencies if currency is not None), None)
        counted = sum(self._counted.get(currency, 0) for currency in currencies)
        return Total(named, counted, sums)
