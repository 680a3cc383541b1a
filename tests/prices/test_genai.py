"""Turning genai-prices' list into rate cards: dates, hours, tiers, and what is left unpriced."""

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import pairwise

import pytest
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from meter.core.rates import STANDARD, Rate, RateWindow, microseconds_of
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.prices.genai import _PROVIDERS, GenaiPrices


def us(*moment):
    return microseconds_of(datetime(*moment, tzinfo=UTC))


def listed(prices, variants=None, *, provider="openai", fallbacks=None, name="some-model"):
    info = ModelInfo(name, ClauseEquals(name), prices=prices, price_variants=variants)
    return Provider(
        provider, provider, "https://x", models=[info], fallback_model_providers=fallbacks
    )


def cards(prices, variants=None):
    source = GenaiPrices([listed(prices, variants)])
    return [quote.card for quote in source.quotes_for("openai", "some-model")]


def per_million(**prices):
    return ModelPrice(**{f"{name}_mtok": Decimal(price) for name, price in prices.items()})


def test_a_plain_price_holds_for_all_time():
    (card,) = cards(per_million(input="2.5", output="10"))
    assert card.rates == {
        STANDARD: (Rate("input_tokens", 2_500_000_000), Rate("output_tokens", 10_000_000_000))
    }
    assert (card.effective_from_us, card.effective_to_us, card.currency) == (0, None, "USD")
    assert (card.provider, card.model) == ("openai", "some-model")
    assert card.source.startswith("genai-prices ")


def test_a_price_finer_than_a_nano_keeps_its_value():
    # 0.0000000015 for a million tokens is 1.5 nanos: 3 nanos for two million.
    (card,) = cards(per_million(input="0.0000000015"))
    assert card.rates[STANDARD] == (Rate("input_tokens", 3, 2_000_000),)


def test_the_card_changes_at_midnight_utc_of_a_start_date():
    first, second = cards(
        [
            ConditionalPrice(prices=per_million(input="5")),
            ConditionalPrice(StartDateConstraint(date(2026, 8, 21)), prices=per_million(input="4")),
        ]
    )
    assert (first.effective_from_us, first.effective_to_us) == (0, us(2026, 8, 21))
    assert (second.effective_from_us, second.effective_to_us) == (us(2026, 8, 21), None)
    assert [c.rates[STANDARD][0].nanos for c in (first, second)] == [5_000_000_000, 4_000_000_000]


def test_before_its_start_date_a_price_does_not_hold():
    (card,) = cards(
        [ConditionalPrice(StartDateConstraint(date(2026, 8, 21)), prices=per_million(input="4"))]
    )
    assert card.effective_from_us == us(2026, 8, 21)


def test_the_last_price_that_holds_wins():
    (card,) = cards(
        [
            ConditionalPrice(prices=per_million(input="5")),
            ConditionalPrice(prices=per_million(input="4")),
        ]
    )
    assert card.rates[STANDARD] == (Rate("input_tokens", 4_000_000_000),)


def test_hours_become_windows():
    (card,) = cards(
        [
            ConditionalPrice(prices=per_million(input="1")),
            ConditionalPrice(
                TimeOfDateConstraint(time(1, 30), time(4, tzinfo=UTC)),
                prices=per_million(input="2"),
            ),
        ]
    )
    assert card.rates[STANDARD] == (Rate("input_tokens", 1_000_000_000),)
    peak = {STANDARD: (Rate("input_tokens", 2_000_000_000),)}
    assert card.windows == (RateWindow(90, 240, peak),)


def test_hours_across_midnight_become_two_windows():
    (card,) = cards(
        [
            ConditionalPrice(prices=per_million(input="2")),
            ConditionalPrice(
                TimeOfDateConstraint(time(22), time(6)), prices=per_million(input="1")
            ),
        ]
    )
    assert [(w.start_minute, w.end_minute) for w in card.windows] == [(0, 360), (1320, 1440)]


def test_hours_in_another_zone_are_shifted_to_utc():
    beijing = timezone(timedelta(hours=8))
    (card,) = cards(
        [
            ConditionalPrice(prices=per_million(input="1")),
            ConditionalPrice(
                TimeOfDateConstraint(time(9, tzinfo=beijing), time(12, tzinfo=beijing)),
                prices=per_million(input="2"),
            ),
        ]
    )
    assert [(w.start_minute, w.end_minute) for w in card.windows] == [(60, 240)]


