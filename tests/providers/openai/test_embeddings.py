"""Embeddings: requests and answers."""

import json

from meter.core.usage import Usage
from meter.providers.registry import dialect_named
from tests.providers.answers import JSON, Recorder, asking, observe

OPENAI = dialect_named("openai")
PATH = "/v1/embeddings"


def test_there_is_no_output_to_bound() -> None:
    reading = asking(OPENAI, PATH, input="a", user="bob")
    assert (reading.endpoint, reading.max_output_tokens) == ("embeddings", 0)
    assert (reading.streaming, reading.body, reading.hint.subject) == (False, None, "bob")


def test_input_is_read_and_vectors_are_not() -> None:
    body = json.dumps({
        "object": "list", "model": "text-embedding-3-small",
        "data": [{"embedding": [0.1] * 3000}] * 3,
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }).encode()  # fmt: skip
    sink = Recorder()
    seen, given = observe(OPENAI, asking(OPENAI, PATH), [body], headers=JSON, sink=sink)
    assert (seen.usage, seen.model_served) == (Usage(input_tokens=5), "text-embedding-3-small")
    assert (seen.finished, given, sink.pieces) == (True, body, [])


def test_without_usage_nothing_is_counted() -> None:
    body = json.dumps({"data": [{"embedding": [0.1]}]}).encode()
    sink = Recorder()
    for always in (True, False):
        seen, _ = observe(
            OPENAI, asking(OPENAI, PATH), [body], headers=JSON, sink=sink, count_always=always
        )
        assert (seen.usage, seen.finished, sink.pieces) == (None, True, [])
