"""Watch answers whose usage is not all in a usage object: pictures, sound, work that goes on.

Beside the observer that other endpoints share stands a gauge, one for each answer: it sees every
payload that is parsed, and the bytes where it wants them, and has the last word on what was
used. Knows no provider. Made by the endpoints of `meter/providers/openai/`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from meter.core.call import Observation
from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.foreign import JSONObject
from meter.providers.native import Native, NativeObserver
from meter.providers.provider import Provider
from meter.wire import decompressor_for


class Gauge(Protocol):
    """Measures one answer."""

    @property
    def wants_bytes(self) -> bool:
        """Whether `feed` is to be called."""

    @property
    def billing_ids(self) -> tuple[str, ...]:
        """The provider's names for work that other answers show again: it is billed once."""

    def take(self, payload: JSONObject) -> None:
        """Look at one parsed payload. Never raises."""

    def feed(self, data: bytes) -> None:
        """Look at decoded bytes of the body. Never raises, keeps a bounded part."""

    def judge(self, seen: Observation) -> Observation:
        """Return what was seen with what was measured; called for a status below 400 only."""


class PlainGauge:
    """Adds nothing; what the gauges have in common."""

    __slots__ = ()

    @property
    def wants_bytes(self) -> bool:
        """No."""
        return False

    @property
    def billing_ids(self) -> tuple[str, ...]:
        """None: the answer is its own."""
        return ()

    def take(self, payload: JSONObject) -> None:
        """Look at nothing."""

    def feed(self, data: bytes) -> None:
        """Look at nothing."""

    def judge(self, seen: Observation) -> Observation:
        """Return what was seen."""
        return seen


class MeasuringObserver(NativeObserver):
    """Watches one answer with a gauge."""

    __slots__ = ("_decoder", "_gauge")

    def __init__(
        self,
        endpoint: Native,
        gauge: Gauge,
        provider: Provider,
        reading: Reading,
        sink: OutputSink | None,
        *,
        count_always: bool,
    ) -> None:
        """Get ready for the answer to `reading`."""
        super().__init__(endpoint, provider, reading, sink, count_always=count_always)
        self._gauge = gauge
        # The gauge's own, for the shared observer keeps what it decodes to itself.
        self._decoder = decompressor_for(None)

    @property
    def billing_ids(self) -> tuple[str, ...]:
        """The provider's names for the work that the answer shows: it is billed once."""
        return self._gauge.billing_ids

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers."""
        super().start(status, headers)
        self._decoder = decompressor_for(headers.get("content-encoding"))

    def feed(self, data: bytes) -> bytes:
        """Observe body bytes; return those to hand to the client."""
        if data and self._is_good and self._gauge.wants_bytes:
            self._gauge.feed(self._decoder.feed(data))
        return super().feed(data)

    def result(self) -> Observation:
        """Return what was seen and measured."""
        seen = super().result()
        if not self._is_good:
            return seen
        return replace(self._gauge.judge(seen), billing_ids=self.billing_ids)

    @property
    def _is_good(self) -> bool:
        return self._status is not None and self._status < 400

    def _learn(self, fields: JSONObject, *, whole: bool) -> None:
        self._gauge.take(fields)
        super()._learn(fields, whole=whole)


def with_defect(seen: Observation, defect: str) -> Observation:
    """Return what was seen with one more sentence on what was odd."""
    return seen if defect in seen.defects else replace(seen, defects=(*seen.defects, defect))
