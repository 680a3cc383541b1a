"""Replicate's predictions."""

import pytest

from meter.core.usage import Usage
from tests.providers.native_answers import answer, ask, body

HOST = "api.replicate.com"


@pytest.mark.parametrize(
    ("path", "fields", "model"),
    [
        ("/v1/predictions", {"version": "ac73"}, "ac73"),
        ("/v1/models/meta/llama-3/predictions", {}, "meta/llama-3"),
        ("/v1/deployments/acme/chat/predictions", {}, None),
    ],
)
def test_the_model_is_found(path: str, fields: dict[str, str], model: str | None) -> None:
    reading = ask(HOST, path, input={"prompt": "x", "max_tokens": 5}, **fields)
    assert (reading.endpoint, reading.model, reading.max_output_tokens) == ("predictions", model, 5)


def test_tokens_stand_in_the_metrics() -> None:
    reading = ask(HOST, "/v1/models/meta/llama-3/predictions", input={})
    metrics = {"input_token_count": 24, "output_token_count": 9, "predict_time": 0.4}
    payload = {"id": "p", "model": "meta/llama-3", "status": "succeeded", "output": ["He", "llo"],
               "error": None, "metrics": metrics}  # fmt: skip
    seen, _ = answer(HOST, reading, body(payload))
    assert (seen.usage, seen.response_id) == (Usage(input_tokens=24, output_tokens=9), "p")
    seen, sink = answer(HOST, reading, body({**payload, "metrics": {"predict_time": 0.4}}))
    assert (seen.usage, seen.finished, sink.joined("content")) == (None, True, "Hello")


def test_a_receipt_leaves_the_usage_open() -> None:
    payload = {"id": "p", "status": "starting", "error": None}
    seen, _ = answer(HOST, ask(HOST, "/v1/predictions", input={}), body(payload))
    assert (seen.usage, seen.finished) == (None, False)
