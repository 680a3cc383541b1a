"""Answer the legacy `POST /v1/completions`, streamed or not.

`prompt` is a text, a list of texts, a list of token ids or a list of such lists. Every one of
`best_of` answers is billed, `n` of them are returned; an echoed prompt is not billed again.
Source: types of the openai package 3.54 and recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from meter.simulator.composing import Composition, Wish, compose, seed_of
from meter.simulator.dialects.openai_chat import DONE, read_limit, read_number
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.tokenizer import split_tokens
from meter.simulator.world import World

_DEFAULT_LIMIT_TOKENS = 16
_CHOICES_LIMIT = 128
_BEST_OF_LIMIT = 20
_PROMPTS_LIMIT = 2048


@dataclass(frozen=True, slots=True)
class _Choice:
    index: int
    echo: str
    composition: Composition

    @property
    def finish_reason(self) -> str:
        return "length" if self.composition.is_cut_short else "stop"


def answer(request: Request, world: World) -> Reply:
    """Answer a legacy completion. Raises: Refusal."""
    fields = request.fields
    if not request.model:
        raise Refusal(400, "you must provide a model parameter", None, "model")
    count = world.settings.count_of(request.model)
    prompts = _read_prompts(fields.get("prompt", "<|endoftext|>"))
    prompt_tokens = sum(_prompt_tokens(prompt, count) for prompt in prompts)
    prompt_tokens += len(prompts) * count(str(fields.get("suffix") or ""))
    wanted = read_number(fields, "n", 1, _CHOICES_LIMIT)
    written = max(wanted, read_number(fields, "best_of", wanted, _BEST_OF_LIMIT))
    if fields.get("stream") and written > wanted:
        raise Refusal(400, "best_of cannot be larger than n in a stream.", None, "best_of")
    compositions = _compose(request, world, prompts, written)
    choices = [
        _Choice(place * wanted + index, _echo(fields, prompt), answers[index])
        for place, (prompt, answers) in enumerate(zip(prompts, compositions, strict=True))
        for index in range(wanted)
    ]
    completion_tokens = sum(one.output_tokens for answers in compositions for one in answers)
    frame: Json = {
        "id": world.new_id("cmpl-"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.model,
    }
    bill = {"input_tokens": prompt_tokens, "output_tokens": completion_tokens}

    def usage_at(tokens: int) -> Json:
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
        }

    if fields.get("stream"):
        options = fields.get("stream_options")
        is_asked = isinstance(options, dict) and bool(options.get("include_usage"))
        usage = usage_at(completion_tokens) if is_asked else None
        events = tuple(_render_stream(frame, choices, usage))
        return Streamed(events, bill, closing=DONE, usage_at=usage_at)
    body = {
        **frame,
        "choices": [_render(choice) for choice in choices],
        "usage": usage_at(completion_tokens),
    }
    return Whole(payload=body, usage_path=("usage",), bill=bill)


def _compose(
    request: Request, world: World, prompts: list[Any], written: int
) -> list[list[Composition]]:
    fields = request.fields
    seed = seed_of(fields, "max_tokens", "n", "best_of", "model")
    limit = read_limit(fields, "max_tokens") or _DEFAULT_LIMIT_TOKENS
    return [
        [
            compose(
                Wish(
                    seed=f"{seed}:{place}:{index}",
                    last_text=prompt if isinstance(prompt, str) else "",
                    limit=limit,
                    orders=request.orders,
                ),
                world.settings,
            )
            for index in range(written)
        ]
        for place, prompt in enumerate(prompts)
    ]


def _read_prompts(given: Any) -> list[Any]:
    """Return a list of prompts, each a text or a list of token ids. Raises: Refusal."""
    if given is None:
        given = "<|endoftext|>"
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given and len(given) <= _PROMPTS_LIMIT:
        if _is_ids(given):
            return [given]
        if all(isinstance(prompt, str) or _is_ids(prompt) for prompt in given):
            return given
    raise Refusal(400, "'prompt' must be a text, token ids, or a list of these.", None, "prompt")


def _is_ids(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(entry) is int for entry in given)


def _prompt_tokens(prompt: Any, count: Callable[[str], int]) -> int:
    return count(prompt) if isinstance(prompt, str) else len(prompt)


def _echo(fields: Json, prompt: Any) -> str:
    if not fields.get("echo"):
        return ""
    # Token ids of an unknown vocabulary cannot be turned back into text.
    return prompt if isinstance(prompt, str) else "".join(f"<{number}>" for number in prompt)


def _render(choice: _Choice) -> Json:
    return {
        "text": choice.echo + choice.composition.text,
        "index": choice.index,
        "logprobs": None,
        "finish_reason": choice.finish_reason,
    }


def _render_stream(frame: Json, choices: list[_Choice], usage: Json | None) -> Iterator[Event]:
    for step in itertools.zip_longest(*(_render_pieces(choice) for choice in choices)):
        for part in step:
            if part is None:
                continue
            payload = {**frame, "choices": [part[0]]}
            if usage is not None:
                payload["usage"] = None
            yield Event(payload, text=part[1], lane=part[0]["index"])
    if usage is not None:
        payload = {**frame, "choices": [], "usage": usage}
        yield Event(payload, usage_path=("usage",), is_usage_only=True)


def _render_pieces(choice: _Choice) -> Iterator[tuple[Json, str]]:
    def part(text: str, finish: str | None) -> Json:
        return {"text": text, "index": choice.index, "logprobs": None, "finish_reason": finish}

    for piece in split_tokens(choice.echo):
        yield part(piece, None), ""
    for piece in choice.composition.pieces:
        yield part(piece, None), piece
    yield part("", choice.finish_reason), ""
