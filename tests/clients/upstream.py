"""A scripted server on a real socket, for tests that need each byte at a moment of their choice."""

import socket
import struct
import threading
from contextlib import suppress
from enum import Enum
from types import TracebackType

LIMIT_SECONDS = 5.0


class Way(Enum):
    """How a script takes leave: the connection breaks off, or is closed in order."""

    CUT = 1
    CLOSE = 2


CUT, CLOSE = Way.CUT, Way.CLOSE
Step = bytes | threading.Event | Way


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def json_answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    length = f"content-length: {len(body)}"
    return head("content-type: application/json", length, *headers, status=status) + body


SSE_HEAD = head("content-type: text/event-stream", "transfer-encoding: chunked")
LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def event(text: str) -> bytes:
    """One server-sent event in one HTTP chunk."""
    return chunk(f"data: {text}\n\n".encode())


class Upstream:
    """Answers each request with the next script: bytes to send, events to wait for, or a cut.

    The last script is used again for further requests. `requests` holds each request's bytes.
    """

    def __init__(self, *scripts: list[Step]) -> None:
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIMIT_SECONDS)
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self.requests: list[bytes] = []
        self.left = threading.Event()
        """Set when a client broke the connection off while a script ran."""
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> "Upstream":
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        # Wakes the thread that accepts.
        socket.create_connection(self._listener.getsockname()).close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT_SECONDS)
        self._listener.close()

    def _start(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(LIMIT_SECONDS)
        with connection:
            while not self._stopping:
                request = _read_request(connection)
                if not request:
                    return
                self.requests.append(request)
                script = self._scripts[min(len(self.requests), len(self._scripts)) - 1]
                if not self._play(connection, script):
                    return

    def _play(self, connection: socket.socket, script: list[Step]) -> bool:
        """Return whether the connection can be used again."""
        for step in script:
            if isinstance(step, Way):
                if step is Way.CUT:
                    reset = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                return False
            try:
                if isinstance(step, bytes):
                    connection.sendall(step)
                else:
                    step.wait(LIMIT_SECONDS)
            except OSError:
                self.left.set()
                return False
        return True


def _read_request(connection: socket.socket) -> bytes:
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            more = connection.recv(65536)
            if not more:
                return b""
            received += more
        top, _, body = received.partition(b"\r\n\r\n")
        length = 0
        for line in top.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if b"transfer-encoding: chunked" in top.lower():
            while not body.endswith(LAST_CHUNK):
                body += connection.recv(65536)
        while len(body) < length:
            body += connection.recv(1 << 20)
    except OSError:
        return b""
    return top + b"\r\n\r\n" + body
