"""Measure how long a sound is, from its bytes. Never raises, reads no file.

Does not know who wants to know. Called by `meter/providers/`: uploads and spoken answers are
billed by the second where no usage is reported.
"""

import struct
from decimal import ROUND_HALF_EVEN, Decimal
from io import BytesIO
from typing import Final

from tinytag import TinyTag

LIMIT_BYTES: Final = 26 * 1024 * 1024
"""A longer sound is measured by its header only, where it is a WAV."""

_MICROSECOND: Final = Decimal("0.000001")
_LONGEST_SECONDS: Final = 1_000_000
# A real file takes some thousand; a made one can be read byte by byte for many seconds.
_READS_LIMIT: Final = 100_000
_WAV_CHUNKS_LIMIT: Final = 64
_UNKNOWN_SIZE: Final = 0xFFFFFFFF


def seconds_of(content: bytes, length_bytes: int | None) -> Decimal | None:
    """Return the length of a sound in seconds, None where its bytes do not tell it.

    `content` is the sound or its first bytes, `length_bytes` the length of all of it, None when
    that is not known: of a WAV the first bytes are enough. Exact for WAV; for compressed sound
    as its container says, or as its first frames let expect.
    """
    if content[:4] in (b"RIFF", b"RF64") and content[8:12] == b"WAVE":
        return _wav_seconds(content, length_bytes)
    if length_bytes != len(content) or length_bytes > LIMIT_BYTES:
        return None
    return _tagged_seconds(content)


def _wav_seconds(head: bytes, length_bytes: int | None) -> Decimal | None:
    """Return the length by the header: the bytes of sound over the bytes of a second.

    A WAV that was written as a stream announces 0 or 4 GiB; then all that follows is sound.
    """
    at, second_bytes = 12, 0
    for _ in range(_WAV_CHUNKS_LIMIT):
        if at + 8 > len(head):
            return None
        name, size = struct.unpack_from("<4sI", head, at)
        at += 8
        if name == b"fmt " and at + 16 <= len(head):
            (second_bytes,) = struct.unpack_from("<I", head, at + 8)
        if name == b"data":
            sound_bytes = _sound_bytes(size, None if length_bytes is None else length_bytes - at)
            if not second_bytes or sound_bytes is None:
                return None
            return _bounded(Decimal(sound_bytes) / second_bytes)
        at += size + size % 2
    return None


def _sound_bytes(announced: int, there: int | None) -> int | None:
    is_streamed = announced in (0, _UNKNOWN_SIZE)
    if there is None:
        return None if is_streamed else announced
    return max(there, 0) if is_streamed else min(announced, max(there, 0))


def _tagged_seconds(content: bytes) -> Decimal | None:
    try:
        duration = TinyTag.get(file_obj=_BoundedReads(content), tags=False).duration
    except Exception:
        # Foreign bytes lead the library into errors of every kind; all mean: not a known sound.
        return None
    if not isinstance(duration, (int, float)) or not 0 < duration < _LONGEST_SECONDS:
        return None
    return _bounded(Decimal(repr(duration)))


class _BoundedReads(BytesIO):
    """Bytes in memory that can be read only so often."""

    _left = _READS_LIMIT

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"read more than {_READS_LIMIT} times")
        return super().read(size)


def _bounded(seconds: Decimal) -> Decimal | None:
    if seconds > _LONGEST_SECONDS:
        return None
    return seconds.quantize(_MICROSECOND, ROUND_HALF_EVEN)
