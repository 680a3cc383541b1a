"""Read the text generation server's `POST /generate`, `/generate_stream` and what stands for it.

`/endpoints/{name}/invocations` is the path of a SageMaker endpoint, whose containers mostly run
that server; `/models/{model}` that of Hugging Face's serverless inference.

Source: https://huggingface.co/docs/text-generation-inference (2026-11): `details` are told when
the request asks for them, in a stream always, with its last token. Otherwise the text is counted;
with `return_full_text` it begins with the prompt.
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

_PATH = re.compile(
    r"^/(?:generate|generate_stream)$|/endpoints/([^/]+)/invocations(?:-response-stream)?$"
    r"|^(?:/hf-inference)?/models/([^/:]+/[^/:]+)$",
    re.IGNORECASE,
)
_UNITS = {"input_length": "input_tokens", "generated_tokens": "output_tokens"}


class GenerateOutput:
    """Read one answer's text: from its tokens, or from the body where there were none."""

    __slots__ = ("_streamed",)

    def __init__(self) -> None:
        self._streamed = False

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        token = mapping(payload.get("token"))
        if token:
            self._streamed = True
            if token.get("special") is not True:
                hand_out(sink, 0, "content", token.get("text"))
        elif not self._streamed:
            hand_out(sink, 0, "content", payload.get("generated_text"))


class Generate(Native):
    """The generate endpoint, streamed or not."""

    name = "generate"
    telling = re.compile(rb'"details"\s*:\s*\{|"error"\s*:')

    def claims(self, path: str) -> str | None:
        """Return the deployed endpoint or the model that the path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or found[2] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read a request."""
        fields = request.fields
        settings = mapping(fields.get("parameters"))
        streams = request.path.lower().endswith(("_stream", "-stream"))
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or label(request.model),
            streaming=streams or fields.get("stream") is True,
            max_output_tokens=limit(settings, "max_new_tokens"),
            request=fields,
            defects=request.defects + odd_numbers(settings, "max_new_tokens"),
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the details as usage, if they say how long the prompt was."""
        details = mapping(payload.get("details"))
        words: dict[str, Any] = {"done": bool(details), "error": payload.get("error")}
        prefill = details.get("prefill")
        if isinstance(prefill, list) and prefill:
            details = {"input_length": len(prefill), **details}
        if "input_length" in details:
            words["usage"] = details
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end: the details."""
        done = payload["done"]
        return Progress(ends=done, finished=frozenset({0} if done else ()))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return prompt and generated tokens."""
        return in_units(raw, _UNITS)

    def output(self) -> GenerateOutput:
        """Return a fresh reader of one answer's output."""
        return GenerateOutput()