def test_hours_with_seconds_cannot_be_said_and_leave_the_model_unpriced():
    prices = [
        ConditionalPrice(prices=per_million(input="1")),
        ConditionalPrice(
            TimeOfDateConstraint(time(1, 0, 30), time(4)), prices=per_million(input="2")
        ),
    ]
    assert cards(prices) == []


def test_a_threshold_prices_the_whole_call_above_it():
    prices = ModelPrice(
        input_mtok=TieredPrices(Decimal(1), [Tier(200_000, Decimal(2))]), output_mtok=Decimal(8)
    )
    (card,) = cards(prices)
    assert card.rates[STANDARD] == (
        Rate("input_tokens", 1_000_000_000),
        Rate("input_tokens", 2_000_000_000, above_input_tokens=200_000),
        Rate("output_tokens", 8_000_000_000),
    )


def test_a_variant_is_a_tier_and_keeps_what_it_does_not_state():
    (card,) = cards(
        per_million(input="2", cache_read="0.5", output="8"),
        [PriceVariant({"processing": "batch"}, per_million(input="1", output="4"))],
    )
    assert set(card.rates) == {STANDARD, "batch"}
    assert {r.unit: r.nanos for r in card.rates["batch"]} == {
        "input_tokens": 1_000_000_000,
        "cache_read_tokens": 500_000_000,
        "output_tokens": 4_000_000_000,
    }


def test_the_first_variant_that_states_a_price_wins():
    variants = [
        PriceVariant({"service_tier": "flex"}, per_million(input="1")),
        PriceVariant({"service_tier": "flex"}, per_million(input="7", output="3")),
    ]
    (card,) = cards(per_million(input="2", output="8"), variants)
    assert {r.unit: r.nanos for r in card.rates["flex"]} == {
        "input_tokens": 1_000_000_000,
        "output_tokens": 3_000_000_000,
    }


def test_a_tier_is_missing_before_its_variant_begins():
    start = StartDateConstraint(date(2026, 10, 14))
    before, after = cards(
        per_million(input="2"),
        [PriceVariant({"processing": "batch"}, per_million(input="1"), start)],
    )
    assert set(before.rates) == {STANDARD}
    assert set(after.rates) == {STANDARD, "batch"}


def test_a_date_that_changes_nothing_makes_no_second_card():
    assert (
        len(
            cards(
                [
                    ConditionalPrice(prices=per_million(input="2")),
                    ConditionalPrice(
                        StartDateConstraint(date(2026, 1, 1)), prices=per_million(input="2")
                    ),
                ]
            )
        )
        == 1
    )


def test_the_default_service_tier_and_speed():
    (card,) = cards(
        per_million(input="2"),
        [
            PriceVariant({"service_tier": "default"}, ModelPrice()),
            PriceVariant({"speed": "fast"}, per_million(input="6")),
        ],
    )
    assert set(card.rates) == {STANDARD, "fast"}


def test_a_price_that_depends_on_what_a_call_does_not_show_is_left_out():
    (card,) = cards(
        ModelPrice(input_mtok=Decimal(2), web_searches_kcount=Decimal("2.5")),
        [PriceVariant({"search_type": "fast"}, ModelPrice(web_searches_kcount=Decimal(1)))],
    )
    assert {r.unit for r in card.rates[STANDARD]} == {"input_tokens"}


def test_a_combination_of_conditions_is_no_tier():
    variant = PriceVariant({"service_tier": "flex", "processing": "batch"}, per_million(input="1"))
    assert cards(per_million(input="2"), [variant]) == []


def test_a_unit_that_cannot_be_told_apart_leaves_the_model_unpriced():
    assert cards(per_million(input="1.5", output="9", output_video="17.5")) == []


def test_two_prices_of_one_unit_must_agree():
    agreeing = ModelPrice(audio_hours=Decimal("0.36"), input_audio_hours=Decimal("0.36"))
    (card,) = cards(agreeing)
    assert card.rates[STANDARD] == (Rate("audio_seconds", 360_000_000, 3600),)
    assert cards(ModelPrice(audio_hours=Decimal(1), input_audio_hours=Decimal(2))) == []


def test_a_longer_kept_cache_write_without_a_price_is_unpriced():
    (card,) = cards(per_million(input="10", cache_write="12.5"))
    assert card.unpriced_units == {"cache_write_1h_tokens", "cache_write_12h_tokens"}
    (card,) = cards(per_million(input="10", cache_write="12.5", cache_write_1h="20"))
    assert card.unpriced_units == {"cache_write_12h_tokens"}
    (card,) = cards(per_million(input="10"))
    assert card.unpriced_units == frozenset()


