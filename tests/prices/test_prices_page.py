"""The examples of docs/prices.md can be read, and do what the page says of them."""

import re
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from meter.core.call import Attribution
from meter.core.rates import microseconds_of
from meter.prices.book import PriceBook
from meter.prices.overlay import read_rates

PAGE = (Path(__file__).parents[2] / "docs" / "prices.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
NOW = microseconds_of(datetime(2026, 11, 22, 12, tzinfo=UTC))


@pytest.mark.parametrize("text", BLOCKS)
def test_an_example_can_be_read(text):
    assert read_rates(text, "docs/prices.md")


def test_the_example_of_a_markup_makes_the_price_that_it_says():
    (text,) = [block for block in BLOCKS if 'name = "gold"' in block]
    book = PriceBook.bundled()
    book.under([read_rates(text, "x")])
    pricing = book.books.pricing(
        book.card_for("openai", "gpt-4o", NOW),
        provider="openai",
        issuer="reseller",
        upstream=None,
        model="gpt-4o",
        attribution=Attribution("alice", (("group", "gold"),)),
        at_us=NOW,
    )
    prices = {
        rate.unit: Fraction(rate.nanos, rate.per) * 10**6 / 10**9
        for rate in pricing.billed.rates["standard"]
    }
    # 2.50 × 1.2 × 7.1234; 10 × 1.3 × 7.1234 + 0.50; 2.50 × 0.8 of the reseller
    assert prices["input_tokens"] == Fraction("2.50") * Fraction("1.2") * Fraction("7.1234")
    assert prices["output_tokens"] == 13 * Fraction("7.1234") + Fraction("0.50")
    (owed,) = [r for r in pricing.cost.rates["standard"] if r.unit == "input_tokens"]
    assert Fraction(owed.nanos, owed.per) == 2000
    assert pricing.billed.minimum_nanos == 10_000_000
