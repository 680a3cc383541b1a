"""Observe Amazon's binary event stream, as Bedrock streams its answers.

Does not know what a payload means. Called by the observers of streamed answers in
`meter/providers/`.

Source: https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html (2026-11). A
message is total length, headers length and the CRC-32 of these two (4 bytes each, big-endian),
headers, payload, and the CRC-32 of all before it. A header is a name (1 byte of length), a
type (1 byte) and a value whose length follows from the type or stands in 2 bytes before it.
"""

import binascii
import json
import struct
import zlib
from typing import Final

from meter.wire.pieces import LIMIT_BYTES, NOT_YET

_PRELUDE: Final = struct.Struct(">III")
_CRC_BYTES: Final = 4
_OVERHEAD_BYTES: Final = _PRELUDE.size + _CRC_BYTES
_STRING_TYPE: Final = 7
# Header types whose value has a fixed length: true, false, byte, short, int, long, time, uuid.
_VALUE_BYTES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
# Header types whose value has its length before it: bytes, string.
_MEASURED_TYPES: Final = (6, _STRING_TYPE)


def begins_event_stream(head: bytes) -> bool:
    """Tell whether these bytes begin with a message's lengths and their checksum."""
    if len(head) < _PRELUDE.size:
        return False
    return zlib.crc32(head[:8]) == int.from_bytes(head[8:12], "big")


class AWSEventStreamFramer:
    """Yield one JSON payload a message.

    ConverseStream: `{"<event type>": <payload>}`, also for exceptions. InvokeModelWith-
    ResponseStream: the JSON inside a `chunk`. An error yields `{"<code>": {"message": ...}}`.
    Messages over `limit_bytes` are skipped; a bad CRC or lengths that contradict each other end
    the reading for good. Both are counted in `dropped`, as is a chunk that cannot be decoded.
    """

    __slots__ = ("_buffer", "_stopped", "_to_skip_bytes", "dropped", "limit_bytes")

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.dropped = 0
        self.limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._to_skip_bytes = 0
        self._stopped = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that these bytes complete; a message cut off at the end has none."""
        if not data:
            if data is not NOT_YET:
                self._buffer.clear()
            return []
        if self._stopped:
            return []
        if self._to_skip_bytes:
            skipped = min(self._to_skip_bytes, len(data))
            self._to_skip_bytes -= skipped
            data = data[skipped:]
        self._buffer += data
        payloads: list[bytes] = []
        at = 0
        while (length := self._next_length(at)) is not None:
            self._read(bytes(self._buffer[at : at + length]), payloads)
            at += length
        del self._buffer[:at]
        return payloads

    def _next_length(self, at: int) -> int | None:
        """Return the length of the message at this place once all of it, or too much, is here."""
        here = len(self._buffer) - at
        if self._stopped or here < _PRELUDE.size:
            return None
        total, headers, crc = _PRELUDE.unpack_from(self._buffer, at)
        if zlib.crc32(self._buffer[at : at + 8]) != crc or total < headers + _OVERHEAD_BYTES:
            self._stop()
            return None
        length: int = total
        if length > self.limit_bytes:
            self._to_skip_bytes = max(0, length - here)
            return min(length, here)
        return length if here >= length else None

    def _stop(self) -> None:
        self._stopped = True
        self.dropped += 1
        self._buffer.clear()

    def _read(self, message: bytes, payloads: list[bytes]) -> None:
        """Check one message and add its payload; one over the limit may be here in part."""
        total, headers_bytes, _ = _PRELUDE.unpack_from(message)
        if total > self.limit_bytes:
            self.dropped += 1
            return
        if zlib.crc32(message[:-_CRC_BYTES]) != int.from_bytes(message[-_CRC_BYTES:], "big"):
            self._stop()
            return
        payload_start = _PRELUDE.size + headers_bytes
        headers = _headers(message[_PRELUDE.size : payload_start])
        payload = _payload(headers, message[payload_start:-_CRC_BYTES])
        if payload is None:
            self.dropped += 1
        else:
            payloads.append(payload)


def _headers(block: bytes) -> dict[str, str]:
    """Read the headers that are strings, up to the first that cannot be read."""
    found = {}
    at = 0
    while at < len(block):
        name_end = at + 1 + block[at]
        name = block[at + 1 : name_end].decode("utf-8", "replace")
        kind = block[name_end] if name_end < len(block) else None
        if kind in _MEASURED_TYPES:
            start = name_end + 3
            end = start + int.from_bytes(block[name_end + 1 : start], "big")
        elif kind in _VALUE_BYTES:
            start = name_end + 1
            end = start + _VALUE_BYTES[kind]
        else:
            break
        if end > len(block):
            break
        if kind == _STRING_TYPE:
            found[name] = block[start:end].decode("utf-8", "replace")
        at = end
    return found


def _payload(headers: dict[str, str], body: bytes) -> bytes | None:
    """Return the JSON of one message, None when it has none that can be read."""
    if headers.get(":message-type") == "error":
        message = {"message": headers.get(":error-message", "")}
        return json.dumps({headers.get(":error-code", "error"): message}).encode()
    name = headers.get(":event-type") or headers.get(":exception-type")
    if name is None:
        return None
    if name == "chunk":
        return _inside_chunk(body)
    body = body.strip() or b"{}"
    if not body.startswith(b"{"):
        return None
    return b"{" + json.dumps(name).encode() + b":" + body + b"}"


def _inside_chunk(body: bytes) -> bytes | None:
    try:
        chunk = json.loads(body)
        return binascii.a2b_base64(chunk["bytes"], strict_mode=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
