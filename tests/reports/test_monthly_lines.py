"""What depends on the month is on its invoice and in the books; credit leaves less due."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter.core.invoices import Kind, Tax, period_named
from meter.core.monthly import MONEY, MonthlyRule, VolumeTier
from meter.core.rates import datetime_of
from meter.core.selecting import Parties
from meter.core.usage import Usage
from meter.errors import InputError
from meter.meter import Meter
from meter.reports.adjusting import month_adjustments
from meter.reports.invoice_documents import from_json, to_json
from meter.reports.invoicing import Invoicing
from meter.store.checking import check
from tests.reports.test_invoicing import (
    DECEMBER,
    NOVEMBER,
    NOW_US,
    correct,
    issue_if_any,
    settle,
)
from tests.store.examples import CARD, a_call, an_event
from tests.store.test_books import LISTED, RESALE, resold

JANUARY = period_named("2027-01", "UTC")

FREE = MonthlyRule("first ten", "input_tokens", free=10)
VOLUME = MonthlyRule(
    "volume", MONEY, currency="USD", tiers=(VolumeTier(20_000, Fraction(1, 2)),)
)  # fmt: skip
HALF_OFF = MonthlyRule("half off", "output_tokens", tiers=(VolumeTier(0, Fraction(1, 2)),))


@pytest.fixture
def meter(ledger_url: str) -> Iterator[Meter]:
    with Meter(ledger_url, durability="process") as made:
        yield made


def invoicing_with(meter: Meter, *rules: MonthlyRule, **more: object) -> Invoicing:
    return Invoicing(meter._ledger, monthly=rules, **more)  # type: ignore[arg-type]


def shown(row) -> list[tuple[str, str, str | None, str, str, int]]:
    return [
        (line.kind.value, line.period.name, line.item.rule, line.item.unit, str(line.quantity),
         line.amount_nanos)
        for line in from_json(row.content).lines
    ]  # fmt: skip


def findings(meter: Meter) -> list[str]:
    return [f"{f.invariant}: {f.row}: {f.message}" for f in check(meter._ledger._engine)]


def balance(meter: Meter, account: str, currency: str = "USD") -> int:
    """Return debits less credits of an account, from its entries."""
    entries = meter._ledger.entries(since_us=None, until_us=None)
    return sum(
        entry.amount_nanos * ((entry.debit == account) - (entry.credit == account))
        for entry in entries
        if entry.currency == currency
    )


def grant(meter: Meter, amount: str, name: str = "one") -> None:
    meter.credits.grant("alice", amount, "USD", id=name, reason="paid", author="ann")


def test_an_allowance_and_a_volume_price_are_lines_of_the_month(meter):
    for number in (1, 2, 3):
        settle(meter, number)
    (row,) = invoicing_with(meter, FREE, VOLUME).issue("alice", NOVEMBER, NOW_US)
    # Used: 12 input tokens for 12,000 nanos and 18 output tokens for 36,000: 48,000 in all.
    # Free: 10 of the 12 input tokens, 10,000 nanos. Left 38,000, of which 18,000 are above 20,000
    # and cost half: 9,000 less.
    assert shown(row) == [
        ("usage", "2026-11", None, "input_tokens", "12", 12_000),
        ("usage", "2026-11", None, "output_tokens", "18", 36_000),
        ("monthly", "2026-11", "first ten", "input_tokens", "10", -10_000),
        ("monthly", "2026-11", "volume", "money", "0.000018", -9_000),
    ]
    assert row.amount_nanos == 29_000
    # The books: what the rules took off was earned less.
    assert balance(meter, "allowance:first ten") == 10_000
    assert balance(meter, "volume:volume") == 9_000
    assert balance(meter, "receivable:alice") == -19_000
    assert balance(meter, "spend:alice") + balance(meter, "receivable:alice") == row.amount_nanos
    assert findings(meter) == []


def test_a_document_with_them_can_be_read_back(meter):
    settle(meter, 1)
    (row,) = invoicing_with(meter, FREE).issue("alice", NOVEMBER, NOW_US)
    assert to_json(from_json(row.content)) == row.content


def test_only_whole_months_have_them(meter):
    settle(meter, 1)
    day = period_named("2026-11-22", "UTC")
    (row,) = invoicing_with(meter, FREE).draft("alice", day, NOW_US)
    assert row.subtotal_nanos == 16_000
    assert NOVEMBER.months() == (NOVEMBER.start_us,)
    assert day.months() == ()
    assert len(period_named("2026-Q4", "Asia/Shanghai").months()) == 3
    assert len(period_named("2026", "Europe/Berlin").months()) == 12


def test_a_quarter_has_those_of_each_of_its_months(meter):
    # 40 x 4 tokens in November, 4 in December: ten are free in each, of December all four.
    settle(meter, 1, Usage(input_tokens=160, output_tokens=0))
    settle(meter, 2, started_us=DECEMBER.start_us)
    quarter = period_named("2026-Q4", "UTC")
    (row,) = invoicing_with(meter, FREE).draft("alice", quarter, NOW_US)
    monthly = [line for line in row.lines if line.item.rule]
    assert [(line.quantity, line.amount_nanos) for line in monthly] == [(14, -14_000)]


def test_late_calls_change_them_on_the_next_invoice_once(meter):
    settle(meter, 1)
    rules = (FREE, VOLUME)
    invoicing_with(meter, *rules).issue("alice", NOVEMBER, NOW_US)
    for number in (2, 3):
        settle(meter, number)
    correct(meter, 1, Usage(input_tokens=4, output_tokens=0))
    (december,) = invoicing_with(meter, *rules).issue("alice", DECEMBER, NOW_US)
    # November is now 12 input tokens (12,000) and 12 output tokens (24,000). Free: 10,000, of
    # which 4,000 were billed. Left 26,000, of which 6,000 are above 20,000: 3,000 less.
    assert shown(december) == [
        ("adjustment", "2026-11", None, "input_tokens", "8", 8_000),
        ("adjustment", "2026-11", None, "output_tokens", "6", 12_000),
        ("adjustment", "2026-11", "first ten", "input_tokens", "6", -6_000),
        ("adjustment", "2026-11", "volume", "money", "0.000006", -3_000),
    ]
    with pytest.raises(InputError, match="found nothing to bill 'alice' for 2027-01"):
        invoicing_with(meter, *rules).issue("alice", JANUARY, NOW_US)
    assert balance(meter, "receivable:alice") == -13_000
    assert findings(meter) == []


def test_a_rule_that_is_changed_changes_past_months_on_the_next_invoice(meter):
    settle(meter, 1)
    invoicing_with(meter).issue("alice", NOVEMBER, NOW_US)
    (december,) = invoicing_with(meter, HALF_OFF).issue("alice", DECEMBER, NOW_US)
    assert shown(december) == [("adjustment", "2026-11", "half off", "output_tokens", "6", -6_000)]
    # Taken away again, its lines are taken back; and one from January on changes nothing before.
    later = MonthlyRule(
        "half off", "output_tokens", tiers=HALF_OFF.tiers, from_us=JANUARY.start_us
    )  # fmt: skip
    (january,) = invoicing_with(meter, later).issue("alice", JANUARY, NOW_US)
    assert shown(january) == [("adjustment", "2026-11", "half off", "output_tokens", "-6", 6_000)]
    assert balance(meter, "receivable:alice") == 0
    assert findings(meter) == []


def test_a_credit_note_takes_their_entries_back(meter):
    settle(meter, 1)
    invoicing = invoicing_with(meter, FREE)
    (row,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    invoicing.void(row.number, "wrong", NOW_US)
    assert balance(meter, "allowance:first ten") == 0
    (again,) = invoicing.issue("alice", NOVEMBER, NOW_US)
    assert shown(again) == shown(row)
    assert balance(meter, "allowance:first ten") == 4_000
    assert findings(meter) == []


def test_rules_for_others_change_nothing(meter):
    settle(meter, 1)
    theirs = MonthlyRule("gold", "input_tokens", free=10, parties=Parties(tags={("g", "x")}))
    (row,) = invoicing_with(meter, theirs).issue("alice", NOVEMBER, NOW_US)
    assert [rule for _, _, rule, *_ in shown(row)] == [None, None]


def test_resold_calls_owe_what_the_invoices_say(meter):
    for number in (1, 2):
        meter._ledger.store.settle(resold(number), CARD, others=(LISTED, RESALE)).result(20)
    (row,) = invoicing_with(meter, HALF_OFF).issue("alice", NOVEMBER, NOW_US)
    # Twice 4 x 3000 + 6 x 5000 nanos of CNY; half of the 60,000 for output is taken off.
    assert (row.currency, row.amount_nanos) == ("CNY", 54_000)
    assert balance(meter, "receivable:alice", "CNY") == 54_000
    assert findings(meter) == []


def test_the_check_finds_entries_and_documents_that_do_not_agree(meter):
    settle(meter, 1)
    (row,) = invoicing_with(meter, FREE).issue("alice", NOVEMBER, NOW_US)
    with meter._ledger._engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE invoice_lines SET amount_nanos = -4001 WHERE rule IS NOT NULL"
        )
    found = findings(meter)
    assert any("4000 nanos USD from allowance:first ten" in text for text in found)
    assert any(
        "an invoice is the sum of its lines: INV-000001: its lines sum to 11999" in text
        for text in found
    )
    assert row.number == "INV-000001"


# --- prepaid credit ---------------------------------------------------------------------------


def test_without_prepaid_credit_all_of_it_is_due(meter):
    settle(meter, 1)
    (row,) = invoicing_with(meter).issue("alice", NOVEMBER, NOW_US)
    invoice = from_json(row.content)
    assert invoice.credit is None
    assert (invoice.paid_nanos, invoice.due_nanos) == (0, invoice.total_nanos)


def billed_with_credit(meter: Meter, usage: Usage, number: int = 1, **more: object) -> None:
    """Settle a call of alice that starts after her credit began."""
    (account,) = meter.credits.balances("alice")
    call = a_call(number, started_us=account.since_us + number, **more)
    meter._ledger.store.settle(an_event(call, usage), CARD).result(20)


def this_month(meter: Meter, tz: str = "UTC"):
    (account,) = meter.credits.balances("alice")
    return period_named(datetime_of(account.since_us).strftime("%Y-%m"), tz)


def test_what_credit_has_paid_is_not_due(meter):
    grant(meter, "100")
    # 10 million input tokens at 1 USD a million.
    billed_with_credit(meter, Usage(input_tokens=10_000_000, output_tokens=0))
    period = this_month(meter)
    tax = Tax("VAT", Decimal(19))
    (row,) = invoicing_with(meter, tax=tax).issue("alice", period, NOW_US)
    invoice = from_json(row.content)
    # 10 USD and 1.90 of tax, which credit has not paid.
    assert invoice.total_nanos == 11_900_000_000
    assert (invoice.paid_nanos, invoice.due_nanos) == (10_000_000_000, 1_900_000_000)
    assert to_json(invoice) == row.content
    assert findings(meter) == []


def test_an_overrun_is_due(meter):
    grant(meter, "4")
    billed_with_credit(meter, Usage(input_tokens=10_000_000, output_tokens=0))
    (row,) = invoicing_with(meter).issue("alice", this_month(meter), NOW_US)
    invoice = from_json(row.content)
    assert (invoice.total_nanos, invoice.paid_nanos, invoice.due_nanos) == (
        10 * 10**9, 4 * 10**9, 6 * 10**9,
    )  # fmt: skip


def test_a_grant_that_covers_the_overrun_leaves_nothing_due(meter):
    grant(meter, "4")
    billed_with_credit(meter, Usage(input_tokens=10_000_000, output_tokens=0))
    grant(meter, "20", "two")
    (row,) = invoicing_with(meter).issue("alice", this_month(meter), NOW_US)
    assert from_json(row.content).due_nanos == 0


def test_an_allowance_on_what_credit_paid_is_to_be_given_back(meter):
    grant(meter, "100")
    billed_with_credit(meter, Usage(input_tokens=10_000_000, output_tokens=0))
    free = MonthlyRule("two million", "input_tokens", free=2_000_000)
    (row,) = invoicing_with(meter, free).issue("alice", this_month(meter), NOW_US)
    invoice = from_json(row.content)
    assert (invoice.total_nanos, invoice.due_nanos) == (8 * 10**9, -2 * 10**9)


def test_a_credit_note_is_paid_and_due_with_the_other_sign(meter):
    grant(meter, "4")
    billed_with_credit(meter, Usage(input_tokens=10_000_000, output_tokens=0))
    invoicing = invoicing_with(meter)
    period = this_month(meter)
    (row,) = invoicing.issue("alice", period, NOW_US)
    note = from_json(invoicing.void(row.number, "wrong", NOW_US).content)
    assert note.kind is Kind.CREDIT_NOTE
    assert (note.total_nanos, note.paid_nanos, note.due_nanos) == (
        -10 * 10**9, -4 * 10**9, -6 * 10**9,
    )  # fmt: skip
    (again,) = invoicing.issue("alice", period, NOW_US)
    assert from_json(again.content).due_nanos == 6 * 10**9


def test_what_later_invoices_say_of_it_is_only_what_came_later(meter):
    grant(meter, "100")
    billed_with_credit(meter, Usage(input_tokens=10_000_000, output_tokens=0))
    period = this_month(meter)
    invoicing_with(meter).issue("alice", period, NOW_US)
    billed_with_credit(meter, Usage(input_tokens=3_000_000, output_tokens=0), 2)
    year, month = divmod(int(period.name[:4]) * 12 + int(period.name[5:]), 12)
    following = period_named(f"{year}-{month + 1:02d}", "UTC")
    (row,) = invoicing_with(meter).issue("alice", following, NOW_US)
    invoice = from_json(row.content)
    assert (invoice.total_nanos, invoice.paid_nanos, invoice.due_nanos) == (
        3 * 10**9, 3 * 10**9, 0,
    )  # fmt: skip


RULES = ((), (FREE, VOLUME), (HALF_OFF,), (FREE,))
MONTHS = (NOVEMBER, DECEMBER, JANUARY)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["call", "call", "correct", "invoice", "void", "rules"]),
            st.integers(0, 3),
            st.integers(0, 30),
        ),
        max_size=25,
    )
)
def test_with_rules_invoices_sum_to_calls_and_entries_whatever_happens(
    migrated_sqlite: Path,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, int]],
):
    path = tmp_path_factory.mktemp("machine") / "ledger.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    with Meter(f"sqlite:///{path}", durability="process") as meter:
        invoicing = invoicing_with(meter)
        corrections: dict[int, int] = {}
        for number, (step, which, tokens) in enumerate(steps, 1):
            known = list(corrections)
            if step == "call":
                corrections[number] = 0
                settle(meter, number, Usage(input_tokens=tokens, output_tokens=1),
                       started_us=MONTHS[which % 3].start_us + number)  # fmt: skip
            elif step == "correct" and known:
                chosen = known[which % len(known)]
                corrections[chosen] += 1
                correct(meter, chosen, Usage(input_tokens=tokens, output_tokens=2),
                        corrections[chosen])  # fmt: skip
            elif step == "void":
                listed = meter._ledger.invoices.listed(kind=Kind.INVOICE)
                standing = [row.number for row in listed if row.voided_by is None]
                if standing:
                    invoicing.void(standing[which % len(standing)], "test", NOW_US)
            elif step == "invoice":
                issue_if_any(invoicing, MONTHS[which % 3])
            elif step == "rules":
                invoicing.monthly = RULES[which]
        for period in (*MONTHS, period_named("2027-02", "UTC")):
            issue_if_any(invoicing, period)
        rows = meter._ledger.invoices.listed()
        billed = sum(row.billed_nanos or 0 for row in meter.usage(by=()))
        by_rules = sum(
            line.amount_nanos
            for month in MONTHS
            for line in month_adjustments(
                meter.calls(since=datetime_of(month.start_us), until=datetime_of(month.end_us)),
                invoicing.monthly, meter._ledger.rate_card, subject="alice",
                month_us=month.start_us,
            )
        )  # fmt: skip
        assert sum(row.amount_nanos for row in rows) == billed + by_rules
        assert balance(meter, "spend:alice") == billed
        assert balance(meter, "receivable:alice") == by_rules
        assert findings(meter) == []
