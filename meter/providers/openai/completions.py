"""Read `POST …/completions`, the legacy text completions.

Source: https://platform.openai.com/docs/api-reference/completions (SDK openai 3.54, 2026-11).
OpenAI's pricing page bounds a request by `max_tokens * max(n, best_of)` for each prompt.
"""

import re
from typing import Any

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import bound, count, limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, index, label, objects, text
from meter.providers.hints import openai_hint
from meter.providers.normalising import from_openai
from meter.providers.openai import asking
from meter.providers.openai.chat import progress_of_choices
from meter.providers.provider import Provider, Shape
from meter.providers.tiers import tier_of

_PATH = re.compile(
    r"/(?:deployments|engines)/([^/]+)/completions$|(?<!/chat)/completions$", re.IGNORECASE
)


class CompletionsOutput:
    """Read one completions answer's output."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand the text of every choice to the sink."""
        for choice in objects(payload.get("choices")):
            piece = text(choice.get("text"))
            if piece:
                sink.text(index(choice.get("index")), "content", piece)


class Completions:
    """The legacy completions endpoint."""

    name = "completions"
    shape: Shape = "openai"
    only_usage = False

    def claims(self, path: str) -> str | None:
        """Return the deployment or engine that the path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read a completions request. The bound covers every prompt and every candidate."""
        fields = request.fields
        odd = odd_numbers(fields, "max_tokens", "n", "best_of")
        most = None if odd else limit(fields, "max_tokens")
        if fields.get("max_tokens") is None and not odd:
            most = request.provider.default_max_tokens
        candidates = max(count(fields.get("n")), count(fields.get("best_of")))
        body = asking.with_usage_asked(request, self.name)
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or request.model or None,
            streaming=fields.get("stream") is True,
            max_output_tokens=bound(most, candidates, prompts(fields.get("prompt"))),
            service_tier=tier_of(fields.get("service_tier")),
            hint=openai_hint(fields),
            body=body,
            strip_usage=body is not None,
            request=fields,
            defects=request.defects + odd,
        )

    def choices(self, request: JSONObject) -> int:
        """Return `n` for each prompt."""
        return count(request.get("n")) * prompts(request.get("prompt"))

    def progress(self, payload: JSONObject) -> Progress:
        """Find the choices that end."""
        return progress_of_choices(payload)

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return OpenAI-shaped usage in the registry's units."""
        return from_openai(raw, reasoning_apart=provider.reasoning_apart)

    def output(self) -> CompletionsOutput:
        """Return a fresh reader of one answer's output."""
        return CompletionsOutput()


def prompts(prompt: Any) -> int:
    """Return how many prompts a `prompt` holds: texts and lists of token ids count once each."""
    if not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)
