"""Calls that nobody ends: found again after kill -9, never free, and corrected when they end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from meter.core.budgets import Measure, Standing
from meter.core.call import Basis, Outcome
from meter.core.usage import Usage
from meter.errors import ConflictingWrite
from meter.store import reads, sweeping
from meter.store.checking import check
from meter.store.encoding import open_call_to_row
from meter.store.engine import write_connection
from meter.store.ledger_store import LedgerStore
from meter.store.schema import open_calls
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOON_US,
    SECOND_US,
    TEN_TOKENS_NANOS,
    a_budget,
    a_call,
    an_event,
    call_id,
)

WAIT_S = 20
ROOT = Path(__file__).resolve().parents[2]


def standing(engine: Engine) -> Standing:
    found = reads.standing(engine, "all", now_us=NOON_US)
    assert found is not None
    return found.standing


def test_a_live_call_is_left_alone(engine: Engine, store: LedgerStore) -> None:
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    assert store.sweep(NOON_US + SECOND_US) == 0
    assert reads.count_open(engine) == 1


def test_an_expired_call_becomes_unsettled_and_frees_its_hold(
    engine: Engine, store: LedgerStore
) -> None:
    reads.set_budget(engine, a_budget(100_000), now_us=NOON_US)
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    assert standing(engine).held == 50_000
    assert store.sweep(NOON_US + HOUR_US) == 1
    (found,) = reads.calls(engine)
    assert (found.state, found.outcome, found.basis) == (
        "unsettled", Outcome.TIMED_OUT, Basis.UNKNOWN,
    )  # fmt: skip
    assert (found.usage, found.cost_nanos, found.estimated_input_tokens) == (None, None, 4)
    assert (found.bound_cost_nanos, found.bound_currency, found.currency) == (50_000, "USD", None)
    assert standing(engine) == Standing()
    assert reads.count_open(engine) == 0
    assert store.sweep(NOON_US + HOUR_US) == 0
    assert list(check(engine)) == []


def test_an_unsettled_call_still_counts_as_a_call(engine: Engine, store: LedgerStore) -> None:
    budget = a_budget(1, measure=Measure.CALLS, currency=None)
    reads.set_budget(engine, budget, now_us=NOON_US)
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    store.sweep(NOON_US + HOUR_US)
    assert standing(engine) == Standing(spent=1)


def test_a_late_end_becomes_a_correction(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(100_000), now_us=NOON_US)
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    store.sweep(NOON_US + HOUR_US)
    late = an_event(ended_us=NOON_US + 2 * HOUR_US)
    for _ in range(2):
        store.settle(late).result(WAIT_S)
    (found,) = reads.calls(engine)
    assert (found.state, found.outcome, found.corrections) == ("settled", Outcome.COMPLETED, 1)
    assert found.usage == Usage(input_tokens=4, output_tokens=6)
    assert (found.cost_nanos, found.ended_us) == (TEN_TOKENS_NANOS, NOON_US + 2 * HOUR_US)
    assert (found.model_served, found.status) == ("small-2026", 200)
    assert standing(engine) == Standing(spent=TEN_TOKENS_NANOS)
    assert list(check(engine)) == []


def test_a_second_late_end_with_other_content_conflicts(engine: Engine, store: LedgerStore) -> None:
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    store.sweep(NOON_US + HOUR_US)
    store.settle(an_event()).result(WAIT_S)
    with pytest.raises(ConflictingWrite):
        store.settle(an_event(usage=Usage(input_tokens=5))).result(WAIT_S)
    assert list(check(engine)) == []


def test_many_expired_calls_are_swept_in_portions(
    engine: Engine, store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_AT_ONCE", 7)
    for number in range(1, 31):
        store.reserve(a_call(number), "openai", CARD)
    store.reserve(a_call(31), "openai", CARD).result(WAIT_S)
    assert store.sweep(NOON_US + HOUR_US) == 31
    assert list(check(engine)) == []


def test_two_sweeps_at_once_share_the_work(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(10**9), now_us=NOON_US)
    last = [store.reserve(a_call(number), "openai", CARD) for number in range(1, 201)][-1]
    last.result(WAIT_S)
    counts: list[int] = []
    start = threading.Barrier(4)

    def sweep() -> None:
        start.wait()
        counts.append(store.sweep(NOON_US + HOUR_US))

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert sum(counts) == 200
    assert len(counts) == 4
    assert standing(engine) == Standing()
    assert list(check(engine)) == []


def test_a_call_of_another_place_waits_for_its_lease(engine: Engine) -> None:
    row = open_call_to_row(a_call(), "openai", None, "elsewhere.abc:1:2", NOON_US + HOUR_US)
    with write_connection(engine) as connection:
        connection.execute(insert(open_calls), row)
    assert sweeping.sweep(engine, NOON_US + SECOND_US, dead_owners=True) == 0
    assert sweeping.sweep(engine, NOON_US + HOUR_US, dead_owners=True) == 1


CHILD = """
import sys, threading
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from tests.store.examples import CARD, a_call, an_event

store = LedgerStore(open_engine(sys.argv[1]))
store.reserve(a_call(1), "openai", CARD).result()
store.settle(an_event(a_call(1))).result()
store.reserve(a_call(2), "openai", CARD).result()
print("reserved", flush=True)
number = 3
while True:
    store.reserve(a_call(number), "openai", CARD)
    store.settle(an_event(a_call(number))).result()
    print(number, flush=True)
    number += 1
"""


@pytest.fixture
def killed_in_mid_call(ledger_url: str) -> Iterator[list[int]]:
    """The numbers of the calls that a process was told are settled before it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, ledger_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reserved\n"
    acknowledged = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [int(line) for line in process.stdout.read().splitlines()]
    process.stdout.close()
    process.wait()
    yield acknowledged


def test_after_kill_9_every_call_is_found_again(
    engine: Engine, store: LedgerStore, killed_in_mid_call: list[int]
) -> None:
    assert store.sweep(NOON_US + SECOND_US, dead_owners=True) >= 1
    assert reads.count_open(engine) == 0
    found = {call.id: call for call in reads.calls(engine)}
    assert found[call_id(1)].state == "settled"
    lost = found[call_id(2)]
    assert (lost.state, lost.outcome) == ("unsettled", Outcome.CLIENT_CLOSED)
    assert lost.estimated_input_tokens == 4
    for number in killed_in_mid_call:
        assert found[call_id(number)].state == "settled"
    assert list(check(engine)) == []
