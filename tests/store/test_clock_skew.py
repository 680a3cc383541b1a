"""A clock that is far from the ledger's is noticed before it counts anything."""

import pytest

from meter import clock
from meter.cli.examining import examine
from meter.config import Settings
from meter.errors import StoreUnavailable
from meter.store import clock_skew
from meter.store.ledger import Ledger

SECOND_US = 1_000_000


@pytest.fixture
def ahead(monkeypatch):
    """Set this machine's clock that many seconds ahead."""

    def set_ahead(seconds):
        monkeypatch.setattr(clock_skew, "now_us", lambda: clock.now_us() + int(seconds * SECOND_US))

    return set_ahead


def test_clocks_that_agree_open_the_ledger(postgres_ledger_url):
    ledger = Ledger(Settings(database_url=postgres_ledger_url, on_store_failure="refuse"))
    assert abs(clock_skew.skew_us(ledger._engine)) < SECOND_US
    ledger.close()


@pytest.mark.parametrize(("seconds", "side"), [(75, "ahead of"), (-75, "behind")])
def test_a_clock_that_is_too_far_off_does_not_open_the_ledger(
    postgres_ledger_url, ahead, seconds, side
):
    ahead(seconds)
    expected = rf"found this machine's clock 7\d\.\d s {side} the ledger's, expected at most 60 s"
    with pytest.raises(StoreUnavailable, match=expected):
        Ledger(Settings(database_url=postgres_ledger_url, on_store_failure="refuse"))


def test_a_clock_that_is_a_little_off_is_said(postgres_ledger_url, ahead, caplog):
    ahead(5)
    ledger = Ledger(Settings(database_url=postgres_ledger_url, on_store_failure="refuse"))
    assert "windows begin that much apart" in caplog.text
    ledger.close()


def test_a_clock_that_goes_wrong_later_sweeps_nothing_and_is_not_ready(postgres_ledger_url, ahead):
    ledger = Ledger(Settings(database_url=postgres_ledger_url, on_store_failure="refuse"))
    ahead(4000)
    for question in (ledger.sweep, ledger.ping):
        with pytest.raises(StoreUnavailable, match="set it right"):
            question()
    ledger.close()


@pytest.mark.parametrize(("seconds", "state"), [(0, "good"), (5, "note"), (75, "fault")])
def test_the_doctor_tells_the_difference(postgres_ledger_url, ahead, seconds, state):
    ahead(seconds)
    findings = examine(Settings(database_url=postgres_ledger_url))
    (clock_finding,) = [each for each in findings if each.what == "clock"]
    assert clock_finding.state == state


def test_sqlite_lies_on_this_machine(sqlite_ledger_url, ahead):
    ahead(4000)
    Ledger(Settings(database_url=sqlite_ledger_url, on_store_failure="refuse")).close()
