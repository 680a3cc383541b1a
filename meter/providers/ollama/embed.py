"""Read Ollama's `POST /api/embed` and the older `/api/embeddings`, which reports no count.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md (2026-11).
"""

import re

from meter.core.reading import Reading
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.native import Native
from meter.providers.normalising import from_openai
from meter.providers.ollama.speech import counts_in
from meter.providers.provider import Provider

_PATH = re.compile(r"/api/embed(?:dings)?$", re.IGNORECASE)


class OllamaEmbed(Native):
    """Ollama's embedding endpoints."""

    name = "ollama.embed"
    only_usage = True

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request, which has no output to bound."""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.fields.get("model")),
            max_output_tokens=0,
            request=request.fields,
            defects=request.defects,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the count and the model; servers in OpenAI's shape have the path as well."""
        usage = payload.get("usage") or counts_in(payload)
        return {"model": payload.get("model"), "usage": usage, "error": payload.get("error")}

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the input tokens."""
        return from_openai(raw, generates=False)
