import re

import pytest
from hypothesis import assume, given

from meter.wire import NOT_YET, SSEFilter, SSEFramer
from meter.wire.sse import HELD_BYTES
from tests.wire.cuts import cut_at, in_pieces, in_two, payloads, places, singly, texts_of

STREAM = (
    b"\xef\xbb\xbf: OPENROUTER PROCESSING\n\n"
    b"event: message_start\ndata: {\"a\":1}\n\n"
    b"data:{\"text\":\"gr\xc3\xbc\xc3\x9fe \xe2\x82\xac \xf0\x9f\x8e\x88\"}\r\n\r\n"
    b"id: 7\rdata: one\rdata: two\r\r"
    b"data\n\n"
    b"retry: 3000\n\n"
    b"data:  two spaces\ndatafile: no\ndata\n\n\n\n"
    b": keep-alive\r\ndata: mixed\n\r\n"
    b"data: [DONE]\n\n"
)  # fmt: skip
STREAM_PAYLOADS = [
    b'{"a":1}',
    '{"text":"grüße € 🎈"}'.encode(),
    b"one\ntwo",
    b"",
    b" two spaces\n",
    b"mixed",
    b"[DONE]",
]

# What a stream is made of, for random ones.
PARTS = (
    b"\r", b"\n", b"\r\n", b"\n\n", b"data", b"data:", b"data: x", b"data: drop", b":",
    b"\xef\xbb\xbf",
)  # fmt: skip


def reference(text: bytes) -> list[bytes]:
    """Read a stream line by line, as the standard words it, and an event that ends with it."""
    found: list[bytes] = []
    values: list[bytes] = []
    lines = re.split(rb"\r\n|\n|\r", text.removeprefix(b"\xef\xbb\xbf"))
    for line in [*lines, b""]:
        if not line:
            if values:
                found.append(b"\n".join(values))
            values = []
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
    return found


def test_every_cut_gives_the_same_payloads() -> None:
    for chunks in in_two(STREAM):
        assert payloads(SSEFramer(), chunks) == STREAM_PAYLOADS


def test_single_bytes_give_the_same_payloads() -> None:
    assert payloads(SSEFramer(), singly(STREAM)) == STREAM_PAYLOADS


def test_a_payload_comes_with_the_byte_that_ends_its_event() -> None:
    framer = SSEFramer()
    assert framer.feed(b"data: 1\r\n\r") == [b"1"]
    assert framer.feed(b"\ndata: 2\n") == []
    assert framer.feed(b"\n") == [b"2"]


def test_an_event_without_its_blank_line_is_flushed() -> None:
    assert payloads(SSEFramer(), [b'data: 1\n\ndata: {"usage"']) == [b"1", b'{"usage"']
    assert payloads(SSEFramer(), [b"data: 1\n\nevent: done"]) == [b"1"]
    assert payloads(SSEFramer(), []) == []


def test_a_mark_that_is_no_byte_order_mark_is_a_strange_line() -> None:
    assert payloads(SSEFramer(), [b"\xef\xbb"]) == []
    assert payloads(SSEFramer(), singly(b"\xef\xbbdata: 1\ndata: 2\n\n")) == [b"2"]


@pytest.mark.parametrize("size_bytes", [1_000, 16_384, 65_536, 300_000])
def test_a_line_of_100_kilobytes_is_one_payload(size_bytes: int) -> None:
    line = b'{"text":"' + b"\xc3\xa9" * 50_000 + b'"}'
    text = b"event: x\r\ndata: " + line + b"\r\n\r\ndata: 2\r\n\r\n"
    assert payloads(SSEFramer(), in_pieces(text, size_bytes)) == [line, b"2"]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_an_event_over_the_limit_is_skipped_at_every_cut(newline: bytes) -> None:
    text = (b"data: 12345678" + 2 * newline) + (b"data: 123456789" + 2 * newline)
    text += b"data: last" + 2 * newline
    for chunks in [*in_two(text), singly(text), [text]]:
        framer = SSEFramer(limit_bytes=14)
        assert payloads(framer, chunks) == [b"12345678", b"last"]
        assert framer.dropped == 1


