"""Budgets: kept exactly, counting what the reports count, from the window they were made in."""

import threading

import pytest
from sqlalchemy import Engine, event

from meter.core.budgets import Budget, Measure, Refusal, Scope, ScopeKind, Standing
from meter.core.call import Attribution, Outcome
from meter.core.usage import Usage
from meter.core.windows import Span, Window
from meter.errors import ConfigError
from meter.store import reads
from meter.store.checking import check
from meter.store.ledger_store import LedgerStore
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOON_US,
    NOVEMBER_US,
    a_budget,
    a_call,
    an_event,
    an_unknown_end,
)

WAIT_S = 20


def standing(engine: Engine, budget_id: str = "all", now_us: int = NOON_US) -> Standing:
    found = reads.standing(engine, budget_id, now_us=now_us)
    assert found is not None
    return found.standing


@pytest.mark.parametrize(
    "budget",
    [
        a_budget(5_000_000),
        a_budget(0, currency="CNY", window=Window(Span.TOTAL)),
        a_budget(2**63 - 1, window=Window(Span.DAY, "Asia/Shanghai")),
        a_budget(7, scope=Scope(ScopeKind.TAG, "team=a=b"), measure=Measure.CALLS, currency=None),
        a_budget(7, scope=Scope(ScopeKind.SUBJECT, "陈静"), measure=Measure.TOKENS, currency=None),
    ],
)
def test_a_budget_reads_as_it_was_set(engine: Engine, budget: Budget) -> None:
    reads.set_budget(engine, budget, now_us=NOON_US)
    (found,) = reads.budgets(engine, now_us=NOON_US)
    assert found.budget == budget
    assert found.standing == Standing()
    assert (found.window_start_us, found.window_end_us) == budget.window.bounds(NOON_US)
    assert found.created_us == NOON_US
    assert found.left == budget.limit


