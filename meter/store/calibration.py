"""Keep what estimates are learnt from, and correct estimates by it.

The ledger has up to 64 samples for each provider, model and kind of content; a new one takes a
random slot, so that all processes on one ledger learn together and old samples fade. Nothing here
is on the way of a call but a look into a dictionary: samples are written, and corrections learnt
anew, by a thread of its own. Knows no pricing and changes no record. Called by the façade, which
hands it to the pipeline.
"""

import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from sqlalchemy import Engine, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from meter.clock import now_us
from meter.core.calibrating import MOST_SAMPLES, Calibration, Sample, calibrate
from meter.errors import StoreError
from meter.store.engine import read_connection, write_connection
from meter.store.forking import begin_anew_in_children
from meter.store.schema import calibration_samples as table

WRITE_AFTER_SAMPLES: Final = 64
WRITE_AFTER_S: Final = 30.0
LEARN_ALL_AFTER_S: Final = 600.0

_MOST_PENDING: Final = 2_048
_MOST_PLACES: Final = 1_000
_MOST_NAME: Final = 256


class Place(NamedTuple):
    """What is learnt apart: a provider's model and a kind of content."""

    provider: str
    model: str
    kind: str


class Calibrations:
    """The samples of one ledger. Thread-safe; every method raises StoreUnavailable."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine whose schema is current."""
        self._engine = engine

    def add(self, samples: list[tuple[Place, Sample]]) -> None:
        """Keep samples, each in a slot at random."""
        at_us = now_us()
        rows = {
            (place, slot): sample
            for place, sample in samples
            for slot in [random.randrange(MOST_SAMPLES)]
        }
        if not rows:
            return
        native = self._engine.dialect.name == "postgresql"
        insert = (postgresql.insert if native else sqlite.insert)(table)
        replacing = insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={
                name: insert.excluded[name]
                for name in ("estimated_tokens", "reported_tokens", "at_us")
            },
        )
        # In one order, so that two processes never wait for each other's rows.
        listed = [
            {
                **place._asdict(),
                "slot": slot,
                "estimated_tokens": sample.estimated,
                "reported_tokens": sample.reported,
                "at_us": at_us,
            }
            for (place, slot), sample in sorted(rows.items())
        ]
        with write_connection(self._engine) as connection:
            connection.execute(replacing, listed)

    def samples(self, places: Collection[Place] | None = None) -> dict[Place, list[Sample]]:
        """Return the samples of these places, None for all, the oldest first."""
        found: dict[Place, list[Sample]] = defaultdict(list)
        chosen = select(table).order_by(table.c.at_us, table.c.slot)
        if places is not None:
            chosen = chosen.where(
                tuple_(table.c.provider, table.c.model, table.c.kind).in_(sorted(places))
            )
        with read_connection(self._engine) as connection:
            for row in connection.execute(chosen).mappings():
                place = Place(row["provider"], row["model"], row["kind"])
                found[place].append(Sample(row["estimated_tokens"], row["reported_tokens"]))
        return dict(found)

    def learnt(self, places: Collection[Place] | None = None) -> dict[Place, Calibration]:
        """Return what the samples of each of these places speak for, None for all places."""
        found = self.samples(places)
        return {place: calibrate(samples) for place, samples in sorted(found.items())}

    def forget(self, provider: str | None = None, model: str | None = None) -> int:
        """Drop the samples of a provider, a model, or all; return how many there were."""
        dropping = delete(table)
        if provider is not None:
            dropping = dropping.where(table.c.provider == provider)
        if model is not None:
            dropping = dropping.where(table.c.model == model)
        with write_connection(self._engine) as connection:
            return connection.execute(dropping).rowcount


class Learner:
    """The calibrator of the pipeline. Its thread begins with the first estimate it is asked for.

    While the ledger is away the newest 2,048 samples wait, and nothing is corrected anew. At most
    1,000 places are learnt.
    """

    def __init__(self, calibrations: Calibrations) -> None:
        """Learn from, and into, these samples."""
        self._calibrations = calibrations
        self._learnt: Mapping[Place, Calibration] = {}
        self._begin()
        begin_anew_in_children(self, Learner._begin)

    def _begin(self) -> None:
        self._pending: deque[tuple[Place, Sample]] = deque(maxlen=_MOST_PENDING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._all_due_s = 0.0

    def corrected(self, provider: str, model: str, kind: str, tokens: int) -> int:
        """Return an estimate as corrected by what was learnt, unchanged until something was."""
        if self._thread is None:
            self._start()
        correction = self._learnt.get(Place(provider, model, kind))
        return tokens if correction is None else correction.corrected(tokens)

    def learn(self, provider: str, model: str, kind: str, estimated: int, reported: int) -> None:
        """Take a sample, to be written soon."""
        place = Place(provider[:_MOST_NAME], model[:_MOST_NAME], kind)
        if place not in self._learnt and len(self._learnt) >= _MOST_PLACES:
            return
        self._pending.append((place, Sample(estimated, reported)))
        if len(self._pending) >= WRITE_AFTER_SAMPLES:
            self._wake.set()

    def write(self) -> None:
        """Write the samples that wait, and learn their places anew. Raises: StoreUnavailable.

        Now and then all places are learnt anew, for other processes teach them too.
        """
        taken = [self._pending.popleft() for _ in range(len(self._pending))]
        try:
            self._calibrations.add(taken)
        except StoreError:
            self._pending.extendleft(reversed(taken[-_MOST_PENDING:]))
            raise
        if time.monotonic() >= self._all_due_s:
            self._learnt = self._calibrations.learnt()
            self._all_due_s = time.monotonic() + LEARN_ALL_AFTER_S
        elif taken:
            places = {place for place, _ in taken}
            self._learnt = {**self._learnt, **self._calibrations.learnt(places)}

    def close(self, wait_s: float) -> None:
        """Write what waits, if the ledger takes it within the time; the thread ends."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(wait_s)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._run, name="meter-calibration", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closed
            try:
                self.write()
            except StoreError:
                # The samples wait for the next time; a ledger that is away is told of elsewhere.
                self._wake.clear()
            if not closing:
                self._wake.wait(WRITE_AFTER_S)
                self._wake.clear()
