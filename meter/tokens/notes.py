"""Say in sentences what an estimate had to assume about a request.

Knows the fields of requests that the counting formulas cannot see through. Called by the
estimating modules of this package.
"""

from collections.abc import Mapping
from typing import Any, Final

from meter.tokens.models import ModelEncoding
from meter.tokens.shapes import list_of, mapping_of

_FUNCTION_TYPES: Final = ("function", "custom", None)
_STORED: Final = {
    "previous_response_id": "the provider keeps the history of this conversation",
    "conversation": "the provider keeps the history of this conversation",
    "prompt": "the provider keeps the prompt that is named",
    "cachedContent": "the provider keeps cached content that comes before this prompt",
    "cached_content": "the provider keeps cached content that comes before this prompt",
}


def notes_on(request: Mapping[str, Any], known: ModelEncoding) -> tuple[str, ...]:
    """Return a sentence for each thing that makes the estimate less sure."""
    notes = [known.note] if known.note else []
    hosted = hosted_tools(request)
    if hosted:
        notes.append(f"What hosted tools read is not counted: {', '.join(hosted)}.")
    for field, reason in () if _STORED.keys().isdisjoint(request) else _STORED.items():
        if request.get(field) and (field != "prompt" or isinstance(request[field], Mapping)):
            notes.append(f"Counted without `{field}`: {reason}.")
    return tuple(notes)


def hosted_tools(request: Mapping[str, Any]) -> list[str]:
    """Return the types of the tools that the provider itself runs, each once, in order."""
    types = [mapping_of(tool).get("type") for tool in list_of(request.get("tools"))]
    named = [kind for kind in types if isinstance(kind, str) and kind not in _FUNCTION_TYPES]
    return list(dict.fromkeys(named))
