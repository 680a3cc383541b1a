"""Say what a bill says: rows of what an issuer counted or charged, whoever sent it.

Knows no file format and nothing of our ledger. Made by the readers, used by `comparing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal

from meter.core.money import Quantity
from meter.errors import InputError

_LARGEST = Decimal(10) ** 18


@dataclass(frozen=True, slots=True)
class BillRow:
    """One row: what the issuer counted or charged for a model in the half-open [start, end).

    Times are microseconds UTC; `start_us == end_us` is one call at that moment. `quantities` are
    inclusive buckets in our units (cached tokens are inside the input). `amount_nanos` is money,
    None where the row speaks of usage only. `unit` narrows an amount to one of our units, as
    charge lines have it (cached tokens *not* inside the input). None anywhere: not said.
    """

    start_us: int
    end_us: int
    model: str | None = None
    tier: str | None = None
    key: str | None = None
    calls: int | None = None
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    amount_nanos: int | None = None
    currency: str | None = None
    unit: str | None = None
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """Every row of a bill. `name` says what was read, for the report.

    `smallest_nanos` is the smallest step of its amounts: differences of less than that for each
    row are rounding. `is_of_balances`: each row is what a balance fell by.
    """

    name: str
    rows: tuple[BillRow, ...]
    smallest_nanos: int = 1
    is_of_balances: bool = False

    def __post_init__(self) -> None:
        """Check that there is something to compare. Raises: InputError."""
        if not self.rows:
            raise InputError(f"found no row in {self.name}, expected the usage or costs of a bill")

    def within(self, since_us: int | None, until_us: int | None) -> "Bill":
        """Return the rows that begin in [since, until). Raises: InputError when there is none."""
        rows = tuple(
            row
            for row in self.rows
            if (since_us is None or since_us <= row.start_us)
            and (until_us is None or row.start_us < until_us)
        )
        return replace(self, rows=rows)

    @property
    def start_us(self) -> int:
        """Return the first moment that the bill speaks of."""
        return min(row.start_us for row in self.rows)

    @property
    def end_us(self) -> int:
        """Return the first moment after the bill."""
        return max(max(row.end_us, row.start_us + 1) for row in self.rows)


def nanos_of(value: Decimal | int | str, where: str, *, places: int = 0) -> int:
    """Return an amount in currency units as nanos, rounded half to even.

    `places` moves the point first: -2 for amounts in cents. Issuers print more digits than a nano
    now and then. Raises: InputError for what is no amount.
    """
    try:
        amount = Decimal(value)
    except (ArithmeticError, ValueError, TypeError):
        raise InputError(f"found amount {value!r} in {where}, expected a decimal") from None
    if not amount.is_finite() or abs(amount) >= _LARGEST:
        raise InputError(f"found amount {value!r} in {where}, expected a finite decimal")
    return int(amount.scaleb(9 + places).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def smallest_step(amounts: list[Decimal]) -> int:
    """Return the last decimal place that the amounts are written to, in nanos (at least 1).

    12.50 and 3.07 are written to the cent: 10,000,000. A bill whose amounts have fewer digits
    than a cent is taken to be written to the cent as well.
    """
    places = 2
    for amount in amounts:
        exponent = amount.as_tuple().exponent
        if isinstance(exponent, int):
            places = max(places, min(9, -exponent))
    step: int = 10 ** (9 - places)
    return step
