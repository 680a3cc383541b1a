import gzip
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

import meter.wire
from meter.reports.recorded import event_stream
from meter.wire import (
    NOT_YET,
    AWSEventStreamFramer,
    ByteCounter,
    Framer,
    JSONArrayFramer,
    JSONBodyFramer,
    NDJSONFramer,
    SniffingFramer,
    SSEFramer,
    decompressor_for,
    framer_for,
)
from tests.wire.cuts import cut_at, in_two, payloads, places, singly, texts_of


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/x-ndjson", NDJSONFramer),
        ("application/jsonl", NDJSONFramer),
        ("application/stream+json", NDJSONFramer),
        ("application/vnd.amazon.eventstream", AWSEventStreamFramer),
        ("audio/mpeg", ByteCounter),
        ("image/png", ByteCounter),
        ("application/zip", ByteCounter),
    ],
)
def test_a_type_that_says_enough_chooses_by_itself(content_type: str, kind: type) -> None:
    assert type(framer_for(content_type, streaming=True)) is kind
    assert type(framer_for(content_type, streaming=False)) is kind


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", JSONBodyFramer),
        ("application/json; charset=utf-8", JSONBodyFramer),
        ("application/problem+json", JSONBodyFramer),
    ],
)
def test_a_body_is_chosen_by_its_type(content_type: str, kind: type) -> None:
    assert type(framer_for(content_type, streaming=False)) is kind


JSON = ("application/json", True)
STREAM = (None, True)
BODY = (None, False)
EVENTS = ("Text/Event-Stream; charset=utf-8", False)
TEXT = ("text/plain; charset=utf-8", False)
MESSAGE = event_stream([{"event": "a", "payload": {}}])

SNIFFED: list[tuple[tuple[str | None, bool], bytes, type, list[bytes]]] = [
    (JSON, b'\r\n [{"a":1},\n{"a":2}]', JSONArrayFramer, [b'{"a":1}', b'{"a":2}']),
    (JSON, b'{"error":{}}', JSONBodyFramer, [b'{"error":{}}']),
    (JSON, b'{"a":1}\n{"a":2}', JSONBodyFramer, [b'{"a":1}\n{"a":2}']),
    (JSON, b"data: 1\n\n", SSEFramer, [b"1"]),
    (JSON, b"12", JSONBodyFramer, [b"12"]),
    (STREAM, b"data: 1\n\n", SSEFramer, [b"1"]),
    (STREAM, b"event: x\ndata:1\n\n", SSEFramer, [b"1"]),
    (STREAM, b": c\n\ndata:1\n\n", SSEFramer, [b"1"]),
    (STREAM, b"\xef\xbb\xbfdata: 1\n\n", SSEFramer, [b"1"]),
    (STREAM, b"\n\nid: 1\ndata: 1\n\n", SSEFramer, [b"1"]),
    (STREAM, b"data", SSEFramer, [b""]),
    (STREAM, b'{"a":1}\n{"a":2}\n', NDJSONFramer, [b'{"a":1}', b'{"a":2}']),
    (STREAM, b'{\n  "error": {}\n}', JSONBodyFramer, [b'{\n  "error": {}\n}']),
    (STREAM, b'[{"a":1}]', JSONArrayFramer, [b'{"a":1}']),
    (("text/plain", True), b'{"a":1}\n', NDJSONFramer, [b'{"a":1}']),
    (("application/octet-stream", True), b"data:1\n\n", SSEFramer, [b"1"]),
    (("text/html", True), b"<html>data: 1\n\n", ByteCounter, []),
    (STREAM, b"\x00\x01\x02", ByteCounter, []),
    (STREAM, b"{", NDJSONFramer, [b"{"]),
    (STREAM, b"", ByteCounter, []),
    (STREAM, b"\xef\xbb", ByteCounter, []),
    (EVENTS, b"data: 1\n\n", SSEFramer, [b"1"]),
    (EVENTS, b"unheard: of\ndata: 1\n\n", SSEFramer, [b"1"]),
    (EVENTS, b'{"error":{}}', JSONBodyFramer, [b'{"error":{}}']),
    (TEXT, b'{"usage":{}}', JSONBodyFramer, [b'{"usage":{}}']),
    (TEXT, b"[Music] La la", ByteCounter, []),
    (TEXT, b"data: 1\n\n", ByteCounter, []),
    (STREAM, MESSAGE, AWSEventStreamFramer, [b'{"a":{}}']),
    (JSON, MESSAGE, AWSEventStreamFramer, [b'{"a":{}}']),
    (BODY, b' {"a":1}', JSONBodyFramer, [b'{"a":1}']),
    (BODY, b'\xef\xbb\xbf[{"a":1}]', JSONBodyFramer, [b'[{"a":1}]']),
    (BODY, b"data: 1\n\n", ByteCounter, []),
    (("application/octet-stream", False), b'{"error":{}}', JSONBodyFramer, [b'{"error":{}}']),
]


