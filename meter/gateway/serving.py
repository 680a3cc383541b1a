"""Run a gateway on a port until it is told to stop.

Called by `meter serve`. A stop lets streams end, bounded in time; what is left is settled.
"""

import gc
import signal
import socket
import ssl
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Final

import uvicorn

from meter.errors import ConfigError
from meter.gateway.app import Gateway
from meter.gateway.lane import Lane
from meter.gateway.protocol import BoundedProtocol
from meter.gateway.realtime import EVENT_LIMIT_BYTES

_COLLECTIONS: Final = (20_000, 20, 100)
_BACKLOG: Final = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there. Raises: ConfigError when the port cannot be taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}") from None


def address_of(listener: socket.socket, certificate: "Certificate | None" = None) -> str:
    """Return the address under which a listening socket is reached."""
    host, port, *_ = listener.getsockname()
    scheme = "http" if certificate is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the gateway proves itself with over TLS: PEM files of the chain and of its key."""

    chain: str
    key: str

    def context(self) -> ssl.SSLContext:
        """Return what a server speaks TLS with. Raises: OSError, ssl.SSLError."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # An empty password instead of a question at the terminal.
        made.load_cert_chain(self.chain, self.key, password="")
        return made


def certificate_of(chain: str | None, key: str | None) -> Certificate | None:
    """Return the certificate that two files hold together, None when neither is given.

    Raises: ConfigError when only one is given, or they cannot be read or do not match.
    """
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise ConfigError("found only one of --tls-cert and --tls-key, expected both")
    try:
        certificate = Certificate(chain, key)
        certificate.context()
    except ssl.SSLError as error:
        raise ConfigError(
            f"cannot use {chain} with {key} for TLS, expected a certificate and its key in PEM "
            f"without a password: {error.reason or 'they are no such files'}"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {chain} or {key}: {error.strerror}") from None
    return certificate


def serve(
    app: Gateway,
    listener: socket.socket,
    *,
    stop_seconds: int,
    certificate: Certificate | None = None,
) -> None:
    """Answer requests until SIGINT or SIGTERM; a second one does not wait for calls to end.

    SIGHUP reads the upstreams again.
    """
    lane = Lane(
        app, stop_seconds=stop_seconds, tls=None if certificate is None else certificate.context()
    )

    def stop(_number: int, _frame: FrameType | None) -> None:
        lane.is_forced = lane.should_exit
        lane.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda _number, _frame: app.reload())
    spare_collections()
    lane.run([listener])


def spare_collections() -> None:
    """Let the collector of reference cycles look less often, and not at what stays for ever.

    A call makes a few hundred short-lived objects and no cycles: to look at them every 700 objects
    was a twelfth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)


def server_config(app: Gateway, stop_seconds: int) -> uvicorn.Config:
    """Return the settings with which uvicorn serves a gateway as well."""
    return uvicorn.Config(
        app,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=BoundedProtocol,
        ws="websockets-sansio",
        ws_max_size=EVENT_LIMIT_BYTES,
        ws_per_message_deflate=False,
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=app.idle_seconds,
        timeout_graceful_shutdown=stop_seconds,
    )
