"""Meter what passes through an httpx transport, sync or async, and change nothing on the wire.

The twin of `httpx2_transport`: the two libraries have the same shapes and unrelated base classes.
A parity test holds the two files together. Knows no provider and no store. Called by `sdk` and by
the façade.
"""

from types import TracebackType

import anyio.to_thread
import httpx

from meter.clients import exchange
from meter.clients.passage import AsyncPassage, Passage
from meter.core.ports import Answer
from meter.pipeline import HEAVY_BODY_BYTES, OpenCall, Pipeline

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.LocalProtocolError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Errors after which no upstream can have seen a whole request."""


class MeterTransport(httpx.BaseTransport):
    """Meters each request that goes to the inner transport.

    `lender` is kept alive as long as this transport, because its end may close the inner one.
    With `owns_inner` False, closing this transport leaves the inner one open.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport | None,
        pipeline: Pipeline,
        *,
        lender: object = None,
        owns_inner: bool = True,
    ) -> None:
        """Stand before `inner` (None: a new `httpx.HTTPTransport`)."""
        self.inner = httpx.HTTPTransport() if inner is None else inner
        self.pipeline = pipeline
        self._lender = lender
        self._owns_inner = owns_inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, unless the ledger refuses it. Raises what the inner transport raises."""
        settings, path = self.pipeline.settings, _path_of(request)
        headers = exchange.plain_headers(request.headers.raw)
        call = _opened(self.pipeline, request, path, headers, _body_of(request, headers))
        refusal = exchange.ask(call, settings)
        if refusal is not None:
            return _given(refusal, call)
        try:
            response = self.inner.handle_request(_outgoing(request, call))
        except BaseException as error:
            exchange.note_unanswered(call, path, error, NEVER_SENT, httpx.TimeoutException)
            raise
        stream = response.stream
        assert isinstance(stream, httpx.SyncByteStream)
        answered = exchange.plain_headers(response.headers.raw)
        if not exchange.begun(call, path, response.status_code, answered):
            return response
        return _handed_on(response, call, answered, _Stream(stream, call, settings, answered))

    def __enter__(self) -> "MeterTransport":
        """Enter the inner transport too."""
        self.inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Leave the inner transport, if it is this one's own."""
        if self._owns_inner:
            self.inner.__exit__(kind, error, trace)

    def close(self) -> None:
        """Close the inner transport, if it is this one's own."""
        if self._owns_inner:
            self.inner.close()


class AsyncMeterTransport(httpx.AsyncBaseTransport):
    """Meters each request that goes to the inner transport; see `MeterTransport`."""

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport | None,
        pipeline: Pipeline,
        *,
        lender: object = None,
        owns_inner: bool = True,
    ) -> None:
        """Stand before `inner` (None: a new `httpx.AsyncHTTPTransport`)."""
        self.inner = httpx.AsyncHTTPTransport() if inner is None else inner
        self.pipeline = pipeline
        self._lender = lender
        self._owns_inner = owns_inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, unless the ledger refuses it. Raises what the inner transport raises."""
        settings, path = self.pipeline.settings, _path_of(request)
        headers = exchange.plain_headers(request.headers.raw)
        body = await _async_body_of(request, headers)
        given = (self.pipeline, request, path, headers, body)
        if len(body) > HEAVY_BODY_BYTES:
            call = await anyio.to_thread.run_sync(_opened, *given)
        else:
            call = _opened(*given)
        refusal = await exchange.ask_async(call, settings)
        if refusal is not None:
            return _given(refusal, call)
        try:
            response = await self.inner.handle_async_request(_outgoing(request, call))
        except BaseException as error:
            exchange.note_unanswered(call, path, error, NEVER_SENT, httpx.TimeoutException)
            raise
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        answered = exchange.plain_headers(response.headers.raw)
        if not exchange.begun(call, path, response.status_code, answered):
            return response
        return _handed_on(response, call, answered, _AsyncStream(stream, call, settings, answered))

    async def __aenter__(self) -> "AsyncMeterTransport":
        """Enter the inner transport too."""
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Leave the inner transport, if it is this one's own."""
        if self._owns_inner:
            await self.inner.__aexit__(kind, error, trace)

    async def aclose(self) -> None:
        """Close the inner transport, if it is this one's own."""
        if self._owns_inner:
            await self.inner.aclose()


class _Stream(Passage, httpx.SyncByteStream):
    """The body of an answer, watched as it passes to the client."""

    time_out = httpx.TimeoutException


class _AsyncStream(AsyncPassage, httpx.AsyncByteStream):
    """The body of an answer, watched as it passes to the client."""

    time_out = httpx.TimeoutException


def _opened(
    pipeline: Pipeline, request: httpx.Request, path: str, headers: dict[str, str], body: bytes
) -> OpenCall:
    return exchange.open_call(
        pipeline,
        host=request.url.netloc.decode("ascii"),
        method=request.method,
        path=path,
        headers=headers,
        body=body,
    )


def _path_of(request: httpx.Request) -> str:
    return request.url.raw_path.decode("ascii")


def _body_of(request: httpx.Request, headers: dict[str, str]) -> bytes:
    """Return a JSON body that lies in memory, or a form of bounded size; else nothing is read."""
    body = request.stream
    if isinstance(body, httpx.ByteStream) and exchange.is_json(headers):
        return request.read()
    is_form = isinstance(body, httpx.SyncByteStream) and exchange.is_form(headers)
    return request.read() if is_form else b""


async def _async_body_of(request: httpx.Request, headers: dict[str, str]) -> bytes:
    """Return what `_body_of` does."""
    body = request.stream
    if isinstance(body, httpx.AsyncByteStream) and exchange.is_form(headers):
        return await request.aread()
    return _body_of(request, headers)


def _outgoing(request: httpx.Request, call: OpenCall) -> httpx.Request:
    """Return the request to send: the client's own, unless the body asks for usage in addition."""
    if call.reading.body is None:
        return request
    length = str(len(call.body)).encode()
    headers = [
        (name, length if name.lower() == b"content-length" else value)
        for name, value in request.headers.raw
    ]
    return httpx.Request(
        request.method,
        request.url,
        headers=headers,
        stream=httpx.ByteStream(call.body),
        extensions=request.extensions,
    )


def _handed_on(
    response: httpx.Response, call: OpenCall, answered: dict[str, str],
    stream: _Stream | _AsyncStream,
) -> httpx.Response:  # fmt: skip
    """Return the answer with its body watched, and otherwise as it came."""
    dropped = exchange.dropped_headers(call, answered)
    if not dropped and not response.is_closed:
        # As the client itself puts a stream of its own around this one.
        response.stream = stream
        response.extensions["meter_call_id"] = str(call.call.id)
        return response
    headers = response.headers.raw
    if dropped:
        headers = [(name, value) for name, value in headers if name.lower() not in dropped]
    return httpx.Response(
        response.status_code,
        headers=headers,
        stream=stream,
        extensions={**response.extensions, "meter_call_id": str(call.call.id)},
    )


def _given(answer: Answer, call: OpenCall) -> httpx.Response:
    """Return the meter's own answer as a response."""
    return httpx.Response(
        answer.status,
        headers=dict(answer.headers),
        content=answer.body,
        extensions={"meter_call_id": str(call.call.id)},
    )
