"""Estimate the input tokens of a request at any endpoint, from the request alone.

Knows which family of formulas serves which endpoint, and nothing of the formulas. Called by the
pipeline before a call leaves, and by whoever asks what a request would cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from meter.tokens import anthropic, chat, completions, embeddings, gemini, native, responses
from meter.tokens.counting import WHOLLY_COUNTED_CHARS
from meter.tokens.formats import is_openai
from meter.tokens.makers import hidden_tokens, is_known
from meter.tokens.media_bounds import BOUNDED
from meter.tokens.records import InputEstimate

# Where a deployment's name hides the model, it is one of OpenAI's.
_OPENAI_HOSTS: Final = ("openai", "azure")
_GENERATING: Final = ("chat", "responses")
_USUAL_MODEL: Final = "gpt-4o"

_FAMILIES: Final[dict[str, Callable[[Mapping[str, Any], str], InputEstimate]]] = {
    "chat": chat.estimate,
    "completions": completions.estimate,
    "responses": responses.estimate,
    "embeddings": embeddings.estimate,
    "messages": anthropic.estimate,
    "generateContent": gemini.estimate,
    **native.FAMILIES,
}

ENDPOINTS_ESTIMATED: Final = frozenset(_FAMILIES)
"""The endpoints whose input is estimated from the request alone."""


def estimate_input(
    endpoint: str, request: Mapping[str, Any], model: str, provider: str = ""
) -> InputEstimate | None:
    """Return the estimate of a request body, None for an endpoint that no formula serves.

    `model` is the name as requested; an empty one is an unknown model. `provider` tells whose
    models an unknown name can be at all, and what is hidden in every prompt; "" is any. Never
    raises for any parsed JSON, whatever its shape, depth or size.
    """
    family = _FAMILIES.get(endpoint)
    if family is None:
        return None
    generates = endpoint in _GENERATING
    deployment = (
        generates and provider in _OPENAI_HOSTS and not (is_openai(model) or is_known(model))
    )
    estimate = family(request, _USUAL_MODEL if deployment else model)
    if deployment:
        note = f"The model behind {model or 'no name'} is not known; counted as {_USUAL_MODEL}."
        estimate = replace(estimate, exact=False, notes=(note, *estimate.notes))
    hidden = hidden_tokens(provider, model)
    if hidden and generates:
        tokens = estimate.tokens + hidden
        estimate = replace(
            estimate, tokens=tokens, upper_bound=max(tokens, estimate.upper_bound), exact=False
        )
    if estimate.upper_bound <= WHOLLY_COUNTED_CHARS:
        return estimate
    # Longer than any model takes in: long texts were counted from a sample.
    return replace(estimate, exact=False)


def counted_units(endpoint: str, request: Mapping[str, Any], model: str = "") -> dict[str, int]:
    """Return the most that a request makes of pictures, sound and film, by unit.

    Tokens among them, for models that bill these by the token. Empty for all other endpoints, and
    where nothing in the request bounds it.
    """
    bounded = BOUNDED.get(endpoint)
    return {} if bounded is None else bounded(request, model.lower())


__all__ = ["InputEstimate", "estimate_input"]
