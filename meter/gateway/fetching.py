"""Fetch one stored object as it is now, past the client's own call.

Called by `own_objects` and `noting`.
"""

import logging
from typing import Final

from meter.gateway import headers
from meter.gateway.http.errors import UpstreamError
from meter.gateway.objects import Place
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.gateway.services import Services
from meter.gateway.upstreams import Upstream
from meter.providers.foreign import JSONObject, decoded, mapping

logger = logging.getLogger("meter.gateway")

SECONDS: Final = 30
"""How long an upstream may take for it."""

_LONGEST_BYTES: Final = 8_388_608


async def fetched(
    services: Services, request: Request, upstream: Upstream, place: Place, name: str
) -> JSONObject | None:
    """Return an object, None when the upstream has it no more. Raises: Rejected (502)."""
    fields = {**request.fields, "accept-encoding": "identity"}
    sent = headers.outgoing(fields.items(), fields, upstream, request.shape)
    target = upstream.path_of(place.family.path_of(name))
    try:
        status, body = await services.client.fetch(
            upstream.origin, target, sent, seconds=SECONDS, most_bytes=_LONGEST_BYTES
        )
    except (UpstreamError, TimeoutError) as error:
        logger.warning("the upstream %s did not list: %s", upstream.name, type(error).__name__)
        raise Rejected(502, "upstream_failed", f"the upstream {upstream.name} broke off") from None
    if status == 404:
        return None
    value, fault = decoded(body)
    if status != 200 or fault is not None:
        raise Rejected(
            502, "upstream_failed", f"the upstream {upstream.name} answered {status} for an object"
        )
    return mapping(value)
