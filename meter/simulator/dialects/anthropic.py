"""Answer as Anthropic: `/v1/messages` and its token counter.

`input_tokens` leaves cached tokens out; `message_delta.usage` is cumulative and has no split of
the cache writes.
Source: types of the anthropic package 2.12 and recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meter.simulator.composing import Composition, Wish, compose, seed_of
from meter.simulator.dialects.openai_chat import read_limit
from meter.simulator.dialects.openai_prompt import Count, count_content, text_of
from meter.simulator.prose import grouped
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.routing import Dialect, ordered_refusal, read_bearer, route
from meter.simulator.tools import CALL_FRAME_TOKENS, Tool
from meter.simulator.world import World

_MESSAGE_TOKENS = 3
_START_TOKENS = 4
# The hidden instructions that come with tools, by whether a call is forced.
_TOOL_TOKENS = 159
_FORCED_TOOL_TOKENS = 235
_CREATED_AT = "2025-01-01T00:00:00Z"
_SIGNATURE = "c2ltdWxhdGVkLXNpZ25hdHVyZQ=="
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class _Block:
    """Hold one part of a prompt; `ttl` is "5m" or "1h" where it ends a cached prefix."""

    text: str
    tokens: int
    ttl: str | None


@dataclass(frozen=True, slots=True)
class _Cache:
    """Hold the tokens of a prompt that were read from and written to the cache."""

    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def written(self) -> int:
        return self.written_5m + self.written_1h


def answer(request: Request, world: World) -> Reply:
    """Answer a request for a message. Raises: Refusal."""
    fields = request.fields
    limit = read_limit(fields, "max_tokens")
    if limit is None:
        raise Refusal(400, "max_tokens: Field required")
    blocks = _read_blocks(request, world.settings.count)
    input_tokens = sum(block.tokens for block in blocks)
    cache = _read_cache(request, world, blocks)
    said = compose(_read_wish(request, limit), world.settings)
    usage = _usage(input_tokens, cache, said)
    start: Json = {
        "id": world.new_id("msg_01"),
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    start["usage"].pop("output_tokens_details", None)
    call_id = world.new_id("toolu_01")
    bill = {
        "input_tokens": input_tokens,
        "cache_read_tokens": cache.read,
        "cache_write_tokens": cache.written,
        "cache_write_5m_tokens": cache.written_5m,
        "cache_write_1h_tokens": cache.written_1h,
        "output_tokens": said.output_tokens,
        "reasoning_tokens": said.reasoning_tokens,
    }
    if fields.get("stream"):
        events = tuple(_render_stream(start, said, call_id, usage))
        return Streamed(events, bill, framing="padded")
    body = {
        **start,
        "content": _render_content(said, call_id),
        "stop_reason": _stop_reason(said),
        "usage": usage,
    }
    return Whole(payload=body, usage_path=("usage",), bill=bill)


def count_tokens(request: Request, world: World) -> Reply:
    """Count the input of a request; free. Raises: Refusal."""
    blocks = _read_blocks(request, world.settings.count)
    return Whole(payload={"input_tokens": sum(block.tokens for block in blocks)})


def list_models(_request: Request, world: World) -> Reply:
    """List the models that the simulator knows by name."""
    known = sorted(world.settings.models or world.settings.served_models)
    names = [name for name in known if name.startswith("claude")]
    rows = [
        {"type": "model", "id": name, "display_name": name, "created_at": _CREATED_AT}
        for name in names
    ]
    return Whole(
        payload={
            "data": rows,
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    )


def refuse(refusal: Refusal) -> Whole:
    """Return the body of an error."""
    return Whole(payload=_error(refusal), status=refusal.status)


def error_event(status: int) -> Event:
    """Return the event that ends a stream which failed on the way."""
    return Event(_error(ordered_refusal(status)), name="error")


def _error(refusal: Refusal) -> Json:
    kind = _ERROR_TYPES.get(refusal.status, "api_error")
    message = "invalid x-api-key" if refusal.status == 401 else refusal.message
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}


def _usage(input_tokens: int, cache: _Cache, said: Composition) -> Json:
    usage: Json = {
        "input_tokens": input_tokens - cache.read - cache.written,
        "cache_creation_input_tokens": cache.written,
        "cache_read_input_tokens": cache.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cache.written_5m,
            "ephemeral_1h_input_tokens": cache.written_1h,
        },
        "output_tokens": said.output_tokens,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    if said.reasoning_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": said.reasoning_tokens}
    return usage


def _read_wish(request: Request, limit: int) -> Wish:
    fields = request.fields
    newest = fields["messages"][-1]
    is_user = isinstance(newest, dict) and newest.get("role") == "user"
    choice = fields.get("tool_choice")
    choice = choice if isinstance(choice, dict) else {}
    kind = str(choice.get("type", "auto"))
    thinking = fields.get("thinking")
    is_thinking = isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
    return Wish(
        seed=seed_of(fields, "max_tokens", "model", "metadata"),
        last_text=text_of(newest.get("content")) if is_user else "",
        limit=limit,
        tools=_read_tools(fields),
        tool_choice=str(choice.get("name")) if kind == "tool" else kind,
        reasoning="visible" if is_thinking else "none",
        orders=request.orders,
    )


def _read_tools(fields: Json) -> tuple[Tool, ...]:
    return tuple(
        Tool(
            name=str(entry["name"]),
            description=str(entry.get("description") or ""),
            schema=entry.get("input_schema") or {},
        )
        for entry in fields.get("tools") or ()
        if isinstance(entry, dict) and "name" in entry
    )


def _read_blocks(request: Request, count: Count) -> list[_Block]:
    """Return the prompt's parts in the order in which they are cached. Raises: Refusal."""
    fields = request.fields
    messages = fields.get("messages")
    if not request.model:
        raise Refusal(400, "model: Field required")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "messages: at least one message is required")
    blocks = [_Block("", _START_TOKENS, None)]
    tools = [entry for entry in fields.get("tools") or () if isinstance(entry, dict)]
    if tools:
        choice = fields.get("tool_choice")
        is_forced = isinstance(choice, dict) and choice.get("type") in ("any", "tool")
        blocks.append(_Block("", _FORCED_TOOL_TOKENS if is_forced else _TOOL_TOKENS, None))
    for entry in tools:
        definition = {name: value for name, value in entry.items() if name != "cache_control"}
        text = json.dumps(definition, ensure_ascii=False)
        blocks.append(_Block(text, count(text), _ttl(entry)))
    blocks.extend(_content_blocks(fields.get("system"), count))
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str | list):
            raise Refusal(400, f"messages.{place}.content: Input should be a valid list")
        blocks.append(_Block(str(message.get("role")), _MESSAGE_TOKENS, None))
        blocks.extend(_content_blocks(message["content"], count))
    return blocks


