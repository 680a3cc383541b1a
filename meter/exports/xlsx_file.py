"""Write an Excel workbook: typed cells, a frozen header, totals; several sheets where one is full.

Excel's numbers are binary floats that hold 15 digits. An amount or a count of at most 15 digits is
a number that Excel shows to the last nano; a longer one is written as text, so that no digit is
lost. Times are Excel's own, in the zone that the header names. A text of more than 32,767
characters, which no cell can hold, ends in "…".
"""

import tempfile
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, BinaryIO

import xlsxwriter

from meter.core.money import nanos_to_decimal, nanos_to_text
from meter.core.rates import datetime_of
from meter.core.windows import zone
from meter.exports.summing import Total
from meter.exports.tables import Field, Kind, Row, Table
from meter.exports.texts import decimal_text, json_text

SHEET_ROWS = 1_048_576
"""How many rows a sheet has, the header's included."""

_LONGEST_TEXT = 32_767
_EXACT = 10**15
_A4 = 9
_PAGE_WIDTH = 260
"""How many characters of columns a page shows that can still be read."""
_WIDTHS = {
    Kind.TEXT: 18, Kind.INTEGER: 13, Kind.DECIMAL: 13, Kind.AMOUNT: 16, Kind.TIME: 24,
    Kind.UTC: 24, Kind.FLAG: 10, Kind.JSON: 28,
}  # fmt: skip
_WIDER = {
    "call_id": 40, "operation_id": 40, "source_id": 40, "response_id": 40, "model": 28,
    "model_served": 28, "path": 28, "rate_card_id": 22, "list_card_id": 22, "billed_card_id": 22,
}  # fmt: skip
_NUMBERS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.AMOUNT})
_TO_THE_RIGHT = {"align": "right", "indent": 1}
_FORMATS = {
    Kind.INTEGER: "#,##0",
    Kind.DECIMAL: "#,##0.#########",
    Kind.AMOUNT: "#,##0.000000000",
    Kind.TIME: "yyyy-mm-dd hh:mm:ss.000",
    Kind.UTC: "yyyy-mm-dd hh:mm:ss",
}

Put = Callable[[Any, int, int, Any, Any], None]
"""Writes a value into a sheet's cell (row, column) with a cell format."""


class XlsxWriter:
    """Writes rows into sheets of a workbook; a row once written is out of memory."""

    def __init__(self, stream: BinaryIO, table: Table, tz: str, sheet_rows: int) -> None:
        """Begin the workbook and its first sheet."""
        self._folder = tempfile.TemporaryDirectory(prefix="meter-xlsx-")
        options = {"constant_memory": True, "tmpdir": self._folder.name}
        self._book = xlsxwriter.Workbook(stream, options)
        self._table = table
        self._tz = tz
        self._sheet_rows = sheet_rows
        heading = {"bold": True, "bg_color": "#E8EAED", "bottom": 1}
        self._bold = self._book.add_format(heading)
        self._bold_right = self._book.add_format({**heading, **_TO_THE_RIGHT})
        self._formats = {kind: self._book.add_format({"num_format": text, **_aligned(kind)})
                         for kind, text in _FORMATS.items()}  # fmt: skip
        self._puts = _puts(tz)
        self._cells = [(self._puts[f.kind], self._formats.get(f.kind)) for f in table.fields]
        self._sheets = 0
        self._begin_sheet()

    def write(self, rows: Sequence[Row]) -> None:
        """Write some more rows, on a further sheet where this one is full."""
        for row in rows:
            if self._row >= self._sheet_rows:
                self._end_sheet()
                self._begin_sheet()
            for column, (value, (put, cell_format)) in enumerate(
                zip(row, self._cells, strict=True)
            ):
                if value is not None:
                    put(self._sheet, self._row, column, value, cell_format)
            self._row += 1

    def finish(self, totals: Sequence[Total]) -> None:
        """Write the totals below the last row and close the workbook."""
        if self._row + 1 + len(totals) >= self._sheet_rows:
            self._end_sheet()
            self._begin_sheet()
        self._end_sheet()
        self._row += 1
        for total in totals:
            self._write_total(total)
        self._book.close()
        self._folder.cleanup()

    def abandon(self) -> None:
        """Remove the files that the sheets' rows wait in."""
        for sheet in self._book.worksheets():
            sheet.row_data_fh.close()
        self._folder.cleanup()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        name = self._table.name if self._sheets == 1 else f"{self._table.name} {self._sheets}"
        self._sheet = self._book.add_worksheet(name)
        self._sheet.freeze_panes(1, 0)
        printed = 0
        for column, field in enumerate(self._table.fields):
            usual = _WIDER.get(field.name, _WIDTHS[field.kind])
            width = max(usual, len(self._heading(field)) + 4)
            printed += width
            self._sheet.set_column(column, column, width)
            heading = self._bold_right if field.kind in _NUMBERS else self._bold
            self._sheet.write_string(0, column, self._heading(field), heading)
        self._sheet.repeat_rows(0)
        self._sheet.set_landscape()
        self._sheet.set_paper(_A4)
        if printed <= _PAGE_WIDTH:
            self._sheet.fit_to_pages(1, 0)
        self._row = 1

    def _end_sheet(self) -> None:
        self._sheet.autofilter(0, 0, max(self._row - 1, 1), len(self._table.fields) - 1)

    def _heading(self, field: Field) -> str:
        return f"{field.name} ({self._tz})" if field.kind is Kind.TIME else field.name

    def _write_total(self, total: Total) -> None:
        style = {"bold": True, "top": 1}
        plain = self._book.add_format(style)
        for column, field in enumerate(self._table.fields):
            value = total.sums.get(field.name)
            if column == 0:
                name = "Total" if total.currency is None else f"Total {total.currency}"
                self._sheet.write_string(self._row, 0, f"{name} ({total.rows:,} rows)", plain)
            elif field.name == self._table.currency and total.currency is not None:
                self._sheet.write_string(self._row, column, total.currency, plain)
            elif value is None:
                self._sheet.write_blank(self._row, column, None, plain)
            else:
                number = self._book.add_format(
                    {**style, "num_format": _FORMATS[field.kind], **_aligned(field.kind)}
                )
                self._puts[field.kind](self._sheet, self._row, column, value, number)
        self._row += 1


