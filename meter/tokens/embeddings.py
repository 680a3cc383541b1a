"""Estimate the input tokens of an embeddings request.

Knows the request's shape only. Called by `estimates`.
"""

from collections.abc import Mapping
from typing import Any, Final

from meter.tokens.models import encoding_for
from meter.tokens.prompts import bound_prompts, count_prompts, prompts_in
from meter.tokens.records import InputEstimate

_ENCODING: Final = "cl100k_base"
"""What counts for every embedding model of OpenAI since ada-002, which Azure serves as `ada`."""

_ASSUMED: Final = f"The tokenizer of this model is not known; counted with {_ENCODING}."


def estimate(request: Mapping[str, Any], model: str) -> InputEstimate:
    """Return the tokens of all inputs; there is no overhead for an input or a request."""
    known = encoding_for(model)
    name = _ENCODING if known.assumed or known.model == "ada" else known.name
    inputs = prompts_in(request.get("input"))
    return InputEstimate(
        count_prompts(inputs, name),
        bound_prompts(inputs) + 2 * len(inputs),
        name,
        exact=not known.assumed,
        notes=(_ASSUMED,) if known.assumed else (),
    )
