"""Hold WebSocket sessions on connections that `lane` has accepted: uvicorn's protocol for them.

Called by `lane`, which keeps everything else to itself.
"""

import asyncio

import uvicorn
from uvicorn.server import ServerState

from meter.gateway.app import Gateway
from meter.gateway.realtime import EVENT_LIMIT_BYTES


class Sessions:
    """The sessions of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        """Prepare for the first one."""
        self._state = ServerState()
        self._config = uvicorn.Config(
            gateway,
            ws="websockets-sansio",
            ws_max_size=EVENT_LIMIT_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
        )
        self._config.load()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Return what is under way."""
        return list(self._state.tasks)

    def hold(self, transport: asyncio.Transport, data: bytes) -> None:
        """Go on with a connection; `data` is all that has come on it, from the head on."""
        protocol = self._config.ws_protocol_class(  # type: ignore[call-arg, misc]
            config=self._config, server_state=self._state, app_state={}
        )
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def stop(self) -> None:
        """Ask every session to end."""
        for connection in list(self._state.connections):
            connection.shutdown()
