"""Give browsers secrets for a Realtime session: the gateway's own, never the provider's.

    POST /v1/realtime/client_secrets        {"session": {…}, "expires_after": {…}}
    POST /v1/realtime/sessions              the session itself, as do transcription_sessions

The provider checks the session and answers; its secret is replaced by one that only opens a
session here, for the same key, model and session and until the same moment. Such a session is
relayed and metered as any other. When it begins, the provider is asked anew for a secret with the
same session, which goes no further than the gateway. Called by `app` and `realtime`.

Source: https://platform.openai.com/docs/api-reference/realtime-sessions (SDK openai 3.54, 2026-11).
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from meter.clock import now_us
from meter.core.ports import Answer
from meter.gateway import headers
from meter.gateway.allowing import may_use
from meter.gateway.http.errors import UpstreamError
from meter.gateway.rejections import Rejected
from meter.gateway.requests import EPHEMERAL, Request
from meter.gateway.services import Services
from meter.gateway.upstreams import Upstream
from meter.providers.foreign import JSONObject, decoded, encoded, label, mapping, whole
from meter.store.keys import Key
from meter.store.owned import Owned

logger = logging.getLogger("meter.gateway")

MOST_BYTES: Final = 1_048_576

_PATHS: Final = frozenset(
    f"/v1/realtime/{name}" for name in ("client_secrets", "sessions", "transcription_sessions")
)
_FAMILY: Final = "realtime/client_secrets"
_KEPT_BY: Final = "the gateway itself"
_SECONDS: Final = 20
_USUAL_SECONDS: Final = 600
_LONGEST_SECONDS: Final = 7_200
_SWEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a secret opens: a session of this key's subject, as the provider was asked for it."""

    key: Key
    upstream: str
    path: str
    body: bytes
    model: str
    session: JSONObject


def is_asked(request: Request) -> bool:
    """Whether a request asks for a secret."""
    return request.method == "POST" and request.path in _PATHS


