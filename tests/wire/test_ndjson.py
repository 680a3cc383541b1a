from hypothesis import given

from meter.wire import NOT_YET, NDJSONFramer
from tests.wire.cuts import cut_at, in_pieces, in_two, payloads, places, singly, texts_of

STREAM = (
    b"\xef\xbb\xbf{\"model\":\"llama\",\"response\":\"gr\xc3\xbc\xc3\x9f\"}\n"
    b"\n"
    b"  {\"response\":\"a\\nb\"} \r\n"
    b"\r\n"
    b"{\"done\":true,\"eval_count\":298}"
)  # fmt: skip
STREAM_PAYLOADS = [
    '{"model":"llama","response":"grüß"}'.encode(),
    b'{"response":"a\\nb"}',
    b'{"done":true,"eval_count":298}',
]


def test_every_cut_gives_the_same_lines() -> None:
    for chunks in [*in_two(STREAM), singly(STREAM), *in_two(STREAM + b"\n")]:
        assert payloads(NDJSONFramer(), chunks) == STREAM_PAYLOADS


def test_a_line_that_is_cut_off_is_left_to_the_reader() -> None:
    assert payloads(NDJSONFramer(), [b'{"a":1}\n{"a"']) == [b'{"a":1}', b'{"a"']


def test_a_line_of_100_kilobytes_is_one_payload() -> None:
    line = b'{"embedding":[' + b"0.125," * 16_000 + b"0]}"
    assert payloads(NDJSONFramer(), in_pieces(line + b"\n{}\n", 4_096)) == [line, b"{}"]


def test_a_line_over_the_limit_is_skipped_at_every_cut() -> None:
    text = b"12345678\n123456789\n{}\n"
    for chunks in [*in_two(text), singly(text)]:
        framer = NDJSONFramer(limit_bytes=8)
        assert payloads(framer, chunks) == [b"12345678", b"{}"]
        assert framer.dropped == 1


def test_not_yet_does_not_end_the_stream() -> None:
    framer = NDJSONFramer()
    assert framer.feed(b"{") == []
    assert framer.feed(NOT_YET) == []
    assert framer.feed(b"}\n") == [b"{}"]


@given(texts_of(b"{", b"}", b"\n", b"\r\n", b'"', b"\xef\xbb\xbf", b" "), places)
def test_any_bytes_give_the_same_lines_at_any_cut(text: bytes, cuts: list[int]) -> None:
    lines = [line.strip() for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    assert payloads(NDJSONFramer(), cut_at(text, cuts)) == [line for line in lines if line]


@given(texts_of(b"\n", b"xx"), places)
def test_any_bytes_keep_to_a_small_limit(text: bytes, cuts: list[int]) -> None:
    framer = NDJSONFramer(limit_bytes=8)
    for chunk in cut_at(text, cuts):
        assert all(len(line) <= 8 for line in framer.feed(chunk))
        assert len(framer._lines._under_way) <= 8
