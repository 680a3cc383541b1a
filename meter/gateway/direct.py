"""Serve HTTP/1.1 on a connection, without ASGI between the bytes and the answer.

Bytes are parsed by httptools (llhttp, strict): two lengths, a length with chunks, bad chunks and
control characters are answered 400. Bounded are the head in size and time, the wait for each
piece of a body and for a client that takes nothing, idle connections, and requests sent ahead.
A body that is not taken, or requests ahead, stop the reading. Called by `lane`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httptools

from meter.gateway.http.connection import Part
from meter.gateway.line import Line, Pace, RawHeaders
from meter.gateway.rejections import ClientLeft, Rejected

HEAD_BYTES: Final = 65_536

_BODY_HIGH_WATER_BYTES: Final = 65_536
_OUT_HIGH_WATER_BYTES: Final = 65_536
_MOST_AHEAD: Final = 64
_DISCARDED_BYTES: Final = 4_194_304
_LINGER_SECONDS: Final = 5.0
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_WITHOUT_BODY: Final = frozenset({204, 304})

_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    if status in HTTPStatus._value2member_map_
    else f"HTTP/1.1 {status} \r\n".encode()
    for status in range(100, 1000)
}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BAD: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\nconnection: close\r\n\r\nfound no HTTP/1.1 that is safe"
)
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)

Answering = Callable[[dict[str, Any], Line], Awaitable[None]]


class Owner(Protocol):
    """What a connection needs of the server that took it."""

    is_stopping: bool
    client_seconds: float
    head_seconds: float
    idle_seconds: float

    def answer(self, scope: dict[str, Any], line: Line) -> Awaitable[None]:
        """Answer one request."""

    def hold_session(self, transport: asyncio.Transport, data: bytes) -> None:
        """Go on with a connection as a WebSocket; `data` is all that has come, from the head on."""

    def spawn(self, answering: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run the answering of a request, which may outlive its connection."""

    def add(self, connection: "Connection") -> None:
        """Note a connection."""

    def discard(self, connection: "Connection") -> None:
        """Forget a connection."""


