from meter.simulator.prose import fit_tokens, grouped, write_prose
from meter.simulator.tokenizer import count_tokens, has_chinese


def test_same_seed_gives_same_text() -> None:
    first = write_prose("seed", count_tokens, span=(20, 200))
    assert first == write_prose("seed", count_tokens, span=(20, 200))
    assert first != write_prose("other", count_tokens, span=(20, 200))


def test_lengths_stay_in_their_span() -> None:
    lengths = [write_prose(str(n), count_tokens, span=(20, 200)).tokens for n in range(300)]
    assert 20 <= min(lengths) < 40
    assert 150 < max(lengths) <= 200


def test_limit_cuts_short_and_says_so() -> None:
    writing = write_prose("seed", count_tokens, span=(20, 200), limit=7)
    assert (writing.tokens, writing.is_cut_short) == (7, True)


def test_exact_length_is_met_and_is_no_cut() -> None:
    writing = write_prose("seed", count_tokens, span=(20, 200), exactly=333)
    assert (writing.tokens, writing.is_cut_short) == (333, False)


def test_chinese_is_written_when_asked_and_sometimes_without() -> None:
    assert has_chinese(write_prose("s", count_tokens, span=(20, 50), in_chinese=True).text)
    texts = [write_prose(str(n), count_tokens, span=(20, 50)).text for n in range(200)]
    assert 5 < sum(has_chinese(text) for text in texts) < 50


def test_fit_uses_the_given_count() -> None:
    assert fit_tokens(["ab", "cd", "ef"], 5, len) == ["ab", "cd"]
    assert fit_tokens(["ab", "cd"], 1, len) == []


def test_grouped_pieces_join_to_the_same_text() -> None:
    pieces = [str(number) for number in range(50)]
    groups = grouped(pieces)
    assert "".join(groups) == "".join(pieces)
    assert 13 <= len(groups) < 50
