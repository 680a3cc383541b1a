import json
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI

from meter.simulator import Simulator, SimulatorSettings, simulator_app
from tests.simulator.asking import HELLO, ask

WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "A city."},
                "unit": {"type": "string", "enum": ["c", "f"]},
            },
        },
    },
}
USAGE = {"include_usage": True}


def test_prompt_has_the_published_overheads(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o-mini@output-20", messages=HELLO)
    # 3 a message + "user" 1 + "Say", " hello" 2 + 3 for the start of the answer
    assert answer.usage.prompt_tokens == 9
    assert answer.usage.completion_tokens == 20
    assert answer.usage.total_tokens == 29
    assert answer.model == "gpt-4o-mini-2024-07-18"
    assert answer.choices[0].finish_reason == "stop"
    named = [{"role": "user", "name": "bob", "content": "Say hello"}]
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=named)
    assert answer.usage.prompt_tokens == 9 + 1 + 1


def test_tools_are_counted_by_the_published_formula(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[TOOL])
    # 7 + "get _ weather : Get ` the` ` weather`" 7, 3 for properties,
    # city 3 + "city : string : A ` city`" 6, unit 3 + "unit : string :" 4,
    # its enum -3 + 2 x (3 + 1), 12 at the end
    assert answer.usage.prompt_tokens == 9 + 7 + 7 + 3 + (3 + 6) + (3 + 4 + 5) + 12


def test_stream_says_the_same_as_the_whole(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_usage_comes_alone_at_the_end_when_asked_and_null_before(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o@output-5", messages=HELLO, stream=True, stream_options=USAGE
    )
    *before, last = list(stream)
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in before)
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (9, 5)
    # role, five tokens, finish
    assert len(before) == 7


def test_obfuscation_is_on_unless_declined() -> None:
    body = {"model": "m", "messages": HELLO, "stream": True}
    assert "obfuscation" in ask(None, "/v1/chat/completions", body).payloads()[0]
    body["stream_options"] = {"include_obfuscation": False}
    assert "obfuscation" not in ask(None, "/v1/chat/completions", body).payloads()[0]


def test_limit_ends_the_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=4)
    assert answer.usage.completion_tokens == 4
    assert answer.choices[0].finish_reason == "length"


def test_each_choice_is_billed_and_ends_for_itself(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="gpt-4o@output-6", messages=HELLO, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert whole.usage.completion_tokens == 18
    stream = client.chat.completions.create(
        model="gpt-4o@output-6", messages=HELLO, n=3, stream=True, stream_options=USAGE
    )
    texts = ["", "", ""]
    finishes = 0
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes += choice.finish_reason is not None
        if not chunk.choices:
            assert chunk.usage.completion_tokens == 18
    assert texts == [choice.message.content for choice in whole.choices]
    assert finishes == 3


def test_reasoning_is_hidden_and_inside_the_completion(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-5@output-10", messages=HELLO)
    reasoning = answer.usage.completion_tokens_details.reasoning_tokens
    assert reasoning > 0
    assert reasoning % 64 == 0
    assert answer.usage.completion_tokens == reasoning + 10
    calm = client.chat.completions.create(
        model="gpt-5@output-10", messages=HELLO, reasoning_effort="minimal"
    )
    assert calm.usage.completion_tokens == 10


def test_reasoning_can_use_up_the_whole_limit(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="o3", messages=HELLO, max_completion_tokens=50)
    assert answer.usage.completion_tokens == 50
    assert answer.usage.completion_tokens_details.reasoning_tokens == 50
    assert answer.choices[0].message.content == ""
    assert answer.choices[0].finish_reason == "length"


def test_tool_is_called_when_the_prompt_asks(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=WEATHER, tools=[TOOL])
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city", "unit"}
    assert answer.choices[0].finish_reason == "tool_calls"
    # The frame 7, "get _ weather" 3, and the 15 pieces of {"city": "Kyoto", "unit": "f"}, where
    # two signs are one piece and a blank before a sign is another: {" city ": _ " Kyoto ", _ " unit
    # ": _ " f "}
    assert answer.usage.completion_tokens == 7 + 3 + 15
    stream = client.chat.completions.create(
        model="gpt-4o", messages=WEATHER, tools=[TOOL], stream=True, stream_options=USAGE
    )
    arguments = ""
    for chunk in stream:
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or ():
                arguments += part.function.arguments
        if chunk.usage is not None:
            assert chunk.usage == answer.usage
    assert arguments == call.function.arguments


def test_tool_choice_forces_and_forbids(client: OpenAI) -> None:
    def finish(choice: Any) -> str:
        answer = client.chat.completions.create(
            model="gpt-4o", messages=HELLO, tools=[TOOL], tool_choice=choice
        )
        return answer.choices[0].finish_reason

    assert finish("required") == "tool_calls"
    assert finish({"type": "function", "function": {"name": "get_weather"}}) == "tool_calls"
    assert finish("auto") == "stop"
    assert finish("none") == "stop"


def test_tool_result_is_answered_in_words(client: OpenAI) -> None:
    messages: Any = [
        *WEATHER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "weather: fine"},
    ]
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[TOOL])
    assert answer.choices[0].message.content


