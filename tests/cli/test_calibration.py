"""The commands that show and forget what estimates are corrected by."""

import json

import pytest

from meter.cli.main import run
from meter.core.calibrating import Sample
from meter.meter import Meter
from meter.store.calibration import Place


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A ledger that has learnt of one model: 165 tokens more than estimated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")
    place = Place("xai", "grok-4", "text")
    with Meter() as meter:
        samples = [(place, Sample(300 + 10 * n, 465 + 10 * n)) for n in range(200)]
        meter._ledger.calibrations.add(samples)


def test_corrections_are_shown_with_how_sure_they_are(ledger, capsys):
    assert run(["calibration", "show", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["provider"], row["model"], row["kind"]) == ("xai", "grok-4", "text")
    assert (row["ratio"], row["offset"], row["error_after"]) == ("1.000", 165, "0.0%")
    assert row["error_before"] != "0.0%"


def test_what_was_learnt_is_forgotten(ledger, capsys):
    assert run(["calibration", "forget", "--provider", "xai"]) == 0
    assert "Forgot" in capsys.readouterr().out
    assert run(["calibration", "show", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_the_setting_switches_it_off(ledger):
    with Meter(calibrate=False) as meter:
        assert meter.pipeline.calibrator is None
    with Meter() as meter:
        assert meter.pipeline.calibrator is not None
