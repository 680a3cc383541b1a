"""Responses requests: items, flat functions, hosted tools, sealed reasoning."""

import pytest

from meter.tokens.counting import count_text
from meter.tokens.responses import estimate

NOW = {"type": "function", "name": "now", "description": "Tell the time"}
NOW_TEXT = (
    "# Tools\n\n## functions\n\nnamespace functions {\n\n"
    "// Tell the time\ntype now = () => any;\n\n} // namespace functions"
)
USER = {"role": "user", "content": [{"type": "input_text", "text": "Hello!"}]}
CALL = {"type": "function_call", "call_id": "c", "name": "now", "arguments": '{"zone": "UTC"}'}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "late"}


def tokens(model, given="Hello!", **request):
    return estimate({"input": given, **request}, model).tokens


def size(text):
    return count_text(text, "o200k_base")


@pytest.mark.parametrize(("model", "count"), [("gpt-4.1", 9), ("gpt-5.4", 8), ("o4-mini", 8)])
def test_text_is_a_message_of_the_user(model, count):
    assert tokens(model) == count
    assert tokens(model, [USER]) == count


def test_instructions_are_a_system_message():
    # 3 + "system" 1 + "Be" " terse" 2
    assert tokens("gpt-4.1", instructions="Be terse") == 9 + 6


def test_functions():
    # Three tokens less than the text where it stands alone or behind the instructions.
    assert tokens("gpt-4.1", tools=[NOW]) == 9 + size(NOW_TEXT) - 3
    joined = size(f"Be terse\n\n{NOW_TEXT}") - 3
    assert tokens("gpt-4.1", instructions="Be terse", tools=[NOW]) == 9 + 4 + joined
    # The gpt-5 family has them in a message of their own, whatever the instructions are.
    assert tokens("gpt-5.4", tools=[NOW]) == 8 + size(NOW_TEXT) + 3
    assert tokens("gpt-5.4", instructions="Be terse", tools=[NOW]) == 8 + 6 + size(NOW_TEXT) + 3


def test_gpt_5_is_told_to_make_calls_one_by_one():
    plain = tokens("gpt-5-nano", tools=[NOW])
    assert tokens("gpt-5-nano", tools=[NOW], parallel_tool_calls=False) == plain + 78
    assert tokens("gpt-5-nano", parallel_tool_calls=False) == tokens("gpt-5-nano")


def test_a_call_and_its_result():
    # Call: 4 + 2 + ".now" 1 + arguments 5 + "functions.now" 2; result: 3 + 1 + 1.
    assert tokens("gpt-4.1", [USER, CALL, RESULT]) == 9 + 14 + 5
    # With 2 for the answer and 7 more for the call; three less before gpt-5.4.
    assert tokens("gpt-5.4", [USER, CALL, RESULT]) == 8 + 14 + 2 + 7 + 5
    assert tokens("gpt-5-nano", [USER, CALL, RESULT]) == 8 + 14 + 2 + 4 + 5


def test_calls_made_at_once_stand_each_for_itself():
    both = [USER, CALL, CALL, RESULT, RESULT]
    assert tokens("gpt-4.1", both) == 9 + 2 * (14 + 5)
    apart = [USER, CALL, RESULT, CALL, RESULT]
    assert tokens("gpt-5.4", both) == tokens("gpt-5.4", apart) + 2 * 5


def test_a_response_format():
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted = {"format": {"type": "json_schema", "name": "person", "schema": schema}}
    shown = size(
        "# Response Formats\n\n## person\n\n"
        '{"type":"object","properties":{"age":{"type":"integer"}}}'
    )
    assert tokens("gpt-4.1", text=wanted) == 9 + 1 + shown
    assert tokens("gpt-5.4", text=wanted) == 8 + shown
    assert tokens("gpt-4.1", text={"format": {"type": "text"}}) == 9


def test_sealed_reasoning_counts_until_the_user_speaks_again():
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": "x" * 1_910}
    without = tokens("gpt-5-nano", [USER, CALL, RESULT])
    # 0.16 tokens for each of the 1,000 characters beyond 910.
    assert tokens("gpt-5-nano", [USER, sealed, CALL, RESULT]) == without + 160
    after = [USER, sealed, CALL, RESULT, USER]
    assert tokens("gpt-5-nano", after) == without + 6
    assert not estimate({"input": [USER, sealed, CALL, RESULT]}, "gpt-5-nano").exact


def test_hosted_tools_are_noted():
    found = estimate({"input": "Hello!", "tools": [{"type": "web_search"}]}, "gpt-4.1")
    assert found.tokens == 9 + 294
    assert not found.exact
    assert found.notes == ("What hosted tools read is not counted: web_search.",)


def test_stored_history_is_noted():
    found = estimate({"input": "Hello!", "previous_response_id": "resp_1"}, "gpt-4.1")
    assert not found.exact
    assert found.notes == (
        "Counted without `previous_response_id`: the provider keeps the history of this "
        "conversation.",
    )


def test_plain_text_is_exact():
    assert estimate({"input": "Hello!"}, "gpt-4.1").exact


@pytest.mark.parametrize("odd", [None, 7, {}, [None, 1, "x", {"type": "function_call"}], [[]]])
def test_odd_input_is_counted_as_little(odd):
    assert 3 <= tokens("gpt-4.1", odd) < 20


def test_an_output_of_parts_and_one_of_json():
    parts = [{"type": "input_text", "text": "late"}]
    assert tokens("gpt-4.1", [{**RESULT, "output": parts}]) == 3 + 5
    # {"a":1} is `{"`, `a`, `":`, `1`, `}`.
    assert tokens("gpt-4.1", [{**RESULT, "output": {"a": 1}}]) == 3 + 4 + 5


def test_a_call_that_goes_back_with_its_id_costs_three_tokens_more():
    call = {"type": "function_call", "name": "now", "arguments": "{}"}
    plain = estimate({"input": [call]}, "gpt-4.1").tokens
    assert estimate({"input": [{**call, "id": "fc_1"}]}, "gpt-4.1").tokens == plain + 3
    assert estimate({"input": [{**call, "id": "fc_1"}]}, "gpt-5").tokens == (
        estimate({"input": [call]}, "gpt-5").tokens
    )
