"""Bound what a request makes of pictures, sound and film, from the request alone. Pure.

Upper bounds for holds, never a record. Knows no price: each unit that a price could be asked for
is bounded, whichever the model is billed by. Called by `estimates`.

Source: OpenAI's guides to images, to audio and to text to speech, 2026-11; the formula of
gpt-image-2 as OpenAI's own calculator has it:
https://community.openai.com/t/gpt-image-2-output-pricing-calculator-online-and-in-your-code/1382699
"""

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from meter.tokens.shapes import mapping_of, text_of

Bounds = dict[str, int]

_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_MOST_PICTURES: Final = 10_000

# gpt-image-1: one token for each square of so many pixels, and one for each row of them.
_SQUARE_PX: Final = {"low": 64, "medium": 32, "high": 16}
_TALLEST: Final = (1024, 1536)
# gpt-image-2: patches along the longer side; the picture's area weighs them.
_PATCHES: Final = {"low": 16, "medium": 48, "high": 96}
_MOST_PX: Final = 8_294_400
_LONGEST_PX: Final = 3_840
_PARTIAL_TOKENS: Final = 100
# A picture that is put in: 65, and 129 for each of the four tiles that it can have at most; with
# high fidelity, which newer models always have, 6240 more.
_PICTURE_TOKENS: Final = 65 + 4 * 129
_FAITHFUL_TOKENS: Final = 6_240
_CHOOSES_FIDELITY: Final = ("gpt-image-1", "chatgpt-image")
# What is said around a prompt and each picture: at most 17 in the recorded answers.
_AROUND_TOKENS: Final = 32
# gpt-image-1.5 writes, too: at most 308 tokens in the recorded answers.
_WRITES: Final = ("gpt-image-1.5", "chatgpt-image")
_PICTURE_TEXT_TOKENS: Final = 2_048

# Speech: 20 tokens a second. Fifteen characters take a second; four times as slow, a byte of text
# takes 6 tokens, and a digit, which is spoken as several words, 20. Silence may stand before it.
_BYTE_TOKENS: Final = 6
_DIGIT_TOKENS: Final = 20
_SILENCE_TOKENS: Final = 600
_DIGIT: Final = re.compile(r"\d")

# Sound that is heard: OpenAI's models take 10 tokens for a second, Mistral's 100. Text for it: no
# language is spoken faster than 20 tokens a second; with its speakers told apart, 39 were seen.
_HEARD_TOKENS: Final = 110
_HEARD_TOKENS_OF_OPENAI: Final = 10
_WRITTEN_TOKENS: Final = 20
_WRITTEN_TOKENS_BY_SPEAKER: Final = 80
_WRITTEN_AT_LEAST: Final = 100
# No codec that is taken speaks in fewer bytes; what a container tells of compressed sound is
# expected of its first part.
_LEAST_BYTES_A_SECOND: Final = 500
_UNSURE: Final = 2

_USUAL_FILM_SECONDS: Final = 4
_LONGEST_FILM_SECONDS: Final = 100_000


def pictures(request: Mapping[str, Any], model: str) -> Bounds:
    """Return the most pictures, and the most tokens of a model that draws by tokens."""
    asked = request.get("n")
    number = min(asked, _MOST_PICTURES) if type(asked) is int and asked > 0 else 1
    bounds = {"images": number}
    if "image" not in model or "dall" in model:
        return bounds
    partial = request.get("partial_images")
    extra = min(partial, 10) * _PARTIAL_TOKENS if type(partial) is int and partial > 0 else 0
    each = _drawn_tokens(text_of(request.get("size")), text_of(request.get("quality")), model)
    if each is None:
        return bounds
    words = len(text_of(request.get("prompt")).encode("utf-8", "surrogatepass")) + _AROUND_TOKENS
    shown = _pictures_in(request) * (_shown_tokens(request, model) + _AROUND_TOKENS)
    written = _PICTURE_TEXT_TOKENS if model.startswith(_WRITES) else 0
    drawn = number * (each + extra + written)
    return bounds | {"input_tokens": words + shown, "output_tokens": drawn}


