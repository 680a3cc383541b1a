"""Foreign JSON is read whatever its shape."""

import math

import pytest

from meter.tokens.shapes import json_text, list_of, mapping_of, text_of


def test_what_fits_is_taken_and_what_does_not_is_empty():
    assert mapping_of({"a": 1}) == {"a": 1}
    assert list_of([1]) == [1]
    assert list_of((1, 2)) == [1, 2]
    assert text_of("a") == "a"
    for odd in (None, 1, 1.5, True):
        assert (mapping_of(odd), list_of(odd), text_of(odd)) == ({}, [], "")
    assert list_of("abc") == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
        ("é", '"é"'),
        (math.inf, "Infinity"),
        ({"a": {1, 2}}, "a"),
    ],
)
def test_json_text(value, text):
    assert json_text(value) == text


def test_json_text_of_any_depth():
    deep = "end"
    for _ in range(100_000):
        deep = [deep]
    assert json_text(deep) == "end"
