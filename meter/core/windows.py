"""Cut time into half-open windows: a minute to a month in a named time zone.

A day is a day on the wall clock of its zone (23 or 25 hours long at a change of the clock).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from meter.core.rates import datetime_of, microseconds_of
from meter.errors import ConfigError


class Span(StrEnum):
    """How long a window is; `total` is all of time."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Window:
    """A way to cut time: a span in the time zone `tz` (IANA name). Weeks begin on Monday."""

    span: Span
    tz: str = "UTC"

    def __post_init__(self) -> None:
        """Check the zone. Raises: ConfigError when no such time zone exists."""
        zone(self.tz)

    def bounds(self, at_us: int) -> tuple[int, int | None]:
        """Return [start, end) in microseconds UTC of the window that holds the moment.

        `total` starts at 0 and never ends (None).
        """
        if self.span is Span.TOTAL:
            return 0, None
        key = (self.span.value, self.tz)
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
