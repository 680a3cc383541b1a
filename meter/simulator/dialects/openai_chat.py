"""Answer `POST /v1/chat/completions`, streamed or not.

Other providers copied this endpoint with small differences; a `Flavour` holds those.
Source: types of the openai package 3.54 and recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from meter.simulator.composing import Composition, Wish, compose, seed_of
from meter.simulator.dialects.openai_prompt import (
    Prompt,
    read_prompt,
    read_tool_choice,
    read_tools,
)
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.tools import CALL_FRAME_TOKENS
from meter.simulator.world import World

DONE = b"data: [DONE]\n\n"
_CHOICES_LIMIT = 128
_CACHE_BLOCK_TOKENS = 128
_REASONING_MODEL = re.compile(r"(o\d|gpt-[5-9])(?!.*chat)")
# These models also report what they wrote into the cache.
_CACHE_WRITING_MODEL = re.compile(r"gpt-(5\.[6-9]|[6-9])")
_OBFUSCATION = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@dataclass(frozen=True, slots=True)
class Spent:
    """Hold the tokens of one answer; `cached` and `cache_write` are inside `prompt`,
    `reasoning` is inside `completion`. `cache_write` None means: not reported.
    """

    prompt: int
    cached: int
    completion: int
    reasoning: int
    cache_write: int | None = None


@dataclass(frozen=True, slots=True)
class Flavour:
    """Hold what one provider does differently from OpenAI."""

    usage: Callable[[Spent], Json]
    reasoning: Callable[[str], Literal["none", "hidden", "visible"]]
    cache_block_tokens: int = _CACHE_BLOCK_TOKENS
    id_prefix: str = "chatcmpl-"
    # extra-chunk: only when asked, alone after the finish; finish-chunk: always, on the finish.
    usage_place: Literal["extra-chunk", "finish-chunk"] = "extra-chunk"
    has_refusal: bool = True
    has_service_tier: bool = True
    has_obfuscation: bool = True
    # Events that stand before and after, and a change to each payload.
    decorate: Callable[[Json], Json] = lambda payload: payload
    opening: tuple[Json, ...] = ()


def usage_of(spent: Spent) -> Json:
    """Return `usage` as OpenAI reports it."""
    cached: Json = {"cached_tokens": spent.cached, "audio_tokens": 0}
    if spent.cache_write is not None:
        cached["cache_write_tokens"] = spent.cache_write
    return {
        "prompt_tokens": spent.prompt,
        "completion_tokens": spent.completion,
        "total_tokens": spent.prompt + spent.completion,
        "prompt_tokens_details": cached,
        "completion_tokens_details": {
            "reasoning_tokens": spent.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def reasoning_of(model: str) -> Literal["none", "hidden", "visible"]:
    """Tell whether an OpenAI model reasons before it answers; it never shows the reasoning."""
    return "hidden" if _REASONING_MODEL.match(model) else "none"


OPENAI = Flavour(usage=usage_of, reasoning=reasoning_of)


def answer(request: Request, world: World) -> Reply:
    """Answer a chat request as OpenAI does. Raises: Refusal."""
    return answer_chat(request, world, OPENAI)


def answer_chat(request: Request, world: World, flavour: Flavour) -> Reply:
    """Answer a chat request in one provider's flavour. Raises: Refusal."""
    fields = request.fields
    if not request.model:
        raise Refusal(400, "you must provide a model parameter", None, "model")
    prompt = read_prompt({**fields, "model": request.model}, world.settings.count)
    choices = [compose(wish, world.settings) for wish in _read_wishes(request, prompt, flavour)]
    spent = _spend(request, world, prompt, choices, flavour)
    frame = _Frame(
        id=world.new_id(flavour.id_prefix),
        created=int(time.time()),
        model=request.model,
        tier=_tier(fields.get("service_tier")) if flavour.has_service_tier else None,
    )
    call_ids = [world.new_id("call_") for _ in choices]
    bill = bill_of(spent)
    if not fields.get("stream"):
        body = _render_whole(frame, choices, call_ids, flavour)
        body["usage"] = flavour.usage(spent)
        return Whole(payload=flavour.decorate(body), usage_path=("usage",), bill=bill)
    events = _render_stream(request, frame, choices, call_ids, spent, flavour)
    return Streamed(
        events=tuple(events),
        bill=bill,
        closing=DONE,
        usage_at=lambda tokens: flavour.usage(
            replace(spent, completion=tokens, reasoning=min(spent.reasoning, tokens))
        ),
    )


