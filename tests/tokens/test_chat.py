"""Chat requests: published counts, and prompts whose every token is accounted for."""

import pytest

from meter.tokens.chat import estimate
from meter.tokens.counting import count_text

JARGON = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate "
        "jargon into plain English.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "New synergies will help drive top-line growth.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities "
        "for increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client "
        "deliverable.",
    },
]
WEATHER = [
    {
        "role": "system",
        "content": "You are a helpful assistant that can answer to questions about the weather.",
    },
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {
                    "type": "string",
                    "description": "The city and state, e.g. San Francisco, CA",
                },
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}
HELLO = [{"role": "user", "content": "Hello!"}]  # "Hello" "!" in both encodings
NOW = {"type": "function", "function": {"name": "now", "description": "Tell the time"}}


def tokens(model, messages=HELLO, **request):
    return estimate({"messages": messages, **request}, model).tokens


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("gpt-3.5-turbo", 129),
        ("gpt-4", 129),
        ("gpt-4-0613", 129),
        ("gpt-4o", 124),
        ("gpt-4o-mini", 124),
        ("gpt-3.5-turbo-0301", 127),
    ],
)
def test_the_cookbooks_messages(model, count):
    # OpenAI's cookbook publishes these counts as those of the API.
    found = estimate({"messages": JARGON}, model)
    assert found.tokens == count
    assert found.exact
    assert found.notes == ()


@pytest.mark.parametrize(
    ("model", "count"),
    [("gpt-3.5-turbo", 105), ("gpt-4", 105), ("gpt-4o", 101), ("gpt-4o-mini", 101)],
)
def test_the_cookbooks_tools(model, count):
    found = estimate({"messages": WEATHER, "tools": [WEATHER_TOOL]}, model)
    assert (found.tokens, found.exact) == (count, True)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("gpt-4o", 9),  # message 3 + "user" 1 + text 2 + reply 3
        ("gpt-5", 8),  # reply 2
        ("o3-mini", 8),
        ("gpt-3.5-turbo-0301", 10),  # message 4
    ],
)
def test_a_hello(model, count):
    assert tokens(model) == count


def test_an_answer_in_the_history_costs_two_more_with_gpt_5():
    history = [*HELLO, {"role": "assistant", "content": "Hello!"}, *HELLO]
    assert tokens("gpt-4o", history) == 3 * 6 + 3
    assert tokens("gpt-5", history) == 3 * 6 + 2 + 2


def test_neighbouring_text_parts_are_one_text():
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo!"}]
    assert tokens("gpt-4o", [{"role": "user", "content": parts}]) == 9


def test_functions_stand_behind_the_system_message():
    system = {"role": "system", "content": "Be terse"}
    text = (
        "Be terse\n\n# Tools\n\n## functions\n\nnamespace functions {\n\n"
        "// Tell the time\ntype now = () => any;\n\n} // namespace functions"
    )
    expected = 3 + 1 + count_text(text, "o200k_base") - 1 + 6 + 3
    assert tokens("gpt-4o", [system, *HELLO], tools=[NOW]) == expected
    assert tokens("gpt-4o", [system, *HELLO], functions=[NOW["function"]]) == expected


def test_functions_without_a_system_message_stand_in_their_own():
    text = (
        "# Tools\n\n## functions\n\nnamespace functions {\n\n"
        "// Tell the time\ntype now = () => any;\n\n} // namespace functions"
    )
    own = 4 + count_text(text, "o200k_base") - 1
    assert tokens("gpt-4o", tools=[NOW]) == 9 + own
    # 82 more for what the gpt-5 family is told beside functions.
    assert tokens("gpt-5", tools=[NOW]) == 8 + own + 82


def test_naming_a_function_and_forbidding_all():
    plain = tokens("gpt-4o", tools=[NOW])
    named = {"type": "function", "function": {"name": "now"}}
    # "functions" ".now" and six around it.
    assert tokens("gpt-4o", tools=[NOW], tool_choice=named) == plain + 8
    assert tokens("gpt-4o", tools=[NOW], tool_choice="none") == plain + 1
    assert tokens("gpt-4o", tools=[NOW], tool_choice="auto") == plain
    assert tokens("gpt-4o", tool_choice="none") == 9
    assert tokens("gpt-5", tools=[NOW], tool_choice=named) == tokens("gpt-5", tools=[NOW])


def call(name, arguments):
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_call_and_its_result():
    history = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call("now", '{"zone": "UTC"}')]},
        {"role": "tool", "tool_call_id": "c", "name": "now", "content": "late"},
    ]
    # Compact arguments {" zone ":" UTC "} are 5; "functions.now" one beyond "functions"; "now" 1.
    # Messages: 6 + (3 + 1) + (3 + 1 + 1), the call 5 + 1 + 1 + 5, the reply 3.
    assert tokens("gpt-4o", history) == 6 + 4 + 5 + 12 + 3
    assert tokens("gpt-5", history) == 6 + (4 + 2) + 5 + (9 + 1 + 1 + 5) + 2


