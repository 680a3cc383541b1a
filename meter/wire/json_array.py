"""Observe a JSON array that grows while it is sent: one payload an element.

Does not decode JSON. Called by the observers of streamed answers in `meter/providers/`, for
Gemini's `streamGenerateContent` without `alt=sse`.
"""

import re
from typing import Final

from meter.wire.pieces import BOM, LIMIT_BYTES, NOT_YET

# Each runs over whole strings; possessive, so that nothing is kept to go back to.
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_TO_COMMA = re.compile(rb'(?:[^",{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_TO_QUOTE = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_BLANK = re.compile(rb"(?:\s|" + BOM + rb")*+")

_BACKSLASH: Final = ord("\\")
_COMMA: Final = ord(",")
_QUOTE: Final = ord('"')


class JSONArrayFramer:
    """Yield each element of the outermost array as soon as it closes.

    Bytes that do not begin with `[` are read as elements without the array around them. The
    end yields an element that is not whole, which the reader decides. Elements over
    `limit_bytes` are skipped and counted in `dropped`; bytes behind the array are ignored.
    """

    __slots__ = (
        "_begun", "_depth", "_element", "_ended", "_in_string", "_scanned", "_skipping",
        "dropped", "limit_bytes",
    )  # fmt: skip

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.dropped = 0
        self.limit_bytes = limit_bytes
        self._element = bytearray()
        self._scanned = 0
        # 1 between the elements of the array, more inside one that is itself a container.
        self._depth = 1
        self._begun = False
        self._ended = False
        self._in_string = False
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the elements that these bytes complete; b"" ends the stream."""
        if not data:
            return [] if data is NOT_YET else self._finish()
        if self._ended:
            return []
        self._element += data
        if not self._begun and not self._begin():
            return []
        payloads = self._scan()
        self._bound()
        return payloads

    def _finish(self) -> list[bytes]:
        rest = bytes(self._element).strip()
        self._element.clear()
        self._ended = True
        return [rest] if rest and self._begun and not self._skipping else []

    def _begin(self) -> bool:
        """Look for the array's bracket; tell whether the first element may begin."""
        blank = _BLANK.match(self._element)
        head = self._element[blank.end() if blank else 0 :]
        self._begun = not BOM.startswith(head)
        if self._begun and head.startswith(b"["):
            del head[:1]
        self._element = head
        return self._begun

    def _scan(self) -> list[bytes]:
        """Read on to the end of what came; keep the element that is under way."""
        payloads: list[bytes] = []
        element = self._element
        at, start = self._scanned, 0
        while True:
            if self._in_string:
                at = _end_of(_TO_QUOTE, element, at)
                # A backslash here is the last byte: what it escapes is still to come.
                if at == len(element) or element[at] == _BACKSLASH:
                    break
                at += 1
                self._in_string = False
            at = _end_of(_TO_COMMA if self._depth == 1 else _TO_BRACKET, element, at)
            if at == len(element):
                break
            byte = element[at]
            at += 1
            if byte == _QUOTE:
                self._in_string = True
            elif byte in b"{[":
                self._depth += 1
            elif self._depth > 1:
                self._depth -= 1
                if self._depth == 1:
                    self._take(element[start:at], payloads)
                    start = at
            else:
                self._take(element[start : at - 1], payloads)
                start = at
                if byte != _COMMA:
                    self._ended = True
                    start = at = len(element)
                    break
        del element[:start]
        self._scanned = at - start
        return payloads

    def _take(self, element: bytearray, payloads: list[bytes]) -> None:
        if self._skipping:
            self._skipping = False
            return
        text = bytes(element).lstrip()
        if len(text) > self.limit_bytes:
            self.dropped += 1
        elif text:
            payloads.append(text.rstrip())

    def _bound(self) -> None:
        """Give up an element that is too long whatever follows; go on reading where it ends."""
        if len(self._element) > self.limit_bytes and not self._skipping:
            blank = len(self._element) - len(self._element.lstrip())
            del self._element[:blank]
            self._scanned -= blank
            if len(self._element) > self.limit_bytes:
                self._skipping = True
                self.dropped += 1
        if self._skipping:
            del self._element[: self._scanned]
            self._scanned = 0


def _end_of(pattern: re.Pattern[bytes], element: bytearray, at: int) -> int:
    match = pattern.match(element, at)
    return match.end() if match else at
