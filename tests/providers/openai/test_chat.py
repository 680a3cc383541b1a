"""Chat requests as they are read."""

import json
from typing import Any

import pytest

from meter.core.call import Attribution
from meter.providers.openai.chat import Chat
from meter.providers.registry import dialect_for, dialect_named
from tests.providers.answers import asking

OPENAI = dialect_named("openai")


def test_a_request_is_read() -> None:
    reading = asking(
        OPENAI, model="gpt-5", max_completion_tokens=100, n=3, service_tier="flex",
        safety_identifier="alice", metadata={"team": "search"}, messages=[],
    )  # fmt: skip
    assert (reading.provider, reading.endpoint, reading.model) == ("openai", "chat", "gpt-5")
    assert (reading.streaming, reading.free, reading.metered) == (False, False, True)
    assert reading.max_output_tokens == 300  # 100 × 3 choices
    assert reading.service_tier == "flex"
    assert reading.hint == Attribution("alice", (("team", "search"),))
    assert reading.request["messages"] == []
    assert (reading.body, reading.strip_usage, reading.defects) == (None, False, ())


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, None),
        ({"max_tokens": 50}, 50),
        ({"max_tokens": 50, "max_completion_tokens": 80}, 80),
        ({"max_tokens": None, "n": 4}, None),
        ({"max_tokens": 50, "n": None}, 50),
        ({"max_tokens": "50"}, None),
        ({"max_tokens": 50, "n": "4"}, None),
        ({"max_tokens": -1}, None),
        ({"max_tokens": 10**30}, None),
    ],
)
def test_the_output_is_bounded_by_the_request(fields: dict[str, Any], bound: int | None) -> None:
    assert asking(OPENAI, **fields).max_output_tokens == bound


def test_odd_bounds_are_told() -> None:
    assert asking(OPENAI, max_tokens="50", n=1.5).defects == (
        "found a str as max_tokens, expected a whole number",
        "found a float as n, expected a whole number",
    )


def test_azure_names_the_deployment_in_the_path() -> None:
    dialect = dialect_for("r.openai.azure.com")
    path = "/openai/deployments/my-gpt/chat/completions?api-version=2024-02-01"
    assert dialect.read("POST", path, None, b"{}").model == "my-gpt"
    assert dialect.read("POST", path, None, b'{"model": "gpt-4o"}').model == "gpt-4o"
    assert Chat().claims("/v1/chat/completions") == ""
    assert Chat().claims("/v1/completions") is None


# Asking for usage


def test_the_wish_for_usage_leaves_the_clients_bytes_as_they_are() -> None:
    body = b' {"model":"gpt-4o", "temperature":1.0,"stream":true,"seed":1e3}\n'
    reading = OPENAI.read("POST", "/v1/chat/completions", None, body)
    assert reading.body == (
        b' {"stream_options":{"include_usage":true},"model":"gpt-4o", '
        b'"temperature":1.0,"stream":true,"seed":1e3}\n'
    )
    assert reading.strip_usage
    # What the client sent is what is estimated.
    assert "stream_options" not in reading.request


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
    ],
)
def test_other_stream_options_are_kept(options: Any, sent: dict[str, Any]) -> None:
    fields = {"model": "m", "stream": True, "messages": [{"content": "é\u2028"}], "top_p": 0.1}
    reading = asking(OPENAI, **fields, stream_options=options)
    assert json.loads(reading.body or b"") == {**fields, "stream_options": sent}
    assert reading.strip_usage


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": False},
        {},
        {"stream": "true"},
        {"stream": 1},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": "odd"},
    ],
)
def test_usage_is_not_asked_for_without_need(fields: dict[str, Any]) -> None:
    reading = asking(OPENAI, **fields)
    assert (reading.body, reading.strip_usage) == (None, False)


@pytest.mark.parametrize(
    ("name", "asks"),
    [
        ("openai", True), ("xai", True), ("ollama", True), ("github", True), ("dashscope", True),
        ("mistral", False), ("perplexity", False), ("deepseek", False), ("groq", False),
        ("openrouter", False), ("anthropic", False), ("my-own-server", False),
    ],
)  # fmt: skip
def test_usage_is_asked_for_only_where_that_is_known_to_work(name: str, asks: bool) -> None:
    assert asking(dialect_named(name), stream=True).strip_usage is asks


@pytest.mark.parametrize(
    ("path", "fields", "asks"),
    [
        ("/openai/deployments/d/chat/completions?api-version=2024-08-01-preview", {}, False),
        ("/openai/deployments/d/chat/completions?api-version=2024-09-01-preview", {}, True),
        ("/openai/deployments/d/chat/completions?api-version=2025-01-01", {}, True),
        ("/openai/deployments/d/chat/completions", {}, False),
        ("/openai/v1/chat/completions", {}, True),
        ("/models/chat/completions?api-version=2024-05-01-preview", {}, False),
        (
            "/openai/deployments/d/chat/completions?api-version=2025-01-01",
            {"data_sources": [{}]},
            False,
        ),
    ],
)
def test_azure_is_asked_from_the_version_that_takes_it(
    path: str, fields: dict[str, Any], asks: bool
) -> None:
    azure = dialect_for("r.openai.azure.com")
    assert asking(azure, path, stream=True, **fields).strip_usage is asks
