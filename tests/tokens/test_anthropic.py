"""Messages requests: approximations with what is known of them."""

import pytest

from meter.tokens.anthropic import estimate
from meter.tokens.counting import count_text


def tokens(model="claude-haiku-4-5", **request):
    return estimate(request, model).tokens


def words(text):
    return count_text(text, "o200k_base")


HELLO = [{"role": "user", "content": "tiktoken is great!"}]  # 6 in o200k_base


def test_text():
    # 4 for the request, 3 a message, 1.12 * 6 = 6.72
    assert tokens(messages=HELLO) == 4 + 3 + 7
    # 1.12 * 12 = 13.44
    assert tokens(messages=HELLO, system=[{"type": "text", "text": "tiktoken is great!"}]) == 20


def test_tools():
    tool = {"name": "now", "input_schema": {"type": "object"}}
    schema = words('{"name":"now","input_schema":{"type":"object"}}')
    base = tokens(messages=HELLO)
    assert tokens(messages=HELLO, tools=[tool]) == base + 470 + 30 + round(1.35 * schema)
    old = tokens("claude-3-5-haiku-20241022", messages=HELLO, tools=[tool])
    assert old == base + 235 + 30 + round(1.35 * schema)


def test_calls_and_results():
    history = [
        {"role": "assistant", "content": [{"type": "tool_use", "name": "now", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": "late"}]},
    ]
    # 22 for each; "now", "{}" and "late" are a token each: 3.36.
    assert tokens(messages=history) == 4 + 6 + 44 + 3


def test_nested_results_and_documents_count():
    result = {"type": "tool_result", "content": [{"type": "text", "text": "tiktoken is great!"}]}
    plain = {"type": "document", "source": {"type": "text", "data": "tiktoken is great!"}}
    assert tokens(messages=[{"role": "user", "content": [result]}]) == 4 + 3 + 22 + 7
    assert tokens(messages=[{"role": "user", "content": [plain]}]) == 4 + 3 + 7


def test_thinking_of_earlier_turns_is_not_counted():
    thought = {"type": "thinking", "thinking": "long thoughts", "signature": "x" * 500}
    assert tokens(messages=[{"role": "assistant", "content": [thought]}]) == 7


def test_an_image():
    head = "iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAIAAADwf7zU"
    source = {"type": "base64", "media_type": "image/png", "data": head}
    # 1024 / 28 = 36.6: 37 * 37
    assert tokens(messages=[{"content": [{"type": "image", "source": source}]}]) == 7 + 1369


def test_nothing_is_exact_and_the_note_says_why():
    found = estimate({"messages": HELLO}, "claude-opus-4-6")
    assert not found.exact
    assert found.notes == (
        "The tokenizer of claude-opus-4-6 is not known; counted with o200k_base.",
    )


def test_hosted_tools_are_noted():
    tool = {"type": "web_search_20250305", "name": "web_search"}
    found = estimate({"messages": HELLO, "tools": [tool]}, "claude-opus-4-6")
    assert "web_search_20250305" in found.notes[1]


@pytest.mark.parametrize("odd", [None, 5, "x", [None, 5, "x", {"content": [[["x"]], 5, None]}]])
def test_odd_messages(odd):
    assert tokens(messages=odd, system=odd, tools=odd) >= 4


def test_deeply_nested_content_is_walked():
    content = "x"
    for _ in range(10_000):
        content = [{"type": "tool_result", "content": content}]
    assert tokens(messages=[{"content": content}]) >= 22 * 10_000
