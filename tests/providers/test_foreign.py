"""Foreign JSON taken apart."""

from decimal import Decimal
from typing import Any

import pytest

from meter.providers.foreign import (
    decoded,
    encoded,
    envelope,
    index,
    label,
    mapping,
    objects,
    text,
    whole,
)


def test_json_that_only_lenient_parsers_take_is_read() -> None:
    assert decoded(b'{"a": "\\ud800"}') == ({"a": "\ud800"}, None)
    assert decoded(b'\xef\xbb\xbf{"a": 1}') == ({"a": 1}, None)
    assert decoded(b'{"a": 1e999}') == ({"a": float("inf")}, None)


def test_fractions_are_exact_on_demand() -> None:
    assert decoded(b"[0.1, 2]", exact=True) == ([Decimal("0.1"), 2], None)
    assert isinstance(decoded(b"0.1")[0], float)


@pytest.mark.parametrize("number", [b"1e99999999999999999999", b"1e500", b"1e-500"])
def test_absurd_exponents_are_not_numbers(number: bytes) -> None:
    assert decoded(b'{"cost": ' + number + b"}", exact=True)[0] is None


def test_numbers_of_too_many_digits_are_no_json() -> None:
    assert decoded(b"1" + b"0" * 5000)[0] is None


def test_what_is_encoded_reads_back() -> None:
    for value in ({"a": [1, 1.5, None, "é"]}, {"a": "\ud800"}):
        assert decoded(encoded(value)) == (value, None)


def test_an_envelope_leaves_the_content_out() -> None:
    value, fault = envelope(b'{"model": "m", "data": [[0.1, 0.2]], "usage": {"cost": 0.1}}')
    assert (value, fault) == ({"model": "m", "usage": {"cost": Decimal("0.1")}}, None)
    assert envelope(b"[1]") == ([1], None)
    assert envelope(b"{") == (None, "found 1 bytes that are not JSON")


@pytest.mark.parametrize("odd", [None, True, 1, 1.5, "x", b"x", [1], ()])
def test_other_types_are_absent(odd: Any) -> None:
    assert mapping(odd) == {}
    assert list(objects({"a": 1})) == list(objects(odd)) == []
    assert text(odd) == ("x" if odd == "x" else "")
    assert index(odd) == (1 if odd == 1 and odd is not True else 0)


def test_objects_of_an_array_are_those_that_are_objects() -> None:
    assert list(objects([1, {"a": 1}, None, {}])) == [{"a": 1}, {}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("alice", "alice"), ("Zoë 智", "Zoë 智"), ("x" * 256, "x" * 256),
        ("", None), ("x" * 257, None), ("a\nb", None), ("\ud800", None), (7, None), (None, None),
    ],
)  # fmt: skip
def test_a_label_is_short_plain_text(value: Any, expected: str | None) -> None:
    assert label(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), (5.0, 5), (0, 0), (10, 10), (11, None), (-1, None), (5.5, None), (True, None),
     ("5", None), (None, None), (float("nan"), None), (float("inf"), None)],
)  # fmt: skip
def test_a_whole_number_in_a_range(value: Any, expected: int | None) -> None:
    assert whole(value, 0, 10) == expected
