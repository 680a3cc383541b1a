"""What the soak says of what it has seen; the soak itself takes an hour."""

import pytest

from benchmarks.torture.soak import Note, Sums, judge

FLAT = [Note(100.0, 50, 10.0, 30.0)] * 30


def test_a_flat_run_is_kept():
    sums = Sums(notes=FLAT)
    judge(sums)
    assert sums.broken == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (Note(200.0, 50, 10.0, 30.0), "memory_mb grew from 100.0 to 200.0"),
        (Note(100.0, 100, 10.0, 30.0), "files grew from 50.0 to 100.0"),
        (Note(100.0, 50, 60.0, 30.0), "latency_ms_p50 grew from 10.0 to 60.0"),
    ],
)
def test_what_grows_in_the_last_third_is_said(changed, told):
    sums = Sums(notes=FLAT[:20] + [changed] * 10)
    judge(sums)
    assert sums.broken == [told]
