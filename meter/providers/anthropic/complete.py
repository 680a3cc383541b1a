"""Read Anthropic's older `POST /v1/complete` and Aleph Alpha's `POST /complete`.

Source: https://docs.claude.com/en/api/complete (2026-11): Anthropic's answer reports no usage,
so that prompt and output are counted. SDK aleph-alpha-client 7: `num_tokens_prompt_total` and
`num_tokens_generated` stand at the top of the body.
"""

import re
from typing import Any

from meter.core.call import Attribution
from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import bound, count, limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects
from meter.providers.native import Native, hand_out, in_units
from meter.providers.provider import Provider, Shape

_PATH = re.compile(r"(?:^|/)complete$", re.IGNORECASE)
_LIMITS = ("max_tokens_to_sample", "maximum_tokens")
_UNITS = {"num_tokens_prompt_total": "input_tokens", "num_tokens_generated": "output_tokens"}


class CompleteOutput:
    """Read one answer's text, streamed or whole."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        hand_out(sink, 0, "content", payload.get("completion"))
        for number, completion in enumerate(objects(payload.get("completions"))):
            hand_out(sink, number, "content", completion.get("completion"))


class Complete(Native):
    """The complete endpoint, streamed or not."""

    name = "complete"
    shape: Shape = "anthropic"
    telling = re.compile(rb'"(?:stop_reason|type)"\s*:\s*"(?!completion")|"num_tokens_')

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request; `n` completions at Aleph Alpha, one at Anthropic."""
        fields = request.fields
        odd = odd_numbers(fields, *_LIMITS, "n", "best_of")
        most = None if odd else limit(fields, *_LIMITS)
        candidates = max(count(fields.get("n")), count(fields.get("best_of")))
        subject = label(mapping(fields.get("metadata")).get("user_id"))
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            streaming=fields.get("stream") is True,
            max_output_tokens=bound(most, candidates),
            hint=Attribution(subject=subject),
            request=fields,
            defects=request.defects + odd,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the counts at the top of the body beside the rest."""
        counts = {name: payload[name] for name in _UNITS if payload.get(name) is not None}
        words: dict[str, Any] = {**payload, "usage": counts or None}
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end: the event that names a stop reason, or the totals."""
        done = payload.get("stop_reason") or payload.get("usage")
        return Progress(ends=bool(done), finished=frozenset({0} if done else ()))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return prompt and generated tokens."""
        return in_units(raw, _UNITS)

    def output(self) -> CompleteOutput:
        """Return a reader of one answer's output."""
        return CompleteOutput()
