"""Keep sums by hour, day, subject, key and tag, so that reports need not read every call.

The feed says which records were committed; `fold` takes them part by part, adds them to every
rollup in one transaction, and notes how far it came: each record is folded exactly once, also when
several processes fold. It costs a call nothing. What is not folded yet is added by whoever reads
(`beyond`), so the sums are exact at every moment, corrections included: one of them counts as what
it says less what was known before it.

Called by the ledger, the reads and the check.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    Table,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite

from meter.store.encoding import Row
from meter.store.engine import read_connection, write_connection
from meter.store.feed import parts_after, seal_some, take_number, unsealed
from meter.store.latest import corrected_events, first_events, latest_events
from meter.store.schema import (
    corrections,
    counters,
    usage_events,
    usage_hours,
    usage_key_days,
    usage_subject_days,
    usage_subject_hours,
    usage_tag_days,
)
from meter.store.summing import NAMES, currencies_of, sums_of

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

AT_ONCE: Final = 500
"""How many records one statement takes; a part of the feed has no more."""

_SEALED_AT_ONCE: Final = 100
"""How many transactions of arrivals one portion takes that a fold seals."""

_PORTION: Final = "rollups: portion"
_PART: Final = "rollups: part"

MOST_BEYOND: Final = 10_000
"""How many records a reader adds by itself; with more, it reads the calls instead."""

CURRENCIES: Final = ("currency", "list_currency", "billed_currency")

# Written into the statement: PostgreSQL does not see that two parameters are one expression.
_NONE: Final[ColumnElement[Any]] = literal_column("''")


@dataclass(frozen=True, slots=True)
class Rollup:
    """One table of sums: its interval, its keys by the names that sums are grouped by."""

    table: Table
    step_us: int
    keys: tuple[tuple[str, str], ...]

    @property
    def is_by_tag(self) -> bool:
        """Whether a call counts in it once for each of its tags."""
        return self.table is usage_tag_days


ROLLUPS: Final = (
    Rollup(
        usage_hours,
        HOUR_US,
        (("provider", "provider"), ("issuer", "issuer"), ("endpoint", "endpoint"),
         ("model", "model"), ("model_served", "model_served")),
    ),
    Rollup(
        usage_subject_days,
        DAY_US,
        (("subject", "subject"), ("provider", "provider"), ("model", "model"),
         ("model_served", "model_served")),
    ),
    Rollup(usage_subject_hours, HOUR_US, (("subject", "subject"),)),
    Rollup(
        usage_key_days,
        DAY_US,
        (("key", "key_id"), ("subject", "subject"), ("model", "model")),
    ),
    Rollup(
        usage_tag_days,
        DAY_US,
        (("tag_name", "tag_name"), ("tag_value", "tag_value"), ("model", "model")),
    ),
)  # fmt: skip
"""Every rollup, the one to prefer first."""


@dataclass(frozen=True, slots=True)
class Change:
    """What some records change in the sums: events whose sums are added (1) or taken away (-1)."""

    events: Any
    sign: int


def fold(
    engine: Engine, most: int | None = None, on_part: Callable[[int], None] | None = None
) -> int:
    """Add what was committed to the rollups; return how many records were folded.

    Part by part, each in a short transaction of its own, at most `most` records (None: all).
    `on_part` gets the number folded so far. Raises: StoreUnavailable.
    """
    folded = 0
    while most is None or folded < most:
        count = _fold_part(engine)
        folded += count
        if on_part is not None:
            on_part(folded)
        if not count:
            break
    return folded


def _fold_part(engine: Engine) -> int:
    """Fold the next part of the feed, sealing arrivals when there is none; return its size.

    What is summed never changes, so the sums are made before the ledger is locked, and only added
    while it is.
    """
    while True:
        with read_connection(engine) as connection:
            reached = _reached(connection)
            # Counters begin at 0, which must mean that part 0 of portion 0 is behind us.
            found = next(parts_after(connection, reached[0], reached[1] - 1), None)
            added = [] if found is None else _sums(connection, found[2])
        if found is None:
            with write_connection(engine) as connection:
                before = _reached(connection)
                seal_some(connection, at_once=_SEALED_AT_ONCE)
                if next(parts_after(connection, before[0], before[1] - 1), None) is None:
                    return 0
            continue
        number, part, sources = found
        with write_connection(engine) as connection:
            standing = take_number(connection, _PORTION, 0), take_number(connection, _PART, 0)
            if standing != reached:
                continue  # Another process has folded this part meanwhile.
            for rollup, rows in added:
                _add(connection, rollup, rows)
            take_number(connection, _PORTION, number - reached[0])
            take_number(connection, _PART, part + 1 - reached[1])
        return len(sources)


def _sums(connection: Connection, sources: Sequence[UUID]) -> list[tuple[Rollup, list[Row]]]:
    """Return the rows that these records add to each rollup."""
    native = connection.dialect.name == "postgresql"
    changed = changes(connection, sources)
    found = []
    for rollup in ROLLUPS:
        keys = [column.name for column in rollup.table.c if column.name not in NAMES]
        rows: dict[tuple[Any, ...], Row] = {}
        for change in changed:
            for row in connection.execute(summed(rollup, change, native=native)).mappings():
                key = tuple(row[name] for name in keys)
                known = rows.setdefault(key, {name: row[name] for name in keys})
                for name in NAMES:
                    known[name] = known.get(name, 0) + int(row[name])
        # In one order, so that two processes cannot wait for each other.
        found.append((rollup, [rows[key] for key in sorted(rows)]))
    return found


def changes(connection: Connection, sources: Sequence[UUID]) -> list[Change]:
    """Return what these records change: events anew, corrections against what was known before."""
    found = []
    for start in range(0, len(sources), AT_ONCE):
        found += _changes(connection, list(sources[start : start + AT_ONCE]))
    return found


def _changes(connection: Connection, ids: list[UUID]) -> list[Change]:
    anew = Change(_first(usage_events.c.call_id.in_(ids)), 1)
    chosen = select(corrections.c.call_id, corrections.c.number).where(corrections.c.id.in_(ids))
    corrected = connection.execute(chosen).all()
    if not corrected:
        return [anew]
    first = [call_id for call_id, number in corrected if number == 1]
    later = [(call_id, number - 1) for call_id, number in corrected if number > 1]
    replaced = tuple_(corrections.c.call_id, corrections.c.number).in_(later)
    return [
        anew,
        Change(corrected_events(corrections.c.id.in_(ids)), 1),
        *([Change(corrected_events(replaced), -1)] if later else []),
        *([Change(_first(usage_events.c.call_id.in_(first)), -1)] if first else []),
    ]


def _first(condition: ColumnElement[bool]) -> FromClause:
    return first_events().where(condition).subquery("events")


def beyond(connection: Connection) -> list[UUID] | None:
    """Return the records that are not folded yet, None when they are more than `MOST_BEYOND`.

    In the connection's snapshot.
    """
    found: list[UUID] = []
    for source in _all_beyond(connection):
        found.append(source)
        if len(found) > MOST_BEYOND:
            return None
    return found


def keys_of(
    rollup: Rollup, events: Any, *, native: bool
) -> tuple[list[ColumnElement[Any]], FromClause]:
    """Return the keys of a rollup as columns over events, and what they are selected from.

    The start of the interval, the keys, the currencies; "" where a call has none. `native` says
    that the database is PostgreSQL.
    """
    step: ColumnElement[int] = literal_column(str(rollup.step_us))
    start = events.c.started_us // step * step
    model = func.coalesce(events.c.model_requested, events.c.model_served)
    names: dict[str, ColumnElement[Any]] = {"model": model}
    source: FromClause = events
    if rollup.is_by_tag:
        tags = cast(events.c.tags, JSON) if native else events.c.tags
        each = func.json_each_text(tags) if native else func.json_each(tags)
        pairs = each.table_valued("key", "value", joins_implicitly=True).alias("pairs")
        source = events.join(pairs, true())
        names |= {"tag_name": pairs.c.key, "tag_value": pairs.c.value}
    columns = [
        func.coalesce(names.get(name, events.c.get(name)), _NONE).label(name)
        for _, name in rollup.keys
    ]
    currencies = [
        func.coalesce(column, _NONE).label(name)
        for name, column in zip(CURRENCIES, currencies_of(events), strict=True)
    ]
    return [start.label("started_us"), *columns, *currencies], source


def summed(rollup: Rollup, change: Change, *, native: bool) -> Select[Any]:
    """Return a SELECT of what a change adds to a rollup, in the columns of its table."""
    keys, source = keys_of(rollup, change.events, native=native)
    sums = sums_of(change.events, change.sign)
    return select(*keys, *sums).select_from(source).group_by(*keys)


def _add(connection: Connection, rollup: Rollup, rows: list[Row]) -> None:
    """Add rows to a rollup."""
    if not rows:
        return
    native = connection.dialect.name == "postgresql"
    table = rollup.table
    made = (postgresql if native else sqlite).insert(table)
    added = {name: table.c[name] + made.excluded[name] for name in NAMES}
    upsert = made.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=added)
    connection.execute(upsert, rows)


def rollups_that_differ(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield each rollup's first row that is not the sum of its calls, with what is wrong.

    In the connection's snapshot: the rollup, less all calls as they are now known, more what is
    not folded yet, is nothing.
    """
    native = connection.dialect.name == "postgresql"
    tail = changes(connection, list(_all_beyond(connection)))
    for rollup in ROLLUPS:
        names = [known.name for known in rollup.table.c]
        keys = [name for name in names if name not in NAMES]
        parts = [*_kept_less_known(rollup, native=native)]
        parts += [summed(rollup, change, native=native) for change in tail]
        # By their bare names: to look up the columns of a union takes longer than to ask for them.
        both = union_all(*parts).subquery("both")
        named: list[ColumnElement[Any]] = [column(name) for name in keys]
        sums: list[ColumnElement[Any]] = [func.sum(column(n)).label(n) for n in NAMES]
        grouped = select(*named, *sums).select_from(both).group_by(*named)
        every: list[ColumnElement[Any]] = [column(name) for name in names]
        left = select(*every).select_from(grouped.subquery("left_over"))
        wrong = or_(*[column(name) != 0 for name in NAMES])
        row = connection.execute(left.where(wrong).order_by(column("started_us"))).first()
        if row is not None:
            told = row._mapping
            place = ", ".join(f"{name} {told[name]}" for name in keys)
            off = ", ".join(f"{name} {int(told[name]):+d}" for name in NAMES if told[name])
            yield f"{rollup.table.name} ({place})", f"it is off by {off}"


@cache
def _kept_less_known(rollup: Rollup, *, native: bool) -> tuple[Select[Any], Select[Any]]:
    """Return the rows of a rollup, and what all calls as they are now known take from them."""
    known = summed(rollup, Change(latest_events(), -1), native=native)
    return select(*rollup.table.c), known


def _all_beyond(connection: Connection) -> Iterator[UUID]:
    portion, part = _reached(connection)
    parts = (sources for _, _, sources in parts_after(connection, portion, part - 1))
    for sources in chain(parts, unsealed(connection)):
        yield from sources


def _reached(connection: Connection) -> tuple[int, int]:
    """Return how far the feed is folded: the portion, and how many of its parts."""
    chosen = select(counters.c.name, counters.c.value).where(counters.c.name.in_((_PORTION, _PART)))
    standing = {row.name: int(row.value) for row in connection.execute(chosen)}
    return standing.get(_PORTION, 0), standing.get(_PART, 0)
