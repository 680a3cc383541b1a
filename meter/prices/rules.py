"""Make prices of prices: markups and discounts, exchange rates, and what a month changes.

    [[rule]]                                # a resale price for everybody: list price and a half
    book = "resale"                         # or "contract"
    models = ["gpt-4o*"]                    # optional, like providers: else every model
    multiplier = "1.5"
    currency = "CNY"                        # optional: else that of the price it starts from
    minimum = "0.001"                       # optional: the least that a call costs
    [rule.add]                              # optional: per request, per 1,000,000 tokens
    requests = "0.002"

    [[exchange]]
    from = "USD"
    to = "CNY"
    rate = "7.1234"
    effective_from = 2026-11-01T00:00:00Z   # holds until the next rate of the pair
    source = "https://example.com/rates"

    [[monthly]]                             # the first million input tokens of a month are free
    name = "first million"
    unit = "input_tokens"
    free = "1000000"

A rule takes the same selectors as a card (`issuer`, `upstream`, `subject`, `key`, `tag`), `base`
("list", or "contract" for a resale rule), `multipliers` for single units, `effective_from`,
`effective_to`, `source`, `checked`, `note`. A rule applied to a card is a rate card of its own,
so that a charge is always usage × card. Called by `overlay` and `book`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from meter.core.money import NANOS, divide_half_even
from meter.core.monthly import MONEY, MonthlyRule, VolumeTier
from meter.core.rates import Rate, RateCard, datetime_of
from meter.core.selecting import Models, Parties
from meter.core.units import UNITS
from meter.prices.tables import WHO_KEYS, Table

_WHICH_KEYS: Final = WHO_KEYS | {"models", "note", "providers", "effective_from", "effective_to"}
_RULE_KEYS: Final = _WHICH_KEYS | {
    "add", "base", "book", "checked", "currency", "minimum", "multiplier", "multipliers", "name",
    "source",
}  # fmt: skip
_EXCHANGE_KEYS: Final = frozenset({"effective_from", "from", "note", "rate", "source", "to"})
_MONTHLY_KEYS: Final = _WHICH_KEYS | {
    "currency", "free", "name", "source", "tiers", "unit", "whole",
}  # fmt: skip
_MILLION: Final = 1_000_000
_MOST: Final = 2**63
_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one unit of `base` is in `quote` from a moment (microseconds UTC) on.

    It holds until the next rate of the pair in the same file.
    """

    base: str
    quote: str
    rate: Fraction
    from_us: int
    to_us: int | None
    source: str

    @property
    def span(self) -> tuple[int, int | None]:
        """When it is the rate, microseconds UTC."""
        return self.from_us, self.to_us

    def holds_at(self, at_us: int) -> bool:
        """Whether this is the rate of the moment."""
        return self.from_us <= at_us and (self.to_us is None or at_us < self.to_us)

    def __str__(self) -> str:
        """Return text such as "1 USD = 7.12 CNY from 2026-11-01 (bank)"."""
        day = datetime_of(self.from_us).isoformat() if self.from_us else "the start"
        return f"1 {self.base} = {shown(self.rate)} {self.quote} from {day} ({self.source})"


@dataclass(frozen=True, slots=True)
class Rule:
    """A markup or discount: price × multiplier × exchange rate + what is added.

    `multipliers` replace `multiplier` for single units. `add` has nanos per one unit, in the
    currency of the result; that for `requests` is added to every call, any other one only where
    the card prices its unit. `minimum_nanos` is the least that a call costs.
    """

    name: str
    book: str
    models: Models
    parties: Parties
    base: str = "list"
    multiplier: Fraction = _ONE
    multipliers: tuple[tuple[str, Fraction], ...] = ()
    add: tuple[tuple[str, Fraction], ...] = ()
    minimum_nanos: int = 0
    currency: str | None = None
    from_us: int = 0
    to_us: int | None = None
    source: str = ""
    checked: str = ""

    def holds_at(self, at_us: int) -> bool:
        """Whether the rule is in force at the moment (microseconds UTC)."""
        return self.from_us <= at_us and (self.to_us is None or at_us < self.to_us)

    def __str__(self) -> str:
        """Return text such as "gold: 1.2 × list + 0.002 a request"."""
        parts = [f"{shown(self.multiplier)} × {self.base}"]
        parts += [f"{unit} {shown(factor)} ×" for unit, factor in self.multipliers]
        parts += [f"{shown(nanos * _per_of(unit) / NANOS)} for {_per_of(unit)} {unit} more"
                  for unit, nanos in self.add]  # fmt: skip
        if self.minimum_nanos:
            parts.append(f"at least {shown(Fraction(self.minimum_nanos, NANOS))} a call")
        return f"{self.name}: {', '.join(parts)}"


