"""Observe a JSON body: the whole of it, or its usage when it is too long to keep.

Does not know which members a provider sends beyond the names below. Called by the observers of
whole answers in `meter/providers/`.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from meter.wire.pieces import BOM, LIMIT_BYTES, NOT_YET

EDGE_BYTES: Final = 64 * 1024
"""How much is kept of each end of a body over the limit, in bytes."""

USAGE_NAMES: Final = ("usage", "usageMetadata", "usage_info", "meta")
"""Top-level members that hold usage, as objects.

Source: the response models of openai 3.54, google-genai 3.4, mistralai 3.7 (OCR) and cohere 7.3
(embed and rerank: `meta.billed_units`), 2026-11.
"""
LABEL_NAMES: Final = ("model", "modelVersion", "service_tier")
"""Top-level members that say which rates apply, as strings."""

_QUOTE = re.compile(rb'\\*"')
_DECODER = json.JSONDecoder()


class JSONBodyFramer:
    """Yield the one body at its end.

    Of a body over `limit_bytes` only the ends are kept. Its payload is then a JSON object of
    the members in `USAGE_NAMES` and `LABEL_NAMES` that stand in those ends, as they were
    written; without a usage object there is no payload, and `dropped` is 1.
    """

    __slots__ = ("_body", "_edge_bytes", "_head", "dropped", "limit_bytes")

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.dropped = 0
        self.limit_bytes = limit_bytes
        self._edge_bytes = min(EDGE_BYTES, limit_bytes // 2)
        # The whole body, or its end once `_head` is set.
        self._body = bytearray()
        self._head: bytes | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Keep these bytes and return nothing; b"" ends the body and returns its payload."""
        if not data:
            return [] if data is NOT_YET else self._finish()
        self._body += data
        if len(self._body) > self.limit_bytes and self._head is None:
            self._head = bytes(self._body[: self._edge_bytes])
        if self._head is not None:
            del self._body[: max(0, len(self._body) - self._edge_bytes)]
        return []

    def _finish(self) -> list[bytes]:
        body, head = bytes(self._body), self._head
        self._body.clear()
        self._head = None
        if head is None:
            whole = body.removeprefix(BOM).strip()
            return [whole] if whole else []
        payload = _rebuilt(head, body)
        if payload is None:
            self.dropped += 1
            return []
        return [payload]


def _rebuilt(head: bytes, tail: bytes) -> bytes | None:
    """Build an object of the wanted members in both ends of a body; None without a usage."""
    found = dict(_members_at_start(head))
    for name, value in _members_at_end(tail):
        found[name] = value
    if not any(name in found for name in USAGE_NAMES):
        return None
    members = [f'"{name}":'.encode() + value for name, value in found.items()]
    return b"{" + b",".join(members) + b"}"


def _members_at_start(head: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted top-level members of an object that is cut off at its end."""
    head = head.removeprefix(BOM)
    depth = 0
    gap_start = 0
    quotes = _unescaped_quotes(head)
    for opening, closing in zip(quotes[::2], quotes[1::2], strict=False):
        gap = head[gap_start:opening]
        depth += _deeper(gap)
        if depth == 1:
            yield from _member(head, opening, closing)
        gap_start = closing + 1


def _members_at_end(tail: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted top-level members of an object that is cut off at its start, in order.

    Read from the end, which is outside any string if the body is whole; so every quote that is
    not escaped is known to close or to open one, wherever the cut fell. From a body that is
    not whole nothing can come: what would be read as strings is what stands between them.
    """
    if not tail.rstrip().endswith(b"}"):
        return
    found = []
    depth = 0
    gap_end = len(tail)
    quotes = _unescaped_quotes(tail)[::-1]
    for closing, opening in zip(quotes[::2], quotes[1::2], strict=False):
        depth -= _deeper(tail[closing + 1 : gap_end])
        if depth == 1:
            found += _member(tail, opening, closing)
        gap_end = opening
    yield from reversed(found)


def _unescaped_quotes(text: bytes) -> list[int]:
    """Return the places of the quotes with an even number of backslashes before them."""
    return [
        match.end() - 1 for match in _QUOTE.finditer(text) if (match.end() - match.start()) % 2 == 1
    ]


def _deeper(gap: bytes) -> int:
    """Count by how many levels the text between two strings goes down."""
    return gap.count(b"{") + gap.count(b"[") - gap.count(b"}") - gap.count(b"]")


def _member(text: bytes, opening: int, closing: int) -> list[tuple[str, bytes]]:
    """Return name and value of the member whose name stands in these quotes, if it is wanted."""
    name = text[opening + 1 : closing].decode("utf-8", "replace")
    if name not in USAGE_NAMES and name not in LABEL_NAMES:
        return []
    after = text[closing + 1 :].lstrip()
    if not after.startswith(b":"):
        return []
    rest = after[1:].lstrip().decode("utf-8", "replace")
    try:
        value, end = _DECODER.raw_decode(rest)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict if name in USAGE_NAMES else str):
        return []
    return [(name, rest[:end].encode())]
