"""Several processes on one ledger: budgets hold, forks are safe, leaving loses nothing."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from meter.core.budgets import Measure, Refusal, Standing
from meter.core.call import Bound
from meter.store import reads
from meter.store.checking import check
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from tests.store.examples import CARD, NOON_US, TEN_TOKENS_NANOS, a_budget, a_call, an_event

WAIT_S = 30
ROOT = Path(__file__).resolve().parents[2]


def fifty_calls(url: str, first: int, admitted: "multiprocessing.Queue[int]") -> None:
    """Make fifty calls of ten tokens, several at once; report how many were admitted."""
    store = LedgerStore(open_engine(url, durability="process"))
    bound = Bound(4, 6, TEN_TOKENS_NANOS, "USD")
    calls = [a_call(number, bound=bound) for number in range(first, first + 50)]
    verdicts = [store.reserve(call, "openai", CARD) for call in calls]
    sent = [
        call
        for call, verdict in zip(calls, verdicts, strict=True)
        if not isinstance(verdict.result(WAIT_S), Refusal)
    ]
    for settled in [store.settle(an_event(call)) for call in sent]:
        settled.result(WAIT_S)
    store.close()
    admitted.put(len(sent))


def test_processes_share_a_budget_to_the_last_call(ledger_url: str, engine: Engine) -> None:
    reads.set_budget(engine, a_budget(61 * TEN_TOKENS_NANOS), now_us=NOON_US)
    spawned = multiprocessing.get_context("spawn")
    admitted = spawned.Queue()
    processes = [
        spawned.Process(target=fifty_calls, args=(ledger_url, 100 * number, admitted))
        for number in (1, 2)
    ]
    for process in processes:
        process.start()
    counts = [admitted.get(timeout=WAIT_S) for _ in processes]
    for process in processes:
        process.join(WAIT_S)
    assert sum(counts) == 61
    found = reads.standing(engine, "all", now_us=NOON_US)
    assert found is not None
    assert found.standing == Standing(spent=61 * TEN_TOKENS_NANOS)
    assert list(check(engine)) == []


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_writes_through_its_own_connections(
    engine: Engine, store: LedgerStore
) -> None:
    reads.set_budget(engine, a_budget(10, measure=Measure.CALLS, currency=None), now_us=NOON_US)
    store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            store.reserve(a_call(2), "openai", CARD).result(WAIT_S)
            store.settle(an_event(a_call(2))).result(WAIT_S)
            status = 0 if store.close(WAIT_S) else 2
        finally:
            os._exit(status)
    store.settle(an_event(a_call(3))).result(WAIT_S)
    assert os.waitpid(child, 0)[1] == 0
    store.settle(an_event(a_call(4))).result(WAIT_S)
    assert len(list(reads.calls(engine))) == 4
    assert list(check(engine)) == []


def test_a_process_that_just_ends_writes_what_is_queued(ledger_url: str, engine: Engine) -> None:
    script = """
import sys
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from tests.store.examples import CARD, a_call, an_event
store = LedgerStore(open_engine(sys.argv[1]))
for number in range(1, 101):
    store.settle(an_event(a_call(number)), CARD)
"""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script, ledger_url],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert len(list(reads.calls(engine))) == 100
