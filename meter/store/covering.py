"""Choose which rollups, added and taken off, are an interval together. Pure.

Called by `usage_sums`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from meter.store.rollups import Rollup


@dataclass(frozen=True, slots=True)
class Part:
    """Sums over [start, end) out of a rollup (None: of the calls), added (1) or taken off (-1)."""

    rollup: Rollup | None
    interval: tuple[int, int]
    sign: int


def cover(
    rollups: Sequence[Rollup],
    interval: tuple[int, int],
    span: tuple[int, int] | None,
    sign: int,
    gone_us: int,
) -> Iterator[Part]:
    """Yield parts that together are an interval: of the coarsest rollup what it can, and so on.

    Most of an interval of a rollup is all of it less the rest, where the calls of both are there.
    `span` is the first and the last moment of interest: without calls outside it, what is cut off
    there makes no difference. None says nothing.
    """
    if not rollups:
        yield Part(None, _within(interval, span), sign)
        return
    rollup, finer = rollups[0], rollups[1:]
    asked = _widened(rollup, interval, span)
    first_us, end_us = asked[0], rollup.bounds(asked[1])[0]
    if rollup.bounds(first_us)[0] != first_us:
        first_us = rollup.bounds(first_us)[1]
    if first_us < end_us:
        yield Part(rollup, (first_us, end_us), sign)
        edges = [(asked[0], first_us), (end_us, asked[1])]
    elif first_us == end_us:
        edges = [(asked[0], end_us), (end_us, asked[1])]
    else:
        edges = [asked]
    for edge in edges:
        if edge[0] >= edge[1]:
            continue
        around = rollup.bounds(edge[0])
        is_most = 2 * (edge[1] - edge[0]) > around[1] - around[0]
        if is_most and around[0] >= gone_us and not rollup.is_by_tag:
            yield Part(rollup, around, sign)
            for rest in ((around[0], edge[0]), (edge[1], around[1])):
                if rest[0] < rest[1]:
                    yield from cover(finer, rest, None, -sign, gone_us)
        else:
            yield from cover(finer, edge, span, sign, gone_us)


def _widened(
    rollup: Rollup, interval: tuple[int, int], span: tuple[int, int] | None
) -> tuple[int, int]:
    """Return an interval that has the same calls, and ends where one of the rollup's does."""
    if span is None:
        return interval
    # Nothing lies before the first call, and nothing behind the last.
    start_us = max(rollup.bounds(span[0])[0], interval[0])
    return start_us, rollup.bounds(span[1])[1] if interval[1] > span[1] + 1 else interval[1]


def _within(interval: tuple[int, int], span: tuple[int, int] | None) -> tuple[int, int]:
    if span is None:
        return interval
    return max(interval[0], span[0]), min(interval[1], span[1] + 1)


def counted(parts: Sequence[Part]) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the intervals that rollups count, and how often: what is not folded lacks there."""
    turns: dict[int, int] = {}
    for part in parts:
        if part.rollup is not None:
            for at_us, turn in zip(part.interval, (part.sign, -part.sign), strict=True):
                turns[at_us] = turns.get(at_us, 0) + turn
    ordered = sorted(at_us for at_us, turn in turns.items() if turn)
    times = 0
    for at_us, next_us in pairwise(ordered):
        times += turns[at_us]
        if times:
            yield (at_us, next_us), times
