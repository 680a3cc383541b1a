"""A batch is billed once: by what it reports as a whole, or by its requests, whichever is more."""

import threading
from dataclasses import replace

import pytest

from meter.core.call import Basis
from meter.core.event import Parts
from meter.core.rates import Rate
from meter.core.rating import MANY_REQUESTS, rate, rate_ended
from meter.core.usage import Usage
from meter.errors import StoreUnavailable
from meter.store.checking import check
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from meter.store.reads import calls, set_budget, standing
from meter.store.spool import SpoolingStore
from tests.store.examples import CARD, a_budget, a_call, an_event

FILE = "openai/file_out"
BATCH = ("openai/batch_1", FILE)
WHOLE = Usage(input_tokens=100, output_tokens=50)
"""What the batch reports of itself: 100 × 1000 + 50 × 2000 nanos."""
WHOLE_NANOS = 200_000


def a_look(number, usage=WHOLE, names=BATCH):
    charge = rate_ended(usage, CARD, at_us=0)
    return an_event(a_call(number), usage, billing_ids=names, charge=charge,
                    traits=(MANY_REQUESTS,))  # fmt: skip


def a_part(number, name, taken=10, given=5, subject="alice"):
    """A request that used 10 and 5 tokens: 10 × 1000 + 5 × 2000 = 20,000 nanos."""
    call = a_call(number)
    call = replace(call, attribution=replace(call.attribution, subject=subject))
    usage = Usage(input_tokens=taken, output_tokens=given)
    return an_event(call, usage, billing_ids=(f"{FILE}/{name}",),
                    charge=rate(usage, CARD, at_us=0))  # fmt: skip


def some(*events, fetch=900, is_all=False):
    return Parts((FILE,), a_call(fetch).id, a_call(fetch).started_us, events, is_all)


TEN = tuple(a_part(100 + n, f"line-{n}") for n in range(10))
"""Ten requests that used exactly what the batch reports."""


def look(store, number, **more):
    store.settle(a_look(number, **more), CARD).result(30)


def a_look_that_tells_nothing(store, number):
    event = a_look(number, usage=Usage(), names=())
    store.settle(replace(event, shown_ids=BATCH), CARD).result(30)


def fetch(store, *events, **more):
    store.settle_parts(some(*events, **more), (CARD,)).result(30)


def total(engine):
    return sum(call.cost_nanos or 0 for call in calls(engine))


def found(engine):
    return {str(call.id): call for call in calls(engine)}


@pytest.fixture
def store(engine):
    made = LedgerStore(engine)
    yield made
    made.close()
    assert list(check(engine)) == []


def test_requests_that_come_after_the_whole_take_its_place(engine, store):
    look(store, 1)
    assert total(engine) == WHOLE_NANOS
    fetch(store, *TEN, is_all=True)
    assert total(engine) == WHOLE_NANOS
    rows = found(engine)
    assert rows[str(a_call(1).id)].usage == Usage()
    assert rows[str(a_call(105).id)].cost_nanos == 20_000
    assert len(rows) == 11


def test_the_whole_that_comes_after_all_requests_owes_nothing_more(engine, store):
    fetch(store, *TEN, is_all=True)
    look(store, 1)
    assert total(engine) == WHOLE_NANOS
    assert found(engine)[str(a_call(1).id)].usage == Usage()


def test_the_whole_that_comes_between_owes_the_rest(engine, store):
    fetch(store, *TEN[:4])
    assert total(engine) == 80_000
    look(store, 1)
    assert found(engine)[str(a_call(1).id)].usage == Usage(input_tokens=60, output_tokens=30)
    assert total(engine) == WHOLE_NANOS
    fetch(store, *TEN[4:], is_all=True)
    assert found(engine)[str(a_call(1).id)].usage == Usage()
    assert total(engine) == WHOLE_NANOS
    look(store, 2)
    fetch(store, *(replace(e, call=replace(e.call, id=a_call(300 + n).id))
                   for n, e in enumerate(TEN)), is_all=True)  # fmt: skip
    assert total(engine) == WHOLE_NANOS


