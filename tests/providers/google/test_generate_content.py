"""Gemini's generateContent: requests, streams, arrays and bodies."""

import json
from typing import Any

import pytest

from meter.core.usage import Usage
from meter.providers.registry import dialect_named
from tests.providers.answers import JSON, Recorder, asking, event, observe

GOOGLE = dialect_named("google")
PATH = "/v1beta/models/gemini-2.5-pro:generateContent"
STREAM_PATH = "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
STREAMED = asking(GOOGLE, STREAM_PATH)


def part(text: str, finish: str | None = None, thought: bool = False) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text, **({"thought": True} if thought else {})}]}
    return {"content": content, "index": 0, **({"finishReason": finish} if finish else {})}


def answer(usage: dict[str, Any] | None, *candidates: dict[str, Any]) -> dict[str, Any]:
    names = {"modelVersion": "gemini-2.5-pro", "responseId": "r1"}
    report = {} if usage is None else {"usageMetadata": usage}
    return {"candidates": list(candidates), **report, **names}


CHUNKS = [
    answer({"promptTokenCount": 9, "thoughtsTokenCount": 5, "totalTokenCount": 14},
           part("Hm.", thought=True)),
    answer({"promptTokenCount": 9, "candidatesTokenCount": 1, "thoughtsTokenCount": 5,
            "totalTokenCount": 15}, part("H")),
    answer(None, part("i")),
    answer({"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 5,
            "totalTokenCount": 16, "serviceTier": "flex"}, part("", "STOP")),
]  # fmt: skip
USAGE = Usage(input_tokens=9, output_tokens=7, reasoning_tokens=5)


def test_a_request_is_read() -> None:
    reading = asking(
        GOOGLE, PATH, generationConfig={"maxOutputTokens": 100, "candidateCount": 3},
        serviceTier="SERVICE_TIER_UNSPECIFIED", labels={"team": "search"},
    )  # fmt: skip
    assert (reading.endpoint, reading.model) == ("generateContent", "gemini-2.5-pro")
    assert (reading.streaming, reading.max_output_tokens) == (False, 300)
    assert (reading.service_tier, reading.hint.tags) == (None, (("team", "search"),))
    snake = asking(GOOGLE, PATH, generation_config={"max_output_tokens": 7})
    assert snake.max_output_tokens == 7
    assert asking(GOOGLE, PATH).max_output_tokens is None
    odd = asking(GOOGLE, PATH, generationConfig={"maxOutputTokens": "9"})
    assert (odd.max_output_tokens, len(odd.defects)) == (None, 1)
    assert STREAMED.streaming
    assert STREAMED.model == "gemini-2.5-pro"


def test_the_last_totals_of_a_stream_hold() -> None:
    seen, given = observe(GOOGLE, STREAMED, [event(chunk) for chunk in CHUNKS])
    assert (seen.usage, seen.finished, seen.service_tier) == (USAGE, True, "flex")
    assert (seen.model_served, seen.response_id) == ("gemini-2.5-pro", "r1")
    assert given == b"".join(event(chunk) for chunk in CHUNKS)


def test_a_last_chunk_without_candidate_tokens_does_not_wipe_them() -> None:
    last = answer({"promptTokenCount": 9, "totalTokenCount": 16}, part("", "STOP"))
    seen, _ = observe(GOOGLE, STREAMED, [event(c) for c in [*CHUNKS[:-1], last]])
    # 16 - 9 = 7
    assert seen.usage == USAGE


@pytest.mark.parametrize("size", [1, 3, 50, 10_000])
def test_an_array_is_read_as_a_stream(size: int) -> None:
    array = json.dumps(CHUNKS, indent=2).encode()
    reading = asking(GOOGLE, "/v1beta/models/gemini-2.5-pro:streamGenerateContent")
    pieces = [array[at : at + size] for at in range(0, len(array), size)]
    sink = Recorder()
    seen, given = observe(GOOGLE, reading, pieces, headers=JSON, sink=sink, count_always=True)
    assert (seen.usage, seen.finished, given) == (USAGE, True, array)
    assert (sink.joined("content"), sink.joined("reasoning")) == ("Hi", "Hm.")


def test_a_stream_that_breaks_off_has_running_usage_only() -> None:
    sink = Recorder()
    pieces = [event(chunk) for chunk in CHUNKS[:3]]
    seen, _ = observe(GOOGLE, STREAMED, pieces, sink=sink, finish=False)
    assert (seen.usage, seen.finished) == (None, False)
    assert seen.running == Usage(input_tokens=9, output_tokens=6, reasoning_tokens=5)
    assert (sink.joined("content"), sink.joined("reasoning")) == ("Hi", "Hm.")


def test_no_place_to_break_off_raises() -> None:
    stream = b"".join(event(chunk) for chunk in CHUNKS)
    for end in range(len(stream)):
        seen, given = observe(GOOGLE, STREAMED, [stream[:end]], sink=Recorder(), finish=False)
        assert given == stream[:end]
        assert (seen.usage, seen.finished) == (None, False)


def test_fewer_candidates_than_asked_for_end_with_the_bytes() -> None:
    reading = asking(GOOGLE, STREAM_PATH, generationConfig={"candidateCount": 2})
    pieces = [event(chunk) for chunk in CHUNKS]
    assert observe(GOOGLE, reading, pieces)[0].usage == USAGE
    assert observe(GOOGLE, reading, pieces, finish=False)[0].usage is None


def test_a_blocked_prompt_is_billed_as_reported() -> None:
    report = {"promptTokenCount": 9, "totalTokenCount": 9}
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": report}
    seen, _ = observe(GOOGLE, STREAMED, [event(blocked)], finish=False)
    assert (seen.usage, seen.finished) == (Usage(input_tokens=9, output_tokens=0), True)


def test_a_body_is_read_and_its_parts_are_counted() -> None:
    parts = [
        {"text": "Hm.", "thought": True}, {"text": "Hi"},
        {"functionCall": {"name": "f", "args": {"a": 1}}},
        {"executableCode": {"code": "1+1"}}, {"inlineData": {"data": "AAAA"}},
    ]  # fmt: skip
    candidate = {"content": {"parts": parts}, "finishReason": "STOP"}
    body = json.dumps(answer(CHUNKS[-1]["usageMetadata"], candidate)).encode()
    sink = Recorder()
    seen, _ = observe(
        GOOGLE, asking(GOOGLE, PATH), [body], headers=JSON, sink=sink, count_always=True
    )
    assert (seen.usage, seen.finished) == (USAGE, True)
    assert sink.pieces == [
        (0, "reasoning", "Hm."), (0, "content", "Hi"), (0, "tool_name", "f"),
        (0, "tool_arguments", '{"a":1}'), (0, "content", "1+1"),
    ]  # fmt: skip
    assert sink.tool_calls == [0]
