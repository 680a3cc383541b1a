"""Watch one answer go by: what it used, who gave it, whether it came to its end.

Bytes are decoded and framed on a copy; the client's own pass untouched, save where a usage chunk
that the meter asked for is taken out. A chunk that can carry neither usage, identity nor an end
is not parsed: its bytes are kept, bounded, and counted only if no usage comes. Knows no provider:
the endpoint says what a payload means. Made by `dialect.py`, driven by the pipeline.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from meter.core.call import Observation
from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.alike import Pattern, fits, learnt
from meter.providers.endpoint import Endpoint, Normalised
from meter.providers.foreign import JSONObject, decoded, envelope, mapping
from meter.providers.normalising import in_any_shape
from meter.providers.provider import Provider
from meter.providers.sightings import Sightings
from meter.wire import (
    Framer,
    JSONBodyFramer,
    SniffingFramer,
    SSEFilter,
    SSEFramer,
    decompressor_for,
    framer_for,
)

KEPT_BYTES: Final = 8 * 1024 * 1024
"""How much of an answer is kept unparsed; what is beyond goes to the sink at once."""

_PAYLOAD_OVERHEAD_BYTES: Final = 96
_IDENTITY_PAYLOADS: Final = 4
_DONE: Final = b"[DONE]"
_OTHER_FIELDS: Final = (b"event:", b"id:", b"retry:", b":")
_SHORTEST_TEXT_BYTES: Final = 16
_MOST_LESSONS: Final = 16

# Marks of a payload that must be parsed. None of them can occur inside a JSON string, where a
# quote is always escaped.
_TELLING: Final = re.compile(
    rb'"(?:'
    rb'(?:usage|usageMetadata|usage_info|x_groq)"\s*:\s*\{'
    rb'|(?:finish_reason|finishReason|stop_reason|blockReason)"\s*:\s*"'
    rb'|error"\s*:\s*[{"]'
    rb'|type"\s*:\s*"(?:message_stop|error|response\.(?:completed|incomplete|failed|cancelled))"'
    rb")"
)
_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')


class PassingObserver:
    """Watches an answer that nobody reads: free, unmetered, or an error's."""

    __slots__ = ("_expected_bytes", "_received_bytes", "_status", "ended", "hands_out_identity")

    def __init__(self) -> None:
        self.ended = False
        self.hands_out_identity = False
        self._status: int | None = None
        self._received_bytes = 0
        self._expected_bytes: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the body has come to its end."""
        return self.ended

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers."""
        self._status = status
        self._expected_bytes = expected_bytes(headers)
        self.ended = self._expected_bytes == 0

    def feed(self, data: bytes) -> bytes:
        """Count the bytes and return them."""
        self._received_bytes += len(data)
        self.ended = self._received_bytes == self._expected_bytes
        return data

    def finish(self) -> bytes:
        """End the body; nothing is held back."""
        self.ended = True
        return b""

    def result(self) -> Observation:
        """Return the status and how much came."""
        return Observation(
            status=self._status, received_bytes=self._received_bytes, finished=self.ended
        )


