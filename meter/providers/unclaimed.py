"""Watch the answers to calls that no endpoint claims, in case they report usage after all.

Providers and gateways have paths that nobody listed. Such a call passes through unmetered, but a
usage object in its answer, at one of the usual places, is what the call used, and is recorded.
Called by `dialect.py`.
"""

import re
from typing import Any, Final

from meter.core.reading import UNMETERED, Reading
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects
from meter.providers.native import Native, NativeObserver
from meter.providers.normalising import in_any_shape
from meter.providers.provider import Provider

_NAMES: Final = ("usage", "usageMetadata", "usage_info", "tokenUsage", "token_usage")
_HOLDERS: Final = ("response", "result", "chatResponse", "output", "data", "message", "metadata",
                   "final_result", "delta")  # fmt: skip


class Unclaimed(Native):
    """Any call with a JSON body that no endpoint claims."""

    name = UNMETERED
    telling = re.compile(rb'"(?:' + "|".join(_NAMES).encode() + rb')"\s*:\s*\{')

    def claims(self, path: str) -> str | None:
        """Return nothing: the dialect asks this one when all others declined."""
        return None

    def read(self, request: Request) -> Reading:
        """Read which model is asked for, where a body says so."""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.fields.get("model")),
            streaming=request.fields.get("stream") is True or "stream" in request.path.lower(),
            request=request.fields,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return the usage that stands in a payload, or in a part of it."""
        parts = [payload, *(mapping(payload.get(name)) for name in _HOLDERS)]
        usages = (mapping(part.get(name)) for part in parts for name in _NAMES)
        words: dict[str, Any] = {"id": payload.get("id"), "model": payload.get("model")}
        words["usage"] = next((usage for usage in usages if usage), None)
        for choice in objects(payload.get("choices")):
            words["usage"] = words["usage"] or mapping(choice.get("usage")) or None
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Say nothing: only the end of the bytes is known to be the end."""
        return Progress()

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the usage, in whichever words it is."""
        return in_any_shape(raw)


class UnclaimedObserver(NativeObserver):
    """Watches one such answer. What was reported last, when the bytes end, is final.

    An object that is shown again under its id is billed once.
    """

    __slots__ = ()

    @property
    def _is_final(self) -> bool:
        return self._closed or super()._is_final

    @property
    def _billing_ids(self) -> tuple[str, ...]:
        response_id = self._seen.response_id
        return (response_id,) if response_id and self._seen.usage else ()
