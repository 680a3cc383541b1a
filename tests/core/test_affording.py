"""How much output the rest of a budget pays for."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from meter.core.affording import output_within
from meter.core.budgets import Budget, Measure, Scope, ScopeKind
from meter.core.estimating import bound
from meter.core.rates import STANDARD, Rate, RateCard

EVERYTHING = Scope(ScopeKind.EVERYTHING)
MONEY = Budget("b", EVERYTHING, Measure.MONEY, 10**12, "USD")
TOKENS = Budget("b", EVERYTHING, Measure.TOKENS, 10**12)
CALLS = Budget("b", EVERYTHING, Measure.CALLS, 10**12)
# 10 nanos a token in, 30 out.
CARD = RateCard(
    "p", "m", "USD", {STANDARD: (Rate("input_tokens", 10, 1), Rate("output_tokens", 30, 1))}
)


def within(budget, left, card=CARD, input_tokens=5):
    return output_within(budget, left, card, input_tokens=input_tokens, at_us=0)


def test_money_pays_for_the_input_first():
    # 5 × 10 + 1 and 20 × 30 + 1: one nano for the rounding of each line
    assert within(MONEY, 652) == 20
    assert within(MONEY, 651) == 19
    assert within(MONEY, 681) == 20


def test_not_even_the_input_can_be_paid():
    assert within(MONEY, 51) is None
    assert within(TOKENS, 4) is None


def test_tokens_are_shared_by_input_and_output():
    assert within(TOKENS, 12) == 7
    assert within(TOKENS, 5) == 0


def test_what_nothing_bounds_cannot_be_made_to_fit():
    assert within(MONEY, 10**9, card=None) is None
    assert within(TOKENS, 10**9, input_tokens=None) is None
    assert within(Budget("b", EVERYTHING, Measure.MONEY, 9, "CNY"), 10**9) is None


def test_a_call_counts_as_one_however_long():
    assert within(CALLS, 0) is None
    assert within(CALLS, 1) == 2**30


@given(left=st.integers(0, 10**7), input_tokens=st.integers(0, 10**5))
def test_it_is_the_most_that_fits(left, input_tokens):
    def amount(output_tokens):
        found = bound(CARD, input_tokens=input_tokens, output_tokens=output_tokens, at_us=0)
        return found.cost_nanos

    most = within(MONEY, left, input_tokens=input_tokens)
    if most is None:
        assert amount(0) > left
    else:
        assert amount(most) <= left < amount(most + 1)


def test_what_is_billed_in_the_budgets_currency_is_what_must_fit():
    # Billed 20 nanos of USD in and 60 out: 5 × 20 + 1, 10 × 60 + 1.
    rates = (Rate("input_tokens", 20, 1), Rate("output_tokens", 60, 1))
    resale = RateCard("p", "m", "USD", {STANDARD: rates}, book="resale")
    found = output_within(MONEY, 702, CARD, input_tokens=5, at_us=0, billed=resale)
    assert found == 10
    elsewhere = replace(resale, currency="CNY", id="")
    # The cost is in the budget's currency then: 5 × 10 + 1, 20 × 30 + 1.
    assert output_within(MONEY, 652, CARD, input_tokens=5, at_us=0, billed=elsewhere) == 20
