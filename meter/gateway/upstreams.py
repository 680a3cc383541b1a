"""Know the upstreams: where each is, what it speaks, which models it serves, its credential.

    [upstreams.openai]
    base_url = "https://api.openai.com/v1"
    models = ["gpt-*", "text-embedding-3-small"]
    weight = 3
    fallbacks = ["azure"]

Knows no HTTP library. Made from the settings and the ledger, at the start and whenever they
change; read by `app`, `routing` and `headers`.
"""

import logging
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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

logger = logging.getLogger("meter.gateway")

SECONDS: Final = 600
"""How long an upstream may send nothing, where it has no `seconds` of its own."""

_FIELDS: Final[Mapping[str, type]] = {
    "base_url": str, "dialect": str, "key_env": str, "key_file": str, "models": list,
    "seconds": int, "weight": int, "fallbacks": list,
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
    send nothing. `weight` is its share of the calls that several upstreams could take, None where
    shares were not given. `fallbacks` are the upstreams to try when this one fails.
    """

    name: str
    base_url: str
    dialect: Dialect
    shape: Shape
    credential: str | None = field(repr=False)
    models: tuple[str, ...] | None = None
    seconds: int = SECONDS
    weight: int | None = None
    fallbacks: tuple[str, ...] = ()
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
        self._named = {upstream.name: upstream for upstream in listed}
        for upstream in listed:
            for name in upstream.fallbacks:
                if name not in self._named or name == upstream.name:
                    raise ConfigError(
                        f"found fallback {name!r} of upstream {upstream.name}, expected another "
                        f"one of {', '.join(self._named)}"
                    )

    def choose(self, shape: Shape, model: str | None) -> Upstream | None:
        """Return the upstream for a model asked for in an API's shape, None when none serves it.

        An exact name wins over a pattern, a pattern over an upstream without a list, and among
        equals one that speaks the API itself; then one by weight, or the first.
        """
        equals = self._best(shape, model)
        return equals[0] if equals else None

    def candidates(self, shape: Shape, model: str | None) -> list[Upstream]:
        """Return the upstreams to try for a model, in order; empty when none serves it.

        First one of those that suit it best, by weight; then the others that have a share; then
        the fallbacks that they name.
        """
        equals = self._best(shape, model)
        if not equals:
            return []
        tried = [each for each in equals if each is equals[0] or each.weight is not None]
        for each in equals:
            tried += [self._named[name] for name in each.fallbacks]
        return list(dict.fromkeys(tried))

    def may_take(self, upstream: Upstream, shape: Shape, model: str | None) -> bool:
        """Whether calls for a model go to this upstream, or to it among others."""
        equals = self._best(shape, model)
        shared = [each for each in equals if each.weight is not None]
        return upstream in (shared or equals[:1])

    def _best(self, shape: Shape, model: str | None) -> list[Upstream]:
        """Return the upstreams that suit a model equally well, the one to take first."""
        ranked = [
            ((rank, upstream.shape != shape), upstream)
            for upstream in self.listed
            if (rank := upstream.rank(model)) is not None
        ]
        if not ranked:
            return []
        best = min(rank for rank, _ in ranked)
        equals = [upstream for rank, upstream in ranked if rank == best]
        if len(equals) > 1 and any(each.weight is not None for each in equals):
            equals.sort(key=_by_weight)
        return equals

    def of_shape(self, shape: Shape) -> tuple[Upstream, ...]:
        """Return the upstreams that speak an API, or else all."""
        return tuple(each for each in self.listed if each.shape == shape) or self.listed


def read_upstreams(
    tables: Mapping[str, Mapping[str, Any]],
    urls: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    stored: Mapping[str, Mapping[str, Any]] | None = None,
) -> Upstreams:
    """Return the upstreams of the settings and of the ledger, with their credentials.

    `urls` adds base URLs by name, or replaces those of the tables. `stored` are those that the
    ledger keeps; the settings win over one of the same name, and one that cannot be used here is
    left out with a warning: it may be meant for another machine. Raises: ConfigError.
    """
    environment = os.environ if environment is None else environment
    named = {name: dict(table) for name, table in tables.items()}
    for name, url in (urls or {}).items():
        named[name] = {**named.get(name, {}), "base_url": url}
    found = [_read(name, table, environment) for name, table in named.items()]
    for name, table in (stored or {}).items():
        if name in named:
            continue
        try:
            found.append(_read(name, table, environment))
        except ConfigError as error:
            logger.warning("the upstream %s of the ledger is left out: %s", name, error)
    known = {upstream.name for upstream in found}
    kept = tuple(_without_missing(upstream, known, stored or {}) for upstream in found)
    return Upstreams(kept)


def checked_table(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of an upstream to store, checked but for its key. Raises: ConfigError."""
    _read(name, {**table, "key_env": ""} if "key_file" not in table else _keyless(table), {})
    if "key_file" in table and "key_env" in table:
        raise ConfigError(f"found key_env and key_file of upstream {name}, expected one of them")
    return dict(table)


def _keyless(table: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in table.items() if key != "key_file"}, "key_env": ""}


def _without_missing(
    upstream: Upstream, known: set[str], stored: Mapping[str, Mapping[str, Any]]
) -> Upstream:
    """Return the upstream without fallbacks that are kept in the ledger and left out here."""
    kept = tuple(name for name in upstream.fallbacks if name in known or name not in stored)
    return upstream if kept == upstream.fallbacks else replace(upstream, fallbacks=kept)


def _by_weight(upstream: Upstream) -> float:
    """Return a random place: earlier the greater the weight (an exponential race)."""
    if not upstream.weight:
        return float("inf")
    return random.expovariate(upstream.weight)


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
    for key in ("models", "fallbacks"):
        names: Sequence[Any] = table.get(key) or ()
        if not all(isinstance(each, str) and each for each in names):
            raise ConfigError(f"found {names!r} for {key} of upstream {name}, expected names")
    weight = table.get("weight")
    if weight is not None and not 0 <= weight <= 1_000_000:
        raise ConfigError(f"found weight {weight} of upstream {name}, expected 0 to 1000000")
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
        weight=weight,
        fallbacks=tuple(table.get("fallbacks", ())),
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
