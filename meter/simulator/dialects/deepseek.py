"""Answer as DeepSeek under `/deepseek`: usage on the finish chunk, cache hits and misses.

Source: recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

from typing import Literal

from meter.simulator.dialects.openai_chat import Flavour, Spent, answer_chat
from meter.simulator.dialects.openai_errors import error_event, refuse
from meter.simulator.replies import Json, Reply, Request
from meter.simulator.routing import Dialect, read_bearer, route
from meter.simulator.world import World

_CACHE_BLOCK_TOKENS = 64


def answer(request: Request, world: World) -> Reply:
    """Answer a chat request. Raises: Refusal."""
    return answer_chat(request, world, _FLAVOUR)


def _usage(spent: Spent) -> Json:
    usage: Json = {
        "prompt_tokens": spent.prompt,
        "completion_tokens": spent.completion,
        "total_tokens": spent.prompt + spent.completion,
        "prompt_tokens_details": {"cached_tokens": spent.cached},
        "prompt_cache_hit_tokens": spent.cached,
        "prompt_cache_miss_tokens": spent.prompt - spent.cached,
    }
    if spent.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": spent.reasoning}
    return usage


def _reasoning(model: str) -> Literal["none", "hidden", "visible"]:
    return "visible" if "reasoner" in model else "none"


_FLAVOUR = Flavour(
    usage=_usage,
    reasoning=_reasoning,
    cache_block_tokens=_CACHE_BLOCK_TOKENS,
    id_prefix="",
    usage_place="finish-chunk",
    has_refusal=False,
    has_service_tier=False,
    has_obfuscation=False,
)

DIALECT = Dialect(
    name="deepseek",
    prefix="/deepseek",
    routes=(
        route("POST", "/deepseek/chat/completions", "chat", answer),
        route("POST", "/deepseek/v1/chat/completions", "chat", answer),
    ),
    read_key=read_bearer,
    refuse=refuse,
    error_event=error_event,
)
