"""The text generation server, alone and behind SageMaker."""

from meter.core.usage import Usage
from tests.providers.answers import SSE, event
from tests.providers.native_answers import answer, ask, body

HOST, SAGEMAKER = "localhost:8080", "runtime.sagemaker.us-east-1.amazonaws.com"
STREAM = [
    event({"token": {"text": "He", "special": False}, "generated_text": None, "details": None}),
    event({"token": {"text": "llo", "special": False}, "generated_text": None}),
    event({"token": {"text": "</s>", "special": True}, "generated_text": "Hello",
           "details": {"finish_reason": "eos_token", "generated_tokens": 3, "input_length": 7}}),
]  # fmt: skip


def test_requests_are_read() -> None:
    reading = ask(HOST, "/generate_stream", inputs="x", parameters={"max_new_tokens": 20})
    assert (reading.endpoint, reading.streaming, reading.max_output_tokens) == (
        "generate",
        True,
        20,
    )
    reading = ask(SAGEMAKER, "/endpoints/my-llama/invocations", inputs="x")
    assert (reading.provider, reading.model, reading.streaming) == ("sagemaker", "my-llama", False)


def test_details_come_with_the_last_token() -> None:
    reading = ask(HOST, "/generate_stream", inputs="x")
    seen, sink = answer(HOST, reading, STREAM, SSE)
    assert (seen.usage, seen.finished) == (Usage(input_tokens=7, output_tokens=3), True)
    seen, sink = answer(HOST, reading, STREAM[:-1], SSE, finish=False)
    assert (seen.usage, sink.joined("content")) == (None, "Hello")


def test_half_a_report_is_none() -> None:
    payload = {"generated_text": "Hello", "details": {"generated_tokens": 3}}
    seen, sink = answer(HOST, ask(HOST, "/generate", inputs="x"), body(payload))
    assert (seen.usage, sink.joined("content")) == (None, "Hello")
    payload["details"] = {"generated_tokens": 3, "prefill": [{"id": 1}, {"id": 2}]}
    seen, _ = answer(HOST, ask(HOST, "/generate", inputs="x"), body(payload))
    assert seen.usage == Usage(input_tokens=2, output_tokens=3)


def test_an_array_of_texts_is_counted() -> None:
    reading = ask(SAGEMAKER, "/endpoints/e/invocations", inputs="x")
    seen, sink = answer(SAGEMAKER, reading, body([{"generated_text": "Hello"}]))
    assert (seen.usage, sink.joined("content")) == (None, "Hello")
