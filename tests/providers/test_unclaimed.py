"""Answers of calls that no endpoint claims: usage is read where it stands at a usual place."""

from typing import Any

import pytest

from meter.core.reading import UNMETERED
from meter.core.usage import Usage
from meter.providers.registry import dialect_for
from tests.providers.answers import DONE, JSON, SSE, encoded, event

PROXY = dialect_for("proxy.example")
USED = Usage(input_tokens=12, output_tokens=5)


def answered(answer: bytes, headers: dict[str, str], path: str = "/v1/unheard/of") -> Any:
    """Return what is seen of the answer to a POST."""
    reading = PROXY.read("POST", path, "application/json", b'{"model": "m-1"}')
    assert (reading.endpoint, reading.model, reading.metered) == (UNMETERED, "m-1", False)
    observer = PROXY.observe(reading)
    observer.start(200, headers)
    assert b"".join(observer.feed(bytes([byte])) for byte in answer) == answer
    observer.finish()
    return observer.result()


@pytest.mark.parametrize(
    "body",
    [
        {"usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}},
        {"usage": {"input_tokens": 12, "output_tokens": 5}},
        {"usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 5}},
        {"usage": {"inputTokens": {"total": 12}, "outputTokens": {"total": 5, "text": 4}}},
        {"chatResponse": {"usage": {"promptTokens": 12, "completionTokens": 5}}},
        {"result": {"usage": {"input_tokens": "12", "output_tokens": "5"}}},
        {"data": {"tokenUsage": {"inputTokens": 12, "outputTokens": 5, "totalTokens": 17}}},
    ],
)
def test_usage_in_a_body_is_read_in_any_words(body: dict[str, Any]) -> None:
    seen = answered(encoded(body), JSON)
    assert (seen.usage, seen.defects) == (USED, ())


def test_the_last_report_of_a_stream_holds_when_it_ends() -> None:
    running = event({"usage": {"input_tokens": 12, "output_tokens": 2}})
    last = event({"usage": {"input_tokens": 12, "output_tokens": 5}})
    assert answered(running + last, SSE).usage == USED
    assert answered(running + last + DONE, SSE).usage == USED


def test_what_is_shown_again_is_billed_once() -> None:
    seen = answered(encoded({"id": "x-1", "usage": {"input_tokens": 12}}), JSON)
    assert seen.billing_ids == ("x-1",)
    assert answered(encoded({"id": "x-1", "value": 3}), JSON).billing_ids == ()


@pytest.mark.parametrize(
    "answer", [b"", b"ok", b"{}", b'{"usage": {}}', b'{"usage": {"bytes": 4}}', b'{"usage": 4}']
)
def test_an_answer_without_usage_has_none(answer: bytes) -> None:
    assert answered(answer, JSON).usage is None


def test_other_calls_are_not_parsed() -> None:
    form = PROXY.read("POST", "/v1/unheard", "multipart/form-data; boundary=x", b"--x--")
    look = PROXY.read("GET", "/v1/unheard", None, b"")
    assert (form.request, look.request) == ({}, {})
