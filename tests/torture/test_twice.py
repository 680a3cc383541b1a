"""Said twice, billed once: the short form of the attack on the store."""

from benchmarks.torture import twice


def test_nothing_is_billed_twice(new_ledger):
    sums = twice.attack(new_ledger, calls=40, with_gateway=False)
    assert sums.broken == []
