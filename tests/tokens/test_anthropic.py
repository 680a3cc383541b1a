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
    # 4.3 for the request, 2.46 a message, 1.058 * 6 and 0.178 for a mark: 13.286
    assert tokens(messages=HELLO) == 13
    # 6.526 more
    assert tokens(messages=HELLO, system=[{"type": "text", "text": "tiktoken is great!"}]) == 20


def test_tools():
    tool = {"name": "now", "input_schema": {"type": "object"}}
    schema = words('{"name":"now","input_schema":{"type":"object"}}')
    base = 13.286 + 7.2 + 1.27 * schema
    assert tokens(messages=HELLO, tools=[tool]) == round(base + 498)
    old = tokens("claude-3-5-haiku-20241022", messages=HELLO, tools=[tool])
    assert old == round(base + 264)


def test_what_is_told_about_tools_depends_on_the_choice():
    tool = {"name": "now", "input_schema": {"type": "object"}}
    free = tokens(messages=HELLO, tools=[tool])
    must = tokens(messages=HELLO, tools=[tool], tool_choice={"type": "any"})
    single = {"type": "auto", "disable_parallel_tool_use": True}
    assert must - free == 600 - 498
    assert free - tokens(messages=HELLO, tools=[tool], tool_choice=single) == 208


def test_thinking_is_told_about():
    assert tokens(messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}) == 13 + 29
    assert tokens(messages=HELLO, thinking={"type": "disabled"}) == 13


def test_calls_and_results():
    history = [
        {"role": "assistant", "content": [{"type": "tool_use", "name": "now", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": "late"}]},
    ]
    # 4.3 + 2 * 2.46; a call of 39.2, 1.06 for each of "now" and "{}", 1.69 for each brace; 1.058
    # for "late"; 498 for what is told about tools: 552.978.
    assert tokens(messages=history) == 553


def test_nested_results_and_documents_count():
    result = {"type": "tool_result", "content": [{"type": "text", "text": "tiktoken is great!"}]}
    plain = {"type": "document", "source": {"type": "text", "data": "tiktoken is great!"}}
    assert tokens(messages=[{"role": "user", "content": [result]}]) == 13
    assert tokens(messages=[{"role": "user", "content": [plain]}]) == 13


def test_thinking_of_earlier_turns_is_not_counted():
    thought = {"type": "thinking", "thinking": "long thoughts", "signature": "x" * 500}
    assert tokens(messages=[{"role": "assistant", "content": [thought]}]) == 7


def test_an_image():
    head = "iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAIAAADwf7zU"
    source = {"type": "base64", "media_type": "image/png", "data": head}
    # 1024 / 28 = 36.6: 37 * 37, and 3 around it; 6.76 for request and message.
    assert tokens(messages=[{"content": [{"type": "image", "source": source}]}]) == 1379


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
    content = []
    for _ in range(10_000):
        content = [{"type": "tool_result", "content": [{"type": "text", "text": "x"}, *content]}]
    assert tokens(messages=[{"content": content}]) >= 10_000
