"""Work that can be looked at again is billed once, however often it is."""

from dataclasses import replace
from uuid import UUID

from sqlalchemy import select

from meter.core.call import Basis
from meter.core.event import Correction
from meter.core.usage import Usage
from meter.store.checking import check
from meter.store.engine import read_connection
from meter.store.ledger_store import LedgerStore
from meter.store.reads import calls
from meter.store.schema import corrections
from tests.store.examples import CARD, TEN_TOKENS_NANOS, a_budget, a_call, an_event

NAMES = ("openai/batch_1", "openai/file_out")


def settled(store, number, names=NAMES, **changes):
    event = an_event(a_call(number), billing_ids=names, **changes)
    store.settle(event, CARD).result(10)
    return event


def reasons(engine):
    with read_connection(engine) as connection:
        return list(connection.execute(select(corrections.c.reason)).scalars())


def costs(engine):
    return [call.cost_nanos for call in calls(engine, newest_first=False)]


def test_a_second_look_at_the_same_work_owes_nothing_and_says_why(engine):
    store = LedgerStore(engine)
    first = settled(store, 1)
    settled(store, 2)
    settled(store, 3, names=("openai/file_out",))
    assert costs(engine) == [TEN_TOKENS_NANOS, 0, 0]
    *_, last = calls(engine, newest_first=False)
    assert last.usage == Usage()
    assert last.defects == (f"this work is billed with call {first.call.id}",)
    assert list(check(engine)) == []
    store.close()


def test_looks_in_one_batch_of_writes_see_each_other(engine):
    store = LedgerStore(engine)
    events = [an_event(a_call(n), billing_ids=NAMES) for n in range(1, 9)]
    for future in [store.settle(event, CARD) for event in events]:
        future.result(10)
    assert sorted(costs(engine)) == [0] * 7 + [TEN_TOKENS_NANOS]
    store.close()


def test_two_ledgers_on_one_database_bill_it_once(engine):
    stores = [LedgerStore(engine), LedgerStore(engine)]
    futures = [
        stores[n % 2].settle(an_event(a_call(n), billing_ids=NAMES), CARD) for n in range(1, 41)
    ]
    for future in futures:
        future.result(30)
    assert sum(costs(engine)) == TEN_TOKENS_NANOS
    assert list(check(engine)) == []
    for store in stores:
        store.close()


def test_a_repeated_write_of_the_billing_call_is_no_second_look(engine):
    store = LedgerStore(engine)
    settled(store, 1)
    settled(store, 1)
    assert costs(engine) == [TEN_TOKENS_NANOS]
    store.close()


def test_a_repeated_write_of_a_second_look_is_the_same_look(engine):
    store = LedgerStore(engine)
    settled(store, 1)
    settled(store, 2)
    settled(store, 2)
    assert costs(engine) == [TEN_TOKENS_NANOS, 0]
    store.close()


def a_receipt(number, names=NAMES):
    event = an_event(a_call(number), billing_ids=names)
    charge = replace(event.charge, lines=(), amount_nanos=None)
    return replace(event, usage=None, basis=Basis.UNKNOWN, charge=charge)


def test_a_receipt_is_settled_by_the_look_that_bills_its_work(engine):
    store = LedgerStore(engine)
    store.settle(a_receipt(1), CARD).result(10)
    (row,) = calls(engine, newest_first=False)
    assert (row.basis, row.usage) == ("unknown", None)
    look = settled(store, 2)
    receipt, _ = calls(engine, newest_first=False)
    assert (receipt.basis, receipt.usage, receipt.cost_nanos) == ("reported", Usage(), 0)
    assert costs(engine) == [0, TEN_TOKENS_NANOS]
    assert reasons(engine) == [f"the work that it began is billed with call {look.call.id}"]
    assert list(check(engine)) == []
    store.close()


def test_later_looks_change_neither_the_receipt_nor_the_bill(engine):
    store = LedgerStore(engine)
    store.settle(a_receipt(1), CARD).result(10)
    for number in (2, 3, 3):
        settled(store, number)
    assert costs(engine) == [0, TEN_TOKENS_NANOS, 0]
    assert len(reasons(engine)) == 1
    store.close()


def test_a_receipt_that_was_settled_by_hand_stays_as_it_is(engine):
    store = LedgerStore(engine)
    receipt = a_receipt(1)
    store.settle(receipt, CARD).result(10)
    by_hand = Correction(
        id=UUID(int=77), call_id=receipt.call.id, number=1, at_us=receipt.ended_us,
        usage=Usage(input_tokens=10), basis=Basis.ESTIMATED, charge=an_event(a_call(1)).charge,
        reason="told by the provider's support", author="alice",
    )  # fmt: skip
    store.correct(by_hand, CARD).result(10)
    settled(store, 2)
    assert costs(engine) == [TEN_TOKENS_NANOS, TEN_TOKENS_NANOS]
    store.close()


def test_a_receipt_of_other_work_stays_unsettled(engine):
    store = LedgerStore(engine)
    store.settle(a_receipt(1, ("openai/batch_9",)), CARD).result(10)
    settled(store, 2)
    assert costs(engine) == [None, TEN_TOKENS_NANOS]
    store.close()


def test_settling_a_receipt_moves_no_budget(engine):
    from meter.store.reads import set_budget, standing

    set_budget(engine, a_budget(10**9), now_us=a_call().started_us)
    store = LedgerStore(engine)
    store.settle(a_receipt(1), CARD).result(10)
    settled(store, 2)
    row = standing(engine, a_budget(10**9).id, now_us=a_call().started_us)
    assert row.standing.spent == TEN_TOKENS_NANOS
    assert list(check(engine)) == []
    store.close()


def test_a_budget_counts_the_work_once(engine):
    from meter.store.reads import set_budget, standing

    set_budget(engine, a_budget(10**9), now_us=a_call().started_us)
    store = LedgerStore(engine)
    settled(store, 1)
    settled(store, 2)
    row = standing(engine, a_budget(10**9).id, now_us=a_call().started_us)
    assert row.standing.spent == TEN_TOKENS_NANOS
    store.close()
