"""Answer HTTP requests: the gateway as a bare ASGI application.

    /v1/…  /v1beta/…      the APIs, with a key
    /meter/v1/…           the admin API, with a key of its own; /meter/docs describes it
    /healthz  /readyz     whether it runs, and whether it can work
    /metrics              Prometheus

Knows neither providers nor money: `relay` takes the calls. Made by `Meter.gateway()`.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meter.clock import new_id
from meter.core.ports import Answer
from meter.errors import InputError, StoreError
from meter.gateway.billing import billing_answer, is_billing
from meter.gateway.client_secrets import MOST_BYTES as SECRET_BYTES
from meter.gateway.client_secrets import given, is_asked
from meter.gateway.cors import Cors
from meter.gateway.line import AsgiLine, Line, Receive, Send
from meter.gateway.listing import is_listing, listed
from meter.gateway.measuring import CONTENT_TYPE, Measures
from meter.gateway.noting import MOST_BYTES, is_noting, noted
from meter.gateway.organization import answered, is_organization
from meter.gateway.own_objects import is_own_list, own_list
from meter.gateway.rejections import ClientLeft, Rejected, answer_to
from meter.gateway.relay import Relay
from meter.gateway.reloading import Reloading
from meter.gateway.requests import Request, read_request, shape_of
from meter.gateway.services import Services
from meter.gateway.upstreams import Upstreams
from meter.gateway.watching import look_after
from meter.pipeline import Pipeline
from meter.providers.foreign import encoded
from meter.store.ledger import Ledger

logger = logging.getLogger("meter.gateway")

ADMIN: Final = "/meter/"
_OWN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_MOST_ASKED_BYTES: Final = 65_536
_SWEEP_SECONDS: Final = 60
_FOLD_SECONDS: Final = 2.0
_FOLD_PAUSE_SECONDS: Final = 0.05
_MANY_TO_FOLD: Final = 100
_CLIENT_CLOSED_STATUS: Final = 499
_FAULT: Final = "this is a fault of the gateway itself: its log says more"


@dataclass(slots=True)
class _Visit:
    """What is known of one request while it is answered."""

    scope: Mapping[str, Any]
    begun_s: float
    request: Request | None = None
    relay: Relay | None = None
    status: int = _CLIENT_CLOSED_STATUS
    key_id: str | None = None


class Gateway:
    """The gateway. An ASGI application; its lifespan opens and closes what it shares."""

    def __init__(
        self,
        pipeline: Pipeline,
        ledger: Ledger,
        upstreams: Upstreams,
        reread: Callable[[], Upstreams] | None = None,
    ) -> None:
        """Put the parts together; nothing is opened before the first request.

        `reread` reads the upstreams again, from the settings and the ledger.
        """
        self._reloading = Reloading(reread or (lambda: upstreams))
        self.services = Services(pipeline, ledger, upstreams)
        self.measures = Measures()
        self.client_seconds = pipeline.settings.client_seconds
        self.head_seconds = pipeline.settings.head_seconds
        self.idle_seconds = pipeline.settings.idle_seconds
        self._settings = pipeline.settings
        self._cors = Cors(self._settings.cors_origins) if self._settings.cors_origins else None
        self._tasks: list[asyncio.Task[None]] = []

    def reload(self) -> None:
        """Read settings and ledger for upstreams again, soon. Safe in a signal's handler."""
        self._reloading.ask()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or follow the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self.visit(scope, AsgiLine(receive, send, self._settings.client_seconds))
        else:
            await self._hold_session(scope, receive, send)

    async def _hold_session(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Relay a session over WebSocket, or say that there is none at its path."""
        # Its library is loaded when the first session begins.
        from meter.gateway.realtime import Realtime, is_session

        await receive()
        if not is_session(scope):
            await send({"type": "websocket.close", "code": 1008})
            return
        self.measures.in_flight += 1
        try:
            await Realtime(self.services, scope, receive, send).run()
        finally:
            self.measures.in_flight -= 1

    async def visit(self, scope: Mapping[str, Any], line: Line) -> None:
        """Answer one request, whose scope is ASGI's. An answer that is not whole broke off."""
        visit = _Visit(scope, time.monotonic())
        self.measures.in_flight += 1
        try:
            if self._cors is not None:
                line.besides = self._cors.headers_for(scope)
            await self._answer(visit, line)
        except Rejected as rejection:
            await self._reject(visit, line, rejection)
        except StoreError as error:
            logger.error("the ledger is away: %s", error)
            reason = "the usage ledger is not available, so this call was not sent"
            await self._reject(visit, line, Rejected(503, "ledger_unavailable", reason))
        except ClientLeft:
            logger.debug("a client left")
        except Exception:
            logger.exception("a fault of the gateway itself")
            if not line.has_begun:
                await self._reject(visit, line, Rejected(500, "gateway_fault", _FAULT))
        finally:
            self.measures.in_flight -= 1
            self._note(visit)

    async def _answer(self, visit: _Visit, line: Line) -> None:
        if self._cors is not None and (answer := self._cors.preflight(visit.scope)) is not None:
            visit.status = answer.status
            await line.answer(answer)
            return
        path = visit.scope["path"].removeprefix(visit.scope.get("root_path", ""))
        if path in _OWN_PATHS and (own := await self._own_answer(visit.scope, path)) is not None:
            visit.status = own.status
            await line.answer(own)
            return
        if path.startswith(ADMIN):
            await self._administer(visit, line)
            return
        visit.request = request = read_request(visit.scope)
        key = await self.services.keyring.key_of(request.secret)
        visit.key_id = key.id
        if key.role is not None:
            raise Rejected(403, "admin_key", "this key is for the admin API, expected a customer's")
        if is_listing(self.services, request, key):
            answer = await listed(self.services, request, key)
            visit.status = answer.status
            await line.answer(answer, [("x-meter-call-id", str(new_id()))])
            return
        if is_own_list(self.services, request):
            answer = await own_list(self.services, request, key)
            visit.status = answer.status
            await line.answer(answer, [("x-meter-call-id", str(new_id()))])
            return
        if is_organization(request):
            answer = await answered(self.services, request, key)
            visit.status = answer.status
            await line.answer(answer)
            return
        if is_noting(self.services, request):
            answer = await noted(self.services, request, key, await line.body(MOST_BYTES))
            visit.status = answer.status
            await line.answer(answer, [("x-meter-call-id", str(new_id()))])
            return
        if is_asked(request):
            answer = await given(self.services, request, key, await line.body(SECRET_BYTES))
            visit.status = answer.status
            await line.answer(answer, [("x-meter-call-id", str(new_id()))])
            return
        if is_billing(request):
            await line.body(_MOST_ASKED_BYTES)
            answer = await billing_answer(self.services, request, key)
            visit.status = answer.status
            await line.answer(answer)
            return
        visit.relay = relay = Relay(self.services, request, line, key)
        try:
            await relay.run()
        finally:
            visit.status = relay.status or visit.status

    async def _administer(self, visit: _Visit, line: Line) -> None:
        # Its types and its document are made when they are first asked for.
        from meter.gateway.admin import serving

        try:
            answer = await serving.answered(self.services, visit.scope, line)
        except StoreError as error:
            logger.error("the ledger is away: %s", error)
            answer = serving.unavailable()
        visit.status = answer.status
        await line.answer(answer)

    async def _reject(self, visit: _Visit, line: Line, rejection: Rejected) -> None:
        scope = visit.scope
        fields = {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in scope["headers"]}
        shape = shape_of(scope["path"], fields)
        call = visit.relay.call if visit.relay is not None else None
        call_id = str(new_id() if call is None else call.call.id)
        visit.status = rejection.status
        try:
            await line.answer(answer_to(rejection, shape), [("x-meter-call-id", call_id)])
        except ClientLeft:
            visit.status = _CLIENT_CLOSED_STATUS

    async def _own_answer(self, scope: Mapping[str, Any], path: str) -> Answer | None:
        """Return the answer to a question about the gateway itself, None for all others."""
        if scope["method"] not in ("GET", "HEAD"):
            return None
        match path:
            case "/healthz":
                return _page(200, {"status": "ok"})
            case "/readyz":
                return await self._readiness()
            case "/metrics":
                return self._metrics(scope)
        return None

    async def _readiness(self) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.store_seconds):
                await loop.run_in_executor(self.services.threads, self.services.ledger.ping)
        except StoreError as error:
            logger.warning("not ready: %s", error)
            return _page(503, {"status": "the ledger is not available"})
        except TimeoutError:
            return _page(503, {"status": "the ledger did not answer in time"})
        return _page(200, {"status": "ok"})

    def _metrics(self, scope: Mapping[str, Any]) -> Answer:
        wanted = f"Bearer {self._settings.metrics_key}".encode()
        given = dict(scope["headers"]).get(b"authorization", b"")
        if self._settings.metrics_key and not hmac.compare_digest(given, wanted):
            return _page(401, {"error": "expected the key of the setting metrics_key"})
        page = self.measures.page()
        return Answer(200, {"content-type": CONTENT_TYPE, "content-length": str(len(page))}, page)

    def begin(self) -> None:
        """Begin what goes on beside the requests; on the event loop."""
        self._tasks = [
            asyncio.create_task(self._sweep(), name="meter-sweeper"),
            asyncio.create_task(self._fold(), name="meter-folding"),
            asyncio.create_task(self._reloading.run(self.services), name="meter-reloading"),
        ]

    async def end(self) -> None:
        """Wait for the calls that are ending, bounded, and close what all share."""
        for task in self._tasks:
            task.cancel()
        await self.services.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.begin()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.end()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _sweep(self) -> None:
        """Close lost calls and look after work that goes on upstream, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                found = await loop.run_in_executor(
                    self.services.threads, self.services.ledger.sweep
                )
                if found:
                    logger.warning("%d calls were lost and are listed as unsettled", found)
                settled = await loop.run_in_executor(
                    self.services.threads, self.services.settle_unsettled
                )
                if settled:
                    logger.warning("%d unsettled calls were settled by policy", settled)
                await loop.run_in_executor(self.services.threads, self.services.imported.refresh)
                if not self.services.tenants.is_shared:
                    await look_after(self.services)
            except StoreError as error:
                logger.warning("could not look for lost calls: %s", error)
            except InputError as error:
                logger.error("the prices stay as they were: %s", error)
            except Exception:
                logger.exception("a fault of the gateway itself, while it looked for lost calls")

    async def _fold(self) -> None:
        """Keep the rollups near the calls: a little at a time, so that calls need not wait."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                folded = await loop.run_in_executor(
                    self.services.threads, self.services.ledger.fold, 1
                )
            except StoreError as error:
                logger.warning("could not fold the rollups: %s", error)
                folded = 0
            except Exception:
                logger.exception("a fault of the gateway itself, while it folded the rollups")
                folded = 0
            # A few records cost nearly as much as hundreds; who reads adds those that are missing.
            is_behind = folded >= _MANY_TO_FOLD
            await asyncio.sleep(_FOLD_PAUSE_SECONDS if is_behind else _FOLD_SECONDS)

    def _note(self, visit: _Visit) -> None:
        """Count and log a request that has ended: no prompt, no key, no query."""
        if visit.request is None and visit.status < 400:
            return
        relay = visit.relay
        call = relay.call if relay is not None else None
        endpoint = call.call.endpoint if call is not None else "none"
        upstream = relay.upstream.name if relay is not None and relay.upstream else "none"
        seconds = time.monotonic() - visit.begun_s
        first_byte_s = relay.first_byte_s if relay is not None else None
        outcome = str(relay.outcome) if relay is not None and call is not None else None
        self.measures.note(
            endpoint=endpoint,
            upstream=upstream,
            status=visit.status,
            seconds=seconds,
            outcome=outcome,
            first_byte_seconds=first_byte_s,
        )
        if not logger.isEnabledFor(logging.INFO):
            return
        told = {
            "call_id": str(call.call.id) if call is not None else None,
            "key_id": visit.key_id,
            "method": visit.scope["method"],
            "path": visit.scope["path"][:200],
            "endpoint": endpoint,
            "model": call.call.model_requested if call is not None else None,
            "upstream": upstream,
            "status": visit.status,
            "outcome": outcome,
            "seconds": round(seconds, 4),
            "first_byte_seconds": None if first_byte_s is None else round(first_byte_s, 4),
        }
        logger.info("answered", extra={"told": told})


def _page(status: int, content: Mapping[str, str]) -> Answer:
    body = encoded(content)
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    return Answer(status, headers, body)
