"""The synthetic ledgers that benchmarks and screenshots are made with."""

from datetime import UTC, datetime
from pathlib import Path

from benchmarks.ledgers import KINDS, fill
from meter.meter import Meter
from meter.store.checking import check
from meter.store.engine import open_engine

UNTIL = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_a_filled_ledger_has_the_calls_asked_for_and_holds_every_invariant(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    fill(url, 400, days=30, until=UNTIL, subjects=5, seed=3)
    with Meter(url, read_only=True) as meter:
        calls = list(meter.calls())
        by_model = {row.group[0] for row in meter.usage(("model",))}
        costs = sum(row.cost_nanos or 0 for row in meter.usage(()))
    assert len(calls) == 400
    assert by_model == {kind.model for kind in KINDS}
    assert costs == sum(call.cost_nanos or 0 for call in calls) > 0
    assert all(call.started_us < UNTIL.timestamp() * 1_000_000 for call in calls)
    engine = open_engine(url, read_only=True)
    assert list(check(engine)) == []
    engine.dispose()


def test_the_same_seed_fills_the_same_ledger(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        url = f"sqlite:///{tmp_path / name}.db"
        fill(url, 50, days=7, until=UNTIL, subjects=3, seed=5)
        with Meter(url, read_only=True) as meter:
            found.append([(call.id, call.subject, call.cost_nanos) for call in meter.calls()])
    assert found[0] == found[1]
