"""Say what a bill says: rows of what an issuer counted or charged, whoever sent it.

Knows no file format and nothing of our ledger. Made by the readers, used by `comparing`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal

from meter.core.money import Quantity
from meter.errors import InputError

Interval = tuple[int, int]
"""Half open, microseconds UTC."""

_LARGEST = Decimal(10) ** 18
_LATEST_US = 221_845_392_000_000_000
"""The beginning of the year 9000: no zone moves a day before it past what dates can say."""


@dataclass(frozen=True, slots=True)
class BillRow:
    """One row: what the issuer counted or charged for a model in the half-open [start, end).

    Times are microseconds UTC; `start_us == end_us` is one call at that moment. `quantities` are
    inclusive buckets in our units (cached tokens are inside the input). `amount_nanos` is money,
    None where the row speaks of usage only. `unit` narrows an amount to one of our units, as
    charge lines have it (cached tokens *not* inside the input). `kind` narrows usage to the calls
    of one of `usage_kinds`. None anywhere: not said.
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
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """Every row of a bill. `name` says what was read, for the report.

    `smallest_nanos` is the smallest step of its amounts: differences of less than that for each
    row are rounding. `is_of_balances`: each row is what a balance fell by.

    A bill speaks of all time from its first interval to its last, so that nothing was used where
    it has no row. `counted` and `charged` are intervals that it lists for usage and for charges,
    with a row or without; `since_us` and `until_us` are where it begins and ends, if that was said.
    """

    name: str
    rows: tuple[BillRow, ...]
    smallest_nanos: int = 1
    is_of_balances: bool = False
    counted: tuple[Interval, ...] = ()
    charged: tuple[Interval, ...] = ()
    since_us: int | None = None
    until_us: int | None = None

    def __post_init__(self) -> None:
        """Check that there is something to compare, at times that there are. Raises: InputError."""
        if not self.rows:
            raise InputError(f"found no row in {self.name}, expected the usage or costs of a bill")
        if self.start_us < 0 or self.end_us > _LATEST_US:
            raise InputError(f"found a time in {self.name} outside the years 1970 to 8999")

    def within(self, since_us: int | None, until_us: int | None) -> "Bill":
        """Return the rows that begin in [since, until), as the bill of all that time.

        Balances say nothing of the time before the first and after the last. Raises: InputError
        when there is no row.
        """

        def begins_there(interval: Interval) -> bool:
            after = since_us is None or since_us <= interval[0]
            return after and (until_us is None or interval[0] < until_us)

        return replace(
            self,
            rows=tuple(row for row in self.rows if begins_there((row.start_us, row.end_us))),
            counted=tuple(filter(begins_there, self.counted)),
            charged=tuple(filter(begins_there, self.charged)),
            since_us=None if self.is_of_balances else since_us,
            until_us=None if self.is_of_balances else until_us,
        )

    @property
    def start_us(self) -> int:
        """Return the first moment that the bill speaks of."""
        listed = (*self.counted, *self.charged, *((row.start_us, 0) for row in self.rows))
        first = min(start for start, _ in listed)
        return first if self.since_us is None else min(first, self.since_us)

    @property
    def end_us(self) -> int:
        """Return the first moment after the bill."""
        ends = [max(row.end_us, row.start_us + 1) for row in self.rows]
        last = max(*ends, *(end for _, end in (*self.counted, *self.charged)), 0)
        return last if self.until_us is None else max(last, self.until_us)


def bill_of_pages(
    name: str,
    pages: Iterable[Sequence[tuple[Interval, Sequence[BillRow]]]],
    amounts: Sequence[Decimal],
) -> Bill:
    """Return the bill of pages of buckets; `amounts` are all that they have, as they are written.

    A page answers one question: what its buckets without a row are about, the others say.
    """
    rows: list[BillRow] = []
    counted: list[Interval] = []
    charged: list[Interval] = []
    for buckets in pages:
        found = [row for _, of_bucket in buckets for row in of_bucket]
        rows += found
        if found:
            listed = counted if found[0].amount_nanos is None else charged
            listed += (interval for interval, _ in buckets)
    return Bill(
        name, tuple(rows), smallest_step(amounts), counted=tuple(counted), charged=tuple(charged)
    )


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


def smallest_step(amounts: Sequence[Decimal]) -> int:
    """Return the last decimal place that the amounts are written to, in nanos (1 without any).

    12.50 and 3.07 are written to the cent: 10,000,000. A bill whose amounts have fewer digits
    than a cent is taken to be written to the cent as well.
    """
    if not amounts:
        return 1
    places = 2
    for amount in amounts:
        exponent = amount.as_tuple().exponent
        if isinstance(exponent, int):
            places = max(places, min(9, -exponent))
    step: int = 10 ** (9 - places)
    return step
