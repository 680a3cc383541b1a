"""Prepaid credit in the ledger: granted, burnt, given back, taken off, and always in balance.

A call of these tests may cost 50 000 nanos and costs 16 000.
"""

from dataclasses import replace

import pytest
from sqlalchemy import Engine, select, text

from meter.core.budgets import Refusal
from meter.core.call import Attribution, Bound
from meter.core.event import Correction
from meter.core.rates import Rate
from meter.core.rating import Charge
from meter.errors import ConfigError, ConflictingWrite, InputError
from meter.store.budget_rows import budgets, remove_budget, set_budget
from meter.store.checking import check
from meter.store.credit import Credits
from meter.store.schema import balances, credit_moves, entries
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOON_US,
    SECOND_US,
    TEN_TOKENS_NANOS,
    a_budget,
    a_call,
    an_event,
    an_unknown_end,
    call_id,
)

# Seven CNY a million input tokens, fourteen CNY a million output tokens; and twice the cost.
RESALE = replace(
    CARD, currency="CNY", book="resale", id="",
    rates={"standard": (Rate("input_tokens", 7 * 10**9), Rate("output_tokens", 14 * 10**9))},
)  # fmt: skip
RESALE_USD = replace(
    CARD, book="resale", id="",
    rates={"standard": (Rate("input_tokens", 2 * 10**9), Rate("output_tokens", 4 * 10**9))},
)  # fmt: skip
WHY = {"reason": "paid", "author": "boss"}
BEFORE_US = NOON_US - SECOND_US


@pytest.fixture
def credits(engine: Engine) -> Credits:
    return Credits(engine)


def grant(credits, amount, name="g1", *, subject="alice", currency="USD", expires=None,
          now=BEFORE_US):  # fmt: skip
    return credits.grant(name, subject, amount, currency, expires_us=expires, now_us=now, **WHY)


def reserve(store, number=1, **changes):
    call = a_call(number, **changes)
    return call, store.reserve(call, "openai", CARD).result(10)


def settle(store, call):
    store.settle(an_event(call), CARD).result(10)


def use(store, number=1, **changes):
    call, verdict = reserve(store, number, **changes)
    assert isinstance(verdict, tuple), verdict
    settle(store, call)
    return call


def left(credits, subject="alice"):
    return {each.id: each.left_nanos for each in credits.grants(subject)}


def standing(credits, subject="alice", now=NOON_US + SECOND_US):
    (found,) = credits.accounts(now_us=now, subject=subject)
    return found


def sound(engine):
    return list(check(engine)) == []


def ledger(engine):
    """The entries as (debit, credit, amount), but what calls cost."""
    with engine.connect() as connection:
        rows = connection.execute(select(entries).order_by(entries.c.at_us, entries.c.number))
        return [
            (row.debit, row.credit, row.amount_nanos)
            for row in rows
            if not row.debit.startswith(("spend:", "payable:"))
        ]


def test_a_grant_makes_its_subject_prepaid_and_its_calls_burn_it(engine, store, credits):
    grant(credits, 100_000)
    call, holds = reserve(store)
    assert [(hold.budget_id, hold.amount) for hold in holds] == [("credit:alice:USD", 50_000)]
    found = standing(credits)
    assert (found.balance_nanos, found.held_nanos, found.free_nanos) == (100_000, 50_000, 50_000)
    settle(store, call)
    found = standing(credits)
    assert (found.balance_nanos, found.held_nanos, found.used_nanos) == (84_000, 0, 16_000)
    assert left(credits) == {"g1": 84_000}
    assert ledger(engine) == [
        ("prepaid:received", "credit:alice", 100_000),
        ("credit:alice", "revenue:openai", 16_000),
    ]
    assert sound(engine)


def test_a_subject_without_credit_is_asked_for_none(store, credits):
    grant(credits, 1)
    _, holds = reserve(store, attribution=Attribution("bob"))
    assert holds == ()


def test_credit_of_ten_holds_lets_ten_calls_out(engine, store, credits):
    grant(credits, 500_000)
    verdicts = [reserve(store, number)[1] for number in range(1, 14)]
    assert [isinstance(verdict, tuple) for verdict in verdicts] == [True] * 10 + [False] * 3
    assert verdicts[-1].may_fit_later
    assert verdicts[-1].message == (
        "the prepaid credit of alice has 0 USD left and this call may need 0.00005 USD"
    )
    assert sound(engine)


