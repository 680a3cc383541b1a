"""Prepaid credit: what is free for a call, which grants burn, and when nothing goes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.budgets import Budget, Hold, Measure, Refusal, Scope, ScopeKind, Standing, admit
from meter.core.call import Bound
from meter.core.credit import Remainder, account_id, balance, burnt, free, straddled
from meter.core.windows import Span, Window

LOOSE = account_id("alice", "USD")
NOON = 1_000
"""The clock of these tests counts microseconds from nothing."""


def grant(name, left, ends=None, granted=0):
    return Remainder(name, left, ends, granted)


def account(limit, currency="USD"):
    name = account_id("alice", currency)
    scope = Scope(ScopeKind.SUBJECT, "alice")
    return Budget(name, scope, Measure.CREDIT, limit, currency, Window(Span.TOTAL))


def test_what_ends_soonest_burns_first_and_what_never_ends_last():
    grants = [grant("never", 10), grant("late", 10, 3_000), grant("soon", 10, 2_000)]
    assert burnt(grants, 25, NOON) == (("soon", 10), ("late", 10), ("never", 5))


def test_grants_that_end_together_burn_in_the_order_they_were_granted():
    grants = [grant("b", 10, 2_000, granted=5), grant("a", 10, 2_000, granted=9),
              grant("c", 10, 2_000, granted=5)]  # fmt: skip
    assert burnt(grants, 25, NOON) == (("b", 10), ("c", 10), ("a", 5))


def test_what_no_grant_can_pay_is_overrun():
    assert burnt([grant("a", 10), grant(LOOSE, 0)], 25, NOON) == (("a", 10), (LOOSE, 15))
    assert burnt([grant(LOOSE, -3)], 4, NOON) == ((LOOSE, 4),)
    assert burnt([grant("a", 10), grant(LOOSE, 0)], 0, NOON) == ()


def test_what_corrections_gave_back_burns_after_the_grants():
    assert burnt([grant(LOOSE, 8), grant("a", 10)], 12, NOON) == (("a", 10), (LOOSE, 2))


def test_a_grant_ends_at_its_very_moment():
    grants = [grant("a", 10, NOON), grant(LOOSE, 0)]
    assert balance(grants, NOON - 1) == 10
    assert balance(grants, NOON) == 0
    assert burnt(grants, 4, NOON - 1) == (("a", 4),)
    assert burnt(grants, 4, NOON) == ((LOOSE, 4),)


def test_without_an_ended_grant_all_that_is_not_held_is_free():
    assert free([grant("a", 10), grant("b", 5, 2_000), grant(LOOSE, -1)], NOON, 4) == 10


def test_what_calls_from_before_an_end_hold_is_paid_by_what_ended():
    # 10 ended at 900; a call from before holds 8 of it, so all 5 of the other are free.
    grants = [grant("ended", 10, 900), grant("other", 5)]
    assert straddled(grants, NOON) == (900,)
    assert free(grants, NOON, 8, [(800, 8)]) == 5
    # One that holds 12 may need 2 of the other, and one that came since holds 2 more.
    assert free(grants, NOON, 12, [(800, 12)]) == 3
    assert free(grants, NOON, 14, [(800, 12), (950, 2)]) == 1
    # What started at the very end of the grant cannot burn it.
    assert free(grants, NOON, 3, [(900, 3)]) == 2


def test_a_call_that_started_before_an_end_may_still_use_what_ended_since():
    grants = [grant("ended", 10, 900), grant("other", 5)]
    assert free(grants, 800, 0) == 15


def test_nothing_goes_out_while_nothing_is_left():
    refusal = admit([account(0)], Bound(1, 1, 0, "USD"), {}, NOON)
    assert isinstance(refusal, Refusal)
    assert refusal.message == "the prepaid credit of alice in USD is used up"
    assert not refusal.may_fit_later
    refusal = admit([account(-5_000_000)], Bound(1, 1, 0, "USD"), {}, NOON)
    assert refusal.message == (
        "the prepaid credit of alice in USD is used up, 0.005 USD more than there was"
    )


def test_a_refusal_says_in_one_sentence_what_is_left_and_what_is_needed():
    standing = {LOOSE: Standing(0, 1_500_000_000)}
    refusal = admit([account(2_000_000_000)], Bound(1, 1, 750_000_000, "USD"), standing, NOON)
    assert refusal.budget_id == "credit:alice:USD"
    assert refusal.message == (
        "the prepaid credit of alice has 0.5 USD left and this call may need 0.75 USD"
    )
    assert refusal.may_fit_later


def test_a_call_needs_the_credit_of_its_own_currency_only():
    accounts = [account(10, "CNY"), account(20)]
    held = admit(accounts, Bound(1, 1, 15, "USD"), {}, NOON)
    assert held == (Hold("credit:alice:USD", 0, 15),)


def test_what_is_billed_in_a_currency_without_credit_is_refused():
    refusal = admit([account(10**9, "CNY")], Bound(1, 1, 15, "USD"), {}, NOON)
    assert refusal.message == (
        "the prepaid credit of alice in CNY cannot cover this call because it is billed in USD"
    )
    refusal = admit([account(10**9)], Bound(1, None), {}, NOON)
    assert refusal.message == (
        "the prepaid credit of alice in USD cannot cover this call because nothing bounds what it "
        "can cost"
    )


def test_a_call_without_a_bound_is_refused_by_the_credit_it_would_be_billed_in():
    accounts = [account(10, "CNY"), account(20)]
    refusal = admit(accounts, Bound(1, None, None, "EUR", None, "USD"), {}, NOON)
    assert refusal.budget_id == "credit:alice:USD"


moments = st.integers(0, 20)
lots = st.lists(st.tuples(st.integers(1, 50), st.none() | moments), max_size=5)


@given(lots, st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(0, 9)),
                      max_size=12))  # fmt: skip
def test_calls_that_were_let_in_are_always_paid_whatever_ends_meanwhile(lots, steps):
    """Time passes; calls hold what is free and settle in any order: nothing is ever overrun."""
    accounts = [grant(f"g{i}", left, ends) for i, (left, ends) in enumerate(lots)]
    accounts.append(grant(LOOSE, 0))
    now, flying = 0, []
    for passed, amount, pick in steps:
        now += passed
        held = sum(amount for _, amount in flying)
        if amount <= free(accounts, now, held, flying):
            flying.append((now, amount))
        if flying and pick < 6:
            start, amount = flying.pop(pick % len(flying))
            accounts = settled(accounts, burnt(accounts, amount, start))
    for start, amount in flying:
        accounts = settled(accounts, burnt(accounts, amount, start))
    assert [each for each in accounts if each.left_nanos < 0] == []


def settled(accounts, taken):
    parts = dict(taken)
    return [
        Remainder(e.grant_id, e.left_nanos - parts.get(e.grant_id, 0), e.ends_us, e.granted_us)
        for e in accounts
    ]


@pytest.mark.parametrize("amount", [0, 1, 10, 11, 1_000])
def test_what_burns_is_the_whole_amount(amount):
    taken = burnt([grant("a", 10), grant("b", 5, 2_000), grant(LOOSE, 0)], amount, NOON)
    assert sum(part for _, part in taken) == amount
