"""A limit is written where its API has it, and nowhere else."""

import json

import pytest

from meter.gateway.lowering import answers_of, lowered
from meter.providers.registry import dialect_named

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "generateContent": "/v1beta/models/gemini-2.5-flash:generateContent",
    "embeddings": "/v1/embeddings",
}


def read(endpoint, provider="openai", **fields):
    body = json.dumps({"model": "m", **fields}).encode()
    return dialect_named(provider).read("POST", PATHS[endpoint], "application/json", body)


def limited(most, endpoint, provider="openai", **fields):
    body = lowered(read(endpoint, provider, **fields), most)
    return None if body is None else json.loads(body)


@pytest.mark.parametrize(
    ("endpoint", "provider", "fields", "expected"),
    [
        ("chat", "openai", {}, {"max_completion_tokens": 50}),
        ("chat", "mistral", {}, {"max_tokens": 50}),
        ("chat", "openai", {"max_tokens": 60}, {"max_tokens": 50}),
        ("chat", "openai", {"max_tokens": 60, "max_completion_tokens": 40},
         {"max_tokens": 50, "max_completion_tokens": 40}),
        ("chat", "openai", {"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": 50}),
        ("completions", "openai", {}, {"max_tokens": 50}),
        ("responses", "openai", {"max_output_tokens": 99}, {"max_output_tokens": 50}),
        ("messages", "anthropic", {"max_tokens": 99}, {"max_tokens": 50}),
        ("generateContent", "google", {}, {"generationConfig": {"maxOutputTokens": 50}}),
        ("generateContent", "google", {"generationConfig": {"temperature": 0}},
         {"generationConfig": {"temperature": 0, "maxOutputTokens": 50}}),
        ("generateContent", "google", {"generation_config": {"max_output_tokens": 99}},
         {"generation_config": {"max_output_tokens": 50}}),
    ],
)  # fmt: skip
def test_the_limit_stands_where_the_api_has_it(endpoint, provider, fields, expected):
    assert limited(50, endpoint, provider, **fields) == {"model": "m", **fields, **expected}


@pytest.mark.parametrize(
    ("most", "endpoint", "fields"),
    [
        (50, "embeddings", {"input": "a"}),
        (50, "chat", {"max_tokens": 50}),
        (50, "chat", {"max_tokens": 20}),
        (50, "chat", {"max_tokens": "many"}),
        (0, "chat", {"max_tokens": 20}),
        (15, "responses", {"max_output_tokens": 99}),
        (50, "messages", {"max_tokens": 99, "thinking": {"budget_tokens": 50}}),
    ],
)
def test_a_request_that_cannot_be_lowered_stays_as_it_is(most, endpoint, fields):
    assert limited(most, endpoint, **fields) is None


@pytest.mark.parametrize(
    ("endpoint", "provider", "fields", "answers"),
    [
        ("chat", "openai", {}, 1),
        ("chat", "openai", {"n": 3}, 3),
        ("chat", "openai", {"n": 3, "max_tokens": 10}, 3),
        ("completions", "openai", {"prompt": ["a", "b"], "best_of": 3, "max_tokens": 10}, 6),
        ("generateContent", "google", {"generationConfig": {"candidateCount": 2}}, 2),
    ],
)
def test_several_answers_share_what_is_left(endpoint, provider, fields, answers):
    assert answers_of(read(endpoint, provider, **fields)) == answers