def applied(rule: Rule, card: RateCard, exchange: Exchange | None = None) -> RateCard:
    """Return the card that a rule makes of a card, for the time in which all of them hold.

    `exchange` leads from the card's currency to the rule's; None where both are the same. Its
    source says which card, rule and exchange rate it came from.
    """
    spans = [(card.effective_from_us, card.effective_to_us), (rule.from_us, rule.to_us)]
    sources = [f"{rule} of card {card.id} ({card.source})"]
    if rule.source:
        sources.append(rule.source)
    rate = _ONE
    if exchange is not None:
        spans.append((exchange.from_us, exchange.to_us))
        sources.append(str(exchange))
        rate = exchange.rate
    ends = [end for _, end in spans if end is not None]
    minimum = Fraction(card.minimum_nanos) * rule.multiplier * rate
    return replace(
        card,
        book=rule.book,
        currency=rule.currency or card.currency,
        rates=_tiers(rule, card.rates, rate),
        windows=tuple(replace(w, rates=_tiers(rule, w.rates, rate)) for w in card.windows),
        minimum_nanos=max(rule.minimum_nanos, _rounded(minimum)),
        effective_from_us=max(start for start, _ in spans),
        effective_to_us=min(ends, default=None),
        source="; ".join(sources),
        checked=min((text for text in (card.checked, rule.checked) if text), default=""),
        id="",
    )


def _tiers(
    rule: Rule, tiers: Mapping[str, tuple[Rate, ...]], exchange: Fraction
) -> dict[str, tuple[Rate, ...]]:
    return {tier: tuple(_rates(rule, rates, exchange)) for tier, rates in tiers.items()}


def _rates(rule: Rule, rates: tuple[Rate, ...], exchange: Fraction) -> list[Rate]:
    factors, added = dict(rule.multipliers), dict(rule.add)
    made = []
    for rate in rates:
        factor = factors.get(rate.unit, rule.multiplier) * exchange
        price = Fraction(rate.nanos, rate.per) * factor + added.get(rate.unit, 0)
        made.append(_with_price(rate, price))
    if "requests" in added and not any(rate.unit == "requests" for rate in rates):
        made.append(_with_price(Rate("requests", 0, 1), added["requests"]))
    return made


def _with_price(rate: Rate, price: Fraction) -> Rate:
    """Return the rate at another price (nanos for one unit).

    Exact where 64 bits hold numerator and denominator; else rounded, half to even, to as many
    decimals as they hold.
    """
    exact = price * rate.per
    nanos, per = exact.numerator, rate.per * exact.denominator
    for decimals in (9, 6, 3, 0):
        if nanos < _MOST and per < _MOST:
            break
        nanos, per = _rounded(exact * 10**decimals), rate.per * 10**decimals
    return replace(rate, nanos=nanos, per=per)


def _rounded(amount: Fraction) -> int:
    return divide_half_even(amount.numerator, amount.denominator)


def shown(exact: Fraction) -> str:
    """Return a fraction as a decimal where it is one, else as numerator/denominator."""
    digits = 0
    scaled = exact
    while scaled.denominator != 1 and digits < 40:
        scaled, digits = scaled * 10, digits + 1
    if scaled.denominator != 1:
        return f"{exact.numerator}/{exact.denominator}"
    text = str(abs(scaled.numerator)).rjust(digits + 1, "0")
    whole = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    return f"-{whole}" if exact < 0 else whole


# --- reading ----------------------------------------------------------------------------------