def test_an_event_without_end_is_not_kept() -> None:
    framer = SSEFramer(limit_bytes=1_000)
    for _ in range(100):
        assert framer.feed(b"data: " + b"x" * 500) == []
        assert len(framer._blocks._under_way) <= 1_001
    assert framer.feed(b"\n\ndata: 2\n\n") == [b"2"]
    assert framer.dropped == 1


def test_not_yet_does_not_end_the_stream() -> None:
    framer = SSEFramer()
    assert framer.feed(b"data: 1") == []
    assert framer.feed(NOT_YET) == []
    assert framer.feed(b"2\n\n") == [b"12"]


@given(texts_of(*PARTS), places)
def test_any_bytes_are_read_as_the_standard_says(text: bytes, cuts: list[int]) -> None:
    assert payloads(SSEFramer(), cut_at(text, cuts)) == reference(text)


@given(texts_of(*PARTS), places)
def test_any_bytes_keep_to_a_small_limit(text: bytes, cuts: list[int]) -> None:
    framer = SSEFramer(limit_bytes=8)
    for chunk in cut_at(text, cuts):
        assert all(len(payload) <= 8 for payload in framer.feed(chunk))
        assert len(framer._blocks._under_way) <= 9


@given(texts_of(*PARTS), places)
def test_a_small_limit_skips_the_same_events_at_any_cut(text: bytes, cuts: list[int]) -> None:
    whole, cut = SSEFramer(limit_bytes=8), SSEFramer(limit_bytes=8)
    assert payloads(cut, cut_at(text, cuts)) == payloads(whole, [text])
    assert cut.dropped == whole.dropped


# The filter.


def drops_usage(payload: bytes) -> bool:
    return b"drop" in payload


def filtered(text_filter: SSEFilter, chunks: list[bytes]) -> bytes:
    passed = [text_filter.feed(chunk) for chunk in chunks if chunk]
    return b"".join([*passed, text_filter.feed(b"")])


FILTERED = [
    # what comes, what is passed on
    (b"data: 1\n\ndata: drop\n\ndata: 2\n\n", b"data: 1\n\ndata: 2\n\n"),
    (b"data: 1\r\n\r\ndata: drop\r\n\r\ndata: 2\r\n\r\n", b"data: 1\r\n\r\ndata: 2\r\n\r\n"),
    (b"data: 1\r\rdata: drop\r\rdata: 2\r\r", b"data: 1\r\rdata: 2\r\r"),
    (b"data: 1\n\r\ndata: drop\r\n\ndata: 2\n\r", b"data: 1\n\r\ndata: 2\n\r"),
    (b"data: drop\r\n\r\n\r\ndata: 2\n\n", b"\r\ndata: 2\n\n"),
    (b"data: 1\n\n\n\ndata: drop\n\n\n: c\n\n", b"data: 1\n\n\n\n\n: c\n\n"),
    (b"\xef\xbb\xbfdata: drop\n\ndata: 2\n\n", b"\xef\xbb\xbfdata: 2\n\n"),
    (b"\xef\xbb\xbfdata: drop", b"\xef\xbb\xbf"),
    (b"\ndata: drop\n\ndata: 2", b"\ndata: 2"),
    (b": drop\n\nevent: drop\n\ndata: 2\n\n", b": drop\n\nevent: drop\n\ndata: 2\n\n"),
    (b"id: 1\ndata: dr\ndata: op\n\ndata: drop\ndata: b\n\n", b"id: 1\ndata: dr\ndata: op\n\n"),
    (b"data: 1\n\ndata: drop", b"data: 1\n\n"),
    (b"data: 1\n\ndata: drop\r\n", b"data: 1\n\n"),
    (b"data: drop\n\ndata: drop\n\n", b""),
    (b"data: 1\n\ndata: drop\n\ndata: [DONE]\n\n", b"data: 1\n\ndata: [DONE]\n\n"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "passed"), FILTERED)
def test_exactly_the_dropped_events_are_removed_at_every_cut(text: bytes, passed: bytes) -> None:
    for chunks in [*in_two(text), singly(text)]:
        assert filtered(SSEFilter(drops_usage), chunks) == passed


