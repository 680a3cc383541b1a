"""Bound the input tokens of a request from its bytes: nothing is tokenised.

Knows that a token has a byte or more, and what media can cost at most; knows no endpoint. Called
by the estimating modules of this package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from meter.tokens.audio import audio_bound
from meter.tokens.files import pdf_outline
from meter.tokens.media import Media, is_media_text, media_of

_FRAME_TOKENS: Final = 24
"""More than what frames a message, a part, a tool or a call in any recorded prompt."""

_LEAF_TOKENS: Final = 4
_NUMBER_TOKENS: Final = 32
_LINKED_FILE_TOKENS: Final = 400_000
_VIDEO_TOKENS: Final = 1_000_000
_AUDIO_TOKENS_PER_SECOND: Final = 40

# Schemas are laid out anew, with the descriptions of alternatives repeated; results of functions
# are escaped once more when several calls were made at once.
_TIMES: Final = {"tools": 3, "functions": 3, "response_format": 3, "text": 3}
_RESULT_TIMES: Final = 2

# Media in these is read as words by some models.
_RESULT_FIELDS: Final = frozenset({"functionResponse", "function_response"})


@dataclass(frozen=True, slots=True)
class MediaBounds:
    """The most tokens of what is not words.

    `image` and `page` (beyond its text) are those of one of them; `hidden` is what a provider
    adds to a prompt by itself.
    """

    image: int
    page: int
    hidden: int = 4_000


def bound_request(request: Mapping[str, Any], media: MediaBounds) -> int:
    """Return an upper bound of the input tokens of a request of any shape, depth or size.

    Files that are only linked count as the largest that providers accept. What hosted tools
    read, and history that only the provider has, are not in the request and not in the bound.
    """
    total = media.hidden
    pending: list[tuple[object, object, int, bool]] = [
        (field, value, _TIMES.get(field, 1), False) for field, value in request.items()
    ]
    while pending:
        field, value, times, is_result = pending.pop()
        if isinstance(value, str):
            is_words = is_result or not is_media_text(field, value)
            total += times * (_LEAF_TOKENS + (_bytes(value) if is_words else 0))
        elif type(value) is dict or isinstance(value, Mapping):
            total += times * _FRAME_TOKENS
            found = media_of(value)
            if found is not None:
                total += _media_bound(found, media)
            if value.get("role") == "tool" or value.get("type") == "function_call_output":
                times = max(times, _RESULT_TIMES)
            for name, item in value.items():
                total += times * (_LEAF_TOKENS + _bytes(str(name)))
                pending.append((name, item, times, is_result or name in _RESULT_FIELDS))
        elif isinstance(value, list | tuple):
            pending.extend((field, item, times, is_result) for item in value)
            total += times * _LEAF_TOKENS * (1 + len(value))
        else:
            total += times * _NUMBER_TOKENS
    return total


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _media_bound(found: Media, media: MediaBounds) -> int:
    if found.kind == "image":
        return media.image
    if found.kind == "video":
        return _VIDEO_TOKENS
    if not found.encoded:
        return _LINKED_FILE_TOKENS
    if found.kind == "audio":
        return audio_bound(found, _AUDIO_TOKENS_PER_SECOND)
    content = found.decoded()
    if not content.startswith(b"%PDF"):
        return len(content) + media.page
    outline = pdf_outline(content)
    return len(content) + outline.content_bytes + outline.pages * media.page
