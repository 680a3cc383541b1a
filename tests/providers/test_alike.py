"""Events that differ in the text of a string only are recognised, and nothing else is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.providers.alike import fits, learnt
from meter.providers.registry import dialect_named

CHUNK = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}],'
    b'"usage":null,"obfuscation":"abc"}\n\n'
)
DELTA = b'event: delta\ndata: {"type":"content_block_delta","delta":{"text":"one"}}\n\n'


def pattern_of(event: bytes, *changes: tuple[bytes, bytes]):
    other = event
    for old, new in changes:
        other = other.replace(old, new)
    return learnt(event, other, event.index(b"data: ") + 6)


def test_one_string_may_differ():
    pattern = pattern_of(DELTA, (b"one", b"two"))
    assert pattern is not None
    assert fits(DELTA.replace(b"one", b" and three, \\u00e9 and \xc3\xa9"), pattern)


def test_several_strings_may_differ():
    pattern = pattern_of(CHUNK, (b"one", b"two"), (b"abc", b"9x8ySdf"))
    assert pattern is not None
    assert fits(CHUNK.replace(b"one", b"").replace(b"abc", b"q"), pattern)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"one", b'one\\" and'),
        (b'"one"', b'"one","usage":{"prompt_tokens":1}'),
        (b'"usage":null', b'"usage":{}'),
        (b"null}]", b'"stop"}]'),
        (b"one", b"one\n"),
        (b"one", b"one\r"),
        (b'"abc"}', b'"abc"} '),
        (b"\n\n", b"\n"),
        (b"\n\n", b"\n\ndata: [DONE]\n\n"),
        (b"data: ", b""),
    ],
)
def test_anything_else_does_not_fit(old, new):
    pattern = pattern_of(CHUNK, (b"one", b"two"), (b"abc", b"xyz"))
    assert pattern is not None
    assert not fits(CHUNK.replace(old, new), pattern)


@pytest.mark.parametrize(
    ("event", "old", "new"),
    [
        (DELTA, b"content_block_delta", b"message_delta"),  # what kind of event it is
        (b'data: {"a":"x","b":1}\n\n', b"1", b"2"),  # a number
        (b'data: {"a":"x","b":null}\n\n', b"null", b"{}"),
        (b'data: {"one":"x"}\n\n', b"one", b"two"),  # a name
        (b'data: {"a":"\\\\","b":"one"}\n\n', b"one", b"two"),  # quotes cannot be counted
        (CHUNK, b"", b""),  # nothing differs
    ],
)
def test_no_pattern_is_learnt_where_more_than_text_differs(event, old, new):
    assert pattern_of(event, (old, new)) is None


texts = st.text(st.sampled_from('ab "\\\n{}:,é'), max_size=6)
endings = st.sampled_from([None, None, None, "stop"])
usages = st.sampled_from([None, None, None, {"prompt_tokens": 3, "completion_tokens": 2}])
paddings = st.none() | st.text(st.sampled_from("xyz"), min_size=1, max_size=3)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    choice = {"index": 0, "delta": {"content": draw(texts)}, "finish_reason": draw(endings)}
    payload = {"id": "c", "model": "m", "choices": [choice], "usage": draw(usages)}
    padding = draw(paddings)
    if padding is not None:
        payload["p"] = padding
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def observed(chunks: list[bytes], *, asks: bool):
    """Return what is handed out of a stream that comes in these chunks, and what is seen of it."""
    asked = {"model": "m", "stream": True, "messages": []}
    if not asks:
        asked["stream_options"] = {"include_usage": True}
    dialect = dialect_named("openai")
    reading = dialect.read("POST", "/v1/chat/completions", None, json.dumps(asked).encode())
    assert reading.strip_usage is asks
    observer = dialect.observe(reading, Sink())
    observer.start(200, {"content-type": "text/event-stream"})
    handed = [observer.feed(chunk) for chunk in chunks]
    handed.append(observer.finish())
    return b"".join(handed), observer.result(), observer.ended, observer.finished


class Sink:
    """Takes output and forgets it."""

    def text(self, choice: int, kind: str, piece: str) -> None:
        """Take a piece of text."""

    def tool_call(self, choice: int) -> None:
        """Note a call."""


@given(st.lists(events(), max_size=12), st.booleans(), st.booleans())
def test_a_stream_is_seen_alike_event_by_event_and_in_one_piece(sent, ends, asks):
    chunks = [*sent, b"data: [DONE]\n\n"] if ends else sent
    assert observed(chunks, asks=asks) == observed([b"".join(chunks)], asks=asks)