def test_a_hold_that_is_released_can_be_held_again(engine, store, credits):
    grant(credits, 50_000)
    call, _ = reserve(store)
    store.release(call).result(10)
    assert isinstance(reserve(store, 2)[1], tuple)
    assert sound(engine)


def test_credit_and_budgets_hold_all_or_none(engine, store, credits):
    grant(credits, 1_000_000)
    set_budget(engine, a_budget(70_000), now_us=BEFORE_US)
    call, holds = reserve(store)
    assert [hold.budget_id for hold in holds] == ["all", "credit:alice:USD"]
    assert isinstance(reserve(store, 2)[1], Refusal)
    assert standing(credits).held_nanos == 50_000
    settle(store, call)
    assert sound(engine)


def test_grants_burn_soonest_expiring_first(engine, store, credits):
    grant(credits, 100_000, "never")
    grant(credits, 10_000, "late", expires=NOON_US + 2 * SECOND_US)
    grant(credits, 60_000, "soon", expires=NOON_US + SECOND_US)
    for number in range(1, 5):
        use(store, number)  # 4 × 16 000 = 64 000 = 60 000 + 4 000
    assert left(credits) == {"never": 100_000, "late": 6_000, "soon": 0}
    assert sound(engine)


def test_a_fact_above_the_hold_is_recorded_and_the_balance_goes_below_zero(engine, store, credits):
    grant(credits, 50_000)
    call, _ = reserve(store)
    dear = Charge((), 70_000, "USD", None)
    store.settle(replace(an_event(call), usage=None, charge=dear)).result(10)
    found = standing(credits)
    assert (found.balance_nanos, found.free_nanos, found.used_nanos) == (-20_000, -20_000, 70_000)
    _, verdict = reserve(store, 2, bound=Bound(1, 1, 0, "USD"))
    assert verdict.message == (
        "the prepaid credit of alice in USD is used up, 0.00002 USD more than there was"
    )
    grant(credits, 30_000, "g2")
    assert left(credits) == {"g1": 0, "g2": 10_000}
    assert standing(credits).balance_nanos == 10_000


def test_an_expired_grant_is_gone_at_once_though_nobody_swept(engine, store, credits):
    grant(credits, 100_000, expires=NOON_US)
    _, verdict = reserve(store, 1, started_us=NOON_US)
    assert verdict.message == "the prepaid credit of alice in USD is used up"
    _, verdict = reserve(store, 2, started_us=NOON_US - 1)
    assert isinstance(verdict, tuple)


def test_what_is_left_of_an_expired_grant_leaves_the_balance_by_one_entry(engine, store, credits):
    grant(credits, 100_000, expires=NOON_US + SECOND_US)
    use(store)
    assert credits.lapse(NOON_US) == 0
    assert credits.lapse(NOON_US + SECOND_US) == 1
    assert credits.lapse(NOON_US + SECOND_US) == 0
    assert ledger(engine)[-1] == ("credit:alice", "expired:alice", 84_000)
    assert standing(credits).balance_nanos == 0
    (found,) = credits.grants()
    assert found.state_at(NOON_US + SECOND_US) == "expired"
    assert sound(engine)


def test_two_grants_that_expire_at_once_leave_one_entry_each(engine, credits):
    for name in ("g1", "g2"):
        grant(credits, 5_000, name, expires=NOON_US)
    assert credits.lapse(NOON_US) == 2
    assert ledger(engine)[2:] == [("credit:alice", "expired:alice", 5_000)] * 2
    assert sound(engine)


def test_a_call_in_flight_is_paid_by_the_grant_that_expires_meanwhile(engine, store, credits):
    grant(credits, 50_000, "soon", expires=NOON_US + 5)
    grant(credits, 50_000, "never")
    call, _ = reserve(store, 1)
    # What expired still pays for the call from before, so all of the other is free.
    later, verdict = reserve(store, 2, started_us=NOON_US + 10)
    assert isinstance(verdict, tuple)
    assert credits.lapse(NOON_US + 10) == 0
    assert isinstance(reserve(store, 3, started_us=NOON_US + 10)[1], Refusal)
    settle(store, call)
    settle(store, later)
    assert left(credits) == {"soon": 34_000, "never": 34_000}
    assert standing(credits).balance_nanos == 34_000
    assert credits.lapse(NOON_US + 10) == 1
    assert left(credits) == {"soon": 0, "never": 34_000}
    assert sound(engine)


