"""Estimate the input tokens of a Gemini generateContent request.

Knows the request's shape; `makers` knows what words and functions cost. Called by `estimates`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from meter.tokens.audio import audio_tokens
from meter.tokens.bounds import MediaBounds, bound_request
from meter.tokens.counting import count_text
from meter.tokens.files import pdf_outline
from meter.tokens.images import gemini_image_tokens, inline_image_size
from meter.tokens.makers import GEMINI
from meter.tokens.media import Media, media_of
from meter.tokens.models import DEFAULT_ENCODING, encoding_for
from meter.tokens.notes import notes_on
from meter.tokens.records import InputEstimate
from meter.tokens.shapes import json_text, list_of, mapping_of, text_of

# Fitted to 978 recorded requests to gemini-2.0-flash and gemini-2.5-flash.
_RESULT_FACTOR: Final = 0.9
_SIGNATURE_TOKENS_PER_CHAR: Final = 0.06
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
    total = GEMINI.request if any(turns) else 0.0
    for turn in [system, *turns]:
        if isinstance(turn, str):
            total += GEMINI.words(turn)
        total += sum(map(_part_tokens, _parts(mapping_of(turn))))
    for declared in _declarations(request):
        total += GEMINI.declared(json_text(declared))
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
        return GEMINI.words(part)
    fields = mapping_of(part)
    tokens = GEMINI.words(text_of(fields.get("text")))
    call = mapping_of(fields.get("functionCall") or fields.get("function_call"))
    if call:
        tokens += GEMINI.called(text_of(call.get("name")), json_text(call.get("args") or {}))
    result = mapping_of(fields.get("functionResponse") or fields.get("function_response"))
    if result:
        words = text_of(result.get("name")) + json_text(result.get("response"))
        tokens += _RESULT_FACTOR * count_text(words, DEFAULT_ENCODING)
    if call:
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
