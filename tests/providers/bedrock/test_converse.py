"""Converse and ConverseStream."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.native_answers import AWS, SIZES, answer, ask, body, cut, frame

HOST = "bedrock-runtime.us-east-1.amazonaws.com"
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
PATH = f"/model/{MODEL}/converse"
STREAM = [
    frame("messageStart", {"role": "assistant", "p": "abc"}),
    frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {
        "text": "Let me think."}}}),
    frame("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "It is "}}),
    frame("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "sunny."}}),
    frame("contentBlockStart", {"start": {"toolUse": {"name": "weather", "toolUseId": "t1"}}}),
    frame("contentBlockDelta", {"delta": {"toolUse": {"input": '{"city":"Rome"}'}}}),
    frame("contentBlockStop", {"contentBlockIndex": 2}),
    frame("messageStop", {"stopReason": "tool_use"}),
    frame("metadata", {"usage": {"inputTokens": 51, "outputTokens": 27, "totalTokens": 78},
                       "metrics": {"latencyMs": 900}}),
]  # fmt: skip


def whole(**usage: Any) -> list[bytes]:
    message = {"role": "assistant", "content": [{"text": "OK"}]}
    return body({"output": {"message": message}, "stopReason": "end_turn", "usage": usage})


def test_a_request_is_read() -> None:
    reading = ask(
        HOST, PATH, inferenceConfig={"maxTokens": 300}, requestMetadata={"team": "ops"},
        serviceTier={"type": "priority"},
    )  # fmt: skip
    assert (reading.provider, reading.endpoint, reading.model) == ("bedrock", "converse", MODEL)
    assert (reading.streaming, reading.max_output_tokens) == (False, 300)
    assert (reading.service_tier, reading.hint.tags) == ("priority", (("team", "ops"),))
    assert reading.defects == ()


@pytest.mark.parametrize(
    ("path", "model", "streaming"),
    [
        (f"/model/{MODEL}/converse-stream", MODEL, True),
        ("/model/amazon.nova-lite-v1%3A0/converse", "amazon.nova-lite-v1:0", False),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2F"
            "us.amazon.nova-pro-v1%3A0/converse-stream",
            "us.amazon.nova-pro-v1:0",
            True,
        ),
    ],
)
def test_the_path_names_the_model(path: str, model: str, streaming: bool) -> None:
    reading = ask(HOST, path)
    assert (reading.endpoint, reading.model, reading.streaming) == ("converse", model, streaming)


def test_latency_optimised_inference_is_a_tier() -> None:
    assert ask(HOST, PATH, performanceConfig={"latency": "optimized"}).service_tier == "optimized"


def test_cached_tokens_are_beside_the_input_tokens() -> None:
    reading = ask(HOST, PATH)
    answered = whole(
        inputTokens=10, outputTokens=4, totalTokens=7365, cacheReadInputTokens=0,
        cacheWriteInputTokens=7351, cacheDetails=[{"inputTokens": 7351, "ttl": "5m"}],
        serverToolUsage={},
    )  # fmt: skip
    seen, _ = answer(HOST, reading, answered)
    # 10 + 0 + 7351
    assert seen.usage == Usage(
        input_tokens=7361, cache_read_tokens=0, cache_write_tokens=7351,
        cache_write_5m_tokens=7351, output_tokens=4,
    )  # fmt: skip
    assert seen.finished


def test_a_total_that_counts_the_cache_once_puts_it_inside() -> None:
    answered = whole(inputTokens=100, outputTokens=4, totalTokens=104, cacheReadInputTokens=60)
    seen, _ = answer(HOST, ask(HOST, PATH), answered)
    assert seen.usage == Usage(input_tokens=100, cache_read_tokens=60, output_tokens=4)


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_is_read_however_it_is_cut(size: int) -> None:
    reading = ask(HOST, f"/model/{MODEL}/converse-stream")
    seen, sink = answer(HOST, reading, cut(STREAM, size), AWS)
    assert seen.usage == Usage(input_tokens=51, output_tokens=27)
    assert (seen.finished, seen.defects, sink.pieces) == (True, (), [])


def test_the_metadata_is_the_end() -> None:
    from meter.providers.registry import dialect_for

    observer = dialect_for(HOST).observe(ask(HOST, f"/model/{MODEL}/converse-stream"))
    observer.start(200, AWS)
    for piece in STREAM[:-1]:
        observer.feed(piece)
        assert not observer.ended
    observer.feed(STREAM[-1])
    assert observer.ended


def test_a_broken_stream_is_handed_out_to_be_counted() -> None:
    reading = ask(HOST, f"/model/{MODEL}/converse-stream")
    seen, sink = answer(HOST, reading, STREAM[:-2], AWS, finish=False)
    assert (seen.usage, seen.finished) == (None, False)
    assert sink.joined("content") == "It is sunny."
    assert sink.joined("reasoning") == "Let me think."
    assert (sink.joined("tool_name"), sink.joined("tool_arguments")) == (
        "weather", '{"city":"Rome"}',
    )  # fmt: skip
    assert sink.tool_calls == [0]


def test_a_body_without_usage_is_handed_out() -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "Hm."}}},
        {"citationsContent": {"content": [{"text": "Ruby."}]}},
        {"toolUse": {"name": "sum", "input": {"a": 1}}},
    ]
    answered = body({"output": {"message": {"content": content}}, "stopReason": "tool_use"})
    seen, sink = answer(HOST, ask(HOST, PATH), answered)
    assert (seen.usage, sink.joined("reasoning"), sink.joined("content")) == (None, "Hm.", "Ruby.")
    assert sink.joined("tool_arguments") == '{"a":1}'


def test_an_exception_in_a_stream_is_an_error() -> None:
    reading = ask(HOST, f"/model/{MODEL}/converse-stream")
    broken = [STREAM[0], frame("throttlingException", {"message": "slow down"}, "exception")]
    seen, _ = answer(HOST, reading, broken, AWS)
    assert (seen.usage, seen.error_in_body) == (None, True)
    assert seen.defects == ("the answer carries an error (throttlingException)",)


def test_a_routed_prompt_is_served_by_the_model_that_was_chosen() -> None:
    told = {
        "usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7},
        "trace": {"promptRouter": {"invokedModelId": "arn:aws:bedrock:us-east-1::inference-profile"
                                                     "/us.amazon.nova-lite-v1:0"}},
        "serviceTier": {"type": "flex"},
    }  # fmt: skip
    seen, _ = answer(HOST, ask(HOST, f"/model/{MODEL}/converse-stream"),
                     [frame("metadata", told)], AWS)  # fmt: skip
    assert (seen.model_served, seen.service_tier) == ("us.amazon.nova-lite-v1:0", "flex")
