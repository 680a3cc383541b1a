"""Sounds that are measured."""

import struct
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.wire import sound
from meter.wire.sound import seconds_of

# A silent MPEG-1 layer III frame, 128 kbit/s at 44.1 kHz: 1152 samples in 417 bytes.
MP3_FRAME = b"\xff\xfb\x90\xc4" + bytes(413)


def wav(sound_bytes: int, second_bytes: int = 48_000, announced: int | None = None) -> bytes:
    """Return silence of 16 bits and one channel."""
    size = sound_bytes if announced is None else announced
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + sound_bytes, b"WAVE", b"fmt ", 16, 1, 1,
        second_bytes // 2, second_bytes, 2, 16, b"data", size,
    )  # fmt: skip
    return head + bytes(sound_bytes)


def whole(content: bytes) -> Decimal | None:
    return seconds_of(content, len(content))


def test_a_wav_is_measured_exactly() -> None:
    assert whole(wav(177_600)) == Decimal("3.7")  # 177600 / 48000
    assert whole(wav(0, announced=0)) == 0


def test_the_head_of_a_wav_is_enough() -> None:
    head = wav(177_600)[:100]
    assert seconds_of(head, 177_644) == Decimal("3.7")
    assert seconds_of(head, None) == Decimal("3.7")


def test_a_wav_that_is_shorter_than_it_says_is_measured_by_what_is_there() -> None:
    assert whole(wav(48_000, announced=96_000)) == 1


@pytest.mark.parametrize("announced", [0, 0xFFFFFFFF])
def test_a_wav_written_as_a_stream_is_all_that_follows(announced: int) -> None:
    assert whole(wav(96_000, announced=announced)) == 2
    assert seconds_of(wav(96_000, announced=announced)[:100], None) is None


def test_other_chunks_of_a_wav_are_passed_over() -> None:
    plain = wav(48_000)
    listed = plain[:36] + struct.pack("<4sI", b"LIST", 5) + b"abcde\x00" + plain[36:]
    assert whole(listed) == 1


@pytest.mark.parametrize("content", [wav(10)[:30], wav(10, second_bytes=0), b"RIFF\0\0\0\0WAVE"])
def test_a_wav_that_does_not_tell_is_unknown(content: bytes) -> None:
    assert whole(content) is None


def test_an_mp3_is_measured() -> None:
    found = whole(MP3_FRAME * 190)  # 190 × 1152 / 44100 s
    assert found is not None
    assert abs(found - Decimal("4.963265")) < Decimal("0.000002")


def test_a_part_of_an_mp3_is_not_measured() -> None:
    assert seconds_of(MP3_FRAME * 190, None) is None
    assert seconds_of(MP3_FRAME * 190, 10**6) is None


def test_a_sound_above_the_limit_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "LIMIT_BYTES", 1000)
    assert whole(MP3_FRAME * 3) is None
    assert whole(wav(48_000)) == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"ID3", b"\x00" * 5000, b"fLaC" + bytes(60)])
def test_what_is_no_sound_is_unknown(content: bytes) -> None:
    assert whole(content) is None


MAGIC = [b"ID3\x04\x00\x00\x00\x00\x0f\x7f", b"OggS\x00\x02", b"fLaC\x00\x00\x00\x22",
         b"\x00\x00\x00\x18ftypM4A ", b"moov", b"\xff\xfb\x90\xc4", b"FORM\x00\x00\x10\x00AIFF",
         b"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa\x00b\xcel", b"OpusHead",
         b"RIFF\x00\x00\x00\x00WAVE",
         b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(MAGIC), st.binary(max_size=20)), max_size=30))
def test_any_bytes_are_measured_quickly_or_not_at_all(parts: list[bytes]) -> None:
    begun = time.perf_counter()
    seconds = whole(b"".join(parts))
    assert seconds is None or 0 <= seconds <= 1_000_000
    assert time.perf_counter() - begun < 1


def test_a_made_file_does_not_hold_up_the_reader() -> None:
    begun = time.perf_counter()
    assert whole(b"\xff" * 4_000_000) is None  # every byte could begin a frame
    assert time.perf_counter() - begun < 1
