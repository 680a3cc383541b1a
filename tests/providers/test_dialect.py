"""Requests as dialects read them: which endpoint, and never an exception."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.reading import UNMETERED
from meter.providers.dialect import ENDPOINTS, plain_path
from meter.providers.registry import dialect_for, dialect_named

OPENAI = dialect_named("openai")
PATHS = {
    "/v1/chat/completions": "chat",
    "/chat/completions": "chat",
    "/api/v1/chat/completions?x=1": "chat",
    "/openai/deployments/d/chat/completions?api-version=2024-02-01": "chat",
    "/models/chat/completions?api-version=2024-05-01-preview": "chat",
    "/client/v4/accounts/a/ai/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/engines/davinci/completions": "completions",
    "/openai/deployments/chat/completions": "completions",
    "/v1/responses": "responses",
    "/openai/responses?api-version=2025-03-01-preview": "responses",
    "/v1/responses/compact": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/engines/babbage-similarity/embeddings": "embeddings",
    "/v1/messages": "messages",
    "/anthropic/v1/messages?beta=true": "messages",
    "/v1beta/models/gemini-2.5-pro:generateContent": "generateContent",
    "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse": "generateContent",
    "/v1/projects/p/locations/l/publishers/google/models/m:generateContent": "generateContent",
    "/v1/responses/resp_1/cancel": "responses.cancel",
    "/v1/threads/t/messages": "threads",
    "/v1/images/generations": "images.generations",
    "/v1/audio/speech": "audio.speech",
    "/v1/agents/sessions": UNMETERED,
    "/v1beta/models/m:embedContent": "embedContent",
    "/": UNMETERED,
    "": UNMETERED,
}


@pytest.mark.parametrize("path", PATHS)
def test_the_path_names_the_endpoint(path: str) -> None:
    assert OPENAI.read("POST", path, "application/json", b"{}").endpoint == PATHS[path]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/%63ompletions", "/v1//chat/completions", "/v1/chat/completions/",
        "/v1/./chat/completions", "/v1/x/../chat/completions", "/V1/Chat/Completions",
        "/v1/chat%2Fcompletions", "//v1/chat/completions//",
    ],
)  # fmt: skip
def test_no_spelling_of_the_path_escapes(path: str) -> None:
    assert OPENAI.read("POST", path, "application/json", b"{}").endpoint == "chat"


def test_only_a_post_is_metered() -> None:
    for method in ("GET", "DELETE", "HEAD", "PUT", "OPTIONS"):
        assert OPENAI.read(method, "/v1/chat/completions", None, b"").endpoint != "chat"
    assert OPENAI.read("post", "/v1/chat/completions", None, b"{}").endpoint == "chat"


BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "found 0 bytes that are not JSON"),
    "text": (b"hello", "found 5 bytes that are not JSON"),
    "cut off": (b'{"model": "gpt-4o"', "found 18 bytes that are not JSON"),
    "a list": (b"[1]", "found a JSON list as request, expected an object"),
    "a number": (b"7", "found a JSON int as request, expected an object"),
    "null": (b"null", "found a JSON NoneType as request, expected an object"),
    "not UTF-8": (b'{"a": "\xff"}', "found bytes that are not UTF-8, expected JSON"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "found bytes that are not UTF-8, expected JSON"),
    "a deep nest": (b"[" * 10_000 + b"]" * 10_000, "found JSON nested too deeply to be read"),
    "a deep object": (
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "found JSON nested too deeply to be read"
    ),
    "50 MB of one character": (b"x" * 50_000_000, "found 50000000 bytes that are not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_cannot_be_read_is_a_defect(case: str) -> None:
    body, defect = BODIES[case]
    for path in ("/v1/chat/completions", "/v1/messages", "/v1beta/models/m:generateContent"):
        reading = OPENAI.read("POST", path, "application/json", body)
        assert reading.defects == (defect,)
        assert reading.endpoint == PATHS.get(path, "generateContent")
        assert (reading.request, reading.body, reading.strip_usage) == ({}, None, False)


def test_lone_surrogates_do_not_hide_a_request() -> None:
    body = b'{"model": "gpt-4o", "stream": true, "messages": "\\ud800", "max_tokens": 5}'
    reading = OPENAI.read("POST", "/v1/chat/completions", "application/json", body)
    assert (reading.model, reading.streaming, reading.max_output_tokens) == ("gpt-4o", True, 5)
    assert reading.defects == ()
    assert json.loads(reading.body or b"")["messages"] == "\ud800"


def test_a_byte_order_mark_does_not_hide_a_request() -> None:
    body = b'\xef\xbb\xbf{"model": "gpt-4o"}'
    assert OPENAI.read("POST", "/v1/chat/completions", None, body).model == "gpt-4o"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELDS = st.sampled_from([
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "best_of",
    "prompt", "user", "safety_identifier", "metadata", "service_tier", "messages", "input",
    "generationConfig", "labels", "max_output_tokens", "speed", "data_sources", "background",
])  # fmt: skip


@given(st.dictionaries(FIELDS, JSON_VALUES), st.sampled_from(sorted(PATHS)))
def test_no_request_makes_reading_raise(fields: dict[str, Any], path: str) -> None:
    body = json.dumps(fields).encode()
    for dialect in (OPENAI, dialect_named("azure"), dialect_for("unknown.example")):
        reading = dialect.read("POST", path, None, body)
        assert reading.max_output_tokens is None or 0 <= reading.max_output_tokens <= 10**12
        assert reading.strip_usage == (reading.body is not None)
        if reading.body is not None:
            assert json.loads(reading.body)["stream_options"]["include_usage"] is True


@given(st.binary(max_size=40), st.text(max_size=40), st.text(max_size=8))
def test_no_bytes_and_no_path_make_reading_raise(body: bytes, path: str, method: str) -> None:
    for name in ("openai", "azure", "google", "writer"):
        dialect_named(name).read(method, "/" + path, None, body)


def test_an_alias_of_a_path_is_read_as_the_usual_one() -> None:
    writer = dialect_for("api.writer.com")
    assert writer.read("POST", "/v1/chat", None, b"{}").endpoint == "chat"
    assert OPENAI.read("POST", "/v1/chat", None, b"{}").endpoint != "chat"


def test_endpoints_have_the_names_that_calls_record() -> None:
    assert {endpoint.name for endpoint in ENDPOINTS} >= {
        "chat", "completions", "responses", "embeddings", "messages", "generateContent",
    }  # fmt: skip


def test_paths_are_made_plain() -> None:
    assert plain_path("/a/b/") == "/a/b"
    assert plain_path("/a/../../b/./c//d") == "/b/c/d"
    assert plain_path("/a%2e/%2e%2E/b") == "/b"
    assert plain_path("") == ""
