"""Anthropic's messages: requests, streams and bodies."""

import json
from typing import Any

import pytest

from meter.core.usage import Usage
from meter.providers.registry import dialect_named
from tests.providers.answers import JSON, Recorder, asking, event, observe

ANTHROPIC = dialect_named("anthropic")
PATH = "/v1/messages"
STARTED = {
    "input_tokens": 10, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 5,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "output_tokens": 1, "service_tier": "standard", "inference_geo": "us",
}  # fmt: skip
STREAM = [
    event({"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-5",
        "content": [], "stop_reason": None, "usage": STARTED}}),
    event({"type": "content_block_start", "index": 0,
           "content_block": {"type": "thinking", "thinking": ""}}),
    event({"type": "ping"}),
    event({"type": "content_block_delta", "index": 0,
           "delta": {"type": "thinking_delta", "thinking": "Hm."}}),
    event({"type": "content_block_delta", "index": 1,
           "delta": {"type": "text_delta", "text": "Hi"}}),
    event({"type": "content_block_start", "index": 2,
           "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}),
    event({"type": "content_block_delta", "index": 2,
           "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}}),
    event({"type": "content_block_stop", "index": 2}),
    event({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
           "usage": {"output_tokens": 7, "cache_read_input_tokens": 5}}),
    event({"type": "message_stop"}),
]  # fmt: skip
# 10 + 30 + 5 = 45
INPUT = {
    "input_tokens": 45, "cache_read_tokens": 5, "cache_write_tokens": 30,
    "cache_write_5m_tokens": 10, "cache_write_1h_tokens": 20,
}  # fmt: skip
USAGE = Usage(INPUT, output_tokens=7)
PIECES = [
    (0, "reasoning", "Hm."), (0, "content", "Hi"), (0, "tool_name", "f"),
    (0, "tool_arguments", '{"a":1}'),
]  # fmt: skip
STREAMED = asking(ANTHROPIC, PATH, stream=True, max_tokens=100)


def test_a_request_is_read() -> None:
    reading = asking(
        ANTHROPIC, PATH, model="claude-opus-4-5", max_tokens=100, stream=True,
        service_tier="standard_only", metadata={"user_id": "alice"},
    )  # fmt: skip
    assert (reading.endpoint, reading.model) == ("messages", "claude-opus-4-5")
    assert (reading.streaming, reading.max_output_tokens) == (True, 100)
    assert (reading.service_tier, reading.hint.subject) == ("standard", "alice")
    assert (reading.body, reading.strip_usage) == (None, False)
    assert asking(ANTHROPIC, PATH, speed="fast").service_tier == "fast"
    assert asking(ANTHROPIC, PATH, metadata=7).hint.subject is None
    assert asking(ANTHROPIC, PATH, max_tokens="9").defects != ()


def test_a_stream_keeps_the_split_of_its_start_and_the_totals_of_its_end() -> None:
    seen, given = observe(ANTHROPIC, STREAMED, STREAM)
    assert (seen.usage, seen.running, seen.finished) == (USAGE, None, True)
    assert (seen.model_served, seen.response_id) == ("claude-opus-4-5", "msg_1")
    assert (seen.service_tier, seen.traits) == ("standard", (("inference_geo", "us"),))
    assert given == b"".join(STREAM)


def test_the_end_is_told_by_message_stop() -> None:
    observer = ANTHROPIC.observe(STREAMED)
    observer.start(200, {"content-type": "text/event-stream"})
    for piece in STREAM[:-1]:
        observer.feed(piece)
        assert not observer.ended
    observer.feed(STREAM[-1])
    assert observer.ended


@pytest.mark.parametrize("end", range(1, len(STREAM) - 2))
def test_a_stream_that_breaks_off_has_running_usage_only(end: int) -> None:
    sink = Recorder()
    for finish in (True, False):
        sink = Recorder()
        seen, _ = observe(ANTHROPIC, STREAMED, STREAM[:end], sink=sink, finish=finish)
        assert (seen.usage, seen.finished) == (None, False)
        assert seen.running == Usage(INPUT, output_tokens=1)
        assert sink.pieces == PIECES[: len(sink.pieces)]
    assert len(sink.pieces) == {1: 0, 2: 0, 3: 0, 4: 1, 5: 2, 6: 3, 7: 4}[end]


def test_no_place_to_break_off_raises() -> None:
    stream = b"".join(STREAM)
    for end in range(len(stream)):
        seen, given = observe(ANTHROPIC, STREAMED, [stream[:end]], sink=Recorder(), finish=False)
        assert given == stream[:end]
        assert seen.usage in (None, USAGE)
        assert (seen.usage is not None) == seen.finished


def test_a_delta_of_zeros_does_not_wipe_the_start() -> None:
    last = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
                  "usage": {"input_tokens": 0, "output_tokens": 7}})  # fmt: skip
    seen, _ = observe(ANTHROPIC, STREAMED, [*STREAM[:-2], last, STREAM[-1]])
    assert seen.usage == USAGE


def test_deltas_are_running_totals() -> None:
    middle = event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}})
    seen, _ = observe(ANTHROPIC, STREAMED, [*STREAM[:-2], middle, *STREAM[-2:]])
    assert seen.usage == USAGE
    seen, _ = observe(ANTHROPIC, STREAMED, [*STREAM[:-2], middle], finish=False)
    assert (seen.usage, seen.running) == (None, Usage(INPUT, output_tokens=3))


def test_an_error_event_before_output_is_not_billed_and_after_output_is_counted() -> None:
    error = event({"type": "error", "error": {"type": "overloaded_error", "message": "x"}})
    seen, _ = observe(ANTHROPIC, STREAMED, [STREAM[0], error], sink=Recorder())
    assert (seen.error_in_body, seen.usage) == (True, None)
    sink = Recorder()
    seen, _ = observe(ANTHROPIC, STREAMED, [*STREAM[:5], error], sink=sink)
    assert (seen.error_in_body, seen.usage) == (False, None)
    assert seen.running == Usage(INPUT, output_tokens=1)
    assert sink.pieces == PIECES[:2]


def test_a_body_is_read() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ]  # fmt: skip
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "model": "claude-opus-4-5", "content": content,
        "stop_reason": "end_turn", "usage": {**STARTED, "output_tokens": 7, "speed": "fast"},
    }  # fmt: skip
    body = json.dumps(message).encode()
    sink = Recorder()
    seen, _ = observe(
        ANTHROPIC, asking(ANTHROPIC, PATH), [body], headers=JSON, sink=sink, count_always=True
    )
    assert (seen.usage, seen.finished, seen.service_tier) == (USAGE, True, "fast")
    assert sink.pieces == PIECES
    assert sink.tool_calls == [0]
