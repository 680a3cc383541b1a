import gzip
import random
import sys
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from meter.wire import NOT_YET, Decompressor, SSEFramer, compression, decompressor_for
from tests.wire.cuts import cut_at, in_pieces, in_two, places, singly

TEXT = 'data: {"text":"größe € 🎈"}\n\n'.encode() * 12 + random.Random(7).randbytes(300)


def raw_deflate(text: bytes, level: int = 6) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(text) + stream.flush()


def zstd(text: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(text)


ENCODED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT, 1),
    "deflate": zlib.compress(TEXT),
    "deflate, identity": raw_deflate(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstd(TEXT),
    "gzip, br": brotli.compress(gzip.compress(TEXT)),
    "GZIP ,deflate,  zstd": zstd(raw_deflate(gzip.compress(TEXT))),
}


def decoded(decompressor: Decompressor, chunks: list[bytes]) -> bytes:
    """Feed the chunks and the end, as a caller does."""
    pieces = [decompressor.feed(chunk) for chunk in chunks if chunk]
    assert decompressor.feed(b"") == b""
    return b"".join(pieces)


@pytest.mark.parametrize("encoding", ENCODED)
def test_every_cut_decodes_to_the_same_bytes(encoding: str) -> None:
    for chunks in [*in_two(ENCODED[encoding]), singly(ENCODED[encoding])]:
        decompressor = decompressor_for(encoding)
        assert decoded(decompressor, chunks) == TEXT
        assert decompressor.failed is None


@pytest.mark.parametrize("encoding", [None, "", "identity", " Identity , identity"])
def test_identity_passes_the_very_bytes(encoding: str | None) -> None:
    chunk = b"abc" * 10
    assert decompressor_for(encoding).feed(chunk) is chunk


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_bytes_that_decode_to_nothing_yet_do_not_end_a_stream(encoding: str) -> None:
    framer, decompressor = SSEFramer(), decompressor_for(encoding)
    found = []
    for chunk in [*singly(ENCODED[encoding]), b""]:
        found += framer.feed(decompressor.feed(chunk))
    assert found[:12] == ['{"text":"größe € 🎈"}'.encode()] * 12
    assert decompressor_for(encoding).feed(ENCODED[encoding][:1]) is NOT_YET


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_what_was_flushed_is_returned_at_once(encoding: str) -> None:
    pieces = [b"data: 1\n\n", b"data: 2\n\n"]
    decompressor = decompressor_for(encoding)
    for piece, flushed in zip(pieces, _flushed(encoding, pieces), strict=True):
        assert decompressor.feed(flushed) == piece


def _flushed(encoding: str, pieces: list[bytes]) -> list[bytes]:
    """Compress the pieces of one stream, each flushed."""
    if encoding == "br":
        stream = brotli.Compressor()
        return [stream.process(piece) + stream.flush() for piece in pieces]
    if encoding == "zstd":
        block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        stream = zstandard.ZstdCompressor().compressobj()
        return [stream.compress(piece) + stream.flush(block) for piece in pieces]
    stream = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    return [stream.compress(piece) + stream.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]


@pytest.mark.parametrize("size_bytes", [1, 65_535, 65_536, 65_537, 131_072, 5_000_000])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_long_content_is_decoded_in_slices(encoding: str, size_bytes: int) -> None:
    text = bytes(size_bytes)
    encode = {"gzip": gzip.compress, "deflate": raw_deflate, "br": _quick_brotli, "zstd": zstd}
    whole = encode[encoding](text)
    assert decoded(decompressor_for(encoding), [whole]) == text
    assert decoded(decompressor_for(encoding), in_pieces(whole, 1_000)) == text


def test_output_that_zlib_holds_back_after_all_input_is_fetched() -> None:
    # One byte more than a piece: zlib has consumed all input when the first piece is full.
    decompressor = decompressor_for("deflate")
    assert decompressor.feed(raw_deflate(bytes(65_537))) == bytes(65_537)


def _quick_brotli(text: bytes) -> bytes:
    return brotli.compress(text, quality=1)


def test_gzip_members_and_zstd_frames_follow_one_another() -> None:
    for encoding, encode in (("gzip", gzip.compress), ("zstd", zstd)):
        members = encode(b"one ") + encode(b"") + encode(b"two")
        for chunks in [*in_two(members), singly(members)]:
            decompressor = decompressor_for(encoding)
            assert decoded(decompressor, chunks) == b"one two"
            assert decompressor.failed is None


