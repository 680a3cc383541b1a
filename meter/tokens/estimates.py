"""Estimate the input tokens of a request at any endpoint, from the request alone.

Knows which family of formulas serves which endpoint, and nothing of the formulas. Called by the
pipeline before a call leaves, and by whoever asks what a request would cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from meter.tokens import anthropic, chat, completions, embeddings, gemini, native, responses
from meter.tokens.counting import WHOLLY_COUNTED_CHARS
from meter.tokens.records import InputEstimate

_FAMILIES: Final[dict[str, Callable[[Mapping[str, Any], str], InputEstimate]]] = {
    "chat": chat.estimate,
    "completions": completions.estimate,
    "responses": responses.estimate,
    "embeddings": embeddings.estimate,
    "messages": anthropic.estimate,
    "generateContent": gemini.estimate,
    **native.FAMILIES,
}


def estimate_input(endpoint: str, request: Mapping[str, Any], model: str) -> InputEstimate | None:
    """Return the estimate of a request body, None for an endpoint that no formula serves.

    `model` is the name as requested; an empty one is an unknown model. Never raises for any
    parsed JSON, whatever its shape, depth or size.
    """
    family = _FAMILIES.get(endpoint)
    if family is None:
        return None
    estimate = family(request, model)
    if estimate.upper_bound <= WHOLLY_COUNTED_CHARS:
        return estimate
    # Longer than any model takes in: long texts were counted from a sample.
    return replace(estimate, exact=False)


__all__ = ["InputEstimate", "estimate_input"]
