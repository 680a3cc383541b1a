"""Run the simulated providers on a free port of 127.0.0.1, in a thread of this process.

For tests, the demo and benchmarks; `python -m meter.simulator` runs them as a process instead.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from types import TracebackType
from typing import Any

import uvicorn

from meter.simulator.app import RecordedRequest, SimulatorApp
from meter.simulator.settings import SimulatorSettings

_START_LIMIT_SECONDS = 5.0
_STOP_LIMIT_SECONDS = 5.0
# What uvicorn says when an answer is broken off on purpose, or is under way at the end.
_EXPECTED_NOTICES = ("ASGI callable returned without completing", "Cancel %s running task(s)")


class SimulatorStartError(RuntimeError):
    """Say that the server did not come up in time."""


class Simulator:
    """Serve the simulated providers while a `with` block runs.

    `with Simulator() as simulator:` gives `simulator.url` such as "http://127.0.0.1:40123".
    Raises: SimulatorStartError; OSError when the port is taken.
    """

    def __init__(self, settings: SimulatorSettings | None = None, *, port: int = 0) -> None:
        """Prepare a simulator; port 0 takes a free one."""
        self.app = SimulatorApp(settings or SimulatorSettings())
        self._wanted_port = port
        self._filter = _Unexpected()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Return the address without a path, "http://127.0.0.1:PORT"."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """Return the newest requests as they arrived, oldest first."""
        return list(self.app.requests)

    def books(self) -> dict[str, Any]:
        """Return the provider's own books; `Books.report` says what is in them."""
        return self.app.books.report()

    def wait_for_requests(self, number: int, limit_seconds: float = 5.0) -> dict[str, Any]:
        """Return the books as soon as they hold this many exchanges.

        A client that leaves does not see when the provider notices: wait for that here.
        Raises: TimeoutError.
        """
        until = time.monotonic() + limit_seconds
        while (books := self.books())["requests"] < number:
            if time.monotonic() > until:
                raise TimeoutError(f"{books['requests']} of {number} exchanges are in the books")
            time.sleep(0.005)
        return books

    def reset(self) -> None:
        """Empty the books, the recorded requests and everything remembered."""
        self.app.reset()

    def start(self) -> Simulator:
        """Open the port and answer until `stop`. Raises: SimulatorStartError, OSError."""
        listener = socket.create_server(("127.0.0.1", self._wanted_port), backlog=2048)
        self.port = listener.getsockname()[1]
        self._server = uvicorn.Server(server_config(self.app))
        logging.getLogger("uvicorn.error").addFilter(self._filter)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="simulator", daemon=True
        )
        self._thread.start()
        until = time.monotonic() + _START_LIMIT_SECONDS
        while not self._server.started:
            if time.monotonic() > until or not self._thread.is_alive():
                self.stop()
                raise SimulatorStartError(
                    f"the simulator did not start within {_START_LIMIT_SECONDS:g} seconds"
                )
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """Close the port and every connection; a second stop does nothing."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_STOP_LIMIT_SECONDS)
        logging.getLogger("uvicorn.error").removeFilter(self._filter)
        self._server = self._thread = None

    def __enter__(self) -> Simulator:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


def server_config(app: SimulatorApp) -> uvicorn.Config:
    """Return the settings with which uvicorn serves a simulator."""
    return uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        log_level=None,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )


class _Unexpected(logging.Filter):
    """Let through what uvicorn says, except about answers that are broken on purpose."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is worth a person's attention."""
        return not str(record.msg).startswith(_EXPECTED_NOTICES)
