"""Questions: exact sums, windows on the wall clock, corrected calls, exact filters."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from meter.core.call import Attribution, Basis, Outcome
from meter.core.rates import Rate, RateCard, microseconds_of
from meter.core.rating import Charge, rate
from meter.core.usage import Usage
from meter.errors import ConfigError, InputError
from meter.store import reads
from meter.store.encoding import event_to_row
from meter.store.engine import write_connection
from meter.store.ledger_store import LedgerStore
from meter.store.reads import UsageRow
from meter.store.requests import Settle
from meter.store.writing import write_batch
from tests.store.examples import (
    CARD,
    NOON_US,
    SECOND_US,
    a_call,
    an_event,
    an_unknown_end,
    call_id,
)

WAIT_S = 20


def ended(store: LedgerStore, *events: object) -> None:
    for future in [store.settle(event, CARD) for event in events]:  # type: ignore[arg-type]
        future.result(WAIT_S)


def by_group(rows: list[UsageRow]) -> dict[tuple[str | None, ...], UsageRow]:
    return {row.group: row for row in rows}


def test_a_call_reads_as_it_was_written(engine: Engine, store: LedgerStore) -> None:
    call = a_call(
        attribution=Attribution("alice", (("team", "search"),), "k1"),
        streaming=True,
        upstream="main",
        operation_id=call_id(9),
    )
    event = an_event(call, service_tier="flex", traits=(("size", "big"),), defects=("odd",))
    event = replace(event, counted_output_tokens=5, provider_cost_nanos=15_999)
    ended(store, event)
    (found,) = reads.calls(engine)
    assert found.id == call.id
    assert found.operation_id == call_id(9)
    assert (found.started_us, found.ended_us) == (NOON_US + 1, NOON_US + 1 + SECOND_US)
    assert found.first_byte_us == NOON_US + 1 + SECOND_US // 2
    assert (found.provider, found.issuer, found.upstream) == ("openai", "openai", "main")
    assert (found.endpoint, found.streaming) == ("chat", True)
    assert (found.model_requested, found.model_served, found.model) == (
        "small", "small-2026", "small",
    )  # fmt: skip
    assert (found.subject, found.key_id, found.tags) == ("alice", "k1", (("team", "search"),))
    assert (found.outcome, found.basis) == (Outcome.COMPLETED, Basis.REPORTED)
    assert (found.state, found.status, found.corrections) == ("settled", 200, 0)
    assert found.usage == Usage(input_tokens=4, output_tokens=6)
    assert (found.cost_nanos, found.currency, found.unpriced) == (16_000, "USD", None)
    assert [line.amount_nanos for line in found.lines] == [4_000, 12_000]
    assert found.rate_card_id == CARD.id
    assert (found.estimated_input_tokens, found.counted_output_tokens) == (4, 5)
    assert (found.provider_cost_nanos, found.bound_cost_nanos) == (15_999, 50_000)
    assert (found.service_tier, found.traits) == ("flex", (("size", "big"),))
    assert (found.response_id, found.defects) == (f"resp-{call.id}", ("odd",))


def test_calls_come_in_order_and_limited(engine: Engine, store: LedgerStore) -> None:
    ended(store, *[an_event(a_call(number)) for number in (2, 3, 1)])
    newest = [call.id for call in reads.calls(engine)]
    assert newest == [call_id(3), call_id(2), call_id(1)]
    oldest = [call.id for call in reads.calls(engine, newest_first=False, limit=2)]
    assert oldest == [call_id(1), call_id(2)]
    assert list(reads.calls(engine, limit=0)) == []
    assert reads.count_calls(engine) == 3


def test_the_interval_is_half_open(engine: Engine, store: LedgerStore) -> None:
    ended(store, *[an_event(a_call(number)) for number in (1, 2, 3)])
    found = reads.calls(engine, since_us=NOON_US + 1, until_us=NOON_US + 3)
    assert {call.id for call in found} == {call_id(1), call_id(2)}
    (row,) = reads.usage(engine, by=[], since_us=NOON_US + 1, until_us=NOON_US + 3)
    assert row.calls == 2


def test_calls_in_flight_are_shown_when_asked(engine: Engine, store: LedgerStore) -> None:
    store.reserve(a_call(2), "reseller", CARD).result(WAIT_S)
    ended(store, an_event(a_call(1)))
    assert [call.state for call in reads.calls(engine)] == ["settled"]
    (open_one,) = reads.calls(engine, state="in_flight")
    assert (open_one.id, open_one.state, open_one.issuer) == (call_id(2), "in_flight", "reseller")
    assert (open_one.outcome, open_one.basis, open_one.usage) == (None, None, None)
    assert [call.state for call in reads.calls(engine, state="any")] == ["in_flight", "settled"]
    assert len(list(reads.calls(engine, state="any", limit=1))) == 1
    assert len(list(reads.calls(engine, state="any", tag="team=search"))) == 2
    assert len(list(reads.calls(engine, state="any", model="small"))) == 2
    assert len(list(reads.calls(engine, state="any", basis="reported"))) == 1
    assert reads.count_open(engine) == 1
    with pytest.raises(InputError, match="found state 'open', expected one of"):
        reads.calls(engine, state="open")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"subject": "alice"}, {1, 2}),
        ({"subject": "Alice"}, set()),
        ({"model": "small"}, {1, 2}),
        ({"model": "large-2026"}, {3}),
        ({"provider": "anthropic"}, {3}),
        ({"endpoint": "messages"}, {3}),
        ({"key": "k1"}, {2}),
        ({"outcome": "timed_out"}, {4}),
        ({"basis": "unknown"}, {4}),
        ({"tag": "team=search"}, {1}),
        ({"tag": "team=Search"}, set()),
        ({"tag": "team=sear"}, set()),
        ({"tag": "eam=search"}, set()),
        ({"tag": "feature=a=b"}, {2}),
        ({"tag": 'odd"name=1'}, {3}),
        ({"tag": "name=1"}, set()),
        ({"tag": "plan=100%"}, {2}),
        ({"id": str(call_id(3))}, {3}),
        ({"subject": "alice", "key": "k1"}, {2}),
        ({"subject": None}, {1, 2, 3, 4}),
    ],
)
def test_filters(
    engine: Engine, store: LedgerStore, filters: dict[str, str | None], expected: set[int]
) -> None:
    ended(
        store,
        an_event(a_call(1)),
        an_event(
            a_call(
                2,
                attribution=Attribution(
                    "alice", (("feature", "a=b"), ("plan", "100%"), ("team", "sales")), "k1"
                ),
            )
        ),
        an_event(
            a_call(
                3,
                provider="anthropic",
                endpoint="messages",
                model_requested="large",
                attribution=Attribution("bob", (('odd"name', "1"),)),
            ),
            model_served="large-2026",
        ),
        an_unknown_end(a_call(4, model_requested=None, attribution=Attribution())),
    )
    found = {call.id for call in reads.calls(engine, **filters)}
    # Call 4 was served by a model that a filter by model finds, too.
    assert found - {call_id(4)} | found & {call_id(n) for n in expected} == {
        call_id(number) for number in expected
    }
    summed = sum(row.calls for row in reads.usage(engine, by=["subject"], filters=filters))
    assert summed == len(found)


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"colour": "red"}, "found filter 'colour', expected one of subject, subjects, model"),
        ({"basis": "guessed"}, "found basis 'guessed', expected one of reported, estimated"),
        ({"outcome": "lost"}, "found outcome 'lost', expected one of completed"),
        ({"tag": "team"}, "found tag 'team', expected name=value"),
        ({"id": "7"}, "found call id '7', expected a UUID"),
    ],
)
def test_filters_that_mean_nothing_are_refused(
    memory_engine: Engine, filters: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        reads.calls(memory_engine, **filters)
    with pytest.raises(InputError, match=sentence):
        reads.usage(memory_engine, by=["subject"], filters=filters)


def test_sums_are_exact_and_unknown_is_not_zero(engine: Engine, store: LedgerStore) -> None:
    cached = Usage(input_tokens=10, cache_read_tokens=7, output_tokens=1)
    ended(
        store,
        an_event(a_call(1)),
        an_event(a_call(2), cached, charge=rate(cached, CARD, at_us=NOON_US)),
        an_event(
            a_call(3),
            basis=Basis.ESTIMATED,
            outcome=Outcome.CLIENT_CLOSED,
            charge=Charge((), None, None, None, "no rate card covers this model at this time"),
        ),
        an_unknown_end(a_call(4)),
        an_event(a_call(5), Usage(), outcome=Outcome.UPSTREAM_FAILED, status=500),
        an_event(a_call(6), Usage(), outcome=Outcome.REFUSED, status=429),
        an_event(a_call(7, endpoint="unmetered"), Usage()),
    )
    (row,) = reads.usage(engine, by=["subject"])
    assert row == UsageRow(
        group=("alice",),
        currency="USD",
        cost_nanos=16_000 + 10 * 1000 + 1 * 2000,
        calls=7,
        input_tokens=4 + 10 + 4,
        cache_read_tokens=7,
        cache_write_tokens=None,
        output_tokens=6 + 1 + 6,
        reasoning_tokens=None,
        unpriced=1,
        estimated=1,
        unknown=1,
        unmetered=1,
        failed=2,
        refused=1,
        list_nanos=28_000,
        list_currency="USD",
        billed_nanos=28_000,
        billed_currency="USD",
    )


def test_currencies_are_never_mixed(engine: Engine, store: LedgerStore) -> None:
    euro = RateCard("openai", "small", "EUR", {"standard": (Rate("output_tokens", 10**9),)})
    usage = Usage(output_tokens=5)
    ended(store, an_event(a_call(1)), an_unknown_end(a_call(3)))
    store.settle(an_event(a_call(2), usage, charge=rate(usage, euro, at_us=NOON_US)), euro).result(
        WAIT_S
    )
    rows = reads.usage(engine, by=["subject"])
    assert [(row.currency, row.cost_nanos, row.calls) for row in rows] == [
        ("EUR", 5_000, 1),
        ("USD", 16_000, 1),
        (None, None, 1),
    ]
    grouped = reads.usage(engine, by=["currency"])
    assert [row.group for row in grouped] == [("EUR",), ("USD",), (None,)]


def test_groups(engine: Engine, store: LedgerStore) -> None:
    ended(
        store,
        an_event(a_call(1)),
        an_event(a_call(2, attribution=Attribution("bob", (("team", "sales"),), "k1"))),
        an_event(a_call(3, attribution=Attribution())),
        an_event(a_call(4, model_requested=None), issuer="reseller"),
    )

    def counts(*by: str) -> dict[tuple[str | None, ...], int]:
        return {group: row.calls for group, row in by_group(reads.usage(engine, by=by)).items()}

    assert counts() == {(): 4}
    assert counts("subject") == {("alice",): 2, ("bob",): 1, (None,): 1}
    assert counts("tag:team") == {("search",): 2, ("sales",): 1, (None,): 1}
    assert counts("tag:nothing") == {(None,): 4}
    assert counts("key") == {("k1",): 1, (None,): 3}
    assert counts("model") == {("small",): 3, ("small-2026",): 1}
    assert counts("model_served") == {("small-2026",): 4}
    assert counts("issuer") == {("openai",): 3, ("reseller",): 1}
    assert counts("outcome", "basis") == {("completed", "reported"): 4}
    assert counts("subject", "tag:team") == {
        ("alice", "search"): 2, ("bob", "sales"): 1, (None, None): 1,
    }  # fmt: skip
    assert counts("provider", "endpoint") == {("openai", "chat"): 4}


def test_a_group_that_does_not_exist_is_refused(engine: Engine, store: LedgerStore) -> None:
    ended(store, an_event())
    for name in ("colour", "tag:", "total", ""):
        with pytest.raises(InputError, match="to group by, expected one of subject"):
            reads.usage(engine, by=[name])
    with pytest.raises(ConfigError, match="found time zone 'Mars/Base'"):
        reads.usage(engine, by=["day"], tz="Mars/Base")


def insert_at(engine: Engine, *moments: datetime) -> None:
    """Write calls that started at these moments."""
    events = [
        an_event(a_call(number, started_us=microseconds_of(moment)))
        for number, moment in enumerate(moments, 1)
    ]
    with write_connection(engine) as connection:
        write_batch(connection, [Settle(event, event_to_row(event)) for event in events])


def test_days_are_days_on_the_wall_clock_also_when_it_changes(engine: Engine) -> None:
    """In Berlin 2026-10-25 has 25 hours and 2026-03-29 has 23; in Kathmandu days begin at 18:15."""
    berlin = ZoneInfo("Europe/Berlin")
    insert_at(
        engine,
        datetime(2026, 3, 28, 23, 59, 59, tzinfo=berlin),
        datetime(2026, 3, 29, 0, 0, tzinfo=berlin),
        datetime(2026, 3, 29, 23, 59, 59, tzinfo=berlin),
        datetime(2026, 3, 30, 0, 0, tzinfo=berlin),
        datetime(2026, 10, 25, 0, 0, tzinfo=berlin),
        datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=0),
        datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1),
        datetime(2026, 10, 25, 23, 59, 59, tzinfo=berlin),
        datetime(2026, 10, 26, 0, 0, tzinfo=berlin),
    )
    days = by_group(reads.usage(engine, by=["day"], tz="Europe/Berlin"))
    assert {group[0]: row.calls for group, row in days.items()} == {
        "2026-03-28": 1, "2026-03-29": 2, "2026-03-30": 1, "2026-10-25": 4, "2026-10-26": 1,
    }  # fmt: skip
    october = microseconds_of(datetime(2026, 10, 1, tzinfo=berlin))
    hours = reads.usage(engine, by=["hour"], tz="Europe/Berlin", since_us=october)
    assert [row.group[0] for row in hours] == [
        "2026-10-25T00:00+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:00+02:00",
        "2026-10-25T23:00+01:00",
        "2026-10-26T00:00+01:00",
    ]
    months = reads.usage(engine, by=["month"], tz="Europe/Berlin")
    assert [(row.group[0], row.calls) for row in months] == [("2026-03", 4), ("2026-10", 5)]
    weeks = reads.usage(engine, by=["week"], tz="Europe/Berlin", since_us=october)
    assert [(row.group[0], row.calls) for row in weeks] == [("2026-10-19", 4), ("2026-10-26", 1)]


def test_zones_with_a_quarter_of_an_hour(engine: Engine) -> None:
    kathmandu = ZoneInfo("Asia/Kathmandu")
    insert_at(
        engine,
        datetime(2026, 11, 21, 23, 59, 59, 999_999, tzinfo=kathmandu),
        datetime(2026, 11, 22, 0, 0, tzinfo=kathmandu),
        datetime(2026, 11, 22, 0, 59, 59, 999_999, tzinfo=kathmandu),
        datetime(2026, 11, 22, 1, 0, tzinfo=kathmandu),
    )
    both = reads.usage(engine, by=["day", "hour"], tz="Asia/Kathmandu")
    assert [(row.group, row.calls) for row in both] == [
        (("2026-11-21", "2026-11-21T23:00+05:45"), 1),
        (("2026-11-22", "2026-11-22T00:00+05:45"), 2),
        (("2026-11-22", "2026-11-22T01:00+05:45"), 1),
    ]


def test_nothing_gives_no_rows(engine: Engine) -> None:
    assert reads.usage(engine, by=["day", "model"]) == []
    assert list(reads.calls(engine, state="any")) == []
    assert reads.accuracy(engine) == []


def test_accuracy_compares_estimates_with_reports_only(engine: Engine, store: LedgerStore) -> None:
    """Estimates of 100, 100, 98 and 50 where 100 was reported; the others have no report."""
    hundred = Usage(input_tokens=100, output_tokens=1)
    ended(
        store,
        *[
            an_event(a_call(number, estimated_input_tokens=estimate), hundred)
            for number, estimate in enumerate((100, 100, 98, 50), 1)
        ],
        an_event(a_call(5, estimated_input_tokens=None), hundred),
        an_event(a_call(6, estimated_input_tokens=7), hundred, basis=Basis.ESTIMATED),
        an_event(a_call(7, endpoint="embeddings", estimated_input_tokens=11),
                 Usage(input_tokens=10)),
        an_unknown_end(a_call(8)),
    )  # fmt: skip
    chat, embeddings = reads.accuracy(engine)
    assert (chat.provider, chat.model, chat.endpoint) == ("openai", "small", "chat")
    assert (chat.calls, chat.exact) == (4, 2)
    assert (chat.error_median, chat.error_p95) == (0.0, 0.5)
    assert (embeddings.endpoint, embeddings.calls, embeddings.exact) == ("embeddings", 1, 0)
    assert embeddings.error_median == pytest.approx(0.1)


def test_a_long_list_can_be_left_half_read(engine: Engine) -> None:
    insert_at(engine, *[datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))] * 2500)
    found = reads.calls(engine)
    assert next(found).state == "settled"
    del found
    assert sum(1 for _ in reads.calls(engine)) == 2500


def test_usage_of_one_subject_uses_its_index(sqlite_ledger_url: str) -> None:
    from sqlalchemy import select

    from meter.store.engine import open_engine
    from meter.store.filters import where
    from meter.store.latest import latest_events

    engine = open_engine(sqlite_ledger_url)
    events = latest_events()
    statement = select(events.c.cost_nanos).where(where(events, 1, 2, {"subject": "alice"}))
    with engine.connect() as connection:
        compiled = statement.compile(engine, compile_kwargs={"literal_binds": True})
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
    engine.dispose()
    assert "ix_usage_events_subject_started_us (subject=? AND started_us>?" in str(plan)


def test_calls_come_in_the_order_asked_for(engine: Engine, store: LedgerStore) -> None:
    for number, tokens in ((1, 9), (2, 2), (3, 5)):
        call = a_call(number)
        event = an_event(call, Usage(input_tokens=tokens, output_tokens=10 - tokens))
        ended(store, replace(event, ended_us=call.started_us + tokens * SECOND_US))
    ended(store, an_unknown_end(a_call(4)))

    def numbers(order: str, **more: object) -> list[int]:
        found = reads.calls(engine, order=order, **more)  # type: ignore[arg-type]
        return [call.started_us - NOON_US for call in found]

    # Costs: 9 × 1000 + 1 × 2000 = 11 000, 2 × 1000 + 8 × 2000 = 18 000, 5 × 1000 + 5 × 2000.
    assert numbers("cost") == [2, 3, 1, 4]
    assert numbers("cost", newest_first=False) == [1, 3, 2, 4]
    assert numbers("input_tokens") == [1, 3, 2, 4]
    assert numbers("output_tokens") == [2, 3, 1, 4]
    assert numbers("duration") == [1, 3, 2, 4]
    assert numbers("cost", offset=1, limit=2) == [3, 1]
    assert numbers("started", offset=3) == [1]
    with pytest.raises(InputError, match="found order 'subject', expected one of started, cost"):
        reads.calls(engine, order="subject")
    with pytest.raises(InputError, match="expected 'ended' with an order or an offset"):
        reads.calls(engine, state="any", order="cost")


def test_search_finds_parts_of_what_a_person_looks_for(engine: Engine, store: LedgerStore) -> None:
    ended(
        store,
        an_event(a_call(1, attribution=Attribution("alice_1", (), "key-abc"))),
        an_event(a_call(2, attribution=Attribution("alice-1"), model_requested="gpt-9%")),
    )

    def found(text: str) -> set[int]:
        return {call.started_us - NOON_US for call in reads.calls(engine, search=text)}

    assert found("ALICE") == {1, 2}
    assert found("ce_1") == {1}
    assert found("9%") == {2}
    assert found("KEY-A") == {1}
    assert found("small-2026") == {1, 2}
    assert found(str(call_id(2))) == {2}
    assert found("nobody") == set()


def test_timings_are_the_medians_of_completed_calls(engine: Engine, store: LedgerStore) -> None:
    for number, seconds in enumerate((1, 2, 3, 4, 90), start=1):
        call = a_call(number, streaming=number < 3)
        ends = {"ended_us": call.started_us + seconds * SECOND_US}
        ended(store, replace(an_event(call), **ends, first_byte_us=call.started_us + number))
    ended(store, an_unknown_end(a_call(9)))
    (row,) = reads.timings(engine)
    assert (row.provider, row.model, row.calls) == ("openai", "small", 5)
    # Of five, the third is the median, and the fifth the first that 95 of 100 do not exceed.
    assert (row.duration_us_median, row.duration_us_p95) == (3 * SECOND_US, 90 * SECOND_US)
    assert row.first_byte_us_median == 1
    (newest,) = reads.timings(engine, limit=2)
    assert (newest.calls, newest.duration_us_median) == (2, 4 * SECOND_US)
    assert newest.first_byte_us_median is None


def test_sums_can_be_grouped_by_rate_card_and_tier(engine: Engine, store: LedgerStore) -> None:
    ended(store, an_event(a_call(1)), an_event(a_call(2), service_tier="flex"))
    groups = [row.group for row in reads.usage(engine, by=["card", "tier"])]
    assert groups == [(CARD.id, "flex"), (CARD.id, None)]
