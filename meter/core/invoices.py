"""Turn what a subject is billed for a period into invoices: lines, tax, rounding. Pure.

An invoice bills the difference between what is known of a period and what earlier invoices have
billed of it. So the first invoice of a period has all of it; a late record or a correction comes
as an adjustment on the next one; a credit note takes its invoice's lines back, and they can be
billed anew. Nothing is billed twice, and the lines of all invoices sum to what was billed, to the
nano. Only what a person pays is rounded, with a line that says by how much. What prepaid credit
has paid already is taken off the total, and what is left is due.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from meter.core.money import NANOS, Quantity, divide_half_even, nanos_to_decimal
from meter.core.monthly import MONEY, Adjustment
from meter.core.rates import microseconds_of
from meter.core.rating import ChargeLine
from meter.core.units import UNITS
from meter.core.windows import Span, Window, zone
from meter.errors import InputError

_NO_DECIMALS = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV",
     "XAF", "XOF", "XPF")
)  # fmt: skip
_THREE_DECIMALS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
_PERIOD = re.compile(r"(\d{4})(?:-(?:(\d{2})(?:-(\d{2}))?|Q([1-4])))?")
_PLACES = {name: place for place, name in enumerate(UNITS)}


class Kind(StrEnum):
    """What a document is. A credit note voids one invoice."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"


class LineKind(StrEnum):
    """Why a line is there: the invoice's own period, or news of an earlier one.

    Of its own period, usage is what calls used, and monthly what a free allowance or volume tiers
    change of that.
    """

    USAGE = "usage"
    MONTHLY = "monthly"
    ADJUSTMENT = "adjustment"


@dataclass(frozen=True, slots=True)
class Period:
    """What an invoice is for: [start_us, end_us) in microseconds UTC, by its name in a zone."""

    name: str
    tz: str
    start_us: int
    end_us: int

    def overlaps(self, other: "Period") -> bool:
        """Whether both hold some moment."""
        return self.start_us < other.end_us and other.start_us < self.end_us

    def months(self) -> tuple[int, ...]:
        """Return where each whole month in it begins, microseconds UTC; () for a day."""
        month = Window(Span.MONTH, self.tz)
        starts, at_us = [], self.start_us
        while at_us < self.end_us:
            start_us, end_us = month.bounds(at_us)
            if start_us == at_us and end_us is not None and end_us <= self.end_us:
                starts.append(start_us)
            at_us = end_us or self.end_us
        return tuple(starts)


@dataclass(frozen=True, slots=True)
class Item:
    """What is billed alike: one unit of one model at one price (`nanos` for `per` units).

    What a monthly rule changes has the `rule`'s name and its `effect`, "allowance" or "volume", and
    neither model nor price; its unit can be "money".
    """

    model: str | None
    unit: str
    nanos: int
    per: int
    rule: str | None = None
    effect: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a quantity of an item, used in a period, and the amount.

    The amount is the sum of the calls' own amounts, each of which was rounded once to the nano; it
    can differ from quantity x price by half a nano a call.
    """

    kind: LineKind
    period: Period
    item: Item
    quantity: Quantity
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class FromCredit:
    """What prepaid credit has paid of an invoice.

    `used` is what the invoiced calls took from it, by their period, as far as no earlier invoice
    said so. Of that, `overrun_nanos` was not there, and is still owed.
    """

    used: tuple[tuple[Period, int], ...]
    overrun_nanos: int = 0

    @property
    def nanos(self) -> int:
        """Return what was paid, exact to the nano."""
        return sum(nanos for _, nanos in self.used) - self.overrun_nanos


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax on the whole invoice: `label`, and `percent` as an exact decimal."""

    label: str
    percent: Decimal

    def of(self, nanos: int) -> int:
        """Return the tax on an amount, rounded half to even to the nano."""
        numerator, denominator = self.percent.as_integer_ratio()
        return divide_half_even(nanos * numerator, 100 * denominator)


