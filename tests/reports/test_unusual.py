"""Unusual days: far from what days usually cost, judged by medians."""

from datetime import date, timedelta

from meter.reports.unusual import UnusualDay, unusual_days

FIRST = date(2026, 11, 1)


def days(*costs):
    return {FIRST + timedelta(days=n): cost for n, cost in enumerate(costs)}


def test_a_day_far_above_and_one_far_below_are_found_the_latest_first():
    found = unusual_days(days(100, 104, 96, 100, 300, 102, 98, 10, 100))
    # median 100; distances 0 4 4 0 200 2 2 90 0, their median 2: five times that is 10, a quarter
    # of the median is 25
    assert found == [
        UnusualDay(FIRST + timedelta(7), 10, 100),
        UnusualDay(FIRST + timedelta(4), 300, 100),
    ]


def test_days_that_vary_much_make_no_alarm():
    assert unusual_days(days(10, 200, 50, 120, 90, 160, 30)) == []


def test_steady_days_do_not_make_a_small_change_unusual():
    assert unusual_days(days(100, 100, 100, 100, 100, 100, 120)) == []


def test_a_week_is_the_least_to_learn_from():
    assert unusual_days(days(1, 1, 1, 1, 1, 1000)) == []