def test_calls_made_at_once_are_one_call_with_a_list_of_results():
    history = [
        *HELLO,
        {"role": "assistant", "tool_calls": [call("now", '{"z": 1}'), call("now", "{}")]},
        {"role": "tool", "tool_call_id": "1", "content": "noon"},
        {"role": "tool", "tool_call_id": "2", "content": "midnight"},
        *HELLO,
    ]
    uses = (
        '{"tool_uses":[{"recipient_name":"functions.now","parameters":{"z":1}},'
        '{"recipient_name":"functions.now","parameters":{}}]}'
    )
    at_once = 16 + count_text(uses, "o200k_base") + count_text('["noon", "midnight"]', "o200k_base")
    assert tokens("gpt-4o", history) == 6 + 4 + at_once + 6 + 3


def test_a_response_format():
    schema = {
        "type": "object",
        "properties": {"required": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
        "required": ["required", "age"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    # What only guides the decoding is not shown; a property of that name is.
    text = (
        '# Response Formats\n\n## person\n\n{"type":"object","properties":'
        '{"required":{"type":"string"},"age":{"type":"integer"}}}'
    )
    shown = count_text(text, "o200k_base")
    # Its own message 4, and the answer names the format: 2 + "person".
    assert tokens("gpt-4o", response_format=wanted) == 9 + 4 + shown + 3
    assert tokens("gpt-5", response_format=wanted) == 8 + 4 + shown
    assert tokens("gpt-4o", response_format={"type": "json_object"}) == 9


def test_an_inline_image():
    # The first bytes of a PNG of 1024 x 1024: 85 + 4 * 170 with gpt-4o.
    head = "iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAIAAADwf7zU"
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{head}"}}
    words = [{"role": "user", "content": [{"type": "text", "text": "Hello!"}, part]}]
    found = estimate({"messages": words}, "gpt-4o")
    assert found.tokens == 9 + 765
    assert not found.exact
    part["image_url"]["detail"] = "low"
    assert tokens("gpt-4o", words) == 9 + 85


def test_an_unpublished_model_is_no_exact_count():
    found = estimate({"messages": HELLO}, "gpt-6-astra")
    assert (found.tokens, found.exact) == (8, False)
    assert "not published" in found.notes[0]


def test_other_makers_are_approximated():
    found = estimate({"messages": HELLO, "tools": [NOW]}, "mistral-small-latest")
    assert 0 < found.tokens < found.upper_bound
    assert not found.exact
    assert "mistral-small-latest is not known" in found.notes[0]


def test_the_bound_is_above_every_reading_of_the_bytes():
    request = {"messages": [{"role": "user", "content": "😀" * 1_000}]}
    found = estimate(request, "gpt-4o")
    assert found.upper_bound >= 4_000 >= found.tokens
    assert found.upper_bound < 4_000 + 1_000


@pytest.mark.parametrize("odd", [None, 1, "x", [1, None, "x", []], {"a": 1}, [{"content": 5}]])
def test_odd_messages_are_counted_as_nothing(odd):
    assert estimate({"messages": odd}, "gpt-4o").tokens >= 3


def test_arguments_that_are_not_json_count_as_they_are():
    history = [{"role": "assistant", "tool_calls": [call("now", "{oops")]}]
    assert tokens("gpt-4o", history) == 4 + 5 + 1 + 1 + count_text("{oops", "o200k_base") + 3


def test_only_the_ends_of_a_long_system_message_are_counted_again():
    long = "Be terse. Answer in words. " * 1_000 + "Be quick."
    text = (
        f"{long}\n\n# Tools\n\n## functions\n\nnamespace functions {{\n\n"
        "// Tell the time\ntype now = () => any;\n\n} // namespace functions"
    )
    messages = [{"role": "system", "content": long}, *HELLO]
    assert tokens("gpt-4o", messages, tools=[NOW]) == 4 + count_text(text, "o200k_base") - 1 + 9
    headed = f"# Instructions\n\n{text}"
    expected = 4 + count_text(headed, "o200k_base") - 1 + 82 + 8
    assert tokens("gpt-5", messages, tools=[NOW]) == expected


def test_a_long_system_message_without_words_is_counted():
    messages = [{"role": "system", "content": "0" * 10_000}, *HELLO]
    plain = tokens("gpt-4o", messages)
    assert plain < tokens("gpt-4o", messages, tools=[NOW]) < plain + 40
