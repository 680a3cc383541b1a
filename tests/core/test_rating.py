"""Usage to money: each token billed once, unknown prices unknown, arithmetic exact."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.rates import STANDARD, Rate, RateCard
from meter.core.rating import exclusive_quantities, rate
from meter.core.units import CONTENTS, ROOTS, UNITS
from meter.core.usage import Usage

TOKEN_UNITS = [name for name in UNITS if name.endswith("_tokens") and name != "trained_tokens"]
TOKEN_ROOTS = ["input_tokens", "output_tokens"]


def card(*rates, unpriced=(), **tiers):
    listed = {tier: tuple(tiers[tier]) for tier in tiers} or {STANDARD: tuple(rates)}
    return RateCard("p", "m", "USD", listed, unpriced_units=frozenset(unpriced))


def per_token(**nanos):
    """A card with these nanos for one token (or one piece) of each unit."""
    return card(*(Rate(unit, price, 1) for unit, price in nanos.items()))


def lines(charge):
    return {line.unit: line.quantity for line in charge.lines}


def amount(rated_card, tier=None, traits=None, **quantities):
    return rate(Usage(quantities), rated_card, at_us=0, tier=tier, traits=traits).amount_nanos


def test_unit_times_quantity_times_rate():
    rated = rate(
        Usage(input_tokens=10, output_tokens=5), per_token(input_tokens=3, output_tokens=7), at_us=0
    )
    # 10 × 3 + 5 × 7
    assert rated.amount_nanos == 65
    assert rated.currency == "USD"
    assert rated.unpriced is None


def test_a_part_with_its_own_price_is_taken_out_of_the_whole():
    rated = per_token(input_tokens=10, cache_read_tokens=1)
    # 60 × 10 + 40 × 1
    assert amount(rated, input_tokens=100, cache_read_tokens=40) == 640


def test_a_part_without_a_price_is_billed_with_the_whole():
    # 100 × 10
    assert amount(per_token(input_tokens=10), input_tokens=100, cache_read_tokens=40) == 1_000


def test_parts_nest():
    rated = per_token(input_tokens=10, cache_write_tokens=12, cache_write_1h_tokens=20)
    # 100 − 30 = 70 × 10, 30 − 20 = 10 × 12, 20 × 20
    quantities = {
        "input_tokens": 100,
        "cache_write_tokens": 30,
        "cache_write_5m_tokens": 10,
        "cache_write_1h_tokens": 20,
    }
    assert amount(rated, **quantities) == 700 + 120 + 400


def test_where_parts_cross_the_overlap_is_billed_once():
    rated = per_token(
        input_tokens=10, cache_read_tokens=5, input_audio_tokens=30, cache_audio_read_tokens=3
    )
    # cached audio 10 × 3, other audio 20 × 30, other cached 30 × 5, the other 40 × 10
    quantities = {
        "input_tokens": 100,
        "cache_read_tokens": 40,
        "input_audio_tokens": 30,
        "cache_audio_read_tokens": 10,
    }
    assert amount(rated, **quantities) == 30 + 600 + 150 + 400


def test_parts_that_must_overlap_are_not_billed_for_more_than_the_whole():
    # 90 cached and 80 audio of 100: at least 70 are both. The audio is billed as audio, 80 × 30,
    # and what is left of the whole as cached, 20 × 1.
    rated = per_token(input_tokens=10, cache_read_tokens=1, input_audio_tokens=30)
    quantities = {"input_tokens": 100, "cache_read_tokens": 90, "input_audio_tokens": 80}
    assert amount(rated, **quantities) == 2_400 + 20


def test_a_part_reported_above_its_whole_is_not_billed_above_it():
    # 384 cached of 127: 127 × 1
    rated = per_token(input_tokens=10, cache_read_tokens=1)
    assert amount(rated, input_tokens=127, cache_read_tokens=384) == 127


def test_reasoning_is_output():
    assert amount(per_token(output_tokens=10), output_tokens=50, reasoning_tokens=30) == 500


def test_an_answer_of_audio_only_needs_no_text_price():
    assert amount(per_token(output_audio_tokens=64), output_tokens=9, output_audio_tokens=9) == 576


def test_a_tier_is_priced_on_its_own():
    tiered = card(standard=[Rate("input_tokens", 10, 1)], batch=[Rate("input_tokens", 5, 1)])
    assert amount(tiered, input_tokens=2) == 20
    assert amount(tiered, tier="batch", input_tokens=2) == 10
    rated = rate(Usage(input_tokens=2), tiered, at_us=0, tier="flex")
    assert rated.amount_nanos is None
    assert rated.unpriced == f"rate card {tiered.id} has no rates for service tier 'flex'"
    assert rated.card_id == tiered.id


def test_without_a_card_there_is_no_amount():
    rated = rate(Usage(input_tokens=2), None, at_us=0)
    assert rated == rate(Usage(), None, at_us=0)
    assert (rated.amount_nanos, rated.currency, rated.card_id) == (None, None, None)
    assert rated.unpriced == "no rate card covers this model at this time"


@pytest.mark.parametrize(
    "quantities",
    [
        {"output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 1},
        {"input_tokens": 1, "searches": 1},
        {"trained_tokens": 5},
        {"sessions": 1},
        # nothing but incidental units, and none of them billed
        {"audio_seconds": 9},
        {"images": 1},
        {"images": 1, "input_tokens": 0},
        {"requests": 1},
        # a part whose whole was not reported
        {"reasoning_tokens": 5},
        # more than its priced part
        {"output_tokens": 9, "output_audio_tokens": 8},
    ],
)
def test_usage_that_no_rate_covers_is_unpriced_and_not_free(quantities):
    rated = rate(Usage(quantities), per_token(input_tokens=1, output_audio_tokens=2), at_us=0)
    assert rated.amount_nanos is None
    assert rated.lines == ()
    assert " has no rate for " in rated.unpriced


def test_a_part_whose_whole_was_not_reported_is_not_billed_as_the_whole():
    # 50 cached tokens without input tokens: nobody knows the whole, so there is no amount.
    assert amount(per_token(input_tokens=10), cache_read_tokens=50) is None
    assert amount(per_token(input_tokens=10, cache_read_tokens=1), cache_read_tokens=50) == 50


@pytest.mark.parametrize("quantities", [{"images": 2}, {"audio_seconds": 3}, {"tool_calls": 1}])
def test_incidental_units_without_a_rate_are_only_noted(quantities):
    assert amount(per_token(input_tokens=10), input_tokens=1, **quantities) == 10


def test_zero_of_what_has_no_rate_is_no_obstacle():
    assert amount(per_token(input_tokens=10), input_tokens=1, output_tokens=0, searches=0) == 10


def test_a_rate_of_zero_is_free_and_known():
    rated = rate(Usage(input_tokens=5), per_token(input_tokens=0), at_us=0)
    assert rated.amount_nanos == 0
    assert lines(rated) == {"input_tokens": 5}


def test_nothing_used_costs_nothing():
    assert amount(per_token(input_tokens=10), input_tokens=0, output_tokens=0) == 0


def test_a_fee_for_the_request_is_billed_once():
    priced = per_token(input_tokens=1, requests=1_000)
    assert amount(priced, input_tokens=5) == 1_005
    assert amount(priced, input_tokens=5, requests=1) == 1_005
    assert amount(priced, input_tokens=5, requests=2) == 2_005


def test_a_fee_for_the_request_does_not_cover_what_was_consumed():
    assert amount(per_token(input_tokens=1, requests=1_000), audio_seconds=9) is None


def test_a_fee_that_is_known_to_exist_but_not_how_high_leaves_the_call_unpriced():
    by_size = Rate("requests", 5, 1, traits=(("size", "low"),))
    priced = card(Rate("input_tokens", 1, 1), by_size, unpriced=["requests"])
    assert amount(priced, traits={"size": "low"}, input_tokens=5) == 10
    assert amount(priced, input_tokens=5) is None


def test_a_unit_whose_price_is_unknown_makes_the_call_unpriced_when_it_was_used():
    text_only = card(Rate("input_tokens", 2, 1), unpriced=["input_audio_tokens"])
    assert amount(text_only, input_tokens=5) == 10
    assert amount(text_only, input_tokens=5, input_audio_tokens=0) == 10
    rated = rate(Usage(input_tokens=5, input_audio_tokens=1), text_only, at_us=0)
    assert rated.amount_nanos is None
    assert rated.unpriced == f"rate card {text_only.id} has no rate for input_audio_tokens"


def test_a_tier_with_its_own_price_for_such_a_unit_is_priced():
    rated = RateCard(
        "p",
        "m",
        "USD",
        {
            "standard": (Rate("input_tokens", 2, 1), Rate("input_audio_tokens", 9, 1)),
            "batch": (Rate("input_tokens", 1, 1),),
        },
        unpriced_units=frozenset({"input_audio_tokens"}),
    )
    # 4 × 2 + 1 × 9
    assert amount(rated, input_tokens=5, input_audio_tokens=1) == 17
    assert amount(rated, tier="batch", input_tokens=5, input_audio_tokens=1) is None


def test_a_minimum_is_billed_once_anything_was_used():
    priced = card(Rate("audio_seconds", 100, 1, minimum=10))
    assert amount(priced, audio_seconds=Decimal("0.5")) == 1_000
    assert amount(priced, audio_seconds=12) == 1_200
    assert amount(priced, audio_seconds=0) == 0
    rated = rate(Usage(audio_seconds=3), priced, at_us=0)
    assert lines(rated) == {"audio_seconds": 10}


def test_each_line_is_rounded_on_its_own_half_to_even():
    # 3 × 0.5 = 1.5 → 2 and 1 × 0.5 = 0.5 → 0
    halves = card(Rate("input_tokens", 1, 2), Rate("output_tokens", 1, 2))
    assert amount(halves, input_tokens=3, output_tokens=1) == 2


# --- properties --------------------------------------------------------------------------------

quantities = st.dictionaries(
    st.sampled_from(TOKEN_UNITS), st.integers(min_value=0, max_value=10**7), min_size=1
)


@st.composite
def usages(draw):
    """Token usage as a provider reports it: the wholes are there, no part is above its whole."""
    given_quantities = {root: draw(st.integers(0, 10**7)) for root in TOKEN_ROOTS}
    return Usage({**given_quantities, **draw(quantities)}).clamped()


@st.composite
def cards(draw):
    """A card that prices both wholes and some of their parts."""
    parts = draw(st.sets(st.sampled_from(TOKEN_UNITS)))
    units = [*TOKEN_ROOTS, *sorted(parts - set(TOKEN_ROOTS))]
    return card(
        *(
            Rate(unit, draw(st.integers(0, 10**11)), draw(st.sampled_from([1, 7, 1000, 10**6])))
            for unit in units
        )
    )


@given(usages(), cards())
def test_no_token_is_billed_twice_or_forgotten(usage, priced):
    billed = lines(rate(usage, priced, at_us=0))
    for root in TOKEN_ROOTS:
        family = [root, *CONTENTS[root]]
        assert sum(billed.get(name, 0) for name in family) == usage[root]


@given(usages(), cards())
def test_no_line_and_no_amount_is_below_zero(usage, priced):
    charge = rate(usage, priced, at_us=0)
    assert charge.amount_nanos == sum(line.amount_nanos for line in charge.lines)
    for line in charge.lines:
        assert line.quantity > 0
        assert line.amount_nanos >= 0


@given(usages(), cards())
def test_each_line_is_its_quantity_times_its_price_to_half_a_nano(usage, priced):
    for line in rate(usage, priced, at_us=0).lines:
        exact = Fraction(line.quantity) * line.nanos / line.per
        assert abs(line.amount_nanos - exact) <= Fraction(1, 2)


@st.composite
def flat_pairs(draw):
    """Two usages of plain units only, which no bucket ties together."""
    units = [*TOKEN_ROOTS, "searches", "trained_tokens"]
    return [Usage({unit: draw(st.integers(0, 10**7)) for unit in units}) for _ in range(2)]


@given(flat_pairs(), st.lists(st.integers(0, 10**11), min_size=4, max_size=4))
def test_the_whole_costs_what_its_halves_cost_up_to_rounding(pair, nanos):
    units = [*TOKEN_ROOTS, "searches", "trained_tokens"]
    priced = card(*(Rate(unit, price) for unit, price in zip(units, nanos, strict=True)))
    first, second = pair
    both = Usage({unit: first[unit] + second[unit] for unit in units})
    apart = sum(rate(usage, priced, at_us=0).amount_nanos for usage in pair)
    together = rate(both, priced, at_us=0).amount_nanos
    # Three roundings of half a nano each, on each of four lines.
    assert abs(apart - together) <= 4 * 3 / 2


@given(usages(), cards(), st.sampled_from(TOKEN_ROOTS), st.integers(1, 10**6))
def test_more_of_a_whole_never_costs_less(usage, priced, root, more):
    greater = Usage({**usage, root: usage[root] + more})
    assert rate(greater, priced, at_us=0).amount_nanos >= rate(usage, priced, at_us=0).amount_nanos


@given(quantities)
def test_parts_are_within_their_wholes_even_in_a_senseless_report(reported):
    usage = Usage(reported)
    parts = exclusive_quantities(usage, {unit: Rate(unit, 1) for unit in TOKEN_UNITS})
    for name, quantity in usage.items():
        inside = sum(parts[inner] for inner in (name, *CONTENTS[name]) if inner in parts)
        assert 0 <= parts[name] <= quantity
        assert inside <= quantity


def test_the_roots_of_the_properties_are_those_of_the_registry():
    assert set(TOKEN_ROOTS) == {name for name in ROOTS if name in TOKEN_UNITS}
