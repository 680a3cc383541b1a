"""Observe server-sent events: their payloads, and a filter that takes single events out.

Does not know what a payload means. Called by the observers of streamed answers in
`meter/providers/`; the framer sees a copy, the filter stands in the way of the client's bytes.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (2026-11), "parsing an
event stream": lines end in CRLF, LF or CR, a blank line ends an event, one space after the
colon is removed, several `data` lines are joined with LF, a leading byte order mark is ignored.
"""

import re
from collections.abc import Callable
from typing import Final

from meter.wire.blocks import BlockSplitter
from meter.wire.pieces import BOM, LIMIT_BYTES, NOT_YET

HELD_BYTES: Final = 256 * 1024
"""The longest event, in bytes before its blank line, that the filter holds back and can drop."""

_CR: Final = 0x0D
# Where a line's end is followed by a blank line: the last byte of the first line's end and the
# first byte of the blank line's. CRLF has these two bytes in the other order and is no match.
_BLANK_LINE = re.compile(rb"\n\n|\n\r|\r\r")


class SSEFramer:
    """Yield the payload of each event: its `data` lines joined.

    Events without a `data` line (comments, a lone `event:`) yield nothing; an event whose data
    is empty yields b"". Events over `limit_bytes` are skipped and counted in `dropped`.
    """

    __slots__ = ("_after_cr", "_blocks", "_head", "_started")

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._blocks = BlockSplitter(b"\n\n", limit_bytes)
        self._head = b""
        self._started = False
        self._after_cr = False

    @property
    def dropped(self) -> int:
        """Events over the limit that were skipped."""
        return self._blocks.dropped

    @property
    def limit_bytes(self) -> int:
        """The longest event that is kept, in bytes."""
        return self._blocks.limit_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that these bytes complete; b"" ends the stream."""
        if not data:
            return [] if data is NOT_YET else self._finish()
        if not self._started:
            data = self._without_bom(data)
        if self._after_cr or b"\r" in data:
            data = self._with_lf_only(data)
        if not data:
            return []
        payloads = []
        for block in self._blocks.feed(data):
            if block.startswith(b"data: ") and b"\n" not in block:
                payloads.append(block[6:])
            else:
                payload = _payload(block)
                if payload is not None:
                    payloads.append(payload)
        return payloads

    def only_event(self, data: bytes) -> bytes | None:
        """Return the payload of bytes that are one whole event in lines of LF and nothing else.

        None for other bytes. Whoever takes the payload does not feed these bytes.
        """
        if not self._started or self._after_cr or not self._blocks.is_between:
            return None
        start = data.find(b"\n") + 1 if data.startswith(b"event: ") else 0
        last = len(data) - 2
        if (
            not data.startswith(b"data: ", start)
            or data.find(b"\n", start) != last
            or not data.endswith(b"\n")
            or last > self._blocks.limit_bytes
            or b"\r" in data
        ):
            return None
        return data[start + 6 : last]

    def _finish(self) -> list[bytes]:
        payload = _payload(self._blocks.finish())
        return [] if payload is None else [payload]

    def _without_bom(self, data: bytes) -> bytes:
        head = self._head + data
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        self._head = b""
        self._started = True
        return head.removeprefix(BOM)

    def _with_lf_only(self, data: bytes) -> bytes:
        """Replace CRLF and CR. A CR counts at once; an LF that follows in the next chunk is its."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _payload(block: bytes) -> bytes | None:
    """Join the `data` lines of one event whose lines end in LF; None when it has none."""
    values = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            values.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line == b"data":
            values.append(b"")
    if len(values) == 1:
        return values[0]
    return b"\n".join(values) if values else None


