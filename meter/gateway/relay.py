"""Take one call from its client to an upstream and the answer back: the gateway's way of a call.

The twin of the wrapper's transports: it drives the same pipeline. Bytes pass as they come; the
record of a call is durable before its last byte leaves. Called by `app`, once for each request.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from uuid import UUID

from meter.core.call import Bound, Outcome
from meter.errors import StoreError
from meter.gateway import headers
from meter.gateway.allowing import BATCHES, is_limited
from meter.gateway.attributing import attribution_of
from meter.gateway.bounding import Unbounded
from meter.gateway.http.connection import Response
from meter.gateway.http.errors import NotSent, UpstreamError
from meter.gateway.line import Line, too_large
from meter.gateway.objects import Place
from meter.gateway.rejections import ClientLeft, Rejected
from meter.gateway.requests import Request
from meter.gateway.retries import RETRY_COUNT_HEADER, is_repeated
from meter.gateway.services import Services
from meter.gateway.tenants import Showing, is_searched
from meter.gateway.upstreams import Upstream
from meter.gateway.waiting import reason_of, wait
from meter.gateway.watching import look_before_deleting
from meter.pipeline import HEAVY_BODY_BYTES, OpenCall
from meter.store.keys import Key

logger = logging.getLogger("meter.gateway")

FORM_BEGINNING_BYTES: Final = 1_048_576
"""How much of a form is read before it is sent on: its fields stand before its files."""

HEARD_FORM_BYTES: Final = 27 * 1024 * 1024
"""How much is read of a form whose files are billed: all of it, for providers take 25 MB."""

_BILLED_FORM: Final = re.compile(
    r"/(?:audio/(?:transcriptions|translations)|images/(?:edits|variations))$", re.IGNORECASE
)

_HEAVY_ANSWER_BYTES: Final = 262_144

_TRIED_ELSEWHERE: Final = frozenset({408, 429, 500, 502, 503, 504, 529})
"""Answers that say more of an upstream's state than of the call: another one may do better."""


_LOOK_THROUGH_SECONDS: Final = 120
"""How long a batch's input file may take to be looked through."""


class _TryAnother(Exception):
    """An upstream failed before the client heard anything of it."""


