"""DashScope's own services."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.answers import SSE, event
from tests.providers.native_answers import SIZES, answer, ask, body, cut

HOST = "dashscope.aliyuncs.com"
TEXT = "/api/v1/services/aigc/text-generation/generation"


def said(text: str, taken: int, given: int, finish: str = "null") -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"input_tokens": taken, "output_tokens": given, "total_tokens": taken + given}
    return b"id:1\nevent:result\n" + event(
        {"output": {"choices": [choice]}, "usage": usage, "request_id": "r1"}
    )


GROWING = [said("He", 20, 1), said("Hello", 20, 2), said("Hello!", 20, 3, "stop")]
PIECES = [said("He", 20, 1), said("llo", 20, 2), said("!", 20, 3, "stop")]


def test_a_request_is_read() -> None:
    reading = ask(HOST, TEXT, model="qwen-plus", input={}, parameters={"max_tokens": 10, "n": 2})
    assert (reading.provider, reading.endpoint) == ("dashscope", "generation")
    assert (reading.model, reading.max_output_tokens) == ("qwen-plus", 20)


@pytest.mark.parametrize("size", SIZES)
def test_the_last_total_of_a_stream_holds(size: int) -> None:
    # The stream is asked for in a header, which the reading does not see.
    reading = ask(HOST, TEXT, model="qwen-plus", input={})
    seen, _ = answer(HOST, reading, cut(GROWING, size), SSE)
    assert (seen.usage, seen.finished) == (Usage(input_tokens=20, output_tokens=3), True)
    assert seen.response_id == "r1"


@pytest.mark.parametrize("stream", [GROWING, PIECES])
def test_a_broken_stream_is_handed_out_once(stream: list[bytes]) -> None:
    seen, sink = answer(HOST, ask(HOST, TEXT, model="m"), stream[:-1], SSE, finish=False)
    assert (seen.usage, sink.joined("content")) == (None, "Hello")
    assert seen.running == Usage(input_tokens=20, output_tokens=2)


REPORTS: dict[str, tuple[str, dict[str, Any], Usage]] = {
    "details": (
        TEXT,
        {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29,
         "prompt_tokens_details": {"cached_tokens": 12},
         "output_tokens_details": {"reasoning_tokens": 4}},
        Usage(input_tokens=20, cache_read_tokens=12, output_tokens=9, reasoning_tokens=4),
    ),
    "images among the input": (
        "/api/v1/services/aigc/multimodal-generation/generation",
        {"input_tokens": 1200, "output_tokens": 9, "image_tokens": 1180},
        Usage(input_tokens=1200, input_image_tokens=1180, output_tokens=9),
    ),
    "embeddings": (
        "/api/v1/services/embeddings/text-embedding/text-embedding", {"total_tokens": 23},
        Usage(input_tokens=23),
    ),
    "pictures": (
        "/api/v1/services/aigc/text2image/image-synthesis", {"image_count": 2}, Usage(images=2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REPORTS)
def test_each_service_reports_in_its_way(case: str) -> None:
    path, usage, expected = REPORTS[case]
    payload = {"output": {"task_status": "SUCCEEDED"}, "usage": usage, "request_id": "r"}
    seen, _ = answer(HOST, ask(HOST, path, model="m"), body(payload))
    assert (seen.usage, seen.finished) == (expected, True)


def test_a_task_is_open_and_a_code_is_an_error() -> None:
    reading = ask(HOST, "/api/v1/services/aigc/text2image/image-synthesis", model="wanx")
    seen, _ = answer(HOST, reading, body({"output": {"task_status": "PENDING", "task_id": "t"}}))
    assert (seen.usage, seen.finished) == (None, False)
    seen, _ = answer(HOST, reading, body({"code": "InvalidParameter", "message": "no"}))
    assert seen.error_in_body
