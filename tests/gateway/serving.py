"""Run a gateway on a free port, and upstreams that do exactly what a test says."""

import atexit
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn

from meter.gateway.app import Gateway
from meter.gateway.lane import Lane
from meter.gateway.serving import server_config
from meter.meter import Meter
from meter.store.migrating import upgrade
from meter.store.reads import CallRow

SECRETS = {
    "METER_UPSTREAM_OPENAI_KEY": "sk-upstream-openai",
    "METER_UPSTREAM_ANTHROPIC_KEY": "sk-upstream-anthropic",
    "METER_UPSTREAM_GOOGLE_KEY": "upstream-google",
}
WAIT_S = 10.0


@dataclass
class Served:
    """A gateway that runs, and the meter behind it."""

    url: str
    meter: Meter
    gateway: Gateway
    server: Lane | uvicorn.Server

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def key(self, subject: str = "alice", **more: Any) -> str:
        return self.meter.keys.create(subject, **more).secret

    def calls(self, number: int = 1, **filters: Any) -> list[CallRow]:
        """Return the settled calls, oldest first, as soon as there are that many."""
        until = time.monotonic() + WAIT_S
        while True:
            found = [
                call
                for call in self.meter.calls(newest_first=False, **filters)
                if call.state != "in_flight"
            ]
            if len(found) >= number:
                assert len(found) == number
                return found
            assert time.monotonic() < until, f"{len(found)} of {number} calls have ended"
            time.sleep(0.01)


@contextmanager
def served(
    folder: Path,
    upstreams: dict[str, str],
    tables: Any = None,
    *,
    over_asgi: bool = False,
    **settings: Any,
) -> Iterator[Served]:
    """Serve a gateway with a ledger of its own in the folder."""
    shutil.copy(_empty_ledger(), folder / "meter.db")
    url = f"sqlite:///{folder / 'meter.db'}"
    given = {
        "on_store_failure": "refuse",
        "durability": "process",
        "allow_stored_objects": False,
        "stop_seconds": 2,
        "spool_path": str(folder / "meter.spool"),
        **settings,
    }
    if tables is not None:
        given["upstreams"] = tables
    with (
        Meter(url, **given) as meter,
        running(meter.gateway(upstreams), meter, over_asgi=over_asgi) as gateway,
    ):
        yield gateway


@cache
def _empty_ledger() -> Path:
    """A migrated ledger to copy: migrating takes a while."""
    path = Path(tempfile.mkdtemp(prefix="meter-gateway-")) / "empty.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    upgrade(f"sqlite:///{path}")
    return path


@contextmanager
def running(app: Gateway, meter: Meter, *, over_asgi: bool = False) -> Iterator[Served]:
    """Run the gateway in a thread with the server that `meter serve` uses, or over ASGI."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server: Lane | uvicorn.Server
    if over_asgi:
        server = uvicorn.Server(server_config(app, meter.settings.stop_seconds))
    else:
        server = Lane(app, stop_seconds=meter.settings.stop_seconds)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + WAIT_S
    while not server.started:
        assert thread.is_alive() and time.monotonic() < until
        time.sleep(0.005)
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", meter, app, server)
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
        listener.close()
        assert not thread.is_alive()


@dataclass
class Received:
    """One request as an upstream got it."""

    line: str
    headers: dict[str, str]
    body: bytes


Answering = Callable[[Received, socket.socket], None]


@dataclass
class Upstream:
    """A server that answers every request by a function on the bare connection."""

    answer: Answering
    received: list[Received] = field(default_factory=list)
    port: int = 0
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when a client closed a connection before its answer was over."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while head := read_head(reader):
                body = read_body(reader, head[1])
                request = Received(head[0], head[1], body)
                self.received.append(request)
                try:
                    self.answer(request, connection)
                except OSError:
                    self.lost.set()
                    return


def read_head(reader: Any) -> tuple[str, dict[str, str]] | None:
    line = reader.readline().decode().strip()
    if not line:
        return None
    headers: dict[str, str] = {}
    while header := reader.readline().decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return line, headers


def read_body(reader: Any, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        return b"".join(read_chunks(reader))
    return bytes(reader.read(int(headers.get("content-length", 0))))


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes the connection."""
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def read_chunks(reader: Any) -> Iterator[bytes]:
    """Yield the chunks of a chunked body as they were cut."""
    while size := int(reader.readline().strip() or b"0", 16):
        yield bytes(reader.read(size))
        reader.readline()
    reader.readline()


@contextmanager
def upstream_that(answer: Answering) -> Iterator[Upstream]:
    """Serve an upstream on a free port, one thread for each connection."""
    upstream = Upstream(answer)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    upstream.port = listener.getsockname()[1]
    connections: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections.append(connection)
            threading.Thread(target=upstream.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield upstream
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def plainly(body: bytes, *, status: str = "200 OK", kind: str = "application/json") -> Answering:
    """Return an answer of known length."""

    def answer(_request: Received, connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return answer


def in_chunks(*chunks: bytes, kind: str = "text/event-stream", ends: bool = True) -> Answering:
    """Return a chunked answer, cut as given; `ends` False breaks the connection after it."""

    def answer(_request: Received, connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        for chunk in chunks:
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if ends:
            connection.sendall(b"0\r\n\r\n")
        else:
            connection.shutdown(socket.SHUT_RDWR)

    return answer
