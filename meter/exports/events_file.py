"""Write events of another billing system as JSON Lines, each as that system takes it."""

from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from meter.exports.summing import Total
from meter.exports.tables import Row, Table


class EventsWriter:
    """Writes the one value of each row as a line."""

    def __init__(self, stream: BinaryIO) -> None:
        """Begin the file; nothing is written yet."""
        self._stream = stream
        self._encode = msgspec.json.Encoder().encode

    def write(self, rows: Sequence[Row]) -> None:
        """Write some more events."""
        self._stream.write(b"\n".join([*(self._encode(event) for (event,) in rows), b""]))

    def finish(self, totals: Sequence[Total]) -> None:
        """Do nothing: the last line is written."""

    def abandon(self) -> None:
        """Do nothing: nothing is held."""


def open_writer(stream: BinaryIO, table: Table, tz: str) -> EventsWriter:
    """Begin a file of events."""
    return EventsWriter(stream)
