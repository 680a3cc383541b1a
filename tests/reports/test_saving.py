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
    },
)  # fmt: skip


def card_of(provider, model, start):
    return CARD if (provider, model, start) == ("p", "m", "2026-11-25") else None


def group(start="2026-11-25", model="m"):
    return (start, model, "p")


def test_reads_save_and_writes_cost():
    rows = [row(group(), 9_000, cache_read_tokens=10, cache_write_tokens=4, input_tokens=20)]
    found = saving(rows, "USD", card_of)
    # 10 × (1000 - 100) = 9000 saved, 4 × (1250 - 1000) = 1000 paid for writing
    assert found == Saving(read_nanos=9_000, write_nanos=1_000, cost_nanos=9_000)
    assert (found.net_nanos, found.full_nanos) == (8_000, 17_000)


def test_nothing_is_saved_where_nothing_is_known():
    rows = [
        row(group(), 5), row(group(start=None), 5, cache_read_tokens=3),
        row(group(start="2025-01-01"), 5, cache_read_tokens=3),
        row(group(model=None), 5, cache_read_tokens=3),
        row(group(), 5, currency="EUR", cache_read_tokens=3),
    ]  # fmt: skip
    assert saving(rows, "USD", card_of) == Saving(0, 0, 20)
