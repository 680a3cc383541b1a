"""Relay bytes on the gateway's own server and client and do nothing else: what metering adds to.

    python benchmarks/bare_relay.py --upstream 127.0.0.1:9000

It prints its port and serves until it is ended. It knows no keys, no calls and no ledger.
"""

import argparse
import socket
from typing import Any

from meter.gateway import lane
from meter.gateway.http.client import Client
from meter.gateway.http.origin import origin_of
from meter.gateway.line import Line

_LIMIT_BYTES = 67_108_864
_NOT_SENT = frozenset({b"host", b"content-length", b"authorization", b"connection"})
_NOT_HANDED_ON = frozenset({b"connection", b"transfer-encoding", b"keep-alive"})


class Relay:
    """What the server asks of a gateway."""

    client_seconds = head_seconds = idle_seconds = 60.0

    def __init__(self, upstream: str) -> None:
        """Send everything to one upstream."""
        self._origin = origin_of(f"http://{upstream}")
        self._client = Client()

    def begin(self) -> None:
        """Begin nothing."""

    async def end(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def visit(self, scope: dict[str, Any], line: Line) -> None:
        """Relay one request."""
        body = await line.body(_LIMIT_BYTES)
        sent = [
            (name.decode(), value.decode())
            for name, value in scope["headers"]
            if name not in _NOT_SENT
        ]
        response = await self._client.send(
            scope["method"], self._origin, scope["path"], sent, body or None, seconds=60
        )
        try:
            kept = [
                (name.lower(), value)
                for name, value in response.raw_headers
                if name.lower() not in _NOT_HANDED_ON
            ]
            await line.start(response.status, kept)
            while True:
                if taken := response.taken():
                    for piece in taken:
                        if not line.put(piece):
                            await line.write(piece)
                elif response.is_whole:
                    break
                else:
                    line.flush()
                    await response.more()
            await line.write(b"", is_last=True)
        finally:
            response.close()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--upstream", required=True, help="host and port")
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        relay: Any = Relay(given.upstream)
        lane.Lane(relay, stop_seconds=1).run([listener])


if __name__ == "__main__":
    main()
