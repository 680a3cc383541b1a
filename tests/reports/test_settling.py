"""Unsettled calls are settled as the settings say: once, by whoever looks, and never for good."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest

from meter.attribution import attribute
from meter.clock import now_us
from meter.config import load_settings
from meter.core.call import Basis, Outcome
from meter.core.usage import Usage
from meter.meter import Meter
from meter.reports.settling import settle_as_set
from meter.store.checking import check
from meter.store.migrating import upgrade
from tests.store.examples import CARD, a_call, an_unknown_end

LOST = 5
INPUT_TOKENS = 100
INPUT_NANOS = 250_000
"""100 tokens of gpt-4o's input at 2.50 USD a million."""


@pytest.fixture
def ledger(database_url, tmp_path, monkeypatch):
    """The address of a ledger with lost calls of alice on gpt-4o, which her budget counts."""
    monkeypatch.chdir(tmp_path)
    upgrade(database_url)
    with Meter(database_url, hold_seconds=1) as meter, attribute("alice"):
        meter.set_budget("alice", subject="alice", limit="5")
        for _ in range(LOST):
            call = meter.reserve(
                provider="openai", model="gpt-4o", input_tokens=INPUT_TOKENS, max_output_tokens=10
            )
        assert meter._ledger._inner.sweep(call.call.started_us + 2_000_000) == LOST
    return database_url


def rows_of(url):
    with Meter(url, read_only=True) as meter:
        return list(meter.calls())


def test_they_stay_listed_unless_a_setting_says_otherwise(ledger):
    with Meter(ledger, unsettled_seconds=1):
        pass
    assert [row.state for row in rows_of(ledger)] == ["unsettled"] * LOST


@pytest.mark.parametrize(("name", "nanos"), [("estimate", INPUT_NANOS), ("nothing", 0)])
def test_opening_a_ledger_settles_those_that_are_old_enough(ledger, name, nanos):
    with Meter(ledger, on_unsettled=name):
        pass
    assert {row.state for row in rows_of(ledger)} == {"unsettled"}, "they are a second old"
    time.sleep(1.1)
    with Meter(ledger, on_unsettled=name, unsettled_seconds=1) as meter:
        assert meter.budgets()[0].standing.spent == LOST * nanos
    for row in rows_of(ledger):
        assert (row.state, row.basis, row.cost_nanos) == ("settled", Basis.ESTIMATED, nanos)
        assert row.corrections == 1
    with Meter(ledger, on_unsettled=name, unsettled_seconds=1) as meter:
        assert list(check(meter._ledger._engine)) == []
    assert [row.corrections for row in rows_of(ledger)] == [1] * LOST


def test_what_another_process_settles_meanwhile_is_settled_once(ledger):
    time.sleep(1.1)
    with Meter(ledger) as one, Meter(ledger) as other:
        settings = load_settings({"on_unsettled": "estimate", "unsettled_seconds": 1})
        by_other = []

        def slow(call):
            """Know the call as unsettled, and say so only when the other process has settled it."""
            by_other.append(settle_as_set(other._ledger, other.prices, settings))
            return {"input_tokens": 1}

        assert one.settle_unsettled(slow, older_than=timedelta(0)) == ([], 0)
        assert by_other == [LOST, 0, 0, 0, 0]
        assert one.budgets()[0].standing.spent == LOST * INPUT_NANOS
        assert list(check(one._ledger._engine)) == []
    assert [row.corrections for row in rows_of(ledger)] == [1] * LOST


def test_many_look_at_once_and_each_call_is_settled_once(ledger):
    time.sleep(1.1)
    settings = load_settings({"on_unsettled": "estimate", "unsettled_seconds": 1})
    begin = threading.Barrier(4)

    def look(meter):
        begin.wait(30)
        return settle_as_set(meter._ledger, meter.prices, settings)

    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        meters = [stack.enter_context(Meter(ledger)) for _ in range(4)]
        assert sum(pool.map(look, meters)) == LOST
        assert meters[0].budgets()[0].standing.spent == LOST * INPUT_NANOS
        assert list(check(meters[0]._ledger._engine)) == []


def test_an_end_that_comes_later_replaces_the_guess(ledger):
    with Meter(ledger, hold_seconds=1) as meter, attribute("alice"):
        call = meter.reserve(
            provider="openai", model="gpt-4o", input_tokens=INPUT_TOKENS, max_output_tokens=10
        )
        meter._ledger._inner.sweep(call.call.started_us + 2_000_000)
        meter.settle_unsettled("estimate", older_than=timedelta(0))
        call.settle(input_tokens=INPUT_TOKENS, output_tokens=10)
        found = next(meter.calls(id=str(call.call.id)))
        # 100 at 2.50 and 10 at 10 USD a million: 0.00025 and 0.0001 USD.
        assert (found.cost_nanos, found.basis) == (350_000, Basis.REPORTED)
        assert meter.budgets()[0].standing.spent == LOST * INPUT_NANOS + 350_000
        assert list(check(meter._ledger._engine)) == []


def test_a_guess_of_work_that_shows_itself_later_is_not_billed_twice(
    database_url, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    upgrade(database_url)
    with Meter(database_url) as meter, attribute("alice"):
        meter.set_budget("alice", subject="alice", limit="5")

        def a_look(usage, basis):
            call = meter.reserve(
                provider="openai", model="gpt-4o", input_tokens=INPUT_TOKENS, max_output_tokens=10
            )
            call.settled(Outcome.COMPLETED, usage, basis, billing_ids=("job-1",)).result(30)
            return call.call.id

        receipt = a_look(None, Basis.UNKNOWN)
        ((guessed,), _) = meter.settle_unsettled("estimate", older_than=timedelta(0))
        assert (guessed.id, guessed.cost_nanos) == (receipt, INPUT_NANOS)
        a_look(Usage(input_tokens=INPUT_TOKENS, output_tokens=10), Basis.REPORTED)
        assert [row.cost_nanos for row in meter.calls(newest_first=False)] == [0, 350_000]
        assert meter.budgets()[0].standing.spent == 350_000
        assert list(check(meter._ledger._engine)) == []


def test_a_prompt_that_was_not_counted_stays_listed(database_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    upgrade(database_url)
    with Meter(database_url) as meter:
        uncounted = an_unknown_end(a_call(started_us=now_us(), estimated_input_tokens=None))
        meter._ledger.store.settle(uncounted, CARD).result(30)
        assert meter.settle_unsettled("estimate", older_than=timedelta(0)) == ([], 1)
        assert [row.state for row in meter.calls()] == ["unsettled"]
