"""Count the tokens of text: sliced, so that no input is slow or fatal, and memoised by digest.

Knows encodings by name; knows nothing of messages, models or requests. Called by the estimating
modules of this package, and by whoever counts delivered output.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

from meter.tokens.encodings import encoding

SLICE_CHARS: Final = 50_000
"""The longest piece given to tiktoken at once.

tiktoken overflows its stack on about a million spaces and takes half a minute for ten million
CJK characters; in slices both are counted in linear time (openai/tiktoken issue 15).
"""

_COUNTER_PENDING_CHARS: Final = 64_000
# How far before the end of a slice a harmless place to cut is looked for.
_CUT_SEARCH_CHARS: Final = 4_000
_FALLBACK_SLICE_CHARS: Final = 1_000

# Above this, which no model takes in, a sample is counted: fifty megabytes would take ten seconds.
WHOLLY_COUNTED_CHARS: Final = 8_000_000
_SAMPLED_SLICES: Final = 40

_MEMO_MIN_CHARS: Final = 128
_MEMO_ENTRIES: Final = 16_384
_SHORT_ENTRIES: Final = 4_096


class _Encoder(Protocol):
    def encode_ordinary(self, text: str) -> Sequence[int]: ...


class _Memo:
    """Counts of texts seen before, by digest: at most 16,384, about 4 MB; no text is kept."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> int | None:
        with self._lock:
            count = self._counts.get(key)
            if count is not None:
                self._counts.move_to_end(key)
            return count

    def put(self, key: bytes, count: int) -> None:
        with self._lock:
            self._counts[key] = count
            if len(self._counts) > _MEMO_ENTRIES:
                self._counts.popitem(last=False)


_memo = _Memo()


def count_text(text: str, encoding_name: str) -> int:
    """Return the number of tokens of the text; special tokens in it count as plain text.

    Exact up to 50,000 characters, and beyond that wherever a slice can end between two words;
    above eight million characters an extrapolation from 40 slices spread over the text.
    Lone surrogates count as the replacement character does. Never raises for any text.

    Raises: InputError when the encoding is unknown.
    """
    if not text:
        return 0
    if len(text) < _MEMO_MIN_CHARS:
        return _count_short(text, encoding_name)
    digest = hashlib.blake2b(encoding_name.encode(), digest_size=16)
    digest.update(text.encode("utf-8", "surrogatepass"))
    key = digest.digest()
    count = _memo.get(key)
    if count is None:
        count = _count_sliced(encoding(encoding_name), text)
        _memo.put(key, count)
    return count


@lru_cache(_SHORT_ENTRIES)
def _count_short(text: str, encoding_name: str) -> int:
    """Count a text of less than 128 characters: roles, names, short answers."""
    return _count_slice(encoding(encoding_name), text)


def byte_bound(text: str | int) -> int:
    """Return an upper bound of the tokens of a text or of so many bytes: a token has one or more.

    A lone surrogate becomes the replacement character, which has three bytes like itself.
    """
    if isinstance(text, int):
        return max(text, 0)
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def last_break(text: str, first: int, last: int) -> int:
    """Return the last place in `text[first:last]` where a cut changes no count, 0 when none is.

    That is before a single space between two letters: it always begins a token.
    """
    place = last
    while (place := text.rfind(" ", max(first, 1), place)) > 0:
        if place + 1 < len(text) and text[place - 1].isalpha() and text[place + 1].isalpha():
            return place
    return 0


class TextCounter:
    """Count text that arrives in pieces, in bounded memory.

    Up to 64,000 characters the count is that of the whole text, however it was cut; of a longer
    one, slices are counted as they fill. Not safe to feed from two threads at once.

    Raises: InputError from `feed` or `count` when the encoding is unknown.
    """

    __slots__ = ("_counted", "_encoding_name", "_pending", "_pending_chars")

    def __init__(self, encoding_name: str) -> None:
        self._encoding_name = encoding_name
        self._pending: list[str] = []
        self._pending_chars = 0
        self._counted = 0

    def feed(self, piece: str) -> None:
        """Take the next piece of the text."""
        self._pending.append(piece)
        self._pending_chars += len(piece)
        if self._pending_chars > _COUNTER_PENDING_CHARS:
            self._count_full_slices()

    def count(self, encoding_name: str | None = None) -> int:
        """Return the tokens of all text so far; more may be fed afterwards.

        Another encoding than the counter's own serves the text that is still pending: all of it,
        unless the text is longer than 64,000 characters.
        """
        return self._counted + count_text(
            "".join(self._pending), encoding_name or self._encoding_name
        )

    def whole_text(self) -> str | None:
        """Return all text so far, None when the beginning of it was counted and let go."""
        return None if self._counted else "".join(self._pending)

    def _count_full_slices(self) -> None:
        text = "".join(self._pending)
        start = 0
        while len(text) - start > _COUNTER_PENDING_CHARS:
            end = _cut(text, start)
            self._counted += count_text(text[start:end], self._encoding_name)
            start = end
        self._pending = [text[start:]]
        self._pending_chars = len(text) - start


def _count_sliced(encoder: _Encoder, text: str) -> int:
    if len(text) > WHOLLY_COUNTED_CHARS:
        return _count_sample(encoder, text)
    total = 0
    start = 0
    while start < len(text):
        end = _cut(text, start)
        total += _count_slice(encoder, text[start:end])
        start = end
    return total


def _count_sample(encoder: _Encoder, text: str) -> int:
    """Return the count of slices spread evenly over the text, scaled to its length."""
    step = len(text) // _SAMPLED_SLICES
    counted = sum(
        _count_slice(encoder, text[place * step : place * step + SLICE_CHARS])
        for place in range(_SAMPLED_SLICES)
    )
    return counted * len(text) // (_SAMPLED_SLICES * SLICE_CHARS)


def _cut(text: str, start: int) -> int:
    """Return where the slice that begins at `start` ends: between two words if that can be."""
    limit = start + SLICE_CHARS
    if limit >= len(text):
        return len(text)
    return last_break(text, limit - _CUT_SEARCH_CHARS, limit) or limit


def _count_slice(encoder: _Encoder, text: str) -> int:
    """Count one slice; where tiktoken panics, in smaller slices, and at last by its bytes."""
    try:
        return len(encoder.encode_ordinary(text))
    except BaseException as error:
        if not _is_panic(error):
            raise
    if len(text) <= _FALLBACK_SLICE_CHARS:
        return byte_bound(text)
    pieces = range(0, len(text), _FALLBACK_SLICE_CHARS)
    return sum(_count_slice(encoder, text[at : at + _FALLBACK_SLICE_CHARS]) for at in pieces)


def _is_panic(error: BaseException) -> bool:
    # pyo3 makes this class at run time, derives it from BaseException and exports it nowhere.
    return type(error).__name__ == "PanicException" and not isinstance(error, Exception)
