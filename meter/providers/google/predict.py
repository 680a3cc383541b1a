"""Read `POST …/models/{model}:predict`: images of Imagen, and embeddings at Vertex.

Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api and
text-embeddings-api (2026-11). No answer has a usage object: embeddings report their tokens one by
one, images are billed by the piece, and those that were filtered out are not there. The PaLM
models reported `metadata.tokenMetadata`.
"""

import re
from typing import Any

from meter.core.call import Attribution
from meter.core.reading import Reading
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label, mapping, objects, text
from meter.providers.hints import tags
from meter.providers.native import Native, in_units, whole_number
from meter.providers.provider import Provider

_PATH = re.compile(r"/([^/:]+):predict$", re.IGNORECASE)
_UNITS = {
    "tokens": "input_tokens",
    "written": "output_tokens",
    "characters": "characters",
    "images": "images",
}


class Predict(Native):
    """The predict endpoint."""

    name = "predict"
    shape = "google"

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        found = _PATH.search(path)
        return found[1] if found else None

    def read(self, request: Request) -> Reading:
        """Read a request; what it makes is no text, so that no tokens bound it."""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.model),
            max_output_tokens=0,
            hint=Attribution(tags=tags(request.fields.get("labels"))),
            request=request.fields,
            defects=request.defects,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return what the predictions report, and how many are images."""
        predictions = list(objects(payload.get("predictions")))
        statistics = [_statistics(prediction) for prediction in predictions]
        counts = [number for s in statistics if (number := whole_number(s.get("token_count")))]
        metadata = mapping(payload.get("metadata"))
        billed = metadata.get("billableCharacterCount")
        read, written = (
            mapping(mapping(metadata.get("tokenMetadata")).get(name)).get("totalTokens")
            for name in ("inputTokenCount", "outputTokenCount")
        )
        usage = {
            "tokens": sum(counts) or read,
            "written": written,
            "characters": billed,
            "images": sum(map(_is_image, predictions)) or None,
        }
        words: dict[str, Any] = {"error": payload.get("error")}
        words["usage"] = {name: value for name, value in usage.items() if value is not None}
        return words

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return tokens, characters and images."""
        return in_units(raw, _UNITS)


def _statistics(prediction: JSONObject) -> JSONObject:
    return mapping(mapping(prediction.get("embeddings")).get("statistics"))


def _is_image(prediction: JSONObject) -> bool:
    made = bool(prediction.get("bytesBase64Encoded") or prediction.get("gcsUri"))
    return made and not text(prediction.get("mimeType")).startswith(("video/", "audio/"))
