"""Archived months leave the ledger whole: in a file, out of the calls, and still in every sum."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from meter.clock import now_us
from meter.core.call import Attribution
from meter.core.rates import microseconds_of
from meter.core.usage import Usage
from meter.errors import ConfigError, InputError, MeterError
from meter.exports import archiving
from meter.exports.archiving import archive
from meter.store.checking import check
from meter.store.months import Month
from tests.store.examples import CARD, HOUR_US, a_call, a_correction, an_event

WAIT_S = 20.0
DAY_US = 24 * HOUR_US


def at(year, month, day=1, hour=0):
    return microseconds_of(datetime(year, month, day, hour, tzinfo=UTC))


JUNE, JULY, AUGUST = at(2026, 6), at(2026, 7), at(2026, 8)


def old_call(started_us, number=0, subject="alice", id_us=None):
    """A call with an id as it would have had: chosen when it started, or at `id_us`."""
    identity = UUID(int=(id_us or started_us) // 1000 << 80 | 7 << 76 | 2 << 62 | number)
    return a_call(
        id=identity, operation_id=identity, started_us=started_us,
        attribution=Attribution(subject, (("team", "search"),)),
    )  # fmt: skip


def settle(meter, call, usage=None):
    meter._ledger.store.settle(an_event(call, usage), CARD).result(WAIT_S)


def correct(meter, call, input_tokens, number=1):
    made = a_correction(1, number, Usage(input_tokens=input_tokens))
    made = replace(made, id=UUID(int=call.id.int ^ number << 8), call_id=call.id)
    meter._ledger.correct_all([(made, (CARD,))])
    return made


CALLS = (
    [old_call(JUNE + n * DAY_US, n) for n in range(30)]
    + [old_call(JULY + n * DAY_US, n, "bob") for n in range(1, 31)]
    + [old_call(AUGUST + HOUR_US, 1), old_call(at(2026, 10, 5), 1)]
)


@pytest.fixture
def months(meter):
    """Thirty calls of alice in June, thirty of bob in July, two more; one of June is corrected.

    A call costs 16,000 nanos; the corrected one 1,000.
    """
    meter._ledger.months.make_ahead(JUNE, 1)
    for call in CALLS:
        settle(meter, call)
    correct(meter, CALLS[3], 1)
    return meter


def archived(meter, folder, before_us=JULY, now=None):
    return list(archive(meter._invoicing(), folder, before_us=before_us, now_us=now or now_us()))


def question(meter, by, since=None, until=None, **more):
    rows = meter.usage(by=by, since=since, until=until, **more)
    return [(row.group, row.calls, row.cost_nanos) for row in rows]


def test_a_month_goes_into_a_file_and_stays_in_the_sums(months, tmp_path):
    asked = (["month"], ["subject"], ["day", "model"], ["tag:team"], [])
    before = [question(months, by) for by in asked]
    assert before[0][0] == (("2026-06",), 30, 29 * 16_000 + 1_000)
    # Two calls in the middle of the day that the interval ends in.
    june = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 11, tzinfo=UTC)
    ten_days = question(months, ["model"], *june)
    assert ten_days == [(("small",), 10, 9 * 16_000 + 1_000)]

    (done,) = archived(months, tmp_path)
    assert (done.month.name, done.calls, done.corrections) == ("2026-06", 30, 1)
    table = pq.read_table(done.file)
    assert sorted(table["call_id"].to_pylist()) == sorted(str(call.id) for call in CALLS[:30])
    assert sum(table["cost_nanos"].to_pylist()) == 30 * 16_000
    assert set(table["provider"].to_pylist()) == {"openai"}
    later = pq.read_table(tmp_path / "corrections-2026-06.parquet")
    assert later["cost_nanos"].to_pylist() == [1_000]

    assert [question(months, by) for by in asked] == before
    assert question(months, ["model"], *june) == ten_days
    assert len(list(months.calls(limit=None))) == 32
    assert not list(check(months._ledger._engine))
    assert archived(months, tmp_path) == []


def test_what_only_archived_calls_could_tell_is_refused(months, tmp_path):
    archived(months, tmp_path)
    told = "found a question about calls before 2026-07-01, which are archived"
    since, until = datetime(2026, 6, 5, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
    for ask in (
        lambda: months.usage(by=["outcome"]),
        lambda: months.usage(by=["model"], since=since.replace(minute=1), until=until),
        lambda: months.usage(by=["subject", "day"], tz="Asia/Kathmandu"),
        lambda: list(months.calls(since=since)),
        lambda: months.count_calls(since=since),
        lambda: months.timings(since=since),
        lambda: months.accuracy(since=since),
        lambda: months.export("csv", tmp_path / "calls.csv", since=since),
    ):
        with pytest.raises(InputError, match=told):
            ask()
    with pytest.raises(ConfigError, match="window began before 2026-07-01"):
        months.set_budget("all", limit="1", subject="alice", window="total")
    july = datetime(2026, 7, 1, tzinfo=UTC)
    assert question(months, ["outcome"], since=july)[0][1] == 32
    assert len(list(months.calls(since=july))) == 32
    months.set_budget("all", limit="1", subject="alice", window="month")


def test_a_closed_month_takes_no_record_any_more(months, tmp_path):
    archived(months, tmp_path)
    before = question(months, ["month"])
    late = old_call(JUNE + HOUR_US, 77)
    for call in (late, CALLS[0]):
        with pytest.raises(MeterError, match="expected none before 2026-07-01: those mo"):
            settle(months, call)
    with pytest.raises(MeterError, match="those months are archived"):
        months._ledger.store.reserve(late, "openai", CARD).result(WAIT_S)
    with pytest.raises(MeterError, match="found no ended call"):
        correct(months, CALLS[5], 2)
    # The month after is open to all of them.
    settle(months, old_call(JULY + 2 * HOUR_US, 5))
    correct(months, CALLS[40], 2)
    assert question(months, ["month"])[0] == before[0]
    assert not list(check(months._ledger._engine))


def test_what_was_closed_and_not_archived_can_be_read_and_not_written(months, tmp_path):
    months._ledger.months.close(Month.of(JUNE), now_us())
    assert len(list(months.calls(limit=None))) == 62
    with pytest.raises(MeterError, match="those months are archived"):
        correct(months, CALLS[5], 2)
    assert not list(check(months._ledger._engine))


def test_ids_and_starts_on_either_side_of_the_month_lose_nothing(months, tmp_path):
    """An id is chosen a moment before or after its call starts; the start decides."""
    early = old_call(JULY + 1_000, 901, id_us=JULY - 5_000)
    late = old_call(JUNE + 29 * DAY_US + HOUR_US, 902, id_us=JULY + 5_000)
    settle(months, early)
    settle(months, late)
    (done,) = archived(months, tmp_path)
    ids = pq.read_table(done.file)["call_id"].to_pylist()
    assert (done.calls, str(late.id) in ids, str(early.id) in ids) == (31, True, False)
    assert early.id in {call.id for call in months.calls(limit=None)}
    assert not list(check(months._ledger._engine))


def test_an_archive_that_was_cut_short_is_finished(months, tmp_path, monkeypatch):
    real = type(months._ledger.months).sweep
    monkeypatch.setattr(type(months._ledger.months), "sweep", lambda self: 1 / 0 if
                        self.standing()[1] else None)  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        archived(months, tmp_path)
    # What is left in the table is not there for anybody.
    with pytest.raises(InputError, match="which are archived"):
        list(months.calls(since=datetime(2026, 6, 1, tzinfo=UTC)))
    assert not list(check(months._ledger._engine))
    monkeypatch.setattr(type(months._ledger.months), "sweep", real)
    assert archived(months, tmp_path) == []
    with months._ledger._engine.connect() as connection:
        first = connection.execute(text("SELECT min(started_us) FROM usage_events")).scalar()
    assert first == JULY + DAY_US


def test_a_file_that_does_not_say_what_the_ledger_does_stops_it(months, tmp_path, monkeypatch):
    file = tmp_path / "usage_events-2026-06.parquet"
    pq.write_table(pq.read_table(_one_row(tmp_path)), file)
    with pytest.raises(InputError, match="found other records in"):
        archived(months, tmp_path)
    file.unlink()
    monkeypatch.setattr(archiving, "_plain", lambda value: "x" if value == "alice" else str(value)
                        if isinstance(value, UUID) else value)  # fmt: skip
    spoilt = archiving._write(
        file, months._ledger.months.fields()[0], months._ledger.months.rows(Month.of(JUNE)), None
    )
    monkeypatch.undo()
    assert spoilt.count == 30
    with pytest.raises(InputError, match="found other records in"):
        archived(months, tmp_path)
    assert len(list(months.calls(limit=None))) == 62


def _one_row(folder):
    import pyarrow as pa

    pq.write_table(pa.table({"call_id": ["x"]}), folder / "other.parquet")
    return folder / "other.parquet"


def test_calls_in_flight_keep_their_month(months, tmp_path):
    months._ledger.store.reserve(old_call(JUNE + HOUR_US, 99), "openai", CARD).result(WAIT_S)
    with pytest.raises(InputError, match="found 1 calls in flight that began before 2026-07-01"):
        archived(months, tmp_path)
    assert archived(months, tmp_path, before_us=JUNE) == []


def test_whoever_follows_the_feed_keeps_what_it_has_not_read(months, tmp_path):
    state = tmp_path / "state.json"
    months.export("jsonl", tmp_path / "a.jsonl", follow=state)
    correct(months, CALLS[7], 2)
    with pytest.raises(InputError, match=r"found that follower \w+ of calls has read the feed up"):
        archived(months, tmp_path)
    months.export("jsonl", tmp_path / "b.jsonl", follow=state)
    assert [done.month.name for done in archived(months, tmp_path)] == ["2026-06"]
    # A watermark from before, whose follower is not known, would miss what is gone.
    with pytest.raises(InputError, match="the portions of the feed up to there were trimmed"):
        months.export("jsonl", tmp_path / "c.jsonl", follow=tmp_path / "other.json")
    settle(months, old_call(at(2026, 11, 2), 3))
    assert months.export("jsonl", tmp_path / "d.jsonl", follow=state).rows == 1


def test_the_feed_is_trimmed_behind_every_follower(months, tmp_path):
    ledger = months._ledger
    state = tmp_path / "state.json"
    months.export("jsonl", tmp_path / "a.jsonl", follow=state)
    read = ledger.last_portion()
    for number in range(3):
        settle(months, old_call(at(2026, 11, 3), number))
        ledger.seal()
    assert ledger.months.trim_feed()[0] == read
    assert months.export("jsonl", tmp_path / "b.jsonl", follow=state).rows == 3
    assert ledger.months.trim_feed()[0] == ledger.last_portion() - 1
    assert not list(check(ledger._engine))
    assert ledger.months.forget_follower("nobody") is False


def test_what_an_invoice_needs_stays(months, tmp_path):
    months.invoice("alice", "2026-06")
    settle(months, old_call(JUNE + 3 * HOUR_US, 500))
    with pytest.raises(InputError, match="found more of 2026-06 to bill to 'alice' than was invo"):
        archived(months, tmp_path)
    (august,) = months.invoice("alice", "2026-08")
    # One call of August, and the one that June's invoice lacked.
    assert august.invoice.subtotal_nanos == 2 * 16_000
    assert [done.month.name for done in archived(months, tmp_path)] == ["2026-06"]
    with pytest.raises(InputError, match="which are archived"):
        months.invoice("bob", "2026-06", draft=True)
    # The next invoice does not look at June again, which cannot have changed.
    (october,) = months.invoice("alice", "2026-10")
    assert len(october.invoice.lines) == 2
    assert not list(check(months._ledger._engine))


def test_an_uninvoiced_month_of_who_is_invoiced_stays(months, tmp_path):
    months.invoice("bob", "2026-07")
    assert archived(months, tmp_path, before_us=JULY)
    settle(months, old_call(AUGUST + DAY_US, 700, "bob"))
    with pytest.raises(InputError, match="found calls of 'bob' from 2026-08-01 to 2026-09-01 that"):
        archived(months, tmp_path, before_us=at(2026, 9))
    assert next(iter(months.calls(limit=None, newest_first=False))).started_us >= AUGUST


def test_statements_of_credit_outlive_the_calls(months, tmp_path):
    credits = months._ledger.credits
    credits.grant("g", "carol", 1_000_000, "USD", expires_us=None, reason="paid", author="test",
                  now_us=JUNE)  # fmt: skip
    settle(months, old_call(JUNE + 5 * HOUR_US, 801, "carol"))
    settle(months, old_call(AUGUST + 5 * HOUR_US, 802, "carol"))
    asked = {"since_us": None, "until_us": at(2026, 9), "tz": "UTC"}
    before = credits.statement("carol", "USD", by=("month",), **asked)
    assert before.closing_nanos == 1_000_000 - 2 * 16_000
    archived(months, tmp_path)
    assert credits.statement("carol", "USD", by=("month",), **asked) == before
    with pytest.raises(InputError, match="found credit used by calls before 2026-07-01, which are"):
        credits.statement("carol", "USD", by=("model",), **asked)
    since = {**asked, "since_us": JULY}
    told = credits.statement("carol", "USD", by=("model",), **since)
    assert (told.opening_nanos, told.closing_nanos) == (984_000, 968_000)
    assert not list(check(months._ledger._engine))
