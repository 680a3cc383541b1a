"""Admission: which budgets apply, what a call may take, and why it is refused."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.budgets import (
    Budget,
    Hold,
    Measure,
    Refusal,
    Scope,
    ScopeKind,
    Standing,
    admit,
    measured,
    scopes_of,
)
from meter.core.call import Attribution, Bound
from meter.core.rates import microseconds_of
from meter.core.windows import Span, Window

EVERYTHING = Scope(ScopeKind.EVERYTHING)
NOW = microseconds_of(datetime(2026, 11, 22, 12, tzinfo=UTC))
NOVEMBER = microseconds_of(datetime(2026, 11, 1, tzinfo=UTC))
CALL = Bound(input_tokens=100, output_tokens=50, cost_nanos=1_000, currency="USD")


def money(limit, name="b", currency="USD", window=None):
    return Budget(name, EVERYTHING, Measure.MONEY, limit, currency, window or Window(Span.MONTH))


def tokens(limit, name="t"):
    return Budget(name, EVERYTHING, Measure.TOKENS, limit)


def calls(limit, name="c"):
    return Budget(name, EVERYTHING, Measure.CALLS, limit)


def decide(budget, bound=CALL, spent=0, held=0):
    return admit([budget], bound, {budget.id: Standing(spent, held)}, NOW)


@pytest.mark.parametrize(
    ("budget", "amount"), [(money(10_000), 1_000), (tokens(10_000), 150), (calls(10), 1)]
)
def test_a_call_is_held_at_its_bound(budget, amount):
    assert decide(budget) == (Hold(budget.id, NOVEMBER, amount),)


@pytest.mark.parametrize(
    ("spent", "held", "admitted"),
    [
        (0, 0, True),
        (9_000, 0, True),  # 9,000 + 1,000 = 10,000 fits exactly
        (9_001, 0, False),
        (0, 9_000, True),
        (0, 9_001, False),
        (4_500, 4_500, True),
        (4_500, 4_501, False),
        (10_000, 0, False),
        (20_000, 0, False),  # a fact above the limit was recorded
    ],
)
def test_spent_and_held_never_exceed_the_limit(spent, held, admitted):
    assert isinstance(decide(money(10_000), spent=spent, held=held), tuple) is admitted


@pytest.mark.parametrize(
    ("spent", "held", "later"),
    [(0, 9_500, True), (9_000, 1, True), (9_001, 0, False), (9_001, 500, False)],
)
def test_a_call_that_does_not_fit_only_because_of_holds_may_fit_later(spent, held, later):
    refusal = decide(money(10_000), spent=spent, held=held)
    assert isinstance(refusal, Refusal)
    assert refusal.may_fit_later is later


def test_a_refusal_says_what_is_left_and_what_was_wanted():
    refusal = decide(money(2_000_000_000), Bound(1, 1, 1_500_000_000, "USD"), spent=1_000_000_000)
    assert refusal.message == ("budget b has 1 USD left of 2 USD and this call may need 1.5 USD")
    refusal = decide(tokens(120))
    assert refusal.message == (
        "budget t has 120 tokens left of 120 tokens and this call may need 150 tokens"
    )
    refusal = decide(calls(3), spent=5)
    assert refusal.message == "budget c has 0 calls left of 3 calls and this call may need 1 calls"


@pytest.mark.parametrize(
    ("budget", "bound"),
    [
        (money(10**12), Bound(100, 50)),  # no price is known
        (money(10**12), Bound(100, 50, 1_000, "CNY")),  # another currency
        (tokens(10**12), Bound(None, 50)),
        (tokens(10**12), Bound(100, None)),
    ],
)
def test_what_nothing_bounds_is_refused_for_good(budget, bound):
    refusal = decide(budget, bound)
    assert isinstance(refusal, Refusal)
    assert not refusal.may_fit_later
    assert "nothing bounds what it can consume" in refusal.message


def test_a_limit_of_calls_needs_no_bound():
    assert decide(calls(1), Bound()) == (Hold("c", NOVEMBER, 1),)


def test_a_free_call_fits_a_budget_that_is_used_up_but_not_one_that_is_overdrawn():
    free = Bound(1, 1, 0, "USD")
    assert decide(money(10), free, spent=10) == (Hold("b", NOVEMBER, 0),)
    assert isinstance(decide(money(10), free, spent=11), Refusal)


def test_all_budgets_hold_or_none_does():
    budgets = [money(10_000, "month"), tokens(1_000), calls(5)]
    assert admit(budgets, CALL, {}, NOW) == (
        Hold("month", NOVEMBER, 1_000),
        Hold("t", NOVEMBER, 150),
        Hold("c", NOVEMBER, 1),
    )
    refusal = admit(budgets, CALL, {"c": Standing(spent=5)}, NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.budget_id == "c"


def test_a_refusal_for_good_goes_before_one_that_may_pass():
    budgets = [money(10_000, "waits"), money(10, "never")]
    refusal = admit(budgets, CALL, {"waits": Standing(held=10_000)}, NOW)
    assert (refusal.budget_id, refusal.may_fit_later) == ("never", False)
    refusal = admit(budgets[:1], CALL, {"waits": Standing(held=10_000)}, NOW)
    assert (refusal.budget_id, refusal.may_fit_later) == ("waits", True)


def test_without_a_budget_every_call_goes_ahead():
    assert admit([], Bound(), {}, NOW) == ()


@pytest.mark.parametrize(
    ("window", "start"),
    [
        (Window(Span.TOTAL), 0),
        (Window(Span.MONTH), NOVEMBER),
        (
            Window(Span.DAY, "Asia/Shanghai"),
            microseconds_of(datetime(2026, 11, 21, 16, tzinfo=UTC)),
        ),
        (Window(Span.HOUR), NOW),
    ],
)
def test_a_hold_stands_in_the_window_of_its_budget(window, start):
    (hold,) = decide(money(10_000, window=window))
    assert hold.window_start_us == start


def test_the_scopes_of_a_call():
    attribution = Attribution("alice", (("feature", "chat"), ("team", "search")), "key-1")
    assert scopes_of(attribution, "gpt-4o") == (
        EVERYTHING,
        Scope(ScopeKind.SUBJECT, "alice"),
        Scope(ScopeKind.KEY, "key-1"),
        Scope(ScopeKind.MODEL, "gpt-4o"),
        Scope(ScopeKind.TAG, "feature=chat"),
        Scope(ScopeKind.TAG, "team=search"),
    )
    assert scopes_of(Attribution(), None) == (EVERYTHING,)
    assert scopes_of(Attribution(""), None) == (EVERYTHING, Scope(ScopeKind.SUBJECT, ""))


def test_what_a_settled_call_takes():
    budgets = [money(1, "usd"), money(1, "cny", "CNY"), tokens(1), calls(1)]
    assert measured(budgets, 150, 900, "USD") == {"usd": 900, "t": 150, "c": 1}
    # an unpriced call takes no money, but it is a call and it is tokens
    assert measured(budgets, 150, None, None) == {"t": 150, "c": 1}


def test_a_fact_above_the_limit_counts_in_full():
    assert measured([money(10)], 5, 1_000_000, "USD") == {"b": 1_000_000}


def test_a_money_budget_counts_what_is_billed_else_the_cost_whichever_is_in_its_currency():
    in_dollars, in_yuan = money(10), replace(money(10), currency="CNY")
    assert measured([in_dollars], 5, 300, "USD", 900, "USD") == {"b": 900}
    assert measured([in_dollars], 5, 300, "USD", 900, "CNY") == {"b": 300}
    assert measured([in_yuan], 5, 300, "USD", 900, "CNY") == {"b": 900}
    assert measured([in_yuan], 5, 300, "USD", 900, "EUR") == {}
    # A price of its own that is not known leaves the cost.
    assert measured([in_dollars], 5, 300, "USD", None, None) == {"b": 300}


def test_a_hold_bounds_what_is_billed_else_the_cost_whichever_is_in_the_budgets_currency():
    in_dollars, in_yuan = money(10), replace(money(10), currency="CNY")
    assert in_dollars.amount_of(Bound(1, 1, 300, "USD", 900, "USD")) == 900
    assert in_dollars.amount_of(Bound(1, 1, 300, "USD", 900, "CNY")) == 300
    assert in_yuan.amount_of(Bound(1, 1, 300, "USD", 900, "CNY")) == 900
    assert in_yuan.amount_of(Bound(1, 1, 300, "USD", 900, "EUR")) is None
    # What is billed in the budget's currency and not bounded is not bounded by the cost.
    assert in_dollars.amount_of(Bound(1, 1, 300, "USD", None, "USD")) is None


@given(
    limit=st.integers(0, 1_000),
    amounts=st.lists(st.integers(0, 300), max_size=30),
    shares=st.lists(st.integers(0, 100), min_size=30, max_size=30),
)
def test_calls_that_stay_within_their_holds_never_overspend(limit, amounts, shares):
    """Admit calls one after another; each settles at a share of its hold, or stays in flight."""
    spent = held = 0
    for amount, share in zip(amounts, shares, strict=False):
        verdict = decide(money(limit), Bound(1, 1, amount, "USD"), spent, held)
        if isinstance(verdict, Refusal):
            assert spent + held + amount > limit
            continue
        held += verdict[0].amount
        assert spent + held <= limit
        if share:
            held -= verdict[0].amount
            spent += verdict[0].amount * share // 100
        assert spent + held <= limit
