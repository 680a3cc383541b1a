"""Answer as Gemini: `models/NAME:generateContent` and its companions under `/v1beta` and `/v1`.

Without `alt=sse` a stream is one JSON array.
A wrong key is answered with 400, a missing one with 403.
Source: types of the google-genai package 3.4 and recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from meter.simulator.dialects.gemini_content import (
    ContentTask,
    by_modality,
    content_tokens,
    in_camel_case,
    read_contents,
)
from meter.simulator.dialects.openai_chat import read_number
from meter.simulator.dialects.openai_embeddings import unit_vector
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.routing import Dialect, Route, ordered_refusal, read_bearer, route
from meter.simulator.world import World

_DIMENSIONS = 768
_DIMENSIONS_LIMIT = 3072
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def generate(request: Request, world: World) -> Reply:
    """Answer in one piece. Raises: Refusal."""
    task = ContentTask(request, world)
    candidates = [task.candidate(index, said) for index, said in enumerate(task.said)]
    body = task.payload(candidates, task.usage(task.candidate_tokens))
    return Whole(payload=body, usage_path=("usageMetadata",), bill=task.bill())


def stream(request: Request, world: World) -> Reply:
    """Answer as a stream of events, or as one growing JSON array. Raises: Refusal."""
    task = ContentTask(request, world)
    events = tuple(task.events())
    if request.query.get("alt") == "sse":
        return Streamed(
            events,
            task.bill(),
            framing="crlf",
            content_type="text/event-stream",
            allows_comments=False,
        )
    return Streamed(
        events,
        task.bill(),
        framing="array",
        content_type="application/json; charset=UTF-8",
        closing=b"]",
        allows_comments=False,
    )


def count_tokens(request: Request, world: World) -> Reply:
    """Count the input of a request; free. Raises: Refusal."""
    given = in_camel_case(request.fields)
    inner = given.get("generateContentRequest")
    fields = inner if isinstance(inner, dict) else given
    parts, _ = read_contents(fields, world.settings.count)
    tokens = sum(size for _, size in parts)
    return Whole(payload={"totalTokens": tokens, "promptTokensDetails": by_modality(tokens)})


def embed(request: Request, world: World) -> Reply:
    """Embed one content. Raises: Refusal."""
    tokens, vector = _embedded(request.fields, request, world)
    return Whole(payload={"embedding": {"values": vector}}, bill={"input_tokens": tokens})


def embed_batch(request: Request, world: World) -> Reply:
    """Embed several contents. Raises: Refusal."""
    rows = request.fields.get("requests")
    if not isinstance(rows, list) or not rows:
        raise Refusal(400, "BatchEmbedContentsRequest.requests: at least one is required.")
    embedded = [_embedded(row if isinstance(row, dict) else {}, request, world) for row in rows]
    tokens = sum(size for size, _ in embedded)
    body = {
        "embeddings": [{"values": vector} for _, vector in embedded],
        "usageMetadata": {"promptTokenCount": tokens, "promptTokenDetails": by_modality(tokens)},
    }
    return Whole(payload=body, usage_path=("usageMetadata",), bill={"input_tokens": tokens})


def list_models(_request: Request, world: World) -> Reply:
    """List a few models; the simulator answers to others too."""
    names = world.settings.models or {"gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash"}
    return Whole(payload={"models": [_model(name) for name in sorted(names)]})


def show_model(request: Request, _world: World) -> Reply:
    """Show one model."""
    return Whole(payload=_model(request.model_requested))


def refuse(refusal: Refusal) -> Whole:
    """Return the body of an error."""
    return Whole(payload={"error": _error(refusal)}, status=refusal.status)


def error_event(status: int) -> Event:
    """Return the event that ends a stream which failed on the way."""
    return Event({"error": _error(ordered_refusal(status))})


def _embedded(fields: Json, request: Request, world: World) -> tuple[int, list[float]]:
    fields = in_camel_case(fields)
    content = fields.get("content")
    if not isinstance(content, dict):
        raise Refusal(400, "EmbedContentRequest.content: content is not specified")
    dimensions = read_number(fields, "outputDimensionality", _DIMENSIONS, _DIMENSIONS_LIMIT)
    vector = unit_vector(f"{request.model}:{json.dumps(content)}", dimensions)
    return content_tokens(content, world.settings.count), vector


def _model(name: str) -> Json:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def _error(refusal: Refusal) -> Json:
    status = _STATUSES.get(refusal.status, "UNKNOWN")
    error: Json = {"code": refusal.status, "message": refusal.message, "status": status}
    if refusal.code == "invalid_api_key":
        error["message"] = "API key not valid. Please pass a valid API key."
        error["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            }
        ]
    return error


def _read_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    given = headers.get("x-goog-api-key") or query.get("key")
    return given or read_bearer(headers, query)


def _routes(version: str, header: str) -> tuple[Route, ...]:
    model = f"/{version}/models/{{model}}"
    return (
        route("POST", f"{model}:generateContent", "generate_content", generate),
        route("POST", f"{model}:streamGenerateContent", "generate_content", stream),
        route("POST", f"{model}:countTokens", "count_tokens", count_tokens),
        route("POST", f"{model}:embedContent", "embed_content", embed),
        route("POST", f"{model}:batchEmbedContents", "embed_content", embed_batch),
        route("GET", f"/{version}/models", "models", list_models, header),
        route("GET", model, "models", show_model, header),
    )


DIALECT = Dialect(
    name="gemini",
    prefix="/v1beta",
    # The package asks version 1 by default, and shares two of its paths with OpenAI.
    routes=(*_routes("v1beta", ""), *_routes("v1", "x-goog-api-key")),
    read_key=_read_key,
    refuse=refuse,
    error_event=error_event,
    key_statuses=(403, 400),
)