def test_budgets_are_listed_by_id(engine: Engine) -> None:
    for name in ("b", "c", "a"):
        reads.set_budget(engine, a_budget(1, id=name), now_us=NOON_US)
    assert [row.budget.id for row in reads.budgets(engine, now_us=NOON_US)] == ["a", "b", "c"]
    assert reads.standing(engine, "d", now_us=NOON_US) is None


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (a_budget(-1), "found limit -1"),
        (a_budget(2**63), "found limit"),
        (a_budget(1, id=""), "found budget id ''"),
        (a_budget(1, currency=None), "expected a currency for money"),
        (a_budget(1, measure=Measure.CALLS), "and none for anything else"),
    ],
)
def test_budgets_that_cannot_be_are_refused(
    memory_engine: Engine, budget: Budget, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        reads.set_budget(memory_engine, budget, now_us=NOON_US)


def test_a_new_budget_counts_what_its_window_has_already_spent(
    engine: Engine, store: LedgerStore
) -> None:
    """16 000 by alice and 16 000 by bob this month, and 16 000 by alice in October."""
    bob = Attribution("bob")
    store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
    store.settle(an_event(a_call(2, attribution=bob))).result(WAIT_S)
    store.settle(an_event(a_call(3, started_us=NOVEMBER_US - 1))).result(WAIT_S)
    store.settle(an_unknown_end(a_call(4))).result(WAIT_S)
    refused = an_event(a_call(5), Usage(), outcome=Outcome.REFUSED)
    store.settle(refused).result(WAIT_S)
    alice = Scope(ScopeKind.SUBJECT, "alice")
    none = dict(currency=None)
    for budget in (
        a_budget(10**6),
        a_budget(10**6, id="alice", scope=alice),
        a_budget(10**6, id="euro", currency="EUR"),
        a_budget(10**6, id="ever", window=Window(Span.TOTAL)),
        a_budget(10**6, id="calls", measure=Measure.CALLS, **none),
        a_budget(10**6, id="tokens", measure=Measure.TOKENS, **none),
        a_budget(10**6, id="today", window=Window(Span.DAY), scope=Scope(ScopeKind.MODEL, "x")),
    ):
        reads.set_budget(engine, budget, now_us=NOON_US)
    spent = {row.budget.id: row.standing.spent for row in reads.budgets(engine, now_us=NOON_US)}
    assert spent == {
        "all": 32_000, "alice": 16_000, "euro": 0, "ever": 48_000, "calls": 3, "tokens": 20,
        "today": 0,
    }  # fmt: skip
    assert list(check(engine)) == []


def test_a_call_of_an_earlier_window_is_not_counted(engine: Engine, store: LedgerStore) -> None:
    """A call that began in October ends after the budget was made in November."""
    call = a_call(1, started_us=NOVEMBER_US - 1)
    store.reserve(call, "openai", CARD).result(WAIT_S)
    reads.set_budget(engine, a_budget(10**6), now_us=NOON_US)
    store.settle(an_event(call)).result(WAIT_S)
    assert standing(engine) == standing(engine, now_us=NOVEMBER_US - 1) == Standing()
    assert list(check(engine)) == []


def test_a_call_in_flight_when_the_budget_is_made_counts_when_it_ends(
    engine: Engine, store: LedgerStore
) -> None:
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    reads.set_budget(engine, a_budget(10**6), now_us=NOON_US)
    assert standing(engine) == Standing()
    store.settle(an_event()).result(WAIT_S)
    assert standing(engine) == Standing(spent=16_000)
    assert list(check(engine)) == []


def test_another_limit_keeps_what_is_spent_and_held(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(10**6), now_us=NOON_US)
    store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
    store.reserve(a_call(2), "openai", CARD).result(WAIT_S)
    reads.set_budget(engine, a_budget(66_000), now_us=NOON_US + HOUR_US)
    found = reads.standing(engine, "all", now_us=NOON_US)
    assert found is not None
    assert (found.budget.limit, found.standing) == (66_000, Standing(16_000, 50_000))
    assert (found.left, found.created_us) == (0, NOON_US)
    assert isinstance(store.reserve(a_call(3), "openai", CARD).result(WAIT_S), Refusal)
    assert list(check(engine)) == []


def test_another_measure_counts_anew_and_holds_nothing(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(10**6), now_us=NOON_US)
    store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
    store.reserve(a_call(2), "openai", CARD).result(WAIT_S)
    tokens = a_budget(1000, measure=Measure.TOKENS, currency=None)
    reads.set_budget(engine, tokens, now_us=NOON_US)
    assert standing(engine) == Standing(spent=10, held=0)
    store.settle(an_event(a_call(2))).result(WAIT_S)
    assert standing(engine) == Standing(spent=20, held=0)
    assert list(check(engine)) == []


def test_a_removed_budget_limits_nobody(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(60_000), now_us=NOON_US)
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    assert reads.remove_budget(engine, "all")
    assert not reads.remove_budget(engine, "all")
    assert store.reserve(a_call(2), "openai", CARD).result(WAIT_S) == ()
    store.settle(an_event(a_call(1))).result(WAIT_S)
    assert list(check(engine)) == []


def test_a_call_held_by_a_removed_budget_does_not_touch_its_successor(
    engine: Engine, store: LedgerStore
) -> None:
    reads.set_budget(engine, a_budget(60_000), now_us=NOON_US)
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    reads.remove_budget(engine, "all")
    reads.set_budget(engine, a_budget(60_000), now_us=NOON_US)
    store.release(a_call(1)).result(WAIT_S)
    assert standing(engine) == Standing()
    assert list(check(engine)) == []


def test_budgets_made_among_running_calls_miss_none(engine: Engine) -> None:
    """While a thread settles calls, budgets come and go; each has counted every call."""
    store = LedgerStore(engine)
    enough = threading.Event()
    settled = 0

    def settle_until_enough() -> None:
        nonlocal settled
        while not enough.is_set():
            settled += 3
            calls = [a_call(number) for number in range(settled - 2, settled + 1)]
            for future in [store.settle(an_event(call), CARD) for call in calls]:
                future.result(WAIT_S)

    thread = threading.Thread(target=settle_until_enough)
    thread.start()
    made = 0
    try:
        while made < 20 or settled < 30:
            reads.set_budget(engine, a_budget(10**12, id=f"b{made}"), now_us=NOON_US)
            if made % 3 == 0:
                reads.remove_budget(engine, f"b{made}")
            made += 1
    finally:
        enough.set()
        thread.join(WAIT_S)
        store.close()
    spent = [row.standing.spent for row in reads.budgets(engine, now_us=NOON_US)]
    assert spent == [settled * 16_000] * (made * 2 // 3)
    assert list(check(engine)) == []


def test_setting_a_budget_reads_only_its_window(sqlite_ledger_url: str) -> None:
    from meter.store.engine import open_engine

    engine = open_engine(sqlite_ledger_url)
    plans: list[str] = []

    def explain(connection, _cursor, statement, parameters, *_more) -> None:  # type: ignore[no-untyped-def]
        if statement.startswith("SELECT events."):
            raw = connection.connection.cursor()
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(str(raw.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    reads.set_budget(engine, a_budget(1), now_us=NOON_US)
    alice = a_budget(1, id="alice", scope=Scope(ScopeKind.SUBJECT, "alice"))
    reads.set_budget(engine, alice, now_us=NOON_US)
    event.remove(engine, "before_cursor_execute", explain)
    engine.dispose()
    assert "ix_usage_events_started_us (started_us>?)" in plans[0]
    assert "ix_usage_events_subject_started_us (subject=? AND started_us>?)" in plans[1]