class Relay:
    """One call on its way through the gateway."""

    def __init__(self, services: Services, request: Request, line: Line, key: Key) -> None:
        """Take a request whose key is known, and the line to its client."""
        self.call: OpenCall | None = None
        self.upstream: Upstream | None = None
        self.status: int | None = None
        self.outcome = Outcome.CLIENT_CLOSED
        self.first_byte_s: float | None = None
        self._services = services
        self._settings = services.pipeline.settings
        self._request = request
        self._line = line
        self._key = key
        self._begun_s = time.monotonic()
        self._body = b""
        self._exchanging: asyncio.Task[object] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._has_given_up = False
        self._max_tokens: int | None = None
        self._place: Place | None = None
        self._showing: Showing | None = None
        self._is_settled = False
        self._is_last = True
        self._operation_id: UUID | None = None
        self._drained_bytes = 0
        self._received_bytes = 0

    async def run(self) -> None:
        """Answer the request. Raises: Rejected before anything was sent, ClientLeft, StoreError."""
        await self._read_body()
        self._line.watch(self._client_left)
        try:
            await self._answer()
        finally:
            self._line.stop_watching()

    async def _answer(self) -> None:
        """Try the upstreams one after another, until one has begun to answer."""
        candidates = await self._candidates()
        if self._request.is_streamed or self._request.method != "POST":
            # What is passed on as it comes cannot be sent again; an object is where it is.
            candidates = candidates[:1]
        for number, upstream in enumerate(candidates, 1):
            self.upstream = upstream
            try:
                await self._try(is_last=number == len(candidates))
                return
            except _TryAnother:
                logger.warning("the upstream %s failed: another is tried", upstream.name)
                self._services.router.let_rest(upstream)
                self._begin_anew()

    async def _candidates(self) -> Sequence[Upstream]:
        router, body = self._services.router, self._body
        if len(body) <= HEAVY_BODY_BYTES:
            return router.candidates(self._request, body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._services.threads, router.candidates, self._request, body
        )

    async def _try(self, *, is_last: bool) -> None:
        """Make one call. Raises: _TryAnother when it failed and the client has heard nothing."""
        self._is_last = is_last
        call = await self._opened()
        admission = await self._services.door.admit(
            call, self._reopened, self._bound_of_work, lambda: self._line.is_gone
        )
        self.call, self._max_tokens = admission.call, admission.max_tokens
        if admission.answer is not None:
            self.outcome = Outcome.REFUSED
            self.status = admission.answer.status
            await self._line.answer(admission.answer, [self._call_id()])
            return
        if self._line.is_gone:
            self.call.abandon()
            raise ClientLeft
        await self._bill_before_deleting(self.call)
        try:
            await self._exchange(self.call)
        except Rejected as rejection:
            if is_last or rejection.status not in _TRIED_ELSEWHERE or self._line.is_gone:
                raise
            raise _TryAnother from None
        finally:
            self._note_failure(self.call)
            if not self._is_settled:
                self._services.spawn(self._end(self.call))

    def _begin_anew(self) -> None:
        """Forget what belongs to the call that failed; the operation stays the same."""
        if self.call is not None:
            self._operation_id = self.call.call.operation_id
        self.status = None
        self.outcome = Outcome.CLIENT_CLOSED
        self._showing = None
        self._is_settled = False
        self._received_bytes = 0

    async def _read_body(self) -> None:
        request, line, limit = self._request, self._line, self._settings.max_body_bytes
        if request.is_streamed:
            beginning_bytes = FORM_BEGINNING_BYTES
            if _BILLED_FORM.search(request.path):
                beginning_bytes = min(HEARD_FORM_BYTES, limit)
            self._body = await line.beginning(beginning_bytes)
            return
        if request.length is not None and request.length > limit:
            raise too_large(limit)
        self._body = await line.body(limit)

    async def _opened(self) -> OpenCall:
        """Return the call, read and estimated. Raises: Rejected when the key may not make it."""
        services, request, upstream = self._services, self._request, self.upstream
        assert upstream is not None
        # Most bodies are small: no coroutine is made for them.
        body = self._body
        is_small = len(body) <= HEAVY_BODY_BYTES
        call = self._open(body) if is_small else await self._reopened(body)
        services.router.check(self._key, request, call.reading, self._body)
        self._place = await services.tenants.check(
            self._key, request, call.reading, self._body, upstream
        )
        if call.reading.endpoint == BATCHES:
            await self._check_lines(call.reading.request.get("input_file_id"))
        return call

    async def _check_lines(self, file: Any) -> None:
        """Look through a batch's input file for what its key may not use. Raises: Rejected."""
        services, upstream = self._services, self.upstream
        is_asked = self._place is not None or is_limited(self._key)
        if not is_asked or not isinstance(file, str) or not file or upstream is None:
            return
        lines = services.bounding.lines_of(upstream, file)
        try:
            async with asyncio.timeout(_LOOK_THROUGH_SECONDS):
                await services.tenants.check_lines(self._key, upstream, lines)
        except Unbounded as why:
            raise Rejected(
                400, "invalid_value", f"the batch's requests cannot be looked through: {why}"
            ) from None
        except (UpstreamError, TimeoutError):
            raise Rejected(
                502, "upstream_failed", "the batch's input file could not be read"
            ) from None
        finally:
            await lines.aclose()

    async def _reopened(self, body: bytes) -> OpenCall:
        if len(body) <= HEAVY_BODY_BYTES:
            return self._open(body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._services.threads, self._open, body)

    async def _bound_of_work(self, call: OpenCall) -> Bound:
        assert self.upstream is not None
        return await self._services.bounding.bound_of_work(self.upstream, call)

    def _open(self, body: bytes) -> OpenCall:
        request, upstream = self._request, self.upstream
        assert upstream is not None
        call = self._services.pipeline.open_call(
            upstream.dialect,
            method=request.method,
            path=upstream.path_of(request.target),
            content_type=request.fields.get("content-type"),
            body=body,
            attribution=lambda hint: attribution_of(self._key, hint, request.fields),
            upstream=upstream.name,
            operation_id=self._operation_id
            or self._services.retries.operation_of(
                self._key.id, request.target, self._body, request.fields.get(RETRY_COUNT_HEADER, "")
            ),
        )
        call.estimate()
        return call

    async def _exchange(self, call: OpenCall) -> None:
        """Send the call and hand its answer on, until either side or the operator ends it."""
        response: Response | None = None
        task = self._exchanging = asyncio.current_task()
        assert task is not None
        try:
            response = await self._sent(call)
            await self._hand_on(call, response)
        except asyncio.CancelledError:
            if not self._has_given_up or task.uncancel() > 0:
                raise
            self._note_leaving(call)
        finally:
            self._exchanging = None
            if self._patience is not None:
                self._patience.cancel()
            if response is not None:
                response.close()
        if self._line.is_gone:
            raise ClientLeft

    async def _sent(self, call: OpenCall) -> Response:
        """Send the request and return the answer's beginning. Raises: Rejected."""
        request, upstream = self._request, self.upstream
        assert upstream is not None
        given = request.headers
        if is_searched(self._place, request.method, call.reading):
            # What is to be searched for new objects must be readable.
            plain = [each for each in given if each[0] != "accept-encoding"]
            given = (*plain, ("accept-encoding", "identity"))
        sent = headers.outgoing(given, request.fields, upstream, request.shape)
        content, length = self._content(call)
        if length is not None:
            sent.append(("content-length", str(length)))
        target = upstream.path_of(request.target)
        try:
            return await self._services.client.send(
                request.method, upstream.origin, target, sent, content, seconds=upstream.seconds
            )
        except NotSent as error:
            self._is_settled = True
            call.abandon()
            raise _unreachable(upstream, error) from None
        except UpstreamError as error:
            if self._line.fault is not None:
                raise self._line.fault from None
            self.outcome = _outcome_of(error)
            raise _broken(upstream, error) from None

    def _content(self, call: OpenCall) -> tuple[AsyncIterator[bytes] | bytes | None, int | None]:
        """Return the body to send, and its length where it must be said."""
        request = self._request
        if request.is_streamed:
            return self._line.rest_after(self._body), request.length
        body = call.body
        return (body or None), (0 if not body and request.has_body else None)

    async def _hand_on(self, call: OpenCall, response: Response) -> None:
        """Pass the answer to the client as it comes; the end waits for the record."""
        line, upstream = self._line, self.upstream
        assert upstream is not None
        fields = response.fields
        self.status = response.status
        call.start(response.status, fields)
        if not self._is_last and response.status in _TRIED_ELSEWHERE | {401}:
            self.outcome = Outcome.UPSTREAM_FAILED
            raise _TryAnother
        if response.status == 401:
            self.outcome = Outcome.UPSTREAM_FAILED
            raise Rejected(
                502, "upstream_refused",
                f"the upstream {upstream.name} does not take this gateway's own key",
            )  # fmt: skip
        self._showing = self._services.tenants.showing(
            self._place, self._request, call.reading, response.status, fields
        )
        edited = _edited(call, fields)
        own = [(n.encode(), v.encode()) for n, v in self._own_headers()]
        raw = headers.handed_on(response.raw_headers, fields, edited)
        try:
            await line.start(response.status, [*raw, *own])
            while True:
                if taken := response.taken():
                    await self._pass(call, taken)
                elif response.is_whole:
                    break
                else:
                    line.flush()
                    await response.more()
        except ClientLeft:
            self._note_leaving(call)
            return
        except UpstreamError as error:
            if line.is_gone:
                self._note_leaving(call)
                return
            self.outcome = _outcome_of(error)
            logger.info("call %s broke off: %s", call.call.id, _described(error))
            return
        call.finish()
        await self._settle(call, Outcome.CLIENT_CLOSED if self._left(call) else Outcome.COMPLETED)
        line.stop_watching()
        await self._forget_deleted()
        for piece in call.release():
            await self._give(piece)
        if self._showing is not None:
            await self._give(b"", is_last=True)
        await line.write(b"", is_last=True)

    @property
    def _deleted(self) -> str | None:
        """The stored object that the request deletes, None when it deletes none."""
        place = self._place
        is_whole = place is not None and not place.rest and self._request.method == "DELETE"
        return place.id if is_whole and place is not None else None

    async def _bill_before_deleting(self, call: OpenCall) -> None:
        """See what work has used before it is deleted. Raises: Rejected when that fails."""
        place, deleted, upstream = self._place, self._deleted, self.upstream
        if deleted is None or place is None or not place.family.is_work or upstream is None:
            return
        try:
            await look_before_deleting(self._services, upstream, deleted)
        except (StoreError, UpstreamError, TimeoutError) as error:
            call.abandon()
            self._is_settled = True
            raise _unreachable(upstream, error) from None

    async def _forget_deleted(self) -> None:
        deleted, status = self._deleted, self.status
        if deleted is None:
            return
        if status is not None and 200 <= status < 300:
            assert self.upstream is not None
            await self._services.tenants.forget(self.upstream, deleted)

    async def _pass(self, call: OpenCall, taken: list[bytes]) -> None:
        """Hand pieces of the body on, as they came. Raises: ClientLeft."""
        line = self._line
        if self.first_byte_s is None and taken:
            self.first_byte_s = time.monotonic() - self._begun_s
        if call.reading.strip_usage:
            # What may be taken out of a chunk's rest is not known: its size is not announced.
            taken = [bytes(data) for data in taken]
        for data in taken:
            self._received_bytes += len(data)
            passed = call.feed(data)
            if passed and (self._showing is not None or not line.put(passed)):
                await self._give(passed)
            if call.ended:
                if not self._is_settled and not line.is_gone:
                    line.flush()
                    await self._settle(call, Outcome.COMPLETED)
                for piece in call.release():
                    await self._give(piece)
            if line.is_gone:
                self._drained_bytes += len(data)
                if self._drained_bytes > self._settings.drain_bytes:
                    raise ClientLeft

    async def _give(self, piece: bytes, *, is_last: bool = False) -> None:
        """Hand a piece out as soon as the objects that it shows have their owner."""
        line, showing = self._line, self._showing
        pieces = [piece]
        if showing is not None:
            pieces = showing.finish() if is_last else showing.feed(piece)
            await self._own(showing)
        for each in pieces:
            if not line.is_gone and not line.put(each):
                await line.write(each)

    async def _own(self, showing: Showing) -> None:
        if not showing.named:
            return
        assert self.upstream is not None
        named, showing.named = showing.named, []
        try:
            await self._services.tenants.own(self._key.subject, self._key.id, self.upstream, named)
        except StoreError as error:
            logger.error("new objects have no owner, nobody will see them: %s", error)

    def _left(self, call: OpenCall) -> bool:
        return self._line.is_gone and not self._is_settled

    def _client_left(self) -> None:
        """Give the upstream no more time, or what draining may take to learn the usage."""
        call = self.call
        if call is None or self._exchanging is None:
            return
        is_open = not call.ended and call.reading.metered and not call.reading.free
        if is_open and self._settings.on_client_close == "drain":
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(self._settings.drain_seconds, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        """End the exchange, whatever it waits for."""
        if self._exchanging is not None and not self._has_given_up:
            self._has_given_up = True
            self._exchanging.cancel()

    def _note_leaving(self, call: OpenCall) -> None:
        self.outcome = Outcome.COMPLETED if call.ended else Outcome.CLIENT_CLOSED

    async def _settle(self, call: OpenCall, outcome: Outcome) -> None:
        """Close the call and wait until its record is durable.

        The answer is already paid for: whatever becomes of the record, the client gets its bytes.
        """
        if self._is_settled:
            return
        self._is_settled = True
        self.outcome = outcome
        await self._end(call)

    async def _end(self, call: OpenCall) -> None:
        seconds = self._settings.store_seconds
        try:
            is_heavy = self.outcome is not Outcome.COMPLETED
            if is_heavy or self._received_bytes > _HEAVY_ANSWER_BYTES:
                # What was not reported is counted, which takes its time.
                loop = asyncio.get_running_loop()
                recorded = await asyncio.shield(
                    loop.run_in_executor(self._services.threads, call.close, self.outcome)
                )
            else:
                recorded = call.close(self.outcome)
            if not self._settings.settle_before_last_byte:
                return
            if recorded.done():
                recorded.result()
            else:
                await wait(recorded, seconds)
        except Exception as error:
            logger.error(
                "call %s has ended and is not recorded: %s",
                call.call.id, reason_of(error, seconds),
            )  # fmt: skip

    def _note_failure(self, call: OpenCall) -> None:
        if is_repeated(self.status) and not self._line.is_gone:
            self._services.retries.remember(
                self._key.id, self._request.target, self._body, call.call.operation_id
            )

    def _call_id(self) -> tuple[str, str]:
        assert self.call is not None
        return "x-meter-call-id", str(self.call.call.id)

    def _own_headers(self) -> list[tuple[str, str]]:
        if self._max_tokens is None:
            return [self._call_id()]
        return [self._call_id(), ("x-meter-max-tokens", str(self._max_tokens))]


def _edited(call: OpenCall, fields: dict[str, str]) -> frozenset[str]:
    """Return the headers that are not true of what is handed out."""
    if call.hands_out_identity:
        return frozenset({"content-encoding", "content-length"})
    is_stream = fields.get("content-type", "").lower().startswith("text/event-stream")
    return frozenset({"content-length"} if call.reading.strip_usage and is_stream else ())


def _outcome_of(error: BaseException) -> Outcome:
    return Outcome.TIMED_OUT if isinstance(error, TimeoutError) else Outcome.UPSTREAM_FAILED


def _unreachable(upstream: Upstream, error: BaseException) -> Rejected:
    logger.warning("the upstream %s cannot be reached: %s", upstream.name, _described(error))
    if isinstance(error, TimeoutError):
        return Rejected(504, "upstream_timeout", f"the upstream {upstream.name} did not answer")
    return Rejected(502, "upstream_unreachable", f"the upstream {upstream.name} is not reachable")


def _broken(upstream: Upstream, error: BaseException) -> Rejected:
    logger.warning("the upstream %s broke off: %s", upstream.name, _described(error))
    if isinstance(error, TimeoutError):
        return Rejected(
            504, "upstream_timeout",
            f"the upstream {upstream.name} sent nothing for {upstream.seconds} seconds",
        )  # fmt: skip
    return Rejected(502, "upstream_failed", f"the upstream {upstream.name} broke off")


def _described(error: BaseException) -> str:
    return f"{type(error).__name__} {error!s:.300}".strip()
