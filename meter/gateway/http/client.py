"""Send requests to upstreams over HTTP/1.1, on connections that are kept and used again.

Each upstream has connections of its own, the last used first; one that was idle for too long, or
on which anything has come meanwhile, is closed rather than used. A request is sent once: only
where not a byte of it can have reached anybody is another connection tried. Certificates are
verified. No proxies, redirects, cookies or decompression. Used by `relay` and the gateway's own
questions.
"""

import asyncio
import select
import ssl
from collections.abc import Iterable
from typing import Final

from meter.gateway.http.connection import Body, Connection, Pool, Response
from meter.gateway.http.dialing import dial
from meter.gateway.http.errors import BrokenOff, ConnectTimeout, NotSent
from meter.gateway.http.origin import Origin

CONNECT_SECONDS: Final = 10.0

_IDLE_SECONDS: Final = 30.0
_MOST_IDLE: Final = 1024
_LOOK_SECONDS: Final = 0.25
_UNPROVEN_SECONDS: Final = 0.5
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})

Header = tuple[str, str]


def request_head(method: str, target: str, origin: Origin, headers: Iterable[Header]) -> bytes:
    """Return a request's head. Raises: ValueError for what would begin another line."""
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {origin.authority}"]
    lines += [f"{name}: {value}" for name, value in headers]
    head = "\r\n".join(lines)
    # Each line has its end here and nowhere else.
    if head.count("\n") != len(lines) or head.count("\r") != len(lines) or "\0" in head:
        raise ValueError("found a line's end within a header")
    return head.encode("utf-8", "surrogateescape") + b"\r\n\r\n"


class Client(Pool):
    """Connections to all upstreams, on one event loop."""

    def __init__(
        self,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        idle_seconds: float = _IDLE_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Begin with none. `tls` replaces the usual trust."""
        self.connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._tls = tls
        self._idle: dict[Origin, list[Connection]] = {}
        self._origins: dict[Connection, Origin] = {}
        self._active: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def active(self) -> int:
        """How many exchanges are under way."""
        return len(self._active)

    async def send(
        self,
        method: str,
        origin: Origin,
        target: str,
        headers: list[Header],
        body: Body = None,
        *,
        seconds: float,
    ) -> Response:
        """Send a request and return its answer, whose body is still to come.

        `body` is iterated where it is no bytes; its length is the content-length among the
        headers, and where there is none it goes as chunks. `seconds` bounds each time in which
        the upstream sends nothing. Whoever gets an answer closes it. Being cancelled closes the
        connection. Raises: UpstreamError.
        """
        is_chunked = False
        if body is not None:
            has_length = any(name == "content-length" for name, _ in headers)
            if not has_length and isinstance(body, bytes):
                headers = [*headers, ("content-length", str(len(body)))]
            elif not has_length:
                is_chunked = True
                headers = [*headers, ("transfer-encoding", "chunked")]
        try:
            head = request_head(method, target, origin, headers)
        except ValueError as error:
            raise NotSent(str(error)) from None
        while True:
            connection = self._kept(origin)
            is_reused = connection is not None
            if connection is None:
                connection = await self._connected(origin)
            try:
                return await connection.exchange(
                    head, body, is_head=method == "HEAD", is_chunked=is_chunked, seconds=seconds
                )
            except BrokenOff:
                # A connection that was kept may end just as it is used. Where the answer would be
                # the same the second time, and nothing of the body is used up, it is asked again.
                is_safe = method in _IDEMPOTENT and (body is None or isinstance(body, bytes))
                if connection.answered or not is_reused or not is_safe:
                    raise

    async def fetch(
        self, origin: Origin, target: str, headers: list[Header], *, seconds: float, most_bytes: int
    ) -> tuple[int, bytes]:
        """Return the status and the body of a whole answer to GET, within so many seconds.

        Raises: UpstreamError, also for a body of more than `most_bytes`; TimeoutError.
        """
        async with asyncio.timeout(seconds):
            response = await self.send("GET", origin, target, headers, seconds=seconds)
            try:
                body = bytearray()
                async for piece in response.pieces():
                    body += piece
                    if len(body) > most_bytes:
                        raise BrokenOff(f"an answer of more than {most_bytes} bytes")
                return response.status, bytes(body)
            finally:
                response.close()

    async def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in [*self._active, *(c for kept in self._idle.values() for c in kept)]:
            connection.abort()
        self._idle.clear()
        # The transports tell that they are closed in the loop's next turn.
        await asyncio.sleep(0)

    def begin(self, connection: Connection) -> None:
        """Note that an exchange begins."""
        self._active.add(connection)
        self._look_later()

    def end(self, connection: Connection, *, is_reusable: bool) -> None:
        """Keep a connection for the next request, or forget it."""
        was_active = connection in self._active
        self._active.discard(connection)
        if not is_reusable or self._is_closed:
            origin = self._origins.pop(connection, None)
            if not was_active and origin is not None and connection in self._idle.get(origin, ()):
                self._idle[origin].remove(connection)
            return
        kept = self._idle.setdefault(self._origins[connection], [])
        connection.idle_since_s = asyncio.get_running_loop().time()
        kept.append(connection)
        if len(kept) > _MOST_IDLE:
            kept[0].abort()

    def _kept(self, origin: Origin) -> Connection | None:
        """Return a connection that can be used again, None when there is none."""
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            now_s = asyncio.get_running_loop().time()
            idle_s = now_s - connection.idle_since_s
            if (
                connection.is_usable
                and idle_s < self._idle_seconds
                and (idle_s < _UNPROVEN_SECONDS or not _is_readable(connection))
            ):
                return connection
            connection.abort()
        return None

    async def _connected(self, origin: Origin) -> Connection:
        """Return a new connection. Raises: NotSent."""
        if origin.is_secure and self._tls is None:
            self._tls = _trusting()
        tls = self._tls if origin.is_secure else None
        try:
            async with asyncio.timeout(self.connect_seconds):
                connection = await dial(lambda: Connection(self), origin, tls)
        except TimeoutError:
            raise ConnectTimeout("the connection was not taken in time") from None
        except ssl.SSLError as error:
            raise NotSent(f"no TLS: {error.reason or type(error).__name__}") from None
        except (OSError, UnicodeError) as error:
            raise NotSent(f"no connection: {error}") from None
        self._origins[connection] = origin
        return connection

    def _look_later(self) -> None:
        if self._timer is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Give up exchanges whose time has run out, and close what was idle for too long."""
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        late = [c for c in self._active if c.deadline_s is not None and c.deadline_s <= now_s]
        for connection in late:
            connection.give_up()
        for kept in [*self._idle.values()]:
            # The longest idle stand first.
            while kept and now_s - kept[0].idle_since_s >= self._idle_seconds:
                kept.pop(0).abort()
        if self._active or any(self._idle.values()):
            self._look_later()


def _is_readable(connection: Connection) -> bool:
    """Whether anything has come on an idle connection: its end, or what nobody asked for."""
    number = connection.fileno()
    if not hasattr(select, "poll"):
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
