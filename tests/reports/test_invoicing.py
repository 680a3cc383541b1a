"""What a subject is billed reaches exactly one invoice, on both databases, to the nano."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter.core.call import Attribution
from meter.core.invoices import Kind, Tax, period_named
from meter.core.usage import Usage
from meter.errors import InputError
from meter.meter import Meter
from meter.reports.invoice_documents import from_json, to_json
from meter.reports.invoicing import Invoicing
from tests.store.examples import CARD, a_call, a_correction, an_event, an_unknown_end
from tests.store.test_books import LISTED, RESALE, resold

NOW_US = 1_796_083_200_000_000
"""2026-12-01 00:00:00 UTC."""

NOVEMBER = period_named("2026-11", "UTC")
DECEMBER = period_named("2026-12", "UTC")
JANUARY = period_named("2027-01", "UTC")


@pytest.fixture
def meter(ledger_url: str) -> Iterator[Meter]:
    with Meter(ledger_url, durability="process") as made:
        yield made


@pytest.fixture
def invoicing(meter: Meter) -> Invoicing:
    return Invoicing(meter._ledger)


def settle(meter: Meter, number: int, usage: Usage | None = None, **changes: object) -> None:
    meter._ledger.store.settle(an_event(a_call(number, **changes), usage), CARD).result(20)


def correct(meter: Meter, number: int, usage: Usage, correction: int = 1) -> None:
    meter._ledger.correct_all([(a_correction(number, correction, usage), (CARD,))])


def shown(row) -> list[tuple[str, str, str, str, int]]:
    return [
        (line.kind.value, line.period.name, line.item.unit, str(line.quantity), line.amount_nanos)
        for line in from_json(row.content).lines
    ]


def test_a_month_is_billed_by_model_and_unit(meter, invoicing):
    settle(meter, 1)
    settle(meter, 2)
    settle(meter, 3, attribution=Attribution("bob"))
    (row,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert (row.number, row.currency, row.portion) == ("INV-000001", "USD", 1)
    # Twice 4 x 1000 and 6 x 2000 nanos.
    assert shown(row) == [
        ("usage", "2026-11", "input_tokens", "8", 8_000),
        ("usage", "2026-11", "output_tokens", "12", 24_000),
    ]
    (bob,) = invoicing.issue("bob", NOVEMBER, NOW_US)
    assert (bob.number, bob.amount_nanos) == ("INV-000002", 16_000)


def test_issuing_again_gives_the_same_document(meter, invoicing):
    settle(meter, 1)
    first = invoicing.issue("alice", NOVEMBER, NOW_US)
    settle(meter, 2)
    again = replace(invoicing, prefix="OTHER-", tax=Tax("VAT", Decimal(19)))
    assert again.issue("alice", NOVEMBER, NOW_US + 10**12) == first


def test_late_calls_and_corrections_come_as_adjustments_once(meter, invoicing):
    settle(meter, 1)
    settle(meter, 2)
    invoicing.issue("alice", NOVEMBER, NOW_US)
    settle(meter, 3)
    correct(meter, 1, Usage(input_tokens=1, output_tokens=6))
    (december,) = invoicing.issue("alice", DECEMBER, NOW_US)
    # Call 3 adds 4 input and 6 output tokens, the correction takes 3 input tokens back.
    assert shown(december) == [
        ("adjustment", "2026-11", "input_tokens", "1", 1_000),
        ("adjustment", "2026-11", "output_tokens", "6", 12_000),
    ]
    with pytest.raises(InputError, match="found nothing to bill 'alice' for 2027-01"):
        invoicing.issue("alice", JANUARY, NOW_US)


def test_a_correction_downwards_is_a_negative_line(meter, invoicing):
    settle(meter, 1)
    invoicing.issue("alice", NOVEMBER, NOW_US)
    correct(meter, 1, Usage(input_tokens=1, output_tokens=0))
    (december,) = invoicing.issue("alice", DECEMBER, NOW_US)
    assert shown(december) == [
        ("adjustment", "2026-11", "input_tokens", "-3", -3_000),
        ("adjustment", "2026-11", "output_tokens", "-6", -12_000),
    ]


def test_a_month_that_was_never_invoiced_waits_for_its_own_invoice(meter, invoicing):
    settle(meter, 1)
    december_us = DECEMBER.start_us + 5
    settle(meter, 2, started_us=december_us)
    (december,) = invoicing.issue("alice", DECEMBER, NOW_US)
    assert december.amount_nanos == 16_000
    (november,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert [kind for kind, *_ in shown(november)] == ["usage", "usage"]
    assert november.amount_nanos == 16_000


def test_a_day_begins_where_the_zone_of_the_invoice_says(meter, invoicing):
    # 2026-11-30 23:00 UTC is December in Shanghai.
    settle(meter, 1, started_us=NOVEMBER.end_us - 3_600_000_000)
    (row,) = invoicing.issue("alice", period_named("2026-12", "Asia/Shanghai"), NOW_US)
    assert row.amount_nanos == 16_000
    with pytest.raises(InputError, match=r"2026-12 \(Asia/Shanghai\) invoiced .*2026-11 \(UTC\)"):
        invoicing.issue("alice", NOVEMBER, NOW_US)


def test_each_currency_has_an_invoice_of_its_own(meter, invoicing):
    settle(meter, 1)
    meter._ledger.store.settle(resold(2), CARD, others=(LISTED, RESALE)).result(20)
    cny, usd = invoicing.issue("alice", NOVEMBER, NOW_US)
    # Resold: 4 x 3000 + 6 x 5000 nanos of CNY.
    assert (cny.currency, cny.amount_nanos, cny.number) == ("CNY", 42_000, "INV-000001")
    assert (usd.currency, usd.amount_nanos, usd.number) == ("USD", 16_000, "INV-000002")


def test_news_of_a_month_without_calls_reach_a_later_invoice(meter, invoicing):
    settle(meter, 1)
    invoicing.issue("alice", NOVEMBER, NOW_US)
    settle(meter, 2)
    invoicing.issue("alice", DECEMBER, NOW_US)
    # December's invoice has only news of November; now a call of December comes late.
    settle(meter, 3, started_us=DECEMBER.start_us)
    (january,) = invoicing.issue("alice", JANUARY, NOW_US)
    assert [line[:2] for line in shown(january)] == [("adjustment", "2026-12")] * 2


def test_a_month_invoiced_late_brings_no_news_of_later_ones(meter, invoicing):
    settle(meter, 1, started_us=DECEMBER.start_us)
    invoicing.issue("alice", DECEMBER, NOW_US)
    settle(meter, 2, started_us=DECEMBER.start_us + 1)
    settle(meter, 3)
    (november,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert november.amount_nanos == 16_000
    (january,) = invoicing.issue("alice", JANUARY, NOW_US)
    assert january.amount_nanos == 16_000


def test_a_credit_note_takes_an_invoice_back_and_the_period_can_be_billed_anew(meter, invoicing):
    settle(meter, 1)
    (first,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    note = invoicing.void(first.number, "wrong address", NOW_US)
    assert (note.number, note.kind, note.voids) == ("INV-000002", Kind.CREDIT_NOTE, first.number)
    assert note.amount_nanos == -16_000
    assert from_json(note.content).reason == "wrong address"
    with pytest.raises(InputError, match="voided by INV-000002, expected one that stands"):
        invoicing.void(first.number, "again", NOW_US)
    with pytest.raises(InputError, match="to be a credit note, expected an invoice"):
        invoicing.void(note.number, "why not", NOW_US)
    (second,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert (second.number, second.amount_nanos) == ("INV-000003", 16_000)
    assert invoicing.issue("alice", NOVEMBER, NOW_US) == [second]


def test_what_was_voided_is_not_slipped_into_the_next_invoice(meter, invoicing):
    settle(meter, 1)
    (first,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    invoicing.void(first.number, "goodwill", NOW_US)
    settle(meter, 2, started_us=DECEMBER.start_us)
    (december,) = invoicing.issue("alice", DECEMBER, NOW_US)
    assert [line[1] for line in shown(december)] == ["2026-12", "2026-12"]


def test_only_the_voided_currency_is_issued_anew(meter, invoicing):
    settle(meter, 1)
    meter._ledger.store.settle(resold(2), CARD, others=(LISTED, RESALE)).result(20)
    cny, usd = invoicing.issue("alice", NOVEMBER, NOW_US)
    invoicing.void(cny.number, "wrong price", NOW_US)
    settle(meter, 3)
    usd_again, cny_again = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert usd_again == usd
    assert (cny_again.currency, cny_again.number, cny_again.amount_nanos) == (
        "CNY", "INV-000004", 42_000,
    )  # fmt: skip


def test_a_draft_writes_nothing(meter, invoicing):
    settle(meter, 1)
    (draft,) = invoicing.draft("alice", NOVEMBER, NOW_US)
    assert (draft.number, draft.subtotal_nanos) == (None, 16_000)
    assert meter._ledger.invoices.listed() == []
    (row,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert row.number == "INV-000001", "a draft takes no number"


def test_calls_without_a_price_are_counted_and_billed_when_they_have_one(meter, invoicing):
    settle(meter, 1)
    store = meter._ledger.store
    store.settle(an_unknown_end(a_call(2)), CARD).result(20)
    (row,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert (row.amount_nanos, from_json(row.content).unpriced_calls) == (16_000, 1)
    correct(meter, 2, Usage(input_tokens=7, output_tokens=0))
    (december,) = invoicing.issue("alice", DECEMBER, NOW_US)
    assert december.amount_nanos == 7_000


def test_an_invoice_that_was_issued_meanwhile_is_not_billed_twice(meter, invoicing, monkeypatch):
    settle(meter, 1)
    settle(meter, 2, started_us=DECEMBER.start_us)
    original = Invoicing._drafts
    raced = []

    def drafts(self, subject, period, *words):
        found = original(self, subject, period, *words)
        if not raced:
            raced.append(period)
            assert Invoicing(meter._ledger).issue("alice", NOVEMBER, NOW_US)
        return found

    monkeypatch.setattr(Invoicing, "_drafts", drafts)
    (row,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert row.number == "INV-000001"
    assert len(meter._ledger.invoices.listed()) == 1


def test_a_failed_issue_takes_no_number(meter, invoicing):
    settle(meter, 1)

    def failing(draft, sequence):
        raise ZeroDivisionError

    drafts = invoicing.draft("alice", NOVEMBER, NOW_US)
    with pytest.raises(ZeroDivisionError):
        meter._ledger.invoices.issue(drafts, failing, expected_last=0)
    (row,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert row.number == "INV-000001"


def test_tax_is_a_line_of_its_own_and_only_the_total_is_rounded(meter):
    settle(meter, 1, Usage(input_tokens=12_345_678, output_tokens=1))
    taxed = Invoicing(meter._ledger, tax=Tax("VAT", Decimal("19")))
    (row,) = taxed.issue("alice", NOVEMBER, NOW_US)
    invoice = from_json(row.content)
    # 12,345,678 x 1000 + 1 x 2000 = 12.345680 USD; 19 % of it is 2.3456792; both 14.6913592.
    assert invoice.subtotal_nanos == 12_345_680_000
    assert invoice.tax_nanos == 2_345_679_200
    assert invoice.total_nanos == 14_690_000_000
    assert invoice.rounding_nanos == -1_359_200


def test_the_document_comes_back_from_its_text(meter, invoicing):
    settle(meter, 1, model_requested=None)
    (row,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert to_json(from_json(row.content)) == row.content


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 2), st.integers(0, 50)),
        st.tuples(st.just("correct"), st.integers(0, 9), st.integers(0, 50)),
        st.tuples(st.just("invoice"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("void"), st.integers(0, 9), st.just(0)),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_invoices_sum_to_what_was_billed_whatever_happens(
    migrated_sqlite: Path,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, int]],
):
    path = tmp_path_factory.mktemp("machine") / "ledger.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    periods = (NOVEMBER, DECEMBER, JANUARY)
    corrections: dict[int, int] = {}
    with Meter(f"sqlite:///{path}", durability="process") as meter:
        invoicing = Invoicing(meter._ledger)
        numbers = itertools.count(1)
        made: list[int] = []
        for step, which, tokens in steps:
            if step == "call":
                number = next(numbers)
                started = periods[which].start_us + number
                settle(meter, number, Usage(input_tokens=tokens, output_tokens=1),
                       started_us=started)  # fmt: skip
                made.append(number)
            elif step == "correct" and made:
                number = made[which % len(made)]
                corrections[number] = corrections.get(number, 0) + 1
                correct(meter, number, Usage(input_tokens=tokens, output_tokens=2),
                        corrections[number])  # fmt: skip
            elif step == "void":
                standing = [
                    row for row in meter._ledger.invoices.listed(kind=Kind.INVOICE)
                    if row.voided_by is None
                ]  # fmt: skip
                if standing:
                    invoicing.void(standing[which % len(standing)].number, "test", NOW_US)
            elif step == "invoice":
                issue_if_any(invoicing, periods[which])
        # A last month without calls brings the news of the months before.
        for period in (*periods, period_named("2027-02", "UTC")):
            issue_if_any(invoicing, period)
        rows = meter._ledger.invoices.listed()
        assert [row.sequence for row in rows] == list(range(1, len(rows) + 1)), "no gaps"
        billed = sum(row.billed_nanos or 0 for row in meter.usage(by=()))
        assert sum(row.amount_nanos for row in rows) == billed
        entries = meter._ledger.entries(since_us=None, until_us=None)
        spent = sum(
            e.amount_nanos if e.debit == "spend:alice" else -e.amount_nanos for e in entries
        )
        assert spent == billed


def issue_if_any(invoicing: Invoicing, period) -> None:
    try:
        invoicing.issue("alice", period, NOW_US)
    except InputError as error:
        assert "found nothing to bill" in str(error)
