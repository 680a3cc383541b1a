"""The disk is waited for when a call has ended, and not when it is about to leave."""

import pytest

from meter.core.budgets import Measure
from meter.store.budget_rows import remove_budget, set_budget
from meter.store.engine import open_engine
from meter.store.kept_connection import KeptConnection
from meter.store.ledger_store import LedgerStore
from meter.store.prepared import Runner
from meter.store.reads import count_open
from meter.store.statements import statements_for
from tests.store.examples import CARD, NOON_US, a_budget, a_call, an_event

NORMAL, FULL = 1, 2


def waits(store):
    return store._connection._kept.driver_connection.execute("PRAGMA synchronous").fetchone()[0]


def test_an_intent_does_not_wait_for_the_disk_and_an_end_does(sqlite_ledger_url):
    engine = open_engine(sqlite_ledger_url, durability="full")
    store = LedgerStore(engine)
    store.reserve(a_call(), "openai", CARD).result(10)
    assert waits(store) == NORMAL
    store.settle(an_event(), CARD).result(10)
    assert waits(store) == FULL
    store.close()
    engine.dispose()


def test_with_durability_process_nothing_waits(sqlite_ledger_url):
    engine = open_engine(sqlite_ledger_url, durability="process")
    store = LedgerStore(engine)
    store.reserve(a_call(), "openai", CARD).result(10)
    store.settle(an_event(), CARD).result(10)
    assert waits(store) == NORMAL
    store.close()
    engine.dispose()


def test_no_other_user_of_the_pool_gets_a_connection_that_does_not_wait(sqlite_ledger_url):
    engine = open_engine(sqlite_ledger_url, durability="full")
    kept = KeptConnection(engine)
    with kept.transaction(soft=True):
        pass
    kept.close()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == FULL
    engine.dispose()


def test_postgresql_forgets_at_the_end_of_the_transaction(postgres_ledger_url):
    engine = open_engine(postgres_ledger_url, durability="full")
    kept = KeptConnection(engine)
    shown = []
    for soft in (True, False):
        with kept.transaction(soft=soft) as runner:
            statements = statements_for(engine.dialect)
            runner.ask_all([(statements.budgets_in, {"values": [""]})])
            runner.cursor.execute("SHOW synchronous_commit")
            shown.append(runner.cursor.fetchone()[0])
    assert shown == ["off", "on"]
    kept.close()
    engine.dispose()


def test_an_intent_is_seen_by_other_processes_at_once(ledger_url):
    engine = open_engine(ledger_url, durability="full")
    other = open_engine(ledger_url)
    store = LedgerStore(engine)
    store.reserve(a_call(), "openai", CARD).result(10)
    assert count_open(other) == 1
    store.close()
    engine.dispose()
    other.dispose()


def test_postgresql_does_not_forget_what_is_held_when_it_crashes(postgres_ledger_url):
    engine = open_engine(postgres_ledger_url, durability="full")
    set_budget(engine, a_budget(9, measure=Measure.CALLS, currency=None), now_us=NOON_US)
    store, shown = LedgerStore(engine), []
    put_all = Runner.put_all

    def look(runner, works):
        runner.cursor.execute("SHOW synchronous_commit")
        shown.append(runner.cursor.fetchone()[0])
        return put_all(runner, works)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "put_all", look)
        store.reserve(a_call(1), "openai", CARD).result(10)
        remove_budget(engine, "all")
        store.reserve(a_call(2), "openai", CARD).result(10)
    # With a hold, and without one.
    assert shown == ["on", "off"]
    store.close()
    engine.dispose()
