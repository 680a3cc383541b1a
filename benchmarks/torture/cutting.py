"""Stand between a store and PostgreSQL: cut the line when a commit's answer is due, or be silent.

The server has committed, and its client never hears of it: the client cannot know whether its
transaction was made. A silent line carries nothing either way, and nobody is told. Used by `twice`
and `faults`.
"""

import contextlib
import random
import socket
import threading
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

_COMMIT = b"COMMIT"


class Cutting:
    """A relay on TCP to a PostgreSQL server on a Unix socket."""

    def __init__(self, url: str, *, share: float = 0.0, seed: int = 1) -> None:
        """Stand before the ledger at `url`; `share` of the commits lose their answers."""
        parts = urlsplit(url)
        folder = unquote(parse_qs(parts.query)["host"][0])
        self._server = str(Path(folder) / ".s.PGSQL.5432")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        host = f"postgres@127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = urlunsplit((parts.scheme, host, parts.path, "sslmode=disable", ""))
        self.share = share
        self.speaks = threading.Event()
        self.speaks.set()
        self.cuts = 0
        self._random = random.Random(seed)
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Cutting":
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._listener.close()
        self.speaks.set()
        self.cut_all()

    def cut_all(self) -> None:
        """Cut every connection."""
        for each in list(self._open):
            _end(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._server)
            except OSError:
                client.close()
                server.close()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open |= {client, server}
            loses = threading.Event()
            for source, target, watches in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pass, args=(source, target, loses, watches), daemon=True
                ).start()

    def _pass(
        self, source: socket.socket, target: socket.socket, loses: threading.Event, watches: bool
    ) -> None:
        try:
            while data := source.recv(65_536):
                if watches and _COMMIT in data and self._random.random() < self.share:
                    loses.set()
                elif not watches and loses.is_set():
                    self.cuts += 1
                    break  # the server has answered, so it has committed
                self.speaks.wait()
                target.sendall(data)
        except OSError:
            pass  # the other direction has been cut
        finally:
            for each in (source, target):
                _end(each)
                self._open.discard(each)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have ended already
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
