"""Read Cohere's older `POST /v1/generate` and `/v1/summarize`.

Source: https://docs.cohere.com/reference/generate (SDK cohere 7.3, 2026-11). A stream ends with
`stream-end`, which reports no units in the SDK's types; where none come, output is counted.
"""

import re
from typing import Any

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import bound, count, limit, odd_numbers
from meter.providers.cohere.billing import billed_units_in, in_billed_units
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, index, label, mapping, objects
from meter.providers.native import Native, hand_out
from meter.providers.provider import Provider

_PATH = re.compile(r"/v1/(?:generate|summarize)$", re.IGNORECASE)


class CohereGenerateOutput:
    """Read one answer's generations, streamed or whole."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        if payload.get("event_type") == "text-generation":
            hand_out(sink, index(payload.get("index")), "content", payload.get("text"))
        for number, generation in enumerate(objects(payload.get("generations"))):
            hand_out(sink, number, "content", generation.get("text"))
        hand_out(sink, 0, "content", payload.get("summary"))


class CohereGenerate(Native):
    """Cohere's generate and summarize endpoints."""

    name = "cohere.generate"
    telling = re.compile(rb'"stream-(?:end|error)"')

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request. The bound covers all generations."""
        fields = request.fields
        odd = odd_numbers(fields, "max_tokens", "num_generations")
        most = None if odd else limit(fields, "max_tokens")
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            streaming=fields.get("stream") is True,
            max_output_tokens=bound(most, count(fields.get("num_generations"))),
            request=fields,
            defects=request.defects + odd,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return billed units, id and end."""
        kind = payload.get("event_type")
        words: dict[str, Any] = {
            "id": payload.get("id") or mapping(payload.get("response")).get("id"),
            "ended": kind == "stream-end",
            "usage": billed_units_in(payload),
        }
        if kind == "stream-error":
            words["error"] = {"type": label(payload.get("finish_reason")) or "error"}
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end of a stream."""
        ended = payload["ended"]
        return Progress(ends=ended, finished=frozenset({0} if ended else ()))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the billed units."""
        return in_billed_units(raw)

    def output(self) -> CohereGenerateOutput:
        """Return a reader of one answer's output."""
        return CohereGenerateOutput()
