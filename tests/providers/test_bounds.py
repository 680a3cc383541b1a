"""What a request allows at most."""

from typing import Any

import pytest

from meter.providers.bounds import bound, count, limit, odd_numbers


def test_the_largest_of_several_limits_holds() -> None:
    assert limit({"a": 5, "b": 9}, "a", "b") == 9
    assert limit({"a": 5, "b": None}, "a", "b") == 5
    assert limit({}, "a") is None


@pytest.mark.parametrize("odd", ["5", 1.5, True, [], -2, 10**30])
def test_odd_limits_bound_nothing_and_are_told(odd: Any) -> None:
    assert limit({"a": odd}, "a") is None
    assert odd_numbers({"a": odd}, "a", "b") == (
        f"found a {type(odd).__name__} as a, expected a whole number",
    )


def test_minus_one_is_no_limit_and_not_odd() -> None:
    assert limit({"a": -1}, "a") is None
    assert odd_numbers({"a": -1, "b": None}, "a", "b") == ()


def test_choices_multiply_the_bound() -> None:
    assert bound(100, 3, 2) == 600
    assert bound(None, 3) is None
    assert bound(10**9, 10**4) is None


def test_what_is_asked_for_is_at_least_one() -> None:
    assert [count(value) for value in (None, 0, -1, "3", 1, 7)] == [1, 1, 1, 1, 1, 7]