def test_calls_of_one_batch_see_what_the_others_hold_across_an_expiry(engine, store, credits):
    grant(credits, 50_000, "soon", expires=NOON_US + 5)
    grant(credits, 50_000, "never")
    calls = [a_call(1), *(a_call(n, started_us=NOON_US + 10) for n in (2, 3))]
    asked = [store.reserve(call, "openai", CARD) for call in calls]
    verdicts = [future.result(10) for future in asked]
    assert [isinstance(verdict, tuple) for verdict in verdicts] == [True, True, False]


def test_a_revoked_grant_is_gone_but_for_the_calls_in_flight(engine, store, credits):
    grant(credits, 200_000)
    call, _ = reserve(store)
    found = credits.revoke("g1", reason="mistake", author="boss", now_us=NOON_US + 10)
    assert found.state_at(NOON_US + 10) == "revoked"
    assert isinstance(reserve(store, 2, started_us=NOON_US + 10)[1], Refusal)
    settle(store, call)
    assert credits.lapse(NOON_US + 20) == 1
    assert ledger(engine)[-1] == ("credit:alice", "revoked:alice", 184_000)
    assert standing(credits).balance_nanos == 0
    again = credits.revoke("g1", reason="again", author="boss", now_us=NOON_US + 30)
    assert again.revoked_us == NOON_US + 10
    assert sound(engine)


def test_what_calls_in_flight_hold_stays_also_where_their_clock_is_ahead(engine, store, credits):
    grant(credits, 200_000)
    call, _ = reserve(store, started_us=NOON_US + SECOND_US)
    found = credits.revoke("g1", reason="mistake", author="boss", now_us=NOON_US)
    assert (found.revoked_us, found.left_nanos) == (NOON_US, 200_000)
    assert credits.lapse(NOON_US + 2 * SECOND_US) == 0
    settle(store, call)
    assert credits.lapse(NOON_US + 2 * SECOND_US) == 1
    assert ledger(engine)[-1] == ("credit:alice", "revoked:alice", 184_000)
    assert standing(credits).balance_nanos == 0
    assert sound(engine)


def test_a_grant_without_calls_in_flight_is_revoked_at_once(engine, credits):
    grant(credits, 200_000)
    assert credits.revoke("g1", reason="mistake", author="boss", now_us=NOON_US).left_nanos == 0
    assert sound(engine)


def test_a_refund_gives_back_at_most_what_was_used(engine, store, credits):
    grant(credits, 100_000)
    use(store)
    with pytest.raises(InputError, match=r"expected at most 0.000016 USD"):
        credits.refund("r1", "alice", 16_001, "USD", now_us=NOON_US, **WHY)
    credits.refund("r1", "alice", 10_000, "USD", now_us=NOON_US + 5, **WHY)
    with pytest.raises(InputError, match=r"expected at most 0.000006 USD"):
        credits.refund("r2", "alice", 6_001, "USD", now_us=NOON_US, **WHY)
    assert standing(credits).balance_nanos == 94_000
    assert ledger(engine)[-1] == ("refunded:alice", "credit:alice", 10_000)
    assert sound(engine)


def test_an_adjustment_adds_or_takes_even_more_than_there_is(engine, credits):
    grant(credits, 10_000)
    credits.adjust("a1", "alice", 5_000, "USD", now_us=NOON_US, **WHY)
    assert standing(credits).balance_nanos == 15_000
    credits.adjust("a2", "alice", -18_000, "USD", now_us=NOON_US, **WHY)
    assert standing(credits).balance_nanos == -3_000
    assert left(credits) == {"g1": 0}
    assert sound(engine)


def test_the_same_operation_again_is_a_no_op_and_another_under_its_id_an_error(engine, credits):
    grant(credits, 10_000, expires=NOON_US + 1)
    assert grant(credits, 10_000, expires=NOON_US + 1, now=NOON_US + 5).left_nanos == 10_000
    for changed in (
        {"amount": 10_001},
        {"amount": 10_000, "subject": "bob"},
        {"amount": 10_000, "currency": "CNY"},
        {"amount": 10_000, "expires": NOON_US + 2},
        {"amount": 10_000, "expires": None},
    ):
        with pytest.raises(ConflictingWrite):
            grant(credits, **{"expires": NOON_US + 1, **changed})
    credits.adjust("a1", "alice", -5, "USD", now_us=NOON_US, **WHY)
    credits.adjust("a1", "alice", -5, "USD", now_us=NOON_US + 1, **WHY)
    with pytest.raises(ConflictingWrite):
        credits.adjust("a1", "alice", -6, "USD", now_us=NOON_US, **WHY)
    with pytest.raises(ConflictingWrite):
        credits.adjust("g1", "alice", 5, "USD", now_us=NOON_US, **WHY)
    assert standing(credits, now=NOON_US).balance_nanos == 9_995
    assert sound(engine)


