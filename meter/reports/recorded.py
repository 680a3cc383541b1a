"""Write the answer of a recorded exchange as the bytes and headers that came over the wire.

Knows the fields of a recording, and Amazon's event stream, in which Bedrock streams. Called by
`replay.py`.

Source: https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html (2026-11): a message
is total length, headers length and the CRC-32 of these two, headers, payload, and the CRC-32 of
all before it; numbers are big-endian. A header is a name, type 7 and a string, each with its
length before it.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from meter.providers.foreign import encoded

_STRING_TYPE = 7
_ENDINGS_OF_EXCEPTIONS = ("Exception", "Error")


def answer_of(exchange: Mapping[str, Any]) -> bytes:
    """Return the answer's body: what was recorded as bytes, or written again from its parts."""
    if exchange.get("response") is not None:
        return encoded(exchange["response"])
    text = exchange.get("response_sse") or exchange.get("response_text")
    if text is not None:
        return str(text).encode("utf-8", "surrogatepass")
    recorded = _recorded_bytes(exchange.get("response_binary"))
    if recorded is not None:
        return recorded
    events = exchange.get("response_events")
    return event_stream(events) if isinstance(events, list) else b""


def headers_of(exchange: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that were kept: the content type, and those that report usage."""
    kind = exchange.get("response_content_type") or "application/json"
    headers = {"content-type": str(kind)}
    kept = exchange.get("usage_headers")
    if isinstance(kept, dict):
        headers |= {str(name).lower(): str(value) for name, value in kept.items()}
    return headers


def event_stream(events: list[Any]) -> bytes:
    """Return decoded events as messages of Amazon's event stream.

    An event is `{"event": name, "payload": {…}}`; the payload of a `chunk` is
    `{"bytes_json": {…}}`, which is JSON in base64 on the wire.
    """
    return b"".join(_message(event) for event in events if isinstance(event, dict))


def _message(event: Mapping[str, Any]) -> bytes:
    name = str(event.get("event") or event.get("exception") or "event")
    payload = event.get("payload")
    if isinstance(payload, dict) and "bytes_json" in payload:
        inner = base64.b64encode(encoded(payload["bytes_json"]))
        payload = {"bytes": inner.decode()}
    kind = "exception" if name.endswith(_ENDINGS_OF_EXCEPTIONS) else "event"
    headers = b"".join(
        _header(header, value)
        for header, value in (
            (f":{kind}-type", name),
            (":content-type", "application/json"),
            (":message-type", kind),
        )
    )
    body = encoded(payload if payload is not None else {})
    # Two lengths and two checksums are around headers and payload.
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return bytes([len(key)]) + key + struct.pack(">BH", _STRING_TYPE, len(text)) + text


def _recorded_bytes(binary: Any) -> bytes | None:
    """Return bytes that were recorded in base64, None when they are not all there."""
    if not isinstance(binary, dict) or not isinstance(binary.get("base64"), str):
        return None
    try:
        recorded = binascii.a2b_base64(binary["base64"], strict_mode=True)
    except ValueError:
        return None
    return recorded if binary.get("bytes") in (None, len(recorded)) else None
