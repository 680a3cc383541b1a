"""Rollups answer as the calls do, to the nano, however far they are folded."""

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, func, select, update

from meter.core.call import Attribution, Basis, Outcome
from meter.core.rating import Charge, rate
from meter.core.usage import Usage
from meter.store import rollups, usage_sums
from meter.store.checking import check
from meter.store.engine import write_connection
from meter.store.ledger_store import LedgerStore
from meter.store.schema import usage_hours, usage_subject_days
from meter.store.usage_sums import usage
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOVEMBER_US,
    a_call,
    a_correction,
    an_event,
    an_unknown_end,
    call_id,
)

WAIT_S = 20.0
CALLS = 160
QUARTER_US = HOUR_US // 4
YUAN = replace(CARD, currency="CNY", id="")


def events(seed: int = 1) -> list[Any]:
    """Calls of ten days: of several users, models, tags, currencies and endings."""
    chosen = random.Random(seed)
    made = []
    for number in range(1, CALLS + 1):
        started_us = NOVEMBER_US + chosen.randrange(10 * 24 * 4) * QUARTER_US
        tags = tuple(
            (name, chosen.choice(values))
            for name, values in (("feature", "ab"), ("team", ["search", 'odd"=']))
            if chosen.random() < 0.6
        )
        call = a_call(
            number,
            started_us=started_us,
            provider=chosen.choice(["openai", "anthropic"]),
            endpoint=chosen.choice(["chat", "messages", "unmetered"]),
            model_requested=chosen.choice(["small", "large", None]),
            attribution=Attribution(
                chosen.choice(["alice", "bob", None]), tags, chosen.choice(["key-1", None])
            ),
        )
        used = Usage(input_tokens=chosen.randrange(9), output_tokens=chosen.randrange(9))
        event = an_event(
            call,
            used,
            charge=rate(used, chosen.choice([CARD, YUAN]), at_us=started_us),
            outcome=chosen.choice([Outcome.COMPLETED, Outcome.UPSTREAM_FAILED, Outcome.REFUSED]),
            basis=chosen.choice([Basis.REPORTED, Basis.ESTIMATED]),
            model_served=chosen.choice(["small-2026", "large"]),
            billed=rate(used, YUAN, at_us=started_us) if chosen.random() < 0.3 else None,
        )
        match number % 9:
            case 0:
                event = an_unknown_end(call)
            case 1:
                event = replace(event, usage=Usage(), charge=Charge((), 0, None, None), billed=None)
        made.append(event)
    return made


def events_until_the_end() -> list[Any]:
    """The same, and some from the 20th of the month to its end."""
    made = events()
    late = [an_event(replace(event.call, id=call_id(1000 + n), operation_id=call_id(1000 + n),
                             started_us=event.call.started_us + 19 * 24 * HOUR_US))
            for n, event in enumerate(made[:50])]  # fmt: skip
    return made + late


def recorded(store: LedgerStore, made: list[Any]) -> None:
    for future in [store.settle(event, CARD, (YUAN,)) for event in made]:
        future.result(WAIT_S)


def corrected(store: LedgerStore, numbers: range, place: int = 1) -> None:
    for number in numbers:
        used = Usage(input_tokens=number, cache_read_tokens=1)
        store.correct(a_correction(number, place, used)).result(WAIT_S)


