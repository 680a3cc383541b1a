"""Estimate the input tokens of a Gemini generateContent request.

Knows the request's shape; Gemini's tokenizer is not bundled, so o200k_base counts and factors
fitted to recorded usage scale the counts. Called by `estimates`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from meter.tokens.audio import audio_tokens
from meter.tokens.bounds import MediaBounds, bound_request
from meter.tokens.counting import count_text
from meter.tokens.files import pdf_outline
from meter.tokens.images import gemini_image_tokens, inline_image_size
from meter.tokens.media import Media, media_of
from meter.tokens.models import DEFAULT_ENCODING, encoding_for
from meter.tokens.notes import notes_on
from meter.tokens.records import InputEstimate
from meter.tokens.shapes import json_text, list_of, mapping_of, text_of

# Fitted to 580 recorded requests to gemini-2.0-flash and gemini-2.5-flash.
_TEXT_FACTOR: Final = 1.05
_SCHEMA_FACTOR: Final = 0.75
_CALL_FACTOR: Final = 0.9
_SIGNATURE_TOKENS_PER_CHAR: Final = 0.13
_AUDIO_TOKENS_PER_SECOND: Final = 32
_PAGE_TOKENS: Final = 258
_VIDEO_TOKENS: Final = 3_000
_BOUNDS: Final = MediaBounds(image=10_320, page=1_300, hidden=1_000)


def estimate(request: Mapping[str, Any], model: str) -> InputEstimate:
    """Return the input tokens of a generateContent request; an approximation."""
    known = encoding_for(model)
    system = request.get("systemInstruction") or request.get("system_instruction")
    contents = request.get("contents")
    turns = contents if isinstance(contents, list) else [contents]
    total = 0.0
    for turn in [system, *turns]:
        if isinstance(turn, str):
            total += _TEXT_FACTOR * count_text(turn, DEFAULT_ENCODING)
        total += sum(map(_part_tokens, _parts(mapping_of(turn))))
    for declared in _declarations(request):
        total += _SCHEMA_FACTOR * count_text(json_text(declared), DEFAULT_ENCODING)
    tokens = round(total)
    bound = bound_request(request, _BOUNDS)
    return InputEstimate(
        tokens, max(tokens, bound), known.name, exact=False, notes=notes_on(request, known)
    )


def _parts(turn: Mapping[str, Any]) -> list[Any]:
    parts = turn.get("parts")
    return parts if isinstance(parts, list) else [parts]


def _part_tokens(part: object) -> float:
    if isinstance(part, str):
        return _TEXT_FACTOR * count_text(part, DEFAULT_ENCODING)
    fields = mapping_of(part)
    tokens = _TEXT_FACTOR * count_text(text_of(fields.get("text")), DEFAULT_ENCODING)
    for name in ("functionCall", "functionResponse", "function_call", "function_response"):
        if fields.get(name):
            tokens += _CALL_FACTOR * count_text(json_text(fields[name]), DEFAULT_ENCODING)
    if fields.get("functionCall"):
        # Thoughts come back as a signature beside the call that they led to.
        tokens += _SIGNATURE_TOKENS_PER_CHAR * len(text_of(fields.get("thoughtSignature")))
    media = media_of(fields)
    return tokens + (_media_tokens(media) if media else 0)


def _declarations(request: Mapping[str, Any]) -> Iterator[object]:
    for tool in list_of(request.get("tools")):
        fields = mapping_of(tool)
        yield from list_of(
            fields.get("functionDeclarations") or fields.get("function_declarations")
        )


def _media_tokens(media: Media) -> int:
    if media.kind == "image":
        return gemini_image_tokens(inline_image_size(media.encoded))
    if media.kind == "audio":
        return audio_tokens(media, _AUDIO_TOKENS_PER_SECOND)
    if media.kind == "video":
        return _VIDEO_TOKENS
    content = media.decoded()
    if not content.startswith(b"%PDF"):
        return count_text(content.decode("utf-8", "replace"), DEFAULT_ENCODING)
    return _PAGE_TOKENS * pdf_outline(content).pages