def test_requests_in_two_stretches_are_taken_from_the_whole_one_by_one(engine, store):
    look(store, 1)
    fetch(store, *TEN[:3])
    assert found(engine)[str(a_call(1).id)].usage == Usage(input_tokens=70, output_tokens=35)
    fetch(store, *TEN[2:5])
    assert found(engine)[str(a_call(1).id)].usage == Usage(input_tokens=50, output_tokens=25)
    assert total(engine) == WHOLE_NANOS


def test_what_requests_used_beyond_the_whole_is_billed_and_what_they_leave_stays(engine, store):
    look(store, 1)
    fetch(store, a_part(2, "big", taken=150, given=10), is_all=True)
    # 150 × 1000 + 10 × 2000 of the request, and 40 output tokens that no request explains.
    assert found(engine)[str(a_call(1).id)].usage == Usage(input_tokens=0, output_tokens=40)
    assert total(engine) == 170_000 + 80_000


def test_a_whole_without_a_price_keeps_none_for_its_rest(engine, store):
    look(store, 1)
    unpriced = rate(WHOLE, None, at_us=0)
    store.settle(replace(a_look(2, names=("openai/b2", "openai/f2")), charge=unpriced)).result(9)
    event = replace(a_part(3, "x"), billing_ids=("openai/f2/x",), charge=unpriced)
    store.settle_parts(replace(some(event), whole=("openai/f2",)), ()).result(9)
    rest = found(engine)[str(a_call(2).id)]
    assert (rest.usage, rest.cost_nanos) == (Usage(input_tokens=90, output_tokens=45), None)


def test_a_receipt_is_settled_when_the_last_request_is_known(engine, store):
    unknown = replace(a_look(1, names=BATCH[:1]), usage=None, basis=Basis.UNKNOWN,
                      charge=rate(WHOLE, None, at_us=0))  # fmt: skip
    store.settle(unknown).result(9)
    # A look at a batch that reports no usage tells which file is its output.
    a_look_that_tells_nothing(store, 2)
    fetch(store, *TEN[:5])
    assert found(engine)[str(a_call(1).id)].basis == "unknown"
    fetch(store, *TEN[5:], is_all=True)
    receipt = found(engine)[str(a_call(1).id)]
    assert (receipt.basis, receipt.usage) == ("reported", Usage())
    assert total(engine) == WHOLE_NANOS


def test_the_money_of_a_batch_is_held_until_the_last_request_is_known(engine, store):
    set_budget(engine, a_budget(10**9), now_us=a_call().started_us)
    begun = a_call(1)
    assert store.reserve(begun, "openai", CARD).result(9)
    unknown = replace(a_look(1, names=BATCH[:1]), usage=None, basis=Basis.UNKNOWN,
                      charge=rate(WHOLE, None, at_us=0))  # fmt: skip
    store.settle(unknown).result(9)
    a_look_that_tells_nothing(store, 2)
    fetch(store, *TEN[:5])
    where = standing(engine, "all", now_us=begun.started_us).standing
    assert (where.spent, where.held) == (100_000, 50_000)
    fetch(store, *TEN[5:], is_all=True)
    where = standing(engine, "all", now_us=begun.started_us).standing
    assert (where.spent, where.held) == (WHOLE_NANOS, 0)


def test_a_receipt_is_settled_by_a_look_after_the_last_request(engine, store):
    unknown = replace(a_look(1, names=BATCH[:1]), usage=None, basis=Basis.UNKNOWN,
                      charge=rate(WHOLE, None, at_us=0))  # fmt: skip
    store.settle(unknown).result(9)
    fetch(store, *TEN, is_all=True)
    assert found(engine)[str(a_call(1).id)].basis == "unknown"
    a_look_that_tells_nothing(store, 2)
    assert found(engine)[str(a_call(1).id)].basis == "reported"


def test_a_batch_whose_requests_have_all_failed_settles_its_receipt(engine, store):
    unknown = replace(a_look(1, names=(FILE,)), usage=None, basis=Basis.UNKNOWN,
                      charge=rate(WHOLE, None, at_us=0))  # fmt: skip
    store.settle(unknown).result(9)
    fetch(store, is_all=True)
    (receipt,) = calls(engine)
    assert (receipt.basis, receipt.usage) == ("reported", Usage())


