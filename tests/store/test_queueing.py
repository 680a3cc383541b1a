"""Who does not fit only because of holds waits for them, first come first served."""

import threading

import pytest

from meter.core.budgets import Measure, Refusal, Scope, ScopeKind
from meter.core.call import Attribution, Bound
from meter.core.usage import Usage
from meter.core.windows import Span, Window
from meter.errors import StoreUnavailable
from meter.store import queueing, reads
from meter.store.checking import check
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from meter.store.queueing import Line
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOON_US,
    TEN_TOKENS_NANOS,
    a_budget,
    a_call,
    an_event,
)

TEN_TOKENS = Bound(4, 6, TEN_TOKENS_NANOS, "USD")
LONG_S = 60.0
YEARS_S = 10.0**9


@pytest.fixture
def patient(engine):
    """A store whose calls wait for longer than any test."""
    store = LedgerStore(engine, hold_wait_s=LONG_S, lease_s=YEARS_S)
    yield store
    assert store.close(10)


def calls_for_one(engine, number=1):
    """Let one call be in flight at a time, of those that a budget counts."""
    reads.set_budget(engine, a_budget(number, measure=Measure.CALLS, currency=None), now_us=NOON_US)


def reserve(store, number, bound=TEN_TOKENS, **more):
    return store.reserve(a_call(number, bound=bound, **more), "openai", CARD)


def settle(store, number):
    store.settle(an_event(a_call(number, bound=TEN_TOKENS)), CARD).result(10)


def release(store, number):
    store.release(a_call(number, bound=TEN_TOKENS)).result(10)


def admitted(future):
    verdict = future.result(10)
    return not isinstance(verdict, Refusal)


def test_a_call_waits_until_the_hold_before_it_ends_and_is_let_in(engine, patient):
    calls_for_one(engine)
    assert admitted(reserve(patient, 1))
    second = reserve(patient, 2)
    assert not second.done()
    release(patient, 1)
    assert admitted(second)
    assert list(check(engine)) == []


def test_who_came_first_is_let_in_first(engine, patient):
    calls_for_one(engine)
    assert admitted(reserve(patient, 1))
    order = []
    waiting = {number: reserve(patient, number) for number in range(2, 7)}
    for number, future in waiting.items():
        future.add_done_callback(lambda _done, number=number: order.append(number))
    for number in range(1, 6):
        release(patient, number)
        assert admitted(waiting[number + 1])
    assert order == [2, 3, 4, 5, 6]


def test_nobody_overtakes_although_his_call_would_fit(engine, patient):
    reads.set_budget(engine, a_budget(10 * TEN_TOKENS_NANOS), now_us=NOON_US)
    half = Bound(4, 6, 5 * TEN_TOKENS_NANOS, "USD")
    large = Bound(4, 6, 10 * TEN_TOKENS_NANOS, "USD")
    assert admitted(reserve(patient, 1, half))
    second = reserve(patient, 2, large)
    third = reserve(patient, 3, half)  # five of ten are free, and the second call came before
    assert not third.done()
    release(patient, 1)
    assert admitted(second)
    assert not third.done()
    release(patient, 2)
    assert admitted(third)


def test_calls_of_other_budgets_pass_those_that_wait(engine, patient):
    scope = Scope(ScopeKind.SUBJECT, "alice")
    reads.set_budget(
        engine, a_budget(1, scope=scope, measure=Measure.CALLS, currency=None), now_us=NOON_US
    )
    assert admitted(reserve(patient, 1))
    waiting = reserve(patient, 2)
    assert admitted(reserve(patient, 3, attribution=Attribution("bob")))
    assert not waiting.done()


def test_a_new_window_is_not_held_up_by_those_that_wait_in_the_old_one(engine, patient):
    hourly = a_budget(1, measure=Measure.CALLS, currency=None, window=Window(Span.HOUR))
    reads.set_budget(engine, hourly, now_us=NOON_US)
    assert admitted(reserve(patient, 1))
    waiting = reserve(patient, 2)
    assert admitted(reserve(patient, 3, started_us=NOON_US + HOUR_US))
    assert not waiting.done()


def test_a_call_that_cannot_fit_even_then_is_refused_at_once(engine, patient):
    calls_for_one(engine, 2)
    assert admitted(reserve(patient, 1))
    settle(patient, 1)
    assert admitted(reserve(patient, 2))
    waiting = reserve(patient, 3)
    settle(patient, 2)  # now both are spent, and waiting is of no use
    verdict = waiting.result(10)
    assert isinstance(verdict, Refusal) and not verdict.may_fit_later
    verdict = reserve(patient, 4).result(10)
    assert isinstance(verdict, Refusal) and not verdict.may_fit_later


