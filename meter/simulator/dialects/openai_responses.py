"""Answer `POST /v1/responses` with its typed events, and read stored answers again.

Source: types of the openai package 3.54 and recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from meter.simulator.composing import Composition, Wish, compose, seed_of
from meter.simulator.dialects.openai_chat import read_limit, reasoning_of
from meter.simulator.dialects.openai_prompt import (
    Count,
    count_content,
    count_tools,
    read_tool_choice,
    text_of,
)
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.tools import CALL_FRAME_TOKENS, Tool
from meter.simulator.world import StoredResponse, World

_MESSAGE_TOKENS = 3
_START_TOKENS = 3
# One less before an answer that is reasoned about first: seen in recorded exchanges, 2025-2026.
_START_TOKENS_REASONING = 2
_CACHE_BLOCK_TOKENS = 128
_OBFUSCATION = "x7Kq2mVt"
_ECHOED: tuple[tuple[str, Any], ...] = (
    ("background", False),
    ("instructions", None),
    ("max_output_tokens", None),
    ("max_tool_calls", None),
    ("metadata", {}),
    ("parallel_tool_calls", True),
    ("previous_response_id", None),
    ("prompt_cache_key", None),
    ("safety_identifier", None),
    ("store", True),
    ("temperature", 1.0),
    ("tool_choice", "auto"),
    ("tools", []),
    ("top_logprobs", 0),
    ("top_p", 1.0),
    ("truncation", "disabled"),
    ("user", None),
)


def answer(request: Request, world: World) -> Reply:
    """Answer a request of the Responses API. Raises: Refusal."""
    fields = request.fields
    if not request.model:
        raise Refusal(400, "Missing required parameter: 'model'.", None, "model")
    parts, last_text = _read_input(request, world)
    input_tokens = sum(size for _, size in parts) + _start_tokens(request.model)
    owner = f"{request.key}:{request.model}"
    cached = min(world.cached_tokens(owner, parts, _CACHE_BLOCK_TOKENS), input_tokens)
    said = compose(_read_wish(request, last_text), world.settings)
    usage: Json = {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": said.output_tokens,
        "output_tokens_details": {"reasoning_tokens": said.reasoning_tokens},
        "total_tokens": input_tokens + said.output_tokens,
    }
    started = _frame(request, world.new_id("resp_", 48))
    output = _render_output(said, world)
    status = "incomplete" if said.is_cut_short else "completed"
    finished = {
        **started,
        "status": status,
        "completed_at": None if said.is_cut_short else int(time.time()),
        "incomplete_details": {"reason": "max_output_tokens"} if said.is_cut_short else None,
        "output": output,
        "service_tier": _served_tier(fields.get("service_tier")),
        "usage": usage,
    }
    if fields.get("store", True):
        stored = StoredResponse(request.key, finished, input_tokens + said.output_tokens)
        world.store_response(started["id"], stored)
    bill = {
        "input_tokens": input_tokens,
        "cache_read_tokens": cached,
        "output_tokens": said.output_tokens,
        "reasoning_tokens": said.reasoning_tokens,
    }
    if not fields.get("stream"):
        return Whole(payload=finished, usage_path=("usage",), bill=bill)
    options = fields.get("stream_options")
    is_padded = not isinstance(options, dict) or options.get("include_obfuscation") is not False
    events = _numbered(_render_stream(started, finished, said, output), is_padded=is_padded)
    return Streamed(tuple(events), bill, framing="named")


def count_input(request: Request, world: World) -> Reply:
    """Count the input of a request; free. Raises: Refusal."""
    parts, _ = _read_input(request, world)
    tokens = sum(size for _, size in parts) + _start_tokens(request.model)
    return Whole(payload={"object": "response.input_tokens", "input_tokens": tokens})


def show(request: Request, world: World) -> Reply:
    """Show a stored answer again, usage included; nothing is billed. Raises: Refusal."""
    return Whole(payload=_stored(request.parts["id"], request, world).payload)


def delete(request: Request, world: World) -> Reply:
    """Delete a stored answer. Raises: Refusal."""
    name = request.parts["id"]
    _stored(name, request, world)
    del world.responses[name]
    return Whole(payload={"id": name, "object": "response", "deleted": True})


def _stored(name: str, request: Request, world: World) -> StoredResponse:
    stored = world.responses.get(name)
    if stored is None or stored.owner != request.key:
        raise Refusal(404, f"Response with id '{name}' not found.")
    return stored


def _read_wish(request: Request, last_text: str) -> Wish:
    fields = request.fields
    text = fields.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    schema: Json | None = None
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        schema = shape.get("schema") or {}
    elif isinstance(shape, dict) and shape.get("type") == "json_object":
        schema = {}
    reasoning = reasoning_of(request.model)
    effort = fields.get("reasoning")
    if isinstance(effort, dict) and effort.get("effort") in ("none", "minimal"):
        reasoning = "none"
    return Wish(
        seed=seed_of(fields, "max_output_tokens", "model"),
        last_text=last_text,
        limit=read_limit(fields, "max_output_tokens"),
        tools=_read_tools(fields.get("tools")),
        tool_choice=read_tool_choice(fields.get("tool_choice")),
        schema=schema,
        reasoning=reasoning,
        orders=request.orders,
    )


def _read_tools(given: Any) -> tuple[Tool, ...]:
    return tuple(
        Tool(
            name=str(entry.get("name", "")),
            description=str(entry.get("description") or ""),
            schema=entry.get("parameters") or {},
        )
        for entry in given or ()
        if isinstance(entry, dict) and entry.get("type") == "function"
    )


def _start_tokens(model: str) -> int:
    return _START_TOKENS if reasoning_of(model) == "none" else _START_TOKENS_REASONING


def _read_input(request: Request, world: World) -> tuple[list[tuple[str, int]], str]:
    """Return the parts of the prompt with their tokens, and the newest text of the user."""
    fields = request.fields
    count = world.settings.count
    parts: list[tuple[str, int]] = []
    before = fields.get("previous_response_id")
    if isinstance(before, str):
        parts.append((before, _stored(before, request, world).context_tokens))
    tools = _read_tools(fields.get("tools"))
    if tools:
        parts.append((json.dumps(fields["tools"]), count_tools(tools, request.model, count)))
    if isinstance(fields.get("instructions"), str):
        text = fields["instructions"]
        parts.append((text, _MESSAGE_TOKENS + count("system") + count(text)))
    given = fields.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise Refusal(400, "'input' must be a text or a list of items.", None, "input")
    for item in given:
        if isinstance(item, dict):
            parts.append((json.dumps(item, ensure_ascii=False), _item_tokens(item, count)))
    newest = given[-1] if isinstance(given[-1], dict) else {}
    is_user = newest.get("role") == "user"
    return parts, text_of(newest.get("content")) if is_user else ""


def _item_tokens(item: Json, count: Count) -> int:
    tokens = _MESSAGE_TOKENS + count(str(item.get("role", "")))
    tokens += count_content(item.get("content"), count)
    texts = (item.get(name) for name in ("name", "arguments", "output"))
    return tokens + sum(count(text) for text in texts if isinstance(text, str))


def _frame(request: Request, response_id: str) -> Json:
    echoed = {name: request.fields.get(name, default) for name, default in _ECHOED}
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": [],
        **echoed,
        "reasoning": request.fields.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": request.fields.get("service_tier") or "auto",
        "text": request.fields.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
        "usage": None,
    }


def _served_tier(asked: Any) -> str:
    return {"flex": "flex", "priority": "priority", "fast": "priority"}.get(asked, "default")


def _render_output(said: Composition, world: World) -> list[Json]:
    status = "incomplete" if said.is_cut_short else "completed"
    output: list[Json] = []
    if said.reasoning_tokens:
        output.append({"id": world.new_id("rs_", 48), "type": "reasoning", "summary": []})
    if said.call is not None:
        output.append(
            {
                "id": world.new_id("fc_", 48),
                "type": "function_call",
                "status": status,
                "arguments": said.call_json,
                "call_id": world.new_id("call_"),
                "name": said.call.name,
            }
        )
    elif said.pieces:
        output.append(
            {
                "id": world.new_id("msg_", 48),
                "type": "message",
                "status": status,
                "content": [_text_part(said.text)],
                "role": "assistant",
            }
        )
    return output


def _text_part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _render_stream(
    started: Json, finished: Json, said: Composition, output: list[Json]
) -> Iterator[Event]:
    yield _event("response.created", {"response": started})
    yield _event("response.in_progress", {"response": started})
    for place, item in enumerate(output):
        if item["type"] == "reasoning":
            yield _event(
                "response.output_item.added",
                {"output_index": place, "item": item},
                hidden_tokens=said.reasoning_tokens,
            )
        elif item["type"] == "function_call":
            yield from _render_call(place, item, said)
        else:
            yield from _render_message(place, item, said)
        yield _event("response.output_item.done", {"output_index": place, "item": item})
    kind = f"response.{finished['status']}"
    yield _event(kind, {"response": finished}, usage_path=("response", "usage"))


def _render_message(place: int, item: Json, said: Composition) -> Iterator[Event]:
    where = {"item_id": item["id"], "output_index": place, "content_index": 0}
    begun = {**item, "status": "in_progress", "content": []}
    yield _event("response.output_item.added", {"output_index": place, "item": begun})
    yield _event("response.content_part.added", {**where, "part": _text_part("")})
    for piece in said.pieces:
        yield _event(
            "response.output_text.delta", {**where, "delta": piece, "logprobs": []}, text=piece
        )
    yield _event("response.output_text.done", {**where, "text": said.text, "logprobs": []})
    yield _event("response.content_part.done", {**where, "part": _text_part(said.text)})


def _render_call(place: int, item: Json, said: Composition) -> Iterator[Event]:
    where = {"item_id": item["id"], "output_index": place}
    begun = {**item, "status": "in_progress", "arguments": ""}
    yield _event(
        "response.output_item.added",
        {"output_index": place, "item": begun},
        text=item["name"],
        lane=1,
        hidden_tokens=CALL_FRAME_TOKENS,
    )
    for piece in said.call_pieces:
        yield _event(
            "response.function_call_arguments.delta", {**where, "delta": piece}, text=piece, lane=2
        )
    done = {**where, "arguments": item["arguments"], "name": item["name"]}
    yield _event("response.function_call_arguments.done", done)


def _event(kind: str, more: Json, **about: Any) -> Event:
    return Event({"type": kind, **more}, name=kind, **about)


def _numbered(events: Iterator[Event], *, is_padded: bool) -> Iterator[Event]:
    """Give each event its sequence number, and deltas their padding."""
    for number, event in enumerate(events):
        event.payload["sequence_number"] = number
        if is_padded and event.payload["type"].endswith(".delta"):
            event.payload["obfuscation"] = _OBFUSCATION
        yield event