QUESTIONS: list[dict[str, Any]] = [
    {"by": []},
    {"by": ["model"]},
    {"by": ["provider", "endpoint", "issuer"]},
    {"by": ["subject", "model"]},
    {"by": ["subject", "model_served"], "filters": {"model": "small-2026"}},
    {"by": ["day", "model"], "tz": "Asia/Shanghai"},
    {"by": ["hour"], "tz": "America/New_York"},
    {"by": ["day"], "tz": "Asia/Kathmandu"},
    {"by": ["week", "provider"]},
    {"by": ["month", "subject"]},
    {"by": ["day", "subject"], "tz": "Europe/Berlin"},
    {"by": ["key", "subject"]},
    {"by": ["tag:team"]},
    {"by": ["tag:team", "day", "model"]},
    {"by": ["day", "tag:nothing"]},
    {"by": ["tag:team"], "filters": {"tag": 'team=odd"='}},
    {"by": ["model"], "filters": {"tag": "feature=a"}},
    {"by": ["tag:team", "tag:feature"]},
    {"by": ["tag:team"], "filters": {"tag": "feature=a"}},
    {"by": ["tag:team"], "filters": {"model": "large"}},
    {"by": ["currency"], "filters": {"subject": "alice"}},
    {"by": ["outcome", "basis"]},
    {"by": ["model"], "filters": {"basis": "estimated"}},
    {"by": ["subject"], "filters": {"key": "key-1"}},
    {"by": ["subject"]},
    {"by": ["subject", "day"], "tz": "Asia/Shanghai", "filters": {"subjects": '["alice"]'}},
]
SPANS: list[dict[str, int]] = [
    {},
    {"since_us": NOVEMBER_US + 2 * 24 * HOUR_US},
    {"since_us": NOVEMBER_US + 5 * QUARTER_US, "until_us": NOVEMBER_US + 7 * 24 * HOUR_US + 1},
    {"until_us": NOVEMBER_US + 3 * HOUR_US},
    {"since_us": NOVEMBER_US + QUARTER_US, "until_us": NOVEMBER_US + 2 * QUARTER_US},
    # Days of Shanghai, both ends inside a day UTC.
    {"since_us": NOVEMBER_US + 16 * HOUR_US, "until_us": NOVEMBER_US + (5 * 24 + 16) * HOUR_US},
]


def agree(engine: Engine, *, some: int = 25) -> None:
    """Ask some of the questions, others each time (0: all of them)."""
    asked = [(question, span) for question in QUESTIONS for span in SPANS]
    for question, span in _chosen.sample(asked, some) if some else asked:
        told = usage(engine, **question, **span)
        assert told == usage(engine, **question, **span, rollups=False), (question, span)


_chosen = random.Random(2)


def test_they_agree_with_the_calls_at_every_step(engine: Engine, store: LedgerStore) -> None:
    made = events()
    recorded(store, made[:100])
    agree(engine)
    rollups.fold(engine)
    agree(engine)
    recorded(store, made[100:])
    corrected(store, range(1, 12))
    corrected(store, range(120, 126))
    agree(engine)
    corrected(store, range(5, 9), place=2)
    assert rollups.fold(engine, most=1) > 0
    agree(engine)
    rollups.fold(engine)
    agree(engine)
    assert rollups.fold(engine) == 0
    corrected(store, range(5, 7), place=3)
    agree(engine, some=0)
    assert not list(check(engine))


