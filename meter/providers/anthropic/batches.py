"""Read `POST …/v1/messages/batches`, looks at a batch, and `GET …/messages/batches/{id}/results`.

Source: https://docs.claude.com/en/docs/build-with-claude/batch-processing (SDK anthropic 2.12,
2026-11): a batch itself reports no usage. Its results are lines of `{custom_id, result}`; those
that succeeded hold a message with its usage, all others are not billed. They may be fetched
often: each line is billed once under its own name.
"""

import re
from collections.abc import Mapping
from typing import Final

from meter.core.call import Observation, Part
from meter.core.ports import AnswerObserver, OutputSink
from meter.core.rating import MANY_REQUESTS
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, decoded, label, mapping
from meter.providers.native import Native
from meter.providers.normalising import from_anthropic
from meter.providers.observing import PassingObserver
from meter.providers.openai.batch_output import MOST_PARTS, name_of
from meter.providers.openai.jobs import Job, PlainJobEndpoint
from meter.providers.provider import Provider, Shape
from meter.providers.sightings import MOST_DEFECTS
from meter.wire import NDJSONFramer, decompressor_for

TIER: Final = "batch"
"""The service tier of whatever a batch used."""

_CREATED = re.compile(r"/v1/messages/batches$", re.IGNORECASE)
_SHOWN = re.compile(r"/v1/messages/batches/[^/]+$", re.IGNORECASE)
_RESULTS = re.compile(r"/v1/messages/batches/([^/]+)/results$", re.IGNORECASE)


class MessageBatches(PlainJobEndpoint):
    """The creation of a batch: a receipt."""

    name = "messages.batches"
    shape: Shape = "anthropic"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _CREATED.search(path) else None

    def job(self, payload: JSONObject) -> Job | None:
        """Return the batch. What it used never stands here: to this endpoint it does not end."""
        batch_id = label(payload.get("id"))
        if batch_id is None or payload.get("type") != "message_batch":
            return None
        return Job(names=(batch_id,), ended=False, service_tier=TIER)


class RetrievedMessageBatches(MessageBatches):
    """A look at a batch."""

    name = "messages.batches.retrieve"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _SHOWN.search(path) else None


class MessageBatchResults(Native):
    """The results of a batch."""

    name = "messages.batches.results"
    shape: Shape = "anthropic"

    def claims(self, path: str) -> str | None:
        """Return the batch's id, which the reading keeps."""
        found = _RESULTS.search(path)
        return found[1] if found else None

    def read(self, request: Request) -> Reading:
        """Read the request for the results."""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            max_output_tokens=0,
            free=True,
            request={"batch_id": request.model},
        )

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return Anthropic-shaped usage in the registry's units."""
        return from_anthropic(raw)

    def observer(
        self, provider: Provider, reading: Reading, sink: OutputSink | None, *, count_always: bool
    ) -> AnswerObserver:
        """Return an observer that reads line by line."""
        return MessageBatchObserver(label(reading.request.get("batch_id")) or "")


class MessageBatchObserver(PassingObserver):
    """Watches the results of one batch."""

    __slots__ = ("_batch_id", "_decompressor", "_defects", "_framer", "_misses_some", "_models",
                 "_parts", "_sums")  # fmt: skip

    def __init__(self, batch_id: str) -> None:
        """Get ready for the results of the batch of that id."""
        super().__init__()
        self._batch_id = batch_id
        self._decompressor = decompressor_for(None)
        self._framer = NDJSONFramer()
        # Whether there is a line of which it is not known what it used.
        self._misses_some = False
        self._parts: list[Part] = []
        self._sums: dict[str, int] = {}
        self._models: set[str] = set()
        self._defects: list[str] = []

    @property
    def billing_ids(self) -> tuple[str, ...]:
        """The batch's id, under which all of it is billed once."""
        return (self._batch_id,) if self._batch_id else ()

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers."""
        super().start(status, headers)
        self._misses_some = status == 206
        self._decompressor = decompressor_for(headers.get("content-encoding"))

    def feed(self, data: bytes) -> bytes:
        """Read the lines that these bytes complete; return the bytes."""
        if data:
            self._take_all(self._framer.feed(self._decompressor.feed(data)))
        return super().feed(data)

    def finish(self) -> bytes:
        """Read the last line; nothing is held back."""
        self._take_all(self._framer.feed(b""))
        return super().finish()

    def result(self) -> Observation:
        """Return each line, and the sum over all of them."""
        seen = super().result()
        if seen.status is None or seen.status >= 400:
            return seen
        defects = list(self._defects)
        if self._framer.dropped:
            defects.append("a line was too long to be read")
        return Observation(
            status=seen.status,
            usage=Usage(self._sums),
            model_served=next(iter(self._models)) if len(self._models) == 1 else None,
            service_tier=TIER,
            received_bytes=seen.received_bytes,
            finished=seen.finished,
            response_id=self._batch_id or None,
            traits=(MANY_REQUESTS,),
            billing_ids=self.billing_ids,
            defects=tuple(defects),
            parts=tuple(self._parts),
            has_all_parts=seen.finished
            and not (self._misses_some or self._framer.dropped or self._decompressor.failed),
        )

    def _take_all(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            value, fault = decoded(payload)
            fields = mapping(value)
            if fault is None and "result" in fields:
                self._take(fields)
            else:
                self._misses_some = True
                self._note("found a line that is no result of a batch")

    def _take(self, line: JSONObject) -> None:
        told = str(line.get("custom_id"))
        message = mapping(mapping(line.get("result")).get("message"))
        model = label(message.get("model"))
        usage: Usage | None = Usage()
        if message:
            normalised = from_anthropic(mapping(message.get("usage")))
            usage = normalised.usage
            for defect in normalised.defects:
                self._note(defect)
            if usage is None:
                self._misses_some = True
                self._note("a request of the batch reports no usage")
        if len(self._parts) < MOST_PARTS:
            status = 200 if message else None
            names = name_of(told), label(told) or ""
            self._parts.append(Part(*names, "messages", status, usage, model))
        else:
            self._misses_some = True
            self._note(f"found more than {MOST_PARTS} lines: the last are not billed")
        if model is not None:
            self._models.add(model)
        for unit, quantity in (usage or {}).items():
            self._sums[unit] = self._sums.get(unit, 0) + int(quantity)

    def _note(self, defect: str) -> None:
        if defect not in self._defects and len(self._defects) < MOST_DEFECTS:
            self._defects.append(defect)
