"""Windows on the wall clock of a zone: changes of the clock, half hours, month ends, weeks."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.rates import datetime_of, microseconds_of
from meter.core.windows import Span, Window, zone
from meter.errors import ConfigError

HOUR_US = 3_600_000_000
BERLIN, KOLKATA, SHANGHAI = "Europe/Berlin", "Asia/Kolkata", "Asia/Shanghai"


def us(text):
    return microseconds_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def bounds(span, tz, moment):
    """The bounds in UTC as text without the zone."""
    start, end = Window(Span(span), tz).bounds(us(moment))
    return tuple(
        datetime_of(edge).replace(tzinfo=None).isoformat(timespec="minutes")
        for edge in (start, end)
    )


@pytest.mark.parametrize(
    ("span", "tz", "moment", "start", "end"),
    [
        ("hour", "UTC", "2026-11-22T12:34:56.789", "2026-11-22T12:00", "2026-11-22T13:00"),
        ("day", "UTC", "2026-11-22T12:34:56", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("day", "UTC", "2026-11-22T00:00", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("day", "UTC", "2026-11-21T23:59:59.999999", "2026-11-21T00:00", "2026-11-22T00:00"),
        # a Sunday is the last day of its week, a Monday the first
        ("week", "UTC", "2026-11-22T12:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("week", "UTC", "2026-11-23T00:00", "2026-11-23T00:00", "2026-11-30T00:00"),
        # a week over a year's end
        ("week", "UTC", "2027-01-01T12:00", "2026-12-28T00:00", "2027-01-04T00:00"),
        ("month", "UTC", "2026-11-30T23:59:59", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("month", "UTC", "2026-12-31T23:59:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "UTC", "2026-02-10T00:00", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("month", "UTC", "2028-02-29T00:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", "UTC", "2026-01-31T12:00", "2026-01-01T00:00", "2026-02-01T00:00"),
        # Shanghai is 8 hours ahead: its 1 November began on 31 October at 16:00 UTC
        ("day", SHANGHAI, "2026-11-21T16:00", "2026-11-21T16:00", "2026-11-22T16:00"),
        ("day", SHANGHAI, "2026-11-21T15:59:59", "2026-11-20T16:00", "2026-11-21T16:00"),
        ("month", SHANGHAI, "2026-10-31T16:00", "2026-10-31T16:00", "2026-11-30T16:00"),
        ("week", SHANGHAI, "2026-11-22T16:00", "2026-11-22T16:00", "2026-11-29T16:00"),
        # Kolkata is 5½ hours ahead: its hours begin at half past in UTC
        ("hour", KOLKATA, "2026-11-22T12:29:59", "2026-11-22T11:30", "2026-11-22T12:30"),
        ("hour", KOLKATA, "2026-11-22T12:30", "2026-11-22T12:30", "2026-11-22T13:30"),
        ("day", KOLKATA, "2026-11-22T18:30", "2026-11-22T18:30", "2026-11-23T18:30"),
        # Berlin puts its clock forward on 29 March 2026: a day of 23 hours
        ("day", BERLIN, "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("day", BERLIN, "2026-03-28T12:00", "2026-03-27T23:00", "2026-03-28T23:00"),
        ("day", BERLIN, "2026-03-30T12:00", "2026-03-29T22:00", "2026-03-30T22:00"),
        # and back on 25 October 2026: a day of 25 hours
        ("day", BERLIN, "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        # the weeks and months around are an hour shorter or longer
        ("week", BERLIN, "2026-03-29T12:00", "2026-03-22T23:00", "2026-03-29T22:00"),
        ("month", BERLIN, "2026-10-31T12:00", "2026-09-30T22:00", "2026-10-31T23:00"),
        # the hour before the gap is followed by 03:00
        ("hour", BERLIN, "2026-03-29T00:59:59", "2026-03-29T00:00", "2026-03-29T01:00"),
        ("hour", BERLIN, "2026-03-29T01:00", "2026-03-29T01:00", "2026-03-29T02:00"),
        # 02:00 to 03:00 comes twice in autumn: two windows
        ("hour", BERLIN, "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("hour", BERLIN, "2026-10-25T01:30", "2026-10-25T01:00", "2026-10-25T02:00"),
        # Cairo's clock jumps at midnight: 24 April 2026 begins at 01:00 there
        ("day", "Africa/Cairo", "2026-04-24T12:00", "2026-04-23T22:00", "2026-04-24T21:00"),
    ],
)  # fmt: skip
def test_bounds(span, tz, moment, start, end):
    assert bounds(span, tz, moment) == (start, end)


def test_total_never_ends():
    assert Window(Span.TOTAL).bounds(us("2026-11-22T12:00:00")) == (0, None)


@pytest.mark.parametrize(
    ("moment", "hours"),
    [("2026-03-29T12:00:00", 23), ("2026-10-25T12:00:00", 25), ("2026-11-22T12:00:00", 24)],
)
def test_a_day_in_berlin_has_as_many_hours_as_the_clock_says(moment, hours):
    start, end = Window(Span.DAY, "Europe/Berlin").bounds(us(moment))
    assert end - start == hours * HOUR_US


@pytest.mark.parametrize("tz", ["Mars/Base", "", "../etc/passwd", "Europe/", "no such zone"])
def test_a_zone_that_does_not_exist_is_refused(tz):
    with pytest.raises(ConfigError, match="expected one such as Asia/Shanghai"):
        Window(Span.DAY, tz)
    with pytest.raises(ConfigError):
        zone(tz)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from([Span.HOUR, Span.DAY, Span.WEEK, Span.MONTH]),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Shanghai", "Asia/Kolkata", "America/New_York"]),
)
def test_windows_hold_their_moment_and_follow_each_other(moment, span, tz):
    at_us = microseconds_of(moment.replace(tzinfo=UTC))
    window = Window(span, tz)
    start, end = window.bounds(at_us)
    assert start <= at_us < end
    assert window.bounds(start) == (start, end)
    assert window.bounds(end - 1) == (start, end)
    assert window.bounds(end)[0] == end


def test_a_rolling_window_counts_its_last_24th_in_full():
    window = Window.named("rolling:24h")
    assert window == Window(Span.ROLLING, "UTC", 24 * HOUR_US)
    at_us = us("2026-11-22T12:30:00")
    assert window.bounds(at_us) == (us("2026-11-22T12:00:00"), us("2026-11-22T13:00:00"))
    # What was spent yesterday at 12:00 is 24.5 hours old; its hour began within the window.
    assert window.counted_from(at_us) == us("2026-11-21T12:00:00")
    assert Window(Span.DAY).counted_from(at_us) == us("2026-11-22T00:00:00")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rolling:24h", "rolling:24h"),
        ("rolling:1d", "rolling:24h"),
        ("rolling:7d", "rolling:7d"),
        ("rolling:90m", "rolling:90m"),
        ("rolling:60m", "rolling:1h"),
        ("month", "month"),
    ],
)
def test_a_window_is_known_by_its_name(name, shown):
    window = Window.named(name, BERLIN)
    assert (window.name, window.tz) == (shown, BERLIN)
    assert Window.named(shown, BERLIN) == window


@pytest.mark.parametrize(
    "name", ["year", "rolling", "rolling:", "rolling:0h", "rolling:-1h", "rolling:2w", "rolling:h",
             "rolling:1.5h", "month:2", "", "rolling:367d"],
)  # fmt: skip
def test_a_window_that_does_not_exist_is_refused(name):
    with pytest.raises(ConfigError, match="expected"):
        Window.named(name)
    with pytest.raises(ConfigError):
        Window(Span.ROLLING)
    with pytest.raises(ConfigError):
        Window(Span.DAY, "UTC", HOUR_US)