@dataclass(frozen=True, slots=True)
class Parties:
    """What the issuer says on each invoice: `seller`, `bill_to` and `note` are free text."""

    seller: str = ""
    bill_to: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Invoice:
    """One document in one currency.

    `number` is None for a draft. `voids` is the number of the invoice that a credit note takes
    back, for the `reason`. `portion`: every record up to this portion of the feed is covered.
    `unpriced_calls` have no amount yet and are not on it. `rules` are fingerprints of the
    monthly rules that the lines of a period were made with. `credit` is None without prepaid
    credit.
    """

    kind: Kind
    subject: str
    currency: str
    period: Period
    issued_us: int
    lines: tuple[Line, ...]
    number: str | None = None
    voids: str | None = None
    reason: str | None = None
    tax: Tax | None = None
    parties: Parties = Parties()
    portion: int = 0
    unpriced_calls: int = 0
    rules: tuple[tuple[Period, str], ...] = ()
    credit: FromCredit | None = None

    @property
    def subtotal_nanos(self) -> int:
        """Return the exact sum of the lines."""
        return sum(line.amount_nanos for line in self.lines)

    @property
    def tax_nanos(self) -> int:
        """Return the tax, exact to the nano."""
        return self.tax.of(self.subtotal_nanos) if self.tax else 0

    @property
    def total_nanos(self) -> int:
        """Return what is billed: whole minor units of the currency, rounded half to even."""
        return self._payable(self.subtotal_nanos + self.tax_nanos)

    @property
    def due_nanos(self) -> int:
        """Return what is left to pay, in whole minor units; below zero it is to be given back."""
        paid = self.credit.nanos if self.credit else 0
        return self._payable(self.subtotal_nanos + self.tax_nanos - paid)

    @property
    def paid_nanos(self) -> int:
        """Return what credit has paid of the total, in whole minor units."""
        return self.total_nanos - self.due_nanos

    def _payable(self, exact_nanos: int) -> int:
        unit = minor_unit_nanos(self.currency)
        return divide_half_even(exact_nanos, unit) * unit

    @property
    def rounding_nanos(self) -> int:
        """Return what the rounding of the total added, or took."""
        return self.total_nanos - self.subtotal_nanos - self.tax_nanos


def minor_unit_nanos(currency: str) -> int:
    """Return the nanos of the smallest amount that can be paid in this currency."""
    return NANOS // int(10 ** decimals_of(currency))


