"""Bound what a call can cost before it is sent. Pure; an upper bound, never a record."""

from meter.core.call import Bound
from meter.core.money import multiply
from meter.core.rates import STANDARD, Rate, RateCard
from meter.core.units import CONTENTS


def bound(
    card: RateCard | None,
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    at_us: int,
    tier: str | None = None,
) -> Bound:
    """Return the most that a call can consume and cost.

    `input_tokens` and `output_tokens` are upper bounds (None: not bounded by the request; the
    card's model limit is then taken where it has one). The money bound takes every token at the
    dearest rate of its family (a cache write costs more than plain input), at the dearest
    context threshold that the input bound can reach. Hosted tools are not bounded by anything.
    """
    if card is None:
        return Bound(input_tokens, output_tokens)
    if output_tokens is None:
        output_tokens = card.max_output_tokens
    if input_tokens is None:
        input_tokens = card.context_tokens
    if input_tokens is None or output_tokens is None:
        return Bound(input_tokens, output_tokens)
    rates = _reachable(card, tier or STANDARD, at_us, input_tokens)
    if not rates:
        return Bound(input_tokens, output_tokens)
    cost_nanos = _dearest(rates, "input_tokens", input_tokens)
    cost_nanos += _dearest(rates, "output_tokens", output_tokens)
    cost_nanos += _dearest(rates, "requests", 1)
    return Bound(input_tokens, output_tokens, cost_nanos, card.currency)


def _reachable(card: RateCard, tier: str, at_us: int, input_tokens: int) -> list[Rate]:
    by_tier = next((w.rates for w in card.windows if w.holds_at(at_us)), card.rates)
    return [r for r in by_tier.get(tier, ()) if r.above_input_tokens < max(input_tokens, 1)]


def _dearest(rates: list[Rate], root: str, quantity: int) -> int:
    family = {root, *CONTENTS[root]}
    # Half-even rounding once a line can add half a nano for each of a few lines; +1 covers one.
    return max(
        (multiply(quantity, r.nanos, r.per) + 1 for r in rates if r.unit in family), default=0
    )
