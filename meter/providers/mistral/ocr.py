"""Read Mistral's `POST /v1/ocr`, billed by the page.

Source: https://docs.mistral.ai/api (SDK mistralai 3.7, `OCRUsageInfo`), 2026-11. Annotated pages
cost more; the answer does not tell them apart.
"""

import re

from meter.core.reading import Reading
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.native import Native, in_units
from meter.providers.provider import Provider

_PATH = re.compile(r"/ocr$", re.IGNORECASE)


class OCR(Native):
    """The OCR endpoint."""

    name = "ocr"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request, which has no output in tokens to bound."""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.fields.get("model")),
            max_output_tokens=0,
            request=request.fields,
            defects=request.defects,
        )

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the pages that were processed."""
        return in_units(raw, {"pages_processed": "pages"})
