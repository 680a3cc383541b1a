"""List the models that a key may use, where an upstream's own list would say more.

Asks the upstreams and takes out what the key may not use or what does not lead to them. Where
nothing is to be taken out the call goes the usual way. OpenAI's list also says what each model
costs the key's subject. Called by `app`.
"""

import asyncio
import logging
from typing import Any, Final

from meter.clock import now_us
from meter.core.money import nanos_to_text
from meter.core.ports import Answer
from meter.core.rates import STANDARD, RateCard
from meter.gateway import headers
from meter.gateway.allowing import may_use
from meter.gateway.attributing import attribution_of
from meter.gateway.http.errors import UpstreamError
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.gateway.services import Services
from meter.gateway.upstreams import Upstream
from meter.providers.foreign import JSONObject, decoded, encoded, label, mapping, objects
from meter.store.keys import Key

logger = logging.getLogger("meter.gateway")

_SECONDS: Final = 15
_LONGEST_BYTES: Final = 8_388_608
_PATHS: Final = frozenset({"/v1/models", "/v1beta/models"})


def is_listing(services: Services, request: Request, key: Key) -> bool:
    """Whether a request asks for models and gets a list of our own making."""
    if request.method != "GET" or request.path.rstrip("/") not in _PATHS:
        return False
    several = len(services.router.upstreams.listed) > 1
    return several or key.models is not None or not services.tenants.is_shared


async def listed(services: Services, request: Request, key: Key) -> Answer:
    """Return the list of models that the key may use. Raises: Rejected when nobody answers.

    A fine-tuned model is its owner's. A list that is not to be changed passes as it came.
    """
    upstreams = services.router.upstreams
    asked = upstreams.of_shape(request.shape)
    pages = await asyncio.gather(*(_page(services, request, each) for each in asked))
    known = [(up, page) for up, page in zip(asked, pages, strict=True) if page is not None]
    if not known:
        raise Rejected(502, "upstream_failed", "no upstream told which models it has")
    member = "models" if request.shape == "google" else "data"
    models: dict[str, Any] = {}
    offered = 0
    is_priced = request.shape == "openai"
    for upstream, (_, page) in known:
        shown = {_name(model): model for model in objects(page.get(member))}
        offered += len(shown)
        hidden = await services.tenants.hidden_models(key, upstream, shown)
        for name, model in shown.items():
            leads_here = upstreams.may_take(upstream, request.shape, name)
            if name and leads_here and name not in hidden and may_use(key, name):
                models.setdefault(
                    name, _priced(services, key, upstream, model) if is_priced else model
                )
    body, first = known[0][1]
    if is_priced or len(known) > 1 or len(models) != offered:
        body = encoded({**first, member: list(models.values())})
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    return Answer(200, fields, body)


def _priced(services: Services, key: Key, upstream: Upstream, model: JSONObject) -> JSONObject:
    """Return a model with what the key's subject is billed for it now; as it is without a price.

    `pricing` has the currency and, by unit, the price of `per` of it as decimal text.
    """
    pricing = services.pipeline.pricing_of(
        provider=upstream.dialect.name,
        issuer=upstream.dialect.issuer,
        upstream=upstream.name,
        model=_name(model),
        attribution=attribution_of(key),
        at_us=now_us(),
    )
    card = pricing.cost if pricing.billed is None else pricing.billed
    if not isinstance(card, RateCard):
        return model
    rates = card.rates_for(STANDARD, now_us(), 0, {}) or {}
    prices = {
        unit: {"price": nanos_to_text(rate.nanos), "per": rate.per} for unit, rate in rates.items()
    }
    return {**model, "pricing": {"currency": card.currency, **prices}}


def _name(model: Any) -> str:
    named = label(model.get("id")) or label(model.get("name")) or ""
    return named.removeprefix("models/")


async def _page(
    services: Services, request: Request, upstream: Upstream
) -> tuple[bytes, JSONObject] | None:
    """Return an upstream's list, its bytes and the object, None when it gave none."""
    fields = {**request.fields, "accept-encoding": "identity"}
    sent = headers.outgoing(fields.items(), fields, upstream, request.shape)
    target = upstream.path_of(request.target)
    try:
        status, body = await services.client.fetch(
            upstream.origin, target, sent, seconds=_SECONDS, most_bytes=_LONGEST_BYTES
        )
    except (UpstreamError, TimeoutError) as error:
        logger.warning("the upstream %s told no models: %s", upstream.name, type(error).__name__)
        return None
    value, fault = decoded(body)
    if status != 200 or fault is not None:
        logger.warning("the upstream %s told no models: status %d", upstream.name, status)
        return None
    return body, mapping(value)
