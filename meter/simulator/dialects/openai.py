"""Answer as OpenAI: the paths under `/v1`, its keys and its errors.

Source: request and answer types of the openai package 3.54, and recorded exchanges, read
2026-11-22. Each endpoint has a file of its own.
"""

from __future__ import annotations

from meter.simulator.dialects import (
    openai_audio,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_files,
    openai_images,
    openai_responses,
)
from meter.simulator.dialects.openai_errors import error_event, refuse
from meter.simulator.replies import Reply, Request, Whole
from meter.simulator.routing import Dialect, Route, read_bearer, route
from meter.simulator.world import World

_CREATED_AT = 1_700_000_000
_MODERATION_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def list_models(_request: Request, world: World) -> Reply:
    """List the models that the simulator knows by name; it answers to others too."""
    names = world.settings.models or sorted(world.settings.served_models)
    return Whole(payload={"object": "list", "data": [_model(name) for name in sorted(names)]})


def show_model(request: Request, _world: World) -> Reply:
    """Show one model."""
    return Whole(payload=_model(request.model_requested))


def moderate(request: Request, world: World) -> Reply:
    """Flag an input that names violence; moderation is free and reports no usage."""
    given = request.fields.get("input", "")
    inputs = given if isinstance(given, list) else [given]
    return Whole(
        payload={
            "id": world.new_id("modr-"),
            "model": request.model or "omni-moderation-latest",
            "results": [_moderated(str(text)) for text in inputs],
        }
    )


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED_AT, "owned_by": "simulator"}


def _moderated(text: str) -> dict[str, object]:
    is_violent = "kill" in text.lower()
    flags = {name: is_violent and name == "violence" for name in _MODERATION_CATEGORIES}
    return {
        "flagged": is_violent,
        "categories": flags,
        "category_scores": {name: 0.9 if flag else 0.0001 for name, flag in flags.items()},
        "category_applied_input_types": {name: ["text"] for name in flags},
    }


def routes_under(prefix: str) -> tuple[Route, ...]:
    """Return the routes of the OpenAI API under a prefix such as "/v1"."""
    return (
        route("POST", f"{prefix}/chat/completions", "chat", openai_chat.answer),
        route("POST", f"{prefix}/completions", "completions", openai_completions.answer),
        route("POST", f"{prefix}/embeddings", "embeddings", openai_embeddings.answer),
        route("POST", f"{prefix}/responses", "responses", openai_responses.answer),
        route(
            "POST",
            f"{prefix}/responses/input_tokens",
            "responses.input_tokens",
            openai_responses.count_input,
        ),
        route("GET", f"{prefix}/responses/{{id}}", "responses.stored", openai_responses.show),
        route("DELETE", f"{prefix}/responses/{{id}}", "responses.stored", openai_responses.delete),
        route("POST", f"{prefix}/moderations", "moderations", moderate),
        route("POST", f"{prefix}/images/generations", "images", openai_images.answer),
        route("POST", f"{prefix}/audio/speech", "speech", openai_audio.speak),
        route("POST", f"{prefix}/audio/transcriptions", "transcriptions", openai_audio.transcribe),
        route("POST", f"{prefix}/audio/translations", "translations", openai_audio.translate),
        route("GET", f"{prefix}/models", "models", list_models),
        route("GET", f"{prefix}/models/{{model}}", "models", show_model),
        route("POST", f"{prefix}/files", "files", openai_files.upload),
        route("GET", f"{prefix}/files", "files", openai_files.list_files),
        route("GET", f"{prefix}/files/{{id}}", "files", openai_files.show),
        route("DELETE", f"{prefix}/files/{{id}}", "files", openai_files.delete),
        route("GET", f"{prefix}/files/{{id}}/content", "files", openai_files.read),
    )


def headers(world: World) -> list[tuple[str, str]]:
    """Return the headers that every answer carries."""
    return [
        ("x-request-id", world.new_id("req_", 32)),
        ("openai-organization", "simulated"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
    ]


DIALECT = Dialect(
    name="openai",
    prefix="/v1",
    routes=routes_under("/v1"),
    read_key=read_bearer,
    refuse=refuse,
    error_event=error_event,
    headers=headers,
)
