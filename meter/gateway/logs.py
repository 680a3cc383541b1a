"""Write every log record as one line of JSON to standard error, a quarter of a second at once.

A line for each call costs more to write than to make: lines wait for each other, but none for one
that warns, and none at the end. Called by `serving`; `lane` flushes.
"""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from meter.providers.foreign import encoded

_MOST_LINES: Final = 512
# What uvicorn says when an answer is broken off on purpose (`relay` has told why), and its line for
# each WebSocket, which would show a key that comes as ?key=.
_EXPECTED: Final = (
    "ASGI callable returned without completing",
    "Unsupported upgrade request",
    '%s - "WebSocket ',
)


def log_as_json() -> None:
    """Do so from now on, in this whole process."""
    # A line says what happened, not where in the code: to look for that would cost more than
    # all the rest of writing it. Source: docs.python.org/3/howto/logging.html#optimization
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = Lines(sys.stderr)
    handler.setFormatter(Json())
    handler.addFilter(_is_news)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("meter").setLevel(logging.INFO)


def flush_logs() -> None:
    """Let out what waits."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class Lines(logging.StreamHandler[TextIO]):
    """Keeps lines until one warns, there are many, or `flush` is called."""

    def __init__(self, stream: TextIO) -> None:
        """Write to that stream."""
        super().__init__(stream)
        self._kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's line."""
        try:
            self._kept.append(self.format(record))
        except Exception:
            self.handleError(record)
        if record.levelno >= logging.WARNING or len(self._kept) >= _MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the lines that were kept; a stream that is gone takes none, as logging has it."""
        self.acquire()
        try:
            kept, self._kept = self._kept, []
            if kept:
                self.stream.write("\n".join([*kept, ""]))
            super().flush()
        finally:
            self.release()


class Json(logging.Formatter):
    """One line of JSON for a record, with the fields that `told` adds."""

    def __init__(self) -> None:
        """Begin before the first second."""
        super().__init__()
        self._second = -1
        self._second_text = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        second, millis = divmod(int(record.created * 1000), 1000)
        if second != self._second:
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second
        told: Mapping[str, object] = getattr(record, "told", {})
        line = {
            "time": f"{self._second_text}.{millis:03}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **told,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return encoded(line).decode()


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_EXPECTED)
