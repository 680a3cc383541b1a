"""What must hold for all prices and all usage: additive, monotone, exact; list to resale."""

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from meter.core.rates import STANDARD, Rate, RateCard
from meter.core.rating import rate
from meter.core.selecting import EVERY_MODEL, EVERYBODY
from meter.core.usage import Usage
from meter.prices.rules import Exchange, Rule, applied

UNITS = ("input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens", "searches")
ROOTS = ("input_tokens", "output_tokens", "searches")

QUANTITIES = st.integers(0, 10**9)
PRICES = st.integers(0, 10**10)
PERS = st.sampled_from([1, 3, 1000, 3600, 10**6])
DECIMALS = st.builds(Fraction, st.integers(0, 9999), st.sampled_from([1, 10, 10**4]))


@st.composite
def usages(draw):
    """Usage in which what is inside a bucket fits into it."""
    given_, taken = draw(QUANTITIES), draw(QUANTITIES)
    return Usage(
        input_tokens=given_,
        cache_read_tokens=draw(st.integers(0, given_)),
        output_tokens=taken,
        reasoning_tokens=draw(st.integers(0, taken)),
        searches=draw(st.integers(0, 1000)),
    )


@st.composite
def cards(draw, pers=PERS):
    rates = tuple(Rate(unit, draw(PRICES), draw(pers)) for unit in UNITS)
    return RateCard("p", "m", "USD", {STANDARD: rates})


@st.composite
def rules(draw):
    multiplier = draw(DECIMALS)
    added = draw(st.dictionaries(st.sampled_from(("requests", "output_tokens")), DECIMALS))
    return Rule(
        "r", "resale", EVERY_MODEL, EVERYBODY, multiplier=multiplier, add=tuple(added.items()),
        currency="CNY", minimum_nanos=draw(st.integers(0, 10**9)),
    )  # fmt: skip


def amounts(charge):
    return [(line.unit, line.quantity, line.amount_nanos) for line in charge.lines]


def half_even(amount):
    return round(amount)  # Python rounds a fraction half to even.


@given(cards(), usages())
def test_rating_is_exact_and_the_lines_sum_to_the_amount(card, usage):
    charge = rate(usage, card, at_us=0)
    prices = {r.unit: Fraction(r.nanos, r.per) for r in card.rates[STANDARD]}
    parts = {
        "input_tokens": usage["input_tokens"] - usage["cache_read_tokens"],
        "cache_read_tokens": usage["cache_read_tokens"],
        "output_tokens": usage["output_tokens"] - usage["reasoning_tokens"],
        "reasoning_tokens": usage["reasoning_tokens"],
        "searches": usage["searches"],
    }
    assert {line.unit: line.amount_nanos for line in charge.lines} == {
        unit: half_even(quantity * prices[unit]) for unit, quantity in parts.items() if quantity
    }
    assert charge.amount_nanos == sum(line.amount_nanos for line in charge.lines)


@given(cards(pers=st.just(1)), usages(), usages())
def test_rating_is_additive_where_a_unit_costs_whole_nanos(card, one, other):
    both = Usage({unit: one[unit] + other[unit] for unit in UNITS})
    amounts = [rate(usage, card, at_us=0).amount_nanos for usage in (one, other, both)]
    assert amounts[0] + amounts[1] == amounts[2]


@given(cards(), usages(), usages())
def test_rating_is_additive_to_a_nano_a_line(card, one, other):
    both = Usage({unit: one[unit] + other[unit] for unit in UNITS})
    amounts = [rate(usage, card, at_us=0).amount_nanos for usage in (one, other, both)]
    # Each of three lines of a unit is off by half a nano at most.
    assert abs(amounts[2] - amounts[0] - amounts[1]) <= len(UNITS) * 3 / 2


@given(cards(), usages(), st.sampled_from(ROOTS), st.integers(1, 10**6))
def test_more_of_a_bucket_never_costs_less(card, usage, unit, more):
    larger = Usage({**usage, unit: usage[unit] + more})
    amounts = [rate(each, card, at_us=0).amount_nanos for each in (usage, larger)]
    assert amounts[0] <= amounts[1]


@given(cards(), usages(), rules(), DECIMALS)
def test_what_is_billed_is_the_list_price_times_the_rule_to_the_nano(card, usage, rule, exchanged):
    assume(exchanged)
    exchange = Exchange("USD", "CNY", exchanged, 0, None, "x")
    billed = applied(rule, card, exchange)
    added = dict(rule.add)
    made = {r.unit: Fraction(r.nanos, r.per) for r in billed.rates[STANDARD]}
    for listed in card.rates[STANDARD]:
        exact = Fraction(listed.nanos, listed.per) * rule.multiplier * exchanged
        exact += added.get(listed.unit, 0)
        price = exact * listed.per
        if max(price.numerator, price.denominator * listed.per) < 2**63:
            assert made[listed.unit] == exact
        else:
            # Above a million CNY a token: what 64 bits hold.
            assert abs(made[listed.unit] - exact) <= Fraction(1, 2 * listed.per)
    charge = rate(usage, billed, at_us=0)
    assert charge.currency == "CNY"
    assert sum(line.amount_nanos for line in charge.lines) == charge.amount_nanos
    if any(usage.values()) or "requests" in added:
        assert charge.amount_nanos >= (rule.minimum_nanos if charge.lines else 0)


@given(cards(), usages(), DECIMALS, DECIMALS)
def test_list_to_contract_to_resale_is_one_multiplication(card, usage, first, second):
    def a_rule(multiplier):
        return Rule("r", "resale", EVERY_MODEL, EVERYBODY, multiplier=multiplier)

    twice = applied(a_rule(second), applied(a_rule(first), card))
    once = applied(a_rule(first * second), card)
    assert amounts(rate(usage, twice, at_us=0)) == amounts(rate(usage, once, at_us=0))
    same = applied(a_rule(Fraction(1)), card)
    assert amounts(rate(usage, same, at_us=0)) == amounts(rate(usage, card, at_us=0))


@given(cards(), usages(), st.integers(0, 10**13))
def test_a_minimum_is_reached_and_nothing_more(card, usage, minimum_nanos):
    rule = Rule("r", "resale", EVERY_MODEL, EVERYBODY, minimum_nanos=minimum_nanos)
    plain = rate(usage, card, at_us=0)
    least = rate(usage, applied(rule, card), at_us=0)
    expected = max(plain.amount_nanos, minimum_nanos) if plain.lines else 0
    assert least.amount_nanos == expected
