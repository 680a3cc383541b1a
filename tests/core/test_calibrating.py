"""What pairs of estimated and reported tokens speak for; every number is worked out by hand."""

from hypothesis import given
from hypothesis import strategies as st

from meter.core.calibrating import (
    LEAST_SAMPLES,
    MOST_SAMPLES,
    Calibration,
    Sample,
    calibrate,
)


def pairs(reported_of, sizes=range(100, 1300, 60)):
    return [Sample(size, reported_of(size)) for size in sizes]


def test_a_hidden_prompt_is_an_offset():
    found = calibrate(pairs(lambda size: size + 165))
    assert (found.ratio_ppm, found.offset) == (1_000_000, 165)
    assert found.after_ppm == 0
    assert found.corrected(40) == 205


def test_a_coarser_tokenizer_is_a_ratio():
    found = calibrate(pairs(lambda size: size * 3 // 2))
    assert (found.ratio_ppm, found.offset) == (1_500_000, 0)
    assert found.corrected(200) == 300
    # Reported a third more than estimated of it: 50 of 150.
    assert found.before_ppm == 333_333


def test_a_ratio_with_an_offset_is_found():
    # 1.25 times and 300 more, in steps of 4 so that nothing is rounded.
    found = calibrate(pairs(lambda size: size * 5 // 4 + 300, range(100, 1300, 60)))
    assert (found.ratio_ppm, found.offset) == (1_250_000, 300)
    assert found.corrected(1000) == 1550


def test_a_third_of_the_pairs_may_be_anything():
    honest = pairs(lambda size: size + 165)
    absurd = [Sample(100 + number, 900_000) for number in range(9)]
    assert calibrate([*absurd, *honest]).offset == 165


def test_estimates_that_are_right_stay():
    found = calibrate(pairs(lambda size: size))
    assert (found.ratio_ppm, found.offset, found.before_ppm) == (1_000_000, 0, 0)


def test_noise_without_a_direction_corrects_nothing():
    # 160 to 240, as many above 200 as below.
    noise = [Sample(200, 160 + 4 * number) for number in range(21)]
    found = calibrate(noise)
    assert (found.ratio_ppm, found.offset) == (1_000_000, 0)


def test_few_pairs_correct_nothing():
    few = pairs(lambda size: size * 2)[: LEAST_SAMPLES - 1]
    found = calibrate(few)
    assert (found.corrected(100), found.samples) == (100, LEAST_SAMPLES - 1)


def test_pairs_that_cannot_be_are_left_out():
    odd = [Sample(0, 5), Sample(5, 0), Sample(-1, 5), Sample(5, 10**15)]
    assert calibrate([*odd, *odd, *odd]).samples == 0


def test_corrections_are_bounded():
    far = calibrate(pairs(lambda size: size * 100))
    assert far.ratio_ppm <= 4_000_000
    assert far.offset <= 20_000
    assert Calibration(1_000_000, -500, 9, 0, 0).corrected(40) == 1
    assert Calibration(1_000_000, -500, 9, 0, 0).corrected(0) == 0


@given(st.lists(st.builds(Sample, st.integers(-5, 10**12), st.integers(-5, 10**12)), max_size=90))
def test_any_pairs_give_a_bounded_correction_that_does_not_harm(samples):
    found = calibrate(samples)
    assert 250_000 <= found.ratio_ppm <= 4_000_000
    assert abs(found.offset) <= 20_000
    assert 0 <= found.after_ppm <= found.before_ppm
    assert found.samples <= MOST_SAMPLES
    assert found.corrected(1000) >= 1