async def given(services: Services, request: Request, key: Key, body: bytes) -> Answer:
    """Return the provider's answer with a secret of our own. Raises: Rejected, StoreError."""
    if key.endpoints is not None and "realtime" not in key.endpoints:
        raise Rejected(403, "endpoint_not_allowed", "this key may not use the endpoint realtime")
    asked = mapping(decoded(body)[0])
    model = _model_of(mapping(asked.get("session")) or asked)
    upstream = services.router.upstreams.choose("openai", model)
    if upstream is None or (model is not None and not may_use(key, model)):
        raise _no_model(model)
    fields = {**request.fields, "accept-encoding": "identity"}
    sent = headers.outgoing(fields.items(), fields, upstream, request.shape)
    status, content = await _asked(services, upstream, request.path, body, sent)
    shown = mapping(decoded(content)[0])
    if status >= 400 or not shown:
        return _answer(status, content)
    session = mapping(shown.get("session")) or shown
    served = _model_of(session) or model
    if served is None or not may_use(key, served):
        raise _no_model(served)
    holder = shown if isinstance(shown.get("value"), str) else mapping(shown.get("client_secret"))
    at_us = now_us()
    until = whole(holder.get("expires_at"), 0, 2**40) or at_us // 1_000_000 + _USUAL_SECONDS
    until = min(until, at_us // 1_000_000 + _LONGEST_SECONDS)
    ours = EPHEMERAL + secrets.token_urlsafe(32)
    kept = {
        "until": until, "upstream": upstream.name, "path": request.path, "model": served,
        "body": body.decode("utf-8", "replace"), "session": session,
    }  # fmt: skip
    row = Owned(
        _KEPT_BY, _id_of(ours), _FAMILY, key.subject, key.id, at_us,
        notes=msgspec.json.encode(kept).decode(),
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(services.threads, _keep, services, row)
    told = {"value": ours, "expires_at": until}
    if holder is shown:
        return _answer(status, encoded({**shown, **told}))
    return _answer(status, encoded({**shown, "client_secret": {**holder, **told}}))


async def ticket_of(services: Services, secret: str) -> Ticket:
    """Return what a secret opens. Raises: Rejected (401), StoreError."""
    loop = asyncio.get_running_loop()
    owned, keys = services.tenants.owned, services.ledger.keys
    row = await loop.run_in_executor(services.threads, owned.one, _KEPT_BY, _id_of(secret))
    kept = msgspec.json.decode(row.notes) if row is not None and row.notes else {}
    if row is None or kept["until"] * 1_000_000 <= now_us():
        raise Rejected(401, "invalid_api_key", "this client secret is not known here, or expired")
    key = await loop.run_in_executor(services.threads, keys.one, row.key_id)
    if key is None or key.state_at(now_us()) != "active":
        raise Rejected(401, "invalid_api_key", "the key that made this client secret has ended")
    return Ticket(
        key, kept["upstream"], kept["path"], kept["body"].encode(), kept["model"], kept["session"]
    )


async def opened_with(services: Services, upstream: Upstream, ticket: Ticket) -> str:
    """Return a secret of the provider's that opens the session now. Raises: Rejected (502)."""
    sent = [("content-type", "application/json"), ("accept-encoding", "identity")]
    credential = upstream.credential_header("openai")
    sent += [] if credential is None else [credential]
    status, content = await _asked(services, upstream, ticket.path, ticket.body, sent)
    shown = mapping(decoded(content)[0])
    found = label(shown.get("value")) or label(mapping(shown.get("client_secret")).get("value"))
    if status >= 400 or found is None:
        logger.warning("the upstream %s opens no session: status %d", upstream.name, status)
        raise Rejected(502, "upstream_refused", f"the upstream {upstream.name} opens no session")
    return found


async def _asked(
    services: Services, upstream: Upstream, path: str, body: bytes, sent: list[tuple[str, str]]
) -> tuple[int, bytes]:
    """Return the provider's answer, whole. Raises: Rejected (502)."""
    try:
        async with asyncio.timeout(_SECONDS):
            response = await services.client.send(
                "POST", upstream.origin, upstream.path_of(path), sent, body, seconds=_SECONDS
            )
            try:
                content = bytearray()
                async for piece in response.pieces():
                    content += piece
                    if len(content) > MOST_BYTES:
                        break
            finally:
                response.close()
    except (UpstreamError, TimeoutError) as error:
        logger.warning("the upstream %s gave no secret: %s", upstream.name, type(error).__name__)
        raise Rejected(
            502, "upstream_unreachable", f"the upstream {upstream.name} is not reachable"
        ) from None
    if response.status in (401, 403):
        raise Rejected(
            502, "upstream_refused",
            f"the upstream {upstream.name} does not take this gateway's own key",
        )  # fmt: skip
    return response.status, bytes(content)


def _keep(services: Services, row: Owned) -> None:
    """Keep a new secret's row, and forget those of its subject that have expired."""
    owned = services.tenants.owned
    rows = owned.page(_KEPT_BY, row.subject, _FAMILY, limit=_SWEPT, newest_first=False)
    at_s = now_us() // 1_000_000
    past = [each.id for each in rows if msgspec.json.decode(each.notes or "{}")["until"] < at_s]
    if past:
        owned.remove(_KEPT_BY, past)
    owned.add([row])


def _id_of(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _model_of(session: JSONObject) -> str | None:
    """Return the model of a session: the one that speaks, else the one that writes down."""
    heard = mapping(mapping(session.get("audio")).get("input"))
    written = (heard.get("transcription"), session.get("input_audio_transcription"))
    for holder in (session, *map(mapping, written)):
        model = label(holder.get("model"))
        if model is not None:
            return model
    return None


def _no_model(model: str | None) -> Rejected:
    named = f"the model {model!r:.200}" if model else "a session that names no model"
    return Rejected(404, "model_not_found", f"{named} is not served to this key")


def _answer(status: int, content: bytes) -> Answer:
    fields: dict[str, Any] = {
        "content-type": "application/json", "content-length": str(len(content))
    }  # fmt: skip
    return Answer(status, fields, content)
