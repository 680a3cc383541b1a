"""Anthropic's message batches."""

import json
from typing import Any

import pytest

from meter.core.usage import Usage
from meter.providers.anthropic.batches import MessageBatchObserver
from meter.providers.registry import dialect_for
from tests.providers.answers import JSON, observe
from tests.providers.native_answers import SIZES, answer, ask, body, cut, lines

HOST = "api.anthropic.com"
BATCH: dict[str, Any] = {
    "id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress",
}  # fmt: skip
RESULTS = "/v1/messages/batches/msgbatch_1/results"


def line(custom_id: str, **usage: int) -> dict[str, Any]:
    message = {"type": "message", "model": "claude-haiku-4-5", "usage": usage}
    return {"custom_id": custom_id, "result": {"type": "succeeded", "message": message}}


LINES = lines(
    line("a", input_tokens=10, output_tokens=4, cache_read_input_tokens=100),
    line("b", input_tokens=20, output_tokens=5),
    {"custom_id": "c", "result": {"type": "errored", "error": {"type": "invalid_request"}}},
)


def test_a_batch_is_a_receipt() -> None:
    reading = ask(HOST, "/v1/messages/batches", requests=[])
    assert (reading.provider, reading.endpoint) == ("anthropic", "messages.batches")
    seen, _ = answer(HOST, reading, body(BATCH))
    assert (seen.usage, seen.response_id) == (None, "msgbatch_1")


@pytest.mark.parametrize("status", ["in_progress", "ended"])
def test_a_look_at_a_batch_owes_nothing(status: str) -> None:
    path = "/v1/messages/batches/msgbatch_1"
    dialect = dialect_for(HOST, path)
    reading = dialect.read("GET", path, None, b"")
    assert (reading.endpoint, reading.free) == ("messages.batches.retrieve", True)
    seen, _ = observe(dialect, reading, body({**BATCH, "processing_status": status}), headers=JSON)
    assert seen.usage == Usage()


@pytest.mark.parametrize("size", SIZES)
def test_results_are_read_line_by_line(size: int) -> None:
    dialect = dialect_for(HOST, RESULTS)
    reading = dialect.read("GET", RESULTS, None, b"")
    assert (reading.endpoint, reading.free) == ("messages.batches.results", True)
    observer = dialect.observe(reading)
    assert isinstance(observer, MessageBatchObserver)
    observer.start(200, {"content-type": "application/x-jsonl"})
    for piece in cut(LINES, size):
        assert observer.feed(piece) == piece
    observer.finish()
    seen = observer.result()
    # 10 + 100 + 20 in, 4 + 5 out.
    assert seen.usage == Usage(input_tokens=130, cache_read_tokens=100, output_tokens=9)
    assert (seen.model_served, seen.service_tier) == ("claude-haiku-4-5", "batch")
    assert (observer.billing_ids, seen.response_id) == (("msgbatch_1",), "msgbatch_1")
    read = seen.parts
    assert [(each.name, each.custom_id, each.model) for each in read] == [
        ("a", "a", "claude-haiku-4-5"), ("b", "b", "claude-haiku-4-5"), ("c", "c", None),
    ]  # fmt: skip
    assert seen.has_all_parts
    assert read[0].usage == Usage(input_tokens=110, cache_read_tokens=100, output_tokens=4)
    assert read[2].usage == Usage()


def test_lines_that_are_no_results_are_told() -> None:
    observer = MessageBatchObserver("msgbatch_1")
    observer.start(200, {})
    observer.feed(b"not json\n" + json.dumps({"a": 1}).encode() + b"\n" + LINES[1])
    observer.finish()
    seen = observer.result()
    assert seen.usage == Usage(input_tokens=20, output_tokens=5)
    assert seen.defects == ("found a line that is no result of a batch",)
    assert not seen.has_all_parts
