"""Speak HTTP/1.1 with an upstream on one connection: a request out, its answer in, again.

Bytes are parsed by httptools (llhttp, strict). Nothing is decompressed, redirected or retried
here. An answer that is not taken stops being read: its bytes wait in the kernel and slow the
upstream. Called by `client`.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

import httptools

from meter.gateway.http.errors import BrokenOff, ReadTimeout, UpstreamError

HEAD_BYTES: Final = 65_536
"""The largest head (or trailer) that an answer may have."""

_HIGH_WATER_BYTES: Final = 262_144
_SLICE_BYTES: Final = 262_144
_INTERIM_ANSWERS: Final = 16
_WITHOUT_BODY: Final = frozenset({204, 304})
_LF: Final = 10
# Whether a chunk is under way: none; one whose head came with this read; one whose size is known
# if it can be; one whose first part was taken.
_NO_CHUNK, _NEW_CHUNK, _KNOWN_CHUNK, _BEGUN_CHUNK = range(4)

Body = bytes | AsyncIterator[bytes] | None


class Part(bytes):
    """The first part of an HTTP chunk: `left` bytes of it are yet to come."""

    left = 0


class Response:
    """An answer whose head has come. Its body is taken in the pieces in which it comes.

    `fields` has the last value of each header, by its lower-case name; `raw_headers` all of
    them as they came.
    """

    __slots__ = ("_connection", "fields", "raw_headers", "status")

    def __init__(
        self, connection: "Connection", status: int, raw_headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Take what the head said."""
        self._connection: Connection | None = connection
        self.status = status
        self.raw_headers = raw_headers
        self.fields = {
            name.decode("latin-1").lower(): value.decode("utf-8", "surrogateescape")
            for name, value in raw_headers
        }

    @property
    def is_whole(self) -> bool:
        """Whether all of the body has come; pieces of it may still wait to be taken."""
        connection = self._connection
        return connection is None or connection.is_whole

    def taken(self) -> list[bytes]:
        """Return the pieces of the body that have come since.

        Each is an HTTP chunk, or a part of one; the first one of several is a `Part`.
        """
        connection = self._connection
        return [] if connection is None else connection.taken()

    async def more(self) -> None:
        """Wait until more of the body has come, or its end. Raises: BrokenOff, ReadTimeout."""
        if self._connection is not None:
            await self._connection.more()

    def close(self) -> None:
        """Give the connection back: to be used again, or closed when the answer is not whole."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises: BrokenOff, ReadTimeout."""
        while True:
            taken = self.taken()
            for piece in taken:
                yield piece
            # More may have come while these were handed out.
            if not taken:
                if self.is_whole:
                    return
                await self.more()


