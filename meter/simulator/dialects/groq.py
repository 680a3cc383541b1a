"""Answer as Groq under `/groq`: `x_groq.usage` on the last chunk, without being asked.

Source: types of the groq package 1.7 and recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from meter.simulator.dialects.openai_chat import Flavour, Spent, answer_chat
from meter.simulator.dialects.openai_errors import error_event, refuse
from meter.simulator.replies import Event, Json, Reply, Request, Streamed
from meter.simulator.routing import Dialect, read_bearer, route
from meter.simulator.world import World

_PROMPT_SECONDS_A_TOKEN = 0.0001
_OUTPUT_SECONDS_A_TOKEN = 0.001


def answer(request: Request, world: World) -> Reply:
    """Answer a chat request. Raises: Refusal."""
    reply = answer_chat(request, world, _FLAVOUR)
    if not isinstance(reply, Streamed):
        return reply
    events = list(reply.events)
    request_id = world.new_id("req_")
    events[0].payload["x_groq"] = {"id": request_id}
    place = next(
        place for place in range(len(events) - 1, -1, -1) if events[place].payload["choices"]
    )
    usage = reply.usage_at(reply.bill["output_tokens"]) if reply.usage_at else {}
    events[place] = _finished(events[place], {"id": request_id, "usage": usage})
    return replace(reply, events=tuple(events))


def _finished(event: Event, x_groq: Json) -> Event:
    return replace(event, payload={**event.payload, "x_groq": x_groq}, usage_path=_USAGE_PATH)


def _usage(spent: Spent) -> Json:
    prompt_seconds = round(spent.prompt * _PROMPT_SECONDS_A_TOKEN, 6)
    output_seconds = round(spent.completion * _OUTPUT_SECONDS_A_TOKEN, 6)
    return {
        "queue_time": 0.01,
        "prompt_tokens": spent.prompt,
        "prompt_time": prompt_seconds,
        "completion_tokens": spent.completion,
        "completion_time": output_seconds,
        "total_tokens": spent.prompt + spent.completion,
        "total_time": round(prompt_seconds + output_seconds, 6),
    }


def _reasoning(_model: str) -> Literal["none", "hidden", "visible"]:
    return "none"


_USAGE_PATH = ("x_groq", "usage")
_FLAVOUR = Flavour(
    usage=_usage,
    reasoning=_reasoning,
    has_refusal=False,
    has_service_tier=False,
    has_obfuscation=False,
)

DIALECT = Dialect(
    name="groq",
    prefix="/groq",
    routes=(route("POST", "/groq/openai/v1/chat/completions", "chat", answer),),
    read_key=read_bearer,
    refuse=refuse,
    error_event=error_event,
)
