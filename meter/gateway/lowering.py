"""Write a limit on the output into a request, or lower the one it has. Pure.

Called by `admission` when a budget cannot pay for what a call may produce.
"""

from collections.abc import Mapping
from typing import Any, Final

from meter.core.reading import Reading
from meter.providers.foreign import encoded, mapping, whole

_LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
    "generateContent": ("maxOutputTokens", "max_output_tokens"),
}
_NEWER: Final = frozenset({"openai", "azure"})
"""Whose newest models refuse `max_tokens` in a chat and want `max_completion_tokens`."""

# Source: https://platform.openai.com/docs/api-reference/responses (SDK openai 3.54, 2026-11):
# fewer than 16 output tokens are refused.
_LEAST: Final = {"responses": 16}


def least_of(endpoint: str) -> int:
    """Return the smallest limit that an endpoint takes."""
    return _LEAST.get(endpoint, 1)


def limit_of(reading: Reading) -> int | None:
    """Return the limit that a request puts on each answer, None when it has none."""
    fields = reading.request
    if reading.endpoint == "generateContent":
        fields = mapping(fields.get(_place_of(fields)))
    limits = (whole(fields.get(name), 1, 2**40) for name in _LIMITS.get(reading.endpoint, ()))
    return max((limit for limit in limits if limit is not None), default=None)


def answers_of(reading: Reading) -> int:
    """Return how many answers a request asks for, each with the limit for itself.

    Several prompts count where the request has a limit: the bound is that of all together.
    """
    limit = limit_of(reading)
    if limit is None or reading.max_output_tokens is None:
        return max(reading.choices, 1)
    return max(reading.max_output_tokens // limit, 1)


def lowered(reading: Reading, most: int) -> bytes | None:
    """Return the body with each answer's output limited to `most` tokens.

    None when the endpoint has no such limit, the request already has a lower one, or the limit
    would leave no room for the thinking that it asks for.
    """
    names = _LIMITS.get(reading.endpoint)
    if names is None or not reading.request or most < least_of(reading.endpoint):
        return None
    fields = reading.request
    if reading.endpoint != "generateContent":
        thinking = whole(mapping(fields.get("thinking")).get("budget_tokens"), 0, 2**40)
        if thinking is not None and thinking >= most:
            return None
        changed = _with_limit(fields, names, most, reading.provider)
        return None if changed is None else encoded(changed)
    place = _place_of(fields)
    settings = _with_limit(mapping(fields.get(place)), names, most, reading.provider)
    return None if settings is None else encoded({**fields, place: settings})


def _place_of(fields: Mapping[str, Any]) -> str:
    return "generation_config" if "generation_config" in fields else "generationConfig"


def _with_limit(
    fields: Mapping[str, Any], names: tuple[str, ...], most: int, provider: str
) -> dict[str, Any] | None:
    given = [name for name in names if fields.get(name) is not None]
    if not given:
        is_older = names[0] == "max_completion_tokens" and provider not in _NEWER
        name = "max_tokens" if is_older else names[0]
        return {**fields, name: most}
    limits = [whole(fields[name], 0, 2**40) for name in given]
    if any(limit is None for limit in limits) or max(limit or 0 for limit in limits) <= most:
        return None
    return {**fields, **{n: min(most, limit or 0) for n, limit in zip(given, limits, strict=True)}}
