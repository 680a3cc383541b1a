"""IBM watsonx's text generation."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.answers import SSE, event
from tests.providers.native_answers import SIZES, answer, ask, body, cut

HOST = "us-south.ml.cloud.ibm.com"


def result(text: str, taken: int, given: int, stop: str = "not_finished") -> dict[str, Any]:
    counts = {"input_token_count": taken, "generated_token_count": given}
    return {"model_id": "ibm/granite-13b", "results": [
        {"generated_text": text, "stop_reason": stop, **counts}]}  # fmt: skip


STREAM = [
    event(result("He", 0, 1)), event(result("llo", 0, 2)), event(result("", 9, 3, "eos_token")),
]  # fmt: skip


def test_a_request_is_read() -> None:
    reading = ask(HOST, "/ml/v1/text/generation?version=2024-03-14", model_id="ibm/granite-13b",
                  input="x", parameters={"max_new_tokens": 40})  # fmt: skip
    assert (reading.provider, reading.endpoint) == ("watsonx", "watsonx.generation")
    assert (reading.model, reading.max_output_tokens) == ("ibm/granite-13b", 40)


def test_a_body_reports_in_its_result() -> None:
    reading = ask(HOST, "/ml/v1/text/generation", model_id="m", input="x")
    seen, _ = answer(HOST, reading, body(result("Hello", 9, 3, "eos_token")))
    assert (seen.usage, seen.finished) == (Usage(input_tokens=9, output_tokens=3), True)
    assert seen.model_served == "ibm/granite-13b"


@pytest.mark.parametrize("size", SIZES)
def test_the_last_counts_of_a_stream_hold(size: int) -> None:
    reading = ask(HOST, "/ml/v1/text/generation_stream", model_id="m", input="x")
    assert reading.streaming
    seen, _ = answer(HOST, reading, cut(STREAM, size), SSE)
    assert (seen.usage, seen.finished) == (Usage(input_tokens=9, output_tokens=3), True)
    seen, sink = answer(HOST, reading, STREAM[:-1], SSE, finish=False)
    assert (seen.usage, sink.joined("content")) == (None, "Hello")
