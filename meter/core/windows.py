"""Cut time into half-open windows: a minute to a month in a named time zone, or a rolling length.

A day is a day on the wall clock of its zone (23 or 25 hours long at a change of the clock).

A rolling window is kept in steps of a 24th of its length: "rolling:24h" by the hour. What was
spent in a step counts until the whole step is older than the window, so within any 24 hours never
more than the limit is spent, and money comes back up to one step later than to the microsecond.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from meter.core.rates import datetime_of, microseconds_of
from meter.errors import ConfigError


class Span(StrEnum):
    """How long a window is; `total` is all of time, `rolling` the time that has just passed."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"
    ROLLING = "rolling"


_UNITS_US: Final = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_STEPS: Final = 24
_LONGEST_US: Final = 366 * _UNITS_US["d"]


@dataclass(frozen=True, slots=True)
class Window:
    """A way to cut time: a span in the time zone `tz` (IANA name). Weeks begin on Monday.

    `length_us` is how long a rolling window is, whole minutes in microseconds; else 0.
    """

    span: Span
    tz: str = "UTC"
    length_us: int = 0

    def __post_init__(self) -> None:
        """Check the zone and the length. Raises: ConfigError when they cannot be."""
        zone(self.tz)
        is_rolling = self.span is Span.ROLLING
        if is_rolling is not (self.length_us > 0) or self.length_us % _UNITS_US["m"]:
            raise ConfigError(
                f"found a window of span {self.span} and {self.length_us} microseconds, expected a "
                "length of whole minutes for a rolling one and none for any other"
            )
        if self.length_us > _LONGEST_US:
            raise ConfigError(f"found {self.name}, expected a rolling window of at most 366 days")

    @classmethod
    def named(cls, name: str, tz: str = "UTC") -> "Window":
        """Return the window of that name: "month" and its like, or "rolling:24h" (m, h or d).

        Raises: ConfigError when there is none.
        """
        kind, colon, length = name.partition(":")
        if colon and kind == Span.ROLLING:
            number, unit = length[:-1], length[-1:]
            if number.isascii() and number.isdecimal() and unit in _UNITS_US and int(number) > 0:
                return cls(Span.ROLLING, tz, int(number) * _UNITS_US[unit])
        elif kind in set(Span) - {Span.ROLLING} and not colon:
            return cls(Span(kind), tz)
        expected = ", ".join(span for span in Span if span is not Span.ROLLING)
        raise ConfigError(
            f"found window {name!r:.80}, expected one of {expected}, or rolling:24h "
            "(any number of m, h or d)"
        )

    @property
    def name(self) -> str:
        """Return the name by which `named` knows it."""
        if self.span is not Span.ROLLING:
            return self.span.value
        unit = next(u for u in ("d", "h", "m") if self.length_us % _UNITS_US[u] == 0)
        if unit == "d" and self.length_us == _UNITS_US["d"]:
            unit = "h"  # a day reads as 24 hours: it is not one of the calendar
        return f"rolling:{self.length_us // _UNITS_US[unit]}{unit}"

    @property
    def is_rolling(self) -> bool:
        """Whether it moves with time, so that sums take several steps."""
        return self.length_us > 0

    def counted_from(self, at_us: int) -> int:
        """Return from when on what was spent counts for a call at the moment, microseconds UTC.

        The beginning of the window, and for a rolling one that of the oldest step that is not
        wholly older than its length.
        """
        return self.bounds(at_us)[0] - self.length_us

    def bounds(self, at_us: int) -> tuple[int, int | None]:
        """Return [start, end) in microseconds UTC of the window that holds the moment.

        `total` starts at 0 and never ends (None). Of a rolling one this is the step.
        """
        if self.length_us:
            step_us = self.length_us // _STEPS
            start_us = at_us - at_us % step_us
            return start_us, start_us + step_us
        if self.span is Span.TOTAL:
            return 0, None
        key = (self.span._value_, self.tz)  # `value` is a property, which takes five times as long
        known = _LATEST.get(key)
        if known is None or not known[0] <= at_us < known[1]:
            local = datetime_of(at_us).astimezone(zone(self.tz))
            start = _floor(local, self.span)
            known = microseconds_of(start), microseconds_of(_next(start, self.span))
            _LATEST[key] = known
        return known


_LATEST: dict[tuple[str, str], tuple[int, int]] = {}
"""The bounds that were asked for last, by span and zone: calls ask for the present ones."""


def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone. Raises: ConfigError when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"found time zone {name!r}, expected one such as Asia/Shanghai") from None


def _floor(local: datetime, span: Span) -> datetime:
    if span is Span.MINUTE:
        return local.replace(second=0, microsecond=0)
    if span is Span.HOUR:
        # fold is kept: the two 02:00 hours of an autumn night are two windows.
        return local.replace(minute=0, second=0, microsecond=0)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if span is Span.WEEK:
        return midnight - timedelta(days=midnight.weekday())
    return midnight.replace(day=1) if span is Span.MONTH else midnight


def _next(start: datetime, span: Span) -> datetime:
    if span in (Span.MINUTE, Span.HOUR):
        length = timedelta(hours=1) if span is Span.HOUR else timedelta(minutes=1)
        return (start.astimezone(ZoneInfo("UTC")) + length).astimezone(start.tzinfo)
    if span is Span.MONTH:
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=7 if span is Span.WEEK else 1)
