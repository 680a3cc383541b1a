"""Write figures as people read them: units, separators, and as many digits as mean something.

Pure: a value in, a text out. Amounts stay exact decimals; rounding here is for the eye only.
"""

from datetime import datetime
from decimal import Decimal

UNKNOWN = "–"


def money(amount: Decimal | None, currency: str | None, *, signed: bool = False) -> str:
    """Return an amount such as "1,234.50 USD", "0.000213 USD" or "–" for unknown.

    Two decimals from one unit up, three significant digits below.
    """
    if amount is None:
        return UNKNOWN
    sign = "+" if signed else ""
    return f"{amount:{sign},.{decimals(amount)}f} {currency or ''}".strip()


def decimals(amount: Decimal) -> int:
    """Return how many decimals show an amount well: 2 to 9."""
    size = abs(amount)
    return 2 if not size or size >= 1 else min(2 - size.adjusted(), 9)


def exact(amount: Decimal | None, currency: str | None) -> str:
    """Return an amount with every digit it has."""
    return UNKNOWN if amount is None else f"{amount.normalize():,f} {currency or ''}".strip()


def count(number: int | None) -> str:
    """Return a whole number such as "12,345"."""
    return UNKNOWN if number is None else f"{number:,}"


def short(number: int | None) -> str:
    """Return a whole number in few characters: "987", "12.3 k", "4.56 M", "7.89 G"."""
    if number is None:
        return UNKNOWN
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if abs(number) >= size:
            scaled = Decimal(number) / (1000 if unit == "k" else size)
            places = max(2 - scaled.adjusted(), 0)
            return f"{scaled:,.{places}f} {unit}"
    return f"{number:,}"


def share(part: Decimal | int | None, whole: Decimal | int | None, *, signed: bool = False) -> str:
    """Return a part of a whole such as "12.3 %", "–" where there is no whole."""
    if part is None or not whole:
        return UNKNOWN
    percent = Decimal(part) * 100 / Decimal(whole)
    sign = "+" if signed else ""
    return f"{percent:{sign},.{0 if abs(percent) >= 100 else 1}f} %"


def seconds(microseconds: int | None) -> str:
    """Return a duration such as "85 ms", "1.24 s" or "2 min 5 s"."""
    if microseconds is None:
        return UNKNOWN
    if microseconds < 1_000_000:
        return f"{microseconds // 1000} ms"
    if microseconds < 60_000_000:
        return f"{Decimal(microseconds) / 1_000_000:.2f} s"
    minutes, rest = divmod(microseconds // 1_000_000, 60)
    return f"{minutes:,} min {rest} s"


def moment(at: datetime | None) -> str:
    """Return a moment on the wall clock of its zone, to the second."""
    return UNKNOWN if at is None else at.strftime("%Y-%m-%d %H:%M:%S")
