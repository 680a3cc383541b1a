"""Relay a Realtime session over WebSocket, and meter each of its responses as a call.

    client  ──response.create──▶  hold  ──▶ upstream
    client  ◀──response.done────  settled ◀── upstream

A session is one connection and many calls, tied by one operation id: each response pays for the
whole conversation again, and so has a hold and a record of its own, as has each transcription. A
response that the server begins by itself (voice activity) is held when it is announced; where no
budget allows it, it is cancelled and the session ends. Events pass unchanged and in order.

Knows no money. Called by `app`.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
)
from websockets.typing import Subprotocol

from meter.clock import new_id
from meter.core.budgets import Refusal
from meter.core.call import Basis, Outcome
from meter.core.usage import Usage
from meter.errors import StoreError
from meter.gateway import headers
from meter.gateway.allowing import may_use
from meter.gateway.attributing import attribution_of
from meter.gateway.client_secrets import opened_with, ticket_of
from meter.gateway.line import Receive, Send
from meter.gateway.rejections import Rejected, answer_to
from meter.gateway.requests import EPHEMERAL, Request, read_request
from meter.gateway.services import Services
from meter.gateway.upstreams import Upstream
from meter.gateway.waiting import AWAY, reason_of, wait
from meter.manual import ManualCall
from meter.providers.foreign import decoded, label, mapping, whole
from meter.providers.openai.realtime import RealtimeSession, SessionUse
from meter.store.keys import PREFIX, Key

logger = logging.getLogger("meter.gateway")

PATHS: Final = frozenset({"/v1/realtime", "/v1/live"})
EVENT_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""The longest event that passes; OpenAI's own limit for sound is 15 MB."""
MOST_RESPONSES: Final = 64
"""How many responses of one session may be under way at once."""

_CONTEXT_TOKENS: Final = 128_000
"""What one response takes in at most where its model's card does not say."""
_OUTPUT_TOKENS: Final = 4096
"""What one response gives at most unless it says more ("inf" is the model's own limit).

Source: https://platform.openai.com/docs/api-reference/realtime-client-events (2026-11).
"""
_KEY_PROTOCOL: Final = "openai-insecure-api-key."
_OPEN_SECONDS: Final = 20
_CLOSE_SECONDS: Final = 5
_POLICY: Final = 1008
_AWAY: Final = 1011
_NOT_TO_BE_SENT: Final = frozenset({1005, 1006, 1015})
_ANNOUNCING: Final = b'"response.created"'
_NOTHING: Final = Usage()


def is_session(scope: Mapping[str, Any]) -> bool:
    """Whether a WebSocket is for a session that can be metered."""
    return scope["path"].removeprefix(scope.get("root_path", "")) in PATHS


@dataclass(slots=True)
class _Open:
    """Responses under way: those asked for and not yet announced, and those that have a name."""

    asked: list[ManualCall] = field(default_factory=list)
    named: dict[str, ManualCall] = field(default_factory=dict)
    voice: ManualCall | None = None
    voice_use: SessionUse | None = None

    def __len__(self) -> int:
        return len(self.asked) + len(self.named)