def test_they_agree_over_any_interval(engine: Engine, store: LedgerStore) -> None:
    made = events()
    recorded(store, made[:150])
    corrected(store, range(1, 12))
    rollups.fold(engine)
    recorded(store, made[150:])
    corrected(store, range(5, 9), place=2)
    for _ in range(150):
        question = _chosen.choice(QUESTIONS)
        # From within an hour to two months, often nearly a whole hour, day or month.
        length_us = _chosen.choice([HOUR_US, 24 * HOUR_US, 31 * 24 * HOUR_US, 60 * 24 * HOUR_US])
        since_us = NOVEMBER_US + _chosen.randrange(-25 * 24 * 4, 10 * 24 * 4) * QUARTER_US
        since_us += _chosen.choice([0, 1, QUARTER_US // 3])
        until_us = since_us + _chosen.choice([length_us, _chosen.randrange(1, length_us)])
        asked = question | {"since_us": since_us, "until_us": until_us}
        assert usage(engine, **asked) == usage(engine, **asked, rollups=False), asked


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rollups that were read."""
    names: list[str] = []
    real = usage_sums._table_rows

    def noting(connection: Any, question: Any, span: Any, tables: Any) -> Any:
        names.extend(table.name for table, _, _ in tables)
        return real(connection, question, span, tables)

    monkeypatch.setattr(usage_sums, "_table_rows", noting)
    return names


@pytest.mark.parametrize(
    ("by", "hours", "tables"),
    [
        # Days 1 to 26 of a month of 30, to 18:16: the month, less its last days.
        ("subject", (0, 25 * 24 + 18.25), ["usage_subject_months", "usage_subject_plain_days",
                                           "usage_subject_hours", "usage_subject_hours"]),
        ("subject", (0, 3 * 24 + 2), ["usage_subject_plain_days", "usage_subject_hours"]),
        ("model", (24, 66.75), ["usage_days", "usage_days", "usage_hours"]),
        ("model", (48, 48.75), ["usage_hours"]),
        ("model", (0.25, 0.5), []),
    ],
)  # fmt: skip
def test_most_of_an_interval_is_all_of_it_less_the_rest(
    engine: Engine,
    store: LedgerStore,
    read: list[str],
    by: str,
    hours: tuple[float, float],
    tables: list[str],
) -> None:
    recorded(store, events_until_the_end())
    rollups.fold(engine)
    since_us, until_us = (NOVEMBER_US + int(hour * HOUR_US) for hour in hours)
    asked: dict[str, Any] = {"by": [by], "since_us": since_us, "until_us": until_us}
    assert usage(engine, **asked) == usage(engine, **asked, rollups=False)
    assert read == tables


def test_the_users_of_a_model_are_the_months_less_their_last_days(
    engine: Engine, store: LedgerStore, read: list[str]
) -> None:
    recorded(store, events_until_the_end())
    rollups.fold(engine)
    asked: dict[str, Any] = {
        "by": ["subject"], "since_us": NOVEMBER_US, "filters": {"model": "small"},
        "until_us": NOVEMBER_US + int((25 * 24 + 18.25) * HOUR_US),
    }  # fmt: skip
    found = usage(engine, **asked)
    assert found
    assert found == usage(engine, **asked, rollups=False)
    assert read == ["usage_subject_model_months", "usage_subject_days"]


def test_a_rollup_is_read_where_one_answers(
    engine: Engine, store: LedgerStore, read: list[str]
) -> None:
    recorded(store, events())
    rollups.fold(engine)
    for by, tz, tables in (
        (["day", "model"], "Asia/Shanghai", ["usage_hours"]),
        (["day", "model"], "UTC", ["usage_days"]),
        (["day", "model"], "Asia/Kathmandu", []),
        (["subject"], "UTC", ["usage_subject_months"]),
        (["subject", "month"], "UTC", ["usage_subject_months"]),
        (["subject", "week"], "UTC", ["usage_subject_plain_days"]),
        (["subject", "model"], "UTC", ["usage_subject_model_months"]),
        (["subject", "model", "day"], "UTC", ["usage_subject_days"]),
        (["key"], "UTC", ["usage_key_days"]),
        (["tag:team"], "UTC", ["usage_hours", "usage_tag_days"]),
        (["day", "subject"], "Asia/Shanghai", ["usage_subject_hours"]),
        (["day", "subject"], "Asia/Kathmandu", []),
        (["outcome"], "UTC", []),
    ):
        read.clear()
        usage(engine, by=by, tz=tz)
        assert read == tables, by


def test_an_interval_that_ends_inside_a_day_counts_nothing_behind_it(
    engine: Engine, store: LedgerStore
) -> None:
    hours = (1, 20, 30)
    recorded(
        store,
        [an_event(a_call(n, started_us=NOVEMBER_US + hour * HOUR_US))
         for n, hour in enumerate(hours, 1)],
    )  # fmt: skip
    rollups.fold(engine)
    for until, calls in ((12, 1), (20, 1), (21, 2), (24, 2), (29, 2), (31, 3)):
        (row,) = usage(
            engine, by=["subject"], since_us=NOVEMBER_US, until_us=NOVEMBER_US + until * HOUR_US
        )
        assert row.calls == calls, until


def test_the_check_takes_any_number_of_records_that_are_not_folded(
    engine: Engine, store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes 250,000 values in one statement at most."""
    recorded(store, events()[:20])
    corrected(store, range(1, 5))
    real = rollups._all_beyond

    def many(connection: Connection) -> Iterator[UUID]:
        yield from real(connection)
        yield from (UUID(int=number) for number in range(260_000))

    monkeypatch.setattr(rollups, "_all_beyond", many)
    assert list(check(engine)) == []
    rollups.fold(engine)
    assert list(check(engine)) == []


def test_several_may_fold_at_once(engine: Engine, store: LedgerStore) -> None:
    recorded(store, events())
    corrected(store, range(1, 30))
    folded: list[int] = []
    threads = [
        threading.Thread(target=lambda: folded.append(rollups.fold(engine))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(folded) == CALLS + 29
    agree(engine)


def test_with_too_much_to_add_the_calls_are_read(
    engine: Engine, store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(store, events())
    monkeypatch.setattr(rollups, "MOST_BEYOND", 10)
    agree(engine)


def test_more_is_added_to_a_ledger_that_has_ten_times_as_much(
    engine: Engine, store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 folded records a tenth is 4: so many more are added, and a fifth is not."""
    monkeypatch.setattr(rollups, "MOST_BEYOND", 1)
    recorded(store, [an_event(a_call(n)) for n in range(1, 41)])
    assert rollups.fold(engine) == 40
    for count in range(1, 6):
        recorded(store, [an_event(a_call(100 + count))])
        with engine.connect() as connection:
            found = rollups.beyond(connection)
        assert (None if found is None else len(found)) == (count if count < 5 else None)
    agree(engine)
    monkeypatch.setattr(rollups, "MOST_BEYOND_EVER", 3)
    with engine.connect() as connection:
        assert rollups.beyond(connection) is None


def test_a_call_leaves_the_key_that_a_correction_takes_it_from(
    engine: Engine, store: LedgerStore
) -> None:
    """In another currency a call has another key; where nothing is left there is no row."""
    recorded(store, [an_event()])
    rollups.fold(engine)
    made = a_correction(1, 1)
    charge = rate(Usage(input_tokens=1), YUAN, at_us=made.at_us)
    store.correct(replace(made, charge=charge), YUAN).result(WAIT_S)
    rollups.fold(engine)
    (row,) = usage(engine, by=["subject"])
    assert (row.currency, row.calls, row.cost_nanos) == ("CNY", 1, 1000)
    with engine.connect() as connection:
        counts = connection.execute(select(usage_hours.c.currency, usage_hours.c.calls))
        assert sorted(tuple(each) for each in counts) == [("CNY", 1), ("USD", 0)]


def test_the_check_names_a_rollup_that_is_not_the_sum_of_its_calls(
    engine: Engine, store: LedgerStore
) -> None:
    recorded(store, events())
    rollups.fold(engine)
    corrected(store, range(1, 4))
    assert not list(check(engine))
    with write_connection(engine) as connection:
        first = select(func.min(usage_subject_days.c.started_us)).scalar_subquery()
        connection.execute(
            update(usage_subject_days)
            .where(usage_subject_days.c.started_us == first)
            .values(cost_nanos=usage_subject_days.c.cost_nanos + 1)
        )
    found = list(check(engine))
    assert found and {each.invariant for each in found} == {"rollups equal calls"}
    assert found[0].row.startswith("usage_subject_days ")


def test_ids_of_calls_that_never_came_fold_to_nothing(engine: Engine, store: LedgerStore) -> None:
    with engine.connect() as connection:
        (only,) = rollups.changes(connection, [call_id(7)])
        native = connection.dialect.name == "postgresql"
        events = only.events(native=native)
        added = rollups.summed(rollups.ROLLUPS[0], events, only.sign, native=native)
        assert connection.execute(added).all() == []
