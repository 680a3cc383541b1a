"""Google's endpoints beside generateContent."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.answers import SSE, event
from tests.providers.native_answers import SIZES, answer, ask, body, cut

HOST = "generativelanguage.googleapis.com"
VERTEX = "us-central1-aiplatform.googleapis.com"
PUBLISHED = "/v1/projects/p/locations/us-central1/publishers"


@pytest.mark.parametrize("verb", ["embedContent", "batchEmbedContents"])
def test_embeddings_report_their_modalities(verb: str) -> None:
    reading = ask(HOST, f"/v1beta/models/gemini-embedding-2:{verb}", content={})
    assert (reading.endpoint, reading.model) == ("embedContent", "gemini-embedding-2")
    assert reading.max_output_tokens == 0
    usage = {
        "promptTokenCount": 261,
        "promptTokenDetails": [
            {"modality": "IMAGE", "tokenCount": 258}, {"modality": "TEXT", "tokenCount": 3},
        ],
    }  # fmt: skip
    seen, _ = answer(
        HOST, reading, body({"embeddings": [{"values": [0.1]}], "usageMetadata": usage})
    )
    assert (seen.usage, seen.finished) == (Usage(input_tokens=261, input_image_tokens=258), True)


def test_older_embedding_models_report_nothing() -> None:
    reading = ask(HOST, "/v1beta/models/text-embedding-004:embedContent", content={})
    seen, _ = answer(HOST, reading, body({"embedding": {"values": [0.1]}}))
    assert (seen.usage, seen.finished) == (None, True)


def test_what_is_written_into_the_cache_is_input() -> None:
    name = "projects/p/locations/l/publishers/google/models/gemini-2.5-flash"
    reading = ask(VERTEX, "/v1beta1/projects/p/locations/l/cachedContents", model=name)
    assert (reading.endpoint, reading.model) == ("cachedContents", "gemini-2.5-flash")
    payload = {"name": "c", "model": name, "usageMetadata": {"totalTokenCount": 9602}}
    seen, _ = answer(VERTEX, reading, body(payload))
    assert (seen.usage, seen.model_served) == (Usage(input_tokens=9602), None)


PREDICTED: dict[str, tuple[dict[str, Any], Usage | None]] = {
    "embeddings": (
        {"predictions": [{"embeddings": {"statistics": {"token_count": 22}, "values": [0.1]}},
                         {"embeddings": {"statistics": {"token_count": 3.0}}}],
         "metadata": {"billableCharacterCount": 133}},
        # 22 + 3
        Usage(input_tokens=25, characters=133),
    ),
    "images": (
        {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "aGk="},
                         {"gcsUri": "gs://b/o.png"}, {"raiFilteredReason": "blocked"}]},
        Usage(images=2),
    ),
    "a custom model": ({"predictions": [1, 2, {"class": "cat"}]}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", PREDICTED)
def test_predictions_are_counted_one_by_one(case: str) -> None:
    payload, usage = PREDICTED[case]
    reading = ask(VERTEX, f"{PUBLISHED}/google/models/m:predict", instances=[])
    assert (reading.endpoint, reading.model) == ("predict", "m")
    seen, _ = answer(VERTEX, reading, body(payload))
    assert (seen.usage, seen.finished) == (usage, True)


def test_other_makers_at_vertex_are_read_as_their_own_api() -> None:
    path = f"{PUBLISHED}/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"
    reading = ask(VERTEX, path, anthropic_version="vertex-2023-10-16", max_tokens=64, stream=True)
    assert (reading.provider, reading.endpoint) == ("vertex", "messages")
    assert (reading.model, reading.streaming) == ("claude-sonnet-4-5@20250929", True)
    assert reading.max_output_tokens == 64
    seen, _ = answer(VERTEX, reading, [
        event({"type": "message_start", "message": {"id": "m", "usage": {
            "input_tokens": 8, "output_tokens": 1}}}),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
               "usage": {"output_tokens": 5}}),
        event({"type": "message_stop"}),
    ], SSE)  # fmt: skip
    assert seen.usage == Usage(input_tokens=8, output_tokens=5)
    mistral = ask(VERTEX, f"{PUBLISHED}/mistralai/models/mistral-large:rawPredict", model="x")
    assert (mistral.endpoint, mistral.model, mistral.body) == ("chat", "mistral-large", None)


INTERACTION_USAGE = {
    "total_input_tokens": 20, "total_cached_tokens": 4, "total_tool_use_tokens": 6,
    "total_output_tokens": 30, "total_thought_tokens": 10, "total_tokens": 66,
    "input_tokens_by_modality": [{"modality": "image", "tokens": 7}],
    "grounding_tool_count": [{"type": "google_search", "count": 2},
                             {"type": "google_maps", "count": 9}],
}  # fmt: skip
# 20 + 6 in; 30 + 10 out; 66 together.
INTERACTION = Usage(
    input_tokens=26, cache_read_tokens=4, input_image_tokens=7, tool_use_input_tokens=6,
    output_tokens=40, reasoning_tokens=10, searches=2,
)  # fmt: skip


def step(**delta: Any) -> bytes:
    return event({"event_type": "step.delta", "index": 0, "delta": delta})


INTERACTION_STREAM = [
    event({"event_type": "interaction.created",
           "interaction": {"id": "i1", "model": "gemini-3", "status": "in_progress"}}),
    step(type="thought_summary", content={"type": "text", "text": "Hm"}),
    step(type="text", text="He"),
    step(type="text", text="llo"),
    event({"event_type": "step.start", "step": {"type": "function_call", "name": "sum",
                                                "arguments": {}}}),
    step(type="arguments_delta", arguments='{"a":1}'),
    event({"event_type": "interaction.completed", "interaction": {
        "id": "i1", "model": "gemini-3", "status": "completed", "usage": INTERACTION_USAGE}}),
]  # fmt: skip


def test_an_interaction_is_read() -> None:
    reading = ask(HOST, "/v1beta/interactions", model="gemini-3", stream=True,
                  generation_config={"max_output_tokens": 90}, labels={"team": "a"})  # fmt: skip
    assert (reading.endpoint, reading.model, reading.streaming) == (
        "interactions",
        "gemini-3",
        True,
    )
    assert (reading.max_output_tokens, reading.hint.tags) == (90, (("team", "a"),))


@pytest.mark.parametrize("size", SIZES)
def test_an_interaction_reports_its_usage_when_it_is_completed(size: int) -> None:
    reading = ask(HOST, "/v1beta/interactions", model="gemini-3", stream=True)
    seen, sink = answer(HOST, reading, cut(INTERACTION_STREAM, size), SSE)
    assert (seen.usage, seen.finished, seen.response_id) == (INTERACTION, True, "i1")
    assert sink.pieces == []


def test_a_broken_interaction_is_handed_out_to_be_counted() -> None:
    reading = ask(HOST, "/v1beta/interactions", model="gemini-3", stream=True)
    seen, sink = answer(HOST, reading, INTERACTION_STREAM[:-1], SSE, finish=False)
    assert (seen.usage, sink.joined("content"), sink.joined("reasoning")) == (None, "Hello", "Hm")
    assert (sink.joined("tool_name"), sink.joined("tool_arguments")) == ("sum", '{"a":1}')


def test_thoughts_are_taken_as_the_total_says() -> None:
    usage = {"total_input_tokens": 20, "total_output_tokens": 30, "total_thought_tokens": 10,
             "total_tokens": 50}  # fmt: skip
    reading = ask(HOST, "/v1beta/interactions", model="gemini-3")
    seen, _ = answer(HOST, reading, body({"id": "i", "status": "completed", "usage": usage}))
    assert seen.usage is not None
    # 50 − 20: the ten thoughts are inside.
    assert (seen.usage["output_tokens"], seen.usage["reasoning_tokens"]) == (30, 10)


def test_an_interaction_in_the_background_is_open() -> None:
    reading = ask(HOST, "/v1beta/interactions", agent="deep-research", background=True)
    assert reading.model == "deep-research"
    seen, _ = answer(HOST, reading, body({"id": "i", "status": "in_progress"}))
    assert (seen.usage, seen.finished) == (None, False)
