"""What a subject is billed beside what the call costs: stored, read, entered, limited, checked.

The resale card: 3 CNY a million input tokens, 5 CNY a million output tokens, so that the 4 and 6
tokens of an example are billed 4 × 3000 + 6 × 5000 = 42 000 nanos; they cost 16 000 nanos of USD
by contract, and the published price is 4 × 2000 + 6 × 4000 = 32 000.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from meter.core.budgets import Refusal
from meter.core.call import Attribution, Bound
from meter.core.event import Correction, UsageEvent
from meter.core.rates import Rate, RateCard
from meter.core.rating import Charge, rate
from meter.core.usage import Usage
from meter.errors import InputError
from meter.reports.charging import Book, lines_of
from meter.store import reads
from meter.store.checking import check
from meter.store.encoding import event_from_row, event_to_row, route_id, split_event_row
from meter.store.engine import write_connection
from meter.store.ledger_store import LedgerStore
from meter.store.schema import balances, entries, routes
from meter.store.spool import SpoolingStore
from tests.store.examples import (
    CARD,
    NOON_US,
    a_budget,
    a_call,
    an_event,
    an_unknown_end,
    call_id,
)

WAIT_S = 20


def a_card(book: str, currency: str, given: int, taken: int) -> RateCard:
    rates = (Rate("input_tokens", given * 10**9), Rate("output_tokens", taken * 10**9))
    return RateCard("openai", "small", currency, {"standard": rates}, book=book)


LISTED = a_card("list", "USD", 2, 4)
RESALE = a_card("resale", "CNY", 3, 5)


def resold(number: int = 1, usage: Usage | None = None, **changes: object) -> UsageEvent:
    usage = Usage(input_tokens=4, output_tokens=6) if usage is None else usage
    return an_event(
        a_call(number),
        usage,
        charge=rate(usage, CARD, at_us=NOON_US),
        listed=rate(usage, LISTED, at_us=NOON_US),
        billed=rate(usage, RESALE, at_us=NOON_US),
        **changes,
    )


@pytest.fixture
def ledger(engine: Engine, store: LedgerStore) -> Iterator[Engine]:
    """One resold call, and one that is billed at its cost."""
    store.settle(resold(1), CARD, (LISTED, RESALE)).result(WAIT_S)
    store.settle(an_event(a_call(2)), CARD).result(WAIT_S)
    yield engine


def test_a_call_shows_what_it_cost_and_what_its_subject_owes(ledger: Engine) -> None:
    plain, call = reads.calls(ledger)
    assert (call.cost_nanos, call.currency) == (16_000, "USD")
    assert call.listed == Charge((), 32_000, "USD", LISTED.id)
    assert call.billed == Charge((), 42_000, "CNY", RESALE.id)
    assert call.is_resold
    assert plain.billed == plain.listed == Charge((), 16_000, "USD", CARD.id)
    assert not plain.is_resold


def test_sums_are_kept_apart_by_both_currencies(ledger: Engine, store: LedgerStore) -> None:
    store.settle(an_unknown_end(a_call(3))).result(WAIT_S)
    in_yuan, in_dollars, unsettled = reads.usage(ledger, by=["subject"])
    assert (in_yuan.cost_nanos, in_yuan.list_nanos, in_yuan.billed_nanos) == (
        16_000, 32_000, 42_000,
    )  # fmt: skip
    assert (in_yuan.currency, in_yuan.list_currency, in_yuan.billed_currency) == (
        "USD", "USD", "CNY",
    )  # fmt: skip
    assert (in_dollars.billed_nanos, in_dollars.billed_currency) == (16_000, "USD")
    assert (unsettled.billed_nanos, unsettled.billed_currency, unsettled.unknown) == (None, None, 1)


def test_a_call_without_a_price_stands_in_the_only_row_that_fits(
    engine: Engine, store: LedgerStore
) -> None:
    store.settle(resold(1), CARD, (LISTED, RESALE)).result(WAIT_S)
    missing = Charge((), None, None, None, "found no exchange rate from USD to CNY")
    store.settle(replace(resold(2), billed=missing)).result(WAIT_S)
    (row,) = reads.usage(engine, by=["subject"])
    assert (row.calls, row.cost_nanos, row.billed_nanos) == (2, 32_000, 42_000)
    (_, call) = reads.calls(engine, newest_first=False)
    assert call.billed == missing
    assert list(check(engine)) == []


def test_what_is_billed_is_a_debt_and_a_revenue(ledger: Engine) -> None:
    with ledger.connect() as connection:
        found = connection.execute(select(entries).order_by(entries.c.source_id, entries.c.number))
        rows = [(r.number, r.debit, r.credit, r.amount_nanos, r.currency) for r in found]
        sums = {
            (r.account, r.currency): (r.debits, r.credits)
            for r in connection.execute(select(balances))
        }
    assert rows == [
        (0, "spend:alice", "payable:openai", 16_000, "USD"),
        (1, "receivable:alice", "revenue:openai", 42_000, "CNY"),
        (0, "spend:alice", "payable:openai", 16_000, "USD"),
    ]
    assert sums == {
        ("spend:alice", "USD"): (32_000, 0),
        ("payable:openai", "USD"): (0, 32_000),
        ("receivable:alice", "CNY"): (42_000, 0),
        ("revenue:openai", "CNY"): (0, 42_000),
    }


def test_an_event_comes_back_from_its_row_with_every_amount() -> None:
    event = resold()
    again = event_from_row(event_to_row(event))
    assert event_to_row(again) == event_to_row(event)
    assert again.listed_charge.amount_nanos == 32_000
    assert again.billed_charge == Charge((), 42_000, "CNY", RESALE.id)
    plain = event_from_row(event_to_row(an_event()))
    assert plain.billed is None
    assert plain.billed_charge == plain.charge


def test_a_route_without_books_keeps_the_id_that_it_always_had() -> None:
    _, route = split_event_row(event_to_row(an_event()))
    plain = (
        "openai", "openai", "chat", "small", "small-2026", None, None, "USD", CARD.id, None,
    )  # fmt: skip
    assert route["id"] == route_id(*plain)
    _, other = split_event_row(event_to_row(resold()))
    assert other["id"] != route["id"]


def test_a_correction_moves_the_debt_as_well(ledger: Engine, store: LedgerStore) -> None:
    usage = Usage(input_tokens=4, output_tokens=7)
    made = Correction(
        call_id(90), call_id(1), 1, NOON_US, usage, an_event().basis,
        rate(usage, CARD, at_us=NOON_US), "counted again", "alice",
        listed=rate(usage, LISTED, at_us=NOON_US), billed=rate(usage, RESALE, at_us=NOON_US),
    )  # fmt: skip
    store.correct(made).result(WAIT_S)
    (row,) = [r for r in reads.usage(ledger, by=["subject"]) if r.billed_currency == "CNY"]
    # 4 × 1000 + 7 × 2000, 4 × 2000 + 7 × 4000, 4 × 3000 + 7 × 5000
    assert (row.cost_nanos, row.list_nanos, row.billed_nanos) == (18_000, 36_000, 47_000)
    with ledger.connect() as connection:
        chosen = select(entries).where(entries.c.source_id == call_id(90))
        rows = [
            (r.debit, r.credit, r.amount_nanos, r.currency)
            for r in connection.execute(chosen.order_by(entries.c.number))
        ]
    assert rows == [
        ("spend:alice", "payable:openai", 2000, "USD"),
        ("receivable:alice", "revenue:openai", 5000, "CNY"),
    ]
    assert list(check(ledger)) == []


def test_a_correction_that_bills_nothing_of_its_own_takes_the_debt_back(
    ledger: Engine, store: LedgerStore
) -> None:
    event = an_event()
    made = Correction(
        call_id(90), call_id(1), 1, NOON_US, event.usage, event.basis, event.charge,
        "not resold after all", "alice",
    )  # fmt: skip
    store.correct(made).result(WAIT_S)
    with ledger.connect() as connection:
        chosen = select(balances).where(balances.c.account == "receivable:alice")
        (row,) = connection.execute(chosen).all()
    assert (row.debits, row.credits) == (42_000, 42_000)
    assert {r.billed_currency for r in reads.usage(ledger, by=["subject"])} == {"USD"}
    assert list(check(ledger)) == []


def test_a_budget_in_the_billed_currency_counts_what_is_billed(
    engine: Engine, store: LedgerStore
) -> None:
    reads.set_budget(engine, a_budget(200_000, currency="CNY"), now_us=NOON_US)
    # At most 10 × 3000 + 20 × 5000 = 130 000 nanos of CNY, and two of it do not fit.
    bound = Bound(10, 20, 50_000, "USD", 130_000, "CNY")
    assert not isinstance(
        store.reserve(a_call(1, bound=bound), "openai", CARD).result(WAIT_S), Refusal
    )
    assert reads.budgets(engine, now_us=NOON_US)[0].standing.held == 130_000
    refused = store.reserve(a_call(2, bound=bound), "openai", CARD).result(WAIT_S)
    assert isinstance(refused, Refusal)
    store.settle(replace(resold(1), call=a_call(1, bound=bound)), CARD, (LISTED, RESALE)).result(
        WAIT_S
    )
    (row,) = reads.budgets(engine, now_us=NOON_US)
    assert (row.standing.spent, row.standing.held) == (42_000, 0)
    assert list(check(engine)) == []


def test_a_budget_in_the_currency_of_the_cost_counts_the_cost(
    engine: Engine, store: LedgerStore
) -> None:
    reads.set_budget(engine, a_budget(10**9), now_us=NOON_US)
    call = a_call(1, bound=Bound(10, 20, 50_000, "USD", 130_000, "CNY"))
    store.reserve(call, "openai", CARD).result(WAIT_S)
    assert reads.budgets(engine, now_us=NOON_US)[0].standing.held == 50_000
    store.settle(replace(resold(1), call=call), CARD, (LISTED, RESALE)).result(WAIT_S)
    assert reads.budgets(engine, now_us=NOON_US)[0].standing.spent == 16_000


def test_a_budget_made_later_counts_what_was_billed(ledger: Engine) -> None:
    reads.set_budget(ledger, a_budget(10**9, currency="CNY"), now_us=NOON_US)
    assert reads.budgets(ledger, now_us=NOON_US)[0].standing.spent == 42_000
    assert list(check(ledger)) == []


def test_work_that_is_billed_with_another_call_is_billed_once(
    engine: Engine, store: LedgerStore
) -> None:
    for number in (1, 2):
        event = replace(resold(number), billing_ids=("openai/batch_1",))
        store.settle(event, CARD, (LISTED, RESALE)).result(WAIT_S)
    (row,) = reads.usage(engine, by=["subject"])
    assert (row.calls, row.billed_nanos, row.cost_nanos) == (2, 42_000, 16_000)
    assert list(check(engine)) == []


def test_what_is_billed_comes_back_from_the_spool(
    engine: Engine, store: LedgerStore, tmp_path: Path
) -> None:
    spooling = SpoolingStore(store, tmp_path / "spool")
    spooling._append_event(resold(1), CARD, (LISTED, RESALE))
    assert spooling.replay() == 1
    (call,) = reads.calls(engine)
    assert call.billed.amount_nanos == 42_000
    assert list(check(engine)) == []


def test_a_spooled_record_from_before_there_were_books_is_read(
    engine: Engine, store: LedgerStore, tmp_path: Path
) -> None:
    path = tmp_path / "spool"
    spooling = SpoolingStore(store, path)
    spooling._append_event(an_event(), CARD)
    record = json.loads(path.read_bytes())
    del record["others"]
    record["event"] = {
        name: value
        for name, value in record["event"].items()
        if not name.startswith(("list_", "billed_"))
    }
    path.write_text(json.dumps(record) + "\n")
    assert spooling.replay() == 1
    assert [call.billed.amount_nanos for call in reads.calls(engine)] == [16_000]


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        ("UPDATE usage_events SET billed_nanos = 41999", "costs follow from usage and rate card"),
        ("UPDATE usage_events SET list_nanos = 1", "costs follow from usage and rate card"),
        ("DELETE FROM entries WHERE number = 1", "the entries of a call are its cost"),
        (
            "UPDATE entries SET amount_nanos = 5 WHERE number = 1",
            "the entries of a call are its cost",
        ),
        ("DELETE FROM rate_cards WHERE book = 'resale'", "rate cards are stored"),
        ("UPDATE routes SET billed_currency = 'USD'", "routes are what their ids say"),
    ],
)
def test_damage_to_what_is_billed_is_found(ledger: Engine, statement: str, invariant: str) -> None:
    assert list(check(ledger)) == []
    with write_connection(ledger) as connection:
        connection.execute(text(statement))
    assert invariant in {finding.invariant for finding in check(ledger)}


def test_an_amount_that_cannot_be_summed_is_unpriced_in_its_book(
    engine: Engine, store: LedgerStore
) -> None:
    huge = Charge((), 10**18, "CNY", RESALE.id)
    store.settle(replace(resold(1), billed=huge), CARD, (LISTED, RESALE)).result(WAIT_S)
    (call,) = reads.calls(engine)
    assert call.billed.amount_nanos is None
    assert call.cost_nanos == 16_000


def test_the_route_of_many_resold_calls_is_stored_once(engine: Engine, store: LedgerStore) -> None:
    for number in range(1, 6):
        store.settle(resold(number), CARD, (LISTED, RESALE)).result(WAIT_S)
    with engine.connect() as connection:
        assert len(connection.execute(select(routes)).all()) == 1


def test_a_subject_of_nobody_owes_what_it_is_billed(engine: Engine, store: LedgerStore) -> None:
    event = replace(resold(1), call=a_call(1, attribution=Attribution()))
    store.settle(event, CARD, (LISTED, RESALE)).result(WAIT_S)
    assert list(check(engine)) == []


def test_the_lines_of_every_book_are_derived_again_from_usage_and_card(
    engine: Engine, store: LedgerStore
) -> None:
    store.settle(resold(1), CARD, (LISTED, RESALE)).result(WAIT_S)
    (call,) = reads.calls(engine)

    def shown(book: Book) -> list[tuple[str, int]]:
        lines = lines_of(call, book, lambda card_id: reads.rate_card(engine, card_id))
        return [(line.unit, line.amount_nanos) for line in lines]

    assert shown("cost") == [("input_tokens", 4000), ("output_tokens", 12_000)]
    assert shown("list") == [("input_tokens", 8000), ("output_tokens", 24_000)]
    assert shown("billed") == [("input_tokens", 12_000), ("output_tokens", 30_000)]
    with pytest.raises(InputError, match="found no rate card"):
        lines_of(call, "billed", lambda _: None)


def test_a_call_that_ends_after_the_sweep_is_billed_by_the_correction(
    engine: Engine, store: LedgerStore
) -> None:
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    store.sweep(NOON_US + 10**12)
    store.settle(resold(1), CARD, (LISTED, RESALE)).result(WAIT_S)
    store.settle(resold(1), CARD, (LISTED, RESALE)).result(WAIT_S)
    (call,) = reads.calls(engine)
    assert (call.corrections, call.billed.amount_nanos, call.is_resold) == (1, 42_000, True)
    (row,) = reads.usage(engine, by=["subject"])
    assert (row.billed_nanos, row.billed_currency) == (42_000, "CNY")
    assert list(check(engine)) == []
