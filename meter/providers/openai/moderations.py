"""Read `POST …/moderations`: free at OpenAI, billed by the token elsewhere (Mistral).

Source: https://platform.openai.com/docs/guides/moderation ("free to use"); SDK mistralai 3.7
(`ModerationResponse.usage`), 2026-11.
"""

import re
from typing import Final

from meter.core.reading import Reading
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.hints import openai_hint
from meter.providers.normalising import from_openai
from meter.providers.openai.plain import PlainEndpoint
from meter.providers.provider import Provider

_PATH: Final = re.compile(r"/moderations$", re.IGNORECASE)


class Moderations(PlainEndpoint):
    """The moderations endpoint."""

    name = "moderations"
    only_usage = True

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's path."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a moderation request, which has no output to bound."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            max_output_tokens=0,
            hint=openai_hint(fields),
            free=request.provider.free_moderations,
            request=fields,
            defects=request.defects,
        )

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the input tokens."""
        return from_openai(raw, generates=False)
