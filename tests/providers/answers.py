"""What the tests of the providers share: a sink that remembers, streams, one way to answer."""

import json
from collections.abc import Iterable
from typing import Any

from meter.core.call import Observation
from meter.core.reading import Reading
from meter.providers.dialect import ProviderDialect

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
DONE = b"data: [DONE]\n\n"


class Recorder:
    """A sink that remembers what it was handed."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, str, str]] = []
        self.tool_calls: list[int] = []

    def text(self, choice: int, kind: str, piece: str) -> None:
        self.pieces.append((choice, kind, piece))

    def tool_call(self, choice: int) -> None:
        self.tool_calls.append(choice)

    def joined(self, kind: str, choice: int = 0) -> str:
        """Return all pieces of one kind in one choice as one text."""
        return "".join(piece for c, k, piece in self.pieces if (c, k) == (choice, kind))


def encoded(payload: Any) -> bytes:
    """Return the JSON text of a payload."""
    return json.dumps(payload).encode()


def event(payload: Any) -> bytes:
    """Return one server-sent event with a JSON payload."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def chunk(**members: Any) -> bytes:
    """Return one event of a chat stream."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o"}
    return event({**head, **members})


def delta(finish: str | None = None, index: int = 0, **members: Any) -> dict[str, Any]:
    """Return one choice of a chat stream's event."""
    return {"index": index, "delta": members, "finish_reason": finish}


def asking(dialect: ProviderDialect, path: str = "/v1/chat/completions", **fields: Any) -> Reading:
    """Return the reading of a POST with these fields."""
    body = json.dumps({"model": "gpt-4o", **fields}).encode()
    return dialect.read("POST", path, "application/json", body)


def observe(
    dialect: ProviderDialect,
    reading: Reading,
    pieces: Iterable[bytes],
    *,
    headers: dict[str, str] = SSE,
    status: int = 200,
    sink: Recorder | None = None,
    finish: bool = True,
    count_always: bool = False,
) -> tuple[Observation, bytes]:
    """Answer a call with these pieces; return what was observed and what the client got."""
    observer = dialect.observe(reading, sink, count_always=count_always)
    observer.start(status, headers)
    given = b"".join(observer.feed(piece) for piece in pieces)
    if finish:
        given += observer.finish()
    return observer.result(), given
