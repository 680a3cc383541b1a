"""Moderations, edits, decisions, containers, and what is kept for nothing."""

import json
from typing import Any

import pytest

from meter.core.reading import UNMETERED
from meter.core.usage import Usage
from meter.providers.openai.others import FETCHED, LOOKS, POSTED
from meter.providers.openai.records import record_endpoint
from meter.providers.registry import dialect_named
from tests.providers.answers import JSON, Recorder, asking, observe

OPENAI = dialect_named("openai")


def test_moderations_are_free_at_openai_and_counted_elsewhere() -> None:
    reading = asking(OPENAI, "/v1/moderations", model="omni-moderation-latest", input="x")
    assert (reading.endpoint, reading.free) == ("moderations", True)
    assert reading.model == "omni-moderation-latest"
    mistral = dialect_named("mistral")
    reading = asking(mistral, "/v1/moderations", model="mistral-moderation-latest")
    assert not reading.free
    usage = {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}
    body = json.dumps({"id": "m", "model": "mm", "results": [], "usage": usage}).encode()
    seen, _ = observe(mistral, reading, [body], headers=JSON)
    assert (seen.usage, seen.model_served) == (Usage(input_tokens=9, output_tokens=0), "mm")


def test_edits_report_their_tokens() -> None:
    reading = asking(OPENAI, "/v1/edits", model="text-davinci-edit-001", n=2)
    usage = {"prompt_tokens": 34, "completion_tokens": 47, "total_tokens": 81}
    choices = [{"index": 0, "text": "a"}, {"index": 1, "text": "b"}]
    body = json.dumps({"object": "edit", "choices": choices, "usage": usage}).encode()
    sink = Recorder()
    seen, _ = observe(OPENAI, reading, [body], headers=JSON, sink=sink, count_always=True)
    assert seen.usage == Usage(input_tokens=34, output_tokens=47)
    assert (reading.endpoint, sink.joined("content", 1)) == ("edits", "b")
    assert OPENAI.read("POST", "/v1/engines/e/edits", None, b"{}").model == "e"


def test_decisions_report_as_responses_do() -> None:
    reading = asking(OPENAI, "/v1/decisions", model="gpt-6-astra")
    usage = {
        "input_tokens": 20, "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4},
        "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 23,
    }  # fmt: skip
    body = json.dumps({"answers": [], "model": "gpt-6-astra", "usage": usage}).encode()
    seen, _ = observe(OPENAI, reading, [body], headers=JSON)
    assert seen.usage == Usage(
        input_tokens=20, cache_read_tokens=8, cache_write_tokens=4, output_tokens=3,
        reasoning_tokens=2,
    )  # fmt: skip


def test_a_container_begins_a_session() -> None:
    reading = asking(OPENAI, "/v1/containers", name="c", memory_limit="4g")
    body = {"id": "cntr_1", "object": "container", "status": "running", "memory_limit": "4g"}
    seen, _ = observe(OPENAI, reading, [json.dumps(body).encode()], headers=JSON)
    assert (seen.usage, seen.traits) == (Usage(sessions=1), (("memory_limit", "4g"),))
    seen, _ = observe(OPENAI, reading, [b'{"error": {"code": "no"}}'], headers=JSON)
    assert seen.usage is None


def test_a_compaction_is_read_as_a_response() -> None:
    reading = asking(OPENAI, "/v1/responses/compact", model="gpt-5")
    usage = {"input_tokens": 139, "output_tokens": 438, "total_tokens": 577}
    body = {"id": "resp_1", "object": "response.compaction", "output": [], "usage": usage}
    seen, _ = observe(OPENAI, reading, [json.dumps(body).encode()], headers=JSON)
    assert (reading.endpoint, seen.usage) == (
        "responses", Usage(input_tokens=139, output_tokens=438),
    )  # fmt: skip


RECORDS = {
    "POST /v1/files": "files",
    "DELETE /v1/files/f": "files",
    "POST /v1/uploads": "uploads",
    "POST /v1/uploads/u/parts": "uploads",
    "POST /v1/vector_stores": "vector_stores",
    "POST /v1/vector_stores/v/search": "vector_stores",
    "GET /v1/vector_stores/v/file_batches/b/files": "vector_stores",
    "POST /v1/threads": "threads",
    "DELETE /v1/threads/t/messages/m": "threads",
    "GET /v1/threads/t/runs": "threads",
    "GET /v1/threads/t/runs/r/steps": "threads",
    "POST /v1/assistants": "assistants",
    "DELETE /v1/conversations/c": "conversations",
    "GET /v1/conversations/c/items": "conversations",
    "GET /v1/containers/c/files/f/content": "containers",
    "DELETE /v1/containers/c": "containers",
    "GET /v1/fine_tuning/jobs/j/events": "fine_tuning",
    "GET /v1/responses/r/input_items": "responses",
    "GET /v1/videos/v/content": "videos",
    "DELETE /v1/models/ft:gpt-4o:a::b": "models",
    "GET /v1/engines": "models",
    "POST /v1/realtime/client_secrets": "realtime",
    "GET /v1/organization/costs": "organization",
    "POST /openai/files?api-version=2024-10-21": "files",
}
# What makes something, or what nobody here knows the price of.
NOT_RECORDS = [
    "POST /v1/containers", "POST /v1/threads/runs", "POST /v1/fine_tuning/alpha/graders/run",
    "POST /v1/agents/sessions", "GET /v1/realtime", "PUT /v1/files", "POST /v1/chatkit/sessions",
    "POST /v1/evals/e/runs", "GET /v1/myfiles",
]  # fmt: skip


@pytest.mark.parametrize("call", RECORDS)
def test_stored_objects_are_counted_by_name(call: str) -> None:
    method, path = call.split()
    reading = OPENAI.read(method, path, None, b"")
    assert reading.free
    # `free.py` calls some of them records.
    assert reading.endpoint in (RECORDS[call], "records")
    if method != "GET":
        assert record_endpoint(method, path.partition("?")[0]) == RECORDS[call]


@pytest.mark.parametrize("call", NOT_RECORDS)
def test_what_may_cost_something_is_no_record(call: str) -> None:
    method, path = call.split()
    assert record_endpoint(method, path) is None


def test_every_endpoint_refuses_as_openai_does() -> None:
    for endpoint in (*POSTED, *FETCHED):
        assert endpoint.shape == "openai"
    reading = asking(OPENAI, "/v1/images/generations")
    answer = OPENAI.refuse(reading, 429, "Too dear.", "b1")
    error: Any = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"


def test_names_are_unique_and_looks_are_free() -> None:
    names = [endpoint.name for endpoint in (*POSTED, *FETCHED)]
    assert len(names) == len(set(names))
    assert UNMETERED not in names
    for path in ("/v1/batches/b", "/v1/responses/r", "/v1/videos/v", "/v1/files/f/content"):
        reading = OPENAI.read("GET", path, None, b"")
        assert reading.free
        assert reading.endpoint in LOOKS
