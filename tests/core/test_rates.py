"""Rate cards: validity, tiers, thresholds, traits, windows, identity."""

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from meter.core.rates import (
    STANDARD,
    Rate,
    RateCard,
    RateWindow,
    datetime_of,
    microseconds_of,
)
from meter.errors import RateCardError, UnitError


def us(*moment):
    return microseconds_of(datetime(*moment, tzinfo=UTC))


def card(*rates, **more):
    return RateCard("openai", "m", "USD", {STANDARD: rates or (Rate("input_tokens", 1),)}, **more)


def chosen(rates, tier=STANDARD, at_us=0, input_tokens=0, **traits):
    found = card(*rates).rates_for(tier, at_us, input_tokens, traits)
    return None if found is None else {unit: rate.nanos for unit, rate in found.items()}


def test_a_tier_that_is_missing_has_no_rates():
    assert chosen([Rate("input_tokens", 1)], tier="flex") is None
    assert chosen([Rate("input_tokens", 1)]) == {"input_tokens": 1}


@pytest.mark.parametrize(
    ("input_tokens", "nanos"),
    [(0, 1), (200_000, 1), (200_001, 2), (272_000, 2), (272_001, 3), (10**9, 3)],
)
def test_the_highest_threshold_that_is_exceeded_wins(input_tokens, nanos):
    rates = [
        Rate("input_tokens", 3, above_input_tokens=272_000),
        Rate("input_tokens", 1),
        Rate("input_tokens", 2, above_input_tokens=200_000),
    ]
    assert chosen(rates, input_tokens=input_tokens) == {"input_tokens": nanos}


@pytest.mark.parametrize(
    ("traits", "nanos"),
    [
        ({}, 1),
        ({"size": "small"}, 2),
        ({"size": "small", "quality": "hd"}, 3),
        ({"quality": "hd"}, 1),
        ({"size": "large"}, 1),
        ({"size": "small", "style": "vivid"}, 2),
    ],
)
def test_the_rate_that_names_most_matching_traits_wins(traits, nanos):
    rates = [
        Rate("images", 1, 1),
        Rate("images", 2, 1, traits=(("size", "small"),)),
        Rate("images", 3, 1, traits=(("quality", "hd"), ("size", "small"))),
    ]
    assert chosen(rates, **traits) == {"images": nanos}


def test_a_unit_whose_traits_do_not_match_has_no_rate():
    rates = [Rate("images", 2, 1, traits=(("size", "small"),)), Rate("input_tokens", 1)]
    assert chosen(rates, size="large") == {"input_tokens": 1}


def test_a_card_holds_from_its_start_to_before_its_end():
    dated = card(effective_from_us=10, effective_to_us=20)
    assert [dated.holds_at(at) for at in (9, 10, 19, 20)] == [False, True, True, False]
    assert card(effective_from_us=10).holds_at(10**18)


PEAK = RateWindow(
    60, 240, {STANDARD: (Rate("input_tokens", 2),)}, weekdays=frozenset({1, 2, 3, 4, 5})
)


@pytest.mark.parametrize(
    ("moment", "nanos"),
    [
        ((2026, 11, 20, 0, 59, 59, 999_999), 1),  # Friday
        ((2026, 11, 20, 1), 2),
        ((2026, 11, 20, 3, 59, 59, 999_999), 2),
        ((2026, 11, 20, 4), 1),
        ((2026, 11, 21, 2), 1),  # Saturday
    ],
)
def test_a_window_replaces_the_rates_while_it_is_open(moment, nanos):
    found = card(windows=(PEAK,)).rates_for(STANDARD, us(*moment), 0, {})
    assert found["input_tokens"].nanos == nanos


def test_a_window_without_the_tier_leaves_it_unpriced():
    assert card(windows=(PEAK,)).rates_for("batch", us(2026, 11, 20, 2), 0, {}) is None


