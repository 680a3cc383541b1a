"""Compose what the model says to one request: reasoning, then a text or a tool call, with tokens.

Knows no provider: the dialects read a request into a `Wish` and render the `Composition`.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from typing import Any, Literal

from meter.simulator.orders import HONEST, Orders
from meter.simulator.prose import Writing, fit_tokens, limit_writing, write_prose
from meter.simulator.settings import SimulatorSettings
from meter.simulator.tokenizer import has_chinese, split_tokens
from meter.simulator.tools import CALL_FRAME_TOKENS, Tool, ToolCall, choose_call, example_of

Json = dict[str, Any]
_REASONING_BLOCK_TOKENS = 64
_VISIBLE_REASONING_TOKENS = (15, 60)


@dataclass(frozen=True, slots=True)
class Wish:
    """Hold what a request asks of the model.

    `limit` bounds everything that is generated, reasoning included; None sets no bound.
    `schema` asks for JSON of this schema; {} for any JSON object; None for prose.
    """

    seed: str
    last_text: str = ""
    limit: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    schema: Json | None = None
    reasoning: Literal["none", "hidden", "visible"] = "none"
    orders: Orders = field(default=HONEST)


@dataclass(frozen=True, slots=True)
class Composition:
    """Hold what the model says, in the pieces in which it is streamed.

    Either `pieces` (a text) or `call` is filled; `output_tokens` is everything that is billed.
    """

    reasoning_tokens: int
    reasoning_pieces: tuple[str, ...]
    pieces: tuple[str, ...]
    call: ToolCall | None
    call_pieces: tuple[str, ...]
    output_tokens: int
    is_cut_short: bool

    @property
    def text(self) -> str:
        """Return the whole text of the answer."""
        return "".join(self.pieces)

    @property
    def reasoning_text(self) -> str:
        """Return the whole visible reasoning."""
        return "".join(self.reasoning_pieces)

    @property
    def call_json(self) -> str:
        """Return the arguments of the call as they are sent, perhaps cut short."""
        return "".join(self.call_pieces)


def seed_of(fields: Json, *without: str) -> str:
    """Return a seed that follows from a request, whether it is streamed or not."""
    ignored = {"stream", "stream_options", "user", *without}
    kept = {name: value for name, value in fields.items() if name not in ignored}
    text = json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()


def compose(wish: Wish, settings: SimulatorSettings) -> Composition:
    """Return what the model says."""
    reasoning_tokens, reasoning_pieces = _reason(wish, settings)
    left = None if wish.limit is None else wish.limit - reasoning_tokens
    call = choose_call(wish.tools, wish.tool_choice, wish.last_text, wish.seed)
    if call is not None:
        return _compose_call(call, left, reasoning_tokens, reasoning_pieces, settings)
    writing = _write(wish, left, settings)
    return Composition(
        reasoning_tokens=reasoning_tokens,
        reasoning_pieces=reasoning_pieces,
        pieces=writing.pieces,
        call=None,
        call_pieces=(),
        output_tokens=reasoning_tokens + writing.tokens,
        is_cut_short=writing.is_cut_short,
    )


def call_tokens(call: ToolCall, arguments: str, settings: SimulatorSettings) -> int:
    """Return the tokens of a tool call with these arguments."""
    return CALL_FRAME_TOKENS + settings.count(call.name) + settings.count(arguments)


def _reason(wish: Wish, settings: SimulatorSettings) -> tuple[int, tuple[str, ...]]:
    """Return the tokens of the reasoning and, where it is shown, its text."""
    if wish.reasoning == "none":
        return 0, ()
    if wish.reasoning == "hidden":
        blocks = random.Random(f"reasoning:{wish.seed}").randint(1, 6)
        tokens = blocks * _REASONING_BLOCK_TOKENS
        return (tokens if wish.limit is None else min(tokens, wish.limit)), ()
    writing = write_prose(
        f"reasoning:{wish.seed}",
        settings.count,
        span=_VISIBLE_REASONING_TOKENS,
        limit=wish.limit,
        in_chinese=has_chinese(wish.last_text),
    )
    return writing.tokens, writing.pieces


def _write(wish: Wish, limit: int | None, settings: SimulatorSettings) -> Writing:
    if wish.schema is not None:
        schema = wish.schema or {"properties": {"answer": {}, "count": {"type": "integer"}}}
        text = json.dumps(example_of(schema, wish.seed), ensure_ascii=False)
        return limit_writing(split_tokens(text), limit, settings.count)
    return write_prose(
        wish.seed,
        settings.count,
        span=settings.answer_tokens,
        limit=limit,
        exactly=wish.orders.output_tokens,
        in_chinese=has_chinese(wish.last_text),
    )


def _compose_call(
    call: ToolCall,
    limit: int | None,
    reasoning_tokens: int,
    reasoning_pieces: tuple[str, ...],
    settings: SimulatorSettings,
) -> Composition:
    pieces = split_tokens(call.arguments_json)
    kept = pieces
    if limit is not None:
        left = limit - call_tokens(call, "", settings)
        if left < 0:
            # Not even the frame fits: nothing visible is said.
            return Composition(
                reasoning_tokens=reasoning_tokens,
                reasoning_pieces=reasoning_pieces,
                pieces=(),
                call=None,
                call_pieces=(),
                output_tokens=reasoning_tokens,
                is_cut_short=True,
            )
        kept = fit_tokens(pieces, left, settings.count)
    return Composition(
        reasoning_tokens=reasoning_tokens,
        reasoning_pieces=reasoning_pieces,
        pieces=(),
        call=call,
        call_pieces=tuple(kept),
        output_tokens=reasoning_tokens + call_tokens(call, "".join(kept), settings),
        is_cut_short=len(kept) < len(pieces),
    )
