"""Endpoints with words of their own: whatever comes, nothing is raised and nothing is changed."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.native import header_count, in_units, whole_number
from meter.providers.others import NATIVE
from meter.providers.registry import dialect_for
from tests.providers.answers import JSON, SSE, Recorder, observe
from tests.providers.native_answers import AWS, NDJSON, chunk, frame

# One path of each endpoint, at a host that serves it.
PATHS = {
    "cachedContents": ("generativelanguage.googleapis.com", "/v1beta/cachedContents"),
    "cohere.chat": ("api.cohere.com", "/v2/chat"),
    "cohere.generate": ("api.cohere.com", "/v1/generate"),
    "complete": ("api.anthropic.com", "/v1/complete"),
    "conversations": ("api.mistral.ai", "/v1/conversations"),
    "converse": ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse-stream"),
    "embed": ("api.cohere.com", "/v2/embed"),
    "embedContent": ("generativelanguage.googleapis.com", "/v1beta/models/m:embedContent"),
    "generate": ("localhost:8080", "/generate"),
    "generation": ("dashscope.aliyuncs.com", "/api/v1/services/aigc/text-generation/generation"),
    "interactions": ("generativelanguage.googleapis.com", "/v1beta/interactions"),
    "invoke": (
        "bedrock-runtime.us-east-1.amazonaws.com", "/model/m/invoke-with-response-stream",
    ),
    "ocr": ("api.mistral.ai", "/v1/ocr"),
    "ollama.chat": ("localhost:11434", "/api/chat"),
    "ollama.embed": ("localhost:11434", "/api/embed"),
    "ollama.generate": ("localhost:11434", "/api/generate"),
    "predict": ("us-central1-aiplatform.googleapis.com", "/v1/publishers/google/models/m:predict"),
    "batchGenerateContent": (
        "generativelanguage.googleapis.com", "/v1beta/models/m:batchGenerateContent",
    ),
    "messages.batches": ("api.anthropic.com", "/v1/messages/batches"),
    "predictLongRunning": (
        "generativelanguage.googleapis.com", "/v1beta/models/m:predictLongRunning",
    ),
    "predictions": ("api.replicate.com", "/v1/predictions"),
    "rerank": ("api.voyageai.com", "/v1/rerank"),
    "run": ("api.cloudflare.com", "/client/v4/accounts/a/ai/run/@cf/meta/llama-3-8b-instruct"),
    "watsonx.generation": ("us-south.ml.cloud.ibm.com", "/ml/v1/text/generation_stream"),
    "voyage.embeddings": ("api.voyageai.com", "/v1/multimodalembeddings"),
}  # fmt: skip
# These have no answers of their own: their readings name the endpoint that reads them.
BORROWING = {"rawPredict", "serving"}
# A look at work that goes on is free to make; it has a test of its own.
LOOKING = {"operations.fetch"}


def test_every_endpoint_is_claimed_at_its_path() -> None:
    assert set(PATHS) | BORROWING | LOOKING == {endpoint.name for endpoint in NATIVE}
    for name, (host, path) in PATHS.items():
        reading = dialect_for(host, path).read("POST", path, "application/json", b"{}")
        assert (reading.endpoint, reading.free) == (name, False)


def test_names_are_each_ones_own() -> None:
    names = [endpoint.name for endpoint in NATIVE]
    assert len(names) == len(set(names))


WORDS = st.sampled_from([
    "usage", "meta", "metadata", "billed_units", "delta", "message", "messages", "content", "type",
    "event_type", "response", "id", "model", "inputTokens", "outputTokens", "cacheDetails", "ttl",
    "totalTokens", "metrics", "inputTokenCount", "results", "tokenCount", "inputTextTokenCount",
    "prompt_token_count", "generation_token_count", "images", "embeddings", "statistics",
    "token_count", "predictions", "usageMetadata", "promptTokenCount", "promptTokenDetails",
    "totalTokenCount", "prompt_eval_count", "eval_count", "done", "done_reason", "error", "code",
    "tool_calls", "function", "arguments", "name", "tool_plan", "text", "thinking", "output",
    "outputs", "choices", "finish_reason", "stop_reason", "stopReason", "messageStop", "toolUse",
    "contentBlockDelta", "contentBlockStart", "start", "reasoningContent", "reasoningText",
    "interaction", "steps", "step", "status", "total_output_tokens", "grounding_tool_count",
    "count", "modality", "tokens", "connectors", "connector_tokens", "details", "prefill", "token",
    "input_length", "generated_tokens", "task_status", "image_count", "total_tokens",
    "pages_processed", "usage_info", "serviceTier", "performanceConfig", "latency", "trace",
    "promptRouter", "invokedModelId", "amazon-bedrock-invocationMetrics", "throttlingException",
    "options", "num_predict", "inferenceConfig", "maxTokens", "max_tokens", "parameters", "input",
    "stream", "n", "num_generations", "generation_config", "labels", "requestMetadata", "version",
    "completion_args", "instances", "text_tokens", "image_pixels", "completions", "generations",
])  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-2, max_value=10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "message-end", "stream-end", "message_start", "interaction.completed",
                     "conversation.response.done", "step.delta", "step.start", "tool-call-start",
                     "function.call.delta", "5m", "stop", "\ud800"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(WORDS, VALUES, max_size=6)


def watch(name: str, fields: Any, pieces: list[bytes], headers: dict[str, str]) -> None:
    """Read any request and any answer to it; the bytes come out as they went in."""
    host, path = PATHS[name]
    dialect = dialect_for(host, path)
    reading = dialect.read("POST", path, "application/json", json.dumps(fields).encode())
    assert isinstance(reading, Reading)
    for count_always in (False, True):
        seen, given_back = observe(
            dialect, reading, pieces, headers=headers, sink=Recorder(), count_always=count_always
        )
        assert given_back == b"".join(pieces)
        assert seen.usage is None or isinstance(seen.usage, Usage)


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=25, deadline=None)
@given(fields=OBJECTS, payloads=st.lists(OBJECTS, max_size=3), at=st.integers(0, 200))
def test_no_json_is_raised_on(
    name: str, fields: dict[str, Any], payloads: list[dict[str, Any]], at: int
) -> None:
    if name in ("converse", "invoke"):
        stream = b"".join(chunk(p) if name == "invoke" else frame("metadata", p) for p in payloads)
        watch(name, fields, [stream[:at], stream[at:]], AWS)
    else:
        lines = b"".join(json.dumps(payload).encode() + b"\n" for payload in payloads)
        watch(name, fields, [lines[:at], lines[at:]], NDJSON)
        events = b"".join(b"data: " + json.dumps(p).encode() + b"\n\n" for p in payloads)
        watch(name, fields, [events[:at], events[at:]], SSE)
    for payload in payloads[:1]:
        watch(name, fields, [json.dumps(payload).encode()], JSON)


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=25, deadline=None)
@given(noise=st.binary(max_size=200))
def test_no_bytes_are_raised_on(name: str, noise: bytes) -> None:
    for headers in (JSON, SSE, NDJSON, AWS):
        watch(name, {}, [noise], headers)


def test_quantities_are_whole_numbers_however_written() -> None:
    for written, number in ((0, 0), (7, 7), (7.0, 7), (Decimal("7.0"), 7), (Decimal("1E+2"), 100)):
        assert whole_number(written) == number
    for odd in (None, True, "7", 7.5, -1, 10**16, Decimal("7.5"), Decimal("1E+300"), [7]):
        assert whole_number(odd) is None


def test_units_are_taken_from_the_members_that_have_one() -> None:
    units = {"a": "input_tokens", "b": "pages"}
    assert in_units({"a": 3, "b": 2.0, "c": 9}, units).usage == Usage(input_tokens=3, pages=2)
    assert in_units({"a": 0}, units).usage is None
    assert in_units({}, units).defects == ()
    odd = in_units({"a": "3", "b": 1}, units)
    assert (odd.usage, odd.defects) == (None, ("found a str as a, expected a whole number",))


def test_a_header_counts_in_plain_digits_only() -> None:
    assert header_count({"x": " 12 "}, "x") == 12
    assert header_count({"x": "1.2"}, "x") is None
    assert header_count({}, "x") is None
