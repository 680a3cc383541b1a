"""Answer as Mistral under `/mistral`: usage always comes, `stream_options` is refused.

Source: types of the mistralai package 3.7, recorded exchanges and threads about
`extra_forbidden`, read 2026-11-22.
"""

from __future__ import annotations

from typing import Literal

from meter.simulator.dialects import openai_embeddings
from meter.simulator.dialects.openai_chat import Flavour, Spent, answer_chat
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Whole
from meter.simulator.routing import Dialect, ordered_refusal, read_bearer, route
from meter.simulator.world import World

_TYPES = {400: "invalid_request_error", 404: "invalid_model", 429: "rate_limited"}
_CODES = {400: "3000", 404: "1500", 429: "1300"}
_PADDING = "abcdefghijklmnop"


def answer(request: Request, world: World) -> Reply:
    """Answer a chat request. Raises: Refusal."""
    if "stream_options" in request.fields:
        raise Refusal(422, "Extra inputs are not permitted", "extra_forbidden", "stream_options")
    return answer_chat(request, world, _FLAVOUR)


def embed(request: Request, world: World) -> Reply:
    """Answer an embedding request. Raises: Refusal."""
    reply = openai_embeddings.answer(request, world)
    if isinstance(reply, Whole) and isinstance(reply.payload, dict):
        reply.payload["id"] = world.new_id("", 32)
        reply.payload["usage"]["completion_tokens"] = 0
    return reply


def refuse(refusal: Refusal) -> Whole:
    """Return the body of an error: three shapes, by status."""
    body: Json
    if refusal.status == 401:
        body = {"detail": "Invalid API Key"}
    elif refusal.status == 422:
        problem = {
            "type": refusal.code or "value_error",
            "loc": ["body", refusal.param],
            "msg": refusal.message,
            "input": None,
        }
        body = {
            "object": "error",
            "message": {"detail": [problem]},
            "type": "invalid_request_error",
        }
        body |= {"param": None, "code": None}
    else:
        body = _error(refusal)
    return Whole(payload=body, status=refusal.status)


def error_event(status: int) -> Event:
    """Return the event that ends a stream which failed on the way."""
    return Event(_error(ordered_refusal(status)))


def _error(refusal: Refusal) -> Json:
    return {
        "object": "error",
        "message": refusal.message,
        "type": _TYPES.get(refusal.status, "internal_server_error"),
        "param": refusal.param,
        "code": _CODES.get(refusal.status, "1000"),
    }


def _usage(spent: Spent) -> Json:
    return {
        "prompt_tokens": spent.prompt,
        "total_tokens": spent.prompt + spent.completion,
        "completion_tokens": spent.completion,
    }


def _reasoning(_model: str) -> Literal["none", "hidden", "visible"]:
    return "none"


def _decorate(payload: Json) -> Json:
    kept = {
        name: value
        for name, value in payload.items()
        if name not in ("service_tier", "system_fingerprint")
    }
    for choice in kept["choices"]:
        choice.pop("logprobs", None)
    if payload["object"].endswith(".chunk"):
        kept["p"] = _PADDING
    return kept


_FLAVOUR = Flavour(
    usage=_usage,
    reasoning=_reasoning,
    id_prefix="",
    usage_place="finish-chunk",
    has_refusal=False,
    has_service_tier=False,
    has_obfuscation=False,
    decorate=_decorate,
)

DIALECT = Dialect(
    name="mistral",
    prefix="/mistral",
    routes=(
        route("POST", "/mistral/v1/chat/completions", "chat", answer),
        route("POST", "/mistral/v1/embeddings", "embeddings", embed),
    ),
    read_key=read_bearer,
    refuse=refuse,
    error_event=error_event,
)
