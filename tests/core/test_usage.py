"""Quantities of one call: what is allowed, merging, clamping."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.units import UNITS
from meter.core.usage import MAX_QUANTITY, Usage
from meter.errors import UnitError

usages = st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 10**9)).map(Usage)


def test_a_unit_that_was_not_reported_is_absent():
    usage = Usage(input_tokens=3, output_tokens=0)
    assert usage["output_tokens"] == 0
    assert "cache_read_tokens" not in usage
    assert usage.get("cache_read_tokens") is None
    with pytest.raises(KeyError):
        usage["cache_read_tokens"]


def test_units_stand_in_the_order_of_the_registry():
    assert list(Usage(output_tokens=1, requests=1, input_tokens=1)) == [
        "input_tokens",
        "output_tokens",
        "requests",
    ]
    assert repr(Usage(output_tokens=5, input_tokens=3)) == "Usage(input_tokens=3, output_tokens=5)"


def test_keywords_win_over_the_mapping():
    assert Usage({"input_tokens": 1, "pages": 2}, input_tokens=9) == {
        "input_tokens": 9,
        "pages": 2,
    }


def test_equal_usages_are_one_key():
    first = Usage(input_tokens=3, output_tokens=5)
    second = Usage(output_tokens=5, input_tokens=3)
    assert first == second
    assert len({first, second}) == 1
    assert first != Usage(input_tokens=3)


@pytest.mark.parametrize(
    "quantities",
    [
        {"tokens": 1},
        {"input_tokens": -1},
        {"input_tokens": True},
        {"input_tokens": 1.5},
        {"input_tokens": 1.0},
        {"input_tokens": "1"},
        {"input_tokens": None},
        {"input_tokens": Decimal(1)},
        {"input_tokens": MAX_QUANTITY + 1},
        {"audio_seconds": Decimal("NaN")},
        {"audio_seconds": Decimal("Infinity")},
        {"audio_seconds": Decimal("-0.1")},
        {"audio_seconds": 0.5},
    ],
)
def test_what_is_no_quantity_is_refused(quantities):
    with pytest.raises(UnitError, match=r"^found "):
        Usage(quantities)


def test_the_limits_themselves_are_allowed():
    usage = Usage(input_tokens=MAX_QUANTITY, audio_seconds=Decimal("8.47"), pages=0)
    assert usage["audio_seconds"] == Decimal("8.47")


def test_a_later_report_replaces_and_never_adds():
    start = Usage(input_tokens=10, output_tokens=1, cache_write_5m_tokens=4)
    end = Usage(output_tokens=30)
    assert start.merged(end) == {
        "input_tokens": 10,
        "output_tokens": 30,
        "cache_write_5m_tokens": 4,
    }
    assert start.merged(end).merged(end) == start.merged(end)


def test_cached_above_input_is_clamped():
    # OpenAI's own specification has an example with 384 cached of 127 input tokens.
    usage = Usage(input_tokens=127, cache_read_tokens=384, cache_audio_read_tokens=200)
    assert usage.clamped() == {
        "input_tokens": 127,
        "cache_read_tokens": 127,
        "cache_audio_read_tokens": 127,
    }


def test_what_has_no_reported_container_is_not_clamped():
    assert Usage(cache_read_tokens=384).clamped() == {"cache_read_tokens": 384}


@given(usages)
def test_clamping_never_leaves_a_part_above_its_whole(usage):
    clamped = usage.clamped()
    assert clamped.keys() == usage.keys()
    for name, quantity in clamped.items():
        for container in UNITS[name].inside:
            assert quantity <= clamped.get(container, quantity)
    assert clamped.clamped() == clamped


@given(usages, usages)
def test_merging_keeps_what_only_the_earlier_report_said(first, second):
    merged = first.merged(second)
    for name in UNITS:
        assert merged.get(name) == (second[name] if name in second else first.get(name))


def test_all_zero():
    assert Usage().is_all_zero
    assert Usage(input_tokens=0, output_tokens=0).is_all_zero
    assert not Usage(input_tokens=0, requests=1).is_all_zero