def test_whole_events_are_passed_on_at_once() -> None:
    sse_filter = SSEFilter(drops_usage)
    assert sse_filter.feed(b"data: 1\n\n") == b"data: 1\n\n"
    assert sse_filter.feed(b"data: 2\r\n\r\ndata") == b"data: 2\r\n\r\n"
    assert sse_filter.feed(b": 3\n") == b""
    assert sse_filter.feed(b"\n") == b"data: 3\n\n"
    assert sse_filter.feed(b"\n\n") == b"\n\n"


def test_a_newline_that_belongs_to_a_dropped_event_goes_with_it() -> None:
    sse_filter = SSEFilter(drops_usage)
    assert sse_filter.feed(b"data: drop\r\n\r") == b""
    assert sse_filter.feed(b"\ndata: 1\n\n") == b"data: 1\n\n"


def test_an_event_as_long_as_the_filter_holds_is_dropped() -> None:
    event = b"data: drop".ljust(HELD_BYTES, b".")
    for blank_line in (b"\n\n", b"\r\n\r\n"):
        text = event[: HELD_BYTES + 2 - len(blank_line)] + blank_line + b"data: 2\n\n"
        for chunks in ([text], in_pieces(text, 50_001)):
            assert filtered(SSEFilter(drops_usage), chunks) == b"data: 2\n\n"


def test_a_longer_event_is_released_and_what_follows_is_filtered() -> None:
    text = b"data: drop".ljust(HELD_BYTES + 1, b".") + b"\n\n"
    after = b"data: drop\n\ndata: 2\n\n"
    for chunks in ([text + after], in_pieces(text + after, 50_001), [text[:-1], text[-1:], after]):
        assert filtered(SSEFilter(drops_usage), chunks) == text + b"data: 2\n\n"


def test_no_more_than_the_bound_is_held_back() -> None:
    sse_filter = SSEFilter(drops_usage)
    passed_bytes = 0
    for fed in range(1, 100):
        passed_bytes += len(sse_filter.feed(b"x" * 10_000))
        assert fed * 10_000 - passed_bytes <= HELD_BYTES + 1
    assert passed_bytes == 99 * 10_000


def test_the_filter_does_not_copy_what_it_passes_whole() -> None:
    chunk = b"data: 1\n\ndata: 2\n\n"
    assert SSEFilter(drops_usage).feed(chunk) is chunk


def test_not_yet_does_not_release_what_is_held() -> None:
    sse_filter = SSEFilter(drops_usage)
    assert sse_filter.feed(b"data: dr") == b""
    assert sse_filter.feed(NOT_YET) == b""
    assert sse_filter.feed(b"op\n\n") == b""


@given(texts_of(*PARTS), places)
def test_without_drops_any_bytes_pass_as_they_came(text: bytes, cuts: list[int]) -> None:
    assert filtered(SSEFilter(lambda payload: False), cut_at(text, cuts)) == text


@given(texts_of(*PARTS), places)
def test_what_is_removed_does_not_depend_on_cuts(text: bytes, cuts: list[int]) -> None:
    whole = filtered(SSEFilter(drops_usage), [text])
    assert filtered(SSEFilter(drops_usage), cut_at(text, cuts)) == whole


@given(texts_of(*PARTS), places)
def test_the_client_reads_exactly_the_payloads_that_were_kept(text: bytes, cuts: list[int]) -> None:
    passed = filtered(SSEFilter(drops_usage), cut_at(text, cuts))
    # A stray mark between two events becomes the stream's own when all before it is dropped.
    assume(passed.startswith(b"\xef\xbb\xbf") == text.startswith(b"\xef\xbb\xbf"))
    assert reference(passed) == [kept for kept in reference(text) if not drops_usage(kept)]


@given(texts_of(*PARTS), places)
def test_the_filter_asks_about_each_payload_once(text: bytes, cuts: list[int]) -> None:
    asked: list[bytes] = []

    def note(payload: bytes) -> bool:
        asked.append(payload)
        return False

    filtered(SSEFilter(note), cut_at(text, cuts))
    assert asked == reference(text)
