"""Decode content encodings on a copy of the bytes: gzip, deflate, br, zstd, and stacks of them.

Does not know what the content is. Called by the observers of answers in `meter/providers/`,
before a framer. brotli and zstandard are imported when an answer needs them.

Source: RFC 9110 §8.4 (content codings, in the order applied), RFC 1950–1952, RFC 7932, RFC 8878
and RFC 9659 (a zstd window is at most 8 MiB).
"""

import importlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from meter.wire.pieces import NOT_YET

LIMIT_BYTES: Final = 1024 * 1024 * 1024
"""The most that one answer may decode to, in bytes."""
FEED_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""The most that the bytes of one `feed` may decode to."""
RATIO_LIMIT: Final = 1000
"""How many bytes one byte may become, once there are more than `RATIO_FREE_BYTES`."""
RATIO_FREE_BYTES: Final = 16 * 1024 * 1024

_STAGES_LIMIT: Final = 4
# Bytes given to zlib at once: each gzip member that ends copies what is left of them.
_SLICE_BYTES: Final = 16 * 1024
_PIECE_BYTES: Final = 64 * 1024
# zstandard has no bound on what it returns. 4 bytes become at most one block of 128 KiB, so
# that a slice becomes at most 32 MiB.
_ZSTD_SLICE_BYTES: Final = 1024
_ZSTD_WINDOW_BYTES: Final = 8 * 1024 * 1024


# What a text begins with: a visible character, white space, or a byte order mark. No gzip member
# begins so, and of zstd only frames with "(" and those to be skipped, from "P" to "_".
_TEXT_BEGINS: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n\xef")
_ZSTD_BEGINS: Final = frozenset(b"(") | frozenset(range(0x50, 0x60))


class _UnreadableError(Exception):
    """The bytes cannot be decoded; the text says why."""


class _Codec(Protocol):
    """Decodes one content coding."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to. Raises: _UnreadableError."""


class Decompressor:
    """Decode an answer's bytes, bounded. Never raises on foreign bytes.

    `failed` says why decoding stopped for good, None as long as it goes on. What was decoded
    before a fault is returned. An answer that is cut off is no fault: what came is returned.
    """

    __slots__ = ("_stages", "failed")

    def __init__(self, stages: "Iterable[_Stage]" = (), failed: str | None = None) -> None:
        self._stages = tuple(stages)
        self.failed = failed

    @property
    def is_identity(self) -> bool:
        """Whether bytes are handed out as they come."""
        return not self._stages and self.failed is None

    def feed(self, data: bytes) -> bytes:
        """Return what these bytes decode to; b"", which ends the answer, gives b"".

        Where bytes decode to nothing (yet), `NOT_YET` is returned: it equals b"", and framers
        do not take it for the end.
        """
        if not data:
            return data
        if self.failed is not None:
            return NOT_YET
        if not self._stages:
            return data
        decoded: Iterable[bytes] = (data,)
        for stage in self._stages:
            decoded = stage.decode(decoded)
        pieces = []
        length_bytes = 0
        try:
            for piece in decoded:
                length_bytes += len(piece)
                if length_bytes > FEED_LIMIT_BYTES:
                    raise _UnreadableError(
                        f"{len(data)} bytes decode to more than {FEED_LIMIT_BYTES}"
                    )
                pieces.append(piece)
        except _UnreadableError as fault:
            self.failed = str(fault)
        return b"".join(pieces) or NOT_YET


