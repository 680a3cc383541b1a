"""Read what Cohere bills without generating: `embed`, `classify`, `parse`.

Source: https://docs.cohere.com/reference/embed, classify, parse (SDK cohere 7.3, 2026-11). The
billed units stand in `meta`. Classifications have no unit of their own and are told as a defect.
"""

import re

from meter.core.reading import Reading
from meter.providers.cohere.billing import billed_units_in, in_billed_units
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.native import Native
from meter.providers.provider import Provider

_PATH = re.compile(r"/v[12]/(?:embed|classify|parse)$", re.IGNORECASE)


class CohereEmbed(Native):
    """The embed endpoint; classify and parse are read in the same way."""

    name = "embed"
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
        """Return the billed units and the id."""
        return {"id": payload.get("id"), "usage": billed_units_in(payload)}

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the billed units."""
        normalised = in_billed_units(raw)
        if raw.get("classifications") is None:
            return normalised
        told = "found billed classifications, which have no unit"
        return Normalised(normalised.usage, (*normalised.defects, told))
