"""InvokeModel and its stream, with the bodies of several makers."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.answers import JSON
from tests.providers.native_answers import AWS, SIZES, answer, ask, body, chunk, cut, frame

HOST = "bedrock-runtime.eu-west-1.amazonaws.com"
METRICS = "amazon-bedrock-invocationMetrics"


def at(model: str, operation: str = "invoke") -> str:
    return f"/model/{model}/{operation}"


def metrics(taken: int, given: int) -> dict[str, Any]:
    return {METRICS: {"inputTokenCount": taken, "outputTokenCount": given,
                      "invocationLatency": 700, "firstByteLatency": 300}}  # fmt: skip


def told(taken: int, given: int | None = None) -> dict[str, str]:
    headers = {**JSON, "x-amzn-bedrock-input-token-count": str(taken)}
    if given is not None:
        headers["x-amzn-bedrock-output-token-count"] = str(given)
    return headers


LIMITS: list[tuple[str, dict[str, Any], int | None]] = [
    ("anthropic.claude-3-5-haiku-20241022-v1:0", {"max_tokens": 200}, 200),
    ("anthropic.claude-v2:1", {"max_tokens_to_sample": 300}, 300),
    ("amazon.nova-lite-v1:0", {"inferenceConfig": {"maxTokens": 500}}, 500),
    ("amazon.nova-lite-v1:0", {"inferenceConfig": {"max_new_tokens": 70}}, 70),
    ("amazon.titan-text-express-v1", {"textGenerationConfig": {"maxTokenCount": 512}}, 512),
    ("meta.llama2-13b-chat-v1", {"max_gen_len": 128}, 128),
    ("cohere.command-text-v14", {"max_tokens": 100, "num_generations": 3}, 300),
    ("amazon.titan-embed-text-v2:0", {"inputText": "x"}, 0),
    ("meta.llama2-13b-chat-v1", {}, None),
]


@pytest.mark.parametrize(("model", "fields", "most"), LIMITS)
def test_the_bound_is_read_in_each_makers_words(
    model: str, fields: dict[str, Any], most: int | None
) -> None:
    reading = ask(HOST, at(model), **fields)
    assert (reading.provider, reading.endpoint, reading.model) == ("bedrock", "invoke", model)
    assert (reading.max_output_tokens, reading.streaming) == (most, False)


# Body, headers, usage.
BODIES: dict[str, tuple[dict[str, Any], dict[str, str], Usage]] = {
    "anthropic": (
        {"model": "claude-haiku-4-5", "id": "msg_1", "type": "message", "stop_reason": "end_turn",
         "content": [{"type": "text", "text": "Hi"}],
         "usage": {"input_tokens": 8, "cache_creation_input_tokens": 5,
                   "cache_read_input_tokens": 20, "output_tokens": 2}},
        told(8, 2),
        # 8 + 5 + 20
        Usage(input_tokens=33, cache_read_tokens=20, cache_write_tokens=5, output_tokens=2),
    ),
    "claude 2: headers only": (
        {"completion": " Hi", "stop_reason": "stop_sequence"},
        told(18, 38),
        Usage(input_tokens=18, output_tokens=38),
    ),
    "nova": (
        {"output": {"message": {"content": [{"text": "Hi"}]}}, "stopReason": "end_turn",
         "usage": {"inputTokens": 7, "outputTokens": 53, "totalTokens": 60,
                   "cacheReadInputTokenCount": 0}},
        told(7, 53),
        Usage(input_tokens=7, cache_read_tokens=0, output_tokens=53),
    ),
    "nova, its usage cut by a guardrail": (
        {"output": {"message": {"content": [{"text": "Hi"}]}}, "usage": {"inputTokens": 30}},
        told(30, 51),
        Usage(input_tokens=30, output_tokens=51),
    ),
    "titan, with counts written as fractions": (
        {"inputTextTokenCount": 28.0,
         "results": [{"tokenCount": 190.0, "outputText": "a"}, {"tokenCount": 7.0}]},
        JSON,
        # 190 + 7
        Usage(input_tokens=28, output_tokens=197),
    ),
    "titan embeddings": (
        {"embedding": [0.1], "inputTextTokenCount": 8}, told(8), Usage(input_tokens=8)
    ),
    "nova embeddings: headers only": (
        {"embeddings": [{"embedding": [0.1]}]}, told(10), Usage(input_tokens=10)
    ),
    "llama": (
        {"generation": "Hi", "prompt_token_count": 158, "generation_token_count": 128},
        JSON,
        Usage(input_tokens=158, output_tokens=128),
    ),
    "openai's shape": (
        {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
         "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}},
        JSON,
        Usage(input_tokens=9, output_tokens=4),
    ),
    "images": ({"images": ["aGk=", "aGk="]}, JSON, Usage(images=2)),
    "cohere's images are what was embedded": (
        {"embeddings": {"float": [[0.1]]}, "images": [{"width": 4}]}, told(6), Usage(input_tokens=6)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_a_body_is_read_in_its_makers_words(case: str) -> None:
    payload, headers, usage = BODIES[case]
    seen, _ = answer(HOST, ask(HOST, at("m")), body(payload), headers)
    assert (seen.usage, seen.finished, seen.defects) == (usage, True, ())


def test_the_model_is_the_paths_and_keeps_its_region() -> None:
    payload = BODIES["anthropic"][0]
    reading = ask(HOST, at("us.anthropic.claude-haiku-4-5-20251001-v1:0"))
    seen, _ = answer(HOST, reading, body(payload))
    assert (seen.model_served, seen.response_id) == (None, "msg_1")
    assert reading.model == "us.anthropic.claude-haiku-4-5-20251001-v1:0"


CLAUDE = [
    chunk({"type": "message_start", "message": {"id": "msg_2", "model": "claude-haiku-4-5",
           "usage": {"input_tokens": 80, "cache_read_input_tokens": 10,
                     "cache_creation_input_tokens": 0, "output_tokens": 4}}}),
    chunk({"type": "content_block_start", "content_block": {"type": "thinking", "thinking": ""}}),
    chunk({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "Hm"}}),
    chunk({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}}),
    chunk({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
           "usage": {"output_tokens": 543}}),
    chunk({"type": "message_stop", **metrics(80, 543)}),
]  # fmt: skip
NOVA = [
    chunk({"messageStart": {"role": "assistant"}}),
    chunk({"contentBlockDelta": {"delta": {"text": "Hello"}, "contentBlockIndex": 0}}),
    chunk({"messageStop": {"stopReason": "end_turn"}}),
    chunk({"metadata": {"usage": {"inputTokens": 30}}, **metrics(30, 55)}),
]
LLAMA = [
    chunk({"generation": "Hel", "prompt_token_count": 12, "generation_token_count": 1,
           "stop_reason": None}),
    chunk({"generation": "lo", "prompt_token_count": None, "generation_token_count": 2,
           "stop_reason": None}),
    chunk({"generation": "", "generation_token_count": 3, "stop_reason": "stop",
           **metrics(12, 3)}),
]  # fmt: skip
TITAN = [
    chunk({"outputText": "Hel", "index": 0.0, "inputTextTokenCount": 28.0}),
    chunk({"outputText": "lo", "index": 0.0, "totalOutputTextTokenCount": 188.0,
           "completionReason": "FINISH", **metrics(28, 188)}),
]  # fmt: skip
COHERE = [
    chunk({"is_finished": False, "event_type": "text-generation", "text": "Hello"}),
    chunk({"is_finished": True, "event_type": "stream-end",
           "response": {"text": "Hello"}, **metrics(5, 1)}),
]  # fmt: skip
STREAMS = {
    "claude": (CLAUDE, Usage(input_tokens=90, cache_read_tokens=10, cache_write_tokens=0,
                             output_tokens=543)),
    "nova": (NOVA, Usage(input_tokens=30, output_tokens=55)),
    "llama": (LLAMA, Usage(input_tokens=12, output_tokens=3)),
    "titan": (TITAN, Usage(input_tokens=28, output_tokens=188)),
    "cohere": (COHERE, Usage(input_tokens=5, output_tokens=1)),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("maker", STREAMS)
def test_a_stream_is_read_in_its_makers_words(maker: str, size: int) -> None:
    stream, usage = STREAMS[maker]
    reading = ask(HOST, at("m", "invoke-with-response-stream"))
    assert reading.streaming
    seen, sink = answer(HOST, reading, cut(stream, size), AWS)
    assert (seen.usage, seen.finished, seen.defects) == (usage, True, ())
    assert sink.pieces == []


@pytest.mark.parametrize("maker", STREAMS)
def test_a_broken_stream_is_handed_out_to_be_counted(maker: str) -> None:
    stream, _ = STREAMS[maker]
    reading = ask(HOST, at("m", "invoke-with-response-stream"))
    seen, sink = answer(HOST, reading, stream[:-1], AWS, finish=False)
    assert sink.joined("content") == ("Hel" if maker == "titan" else "Hello") or maker == "claude"
    if maker == "claude":
        # All totals are known once the delta names a stop reason.
        assert seen.usage == STREAMS["claude"][1]


def test_a_claude_stream_that_breaks_early_has_a_running_report() -> None:
    reading = ask(HOST, at("m", "invoke-with-response-stream"))
    seen, sink = answer(HOST, reading, CLAUDE[:4], AWS, finish=False)
    assert seen.usage is None
    assert seen.running is not None and seen.running["input_tokens"] == 90
    assert (sink.joined("reasoning"), sink.joined("content")) == ("Hm", "Hello")


def test_a_guardrail_that_blocks_ends_the_stream() -> None:
    blocked = chunk({"outputText": "Input blocked", "totalOutputTextTokenCount": 3.0,
                     "inputTextTokenCount": 6.0,
                     "amazon-bedrock-guardrailAction": "INTERVENED"})  # fmt: skip
    reading = ask(HOST, at("m", "invoke-with-response-stream"))
    seen, _ = answer(HOST, reading, [blocked], AWS)
    assert (seen.usage, seen.finished) == (Usage(input_tokens=6, output_tokens=3), True)


def test_an_exception_in_a_stream_is_an_error() -> None:
    reading = ask(HOST, at("m", "invoke-with-response-stream"))
    broken = [frame("modelStreamErrorException", {"message": "lost"}, "exception")]
    seen, _ = answer(HOST, reading, broken, AWS)
    assert (seen.usage, seen.error_in_body) == (None, True)


def test_headers_settle_a_body_that_never_came_to_its_end() -> None:
    seen, _ = answer(HOST, ask(HOST, at("m")), [b'{"completion": " H'], told(18, 38), finish=False)
    assert (seen.usage, seen.finished) == (Usage(input_tokens=18, output_tokens=38), False)


@pytest.mark.parametrize("count", ["", "x", "-1", "1e3", "9" * 40, "٣"])
def test_odd_headers_report_nothing(count: str) -> None:
    headers = {**JSON, "x-amzn-bedrock-input-token-count": count}
    seen, _ = answer(HOST, ask(HOST, at("m")), body({"completion": "x"}), headers)
    assert seen.usage is None