def test_json_is_written_when_asked(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o", messages=HELLO, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(answer.choices[0].message.content), dict)
    schema: Any = {
        "type": "json_schema",
        "json_schema": {
            "name": "s",
            "schema": {"type": "object", "properties": {"age": {"type": "integer"}}},
        },
    }
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, response_format=schema)
    assert list(json.loads(answer.choices[0].message.content)) == ["age"]


def test_chinese_prompt_gets_a_chinese_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "你好"}]
    )
    assert any("一" <= character <= "鿿" for character in answer.choices[0].message.content)


def test_long_prompt_is_cached_the_second_time_in_whole_blocks(client: OpenAI) -> None:
    # 2000 words and the blank at the end: 2001; 3 + 1 beside it; 3 for the start.
    messages: Any = [{"role": "user", "content": "word " * 2000}]
    usages = [
        client.chat.completions.create(model="gpt-4o", messages=messages).usage for _ in range(2)
    ]
    assert [usage.prompt_tokens for usage in usages] == [2008, 2008]
    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages]
    # 2005 tokens were seen: 15 blocks of 128
    assert cached == [0, 1920]


def test_cache_belongs_to_the_key(client: OpenAI, simulator: Simulator) -> None:
    messages: Any = [{"role": "user", "content": "word " * 2000}]
    client.chat.completions.create(model="gpt-4o", messages=messages)
    other = client.with_options(api_key="sk-bob")
    usage = other.chat.completions.create(model="gpt-4o", messages=messages).usage
    assert usage.prompt_tokens_details.cached_tokens == 0


def test_newest_models_report_what_they_wrote_into_the_cache(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "word " * 2000}]
    details = [
        client.chat.completions.create(
            model="gpt-6-astra", messages=messages
        ).usage.prompt_tokens_details
        for _ in range(2)
    ]
    assert [(one.cached_tokens, one.cache_write_tokens) for one in details] == [
        (0, 1920),
        (1920, 0),
    ]


def test_callers_tokenizer_is_obeyed() -> None:
    app = simulator_app(SimulatorSettings(count=len))
    body = {"model": "m", "messages": HELLO, "max_tokens": 30}
    answer = ask(app, "/v1/chat/completions", body).json()
    text = answer["choices"][0]["message"]["content"]
    # 3 + "user" 4 characters + "Say hello" 9 + 3
    assert answer["usage"]["prompt_tokens"] == 19
    assert answer["usage"]["completion_tokens"] == len(text)
    assert 20 < len(text) <= 30


def test_service_tier_served_is_reported(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, service_tier="priority")
    assert answer.service_tier == "priority"


@pytest.mark.parametrize(
    "wrong", [{"messages": []}, {"max_tokens": 0}, {"n": 0}, {"n": 1000}, {"messages": "hi"}]
)
def test_wrong_requests_are_refused(client: OpenAI, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        client.chat.completions.create(**{"model": "gpt-4o", "messages": HELLO, **wrong})


@pytest.mark.anyio
async def test_async_client_sees_the_same(simulator: Simulator) -> None:
    async with AsyncOpenAI(base_url=f"{simulator.url}/v1", api_key="sk", max_retries=0) as client:
        whole = await client.chat.completions.create(model="gpt-4o@output-5", messages=HELLO)
        text = ""
        stream = await client.chat.completions.create(
            model="gpt-4o@output-5", messages=HELLO, stream=True
        )
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    assert text == whole.choices[0].message.content
    assert simulator.books()["quantities"]["output_tokens"] == 10