class Observer:
    """Watches one answer of a metered endpoint."""

    __slots__ = (
        "_before",
        "_billed",
        "_closed",
        "_count_always",
        "_decompressor",
        "_endpoint",
        "_events",
        "_expected_bytes",
        "_filter",
        "_finished_choices",
        "_framer",
        "_heard",
        "_kept",
        "_kept_bytes",
        "_learnt",
        "_lessons",
        "_output",
        "_pattern",
        "_payload_at",
        "_provider",
        "_reading",
        "_received_bytes",
        "_reported_late",
        "_seen",
        "_settled",
        "_sink",
        "_status",
        "_wanted_choices",
        "_whole",
        "ended",
        "finished",
        "hands_out_identity",
    )

    passes_quietly = True
    """Whether an event without a telling mark can only be text."""

    def __init__(
        self,
        endpoint: Endpoint,
        provider: Provider,
        reading: Reading,
        sink: OutputSink | None,
        *,
        count_always: bool,
    ) -> None:
        """Get ready for the answer to `reading`; output goes to `sink` where it is counted."""
        self.ended = False
        self.finished = False
        self.hands_out_identity = False
        self._endpoint = endpoint
        self._provider = provider
        self._reading = reading
        self._sink = None if sink is None else _Noticing(sink)
        self._count_always = count_always
        self._output = endpoint.output()
        self._seen = Sightings()
        self._status: int | None = None
        self._expected_bytes: int | None = None
        self._decompressor = decompressor_for(None)
        self._framer: Framer | None = None
        # The framer again, where most chunks are one event of text that is only to be kept.
        self._events: SSEFramer | None = None
        # What such events have in common, once two have shown it, with the place of the payload;
        # `_pattern` is None while an event is under way. `_before` is the last one that was read.
        self._pattern: Pattern | None = None
        self._learnt: Pattern | None = None
        self._payload_at = 0
        self._before = b""
        self._lessons = 0
        self._filter: SSEFilter | None = None
        self._received_bytes = 0
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        # Payloads so far; the first few are parsed for the model and the id.
        self._heard = 0
        self._wanted_choices = endpoint.choices(reading.request)
        self._finished_choices: set[int] = set()
        self._billed: dict[str, int] = {}
        # The end, or a report that is the last word, came; the last report came with or after
        # the end of all choices; a whole body parsed; the bytes ended well.
        self._settled = False
        self._reported_late = False
        self._whole = False
        self._closed = False

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers; an error's body is not read."""
        self._status = status
        self._expected_bytes = expected_bytes(headers)
        if status >= 400:
            return
        encoding = headers.get("content-encoding")
        kind = headers.get("content-type")
        self._decompressor = decompressor_for(encoding)
        self._framer = framer_for(kind, self._reading.streaming)
        events = (kind or "").partition(";")[0].strip().lower() == "text/event-stream"
        if self._reading.strip_usage and events and self._decompressor.failed is None:
            self._filter = SSEFilter(is_asked_usage)
            self.hands_out_identity = (encoding or "").strip().lower() not in ("", "identity")

    def feed(self, data: bytes) -> bytes:
        """Observe body bytes; return those to hand to the client."""
        if not data:
            return b""
        self._received_bytes += len(data)
        if self._pattern is not None and fits(data, self._pattern):
            self._keep(data[self._payload_at : -2])
            return data
        if self._events is not None and self._passes(data, self._events):
            return data
        self._pattern = None
        if self._framer is None:
            self.ended = self.finished = self._received_bytes == self._expected_bytes
            return data
        plain = self._decompressor.feed(data)
        for payload in self._framer.feed(plain):
            self._take(payload)
        if self._events is None:
            self._events = self._quiet_events(self._framer)
        if self._received_bytes == self._expected_bytes:
            self._close()
            self.ended = True
        if self._filter is None:
            return data
        return self._filter.feed(plain if self.hands_out_identity else data)

    def _quiet_events(self, framer: Framer) -> SSEFramer | None:
        """Return the framer of events that `_passes` may keep unread, None when all are read."""
        chosen = framer.chosen if isinstance(framer, SniffingFramer) else framer
        may_pass = self.passes_quietly and not self._count_always and self._decompressor.is_identity
        return chosen if may_pass and isinstance(chosen, SSEFramer) else None

    def _passes(self, data: bytes, events: SSEFramer) -> bool:
        """Keep a chunk that is one event of text, as most are; False for any other, untouched."""
        payload = events.only_event(data)
        if (
            payload is None
            or (self._seen.model is None and self._heard < _IDENTITY_PAYLOADS)
            or self._received_bytes == self._expected_bytes
            or len(payload) < _SHORTEST_TEXT_BYTES
            or _TELLING.search(payload)
            or not (self._filter is None or self._filter.is_between)
        ):
            return False
        self._heard += 1
        self._keep(payload)
        self._compare(data, len(data) - 2 - len(payload))
        return True

    def _compare(self, event: bytes, payload_at: int) -> None:
        """Learn from an event that passed what the next ones will look like."""
        before, self._before = self._before, event
        if before and self._lessons < _MOST_LESSONS and self._expected_bytes is None:
            self._lessons += 1
            pattern = learnt(before, event, payload_at)
            if pattern is not None:
                self._learnt, self._payload_at = pattern, payload_at
        self._pattern = self._learnt

    def finish(self) -> bytes:
        """End the body; return bytes that were still held back for the client."""
        if self._framer is not None:
            self._close()
        else:
            self.finished = True
        self.ended = True
        return b"" if self._filter is None else self._filter.feed(b"")

    def result(self) -> Observation:
        """Return what was seen so far. Counts what was kept unless the usage is known."""
        seen = self._seen
        normalised = self._normalised()
        final = self._is_final
        if normalised.usage is None or not final or seen.error is not None:
            self._deliver_kept()
        # An error before any output is not billed; after output, what came is.
        delivered = self._sink is not None and self._sink.noticed
        framer_dropped = self._framer is not None and self._framer.dropped > 0
        defects = [*seen.defects, *normalised.defects]
        if seen.error is not None:
            defects.append(f"the answer carries an error ({seen.error})")
        if framer_dropped:
            defects.append("a part of the answer was too long to be read")
        if self._decompressor.failed is not None:
            defects.append(f"the answer could not be decoded: {self._decompressor.failed}")
        return Observation(
            status=self._status,
            usage=normalised.usage if final else None,
            running=None if final else normalised.usage,
            model_served=seen.model,
            service_tier=seen.service_tier or self._reading.service_tier,
            traits=tuple(sorted(seen.traits.items())),
            received_bytes=self._received_bytes,
            finished=self.finished,
            error_in_body=seen.error is not None and not delivered,
            provider_cost_nanos=seen.cost_nanos,
            response_id=seen.response_id,
            created_s=seen.created_s,
            billing_ids=self._billing_ids,
            defects=tuple(defects),
        )

    @property
    def _billing_ids(self) -> tuple[str, ...]:
        """The id of a response made in the background: it can be fetched again, with its usage."""
        is_background = self._reading.request.get("background") is True
        return (self._seen.response_id,) if is_background and self._seen.response_id else ()

    @property
    def _is_final(self) -> bool:
        """Whether the usage reported so far is the last word, not a running total."""
        if self._whole or self._settled or self._reported_late:
            return True
        # Fewer choices may come than were asked for: an orderly end after one is an end.
        return self._closed and bool(self._finished_choices)

    @property
    def _all_choices_finished(self) -> bool:
        return len(self._finished_choices) >= self._wanted_choices

    def _normalised(self) -> Normalised:
        if not self._seen.usage:
            return Normalised(None)
        normalised = self._endpoint.normalise(self._seen.usage, self._provider)
        if normalised.usage is None and not normalised.defects:
            normalised = in_any_shape(self._seen.usage)
        if normalised.usage is None or not self._billed:
            return normalised
        usage = Usage(self._billed).merged(normalised.usage)
        return Normalised(usage, normalised.defects)

    def _close(self) -> None:
        """End the framing, once: the bytes have come to an orderly end."""
        if not self._closed and self._framer is not None:
            self._closed = True
            for payload in self._framer.feed(b""):
                self._take(payload)

    def _take(self, payload: bytes) -> None:
        """Take one payload: an event, a line, or a whole body."""
        if len(payload) < _SHORTEST_TEXT_BYTES and payload.strip() == _DONE:
            self._settled = self.ended = self.finished = True
            return
        self._heard += 1
        body = _is_body(self._framer)
        anonymous = self._seen.model is None and self._heard <= _IDENTITY_PAYLOADS
        if body or anonymous or self._count_always or _TELLING.search(payload):
            self._read(payload, body=body)
        else:
            self._keep(payload)

    def _read(self, payload: bytes, *, body: bool) -> None:
        if self._endpoint.only_usage:
            value, fault = envelope(payload)
        else:
            value, fault = decoded(payload, exact=b'"cost"' in payload)
        if fault is not None:
            # Lines of JSON under the type of one body, and events that no blank line parts, are
            # read as a stream's payloads.
            lines = _lines_of(payload)
            for line in lines:
                if line == _DONE:
                    self._settled = self.ended = self.finished = True
                else:
                    self._read(line, body=False)
            if not lines:
                self._seen.note(fault)
            return
        for each in value if isinstance(value, list) else [value]:
            fields = mapping(each)
            self._learn(fields, whole=body and isinstance(each, dict))
            if self._count_always and self._sink is not None:
                self._output.deliver(fields, self._sink)
        if not self._count_always:
            self._keep(payload)

    def _learn(self, fields: JSONObject, *, whole: bool) -> None:
        reported = self._seen.take(fields)
        progress = self._endpoint.progress(fields)
        self._finished_choices |= progress.finished
        if reported:
            self._reported_late = self._all_choices_finished
        for unit, number in progress.billed.items():
            self._billed[unit] = max(number, self._billed.get(unit, 0))
        self._settled = self._settled or progress.ends or (progress.settles and reported)
        self._whole = self._whole or (whole and not progress.runs_on)
        self.finished = self._whole or self._settled or self._all_choices_finished
        if progress.runs_on:
            self._seen.note("the response runs on in the background: its usage is not known yet")
        self.ended = self.ended or progress.ends

    def _keep(self, payload: bytes) -> None:
        """Keep a payload's bytes for a count, or count it now when that would be too many."""
        if self._sink is None or self._count_always or self._endpoint.only_usage:
            return
        size_bytes = len(payload) + _PAYLOAD_OVERHEAD_BYTES
        if self._kept_bytes + size_bytes > KEPT_BYTES:
            self._deliver_kept()
            if size_bytes > KEPT_BYTES:
                if not self._whole or self._normalised().usage is None:
                    self._deliver(payload)
                return
        self._kept.append(payload)
        self._kept_bytes += size_bytes

    def _deliver_kept(self) -> None:
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        for payload in kept:
            self._deliver(payload)

    def _deliver(self, payload: bytes) -> None:
        value, fault = decoded(payload)
        if fault is not None:
            self._seen.note(fault)
        elif self._sink is not None:
            for each in value if isinstance(value, list) else [value]:
                self._output.deliver(mapping(each), self._sink)


