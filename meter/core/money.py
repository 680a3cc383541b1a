"""Hold exact money: integers of 10⁻⁹ of a currency unit ("nanos").

Knows nothing of prices or tokens. Decimal appears only at text edges; the one rounding of the
product (half-even, once a charge line) is `multiply`.
"""

from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation

from meter.errors import MoneyError

NANOS = 1_000_000_000
"""Nanos in one unit of any currency (1 USD = 10⁹ nanos)."""

_ONE_NANO = Decimal("1e-9")
# Python's own context rounds at 28 digits without a word; this one refuses to round at all.
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])

Quantity = int | Decimal
"""How much of a unit: a non-negative integer, or an exact decimal for seconds."""


def multiply(quantity: Quantity, nanos: int, per: int) -> int:
    """Return `quantity × nanos / per` in nanos, rounded half to even.

    `nanos` is the price of `per` units (`per` >= 1). Exact for any size: integers throughout.
    """
    numerator, denominator = quantity.as_integer_ratio()
    return divide_half_even(numerator * nanos, denominator * per)


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return `numerator / denominator` (denominator >= 1) rounded half to even, exactly."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2):
        quotient += 1
    return quotient


def nanos_from_text(text: str) -> int:
    """Return the nanos of a decimal text such as "12.50".

    Raises: MoneyError when the text is not a finite decimal or is finer than one nano.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise MoneyError(f"found amount {text!r}, expected a decimal such as 12.50") from None
    if not amount.is_finite() or (amount and amount.adjusted() >= 18):
        raise MoneyError(f"found amount {text!r}, expected a finite decimal below 10^18")
    try:
        return int(amount.quantize(_ONE_NANO, context=_EXACT).scaleb(9, _EXACT))
    except Inexact:
        raise MoneyError(f"found amount {text!r}, expected at most 9 decimal places") from None


def nanos_to_decimal(nanos: int) -> Decimal:
    """Return nanos as an exact Decimal in currency units (1_500_000_000 -> Decimal("1.5"))."""
    return Decimal(nanos).scaleb(-9, _EXACT)


def nanos_to_text(nanos: int) -> str:
    """Return nanos as plain decimal text without trailing zeros ("0.0001", "2", "-1.5")."""
    sign, size = ("-", -nanos) if nanos < 0 else ("", nanos)
    whole, fraction = divmod(size, NANOS)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount: `nanos` of `currency` (ISO 4217 code, upper case)."""

    nanos: int
    currency: str

    @classmethod
    def parse(cls, text: str, currency: str) -> "Money":
        """Return the amount written as `text`. Raises: MoneyError as `nanos_from_text`."""
        return cls(nanos_from_text(text), currency)

    def __add__(self, other: "Money") -> "Money":
        """Return the sum. Raises: MoneyError when the currencies differ."""
        if self.currency != other.currency:
            raise MoneyError(f"cannot add {other.currency} to {self.currency}: convert one first")
        return Money(self.nanos + other.nanos, self.currency)

    def __str__(self) -> str:
        """Return text such as "0.0025 USD"."""
        return f"{nanos_to_text(self.nanos)} {self.currency}"
