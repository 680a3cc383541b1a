"""Talk with one client: read its body, write the answer, notice when it goes.

Knows nothing of models. Whatever a client does slowly is bounded in time. There are two: one over
ASGI, here, and one on the connection itself, in `direct`. Used by `relay` and `app`, one for each
request.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from email.utils import formatdate
from typing import Any, Final

from meter.core.ports import Answer
from meter.gateway.rejections import ClientLeft, Rejected

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]


LEAST_BYTES_A_SECOND: Final = 500
"""What a client has to send of a body, on the average."""


class Pace:
    """How long a client may still take for its body, at 500 bytes a second at the least.

    It may be behind by `seconds`, which pass only while the gateway waits for it; bytes bring it
    up again, never ahead.
    """

    __slots__ = ("_seconds", "left_s")

    def __init__(self, seconds: float) -> None:
        """Begin with all of the time."""
        self._seconds = seconds
        self.left_s = seconds

    def waited(self, seconds: float) -> None:
        """Note that the client was waited for."""
        self.left_s -= seconds

    def came(self, count: int) -> None:
        """Note that bytes came."""
        self.left_s = min(self.left_s + count / LEAST_BYTES_A_SECOND, self._seconds)

    def too_slow(self) -> Rejected:
        """Return the rejection of a body that does not come."""
        found = f"less than {LEAST_BYTES_A_SECOND} bytes of the body a second"
        return Rejected(
            408, "request_timeout", f"found {found} for {self._seconds} seconds", closes=True
        )


class Line(ABC):
    """The connection to one client while one request is answered.

    `is_gone`: the client has left. `has_begun`: its answer has. `fault`: why the body could not
    be read to its end, None as long as it could. `besides`: headers that every answer gets.
    """

    __slots__ = ("besides", "fault", "has_begun", "is_gone")

    def __init__(self) -> None:
        """Begin before anything was read."""
        self.is_gone = False
        self.has_begun = False
        self.fault: BaseException | None = None
        self.besides: RawHeaders = []

    @abstractmethod
    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises: Rejected (400, 408), ClientLeft."""

    @abstractmethod
    def watch(self, on_leaving: Callable[[], None]) -> None:
        """Tell when the client goes, once its body has been read."""

    @abstractmethod
    def stop_watching(self) -> None:
        """Tell nobody any more."""

    @abstractmethod
    async def start(self, status: int, headers: RawHeaders) -> None:
        """Begin the answer. Raises: ClientLeft."""

    @abstractmethod
    async def write(self, data: bytes, *, is_last: bool = False) -> None:
        """Send bytes of the body, waiting while the client takes none. Raises: ClientLeft."""

    @abstractmethod
    def put(self, data: bytes) -> bool:
        """Send bytes of the body where that needs no waiting; return whether it was done.

        They may stay here until `flush`, or the next `write`.
        """

    @abstractmethod
    def flush(self) -> None:
        """Let go out what was put and not sent, for what follows will take a while."""

    async def body(self, limit_bytes: int) -> bytes:
        """Return the whole body. Raises: Rejected (400, 408, 413), ClientLeft."""
        pieces, size = [], 0
        async for piece in self.pieces():
            size += len(piece)
            if size > limit_bytes:
                raise too_large(limit_bytes)
            pieces.append(piece)
        return b"".join(pieces)

    async def beginning(self, limit_bytes: int) -> bytes:
        """Return the body's first bytes: all of it, or what came until the limit was passed."""
        pieces, size = [], 0
        async for piece in self.pieces():
            pieces.append(piece)
            size += len(piece)
            if size >= limit_bytes:
                break
        return b"".join(pieces)

    async def rest_after(self, begun: bytes) -> AsyncIterator[bytes]:
        """Yield a body that has begun to be read, to its end."""
        if begun:
            yield begun
        try:
            async for piece in self.pieces():
                yield piece
        except (ClientLeft, Rejected) as fault:
            self.fault = fault
            raise

    async def answer(self, answer: Answer, more: Iterable[tuple[str, str]] = ()) -> None:
        """Send a whole answer of our own. Raises: ClientLeft."""
        headers = [*answer.headers.items(), ("date", formatdate(usegmt=True)), *more]
        await self.start(answer.status, [(n.encode(), v.encode()) for n, v in headers])
        await self.write(answer.body, is_last=True)


class AsgiLine(Line):
    """A client behind an ASGI server."""

    __slots__ = ("_is_read", "_pace", "_receive", "_seconds", "_send", "_watcher")

    def __init__(self, receive: Receive, send: Send, seconds: float) -> None:
        """Wait at most `seconds` for each thing the client is to send or to take."""
        super().__init__()
        self._receive = receive
        self._send = send
        self._seconds = seconds
        self._pace = Pace(seconds)
        self._is_read = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises: Rejected (408), ClientLeft."""
        pace = self._pace
        while not self._is_read.is_set():
            begun_s = time.monotonic()
            try:
                async with asyncio.timeout(pace.left_s):
                    message = await self._receive()
            except TimeoutError:
                raise pace.too_slow() from None
            pace.waited(time.monotonic() - begun_s)
            pace.came(len(message.get("body", b"")))
            if message["type"] == "http.disconnect":
                self.is_gone = True
                raise ClientLeft
            if not message.get("more_body", False):
                self._is_read.set()
            if message.get("body"):
                yield message["body"]

    def watch(self, on_leaving: Callable[[], None]) -> None:
        """Tell when the client goes, once its body has been read."""
        self._watcher = asyncio.create_task(self._watch(on_leaving))

    def stop_watching(self) -> None:
        """Tell nobody any more."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self, on_leaving: Callable[[], None]) -> None:
        await self._is_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        on_leaving()

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Send the status and the headers. Raises: ClientLeft."""
        self.has_begun = True
        headers = [*headers, *self.besides]
        await self._bounded({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, is_last: bool = False) -> None:
        """Send bytes of the body, waiting while the client takes none. Raises: ClientLeft."""
        await self._bounded({"type": "http.response.body", "body": data, "more_body": not is_last})

    def put(self, data: bytes) -> bool:
        """Say that it needs waiting, as everything does over ASGI."""
        return False

    def flush(self) -> None:
        """Do nothing: an ASGI server sends at once."""

    async def _bounded(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError:
            self.is_gone = True
            raise ClientLeft from None


def too_large(limit_bytes: int) -> Rejected:
    """Return the rejection of a body above the limit."""
    return Rejected(
        413, "request_too_large", f"found a body of more than {limit_bytes} bytes", closes=True
    )
