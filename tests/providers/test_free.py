"""Calls that cost nothing."""

import pytest

from meter.core.reading import UNMETERED
from meter.providers.registry import dialect_named

FREE = [
    ("openai", "GET", "/v1/models", "models"),
    ("openai", "GET", "/v1/models/gpt-4o", "models"),
    ("anthropic", "GET", "/v1/models?limit=20", "models"),
    ("google", "GET", "/v1beta/models/gemini-2.5-pro", "models"),
    ("google", "POST", "/v1beta/models/gemini-2.5-pro:countTokens", "count_tokens"),
    ("anthropic", "POST", "/v1/messages/count_tokens?beta=true", "count_tokens"),
    ("openai", "POST", "/v1/responses/input_tokens", "count_tokens"),
    ("bedrock", "POST", "/model/anthropic.claude-sonnet-4-6/count-tokens", "count_tokens"),
    ("cohere", "POST", "/v1/tokenize", "count_tokens"),
    ("vertex", "POST", "/v1/publishers/google/models/m:computeTokens", "count_tokens"),
    ("openai", "POST", "/v1/moderations", "moderations"),
    ("openai", "GET", "/v1/files", "records"),
    ("openai", "DELETE", "/v1/files/file-1", "records"),
    ("openai", "GET", "/v1/responses", "records"),
    ("openai", "GET", "/v1/responses/resp_1", "responses.retrieve"),
    ("openai", "GET", "/v1/chat/completions/chatcmpl-1", "records"),
    ("openai", "GET", "/v1/batches/batch_1", "batches.retrieve"),
    ("openai", "POST", "/v1/files", "files"),
    ("openai", "GET", "/v1/files/file-1/content", "files.content"),
]
NOT_FREE = [
    ("openai", "GET", "/v1/realtime"),
    ("openai", "PUT", "/v1/models"),
    ("google", "POST", "/v1beta/models/m:explain"),
]


@pytest.mark.parametrize(("provider", "method", "path", "endpoint"), FREE)
def test_free_calls_are_known(provider: str, method: str, path: str, endpoint: str) -> None:
    reading = dialect_named(provider).read(method, path, None, b"")
    assert (reading.free, reading.endpoint, reading.metered) == (True, endpoint, True)


@pytest.mark.parametrize(("provider", "method", "path"), NOT_FREE)
def test_what_may_cost_something_is_unmetered(provider: str, method: str, path: str) -> None:
    reading = dialect_named(provider).read(method, path, None, b"")
    assert (reading.free, reading.endpoint) == (False, UNMETERED)
