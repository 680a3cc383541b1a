"""Tell how long inline audio lasts, from its header or from its size.

Knows WAV headers and usual bit rates. Called by the estimating modules of this package.
"""

import math
from typing import Final

from meter.tokens.media import Media

# What compressed speech takes in a second, at the usual 128 and at the lowest 8 kbit/s.
_USUAL_BYTES_PER_SECOND: Final = 16_000
_LEAST_BYTES_PER_SECOND: Final = 1_000


def audio_seconds(media: Media) -> float:
    """Return the length of inline audio in seconds; of linked audio 0, because nothing is known."""
    head = Media("audio", media.encoded[:400]).decoded()
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE" and len(head) >= 32:
        bytes_per_second = int.from_bytes(head[28:32], "little")
        if bytes_per_second > 0:
            return max(media.size_bytes - 44, 0) / bytes_per_second
    return media.size_bytes / _USUAL_BYTES_PER_SECOND


def audio_tokens(media: Media, tokens_per_second: int) -> int:
    """Return the tokens of inline audio.

    Source: OpenAI's guide (10 tokens a second of a user's audio); Gemini's documentation (32).
    """
    return math.ceil(audio_seconds(media) * tokens_per_second)


def audio_bound(media: Media, tokens_per_second: int) -> int:
    """Return an upper bound of the tokens of inline audio, whatever its bit rate."""
    return math.ceil(media.size_bytes / _LEAST_BYTES_PER_SECOND * tokens_per_second) + 100
