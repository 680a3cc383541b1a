"""Run a gateway on connections of its own: the server of `meter serve`.

The ASGI application stays the way into other servers; this is the shorter way to the same code.
A stop closes idle connections, lets calls under way end, bounded in time, and then ends them.
Called by `serving`.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from meter.gateway.app import Gateway
from meter.gateway.direct import Connection
from meter.gateway.line import Line
from meter.gateway.logs import flush_logs

if TYPE_CHECKING:
    from meter.gateway.sessions import Sessions

logger = logging.getLogger("meter.gateway")

_BACKLOG: Final = 2048
_LOOK_SECONDS: Final = 0.25
_POLL_SECONDS: Final = 0.1
_HANDSHAKE_SECONDS: Final = 30.0
_ENDING_SECONDS: Final = 10.0


class Lane:
    """Serves one gateway until `should_exit` is set; `is_forced` ends it without waiting."""

    def __init__(
        self, gateway: Gateway, *, stop_seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        """Take the gateway; `stop_seconds` is how long calls may go on after a stop."""
        self.started = False
        self.should_exit = False
        self.is_forced = False
        self.is_stopping = False
        self.client_seconds: float = gateway.client_seconds
        self.head_seconds: float = gateway.head_seconds
        self.idle_seconds: float = gateway.idle_seconds
        self._gateway = gateway
        self._stop_seconds = stop_seconds
        self._tls = tls
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: Sessions | None = None

    def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on listening sockets, in an event loop of its own."""
        try:
            import uvloop

            loops: Any = uvloop.new_event_loop
        except ImportError:
            loops = None
        with asyncio.Runner(loop_factory=loops) as runner:
            runner.run(self._serve(sockets))

    def answer(self, scope: dict[str, Any], line: Line) -> Any:
        """Answer one request."""
        return self._gateway.visit(scope, line)

    def spawn(self, answering: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run the answering of a request, which may outlive its connection."""
        task = asyncio.create_task(answering)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def hold_session(self, transport: asyncio.Transport, data: bytes) -> None:
        """Go on with a connection as a WebSocket, over ASGI."""
        if self._sessions is None:
            # Its libraries are loaded when the first session begins.
            from meter.gateway.sessions import Sessions

            self._sessions = Sessions(self._gateway)
        self._sessions.hold(transport, data)

    def add(self, connection: Connection) -> None:
        """Note a connection."""
        self._connections.add(connection)

    def discard(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    async def _serve(self, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        self._gateway.begin()
        handshake_seconds = _HANDSHAKE_SECONDS if self._tls is not None else None
        servers = [
            await loop.create_server(
                lambda: Connection(self),
                sock=each,
                backlog=_BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_seconds,
            )
            for each in sockets
        ]
        looking = asyncio.create_task(self._look())
        self.started = True
        try:
            while not self.should_exit:
                await asyncio.sleep(_POLL_SECONDS)
            self.is_stopping = True
            for server in servers:
                server.close()
            await self._let_end()
        finally:
            looking.cancel()
            await self._gateway.end()
            flush_logs()

    async def _let_end(self) -> None:
        """Wait for what is under way, and end what takes too long."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._stop_seconds
        for connection in [*self._connections]:
            connection.stop()
        if self._sessions is not None:
            self._sessions.stop()
        while self._is_busy() and loop.time() < until_s and not self.is_forced:
            await asyncio.sleep(_POLL_SECONDS)
        tasks = [*self._tasks]
        tasks += self._sessions.tasks if self._sessions is not None else []
        if tasks:
            logger.error("%d calls had not ended when the gateway stopped", len(tasks))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_ENDING_SECONDS)
        for connection in [*self._connections]:
            connection.abort()
        # The transports tell that they are closed in the loop's next turn.
        await asyncio.sleep(0)

    def _is_busy(self) -> bool:
        in_sessions = self._sessions is not None and self._sessions.tasks
        return bool(self._connections or self._tasks or in_sessions)

    async def _look(self) -> None:
        """Give up what takes too long and let the log out, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            flush_logs()
            now_s = loop.time()
            for connection in [*self._connections]:
                connection.look(now_s)
