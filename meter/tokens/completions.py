"""Estimate the input tokens of a legacy completion request.

Knows the request's shape only. Called by `estimates`.
"""

from collections.abc import Mapping
from typing import Any, Final

from meter.tokens.models import encoding_for
from meter.tokens.prompts import bound_prompts, count_prompts, prompts_in
from meter.tokens.records import InputEstimate
from meter.tokens.shapes import text_of

_DEFAULT_PROMPT_TOKENS: Final = 1
"""A missing prompt is the one special token `<|endoftext|>`."""


def estimate(request: Mapping[str, Any], model: str) -> InputEstimate:
    """Return the tokens of all prompts, counted once whatever `n` and `best_of` are."""
    known = encoding_for(model)
    prompts = prompts_in(request.get("prompt"))
    suffix: list[str | int] = [text] if (text := text_of(request.get("suffix"))) else []
    default = 0 if prompts else _DEFAULT_PROMPT_TOKENS
    tokens = default + count_prompts(prompts + suffix, known.name)
    bound = default + bound_prompts(prompts + suffix)
    return InputEstimate(
        tokens,
        bound + 2 * len(prompts) + 1,
        known.name,
        exact=not known.assumed and not suffix,
        notes=(known.note,) if known.note else (),
    )