def test_an_account_that_was_never_granted_anything_is_named(credits):
    with pytest.raises(InputError, match="no prepaid credit of 'alice' in USD"):
        credits.adjust("a1", "alice", 5, "USD", now_us=NOON_US, **WHY)
    with pytest.raises(InputError, match="no credit grant 'g9'"):
        credits.revoke("g9", reason="x", author="y", now_us=NOON_US)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 0},
        {"amount": -5},
        {"amount": 2**53 + 1},
        {"amount": 5, "currency": "usd"},
        {"amount": 5, "name": "credit:x"},
        {"amount": 5, "name": "Credit:x"},
        {"amount": 5, "name": ""},
        {"amount": 5, "name": "a\nb"},
        {"amount": 5, "subject": ""},
        {"amount": 5, "expires": BEFORE_US},
    ],
)
def test_a_grant_that_cannot_be_is_refused_and_leaves_nothing(engine, credits, changes):
    with pytest.raises(InputError):
        grant(credits, **changes)
    assert credits.accounts(now_us=NOON_US) == []


def test_a_call_that_started_before_the_first_grant_is_not_burnt(engine, store, credits):
    call, holds = reserve(store)
    assert holds == ()
    grant(credits, 100_000, now=NOON_US + SECOND_US)
    settle(store, call)
    assert standing(credits).balance_nanos == 100_000
    assert sound(engine)


def test_a_call_that_bears_a_later_time_than_the_first_grant_is_not_burnt(engine, store, credits):
    use(store, 1, started_us=NOON_US + 10 * SECOND_US)
    grant(credits, 100_000, now=NOON_US)
    assert standing(credits).since_us == NOON_US + 10 * SECOND_US + 1
    assert sound(engine)
    use(store, 2, started_us=NOON_US + 20 * SECOND_US, attribution=Attribution("bob"))
    with pytest.raises(InputError, match="starts 1020 s from now"):
        grant(credits, 5, "b", subject="bob", now=NOON_US - 1000 * SECOND_US)


def test_another_currency_neither_pays_nor_is_touched(engine, store, credits):
    grant(credits, 100_000, "cny", currency="CNY")
    _, verdict = reserve(store)
    assert verdict.message.endswith("cannot cover this call because it is billed in USD")
    grant(credits, 100_000, "usd")
    use(store, 2)
    assert left(credits) == {"cny": 100_000, "usd": 84_000}
    assert sound(engine)


def test_what_is_resold_burns_the_price_of_the_subject_and_pays_its_debt(engine, store, credits):
    grant(credits, 400_000, currency="CNY")
    # Bound 50 000 nanos of USD as cost, 350 000 of CNY as billed; used 16 000 and 112 000.
    bound = Bound(10, 20, 50_000, "USD", 350_000, "CNY")
    call, holds = reserve(store, bound=bound)
    assert [(hold.budget_id, hold.amount) for hold in holds] == [("credit:alice:CNY", 350_000)]
    billed = Charge((), 112_000, "CNY", RESALE.id)
    store.settle(replace(an_event(call), billed=billed), CARD, (RESALE,)).result(10)
    assert left(credits) == {"g1": 288_000}
    assert ledger(engine)[1:] == [
        ("receivable:alice", "revenue:openai", 112_000),
        ("credit:alice", "receivable:alice", 112_000),
    ]
    assert sound(engine)


def test_what_ought_to_be_resold_and_has_no_price_is_refused(store, credits):
    grant(credits, 400_000)
    _, verdict = reserve(store, bound=Bound(10, 20, 50_000, "USD", None, ""))
    assert verdict.message == (
        "the prepaid credit of alice in USD cannot cover this call because no price says what it "
        "costs"
    )


def test_credit_in_the_currency_of_the_cost_does_not_pay_what_is_billed_in_another(store, credits):
    grant(credits, 400_000)
    _, verdict = reserve(store, bound=Bound(10, 20, 50_000, "USD", 350_000, "CNY"))
    assert verdict.message.endswith("because it is billed in CNY")


