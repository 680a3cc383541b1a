"""Read watsonx's `POST /ml/v1/text/generation` and `/ml/v1/text/generation_stream`.

Source: https://cloud.ibm.com/apidocs/watsonx-ai and
https://ibm.github.io/watsonx-ai-node-sdk (`TextGenResult`), 2026-11. Each event of a stream has
one result; its counts grow, and the input is counted in the last one.
"""

import re
from typing import Any

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects
from meter.providers.native import Native, hand_out, in_units
from meter.providers.provider import Provider

_PATH = re.compile(
    r"/ml/v1(?:-beta)?(?:/deployments/([^/]+))?/(?:text/generation(?:_stream)?|generation/text)$",
    re.IGNORECASE,
)
_UNITS = {"input_token_count": "input_tokens", "generated_token_count": "output_tokens"}
_RUNNING = (None, "", "not_finished")


class WatsonxOutput:
    """Read one answer's text, streamed or whole."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand the text of every result to the sink."""
        for result in objects(payload.get("results")):
            hand_out(sink, 0, "content", result.get("generated_text"))


class WatsonxGeneration(Native):
    """Watsonx's text generation, streamed or not."""

    name = "watsonx.generation"
    telling = re.compile(rb'"(?:input|generated)_token_count"\s*:\s*[1-9]|"stop_reason"\s*:\s*"')

    def claims(self, path: str) -> str | None:
        """Return the deployment that the path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read a request."""
        fields = request.fields
        settings = mapping(fields.get("parameters"))
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model_id")) or label(request.model),
            streaming=request.path.lower().endswith("_stream"),
            max_output_tokens=limit(settings, "max_new_tokens"),
            request=fields,
            defects=request.defects + odd_numbers(settings, "max_new_tokens"),
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the counts of the result, the model and the end."""
        result: JSONObject = next(objects(payload.get("results")), {})
        words: dict[str, Any] = {
            "model": payload.get("model_id"),
            "usage": {name: result[name] for name in _UNITS if result.get(name) is not None},
            "done": result.get("stop_reason") not in _RUNNING,
        }
        if isinstance(payload.get("errors"), list) and payload["errors"]:
            words["error"] = payload["errors"][0]
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end: a stop reason."""
        return Progress(finished=frozenset({0} if payload["done"] else ()))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return input and generated tokens."""
        return in_units(raw, _UNITS)

    def output(self) -> WatsonxOutput:
        """Return a reader of one answer's output."""
        return WatsonxOutput()
