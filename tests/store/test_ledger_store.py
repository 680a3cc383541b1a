"""The writes of a call: durable, idempotent, exact, and never spoilt by their neighbours."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select

from meter.core.budgets import Hold, Measure, Refusal, Scope, ScopeKind, Standing
from meter.core.call import Attribution, Basis, Bound, Outcome
from meter.core.event import Correction
from meter.core.money import NANOS
from meter.core.rates import Rate, RateCard
from meter.core.rating import Charge, rate
from meter.core.usage import Usage
from meter.core.windows import Span, Window
from meter.errors import ConflictingWrite, StoreError, StoreUnavailable
from meter.store import reads
from meter.store.checking import check
from meter.store.encoding import event_to_row, open_call_to_row
from meter.store.engine import open_engine, write_connection
from meter.store.ledger_store import LedgerStore
from meter.store.requests import Reserve, Settle
from meter.store.schema import (
    balances,
    corrections,
    entries,
    holds,
    open_calls,
    rate_cards,
    usage_events,
)
from meter.store.writing import write_batch
from tests.store.examples import (
    CARD,
    NOON_US,
    NOVEMBER_US,
    TEN_TOKENS_NANOS,
    a_budget,
    a_call,
    an_event,
    call_id,
)

WAIT_S = 20


def rows(engine: Engine, table: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        ordered = select(table).order_by(*table.primary_key)
        return [dict(row) for row in connection.execute(ordered).mappings()]


def standing(engine: Engine, budget_id: str = "all") -> Standing:
    found = reads.standing(engine, budget_id, now_us=NOON_US)
    assert found is not None
    return found.standing


def test_a_reserved_call_is_in_flight_with_its_estimate(engine: Engine, store: LedgerStore) -> None:
    assert store.reserve(a_call(), "openai", CARD).result(WAIT_S) == ()
    (row,) = rows(engine, open_calls)
    assert row["call_id"] == call_id(1)
    assert row["estimated_input_tokens"] == 4
    assert row["bound_cost_nanos"] == 50_000
    assert row["rate_card_id"] == CARD.id
    assert reads.count_open(engine) == 1


def test_settling_ends_the_call_and_posts_its_cost(engine: Engine, store: LedgerStore) -> None:
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    store.settle(an_event()).result(WAIT_S)
    assert rows(engine, open_calls) == []
    (event,) = rows(engine, usage_events)
    assert (event["input_tokens"], event["output_tokens"], event["cost_nanos"]) == (4, 6, 16_000)
    (entry,) = rows(engine, entries)
    assert entry == {
        "source_id": call_id(1),
        "number": 0,
        "at_us": NOON_US + 1,
        "amount_nanos": 16_000,
        "debit": "spend:alice",
        "credit": "payable:openai",
        "currency": "USD",
    }
    assert rows(engine, balances) == [
        {"account": "payable:openai", "currency": "USD", "debits": 0, "credits": 16_000},
        {"account": "spend:alice", "currency": "USD", "debits": 16_000, "credits": 0},
    ]
    assert list(check(engine)) == []


def test_balances_add_up_over_calls(engine: Engine, store: LedgerStore) -> None:
    for number in (1, 2, 3):
        store.settle(an_event(a_call(number)), CARD).result(WAIT_S)
    assert rows(engine, balances)[0]["credits"] == 3 * 16_000
    assert list(check(engine)) == []


def test_settling_twice_counts_once(engine: Engine, store: LedgerStore) -> None:
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    for _ in range(3):
        store.settle(an_event()).result(WAIT_S)
    assert len(rows(engine, entries)) == 1
    assert rows(engine, balances)[0]["credits"] == 16_000


def test_settling_with_other_content_conflicts(engine: Engine, store: LedgerStore) -> None:
    store.settle(an_event(), CARD).result(WAIT_S)
    other = an_event(usage=Usage(input_tokens=4, output_tokens=7))
    with pytest.raises(ConflictingWrite, match="cost_nanos 16000, expected 18000"):
        store.settle(other).result(WAIT_S)
    assert rows(engine, usage_events)[0]["output_tokens"] == 6
    assert list(check(engine)) == []


def test_reserving_twice_holds_once(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(100_000), now_us=NOON_US)
    first = store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    again = store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    assert first == again == (Hold("all", NOVEMBER_US, 50_000),)
    assert standing(engine) == Standing(spent=0, held=50_000)


def test_reserving_with_other_content_conflicts(store: LedgerStore) -> None:
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    with pytest.raises(ConflictingWrite, match="'small', expected 'large'"):
        store.reserve(a_call(model_requested="large"), "openai", CARD).result(WAIT_S)


def test_reserving_an_ended_call_does_not_open_it_again(engine: Engine, store: LedgerStore) -> None:
    store.settle(an_event(), CARD).result(WAIT_S)
    assert store.reserve(a_call(), "openai", CARD).result(WAIT_S) == ()
    assert rows(engine, open_calls) == []


def test_releasing_leaves_nothing_behind(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(100_000), now_us=NOON_US)
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    for _ in range(2):
        store.release(a_call()).result(WAIT_S)
    assert rows(engine, open_calls) == rows(engine, holds) == rows(engine, usage_events) == []
    assert standing(engine) == Standing()


def test_a_call_that_was_never_reserved_can_settle(engine: Engine, store: LedgerStore) -> None:
    store.settle(an_event(), CARD).result(WAIT_S)
    assert rows(engine, rate_cards)[0]["id"] == CARD.id
    assert list(check(engine)) == []


def test_the_hold_becomes_what_was_spent(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(100_000), now_us=NOON_US)
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    store.settle(an_event()).result(WAIT_S)
    assert standing(engine) == Standing(spent=TEN_TOKENS_NANOS, held=0)
    assert rows(engine, holds) == []


def test_usage_above_the_hold_is_recorded_in_full(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(60_000), now_us=NOON_US)
    store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    # 40 × 1000 + 60 × 2000 = 160 000, of a limit of 60 000.
    store.settle(an_event(usage=Usage(input_tokens=40, output_tokens=60))).result(WAIT_S)
    found = reads.standing(engine, "all", now_us=NOON_US)
    assert found is not None
    assert (found.standing.spent, found.overrun, found.left) == (160_000, 100_000, 0)


def test_a_refused_call_leaves_no_trace(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(49_999), now_us=NOON_US)
    verdict = store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    assert isinstance(verdict, Refusal)
    assert verdict.budget_id == "all"
    assert not verdict.may_fit_later
    assert rows(engine, open_calls) == rows(engine, holds) == []
    assert standing(engine) == Standing()


def test_all_budgets_or_none(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(1_000_000), now_us=NOON_US)
    small = a_budget(10, id="few", measure=Measure.TOKENS, currency=None)
    reads.set_budget(engine, small, now_us=NOON_US)
    verdict = store.reserve(a_call(), "openai", CARD).result(WAIT_S)
    assert isinstance(verdict, Refusal)
    assert verdict.budget_id == "few"
    assert standing(engine) == Standing()


def test_every_scope_of_a_call_is_held(engine: Engine, store: LedgerStore) -> None:
    kinds = {
        "everything": Scope(ScopeKind.EVERYTHING),
        "subject": Scope(ScopeKind.SUBJECT, "alice"),
        "tag": Scope(ScopeKind.TAG, "team=search"),
        "model": Scope(ScopeKind.MODEL, "small"),
        "key": Scope(ScopeKind.KEY, "k1"),
        "other subject": Scope(ScopeKind.SUBJECT, "small"),
        "other tag": Scope(ScopeKind.TAG, "team=sales"),
    }
    for name, scope in kinds.items():
        budget = a_budget(1, id=name, scope=scope, measure=Measure.CALLS, currency=None)
        reads.set_budget(engine, budget, now_us=NOON_US)
    call = a_call(attribution=Attribution("alice", (("team", "search"),), "k1"))
    held = store.reserve(call, "openai", CARD).result(WAIT_S)
    assert not isinstance(held, Refusal)
    expected = {"everything", "subject", "tag", "model", "key"}
    assert {hold.budget_id for hold in held} == expected


def test_windows_of_one_budget_are_apart(engine: Engine, store: LedgerStore) -> None:
    hourly = a_budget(1, measure=Measure.CALLS, currency=None, window=Window(Span.HOUR))
    reads.set_budget(engine, hourly, now_us=NOON_US)
    first, second = a_call(1), a_call(2)
    later = a_call(3, started_us=NOON_US + 3600 * 1_000_000)
    answers = [store.reserve(c, "openai", CARD).result(WAIT_S) for c in (first, second, later)]
    assert [isinstance(answer, Refusal) for answer in answers] == [False, True, False]


def test_a_refusal_says_when_only_holds_stand_in_the_way(
    engine: Engine, store: LedgerStore
) -> None:
    reads.set_budget(engine, a_budget(60_000), now_us=NOON_US)
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    blocked = store.reserve(a_call(2), "openai", CARD).result(WAIT_S)
    assert isinstance(blocked, Refusal)
    assert blocked.may_fit_later
    store.release(a_call(1)).result(WAIT_S)
    assert not isinstance(store.reserve(a_call(2), "openai", CARD).result(WAIT_S), Refusal)


def test_a_leaked_hold_refuses_nobody(engine: Engine) -> None:
    store = LedgerStore(engine, lease_s=60)
    reads.set_budget(engine, a_budget(60_000), now_us=NOON_US)
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    after_the_lease = a_call(2, started_us=NOON_US + 61 * 1_000_000)
    held = store.reserve(after_the_lease, "openai", CARD).result(WAIT_S)
    assert held == (Hold("all", NOVEMBER_US, 50_000),)
    assert standing(engine) == Standing(spent=0, held=50_000)
    (lost,) = reads.calls(engine)
    assert (lost.id, lost.state, lost.outcome) == (call_id(1), "unsettled", Outcome.TIMED_OUT)
    store.close()
    assert list(check(engine)) == []


def test_one_bad_request_does_not_spoil_its_batch(engine: Engine, store: LedgerStore) -> None:
    """Several requests in one transaction: a conflict, a refusal and three that are fine."""
    store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
    reads.set_budget(engine, a_budget(70_000), now_us=NOON_US)
    conflicting = an_event(a_call(1), usage=Usage(input_tokens=1))
    requests = [
        _reserve(2),
        Settle(conflicting, event_to_row(conflicting)),
        _reserve(3),
        Settle(an_event(a_call(2)), event_to_row(an_event(a_call(2)))),
        _reserve(3),
    ]
    with write_connection(engine) as connection:
        answers = write_batch(connection, requests).answers
    assert answers[0] == (Hold("all", NOVEMBER_US, 50_000),)
    assert isinstance(answers[1], ConflictingWrite)
    # 16 000 spent by call 1 and 50 000 held by call 2 leave too little for call 3 at first.
    assert isinstance(answers[2], Refusal)
    assert answers[3] is None
    # 16 000 + 16 000 spent leave 38 000 of 70 000: still too little, and now for good.
    assert isinstance(answers[4], Refusal)
    assert not answers[4].may_fit_later
    assert standing(engine) == Standing(spent=32_000, held=0)
    assert list(check(engine)) == []


def test_reserve_and_settle_in_one_batch_leave_only_the_event(engine: Engine) -> None:
    event = an_event(a_call(2))
    with write_connection(engine) as connection:
        write_batch(connection, [_reserve(2), Settle(event, event_to_row(event), CARD)])
    assert rows(engine, open_calls) == []
    assert len(rows(engine, usage_events)) == 1


def _reserve(number: int) -> Reserve:
    call = a_call(number)
    return Reserve(call, open_call_to_row(call, "openai", CARD.id, "me", NOON_US * 2), CARD)


def test_a_record_that_cannot_be_written_fails_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LedgerStore(engine)
    gate, entered = threading.Event(), threading.Event()
    write, sizes = store._committer._write, []

    def held_back(requests: Any) -> Any:
        entered.set()
        gate.wait(WAIT_S)
        sizes.append(len(requests))
        return write(requests)

    monkeypatch.setattr(store._committer, "_write", held_back)
    first = store.settle(an_event(a_call(1)), CARD)
    assert entered.wait(WAIT_S)
    good = store.settle(an_event(a_call(2)), CARD)
    bad = store.settle(an_event(a_call(3), status=10**30))
    last = store.settle(an_event(a_call(4)))
    gate.set()
    first.result(WAIT_S)
    good.result(WAIT_S)
    with pytest.raises(StoreError, match="cannot take"):
        bad.result(WAIT_S)
    last.result(WAIT_S)
    assert sizes == [1, 3]
    assert len(rows(engine, usage_events)) == 3
    store.close()


def test_a_call_whose_entries_are_already_there_fails_alone(
    engine: Engine, store: LedgerStore
) -> None:
    """A damaged ledger: an entry of call 1, which has no event. Its neighbour is not harmed."""
    with write_connection(engine) as connection:
        row = {"source_id": call_id(1), "number": 0, "at_us": 1, "amount_nanos": 1}
        connection.execute(entries.insert(), row | {"debit": "a", "credit": "b", "currency": "X"})
    damaged, sound = [store.settle(an_event(a_call(number)), CARD) for number in (1, 2)]
    with pytest.raises(StoreError, match="cannot take"):
        damaged.result(WAIT_S)
    sound.result(WAIT_S)
    assert [call.id for call in reads.calls(engine)] == [call_id(2)]


def test_text_that_no_database_keeps_is_kept_as_well_as_can_be(
    engine: Engine, store: LedgerStore
) -> None:
    call = a_call(attribution=Attribution("al\0ice\ud800", (("a\0", "b"),)))
    store.reserve(call, "openai", CARD).result(WAIT_S)
    store.settle(an_event(call, response_id="x\0y")).result(WAIT_S)
    (found,) = reads.calls(engine)
    assert found.subject == "al\ufffdice\ufffd"
    assert found.tags == (("a\ufffd", "b"),)
    assert found.response_id == "x\ufffdy"
    assert list(check(engine)) == []


def test_an_unbelievable_amount_is_kept_as_unpriced(engine: Engine, store: LedgerStore) -> None:
    usage = Usage(input_tokens=10**15)
    event = an_event(usage=usage, charge=rate(usage, CARD, at_us=NOON_US))
    assert event.charge.amount_nanos == 10**18
    store.settle(event, CARD).result(WAIT_S)
    (found,) = reads.calls(engine)
    assert found.cost_nanos is None
    assert found.unpriced is not None and "expected at most" in found.unpriced
    assert found.usage == usage
    assert list(check(engine)) == []


def test_the_largest_believable_amounts_add_up(engine: Engine, store: LedgerStore) -> None:
    dear = RateCard("openai", "dear", "USD", {"standard": (Rate("input_tokens", 10**9 * 10**6),)})
    usage = Usage(input_tokens=10**8)
    for number in range(1, 21):
        event = an_event(a_call(number), usage, charge=rate(usage, dear, at_us=NOON_US))
        assert event.charge.amount_nanos == 10**8 * NANOS
        store.settle(event, dear).result(WAIT_S)
    assert rows(engine, balances)[0]["credits"] == 20 * 10**17
    assert reads.usage(engine, by=["subject"])[0].cost_nanos == 20 * 10**17
    assert list(check(engine)) == []


def test_free_and_unpriced_calls_make_no_entries(engine: Engine, store: LedgerStore) -> None:
    store.settle(an_event(a_call(1), charge=Charge((), 0, "USD", None))).result(WAIT_S)
    unpriced = Charge((), None, None, None, "no rate card covers this model at this time")
    store.settle(an_event(a_call(2), charge=unpriced)).result(WAIT_S)
    assert rows(engine, entries) == rows(engine, balances) == []
    assert [call.cost_nanos for call in reads.calls(engine, newest_first=False)] == [0, None]


def test_sixteen_threads_never_overspend_a_budget(engine: Engine) -> None:
    """40 × 16 000 nanos is the limit; 16 threads try 160 calls that hold 16 000 each."""
    store = LedgerStore(engine)
    reads.set_budget(engine, a_budget(40 * TEN_TOKENS_NANOS), now_us=NOON_US)
    bound = Bound(4, 6, TEN_TOKENS_NANOS, "USD")
    over: list[Standing] = []

    def ten_calls(thread: int) -> int:
        admitted = 0
        for number in range(thread * 10, thread * 10 + 10):
            call = a_call(number, bound=bound)
            if isinstance(store.reserve(call, "openai", CARD).result(WAIT_S), Refusal):
                continue
            admitted += 1
            now = standing(engine)
            if now.spent + now.held > 40 * TEN_TOKENS_NANOS:
                over.append(now)
            store.settle(an_event(call)).result(WAIT_S)
        return admitted

    with ThreadPoolExecutor(16) as pool:
        admitted = sum(pool.map(ten_calls, range(16)))
    store.close()
    assert admitted == 40
    assert over == []
    assert standing(engine) == Standing(spent=40 * TEN_TOKENS_NANOS, held=0)
    assert list(check(engine)) == []


def test_closing_writes_what_is_queued(engine: Engine) -> None:
    store = LedgerStore(engine)
    written = [store.settle(an_event(a_call(number)), CARD) for number in range(1, 301)]
    assert store.close(WAIT_S)
    assert all(future.done() for future in written)
    assert len(rows(engine, usage_events)) == 300
    with pytest.raises(StoreUnavailable, match="closed"):
        store.settle(an_event(a_call(301))).result(WAIT_S)


def test_a_cancelled_wait_does_not_lose_the_record(engine: Engine, store: LedgerStore) -> None:
    future: Future[None] = store.settle(an_event(), CARD)
    assert not future.cancel()
    future.result(WAIT_S)
    assert len(rows(engine, usage_events)) == 1


@pytest.mark.postgresql
@pytest.mark.parametrize("same", [True, False])
def test_two_processes_that_settle_the_same_call_at_once_agree(
    postgres_ledger_url: str, same: bool
) -> None:
    """One has written and not yet committed when the other one comes."""
    engine = open_engine(postgres_ledger_url)
    store = LedgerStore(engine)
    event = an_event()
    other = event if same else an_event(usage=Usage(output_tokens=1))
    with write_connection(engine) as connection:
        write_batch(connection, [Settle(event, event_to_row(event), CARD)])
        second = store.settle(other)
        with pytest.raises(TimeoutError):
            second.result(0.1)
    if same:
        second.result(WAIT_S)
    else:
        with pytest.raises(ConflictingWrite):
            second.result(WAIT_S)
    assert len(rows(engine, entries)) == 1
    assert store.close(WAIT_S)
    assert list(check(engine)) == []
    engine.dispose()


def test_a_late_end_does_not_pretend_that_its_route_is_stored(
    engine: Engine, store: LedgerStore
) -> None:
    """The late end is a correction and writes no route; the next call on that route needs it."""
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    store.sweep(NOON_US * 2)
    store.settle(an_event(a_call(1))).result(WAIT_S)
    store.settle(an_event(a_call(2))).result(WAIT_S)
    assert len(list(reads.calls(engine))) == 2
    assert list(check(engine)) == []


def a_correction(number: int, output_tokens: int | None, **changes: Any) -> Correction:
    usage = None if output_tokens is None else Usage(input_tokens=4, output_tokens=output_tokens)
    unknown = Charge((), None, None, None, "the usage is not known")
    made = Correction(
        id=UUID(int=number),
        call_id=call_id(1),
        number=number,
        at_us=NOON_US + 10**9,
        usage=usage,
        basis=Basis.REPORTED if usage else Basis.UNKNOWN,
        charge=rate(usage, CARD, at_us=NOON_US) if usage else unknown,
        reason="the bill says so",
        author="alice",
    )
    return replace(made, **changes)


def test_corrections_post_the_difference_and_the_latest_holds(
    engine: Engine, store: LedgerStore
) -> None:
    reads.set_budget(engine, a_budget(10**9), now_us=NOON_US)
    store.settle(an_event(), CARD).result(WAIT_S)
    # From 6 to 10 output tokens: 4 × 2000 more. From 10 to 5: 5 × 2000 less.
    for correction in (a_correction(1, 10), a_correction(2, 5)):
        for _ in range(2):
            store.correct(correction).result(WAIT_S)
    posted = {row["source_id"]: row for row in rows(engine, entries)}
    more, less = posted[UUID(int=1)], posted[UUID(int=2)]
    assert (more["amount_nanos"], more["debit"]) == (8_000, "spend:alice")
    assert (less["amount_nanos"], less["debit"]) == (10_000, "payable:openai")
    (found,) = reads.calls(engine)
    assert (found.cost_nanos, found.corrections) == (14_000, 2)
    assert standing(engine) == Standing(spent=14_000)
    assert list(check(engine)) == []


def test_a_correction_to_unknown_gives_everything_back(engine: Engine, store: LedgerStore) -> None:
    reads.set_budget(engine, a_budget(10**9), now_us=NOON_US)
    store.settle(an_event(), CARD).result(WAIT_S)
    store.correct(a_correction(1, None)).result(WAIT_S)
    (found,) = reads.calls(engine)
    assert (found.state, found.usage, found.cost_nanos) == ("unsettled", None, None)
    assert standing(engine) == Standing()
    assert list(check(engine)) == []


def test_a_correction_in_another_currency_undoes_and_posts_anew(
    engine: Engine, store: LedgerStore
) -> None:
    store.settle(an_event(), CARD).result(WAIT_S)
    euro = replace(CARD, currency="EUR", id="")
    usage = Usage(input_tokens=4, output_tokens=6)
    charge = rate(usage, euro, at_us=NOON_US)
    store.correct(a_correction(1, 6, charge=charge), euro).result(WAIT_S)
    found = {(row["account"], row["currency"]): row for row in rows(engine, balances)}
    spent = found["spend:alice", "USD"]
    assert spent["debits"] == spent["credits"] == 16_000
    assert found["spend:alice", "EUR"]["debits"] == 16_000
    assert list(check(engine)) == []


@pytest.mark.parametrize(
    ("correction", "error", "sentence"),
    [
        (a_correction(1, 9, id=UUID(int=8)), ConflictingWrite, "already made"),
        (a_correction(1, 9), ConflictingWrite, "output_tokens 10, expected 9"),
        (a_correction(1, 9, id=UUID(int=9), call_id=call_id(5)), StoreError, "no ended call"),
    ],
)
def test_a_correction_that_cannot_stand_is_refused(
    engine: Engine,
    store: LedgerStore,
    correction: Correction,
    error: type[Exception],
    sentence: str,
) -> None:
    store.settle(an_event(), CARD).result(WAIT_S)
    store.correct(a_correction(1, 10)).result(WAIT_S)
    with pytest.raises(error, match=sentence):
        store.correct(correction).result(WAIT_S)
    assert len(rows(engine, corrections)) == 1
    assert list(check(engine)) == []
