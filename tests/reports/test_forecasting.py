"""Forecasts: what the days to come are taken to cost, and how sure that is."""

from datetime import date, timedelta

import pytest

from meter.reports.forecasting import MOST_DAYS, forecast

MONDAY = date(2026, 11, 23)


def days_before(day, *costs):
    """The costs of the days before, the last one yesterday's."""
    return {day - timedelta(days=len(costs) - n): cost for n, cost in enumerate(costs)}


def test_equal_days_go_on_as_they_were_without_a_band():
    past = days_before(MONDAY, *[100] * 14)
    found = forecast(past, MONDAY, spent_nanos=500, today_nanos=20, end=date(2026, 11, 26))
    # 480 until yesterday; Monday, Tuesday and Wednesday cost 100 each
    assert (found.expected_nanos, found.low_nanos, found.high_nanos) == (780, 780, 780)
    assert found.days == 14
    assert [day for day, *_ in found.path] == [MONDAY + timedelta(days=n) for n in range(3)]


def test_weekends_are_forecast_from_weekends():
    friday = date(2026, 11, 20)
    past = {
        friday - timedelta(days=n): 10 if (friday - timedelta(days=n)).isoweekday() > 5 else 100
        for n in range(1, 29)
    }
    found = forecast(past, friday, 0, 0, MONDAY)
    # Friday 100, Saturday 10, Sunday 10
    assert found.expected_nanos == 120


def test_a_day_that_already_cost_more_than_usual_counts_in_full():
    past = days_before(MONDAY, *[100] * 7)
    found = forecast(past, MONDAY, spent_nanos=350, today_nanos=300, end=date(2026, 11, 24))
    assert found.expected_nanos == 350


def test_the_band_is_where_four_of_five_sums_would_fall():
    tuesday = date(2026, 11, 24)
    past = days_before(tuesday, 90, 110, 90, 110)  # Friday to Monday: too few of each kind
    found = forecast(past, tuesday, 0, 0, date(2026, 11, 25))
    # mean 100; variance (4 × 10²) / 3 = 133; 1.2816 × √133 = 14.8
    assert (found.low_nanos, found.expected_nanos, found.high_nanos) == (86, 100, 114)


def test_the_band_never_falls_below_what_is_spent_already():
    past = days_before(MONDAY, 0, 1000, 0, 1000)
    found = forecast(past, MONDAY, spent_nanos=600, today_nanos=600, end=date(2026, 11, 24))
    assert found.low_nanos == 600


@pytest.mark.parametrize(
    ("past", "end"),
    [
        (days_before(MONDAY, 5, 5), MONDAY + timedelta(days=3)),
        ({}, MONDAY + timedelta(days=3)),
        (days_before(MONDAY, 5, 5, 5), MONDAY),
        ({MONDAY - timedelta(days=MOST_DAYS + n): 5 for n in range(1, 9)}, MONDAY + timedelta(3)),
    ],
)
def test_without_enough_days_or_a_day_to_come_there_is_no_forecast(past, end):
    assert forecast(past, MONDAY, 10, 5, end) is None