def bill_of(spent: Spent) -> dict[str, int]:
    """Return what an answer of an OpenAI-like provider is billed, by unit."""
    bill = {
        "input_tokens": spent.prompt,
        "cache_read_tokens": spent.cached,
        "output_tokens": spent.completion,
        "reasoning_tokens": spent.reasoning,
    }
    if spent.cache_write is not None:
        bill["cache_write_tokens"] = spent.cache_write
    return bill


def read_limit(fields: Json, *names: str) -> int | None:
    """Return the first limit of output tokens that a request gives. Raises: Refusal."""
    for name in names:
        limit = fields.get(name)
        if limit is None:
            continue
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise Refusal(400, f"'{name}' must be a whole number of at least 1.", None, name)
        return limit
    return None


def read_number(fields: Json, name: str, default: int, most: int) -> int:
    """Return a whole number of a request in 1 to `most`. Raises: Refusal."""
    number = fields.get(name)
    number = default if number is None else number
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise Refusal(400, f"'{name}' must be a whole number of 1 to {most}.", None, name)
    return number


def _read_wishes(request: Request, prompt: Prompt, flavour: Flavour) -> list[Wish]:
    fields = request.fields
    limit = read_limit(fields, "max_completion_tokens", "max_tokens")
    seed = seed_of(fields, "max_completion_tokens", "max_tokens", "n", "model")
    reasoning = flavour.reasoning(request.model)
    if fields.get("reasoning_effort") in ("none", "minimal"):
        reasoning = "none"
    shape = fields.get("response_format")
    kind = shape.get("type") if isinstance(shape, dict) else None
    schema: Json | None = None
    if isinstance(shape, dict) and kind == "json_schema":
        described = shape.get("json_schema")
        schema = described.get("schema") or {} if isinstance(described, dict) else {}
    elif kind == "json_object":
        schema = {}
    return [
        Wish(
            seed=f"{seed}:{index}",
            last_text=prompt.last_text,
            limit=limit,
            tools=read_tools(fields.get("tools")),
            tool_choice=read_tool_choice(fields.get("tool_choice")),
            schema=schema,
            reasoning=reasoning,
            orders=request.orders,
        )
        for index in range(read_number(fields, "n", 1, _CHOICES_LIMIT))
    ]


