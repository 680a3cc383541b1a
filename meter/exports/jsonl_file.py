"""Write JSON Lines: one object a row, every field present, null for unknown.

Amounts and quantities that may have a fraction are decimal texts, counts are numbers, times are
ISO 8601 with the offset of their zone.
"""

from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from meter.exports.summing import Total
from meter.exports.tables import Row, Table
from meter.exports.texts import converters, texts_of


class JsonlWriter:
    """Writes rows as JSON objects, one a line."""

    def __init__(self, stream: BinaryIO, table: Table, tz: str) -> None:
        """Begin the file; nothing is written yet."""
        self._stream = stream
        self._names = table.names
        self._converters = converters(table, texts_of(tz))
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def write(self, rows: Sequence[Row]) -> None:
        """Write some more rows."""
        lines = [
            self._encode(
                {
                    name: value if value is None or convert is None else convert(value)
                    for name, value, convert in zip(self._names, row, self._converters, strict=True)
                }
            )
            for row in rows
        ]
        self._stream.write(b"\n".join([*lines, b""]))

    def finish(self, totals: Sequence[Total]) -> None:
        """Do nothing: the last line is written."""

    def abandon(self) -> None:
        """Do nothing: nothing is held."""


def open_writer(stream: BinaryIO, table: Table, tz: str) -> JsonlWriter:
    """Begin a JSON Lines file."""
    return JsonlWriter(stream, table, tz)