class _Noticing:
    """Passes output on and notices whether there was any."""

    __slots__ = ("_sink", "noticed")

    def __init__(self, sink: OutputSink) -> None:
        self._sink = sink
        self.noticed = False

    def text(self, choice: int, kind: str, piece: str) -> None:
        """Pass a piece of text on; an empty one only says that its kind occurs."""
        self.noticed = self.noticed or bool(piece)
        self._sink.text(choice, kind, piece)

    def tool_call(self, choice: int) -> None:
        """Pass the beginning of a tool call on."""
        self.noticed = True
        self._sink.tool_call(choice)


def is_asked_usage(payload: bytes) -> bool:
    """Whether this is the extra chunk that `include_usage` brings: usage, and no choice."""
    if not _USAGE.search(payload):
        return False
    value, _ = decoded(payload)
    fields: Mapping[str, Any] = mapping(value)
    return fields.get("choices") == [] and bool(mapping(fields.get("usage")))


def expected_bytes(headers: Mapping[str, str]) -> int | None:
    """Return the length of the body that the headers announce, None when they do not."""
    text = headers.get("content-length", "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _lines_of(payload: bytes) -> list[bytes]:
    """Return the lines of a text whose first line is a JSON object of its own, else nothing.

    The fields of server-sent events are taken for lines, where a server called them JSON.
    """
    lines = []
    for line in map(bytes.strip, payload.splitlines()):
        if line.startswith(b"data:"):
            lines.append(line[5:].strip())
        elif line and not line.startswith(_OTHER_FIELDS):
            lines.append(line)
    first = decoded(lines[0])[0] if lines and lines[0] != payload else None
    return lines if isinstance(first, dict) else []


def _is_body(framer: Framer | None) -> bool:
    chosen = framer.chosen if isinstance(framer, SniffingFramer) else framer
    return isinstance(chosen, JSONBodyFramer)