def test_a_correction_from_the_cost_to_a_resale_price_pays_the_debt(engine, store, credits):
    grant(credits, 400_000)
    call = use(store)
    made = an_event(call)
    store.correct(
        Correction(
            call_id(100), call.id, 1, NOON_US + SECOND_US, made.usage, made.basis, made.charge,
            "a resale price was missing", "boss", billed=Charge((), 32_000, "USD", RESALE_USD.id),
        ),
        None, (RESALE_USD,),
    ).result(10)  # fmt: skip
    assert left(credits) == {"g1": 368_000}
    assert ledger(engine)[2:] == [
        ("receivable:alice", "revenue:openai", 32_000),
        ("credit:alice", "receivable:alice", 32_000),
        ("revenue:openai", "credit:alice", 16_000),
    ]
    assert sound(engine)


def test_a_late_end_burns_credit_when_it_comes(engine, store, credits):
    grant(credits, 100_000)
    call, _ = reserve(store)
    store.settle(an_unknown_end(call)).result(10)
    assert standing(credits).balance_nanos == 100_000
    correct(store, call, 1, TEN_TOKENS_NANOS)
    assert standing(credits).balance_nanos == 84_000
    assert sound(engine)


def test_a_correction_moves_the_difference_by_entries(engine, store, credits):
    grant(credits, 100_000)
    call = use(store)
    correct(store, call, 1, 20_000)
    assert left(credits) == {"g1": 80_000}
    correct(store, call, 2, 5_000)
    # What a correction gives back comes without expiry, beside the grants.
    assert left(credits) == {"g1": 80_000}
    assert standing(credits).balance_nanos == 95_000
    assert ledger(engine)[-2:] == [
        ("credit:alice", "revenue:openai", 4_000),
        ("revenue:openai", "credit:alice", 15_000),
    ]


def correct(store, call, number, amount):
    charge = Charge((), amount, "USD", None)
    if amount == TEN_TOKENS_NANOS:
        made = an_event(call)
        charge, usage = made.charge, made.usage
    else:
        usage = None
    store.correct(
        Correction(
            call_id(100 + number), call.id, number, NOON_US + number * SECOND_US, usage,
            an_event(call).basis, charge, "the bill says so", "boss",
        )
    ).result(10)  # fmt: skip


def test_credit_is_no_budget_to_set_remove_or_list(engine, credits):
    grant(credits, 100_000)
    assert budgets(engine, now_us=NOON_US) == []
    with pytest.raises(ConfigError):
        remove_budget(engine, "credit:alice:USD")
    with pytest.raises(ConfigError):
        set_budget(engine, a_budget(5, id="credit:alice:USD"), now_us=NOON_US)


def test_credit_as_a_budget_has_what_is_left_for_a_limit(store, credits):
    grant(credits, 100_000)
    reserve(store)
    row = credits.standing("credit:alice:USD", now_us=NOON_US)
    assert (row.budget.limit, row.left, row.overrun) == (100_000, 50_000, 0)
    assert credits.standing("credit:bob:USD", now_us=NOON_US) is None


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        ("UPDATE credit_grants SET left_nanos = left_nanos + 1 WHERE id = 'g1'",
         "what is left of a grant is the sum of its moves"),
        ("UPDATE balances SET credits = credits + 1 WHERE account = 'credit:alice'",
         "what is left of the grants sums to the balance"),
        ("DELETE FROM credit_moves WHERE kind = 'usage'",
         "the credit that a call moved is what it used"),
        ("UPDATE entries SET amount_nanos = 1 WHERE debit = 'prepaid:received'",
         "the entries of a call are its cost"),
        ("UPDATE budget_windows SET spent = 1", "spent is what the calls took"),
    ],
)  # fmt: skip
def test_check_finds_what_does_not_add_up(engine, store, credits, damage, invariant):
    grant(credits, 100_000)
    use(store)
    assert sound(engine)
    with engine.begin() as connection:
        connection.execute(text(damage))
    assert invariant in {finding.invariant for finding in check(engine)}


