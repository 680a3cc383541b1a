"""Answers of arbitrary bytes: read without an error, handed on unchanged, whatever the cuts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.call import Observation, Outcome
from meter.core.settlement import owed
from meter.providers.registry import dialect_named
from tests.providers.answers import Recorder
from tests.wire.cuts import cut_at, places, texts_of

OPENAI = dialect_named("openai")
CALLS = [
    ("POST", "/v1/audio/transcriptions"), ("POST", "/v1/audio/speech"),
    ("POST", "/v1/images/generations"), ("POST", "/v1/batches"), ("GET", "/v1/batches/b"),
    ("POST", "/v1/fine_tuning/jobs"), ("POST", "/v1/threads/t/runs"), ("POST", "/v1/videos"),
    ("GET", "/v1/videos/v"), ("GET", "/v1/responses/r"), ("GET", "/v1/files/f/content"),
    ("POST", "/v1/containers"), ("POST", "/v1/edits"), ("POST", "/v1/decisions"),
]  # fmt: skip
REQUEST = {
    "model": "gpt-4o-mini-tts", "input": "hello", "stream": True, "response_format": "text",
    "n": 2, "size": "1x1", "file": {"seconds": 3}, "prompt": "a",
}  # fmt: skip
PARTS = (
    b"data: ", b"\n\n", b"\n", b"{", b"}", b"[", b"]", b",", b":", b"null", b"1", b"-1", b"1e999",
    b'"id":"x"', b'"object":"batch"', b'"object":"thread.run"', b'"object":"response"',
    b'"object":"fine_tuning.job"', b'"object":"container"', b'"status":"completed"',
    b'"status":"queued"', b'"usage":', b'"input_tokens":5', b'"output_tokens":6',
    b'"total_tokens":11', b'"data":', b'"seconds":"8"', b'"trained_tokens":7', b'"duration":3.5',
    b'"type":"transcript.text.done"', b'"type":"speech.audio.done"', b'"error":', b"[DONE]",
    b'"type":"image_generation.completed"', b'"custom_id":"a"', b'"response":', b'"body":',
    b'"background":true', b'"text":"hi"',
)  # fmt: skip
NAMES = [
    "id", "object", "status", "usage", "input_tokens", "output_tokens", "total_tokens", "data",
    "seconds", "trained_tokens", "duration", "model", "background", "response", "size", "quality",
    "n_seconds", "generations", "output_file_id", "request_counts", "completed", "error", "type",
    "custom_id", "body", "status_code", "method", "svg_usage", "output", "text", "object",
]  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(
        [None, True, 0, 5, -1, 2.5, 1e300, 10**20, "", "x", "8", "batch", "completed", "queued",
         "thread.run", "response", "fine_tuning.job", "succeeded", "container", "tokens",
         "duration", "reinforcement", "chat.completion", "list"]
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=25,
)  # fmt: skip
KINDS = [
    "application/json", "text/event-stream", "audio/mpeg", "text/plain", "application/octet-stream",
    "",
]  # fmt: skip


def seen(method: str, path: str, kind: str, encoding: str, chunks: list[bytes]) -> Observation:
    """Answer a call with these bytes and check that they are handed on."""
    reading = OPENAI.read(method, path, None, json.dumps(REQUEST).encode())
    observer = OPENAI.observe(reading, Recorder())
    observer.start(200, {"content-type": kind, "content-encoding": encoding})
    given_on = b"".join(observer.feed(chunk) for chunk in chunks) + observer.finish()
    assert given_on == b"".join(chunks)
    observer.result()
    return observer.result()


@pytest.mark.parametrize(("method", "path"), CALLS)
@given(texts_of(*PARTS), st.sampled_from(KINDS), places)
def test_any_answer_is_read_the_same_whatever_its_cuts(
    method: str, path: str, text: bytes, kind: str, cuts: list[int]
) -> None:
    whole = seen(method, path, kind, "", [text])
    assert seen(method, path, kind, "", cut_at(text, cuts)) == whole
    owed(Outcome.COMPLETED, whole)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "unheard-of"])
@given(texts_of(*PARTS), st.sampled_from(CALLS))
def test_what_cannot_be_decoded_is_handed_on(
    encoding: str, text: bytes, call: tuple[str, str]
) -> None:
    seen(*call, "text/plain", encoding, [text])


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=10), st.sampled_from(CALLS))
def test_any_object_is_read_without_an_error(answer: Any, call: tuple[str, str]) -> None:
    body = json.dumps(answer).encode()
    owed(Outcome.COMPLETED, seen(*call, "application/json", "", [body]))
    owed(Outcome.COMPLETED, seen(*call, "text/event-stream", "", [b"data: ", body, b"\n\n"]))


@given(st.dictionaries(st.sampled_from(["file", "n", "model", "size", "input", "prompt",
       "instructions", "response_format", "stream", "metadata", "user"]), VALUES),
       st.sampled_from(CALLS))  # fmt: skip
def test_any_request_is_read_without_an_error(request: Any, call: tuple[str, str]) -> None:
    reading = OPENAI.read(*call, None, json.dumps(request).encode())
    observer = OPENAI.observe(reading, Recorder())
    observer.start(200, {"content-type": "text/plain"})
    observer.feed(b"hello")
    observer.finish()
    owed(Outcome.COMPLETED, observer.result())
