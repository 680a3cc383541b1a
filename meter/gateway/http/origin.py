"""Name the place that an address leads to. Pure."""

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an upstream listens: what connections are kept by.

    `authority` is the host header: with the port where it is not the usual one.
    """

    scheme: str
    host: str
    port: int
    authority: str

    @property
    def is_secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme == "https"


def origin_of(url: str) -> Origin:
    """Return the origin of an http or https address."""
    parts = urlsplit(url)
    usual = 443 if parts.scheme == "https" else 80
    host, port = parts.hostname or "", parts.port or usual
    named = f"[{host}]" if ":" in host else host
    return Origin(parts.scheme, host, port, named if port == usual else f"{named}:{port}")
