"""Bound what a call can cost before it is sent. Pure; an upper bound, never a record."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from meter.core.call import Bound
from meter.core.money import multiply
from meter.core.rates import STANDARD, Rate, RateCard
from meter.core.units import CONTENTS

NOTHING: Mapping[str, int] = MappingProxyType({})
"""No units."""

TRAINED = "trained_tokens"
"""What only training consumes, and the only thing."""

_NOT_TOKENS = frozenset({"images", "characters", "audio_seconds", "video_seconds", "pages"})


def bound(
    card: RateCard | None,
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    at_us: int,
    choices: int = 1,
    tier: str | None = None,
    counted: Mapping[str, int] = NOTHING,
) -> Bound:
    """Return the most that a call can consume and cost.

    `input_tokens` and `output_tokens` are upper bounds (None: not bounded by the request; the
    card's model limit is then taken where it has one, the output's for each of `choices`; no answer
    is longer than the model's context). The
    money bound takes every token at the dearest rate of its family (a cache write costs more than
    plain input), at the dearest context threshold that the input bound can reach. Hosted tools are
    not bounded by anything; a card that bills what is not tokens (images, seconds, characters,
    pages) bounds no money, unless it bills nothing but units that the request itself says the most
    of: `counted` (images, characters).
    """
    if card is None:
        return Bound(input_tokens, output_tokens)
    cost_nanos = _most_counted(card.rates_at(at_us).get(tier or STANDARD, ()), counted)
    if cost_nanos is not None:
        cost_nanos = max(cost_nanos, card.minimum_nanos)
        return Bound(input_tokens, output_tokens, cost_nanos, card.currency)
    if output_tokens is None:
        limit = card.max_output_tokens or card.context_tokens
        output_tokens = None if limit is None else limit * choices
    if card.context_tokens is not None:
        # No model takes in more than its context, whatever the request's bytes could hold.
        input_tokens = min(input_tokens or card.context_tokens, card.context_tokens)
    if input_tokens is None or output_tokens is None:
        return Bound(input_tokens, output_tokens)
    rates = _reachable(card, tier or STANDARD, at_us, input_tokens)
    cost_nanos = _most(rates, {"input_tokens": input_tokens, "output_tokens": output_tokens})
    if cost_nanos is None:
        return Bound(input_tokens, output_tokens)
    cost_nanos = max(cost_nanos, card.minimum_nanos)
    return Bound(input_tokens, output_tokens, cost_nanos, card.currency)


def bound_billed(
    known: Bound,
    card: RateCard,
    *,
    at_us: int,
    tier: str | None = None,
    counted: Mapping[str, int] = NOTHING,
) -> Bound:
    """Return the bound with the most that this resale card bills for the same tokens and units."""
    billed = bound(
        card,
        input_tokens=known.input_tokens,
        output_tokens=known.output_tokens,
        at_us=at_us,
        tier=tier,
        counted=counted,
    )
    return replace(known, billed_nanos=billed.cost_nanos, billed_currency=card.currency)


def _reachable(card: RateCard, tier: str, at_us: int, input_tokens: int) -> list[Rate]:
    most = max(input_tokens, 1)
    return [r for r in card.rates_at(at_us).get(tier, ()) if r.above_input_tokens < most]


def _most(rates: list[Rate], quantities: Mapping[str, int]) -> int | None:
    """Return the most that these quantities can cost, None when the rates do not bound it."""
    if not rates or any(rate.unit in _NOT_TOKENS for rate in rates):
        return None
    total_nanos = _dearest(rates, "requests", 1) or 0
    for root, quantity in quantities.items():
        nanos = _dearest(rates, root, quantity)
        if nanos is None and quantity:
            return None
        total_nanos += nanos or 0
    return total_nanos


def _most_counted(rates: Sequence[Rate], counted: Mapping[str, int]) -> int | None:
    """Return the most that counted units can cost, None when the rates bill anything else."""
    if TRAINED in counted:
        # Training takes nothing else of what its model is billed by.
        rates = [rate for rate in rates if rate.unit == TRAINED]
    units = {rate.unit for rate in rates} - {"requests"}
    if not units or not units <= counted.keys():
        return None
    total_nanos = _dearest(list(rates), "requests", 1) or 0
    for unit in units:
        total_nanos += 1 + max(
            multiply(max(counted[unit], rate.minimum), rate.nanos, rate.per)
            for rate in rates
            if rate.unit == unit
        )
    return total_nanos


def _dearest(rates: list[Rate], root: str, quantity: int) -> int | None:
    """Return the most that a quantity of a root and of what is inside it can cost."""
    family = [rate for rate in rates if rate.unit == root or rate.unit in CONTENTS[root]]
    if not family:
        return None
    # Each line of the charge is rounded on its own and can gain half a nano.
    lines = len({rate.unit for rate in family})
    return lines + max([multiply(max(quantity, r.minimum), r.nanos, r.per) for r in family])
