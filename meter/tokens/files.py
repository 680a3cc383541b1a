"""Look into inline PDF files: how many pages, and roughly what text.

Knows the outlines of PDF (page objects, deflated content streams, text operators), no fonts and
no encryption. Called by the estimating modules of this package.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Final

_MAX_STREAM_BYTES: Final = 4_000_000
_MAX_TEXT_CHARS: Final = 2_000_000
_MAX_STREAMS: Final = 5_000

_PAGE: Final = re.compile(rb"/Type\s{0,4}/Page(?![a-zA-Z])")
_STREAM: Final = re.compile(rb"stream\r?\n")
_SHOWN: Final = re.compile(rb"\[((?:[^\[\]\\]|\\.)*)\]\s*TJ|\(((?:[^()\\]|\\.)*)\)\s*(?:Tj|')")
_LITERAL: Final = re.compile(rb"\(((?:[^()\\]|\\.)*)\)")


@dataclass(frozen=True, slots=True)
class PdfOutline:
    """What was found: the pages (1 or more), the text, and the bytes of all content streams."""

    pages: int
    text: str
    content_bytes: int


def pdf_outline(content: bytes) -> PdfOutline:
    """Return the outline of a PDF. Never raises; of a damaged file, what could be read."""
    pages = len(_PAGE.findall(content))
    pieces: list[str] = []
    content_bytes = 0
    for number, mark in enumerate(_STREAM.finditer(content)):
        if number >= _MAX_STREAMS or sum(map(len, pieces[-1:])) > _MAX_TEXT_CHARS:
            break
        header = content[max(0, mark.start() - 400) : mark.start()].rpartition(b"obj")[2]
        if b"/Image" in header or b"/FontFile" in header or b"/Length1" in header:
            continue
        plain = _inflated(content, mark.end())
        content_bytes += len(plain)
        pages += len(_PAGE.findall(plain))
        if b"Tj" in plain or b"TJ" in plain:
            pieces.append(_shown_text(plain))
    return PdfOutline(max(pages, 1), "\n".join(pieces)[:_MAX_TEXT_CHARS], content_bytes)


def _inflated(content: bytes, start: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(
            content[start : start + _MAX_STREAM_BYTES], _MAX_STREAM_BYTES
        )
    except zlib.error:
        return b""


def _shown_text(stream: bytes) -> str:
    words = []
    for match in _SHOWN.finditer(stream):
        shown = b"".join(_LITERAL.findall(match.group(1))) if match.group(1) else match.group(2)
        if shown:
            words.append(shown.decode("latin-1"))
    return " ".join("".join(words).split())
