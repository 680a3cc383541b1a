"""Periods, tax, rounding and sums of invoices."""

from decimal import Decimal

import pytest

from meter.core.invoices import (
    Item,
    Sums,
    Tax,
    decimals_of,
    period_named,
    tax_named,
)
from meter.core.rates import datetime_of
from meter.core.rating import ChargeLine
from meter.errors import ConfigError, InputError

ITEM = Item("gpt-4o", "input_tokens", 2_500_000_000, 10**6)


@pytest.mark.parametrize(
    ("name", "tz", "start", "end"),
    [
        ("2026-11", "UTC", "2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),
        ("2026-12", "UTC", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        ("2026-02-28", "UTC", "2026-02-28T00:00:00+00:00", "2026-03-01T00:00:00+00:00"),
        ("2026-Q4", "UTC", "2026-10-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        ("2026", "UTC", "2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        # Eight hours earlier in Shanghai.
        ("2026-11", "Asia/Shanghai", "2026-10-31T16:00:00+00:00", "2026-11-30T16:00:00+00:00"),
        # Summer time ends on the first of November in New York: this day has 25 hours.
        ("2026-11-01", "America/New_York", "2026-11-01T04:00:00+00:00",
         "2026-11-02T05:00:00+00:00"),
    ],
)  # fmt: skip
def test_a_period_begins_and_ends_with_the_calendar_of_its_zone(name, tz, start, end):
    period = period_named(name, tz)
    assert datetime_of(period.start_us).isoformat() == start
    assert datetime_of(period.end_us).isoformat() == end


@pytest.mark.parametrize("name", ["2026-13", "2026-02-30", "november", "2026-Q5", "", "0000"])
def test_what_is_no_period_is_refused_in_a_sentence(name):
    with pytest.raises(InputError, match="expected one such as 2026-11"):
        period_named(name, "UTC")


def test_an_unknown_zone_is_refused():
    with pytest.raises(ConfigError, match="found time zone 'Mars/Base'"):
        period_named("2026-11", "Mars/Base")


def test_tax_is_rounded_half_to_even_at_the_nano():
    # 8.875 % of 1,000 nanos is 88.75; of 200 it is 17.75; 50 % of 1 and of 3 are halves.
    assert Tax("sales tax", Decimal("8.875")).of(1000) == 89
    assert [Tax("half", Decimal(50)).of(nanos) for nanos in (1, 3, -1, -3)] == [0, 2, 0, -2]


@pytest.mark.parametrize("percent", ["", "nineteen", "-1", "1001", "NaN", "Infinity"])
def test_a_tax_that_is_none_is_refused(percent):
    with pytest.raises(InputError, match="expected a label and a decimal"):
        tax_named("VAT", percent)


def test_no_label_and_no_percentage_is_no_tax():
    assert tax_named("", "") is None
    assert tax_named("VAT", "19") == Tax("VAT", Decimal(19))
    with pytest.raises(InputError):
        tax_named("", "19")


def test_currencies_are_paid_in_their_smallest_unit():
    assert [decimals_of(code) for code in ("USD", "CNY", "JPY", "KWD")] == [2, 2, 0, 3]


def test_sums_are_by_currency_model_unit_and_price():
    sums = Sums()
    line = ChargeLine("input_tokens", 10, 2_500_000_000, 10**6, 25_000)
    dearer = ChargeLine("input_tokens", 10, 5_000_000_000, 10**6, 50_000)
    for currency, model, charge in (
        ("USD", "gpt-4o", line), ("USD", "gpt-4o", line), ("USD", "gpt-4o", dearer),
        ("CNY", "gpt-4o", line), ("USD", None, line),
    ):  # fmt: skip
        sums.add_call(currency, model, [charge])
    lines = sums.lines(period_named("2026-11", "UTC"), is_own=True)
    shown = {
        currency: [(each.item.model, each.item.nanos, each.quantity, each.amount_nanos)
                   for each in listed]
        for currency, listed in lines.items()
    }  # fmt: skip
    assert shown == {
        "USD": [
            ("gpt-4o", 2_500_000_000, 20, 50_000), ("gpt-4o", 5_000_000_000, 10, 50_000),
            (None, 2_500_000_000, 10, 25_000),
        ],
        "CNY": [("gpt-4o", 2_500_000_000, 10, 25_000)],
    }  # fmt: skip


def test_what_came_to_nothing_has_no_line():
    sums = Sums()
    sums.add("USD", ITEM, 10, 25_000)
    sums.add("USD", ITEM, -10, -25_000)
    assert sums.lines(period_named("2026-11", "UTC"), is_own=True) == {}