def test_budgets_count_each_request_with_its_own_subject_and_the_whole_no_more(engine, store):
    from meter.core.budgets import Scope, ScopeKind

    bob = replace(a_budget(10**9), id="bob", scope=Scope(ScopeKind.SUBJECT, "bob"))
    for budget in (a_budget(10**9), bob):
        set_budget(engine, budget, now_us=a_call().started_us)
    look(store, 1)
    fetch(store, *TEN[:9], a_part(200, "line-9", subject="bob"), is_all=True)
    at_us = a_call().started_us
    assert standing(engine, "all", now_us=at_us).standing.spent == WHOLE_NANOS
    assert standing(engine, "bob", now_us=at_us).standing.spent == 20_000


def test_the_same_write_twice_is_one(engine, store):
    look(store, 1)
    for _ in range(3):
        fetch(store, *TEN, is_all=True)
    assert (len(found(engine)), total(engine)) == (11, WHOLE_NANOS)


def test_rates_of_long_prompts_do_not_hold_for_the_sum_of_many():
    rates = (Rate("input_tokens", 10**9), Rate("input_tokens", 5 * 10**9, above_input_tokens=50))
    card = replace(CARD, rates={"standard": rates}, id="")
    usage = Usage(input_tokens=100)
    assert rate(usage, card, at_us=0).amount_nanos == 500_000
    assert rate(usage, card, at_us=0, traits=dict([MANY_REQUESTS])).amount_nanos == 100_000


def test_eight_at_once_bill_each_batch_once(engine):
    """Looks and fetches in stretches, each client with a ledger of its own; four batches."""
    url = engine.url.render_as_string(hide_password=False)
    engines = [open_engine(url) for _ in range(8)]
    stores = [LedgerStore(each) for each in engines]
    together = threading.Barrier(8)
    errors = []

    def client(number):
        try:
            for turn in range(4):
                file = f"openai/file_{turn}"
                lines = [of_file(event, file, 1000 * (1 + number) + 100 * turn + place)
                         for place, event in enumerate(TEN)]  # fmt: skip
                together.wait(60)
                if number % 2:
                    names = (f"openai/batch_{turn}", file)
                    look(stores[number], 20_000 + 10 * number + turn, names=names)
                for start in range(0, 10, 2):
                    parts = replace(some(*lines[start : start + 2]), whole=(file,))
                    stores[number].settle_parts(parts, (CARD,)).result(60)
        except Exception as error:
            errors.append(error)
            together.abort()

    def of_file(event, file, number):
        _, _, name = event.billing_ids[0].rpartition("/")
        call = replace(event.call, id=a_call(number).id)
        return replace(event, call=call, billing_ids=(f"{file}/{name}",))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in stores:
        each.close()
    assert errors == []
    assert total(engine) == 4 * WHOLE_NANOS
    assert sum(call.cost_nanos == 20_000 for call in calls(engine)) == 40
    assert list(check(engine)) == []
    for each in engines:
        each.dispose()


def test_requests_are_spooled_while_the_ledger_is_away(engine, tmp_path, monkeypatch):
    inner = LedgerStore(engine)
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    look(store, 1)
    with monkeypatch.context() as away:
        away.setattr(inner, "_transact", _away)
        fetch(store, *TEN, is_all=True)
    assert len(found(engine)) == 1
    assert store.replay() == 1
    assert store.replay() == 0
    assert (len(found(engine)), total(engine)) == (11, WHOLE_NANOS)
    fetch(store, *TEN, is_all=True)
    assert total(engine) == WHOLE_NANOS
    inner.close()
    assert list(check(engine)) == []


def _away(_requests):
    raise StoreUnavailable("the disk is gone")


def test_a_ledger_from_before_that_billed_the_file_as_a_whole_is_corrected(engine, store):
    """A fetch of the output used to be billed as a whole, under the file's name."""
    look(store, 1, names=(FILE,))
    look(store, 2)
    fetch(store, *TEN, is_all=True)
    assert total(engine) == WHOLE_NANOS
    assert found(engine)[str(a_call(1).id)].usage == Usage()
