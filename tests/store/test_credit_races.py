"""Prepaid credit under many hands: threads and processes never let out more than it can pay."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, func, select

from meter.core.budgets import Refusal
from meter.core.call import Bound
from meter.errors import InputError
from meter.store.checking import check
from meter.store.credit import Credits
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from meter.store.schema import entries
from tests.store.examples import CARD, NOON_US, TEN_TOKENS_NANOS, a_call, an_event

WAIT_S = 60
THREADS = 8
WHY = {"reason": "paid", "author": "boss"}


def forty_calls(
    url: str, first: int, begin: "multiprocessing.Barrier", admitted: "multiprocessing.Queue[int]"
) -> None:
    """Make forty calls that cost all they may from eight threads; report how many went out."""
    store = LedgerStore(open_engine(url, durability="process"), hold_wait_s=0)
    begin.wait(WAIT_S)

    def one(number: int) -> int:
        call = a_call(number, bound=Bound(4, 6, TEN_TOKENS_NANOS, "USD"))
        if isinstance(store.reserve(call, "openai", CARD).result(WAIT_S), Refusal):
            return 0
        store.settle(an_event(call), CARD).result(WAIT_S)
        return 1

    with ThreadPoolExecutor(THREADS) as threads:
        count = sum(threads.map(one, range(first, first + 40)))
    store.close()
    admitted.put(count)


def test_credit_for_twenty_calls_lets_out_twenty_of_eighty(ledger_url: str, engine: Engine) -> None:
    credits = Credits(engine)
    for number in range(1, 5):  # four grants of five calls each
        credits.grant(f"g{number}", "alice", 5 * TEN_TOKENS_NANOS, "USD", expires_us=None,
                      now_us=NOON_US - number, **WHY)  # fmt: skip
    spawned = multiprocessing.get_context("spawn")
    admitted, begin = spawned.Queue(), spawned.Barrier(2)
    processes = [
        spawned.Process(target=forty_calls, args=(ledger_url, 100 * number, begin, admitted))
        for number in (1, 2)
    ]
    for process in processes:
        process.start()
    counts = [admitted.get(timeout=WAIT_S) for _ in processes]
    for process in processes:
        process.join(WAIT_S)
    assert sum(counts) == 20
    (found,) = credits.accounts(now_us=NOON_US + 1_000)
    assert (found.balance_nanos, found.held_nanos, found.used_nanos) == (
        0, 0, 20 * TEN_TOKENS_NANOS,
    )  # fmt: skip
    assert list(check(engine)) == []


def many_hands(engine: Engine, work, times: int = 8):  # type: ignore[no-untyped-def]
    """Do the same thing from several threads, each on a connection of its own."""
    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(work, range(times)))


def test_an_ended_grant_is_taken_off_once_however_many_look(engine: Engine) -> None:
    credits = Credits(engine)
    for number in range(3):
        credits.grant(f"g{number}", "alice", 5_000, "USD", expires_us=NOON_US,
                      now_us=NOON_US - 10, **WHY)  # fmt: skip
    closed = many_hands(engine, lambda _: Credits(engine).lapse(NOON_US))
    assert sum(closed) == 3
    with engine.connect() as connection:
        expired = select(func.count(), func.sum(entries.c.amount_nanos)).where(
            entries.c.credit == "expired:alice"
        )
        assert tuple(connection.execute(expired).one()) == (3, 15_000)
    assert list(check(engine)) == []


def test_the_same_grant_from_many_hands_is_granted_once(engine: Engine) -> None:
    def grant(_: int) -> int:
        made = Credits(engine).grant("g1", "alice", 5_000, "USD", expires_us=None,
                                     now_us=NOON_US, **WHY)  # fmt: skip
        return made.left_nanos

    assert many_hands(engine, grant) == [5_000] * 8
    (found,) = Credits(engine).accounts(now_us=NOON_US)
    assert found.balance_nanos == 5_000
    assert list(check(engine)) == []


def test_refunds_from_many_hands_give_back_no_more_than_was_used(engine: Engine) -> None:
    credits = Credits(engine)
    credits.grant("g1", "alice", 100_000, "USD", expires_us=None, now_us=NOON_US - 10, **WHY)
    store = LedgerStore(engine)
    call = a_call()
    store.reserve(call, "openai", CARD).result(WAIT_S)
    store.settle(an_event(call), CARD).result(WAIT_S)  # 16 000
    assert store.close(WAIT_S)

    def refund(number: int) -> int:
        try:
            Credits(engine).refund(f"r{number}", "alice", 3_000, "USD",
                                   now_us=NOON_US + 9, **WHY)  # fmt: skip
        except InputError:
            return 0
        return 1

    assert sum(many_hands(engine, refund)) == 5  # 5 × 3 000 <= 16 000 < 6 × 3 000
    (found,) = credits.accounts(now_us=NOON_US + 10)
    assert found.balance_nanos == 100_000 - 16_000 + 15_000
    assert list(check(engine)) == []
