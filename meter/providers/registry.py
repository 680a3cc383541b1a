"""Find the dialect of a host or of a name.

Called by the clients (by host), the gateway's upstreams and `meter replay` (by name).
"""

from functools import lru_cache
from typing import Final

from meter.providers.dialect import ProviderDialect, plain_path
from meter.providers.provider import Provider, Shape
from meter.providers.rows import OLLAMA_PORT, PROVIDERS

_BY_NAME: Final = {provider.name: ProviderDialect(provider) for provider in PROVIDERS}
_LOCAL: Final = ("localhost", "127.0.0.1", "[::1]")


def dialect_for(host: str, path: str = "") -> ProviderDialect:
    """Return the dialect of a URL's host, which may carry a port.

    A host that nobody knows is read under its own name, as OpenAI-compatible unless the path has
    the shape of Anthropic's or Google's; each call's endpoint is told by its own path anyway.
    """
    return _dialect_for(host.strip().lower().rstrip(".")[:253], _shape_of(path))


def dialect_named(name: str) -> ProviderDialect:
    """Return the dialect of that name ("openai", "azure", …); an unknown one is generic."""
    known = _BY_NAME.get(name.lower())
    return known if known is not None else _generic(name, "openai")


def dialect_shaped(path: str) -> ProviderDialect:
    """Return the dialect of the maker of the API that a path has the shape of."""
    return _BY_NAME[_shape_of(path)]


def names() -> tuple[str, ...]:
    """Return the names of all providers that are known."""
    return tuple(_BY_NAME)


@lru_cache(maxsize=1024)
def _dialect_for(host: str, shape: Shape) -> ProviderDialect:
    name, _, port = host.rpartition(":")
    if not port.isdecimal():
        name, port = host, ""
    if name in _LOCAL and port == str(OLLAMA_PORT):
        return _BY_NAME["ollama"]
    for provider in PROVIDERS:
        if provider.serves(name):
            return _BY_NAME[provider.name]
    return _generic(host, shape)


@lru_cache(maxsize=1024)
def _generic(name: str, shape: Shape) -> ProviderDialect:
    return ProviderDialect(Provider(name, shape=shape))


def _shape_of(path: str) -> Shape:
    plain = plain_path(path.partition("?")[0]).lower()
    if plain.endswith(("/v1/messages", "/v1/messages/count_tokens")):
        return "anthropic"
    return "google" if ":" in plain.rpartition("/")[2] else "openai"
