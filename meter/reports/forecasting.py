"""Forecast what an unfinished period will have cost at its end. Pure, integers throughout.

A forecast is a statistical estimate, never an amount that anybody owes. The days to come are
taken to cost what past days of their kind did (working days and weekends apart, where each was
seen often enough), and the band is where four of five such sums would fall if days varied
independently, as they did in the past. Called by the dashboard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import isqrt

from meter.core.money import divide_half_even

LEAST_DAYS = 3
"""Fewer whole days than this forecast nothing."""

MOST_DAYS = 56
"""Older days than this say little about the next ones."""

_LEAST_OF_KIND = 4
# Four of five: 1.2816 standard deviations to either side.
_DEVIATIONS_SQUARED = (16_424, 10_000)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected sum at the end of a period, with the band that four of five would fall into.

    Nanos. `days` says how many whole days it was learnt from; `path` has for each day to come the
    day, and the expected, lower and upper sum of the period at its end.
    """

    expected_nanos: int
    low_nanos: int
    high_nanos: int
    days: int
    path: tuple[tuple[date, int, int, int], ...]


def forecast(
    by_day: Mapping[date, int], today: date, spent_nanos: int, today_nanos: int, end: date
) -> Forecast | None:
    """Return the forecast of a period that ends before the day `end`, None without a basis.

    `by_day` has what whole days before `today` cost, days without calls included as 0;
    `spent_nanos` is what the period has cost until now, `today_nanos` of it today. Today counts
    as what it costs already, or as a usual day if that is more.
    """
    first = today - timedelta(days=MOST_DAYS)
    past = {day: nanos for day, nanos in by_day.items() if first <= day < today}
    if len(past) < LEAST_DAYS or end <= today:
        return None
    expected, variance = spent_nanos - today_nanos, 0
    path = []
    day = today
    while day < end:
        mean_nanos, spread = _usual(past, day)
        expected += max(mean_nanos, today_nanos) if day == today else mean_nanos
        variance += spread
        half = isqrt(variance * _DEVIATIONS_SQUARED[0] // _DEVIATIONS_SQUARED[1])
        path.append((day, expected, max(expected - half, spent_nanos), expected + half))
        day += timedelta(days=1)
    _, expected, low, high = path[-1]
    return Forecast(expected, low, high, len(past), tuple(path))


def _usual(past: Mapping[date, int], day: date) -> tuple[int, int]:
    """Return mean and variance of the past days of the day's kind."""
    of_kind = [nanos for d, nanos in past.items() if _is_weekend(d) == _is_weekend(day)]
    chosen: Sequence[int] = of_kind if len(of_kind) >= _LEAST_OF_KIND else list(past.values())
    mean = divide_half_even(sum(chosen), len(chosen))
    squares = sum((nanos - mean) ** 2 for nanos in chosen)
    return mean, squares // max(len(chosen) - 1, 1)


def _is_weekend(day: date) -> bool:
    return day.isoweekday() > 5
