"""What the tests of native endpoints share: bodies, lines, Amazon's frames, one way to ask."""

import base64
import json
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from meter.core.call import Observation
from meter.core.reading import Reading
from meter.providers.registry import dialect_for
from tests.providers.answers import JSON, Recorder, observe

AWS = {"content-type": "application/vnd.amazon.eventstream"}
NDJSON = {"content-type": "application/x-ndjson"}
SIZES = (1, 2, 3, 7, 64, 4096)


def body(payload: Any) -> list[bytes]:
    """Return a JSON body as the one piece it is."""
    return [json.dumps(payload).encode()]


def lines(*payloads: Any) -> list[bytes]:
    """Return lines of JSON."""
    return [json.dumps(payload).encode() + b"\n" for payload in payloads]


def frame(name: str, payload: Any, kind: str = "event") -> bytes:
    """Return one message of Amazon's event stream."""
    block = b""
    for header, value in ((f":{kind}-type", name), (":message-type", kind)):
        block += bytes([len(header)]) + header.encode()
        block += b"\x07" + struct.pack(">H", len(value)) + value.encode()
    content = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(block) + len(content), len(block))
    front = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + content
    return front + struct.pack(">I", zlib.crc32(front))


def chunk(payload: Any) -> bytes:
    """Return one chunk of an invoke stream."""
    inner = base64.b64encode(json.dumps(payload).encode()).decode()
    return frame("chunk", {"bytes": inner, "p": "abcdef"})


def ask(host: str, path: str, **fields: Any) -> Reading:
    """Return the reading of a POST with these fields."""
    content = json.dumps(fields).encode()
    return dialect_for(host, path).read("POST", path, "application/json", content)


def answer(
    host: str,
    reading: Reading,
    pieces: Iterable[bytes],
    headers: dict[str, str] = JSON,
    *,
    finish: bool = True,
) -> tuple[Observation, Recorder]:
    """Answer a call; return what was observed, and what was handed out to be counted."""
    sink = Recorder()
    pieces = list(pieces)
    seen, given = observe(
        dialect_for(host), reading, pieces, headers=headers, sink=sink, finish=finish
    )
    assert given == b"".join(pieces)
    return seen, sink


def cut(pieces: Iterable[bytes], size: int) -> list[bytes]:
    """Return the same bytes in pieces of this size."""
    stream = b"".join(pieces)
    return [stream[at : at + size] for at in range(0, len(stream), size)]
