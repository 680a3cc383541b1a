"""Send a reply over one HTTP exchange, with pacing and faults, and write it into the books.

What is billed: a complete answer, its full usage; a stream that broke or was abandoned, the prompt
and the output handed over until then (reasoning before it included); a whole answer, its full usage
even when it was cut or abandoned, because it was generated before its first byte; an error,
nothing. A break is an ASGI response that never completes: the server closes the connection.

Knows no provider: the dialect says what the events are and how an error event looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meter.simulator.books import Ending
from meter.simulator.orders import Orders
from meter.simulator.replies import Event, Streamed, Whole, to_json
from meter.simulator.settings import SimulatorSettings
from meter.simulator.spoiling import spoil_stream, spoil_whole

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
ErrorEvent = Callable[[int], Event]

_KEEP_ALIVE = b": keep-alive\n\n"
_SLICE_SECONDS = 0.1
# Pictures and sound have thousands of tokens: they need not take minutes.
_PACED_TOKENS_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold how an exchange ended and what it is billed, by unit."""

    ending: Ending
    status: int
    chunks: int
    quantities: Mapping[str, int]


Book = Callable[[Outcome], None]


class Line:
    """Write to one client and notice when it goes away."""

    def __init__(self, receive: Receive, send: Send) -> None:
        """Start with a client that is there."""
        self._receive = receive
        self._send = send
        self._is_gone = False

    async def watch(self) -> None:
        """Wait until the client goes away; the request's body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True

    def has_left(self) -> bool:
        """Tell whether the client went away."""
        return self._is_gone

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than the client does."""
        if seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._is_gone and (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, _SLICE_SECONDS))

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the status line and the headers."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, is_last: bool = False) -> None:
        """Send bytes of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})


async def send_whole(
    reply: Whole,
    orders: Orders,
    settings: SimulatorSettings,
    line: Line,
    headers: list[tuple[str, str]],
    book: Book,
) -> None:
    """Send an answer in one piece; `book` is called once, before the last byte goes out."""
    if orders.usage is not None:
        reply = spoil_whole(reply, orders.usage)
    body = reply.body if reply.payload is None else to_json(reply.payload)
    is_error = reply.status >= 400
    bill = {} if is_error else reply.bill
    if not is_error and orders.body is not None:
        body = body[: len(body) // 2]
    if orders.is_gzipped:
        body = zlib.compress(body, wbits=31)
        headers = [*headers, ("content-encoding", "gzip")]
    headers = [*headers, *reply.headers, ("content-type", reply.content_type)]
    headers.append(("content-length", str(len(body))))
    wait = orders.slow_first_seconds
    if not is_error:
        wait += _whole_seconds(settings, reply.bill.get("output_tokens", 0))
    async with _watched(line, is_needed=wait + orders.stall_seconds > 0):
        await line.pause(wait)
        if line.has_left():
            book(Outcome("client_gone", reply.status, 0, bill))
            return
        await line.start(reply.status, _encoded(headers))
        if orders.cut_after is not None and not is_error:
            await line.write(body[: len(body) // 2])
            book(Outcome("cut", reply.status, 0, bill))
            return
        if orders.stall_seconds:
            await line.write(body[: len(body) // 2])
            body = body[len(body) // 2 :]
            await line.pause(orders.stall_seconds)
            if line.has_left():
                book(Outcome("client_gone", reply.status, 0, bill))
                return
    ending: Ending = "failed" if is_error else "cut" if orders.body == "truncated" else "ok"
    book(Outcome(ending, reply.status, 0, bill))
    await line.write(body, is_last=True)


async def send_stream(
    reply: Streamed,
    orders: Orders,
    settings: SimulatorSettings,
    line: Line,
    headers: list[tuple[str, str]],
    book: Book,
    error_event: ErrorEvent,
) -> None:
    """Send an answer event by event; `book` is called once, before the last byte goes out."""
    if orders.usage is not None:
        reply = spoil_stream(reply, orders.usage, settings.count)
    headers = [*headers, ("content-type", reply.content_type), ("cache-control", "no-cache")]
    if orders.is_gzipped:
        headers.append(("content-encoding", "gzip"))
    run = _Run(reply, orders, settings, line, error_event)
    async with _watched(line, is_needed=True):
        await line.pause(orders.slow_first_seconds + _drawn(settings.pacing.first_byte_seconds))
        if line.has_left():
            book(Outcome("client_gone", 200, 0, run.billed()))
            return
        await line.start(200, _encoded(headers))
        ending = await run.send_events()
        if line.has_left():
            ending = "client_gone"
        book(
            Outcome(ending or "cut", 200, run.sent, reply.bill if ending == "ok" else run.billed())
        )
    # Without the last write the answer never completes, and the server breaks the connection.
    if ending in ("ok", "cut"):
        await line.write(run.last_bytes(), is_last=True)


class _Run:
    """Hold one stream under way: what was sent, and the tokens which that is worth."""

    def __init__(
        self,
        reply: Streamed,
        orders: Orders,
        settings: SimulatorSettings,
        line: Line,
        error_event: ErrorEvent,
    ) -> None:
        self._reply = reply
        self._orders = orders
        self._settings = settings
        self._line = line
        self._error_event = error_event
        self._packer = zlib.compressobj(wbits=31) if orders.is_gzipped else None
        self._lanes: dict[int, list[str]] = {}
        self._hidden_tokens = 0
        self._tail = reply.closing
        self.sent = 0
        # The ordinal (from 1) of the output that `bad-json` and `truncated` break.
        self._broken_output = (sum(1 for event in reply.events if event.text) + 1) // 2

    async def send_events(self) -> Ending | None:
        """Send the events; None means that the connection must break now."""
        outputs = 0
        for place, event in enumerate(self._reply.events):
            if self._line.has_left():
                return "client_gone"
            if event.text:
                if outputs == self._orders.cut_after:
                    return None
                if outputs == self._orders.error_after:
                    self._tail = framed(self._error_event(500), self._reply.framing, place)
                    return "cut"
                outputs += 1
            is_broken = bool(event.text) and outputs == self._broken_output
            if is_broken and self._orders.body == "truncated":
                chunk = framed(event, self._reply.framing, place)
                self._tail = chunk[: len(chunk) // 2]
                return "cut"
            await self._send_event(event, place, is_broken=is_broken)
            if event.text and outputs == 1 and self._orders.stall_seconds:
                await self._line.pause(self._orders.stall_seconds)
        return "ok"

    async def _send_event(self, event: Event, place: int, *, is_broken: bool) -> None:
        pacing = self._settings.pacing
        chunk = framed(event, self._reply.framing, place)
        if is_broken and self._orders.body == "bad-json":
            chunk = _with_bad_json(chunk)
        if (
            pacing.keep_alive_every
            and place % pacing.keep_alive_every == pacing.keep_alive_every - 1
            and self._reply.allows_comments
        ):
            chunk = _KEEP_ALIVE + chunk
        await self._line.pause(_drawn(pacing.chunk_seconds))
        # Give the watcher its turn even when nothing else waits.
        await asyncio.sleep(0)
        if self._line.has_left():
            return
        await self._line.write(self._packed(chunk))
        self.sent += 1
        self._lanes.setdefault(event.lane, []).append(event.text)
        self._hidden_tokens += event.hidden_tokens

    def _packed(self, chunk: bytes) -> bytes:
        if self._packer is None:
            return chunk
        return self._packer.compress(chunk) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def last_bytes(self) -> bytes:
        """Return what stands after the last event."""
        if self._packer is None:
            return self._tail
        return self._packer.compress(self._tail) + self._packer.flush()

    def billed(self) -> dict[str, int]:
        """Return the bill for what was sent until now."""
        bill = dict(self._reply.bill)
        if "output_tokens" not in bill:
            return bill
        count = self._settings.count
        visible = sum(count("".join(texts)) for texts in self._lanes.values())
        bill["output_tokens"] = visible + self._hidden_tokens
        if "reasoning_tokens" in bill:
            bill["reasoning_tokens"] = min(bill["reasoning_tokens"], bill["output_tokens"])
        return bill


def framed(event: Event, framing: str, place: int) -> bytes:
    """Return the bytes of one event, the `place`-th of its stream from 0."""
    body = to_json(event.payload)
    match framing:
        case "named":
            return b"event: %b\ndata: %b\n\n" % ((event.name or "message").encode(), body)
        case "padded":
            padding = b" " * (place * 5 % 13)
            return b"event: %b\ndata: %b%b\n\n" % ((event.name or "").encode(), body, padding)
        case "crlf":
            return b"data: %b\r\n\r\n" % body
        case "array":
            return (b"[" if place == 0 else b",\r\n") + body
    return b"data: %b\n\n" % body


def _with_bad_json(chunk: bytes) -> bytes:
    end = b"\r\n\r\n" if chunk.endswith(b"\r\n\r\n") else b"\n\n"
    return chunk[: len(chunk) * 2 // 3] + end


def _whole_seconds(settings: SimulatorSettings, output_tokens: int) -> float:
    pacing = settings.pacing
    least, most = pacing.chunk_seconds
    chunks = min(output_tokens, _PACED_TOKENS_LIMIT)
    return _drawn(pacing.first_byte_seconds) + chunks * (least + most) / 2


def _drawn(span: tuple[float, float]) -> float:
    # Not the seeded generator of the faults: pacing must not move them.
    return random.uniform(*span) if span[1] > 0 else 0.0


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


@contextlib.asynccontextmanager
async def _watched(line: Line, *, is_needed: bool) -> AsyncIterator[None]:
    """Watch the client while the block runs."""
    if not is_needed:
        yield
        return
    watcher = asyncio.create_task(line.watch())
    try:
        yield
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
