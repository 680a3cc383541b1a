"""Killed at a random instant, the gateway has lost nothing: the short form of the attack."""

import os

import pytest

from benchmarks.torture import kill9

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers need fork")


def test_every_answered_call_is_settled_and_every_sent_call_is_found(new_ledger, tmp_path):
    sums = kill9.attack(new_ledger, tmp_path, rounds=1, number=32, seed=os.getpid())
    assert sums.broken == []
    assert sums.answered > 0
    assert sums.reached >= sums.answered
