"""Answer HTTP requests as the simulated providers do: a bare ASGI app.

The order of one request: read the body (bounded), find the route, check the key, read the orders,
let the dialect answer, send the reply, write the books. `/sim/*` and `/healthz` need no key.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote

from meter.simulator.books import Books
from meter.simulator.delivery import Line, Outcome, Receive, Send, send_stream, send_whole
from meter.simulator.dialects.table import DIALECTS
from meter.simulator.forms import read_form
from meter.simulator.orders import (
    HONEST,
    Orders,
    UnknownOrderError,
    draw_orders,
    read_orders,
    split_model,
)
from meter.simulator.replies import Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.routing import MESSAGES, Dialect, Route, Router, ordered_refusal
from meter.simulator.settings import SimulatorSettings
from meter.simulator.world import World

_ROUTER = Router(DIALECTS)
_AT_ONCE = SimulatorSettings()


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """Hold one request as it arrived; `body` is its beginning when it is very long."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON. Raises: ValueError."""
        return json.loads(self.body)


class _TooLarge(Exception):
    """Stop reading a body that is above the limit."""


class SimulatorApp:
    """Answer as several providers on one port, by path; an ASGI application."""

    def __init__(self, settings: SimulatorSettings) -> None:
        """Start with empty books."""
        self.settings = settings
        self.world = World(settings)
        self.books = Books(settings.exchange_records)
        self.requests: deque[RecordedRequest] = deque(maxlen=settings.request_records)

    def reset(self) -> None:
        """Empty the books, the recorded requests and everything remembered."""
        self.books.clear()
        self.requests.clear()
        self.world.forget()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _decline(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        line = Line(receive, send)
        try:
            body = await _read_body(receive, headers, self.settings.body_limit_bytes)
        except _TooLarge:
            body = None
        path = unquote(scope["path"])
        if path.startswith("/sim/") or path == "/healthz":
            reply = self._own_answer(scope["method"], path)
            await send_whole(reply, HONEST, _AT_ONCE, line, [], lambda _: None)
            return
        recorded = (body or b"")[: self.settings.request_record_bytes]
        self.requests.append(RecordedRequest(scope["method"], path, query, headers, recorded))
        await self._answer(scope["method"], path, query, headers, body, line)

    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        line: Line,
    ) -> None:
        dialect, route, parts = _ROUTER.find(method, path, headers)
        fields = _read_fields(body or b"", headers)
        model_requested, words = split_model(str(parts.get("model") or fields.get("model") or ""))
        request = Request(
            method=method,
            path=path,
            parts=parts,
            query=query,
            headers=headers,
            body=body or b"",
            fields=fields,
            model_requested=model_requested,
            model=self.settings.served_models.get(model_requested, model_requested),
            orders=HONEST,
            key=dialect.read_key(headers, query),
        )
        orders = HONEST
        try:
            self._check(request, dialect, route, body)
            orders = read_orders(words, headers.get("x-sim-fault", ""))
            if method == "POST":
                orders = draw_orders(orders, self.settings, self.world.chance)
            if orders.status is not None:
                raise ordered_refusal(orders.status)
            assert route is not None
            reply: Reply = _answered(route, replace(request, orders=orders), self.world)
        except UnknownOrderError as error:
            reply = self._refuse(dialect, Refusal(400, str(error), "invalid_value"), orders)
        except Refusal as refusal:
            reply = self._refuse(dialect, refusal, orders)
        own_headers = dialect.headers(self.world)
        endpoint = route.endpoint if route is not None else "unknown"

        def book(outcome: Outcome) -> None:
            model = reply.model or request.model
            self._book(request, endpoint, model, outcome, is_stream=isinstance(reply, Streamed))

        if isinstance(reply, Whole):
            await send_whole(reply, orders, self.settings, line, own_headers, book)
        else:
            await send_stream(
                reply, orders, self.settings, line, own_headers, book, dialect.error_event
            )

    def _check(
        self, request: Request, dialect: Dialect, route: Route | None, body: bytes | None
    ) -> None:
        """Refuse what no endpoint has to look at. Raises: Refusal."""
        if body is None:
            raise Refusal(413, MESSAGES[413], "request_too_large")
        missing, wrong = dialect.key_statuses
        if not request.key:
            raise Refusal(missing, "You didn't provide an API key.", "missing_api_key")
        known = self.settings.keys
        is_wrong = request.key.startswith("bad") if known is None else request.key not in known
        if is_wrong:
            raise Refusal(wrong, "Incorrect API key provided.", "invalid_api_key")
        if route is None:
            raise Refusal(404, f"Unknown request URL: {request.method} {request.path}.")
        name = request.model_requested
        models = self.settings.models
        if name and ("not-found" in name or (models is not None and name not in models)):
            raise Refusal(404, f"The model `{name}` does not exist.", "model_not_found", "model")

    def _refuse(self, dialect: Dialect, refusal: Refusal, orders: Orders) -> Whole:
        reply = dialect.refuse(refusal)
        if refusal.status not in (429, 503, 529):
            return reply
        seconds = orders.retry_after_seconds
        seconds = self.settings.retry_after_seconds if seconds is None else seconds
        headers = (*reply.headers, ("retry-after", f"{seconds:g}"))
        return replace(reply, headers=headers)

    def _own_answer(self, method: str, path: str) -> Whole:
        match (method, path):
            case ("GET", "/healthz"):
                return Whole(payload={"status": "ok"})
            case ("GET", "/sim/books"):
                return Whole(payload=self.books.report())
            case ("POST", "/sim/reset"):
                self.reset()
                return Whole(payload={"status": "ok"})
        return Whole(payload={"error": f"no such page: {method} {path}"}, status=404)

    def _book(
        self, request: Request, endpoint: str, model: str, outcome: Outcome, *, is_stream: bool
    ) -> None:
        self.books.write(
            key=request.key,
            user=_read_user(request.fields),
            endpoint=endpoint,
            model=model,
            model_requested=request.model_requested,
            status=outcome.status,
            ending=outcome.ending,
            is_stream=is_stream,
            chunks=outcome.chunks,
            quantities=outcome.quantities,
        )


def simulator_app(settings: SimulatorSettings | None = None) -> SimulatorApp:
    """Return an ASGI app that answers as the providers do; None takes the default settings."""
    return SimulatorApp(settings or SimulatorSettings())


def _answered(route: Route, request: Request, world: World) -> Reply:
    """Return the dialect's answer. Raises: Refusal, also for a field of an unforeseen type."""
    try:
        return route.answer(request, world)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refusal(400, f"The request has a field of the wrong type: {error}.") from error


def _read_user(fields: Json) -> str | None:
    """Return the end user that a request names, in OpenAI's or in Anthropic's field."""
    about = fields.get("metadata")
    user = fields.get("user") or (about.get("user_id") if isinstance(about, dict) else None)
    return user if isinstance(user, str) else None


def _read_fields(body: bytes, headers: Mapping[str, str]) -> Json:
    """Return the JSON object of a body, or the plain fields of a form; {} when there is neither."""
    if headers.get("content-type", "").startswith("multipart/form-data"):
        fields, _ = read_form(body, headers)
        return dict(fields)
    try:
        fields_read = json.loads(body) if body else {}
    except ValueError:
        return {}
    return fields_read if isinstance(fields_read, dict) else {}


async def _read_body(receive: Receive, headers: Mapping[str, str], limit_bytes: int) -> bytes:
    """Return the whole body. Raises: _TooLarge."""
    if int(headers.get("content-length") or 0) > limit_bytes:
        raise _TooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise _TooLarge
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _decline(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Follow the lifespan protocol and close what is not HTTP."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
