"""Read what Ollama's own endpoints share: counts at the top of the last line, options, ends.

Called by the endpoints beside it.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md,
https://github.com/stdapi-ai/stdapi.ai/issues/252 (`prompt_eval_count` includes the cached
part, `prompt_eval_cached_count`), 2026-11. A prompt that was cached as a whole had no count at
all in older versions: recorded answers of 2024 have `eval_count` only.
"""

import re
from typing import Any, Final

from meter.core.reading import Reading
from meter.providers.bounds import limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, text
from meter.providers.native import Native
from meter.providers.normalising import from_openai
from meter.providers.provider import Provider

_COUNTS: Final = {
    "prompt_eval_count": "prompt_tokens",
    "eval_count": "completion_tokens",
    "prompt_eval_cached_count": "cached_tokens",
}


class OllamaSpeech(Native):
    """What chat and generate have in common."""

    telling = re.compile(rb'"done"\s*:\s*true|"error"\s*:')

    def read(self, request: Request) -> Reading:
        """Read a request. Ollama streams unless it is told not to."""
        fields = request.fields
        options = mapping(fields.get("options"))
        odd = _odd_limit(options)
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            streaming=fields.get("stream") is not False,
            # A negative limit means none.
            max_output_tokens=limit(options, "num_predict"),
            request=fields,
            defects=request.defects + odd,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the counts, the model and the end."""
        words: dict[str, Any] = {
            "model": payload.get("model"),
            "done": payload.get("done") is True,
            "usage": counts_in(payload),
        }
        if payload.get("error"):
            words["error"] = {"type": "error"}
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end: the line that is done."""
        done = payload["done"]
        return Progress(ends=done, finished=frozenset({0} if done else ()))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the counts in the registry's units."""
        return from_openai(raw)


def counts_in(payload: JSONObject) -> JSONObject | None:
    """Return Ollama's counts in OpenAI's words, None where there are none."""
    found = {usual: payload[name] for name, usual in _COUNTS.items() if name in payload}
    return found or None


def _odd_limit(options: JSONObject) -> tuple[str, ...]:
    # -1 and -2 mean "no limit" and "fill the context".
    return () if options.get("num_predict") in (-1, -2) else odd_numbers(options, "num_predict")


def name_of(call: JSONObject) -> str:
    """Return the name of the function that a tool call calls."""
    return text(mapping(call.get("function")).get("name"))