class DirectLine(Line):
    """A client on a connection of our own, for one request."""

    __slots__ = (
        "_body", "_body_bytes", "_body_error", "_chunk_left", "_chunked", "_connection", "_expects",
        "_is_head", "_is_read", "_is_taken", "_left", "_on_leaving", "_out", "_out_bytes",
        "_pace", "_waiter", "is_answered", "keeps_alive", "scope",
    )  # fmt: skip

    def __init__(
        self,
        connection: "Connection",
        scope: dict[str, Any],
        *,
        keeps_alive: bool,
        expects: bool,
    ) -> None:
        """Take a request whose head has come."""
        super().__init__()
        self.scope = scope
        self.keeps_alive = keeps_alive
        self.is_answered = False
        self._connection = connection
        self._expects = expects
        self._is_head = scope["method"] == "HEAD"
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._body_error: Rejected | None = None
        self._is_read = False
        self._is_taken = False
        self._pace: Pace | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._on_leaving: Callable[[], None] | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._chunked = False
        self._chunk_left = 0
        self._left: int | None = None

    # The body.

    @property
    def is_read(self) -> bool:
        """Whether the whole body has come."""
        return self._is_read

    async def body(self, limit_bytes: int) -> bytes:
        """Return the whole body. Raises: Rejected (400, 408, 413), ClientLeft."""
        if self._is_read and not self._is_taken and self._body_bytes <= limit_bytes:
            self._is_taken = True
            return self._taken_body()
        return await super().body(limit_bytes)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises: Rejected (400, 408), ClientLeft."""
        connection = self._connection
        pace = self._pace = self._pace or Pace(connection.owner.client_seconds)
        while True:
            if self._body:
                pace.came(self._body_bytes)
                yield self._taken_body()
                continue
            if self._is_read:
                return
            if self._body_error is not None:
                raise self._body_error
            if self.is_gone:
                raise ClientLeft
            if self._expects and not self.has_begun:
                self._expects = False
                connection.write(_CONTINUE)
            begun_s = connection.loop.time()
            self._waiter = connection.loop.create_future()
            connection.deadline_s = begun_s + pace.left_s
            try:
                await self._waiter
            finally:
                self._waiter = None
                connection.deadline_s = None
            pace.waited(connection.loop.time() - begun_s)

    def _taken_body(self) -> bytes:
        pieces = self._body
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._body = []
        self._body_bytes = 0
        self._connection.read_on()
        return taken

    def drop_body(self) -> None:
        """Forget what of the body was not taken."""
        self._body = []
        self._body_bytes = 0
        self._connection.read_on()

    def receive(self, data: bytes) -> int:
        """Keep a piece of the body; return how many bytes wait to be taken."""
        self._body.append(data)
        self._body_bytes += len(data)
        self._wake()
        return self._body_bytes

    def end_body(self) -> None:
        """Note that the body is whole."""
        self._is_read = True
        self._wake()

    def fail_body(self, error: Rejected) -> None:
        """Note that the body cannot be read to its end."""
        self._body_error = error
        self._wake()

    def give_up_body(self) -> None:
        """Note that the body comes too slowly."""
        pace = self._pace or Pace(self._connection.owner.client_seconds)
        self.fail_body(pace.too_slow())

    def leave(self) -> None:
        """Note that the client is gone, and tell."""
        self.is_gone = True
        self._wake()
        if self._on_leaving is not None and self._is_read:
            on_leaving, self._on_leaving = self._on_leaving, None
            on_leaving()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """Tell when the client goes, once its body has been read."""
        self._on_leaving = on_leaving
        if self.is_gone and self._is_read:
            self.leave()

    def stop_watching(self) -> None:
        """Tell nobody any more."""
        self._on_leaving = None

    # The answer.

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Begin the answer: its head goes out with what follows. Raises: ClientLeft."""
        self.has_begun = True
        connection = self._connection
        lines = [_STATUS_LINES[status]]
        closes = is_framed = False
        if self.besides:
            headers = [*headers, *self.besides]
        for name, value in headers:
            if name == b"content-length":
                is_framed = True
                self._left = int(value)
            elif name == b"connection" and value.lower() == b"close":
                closes = True
            lines.append(b"%b: %b\r\n" % (name, value))
        if connection.owner.is_stopping or not self.keeps_alive:
            self.keeps_alive = False
            if not closes:
                lines.append(b"connection: close\r\n")
        elif closes:
            self.keeps_alive = False
        if self._is_head or status in _WITHOUT_BODY:
            self._left = 0
            self._is_head = True
        elif not is_framed:
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keeps_alive = False
        lines.append(b"\r\n")
        self._out.append(b"".join(lines))
        if self.is_gone:
            raise ClientLeft

    async def write(self, data: bytes, *, is_last: bool = False) -> None:
        """Send bytes of the body, waiting while the client takes none. Raises: ClientLeft."""
        if self.is_gone:
            raise ClientLeft
        if not self._add(data) or (is_last and (self._left or self._chunk_left)):
            # The head said another length: what was sent cannot be put right.
            self._connection.close()
            raise ClientLeft
        if is_last:
            self.is_answered = True
            if self._chunked and not self._is_head:
                self._out.append(b"0\r\n\r\n")
        self.flush()
        connection = self._connection
        if not connection.is_writable:
            is_open = await connection.drained()
            if not is_open and not is_last:
                raise ClientLeft

    def put(self, data: bytes) -> bool:
        """Keep bytes of the body to be sent with others; return False where that needs waiting."""
        if self.is_gone or not self._connection.is_writable or not self._add(data):
            return False
        if self._out_bytes > _OUT_HIGH_WATER_BYTES:
            self.flush()
        return True

    def _add(self, data: bytes) -> bool:
        """Frame bytes of the body; return False for more than the head has said."""
        if self._is_head or not data:
            return True
        if self._chunked:
            if self._chunk_left or type(data) is Part:
                data = self._in_chunks(data)
            else:
                data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self._left is not None:
            if self._left < len(data):
                return False
            self._left -= len(data)
        self._out.append(data)
        self._out_bytes += len(data)
        return True

    def _in_chunks(self, data: bytes) -> bytes:
        """Frame bytes: a chunk of their own, and what ends one whose first part came before."""
        left = self._chunk_left
        if not left:
            if not isinstance(data, Part):
                return b"%x\r\n%b\r\n" % (len(data), data)
            self._chunk_left = data.left
            return b"%x\r\n%b" % (len(data) + data.left, data)
        rest = data[left:]
        self._chunk_left = max(0, left - len(data))
        framed = data if self._chunk_left else data[:left] + b"\r\n"
        return framed + self._in_chunks(rest) if rest else framed

    def flush(self) -> None:
        """Send what was put."""
        out = self._out
        if out and not self.is_gone:
            self._out = []
            self._out_bytes = 0
            self._connection.write(out[0] if len(out) == 1 else b"".join(out))