class SSEFilter:
    """Pass a stream's bytes on as they come, without the events that `drop` chooses.

    `drop` gets the payload of each event that has one, and must not raise. A dropped event is
    removed with its blank line, and nothing else is. Only the bytes of the event under way are
    held back; one over `HELD_BYTES` is released, and `drop` is not asked about it.
    """

    __slots__ = ("_at_start", "_drop", "_held", "_last", "_owed_lf", "_passing")

    def __init__(self, drop: Callable[[bytes], bool]) -> None:
        self._drop = drop
        self._at_start = True
        self._held = bytearray()
        # An event over the bound is under way: its bytes pass, the last one is remembered.
        self._passing = False
        self._last = b""
        # A dropped event ended in CR with the chunk: an LF that follows belongs to it.
        self._owed_lf = False

    @property
    def is_between(self) -> bool:
        """Whether nothing is held back or owed: a whole event that is not dropped may go past."""
        return not (self._held or self._passing or self._owed_lf or self._at_start)

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the stream; return those to pass on now. b"" ends the stream."""
        if not data:
            return b"" if data is NOT_YET else self._finish()
        if self._held:
            return self._complete(data)
        if not self._passing and _is_simple(data):
            self._at_start = self._owed_lf = False
            return b"" if self._drop(data[6:-2]) else data
        if self._owed_lf:
            self._owed_lf = False
            data = data.removeprefix(b"\n")
        if self._passing:
            return self._pass_on(data)
        return self._sift(data)

    def _finish(self) -> bytes:
        """Release what is held, unless it is an event without a blank line that is dropped."""
        event = bytes(self._held)
        self._held.clear()
        return b"" if self._drops(event) else event

    def _sift(self, data: bytes) -> bytes:
        """Take bytes that begin between two events, or with an event's first byte."""
        start = self._skip_bom(data)
        blank_line = _blank_line_in(data)
        kept = []
        copied = 0
        while True:
            start = _first_of_event(data, start)
            end = blank_line(data, start)
            if end < 0:
                break
            after = end + 2
            if data[end + 1] == _CR and data[after : after + 1] == b"\n":
                after += 1
            if end - start <= HELD_BYTES and self._drops(data[start:end]):
                kept.append(data[copied:start])
                copied = after
                self._owed_lf = after == len(data) and data[-1] == _CR
            start = after
        if start < len(data):
            if len(data) - start > HELD_BYTES + 1:
                self._passing = True
                self._last = data[-1:]
            else:
                self._held += data[start:]
                data = data[:start]
        if not copied:
            return data
        kept.append(data[copied:])
        return b"".join(kept)

    def _complete(self, data: bytes) -> bytes:
        """Take bytes while an event is held back."""
        held = self._held
        seen = len(held) - 1
        held += data
        find = _any_blank_line if b"\r" in data else _lf_blank_line
        end = find(held, seen)
        if end < 0 and len(held) <= HELD_BYTES + 1 and not self._at_start:
            return b""
        whole = bytes(held)
        held.clear()
        return self._sift(whole)

    def _pass_on(self, data: bytes) -> bytes:
        """Take bytes while an event that was released is under way."""
        if not data:
            return b""
        end = _any_blank_line(self._last + data, 0)
        if end < 0:
            self._last = data[-1:]
            return data
        # The blank line's first byte stands at `end + 1` behind the one byte remembered.
        after = end + 1
        self._passing = False
        return data[:after] + self._sift(data[after:])

    def _skip_bom(self, data: bytes) -> int:
        if not self._at_start:
            return 0
        if len(data) < len(BOM) and BOM.startswith(data):
            return 0
        self._at_start = False
        return len(BOM) if data.startswith(BOM) else 0

    def _drops(self, event: bytes) -> bool:
        if b"\r" in event:
            event = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if event.startswith(b"data: ") and b"\n" not in event:
            return self._drop(event[6:])
        payload = _payload(event)
        return payload is not None and self._drop(payload)


def _is_simple(data: bytes) -> bool:
    """Tell whether the chunk is one whole event of one line, as most chunks of a stream are."""
    return (
        data.startswith(b"data: ")
        and data.find(b"\n") == len(data) - 2 <= HELD_BYTES
        and data.endswith(b"\n")
        and b"\r" not in data
    )


def _first_of_event(data: bytes, start: int) -> int:
    """Return the place of the first byte from `start` on that is not of a blank line."""
    while start < len(data) and data[start] in b"\r\n":
        start += 1
    return start


def _blank_line_in(data: bytes) -> Callable[[bytes | bytearray, int], int]:
    """Choose the quickest search for a blank line that is exact for these bytes."""
    if b"\r" not in data:
        return _lf_blank_line
    if b"\n\n" in data or b"\r\r" in data:
        return _any_blank_line
    return _crlf_blank_line


def _lf_blank_line(data: bytes | bytearray, start: int) -> int:
    return data.find(b"\n\n", start)


def _crlf_blank_line(data: bytes | bytearray, start: int) -> int:
    return data.find(b"\n\r", start)


def _any_blank_line(data: bytes | bytearray, start: int) -> int:
    found = _BLANK_LINE.search(data, start)
    return found.start() if found else -1
