import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic, AuthenticationError, OverloadedError

from meter.simulator import Simulator
from tests.simulator.asking import ask

HELLO: Any = [{"role": "user", "content": "Say hello"}]
LONG: Any = {"type": "text", "text": "word " * 2000}
TOOL: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
def claude(simulator: Simulator) -> Iterator[Anthropic]:
    with Anthropic(base_url=simulator.url, api_key="sk-ant-alice", max_retries=0) as client:
        yield client


def marked(**control: str) -> Any:
    return [{**LONG, "cache_control": {"type": "ephemeral", **control}}]


def test_message_and_stream_say_and_cost_the_same(claude: Anthropic) -> None:
    asked: Any = {"model": "claude-x@output-20", "max_tokens": 100, "messages": HELLO}
    whole = claude.messages.create(**asked)
    # 4 for the start + 3 a message + "Say", " hello"
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (9, 20)
    assert whole.stop_reason == "end_turn"
    with claude.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
        final = stream.get_final_message()
    assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 20)
    assert final.usage.service_tier == "standard"


def test_usage_starts_in_full_and_ends_cumulative() -> None:
    body = {"model": "claude-x@output-20", "max_tokens": 100, "messages": HELLO, "stream": True}
    payloads = ask(None, "/v1/messages", body, headers={"x-api-key": "k"}).payloads()
    start, *_, delta, stop = payloads
    assert start["message"]["usage"] == {
        "input_tokens": 9,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    assert delta["usage"] == {
        "input_tokens": 9,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 20,
    }
    assert stop == {"type": "message_stop"}
    assert {"type": "ping"} in payloads


def test_marked_prefix_is_written_then_read_outside_the_input(
    claude: Anthropic, simulator: Simulator
) -> None:
    usages = [
        claude.messages.create(
            model="claude-x@output-20", max_tokens=100, system=marked(), messages=HELLO
        ).usage
        for _ in range(2)
    ]
    # 4 for the start + 2000 words and a blank are the prefix; 3 + 2 come after it.
    seen = [
        (one.input_tokens, one.cache_creation_input_tokens, one.cache_read_input_tokens)
        for one in usages
    ]
    assert seen == [(5, 2005, 0), (5, 0, 2005)]
    assert usages[0].cache_creation.ephemeral_5m_input_tokens == 2005
    quantities = simulator.books()["quantities"]
    assert quantities["input_tokens"] == 2 * 2010
    assert quantities["cache_read_tokens"] == 2005
    assert quantities["cache_write_tokens"] == 2005


def test_hour_long_writes_are_split_from_short_ones(claude: Anthropic) -> None:
    messages: Any = [{"role": "user", "content": marked()}]
    usage = claude.messages.create(
        model="claude-x", max_tokens=10, system=marked(ttl="1h"), messages=messages
    ).usage
    assert usage.cache_creation.ephemeral_1h_input_tokens == 2005
    assert usage.cache_creation.ephemeral_5m_input_tokens == 3 + 2001
    assert usage.input_tokens == 0


def test_short_prefix_is_not_cached(claude: Anthropic) -> None:
    system: Any = [{"type": "text", "text": "Be kind", "cache_control": {"type": "ephemeral"}}]
    usage = claude.messages.create(
        model="claude-x", max_tokens=10, system=system, messages=HELLO
    ).usage
    assert (usage.cache_creation_input_tokens, usage.input_tokens) == (0, 11)


def test_thinking_is_shown_and_inside_the_output(claude: Anthropic) -> None:
    message = claude.messages.create(
        model="claude-x@output-20",
        max_tokens=2000,
        messages=HELLO,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    thought = message.usage.output_tokens_details.thinking_tokens
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.usage.output_tokens == thought + 20
    assert thought > 0


def test_tool_is_used_whole_and_streamed(claude: Anthropic) -> None:
    asked: Any = {
        "model": "claude-x",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "What is the weather?"}],
        "tools": [TOOL],
    }
    whole = claude.messages.create(**asked)
    (block,) = whole.content
    assert (block.type, block.name, list(block.input)) == ("tool_use", "get_weather", ["city"])
    assert whole.stop_reason == "tool_use"
    with claude.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    assert final.content[0].input == block.input
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_limit_stops(claude: Anthropic) -> None:
    message = claude.messages.create(model="claude-x", max_tokens=5, messages=HELLO)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 5)


def test_tokens_are_counted_for_nothing(claude: Anthropic, simulator: Simulator) -> None:
    assert claude.messages.count_tokens(model="claude-x", messages=HELLO).input_tokens == 9
    assert simulator.books()["quantities"] == {}


def test_models_are_listed_in_its_own_shape(claude: Anthropic) -> None:
    assert all(model.id.startswith("claude") for model in claude.models.list())


def test_errors_have_its_own_shape(claude: Anthropic) -> None:
    with pytest.raises(OverloadedError) as overloaded:
        claude.messages.create(model="claude-x@status-529", max_tokens=5, messages=HELLO)
    assert overloaded.value.response.headers["retry-after"] == "1"
    with pytest.raises(AuthenticationError):
        claude.with_options(api_key="bad").messages.create(
            model="claude-x", max_tokens=5, messages=HELLO
        )


def test_error_in_the_middle_of_a_stream(simulator: Simulator) -> None:
    body = {"model": "c@error-after-2", "max_tokens": 50, "messages": HELLO, "stream": True}
    reply = ask(simulator.app, "/v1/messages", body, headers={"x-api-key": "k"})
    *_, last = reply.body.decode().strip().split("\n\n")
    name, line = last.split("\n")
    assert name == "event: error"
    assert json.loads(line[6:])["error"]["type"] == "api_error"
    assert simulator.books()["cut"] == 1


def test_user_is_read_from_metadata(claude: Anthropic, simulator: Simulator) -> None:
    claude.messages.create(
        model="claude-x", max_tokens=5, messages=HELLO, metadata={"user_id": "bob"}
    )
    assert simulator.books()["exchanges"][0]["user"] == "bob"


@pytest.mark.anyio
async def test_async_client_sees_the_same(simulator: Simulator) -> None:
    async with (
        AsyncAnthropic(base_url=simulator.url, api_key="k", max_retries=0) as client,
        client.messages.stream(
            model="claude-x@output-20", max_tokens=100, messages=HELLO
        ) as stream,
    ):
        final = await stream.get_final_message()
    assert final.usage.output_tokens == 20
