"""What the ledger learns of estimates: kept, bounded, shared, forgotten."""

import threading

import pytest
from sqlalchemy import func, select

from meter.core.calibrating import MOST_SAMPLES, Sample
from meter.errors import StoreUnavailable
from meter.store import calibration
from meter.store.calibration import Calibrations, Learner, Place
from meter.store.engine import open_engine, read_connection
from meter.store.schema import calibration_samples

GROK = Place("xai", "grok-4", "text")
CLAUDE = Place("anthropic", "claude-haiku-4-5", "tools")


@pytest.fixture
def calibrations(ledger_url: str):
    engine = open_engine(ledger_url)
    yield Calibrations(engine)
    engine.dispose()


def hidden(place: Place, extra: int, number: int = 40):
    return [(place, Sample(100 + 10 * n, 100 + 10 * n + extra)) for n in range(number)]


def test_samples_are_kept_for_each_place(calibrations: Calibrations) -> None:
    calibrations.add([*hidden(GROK, 165), *hidden(CLAUDE, 0)])
    learnt = calibrations.learnt()
    assert set(learnt) == {GROK, CLAUDE}
    assert learnt[GROK].offset == 165
    assert learnt[CLAUDE].offset == 0
    assert set(calibrations.learnt([GROK])) == {GROK}


def test_no_place_keeps_more_than_its_slots(calibrations: Calibrations) -> None:
    for _ in range(8):
        calibrations.add(hidden(GROK, 165))
    with read_connection(calibrations._engine) as connection:
        kept = connection.execute(select(func.count()).select_from(calibration_samples)).scalar()
    assert 0 < kept <= MOST_SAMPLES


def test_what_was_learnt_can_be_forgotten(calibrations: Calibrations) -> None:
    calibrations.add([(GROK, Sample(1, 2)), (CLAUDE, Sample(1, 2))])
    assert calibrations.forget("openai") == 0
    assert calibrations.forget("xai", "grok-4") == 1
    assert calibrations.forget() == 1
    assert calibrations.samples() == {}


def test_a_learner_corrects_by_what_it_and_others_were_taught(calibrations: Calibrations) -> None:
    calibrations.add(hidden(CLAUDE, 300))
    learner = Learner(calibrations)
    for place, sample in hidden(GROK, 165):
        learner.learn(*place, *sample)
    assert learner._learnt == {}
    learner.write()
    assert learner.corrected(*GROK, 40) == 205
    assert learner.corrected(*CLAUDE, 40) == 340
    assert learner.corrected("xai", "grok-4", "media", 40) == 40
    learner.close(5)


def test_closing_writes_what_waits(calibrations: Calibrations) -> None:
    learner = Learner(calibrations)
    assert learner.corrected(*GROK, 40) == 40
    learner.learn(*GROK, 100, 265)
    learner.close(10)
    assert calibrations.samples() == {GROK: [Sample(100, 265)]}
    assert learner._thread is not None and not learner._thread.is_alive()


class Away:
    """Calibrations of a ledger that is away until told otherwise."""

    def __init__(self) -> None:
        self.is_away = True
        self.taken: list[object] = []

    def add(self, samples: list[object]) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        self.taken += samples

    def learnt(self, places: object = None) -> dict[object, object]:
        return {}


def test_samples_wait_in_order_while_the_ledger_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    away = Away()
    learner = Learner(away)  # type: ignore[arg-type]
    learner.learn(*GROK, 1, 2)
    learner.learn(*GROK, 3, 4)
    with pytest.raises(StoreUnavailable):
        learner.write()
    away.is_away = False
    learner.write()
    assert away.taken == [(GROK, Sample(1, 2)), (GROK, Sample(3, 4))]


def test_what_waits_is_bounded() -> None:
    learner = Learner(Away())  # type: ignore[arg-type]
    for number in range(5_000):
        learner.learn(*GROK, number + 1, 5)
    assert len(learner._pending) == 2_048
    assert learner._pending[-1] == (GROK, Sample(5_000, 5))


def test_places_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_MOST_PLACES", 1)
    learner = Learner(Away())  # type: ignore[arg-type]
    learner._learnt = {CLAUDE: None}  # type: ignore[dict-item]
    learner.learn(*GROK, 1, 2)
    learner.learn(*CLAUDE, 1, 2)
    assert [place for place, _ in learner._pending] == [CLAUDE]


def test_two_ledgers_threads_teach_one_place_together(calibrations: Calibrations) -> None:
    threads = [
        threading.Thread(target=calibrations.add, args=([*hidden(GROK, 165), *hidden(CLAUDE, 9)],))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calibrations.learnt()[GROK].offset == 165
