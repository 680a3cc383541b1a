"""A rolling budget: within any span of its length never more than the limit, and it comes back."""

from random import Random

import pytest

from meter.core.budgets import Measure, Refusal, Standing
from meter.core.call import Bound
from meter.core.windows import Window
from meter.store import reads
from meter.store.checking import check
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOON_US,
    TEN_TOKENS_NANOS,
    a_budget,
    a_call,
    an_event,
)

MINUTE_US = HOUR_US // 60
DAY_US = 24 * HOUR_US
TEN_TOKENS = Bound(4, 6, TEN_TOKENS_NANOS, "USD")
WAIT_S = 30


@pytest.fixture
def store(engine):
    """A store whose calls may be in flight for as long as a test likes."""
    store = LedgerStore(engine, lease_s=10.0**9)
    yield store
    assert store.close(WAIT_S)


def calls_a_day(limit, name="rolling:24h"):
    return a_budget(limit, measure=Measure.CALLS, currency=None, window=Window.named(name))


def asked(store, number, started_us):
    call = a_call(number, started_us=started_us, bound=TEN_TOKENS)
    verdict = store.reserve(call, "openai", CARD).result(WAIT_S)
    if isinstance(verdict, Refusal):
        return False
    store.settle(an_event(call), CARD).result(WAIT_S)
    return True


def test_a_call_counts_for_its_length_and_a_24th_and_then_no_more(engine, store):
    reads.set_budget(engine, calls_a_day(1), now_us=NOON_US)
    assert asked(store, 1, NOON_US + 30 * MINUTE_US)
    assert not asked(store, 2, NOON_US + 31 * MINUTE_US)
    # 24 hours later it has left the window, but its hour has not: 12:59 of that day could be in it.
    assert not asked(store, 3, NOON_US + DAY_US + 59 * MINUTE_US)
    assert asked(store, 4, NOON_US + DAY_US + 60 * MINUTE_US)
    assert list(check(engine)) == []


def test_at_midnight_nothing_is_given_anew(engine, store):
    reads.set_budget(engine, calls_a_day(1), now_us=NOON_US)
    midnight_us = NOON_US + 12 * HOUR_US
    assert asked(store, 1, midnight_us - 1)
    assert not asked(store, 2, midnight_us)


def test_no_span_of_its_length_is_overspent_whatever_comes_when(engine, store):
    random = Random(5)
    reads.set_budget(engine, calls_a_day(5, "rolling:1h"), now_us=NOON_US)
    admitted = []
    at_us = NOON_US
    for number in range(1, 121):
        at_us += random.randrange(8 * MINUTE_US)
        if asked(store, number, at_us):
            admitted.append(at_us)
    for start_us in admitted:
        assert sum(start_us <= other_us < start_us + HOUR_US for other_us in admitted) <= 5
    # It comes back: 120 calls took about 8 hours, and each hour and a 24th lets five through.
    hours = (at_us - NOON_US) / HOUR_US
    assert len(admitted) >= 5 * (hours / (1 + 1 / 24) - 1)
    assert list(check(engine)) == []


def test_a_clock_that_is_a_little_behind_does_not_overspend(engine, store):
    reads.set_budget(engine, calls_a_day(1), now_us=NOON_US)
    assert asked(store, 1, NOON_US + HOUR_US)
    assert not asked(store, 2, NOON_US + HOUR_US - 1)


def test_what_is_held_counts_like_what_is_spent(engine, store):
    reads.set_budget(engine, calls_a_day(2), now_us=NOON_US)
    call = a_call(1, bound=TEN_TOKENS)
    store.reserve(call, "openai", CARD).result(WAIT_S)
    assert asked(store, 2, NOON_US + 5 * HOUR_US)
    found = reads.standing(engine, "all", now_us=NOON_US + 6 * HOUR_US)
    assert found.standing == Standing(spent=1, held=1)
    assert (found.window_start_us, found.window_end_us) == (
        NOON_US - 18 * HOUR_US, NOON_US + 7 * HOUR_US
    )  # fmt: skip
    assert not asked(store, 3, NOON_US + 6 * HOUR_US)
    store.release(call).result(WAIT_S)
    assert asked(store, 4, NOON_US + 6 * HOUR_US)


def test_a_new_rolling_budget_counts_what_was_spent_before_it(engine, store):
    assert asked(store, 1, NOON_US - 30 * HOUR_US)
    assert asked(store, 2, NOON_US - 20 * HOUR_US)
    reads.set_budget(engine, calls_a_day(1), now_us=NOON_US)
    assert not asked(store, 3, NOON_US)
    assert reads.standing(engine, "all", now_us=NOON_US).standing == Standing(spent=1)
    assert list(check(engine)) == []


def test_two_processes_at_the_border_of_a_step_share_it_to_the_last_call(ledger_url, engine):
    reads.set_budget(engine, calls_a_day(40), now_us=NOON_US)
    stores = [LedgerStore(open_engine(ledger_url, durability="process")) for _ in range(2)]
    border_us = NOON_US + HOUR_US
    # Each in a step of its own: neither locks a row of the other's but the anchor.
    verdicts = [
        store.reserve(a_call(100 * side + n, started_us=moment, bound=TEN_TOKENS), "openai", CARD)
        for n in range(40)
        for side, (store, moment) in enumerate(zip(stores, (border_us - 1, border_us), strict=True))
    ]
    admitted = [v for v in verdicts if not isinstance(v.result(WAIT_S), Refusal)]
    assert len(admitted) == 40
    for store in stores:
        assert store.close(WAIT_S)
        store._engine.dispose()


@pytest.mark.parametrize("name", ["rolling:24h", "rolling:90m"])
def test_it_is_kept_by_its_name(engine, name):
    reads.set_budget(engine, calls_a_day(3, name), now_us=NOON_US)
    (row,) = reads.budgets(engine, now_us=NOON_US)
    assert row.budget.window == Window.named(name)
