"""What the ledger cannot take waits in a file and is written once when it is back."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from meter.core.budgets import Measure, Standing
from meter.core.call import Outcome
from meter.core.usage import Usage
from meter.errors import StoreUnavailable
from meter.store import spool
from meter.store.budget_rows import set_budget, standing
from meter.store.checking import check
from meter.store.engine import open_engine, sqlite_module
from meter.store.ledger_store import LedgerStore
from meter.store.reads import calls, count_open
from meter.store.spool import SpoolingStore
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOON_US,
    TEN_TOKENS_NANOS,
    a_budget,
    a_call,
    an_event,
)


@pytest.fixture
def ledger(sqlite_ledger_url):
    engine = open_engine(sqlite_ledger_url, durability="process", busy_timeout_s=0.05)
    inner = LedgerStore(engine)
    yield engine, inner
    inner.close()
    engine.dispose()


class LockedBy:
    """Holds the ledger's write lock, as another process would."""

    def __init__(self, url):
        # The same library as the ledger's: two copies of SQLite in one process do not see each
        # other's locks.
        file = url.removeprefix("sqlite:///")
        self._connection = sqlite_module().connect(file, isolation_level=None)

    def __enter__(self):
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_):
        self._connection.execute("ROLLBACK")
        self._connection.close()


def recorded(engine):
    return [(call.id, call.usage, call.cost_nanos) for call in calls(engine)]


def test_calls_go_on_while_the_ledger_is_locked_and_are_recorded_once_after(
    ledger, sqlite_ledger_url, tmp_path
):
    engine, inner = ledger
    spool = tmp_path / "meter.spool"
    store = SpoolingStore(inner, spool)
    call, event = a_call(), an_event()
    with LockedBy(sqlite_ledger_url):
        assert store.reserve(call, "openai", CARD).result(10) == ()
        assert store.settle(event, CARD).result(10) is None
    assert recorded(engine) == []
    assert len(spool.read_bytes().splitlines()) == 2  # that it left, and how it ended

    assert store.replay() == 2
    assert recorded(engine) == [(call.id, event.usage, TEN_TOKENS_NANOS)]
    assert not spool.exists()
    assert store.replay() == 0


def test_a_record_that_reached_the_ledger_after_all_is_not_counted_twice(ledger, tmp_path):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    event = an_event()
    store._append_event(event, CARD)
    inner.settle(event, CARD).result(10)
    store.replay()
    assert len(recorded(engine)) == 1


def test_a_spooled_end_closes_a_call_that_was_reserved_before(ledger, sqlite_ledger_url, tmp_path):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    store.reserve(a_call(), "openai", CARD).result(10)
    assert count_open(engine) == 1
    with LockedBy(sqlite_ledger_url):
        store.settle(an_event(), CARD).result(10)
    store.replay()
    assert (count_open(engine), len(recorded(engine))) == (0, 1)


def test_the_spool_is_kept_when_the_ledger_is_away_again(ledger, sqlite_ledger_url, tmp_path):
    _, inner = ledger
    spool = tmp_path / "meter.spool"
    store = SpoolingStore(inner, spool)
    store._append_event(an_event(), CARD)
    with LockedBy(sqlite_ledger_url), pytest.raises(Exception, match="locked"):
        store.replay()
    assert list(tmp_path.glob("meter.spool.taken-*"))
    assert store.replay() == 1
    assert not list(tmp_path.glob("meter.spool*taken*"))


def test_a_half_written_last_line_does_not_keep_the_others_back(ledger, tmp_path, caplog):
    engine, inner = ledger
    spool = tmp_path / "meter.spool"
    store = SpoolingStore(inner, spool)
    store._append_event(an_event(), CARD)
    store._append_event(an_event(a_call(2)), CARD)
    spool.write_bytes(spool.read_bytes()[:-40])
    store.replay()
    assert len(recorded(engine)) == 1
    assert "line 2 of the spool cannot be read" in caplog.text