class Connection(asyncio.Protocol):
    """One connection to an upstream. Used by one task at a time.

    `deadline_s` is when the exchange is given up, by the loop's clock; None: not now. Whoever
    made the connection looks at it.
    """

    def __init__(self, pool: "Pool") -> None:
        """Begin unconnected; `pool` takes it back."""
        self.deadline_s: float | None = None
        self.idle_since_s = 0.0
        self.is_whole = True
        self.is_reused = False
        self.answered = False
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._upload: asyncio.Task[None] | None = None
        self._is_writable = True
        self._is_reading = True
        self._is_head = False
        self._is_spoiled = False
        self._seconds = 0.0
        self._begin_answer()

    def _begin_answer(self) -> None:
        self._status = 0
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._has_head = False
        self._head_bytes = 0
        self._ends_with_connection = False
        self._stays_open = False
        # The chunk under way: its size (0: not known), what has come of it, and how far that is
        # known (see `_note_part`). The last byte that was read tells whether a line has ended.
        self._chunk_size = self._chunk_bytes = 0
        self._chunk_stage = _NO_CHUNK
        self._last_byte = 0
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0

    @property
    def is_usable(self) -> bool:
        """Whether another request can be sent on it."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._error is None

    async def exchange(
        self, head: bytes, body: Body, *, is_head: bool, is_chunked: bool, seconds: float
    ) -> Response:
        """Send a request and return its answer as soon as the head has come.

        `head` ends with the empty line; an iterated body is framed as chunks where `is_chunked`.
        `seconds` bounds each time the upstream sends or takes nothing. Whatever is raised, the
        connection is closed by then. Raises: BrokenOff, ReadTimeout, and what the body raises.
        """
        assert self._transport is not None and self.is_whole
        self.is_whole = self.answered = False
        self._is_head = is_head
        self._seconds = seconds
        self._interim_answers = 0
        self._begin_answer()
        self._parser = httptools.HttpResponseParser(self)
        self._pool.begin(self)
        try:
            if body is None:
                self._transport.write(head)
            elif isinstance(body, bytes) and len(body) <= _SLICE_BYTES:
                self._transport.write(head + body)
            else:
                self._transport.write(head)
                pieces = slices_of(body) if isinstance(body, bytes) else body
                self._upload = asyncio.create_task(self._send(pieces, is_chunked))
                self._upload.add_done_callback(self._note_upload)
            self.deadline_s = self._loop.time() + seconds
            while not self._has_head:
                await self._wait()
            return Response(self, self._status, self._raw_headers)
        except BaseException:
            self.abort()
            raise

    def taken(self) -> list[bytes]:
        """Return the pieces that wait to be taken."""
        pieces = self._pieces
        if pieces:
            self._pieces = []
            self._pieces_bytes = 0
            if not self._is_reading:
                self._read_on()
        return pieces

    async def more(self) -> None:
        """Wait for a piece, or the end. Raises: BrokenOff, ReadTimeout, what the body raises."""
        while not self._pieces and not self.is_whole:
            await self._wait()

    def fileno(self) -> int:
        """Return the descriptor of the socket below. Only for a usable connection."""
        assert self._transport is not None
        return int(self._transport.get_extra_info("socket").fileno())

    def release(self) -> None:
        """End the exchange: the connection waits for the next one, or closes."""
        self.deadline_s = None
        is_reusable = (
            self.is_whole
            and self.is_usable
            and not self._is_spoiled
            and not self._ends_with_connection
            and not self._is_head
            and (self._upload is None or self._upload.done())
            and self._stays_open
        )
        self._parser = None
        self._pieces = []
        if not self._is_reading and is_reusable:
            self._read_on()
        self._pool.end(self, is_reusable=is_reusable)
        if not is_reusable:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once, whatever is under way."""
        self.deadline_s = None
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._pool.end(self, is_reusable=False)

    def give_up(self) -> None:
        """End an exchange whose time has run out."""
        self._fail(ReadTimeout("nothing came in time"))

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        parser = self._parser
        if parser is None or self.is_whole:
            # Nothing was asked: whatever this is, it belongs to no answer of ours.
            self.abort()
            return
        self.answered = True
        if self.deadline_s is not None:
            self.deadline_s = self._loop.time() + self._seconds
        had = len(self._pieces)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._is_spoiled = True
            if not self.is_whole:
                self._fail(BrokenOff(_told(error)))
                return
        if not self._has_head or (self.is_whole is False and len(self._pieces) == had):
            # A head, or what stands around chunks, that does not end.
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._fail(BrokenOff(f"a head of more than {HEAD_BYTES} bytes"))
                return
        if self._has_head:
            if self._chunk_stage:
                self._note_part(data)
            self._last_byte = data[-1]
            self._wake()

    def eof_received(self) -> bool:
        """Note that nothing more comes; the transport closes then."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer, whole or not."""
        self._transport = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self.is_whole:
            self._pool.end(self, is_reusable=False)
        elif self._has_head and self._ends_with_connection and exc is None and not self._error:
            self.is_whole = True
            self._wake()
        else:
            self._fail(BrokenOff("the connection ended"))

    def pause_writing(self) -> None:
        """Note that the upstream takes nothing for now."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """Let the upload go on."""
        self._is_writable = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # What the parser finds.

    def on_message_begin(self) -> None:
        """Take no second answer."""
        if self.is_whole:
            raise _Malformed("more than one answer to a request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are dropped."""
        if not self._has_head:
            self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        """End the head."""
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._status = status
        self._has_head = True
        self._stays_open = self._parser.should_keep_alive()
        self._head_bytes = 0
        if self._is_head:
            self.is_whole = True
        elif status not in _WITHOUT_BODY:
            self._ends_with_connection = not _is_framed(self._raw_headers)

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body: a chunk, or what has come of one."""
        if self._is_head:
            raise _Malformed("a body behind the answer to HEAD")
        self._head_bytes = 0
        self._pieces.append(piece)
        size = len(piece)
        self._pieces_bytes += size
        self._chunk_bytes += size
        if self._pieces_bytes > _HIGH_WATER_BYTES and self._is_reading:
            assert self._transport is not None
            self._is_reading = False
            self.deadline_s = None
            self._transport.pause_reading()

    def on_chunk_header(self) -> None:
        """Begin a chunk."""
        self._chunk_bytes = 0
        self._chunk_stage = _NEW_CHUNK

    def on_chunk_complete(self) -> None:
        """End a chunk."""
        self._chunk_stage = _NO_CHUNK

    def on_message_complete(self) -> None:
        """End the answer, or one that only says to wait."""
        if not self._has_head:
            self._interim_answers += 1
            if self._interim_answers > _INTERIM_ANSWERS:
                raise _Malformed("too many interim answers")
            self._raw_headers = []
            return
        self.is_whole = True

    def _note_part(self, data: bytes) -> None:
        """Mark the first part of a chunk whose rest did not come with this read.

        The parser does not tell its size: that stands in the line before its first byte, unless
        the line itself came in two reads.
        """
        if self._chunk_stage == _NEW_CHUNK:
            self._chunk_stage = _KNOWN_CHUNK
            self._chunk_size = self._size_before(data, len(data) - self._chunk_bytes)
        if self._chunk_bytes and self._chunk_stage == _KNOWN_CHUNK:
            self._chunk_stage = _BEGUN_CHUNK
            if self._chunk_bytes < self._chunk_size:
                part = self._pieces[-1] = Part(self._pieces[-1])
                part.left = self._chunk_size - self._chunk_bytes

    def _size_before(self, data: bytes, end: int) -> int:
        """Return the size of a chunk whose first byte is `data[end]`; 0 where it is not known."""
        begin = data.rfind(b"\n", 0, max(0, end - 1)) + 1
        if not data[begin:end].endswith(b"\r\n") or not (begin or self._last_byte == _LF):
            return 0
        try:
            return int(data[begin:end].partition(b";")[0], 16)
        except ValueError:
            # Nothing of a chunk, but of what follows the last one.
            return 0

    # What an exchange waits for.

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._is_reading = True
        if not self.is_whole:
            self.deadline_s = self._loop.time() + self._seconds

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        if self._error is None:
            self._error = error
        self.abort()
        self._wake()

    async def _send(self, pieces: AsyncIterator[bytes], is_chunked: bool) -> None:
        """Send an iterated body, no faster than the upstream takes it."""
        self.deadline_s = None
        async for piece in pieces:
            if self._transport is None or self._transport.is_closing():
                return
            if piece:
                framed = b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece
                self._transport.write(framed)
            if not self._is_writable:
                self.deadline_s = self._loop.time() + self._seconds
                self._drained = self._loop.create_future()
                await self._drained
                self.deadline_s = None
        if is_chunked and self._transport is not None:
            self._transport.write(b"0\r\n\r\n")
        if self._is_reading and not self.is_whole:
            self.deadline_s = self._loop.time() + self._seconds

    def _note_upload(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fail(BrokenOff(f"the body could not be sent: {type(fault).__name__}"))


class Pool(Protocol):
    """What a connection tells about its exchanges. Implemented by `client`."""

    def begin(self, connection: Connection) -> None:
        """Note that an exchange begins."""

    def end(self, connection: Connection, *, is_reusable: bool) -> None:
        """Note that an exchange has ended; may be told more than once."""


class _Malformed(Exception):
    """The upstream spoke no HTTP, in a way that the parser lets pass."""


def _told(error: Exception) -> str:
    """Return what the parser says, without what it read: that could be anything."""
    cause = error.__context__
    return str(cause) if isinstance(cause, _Malformed) else f"no HTTP: {type(error).__name__}"


def _is_framed(raw_headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the head says where the body ends; else the connection's end is its end."""
    for name, value in raw_headers:
        lower = name.lower()
        if lower == b"content-length":
            return True
        if lower == b"transfer-encoding":
            return value.lower().rpartition(b",")[2].strip() == b"chunked"
    return False


async def slices_of(body: bytes) -> AsyncIterator[bytes]:
    """Yield a large body in pieces, so that sending it lets others have their turn."""
    view = memoryview(body)
    for start in range(0, len(body), _SLICE_BYTES):
        yield bytes(view[start : start + _SLICE_BYTES])
