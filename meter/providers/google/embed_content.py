"""Read `POST …/models/{model}:embedContent` and `:batchEmbedContents`.

Source: https://ai.google.dev/api/embeddings (SDK google-genai 3.4, 2026-11). Older models report
no usage; newer ones report `usageMetadata`, whose list of modalities has a name of its own
(`promptTokenDetails`).
"""

import re
from typing import Any

from meter.core.reading import Reading
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label, mapping
from meter.providers.native import Native
from meter.providers.normalising import from_gemini
from meter.providers.provider import Provider

_PATH = re.compile(r"/([^/:]+):(?:embedContent|batchEmbedContents)$", re.IGNORECASE)


class EmbedContent(Native):
    """The embedContent endpoint, of one content or of many."""

    name = "embedContent"
    shape = "google"
    only_usage = True

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        found = _PATH.search(path)
        return found[1] if found else None

    def read(self, request: Request) -> Reading:
        """Read a request, which has no output to bound."""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.model),
            max_output_tokens=0,
            request=request.fields,
            defects=request.defects,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the usage, its modalities under their usual name."""
        words: dict[str, Any] = {"error": payload.get("error")}
        usage = mapping(payload.get("usageMetadata"))
        if usage:
            details = usage.get("promptTokensDetails") or usage.get("promptTokenDetails")
            words["usageMetadata"] = {**usage, "promptTokensDetails": details}
        return words

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the input tokens. A total without parts is all input."""
        return from_gemini(raw)
