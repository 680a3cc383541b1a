"""Choose the headers that pass: none of one connection, no credential, nobody's cookie.

Pure. Called by `relay`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from meter.gateway.upstreams import Upstream
from meter.providers.provider import Shape

_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip

# The client's credentials, what would choose another account of ours, and where the client is.
_KEPT_HERE: Final = frozenset(
    {
        "authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "host", "expect",
        "content-length", "openai-organization", "openai-project", "x-goog-user-project",
        "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
        "x-forwarded-proto", "x-real-ip",
    }
)  # fmt: skip

# What an upstream says to its own clients about its own host.
_OF_ITS_HOST: Final = frozenset(
    {
        "set-cookie", "alt-svc", "strict-transport-security", "public-key-pins", "nel",
        "report-to", "access-control-allow-origin", "access-control-allow-credentials",
        "access-control-allow-headers", "access-control-allow-methods",
        "access-control-expose-headers", "access-control-max-age",
    }
)  # fmt: skip

_NOT_SENT: Final = _HOP_BY_HOP | _KEPT_HERE
_NOT_HANDED_ON: Final = _HOP_BY_HOP | _OF_ITS_HOST
_ORDINARY: Final = frozenset({"keep-alive", "close"})
_OWN: Final = "x-meter-"
_OWN_BYTES: Final = _OWN.encode()
_READABLE: Final = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "identity"})

Header = tuple[str, str]


def outgoing(
    headers: Iterable[Header], fields: Mapping[str, str], upstream: Upstream, shape: Shape
) -> list[Header]:
    """Return the headers to send upstream: the client's, with the upstream's credential."""
    dropped = _with_named(_NOT_SENT, fields.get("connection"))
    sent = [
        (name, _readable(value) if name == "accept-encoding" else value)
        for name, value in headers
        if name not in dropped and not name.startswith(_OWN)
    ]
    credential = upstream.credential_header(shape)
    return sent if credential is None else [*sent, credential]


def handed_on(
    raw: Iterable[tuple[bytes, bytes]], fields: Mapping[str, str], edited: frozenset[str]
) -> list[tuple[bytes, bytes]]:
    """Return the upstream's headers for the client; `edited` are no longer true of the body."""
    dropped = _with_named(_NOT_HANDED_ON, fields.get("connection"))
    if edited:
        dropped |= edited
    kept = [(name.lower(), value) for name, value in raw]
    return [
        (name, value)
        for name, value in kept
        if name.decode("latin-1") not in dropped and not name.startswith(_OWN_BYTES)
    ]


def _with_named(dropped: frozenset[str], connection: str | None) -> frozenset[str]:
    """Add the headers that a Connection header declares to be of this connection only."""
    if connection is None or connection in _ORDINARY:
        return dropped
    return dropped | {name.strip().lower() for name in connection.split(",") if name.strip()}


def _readable(accepted: str) -> str:
    """Return the encodings that a client takes, without those that the meter cannot read."""
    wishes = [wish.strip() for wish in accepted.split(",")]
    names = [wish.partition(";")[0].strip().lower() for wish in wishes]
    if all(name in _READABLE for name in names):
        return accepted
    kept = [wish for wish, name in zip(wishes, names, strict=True) if name in _READABLE]
    return ", ".join(kept) or "identity"