@pytest.mark.parametrize("behind", [b"\0" * 40, b"\r\n", b"\x1f", b"\x1f\x8bnot a member"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bytes_behind_the_content_are_ignored(encoding: str, behind: bytes) -> None:
    text = ENCODED[encoding] + behind
    for chunks in [[text], singly(text), [ENCODED[encoding], behind]]:
        decompressor = decompressor_for(encoding)
        assert decoded(decompressor, chunks) == TEXT
        assert decompressor.failed is None


def test_a_chunk_behind_a_brotli_stream_is_ignored() -> None:
    decompressor = decompressor_for("br")
    assert decoded(decompressor, [ENCODED["br"], b"\0", b"\r\n"]) == TEXT
    assert decompressor.failed is None


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, br"])
def test_corrupt_bytes_stop_the_decoding(encoding: str) -> None:
    decompressor = decompressor_for(encoding)
    assert decompressor.feed(b"\xff\xffthis is no compressed text") == b""
    assert decompressor.failed is not None
    assert "corrupt" in decompressor.failed
    assert decompressor.feed(ENCODED[encoding]) == b""
    assert decompressor.feed(b"") == b""


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "zstd"])
@pytest.mark.parametrize(
    "content", [b'{"usage": {}}', b'data: {"a": 1}\n\n', b" \n{}", b"\xef\xbb\xbf{}", b"1\n00:01"]
)
def test_text_under_the_name_of_a_coding_that_was_not_applied_is_read(
    encoding: str, content: bytes
) -> None:
    for cut in range(1, len(content)):
        decompressor = decompressor_for(encoding)
        read = decompressor.feed(content[:cut]) + decompressor.feed(content[cut:])
        assert (read, decompressor.failed) == (content, None)


def test_what_was_decoded_before_a_fault_is_returned() -> None:
    broken = bytearray(gzip.compress(random.Random(7).randbytes(200_000)))
    broken[-5] ^= 0xFF
    decompressor = decompressor_for("gzip")
    assert len(decompressor.feed(bytes(broken))) >= 131_072
    assert decompressor.failed == (
        "the gzip bytes are corrupt: Error -3 while decompressing data: incorrect data check"
    )


@pytest.mark.parametrize("encoding", ENCODED)
def test_an_answer_that_is_cut_off_is_no_fault(encoding: str) -> None:
    decompressor = decompressor_for(encoding)
    assert TEXT.startswith(decoded(decompressor, [ENCODED[encoding][:-3]]))
    assert decompressor.failed is None


def test_an_encoding_that_nobody_knows_fails_from_the_start() -> None:
    decompressor = decompressor_for("gzip, compress")
    assert decompressor.failed == "cannot read the content-encoding 'compress'"
    assert decompressor.feed(b"abc") is NOT_YET
    assert decompressor_for("gzip," * 5).failed is not None


@pytest.mark.parametrize(("encoding", "module"), [("br", "brotli"), ("zstd", "zstandard")])
def test_a_missing_package_is_named(
    encoding: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    decompressor = decompressor_for(encoding)
    assert decompressor.failed == f"cannot read {encoding}: install metergate[gateway]"
    assert decompressor.feed(ENCODED[encoding]) is NOT_YET


def test_a_brotli_without_bounds_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brotli, "Decompressor", object)
    assert decompressor_for("br").failed == "cannot read br: found a brotli older than 1.2"


BOMBS = {
    "gzip": gzip.compress(gzip.compress(bytes(80_000_000), 9), 9),
    "br": brotli.compress(bytes(200_000_000), quality=3),
    "zstd": zstd(bytes(200_000_000)),
}


@pytest.mark.parametrize(("encoding", "bomb"), BOMBS.items())
def test_a_bomb_is_given_up_early(encoding: str, bomb: bytes) -> None:
    decompressor = decompressor_for("gzip, gzip" if encoding == "gzip" else encoding)
    passed_bytes = sum(len(decompressor.feed(piece)) for piece in in_pieces(bomb, 1_000))
    assert decompressor.failed is not None
    assert "expected at most 1000 for one" in decompressor.failed
    assert passed_bytes <= compression.RATIO_FREE_BYTES + 64 * 1024 * 1024


def test_one_feed_does_not_return_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "FEED_LIMIT_BYTES", 100_000)
    decompressor = decompressor_for("gzip")
    assert len(decompressor.feed(gzip.compress(bytes(1_000_000)))) <= 100_000
    assert decompressor.failed is not None
    assert decompressor.failed.endswith("bytes decode to more than 100000")


def test_an_answer_does_not_decode_to_more_than_the_limit() -> None:
    decompressor = decompressor_for("gzip", limit_bytes=100_000)
    pieces = in_pieces(gzip.compress(random.Random(7).randbytes(150_000)), 10_000)
    assert sum(len(decompressor.feed(piece)) for piece in pieces) <= 100_000
    assert decompressor.failed == "the answer decodes to more than 100000 bytes"


def test_many_empty_members_are_read_in_linear_time() -> None:
    # 100,000 members of 20 bytes: copying the rest at each would be 10**11 bytes.
    decompressor = decompressor_for("gzip")
    assert decompressor.feed(gzip.compress(b"") * 100_000 + gzip.compress(b"end")) == b"end"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "zstd, gzip", "br, deflate"])
@given(foreign=st.binary(max_size=100), at=st.integers(0, 200), cuts=places)
def test_any_bytes_are_read_without_a_fault(
    encoding: str, foreign: bytes, at: int, cuts: list[int]
) -> None:
    start = ENCODED.get(encoding, b"")[:at]
    decompressor = decompressor_for(encoding)
    decoded(decompressor, cut_at(start + foreign, cuts))
    assert decompressor.failed is None or decompressor.feed(b"x") is NOT_YET


@pytest.mark.parametrize("encoding", ENCODED)
@given(cuts=places)
def test_any_cuts_decode_to_the_same_bytes(encoding: str, cuts: list[int]) -> None:
    assert decoded(decompressor_for(encoding), cut_at(ENCODED[encoding], cuts)) == TEXT
