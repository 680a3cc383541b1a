"""Read `POST …/cachedContents`, which writes a prompt into the cache.

Source: https://ai.google.dev/gemini-api/docs/caching and pricing (2026-11): the tokens written
are billed as input once. Keeping them is billed by token and hour, which no answer reports.
"""

import re

from meter.core.reading import Reading
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.native import Native
from meter.providers.normalising import from_gemini
from meter.providers.provider import Provider

_PATH = re.compile(r"/cachedContents$", re.IGNORECASE)


class CachedContents(Native):
    """The endpoint that creates a cached content."""

    name = "cachedContents"
    shape = "google"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request. The body names the model, by its last part or by its whole path."""
        name = label(request.fields.get("model")) or ""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(name.rpartition("/")[2]),
            max_output_tokens=0,
            request=request.fields,
            defects=request.defects,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return usage and error; `model` is the request's, with a path before it."""
        return {name: payload.get(name) for name in ("usageMetadata", "error")}

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the tokens that were written, as input."""
        return from_gemini(raw)
