"""Hold what all observers of the wire share: the bound on a payload and the empty piece.

Does not know any format. Used by every file of `meter/wire/`.
"""

from typing import Final

LIMIT_BYTES: Final = 16 * 1024 * 1024
"""The largest payload that an observer keeps, in bytes."""

BOM: Final = b"\xef\xbb\xbf"
"""The byte order mark that a UTF-8 stream may begin with; it is no part of the payload."""


class _NotYet(bytes):
    """An empty piece that is not the end."""


NOT_YET: Final[bytes] = _NotYet()
"""What a decompressor returns for bytes that decode to nothing yet.

Equal to b"", but observers know it by identity: it does not end a stream as b"" does. Without
it `framer.feed(decompressor.feed(chunk))` would end at a chunk that holds only a gzip header.
"""