def test_balances_and_moves_agree_after_everything_that_can_happen(engine, store, credits):
    grant(credits, 40_000, "soon", expires=NOON_US + 50)
    grant(credits, 200_000, "never")
    for number in range(1, 4):
        use(store, number)  # 48 000: 40 000 of the one and 8 000 of the other
    credits.refund("r", "alice", 3_000, "USD", now_us=NOON_US + 60, **WHY)
    credits.adjust("a", "alice", -1_000, "USD", now_us=NOON_US + 61, **WHY)
    assert credits.lapse(NOON_US + 70) == 1
    credits.revoke("never", now_us=NOON_US + 80, **WHY)
    # 200 000 - 8 000 - 1 000 = 191 000 are revoked, the refund stays.
    assert standing(credits).balance_nanos == 3_000
    with engine.connect() as connection:
        moved = sum(connection.execute(select(credit_moves.c.amount_nanos)).scalars())
        row = connection.execute(select(balances).where(balances.c.account == "credit:alice")).one()
    assert (moved, row.credits - row.debits) == (3_000, 3_000)
    assert sound(engine)


def lines(statement):
    return [
        (line.movement.kind.value, line.movement.groups or line.movement.name,
         line.movement.amount_nanos, line.balance_nanos)
        for line in statement.lines
    ]  # fmt: skip


def statement(credits, since=None, until=NOON_US + HOUR_US, by=("model",), **more):
    return credits.statement("alice", since_us=since, until_us=until, tz="UTC", by=by, **more)


def test_a_statement_sets_out_what_moved_and_adds_up(engine, store, credits):
    grant(credits, 40_000, "g1", expires=NOON_US + 50)
    grant(credits, 100_000, "g2", now=BEFORE_US + 1)
    for number in range(1, 4):
        use(store, number)  # 3 × 16 000
    credits.lapse(NOON_US + 60)
    found = statement(credits)
    assert found.opening_nanos == 0
    assert lines(found) == [
        ("grant", "g1", 40_000, 40_000),
        ("grant", "g2", 100_000, 140_000),
        ("usage", ("small",), -48_000, 92_000),
    ]
    assert found.closing_nanos == standing(credits).balance_nanos == 92_000
    assert found.lines[2].movement.calls == 3


def test_a_statement_of_a_part_opens_with_the_balance_of_then(engine, store, credits):
    grant(credits, 100_000, "g1", expires=NOON_US + 50)
    use(store, 1)
    use(store, 2)
    credits.lapse(NOON_US + 60)
    found = statement(credits, since=NOON_US + 2)
    assert found.opening_nanos == 84_000
    assert lines(found) == [
        ("usage", ("small",), -16_000, 68_000),
        ("expiry", "g1", -68_000, 0),
    ]
    early = statement(credits, since=NOON_US + 1, until=NOON_US + 2)
    assert (early.opening_nanos, early.closing_nanos) == (100_000, 84_000)
    assert lines(statement(credits, since=NOON_US + 70)) == []


def test_an_overrun_paid_by_a_new_grant_is_no_line_of_its_own(engine, store, credits):
    grant(credits, 50_000)
    call, _ = reserve(store)
    dear = Charge((), 70_000, "USD", None)
    store.settle(replace(an_event(call), usage=None, charge=dear)).result(10)
    grant(credits, 30_000, "g2", now=NOON_US + 5)
    assert lines(statement(credits)) == [
        ("grant", "g1", 50_000, 50_000),
        ("usage", ("small",), -70_000, -20_000),
        ("grant", "g2", 30_000, 10_000),
    ]


def test_a_call_and_its_corrections_are_one_call_of_a_statement(engine, store, credits):
    grant(credits, 100_000)
    call = use(store)
    correct(store, call, 1, 20_000)
    (_, used) = statement(credits).lines
    assert (used.movement.amount_nanos, used.movement.calls) == (-20_000, 1)


def test_usage_is_summed_by_days_of_the_zone(engine, store, credits):
    grant(credits, 100_000)
    use(store, 1)  # 20:00 in Shanghai
    use(store, 2, started_us=NOON_US + 5 * HOUR_US)  # 01:00 the next day
    found = credits.statement(
        "alice", since_us=None, until_us=NOON_US + 9 * HOUR_US, tz="Asia/Shanghai",
        by=("day", "model"),
    )  # fmt: skip
    assert lines(found)[1:] == [
        ("usage", ("2026-11-22", "small"), -16_000, 84_000),
        ("usage", ("2026-11-23", "small"), -16_000, 68_000),
    ]


def test_a_statement_wants_to_know_the_currency_where_there_are_several(credits):
    grant(credits, 100_000)
    grant(credits, 5, "cny", currency="CNY")
    with pytest.raises(InputError, match="found credit of 'alice' in CNY, USD"):
        statement(credits)
    assert statement(credits, currency="CNY").closing_nanos == 5
