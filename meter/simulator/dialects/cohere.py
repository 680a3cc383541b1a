"""Answer as Cohere under `/cohere`: version 2 of chat, with billed units beside tokens.

`billed_units` is what is charged: the texts alone. `tokens` also holds the provider's own frame.
Source: types of the cohere package 7.3 and recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from meter.simulator.composing import Composition, Wish, compose, seed_of
from meter.simulator.dialects.openai_chat import DONE, read_limit
from meter.simulator.dialects.openai_prompt import count_content, read_tools, text_of
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.routing import Dialect, ordered_refusal, read_bearer, route
from meter.simulator.tools import CALL_FRAME_TOKENS
from meter.simulator.world import World

_FRAME_TOKENS = 200
_MESSAGE_FRAME_TOKENS = 7


def answer(request: Request, world: World) -> Reply:
    """Answer a chat request. Raises: Refusal."""
    fields = request.fields
    count = world.settings.count
    messages = fields.get("messages")
    if not request.model or not isinstance(messages, list) or not messages:
        raise Refusal(400, "invalid request: model and messages must be provided.")
    rows = [message for message in messages if isinstance(message, dict)]
    billed = sum(count_content(message.get("content"), count) for message in rows)
    if fields.get("tools"):
        billed += count(json.dumps(fields["tools"]))
    newest = messages[-1] if isinstance(messages[-1], dict) else {}
    choice = {"REQUIRED": "any", "NONE": "none"}.get(str(fields.get("tool_choice")), "auto")
    is_user = newest.get("role") == "user"
    wish = Wish(
        seed=seed_of(fields, "max_tokens", "model"),
        last_text=text_of(newest.get("content")) if is_user else "",
        limit=read_limit(fields, "max_tokens"),
        tools=read_tools(fields.get("tools")),
        tool_choice=choice,
        orders=request.orders,
    )
    said = compose(wish, world.settings)
    usage = {
        "billed_units": {"input_tokens": billed, "output_tokens": said.output_tokens},
        "tokens": {
            "input_tokens": billed + _FRAME_TOKENS + _MESSAGE_FRAME_TOKENS * len(rows),
            "output_tokens": said.output_tokens,
        },
        "cached_tokens": 0,
    }
    call_id = world.new_id(f"{said.call.name}_", 12) if said.call is not None else ""
    message_id = world.new_id("", 32)
    bill = {"input_tokens": billed, "output_tokens": said.output_tokens}
    if fields.get("stream"):
        events = tuple(_render_stream(message_id, said, call_id, usage))
        return Streamed(events, bill, framing="named", closing=DONE)
    message: Json = {"role": "assistant"}
    if said.call is not None:
        message["tool_plan"] = f"I will use the {said.call.name} tool."
        message["tool_calls"] = [_call(call_id, said.call.name, said.call_json)]
    else:
        message["content"] = [{"type": "text", "text": said.text}]
    body = {
        "id": message_id,
        "message": message,
        "finish_reason": _finish_reason(said),
        "usage": usage,
    }
    return Whole(payload=body, usage_path=("usage",), bill=bill)


def refuse(refusal: Refusal) -> Whole:
    """Return the body of an error."""
    return Whole(payload={"id": "simulated", "message": refusal.message}, status=refusal.status)


def error_event(status: int) -> Event:
    """Return the event that ends a stream which failed on the way."""
    delta = {"finish_reason": "ERROR", "error": ordered_refusal(status).message}
    return Event({"type": "message-end", "delta": delta}, name="message-end")


def _call(call_id: str, name: str, arguments: str) -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _finish_reason(said: Composition) -> str:
    if said.is_cut_short:
        return "MAX_TOKENS"
    return "COMPLETE" if said.call is None else "TOOL_CALL"


def _render_stream(
    message_id: str, said: Composition, call_id: str, usage: Json
) -> Iterator[Event]:
    def event(kind: str, message: Json | None = None, index: int | None = 0, **about: Any) -> Event:
        payload: Json = {"type": kind}
        if index is not None:
            payload["index"] = index
        if message is not None:
            payload["delta"] = {"message": message}
        return Event(payload, name=kind, **about)

    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    start = event("message-start", empty, None)
    start.payload["id"] = message_id
    yield start
    if said.call is not None:
        first = _call(call_id, said.call.name, "")
        yield event(
            "tool-call-start",
            {"tool_calls": first},
            text=said.call.name,
            lane=1,
            hidden_tokens=CALL_FRAME_TOKENS,
        )
        for piece in said.call_pieces:
            step = {"tool_calls": {"function": {"arguments": piece}}}
            yield event("tool-call-delta", step, text=piece, lane=2)
        yield event("tool-call-end")
    else:
        yield event("content-start", {"content": {"type": "text", "text": ""}})
        for piece in said.pieces:
            yield event("content-delta", {"content": {"text": piece}}, text=piece)
        yield event("content-end")
    delta = {"finish_reason": _finish_reason(said), "usage": usage}
    yield Event(
        {"type": "message-end", "delta": delta},
        name="message-end",
        usage_path=("delta", "usage"),
    )


DIALECT = Dialect(
    name="cohere",
    prefix="/cohere",
    routes=(route("POST", "/cohere/v2/chat", "chat", answer),),
    read_key=read_bearer,
    refuse=refuse,
    error_event=error_event,
)
