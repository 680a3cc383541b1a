import pytest

from meter.wire.blocks import BlockSplitter
from tests.wire.cuts import in_two, singly


@pytest.mark.parametrize("delimiter", [b"\n", b"\n\n"])
def test_the_longest_block_is_kept_and_one_byte_more_is_skipped(delimiter: bytes) -> None:
    text = b"12345" + delimiter + b"123456" + delimiter + b"1" + delimiter + b"rest"
    for chunks in [[text], singly(text), *in_two(text)]:
        splitter = BlockSplitter(delimiter, limit_bytes=5)
        blocks = [block for chunk in chunks if chunk for block in splitter.feed(chunk)]
        assert blocks == [b"12345", b"1"]
        assert splitter.finish() == b"rest"
        assert splitter.dropped == 1


def test_a_long_block_that_never_ends_is_neither_kept_nor_returned() -> None:
    splitter = BlockSplitter(b"\n", limit_bytes=5)
    for _ in range(10):
        assert splitter.feed(b"123") == []
    assert splitter.finish() == b""
    assert splitter.dropped == 1
    assert splitter.feed(b"ok\n") == [b"ok"]
