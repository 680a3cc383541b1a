"""Read `POST …/rerank`, as Cohere, Voyage, Jina, OpenRouter and many servers answer it.

Source: https://docs.cohere.com/reference/rerank (billed by the search unit: one query with up to
100 documents), https://docs.voyageai.com/reference/reranker-api (`usage.total_tokens`), 2026-11.
"""

import re
from typing import Any

from meter.core.reading import Reading
from meter.providers.cohere.billing import billed_units_in, in_billed_units
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label, mapping
from meter.providers.native import Native
from meter.providers.normalising import from_openai
from meter.providers.provider import Provider

_PATH = re.compile(r"/(?:re-?rank|text-rerank)$", re.IGNORECASE)


class Rerank(Native):
    """The rerank endpoint."""

    name = "rerank"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a rerank request, which has no output to bound."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            max_output_tokens=0,
            request=fields,
            defects=request.defects,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return usage wherever it stands: billed units, `usage`, or `meta.tokens`."""
        words: dict[str, Any] = {**payload, "usage": payload.get("usage")}
        billed = billed_units_in(payload)
        if billed is not None:
            words["usage"] = {"billed_units": billed}
        elif words["usage"] is None and mapping(payload.get("meta")).get("tokens"):
            words["usage"] = payload["meta"]["tokens"]
        return words

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return billed units where there are any, else the tokens, all of them input."""
        billed = mapping(raw.get("billed_units"))
        return in_billed_units(billed) if billed else from_openai(raw, generates=False)
