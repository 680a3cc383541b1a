"""Asked from everywhere at once, a budget lets exactly its worth through: the short form."""

import os

import pytest

from benchmarks.torture import overspend

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers need fork")


def test_a_budget_worth_100_calls_lets_100_through_and_nothing_over(new_ledger):
    kinds = ("exact", "mixed", "rolling")
    sums, found = overspend.attack(
        new_ledger, rounds=3, number=32, calls=200, kinds=kinds, workers=2
    )
    assert [*sums.broken, *found] == []
    assert sums.counts["exact"] == {100}
    assert sums.asked == 600
