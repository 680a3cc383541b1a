"""Whatever a request is, it gets an estimate, and the bound is above it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.tokens.estimates import InputEstimate, estimate_input

ENDPOINTS = ["chat", "completions", "responses", "embeddings", "messages", "generateContent"]
FIELDS = [
    "messages", "prompt", "suffix", "input", "instructions", "system", "contents", "tools",
    "functions", "tool_choice", "function_call", "response_format", "text", "systemInstruction",
    "output_format", "content", "role", "type", "name", "parts", "tool_calls", "arguments",
    "parameters", "properties", "items", "anyOf", "enum", "required", "description", "$ref",
    "image_url", "url", "source", "data", "inlineData", "format", "json_schema", "schema",
    "encrypted_content", "output", "parallel_tool_calls", "file", "file_data", "input_audio",
]  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([
        "user", "assistant", "tool", "system", "function", "function_call", "reasoning", "text",
        "image_url", "file", "object", "array", "#/properties/items", "{}", "none", "json_schema",
        "function_call_output", "data:image/png;base64,iVBORw0KGgo", "web_search", "\ud800",
    ])
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
        | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=40,
)


def test_hello():
    request = {"messages": [{"role": "user", "content": "Hello!"}]}
    found = estimate_input("chat", request, "gpt-4o")
    assert isinstance(found, InputEstimate)
    assert (found.tokens, found.encoding, found.exact, found.notes) == (9, "o200k_base", True, ())


def test_an_endpoint_without_formulas_has_no_estimate():
    assert estimate_input("images", {"prompt": "x"}, "gpt-image-1") is None
    assert estimate_input("", {}, "") is None


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@settings(max_examples=60)
@given(
    request=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), model=st.text(max_size=8)
)
def test_any_json_gets_an_estimate(endpoint, request, model):
    for name in (model, "gpt-5.4"):
        found = estimate_input(endpoint, request, name)
        assert 0 <= found.tokens <= found.upper_bound


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("inner", ["content", "properties", "anyOf"])
def test_any_depth_gets_an_estimate(endpoint, inner):
    arrays, objects = "x", "x"
    for _ in range(10_000):
        arrays = [arrays]
        objects = {inner: objects, "type": "object", "role": "user"}
    tool = {"type": "function", "function": {"name": "f", "parameters": objects}, "name": "f"}
    request = {
        "messages": [objects, {"role": "user", "content": arrays}],
        "input": [objects, arrays],
        "contents": [objects],
        "prompt": arrays,
        "tools": [tool, {**tool, "parameters": objects}],
        "response_format": {"json_schema": {"schema": objects}},
        "text": {"format": {"schema": objects}},
    }
    found = estimate_input(endpoint, request, "gpt-4.1")
    assert 0 <= found.tokens <= found.upper_bound


def test_a_huge_request_is_estimated_in_time():
    messages = [{"role": "user", "content": f"message {number} " * 200} for number in range(2_000)]
    found = estimate_input("chat", {"messages": messages}, "gpt-4o")
    assert 800_000 < found.tokens < found.upper_bound


def test_the_bound_of_plain_text_is_its_bytes_and_little_more():
    request = {"messages": [{"role": "user", "content": "word " * 10_000}]}
    found = estimate_input("chat", request, "gpt-4o")
    assert found.upper_bound < 50_000 + 500
    assert found.upper_bound >= len(json.dumps(request)) - 100


def test_a_deployment_that_hides_its_model_is_one_of_openai_s_there():
    request = {"messages": [{"role": "user", "content": "tiktoken is great!"}]}
    found = estimate_input("chat", request, "our-deployment", "azure")
    # 3 + "user" + 6 + 3
    assert found.tokens == 13
    assert not found.exact
    assert found.notes == ("The model behind our-deployment is not known; counted as gpt-4o.",)
    # A name that tells another maker is believed, wherever it runs.
    other = estimate_input("chat", request, "grok-4-fast", "azure")
    assert other.tokens == estimate_input("chat", request, "grok-4-fast").tokens


def test_what_a_provider_puts_before_every_prompt_is_added():
    request = {"messages": [{"role": "user", "content": "tiktoken is great!"}]}
    plain = estimate_input("chat", request, "grok-4.3")
    assert estimate_input("chat", request, "grok-4.3", "xai").tokens == plain.tokens + 130


def test_a_result_that_shows_an_image_has_a_smaller_frame():
    head = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAIAAAACACAYAAADDPmHL"
    parts = [{"type": "image_url", "image_url": {"url": head}}]
    asked = {"messages": [{"role": "user", "content": parts}]}
    given = {"messages": [{"role": "tool", "content": parts}]}
    # 16 patches * 1.5 + 1 = 25, of which 16 are taken off; "user" and "tool" are a token each.
    as_asked, as_given = (estimate_input("chat", r, "gpt-5-nano").tokens for r in (asked, given))
    assert as_asked - as_given == 16