class Connection(asyncio.Protocol):
    """One client's connection: its requests, one after the other.

    `deadline_s` is when it is given up, by the loop's clock, and `write_deadline_s` when it is
    because its client takes nothing; None: not now. The server looks.
    """

    def __init__(self, owner: Owner) -> None:
        """Begin unconnected."""
        self.owner = owner
        self.loop = asyncio.get_running_loop()
        self.deadline_s: float | None = None
        self.write_deadline_s: float | None = None
        self.is_writable = True
        self.task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._is_reading = True
        self._drained: list[asyncio.Future[None]] = []
        self._current: DirectLine | None = None
        self._ahead: deque[DirectLine] = deque()
        self._receiving: DirectLine | None = None
        self._url = b""
        self._headers: RawHeaders = []
        self._head_bytes = 0
        self._in_head = True
        self._expects = False
        self._session_head: bytes | None = None
        self._last_words: bytes | None = None
        self._is_deaf = False
        self._discarded_bytes = 0

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered or received."""
        return self._current is not None or self._receiving is not None

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the first head its time."""
        self._transport = transport  # type: ignore[assignment]
        self._parser = httptools.HttpRequestParser(self)
        self.deadline_s = self.loop.time() + self.owner.head_seconds
        self.owner.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever answers that the client is gone."""
        self._transport = None
        self._parser = None
        self.deadline_s = self.write_deadline_s = None
        self.owner.discard(self)
        self._ahead.clear()
        current, receiving = self._current, self._receiving
        self._receiving = None
        for line in {id(line): line for line in (current, receiving) if line}.values():
            line.leave()
        self._resume()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._is_deaf:
            self._discard(len(data))
            return
        if self._in_head:
            if self._head_bytes == 0 and not self.is_busy:
                self.deadline_s = self.loop.time() + self.owner.head_seconds
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._session_head is not None:
                self._hand_over(self._session_head + data[upgrade.args[0] :])
            else:
                # Its request has been taken as any other; nothing after it can be.
                self._end_hearing(None)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._end_hearing(cause.words if isinstance(cause, _Refused) else _BAD)
        else:
            if self._in_head and self._head_bytes > HEAD_BYTES:
                self._end_hearing(_HEAD_TOO_LARGE)

    def eof_received(self) -> bool:
        """Let the transport close: a client that has closed its side has left."""
        return False

    def pause_writing(self) -> None:
        """Give a client that takes nothing its time; what is kept for it is dropped then."""
        self.is_writable = False
        self.write_deadline_s = self.loop.time() + self.owner.client_seconds

    def resume_writing(self) -> None:
        """Note that the client takes bytes again."""
        self.write_deadline_s = None
        self._resume()

    def _resume(self) -> None:
        self.is_writable = True
        waiting, self._drained = self._drained, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # What the parser finds.

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._url = b""
        self._headers = []
        self._expects = False
        if self._head_bytes == 0:
            # It begins behind another request's end: only what follows is counted.
            self._head_bytes = 1

    def on_url(self, url: bytes) -> None:
        """Take the request's target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are dropped."""
        if not self._in_head:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects = True
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            raise _Refused(_BAD)
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take a request, or keep it until those before it have been answered."""
        parser = self._parser
        size = len(self._url) + sum([len(n) + len(v) + 4 for n, v in self._headers])
        if size > HEAD_BYTES:
            raise _Refused(_HEAD_TOO_LARGE)
        version = parser.get_http_version()
        if version not in _VERSIONS or len(self._ahead) >= _MOST_AHEAD:
            raise _Refused(_BAD)
        if parser.should_upgrade():
            if _has_body(self._headers):
                # The parser would not read the body.
                raise _Refused(_BAD)
            if self._current is None and _is_websocket(self._headers):
                self._session_head = self._head_again()
                return
        raw_path, query = _target(self._url)
        path = raw_path.decode("ascii")
        scope = {
            "type": "http",
            "method": parser.get_method().decode("ascii"),
            "http_version": version,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
        }
        keeps_alive = version == "1.1" and parser.should_keep_alive()
        line = DirectLine(self, scope, keeps_alive=keeps_alive, expects=self._expects)
        self._in_head = False
        self._head_bytes = 0
        self._receiving = line
        if self._current is None:
            self.deadline_s = None
            self._begin(line)
            return
        self._ahead.append(line)
        self._pause_reading()

    def on_body(self, data: bytes) -> None:
        """Hand a piece of the body on."""
        line = self._receiving
        if line is None or line.is_answered:
            self._discard(len(data))
        elif line.receive(data) > _BODY_HIGH_WATER_BYTES:
            self._pause_reading()

    def on_message_complete(self) -> None:
        """End a body; what follows is the next head."""
        line, self._receiving = self._receiving, None
        self._in_head = True
        self._discarded_bytes = 0
        if line is not None:
            line.end_body()
            if line.is_answered:
                self._go_on(line)

    # Answering.

    def _head_again(self) -> bytes:
        lines = [b"%b %b HTTP/1.1\r\n" % (self._parser.get_method(), self._url)]
        lines += [b"%b: %b\r\n" % header for header in self._headers]
        return b"".join([*lines, b"\r\n"])

    def _hand_over(self, data: bytes) -> None:
        """Leave the connection to the WebSocket's own protocol, which has bounds of its own."""
        transport, self._transport = self._transport, None
        self.deadline_s = None
        self.owner.discard(self)
        assert transport is not None
        self.owner.hold_session(transport, data)

    def _begin(self, line: DirectLine) -> None:
        self._current = line
        self.task = self.owner.spawn(self._answer(line))

    async def _answer(self, line: DirectLine) -> None:
        try:
            await self.owner.answer(line.scope, line)
        finally:
            self.task = None
            if not line.is_answered:
                # What was not answered to its end must not look as if it were.
                line.flush()
                self.close()
                self._current = None
            elif line.is_read or not line.keeps_alive or self._is_deaf:
                self._go_on(line)
            else:
                # The rest of its body is of no use: it is read for a while and dropped.
                self.deadline_s = self.loop.time() + _LINGER_SECONDS
                line.drop_body()

    def _go_on(self, line: DirectLine) -> None:
        """Take the next request, wait for one, or close."""
        if line is not self._current or self.task is not None:
            return
        self._current = None
        if not line.keeps_alive:
            self._hang_up(line)
        elif self._ahead:
            self._begin(self._ahead.popleft())
        elif self._last_words is not None or self._is_deaf:
            self._end_hearing(self._last_words)
        elif self.owner.is_stopping and self._receiving is None:
            self.close()
        else:
            self._be_idle()
        self.read_on()

    def _be_idle(self) -> None:
        if self._transport is not None and not self.is_busy:
            seconds = self.owner.head_seconds if self._head_bytes else self.owner.idle_seconds
            self.deadline_s = self.loop.time() + seconds

    def _hang_up(self, line: DirectLine) -> None:
        """Close after the last answer, so that it arrives though its client still sends."""
        transport = self._transport
        if line.is_read or transport is None or not transport.can_write_eof():
            self.close()
            return
        self._is_deaf = True
        transport.write_eof()
        self.deadline_s = self.loop.time() + _LINGER_SECONDS
        self.read_on()

    def _end_hearing(self, words: bytes | None) -> None:
        """Understand nothing more; say why when what came before has been answered."""
        self._is_deaf = True
        self._last_words = words
        receiving = self._receiving
        if receiving is not None and words is not None:
            self._receiving = None
            fault = "found a body that is not framed as HTTP/1.1 says"
            receiving.fail_body(Rejected(400, "malformed_body", fault, closes=True))
        if self._current is not None:
            if words is None and not self._ahead:
                self._current.keeps_alive = False
            return
        if words is not None:
            self.write(words)
        self.close()

    def _discard(self, number: int) -> None:
        self._discarded_bytes += number
        if self._discarded_bytes > _DISCARDED_BYTES:
            self.abort()

    # Used by the lines and the server.

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> bool:
        """Wait until the client takes bytes again, or is gone; return whether it is there."""
        future = self.loop.create_future()
        self._drained.append(future)
        await future
        return self._transport is not None

    def close(self) -> None:
        """Send what was written, and close."""
        if self._transport is not None:
            self._transport.close()
            if self.deadline_s is None:
                self.deadline_s = self.loop.time() + self.owner.client_seconds

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def look(self, now_s: float) -> None:
        """End what has taken its client too long."""
        if self.write_deadline_s is not None and self.write_deadline_s <= now_s:
            self.abort()
        if self.deadline_s is None or self.deadline_s > now_s:
            return
        self.deadline_s = None
        line = self._current
        if line is not None and not line.is_read and not line.is_answered:
            line.give_up_body()
        else:
            self.abort()

    def stop(self) -> None:
        """Take no further request; close when nothing is under way."""
        if not self.is_busy:
            self.close()

    def read_on(self) -> None:
        """Read again, when what was read has been taken."""
        if not self._is_reading and not self._ahead and self._transport is not None:
            self._is_reading = True
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if self._is_reading and self._transport is not None:
            self._is_reading = False
            self._transport.pause_reading()


class _Refused(Exception):
    """A head that is well-formed and too much. Holds the answer."""

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self.words = words


def _is_websocket(headers: RawHeaders) -> bool:
    return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in headers)


def _has_body(headers: RawHeaders) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in headers
    )


def _target(url: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of a request's target. Raises: httptools' errors."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parts = httptools.parse_url(url)
    if parts.path is None:
        raise httptools.HttpParserInvalidURLError("no path")
    return parts.path, parts.query or b""
