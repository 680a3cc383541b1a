"""Read how much output a request allows at most. Pure; called by the endpoints.

A limit that is given in an odd form (text, a fraction) bounds nothing: some servers read it, and
each in its own way.
"""

from typing import Any, Final

from meter.providers.foreign import JSONObject, whole

MOST_TOKENS: Final = 10**9
"""A larger limit bounds nothing and is treated as none."""
_MOST_BOUND: Final = 10**12


def limit(fields: JSONObject, *names: str) -> int | None:
    """Return the largest of several limits on tokens, None when none of them is given."""
    given = [whole(fields.get(each), 0, MOST_TOKENS) for each in names]
    return max((number for number in given if number is not None), default=None)


def odd_numbers(fields: JSONObject, *names: str) -> tuple[str, ...]:
    """Return a sentence for each field that is given and is not a usable whole number."""
    return tuple(
        f"found a {type(fields[each]).__name__} as {each}, expected a whole number"
        for each in names
        if fields.get(each) is not None and whole(fields[each], -1, MOST_TOKENS) is None
    )


def count(value: Any) -> int:
    """Return how many of something are asked for, 1 when that is missing or odd."""
    return whole(value, 1, MOST_TOKENS) or 1


def bound(most: int | None, *choices: int) -> int | None:
    """Return what all choices may use together, None when that is not bounded."""
    if most is None:
        return None
    for number in choices:
        most *= number
    return most if most <= _MOST_BOUND else None
