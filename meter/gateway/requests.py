"""Read the outside of a request: its path, its headers, the key it carries. Pure.

The path is checked before anything is decided by it: whatever two servers could understand in two
ways is rejected. Called by `app`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, unquote_plus

from meter.gateway.rejections import Rejected
from meter.providers.provider import Shape
from meter.store.keys import PREFIX

_KNOWN_PATHS: Final = 1024
_LONG_PATH: Final = 200
_SAFE: Final = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*")
_DOTS: Final = frozenset({".", ".."})
EPHEMERAL: Final = "ek_"
"""What a secret for one Realtime session begins with."""

_PREFIXES: Final = ("/v1/", "/v1beta/")
BILLING: Final = "/dashboard/billing/"
"""Where chat front ends ask for a balance, with /v1 before it or without."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_GOOGLE_KEY: Final = "x-goog-api-key"
_KEY_HEADERS: Final = ("x-api-key", _GOOGLE_KEY, "api-key")
# A verb behind a model's name; the names of fine-tuned models have colons of their own.
_VERB: Final = re.compile(r"/(?!ft:)[^/:]+:[A-Za-z]+$")
_COLLECTIONS: Final = re.compile(
    r"/v1/(?:batches|cachedContents|files|operations|tunedModels)(?:/|$)", re.IGNORECASE
)
_MESSAGES: Final = re.compile(r"/v1/(?:messages|complete)(?:/|$)", re.IGNORECASE)
# Forms and sound are passed on as they come; everything else that is sent is read first.
_STREAMED: Final = re.compile(r"multipart/|audio/|video/|image/|application/octet-stream", re.I)


@dataclass(frozen=True, slots=True)
class Request:
    """One request without its body.

    `path` is as it came (percent-encoded) and safe; `query` has lost the key. `headers` are all
    of them in order, names in lower case; `fields` the last value of each. `secret` is "" when
    none of the key's places holds one. `length` is the announced length of the body in bytes,
    None when it is not announced. `is_streamed`: the body is passed on as it comes, for it is no
    JSON.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    fields: Mapping[str, str]
    shape: Shape
    secret: str
    length: int | None
    is_streamed: bool = False

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return bool(self.length) or "transfer-encoding" in self.fields

    @property
    def target(self) -> str:
        """Return the path with its query."""
        return f"{self.path}?{self.query}" if self.query else self.path


def read_request(scope: Mapping[str, Any]) -> Request:
    """Return the request of an ASGI scope. Raises: Rejected."""
    method = scope["method"].upper()
    headers = _decoded(scope["headers"])
    fields = dict(headers)
    raw = scope.get("raw_path") or scope["path"].encode()
    read_path = _read_path if len(raw) > _LONG_PATH else _known_path
    path, shape = read_path(raw, scope.get("root_path", ""))
    if shape == "openai" and ("anthropic-version" in fields or _GOOGLE_KEY in fields):
        shape = shape_of(path, fields)
    if not path.startswith((*_PREFIXES, BILLING)):
        raise Rejected(
            404, "unknown_url", "found no API under this path, expected /v1/ or /v1beta/"
        )
    if method not in _METHODS:
        raise Rejected(405, "method_not_allowed", f"found the method {method!r:.20}")
    if fields.get("content-encoding", "identity").lower() != "identity":
        raise Rejected(
            415,
            "unsupported_encoding",
            "found a compressed body, expected a plain one",
            closes=True,
        )
    query, in_query = _without_key(scope["query_string"]) if scope["query_string"] else ("", "")
    length = fields.get("content-length")
    return Request(
        method=method,
        path=path,
        query=query,
        headers=headers,
        fields=fields,
        shape=shape,
        secret=_secret(fields, in_query),
        length=int(length) if length is not None and length.isdecimal() else None,
        is_streamed=_STREAMED.match(fields.get("content-type", "")) is not None,
    )


def shape_of(path: str, fields: Mapping[str, str]) -> Shape:
    """Return whose API a request is written for."""
    if _MESSAGES.match(path):
        return "anthropic"
    if path.startswith("/v1beta/"):
        return "google"
    # Lists of models, and Google's collections, have one path in several APIs.
    is_list = path.startswith("/v1/models")
    if is_list and "anthropic-version" in fields:
        return "anthropic"
    if _GOOGLE_KEY in fields and (is_list or _COLLECTIONS.match(path)):
        return "google"
    return "google" if _VERB.search(unquote(path)) else "openai"


def _read_path(raw: bytes, root_path: str) -> tuple[str, Shape]:
    """Return a path that is safe, and whose API it is of where no header says more."""
    try:
        path: str = raw.decode("ascii").removeprefix(root_path)
    except UnicodeDecodeError:
        path = ""
    decoded = unquote(unquote(path))
    segments = decoded.replace("\\", "/").split("/")
    if (
        not _SAFE.fullmatch(path)
        or "//" in decoded
        or "\\" in decoded
        or ";" in decoded
        or not decoded.isprintable()
        or not _DOTS.isdisjoint(segments)
    ):
        raise Rejected(
            400, "invalid_path", "found a path that can be read in two ways, expected a plain one"
        )
    return path, shape_of(path, {})


_known_path: Final = lru_cache(_KNOWN_PATHS)(_read_path)
"""Most requests have one of a few paths, which need not be read again."""


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    try:
        return tuple([(name.decode("ascii").lower(), value.decode()) for name, value in headers])
    except UnicodeDecodeError:
        raise Rejected(
            400, "invalid_header", "found a header that is not UTF-8, expected text"
        ) from None


def _without_key(query_string: bytes) -> tuple[str, str]:
    """Return the query without its key, and the key ("" when it holds none)."""
    query = query_string.decode("latin-1")
    if not query.isascii() or not query.isprintable():
        raise Rejected(400, "invalid_query", "found bytes in the query that are not ASCII")
    if "key" not in unquote_plus(query):
        return query, ""
    kept = [pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) != "key"]
    secret = dict(parse_qsl(query)).get("key", "")
    return "&".join(kept), secret


def _secret(fields: Mapping[str, str], in_query: str) -> str:
    """Return the key: of several places the first that holds one of ours."""
    scheme, _, bearer = fields.get("authorization", "").partition(" ")
    found = [bearer.strip()] if scheme.lower() == "bearer" else []
    found += [fields[name].strip() for name in _KEY_HEADERS if name in fields]
    found.append(in_query)
    return next((secret for secret in found if secret.startswith((PREFIX, EPHEMERAL))), "")
