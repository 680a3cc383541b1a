"""Write CSV: UTF-8, commas, one header line, exact decimal texts, empty for unknown.

Times are ISO 8601 with the offset of their zone. Text that a spreadsheet would run as a formula
gets an apostrophe before it. There is no totals row, which a program would add up once more.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from meter.exports.summing import Total
from meter.exports.tables import Kind, Row, Table
from meter.exports.texts import converters, json_text, texts_of

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class CsvWriter:
    """Writes rows as CSV."""

    def __init__(self, stream: BinaryIO, table: Table, tz: str) -> None:
        """Write the header."""
        self._stream = stream
        self._put([table.names])
        kinds = texts_of(tz) | {Kind.TEXT: _harmless, Kind.JSON: json_text, Kind.FLAG: _flag}
        self._converters = converters(table, kinds)

    def write(self, rows: Sequence[Row]) -> None:
        """Write some more rows."""
        converting = self._converters
        self._put(
            [
                "" if value is None else value if convert is None else convert(value)
                for value, convert in zip(row, converting, strict=True)
            ]
            for row in rows
        )

    def finish(self, totals: Sequence[Total]) -> None:
        """Do nothing: the last line is written."""

    def abandon(self) -> None:
        """Do nothing: nothing is held."""

    def _put(self, lines: Iterable[Sequence[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        self._stream.write(text.getvalue().encode())


def open_writer(stream: BinaryIO, table: Table, tz: str) -> CsvWriter:
    """Begin a CSV file."""
    return CsvWriter(stream, table, tz)


def _harmless(text: str) -> str:
    return "'" + text if text.startswith(_FORMULA) else text


def _flag(flag: bool) -> str:
    return "true" if flag else "false"
