"""What fails around the gateway loses nothing: the short form of the attack."""

import os

import pytest

from benchmarks.torture import faults
from benchmarks.torture.stage import sqlite_ledger

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers need fork")


def test_nothing_is_lost_when_the_upstream_or_the_ledger_breaks_off(new_ledger):
    is_sqlite = new_ledger is sqlite_ledger
    parts = ("cuts", "disk") if is_sqlite else ("away", "disk")
    sums = faults.attack(
        new_ledger, parts, every=97, calls=100, seconds=1.0, number=8, is_sqlite=is_sqlite
    )
    assert sums.broken == []
