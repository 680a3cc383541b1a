"""Ollama's own endpoints."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.native_answers import NDJSON, SIZES, answer, ask, body, cut, lines

HOST = "localhost:11434"
COUNTS = {"prompt_eval_count": 17, "eval_count": 63, "total_duration": 1}
USAGE = Usage(input_tokens=17, output_tokens=63)


def said(**message: Any) -> dict[str, Any]:
    return {"model": "llama3", "message": {"role": "assistant", **message}, "done": False}


CHAT = lines(
    said(content="", thinking="Hm"),
    said(content="He"),
    said(content="llo"),
    said(content="", tool_calls=[{"function": {"name": "sum", "arguments": {"a": 1}}}]),
    {**said(content=""), "done": True, "done_reason": "stop", **COUNTS},
)
GENERATED = lines(
    {"model": "llama3", "response": "He", "done": False},
    {"model": "llama3", "response": "llo", "done": False},
    {"model": "llama3", "response": "", "done": True, "context": [1, 2], **COUNTS},
)
STREAMS = {"chat": CHAT, "generate": GENERATED}


@pytest.mark.parametrize("surface", STREAMS)
def test_a_request_streams_unless_told_not_to(surface: str) -> None:
    reading = ask(HOST, f"/api/{surface}", model="llama3", options={"num_predict": 80})
    assert (reading.provider, reading.endpoint) == ("ollama", f"ollama.{surface}")
    assert (reading.model, reading.streaming, reading.max_output_tokens) == ("llama3", True, 80)
    assert not ask(HOST, f"/api/{surface}", model="llama3", stream=False).streaming


@pytest.mark.parametrize("limit", [-1, -2])
def test_a_negative_limit_is_none(limit: int) -> None:
    reading = ask(HOST, "/api/chat", model="llama3", options={"num_predict": limit})
    assert (reading.max_output_tokens, reading.defects) == (None, ())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("surface", STREAMS)
def test_counts_stand_in_the_line_that_is_done(surface: str, size: int) -> None:
    reading = ask(HOST, f"/api/{surface}", model="llama3")
    seen, sink = answer(HOST, reading, cut(STREAMS[surface], size), NDJSON)
    assert (seen.usage, seen.finished, seen.model_served) == (USAGE, True, "llama3")
    assert sink.pieces == []


@pytest.mark.parametrize("surface", STREAMS)
def test_a_broken_stream_is_handed_out_to_be_counted(surface: str) -> None:
    reading = ask(HOST, f"/api/{surface}", model="llama3")
    seen, sink = answer(HOST, reading, STREAMS[surface][:-1], NDJSON, finish=False)
    assert (seen.usage, seen.finished, sink.joined("content")) == (None, False, "Hello")
    if surface == "chat":
        assert (sink.joined("reasoning"), sink.joined("tool_arguments")) == ("Hm", '{"a":1}')


def test_the_cached_part_is_inside_the_prompt() -> None:
    payload = {"done": True, **COUNTS, "prompt_eval_cached_count": 12}
    seen, _ = answer(HOST, ask(HOST, "/api/chat", model="m", stream=False), body(payload))
    assert seen.usage == Usage(input_tokens=17, cache_read_tokens=12, output_tokens=63)


def test_a_prompt_without_a_count_is_unknown_and_not_zero() -> None:
    payload = {"model": "llama3", "response": "Hi", "done": True, "eval_count": 38}
    seen, _ = answer(HOST, ask(HOST, "/api/generate", model="m", stream=False), body(payload))
    assert seen.usage == Usage(output_tokens=38)


def test_embeddings_are_read_in_both_versions() -> None:
    reading = ask(HOST, "/api/embed", model="all-minilm", input="x")
    assert (reading.endpoint, reading.max_output_tokens) == ("ollama.embed", 0)
    payload = {"model": "all-minilm", "embeddings": [[0.1]], "prompt_eval_count": 8}
    seen, _ = answer(HOST, reading, body(payload))
    assert (seen.usage, seen.model_served) == (Usage(input_tokens=8), "all-minilm")
    older = ask(HOST, "/api/embeddings", model="all-minilm", prompt="x")
    assert older.endpoint == "ollama.embed"
    seen, _ = answer(HOST, older, body({"embedding": [0.1]}))
    assert seen.usage is None


def test_a_servers_openai_shape_at_that_path_is_read_too() -> None:
    payload = {"model": "m", "data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}
    reading = ask("models.example", "/api/embeddings", model="m", input="x")
    seen, _ = answer("models.example", reading, body(payload))
    assert seen.usage == Usage(input_tokens=5)


def test_an_error_in_a_stream_is_one() -> None:
    reading = ask(HOST, "/api/chat", model="m")
    seen, _ = answer(HOST, reading, lines({"error": "model runner stopped"}), NDJSON)
    assert (seen.usage, seen.error_in_body) == (None, True)