@pytest.mark.parametrize(("told", "text", "kind", "found"), SNIFFED)
def test_the_first_bytes_choose_where_the_type_does_not(
    told: tuple[str | None, bool], text: bytes, kind: type, found: list[bytes]
) -> None:
    for chunks in [*in_two(text), singly(text)]:
        framer = framer_for(*told)
        assert isinstance(framer, SniffingFramer)
        assert payloads(framer, chunks) == found
        assert type(framer.chosen) is kind


def test_blank_bytes_without_end_are_not_kept() -> None:
    framer = framer_for(None, streaming=True)
    assert isinstance(framer, SniffingFramer)
    for _ in range(100):
        assert framer.feed(b" " * 1_000) == []
    assert isinstance(framer.chosen, ByteCounter)
    assert framer.chosen.bytes_seen == 100_000


def test_a_counter_counts_and_yields_nothing() -> None:
    counter = framer_for("audio/mpeg", streaming=False)
    assert payloads(counter, [b"abc", b"de"]) == []
    assert isinstance(counter, ByteCounter)
    assert counter.bytes_seen == 5


def test_what_the_chosen_framer_skips_is_counted() -> None:
    framer = framer_for(None, streaming=True, limit_bytes=10)
    assert framer.dropped == 0
    assert payloads(framer, [b"data: 12345\n\ndata: 1\n\n"]) == [b"1"]
    assert framer.dropped == 1
    assert framer.limit_bytes == 10


def test_a_decompressor_goes_before_any_framer() -> None:
    text = b"data: 1\n\ndata: 2"
    for chunks in [*in_two(gzip.compress(text)), singly(gzip.compress(text))]:
        framer, decompressor = framer_for(None, streaming=True), decompressor_for("gzip")
        found = []
        for chunk in [*filter(None, chunks), b""]:
            found += framer.feed(decompressor.feed(chunk))
        assert found == [b"1", b"2"]


def test_not_yet_says_nothing_about_the_first_bytes() -> None:
    framer = framer_for(None, streaming=True)
    assert framer.feed(NOT_YET) == []
    assert framer.feed(b"data: 1\n\n") == [b"1"]


TYPES = [
    None, "text/event-stream", "application/json", "application/x-ndjson", "text/plain",
    "application/vnd.amazon.eventstream", "audio/mpeg", ";;", "\xff",
]  # fmt: skip


@given(
    st.sampled_from(TYPES),
    st.booleans(),
    texts_of(b"data: ", b"\n\n", b"{", b"}", b"[", b"]", b'"', b"\\", b"\xef\xbb\xbf"),
    places,
)
def test_any_answer_is_read_the_same_at_any_cut(
    content_type: str | None, streaming: bool, text: bytes, cuts: list[int]
) -> None:
    framer: Framer = framer_for(content_type, streaming)
    found = payloads(framer, cut_at(text, cuts))
    assert found == payloads(framer_for(content_type, streaming), [text])


def test_the_public_names_hold_still() -> None:
    assert sorted(meter.wire.__all__) == [
        "AWSEventStreamFramer", "ByteCounter", "Decompressor", "Framer", "JSONArrayFramer",
        "JSONBodyFramer", "LIMIT_BYTES", "NDJSONFramer", "NOT_YET", "SSEFilter", "SSEFramer",
        "SniffingFramer", "decompressor_for", "framer_for",
    ]  # fmt: skip
    assert typing.get_type_hints(framer_for)["return"] is Framer
