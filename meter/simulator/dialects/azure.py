"""Answer as Azure OpenAI under `/openai`: deployments, content filters, the `api-key` header.

A deployment's name is not a model's name; one that does not begin like a model of OpenAI is taken
to serve gpt-4o-mini. Old API versions refuse `stream_options`.
Source: recorded exchanges, and threads about `stream_options` and api-version, read 2026-11-22.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from meter.simulator.dialects import openai_completions, openai_embeddings
from meter.simulator.dialects.openai import headers, routes_under
from meter.simulator.dialects.openai_chat import OPENAI, answer_chat
from meter.simulator.dialects.openai_errors import error_event, refuse
from meter.simulator.replies import Json, Refusal, Reply, Request
from meter.simulator.routing import Answer, Dialect, read_bearer, route
from meter.simulator.world import World

_FIRST_VERSION_WITH_STREAM_OPTIONS = "2024-09-01"
_MODEL_LIKE = re.compile(r"(gpt-|o\d|text-embedding-|davinci|babbage)")
_DEFAULT_MODEL = "gpt-4o-mini"
_SAFE = {"filtered": False, "severity": "safe"}
_FILTERS = {"hate": _SAFE, "self_harm": _SAFE, "sexual": _SAFE, "violence": _SAFE}
_PROMPT_FILTERS = [{"prompt_index": 0, "content_filter_results": _FILTERS}]


def answer(request: Request, world: World) -> Reply:
    """Answer a chat request of a deployment. Raises: Refusal."""
    version = request.query.get("api-version", "")
    if not version:
        raise Refusal(404, "Resource not found", "404")
    if "stream_options" in request.fields and version < _FIRST_VERSION_WITH_STREAM_OPTIONS:
        message = "Unrecognized request argument supplied: stream_options"
        raise Refusal(400, message, None, None)
    return _answer_as_served(request, world, _answer_chat)


def _answer_chat(request: Request, world: World) -> Reply:
    return answer_chat(request, world, _FLAVOUR)


def _of_deployment(inner: Answer) -> Answer:
    return lambda request, world: _answer_as_served(request, world, inner)


def _answer_as_served(request: Request, world: World, inner: Answer) -> Reply:
    served = _served(request, world)
    return replace(inner(served, world), model=served.model)


def _served(request: Request, world: World) -> Request:
    if _MODEL_LIKE.match(request.model):
        return request
    model = world.settings.served_models.get(_DEFAULT_MODEL, _DEFAULT_MODEL)
    return replace(request, model=model)


def _read_key(given: Mapping[str, str], query: Mapping[str, str]) -> str:
    return given.get("api-key") or read_bearer(given, query)


def _decorate(payload: Json) -> Json:
    for choice in payload["choices"]:
        choice["content_filter_results"] = _FILTERS
    if payload["object"] == "chat.completion":
        payload["prompt_filter_results"] = _PROMPT_FILTERS
    return payload


_FLAVOUR = replace(
    OPENAI,
    has_service_tier=False,
    decorate=_decorate,
    opening=(
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": _PROMPT_FILTERS,
        },
    ),
)
_DEPLOYMENT = "/openai/deployments/{model}"

DIALECT = Dialect(
    name="azure",
    prefix="/openai",
    routes=(
        route("POST", f"{_DEPLOYMENT}/chat/completions", "chat", answer),
        route(
            "POST",
            f"{_DEPLOYMENT}/completions",
            "completions",
            _of_deployment(openai_completions.answer),
        ),
        route(
            "POST",
            f"{_DEPLOYMENT}/embeddings",
            "embeddings",
            _of_deployment(openai_embeddings.answer),
        ),
        *routes_under("/openai/v1"),
    ),
    read_key=_read_key,
    refuse=refuse,
    error_event=error_event,
    headers=headers,
)
