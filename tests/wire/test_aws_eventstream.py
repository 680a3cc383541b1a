import base64
import json
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.wire import NOT_YET, AWSEventStreamFramer
from tests.wire.cuts import cut_at, in_two, payloads, places, singly, texts_of


def message(headers: dict[str, str], payload: bytes, more_headers: bytes = b"") -> bytes:
    """Write one message as the format's description says."""
    block = more_headers
    for name, value in headers.items():
        block += bytes([len(name)]) + name.encode()
        block += b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    front = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return front + struct.pack(">I", zlib.crc32(front))


def event(name: str, payload: bytes) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, payload)


def chunk(inner: bytes) -> bytes:
    encoded = base64.b64encode(inner).decode()
    return event("chunk", json.dumps({"bytes": encoded, "p": "abcdefgh"}).encode())


CONVERSE = (
    event("messageStart", b'{"p":"abc","role":"assistant"}')
    + event("contentBlockDelta", '{"delta":{"text":"größe 🎈"}}'.encode())
    + event("metadata", b'{"usage":{"inputTokens":51,"outputTokens":270}}')
)
CONVERSE_PAYLOADS = [
    b'{"messageStart":{"p":"abc","role":"assistant"}}',
    '{"contentBlockDelta":{"delta":{"text":"größe 🎈"}}}'.encode(),
    b'{"metadata":{"usage":{"inputTokens":51,"outputTokens":270}}}',
]


def test_messages_are_written_here_as_others_write_them() -> None:
    # A published example of the encoding, without headers.
    published = bytes.fromhex("0000001e00000000baf2f68a7b22666f6f223a2022626172227dae7258e4")
    assert message({}, b'{"foo": "bar"}') == published


def test_every_cut_gives_the_same_events() -> None:
    for chunks in [*in_two(CONVERSE), singly(CONVERSE)]:
        framer = AWSEventStreamFramer()
        assert payloads(framer, chunks) == CONVERSE_PAYLOADS
        assert framer.dropped == 0


def test_chunks_are_decoded() -> None:
    text = chunk(b'{"type":"message_start"}') + chunk('{"text":"größe"}'.encode())
    for chunks in [*in_two(text), singly(text)]:
        assert payloads(AWSEventStreamFramer(), chunks) == [
            b'{"type":"message_start"}',
            '{"text":"größe"}'.encode(),
        ]


def test_exceptions_and_errors_are_told_by_name() -> None:
    headers = {":message-type": "exception", ":exception-type": "throttlingException"}
    error = {":message-type": "error", ":error-code": 'Odd"Code', ":error-message": "no"}
    text = message(headers, b'{"message":"slow down"}') + message(error, b"")
    assert payloads(AWSEventStreamFramer(), [text]) == [
        b'{"throttlingException":{"message":"slow down"}}',
        b'{"Odd\\"Code": {"message": "no"}}',
    ]


def test_headers_of_every_type_are_passed_over() -> None:
    others = b"".join(
        bytes([1, ord("a") + kind, kind]) + value
        for kind, value in {
            0: b"", 1: b"", 2: b"1", 3: b"12", 4: b"1234", 5: b"12345678", 6: b"\0\3abc",
            7: b"\0\1x", 8: b"12345678", 9: b"1234567890123456",
        }.items()
    )  # fmt: skip
    text = message({":event-type": "ping"}, b"", others)
    assert payloads(AWSEventStreamFramer(), [text]) == [b'{"ping":{}}']


@pytest.mark.parametrize(
    "unreadable",
    [
        event("chunk", b'{"bytes":"not base64"}'),
        event("chunk", b'{"bytes":null}'),
        event("chunk", b'{"other":""}'),
        event("chunk", b"[1]"),
        event("chunk", b"\xff"),
        event("chunk", b"[" * 100_000),
        event("sound", b"\x00\x01"),
        message({}, b"{}"),
        message({":event-type": "x"}, b"{}", b"\x01a\x63"),
        message({":event-type": "x"}, b"{}", b"\x01a\x07\xff\xff"),
        message({}, b"{}", b"\xff"),
    ],
)
def test_a_message_that_cannot_be_read_is_counted_and_the_next_is_read(unreadable: bytes) -> None:
    framer = AWSEventStreamFramer()
    assert payloads(framer, [unreadable + chunk(b"{}")]) == [b"{}"]
    assert framer.dropped == 1


@pytest.mark.parametrize("place", range(len(event("a", b"{}"))))
def test_one_wrong_byte_stops_the_reading(place: int) -> None:
    broken = bytearray(event("a", b"{}"))
    broken[place] ^= 0x01
    for chunks in ([chunk(b"{}") + broken + CONVERSE], singly(chunk(b"{}") + broken + CONVERSE)):
        framer = AWSEventStreamFramer()
        assert payloads(framer, chunks) == [b"{}"]
        assert framer.dropped == 1


@pytest.mark.parametrize(("total", "headers"), [(15, 0), (0, 0), (20, 5), (20, 2**32 - 1)])
def test_lengths_that_contradict_each_other_stop_the_reading(total: int, headers: int) -> None:
    prelude = struct.pack(">II", total, headers)
    framer = AWSEventStreamFramer()
    text = prelude + struct.pack(">I", zlib.crc32(prelude)) + b"\0" * 20 + CONVERSE
    assert payloads(framer, [text]) == []
    assert framer.dropped == 1


def test_a_message_over_the_limit_is_skipped_at_every_cut() -> None:
    text = event("long", b'{"a":"%s"}' % (b"x" * 150)) + event("a", b"{}")
    for chunks in [*in_two(text), singly(text)]:
        framer = AWSEventStreamFramer(limit_bytes=200)
        assert payloads(framer, chunks) == [b'{"a":{}}']
        assert framer.dropped == 1


def test_a_message_of_4_gigabytes_is_not_waited_for_in_memory() -> None:
    prelude = struct.pack(">II", 2**32 - 1, 0)
    framer = AWSEventStreamFramer()
    framer.feed(prelude + struct.pack(">I", zlib.crc32(prelude)))
    for _ in range(100):
        assert framer.feed(b"x" * 1_000_000) == []
        assert len(framer._buffer) == 0
    assert framer.dropped == 1


def test_a_message_that_is_cut_off_has_no_payload() -> None:
    framer = AWSEventStreamFramer()
    assert payloads(framer, [CONVERSE[:-1]]) == CONVERSE_PAYLOADS[:2]
    assert framer.feed(NOT_YET) == []


@given(texts_of(CONVERSE, event("a", b"{}"), b"\0\0\0\x10"), places)
def test_any_bytes_give_the_same_events_at_any_cut(text: bytes, cuts: list[int]) -> None:
    cut, whole = AWSEventStreamFramer(limit_bytes=160), AWSEventStreamFramer(limit_bytes=160)
    found = []
    for piece in cut_at(text, cuts):
        if piece:
            found += cut.feed(piece)
        assert len(cut._buffer) <= 160
    found += cut.feed(b"")
    assert found == payloads(whole, [text])
    assert cut.dropped == whole.dropped


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_any_headers_and_payload_are_read_without_a_fault(block: bytes, body: bytes) -> None:
    framer = AWSEventStreamFramer()
    assert len(payloads(framer, [message({}, body, block)])) + framer.dropped == 1
