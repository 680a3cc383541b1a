"""What a month changes: free allowances and volume tiers, to the nano."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from meter.core.monthly import Adjustment, MonthlyRule, MonthSum, VolumeTier, adjustments
from meter.core.selecting import Models, Parties

NOVEMBER = 1_793_491_200_000_000
FREE = MonthlyRule("first million", "input_tokens", free=1_000_000)
# Above 10 it costs 0.9 ×, above 20 it costs 0.5 ×.
TIERS = (VolumeTier(10, Fraction(9, 10)), VolumeTier(20, Fraction(1, 2)))
VOLUME = MonthlyRule("volume", "requests", tiers=TIERS)


def a_sum(quantity, nanos, unit="input_tokens", model="small", currency="USD", **more):
    return MonthSum("openai", model, unit, quantity, nanos, currency, **more)


def lines(rules, *sums, subject="alice", month_us=NOVEMBER):
    made = adjustments(rules, sums, subject=subject, month_us=month_us)
    return [(line.rule, line.quantity, line.amount_nanos, line.currency) for line in made]


def test_what_is_free_is_taken_off():
    # 4,000,000 for 4 USD, of which a quarter is free
    assert adjustments([FREE], [a_sum(4_000_000, 4 * 10**9)], subject="a", month_us=NOVEMBER) == [
        Adjustment("first million", "allowance", "input_tokens", 1_000_000, -(10**9), "USD")
    ]


def test_a_month_that_stays_below_the_allowance_owes_nothing_for_it():
    assert lines([FREE], a_sum(400, 5)) == [("first million", 400, -5, "USD")]
    assert lines([FREE], a_sum(0, 0)) == []
    assert lines([FREE]) == []


def test_an_allowance_over_several_models_has_their_average_price():
    # 3,000,000 for 3 and 1,000,000 for 5 USD: 8 / 4 = 2 USD a million
    sums = (a_sum(3_000_000, 3 * 10**9), a_sum(1_000_000, 5 * 10**9, model="large"))
    assert lines([FREE], *sums) == [("first million", 1_000_000, -2 * 10**9, "USD")]


def test_other_units_models_and_subjects_are_left_alone():
    other = a_sum(5_000_000, 10**9, unit="output_tokens")
    assert lines([FREE], other) == []
    for_small = replace(FREE, models=Models(frozenset({"openai"}), ("small*",)))
    assert lines([for_small], a_sum(2_000_000, 2, model="large")) == []
    assert lines([for_small], a_sum(2_000_000, 2, model="small-2")) == [
        ("first million", 1_000_000, -1, "USD")
    ]
    for_gold = replace(FREE, parties=Parties(tags=frozenset({("group", "gold")})))
    gold = a_sum(2_000_000, 6, tags=(("group", "gold"),))
    assert lines([for_gold], gold, a_sum(2_000_000, 2)) == [("first million", 1_000_000, -3, "USD")]
    for_bob = replace(FREE, parties=Parties(subjects=frozenset({"bob"})))
    assert lines([for_bob], gold) == []
    assert len(lines([for_bob], gold, subject="bob")) == 1


def test_each_part_of_the_volume_has_the_price_of_its_tier():
    # 25 requests at 100: 10 + 10 × 0.9 + 5 × 0.5 = 21.5 of 25, so 3.5 × 100 are taken off
    assert lines([VOLUME], a_sum(25, 2500, "requests")) == [("volume", 15, -350, "USD")]
    # 15: 5 × 0.1 × 100
    assert lines([VOLUME], a_sum(15, 1500, "requests")) == [("volume", 5, -50, "USD")]
    assert lines([VOLUME], a_sum(10, 1000, "requests")) == []


def test_a_whole_volume_has_the_price_of_the_highest_tier():
    whole = replace(VOLUME, whole=True)
    assert lines([whole], a_sum(25, 2500, "requests")) == [("volume", 25, -1250, "USD")]
    assert lines([whole], a_sum(20, 2000, "requests")) == [("volume", 20, -200, "USD")]


def test_a_tier_above_one_is_a_surcharge():
    dear = replace(VOLUME, tiers=(VolumeTier(10, Fraction(2)),))
    assert lines([dear], a_sum(12, 1200, "requests")) == [("volume", 2, 200, "USD")]


def test_money_is_counted_in_its_currency():
    # 5 USD a month are free, and 10 % off above 20 USD.
    five = MonthlyRule("five", "money", currency="USD", free=5 * 10**9)
    off = MonthlyRule(
        "off", "money", currency="USD", tiers=(VolumeTier(20 * 10**9, Fraction(9, 10)),)
    )
    yuan = a_sum(1, 7, currency="CNY")
    sums = (a_sum(1, 25 * 10**9), a_sum(1, 10 * 10**9, "output_tokens"), yuan)
    # 35 - 5 = 30; a tenth of the 10 above 20
    assert lines([five, off], *sums) == [
        ("five", 5 * 10**9, -5 * 10**9, "USD"),
        ("off", 10 * 10**9, -(10**9), "USD"),
    ]
    assert lines([five], a_sum(1, 3 * 10**9)) == [("five", 3 * 10**9, -3 * 10**9, "USD")]


def test_what_was_free_does_not_count_in_the_volume():
    free = MonthlyRule("ten", "requests", free=10)
    # 25 - 10 = 15 requests at 100 are left, of which 5 are above 10
    assert lines([free, VOLUME], a_sum(25, 2500, "requests")) == [
        ("ten", 10, -1000, "USD"),
        ("volume", 5, -50, "USD"),
    ]


def test_each_currency_has_a_line_of_its_own():
    sums = (a_sum(3_000_000, 300), a_sum(1_000_000, 700, currency="CNY"))
    assert lines([FREE], *sums) == [
        ("first million", 250_000, -175, "CNY"),
        ("first million", 750_000, -75, "USD"),
    ]


def test_a_rule_holds_for_its_months():
    later = replace(FREE, from_us=NOVEMBER + 1)
    ended = replace(FREE, to_us=NOVEMBER)
    assert lines([later, ended], a_sum(10, 10)) == []
    assert len(lines([replace(FREE, from_us=NOVEMBER, to_us=NOVEMBER + 1)], a_sum(10, 10))) == 1


def test_half_a_nano_goes_to_the_even_one():
    half = MonthlyRule("half", "requests", free=1)
    assert lines([half], a_sum(2, 5, "requests")) == [("half", 1, -2, "USD")]
    assert lines([half], a_sum(2, 7, "requests")) == [("half", 1, -4, "USD")]


SUMS = st.lists(
    st.builds(
        a_sum,
        st.integers(0, 10**9),
        st.integers(0, 10**12),
        st.sampled_from(["input_tokens", "requests"]),
        st.sampled_from(["small", "large"]),
        st.sampled_from(["USD", "CNY"]),
    ),
    max_size=6,
)
RULES = st.lists(
    st.sampled_from(
        [
            FREE,
            VOLUME,
            replace(VOLUME, whole=True),
            MonthlyRule("m", "money", currency="USD", free=10**11),
            MonthlyRule("n", "money", currency="CNY", tiers=TIERS),
        ]
    ),
    max_size=4,
)


@given(RULES, SUMS)
def test_discounts_never_take_off_more_than_was_billed(rules, sums):
    made = adjustments(rules, sums, subject="alice", month_us=NOVEMBER)
    for currency in ("USD", "CNY"):
        billed = sum(s.amount_nanos for s in sums if s.currency == currency)
        off = sum(line.amount_nanos for line in made if line.currency == currency)
        assert -billed <= off <= 0