def speech(request: Mapping[str, Any], model: str) -> Bounds:
    """Return the characters that are to be spoken, and the most tokens that they can take."""
    spoken = request.get("input")
    if not isinstance(spoken, str):
        return {}
    size = len(spoken.encode("utf-8", "surrogatepass"))
    told = len(text_of(request.get("instructions")).encode("utf-8", "surrogatepass"))
    digits = len(_DIGIT.findall(spoken))
    sound = _SILENCE_TOKENS + size * _BYTE_TOKENS + digits * _DIGIT_TOKENS
    return {"characters": len(spoken), "input_tokens": size + told, "output_tokens": sound}


def hearing(request: Mapping[str, Any], model: str) -> Bounds:
    """Return the most seconds of the sound that is sent, and the tokens in and out of it."""
    seconds = _seconds_of(mapping_of(request.get("file")))
    if seconds is None:
        return {}
    told = len(text_of(request.get("prompt")).encode("utf-8", "surrogatepass"))
    each = _HEARD_TOKENS_OF_OPENAI if "gpt-4o" in model else _HEARD_TOKENS
    written = _WRITTEN_TOKENS_BY_SPEAKER if "diarize" in model else _WRITTEN_TOKENS
    return {
        "audio_seconds": seconds,
        "input_tokens": told + seconds * each,
        "output_tokens": _WRITTEN_AT_LEAST + seconds * written,
    }


def films(request: Mapping[str, Any], model: str) -> Bounds:
    """Return the seconds of film that are asked for; OpenAI's shape and Azure's."""
    asked = request.get("seconds", request.get("n_seconds", _USUAL_FILM_SECONDS))
    if isinstance(asked, str) and asked.isascii() and asked.isdecimal() and len(asked) < 7:
        asked = int(asked)
    variants = request.get("n_variants", 1)
    if type(asked) is not int or type(variants) is not int or variants < 1:
        return {}
    seconds = asked * variants
    return {"video_seconds": seconds} if 0 < seconds <= _LONGEST_FILM_SECONDS else {}


BOUNDED: Final[Mapping[str, Callable[[Mapping[str, Any], str], Bounds]]] = {
    "audio.speech": speech,
    "audio.transcriptions": hearing,
    "audio.translations": hearing,
    "images.edits": pictures,
    "images.generations": pictures,
    "images.variations": pictures,
    "videos": films,
}
"""What bounds a request, by its endpoint."""


def _drawn_tokens(size: str, quality: str, model: str) -> int | None:
    """Return the most tokens that one picture takes; None for a model with another formula."""
    quality = quality if quality in _SQUARE_PX else "high"
    given = _SIZE.fullmatch(size)
    width, height = (int(given[1]), int(given[2])) if given else (0, 0)
    if model.startswith(("gpt-image-1", "chatgpt-image")):
        if not width or not height:
            width, height = _TALLEST
        edge = _SQUARE_PX[quality]
        rows = -(-height // edge)
        return -(-width // edge) * rows + rows
    if model != "gpt-image-2" and not model.startswith("gpt-image-2-"):
        return None
    if not width or not height or width * height > _MOST_PX:
        # A square takes more than any other shape of the same area.
        width = height = _LONGEST_PX
        area = _MOST_PX
    else:
        area = width * height
    longer, shorter = max(width, height), min(width, height)
    patches = _PATCHES[quality]
    across = -(-patches * shorter // longer)
    return -(-patches * across * (2_000_000 + area) // 4_000_000)


def _pictures_in(request: Mapping[str, Any]) -> int:
    """Return how many pictures are put in, the mask among them."""
    found = 0
    for name in ("image", "images", "mask"):
        given = request.get(name)
        found += len(given) if isinstance(given, list) else bool(given)
    return found


def _shown_tokens(request: Mapping[str, Any], model: str) -> int:
    is_plain = model.startswith(_CHOOSES_FIDELITY) and request.get("input_fidelity") != "high"
    return _PICTURE_TOKENS if is_plain else _PICTURE_TOKENS + _FAITHFUL_TOKENS


def _seconds_of(file: Mapping[str, Any]) -> int | None:
    """Return the most seconds that a file can sound, None where nothing bounds it."""
    told, size = file.get("seconds"), file.get("bytes")
    by_size = None
    if type(size) is int and file.get("whole") is not False:
        by_size = -(-size // _LEAST_BYTES_A_SECOND)
    if not isinstance(told, Decimal):
        return by_size
    by_length = int((told * _UNSURE).to_integral_value(ROUND_CEILING)) + 1
    return by_length if by_size is None else min(by_length, by_size)