def decompressor_for(content_encoding: str | None, limit_bytes: int = LIMIT_BYTES) -> Decompressor:
    """Return a decompressor for a `content-encoding` header; None means identity.

    An encoding that cannot be read gives one that has `failed` from the start.
    """
    if not content_encoding:
        return Decompressor()
    names = [name.strip().lower() for name in content_encoding.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if len(names) > _STAGES_LIMIT:
        return Decompressor(failed=f"found {len(names)} stacked encodings, expected at most 4")
    try:
        return Decompressor([_Stage(_codec(name), limit_bytes) for name in reversed(names)])
    except _UnreadableError as fault:
        return Decompressor(failed=str(fault))


class _Stage:
    """One coding of a stack, with its bounds."""

    __slots__ = ("_codec", "_limit_bytes", "_read_bytes", "_written_bytes")

    def __init__(self, codec: _Codec, limit_bytes: int) -> None:
        self._codec = codec
        self._limit_bytes = limit_bytes
        self._read_bytes = 0
        self._written_bytes = 0

    def decode(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what the pieces decode to. Raises: _UnreadableError."""
        for data in pieces:
            for start in range(0, len(data), _SLICE_BYTES):
                part = data[start : start + _SLICE_BYTES]
                self._read_bytes += len(part)
                for piece in self._codec.pieces(part):
                    self._written_bytes += len(piece)
                    self._check()
                    yield piece

    def _check(self) -> None:
        written = self._written_bytes
        if written > self._limit_bytes:
            raise _UnreadableError(f"the answer decodes to more than {self._limit_bytes} bytes")
        if written > RATIO_FREE_BYTES and written > RATIO_LIMIT * self._read_bytes:
            raise _UnreadableError(
                f"{self._read_bytes} bytes decode to {written}, expected at most "
                f"{RATIO_LIMIT} for one"
            )


def _codec(name: str) -> _Codec:
    match name:
        case "gzip" | "x-gzip":
            return _UnlessPlain(_Gzip(), _TEXT_BEGINS)
        case "deflate":
            return _Deflate()
        case "br":
            return _Brotli()
        case "zstd":
            return _UnlessPlain(_Zstd(), _TEXT_BEGINS - _ZSTD_BEGINS)
    raise _UnreadableError(f"cannot read the content-encoding {name[:40]!r}")


class _UnlessPlain:
    """A coding that some servers announce and do not apply: what begins as a text is one."""

    def __init__(self, codec: _Codec, plain_begins: frozenset[int]) -> None:
        self._codec = codec
        self._plain_begins = plain_begins
        self._is_plain: bool | None = None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to. Raises: _UnreadableError."""
        if self._is_plain is None and data:
            self._is_plain = data[0] in self._plain_begins
        if self._is_plain:
            yield data
        else:
            yield from self._codec.pieces(data)


class _Gzip:
    """Gzip members one after the other. Bytes behind the last that are no member are ignored."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        # Whether a member ended and the next has decoded to nothing: it may be padding.
        self._between = False
        self._ended = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to. Raises: _UnreadableError."""
        while data and not self._ended:
            try:
                for piece in _inflated(self._member, data):
                    self._between = False
                    yield piece
            except zlib.error as fault:
                if not self._between:
                    raise _UnreadableError(f"the gzip bytes are corrupt: {fault}") from fault
                self._ended = True
                return
            if not self._member.eof:
                return
            data = self._member.unused_data
            self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self._between = True


class _Deflate:
    """A zlib stream, or the raw deflate stream that some servers send by this name."""

    def __init__(self) -> None:
        self._head = b""
        self._stream: zlib._Decompress | None = None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to. Raises: _UnreadableError."""
        if self._stream is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return
            # A raw stream that looks like this would begin with a stored block whose padding
            # bits are not zero, which no encoder writes.
            is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        if self._stream.eof:
            return
        try:
            yield from _inflated(self._stream, data)
        except zlib.error as fault:
            raise _UnreadableError(f"the deflate bytes are corrupt: {fault}") from fault


def _inflated(stream: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    """Yield what a zlib stream makes of these bytes. Raises: zlib.error."""
    while True:
        piece = stream.decompress(data, _PIECE_BYTES)
        data = stream.unconsumed_tail
        if piece:
            yield piece
        # A full piece may leave output inside the stream even when all input is consumed.
        if stream.eof or len(piece) < _PIECE_BYTES:
            return


class _Brotli:
    """One brotli stream. In one slice with its end, bytes behind it make the library give up."""

    def __init__(self) -> None:
        brotli = _imported("brotli", "br")
        if not hasattr(brotli.Decompressor, "can_accept_more_data"):
            raise _UnreadableError("cannot read br: found a brotli older than 1.2")
        self._error: type[Exception] = brotli.error
        self._stream = brotli.Decompressor()

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to. Raises: _UnreadableError."""
        while not self._stream.is_finished():
            try:
                piece = self._stream.process(data, output_buffer_limit=_PIECE_BYTES)
            except self._error as fault:
                raise _UnreadableError(f"the br bytes are corrupt: {fault}") from fault
            if not piece:
                return
            yield piece
            # A full piece may leave output inside the stream even when it accepts more input.
            if len(piece) < _PIECE_BYTES and self._stream.can_accept_more_data():
                return
            data = b""


class _Zstd:
    """zstd frames one after the other."""

    def __init__(self) -> None:
        zstandard = _imported("zstandard", "zstd")
        self._error: type[Exception] = zstandard.ZstdError
        decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._stream = decoder.decompressobj(read_across_frames=True)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to. Raises: _UnreadableError."""
        for start in range(0, len(data), _ZSTD_SLICE_BYTES):
            try:
                piece = self._stream.decompress(data[start : start + _ZSTD_SLICE_BYTES])
            except self._error as fault:
                raise _UnreadableError(f"the zstd bytes are corrupt: {fault}") from fault
            if piece:
                yield piece


def _imported(module: str, coding: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as fault:
        raise _UnreadableError(f"cannot read {coding}: install metergate[gateway]") from fault
