"""Open a ledger: its database, its writes, its reads and its budgets, as one thing to close.

Called by the façade and the command line.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from meter.clock import now_us
from meter.config import Settings
from meter.core.budgets import Budget
from meter.core.credit import PREFIX
from meter.core.event import Correction
from meter.core.ledger import Entry
from meter.core.ports import Store
from meter.core.rates import RateCard
from meter.errors import SchemaMismatch, StoreUnavailable
from meter.store import feed, reads, rollups
from meter.store.calibration import Calibrations, Learner
from meter.store.changes import Change, changes, entries_of_feed
from meter.store.clock_skew import WORTH_SAYING_US, in_words, require_same_time
from meter.store.credit import Credits
from meter.store.engine import open_engine, parse_url
from meter.store.entry_rows import entries_between
from meter.store.grouping import whole_name
from meter.store.invoices import Invoices
from meter.store.keys import Keys
from meter.store.ledger_store import LedgerStore
from meter.store.migrating import current_revision, head_revision, require_current
from meter.store.months import Months
from meter.store.owned import OwnedObjects
from meter.store.price_files import PriceFiles
from meter.store.read_only import SENTENCE, ReadOnlyStore
from meter.store.reads import AccuracyRow, BudgetRow, CallRow, TimingRow, UsageRow
from meter.store.spool import SpoolingStore
from meter.store.upstream_rows import StoredUpstreams

logger = logging.getLogger("meter")

_CLOSE_SECONDS = 10.0
_MOST_CARDS = 4096
_FOLDED_BEFORE_READING = 50_000


class Ledger:
    """One ledger, open. Thread-safe.

    Opening migrates a fresh SQLite file, writes what was spooled while the ledger was away, and
    lists the calls of dead processes as unsettled.

    With `read_only` nothing of this happens and nothing can be written: the database itself
    refuses it.

    Raises: ConfigError, StoreUnavailable, SchemaMismatch.
    """

    def __init__(self, settings: Settings, *, read_only: bool = False) -> None:
        """Open the ledger that the settings name."""
        self._engine = open_engine(
            settings.database_url, read_only=read_only, durability=settings.durability
        )
        self._clock_seconds = settings.clock_skew_seconds
        self._cards: dict[str, RateCard] = {}
        self._inner: LedgerStore | None = None
        self._spooling: SpoolingStore | None = None
        try:
            if read_only:
                self.ping()
                self.store: Store = ReadOnlyStore()
            else:
                require_current(self._engine)
                self._require_same_time()
                self._open_store(settings)
            self.keys = Keys(self._engine)
            self.calibrations = Calibrations(self._engine)
            learns = settings.calibrate and not read_only
            self.learner = Learner(self.calibrations) if learns else None
            self.owned = OwnedObjects(self._engine)
            self.price_files = PriceFiles(self._engine)
            self.credits = Credits(self._engine)
            if not read_only:
                self.credits.lapse(now_us())
            self.upstreams = StoredUpstreams(self._engine)
            self.invoices = Invoices(self._engine)
            self.months = Months(self._engine)
        except BaseException:
            self._engine.dispose()
            raise

    def _open_store(self, settings: Settings) -> None:
        inner = LedgerStore(
            self._engine,
            lease_s=settings.hold_seconds,
            hold_wait_s=settings.hold_wait_seconds,
            queue_size=settings.queue_size,
        )
        self._inner = inner
        self._spooling = SpoolingStore(
            inner, _spool_of(settings), keeps_intents=settings.on_store_failure == "spool"
        )
        self._spooling.replay()
        self.store = self._spooling
        inner.sweep(now_us())

    def close(self) -> None:
        """Write what is queued, bounded in time, and let go of the database."""
        if self.learner is not None:
            self.learner.close(_CLOSE_SECONDS)
        if self._spooling is not None:
            self._spooling.close()
        if self._inner is not None:
            self._inner.close(_CLOSE_SECONDS)
        self._engine.dispose()

    def _writing(self) -> LedgerStore:
        if self._inner is None:
            raise StoreUnavailable(SENTENCE)
        return self._inner

    def _require_same_time(self) -> None:
        """Raise StoreUnavailable when this machine's clock is too far from the ledger's."""
        found_us = require_same_time(self._engine, self._clock_seconds)
        if abs(found_us) > WORTH_SAYING_US:
            logger.warning("%s: windows begin that much apart", in_words(found_us))

    def sweep(self) -> int:
        """List calls as unsettled that nobody will end any more; return how many.

        What was spooled is written, and what is left of credit grants that have ended is taken off.
        Raises: StoreUnavailable, also when this machine's clock cannot tell.
        """
        self._require_same_time()
        swept = self._writing().sweep(now_us())
        if self._spooling is not None:
            self._spooling.replay_what_waits()
        self.credits.lapse(now_us())
        return swept

    def fold(self, most: int | None = None) -> int:
        """Add what was committed to the rollups, at most so many records; return how many."""
        self._writing()
        return rollups.fold(self._engine, most)

    def ping(self) -> None:
        """Read the schema's revision from the ledger, and its clock.

        Raises: StoreUnavailable, SchemaMismatch.
        """
        found, expected = current_revision(self._engine), head_revision()
        if found != expected:
            raise SchemaMismatch(f"found schema revision {found}, expected {expected}")
        require_same_time(self._engine, self._clock_seconds)

    def budget(self, name: str) -> BudgetRow | None:
        """Return one budget, or prepaid credit as one, as it stands now; None: there is none."""
        if name.startswith(PREFIX):
            return self.credits.standing(name, now_us=now_us())
        return reads.standing(self._engine, name, now_us=now_us())

    def set_budget(self, budget: Budget) -> None:
        """Set or replace a budget."""
        reads.set_budget(self._engine, budget, now_us=now_us())

    def remove_budget(self, name: str) -> bool:
        """Remove a budget; return whether there was one."""
        return reads.remove_budget(self._engine, name)

    def budgets(self) -> list[BudgetRow]:
        """Return every budget as it stands now."""
        return reads.budgets(self._engine, now_us=now_us())

    def rate_card(self, card_id: str) -> RateCard | None:
        """Return a rate card that calls were rated with, None when there is none of that id."""
        card = self._cards.get(card_id)
        if card is None:
            card = reads.rate_card(self._engine, card_id)
            if card is not None:
                if len(self._cards) >= _MOST_CARDS:
                    self._cards.clear()
                self._cards[card_id] = card
        return card

    def correct_all(self, corrections: Sequence[tuple[Correction, tuple[RateCard, ...]]]) -> None:
        """Add corrections to ended calls, each with the cards it names: all of them or none."""
        self._writing().correct_all(corrections)

    def usage(
        self,
        by: Sequence[str],
        *,
        since_us: int | None,
        until_us: int | None,
        tz: str,
        filters: Mapping[str, str],
    ) -> list[UsageRow]:
        """Return sums over ended calls, grouped."""
        if self._inner is not None:
            # Reading is quickest when little has to be added to the rollups.
            rollups.fold(self._engine, _FOLDED_BEFORE_READING)
        by = [whole_name(name) for name in by]
        return reads.usage(
            self._engine, by=by, since_us=since_us, until_us=until_us, tz=tz, filters=filters
        )

    def calls(
        self,
        *,
        since_us: int | None,
        until_us: int | None,
        limit: int | None,
        newest_first: bool,
        filters: Mapping[str, str],
        order: str = "started",
        offset: int = 0,
    ) -> Iterator[CallRow]:
        """Yield calls one by one."""
        return reads.calls(
            self._engine,
            since_us=since_us,
            until_us=until_us,
            limit=limit,
            newest_first=newest_first,
            order=order,
            offset=offset,
            **filters,
        )

    def unsettled(self, until_us: int) -> Iterator[CallRow]:
        """Yield the calls that started before then and whose usage nobody knows."""
        self.fold()
        return reads.unsettled(self._engine, until_us=until_us)

    def models(self) -> list[tuple[str, str]]:
        """Return (provider, model) of every model that a call ever asked for."""
        return reads.models(self._engine)

    def subjects(self, limit: int) -> list[str]:
        """Return the subjects that spent anything, the greatest spender first."""
        return reads.subjects(self._engine, limit=limit)

    def timings(
        self, *, since_us: int | None, until_us: int | None, limit: int, filters: Mapping[str, str]
    ) -> list[TimingRow]:
        """Return how long the newest calls took."""
        return reads.timings(
            self._engine, since_us=since_us, until_us=until_us, limit=limit, **filters
        )

    def count_calls(
        self, *, since_us: int | None, until_us: int | None, filters: Mapping[str, str]
    ) -> int:
        """Return how many calls `calls` would yield."""
        return reads.count_calls(self._engine, since_us=since_us, until_us=until_us, **filters)

    def entries(self, *, since_us: int | None, until_us: int | None) -> Iterator[Entry]:
        """Yield the ledger's entries one by one."""
        return entries_between(self._engine, since_us=since_us, until_us=until_us)

    def seal(self) -> int:
        """Put what is committed into the feed; return the number of its last portion."""
        return feed.seal(self._engine)

    def follow(self, name: str, following: str, portion: int) -> None:
        """Note how far a follower of the feed has read."""
        feed.note_follower(self._engine, name, following, portion, now_us())

    def last_portion(self) -> int:
        """Return the number of the last portion of the feed, 0 when there is none."""
        return feed.last_portion(self._engine)

    def count_sources(self, after: int, last: int) -> int:
        """Return how many records are in the portions (after, last] of the feed."""
        return feed.count_sources(self._engine, after, last)

    def changes(self, after: int, last: int, filters: Mapping[str, str]) -> Iterator[Change]:
        """Yield the statements on calls in the portions (after, last] of the feed."""
        return changes(self._engine, after=after, last=last, filters=filters)

    def entries_of_feed(self, after: int, last: int) -> Iterator[Entry]:
        """Yield the entries of the portions (after, last] of the feed."""
        return entries_of_feed(self._engine, after=after, last=last)

    def accuracy(
        self, *, since_us: int | None, until_us: int | None, limit: int | None = None
    ) -> list[AccuracyRow]:
        """Return how estimates compared with what was reported, by model."""
        return reads.accuracy(self._engine, since_us=since_us, until_us=until_us, limit=limit)


def _spool_of(settings: Settings) -> Path:
    """Return the spool's path: it bears a mark of its ledger, as two may have one folder."""
    address = parse_url(settings.database_url).render_as_string(hide_password=True)
    mark = hashlib.sha256(address.encode()).hexdigest()[:8]
    path = Path(settings.spool_path)
    return path.with_name(f"{path.name}-{mark}")
