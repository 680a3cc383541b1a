"""Observe newline-delimited JSON: one payload a line.

Does not decode JSON. Called by the observers of streamed answers in `meter/providers/`.
"""

from meter.wire.blocks import BlockSplitter
from meter.wire.pieces import BOM, LIMIT_BYTES, NOT_YET


class NDJSONFramer:
    """Yield each line that is not blank, without the white space around it.

    The last line needs no newline; if the stream was cut it is not whole, which the reader
    decides. Lines over `limit_bytes` are skipped and counted in `dropped`.
    """

    __slots__ = ("_lines", "_started")

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._lines = BlockSplitter(b"\n", limit_bytes)
        self._started = False

    @property
    def dropped(self) -> int:
        """Lines over the limit that were skipped."""
        return self._lines.dropped

    @property
    def limit_bytes(self) -> int:
        """The longest line that is kept, in bytes."""
        return self._lines.limit_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that these bytes complete; b"" ends the stream."""
        if not data:
            return [] if data is NOT_YET else self._stripped([self._lines.finish()])
        return self._stripped(self._lines.feed(data))

    def _stripped(self, lines: list[bytes]) -> list[bytes]:
        if lines and not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(BOM)
        return [stripped for line in lines if (stripped := line.strip())]