def _spend(
    request: Request,
    world: World,
    prompt: Prompt,
    choices: list[Composition],
    flavour: Flavour,
) -> Spent:
    owner = f"{request.key}:{request.model}"
    block = flavour.cache_block_tokens
    cached = min(world.cached_tokens(owner, prompt.parts, block), prompt.tokens)
    written: int | None = None
    if _CACHE_WRITING_MODEL.match(request.model):
        is_long = prompt.tokens >= world.settings.cache_minimum_tokens
        written = prompt.tokens // block * block - cached if is_long else 0
    return Spent(
        prompt=prompt.tokens,
        cached=cached,
        completion=sum(choice.output_tokens for choice in choices),
        reasoning=sum(choice.reasoning_tokens for choice in choices),
        cache_write=written,
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Hold what stands in every payload of one answer."""

    id: str
    created: int
    model: str
    tier: str | None

    def payload(self, kind: str, choices: list[Json]) -> Json:
        payload: Json = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }
        if self.tier is not None:
            payload["service_tier"] = self.tier
        payload["system_fingerprint"] = "fp_simulated"
        return payload


def _render_whole(
    frame: _Frame, choices: list[Composition], call_ids: list[str], flavour: Flavour
) -> Json:
    rendered: list[Json] = []
    for index, choice in enumerate(choices):
        message: Json = {"role": "assistant", "content": choice.text}
        if choice.call is not None:
            message["content"] = None
            message["tool_calls"] = [
                {
                    "id": call_ids[index],
                    "type": "function",
                    "function": {"name": choice.call.name, "arguments": choice.call_json},
                }
            ]
        if choice.reasoning_pieces:
            message["reasoning_content"] = choice.reasoning_text
        if flavour.has_refusal:
            message |= {"refusal": None, "annotations": []}
        rendered.append(
            {
                "index": index,
                "message": message,
                "logprobs": None,
                "finish_reason": _finish_reason(choice),
            }
        )
    return frame.payload("chat.completion", rendered)


def _render_stream(
    request: Request,
    frame: _Frame,
    choices: list[Composition],
    call_ids: list[str],
    spent: Spent,
    flavour: Flavour,
) -> Iterator[Event]:
    options = request.fields.get("stream_options")
    options = options if isinstance(options, dict) else {}
    is_asked = bool(options.get("include_usage"))
    is_padded = flavour.has_obfuscation and options.get("include_obfuscation", True) is not False
    padding = random.Random(frame.id)
    for payload in flavour.opening:
        yield Event(dict(payload))
    lanes = [
        _render_choice(index, choice, call_ids[index], flavour)
        for index, choice in enumerate(choices)
    ]
    finishes = len(choices)
    for step in itertools.zip_longest(*lanes):
        for part in step:
            if part is None:
                continue
            payload = frame.payload("chat.completion.chunk", [part.choice])
            is_last = part.choice["finish_reason"] is not None and finishes == 1
            finishes -= part.choice["finish_reason"] is not None
            usage_path: tuple[str, ...] = ()
            if flavour.usage_place == "finish-chunk" and is_last:
                payload["usage"] = flavour.usage(spent)
                usage_path = ("usage",)
            elif flavour.usage_place == "extra-chunk" and is_asked:
                payload["usage"] = None
            if is_padded:
                start = padding.getrandbits(5)
                payload["obfuscation"] = _OBFUSCATION[start : start + 4 + start % 8]
            yield Event(
                flavour.decorate(payload),
                text=part.text,
                lane=part.lane,
                hidden_tokens=part.hidden_tokens,
                usage_path=usage_path,
            )
    if flavour.usage_place == "extra-chunk" and is_asked:
        payload = frame.payload("chat.completion.chunk", [])
        payload["usage"] = flavour.usage(spent)
        yield Event(flavour.decorate(payload), usage_path=("usage",), is_usage_only=True)


@dataclass(frozen=True, slots=True)
class _Part:
    """Hold the choice object of one chunk and what it adds to the bill."""

    choice: Json
    text: str = ""
    lane: int = 0
    hidden_tokens: int = 0


def _render_choice(
    index: int, choice: Composition, call_id: str, flavour: Flavour
) -> Iterator[_Part]:
    def part(delta: Json, finish: str | None = None, **more: Any) -> _Part:
        shape = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _Part(shape, **more)

    # Visible reasoning is counted as it is sent; hidden reasoning came before the first chunk.
    hidden = 0 if choice.reasoning_pieces else choice.reasoning_tokens
    opening: Json = {"role": "assistant", "content": ""}
    if flavour.has_refusal:
        opening["refusal"] = None
    if choice.call is not None:
        opening["content"] = None
    yield part(opening, hidden_tokens=hidden)
    for piece in choice.reasoning_pieces:
        yield part({"reasoning_content": piece}, text=piece, lane=3 * index)
    if choice.call is not None:
        function: Json = {"name": choice.call.name, "arguments": ""}
        call: Json = {"index": 0, "id": call_id, "type": "function", "function": function}
        yield part(
            {"tool_calls": [call]},
            text=choice.call.name,
            lane=3 * index + 1,
            hidden_tokens=CALL_FRAME_TOKENS,
        )
        for piece in choice.call_pieces:
            step = {"index": 0, "function": {"arguments": piece}}
            yield part({"tool_calls": [step]}, text=piece, lane=3 * index + 2)
    for piece in choice.pieces:
        yield part({"content": piece}, text=piece, lane=3 * index + 1)
    yield part({}, _finish_reason(choice))


def _finish_reason(choice: Composition) -> str:
    if choice.is_cut_short:
        return "length"
    return "stop" if choice.call is None else "tool_calls"


def _tier(asked: Any) -> str:
    return {"flex": "flex", "priority": "priority", "fast": "priority"}.get(asked, "default")
