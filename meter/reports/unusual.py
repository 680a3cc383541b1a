"""Find the days that cost far more or less than a person's other days. Pure, integers throughout.

A day is unusual when it is further from the median than `TIMES` the median distance of all days
from it, and by at least a quarter of the median: a robust rule that one great day cannot hide
behind itself. Called by the dashboard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median_low

LEAST_DAYS = 7
"""Fewer days than this show no custom that a day could break."""

TIMES = 5


@dataclass(frozen=True, slots=True)
class UnusualDay:
    """A day, what it cost, and what such a day usually costs (the median); nanos."""

    day: date
    cost_nanos: int
    usual_nanos: int


def unusual_days(by_day: Mapping[date, int]) -> Sequence[UnusualDay]:
    """Return the unusual days, the latest first. Days without calls are in `by_day` as 0."""
    if len(by_day) < LEAST_DAYS:
        return []
    usual = median_low(by_day.values())
    spread = median_low([abs(nanos - usual) for nanos in by_day.values()])
    least = max(TIMES * spread, usual // 4, 1)
    return [
        UnusualDay(day, by_day[day], usual)
        for day in sorted(by_day, reverse=True)
        if abs(by_day[day] - usual) > least
    ]
