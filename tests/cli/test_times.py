import pytest

from meter.cli.times import moment_us, shown_time
from meter.clock import now_us
from meter.errors import ConfigError, InputError

MIDNIGHT_2026_11_01_UTC_US = 1_793_491_200_000_000  # date -u -d 2026-11-01 +%s, in microseconds


@pytest.mark.parametrize(
    ("text", "tz", "expected_us"),
    [
        ("2026-11-01", "UTC", MIDNIGHT_2026_11_01_UTC_US),
        ("2026-11", "UTC", MIDNIGHT_2026_11_01_UTC_US),
        # Shanghai is eight hours ahead: its day begins eight hours before UTC's.
        ("2026-11-01", "Asia/Shanghai", MIDNIGHT_2026_11_01_UTC_US - 8 * 3600 * 10**6),
        ("2026-11-01T08:00", "Asia/Shanghai", MIDNIGHT_2026_11_01_UTC_US),
        ("2026-11-01T02:00+02:00", "Asia/Shanghai", MIDNIGHT_2026_11_01_UTC_US),
        (None, "UTC", None),
    ],
)
def test_a_written_moment_is_read_in_its_zone(text, tz, expected_us):
    assert moment_us(text, tz) == expected_us


def test_seven_days_ago_is_seven_days_before_now():
    assert abs(moment_us("7d", "UTC") - (now_us() - 7 * 86400 * 10**6)) < 10**6


def test_yesterday_ends_where_today_begins():
    day_us = moment_us("today", "UTC") - moment_us("yesterday", "UTC")
    assert day_us == 86400 * 10**6


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "01.11.2026", "", "7 days"])
def test_other_text_is_refused_with_examples(text):
    with pytest.raises(InputError, match="expected one such as 2026-11-01"):
        moment_us(text, "UTC")


def test_an_unknown_zone_is_refused():
    with pytest.raises(ConfigError, match="found time zone 'Mars/Olympus'"):
        moment_us("2026-11-01", "Mars/Olympus")


def test_a_moment_is_shown_with_its_offset():
    shown = shown_time(MIDNIGHT_2026_11_01_UTC_US, "Asia/Shanghai")
    assert shown == "2026-11-01 08:00:00+08:00"
