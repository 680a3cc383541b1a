"""Exact money: rounding, texts, sums."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.money import (
    Money,
    divide_half_even,
    multiply,
    nanos_from_text,
    nanos_to_decimal,
    nanos_to_text,
)
from meter.errors import MoneyError

integers = st.integers(min_value=0, max_value=10**15)
seconds = st.decimals(min_value=0, max_value=10**6, places=9, allow_nan=False)


@pytest.mark.parametrize(
    ("quantity", "nanos", "per", "amount"),
    [
        (1_000, 2_500_000_000, 1_000_000, 2_500_000),  # 0.0025
        (1, 150_000_000, 1_000_000, 150),
        (1, 500, 1_000, 0),  # 0.5, to the even 0
        (3, 500, 1_000, 2),  # 1.5, to the even 2
        (5, 500, 1_000, 2),  # 2.5, to the even 2
        (7, 500, 1_000, 4),  # 3.5, to the even 4
        (501, 1, 1_000, 1),  # 0.501, up
        (499, 1, 1_000, 0),  # 0.499, down
        (Decimal("8.47"), 360_000_000, 3_600, 847_000),  # 8.47 s at 0.36 an hour
        (Decimal("0.5"), 1, 1, 0),
        (Decimal("1.5"), 1, 1, 2),
        (0, 10**12, 1, 0),
        (10**15, 10**18, 1, 10**33),
    ],
)
def test_multiply_rounds_half_to_even_once(quantity, nanos, per, amount):
    assert multiply(quantity, nanos, per) == amount


@given(integers | seconds, integers, st.integers(min_value=1, max_value=10**9))
def test_multiply_is_fraction_arithmetic_rounded_half_to_even(quantity, nanos, per):
    # Fraction's own round() is half-even and exact.
    assert multiply(quantity, nanos, per) == round(Fraction(quantity) * nanos / per)


@given(st.integers(), st.integers(min_value=1))
def test_divide_half_even_agrees_with_fractions(numerator, denominator):
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [(1, 2, 0), (3, 2, 2), (-1, 2, 0), (-3, 2, -2), (-5, 2, -2), (7, 1, 7), (-7, 3, -2)],
)
def test_divide_half_even_below_zero_too(numerator, denominator, quotient):
    assert divide_half_even(numerator, denominator) == quotient


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("12.50", 12_500_000_000),
        ("0.000000001", 1),
        ("1e-9", 1),
        ("-0.0025", -2_500_000),
        ("0", 0),
        ("-0", 0),
        ("0e-1000000", 0),
        ("999999999999999999.999999999", 10**27 - 1),
    ],
)
def test_text_to_nanos(text, nanos):
    assert nanos_from_text(text) == nanos


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a decimal such as 12.50"),
        ("twelve", "a decimal such as 12.50"),
        ("1,5", "a decimal such as 12.50"),
        ("nan", "a finite decimal below 10^18"),
        ("sNaN", "a finite decimal below 10^18"),
        ("-inf", "a finite decimal below 10^18"),
        ("1e18", "a finite decimal below 10^18"),
        ("1e999999999", "a finite decimal below 10^18"),
        ("0.0000000001", "at most 9 decimal places"),
        ("1e-1000000", "at most 9 decimal places"),
        # more digits than Python's own decimal context keeps
        ("1.00000000000000000000000000000000000001", "at most 9 decimal places"),
    ],
)
def test_text_that_is_no_exact_amount_is_refused(text, expected):
    with pytest.raises(MoneyError) as caught:
        nanos_from_text(text)
    assert str(caught.value) == f"found amount {text!r}, expected {expected}"


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (100_000, "0.0001"),
        (2_000_000_000, "2"),
        (-1_500_000_000, "-1.5"),
        (-1, "-0.000000001"),
        (10**30, "1" + "0" * 21),
    ],
)
def test_nanos_to_text(nanos, text):
    assert nanos_to_text(nanos) == text


@given(st.integers(min_value=-(10**26), max_value=10**26))
def test_text_and_nanos_are_two_ways_of_writing_one_amount(nanos):
    assert nanos_from_text(nanos_to_text(nanos)) == nanos
    assert nanos_from_text(str(nanos_to_decimal(nanos))) == nanos


def test_a_decimal_of_many_digits_is_exact():
    assert str(nanos_to_decimal(10**40 + 1)) == "10000000000000000000000000000000.000000001"
    assert nanos_to_decimal(1_500_000_000) == Decimal("1.5")


def test_decimals_of_nanos_sum_without_loss():
    total = sum((nanos_to_decimal(1) for _ in range(10)), start=Decimal(0))
    assert total.quantize(Decimal("1e-9"), ROUND_HALF_EVEN) == Decimal("0.00000001")


def test_money_of_one_currency_adds_up():
    assert Money.parse("0.10", "USD") + Money.parse("0.20", "USD") == Money(300_000_000, "USD")


def test_money_of_two_currencies_does_not():
    with pytest.raises(MoneyError, match="cannot add CNY to USD"):
        Money(1, "USD") + Money(1, "CNY")


def test_money_shows_its_currency():
    assert str(Money(2_500_000, "USD")) == "0.0025 USD"
