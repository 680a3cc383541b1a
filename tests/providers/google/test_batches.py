"""Google's batches and operations."""

from typing import Any

import pytest

from meter.core.usage import Usage
from meter.providers.registry import dialect_for
from tests.providers.answers import JSON, observe
from tests.providers.native_answers import answer, ask, body

HOST = "generativelanguage.googleapis.com"
BATCH = "batches/7yja"


def told(done: bool, **members: Any) -> list[bytes]:
    metadata = {"model": "models/gemini-2.5-flash", "batchStats": {"requestCount": "2"}}
    return body({"name": BATCH, "metadata": metadata, "done": done, **members})


def looked(path: str, pieces: list[bytes]) -> Any:
    dialect = dialect_for(HOST, path)
    reading = dialect.read("GET", path, None, b"")
    assert (reading.endpoint, reading.free) == ("operations", True)
    seen, _ = observe(dialect, reading, pieces, headers=JSON)
    return seen


@pytest.mark.parametrize(
    ("verb", "endpoint"),
    [
        ("batchGenerateContent", "batchGenerateContent"),
        ("asyncBatchEmbedContent", "batchGenerateContent"),
        ("predictLongRunning", "predictLongRunning"),
    ],
)
def test_a_receipt_leaves_the_usage_open(verb: str, endpoint: str) -> None:
    reading = ask(HOST, f"/v1beta/models/gemini-2.5-flash:{verb}", batch={})
    assert (reading.endpoint, reading.model, reading.free) == (endpoint, "gemini-2.5-flash", False)
    seen, _ = answer(HOST, reading, body({"name": "models/veo-3/operations/1"}))
    assert (seen.usage, seen.response_id) == (None, "models/veo-3/operations/1")


def test_a_look_at_running_work_owes_nothing() -> None:
    seen = looked(f"/v1beta/{BATCH}", told(done=False))
    assert (seen.usage, seen.response_id) == (Usage(), BATCH)


def test_a_finished_batch_is_the_sum_of_its_answers() -> None:
    report = {"promptTokenCount": 10, "candidatesTokenCount": 2, "thoughtsTokenCount": 30,
              "totalTokenCount": 42}  # fmt: skip
    answers = [{"response": {"usageMetadata": report}, "metadata": {"key": "0"}},
               {"response": {"usageMetadata": report}}, {"error": {"code": 3}}]  # fmt: skip
    seen = looked(
        f"/v1beta/{BATCH}",
        told(done=True, response={"inlinedResponses": {"inlinedResponses": answers}}),
    )
    # Twice 10 in; twice 2 + 30 out.
    assert seen.usage == Usage(input_tokens=20, output_tokens=64, reasoning_tokens=60)
    assert (seen.model_served, seen.service_tier) == ("gemini-2.5-flash", "batch")


def test_a_batch_in_a_file_and_a_video_say_what_is_missing() -> None:
    seen = looked(f"/v1beta/{BATCH}", told(done=True, response={"responsesFile": "files/1"}))
    assert (seen.usage, seen.finished) == (None, True)
    assert "it stands in its output file" in seen.defects[0]
    video = {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": "x"}}]}}
    name = "models/veo-3/operations/1"
    seen = looked(f"/v1beta/{name}", body({"name": name, "done": True, "response": video}))
    assert (seen.usage, "it stands nowhere" in seen.defects[0]) == (None, True)


def test_work_that_failed_owes_nothing() -> None:
    seen = looked(f"/v1beta/{BATCH}", told(done=True, error={"code": 13}))
    assert (seen.usage, seen.finished) == (Usage(), True)


def test_vertex_looks_with_a_post() -> None:
    host = "us-central1-aiplatform.googleapis.com"
    path = "/v1/projects/p/locations/l/publishers/google/models/veo-3:fetchPredictOperation"
    reading = ask(host, path, operationName="projects/p/operations/1")
    assert (reading.endpoint, reading.free) == ("operations.fetch", True)
    seen, _ = answer(host, reading, body({"name": "projects/p/operations/1", "done": False}))
    assert seen.usage == Usage()
