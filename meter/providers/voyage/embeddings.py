"""Read Voyage's `POST /v1/multimodalembeddings` and `/v1/contextualizedembeddings`.

Source: https://docs.voyageai.com/reference/multimodal-embeddings-api (2026-11): `text_tokens`,
`image_pixels`, and `total_tokens`, which counts a token for every 560 pixels and is billed.
"""

import re

from meter.core.reading import Reading
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.native import Native, whole_number
from meter.providers.normalising import from_openai
from meter.providers.provider import Provider

_PATH = re.compile(r"/(?:multimodal|contextualized)embeddings$", re.IGNORECASE)


class VoyageEmbeddings(Native):
    """Voyage's embeddings beyond plain text."""

    name = "voyage.embeddings"
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

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the total as input; what is no text in it is images."""
        total, written = (whole_number(raw.get(name)) for name in ("total_tokens", "text_tokens"))
        images = None
        if total is not None and written is not None and raw.get("image_pixels"):
            images = max(total - written, 0)
        return from_openai({**raw, "input_tokens_details": {"image_tokens": images}},
                           generates=False)  # fmt: skip
