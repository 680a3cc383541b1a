"""Find the model that a request names, the upstreams for it, and whether a key may use both.

Called by `relay`.
"""

import re
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from meter.config import Settings
from meter.core.reading import Reading
from meter.gateway.endpoints import keeps_objects
from meter.gateway.objects import place_of
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.gateway.upstreams import Upstream, Upstreams
from meter.providers.forms import form_fields, is_form
from meter.store.keys import Key

REST_SECONDS: Final = 10.0
"""How long an upstream that failed is tried after the others that could take a call."""

_IN_PATH: Final = re.compile(r"/(?:models|engines|deployments)/([^/]+)", re.IGNORECASE)


class _Named(msgspec.Struct):
    """The one member of a request that decides where it goes; the rest is not built."""

    model: Any = None


_named: Final = msgspec.json.Decoder(_Named)


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
            raise _no_such_model(model)
        if self._resting and len(found) > 1:
            now_s = time.monotonic()
            found.sort(key=lambda each: self._resting.get(each.name, 0.0) > now_s)
        return found

    def let_rest(self, upstream: Upstream) -> None:
        """Try an upstream that has just failed after the others, for a while."""
        self._resting[upstream.name] = time.monotonic() + REST_SECONDS

    def check(self, key: Key, request: Request, reading: Reading, body: bytes) -> None:
        """Let a call pass that the operator and its key allow. Raises: Rejected."""
        endpoint = reading.endpoint
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
                403, "endpoint_not_open", f"the endpoint {endpoint} is not open on this gateway"
            )
        if endpoint == "models" and request.method in ("GET", "HEAD"):
            if _IN_PATH.search(request.path) is None:
                return
        elif key.endpoints is not None and endpoint not in key.endpoints:
            raise Rejected(
                403, "endpoint_not_allowed", f"this key may not use the endpoint {endpoint}"
            )
        if key.models is None:
            return
        model = reading.model or model_of(request, body)
        if model is None:
            raise Rejected(
                403, "model_not_named",
                "this key may use certain models only, and the call names none",
            )  # fmt: skip
        if not may_use(key, model):
            raise _no_such_model(model)


def may_use(key: Key, model: str) -> bool:
    """Whether a key's list allows a model."""
    return key.models is None or any(fnmatchcase(model, pattern) for pattern in key.models)


def model_of(request: Request, body: bytes) -> str | None:
    """Return the model that path, JSON or form name, None when none of them does."""
    in_path = _IN_PATH.search(request.path)
    if in_path is not None:
        named = unquote(in_path[1])
        return named.rpartition(":")[0] if request.shape == "google" and ":" in named else named
    if not body:
        return None
    content_type = request.fields.get("content-type")
    model: Any
    if content_type is not None and is_form(content_type):
        model = form_fields(content_type, body)[0].get("model")
    else:
        try:
            model = _named.decode(body).model
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
    return model if isinstance(model, str) and model else None


def _no_such_model(model: str | None) -> Rejected:
    named = f"the model {model!r:.200}" if model else "a call that names no model"
    return Rejected(404, "model_not_found", f"{named} is not served to this key")
