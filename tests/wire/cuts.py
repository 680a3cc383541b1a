"""Feed bytes to an observer in pieces, and draw the places of the cuts."""

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import strategies as st

from meter.wire import Framer


def payloads(framer: Framer, chunks: list[bytes]) -> list[bytes]:
    """Feed the chunks and the end; return every payload."""
    found = [payload for chunk in chunks if chunk for payload in framer.feed(chunk)]
    return found + framer.feed(b"")


def in_two(text: bytes) -> Iterator[list[bytes]]:
    """Cut the text once, at every offset."""
    for at in range(len(text) + 1):
        yield [text[:at], text[at:]]


def singly(text: bytes) -> list[bytes]:
    """Cut the text between all its bytes."""
    return [text[at : at + 1] for at in range(len(text))]


def in_pieces(text: bytes, size_bytes: int) -> list[bytes]:
    """Cut the text into pieces of one size, the last may be shorter."""
    return [text[at : at + size_bytes] for at in range(0, len(text), size_bytes)]


def cut_at(text: bytes, places: list[int]) -> list[bytes]:
    """Cut the text at places that are taken modulo its length."""
    marks = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(marks)]


def texts_of(*parts: bytes) -> st.SearchStrategy[bytes]:
    """Draw bytes that are rich in the given parts."""
    return st.lists(st.one_of(st.sampled_from(parts), st.binary(max_size=4)), max_size=40).map(
        b"".join
    )


places = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)
