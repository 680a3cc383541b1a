"""Bound what a client may do on its connection: size and time of a head, time to take an answer.

uvicorn bounds neither. Source: uvicorn 0.54, `protocols/http/httptools_impl.py`.
"""

import asyncio
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 65_536
_USUAL_SECONDS: Final = 30.0

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """An HTTP/1.1 connection whose client is bounded, as the application says."""

    def __init__(self, config: uvicorn.Config, *arguments: Any, **named: Any) -> None:
        """Begin before the first head."""
        super().__init__(config, *arguments, **named)
        # Its lines would show a key that comes as ?key=, and whether they are written hangs on a
        # logger that everybody in the process shares.
        self.access_log = False
        self._client_seconds: float = getattr(config.app, "client_seconds", _USUAL_SECONDS)
        self.head_seconds: float = getattr(config.app, "head_seconds", _USUAL_SECONDS)
        self._write_timer: asyncio.TimerHandle | None = None
        self._is_in_head = True
        self._passed_an_end = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first head its time."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._end_head()
        self._end_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that grows beyond its bound ends the connection."""
        if self._is_in_head and self._head_timer is None:
            self._begin_head()
        self._passed_an_end = False
        super().data_received(data)
        if not self._is_in_head or self._passed_an_end:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """End the head's time."""
        self._is_in_head = False
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next head, for as long as the connection may be idle."""
        super().on_message_complete()
        self._is_in_head = self._passed_an_end = True
        self._head_bytes = 0

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the WebSocket's own protocol, which has bounds of its own."""
        self._end_head()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Give a client that takes nothing its time; what is buffered for it is then dropped."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._client_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client takes bytes again."""
        super().resume_writing()
        self._end_writing()

    def _end_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _begin_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
