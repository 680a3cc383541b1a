"""Read `GET …/responses/{id}` and `POST …/responses/{id}/cancel`.

Source: https://platform.openai.com/docs/api-reference/responses (SDK openai 3.54, 2026-11). A
response in the background reports its usage to whoever looks at it, and each time. A response
that was not made in the background was paid for when it was made.
"""

import re
from typing import Final

from meter.core.usage import Usage
from meter.providers.foreign import JSONObject, label, mapping
from meter.providers.normalising import from_openai
from meter.providers.openai.jobs import NOTHING, Job, PlainJobEndpoint
from meter.providers.openai.responses import Responses
from meter.providers.tiers import tier_of

_SHOWN: Final = re.compile(r"/responses/(?!input_tokens$|compact$)[^/]+$", re.IGNORECASE)
_CANCELLED: Final = re.compile(r"/responses/[^/]+/cancel$", re.IGNORECASE)
_ENDED: Final = ("completed", "incomplete", "failed", "cancelled")


class RetrievedResponses(PlainJobEndpoint):
    """A look at a stored response, whole or as a stream."""

    name = "responses.retrieve"
    begins = False

    def __init__(self) -> None:
        """Count hosted calls as the responses endpoint does."""
        self._responses = Responses()

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _SHOWN.search(path) else None

    def job(self, payload: JSONObject) -> Job | None:
        """Return the response that a body or an event shows."""
        response = mapping(payload.get("response")) or payload
        response_id = label(response.get("id"))
        if response_id is None or response.get("object") != "response":
            return None
        ended = response.get("status") in _ENDED
        is_background = response.get("background") is True
        usage, defects = self._usage_of(response, payload) if ended else (None, ())
        if ended and not is_background:
            usage = NOTHING
        return Job(
            names=(response_id,),
            ended=ended,
            usage=usage,
            model=label(response.get("model")),
            service_tier=tier_of(response.get("service_tier")),
            defects=defects,
        )

    def _usage_of(
        self, response: JSONObject, payload: JSONObject
    ) -> tuple[Usage | None, tuple[str, ...]]:
        raw = mapping(response.get("usage"))
        if not raw:
            # One that was stopped before it began has used nothing.
            return (None if response.get("status") == "completed" else NOTHING), ()
        normalised = from_openai(raw)
        if normalised.usage is None:
            return None, normalised.defects
        billed = self._responses.progress(payload).billed
        return Usage(billed).merged(normalised.usage), normalised.defects


class CancelledResponses(RetrievedResponses):
    """The cancelling of a response in the background."""

    name = "responses.cancel"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _CANCELLED.search(path) else None
