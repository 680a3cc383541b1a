"""Cut a byte stream at a delimiter, with a bound on what is kept of a block under way.

Does not know what a block means. Called by the framers of SSE and NDJSON.
"""

from meter.wire.pieces import LIMIT_BYTES


class BlockSplitter:
    """Collect the blocks between delimiters, whatever the cuts of the chunks they come in.

    A block longer than `limit_bytes` is skipped and counted in `dropped`; at most that many
    bytes and one chunk are held.
    """

    __slots__ = ("_delimiter", "_overlap", "_skipping", "_under_way", "dropped", "limit_bytes")

    def __init__(self, delimiter: bytes, limit_bytes: int = LIMIT_BYTES) -> None:
        self.dropped = 0
        self.limit_bytes = limit_bytes
        self._delimiter = delimiter
        # The most bytes of a delimiter that may stand at the end of what was fed so far.
        self._overlap = len(delimiter) - 1
        self._under_way = bytearray()
        self._skipping = False

    @property
    def is_between(self) -> bool:
        """Whether no block is under way."""
        return not self._under_way and not self._skipping

    def feed(self, data: bytes) -> list[bytes]:
        """Take a non-empty chunk; return the blocks that it completes, delimiters removed."""
        if self._under_way or self._skipping:
            return self._complete(data)
        return self._cut(data)

    def finish(self) -> bytes:
        """Return the last block, which no delimiter followed; b"" when there is none."""
        last = b"" if self._skipping else bytes(self._under_way)
        self._under_way.clear()
        self._skipping = False
        return last

    def _cut(self, data: bytes) -> list[bytes]:
        blocks = data.split(self._delimiter)
        rest = blocks.pop()
        if rest:
            self._under_way += rest
            self._bound()
        if len(data) > self.limit_bytes:
            kept = [block for block in blocks if len(block) <= self.limit_bytes]
            self.dropped += len(blocks) - len(kept)
            return kept
        return blocks

    def _complete(self, data: bytes) -> list[bytes]:
        under_way = self._under_way
        seen = max(0, len(under_way) - self._overlap)
        under_way += data
        end = under_way.find(self._delimiter, seen)
        if end < 0:
            self._bound()
            return []
        blocks = []
        if self._skipping:
            self._skipping = False
        elif end > self.limit_bytes:
            self.dropped += 1
        else:
            blocks.append(bytes(under_way[:end]))
        rest = bytes(under_way[end + len(self._delimiter) :])
        under_way.clear()
        if rest:
            blocks += self._cut(rest)
        return blocks

    def _bound(self) -> None:
        """Give up a block that is too long whatever follows; keep what may begin its delimiter."""
        if not self._skipping and len(self._under_way) - self._overlap > self.limit_bytes:
            self._skipping = True
            self.dropped += 1
        if self._skipping:
            del self._under_way[: max(0, len(self._under_way) - self._overlap)]
