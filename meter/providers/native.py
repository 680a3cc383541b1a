"""Watch answers of APIs that have words of their own for usage, ends and errors.

The usual observer knows where OpenAI, Anthropic, Google and their relatives put these. An
endpoint that is `Native` says the same of its own payloads in those words, and is otherwise
watched in the same way. Knows no provider. Made by `dialect.py`, driven by the pipeline.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from meter.core.ports import AnswerObserver, OutputSink
from meter.core.reading import Reading
from meter.core.usage import MAX_QUANTITY, Usage
from meter.providers.endpoint import Normalised, Output, Progress, Request
from meter.providers.foreign import JSONObject, encoded, text, whole
from meter.providers.observing import Observer
from meter.providers.openai.embeddings import NoOutput
from meter.providers.provider import Provider, Shape
from meter.wire import JSONBodyFramer, SniffingFramer

NEVER: Final = re.compile(rb"(?!)")
"""Matches no payload."""


class Native(ABC):
    """An endpoint with words of its own. What is not overridden fits one JSON body.

    `telling` matches payloads of a stream that must be parsed while it runs; all others wait
    until their text has to be counted.
    """

    name: str
    shape: Shape = "openai"
    only_usage: bool = False
    telling: re.Pattern[bytes] = NEVER

    @abstractmethod
    def claims(self, path: str) -> str | None:
        """Return the model that the path names ("" for none); None: another endpoint's path."""

    @abstractmethod
    def read(self, request: Request) -> Reading:
        """Read a request. Never raises."""

    @abstractmethod
    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return a usage object, merged from all reports, in the registry's units."""

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the payload with `usage`, `model`, `id` and `error` where others have them."""
        return payload

    def in_headers(self, headers: Mapping[str, str]) -> JSONObject:
        """Return the usage that the answer's headers report, {} for none."""
        return {}

    def choices(self, request: JSONObject) -> int:
        """Return how many choices the request asks for."""
        return 1

    def progress(self, payload: JSONObject) -> Progress:
        """Say how far a payload, as `usual` returned it, brings the answer."""
        return Progress()

    def output(self) -> Output:
        """Return a fresh reader of one answer's output."""
        return NoOutput()

    def observer(
        self, provider: Provider, reading: Reading, sink: OutputSink | None, *, count_always: bool
    ) -> AnswerObserver:
        """Return an observer for the answer to that request."""
        return NativeObserver(self, provider, reading, sink, count_always=count_always)


class NativeObserver(Observer):
    """Watches one answer of an endpoint with words of its own."""

    __slots__ = ("_native", "_told")

    passes_quietly = False

    def __init__(
        self,
        endpoint: Native,
        provider: Provider,
        reading: Reading,
        sink: OutputSink | None,
        *,
        count_always: bool,
    ) -> None:
        """Get ready for the answer to `reading`; output goes to `sink` where it is counted."""
        super().__init__(endpoint, provider, reading, sink, count_always=count_always)
        self._native = endpoint
        # The headers said it all: nothing that follows can change the usage.
        self._told = False

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers, which may report the usage."""
        super().start(status, headers)
        if status < 400:
            reported = self._native.in_headers(headers)
            self._seen.usage.update(reported)
            self._told = bool(reported)

    @property
    def _is_final(self) -> bool:
        return self._told or super()._is_final

    def _take(self, payload: bytes) -> None:
        if not self._is_one_body and self._native.telling.search(payload):
            self._heard += 1
            self._read(payload, body=False)
        else:
            super()._take(payload)

    def _learn(self, fields: JSONObject, *, whole: bool) -> None:
        super()._learn(self._native.usual(fields), whole=whole)

    @property
    def _is_one_body(self) -> bool:
        framer = self._framer
        chosen = framer.chosen if isinstance(framer, SniffingFramer) else framer
        return isinstance(chosen, JSONBodyFramer)


def in_units(raw: JSONObject, units: Mapping[str, str]) -> Normalised:
    """Return the members of a usage object that `units` (member -> unit) gives a unit.

    A member that is no whole number of 0 to 10¹⁵ spoils the report. Nothing but zeros: no usage.
    """
    found: dict[str, int] = {}
    defects = []
    for member, unit in units.items():
        value = raw.get(member)
        if value is None:
            continue
        number = whole_number(value)
        if number is None:
            defects.append(f"found a {type(value).__name__} as {member}, expected a whole number")
        else:
            found[unit] = number
    usage = None if defects or not any(found.values()) else Usage(found).clamped()
    return Normalised(usage, tuple(defects))


def whole_number(value: Any) -> int | None:
    """Return a quantity, also one written as `12.0`; None for what cannot be one."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    return whole(value, 0, MAX_QUANTITY)


def header_count(headers: Mapping[str, str], name: str) -> int | None:
    """Return the whole number in a header, None when it is missing or something else."""
    value = headers.get(name, "").strip()
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 16 else None


def hand_out(sink: OutputSink, choice: int, kind: str, value: Any) -> None:
    """Hand a piece of text to the sink, if it is text and not empty."""
    if text(value):
        sink.text(choice, kind, value)


def hand_out_call(sink: OutputSink, choice: int, name: Any, arguments: Any = None) -> None:
    """Hand a tool call to the sink; arguments that are not text are written as JSON."""
    sink.tool_call(choice)
    hand_out(sink, choice, "tool_name", name)
    if arguments and not isinstance(arguments, str):
        arguments = encoded(arguments).decode("utf-8", "replace")
    hand_out(sink, choice, "tool_arguments", arguments)
