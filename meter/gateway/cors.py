"""Let pages of named origins call the gateway from a browser; off unless it is set.

Only the APIs: the admin API answers no page. Keys come in headers, so cookies and the like are
never allowed. Called by `app`.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol (2026-11).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from meter.core.ports import Answer
from meter.errors import ConfigError
from meter.gateway.line import RawHeaders

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+|[a-z][a-z0-9+.\-]*://[A-Za-z0-9.\-]+")
_APIS: Final = ("/v1/", "/v1beta/", "/dashboard/billing/")
_EXPOSED: Final = b"x-meter-call-id, x-meter-max-tokens, x-meter-budget, x-request-id, retry-after"
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~, ]{0,4096}")
_SECONDS: Final = "600"


class Cors:
    """The origins whose pages may call."""

    def __init__(self, origins: str) -> None:
        """Take origins separated by commas, or * for all. Raises: ConfigError."""
        self._origins = frozenset(each.strip() for each in origins.split(",") if each.strip())
        for each in self._origins:
            if each != "*" and _ORIGIN.fullmatch(each) is None:
                raise ConfigError(
                    f"found {each!r} for cors_origins, expected an origin as https://example.com"
                )

    def headers_for(self, scope: Mapping[str, Any]) -> RawHeaders:
        """Return what an answer to this request says besides; nothing where no page may ask."""
        if not self._origins or not scope["path"].startswith(_APIS):
            return []
        origin = _field(scope, b"origin")
        if "*" in self._origins:
            allowed = "*"
        elif origin in self._origins:
            allowed = origin
        else:
            return [(b"vary", b"origin")]
        return [
            (b"access-control-allow-origin", allowed.encode()),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"origin"),
        ]

    def preflight(self, scope: Mapping[str, Any]) -> Answer | None:
        """Return the answer to a browser that asks first, None for any other request."""
        asked = _field(scope, b"access-control-request-method")
        is_page_s = any(n.startswith(b"access-control-allow") for n, _ in self.headers_for(scope))
        if scope["method"] != "OPTIONS" or not asked or not is_page_s:
            return None
        names = _field(scope, b"access-control-request-headers")
        fields = {"access-control-allow-methods": _METHODS, "access-control-max-age": _SECONDS}
        if names and _NAMES.fullmatch(names):
            fields["access-control-allow-headers"] = names
        return Answer(204, fields, b"")


def _field(scope: Mapping[str, Any], name: bytes) -> str:
    return next((v.decode("latin-1") for n, v in scope["headers"] if n.lower() == name), "")
