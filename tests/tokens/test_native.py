"""Estimates for dialects without a formula of their own."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.tokens.estimates import estimate_input
from meter.tokens.native import FAMILIES

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
# "tiktoken is great!" is 6 tokens.
WORDS = "tiktoken is great!"
TOLD: dict[str, tuple[str, dict[str, Any], int]] = {
    "cohere 2": ("cohere.chat", {"messages": [{"role": "user", "content": WORDS}]}, 6),
    "cohere 1": (
        "cohere.chat", {"message": WORDS, "chat_history": [{"role": "USER", "message": WORDS}]}, 12
    ),
    "documents": (
        "cohere.chat",
        {"messages": [{"content": [{"type": "text", "text": WORDS}]}],
         "documents": [{"id": "d", "data": {"anything": WORDS}}]},
        12,
    ),
    "ollama": ("ollama.generate", {"prompt": WORDS, "system": WORDS, "template": WORDS}, 12),
    "rerank": ("rerank", {"query": WORDS, "documents": [WORDS, WORDS]}, 18),
    "embeddings": ("embed", {"texts": [WORDS], "input_type": "search_document"}, 6),
    "titan": ("invoke", {"inputText": WORDS, "textGenerationConfig": {"maxTokenCount": 9}}, 6),
    "gemini": ("embedContent", {"requests": [{"content": {"parts": [{"text": WORDS}]}}]}, 6),
    "an image": ("ollama.chat", {"messages": [{"content": WORDS, "images": ["aGk="]}]}, 266),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD)
def test_the_words_of_a_request_are_counted(case: str) -> None:
    endpoint, request, tokens = TOLD[case]
    counted = estimate_input(endpoint, request, "a-model")
    assert counted is not None
    assert (counted.tokens, counted.exact) == (tokens, False)
    assert counted.upper_bound >= tokens


def test_converse_counts_claude_as_anthropics_own_api_does() -> None:
    tool = {"name": "f", "description": WORDS, "input_schema": {"type": "object"}}
    own = {
        "system": [{"type": "text", "text": WORDS}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": WORDS}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "name": "f", "input": {"a": 1}}],
            },
        ],
        "tools": [tool],
    }
    converse = {
        "system": [{"text": WORDS}],
        "messages": [
            {"role": "user", "content": [{"text": WORDS}]},
            {"role": "assistant", "content": [{"toolUse": {"name": "f", "input": {"a": 1}}}]},
        ],
        "toolConfig": {"tools": [{"toolSpec": {
            "name": "f", "description": WORDS, "inputSchema": {"json": {"type": "object"}}}}]},
    }  # fmt: skip
    as_own = estimate_input("messages", own, CLAUDE)
    as_converse = estimate_input("converse", converse, CLAUDE)
    assert as_own is not None and as_converse is not None
    assert as_converse.tokens == as_own.tokens


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(sorted({
        "messages", "content", "toolUse", "toolResult", "toolConfig", "tools", "toolSpec", "text",
        "image", "source", "bytes", "document", "json", "data", "documents", "tool_calls", "role",
        "system", "inputSchema", "images", "prompt",
    })), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@pytest.mark.parametrize("endpoint", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(request_body=st.dictionaries(st.sampled_from(["messages", "system", "toolConfig", "tools",
                                                     "documents", "prompt"]), VALUES))  # fmt: skip
def test_no_request_is_raised_on(endpoint: str, request_body: dict[str, Any]) -> None:
    for model in (CLAUDE, "amazon.nova-lite-v1:0", ""):
        counted = estimate_input(endpoint, request_body, model)
        assert counted is not None and 0 <= counted.tokens <= counted.upper_bound
