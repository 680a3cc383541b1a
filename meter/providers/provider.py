"""Describe one provider in a few lines: its hosts, and where it differs from the rest.

Knows no endpoint. `rows.py` holds the rows; dialects and endpoints read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

Shape = Literal["openai", "anthropic", "google", "aws"]
"""Whose error objects an API uses."""

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of models.

    `hosts` are host names, in which "*" stands for anything. `issuer` sends the bill, "" when it
    is the provider itself. `asks_usage` names the endpoints whose streams are known to take
    `stream_options.include_usage`; with `asks_usage_since` (an Azure api-version date) only from
    that version on. `free_moderations`: moderation calls cost nothing here. `aliases` maps a path
    ending of this provider to the usual one. `default_max_tokens` bounds legacy completions that
    name no limit, None where that is not known. `reasoning_apart`: reasoning tokens are not
    inside the completion tokens.
    """

    name: str
    hosts: tuple[str, ...] = ()
    issuer: str = ""
    shape: Shape = "openai"
    asks_usage: frozenset[str] = frozenset()
    asks_usage_since: str = ""
    free_moderations: bool = False
    aliases: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    default_max_tokens: int | None = None
    reasoning_apart: bool = False

    def serves(self, host: str) -> bool:
        """Whether a host name in lower case, without port, belongs to this provider."""
        return any(fnmatchcase(host, pattern) for pattern in self.hosts)
