"""Recognise events that differ from the ones before them in the text of a string only.

Most events of a stream are such: what stands around the text is the same to the byte. Two of them
teach a pattern, and whatever fits it says nothing that the two did not say, without any search.
Knows bytes, not their meaning. Called by `observing.py`.
"""

import re
from typing import Final

_MOST_STRINGS: Final = 4
_AFTER_VALUE: Final = b",}]"
# A string that says what kind of event this is may not be the one that differs.
_KIND: Final = re.compile(rb'type"\s*:\s*"$')

Pattern = tuple[bytes, ...]
"""What is the same, cut where the strings that differ stand: each begins with the quote that ends
one of them (not the first) and ends with the quote that begins the next (not the last)."""


def fits(data: bytes, pattern: Pattern) -> bool:
    """Tell whether an event fits: whole, with strings that hold no quote and no line's end."""
    first = pattern[0]
    if not data.startswith(first):
        return False
    at = len(first)
    if data.find(b"\n", at) != len(data) - 2 or b"\r" in data:
        return False
    for part in pattern[1:]:
        quote = data.find(b'"', at)
        if quote < 0 or not data.startswith(part, quote):
            return False
        at = quote + len(part)
    return at == len(data)


def learnt(one: bytes, other: bytes, start: int) -> Pattern | None:
    """Return the pattern of two events that end in a blank line, None when they have none.

    `start` is where the payload begins in both. Only values differ, never names, and no string
    that is called a type.
    """
    same = _same(one, 0, other, 0)
    at = one.rfind(b'"', 0, same) + 1
    if not _begins_value(one[start:at], outside=True):
        return None
    parts = [one[:at]]
    at_other = at
    while len(parts) <= _MOST_STRINGS:
        at, at_other = one.find(b'"', at), other.find(b'"', at_other)
        if at < 0 or at_other < 0:
            return None
        same = _same(one, at, other, at_other)
        rest = one[at:]
        if same == len(rest) == len(other) - at_other:
            is_last = rest[1:2] in _AFTER_VALUE and b"\\" not in rest and rest.count(b'"') % 2 == 1
            return (*parts, rest) if is_last and fits(one, (*parts, rest)) else None
        part = rest[: rest.rfind(b'"', 0, same) + 1]
        if part[1:2] not in _AFTER_VALUE or not _begins_value(part, outside=False):
            return None
        parts.append(part)
        at += len(part)
        at_other += len(part)
    return None


def _begins_value(part: bytes, *, outside: bool) -> bool:
    """Tell whether the last byte surely is the quote before a string that is a value.

    `outside`: the part begins outside of strings. Where nothing is escaped, counting tells.
    """
    if len(part) < 2 or b"\\" in part or part.count(b'"') % 2 != outside:
        return False
    return part[:-1].rstrip().endswith(b":") and _KIND.search(part) is None


def _same(one: bytes, start: int, other: bytes, other_start: int) -> int:
    """Return how many bytes are the same from these places on."""
    low, high = 0, min(len(one) - start, len(other) - other_start)
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[other_start : other_start + middle], start):
            low = middle
        else:
            high = middle - 1
    return low
