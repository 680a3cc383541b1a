"""What the ledger cannot take waits in a file and is written once when it is back."""

from decimal import Decimal
from pathlib import Path

import pytest

from meter.core.call import Outcome
from meter.core.usage import Usage
from meter.store.engine import open_engine, sqlite_module
from meter.store.ledger_store import LedgerStore
from meter.store.reads import calls, count_open
from meter.store.spool import SpoolingStore
from tests.store.examples import CARD, TEN_TOKENS_NANOS, a_call, an_event


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
    assert len(spool.read_bytes().splitlines()) == 1

    assert store.replay() == 1
    assert recorded(engine) == [(call.id, event.usage, TEN_TOKENS_NANOS)]
    assert not spool.exists()
    assert store.replay() == 0


def test_a_record_that_reached_the_ledger_after_all_is_not_counted_twice(ledger, tmp_path):
    engine, inner = ledger
    store = SpoolingStore(inner, tmp_path / "meter.spool")
    event = an_event()
    store._append(event, CARD)
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
    store._append(an_event(), CARD)
    with LockedBy(sqlite_ledger_url), pytest.raises(Exception, match="locked"):
        store.replay()
    assert spool.exists()
    assert store.replay() == 1


def test_a_half_written_last_line_does_not_keep_the_others_back(ledger, tmp_path, caplog):
    engine, inner = ledger
    spool = tmp_path / "meter.spool"
    store = SpoolingStore(inner, spool)
    store._append(an_event(), CARD)
    store._append(an_event(a_call(2)), CARD)
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
    store._append(event, CARD)
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