def test_patience_ends(engine):
    calls_for_one(engine)
    store = LedgerStore(engine, hold_wait_s=0.02, lease_s=YEARS_S)
    assert admitted(reserve(store, 1))
    verdict = reserve(store, 2).result(10)
    assert isinstance(verdict, Refusal) and verdict.may_fit_later
    assert store.close(10)


def test_without_patience_nobody_waits(engine, store, patient):
    calls_for_one(engine)
    assert admitted(reserve(store, 1))
    assert reserve(store, 2).result(10).may_fit_later
    unwilling = patient.reserve(a_call(3, bound=TEN_TOKENS), "openai", CARD, waits=False)
    assert unwilling.result(10).may_fit_later


def test_a_caller_that_writes_alone_waits_too(engine, patient):
    calls_for_one(engine)
    first = patient.reserve(a_call(1, bound=TEN_TOKENS), "openai", CARD, on_this_thread=True)
    assert admitted(first)
    second = patient.reserve(a_call(2, bound=TEN_TOKENS), "openai", CARD, on_this_thread=True)
    assert not second.done()
    event = an_event(a_call(1, bound=TEN_TOKENS), Usage())
    patient.settle(event, CARD, on_this_thread=True).result(10)
    assert not admitted(second)  # the one call of the budget is spent


def test_a_hold_that_ends_in_another_process_is_noticed(ledger_url, engine, patient):
    calls_for_one(engine)
    other = LedgerStore(open_engine(ledger_url, durability="process"), lease_s=YEARS_S)
    assert admitted(reserve(other, 1))
    waiting = reserve(patient, 2)
    assert not waiting.done()
    release(other, 1)
    assert admitted(waiting)
    assert other.close(10)
    other._engine.dispose()


def test_who_gives_up_leaves_the_line(engine, patient):
    calls_for_one(engine)
    assert admitted(reserve(patient, 1))
    second, third = reserve(patient, 2), reserve(patient, 3)
    release(patient, 2)
    assert isinstance(second.result(10), Refusal)
    release(patient, 1)
    assert admitted(third)


def test_closing_refuses_who_still_waits(engine):
    calls_for_one(engine)
    store = LedgerStore(engine, hold_wait_s=LONG_S, lease_s=YEARS_S)
    assert admitted(reserve(store, 1))
    waiting = reserve(store, 2)
    assert store.close(10)
    assert waiting.result(10).may_fit_later


def test_the_line_is_bounded(engine, patient, monkeypatch):
    monkeypatch.setattr(queueing, "MOST_WAITING", 2)
    calls_for_one(engine)
    assert admitted(reserve(patient, 1))
    waiting = [reserve(patient, number) for number in (2, 3)]
    assert reserve(patient, 4).result(10).may_fit_later
    assert not any(future.done() for future in waiting)


@pytest.mark.parametrize("step", ["_transact", "sweep"])
def test_those_that_wait_hear_that_the_ledger_is_away(engine, patient, monkeypatch, step):
    def away(*_arguments, **_named):
        raise StoreUnavailable("the ledger is away")

    calls_for_one(engine)
    assert admitted(reserve(patient, 1))
    waiting = [reserve(patient, number) for number in range(2, 80)]
    monkeypatch.setattr(LedgerStore, step, away)
    for future in waiting:
        with pytest.raises(StoreUnavailable, match="is away"):
            future.result(10)


def test_ten_threads_share_a_budget_to_the_last_call(engine, patient):
    reads.set_budget(engine, a_budget(40 * TEN_TOKENS_NANOS), now_us=NOON_US)
    begin = threading.Barrier(10)
    verdicts = []

    def ten_calls(first):
        begin.wait(10)
        for number in range(first, first + 10):
            verdict = reserve(patient, number).result(30)
            verdicts.append(isinstance(verdict, Refusal))
            if not isinstance(verdict, Refusal):
                settle(patient, number)

    threads = [threading.Thread(target=ten_calls, args=(100 * n,)) for n in range(1, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # A call of ten tokens costs what its bound says: 40 of 100 fit, and no refusal was too early.
    assert (verdicts.count(False), verdicts.count(True)) == (40, 60)
    assert list(check(engine)) == []


def test_a_call_that_another_window_blocks_now_keeps_its_place():
    line = Line(LONG_S)
    first, second = [
        line.join(_request(number), Refusal(f"b{number}", "", may_fit_later=True), 0.0 + number)
        for number in (1, 2)
    ]
    assert line.first() == [first, second]
    line.tried([(first, Refusal("b2", "", may_fit_later=True))], 3.0)
    assert line.windows == {("b2", 0)}
    assert line.first() == [first, second]


def _request(number):
    from meter.store.requests import Reserve

    return Reserve(a_call(number), {}, None, waits=True)