def decimals_of(currency: str) -> int:
    """Return how many decimals an amount to pay has in this currency (ISO 4217)."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def period_named(name: str, tz: str) -> Period:
    """Return the period "2026-11", "2026-11-05", "2026-Q4" or "2026" in a time zone.

    Raises: InputError for anything else, ConfigError for an unknown zone.
    """
    found = _PERIOD.fullmatch(name)
    if found is None:
        raise _no_period(name)
    year, month, day, quarter = (int(part) if part else None for part in found.groups())
    assert year is not None
    first = month or (quarter * 3 - 2 if quarter else 1)
    months = 1 if month else 3 if quarter else 12
    there = zone(tz)
    try:
        start = datetime(year, first, day or 1, tzinfo=there)
        if day:
            end = datetime.fromordinal(start.toordinal() + 1).replace(tzinfo=there)
        else:
            after = first + months - 1
            end = datetime(year + after // 12, after % 12 + 1, 1, tzinfo=there)
    except ValueError:
        raise _no_period(name) from None
    return Period(name, tz, microseconds_of(start), microseconds_of(end))


def tax_named(label: str, percent: str) -> Tax | None:
    """Return the tax that settings or options name, None where they name none.

    Raises: InputError for a percentage that is no decimal from 0 to 1000, or without a label.
    """
    if not label and not percent:
        return None
    try:
        exact = Decimal(percent)
    except InvalidOperation:
        exact = Decimal("NaN")
    if not (exact.is_finite() and 0 <= exact <= 1000) or not label:
        raise InputError(
            f"found tax {label!r} of {percent!r} percent, expected a label and a decimal such as "
            "VAT and 19"
        )
    return Tax(label, exact)


class Sums:
    """Adds up what was billed of one period, by currency and item."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._sums: dict[tuple[str, Item], tuple[Quantity, int]] = {}

    def add(self, currency: str, item: Item, quantity: Quantity, amount_nanos: int) -> None:
        """Add a quantity and an amount; those that were billed before are taken with a minus."""
        known, nanos = self._sums.get((currency, item), (0, 0))
        self._sums[currency, item] = (known + quantity, nanos + amount_nanos)

    def add_call(self, currency: str, model: str | None, lines: Iterable[ChargeLine]) -> None:
        """Add the charge lines of one call."""
        for line in lines:
            item = Item(model, line.unit, line.nanos, line.per)
            self.add(currency, item, line.quantity, line.amount_nanos)

    def add_monthly(self, adjustment: Adjustment) -> None:
        """Add what a monthly rule changes of a month."""
        item = Item(None, adjustment.unit, 0, 1, adjustment.rule, adjustment.kind)
        quantity = adjustment.quantity
        if adjustment.unit == MONEY:
            quantity = nanos_to_decimal(int(quantity)).normalize()
        self.add(adjustment.currency, item, quantity, adjustment.amount_nanos)

    def lines(self, period: Period, *, is_own: bool) -> dict[str, list[Line]]:
        """Return the lines of each currency in order; what came to nothing has none.

        `is_own`: the period is that of the invoice, and not an earlier one.
        """
        listed: dict[str, list[Line]] = {}
        for (currency, item), (quantity, nanos) in self._sums.items():
            if quantity or nanos:
                own = LineKind.USAGE if item.rule is None else LineKind.MONTHLY
                kind = own if is_own else LineKind.ADJUSTMENT
                line = Line(kind, period, item, quantity, nanos)
                listed.setdefault(currency, []).append(line)
        return {currency: sorted(lines, key=_order) for currency, lines in listed.items()}


def by_currency(parts: Iterable[Mapping[str, list[Line]]]) -> dict[str, tuple[Line, ...]]:
    """Join the lines of several periods, in their order, for each currency."""
    joined: dict[str, list[Line]] = {}
    for part in parts:
        for currency, lines in part.items():
            joined.setdefault(currency, []).extend(lines)
    return {currency: tuple(joined[currency]) for currency in sorted(joined)}


def credit_note(invoice: Invoice, *, issued_us: int, reason: str) -> Invoice:
    """Return the document that takes an invoice back, line by line; it has no number yet.

    Its total is that of the invoice with the other sign, whatever the rounding did.
    """
    lines = tuple(
        replace(line, quantity=-line.quantity, amount_nanos=-line.amount_nanos)
        for line in invoice.lines
    )
    credit = invoice.credit and FromCredit(
        tuple((period, -nanos) for period, nanos in invoice.credit.used),
        -invoice.credit.overrun_nanos,
    )
    return replace(
        invoice,
        kind=Kind.CREDIT_NOTE,
        lines=lines,
        credit=credit,
        number=None,
        voids=invoice.number,
        reason=reason,
        issued_us=issued_us,
    )


def quantity_to_text(quantity: Quantity) -> str:
    """Return a quantity as exact decimal text, without an exponent."""
    return f"{quantity:f}" if isinstance(quantity, Decimal) else str(quantity)


def quantity_from_text(text: str) -> Quantity:
    """Return the quantity of such a text: whole without a decimal point."""
    return int(text) if text.lstrip("-").isdecimal() else Decimal(text)


def _order(line: Line) -> tuple[object, ...]:
    item = line.item
    if item.rule is not None:
        # After the usage, in the order in which the rules apply.
        return (True,)
    place = _PLACES.get(item.unit, len(_PLACES))
    return (False, item.model is None, item.model or "", place, item.unit, item.nanos, item.per)


def _no_period(name: str) -> InputError:
    return InputError(
        f"found period {name!r:.40}, expected one such as 2026-11, 2026-11-05, 2026-Q4 or 2026"
    )