def test_every_field_of_an_event_comes_back_from_the_spool(ledger, tmp_path):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    event = an_event(
        usage=Usage(input_tokens=4, output_tokens=6, audio_seconds=Decimal("5.85")),
        outcome=Outcome.UPSTREAM_FAILED,
        traits=(("size", "1024x1024"),),
        defects=("something was odd",),
        counted_output_tokens=7,
        service_tier="batch",
    )
    store._append_event(event, CARD)
    store.replay()
    (row,) = calls(engine)
    assert row.usage == event.usage
    assert (row.outcome, row.traits, row.defects) == (event.outcome, event.traits, event.defects)
    assert (row.counted_output_tokens, row.service_tier) == (7, "batch")


def test_a_spool_that_cannot_be_written_is_said(ledger, sqlite_ledger_url, tmp_path):
    _, inner = ledger
    store = SpoolingStore(inner, Path(tmp_path / "absent" / "meter.spool"))
    with LockedBy(sqlite_ledger_url), pytest.raises(Exception, match="cannot be written"):
        store.settle(an_event(), CARD).result(10)


def test_an_end_that_nothing_could_take_is_written_when_the_ledger_is_back(
    ledger, sqlite_ledger_url, tmp_path
):
    engine, inner = ledger
    folder = tmp_path / "not there yet"
    store = SpoolingStore(inner, folder / "spool", keeps_intents=False)
    for number in (1, 2):
        store.reserve(a_call(number), "openai", CARD).result(10)
    with LockedBy(sqlite_ledger_url):
        for number in (1, 2):
            with pytest.raises(StoreUnavailable, match="cannot be written"):
                store.settle(an_event(a_call(number)), CARD).result(10)
    assert count_open(engine) == 2
    assert store.replay_what_waits() == 2
    assert [cost for _, _, cost in recorded(engine)] == [TEN_TOKENS_NANOS] * 2
    assert count_open(engine) == 0
    assert store.replay_what_waits() == 0


def test_of_ends_that_nothing_can_take_no_more_are_kept_than_memory_bears(
    ledger, sqlite_ledger_url, tmp_path, monkeypatch
):
    engine, inner = ledger
    monkeypatch.setattr(spool, "_MOST_KEPT", 2)
    store = SpoolingStore(inner, tmp_path / "not there" / "spool")
    with LockedBy(sqlite_ledger_url):
        for number in range(1, 5):
            with pytest.raises(StoreUnavailable):
                store.settle(an_event(a_call(number)), CARD).result(10)
    store.replay()
    assert len(recorded(engine)) == 2


def test_what_waits_is_written_where_no_call_shows_that_the_ledger_is_back(
    ledger, sqlite_ledger_url, tmp_path
):
    engine, inner = ledger
    store, other = (SpoolingStore(inner, tmp_path / "spool") for _ in range(2))
    with LockedBy(sqlite_ledger_url):
        store.settle(an_event(a_call()), CARD).result(10)
    assert other.replay_what_waits() == 1
    assert len(recorded(engine)) == 1
    assert store.replay_what_waits() == 0


def test_a_call_whose_process_dies_while_the_ledger_is_away_is_found(
    ledger, sqlite_ledger_url, tmp_path
):
    engine, inner = ledger
    spool = tmp_path / "meter.spool"
    with LockedBy(sqlite_ledger_url):
        SpoolingStore(inner, spool).reserve(a_call(), "openai", CARD).result(10)
    # The process is gone; another one starts, and the ledger is back.
    assert SpoolingStore(inner, spool).replay() == 1
    assert count_open(engine) == 1
    inner.sweep(NOON_US + 10 * HOUR_US)
    ((identity, usage, cost),) = recorded(engine)
    assert (identity, usage, cost) == (a_call().id, None, None)
    (found,) = calls(engine)
    assert found.state == "unsettled"
    assert list(check(engine)) == []


