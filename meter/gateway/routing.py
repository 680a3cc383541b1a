"""Find the upstreams for the model that a request names, and let pass what may be called.

Called by `relay`.
"""

import time
from collections.abc import Sequence
from typing import Final

from meter.config import Settings
from meter.core.reading import Reading
from meter.gateway.allowing import check_lists
from meter.gateway.endpoints import keeps_objects
from meter.gateway.naming import model_of, no_such_model
from meter.gateway.objects import place_of
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.gateway.upstreams import Upstream, Upstreams
from meter.store.keys import Key

REST_SECONDS: Final = 10.0
"""How long an upstream that failed is tried after the others that could take a call."""


class Router:
    """Decides where calls go, and which keys may make them."""

    def __init__(self, upstreams: Upstreams, settings: Settings) -> None:
        """Take the upstreams and what the operator allows."""
        self.upstreams = upstreams
        self._settings = settings
        self._resting: dict[str, float] = {}

    def candidates(self, request: Request, body: bytes) -> Sequence[Upstream]:
        """Return the upstreams to try for a request, in order; those that failed lately last.

        Raises: Rejected when none serves its model.
        """
        listed = self.upstreams.listed
        if len(listed) == 1 and listed[0].models is None:
            return listed
        model = model_of(request, body)
        found = self.upstreams.candidates(request.shape, model)
        if not found:
            raise no_such_model(model)
        if self._resting and len(found) > 1:
            now_s = time.monotonic()
            found.sort(key=lambda each: self._resting.get(each.name, 0.0) > now_s)
        return found

    def let_rest(self, upstream: Upstream) -> None:
        """Try an upstream that has just failed after the others, for a while."""
        self._resting[upstream.name] = time.monotonic() + REST_SECONDS

    def check(self, key: Key, request: Request, reading: Reading, body: bytes) -> None:
        """Let a call pass that the operator and its key allow. Raises: Rejected."""
        if not reading.metered and not self._settings.allow_unmetered:
            raise Rejected(
                404, "unknown_url",
                f"{request.method} {request.path} is not an endpoint that this gateway can meter",
            )  # fmt: skip
        is_closed = (
            not self._settings.allow_stored_objects
            and place_of(request.path, request.shape) is None
        )
        if is_closed and keeps_objects(reading, request.method):
            raise Rejected(
                403, "endpoint_not_open",
                f"the endpoint {reading.endpoint} is not open on this gateway",
            )  # fmt: skip
        check_lists(key, request, reading, body)
