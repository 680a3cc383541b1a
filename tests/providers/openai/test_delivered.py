"""The output of chat answers, piece by piece."""

from typing import Any

from meter.providers.openai.delivered import ChatOutput
from tests.providers.answers import Recorder, delta


def delivered(*payloads: dict[str, Any]) -> Recorder:
    output, sink = ChatOutput(), Recorder()
    for payload in payloads:
        output.deliver(payload, sink)
    return sink


def call(index: int, call_id: str | None = None, **function: str) -> dict[str, Any]:
    identity = {} if call_id is None else {"id": call_id, "type": "function"}
    return {"index": index, **identity, "function": function}


def test_a_streamed_tool_call_begins_once() -> None:
    sink = delivered(
        {"choices": [delta(tool_calls=[call(0, "c0", name="look", arguments="")])]},
        {"choices": [delta(tool_calls=[call(0, arguments='{"a":')])]},
        {"choices": [delta(tool_calls=[call(0, arguments="1}")])]},
        {"choices": [delta(tool_calls=[call(1, "c1", name="find", arguments="{}")])]},
    )
    assert sink.tool_calls == [0, 0]
    assert sink.joined("tool_name") == "lookfind"
    assert sink.joined("tool_arguments") == '{"a":1}{}'


def test_an_id_that_is_repeated_is_the_same_call() -> None:
    sink = delivered(
        {"choices": [delta(tool_calls=[call(0, "c0", name="f", arguments="{")])]},
        {"choices": [delta(tool_calls=[call(0, "c0", arguments="}")])]},
    )
    assert sink.tool_calls == [0]


def test_another_id_under_the_same_number_is_another_call() -> None:
    sink = delivered(
        {"choices": [delta(tool_calls=[call(0, "c0", name="f", arguments="{}")])]},
        {"choices": [delta(tool_calls=[call(0, "c1", name="g", arguments="{}")])]},
    )
    assert sink.tool_calls == [0, 0]


def test_calls_of_a_body_need_no_number() -> None:
    calls = [{"function": {"name": "f", "arguments": "{}"}}] * 2
    sink = delivered({"choices": [{"index": 0, "message": {"tool_calls": calls}}]})
    assert sink.tool_calls == [0, 0]


def test_a_legacy_function_call_is_one_tool_call() -> None:
    sink = delivered(
        {"choices": [delta(function_call={"name": "f", "arguments": ""})]},
        {"choices": [delta(function_call={"arguments": "{}"})]},
    )
    assert sink.tool_calls == [0]
    assert (sink.joined("tool_name"), sink.joined("tool_arguments")) == ("f", "{}")


def test_a_custom_tool_has_input() -> None:
    message = {"tool_calls": [{"id": "c", "custom": {"name": "sql", "input": "select 1"}}]}
    sink = delivered({"choices": [{"message": message}]})
    assert sink.joined("tool_arguments") == "select 1"


def test_reasoning_is_taken_once_under_whatever_name() -> None:
    sink = delivered(
        {"choices": [delta(reasoning_content="a", reasoning="a")]},
        {"choices": [delta(reasoning="b", reasoning_details=[{"text": "b"}])]},
    )
    assert sink.joined("reasoning") == "ab"


def test_content_in_parts_is_taken_apart() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hi"},
        {"type": "refusal", "refusal": "No"},
        {"type": "image_url", "image_url": "x"},
    ]
    sink = delivered({"choices": [{"message": {"content": content}}]})
    assert sink.pieces == [(0, "reasoning", "hm"), (0, "content", "Hi"), (0, "refusal", "No")]


def test_a_message_beside_its_deltas_is_not_counted_again() -> None:
    sink = delivered(
        {"choices": [{**delta(content="Hi"), "message": {"content": "Hi"}}]},
        {"choices": [{**delta(content="!"), "message": {"content": "Hi!"}}]},
        {"choices": [{**delta("stop", content=""), "message": {"content": "Hi!"}}]},
    )
    assert sink.joined("content") == "Hi!"


def test_an_empty_delta_beside_a_message_does_not_hide_it() -> None:
    empty = {"role": "assistant", "content": ""}
    sink = delivered({"choices": [{"message": {"content": "Hi"}, "delta": empty}]})
    assert sink.joined("content") == "Hi"
