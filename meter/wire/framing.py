"""Choose how the payloads of an answer are found in its bytes.

Does not know providers or what a payload means. Called by the observers of answers in
`meter/providers/`, as `framer.feed(decompressor.feed(chunk))`.
"""

from typing import Final, Protocol

from meter.wire.aws_eventstream import AWSEventStreamFramer, begins_event_stream
from meter.wire.json_array import JSONArrayFramer
from meter.wire.json_body import JSONBodyFramer
from meter.wire.ndjson import NDJSONFramer
from meter.wire.pieces import BOM, LIMIT_BYTES, NOT_YET
from meter.wire.sse import SSEFramer

_NDJSON_TYPES: Final = (
    "application/jsonl",
    "application/ndjson",
    "application/stream+json",
    "application/x-ndjson",
)
# What carries no type that says anything; seen with JSON errors and with streams.
_UNTOLD_TYPES: Final = ("", "application/octet-stream", "binary/octet-stream")
# Streams are not looked for in these: there is no usage in sound, pictures and archives.
_OPAQUE_TYPES: Final = ("audio/", "image/", "video/", "font/", "application/zip", "application/pdf")
_FIELDS: Final = (b"data", b"event", b"id", b"retry", b":")
_SNIFFED_BYTES: Final = 4096
_DECISIVE_BYTES: Final = 6
_PRELUDE_BYTES: Final = 12


class Framer(Protocol):
    """Finds the payloads in an answer's bytes, whatever the cuts of the chunks they come in.

    Never raises on foreign bytes; holds at most `limit_bytes` of a payload and one chunk.
    """

    @property
    def dropped(self) -> int:
        """Payloads that were skipped, for being over the limit or not to be read."""

    @property
    def limit_bytes(self) -> int:
        """The longest payload that is kept, in bytes."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that these bytes complete.

        b"" ends the answer, once, and returns what is complete enough: an event or a line that
        nothing terminated. `NOT_YET` does not end it.
        """


class ByteCounter:
    """Yield nothing and keep only the count of the bytes."""

    __slots__ = ("bytes_seen", "dropped", "limit_bytes")

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.bytes_seen = 0
        self.dropped = 0
        self.limit_bytes = limit_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Count these bytes; return nothing, also at the end."""
        self.bytes_seen += len(data)
        return []


class SniffingFramer:
    """Choose the framer by the first bytes, then leave all to it.

    `default` is taken when they say nothing. Without `streaming` only a JSON body is looked for,
    and without `arrays` only one that is an object: a text may well begin with "[".
    """

    __slots__ = ("_arrays", "_chosen", "_default", "_head", "_streaming", "limit_bytes")

    def __init__(self, default: Framer, *, streaming: bool, arrays: bool = True) -> None:
        self.limit_bytes = default.limit_bytes
        self._arrays = arrays
        self._default = default
        self._streaming = streaming
        self._head = b""
        self._chosen: Framer | None = None

    @property
    def dropped(self) -> int:
        """Payloads that the chosen framer skipped."""
        return self._chosen.dropped if self._chosen is not None else 0

    @property
    def chosen(self) -> Framer | None:
        """The framer that was chosen, None while the first bytes leave it open."""
        return self._chosen

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that these bytes complete; b"" ends the answer."""
        if self._chosen is not None:
            return self._chosen.feed(data)
        if data is NOT_YET:
            return []
        self._head += data
        self._chosen = self._choose(self._head.lstrip(), ended=not data)
        if self._chosen is None:
            return []
        head, self._head = self._head, b""
        payloads = self._chosen.feed(head) if head else []
        return payloads if data else payloads + self._chosen.feed(b"")

    def _choose(self, text: bytes, *, ended: bool) -> Framer | None:
        """Return the framer for these first bytes, None when more could tell."""
        if len(self._head) > _SNIFFED_BYTES:
            ended = True
        if self._streaming and self._head.startswith(b"\0"):
            if len(self._head) < _PRELUDE_BYTES and not ended:
                return None
            if begins_event_stream(self._head):
                return AWSEventStreamFramer(self.limit_bytes)
        if BOM.startswith(text):
            return self._default if ended else None
        text = text.removeprefix(BOM).lstrip()
        first = text[:1]
        if first == b"[" and self._arrays:
            is_array = self._streaming
            return (JSONArrayFramer if is_array else JSONBodyFramer)(self.limit_bytes)
        if first == b"{":
            return self._choose_for_object(text, ended=ended)
        if not self._streaming:
            return self._default
        if len(text) < _DECISIVE_BYTES and first != b":" and not ended:
            return None
        return SSEFramer(self.limit_bytes) if text.startswith(_FIELDS) else self._default

    def _choose_for_object(self, text: bytes, *, ended: bool) -> Framer | None:
        if not self._streaming or isinstance(self._default, JSONBodyFramer | SSEFramer):
            return JSONBodyFramer(self.limit_bytes)
        if len(text) < 2 and not ended:
            return None
        # A line break right behind the brace is a body laid out for people, such as an error.
        laid_out = text[1:2] in (b"\r", b"\n")
        return (JSONBodyFramer if laid_out else NDJSONFramer)(self.limit_bytes)


def framer_for(content_type: str | None, streaming: bool, limit_bytes: int = LIMIT_BYTES) -> Framer:
    """Return the framer for an answer of this content type; None or "" when it has none.

    `streaming`: the call asked for a stream. A stream whose type says nothing, or says JSON,
    is told by its first bytes; so is a body without any type, or with that of a text.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        # Some servers answer one JSON body, an error above all, under the type of the stream.
        return SniffingFramer(SSEFramer(limit_bytes), streaming=True)
    if kind in _NDJSON_TYPES:
        return NDJSONFramer(limit_bytes)
    if kind == "application/vnd.amazon.eventstream":
        return AWSEventStreamFramer(limit_bytes)
    if kind == "application/json" or kind.endswith("+json"):
        body = JSONBodyFramer(limit_bytes)
        return SniffingFramer(body, streaming=True) if streaming else body
    counter = ByteCounter(limit_bytes)
    if kind.startswith(_OPAQUE_TYPES):
        return counter
    untold = streaming or kind in _UNTOLD_TYPES
    return SniffingFramer(counter, streaming=streaming, arrays=untold)
