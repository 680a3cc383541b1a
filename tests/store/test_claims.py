"""Work that can be looked at again is billed once, however often it is."""

from dataclasses import replace

from meter.core.usage import Usage
from meter.store.checking import check
from meter.store.ledger_store import LedgerStore
from meter.store.reads import calls
from tests.store.examples import CARD, TEN_TOKENS_NANOS, a_budget, a_call, an_event

NAMES = ("openai/batch_1", "openai/file_out")


def settled(store, number, names=NAMES, **changes):
    event = an_event(a_call(number), billing_ids=names, **changes)
    store.settle(event, CARD).result(10)
    return event


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


def test_a_receipt_without_usage_claims_nothing(engine):
    store = LedgerStore(engine)
    receipt = an_event(a_call(1), billing_ids=NAMES)
    receipt = replace(
        receipt, usage=None, charge=replace(receipt.charge, lines=(), amount_nanos=None)
    )
    store.settle(receipt, CARD).result(10)
    settled(store, 2)
    assert costs(engine) == [None, TEN_TOKENS_NANOS]
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
