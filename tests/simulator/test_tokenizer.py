import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.simulator.tokenizer import count_tokens, split_tokens


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("Say hello", ["Say", " hello"]),
        ("antidisestablishment", ["antidise", "stablish", "ment"]),
        ("In 2026.", ["In", " ", "202", "6", "."]),
        ("好茶 tea", ["好", "茶", " tea"]),
        ("a\n\n b", ["a", "\n\n", " b"]),
        ('{"a": 1}', ['{"', "a", '":', " ", "1", "}"]),
    ],
)
def test_text_is_split_into_these_pieces(text: str, pieces: list[str]) -> None:
    assert split_tokens(text) == pieces


@given(st.text())
def test_pieces_join_to_the_text_and_prefixes_of_pieces_stay_apart(text: str) -> None:
    pieces = split_tokens(text)
    assert "".join(pieces) == text
    half = pieces[: len(pieces) // 2]
    assert count_tokens("".join(half)) == len(half)