def _content_blocks(content: Any, count: Count) -> Iterator[_Block]:
    if isinstance(content, str):
        yield _Block(content, count(content), None)
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        plain = {name: value for name, value in part.items() if name != "cache_control"}
        tokens = count_content([plain], count)
        for name in ("input", "content"):
            inner = plain.get(name)
            if inner is not None:
                tokens += count(inner if isinstance(inner, str) else json.dumps(inner))
        yield _Block(json.dumps(plain, ensure_ascii=False), tokens, _ttl(part))


def _ttl(entry: Json) -> str | None:
    control = entry.get("cache_control")
    return str(control.get("ttl", "5m")) if isinstance(control, dict) else None


def _read_cache(request: Request, world: World, blocks: Sequence[_Block]) -> _Cache:
    """Find what the marked prefixes read and write; a prefix ends with its marked block."""
    digest = hashlib.blake2b(f"{request.key}:{request.model}".encode())
    tokens, read, marked = 0, 0, 0
    written = {"5m": 0, "1h": 0}
    for block in blocks:
        digest.update(f"{len(block.text)}:{block.text}".encode(errors="replace"))
        tokens += block.tokens
        if block.ttl is None or tokens < world.settings.cache_minimum_tokens:
            continue
        if world.saw_prefix(digest.hexdigest()):
            read = tokens
        else:
            written["1h" if block.ttl == "1h" else "5m"] += tokens - marked
        marked = tokens
    return _Cache(read, written["5m"], written["1h"])