def test_no_price_is_no_card_unless_the_name_says_free():
    assert cards(ModelPrice()) == []
    free = listed(ModelPrice(), provider="openrouter", name="some/model:free")
    (quote,) = GenaiPrices([free]).quotes_for("openrouter", "some/model:free")
    assert quote.card.rates == {STANDARD: (Rate("input_tokens", 0), Rate("output_tokens", 0))}


def test_another_makers_model_has_its_standard_price_only():
    maker = listed(
        per_million(input="2"), [PriceVariant({"processing": "batch"}, per_million(input="1"))]
    )
    azure = Provider("azure", "Azure", "https://x", models=[], fallback_model_providers=["openai"])
    (quote,) = GenaiPrices([maker, azure]).quotes_for("azure", "some-model")
    assert quote.card.provider == "azure"
    assert set(quote.card.rates) == {STANDARD}


def test_the_day_of_the_check_is_read_from_the_remarks():
    provider = listed(per_million(input="2"))
    provider.price_comments = "Batch rates verified on 2026-10-14 at x. Released 2026-11-01."
    provider.models[0].price_comments = "Rates verified on 2026-10-12 at y."
    (quote,) = GenaiPrices([provider]).quotes_for("openai", "some-model")
    assert quote.card.checked == "2026-10-14"


def test_every_provider_that_is_mapped_exists():
    assert set(_PROVIDERS.values()) <= {provider.id for provider in providers}


@pytest.mark.parametrize(
    ("moment", "tier", "context"),
    [
        (datetime(2026, 11, 20, 2, 30, tzinfo=UTC), None, None),
        (datetime(2026, 11, 20, 12, tzinfo=UTC), "batch", {"processing": "batch"}),
        (datetime(2026, 11, 20, 12, tzinfo=UTC), "priority", {"service_tier": "priority"}),
        (datetime(2026, 11, 20, 12, tzinfo=UTC), "flex", {"service_tier": "flex"}),
        (datetime(2024, 3, 1, 23, 59, tzinfo=UTC), None, None),
    ],
)
def test_every_model_costs_what_genai_prices_itself_works_out(moment, tier, context):
    """Their own calculation, which the product never calls, is the other opinion here."""
    from genai_prices.types import Usage as TheirUsage

    names = {theirs: ours for ours, theirs in _PROVIDERS.items() if ours != "vertex"}
    usage = {"input_tokens": 300_000, "cache_read_tokens": 1_001, "output_tokens": 777}
    compared = 0
    for provider in providers:
        for info in provider.models if provider.id in names else ():
            single = GenaiPrices([Provider(provider.id, "x", "x", models=[info])])
            ref = _a_name_of(info)
            if ref is None:
                continue
            quotes = single.quotes_for(names[provider.id], ref)
            at_us = microseconds_of(moment)
            card = next((q.card for q in quotes if q.holds_at(at_us)), None)
            if card is None or (tier or STANDARD) not in card.rates:
                continue
            charge = rate(Usage(usage), card, at_us=at_us, tier=tier)
            if charge.amount_nanos is None or "requests" in {line.unit for line in charge.lines}:
                continue
            theirs = info.calc_price(
                TheirUsage(**usage),
                provider,
                genai_request_timestamp=moment,
                price_context=context,
            ).total_price
            assert abs(theirs * 10**9 - charge.amount_nanos) <= Decimal("1.5"), (provider.id, ref)
            compared += 1
    assert compared > (1_000 if tier is None else 10)


def _a_name_of(info):
    """A name that the model answers to, None when its id is not one."""
    return info.id if info.is_match(info.id) else None


def test_cards_of_a_model_follow_each_other_without_overlap():
    source = GenaiPrices()
    for provider, model in [("openai", "gpt-5.6-sol"), ("google", "gemini-2.5-pro")]:
        quotes = source.quotes_for(provider, model)
        assert len(quotes) > 1
        for earlier, later in pairwise(quotes):
            assert earlier.to_us == later.from_us
        assert quotes[-1].to_us is None


def test_importing_prices_loads_no_price_package():
    program = (
        "import sys, meter, meter.prices, meter.prices.book\n"
        "meter.prices.book.PriceBook.bundled()\n"
        "loaded = {'genai_prices', 'httpx2', 'httpx', 'pydantic'} & sys.modules.keys()\n"
        "sys.exit(repr(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
