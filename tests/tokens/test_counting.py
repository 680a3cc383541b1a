"""Text is counted in slices, whatever it is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.errors import InputError
from meter.tokens import counting
from meter.tokens.counting import TextCounter, byte_bound, count_text, last_break
from meter.tokens.encodings import encoding
from meter.tokens.estimates import estimate_input

WORDS = "The quick brown fox jumps over the lazy dog and runs away. "


class PanicException(BaseException):
    """Looks like the class that pyo3 makes for a Rust panic."""


class Panicking:
    """An encoding that panics on anything longer than a limit."""

    def __init__(self, limit, error=PanicException):
        self.limit = limit
        self.error = error

    def encode_ordinary(self, text):
        if len(text) > self.limit:
            raise self.error("StackOverflow")
        return [0] * len(text)


@pytest.mark.parametrize(
    ("text", "name", "tokens"),
    [
        ("", "o200k_base", 0),
        ("tiktoken is great!", "o200k_base", 6),
        ("お誕生日おめでとう", "p50k_base", 14),
        ("お誕生日おめでとう", "cl100k_base", 9),
        ("お誕生日おめでとう", "o200k_base", 8),
        ("antidisestablishmentarianism", "cl100k_base", 6),
    ],
)
def test_published_counts(text, name, tokens):
    assert count_text(text, name) == tokens


def test_special_tokens_in_text_are_text():
    # "<|endoftext|>" as text: <, |, endo, ft, ext, |, > in cl100k_base.
    assert count_text("<|endoftext|>", "cl100k_base") == 7


def test_long_text_of_words_counts_as_one_piece():
    text = WORDS * 4_000  # 236,000 characters: five slices
    assert count_text(text, "o200k_base") == len(encoding("o200k_base").encode_ordinary(text))


def test_a_slice_ends_before_a_space_between_words():
    assert counting._cut("a" * 49_990 + " b" * 20, 0) == 49_998


def test_a_slice_without_words_ends_at_its_limit():
    assert counting._cut("a" * 120_000, 0) == 50_000
    assert counting._cut("a" * 120_000, 100_000) == 120_000


@pytest.mark.parametrize("text", [" " * 1_000_000 + "x", "a" * 1_000_000, "你好世界" * 250_000])
def test_hostile_text_is_counted_in_time(text):
    started = time.perf_counter()
    tokens = count_text(text, "o200k_base")
    assert 0 < tokens <= byte_bound(text)
    assert time.perf_counter() - started < 10


def test_lone_surrogates_are_counted():
    # Each is replaced by U+FFFD, whose runs are tokens of o200k_base.
    assert 1 <= count_text("a\ud800b", "o200k_base") <= 5
    assert count_text("\ud800" * 1_000, "o200k_base") > 0


def test_a_panic_falls_back_to_smaller_slices():
    text = "a" * 5_000
    assert counting._count_slice(Panicking(1_000), text) == 5_000


def test_a_panic_on_everything_counts_bytes():
    assert counting._count_slice(Panicking(0), "é" * 1_500) == 3_000


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, ValueError])
def test_only_a_panic_is_caught(error):
    with pytest.raises(error):
        counting._count_slice(Panicking(0, error), "text")


def test_an_exception_of_that_name_is_no_panic():
    fake = type("PanicException", (Exception,), {})
    with pytest.raises(fake):
        counting._count_slice(Panicking(0, fake), "text")


def test_an_unknown_encoding_is_an_input_error():
    with pytest.raises(InputError):
        count_text("text", "q9k")


def test_a_repeated_text_is_counted_once(monkeypatch):
    counted = []
    monkeypatch.setattr(counting, "_count_sliced", lambda _, text: counted.append(text) or 7)
    monkeypatch.setattr(counting, "_memo", counting._Memo())
    text = "remember me " * 50
    assert [count_text(text, "o200k_base"), count_text(text, "o200k_base")] == [7, 7]
    assert count_text(text, "cl100k_base") == 7
    assert len(counted) == 2  # once for each encoding


def test_the_memo_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(counting, "_MEMO_ENTRIES", 2)
    memo = counting._Memo()
    for number, key in enumerate([b"a", b"b"]):
        memo.put(key, number)
    assert memo.get(b"a") == 0
    memo.put(b"c", 2)
    assert [memo.get(b"a"), memo.get(b"b"), memo.get(b"c")] == [0, None, 2]


@given(st.text())
def test_bytes_bound_tokens(text):
    assert count_text(text, "o200k_base") <= byte_bound(text)


def test_bound_of_bytes_and_of_text():
    assert byte_bound(12) == 12
    assert byte_bound(-1) == 0
    assert byte_bound("abc") == 3
    assert byte_bound("é€😀\ud800") == 2 + 3 + 4 + 3


@given(st.lists(st.text(max_size=40), max_size=30))
def test_cuts_do_not_change_a_streams_count(pieces):
    counter = TextCounter("o200k_base")
    for piece in pieces:
        counter.feed(piece)
    assert counter.count() == count_text("".join(pieces), "o200k_base")


def test_a_stream_may_be_counted_again_and_in_another_encoding():
    counter = TextCounter("o200k_base")
    counter.feed("お誕生日")
    counter.feed("おめでとう")
    assert (counter.count(), counter.count("cl100k_base"), counter.count()) == (8, 9, 8)


def test_a_long_stream_keeps_little_and_counts_all():
    counter = TextCounter("o200k_base")
    for _ in range(4_000):
        counter.feed(WORDS)
    assert counter._pending_chars <= 64_000
    assert counter.whole_text() is None
    assert counter.count() == count_text(WORDS * 4_000, "o200k_base")


def test_a_short_stream_is_kept_whole():
    counter = TextCounter("o200k_base")
    counter.feed("a")
    counter.feed("b")
    assert counter.whole_text() == "ab"


def test_a_megabyte_is_encoded_once_in_few_pieces(monkeypatch):
    """What it costs beside tiktoken itself is measured by benchmarks/counting.py."""
    text = "".join(f"{WORDS}{number} " for number in range(16_000))[:1_000_000]
    pieces = []
    count_slice = counting._count_slice
    monkeypatch.setattr(
        counting, "_count_slice", lambda e, piece: pieces.append(piece) or count_slice(e, piece)
    )
    assert count_text(text, "o200k_base") == len(encoding("o200k_base").encode_ordinary(text))
    assert "".join(pieces) == text
    # Slices of 50,000 characters that end between two words at most 4,000 before that.
    assert len(pieces) <= 1_000_000 // 46_000 + 1


def test_a_break_is_before_a_space_between_letters():
    assert last_break("one two three", 0, 13) == 7
    assert last_break("one two three", 0, 7) == 3
    assert last_break("one two three", 8, 13) == 0
    assert last_break("1 2, a .b", 0, 9) == 0
    assert last_break("a ", 0, 2) == 0
    assert last_break("", 0, 0) == 0


def test_a_text_longer_than_any_model_takes_in_is_counted_from_a_sample():
    line = "one two three four five "  # five tokens, each word with the space before it
    text = line * 400_000
    assert len(text) == 9_600_000
    assert abs(count_text(text, "o200k_base") - 2_000_000) < 2_000


def test_a_growing_chat_encodes_each_message_once(monkeypatch):
    encoded = []
    count_slice = counting._count_slice
    monkeypatch.setattr(
        counting, "_count_slice", lambda e, text: encoded.append(text) or count_slice(e, text)
    )
    messages = []
    for turn in range(20):
        messages.append({"role": "user", "content": f"turn {turn}: " + "growing chats " * 40})
        estimate_input("chat", {"messages": messages}, "gpt-4o")
    long = [text for text in encoded if len(text) > 128]
    assert long == [message["content"] for message in messages]