def _render_content(said: Composition, call_id: str) -> list[Json]:
    content: list[Json] = []
    if said.reasoning_pieces:
        thought = {"thinking": said.reasoning_text, "signature": _SIGNATURE}
        content.append({"type": "thinking", **thought})
    if said.call is not None:
        # Arguments that were cut short are no JSON: nothing of them is left.
        arguments = {} if said.is_cut_short else said.call.arguments
        content.append(
            {"type": "tool_use", "id": call_id, "name": said.call.name, "input": arguments}
        )
    elif said.pieces:
        content.append({"type": "text", "text": said.text})
    return content


def _stop_reason(said: Composition) -> str:
    if said.is_cut_short:
        return "max_tokens"
    return "end_turn" if said.call is None else "tool_use"


def _render_stream(start: Json, said: Composition, call_id: str, usage: Json) -> Iterator[Event]:
    yield Event(
        {"type": "message_start", "message": start},
        name="message_start",
        usage_path=("message", "usage"),
    )
    index = 0
    if said.reasoning_pieces:
        empty: Json = {"type": "thinking", "thinking": "", "signature": ""}
        steps: list[tuple[Json, str]] = [
            ({"type": "thinking_delta", "thinking": text}, text)
            for text in grouped(said.reasoning_pieces)
        ]
        steps.append(({"type": "signature_delta", "signature": _SIGNATURE}, ""))
        yield from _render_block(index, empty, steps)
        index += 1
    if said.call is not None:
        empty = {"type": "tool_use", "id": call_id, "name": said.call.name, "input": {}}
        steps = [
            ({"type": "input_json_delta", "partial_json": text}, text)
            for text in ("", *grouped(said.call_pieces))
        ]
        yield from _render_block(index, empty, steps, name=said.call.name)
    elif said.pieces:
        steps = [({"type": "text_delta", "text": text}, text) for text in grouped(said.pieces)]
        yield from _render_block(index, {"type": "text", "text": ""}, steps)
    totals = {
        name: usage[name]
        for name in (
            "input_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
            "output_tokens",
            "output_tokens_details",
        )
        if name in usage
    }
    delta = {"stop_reason": _stop_reason(said), "stop_sequence": None}
    yield Event(
        {"type": "message_delta", "delta": delta, "usage": totals},
        name="message_delta",
        usage_path=("usage",),
    )
    yield Event({"type": "message_stop"}, name="message_stop")


def _render_block(
    index: int, empty: Json, steps: Sequence[tuple[Json, str]], name: str = ""
) -> Iterator[Event]:
    yield Event(
        {"type": "content_block_start", "index": index, "content_block": empty},
        name="content_block_start",
        text=name,
        lane=2 * index,
        hidden_tokens=CALL_FRAME_TOKENS if name else 0,
    )
    if index == 0:
        yield Event({"type": "ping"}, name="ping")
    for delta, text in steps:
        yield Event(
            {"type": "content_block_delta", "index": index, "delta": delta},
            name="content_block_delta",
            text=text,
            lane=2 * index + 1,
        )
    yield Event({"type": "content_block_stop", "index": index}, name="content_block_stop")


def _read_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    return headers.get("x-api-key") or read_bearer(headers, query)


def _headers(world: World) -> list[tuple[str, str]]:
    return [
        ("request-id", world.new_id("req_01")),
        ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
    ]


DIALECT = Dialect(
    name="anthropic",
    prefix="/v1/messages",
    routes=(
        route("POST", "/v1/messages", "messages", answer),
        route("POST", "/v1/messages/count_tokens", "messages.count_tokens", count_tokens),
        route("GET", "/v1/models", "models", list_models, header="anthropic-version"),
    ),
    read_key=_read_key,
    refuse=refuse,
    error_event=error_event,
    headers=_headers,
)