def test_a_window_is_shut_on_holidays_of_its_own_zone():
    window = replace(
        PEAK, start_minute=0, tz="Asia/Shanghai", holidays=frozenset({date(2026, 10, 1)})
    )
    # 2026-09-30 17:00 UTC is already 1 October 01:00 in Shanghai, a Thursday
    assert not window.holds_at(us(2026, 9, 30, 17))
    assert window.holds_at(us(2026, 10, 1, 17))


def test_a_window_counts_minutes_on_the_wall_clock_of_its_zone():
    window = RateWindow(540, 720, {STANDARD: (Rate("input_tokens", 2),)}, tz="Europe/Berlin")
    # 09:00 in Berlin is 08:00 UTC in winter and 07:00 UTC in summer
    assert [window.holds_at(us(2026, 1, 15, hour)) for hour in (7, 8)] == [False, True]
    assert [window.holds_at(us(2026, 7, 15, hour)) for hour in (6, 7)] == [False, True]


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 5), (6, 5), (0, 1441)])
def test_a_window_is_a_span_of_a_day(start, end):
    with pytest.raises(RateCardError, match=r"expected a span of a day"):
        RateWindow(start, end, {})


@pytest.mark.parametrize(
    "fields",
    [{"nanos": -1}, {"per": 0}, {"above_input_tokens": -1}, {"minimum": -1}],
)
def test_a_rate_below_zero_is_refused(fields):
    with pytest.raises(RateCardError):
        Rate(**{"unit": "images", "nanos": 1, **fields})


def test_a_rate_of_an_unknown_unit_is_refused():
    with pytest.raises(UnitError):
        Rate("tokens", 1)
    with pytest.raises(UnitError):
        card(unpriced_units=frozenset({"tokens"}))


@pytest.mark.parametrize("rates", [{}, {STANDARD: ()}])
def test_a_card_without_a_rate_is_refused(rates):
    with pytest.raises(RateCardError, match="found no rate for openai/m, expected one"):
        RateCard("openai", "m", "USD", rates)


def test_a_free_card_has_rates_of_zero():
    assert card(Rate("input_tokens", 0)).rates[STANDARD][0].nanos == 0


def test_the_id_is_what_the_card_says():
    first = card(Rate("input_tokens", 1), Rate("output_tokens", 2))
    again = card(Rate("output_tokens", 2), Rate("input_tokens", 1))
    assert first.id == again.id
    assert len(first.id) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "azure"},
        {"model": "n"},
        {"currency": "CNY"},
        {"book": "contract"},
        {"effective_from_us": 1},
        {"effective_to_us": 1},
        {"windows": (PEAK,)},
        {"windows": (replace(PEAK, tz="Asia/Shanghai"),)},
        {"windows": (replace(PEAK, holidays=frozenset({date(2026, 10, 1)})),)},
        {"unpriced_units": frozenset({"input_audio_tokens"})},
        {"rates": {STANDARD: (Rate("input_tokens", 2),)}},
        {"rates": {STANDARD: (Rate("input_tokens", 1, 1_000),)}},
        {"rates": {STANDARD: (Rate("input_tokens", 1, minimum=10),)}},
        {"rates": {STANDARD: (Rate("input_tokens", 1, above_input_tokens=5),)}},
        {"rates": {STANDARD: (Rate("input_tokens", 1, traits=(("a", "b"),)),)}},
        {"rates": {"batch": (Rate("input_tokens", 1),)}},
    ],
)
def test_any_change_of_what_is_billed_is_another_card(change):
    assert replace(card(), **change, id="").id != card().id


def test_where_a_price_was_found_does_not_make_another_card():
    assert replace(card(), source="x", checked="2026-11-22", id="").id == card().id


def test_a_card_is_never_edited():
    with pytest.raises(FrozenInstanceError):
        card().currency = "EUR"


def test_moments_are_exact_to_the_microsecond():
    moment = datetime(2026, 8, 16, 16, 0, 0, 1, tzinfo=UTC)
    assert datetime_of(microseconds_of(moment)) == moment
    assert microseconds_of(datetime(1970, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))) == 0
    assert microseconds_of(datetime(9999, 12, 31, tzinfo=UTC)) == 253_402_214_400_000_000
