"""Read moments as people write them: 2026-11-01, 2026-11-01T08:00, 2026-11, today, 7d, now."""

import re
from datetime import datetime, timedelta

from meter.clock import now_us
from meter.core.rates import datetime_of, microseconds_of
from meter.core.windows import Span, Window, zone
from meter.errors import InputError

_AGO = re.compile(r"(\d{1,5})([smhdw])")
_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment_us(text: str | None, tz: str) -> int | None:
    """Return the moment a person wrote as microseconds UTC, None for None.

    Dates and times without an offset are in the zone `tz`; "7d" is seven days before now;
    "2026-11" is the first moment of that month.

    Raises: InputError for anything else, ConfigError for an unknown zone.
    """
    if text is None:
        return None
    word = text.strip().lower()
    if word == "now":
        return now_us()
    if word in ("today", "yesterday"):
        start_us, _ = Window(Span.DAY, tz).bounds(now_us())
        if word == "today":
            return start_us
        return Window(Span.DAY, tz).bounds(start_us - 1)[0]
    if _AGO.fullmatch(word):
        return now_us() - span_of(word) // timedelta(microseconds=1)
    return _written_us(text.strip(), tz)


def span_of(text: str) -> timedelta:
    """Return the length of time that a person wrote: 90s, 30m, 12h, 7d or 2w.

    Raises: InputError for anything else.
    """
    found = _AGO.fullmatch(text.strip().lower())
    if found is None:
        raise InputError(f"found {text!r}, expected a length of time such as 12h or 7d")
    return timedelta(**{_SPANS[found[2]]: int(found[1])})


def ahead_us(text: str | None, tz: str) -> int | None:
    """Return a moment to come: "30d" is thirty days from now, else as `moment_us`.

    Raises: InputError for a moment that is past, and as `moment_us`.
    """
    if text is None:
        return None
    span = _AGO.fullmatch(text.strip().lower())
    if span is None:
        end_us = moment_us(text, tz)
    else:
        after = timedelta(**{_SPANS[span[2]]: int(span[1])})
        end_us = now_us() + after // timedelta(microseconds=1)
    if end_us is not None and end_us <= now_us():
        raise InputError(f"found end {text!r}, expected one in the future")
    return end_us


def _written_us(text: str, tz: str) -> int:
    full = f"{text}-01" if re.fullmatch(r"\d{4}-\d{2}", text) else text
    try:
        moment = datetime.fromisoformat(full)
    except ValueError:
        raise InputError(
            f"found time {text!r}, expected one such as 2026-11-01, 2026-11-01T08:00, 2026-11, "
            "today, yesterday, 7d or now"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(tz))
    return microseconds_of(moment)


def shown_time(at_us: int | None, tz: str) -> str | None:
    """Return a moment as text in the zone `tz` (seconds, with offset), None for None."""
    if at_us is None:
        return None
    return datetime_of(at_us).astimezone(zone(tz)).isoformat(sep=" ", timespec="seconds")
