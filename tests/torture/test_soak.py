"""What the soak says of what it has seen; the soak itself takes an hour, and here some seconds."""

import os

import pytest

from benchmarks.torture.soak import NOTES, Note, Sums, attack, judge

FLAT = [Note(100.0, 50, 10.0, 30.0)] * 30


def test_a_flat_run_is_kept():
    sums = Sums(notes=FLAT)
    judge(sums)
    assert sums.broken == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (Note(114.0, 50, 10.0, 30.0), "memory_mb grew from 100.0 to 114.0"),
        (Note(100.0, 59, 10.0, 30.0), "files grew from 50.0 to 59.0"),
        (Note(100.0, 50, 60.0, 30.0), "latency_ms_p50 grew from 10.0 to 60.0"),
    ],
)
def test_what_grows_in_the_last_third_is_said(changed, told):
    sums = Sums(notes=FLAT[:20] + [changed] * 10)
    judge(sums)
    assert sums.broken == [told]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers need fork")
def test_a_soak_of_a_few_seconds_loses_nothing_and_leaves_no_file_open(new_ledger):
    sums, figures = attack(new_ledger, minutes=0.2, rate=10)
    # Too short to tell what grows from what is still being filled, but for open files.
    assert [told for told in sums.broken if "grew" not in told or "files" in told] == []
    assert len(sums.notes) >= NOTES - 2
    assert figures["records"] == sums.calls > 60
