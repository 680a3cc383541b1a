"""Say what the same tokens would have cost on another model.

The token sums of each model are rated with the other model's card as it is in force at a moment,
at its standard tier and the size of the average call. Another model would have counted and
answered differently: the result compares price lists over one's own mix of tokens, and no more.
Called by the dashboard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meter.core.money import multiply
from meter.core.ports import PriceSource
from meter.core.rates import STANDARD
from meter.core.rating import exclusive_quantities
from meter.core.usage import Usage
from meter.store.reads import UsageRow

_TOKENS = (
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alternative:
    """What the traffic would have cost on one model; None where that model has no price for it."""

    provider: str
    model: str
    currency: str | None
    cost_nanos: int | None


def alternatives(
    rows: Iterable[UsageRow],
    models: Iterable[tuple[str, str]],
    prices: PriceSource,
    at_us: int,
) -> Sequence[Alternative]:
    """Return the cost of the rows' tokens on each (provider, model), the cheapest first."""
    traffic = [row for row in rows if row.input_tokens or row.output_tokens]
    found = [_on(traffic, provider, model, prices, at_us) for provider, model in models]
    return sorted(
        found, key=lambda a: (a.cost_nanos is None, a.currency or "", a.cost_nanos or 0, a.model)
    )


def _on(
    traffic: Sequence[UsageRow], provider: str, model: str, prices: PriceSource, at_us: int
) -> Alternative:
    card = prices.card_for(provider, model, at_us)
    if card is None:
        return Alternative(provider, model, None, None)
    total = 0
    for row in traffic:
        average = (row.input_tokens or 0) // max(row.calls, 1)
        rates = card.rates_for(STANDARD, at_us, average, {})
        if rates is None or not rates.keys() >= _needed(row):
            return Alternative(provider, model, card.currency, None)
        # The sums of calls of which some did not report a part: what is known is disjoint enough.
        known = {name: getattr(row, name) for name in _TOKENS if getattr(row, name)}
        for name, quantity in exclusive_quantities(Usage(known), rates).items():
            total += multiply(quantity, rates[name].nanos, rates[name].per)
    return Alternative(provider, model, card.currency, total)


def _needed(row: UsageRow) -> set[str]:
    """Return the units that a card must price to rate the row."""
    return {name for name in ("input_tokens", "output_tokens") if getattr(row, name)}
