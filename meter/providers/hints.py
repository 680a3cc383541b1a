"""Read whom a request names as the one to pay: attribution that the client itself sent.

A hint fills in what the key or the surrounding code leaves open, and never overrides them.
Called by the endpoints.
"""

from itertools import islice
from typing import Any, Final

from meter.core.call import NOBODY, Attribution
from meter.providers.foreign import JSONObject, label, mapping

MOST_TAGS: Final = 16
"""OpenAI allows this many pairs in `metadata`; more are not read."""


def openai_hint(fields: JSONObject) -> Attribution:
    """Return the attribution of an OpenAI body: `safety_identifier`, `user`, `metadata`."""
    subject = label(fields.get("safety_identifier")) or label(fields.get("user"))
    metadata = fields.get("metadata")
    if subject is None and not metadata:
        return NOBODY
    return Attribution(subject=subject, tags=tags(metadata))


def tags(value: Any) -> tuple[tuple[str, str], ...]:
    """Return the first pairs of an object whose names and values are plain text, sorted."""
    if not value:
        return ()
    pairs = islice(mapping(value).items(), MOST_TAGS)
    return tuple(
        sorted((key, given) for key, given in pairs if label(key) and label(given) is not None)
    )
