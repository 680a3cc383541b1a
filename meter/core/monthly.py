"""Adjust a month's billed sums: free allowances and volume tiers. Pure.

What depends on the whole month is no rate of a call: it is a line of the month's invoice. In: the
sums of one subject's month, by model and unit. Out: one adjustment line for each rule and
currency. Called by whoever makes the invoice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from meter.core.call import Attribution
from meter.core.money import NANOS, Quantity, divide_half_even
from meter.core.selecting import EVERY_MODEL, EVERYBODY, Models, Parties

MONEY = "money"
"""The unit of a rule that counts what is billed itself."""


@dataclass(frozen=True, slots=True)
class VolumeTier:
    """What is used above `above` (in the rule's unit, or nanos) costs `multiplier` × its price."""

    above: int
    multiplier: Fraction


@dataclass(frozen=True, slots=True)
class MonthlyRule:
    """A free allowance, or volume tiers, over the calls that it is for.

    `unit` is what is counted: one of the registry, or "money" in `currency`. `free` is how much
    of it costs nothing (nanos for money). `tiers` are sorted: each prices the part of the month
    above its threshold, up to the next; with `whole` the highest exceeded one prices everything.
    The rule holds for months that begin in [from_us, to_us).
    """

    name: str
    unit: str
    models: Models = EVERY_MODEL
    parties: Parties = EVERYBODY
    currency: str | None = None
    free: int = 0
    tiers: tuple[VolumeTier, ...] = ()
    whole: bool = False
    from_us: int = 0
    to_us: int | None = None
    source: str = ""

    def holds_at(self, month_start_us: int) -> bool:
        """Whether the rule is in force for the month that begins at the moment."""
        return self.from_us <= month_start_us and (
            self.to_us is None or month_start_us < self.to_us
        )

    def is_for(self, sum_: "MonthSum", subject: str | None) -> bool:
        """Whether a sum of this subject's month counts."""
        attribution = Attribution(subject, sum_.tags, sum_.key_id)
        return (
            (self.unit == MONEY or sum_.unit == self.unit)
            and (self.currency is None or sum_.currency == self.currency)
            and self.models.rank(sum_.names or ((sum_.provider, sum_.model),)) is not None
            and self.parties.fit(sum_.issuer, sum_.upstream, attribution)
        )


@dataclass(frozen=True, slots=True)
class MonthSum:
    """What one subject used of a unit of a model in a month, and what was billed for it.

    `quantity` and `amount_nanos` are the sums of charge lines of that unit. The other fields are
    for rules that select by them; empty where the sums are not kept apart by them. `names` are
    the (provider, name) pairs under which the model may be listed, the most exact first.
    """

    provider: str
    model: str
    unit: str
    quantity: Quantity
    amount_nanos: int
    currency: str
    issuer: str = ""
    upstream: str | None = None
    key_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    names: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One line that a rule adds to a month: `amount_nanos` is below zero where it takes off.

    `quantity` is how much of the unit the line is about, in its unit (nanos for money).
    """

    rule: str
    kind: Literal["allowance", "volume"]
    unit: str
    quantity: Quantity
    amount_nanos: int
    currency: str


def adjustments(
    rules: Sequence[MonthlyRule], sums: Iterable[MonthSum], *, subject: str | None, month_us: int
) -> list[Adjustment]:
    """Return the adjustment lines of one subject's month that begins at `month_us`.

    The rules apply one after the other, each to what those before it left: what was free counts
    neither in the volume nor in the money of later rules, so no month ends below zero. Where a
    rule is for several models, each unit of the allowance or of a tier has the average price of
    what was used. Each line is rounded once, half to even.
    """
    left = list(sums)
    made: list[Adjustment] = []
    for rule in rules:
        if not rule.holds_at(month_us):
            continue
        places = [place for place, sum_ in enumerate(left) if rule.is_for(sum_, subject)]
        if rule.free:
            made += _free(rule, left, places)
        if rule.tiers:
            made += _tiered(rule, left, places)
    return made


def _free(rule: MonthlyRule, left: list[MonthSum], places: list[int]) -> list[Adjustment]:
    used = _total(rule, left, places)
    free = min(Fraction(rule.free), used)
    if not free:
        return []
    share = free / used
    return _changed(rule, "allowance", left, places, free, -share, quantity_too=True)


def _tiered(rule: MonthlyRule, left: list[MonthSum], places: list[int]) -> list[Adjustment]:
    used = _total(rule, left, places)
    reached = [tier for tier in rule.tiers if used > tier.above]
    if not reached:
        return []
    if rule.whole:
        above, change = Fraction(0), (reached[-1].multiplier - 1) * used
    else:
        above = Fraction(reached[0].above)
        ends = [Fraction(tier.above) for tier in reached[1:]] + [used]
        change = Fraction(0)
        for tier, end in zip(reached, ends, strict=True):
            change += (end - tier.above) * (tier.multiplier - 1)
    return _changed(rule, "volume", left, places, used - above, change / used, quantity_too=False)


def _total(rule: MonthlyRule, left: list[MonthSum], places: list[int]) -> Fraction:
    if rule.unit == MONEY:
        return Fraction(sum(left[place].amount_nanos for place in places))
    return sum((Fraction(left[place].quantity) for place in places), Fraction(0))


def _changed(
    rule: MonthlyRule,
    kind: Literal["allowance", "volume"],
    left: list[MonthSum],
    places: list[int],
    quantity: Fraction,
    share: Fraction,
    *,
    quantity_too: bool,
) -> list[Adjustment]:
    """Change the amounts of these sums by a share of themselves; return a line a currency."""
    parts: list[tuple[list[int], str, int, Fraction]] = []
    made: list[Adjustment] = []
    for currency in sorted({left[place].currency for place in places}):
        mine = [place for place in places if left[place].currency == currency]
        part = _total(rule, left, mine) / _total(rule, left, places)
        amount = _rounded(sum(left[place].amount_nanos for place in mine) * share)
        parts.append((mine, currency, amount, quantity * part))
    for mine, currency, amount, about in parts:
        spread = _spread(amount, [left[place].amount_nanos for place in mine])
        for place, nanos in zip(mine, spread, strict=True):
            sum_ = left[place]
            kept = Fraction(sum_.quantity) * (1 + share) if quantity_too else None
            left[place] = replace(
                sum_,
                amount_nanos=sum_.amount_nanos + nanos,
                quantity=sum_.quantity if kept is None or rule.unit == MONEY else _quantity(kept),
            )
        if amount:
            made.append(Adjustment(rule.name, kind, rule.unit, _quantity(about), amount, currency))
    return made


def _spread(amount: int, weights: list[int]) -> list[int]:
    """Split an amount by weights, exactly: the parts sum to it, and none exceeds its weight."""
    if not amount:
        return [0] * len(weights)
    parts: list[int] = []
    seen, given, total = 0, 0, sum(weights)
    for weight in weights:
        seen += weight
        upto = amount * seen // total if amount >= 0 else -(-amount * seen // total)
        parts.append(upto - given)
        given = upto
    return parts


def _rounded(amount: Fraction) -> int:
    return divide_half_even(amount.numerator, amount.denominator)


def _quantity(exact: Fraction) -> Quantity:
    """Return a quantity, whole where it is whole; else a decimal of nine places."""
    if exact.denominator == 1:
        return int(exact)
    return Decimal(_rounded(exact * NANOS)).scaleb(-9)
