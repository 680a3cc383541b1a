"""Legacy completions: requests and answers."""

from typing import Any

import pytest

from meter.core.usage import Usage
from meter.providers.openai.completions import prompts
from meter.providers.registry import dialect_named
from tests.providers.answers import DONE, Recorder, asking, event, observe

OPENAI = dialect_named("openai")
PATH = "/v1/completions"


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, 16),  # OpenAI's default
        ({"max_tokens": None}, 16),
        ({"max_tokens": 100, "n": 2}, 200),
        ({"max_tokens": 100, "n": 2, "best_of": 5}, 500),
        ({"max_tokens": 100, "prompt": ["a", "b", "c"], "best_of": 2}, 600),
        ({"max_tokens": 100, "prompt": [1, 2, 3]}, 100),
        ({"max_tokens": 100, "prompt": [[1, 2], [3]]}, 200),
        ({"max_tokens": 0, "prompt": "a"}, 0),
        ({"max_tokens": "5"}, None),
        ({"best_of": "5"}, None),
    ],
)
def test_the_bound_covers_every_prompt_and_candidate(
    fields: dict[str, Any], bound: int | None
) -> None:
    assert asking(OPENAI, PATH, **fields).max_output_tokens == bound


def test_only_a_default_that_is_known_bounds_a_request() -> None:
    assert asking(dialect_named("local"), PATH).max_output_tokens is None
    assert asking(dialect_named("azure"), PATH).max_output_tokens == 16


def test_prompts_are_counted() -> None:
    assert [prompts(p) for p in ("a", [], None, ["a"], [7], [[7], [8]], 7)] == [1, 1, 1, 1, 1, 2, 1]


def test_the_engine_stands_in_the_path() -> None:
    reading = OPENAI.read("POST", "/v1/engines/davinci/completions", None, b"{}")
    assert (reading.endpoint, reading.model) == ("completions", "davinci")


def test_usage_is_asked_for_at_openai_only() -> None:
    assert asking(OPENAI, PATH, stream=True).strip_usage
    assert not asking(dialect_named("ollama"), PATH, stream=True).strip_usage


def test_streamed_text_is_counted_by_choice() -> None:
    sink = Recorder()
    pieces = [
        event({"id": "cmpl-1", "model": "m", "choices": [{"index": 0, "text": "a"}]}),
        event({"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "c"}]}),
        event({"choices": [{"index": 0, "finish_reason": "stop", "text": ""}]}),
        event({"choices": [{"index": 1, "finish_reason": "length", "text": ""}]}),
        DONE,
    ]
    reading = asking(OPENAI, PATH, stream=True, n=2)
    seen, given = observe(OPENAI, reading, pieces, sink=sink)
    assert (sink.joined("content"), sink.joined("content", 1)) == ("ac", "b")
    assert (seen.usage, seen.finished, given) == (None, True, b"".join(pieces))


def test_usage_without_completion_tokens_is_a_zero_completion() -> None:
    pieces = [event({"choices": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}), DONE]
    reading = asking(OPENAI, PATH, stream=True)
    seen, given = observe(OPENAI, reading, pieces)
    assert (seen.usage, given) == (Usage(input_tokens=5, output_tokens=0), DONE)
