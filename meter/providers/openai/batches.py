"""Read `POST …/batches`, `POST …/batches/{id}/cancel` and `GET …/batches/{id}`.

Source: https://platform.openai.com/docs/api-reference/batch (SDK openai 3.54, 2026-11). `usage`
stands in batches created after 2025-09-07; completed requests are billed in a batch that expired
or was cancelled as well. What each request used stands in the output file (`batch_output.py`): once
that is read the requests are billed one by one, and of the batch only what they leave of its sum.
"""

import re
from typing import Final

from meter.core.rating import MANY_REQUESTS
from meter.core.usage import Usage
from meter.providers.foreign import JSONObject, label, mapping, whole
from meter.providers.normalising import from_openai
from meter.providers.openai.jobs import NOTHING, Job, PlainJobEndpoint

TIER: Final = "batch"
"""The service tier of whatever a batch used."""

# Anthropic's batches (`/messages/batches`) and Google's (`/v1beta/batches`) are others.
_CREATED: Final = re.compile(r"(?<!/messages)(?<!/v1beta)/batches$", re.IGNORECASE)
_STEERED: Final = re.compile(r"(?<!/messages)(?<!/v1beta)/batches/[^/]+/cancel$", re.IGNORECASE)
_SHOWN: Final = re.compile(r"(?<!/messages)(?<!/v1beta)/batches/[^/:]+$", re.IGNORECASE)
_ENDED: Final = ("completed", "failed", "expired", "cancelled")
_MOST_REQUESTS: Final = 10**9


class Batches(PlainJobEndpoint):
    """The creation of a batch."""

    name = "batches"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _CREATED.search(path) else None

    def job(self, payload: JSONObject) -> Job | None:
        """Return the batch that an answer shows."""
        batch_id = label(payload.get("id"))
        if batch_id is None or payload.get("object") != "batch":
            return None
        files = (label(payload.get("output_file_id")), label(payload.get("error_file_id")))
        ended = payload.get("status") in _ENDED
        usage, defects = _usage_of(payload, ended=ended)
        return Job(
            names=(batch_id, *(file for file in files if file is not None)),
            ended=ended,
            usage=usage,
            model=label(payload.get("model")),
            service_tier=TIER,
            traits=(MANY_REQUESTS,),
            defects=defects,
        )


class CancelledBatches(Batches):
    """The cancelling of a batch."""

    name = "batches.cancel"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _STEERED.search(path) else None


class RetrievedBatches(Batches):
    """A look at a batch."""

    name = "batches.retrieve"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _SHOWN.search(path) else None


def _usage_of(batch: JSONObject, *, ended: bool) -> tuple[Usage | None, tuple[str, ...]]:
    """Return what a batch says it used; None where its end says nothing of finished requests."""
    raw = mapping(batch.get("usage"))
    normalised = from_openai(raw) if raw else None
    if normalised is not None and normalised.usage is not None:
        return normalised.usage, normalised.defects
    finished = whole(mapping(batch.get("request_counts")).get("completed"), 0, _MOST_REQUESTS)
    if ended and finished == 0:
        return NOTHING, ()
    if ended:
        return None, ("the batch reports no usage: it stands in its output file",)
    return (_zero(raw) if raw else None), ()


def _zero(raw: JSONObject) -> Usage:
    """Return the zeros that a batch reports before it has begun."""
    inner = mapping(raw.get("input_tokens_details"))
    outer = mapping(raw.get("output_tokens_details"))
    told = {
        "input_tokens": raw.get("input_tokens"),
        "cache_read_tokens": inner.get("cached_tokens"),
        "output_tokens": raw.get("output_tokens"),
        "reasoning_tokens": outer.get("reasoning_tokens"),
    }
    return Usage({unit: 0 for unit, quantity in told.items() if quantity == 0})