class Realtime:
    """One session on its way through the gateway."""

    def __init__(
        self, services: Services, scope: Mapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Take a WebSocket that was not answered yet."""
        self._services = services
        self._scope = scope
        self._receive = receive
        self._send = send
        self._operation_id: UUID = new_id()
        self._open = _Open()
        self._request: Request | None = None
        self._key: Key | None = None
        self._upstream: Upstream | None = None
        self._model = ""
        self._session = RealtimeSession()
        self._most_output = _OUTPUT_TOKENS

    async def run(self) -> None:
        """Relay the session to its end."""
        protocols = [
            name for name in self._scope.get("subprotocols", ())
            if not name.startswith(_KEY_PROTOCOL)
        ]  # fmt: skip
        try:
            connection = await self._connected(protocols)
        except Rejected as rejection:
            await self._deny(rejection)
            return
        except StoreError as error:
            logger.error("the ledger is away: %s", error)
            await self._deny(Rejected(503, "ledger_unavailable", "the ledger is not available"))
            return
        try:
            await self._send({"type": "websocket.accept", "subprotocol": connection.subprotocol})
            await self._relayed(connection)
        finally:
            await connection.close()
            await self._ended()

    async def _connected(self, protocols: list[str]) -> ClientConnection:
        """Return a connection to the upstream, which this key may have. Raises: Rejected."""
        request = self._request = read_request(self._as_http())
        ticket = None
        if request.secret.startswith(EPHEMERAL):
            ticket = await ticket_of(self._services, request.secret)
            key = self._key = ticket.key
        else:
            key = self._key = await self._services.keyring.key_of(request.secret)
        if key.role is not None:
            raise Rejected(403, "admin_key", "this key is for the admin API, expected a customer's")
        if key.endpoints is not None and "realtime" not in key.endpoints:
            raise Rejected(
                403, "endpoint_not_allowed", "this key may not use the endpoint realtime"
            )
        self._model = _model_in(request.query)
        if ticket is not None:
            if self._model not in ("", ticket.model):
                raise Rejected(
                    400, "invalid_value",
                    f"found model {self._model!r:.200}, expected that of the client secret",
                )  # fmt: skip
            self._model = ticket.model
            self._most_output = self._output_of(ticket.session)
        if not self._model or not may_use(key, self._model):
            named = repr(self._model) if self._model else "a session that names no model"
            raise Rejected(404, "model_not_found", f"{named:.200} is not served to this key")
        upstream = self._services.router.upstreams.choose("openai", self._model)
        if ticket is not None:
            listed = self._services.router.upstreams.listed
            upstream = next((each for each in listed if each.name == ticket.upstream), None)
        if upstream is None:
            raise Rejected(404, "model_not_found", f"{self._model!r:.200} is not served here")
        self._upstream, self._session = upstream, RealtimeSession(self._model)
        attribution_of(key, fields=request.fields)
        sent = [
            (name, value)
            for name, value in headers.outgoing(
                request.headers, request.fields, upstream, request.shape
            )
            if not name.startswith("sec-websocket-") and name != "user-agent"
        ]
        if ticket is not None:
            theirs = await opened_with(self._services, upstream, ticket)
            sent = [each for each in sent if each[0] != "authorization"]
            sent.append(("authorization", f"Bearer {theirs}"))
        url = _address(upstream, request.target)
        try:
            return await connect(
                url,
                additional_headers=sent,
                subprotocols=[Subprotocol(name) for name in protocols] or None,
                max_size=EVENT_LIMIT_BYTES,
                compression=None,
                proxy=None,
                open_timeout=_OPEN_SECONDS,
                close_timeout=_CLOSE_SECONDS,
                user_agent_header=request.fields.get("user-agent"),
            )
        except InvalidStatus as refusal:
            raise _refused(upstream, refusal) from None
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
            logger.warning("the upstream %s opens no session: %s", upstream.name, error)
            raise Rejected(
                502, "upstream_unreachable", f"the upstream {upstream.name} opens no session"
            ) from None

    def _as_http(self) -> dict[str, Any]:
        """Return the scope as that of the request that asked for the WebSocket."""
        given = list(self._scope["headers"])
        for name in self._scope.get("subprotocols", ()):
            # A browser can set no header, so its key comes among the protocols.
            if name.startswith((_KEY_PROTOCOL + PREFIX, _KEY_PROTOCOL + EPHEMERAL)):
                secret = name.removeprefix(_KEY_PROTOCOL)
                given.append((b"authorization", f"Bearer {secret}".encode()))
        return {**self._scope, "method": "GET", "headers": given}

    async def _deny(self, rejection: Rejected) -> None:
        """Say no before the session begins: as an HTTP answer, where the server can."""
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": _POLICY})
            return
        answer = answer_to(rejection, "openai")
        raw = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await self._send(
            {"type": "websocket.http.response.start", "status": answer.status, "headers": raw}
        )
        await self._send({"type": "websocket.http.response.body", "body": answer.body})

    async def _relayed(self, connection: ClientConnection) -> None:
        """Pass events both ways until one side ends."""
        sides = [
            asyncio.create_task(self._upwards(connection), name="meter-realtime-up"),
            asyncio.create_task(self._downwards(connection), name="meter-realtime-down"),
        ]
        try:
            done, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
        for side in done:
            if not side.cancelled() and (fault := side.exception()) is not None:
                raise fault

    # From the client

    async def _upwards(self, connection: ClientConnection) -> None:
        """Pass what the client says; a response is asked for only with a hold."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            if message["type"] != "websocket.receive":
                continue
            event = message.get("text")
            content: str | bytes = message["bytes"] if event is None else event
            if not await self._may_pass(content):
                continue
            try:
                await connection.send(content)
            except ConnectionClosed:
                return

    async def _may_pass(self, content: str | bytes) -> bool:
        """Hold what the event sets off; tell the client when it may not go ahead."""
        if b"response.create" not in _bytes(content) and b"max_" not in _bytes(content):
            return True
        fields = mapping(decoded(_bytes(content))[0])
        if fields.get("type") == "session.update":
            self._most_output = self._output_of(mapping(fields.get("session")))
        if fields.get("type") != "response.create":
            return True
        refusal = await self._hold(self._output_of(mapping(fields.get("response"))))
        if refusal is None:
            return True
        event_id = label(fields.get("event_id"))
        await self._tell(refusal, event_id)
        return False

    def _output_of(self, holder: Mapping[str, Any]) -> int:
        """Return the most that a response may give, as a session or a response says."""
        for name in ("max_output_tokens", "max_response_output_tokens"):
            limit = whole(holder.get(name), 1, 10**9)
            if limit is not None:
                return limit
        return self._most_output

    async def _hold(self, output_tokens: int) -> str | None:
        """Reserve one response; return why not, None when it may go ahead."""
        if len(self._open) >= MOST_RESPONSES:
            return f"found {MOST_RESPONSES} responses under way, expected fewer in one session"
        call = self._made(output_tokens)
        settings = self._services.pipeline.settings
        try:
            verdict = await wait(call.reserved(), settings.reserve_seconds)
        except AWAY as error:
            reason = reason_of(error, settings.reserve_seconds)
            logger.error("the ledger is away: %s", reason)
            return f"The usage ledger is not available, so nothing was asked for: {reason}"
        if isinstance(verdict, Refusal):
            call.settled(Outcome.REFUSED, _NOTHING, Basis.REPORTED)
            return f"This response was refused by a spending limit: {verdict.message}."
        self._open.asked.append(call)
        return None

    def _made(self, output_tokens: int, model: str | None = None) -> ManualCall:
        key, upstream, request = self._key, self._upstream, self._request
        assert key is not None and upstream is not None and request is not None
        return ManualCall.prepared(
            self._services.pipeline,
            attribution=attribution_of(key, fields=request.fields),
            provider=upstream.dialect.name,
            issuer=upstream.dialect.issuer,
            upstream=upstream.name,
            model=model or self._session.model or self._model,
            endpoint="realtime",
            input_tokens=_CONTEXT_TOKENS,
            max_output_tokens=output_tokens,
            operation_id=self._operation_id,
        )

    async def _tell(self, sentence: str, event_id: str | None = None) -> None:
        """Send the client an error in the API's own shape."""
        error = {
            "type": "insufficient_quota", "code": "insufficient_quota", "message": sentence,
            "param": None, "event_id": event_id,
        }  # fmt: skip
        event = {"type": "error", "event_id": f"event_{new_id().hex}", "error": error}
        await self._send({"type": "websocket.send", "text": json.dumps(event)})

    # From the upstream

    async def _downwards(self, connection: ClientConnection) -> None:
        """Pass what the upstream says; what was used is on record before it is handed on."""
        try:
            async for content in connection:
                allowed = await self._noted(content)
                kind = "text" if isinstance(content, str) else "bytes"
                await self._send({"type": "websocket.send", kind: content})
                if allowed is not None:
                    await self._tell(allowed)
                    await connection.send('{"type": "response.cancel"}')
                    await self._send({"type": "websocket.close", "code": _POLICY})
                    return
        except ConnectionClosed:
            logger.debug("an upstream ended a session")
        code, reason = connection.close_code or _AWAY, connection.close_reason or ""
        if code in _NOT_TO_BE_SENT:
            code = _AWAY
        await self._send({"type": "websocket.close", "code": code, "reason": reason[:100]})

    async def _noted(self, content: str | bytes) -> str | None:
        """Record what an event says was used; return why the session must end, if it must."""
        plain = _bytes(content)
        if _ANNOUNCING in plain:
            fields = mapping(decoded(plain)[0])
            if fields.get("type") == "response.created":
                return await self._begun(label(mapping(fields.get("response")).get("id")))
        use = self._session.take(content)
        if use is not None:
            await self._used(use)
        return None

    async def _begun(self, name: str | None) -> str | None:
        """Give a response that has begun its hold: the one asked for, or a new one."""
        if name is None or name in self._open.named:
            return None
        refusal = None
        if not self._open.asked:
            refusal = await self._hold(self._most_output)
        if self._open.asked:
            self._open.named[name] = self._open.asked.pop(0)
        return refusal

    async def _used(self, use: SessionUse) -> None:
        if use.is_total:
            if self._open.voice is None:
                self._open.voice = self._made(_OUTPUT_TOKENS, use.model)
                await self._waited(self._open.voice.reserved())
            self._open.voice_use = use
            return
        call = self._open.named.pop(use.billing_id, None)
        if call is None:
            # A transcription, or a response that nobody announced: a fact all the same.
            call = self._made(_OUTPUT_TOKENS, use.model)
        await self._settle(call, use, Outcome.COMPLETED)

    async def _settle(self, call: ManualCall, use: SessionUse | None, outcome: Outcome) -> None:
        basis = Basis.UNKNOWN if use is None or use.usage is None else Basis.REPORTED
        session_defects = tuple(self._session.defects)
        # A name without usage would be that of work whose use is yet to be seen: none will be.
        is_billed = use is not None and use.usage is not None
        await self._waited(
            call.settled(
                outcome,
                use.usage if use is not None else None,
                basis,
                service_tier=use.service_tier if use is not None else None,
                response_id=use.billing_id if use is not None else None,
                billing_ids=(use.billing_id,) if use is not None and is_billed else (),
                defects=(*(use.defects if use is not None else ()), *session_defects),
            )
        )

    async def _waited(self, future: Any) -> None:
        """Wait until a record is durable; what was used is handed out whatever becomes of it."""
        seconds = self._services.pipeline.settings.store_seconds
        try:
            await wait(future, seconds)
        except AWAY as error:
            logger.error("a realtime record is missing: %s", reason_of(error, seconds))

    async def _ended(self) -> None:
        """Close what is still under way: settled where it is known, unsettled where not."""
        opened = self._open
        for call in opened.asked:
            # It was asked for and never announced: the upstream may have begun it.
            await self._settle(call, None, Outcome.CLIENT_CLOSED)
        for call in opened.named.values():
            await self._settle(call, None, Outcome.CLIENT_CLOSED)
        if opened.voice is not None:
            await self._settle(opened.voice, opened.voice_use, Outcome.COMPLETED)
        self._open = _Open()


def _refused(upstream: Upstream, refusal: InvalidStatus) -> Rejected:
    """Return what to tell the client when the upstream does not open a session."""
    status = refusal.response.status_code
    logger.warning("the upstream %s opens no session: status %d", upstream.name, status)
    if status in (401, 403):
        return Rejected(
            502, "upstream_refused",
            f"the upstream {upstream.name} does not take this gateway's own key",
        )  # fmt: skip
    told = mapping(mapping(decoded(bytes(refusal.response.body or b""))[0]).get("error")).get(
        "message"
    )
    sentence = told if isinstance(told, str) and told else "it opens no session"
    return Rejected(
        status if 400 <= status < 500 else 502, "upstream_refused",
        f"the upstream {upstream.name} says: {sentence:.500}",
    )  # fmt: skip


def _bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8", "replace") if isinstance(content, str) else content


def _address(upstream: Upstream, target: str) -> str:
    """Return where the upstream holds sessions: its own host, with ws for http."""
    base = urlsplit(upstream.base_url)
    return f"ws{base.scheme.removeprefix('http')}://{base.netloc}{upstream.path_of(target)}"


def _model_in(query: str) -> str:
    """Return the model that the session's address names, "" when it names none."""
    return parse_qs(query).get("model", [""])[0]
