"""Read `POST …/chat/completions`, as OpenAI and everybody compatible serve it.

Source: https://platform.openai.com/docs/api-reference/chat (SDK openai 3.54, 2026-11).
"""

import re

from meter.core.reading import Reading
from meter.providers.bounds import bound, count, limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, index, label, objects
from meter.providers.hints import openai_hint
from meter.providers.normalising import from_openai
from meter.providers.openai import asking
from meter.providers.openai.delivered import ChatOutput
from meter.providers.provider import Provider, Shape
from meter.providers.tiers import tier_of

# A deployment or engine may itself be named "chat": its completions are no chat.
_PATH = re.compile(
    r"(?:/deployments/([^/]+)|(?<!/deployments)(?<!/engines))/chat/completions$", re.IGNORECASE
)


class Chat:
    """The chat completions endpoint."""

    name = "chat"
    shape: Shape = "openai"
    only_usage = False

    def claims(self, path: str) -> str | None:
        """Return the deployment that an Azure path names, "" for none, None for other paths."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read a chat request. The output bound covers all `n` choices, reasoning included."""
        fields = request.fields
        odd = odd_numbers(fields, "max_completion_tokens", "max_tokens", "n")
        most = None if odd else limit(fields, "max_completion_tokens", "max_tokens")
        body = asking.with_usage_asked(request, self.name)
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or request.model or None,
            streaming=fields.get("stream") is True,
            max_output_tokens=bound(most, self.choices(fields)),
            choices=self.choices(fields),
            service_tier=tier_of(fields.get("service_tier")),
            hint=openai_hint(fields),
            body=body,
            strip_usage=body is not None,
            request=fields,
            defects=request.defects + odd,
        )

    def choices(self, request: JSONObject) -> int:
        """Return `n`."""
        return count(request.get("n"))

    def progress(self, payload: JSONObject) -> Progress:
        """Find the choices that end; usage beside an empty `choices` is the last word."""
        return progress_of_choices(payload)

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return OpenAI-shaped usage in the registry's units."""
        return from_openai(raw, reasoning_apart=provider.reasoning_apart)

    def output(self) -> ChatOutput:
        """Return a fresh reader of one answer's output."""
        return ChatOutput()


def progress_of_choices(payload: JSONObject) -> Progress:
    """Find the choices with a finish reason, as `chat` and `completions` share them."""
    finished = frozenset(
        index(choice.get("index"))
        for choice in objects(payload.get("choices"))
        if choice.get("finish_reason")
    )
    return Progress(settles=not payload.get("choices"), finished=finished)
