"""Keep the months of a ledger: make their tables ahead, close old ones, and let them go.

On PostgreSQL a month's events have a table of their own, a partition of `usage_events` by the time
in their ids; those of a month without one are in the rest. No step holds a lock for longer than a
change of the catalogue takes, and one that does not get its lock within half a second lets the
others pass and tries again. On SQLite all events are in one table.

A month is archived by the start of its calls, UTC, oldest first: it is closed, its calls are
written to a file and compared (by the caller), and then they leave. See `archives` for what that
means to others. Called by the maintenance.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Select,
    SmallInteger,
    delete,
    func,
    select,
    text,
)

from meter.core.windows import Span, Window
from meter.errors import InputError, StoreUnavailable
from meter.store import rollups
from meter.store.archives import (
    CLOSED,
    GONE,
    SURELY_OPEN_US,
    closed_until,
    gone_until,
    in_words,
    move_on,
)
from meter.store.budget_rows import lock_budgets
from meter.store.engine import read_connection, write_connection
from meter.store.feed import forget_follower, seal, slowest_follower, trim
from meter.store.latest import first_events
from meter.store.schema import REST, corrections, invoices, open_calls, usage_events

_MONTHS: Final = Window(Span.MONTH, "UTC")
_AT_ONCE: Final = 5_000
_LOCK_MS: Final = 500
_ATTEMPTS: Final = 40
_PAUSE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Month:
    """A month UTC, [start_us, end_us)."""

    start_us: int
    end_us: int

    @classmethod
    def of(cls, at_us: int) -> "Month":
        """Return the month that holds a moment."""
        start_us, end_us = _MONTHS.bounds(at_us)
        assert end_us is not None
        return cls(start_us, end_us)

    @property
    def name(self) -> str:
        """Return "2026-11"."""
        return in_words(self.start_us)[:7]

    @property
    def table(self) -> str:
        """Return the name of its partition."""
        return f"usage_events_{self.name.replace('-', '_')}"

    @property
    def ids(self) -> tuple[UUID, UUID]:
        """Return the UUIDv7 that its ids begin with, and the one that those of the next do."""
        first, end = (UUID(int=at_us // 1000 << 80) for at_us in (self.start_us, self.end_us))
        return first, end


class Months:
    """The months of one ledger."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine."""
        self._engine = engine
        self._native = engine.dialect.name == "postgresql"

    # --- ahead --------------------------------------------------------------------------------

    def make_ahead(self, now_us: int, ahead: int) -> list[tuple[Month, bool]]:
        """Make the tables of this month and of some more (PostgreSQL).

        Return those that had none, each with whether it has one now: calls of a month that are in
        the rest already stay there, with the others of that month.
        """
        if not self._native:
            return []
        made = []
        month = Month.of(now_us)
        for _ in range(ahead + 1):
            if month.table not in self._tables():
                made.append((month, self._make(month)))
            month = Month.of(month.end_us)
        return made

    def _tables(self) -> set[str]:
        chosen = text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'usage_events'::regclass"
        )
        with read_connection(self._engine) as connection:
            return set(connection.execute(chosen).scalars())

    def _make(self, month: Month) -> bool:
        """Make the table of a month, unless calls of it are in the rest.

        To attach it, the server has to know that the rest has none. It believes a validated
        constraint, and validating one reads the table while others write to it.
        """
        first, end = month.ids
        with read_connection(self._engine) as connection:
            there = select(usage_events.c.call_id).where(
                usage_events.c.call_id >= first, usage_events.c.call_id < end
            )
            if connection.execute(there.limit(1)).first() is not None:
                return False
        without = f"ALTER TABLE {REST} DROP CONSTRAINT IF EXISTS without_{month.table}"
        self._change(
            f"CREATE TABLE IF NOT EXISTS {month.table} (LIKE {REST} INCLUDING ALL)",
            without,
            f"ALTER TABLE {REST} ADD CONSTRAINT without_{month.table}"
            f" CHECK (call_id < '{first}' OR call_id >= '{end}') NOT VALID",
        )
        try:
            self._change(f"ALTER TABLE {REST} VALIDATE CONSTRAINT without_{month.table}")
            self._change(
                f"ALTER TABLE usage_events ATTACH PARTITION {month.table}"
                f" FOR VALUES FROM ('{first}') TO ('{end}')"
            )
        finally:
            self._change(without)
        return True

    # --- old ----------------------------------------------------------------------------------

    def oldest(self) -> Month | None:
        """Return the first month that has calls and is not archived, None when there are none."""
        with read_connection(self._engine) as connection:
            gone_us = gone_until(connection)
            started = usage_events.c.started_us
            first = select(func.min(started)).where(started >= gone_us)
            first_us = connection.execute(first).scalar()
        return None if first_us is None else Month.of(first_us)

    def close(self, month: Month, now_us: int) -> int:
        """Take no more records of calls that started before the month's end.

        Everything up to then is folded. Return the portion of the feed that has the last of them.
        An invoice that goes on after the month closes as much of the next ones as it covers:
        corrections could reach it no more. Raises: InputError when calls of the month are in
        flight, or when it ended a moment ago.
        """
        if month.end_us > now_us - SURELY_OPEN_US:
            raise InputError(f"found {month.name} to archive, expected a month that ended long ago")
        with write_connection(self._engine) as connection:
            # Whoever writes has read the budgets: all that began before have ended.
            lock_budgets(connection)
            flying = select(func.count()).where(open_calls.c.started_us < month.end_us)
            if count := connection.execute(flying).scalar():
                raise InputError(
                    f"found {count} calls in flight that began before {in_words(month.end_us)}, "
                    "expected none: they are listed as unsettled when their holds expire"
                )
            covered = select(func.max(invoices.c.period_end_us)).where(
                invoices.c.period_start_us < month.end_us
            )
            until_us = max(month.end_us, connection.execute(covered).scalar() or 0)
            move_on(connection, CLOSED, min(until_us, now_us - SURELY_OPEN_US))
        portion = seal(self._engine)
        rollups.fold(self._engine)
        return portion

    def rows(self, month: Month) -> Iterator[Mapping[str, Any]]:
        """Yield the events of a month with their routes, as they were written, in order."""
        events = first_events().subquery("events")
        yield from self._streamed(
            select(events)
            .where(events.c.started_us >= month.start_us, events.c.started_us < month.end_us)
            .order_by(events.c.started_us, events.c.call_id)
        )

    def corrections(self, month: Month) -> Iterator[Mapping[str, Any]]:
        """Yield the corrections of the calls of a month, in order."""
        yield from self._streamed(
            select(corrections)
            .join(usage_events, usage_events.c.call_id == corrections.c.call_id)
            .where(
                usage_events.c.started_us >= month.start_us,
                usage_events.c.started_us < month.end_us,
            )
            .order_by(corrections.c.call_id, corrections.c.number)
        )

    def fields(self) -> tuple[dict[str, type], dict[str, type]]:
        """Return the columns of events and of corrections: whole numbers, or texts."""
        return _kinds(first_events().selected_columns), _kinds(corrections.columns)

    def _streamed(self, chosen: Select[Any]) -> Iterator[Mapping[str, Any]]:
        with read_connection(self._engine) as connection:
            streamed = chosen.execution_options(yield_per=_AT_ONCE)
            for row in connection.execute(streamed).mappings():
                yield dict(row)

    def let_go(self, month: Month, portion: int) -> None:
        """Remove the calls of a closed month.

        The feed is trimmed up to the portion. From the first moment on readers know that the month
        is gone; what an interruption leaves is removed by `sweep`. Raises: InputError when someone
        follows the feed and has not read so far.
        """
        self.require_followed(portion)
        trim(self._engine, portion)
        if self._native and month.table in self._tables():
            self._change(
                f"ALTER TABLE usage_events DETACH PARTITION {month.table}",
                # An id can be a little older or younger than its call.
                f"INSERT INTO usage_events SELECT * FROM {month.table}"
                f" WHERE started_us < {month.start_us} OR started_us >= {month.end_us}",
                f"DROP TABLE {month.table}",
                after=lambda connection: move_on(connection, GONE, month.end_us),
            )
        else:
            with write_connection(self._engine) as connection:
                move_on(connection, GONE, month.end_us)
        self.sweep()

    def sweep(self) -> None:
        """Remove what is left of archived months, some calls at a time."""
        while True:
            with write_connection(self._engine) as connection:
                gone_us = gone_until(connection)
                some = (
                    select(usage_events.c.call_id)
                    .where(usage_events.c.started_us < gone_us)
                    .order_by(usage_events.c.started_us)
                    .limit(_AT_ONCE)
                )
                chosen = usage_events.c.call_id.in_(some.scalar_subquery())
                if not connection.execute(delete(usage_events).where(chosen)).rowcount:
                    return

    def require_followed(self, portion: int) -> None:
        """Raise InputError when someone follows the feed and has not read up to this portion."""
        with read_connection(self._engine) as connection:
            slowest = slowest_follower(connection)
        if slowest is not None and slowest[2] < portion:
            name, following, reached = slowest
            raise InputError(
                f"found that follower {name} of {following} has read the feed up to portion "
                f"{reached}, expected {portion}: run its export, or give it up with "
                f"meter db maintain --forget {name}"
            )

    def fold(self) -> int:
        """Add what was committed to the rollups; return how many records they were."""
        return rollups.fold(self._engine)

    def forget_follower(self, name: str) -> bool:
        """Keep nothing any more for a follower of the feed; return whether there was one."""
        return forget_follower(self._engine, name)

    def trim_feed(self) -> tuple[int, int]:
        """Trim what every follower has read and the rollups have folded.

        Return the last portion that is trimmed, and how many rows of the feed were removed.
        """
        rollups.fold(self._engine)
        with read_connection(self._engine) as connection:
            # Of the one that is being folded some parts may be left.
            last = rollups.reached(connection)[0] - 1
            slowest = slowest_follower(connection)
        if slowest is not None:
            last = min(last, slowest[2])
        return last, trim(self._engine, last) if last > 0 else 0

    def standing(self) -> tuple[int, int]:
        """Return the moments before which months are closed, and gone; 0: none are."""
        with read_connection(self._engine) as connection:
            gone_us = gone_until(connection)
            return closed_until(connection), gone_us

    def tidy(self) -> None:
        """Let the database look at what it has, so that it plans well; empty SQLite's log."""
        if self._native:
            # The server analyzes partitions by itself, and never their parent.
            self._change("ANALYZE usage_events")
            return
        with read_connection(self._engine) as connection:
            connection.exec_driver_sql("PRAGMA optimize")
            connection.commit()
            connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- PostgreSQL ---------------------------------------------------------------------------

    def _change(self, *statements: str, after: Callable[[Connection], None] | None = None) -> None:
        """Run statements in one transaction that waits for locks only for a moment at a time."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with write_connection(self._engine) as connection:
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_MS}ms'")
                    for statement in statements:
                        connection.exec_driver_sql(statement)
                    if after is not None:
                        after(connection)
                return
            except StoreUnavailable as error:
                if "is locked" not in str(error) or attempt == _ATTEMPTS:
                    raise
            time.sleep(_PAUSE_S)


def _kinds(columns: Iterable[ColumnElement[Any]]) -> dict[str, type]:
    return {
        str(column.key): int if isinstance(column.type, (BigInteger, SmallInteger)) else str
        for column in columns
    }
