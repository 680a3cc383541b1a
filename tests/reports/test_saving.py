"""What caching saved: at the full rate less its own, less what writing cost above it."""

from meter.core.rates import Rate, RateCard
from meter.reports.saving import Saving, saving
from tests.reports.test_comparing import row

CARD = RateCard(
    "p", "m", "USD",
    {
        "standard": (
            Rate("input_tokens", 1_000, 1),
            Rate("cache_read_tokens", 100, 1),
            Rate("cache_write_tokens", 1_250, 1),
        ),
        "batch": (Rate("input_tokens", 500, 1), Rate("cache_read_tokens", 50, 1)),
    },
)  # fmt: skip


def card_of(provider, model, card_id):
    return CARD if card_id == CARD.id else None


def group(tier=None, card_id=CARD.id):
    return ("p", "m", card_id, tier)


def test_reads_save_and_writes_cost():
    rows = [row(group(), 9_000, cache_read_tokens=10, cache_write_tokens=4, input_tokens=20)]
    found = saving(rows, "USD", card_of)
    # 10 × (1000 - 100) = 9000 saved, 4 × (1250 - 1000) = 1000 paid for writing
    assert found == Saving(read_nanos=9_000, write_nanos=1_000, cost_nanos=9_000)
    assert (found.net_nanos, found.full_nanos) == (8_000, 17_000)


def test_each_tier_has_rates_of_its_own():
    rows = [row(group("batch"), 100, cache_read_tokens=10)]
    assert saving(rows, "USD", card_of).read_nanos == 10 * (500 - 50)


def test_nothing_is_saved_where_nothing_is_known():
    rows = [
        row(group(), 5), row(group(card_id=None), 5, cache_read_tokens=3),
        row(group(card_id="gone"), 5, cache_read_tokens=3),
        row(group("flex"), 5, cache_read_tokens=3),
        row(group(), 5, currency="EUR", cache_read_tokens=3),
    ]  # fmt: skip
    assert saving(rows, "USD", card_of) == Saving(0, 0, 20)
