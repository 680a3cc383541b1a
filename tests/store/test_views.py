"""The SQL views say what the rest of the product says, on both databases, and hold still."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from meter.core.usage import Usage
from meter.meter import Meter
from meter.store.encoding import _SHORT
from meter.store.types import BASES, OUTCOMES
from tests.store.examples import (
    CARD,
    NOON_US,
    a_call,
    a_correction,
    an_event,
    an_unknown_end,
)
from tests.store.test_books import LISTED, RESALE, resold

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sql.md"
VIEWS = (
    "meter_calls", "meter_charge_lines", "meter_credit_moves", "meter_entries",
    "meter_invoice_lines", "meter_invoices",
)  # fmt: skip


@pytest.fixture
def meter(ledger_url: str) -> Iterator[Meter]:
    """A ledger with a plain call, a resold one, a corrected one, an unsettled one."""
    with Meter(ledger_url, durability="process") as made:
        store = made._ledger.store
        store.settle(an_event(a_call(1)), CARD).result(20)
        store.settle(resold(2), CARD, others=(LISTED, RESALE)).result(20)
        store.settle(an_event(a_call(3)), CARD).result(20)
        store.settle(an_unknown_end(a_call(4)), None).result(20)
        twice = [(a_correction(3, 1, Usage(input_tokens=7, output_tokens=6)), (CARD,))]
        made._ledger.correct_all(twice)
        made._ledger.correct_all(
            [(a_correction(3, 2, Usage(input_tokens=1, output_tokens=6)), (CARD,))]
        )
        yield made


def rows_of(meter: Meter, query: str) -> list[dict[str, Any]]:
    with meter._ledger._engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def test_calls_are_those_that_the_ledger_lists(meter):
    found = rows_of(meter, "SELECT * FROM meter_calls ORDER BY started_us")
    listed = list(meter.calls(newest_first=False))
    assert [row["call_id"] for row in found] == [str(call.id) for call in listed]
    for row, call in zip(found, listed, strict=True):
        assert row["outcome"] == call.outcome.value
        assert row["basis"] == call.basis.value
        assert (row["model"], row["subject"], row["provider"]) == (
            call.model, call.subject, call.provider,
        )  # fmt: skip
        assert (row["cost_nanos"], row["currency"]) == (call.cost_nanos, call.currency)
        for book, charge in (("list", call.listed), ("billed", call.billed)):
            assert (row[f"{book}_nanos"], row[f"{book}_currency"]) == (
                charge.amount_nanos, charge.currency,
            )  # fmt: skip
        assert row["corrections"] == call.corrections
        assert row["duration_us"] == call.ended_us - call.started_us
        usage = call.usage or {}
        assert row["input_tokens"] == usage.get("input_tokens")
        assert row["output_tokens"] == usage.get("output_tokens")
    # Call 3 as it was corrected last: 1 x 1000 + 6 x 2000 nanos.
    assert [row["cost_nanos"] for row in found] == [16_000, 16_000, 13_000, None]


def test_their_sums_are_those_of_usage(meter):
    (row,) = rows_of(
        meter,
        "SELECT count(*) AS calls, sum(cost_nanos) AS cost, sum(input_tokens) AS input,"
        " sum(output_tokens) AS output FROM meter_calls",
    )
    usage = meter.usage()
    assert row["calls"] == sum(each.calls for each in usage) == 4
    assert row["cost"] == sum(each.cost_nanos or 0 for each in usage) == 45_000
    assert row["input"] == sum(each.input_tokens or 0 for each in usage) == 9
    assert row["output"] == sum(each.output_tokens or 0 for each in usage) == 18


def test_a_moment_is_exact_to_the_microsecond(meter):
    found = rows_of(meter, "SELECT started_at, started_us FROM meter_calls ORDER BY started_us")
    first = found[0]["started_at"]
    if isinstance(first, str):
        assert first == "2026-11-22 12:00:00.000001"
    else:
        assert first == datetime(2026, 11, 22, 12, 0, 0, 1, tzinfo=UTC)
    assert found[0]["started_us"] == NOON_US + 1


def test_charge_lines_sum_to_the_cost_and_name_their_units(meter):
    found = rows_of(meter, "SELECT * FROM meter_charge_lines ORDER BY started_us, number")
    assert [
        (row["number"], row["unit"], int(row["quantity"]), row["price_nanos"], row["per"],
         row["amount_nanos"]) for row in found if row["call_id"] == found[0]["call_id"]
    ] == [
        (1, "input_tokens", 4, 10**9, 10**6, 4000),
        (2, "output_tokens", 6, 2 * 10**9, 10**6, 12_000),
    ]  # fmt: skip
    sums: dict[str, int] = {}
    for row in found:
        sums[row["call_id"]] = sums.get(row["call_id"], 0) + row["amount_nanos"]
    assert sums == {
        str(call.id): call.cost_nanos for call in meter.calls() if call.cost_nanos is not None
    }


def test_every_unit_and_number_has_its_name():
    """The migration carries copies of names that are numbers and letters in the tables."""
    path = Path(__file__).resolve().parents[2] / "migrations" / "versions" / "0011_billing.py"
    spec = spec_from_file_location("billing", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {short: name for name, short in _SHORT.items()} == module.SHORT_UNITS
    assert dict(enumerate(module.OUTCOMES)) == {n: o.value for n, o in OUTCOMES.items()}
    assert dict(enumerate(module.BASES)) == {n: b.value for n, b in BASES.items()}


def test_entries_invoices_and_moves_are_there(meter):
    meter.credits.grant("alice", "5", "USD", id="one", reason="paid", author="ann")
    (invoice,) = [i for i in meter.invoice("alice", "2026-11") if i.invoice.currency == "USD"]
    entries = rows_of(meter, "SELECT * FROM meter_entries")
    known = list(meter._ledger.entries(since_us=None, until_us=None))
    assert sorted((row["source_id"], row["number"], row["amount_nanos"]) for row in entries) == (
        sorted((str(entry.source_id), entry.number, entry.amount_nanos) for entry in known)
    )
    (shown,) = rows_of(meter, "SELECT * FROM meter_invoices WHERE currency = 'USD'")
    assert shown["number"] == invoice.invoice.number
    assert int(shown["subtotal_nanos"]) == invoice.invoice.subtotal_nanos
    assert shown["voided_by"] is None
    lines = rows_of(meter, f"SELECT * FROM meter_invoice_lines WHERE number = '{shown['number']}'")
    assert sum(line["amount_nanos"] for line in lines) == invoice.invoice.subtotal_nanos
    note = meter.void_invoice(shown["number"], reason="wrong")
    (shown,) = rows_of(
        meter, f"SELECT * FROM meter_invoices WHERE number = '{invoice.invoice.number}'"
    )
    assert shown["voided_by"] == note.invoice.number
    (moved,) = rows_of(meter, "SELECT * FROM meter_credit_moves")
    assert (moved["kind"], moved["amount_nanos"], moved["call_id"]) == ("grant", 5 * 10**9, None)


def test_a_day_is_a_day_of_the_zone_as_the_page_shows(meter):
    """The query of docs/sql.md, cut at Shanghai's midnight, finds what usage finds."""
    native = meter._ledger._engine.dialect.name == "postgresql"
    store = meter._ledger.store
    # 16:30 UTC of the 21st is the 22nd in Shanghai.
    early = a_call(9, started_us=NOON_US - 19_800_000_000 - 36_000_000_000)
    store.settle(an_event(early), CARD).result(20)
    marker = "```sql\n-- PostgreSQL" if native else "```sql\n-- SQLite"
    query = PAGE.read_text().split(marker, 1)[1].partition("\n")[2].partition("```")[0]
    found = {(str(row["day"]), row["subject"]): row["cost_nanos"] for row in rows_of(meter, query)}
    expected: dict[tuple[str | None, ...], int] = {}
    for row in meter.usage(["day", "subject"], tz="Asia/Shanghai"):
        if row.currency == "USD":
            expected[row.group] = expected.get(row.group, 0) + (row.cost_nanos or 0)
    assert {key: int(value) for key, value in found.items() if value is not None} == expected
    assert len({day for day, _ in expected}) == 1
    assert len({row.group for row in meter.usage(["day"])}) == 2


@pytest.mark.parametrize("view", VIEWS)
def test_the_columns_are_those_of_the_page(meter, view):
    section = PAGE.read_text().partition(f"## `{view}`")[2].partition("\n## ")[0]
    documented = [
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in line.split("|")[1].replace("`", "").replace(" ", "").split(",")
    ]
    with meter._ledger._engine.connect() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns(view)]
        assert set(inspect(connection).get_view_names()) >= set(VIEWS)
    assert columns == documented
