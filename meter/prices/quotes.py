"""Name what one source says of a model's price, and lay what several sources say over each other.

Pure. A source is anything with `quotes_for`; `book.py` asks its sources in order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from meter.core.money import NANOS
from meter.core.rates import Rate, RateCard


@dataclass(frozen=True, slots=True)
class Quote:
    """What one source says of one model from `from_us` (inclusive) to `to_us` (exclusive).

    Microseconds UTC; `to_us` None is until further notice. `card` None says that there is no
    price in that time, whatever later sources know. `amends`: the card's rates are not the whole
    price but are laid over what the later sources quote.
    """

    from_us: int
    to_us: int | None
    card: RateCard | None
    amends: bool = False

    def holds_at(self, at_us: int) -> bool:
        """Whether the quote is in force at the moment (microseconds UTC)."""
        return self.from_us <= at_us and (self.to_us is None or at_us < self.to_us)


class CardSource(Protocol):
    """Where quotes come from."""

    def quotes_for(self, provider: str, model: str) -> tuple[Quote, ...]:
        """Return what is known of a model under exactly this name, () when nothing is.

        `provider` is the meter's name of the provider. Earlier quotes overrule later ones.
        """


def quote_of(card: RateCard) -> Quote:
    """Return a card as a quote for the time in which it is in force."""
    return Quote(card.effective_from_us, card.effective_to_us, card)


def exact_rate(
    unit: str,
    price: Decimal | Fraction,
    per: int,
    *,
    above_input_tokens: int = 0,
    traits: Mapping[str, str] | None = None,
    minimum: int = 0,
) -> Rate:
    """Return the rate of `price` currency units for `per` units, exactly.

    A price that is no whole number of nanos keeps its value with a larger `per`.
    """
    numerator, denominator = price.as_integer_ratio()
    nanos = Fraction(numerator * NANOS, denominator)
    pairs = tuple(sorted((traits or {}).items()))
    return Rate(unit, nanos.numerator, per * nanos.denominator, above_input_tokens, pairs, minimum)


def layered(upper: Iterable[Quote], lower: tuple[Quote, ...]) -> tuple[Quote, ...]:
    """Return the quotes of one source over those of the next sources, in order of precedence."""
    upper = tuple(upper)
    quotes = (*(quote for quote in upper if not quote.amends), *lower)
    for amendment in upper:
        if amendment.amends:
            amended = (_amended(amendment, quote) for quote in quotes)
            quotes = (*(quote for quote in amended if quote is not None), *quotes)
    return quotes


def _amended(amendment: Quote, quote: Quote) -> Quote | None:
    """Return the quote with the amendment for the time both hold, None when there is none."""
    from_us = max(amendment.from_us, quote.from_us)
    ends = [end for end in (amendment.to_us, quote.to_us) if end is not None]
    to_us = min(ends, default=None)
    if to_us is not None and to_us <= from_us:
        return None
    if quote.card is None or amendment.card is None:
        return Quote(from_us, to_us, None)
    if quote.card.currency != amendment.card.currency:
        # No price says what both together cost.
        return Quote(from_us, to_us, None)
    return Quote(from_us, to_us, _merged(amendment.card, quote.card, from_us, to_us))


def _merged(over: RateCard, under: RateCard, from_us: int, to_us: int | None) -> RateCard:
    windows = tuple(
        replace(window, rates=_merged_rates(over.rates, window.rates)) for window in under.windows
    )
    return replace(
        under,
        rates=_merged_rates(over.rates, under.rates),
        windows=windows,
        effective_from_us=from_us,
        effective_to_us=to_us,
        source=f"{under.source}; with {over.source}",
        checked=over.checked or under.checked,
        unpriced_units=over.unpriced_units | under.unpriced_units,
        id="",
    )


def _merged_rates(
    over: Mapping[str, tuple[Rate, ...]], under: Mapping[str, tuple[Rate, ...]]
) -> dict[str, tuple[Rate, ...]]:
    """Replace, in each tier, the rates of the units that the upper rates price."""
    merged = dict(under)
    for tier, rates in over.items():
        replaced = {rate.unit for rate in rates}
        kept = (rate for rate in under.get(tier, ()) if rate.unit not in replaced)
        merged[tier] = (*kept, *rates)
    return merged
