"""What a process believes of its ledger never outlives what others do to it."""

import pytest
from sqlalchemy import Engine, func, select

from meter.core.budgets import Refusal
from meter.core.call import Basis
from meter.store import reads
from meter.store.checking import check
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from meter.store.schema import corrections, holds, open_calls, usage_events
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOON_US,
    TEN_TOKENS_NANOS,
    a_budget,
    a_call,
    an_event,
)

BOUND_NANOS = 50_000
"""What a call of the examples holds."""


def _reserve(store: LedgerStore, number: int) -> object:
    return store.reserve(a_call(number), "openai", CARD).result(10)


def _settle(store: LedgerStore, number: int) -> None:
    store.settle(an_event(a_call(number)), CARD).result(10)


def _count(engine: Engine, table: object) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


@pytest.fixture
def other(engine: Engine):
    """Another process on the same ledger, as far as the ledger can tell."""
    opened = open_engine(engine.url.render_as_string(hide_password=False), durability="process")
    store = LedgerStore(opened)
    yield store
    assert store.close(10)
    opened.dispose()


def test_a_budget_that_another_process_made_is_seen(engine, store):
    assert _reserve(store, 1) == ()
    reads.set_budget(engine, a_budget(BOUND_NANOS - 1), now_us=NOON_US)
    assert isinstance(_reserve(store, 2), Refusal)


def test_a_limit_that_was_raised_is_seen(engine, store):
    reads.set_budget(engine, a_budget(BOUND_NANOS - 1), now_us=NOON_US)
    assert isinstance(_reserve(store, 1), Refusal)
    reads.set_budget(engine, a_budget(BOUND_NANOS), now_us=NOON_US)
    assert not isinstance(_reserve(store, 2), Refusal)


def test_money_that_another_process_holds_is_seen(engine, store, other):
    reads.set_budget(engine, a_budget(2 * BOUND_NANOS), now_us=NOON_US)
    assert not isinstance(_reserve(store, 1), Refusal)
    assert not isinstance(_reserve(other, 2), Refusal)
    assert isinstance(_reserve(store, 3), Refusal)
    assert isinstance(_reserve(other, 4), Refusal)
    # Ten tokens cost 16,000 of the 50,000 that were held: 100,000 - 50,000 - 16,000 are left.
    _settle(other, 2)
    assert TEN_TOKENS_NANOS == 16_000
    assert isinstance(_reserve(store, 5), Refusal)
    _settle(store, 1)
    assert not isinstance(_reserve(other, 6), Refusal)
    assert list(check(engine)) == []


def test_a_call_that_another_process_has_closed_gets_a_correction(engine, store, other):
    reads.set_budget(engine, a_budget(10 * BOUND_NANOS), now_us=NOON_US)
    _reserve(store, 1)
    assert other.sweep(NOON_US + HOUR_US, dead_owners=False) == 1
    _settle(store, 1)
    assert (_count(engine, usage_events), _count(engine, corrections)) == (1, 1)
    (row,) = reads.calls(engine, limit=None)
    assert row.basis is Basis.REPORTED
    assert list(check(engine)) == []


def test_holds_that_went_with_their_budget_are_not_missed(engine, store):
    reads.set_budget(engine, a_budget(10 * BOUND_NANOS), now_us=NOON_US)
    _reserve(store, 1)
    assert _count(engine, holds) == 1
    assert reads.remove_budget(engine, a_budget(0).id)
    _settle(store, 1)
    assert (_count(engine, open_calls), _count(engine, usage_events)) == (0, 1)
    assert list(check(engine)) == []


def test_reserving_a_call_again_after_its_end_opens_nothing(engine, store, other):
    _reserve(store, 1)
    _settle(store, 1)
    assert _reserve(store, 1) == ()
    assert _reserve(other, 1) == ()
    assert _count(engine, open_calls) == 0


def test_a_call_that_another_process_opened_is_ended(engine, store, other):
    _reserve(other, 1)
    _settle(store, 1)
    assert (_count(engine, open_calls), _count(engine, usage_events)) == (0, 1)
    _reserve(store, 2)
    other.release(a_call(2)).result(10)
    _settle(store, 2)
    assert (_count(engine, open_calls), _count(engine, usage_events)) == (0, 2)
    assert list(check(engine)) == []