def _aligned(kind: Kind) -> dict[str, Any]:
    """Return how cells stand: numbers right, with room before the next column; times left."""
    return _TO_THE_RIGHT if kind in _NUMBERS else {"align": "left"}


def open_writer(
    stream: BinaryIO, table: Table, tz: str, *, sheet_rows: int = SHEET_ROWS
) -> XlsxWriter:
    """Begin a workbook."""
    return XlsxWriter(stream, table, tz, sheet_rows)


def _puts(tz: str) -> dict[Kind, Put]:
    there = zone(tz)

    def put_time(sheet: Any, row: int, column: int, at_us: int, cell_format: Any) -> None:
        local = datetime_of(at_us).astimezone(there).replace(tzinfo=None)
        sheet.write_datetime(row, column, local, cell_format)

    return {
        Kind.TEXT: _put_text,
        Kind.INTEGER: _put_integer,
        Kind.DECIMAL: _put_decimal,
        Kind.AMOUNT: _put_amount,
        Kind.TIME: put_time,
        Kind.UTC: _put_utc,
        Kind.FLAG: _put_flag,
        Kind.JSON: _put_json,
    }


def _put_utc(sheet: Any, row: int, column: int, at_us: int, cell_format: Any) -> None:
    sheet.write_datetime(row, column, datetime_of(at_us).replace(tzinfo=None), cell_format)


def _put_text(sheet: Any, row: int, column: int, text: str, cell_format: Any) -> None:
    if len(text) > _LONGEST_TEXT:
        text = text[: _LONGEST_TEXT - 1] + "…"
    sheet.write_string(row, column, text, cell_format)


def _put_integer(sheet: Any, row: int, column: int, number: int, cell_format: Any) -> None:
    if -_EXACT < number < _EXACT:
        sheet.write_number(row, column, number, cell_format)
    else:
        sheet.write_string(row, column, str(number), cell_format)


def _put_amount(sheet: Any, row: int, column: int, nanos: int, cell_format: Any) -> None:
    if -_EXACT < nanos < _EXACT:
        sheet.write_number(row, column, nanos_to_decimal(nanos), cell_format)
    else:
        sheet.write_string(row, column, nanos_to_text(nanos), cell_format)


def _put_decimal(
    sheet: Any, row: int, column: int, quantity: int | Decimal, cell_format: Any
) -> None:
    if len(Decimal(quantity).normalize().as_tuple().digits) <= 15:
        sheet.write_number(row, column, quantity, cell_format)
    else:
        sheet.write_string(row, column, decimal_text(quantity), cell_format)


def _put_flag(sheet: Any, row: int, column: int, flag: bool, cell_format: Any) -> None:
    sheet.write_boolean(row, column, flag, cell_format)


def _put_json(sheet: Any, row: int, column: int, value: object, cell_format: Any) -> None:
    _put_text(sheet, row, column, json_text(value), cell_format)