def test_a_spooled_call_is_not_refused_by_a_budget_when_it_is_replayed(
    ledger, sqlite_ledger_url, tmp_path
):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    set_budget(engine, a_budget(0, measure=Measure.CALLS, currency=None), now_us=NOON_US)
    with LockedBy(sqlite_ledger_url):
        store.reserve(a_call(), "openai", CARD).result(10)
    store.replay()
    assert count_open(engine) == 1  # it has left: a fact is never refused
    store.settle(an_event(), CARD).result(10)
    assert standing(engine, "all", now_us=NOON_US).standing == Standing(spent=1)
    assert list(check(engine)) == []


@pytest.mark.parametrize("replayed_first", [True, False])
def test_a_spooled_call_that_was_never_sent_leaves_nothing_behind(
    ledger, sqlite_ledger_url, tmp_path, replayed_first
):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    with LockedBy(sqlite_ledger_url):
        store.reserve(a_call(), "openai", CARD).result(10)
    if replayed_first:
        store.replay()
    store.release(a_call()).result(10)
    store.replay()
    assert (count_open(engine), recorded(engine)) == (0, [])


def test_an_end_that_overtakes_its_spooled_beginning_is_not_opened_again(
    ledger, sqlite_ledger_url, tmp_path
):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    with LockedBy(sqlite_ledger_url):
        store.reserve(a_call(), "openai", CARD).result(10)
    inner.settle(an_event(), CARD).result(10)
    store.replay()
    assert (count_open(engine), len(recorded(engine))) == (0, 1)


def test_the_file_is_replayed_by_itself_as_soon_as_the_ledger_is_back(
    ledger, sqlite_ledger_url, tmp_path
):
    engine, inner = ledger
    spool = tmp_path / "meter.spool"
    store = SpoolingStore(inner, spool)
    with LockedBy(sqlite_ledger_url):
        store.settle(an_event(), CARD).result(10)
    store.settle(an_event(a_call(2)), CARD).result(10)
    for thread in threading.enumerate():
        if thread.name == "meter-spool":
            thread.join(10)
    assert len(recorded(engine)) == 2
    assert not spool.exists()


def test_records_that_come_during_a_replay_are_kept_for_the_next(ledger, tmp_path, monkeypatch):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    store._append_event(an_event(), CARD)
    settle = inner.settle

    def settle_and_spool_another(event, card, others):
        if event.call.id == a_call().id:
            store._append_event(an_event(a_call(2)), CARD)
        return settle(event, card, others)

    monkeypatch.setattr(inner, "settle", settle_and_spool_another)
    assert store.replay() == 1
    assert store.replay() == 1
    assert len(recorded(engine)) == 2


def test_two_replays_at_once_write_each_record_once(ledger, tmp_path):
    engine, inner = ledger
    path = tmp_path / "meter.spool"
    stores = [SpoolingStore(inner, path) for _ in range(2)]
    for number in range(1, 51):
        stores[0]._append_event(an_event(a_call(number)), CARD)
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(SpoolingStore.replay, stores))
    stores[0].replay()
    assert sum(counts) == 50
    assert len(recorded(engine)) == 50
    assert list(check(engine)) == []


def test_a_line_that_a_full_disk_cut_off_does_not_spoil_the_next(ledger, tmp_path, monkeypatch):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    write = os.write

    def half(descriptor, data):
        monkeypatch.setattr(os, "write", full)
        return write(descriptor, bytes(data)[:20])

    def full(_descriptor, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        store._append_event(an_event(), CARD)
    monkeypatch.setattr(os, "write", write)
    store._append_event(an_event(a_call(2)), CARD)
    # Another process replays the file; what did not fit into it only its own process knows.
    assert SpoolingStore(inner, tmp_path / "meter.spool").replay() == 1
    assert [row[0] for row in recorded(engine)] == [a_call(2).id]
    assert store.replay() == 1
    assert len(recorded(engine)) == 2
