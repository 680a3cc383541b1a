"""Any bytes, cut anywhere, framed in any way, at every surface that is known, and at others.

An observer never raises, hands the client exactly what came, and keeps a bounded part of it. The
table is that of `docs/coverage.md`: a new endpoint is tested here by being there.
"""

import gzip
import json
import tracemalloc
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.cli.covering import SURFACES
from meter.core.usage import Usage
from meter.providers import observing
from meter.providers.registry import dialect_named
from meter.reports.recorded import event_stream
from meter.wire import framer_for
from tests.providers.answers import Recorder

CALLS = [
    *sorted({(s.providers[0], call) for s in SURFACES for call in s.calls}),
    ("openai", "/v1/never/heard/of"),
    ("openai", "GET /v1/models"),
]
# Names that some reader looks for, so that made-up answers are not passed over.
NAMES = (
    "usage", "usageMetadata", "usage_info", "x_groq", "choices", "delta", "message", "content",
    "response", "output", "type", "id", "model", "error", "finish_reason", "finishReason",
    "stop_reason", "stopReason", "prompt_tokens", "completion_tokens", "total_tokens",
    "input_tokens", "output_tokens", "promptTokenCount", "candidatesTokenCount", "inputTokens",
    "outputTokens", "prompt_eval_count", "eval_count", "done", "meta", "billed_units", "results",
    "candidates", "parts", "text", "status", "data", "tool_calls", "function", "name", "metadata",
    "completionReason", "predictions", "metrics", "details", "cache_creation", "iterations",
    "prompt_tokens_details", "seconds", "duration", "object", "custom_id", "body", "task_status",
    "amazon-bedrock-invocationMetrics", "event_type", "index", "arguments", "steps", "state",
)  # fmt: skip
WORDS = ("message_delta", "message_stop", "response.completed", "stream-end", "message-end",
         "stop", "completed", "succeeded", "error", "TEXT", "duration", "batch", "thread.run",
         "chat.completion", "\ud83d", "a\u2028b", "", "9" * 40)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False)
    | st.sampled_from(WORDS) | st.text(max_size=6)
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)
FRAMINGS = ("body", "sse", "crlf", "lines", "array", "events", "chunks", "raw")
TYPES = (None, "application/json", "text/event-stream", "application/x-ndjson",
         "text/plain", "application/vnd.amazon.eventstream", "audio/mpeg",
         "application/octet-stream")  # fmt: skip
HEAD = (b'{"model":"m","stream":true,"stream_options":{"include_usage":true},'
        b'"messages":[{"role":"user","content":"hi"}],"input":"hi",'
        b'"prompt":"hi","file":"f","completion_window":"24h"}')  # fmt: skip


def encoded(value: Any) -> bytes:
    """Return JSON, lone surrogates as escapes."""
    return json.dumps(value).encode()


def framed(framing: str, payloads: list[dict[str, Any]], raw: bytes) -> bytes:
    """Return payloads as the bytes of an answer."""
    match framing:
        case "body":
            return encoded(payloads[0] if payloads else None)
        case "sse":
            return b"".join(b"data: " + encoded(p) + b"\n\n" for p in payloads) + raw
        case "crlf":
            return b"".join(b"event: x\r\ndata:" + encoded(p) + b"\r\n\r\n" for p in payloads)
        case "lines":
            return b"\n".join(map(encoded, payloads))
        case "array":
            return encoded(payloads)
        case "events":
            events = [{"event": next(iter(p), "x"), "payload": p} for p in payloads]
            return event_stream(events) + raw
        case "chunks":
            return event_stream(
                [{"event": "chunk", "payload": {"bytes_json": p}} for p in payloads]
            )
    return raw


def opened(provider: str, call: str, recorder: Recorder | None = None, *, always: bool = False):
    method, _, path = call.rpartition(" ")
    dialect = dialect_named(provider)
    reading = dialect.read(method or "POST", path, "application/json", HEAD)
    return dialect.observe(reading, recorder, count_always=always)


@pytest.mark.parametrize(("provider", "call"), CALLS)
@settings(max_examples=12, deadline=None)
@given(
    payloads=st.lists(OBJECTS, max_size=3),
    raw=st.binary(max_size=40),
    framing=st.sampled_from(FRAMINGS),
    kind=st.sampled_from(TYPES),
    coding=st.sampled_from((None, "gzip", "deflate", "br", "zstd", "nonsense")),
    cuts=st.lists(st.integers(0, 2_000), max_size=4),
    always=st.booleans(),
    status=st.sampled_from((200, 200, 200, 204, 302, 429, 500)),
)
def test_no_answer_is_raised_on_or_changed(
    provider: str, call: str, payloads: list[dict[str, Any]], raw: bytes, framing: str,
    kind: str | None, coding: str | None, cuts: list[int], always: bool, status: int,
) -> None:  # fmt: skip
    answer = framed(framing, payloads, raw)
    if coding == "gzip":
        answer = gzip.compress(answer, 1)
    elif coding == "deflate":
        answer = zlib.compress(answer)
    headers = {} if kind is None else {"content-type": kind}
    if coding is not None:
        headers["content-encoding"] = coding
    observer = opened(provider, call, Recorder(), always=always)
    observer.start(status, headers)
    handed = b""
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    for begin, end in pairwise(places):
        handed += observer.feed(answer[begin:end])
        assert isinstance(observer.finished, bool)
    handed += observer.finish()
    seen = observer.result()
    if not observer.hands_out_identity:
        assert handed == answer
    assert seen.usage is None or isinstance(seen.usage, Usage)
    assert len(seen.defects) <= 16
    assert all(len(defect) < 500 for defect in seen.defects)


@pytest.mark.parametrize(("provider", "call"), CALLS)
def test_the_answer_of_a_given_up_call_can_be_asked_for_at_any_time(
    provider: str, call: str
) -> None:
    observer = opened(provider, call, Recorder())
    observer.start(200, {"content-type": "text/event-stream"})
    observer.feed(b'data: {"usage": {"input_tok')
    assert not observer.result().usage
    assert not observer.result().usage


ENDLESS = {
    "one event without end": ("text/event-stream", b"data: " + b"x" * 65_530),
    "one line without end": ("application/x-ndjson", b"x" * 65_536),
    "one body without end": ("application/json", b'{"a":"' + b"x" * 65_530),
    "an array without end": ("application/json", b"[" + b'{"a":"%s"},' % (b"x" * 990) * 64),
    "a message without end": ("application/vnd.amazon.eventstream", b"\x00" * 65_536),
    "many events": ("text/event-stream", b'data: {"choices":[],"a":"%s"}\n\n' % (b"x" * 980) * 64),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize(
    ("provider", "call"),
    [
        ("openai", "/v1/chat/completions"),
        ("bedrock", "/model/m/converse-stream"),
        ("openai", "/v1/never/heard/of"),
    ],
)
def test_an_endless_answer_is_kept_in_part(
    provider: str, call: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 MB go by; less than 2 MB may be held at any time: here, the bounds are 256 kB."""
    monkeypatch.setattr(observing, "KEPT_BYTES", 256 * 1024)
    monkeypatch.setattr(
        observing, "framer_for", lambda kind, streaming: framer_for(kind, streaming, 256 * 1024)
    )
    kind, piece = ENDLESS[name]
    observer = opened(provider, call)
    observer.start(200, {"content-type": kind})
    tracemalloc.start()
    try:
        for _ in range(60):
            assert observer.feed(piece) == piece
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 2 * 1024 * 1024
    observer.finish()
    assert observer.result().received_bytes == 60 * len(piece)