def rule_from(table: Table, book: str, number: int) -> Rule:
    """Return the rule of a `[[rule]]` table; `book` is that of the file. Raises: InputError."""
    table.only(_RULE_KEYS)
    book = table.text("book", book)
    if book not in ("contract", "resale"):
        table.fail(f"book = {book!r}", "contract or resale: a published price follows no rule")
    base = table.text("base", "list")
    if base not in ("list", "contract") or base == book:
        table.fail(f"base = {base!r}", "list, or contract for a resale rule")
    from_us, to_us = table.span_us()
    source, checked = table.origin(required=False)
    factors = table.inner("multipliers")
    added = table.inner("add")
    for inner in (factors, added):
        inner.only(frozenset(UNITS))
    minimum = table.decimal("minimum", "0") * NANOS
    return Rule(
        name=table.text("name") or f"rule {number}",
        book=book,
        models=table.models(),
        parties=table.parties(),
        base=base,
        multiplier=table.decimal("multiplier", "1"),
        multipliers=tuple((unit, factors.decimal(unit)) for unit in factors.content),
        add=tuple((unit, added.decimal(unit) * NANOS / _per_of(unit)) for unit in added.content),
        minimum_nanos=_rounded(minimum),
        currency=table.currency("currency") if "currency" in table.content else None,
        from_us=from_us,
        to_us=to_us,
        source=source,
        checked=checked,
    )


def exchange_from(tables: list[Table]) -> tuple[Exchange, ...]:
    """Return the rates of the `[[exchange]]` tables, each until the next of its pair.

    Raises: InputError, also for two rates of a pair from the same moment on.
    """
    found: dict[tuple[str, str], list[tuple[int, Table]]] = {}
    for table in tables:
        table.only(_EXCHANGE_KEYS)
        pair = (table.currency("from"), table.currency("to"))
        if pair[0] == pair[1]:
            table.fail(f"a rate from {pair[0]} to itself", "two currencies")
        found.setdefault(pair, []).append((table.moment_us("effective_from") or 0, table))
    made: list[Exchange] = []
    for (base, quote), dated in found.items():
        dated.sort(key=lambda pair: pair[0])
        starts: list[int | None] = [start for start, _ in dated]
        for (start, table), end in zip(dated, [*starts[1:], None], strict=True):
            if start == end:
                table.fail(f"a second rate from {base} to {quote} at the same moment", "one")
            rate = table.decimal("rate")
            if not rate:
                table.fail("a rate of 0", "one above 0")
            source, _ = table.origin(required=True)
            made.append(Exchange(base, quote, rate, start, end, source))
    return tuple(made)


def monthly_from(table: Table, number: int) -> MonthlyRule:
    """Return the rule of a `[[monthly]]` table. Raises: InputError."""
    table.only(_MONTHLY_KEYS)
    unit = table.text("unit")
    if unit != MONEY and unit not in UNITS:
        table.fail(f"unit = {unit!r}", f"{MONEY} or one of {', '.join(UNITS)}")
    if unit == MONEY and "currency" not in table.content:
        table.fail("unit = 'money' without a currency", "a currency: amounts are never mixed")
    scale = NANOS if unit == MONEY else 1
    tiers = [
        VolumeTier(_whole(inner, "above", scale), inner.decimal("multiplier"))
        for inner in (Table(each, f"{table.where}, tiers") for each in table.tables("tiers"))
    ]
    if [tier.above for tier in tiers] != sorted({tier.above for tier in tiers}):
        table.fail("tiers that are not in order", "each above a larger amount than the one before")
    free = _whole(table, "free", scale) if "free" in table.content else 0
    if bool(free) == bool(tiers):
        table.fail("free and tiers" if free else "neither free nor tiers", "one of the two")
    from_us, to_us = table.span_us()
    return MonthlyRule(
        name=table.text("name") or f"monthly rule {number}",
        unit=unit,
        models=table.models(),
        parties=table.parties(),
        currency=table.currency("currency") if "currency" in table.content else None,
        free=free,
        tiers=tuple(tiers),
        whole=table.flag("whole"),
        from_us=from_us,
        to_us=to_us,
        source=table.text("source"),
    )


def _whole(table: Table, key: str, scale: int) -> int:
    exact = table.decimal(key) * scale
    if exact.denominator != 1:
        table.fail(f"{key} = {table.content[key]!r}", "a whole number of the unit")
    return int(exact)


def _per_of(unit: str) -> int:
    """Return how many of a unit a price is for where nothing else is said."""
    return _MILLION if unit.endswith("_tokens") or unit == "characters" else 1
