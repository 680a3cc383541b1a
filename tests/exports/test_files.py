"""What is in the ledger comes out of every format, whole, typed and exact."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from meter.errors import InputError
from meter.exports.exporting import export
from meter.exports.tables import CALLS, ENTRIES, LINES, Field, Kind, Table
from meter.exports.xlsx_file import open_writer as open_workbook
from tests.store.examples import CARD, call_id
from tests.store.test_books import LISTED, RESALE, resold

USD, CNY = "USD", "CNY"


def csv_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def jsonl_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def sums(exported, name):
    return {total.currency: total.sums.get(name) for total in exported.totals}


def test_calls_come_with_their_corrections_and_sum_up_as_usage_does(filled, tmp_path):
    path = tmp_path / "calls.jsonl"
    done = filled.export("jsonl", path)
    rows = jsonl_of(path)
    assert [row["call_id"] for row in rows] == [str(call_id(number)) for number in range(1, 6)]
    assert [row["cost"] for row in rows] == ["0.000016", "0.000003", "0.000035", None, None]
    assert [row["corrections"] for row in rows] == [0, 1, 0, 0, 0]
    assert rows[4]["state"] == "unsettled" and rows[4]["input_tokens"] is None
    # USD: 16,000 + 3 x 1000; CNY: 35,000.
    assert sums(done, "cost") == {CNY: 35_000, USD: 19_000, None: None}
    usage = {row.currency: row for row in filled.usage(by=())}
    for total in done.totals:
        assert total.sums.get("cost") == usage[total.currency].cost_nanos
        assert total.sums.get("input_tokens") == usage[total.currency].input_tokens
        assert total.rows == usage[total.currency].calls


def test_lines_are_quantity_price_and_amount(filled, tmp_path):
    done = filled.export("csv", tmp_path / "lines.csv", of="lines")
    rows = csv_of(tmp_path / "lines.csv")
    shown = [(r["unit"], r["quantity"], r["price"], r["per"], r["amount"]) for r in rows]
    assert shown == [
        ("input_tokens", "4", "1", "1000000", "0.000004"),
        ("output_tokens", "6", "2", "1000000", "0.000012"),
        ("input_tokens", "3", "1", "1000000", "0.000003"),
        ("input_tokens", "7", "5", "1000000", "0.000035"),
    ]
    assert sums(done, "amount") == {USD: 19_000, CNY: 35_000}


def test_what_is_billed_has_lines_and_sums_of_its_own(meter, tmp_path):
    meter._ledger.store.settle(resold(), CARD, others=(LISTED, RESALE)).result(10)
    done = meter.export("csv", tmp_path / "lines.csv", of="lines", book="billed")
    # 4 x 3 CNY / 10⁶ and 6 x 5 CNY / 10⁶.
    shown = [(r["book"], r["price"], r["amount"]) for r in csv_of(tmp_path / "lines.csv")]
    assert shown == [("billed", "3", "0.000012"), ("billed", "5", "0.00003")]
    assert sums(done, "amount") == {CNY: 42_000}
    done = meter.export("jsonl", tmp_path / "calls.jsonl")
    (call,) = jsonl_of(tmp_path / "calls.jsonl")
    assert [call[name] for name in ("cost", "list_cost", "billed", "billed_currency")] == [
        "0.000016", "0.000032", "0.000042", CNY,
    ]  # fmt: skip
    assert sums(done, "billed") == {USD: None, CNY: 42_000}
    assert sums(done, "list_cost") == {USD: 32_000, CNY: None}
    done = meter.export("csv", tmp_path / "usage.csv", of="usage")
    assert sums(done, "billed") == {USD: None, CNY: 42_000}


def test_entries_sum_up_to_what_was_used(filled, tmp_path):
    done = filled.export("csv", tmp_path / "entries.csv", of="entries")
    rows = csv_of(tmp_path / "entries.csv")
    # Calls 1 to 3 made one entry each, the correction of call 2 one of 2 x 1000.
    assert sorted(row["amount"] for row in rows) == ["0.000001", "0.000002", "0.000016", "0.000035"]
    assert {row["debit"] for row in rows} == {"spend:alice", "spend:陈静"}
    assert sums(done, "spend") == {USD: 19_000, CNY: 35_000}


def test_usage_comes_in_the_groups_asked_for(filled, tmp_path):
    filled.export("csv", tmp_path / "u.csv", of="usage", by=("subject", "day"), tz="Asia/Shanghai")
    rows = csv_of(tmp_path / "u.csv")
    assert [(r["subject"], r["day"], r["calls"], r["cost"], r["currency"]) for r in rows] == [
        ("alice", "2026-11-22", "3", "0.000019", USD),
        ("陈静", "2026-11-22", "1", "0.000035", CNY),
        ("", "2026-11-22", "1", "", ""),
    ]


def test_times_are_in_the_zone_asked_for(filled, tmp_path):
    path = tmp_path / "calls.csv"
    filled.export("csv", path, tz="Asia/Shanghai")
    assert csv_of(path)[0]["started"] == "2026-11-22T20:00:00.000001+08:00"


def test_filters_and_the_interval_choose_rows(filled, tmp_path):
    path = tmp_path / "calls.jsonl"
    assert filled.export("jsonl", path, subject="陈静").rows == 1
    assert jsonl_of(path)[0]["tags"] == {"team": "a", "x": "=1"}
    with pytest.raises(InputError, match="expected none"):
        filled.export("jsonl", path, of="entries", subject="alice")
    with pytest.raises(InputError, match="expected one of calls, lines, usage, entries"):
        filled.export("jsonl", path, of="invoices")


def test_parquet_has_types_and_totals(filled, tmp_path):
    path = tmp_path / "calls.parquet"
    filled.export("parquet", path, tz="Asia/Shanghai")
    found = pq.read_table(path)
    assert str(found.schema.field("cost").type) == "decimal128(38, 9)"
    assert str(found.schema.field("started").type) == "timestamp[us, tz=Asia/Shanghai]"
    assert str(found.schema.field("streaming").type) == "bool"
    assert found["cost"].to_pylist() == [
        Decimal("0.000016000"), Decimal("0.000003000"), Decimal("0.000035000"), None, None,
    ]  # fmt: skip
    totals = json.loads(pq.ParquetFile(path).metadata.metadata[b"meter.totals"])
    assert [(t["currency"], t.get("cost")) for t in totals] == [
        (CNY, "0.000035"), (USD, "0.000019"), (None, None),
    ]  # fmt: skip


def test_a_workbook_has_types_a_frozen_header_and_totals(filled, tmp_path):
    path = tmp_path / "calls.xlsx"
    filled.export("xlsx", path, tz="Asia/Shanghai")
    sheet = openpyxl.load_workbook(path)["calls"]
    assert sheet.freeze_panes == "A2"
    header = [cell.value for cell in sheet[1]]
    place = {name: number for number, name in enumerate(header)}
    assert "started (Asia/Shanghai)" in place
    first = [cell.value for cell in sheet[2]]
    assert first[place["cost"]] == 0.000016
    assert first[place["started (Asia/Shanghai)"]].isoformat(timespec="seconds") == (
        "2026-11-22T20:00:00"
    )
    assert first[place["streaming"]] is False
    below = {row[0].value: row for row in sheet.iter_rows(min_row=8)}
    assert list(below) == ["Total CNY (1 rows)", "Total USD (2 rows)", "Total (2 rows)"]
    assert below["Total USD (2 rows)"][place["cost"]].value == 0.000019
    assert below["Total USD (2 rows)"][place["input_tokens"]].value == 7


# The formats themselves, on rows made by hand.

ALL_KINDS = Table(
    "kinds",
    (
        Field("text"), Field("integer", Kind.INTEGER, summed=True),
        Field("quantity", Kind.DECIMAL, summed=True), Field("amount", Kind.AMOUNT, summed=True),
        Field("currency"), Field("at", Kind.TIME), Field("flag", Kind.FLAG),
        Field("more", Kind.JSON),
    ),
)  # fmt: skip
ROWS = [
    ("=1+1", 7, Decimal("8.470000267"), 12_500_000_001, USD, 1_795_348_800_000_001, True,
     {"seconds": Decimal("0.5")}),
    ("名字, \"quoted\"\nline", 10**16, 3, -(10**16) - 1, USD, 0, False, ["a", 1]),
    (None,) * 8,
]  # fmt: skip


def test_csv_is_what_the_hand_wrote(tmp_path):
    path = tmp_path / "kinds.csv"
    export(ROWS, ALL_KINDS, "csv", path)
    assert path.read_text("utf-8") == (
        "text,integer,quantity,amount,currency,at,flag,more\n"
        "'=1+1,7,8.470000267,12.500000001,USD,2026-11-22T12:00:00.000001+00:00,true,"
        '"{""seconds"":""0.5""}"\n'
        '"名字, ""quoted""\nline",10000000000000000,3,-10000000.000000001,USD,'
        '1970-01-01T00:00:00.000000+00:00,false,"[""a"",1]"\n'
        ",,,,,,,\n"
    )


def test_jsonl_is_what_the_hand_wrote(tmp_path):
    path = tmp_path / "kinds.jsonl"
    export(ROWS, ALL_KINDS, "jsonl", path)
    first, second, third = path.read_text("utf-8").splitlines()
    assert first == (
        '{"text":"=1+1","integer":7,"quantity":"8.470000267","amount":"12.500000001",'
        '"currency":"USD","at":"2026-11-22T12:00:00.000001+00:00","flag":true,'
        '"more":{"seconds":"0.5"}}'
    )
    assert json.loads(second)["amount"] == "-10000000.000000001"
    assert set(json.loads(third).values()) == {None}


def test_parquet_keeps_every_digit(tmp_path):
    path = tmp_path / "kinds.parquet"
    export(ROWS, ALL_KINDS, "parquet", path)
    found = pq.read_table(path).to_pydict()
    assert found["amount"] == [Decimal("12.500000001"), Decimal("-10000000.000000001"), None]
    assert found["quantity"][:2] == [Decimal("8.470000267000000000"), Decimal(3)]
    assert found["more"][0] == '{"seconds":"0.5"}'


def test_a_quantity_too_fine_for_parquet_is_said_and_leaves_no_file(tmp_path):
    path = tmp_path / "kinds.parquet"
    fine = [("a", 1, Decimal("1e-19"), 0, USD, 0, True, None)]
    with pytest.raises(InputError, match="expected at most 18 decimal places"):
        export(fine, ALL_KINDS, "parquet", path)
    assert list(tmp_path.iterdir()) == []


def test_a_workbook_writes_more_than_15_digits_as_text(tmp_path):
    path = tmp_path / "kinds.xlsx"
    export(ROWS, ALL_KINDS, "xlsx", path)
    sheet = openpyxl.load_workbook(path).active
    first, second = ([cell.value for cell in row] for row in sheet.iter_rows(min_row=2, max_row=3))
    assert first[:4] == ["=1+1", 7, 8.470000267, 12.500000001]
    assert second[1:4] == ["10000000000000000", 3, "-10000000.000000001"]
    assert sheet.cell(2, 1).data_type == "s", "a text that begins like a formula is no formula"


def test_a_full_sheet_continues_on_the_next(tmp_path):
    path = tmp_path / "sheets.xlsx"
    table = Table("numbers", (Field("n", Kind.INTEGER),))
    with path.open("wb") as stream:
        writer = open_workbook(stream, table, "UTC", sheet_rows=4)
        writer.write([(number,) for number in range(7)])
        writer.finish([])
    book = openpyxl.load_workbook(path)
    cells = {sheet.title: [row[0].value for row in sheet.iter_rows()] for sheet in book}
    assert cells == {
        "numbers": ["n", 0, 1, 2], "numbers 2": ["n", 3, 4, 5], "numbers 3": ["n", 6],
    }  # fmt: skip


# Files.


def failing_rows():
    yield ROWS[0]
    raise ValueError("the rows stopped")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "xlsx"])
def test_a_failed_export_leaves_what_was_there(format, tmp_path):
    path = tmp_path / f"kinds.{format}"
    path.write_text("before")
    with pytest.raises(ValueError, match="the rows stopped"):
        export(failing_rows(), ALL_KINDS, format, path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]


def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="No such file or directory"):
        export(ROWS, ALL_KINDS, "csv", tmp_path / "nowhere" / "file.csv")
    with pytest.raises(InputError, match="expected the name of a file"):
        export(ROWS, ALL_KINDS, "csv", tmp_path)
    with pytest.raises(InputError, match="not for pipes"):
        export(ROWS, ALL_KINDS, "xlsx", "-")


def test_a_device_is_written_to_and_not_replaced():
    export(ROWS, ALL_KINDS, "csv", Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("table", [CALLS, LINES, ENTRIES])
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "xlsx"])
def test_an_empty_export_is_a_file_with_a_header(format, table, tmp_path):
    assert export([], table, format, tmp_path / "empty").rows == 0
    if format == "parquet":
        assert pq.read_table(tmp_path / "empty").column_names == table.names


def test_progress_is_told_in_thousands(tmp_path):
    told = []
    rows = [("a", 1, 1, 1, USD, 0, True, None)] * 2500
    export(rows, ALL_KINDS, "csv", tmp_path / "many.csv", progress=told.append)
    assert told == [1000, 2000, 2500]


def test_the_rate_card_of_the_example_is_the_one_exported(filled, tmp_path):
    filled.export("jsonl", tmp_path / "calls.jsonl")
    assert jsonl_of(tmp_path / "calls.jsonl")[0]["rate_card_id"] == CARD.id
