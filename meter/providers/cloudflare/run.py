"""Read Cloudflare's `POST …/ai/run/{model}`.

Source: https://developers.cloudflare.com/workers-ai/models (2026-11): the answer stands in
`result`, with OpenAI's usage object where the model reports one; a stream's events have no
`result` around them.
"""

import re
from typing import Any

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import limit, odd_numbers
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label, mapping, objects
from meter.providers.native import Native, hand_out, hand_out_call
from meter.providers.normalising import from_openai
from meter.providers.provider import Provider

_PATH = re.compile(r"/ai/run/(@[^/]+/.+)$", re.IGNORECASE)


class RunOutput:
    """Read one answer's text and tool calls, streamed or whole."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        answer = mapping(payload.get("result")) or payload
        hand_out(sink, 0, "content", answer.get("response"))
        for call in objects(answer.get("tool_calls")):
            hand_out_call(sink, 0, call.get("name"), call.get("arguments"))


class Run(Native):
    """The endpoint that runs a model."""

    name = "run"
    telling = re.compile(rb'"usage"\s*:\s*\{')

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        found = _PATH.search(path)
        return found[1] if found else None

    def read(self, request: Request) -> Reading:
        """Read a request to a model of any kind."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.model),
            streaming=fields.get("stream") is True,
            max_output_tokens=limit(fields, "max_tokens"),
            request=fields,
            defects=request.defects + odd_numbers(fields, "max_tokens"),
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the usage inside `result` or beside it."""
        answer = mapping(payload.get("result")) or payload
        words: dict[str, Any] = {"usage": answer.get("usage")}
        failed = payload.get("success") is False
        words["error"] = next(objects(payload.get("errors")), None) if failed else None
        return words

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return OpenAI-shaped usage in the registry's units."""
        return from_openai(raw)

    def output(self) -> RunOutput:
        """Return a reader of one answer's output."""
        return RunOutput()
