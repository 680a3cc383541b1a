"""Read Google's batches and operations: creation, and looks at one.

Source: https://ai.google.dev/gemini-api/docs/batch-api (SDK google-genai 3.4, 2026-11): a batch is
an operation; once it is done its answers stand in it, each with its own `usageMetadata`, or in a
file. Videos are operations as well, and report neither seconds nor tokens.
"""

import re
from typing import Final

from meter.core.rating import MANY_REQUESTS
from meter.core.usage import Usage
from meter.providers.foreign import JSONObject, label, mapping, objects
from meter.providers.normalising import from_gemini
from meter.providers.openai.jobs import NOTHING, Job, PlainJobEndpoint
from meter.providers.provider import Shape

TIER: Final = "batch"

_CREATED = re.compile(r"/([^/:]+):(?:batchGenerateContent|asyncBatchEmbedContent)$", re.IGNORECASE)
_BEGUN = re.compile(r"/([^/:]+):predictLongRunning$", re.IGNORECASE)
_SHOWN = re.compile(
    r"/v1(?:beta|alpha)?/batches/[^/:]+$|/operations/[^/:]+$", re.IGNORECASE
)  # fmt: skip
_FETCHED = re.compile(r"/[^/:]+:fetchPredictOperation$", re.IGNORECASE)


class GeminiBatches(PlainJobEndpoint):
    """The creation of a batch: a receipt."""

    name = "batchGenerateContent"
    shape: Shape = "google"

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        found = _CREATED.search(path)
        return found[1] if found else None

    def job(self, payload: JSONObject) -> Job | None:
        """Return the operation that an answer shows."""
        name = label(payload.get("name"))
        if name is None:
            return None
        told = mapping(payload.get("metadata"))
        is_batch = name.startswith("batches/") or "batchStats" in told
        model = (label(told.get("model")) or "").rpartition("/")[2]
        ended = payload.get("done") is True
        usage, defects = _usage_of(payload, is_batch=is_batch) if ended else (None, ())
        return Job(
            names=(name,),
            ended=ended,
            usage=usage,
            model=model or None,
            service_tier=TIER if is_batch else None,
            traits=(MANY_REQUESTS,) if is_batch else (),
            defects=defects,
        )


class GeminiOperations(GeminiBatches):
    """The beginning of another operation: videos."""

    name = "predictLongRunning"

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        found = _BEGUN.search(path)
        return found[1] if found else None


class RetrievedOperations(GeminiBatches):
    """A look at a batch or at an operation."""

    name = "operations"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _SHOWN.search(path) else None


class FetchedOperations(GeminiBatches):
    """A look at an operation at Vertex, which is a POST."""

    name = "operations.fetch"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _FETCHED.search(path) else None


def _usage_of(operation: JSONObject, *, is_batch: bool) -> tuple[Usage | None, tuple[str, ...]]:
    """Return what a finished operation used, None where it does not say."""
    if operation.get("error"):
        return NOTHING, ()
    answer = mapping(operation.get("response"))
    inlined = mapping(answer.get("inlinedResponses"))
    responses = list(objects(inlined.get("inlinedResponses")))
    if not responses:
        where = "in its output file" if is_batch else "nowhere"
        return None, (f"the operation reports no usage: it stands {where}",)
    sums: dict[str, int] = {}
    defects: list[str] = []
    for each in responses:
        normalised = from_gemini(mapping(mapping(each.get("response")).get("usageMetadata")))
        defects += [defect for defect in normalised.defects if defect not in defects]
        for unit, quantity in (normalised.usage or {}).items():
            sums[unit] = sums.get(unit, 0) + int(quantity)
    return Usage(sums), tuple(defects[:8])
