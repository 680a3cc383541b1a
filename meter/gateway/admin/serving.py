"""Answer requests to the admin API: match, authorise, validate, carry out, encode.

    GET /meter/docs            the operations on a page (or the document, where JSON is asked for)
    GET /meter/openapi.json    the OpenAPI document
    …   /meter/v1/…            the operations, with a key whose role is admin or reader

Called by `app`, on the event loop.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from meter.core.ports import Answer
from meter.errors import ConfigError, ConflictingWrite, InputError
from meter.gateway.admin import describing
from meter.gateway.admin.operations import Asked, Context, Missing, Operation
from meter.gateway.admin.table import OPERATIONS
from meter.gateway.admin.views import Failure, Fault
from meter.gateway.line import Line
from meter.gateway.rejections import Rejected
from meter.gateway.services import Services

_API: Final = "/meter/v1"
_MOST_BYTES: Final = 1_048_576
_MOST_PARAMETERS: Final = 100
_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Route:
    pattern: re.Pattern[str]
    operation: Operation


_ROUTES: Final = tuple(
    _Route(re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", operation.path)), operation)
    for operation in OPERATIONS
)


async def answered(services: Services, scope: Mapping[str, Any], line: Line) -> Answer:
    """Return the answer to a request under /meter/. Raises: StoreError, ClientLeft."""
    try:
        return await _answered(services, scope, line)
    except Rejected as rejection:
        headers = {"connection": "close"} if rejection.closes else {}
        return _failure(rejection.status, rejection.code, rejection.message, headers)


def unavailable() -> Answer:
    """Return the answer while the ledger is away."""
    return _failure(503, "ledger_unavailable", "the usage ledger is not available", {})


async def _answered(services: Services, scope: Mapping[str, Any], line: Line) -> Answer:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    method = scope["method"].upper()
    fields = {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in scope["headers"]}
    if path in ("/meter/openapi.json", "/meter/docs"):
        if method not in ("GET", "HEAD"):
            return _failure(405, "method_not_allowed", f"found {method}", {"allow": "GET, HEAD"})
        as_json = path.endswith(".json") or "json" in fields.get("accept", "")
        return describing.document_answer() if as_json else describing.page_answer()
    role = await _role(services, fields)
    found = [(route, match) for route in _ROUTES if (match := _match(route, scope))]
    if not found:
        raise Rejected(404, "unknown_url", f"found nothing at {path!r:.200}: see /meter/docs")
    for route, match in found:
        if route.operation.method == method:
            if method != "GET" and role != "admin":
                raise Rejected(403, "read_only", "this key may only read: its role is reader")
            return await _carried_out(services, route.operation, match, scope, fields, line)
    allowed = ", ".join(sorted({route.operation.method for route, _ in found}))
    message = f"found {method} for {path!r:.200}, expected {allowed}"
    return _failure(405, "method_not_allowed", message, {"allow": allowed})


def _match(route: _Route, scope: Mapping[str, Any]) -> re.Match[str] | None:
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("latin-1").partition("?")[0].removeprefix(scope.get("root_path", ""))
    if not path.startswith(_API):
        return None
    return route.pattern.fullmatch(path.removeprefix(_API))


async def _role(services: Services, fields: Mapping[str, str]) -> str:
    """Return the role of the key that a request carries. Raises: Rejected (401, 403)."""
    scheme, _, secret = fields.get("authorization", "").partition(" ")
    secret = secret.strip() if scheme.lower() == "bearer" else fields.get("x-api-key", "")
    key = await services.keyring.key_of(secret)
    if key.role is None:
        raise Rejected(403, "not_an_admin_key", "this key is a customer's, expected an admin key")
    return key.role


async def _carried_out(
    services: Services,
    operation: Operation,
    match: re.Match[str],
    scope: Mapping[str, Any],
    fields: Mapping[str, str],
    line: Line,
) -> Answer:
    body = await line.body(_MOST_BYTES)
    asked = Asked(
        path={name: _name(value) for name, value in match.groupdict().items()},
        query=_query(operation, scope["query_string"]),
        body=_body(operation, fields, body),
    )
    context = Context(
        services.ledger,
        services.router.upstreams,
        services.pipeline.settings,
        services.imported,
    )
    loop = asyncio.get_running_loop()
    try:
        answer = await loop.run_in_executor(services.threads, operation.run, context, asked)
    except Missing as missing:
        raise Rejected(404, "not_found", str(missing)) from None
    except ConflictingWrite as error:
        raise Rejected(409, "conflict", str(error)) from None
    except (InputError, ConfigError) as error:
        raise Rejected(422, "invalid_value", str(error)) from None
    if operation.answer is None:
        return Answer(operation.status, {}, b"")
    return _json(operation.status, answer)


def _name(text: str) -> str:
    name = unquote(text)
    if "\0" in name or len(name) > 256 or not name.isprintable():
        raise Rejected(422, "invalid_value", f"found the name {name!r:.80}, expected plain text")
    return name


def _query(operation: Operation, raw: bytes) -> Any:
    try:
        pairs = parse_qsl(
            raw.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        raise Rejected(422, "invalid_value", "found too many parameters in the query") from None
    given: dict[str, Any] = dict(pairs)
    if len(given) != len(pairs):
        raise Rejected(422, "invalid_value", "found a parameter twice, expected each once")
    if any("\0" in text for pair in given.items() for text in pair):
        raise Rejected(422, "invalid_value", "found a NUL in the query, expected plain text")
    if given.get("limit", "").isdecimal() and len(given["limit"]) < 10:
        given["limit"] = int(given["limit"])
    try:
        # Strictly: in the lax mode a subject called "null" would be no subject.
        return msgspec.convert(given, operation.query)
    except msgspec.ValidationError as error:
        raise _invalid("query", error) from None


def _body(operation: Operation, fields: Mapping[str, str], body: bytes) -> Any:
    if operation.body is None:
        return None
    if not _JSON.match(fields.get("content-type", "")):
        raise Rejected(415, "unsupported_type", "expected a body of type application/json")
    try:
        made: Any = msgspec.json.decode(body, type=operation.body)
    except msgspec.ValidationError as error:
        raise _invalid("body", error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(422, "invalid_value", f"found a body that is no JSON: {error}") from None
    if b"\\u0000" in body:
        raise Rejected(422, "invalid_value", "found a NUL in the body, expected plain text")
    return made


def _invalid(where: str, error: Exception) -> Rejected:
    message = str(error).replace("`", "").replace("$.", f"{where}.").replace("$", where)
    return Rejected(422, "invalid_value", message[0].lower() + message[1:])


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    body = msgspec.json.encode(value)
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    return Answer(status, {**fields, "cache-control": "no-store", **(headers or {})}, body)


def _failure(status: int, code: str, message: str, headers: Mapping[str, str]) -> Answer:
    return _json(status, Failure(Fault(code, message)), headers)
