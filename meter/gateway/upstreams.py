"""Know the upstreams: where each is, what it speaks, which models it serves, its credential.

    [upstreams.openai]
    base_url = "https://api.openai.com/v1"
    models = ["gpt-*", "text-embedding-3-small"]

Knows no HTTP library. Made at the start from the settings; read by `app` and `headers`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from meter.core.ports import Dialect
from meter.errors import ConfigError
from meter.gateway.http.origin import Origin, origin_of
from meter.providers.provider import Shape
from meter.providers.registry import dialect_named
from meter.providers.rows import PROVIDERS

SECONDS: Final = 600
"""How long an upstream may send nothing, where it has no `seconds` of its own."""

_FIELDS: Final[Mapping[str, type]] = {
    "base_url": str, "dialect": str, "key_env": str, "key_file": str, "models": list,
    "seconds": int,
}  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION: Final = re.compile(r"/v\d+[a-z0-9]*(?=/|$)")
_SHAPES: Final[Mapping[str, Shape]] = {provider.name: provider.shape for provider in PROVIDERS}
_CREDENTIAL_HEADERS: Final[Mapping[Shape, str]] = {
    "anthropic": "x-api-key",
    "google": "x-goog-api-key",
}
# Azure has one header for all; Google's cloud takes access tokens like everybody else.
_OWN_HEADERS: Final = {"azure": "api-key", "vertex": "authorization"}


@dataclass(frozen=True, slots=True)
class Upstream:
    """One place to send calls to.

    `base_url` has no slash at its end. `credential` is None where none is needed. `models` are
    names and patterns, None for whatever no other upstream names. `seconds` is how long it may
    send nothing.
    """

    name: str
    base_url: str
    dialect: Dialect
    shape: Shape
    credential: str | None = field(repr=False)
    models: tuple[str, ...] | None = None
    seconds: int = SECONDS
    origin: Origin = field(init=False)
    _base_path: str = field(init=False)
    _has_version: bool = field(init=False)

    def __post_init__(self) -> None:
        """Take the base URL apart, once."""
        path = urlsplit(self.base_url).path
        object.__setattr__(self, "origin", origin_of(self.base_url))
        object.__setattr__(self, "_base_path", path)
        object.__setattr__(self, "_has_version", _VERSION.search(path) is not None)

    def path_of(self, target: str) -> str:
        """Return the path and query that the upstream sees: the base URL's own version wins."""
        if self._has_version:
            target = _VERSION.sub("", target, count=1)
        return self._base_path + target

    def credential_header(self, shape: Shape) -> tuple[str, str] | None:
        """Return the header that carries the credential in an API of that shape."""
        if self.credential is None:
            return None
        usual = _CREDENTIAL_HEADERS.get(shape, "authorization")
        name = _OWN_HEADERS.get(self.dialect.name, usual)
        return name, f"Bearer {self.credential}" if name == "authorization" else self.credential

    def rank(self, model: str | None) -> int | None:
        """Return how well the upstream suits a model (0 best), None when it does not serve it."""
        if self.models is None:
            return 2
        if model is None:
            return 3
        if model in self.models:
            return 0
        return 1 if any(fnmatchcase(model, pattern) for pattern in self.models) else None


class Upstreams:
    """Every upstream, in the order of the settings."""

    def __init__(self, listed: tuple[Upstream, ...]) -> None:
        """Take at least one. Raises: ConfigError."""
        if not listed:
            raise ConfigError(
                "found no upstream, expected one such as "
                "--upstream openai=https://api.openai.com/v1"
            )
        self.listed = listed

    def choose(self, shape: Shape, model: str | None) -> Upstream | None:
        """Return the upstream for a model asked for in an API's shape, None when none serves it.

        An exact name wins over a pattern, a pattern over an upstream without a list, and among
        equals one that speaks the API itself; then the first.
        """
        ranked = [
            (rank, upstream.shape != shape, place, upstream)
            for place, upstream in enumerate(self.listed)
            if (rank := upstream.rank(model)) is not None
        ]
        return min(ranked)[3] if ranked else None

    def of_shape(self, shape: Shape) -> tuple[Upstream, ...]:
        """Return the upstreams that speak an API, or else all."""
        return tuple(each for each in self.listed if each.shape == shape) or self.listed


def read_upstreams(
    tables: Mapping[str, Mapping[str, Any]],
    urls: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Upstreams:
    """Return the upstreams of the settings, with their credentials.

    `urls` adds base URLs by name, or replaces those of the tables. Raises: ConfigError.
    """
    environment = os.environ if environment is None else environment
    named = {name: dict(table) for name, table in tables.items()}
    for name, url in (urls or {}).items():
        named[name] = {**named.get(name, {}), "base_url": url}
    return Upstreams(tuple(_read(name, table, environment) for name, table in named.items()))


def _read(name: str, table: Mapping[str, Any], environment: Mapping[str, str]) -> Upstream:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"found upstream name {name!r}, expected letters, digits, - and _")
    for key, value in table.items():
        expected = _FIELDS.get(key)
        if expected is None:
            known = ", ".join(_FIELDS)
            raise ConfigError(f"found {key!r} in upstream {name}, expected one of {known}")
        if type(value) is not expected:
            raise ConfigError(
                f"found {value!r} for {key} of upstream {name}, expected {expected.__name__}"
            )
    models = table.get("models")
    if models is not None and not all(isinstance(each, str) and each for each in models):
        raise ConfigError(f"found {models!r} for models of upstream {name}, expected names")
    seconds = table.get("seconds", SECONDS)
    if seconds < 1:
        raise ConfigError(f"found {seconds} seconds for upstream {name}, expected 1 or more")
    dialect = dialect_named(table.get("dialect", name))
    return Upstream(
        name=name,
        base_url=_checked_url(name, table.get("base_url", "")),
        dialect=dialect,
        shape=_SHAPES.get(dialect.name, "openai"),
        credential=_credential(name, table, environment),
        models=None if models is None else tuple(models),
        seconds=seconds,
    )


def _checked_url(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        is_plain = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        is_plain = False
    if not is_plain or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ConfigError(
            f"found base_url {url!r} for upstream {name}, expected one such as "
            "https://api.openai.com/v1"
        )
    return url.rstrip("/")


def _credential(name: str, table: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    usual = f"METER_UPSTREAM_{re.sub('[^A-Z0-9]', '_', name.upper())}_KEY"
    variable = table.get("key_env", usual)
    if "key_file" in table:
        place = f"the file {table['key_file']}"
        try:
            text = Path(table["key_file"]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the key of upstream {name}: {error}") from None
    elif variable == "":
        return None
    else:
        place = f"the variable {variable}"
        text = environment.get(variable, "")
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable():
        raise ConfigError(
            f"found no usable key for upstream {name} in {place}: set it there, or say "
            'key_env = "" where none is needed'
        )
    return text
