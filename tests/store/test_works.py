"""What work may cost that goes on after its receipt stays held until its end is seen."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from meter.core.budgets import Measure, Refusal
from meter.core.call import Basis
from meter.core.usage import Usage
from meter.store import works
from meter.store.checking import check
from meter.store.engine import read_connection
from meter.store.ledger_store import LedgerStore
from meter.store.reads import calls, set_budget, standing
from meter.store.schema import open_calls
from tests.store.examples import (
    CARD,
    HOUR_US,
    SECOND_US,
    TEN_TOKENS_NANOS,
    a_budget,
    a_call,
    an_event,
)

NAMES = ("openai/batch_1",)
HELD = 50_000
NOW_US = a_call().started_us


def a_receipt(number=1):
    event = an_event(a_call(number), billing_ids=NAMES)
    charge = replace(event.charge, lines=(), amount_nanos=None)
    return replace(event, usage=None, basis=Basis.UNKNOWN, charge=charge)


def begun(store, number=1):
    verdict = store.reserve(a_call(number), "openai", CARD).result(10)
    assert not isinstance(verdict, Refusal)
    store.settle(a_receipt(number), CARD).result(10)


def stands(engine, limit=10**9):
    found = standing(engine, a_budget(limit).id, now_us=NOW_US).standing
    return found.spent, found.held


def open_rows(engine):
    with read_connection(engine) as connection:
        return connection.execute(select(func.count()).select_from(open_calls)).scalar()


@pytest.mark.parametrize("is_new_process", [False, True])
def test_a_hold_outlives_the_receipt_and_ends_with_the_bill(engine, is_new_process):
    set_budget(engine, a_budget(10**9), now_us=NOW_US)
    store = LedgerStore(engine)
    begun(store)
    assert stands(engine) == (0, HELD)
    assert list(check(engine)) == []
    if is_new_process:
        store.close()
        store = LedgerStore(engine)
    store.settle(an_event(a_call(2), billing_ids=NAMES), CARD).result(10)
    assert stands(engine) == (TEN_TOKENS_NANOS, 0)
    assert open_rows(engine) == 0
    assert list(check(engine)) == []
    store.close()


def test_work_under_way_leaves_no_money_for_others(engine):
    set_budget(engine, a_budget(HELD + HELD - 1), now_us=NOW_US)
    store = LedgerStore(engine)
    begun(store)
    assert isinstance(store.reserve(a_call(2), "openai", CARD, waits=False).result(10), Refusal), (
        "the work may yet cost what is left"
    )
    store.settle(an_event(a_call(3), billing_ids=NAMES), CARD).result(10)
    assert store.reserve(a_call(4), "openai", CARD).result(10)
    store.close()


def test_work_that_came_to_nothing_holds_nothing(engine):
    set_budget(engine, a_budget(10**9), now_us=NOW_US)
    store = LedgerStore(engine)
    begun(store)
    store.settle(an_event(a_call(2), usage=Usage(), billing_ids=NAMES), CARD).result(10)
    assert stands(engine) == (0, 0)
    (receipt, look) = calls(engine, newest_first=False)
    assert (receipt.basis, receipt.usage, look.cost_nanos) == ("reported", Usage(), 0)
    assert list(check(engine)) == []
    store.close()


def test_a_receipt_without_holds_leaves_nothing_open(engine):
    store = LedgerStore(engine)
    begun(store)
    assert open_rows(engine) == 0
    store.close()


def test_the_receipt_and_the_bill_in_one_batch_of_writes(engine):
    set_budget(engine, a_budget(10**9), now_us=NOW_US)
    store = LedgerStore(engine)
    futures = [
        store.reserve(a_call(1), "openai", CARD),
        store.settle(a_receipt(1), CARD),
        store.settle(an_event(a_call(2), billing_ids=NAMES), CARD),
        store.settle(an_event(a_call(2), billing_ids=NAMES), CARD),
    ]
    for future in futures:
        future.result(10)
    assert stands(engine) == (TEN_TOKENS_NANOS, 0)
    assert open_rows(engine) == 0
    assert list(check(engine)) == []
    store.close()


def test_a_budget_in_calls_counts_the_receipt_and_not_its_work(engine):
    by_calls = a_budget(2, id="calls", measure=Measure.CALLS, currency=None)
    set_budget(engine, by_calls, now_us=NOW_US)
    store = LedgerStore(engine)
    begun(store)
    found = standing(engine, "calls", now_us=NOW_US).standing
    assert (found.spent, found.held) == (1, 0)
    store.close()


def test_no_process_ends_with_it_and_the_sweep_lets_it_go_after_two_days(engine):
    set_budget(engine, a_budget(10**9), now_us=NOW_US)
    store = LedgerStore(engine)
    begun(store)
    ended_us = a_call().started_us + SECOND_US
    assert store.sweep(ended_us + 47 * HOUR_US) == 0
    assert stands(engine) == (0, HELD)
    assert store.sweep(ended_us + 49 * HOUR_US) == 1
    assert stands(engine) == (0, 0)
    # The receipt is listed as unsettled, once; a late look bills the work all the same.
    (receipt,) = calls(engine, newest_first=False)
    assert receipt.basis == "unknown"
    assert open_rows(engine) == 0
    store.settle(an_event(a_call(2), billing_ids=NAMES), CARD).result(10)
    assert stands(engine) == (TEN_TOKENS_NANOS, 0)
    assert list(check(engine)) == []
    store.close()


def test_the_work_of_a_receipt_has_an_id_of_its_own():
    assert works.work_of(a_call(1).id) == works.work_of(a_call(1).id)
    assert len({works.work_of(a_call(number).id) for number in range(9)}) == 9
