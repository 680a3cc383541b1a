"""The most that a call can cost, before it is sent."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meter.core.call import Bound
from meter.core.estimating import bound
from meter.core.rates import STANDARD, Rate, RateCard, RateWindow
from meter.core.rating import rate
from meter.core.usage import Usage

TOKEN_UNITS = [
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "input_audio_tokens", "output_tokens", "reasoning_tokens", "output_audio_tokens",
]  # fmt: skip


def card(*rates, **more):
    return RateCard("p", "m", "USD", {STANDARD: tuple(rates)}, **more)


def most(priced, input_tokens=None, output_tokens=None, **more):
    found = bound(priced, input_tokens=input_tokens, output_tokens=output_tokens, at_us=0, **more)
    return found.cost_nanos


PLAIN = card(Rate("input_tokens", 10, 1), Rate("output_tokens", 30, 1))


def test_the_bound_is_both_directions_at_their_price():
    found = bound(PLAIN, input_tokens=100, output_tokens=20, at_us=0)
    # 100 × 10 + 20 × 30, and one nano for the rounding of each line
    assert found == Bound(100, 20, 1_602, "USD")


def test_the_dearest_rate_of_a_family_counts():
    # A cache write at 12 is dearer than input at 10: 100 × 12 + 2 lines, 20 × 30 + 1 line.
    priced = card(
        Rate("input_tokens", 10, 1), Rate("cache_write_tokens", 12, 1), *PLAIN.rates[STANDARD][1:]
    )
    assert most(priced, 100, 20) == 1_202 + 601


@pytest.mark.parametrize(("input_tokens", "cost"), [(200, 2_001), (201, 4_021)])
def test_a_threshold_counts_when_the_input_can_exceed_it(input_tokens, cost):
    priced = card(Rate("input_tokens", 10, 1), Rate("input_tokens", 20, 1, above_input_tokens=200))
    assert most(priced, input_tokens, 0) == cost


def test_a_fee_for_the_request_is_in_the_bound():
    priced = card(Rate("input_tokens", 10, 1), Rate("requests", 5_000, 1))
    # 10 × 10 + 1 line, 5,000 + 1 line
    assert most(priced, 10, 0) == 101 + 5_001


def test_without_a_card_tokens_are_bounded_and_money_is_not():
    assert bound(None, input_tokens=5, output_tokens=7, at_us=0) == Bound(5, 7)


def test_without_a_limit_in_the_request_the_models_own_holds():
    limited = card(*PLAIN.rates[STANDARD], max_output_tokens=20, context_tokens=100)
    assert bound(limited, input_tokens=None, output_tokens=None, at_us=0) == Bound(
        100, 20, 1_602, "USD"
    )


def test_no_answer_is_longer_than_the_context():
    limited = card(*PLAIN.rates[STANDARD], context_tokens=20)
    # 5 × 10 + 2 × 20 × 30, and one nano for the rounding of each line
    assert most(limited, 5, None, choices=2) == 1_252


@pytest.mark.parametrize(("input_tokens", "output_tokens"), [(None, 5), (5, None), (None, None)])
def test_what_nothing_limits_has_no_money_bound(input_tokens, output_tokens):
    found = bound(PLAIN, input_tokens=input_tokens, output_tokens=output_tokens, at_us=0)
    assert found == Bound(input_tokens, output_tokens)


def test_a_tier_without_rates_has_no_money_bound():
    assert most(PLAIN, 100, 20, tier="flex") is None


def test_the_tier_that_is_asked_for_is_bounded():
    tiered = RateCard(
        "p",
        "m",
        "USD",
        {STANDARD: (Rate("input_tokens", 10, 1),), "batch": (Rate("input_tokens", 5, 1),)},
    )
    assert most(tiered, 100, 0) == 1_001
    assert most(tiered, 100, 0, tier="batch") == 501


def test_a_window_that_is_open_counts():
    window = RateWindow(0, 60, {STANDARD: (Rate("input_tokens", 99, 1),)})
    assert most(card(Rate("input_tokens", 10, 1), windows=(window,)), 1, 0) == 100


@pytest.mark.parametrize(
    "unit", ["images", "characters", "audio_seconds", "video_seconds", "pages"]
)
def test_what_is_billed_by_the_piece_has_no_money_bound(unit):
    # A hold of nothing would let it pass any budget.
    assert most(card(Rate(unit, 10, 1)), 100, 0) is None
    assert (
        most(card(Rate("input_tokens", 1), Rate("output_tokens", 1), Rate(unit, 10, 1)), 1, 1)
        is None
    )


def test_a_direction_without_a_price_has_no_money_bound():
    embedding = card(Rate("input_tokens", 10, 1))
    assert most(embedding, 100, 0) == 1_001
    assert most(embedding, 100, 5) is None


def test_training_and_searches_do_not_unbound_a_call():
    priced = card(*PLAIN.rates[STANDARD], Rate("trained_tokens", 9, 1), Rate("searches", 9, 1))
    assert most(priced, 100, 20) == 1_602


def test_an_empty_call_costs_nothing():
    assert most(PLAIN, 0, 0) == 2


@given(
    st.fixed_dictionaries({unit: st.integers(0, 10**6) for unit in TOKEN_UNITS}),
    st.dictionaries(st.sampled_from(TOKEN_UNITS), st.integers(0, 10**11)),
    st.sampled_from([1, 3, 1_000, 10**6]),
    st.integers(0, 10**6),
)
def test_no_call_within_its_limits_costs_more_than_its_bound(quantities, prices, per, threshold):
    usage = Usage(quantities).clamped()
    rates = [Rate(unit, nanos, per) for unit, nanos in prices.items()]
    rates += [Rate(unit, 2 * nanos, per, threshold) for unit, nanos in prices.items() if threshold]
    assume(rates)
    priced = card(*rates)
    charge = rate(usage, priced, at_us=0)
    limit = bound(
        priced,
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        at_us=0,
    )
    if charge.amount_nanos is not None and limit.cost_nanos is not None:
        assert charge.amount_nanos <= limit.cost_nanos


PICTURES = RateCard(
    "openai", "draws", "USD",
    {"standard": (Rate("images", 40_000_000, 1, traits=(("quality", "standard"),)),
                  Rate("images", 80_000_000, 1, traits=(("quality", "hd"),)),
                  Rate("requests", 5, 1))},
)  # fmt: skip
SPEECH = RateCard("openai", "speaks", "USD", {"standard": (Rate("characters", 15 * 10**9),)})


def test_what_the_request_counts_itself_is_bounded_by_the_dearest_of_its_rates():
    most = bound(PICTURES, input_tokens=None, output_tokens=None, at_us=0, counted={"images": 2})
    # 2 × 0.08 USD, a nano for the rounding, and 5 + 1 nanos for the request.
    assert (most.cost_nanos, most.currency) == (160_000_000 + 1 + 5 + 1, "USD")
    most = bound(SPEECH, input_tokens=None, output_tokens=None, at_us=0, counted={"characters": 9})
    assert most.cost_nanos == 9 * 15_000 + 1


def test_what_is_billed_by_tokens_or_by_more_than_is_counted_is_not_bounded_by_it():
    most = bound(SPEECH, input_tokens=None, output_tokens=None, at_us=0, counted={"images": 1})
    assert most.cost_nanos is None
    assert bound(PICTURES, input_tokens=5, output_tokens=5, at_us=0).cost_nanos is None
