"""Answer "what would this request cost?" from the request alone. Sends and writes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from meter.clock import now_us
from meter.core import estimating, rating
from meter.core.ports import PriceSource
from meter.core.rates import RateCard
from meter.core.usage import Usage
from meter.errors import InputError
from meter.providers.registry import dialect_named
from meter.tokens.estimates import counted_units, estimate_input

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "messages": "/v1/messages",
    "generateContent": "/v1beta/models/{model}:generateContent",
}
"""The endpoints that can be estimated, with the path a request to them has."""


@dataclass(frozen=True, slots=True)
class RequestEstimate:
    """Tokens and money of a request before it is sent.

    `input_tokens` is the best estimate, `input_tokens_max` an upper bound; `exact` says that the
    formula is known to be exact for this kind of request. `max_output_tokens` is None when the
    request gives no bound. `input_cost_nanos` prices the estimate; `max_cost_nanos` is the upper
    bound of the whole call; each is None when no price or no bound is known.
    """

    provider: str
    endpoint: str
    model: str | None
    input_tokens: int
    input_tokens_max: int
    exact: bool
    encoding: str
    max_output_tokens: int | None
    input_cost_nanos: int | None
    max_cost_nanos: int | None
    currency: str | None
    rate_card_id: str | None
    notes: tuple[str, ...]


def estimate_request(
    request: Mapping[str, Any], provider: str, endpoint: str, prices: PriceSource
) -> RequestEstimate:
    """Return the estimate of a request body at an endpoint of a provider.

    Raises: InputError for an endpoint or provider that cannot be estimated.
    """
    if endpoint not in PATHS:
        raise InputError(f"found endpoint {endpoint!r}, expected one of {', '.join(PATHS)}")
    path = PATHS[endpoint].format(model=request.get("model", "-"))
    body = msgspec.json.encode(request)
    reading = dialect_named(provider).read("POST", path, "application/json", body)
    counted = estimate_input(endpoint, request, reading.model or "", reading.provider)
    if counted is None:
        raise InputError(f"requests to {provider} {endpoint} cannot be estimated")
    at_us = now_us()
    card = prices.card_for(reading.provider, reading.model, at_us) if reading.model else None
    bound = estimating.bound(
        card,
        input_tokens=counted.upper_bound,
        output_tokens=reading.max_output_tokens,
        at_us=at_us,
        tier=reading.service_tier,
        counted=counted_units(reading.endpoint, reading.request, reading.model or ""),
    )
    charge = rating.rate(
        Usage(input_tokens=counted.tokens), card, at_us=at_us, tier=reading.service_tier
    )
    return RequestEstimate(
        provider=reading.provider,
        endpoint=endpoint,
        model=reading.model,
        input_tokens=counted.tokens,
        input_tokens_max=counted.upper_bound,
        exact=counted.exact,
        encoding=counted.encoding,
        max_output_tokens=bound.output_tokens,
        input_cost_nanos=charge.amount_nanos,
        max_cost_nanos=bound.cost_nanos,
        currency=card.currency if card else None,
        rate_card_id=card.id if card else None,
        notes=(*counted.notes, *_limits(counted.tokens, card)),
    )


def _limits(tokens: int, card: RateCard | None) -> tuple[str, ...]:
    if card is None or card.context_tokens is None or tokens <= card.context_tokens:
        return ()
    return (f"longer than the model's context of {card.context_tokens:,} tokens: it will refuse",)
