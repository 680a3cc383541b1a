"""The feed has every record once, whoever commits and whenever somebody looks."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import Engine

from meter.core.call import Attribution
from meter.core.usage import Usage
from meter.store import rollups
from meter.store.changes import changes, entries_of_feed
from meter.store.credit import Credits
from meter.store.encoding import event_to_row
from meter.store.engine import open_engine, read_connection, write_connection
from meter.store.feed import count_sources, last_portion, seal, seal_some, sources_between
from meter.store.ledger_store import LedgerStore
from meter.store.requests import Settle
from meter.store.writing import write_batch
from tests.store.examples import CARD, a_call, a_correction, an_event, an_unknown_end, call_id

WAIT_S = 60


def read(engine: Engine, after: int, last: int) -> list[UUID]:
    with read_connection(engine) as connection:
        return [s for _, sources in sources_between(connection, after, last) for s in sources]


def settle(store: LedgerStore, number: int) -> None:
    store.settle(an_event(a_call(number)), CARD).result(WAIT_S)


def test_an_empty_ledger_has_no_portion(engine: Engine) -> None:
    assert (seal(engine), last_portion(engine), read(engine, 0, 9)) == (0, 0, [])


def test_each_portion_has_what_was_committed_since_the_one_before(store, engine: Engine) -> None:
    settle(store, 2)
    assert seal(engine) == 1
    assert seal(engine) == 1, "nothing new makes no portion"
    settle(store, 1)
    settle(store, 3)
    assert seal(engine) == 2
    assert read(engine, 0, 1) == [call_id(2)]
    assert read(engine, 1, 2) == [call_id(1), call_id(3)]
    assert count_sources(engine, 0, 2) == 3


def test_a_call_in_flight_is_no_record_and_its_repeated_end_is_one(store, engine: Engine) -> None:
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    assert seal(engine) == 0
    settle(store, 1)
    settle(store, 1)
    seal(engine)
    settle(store, 1)
    seal(engine)
    assert read(engine, 0, last_portion(engine)) == [call_id(1)]


def test_corrections_and_late_ends_are_records_of_their_own(store, engine: Engine) -> None:
    settle(store, 1)
    store.reserve(a_call(2), "openai", CARD).result(WAIT_S)
    store.sweep(a_call(2).started_us + 10**12)
    seal(engine)
    store.correct(a_correction(1, 1, Usage(input_tokens=9))).result(WAIT_S)
    settle(store, 2)
    store.correct(a_correction(1, 2, Usage(input_tokens=2))).result(WAIT_S)
    last = seal(engine)
    first = list(changes(engine, after=0, last=1))
    assert [(c.source_id, c.call.state, c.before) for c in first] == [
        (call_id(1), "settled", None), (call_id(2), "unsettled", None),
    ]  # fmt: skip
    later = {c.source_id: c for c in changes(engine, after=1, last=last)}
    assert len(later) == 3
    shown = sorted((c.call.id, c.call.corrections, c.before.cost_nanos, c.call.cost_nanos)
                   for c in later.values() if c.before)  # fmt: skip
    # 4 x 1000 + 6 x 2000 = 16,000; 9 x 1000; 2 x 1000; call 2 ends late with 4 and 6 tokens.
    assert shown == [
        (call_id(1), 1, 16_000, 9_000), (call_id(1), 2, 9_000, 2_000),
        (call_id(2), 1, None, 16_000),
    ]  # fmt: skip


def test_a_change_says_what_was_stated_then_whatever_came_later(store, engine: Engine) -> None:
    settle(store, 1)
    store.correct(a_correction(1, 1, Usage(input_tokens=9))).result(WAIT_S)
    last = seal(engine)
    again = [(c.call.corrections, c.call.cost_nanos) for c in changes(engine, after=0, last=last)]
    assert sorted(again) == [(0, 16_000), (1, 9_000)]


def test_changes_are_chosen_by_the_call_they_are_about(store, engine: Engine) -> None:
    settle(store, 1)
    store.correct(a_correction(1, 1, Usage(input_tokens=9))).result(WAIT_S)
    last = seal(engine)
    assert len(list(changes(engine, after=0, last=last, filters={"subject": "alice"}))) == 2
    assert list(changes(engine, after=0, last=last, filters={"subject": "bob"})) == []
    started = a_call(1).started_us
    assert list(changes(engine, after=0, last=last, until_us=started)) == []
    assert len(list(changes(engine, after=0, last=last, since_us=started))) == 2


def test_the_entries_of_the_feed_are_those_of_the_ledger(store, engine: Engine) -> None:
    settle(store, 1)
    store.settle(an_unknown_end(a_call(2)), CARD).result(WAIT_S)
    seal(engine)
    store.correct(a_correction(1, 1, Usage(input_tokens=9))).result(WAIT_S)
    last = seal(engine)
    assert [e.amount_nanos for e in entries_of_feed(engine, after=0, last=1)] == [16_000]
    # From 16,000 back to 9,000 nanos.
    (given_back,) = entries_of_feed(engine, after=1, last=last)
    assert (given_back.amount_nanos, given_back.credit) == (7_000, "spend:alice")


def test_entries_that_no_call_makes_are_in_the_feed_too(store, engine: Engine) -> None:
    granted = {"expires_us": None, "reason": "paid", "author": "boss", "now_us": 1}
    Credits(engine).grant("g1", "alice", 5_000, "USD", **granted)
    last = seal(engine)
    (entry,) = entries_of_feed(engine, after=0, last=last)
    assert (entry.amount_nanos, entry.currency) == (5_000, "USD")
    assert rollups.fold(engine) == 1


def test_many_arrivals_take_several_steps(store, engine: Engine) -> None:
    for number in range(5):
        settle(store, number)
    counts = []
    for _ in range(3):
        with write_connection(engine) as connection:
            counts.append(seal_some(connection, at_once=2))
    assert counts == [(1, False), (2, False), (3, True)]
    assert sorted(read(engine, 0, 3)) == [call_id(number) for number in range(5)]


def test_a_transaction_with_many_records_is_cut_into_parts(engine: Engine) -> None:
    events = [an_event(a_call(number)) for number in range(1201)]
    with write_connection(engine) as connection:
        write_batch(connection, [Settle(e, event_to_row(e), CARD) for e in events])
    assert seal(engine) == 1
    with read_connection(engine) as connection:
        parts = [len(sources) for _, sources in sources_between(connection, 0, 1)]
    assert parts == [500, 500, 201]


def test_what_is_rolled_back_is_in_no_portion_and_takes_no_number(store, engine: Engine) -> None:
    settle(store, 1)
    with pytest.raises(ZeroDivisionError), write_connection(engine) as connection:
        seal_some(connection)
        raise ZeroDivisionError
    assert last_portion(engine) == 0
    assert (seal(engine), read(engine, 0, 1)) == (1, [call_id(1)])


@pytest.mark.postgresql
def test_a_transaction_that_began_first_and_commits_last_is_not_missed(
    postgres_ledger_url: str,
) -> None:
    engine = open_engine(postgres_ledger_url)
    slow, quick = an_event(a_call(1)), an_event(a_call(2, provider="other"))
    with write_connection(engine) as connection:
        write_batch(connection, [Settle(slow, event_to_row(slow), None)])
        fast = LedgerStore(engine)
        # Another subject and issuer: the balances of the two do not wait for each other.
        other = replace(
            quick, call=replace(quick.call, attribution=Attribution("bob")), issuer="other"
        )
        fast.settle(other).result(WAIT_S)
        fast.close(WAIT_S)
        assert seal(engine) == 1
    assert seal(engine) == 2
    assert (read(engine, 0, 1), read(engine, 1, 2)) == ([call_id(2)], [call_id(1)])
    engine.dispose()


@pytest.fixture
def stores(ledger_url: str) -> Iterator[list[LedgerStore]]:
    """Three stores on one ledger, as three processes would have."""
    engines = [open_engine(ledger_url, durability="process", busy_timeout_s=60) for _ in range(3)]
    made = [LedgerStore(engine) for engine in engines]
    yield made
    for store, engine in zip(made, engines, strict=True):
        assert store.close(WAIT_S)
        engine.dispose()


def test_writers_and_sealers_at_once_miss_nothing_and_repeat_nothing(
    stores: list[LedgerStore], engine: Engine, ledger_url: str
) -> None:
    calls, corrected = 150, 30
    done = threading.Event()

    def write(store: LedgerStore, first: int) -> None:
        ends = [store.settle(an_event(a_call(n)), CARD) for n in range(first, first + calls)]
        for end in ends:
            end.result(WAIT_S)
        fixes = [
            store.correct(a_correction(n, 1, Usage(input_tokens=2)))
            for n in range(first, first + corrected)
        ]
        for fix in fixes:
            fix.result(WAIT_S)

    def follow(own: Engine) -> list[UUID]:
        seen: list[UUID] = []
        watermark = 0
        while True:
            was_done = done.is_set()
            last = seal(own)
            seen += read(own, watermark, last)
            watermark = last
            if was_done:
                return seen

    followers = [open_engine(ledger_url, busy_timeout_s=60) for _ in range(2)]
    with ThreadPoolExecutor(5) as pool:
        following = [pool.submit(follow, own) for own in followers]
        writing = [pool.submit(write, s, 1000 * n) for n, s in enumerate(stores, start=1)]
        for each in writing:
            each.result(WAIT_S)
        done.set()
        seen = [each.result(WAIT_S) for each in following]
    numbers = [1000 * n + c for n in (1, 2, 3) for c in range(calls)]
    fixed = [1000 * n + c for n in (1, 2, 3) for c in range(corrected)]
    expected = sorted([call_id(n) for n in numbers] + [a_correction(n, 1).id for n in fixed])
    assert [sorted(each) for each in seen] == [expected, expected]
    for own in followers:
        own.dispose()
