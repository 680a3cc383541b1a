"""Say what cached input has saved: its quantity at the full rate less what it was charged.

Sums of many calls are valued with the card in force when their step of time began, at the standard
tier and the size their average call has. Where calls had another tier, or a card has thresholds or
hours with other rates, the result is an approximation; the amounts owed are not touched by it.
Called by the dashboard.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from meter.core.money import multiply
from meter.core.rates import STANDARD, Rate, RateCard
from meter.store.reads import UsageRow


@dataclass(frozen=True, slots=True)
class Saving:
    """What caching has saved and cost in one currency, in nanos.

    `read_nanos`: cached tokens at the full input rate less their own; `write_nanos`: what writing
    to the cache cost above the full rate. `full_nanos` is what everything would have cost.
    """

    read_nanos: int
    write_nanos: int
    cost_nanos: int

    @property
    def net_nanos(self) -> int:
        """Return what was saved when writing is paid."""
        return self.read_nanos - self.write_nanos

    @property
    def full_nanos(self) -> int:
        """Return what the calls would have cost without a cache."""
        return self.cost_nanos + self.net_nanos


def saving(
    rows: Iterable[UsageRow],
    currency: str,
    card_of: Callable[[str, str, str], RateCard | None],
) -> Saving:
    """Return the saving over rows that are grouped by a step of time, model and provider.

    `card_of` gives the card of (provider, model, step). Rows whose card is not known, or that
    cached nothing, save nothing.
    """
    read, written, cost = 0, 0, 0
    for row in rows:
        if row.currency != currency:
            continue
        cost += row.cost_nanos or 0
        start, model, provider = row.group
        if not (row.cache_read_tokens or row.cache_write_tokens):
            continue
        if provider is None or model is None or start is None:
            continue
        card = card_of(provider, model, start)
        if card is None:
            continue
        rates = _rates(card, row)
        full = rates.get("input_tokens")
        if full is None:
            continue
        read += _above(full, rates.get("cache_read_tokens"), row.cache_read_tokens)
        write_rate = rates.get("cache_write_tokens") or rates.get("cache_write_5m_tokens")
        written -= _above(full, write_rate, row.cache_write_tokens)
    return Saving(read, written, cost)


def _rates(card: RateCard, row: UsageRow) -> dict[str, Rate]:
    average = (row.input_tokens or 0) // max(row.calls, 1)
    return card.rates_for(STANDARD, card.effective_from_us, average, {}) or {}


def _above(full: Rate, own: Rate | None, quantity: int | None) -> int:
    """Return what the quantity costs at the full rate less what it costs at its own."""
    if own is None or not quantity:
        return 0
    return multiply(quantity, full.nanos, full.per) - multiply(quantity, own.nanos, own.per)
