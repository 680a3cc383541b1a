"""Read Replicate's `POST /v1/predictions` and `/v1/models/{owner}/{name}/predictions`.

Source: https://replicate.com/docs/reference/http#predictions.create and
https://github.com/replicate/replicate-go/issues/52 (2026-11). Language models report tokens in
`metrics`; other models are billed by the second of hardware (`predict_time`), which has no unit.
Without `Prefer: wait` the answer is a receipt.
"""

import re
from typing import Any

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping
from meter.providers.native import Native, hand_out, in_units
from meter.providers.provider import Provider

_PATH = re.compile(r"(?:/models/([^/]+/[^/]+)|/deployments/[^/]+/[^/]+|/v1)/predictions$",
                   re.IGNORECASE)  # fmt: skip
_LIMITS = ("max_tokens", "max_new_tokens", "max_completion_tokens")
_UNITS = {
    "input_token_count": "input_tokens",
    "output_token_count": "output_tokens",
    "image_count": "images",
}
_RUNNING = ("starting", "processing", "queued")


class PredictionsOutput:
    """Read one prediction's text: a string, or the list of its pieces."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand the output to the sink; files among it are addresses, and not text."""
        output = payload.get("output")
        for piece in output if isinstance(output, list) else [output]:
            if isinstance(piece, str) and not piece.startswith(("https://", "data:")):
                hand_out(sink, 0, "content", piece)


class Predictions(Native):
    """The predictions endpoint."""

    name = "predictions"

    def claims(self, path: str) -> str | None:
        """Return the model that the path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read a request. Its output comes when the prediction is done, never in this answer."""
        given = mapping(request.fields.get("input"))
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.model) or label(request.fields.get("version")),
            max_output_tokens=limit(given, *_LIMITS),
            request=request.fields,
            defects=request.defects + odd_numbers(given, *_LIMITS),
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return metrics, model, id and how far the prediction is."""
        words: dict[str, Any] = {name: payload.get(name) for name in ("id", "model", "status")}
        words["usage"] = payload.get("metrics")
        if payload.get("error"):
            words["error"] = {"type": "failed"}
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Say whether the prediction still runs."""
        return Progress(runs_on=payload["status"] in _RUNNING)

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return tokens and images; hardware seconds have no unit."""
        return in_units(raw, _UNITS)

    def output(self) -> PredictionsOutput:
        """Return a reader of one prediction's output."""
        return PredictionsOutput()
