"""Keep sums by hour, day, subject, key and tag, so that reports need not read every call.

The feed says which records were committed; `fold` takes them part by part, adds them to every
rollup in one transaction, and notes how far it came: each record is folded exactly once, also when
several processes fold. It costs a call nothing. What is not folded yet is added by whoever reads
(`beyond`), so the sums are exact at every moment, corrections included: one of them counts as what
it says less what was known before it.

Called by the ledger, the reads and the check.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain, islice
from operator import add
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    LargeBinary,
    Select,
    Table,
    any_,
    bindparam,
    cast,
    column,
    extract,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    union_all,
)
from sqlalchemy import table as bare_table
from sqlalchemy.dialects import postgresql

from meter.core.windows import Span, Window
from meter.store.archives import gone_until
from meter.store.encoding import Row
from meter.store.engine import on_cursor, read_connection, write_connection
from meter.store.feed import parts_after, seal_some, take_number, unsealed
from meter.store.latest import corrected_events, first_events, latest_events
from meter.store.prepared import Runner
from meter.store.schema import (
    corrections,
    counters,
    usage_days,
    usage_events,
    usage_hours,
    usage_key_days,
    usage_subject_days,
    usage_subject_hours,
    usage_subject_model_months,
    usage_subject_months,
    usage_subject_plain_days,
    usage_tag_days,
)
from meter.store.statements import statements_for
from meter.store.summing import NAMES, currencies_of, sums_of

_MONTHS: Final = Window(Span.MONTH, "UTC")
HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

AT_ONCE: Final = 5_000
"""How many records one statement takes."""

_PARTS_AT_ONCE: Final = 10
"""How many parts of the feed are folded in one transaction, where there are so many: what calls of
the same hour and day have in common is then added once."""

_SEALED_AT_ONCE: Final = 100
"""How many transactions of arrivals one portion takes that a fold seals."""

_IDS: Final = "ids"
_ARRAY: Final = postgresql.ARRAY(postgresql.UUID())
_Listed = BindParameter[Any] | Select[Any] | list[Any]
"""Ids in a statement: given with each run, read from a table, or standing there."""

_ASIDE: Final = bare_table("meter_aside", column("part"), column("id", LargeBinary))
_PORTION: Final = "rollups: portion"
_PART: Final = "rollups: part"

MOST_BEYOND: Final = 10_000
"""How many records a reader adds by itself to any ledger; with more, it reads the calls instead,
unless a tenth of what is folded is more still."""

MOST_BEYOND_EVER: Final = 100_000
"""How many records a reader adds to the largest: one or two seconds' work."""

CURRENCIES: Final = ("currency", "list_currency", "billed_currency")

# Written into the statement: PostgreSQL does not see that two parameters are one expression.
_NONE: Final[ColumnElement[Any]] = literal_column("''")


@dataclass(frozen=True, slots=True)
class Rollup:
    """One table of sums: its interval, its keys by the names that sums are grouped by.

    `step_us` None is a month UTC. What is folded into a `finer` one, with the same keys and
    shorter intervals, is added up to what it takes.
    """

    table: Table
    step_us: int | None
    keys: tuple[tuple[str, str], ...]
    finer: Table | None = None

    def bounds(self, at_us: int) -> tuple[int, int]:
        """Return the interval [start, end) that holds a moment."""
        if self.step_us is None:
            start_us, end_us = _MONTHS.bounds(at_us)
            assert end_us is not None
            return start_us, end_us
        start_us = at_us // self.step_us * self.step_us
        return start_us, start_us + self.step_us

    def starts(self, since_us: int, until_us: int) -> Iterator[int]:
        """Yield where its intervals in [since, until) start; `since_us` is one of these places."""
        while since_us < until_us:
            yield since_us
            since_us = self.bounds(since_us)[1]

    @property
    def longest_us(self) -> int:
        """Return how long its intervals are at most."""
        return self.step_us or 31 * DAY_US

    @property
    def is_by_tag(self) -> bool:
        """Whether a call counts in it once for each of its tags."""
        return self.table is usage_tag_days


_WHO: Final = (
    ("provider", "provider"), ("issuer", "issuer"), ("endpoint", "endpoint"), ("model", "model"),
    ("model_served", "model_served"),
)  # fmt: skip

_SUBJECT_AND_MODEL: Final = (
    ("subject", "subject"), ("provider", "provider"), ("model", "model"),
    ("model_served", "model_served"),
)  # fmt: skip

ROLLUPS: Final = (
    Rollup(usage_days, DAY_US, _WHO, finer=usage_hours),
    Rollup(usage_hours, HOUR_US, _WHO),
    Rollup(usage_subject_months, None, (("subject", "subject"),), finer=usage_subject_hours),
    Rollup(usage_subject_plain_days, DAY_US, (("subject", "subject"),), finer=usage_subject_hours),
    Rollup(usage_subject_model_months, None, _SUBJECT_AND_MODEL, finer=usage_subject_days),
    Rollup(usage_subject_days, DAY_US, _SUBJECT_AND_MODEL),
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
    """What some records change in the sums: events whose sums are added (1) or taken away (-1).

    Of `table` usage_events the events as they were first written, of corrections those that `ids`
    name, each as it states its call.
    """

    table: Table
    ids: Sequence[UUID]
    sign: int

    def events(self, *, native: bool) -> FromClause:
        """Return the events, in the columns of `event_to_row`; `native`: for PostgreSQL."""
        return _named_events(self.table, _ids(self.ids, native=native), native=native)


def fold(
    engine: Engine, most: int | None = None, on_part: Callable[[int], None] | None = None
) -> int:
    """Add what was committed to the rollups; return how many records were folded.

    Some parts at a time, in a short transaction, until there are `most` records (None: all).
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
    """Fold the next parts of the feed, sealing arrivals when there is none; return their size.

    What is summed never changes, so the sums are made before the ledger is locked, and only added
    while it is.
    """
    while True:
        with read_connection(engine) as connection:
            before = reached(connection)
            # Counters begin at 0, which must mean that part 0 of portion 0 is behind us.
            behind = parts_after(connection, before[0], before[1] - 1)
            found = list(islice(behind, _PARTS_AT_ONCE))
            sources = [source for _, _, of_part in found for source in of_part]
            added = _sums(connection, sources) if sources else []
        if not found:
            with write_connection(engine) as connection:
                now = reached(connection)
                seal_some(connection, at_once=_SEALED_AT_ONCE)
                if next(parts_after(connection, now[0], now[1] - 1), None) is None:
                    return 0
            continue
        number, part, _ = found[-1]
        with write_connection(engine) as connection:
            standing = take_number(connection, _PORTION, 0), take_number(connection, _PART, 0)
            if standing != before:
                continue  # Another process has folded this part meanwhile.
            for rollup, rows in added:
                _add(connection, rollup, rows)
            take_number(connection, _PORTION, number - before[0])
            take_number(connection, _PART, part + 1 - before[1])
        return len(sources)


def _sums(connection: Connection, sources: Sequence[UUID]) -> list[tuple[Rollup, list[Row]]]:
    """Return the rows that these records add to each rollup."""
    native = connection.dialect.name == "postgresql"
    made: dict[str, _Sums] = {}
    changed = changes(connection, sources)
    finest = [rollup for rollup in ROLLUPS if rollup.finer is None]
    for rollup in finest:
        keys = len(rollup.table.columns) - len(NAMES)
        rows = made.setdefault(rollup.table.name, {})
        for change in changed:
            statement = _summed_as(rollup, change.table, change.sign, native=native)
            among = {_IDS: _ids(change.ids, native=native)}
            for row in connection.execute(statement, among):
                # PostgreSQL sums to a decimal.
                _take(rows, (int(row[0]), *row[1:keys]), [int(value) for value in row[keys:]])
    for rollup in ROLLUPS:
        if rollup.finer is not None:
            rows = made.setdefault(rollup.table.name, {})
            for key, sums in made[rollup.finer.name].items():
                _take(rows, (rollup.bounds(key[0])[0], *key[1:]), sums)
    added = []
    for rollup in ROLLUPS:
        names, rows = rollup.table.columns.keys(), made[rollup.table.name]
        # In one order, so that two processes cannot wait for each other.
        ordered = ((*key, *rows[key]) for key in sorted(rows))
        added.append((rollup, [dict(zip(names, row, strict=True)) for row in ordered]))
    return added


_Sums = dict[tuple[Any, ...], list[int]]
"""Rows of a rollup: the sums by the key."""


def _take(rows: _Sums, key: tuple[Any, ...], sums: list[int]) -> None:
    known = rows.get(key)
    rows[key] = sums if known is None else list(map(add, known, sums))


def changes(connection: Connection, sources: Sequence[UUID]) -> list[Change]:
    """Return what these records change: events anew, corrections against what was known before."""
    found = []
    for start in range(0, len(sources), AT_ONCE):
        ids = sources[start : start + AT_ONCE]
        found.append(Change(usage_events, ids, 1))
        found += _corrected_by(connection, ids)
    return found


def _corrected_by(connection: Connection, ids: Sequence[UUID]) -> list[Change]:
    """Return what those of these records change that are corrections."""
    native = connection.dialect.name == "postgresql"
    among = {_IDS: _ids(ids, native=native)}
    corrected = connection.execute(_chosen(native=native), among).all()
    if not corrected:
        return []
    changed = [Change(corrections, [row.id for row in corrected], 1)]
    first = [row.call_id for row in corrected if row.number == 1]
    later = [(row.call_id, row.number - 1) for row in corrected if row.number > 1]
    if later:
        place = tuple_(corrections.c.call_id, corrections.c.number)
        replaced = connection.execute(select(corrections.c.id).where(place.in_(later))).scalars()
        changed.append(Change(corrections, list(replaced), -1))
    if first:
        changed.append(Change(usage_events, first, -1))
    return changed


@cache
def _chosen(*, native: bool) -> Select[Any]:
    """Return a SELECT of the corrections among records; their ids come by the name `_IDS`."""
    named = _among(corrections.c.id, bindparam(_IDS, expanding=not native), native=native)
    return select(corrections.c.id, corrections.c.call_id, corrections.c.number).where(named)


def _ids(ids: Sequence[UUID], *, native: bool) -> list[UUID] | list[bytes]:
    """Return ids as `_among` takes them."""
    return list(ids) if native else [source.bytes for source in ids]


def _among(column: ColumnElement[UUID], ids: _Listed, *, native: bool) -> ColumnElement[bool]:
    """Return the condition that a column is one of the ids, with as little work for each as can be.

    PostgreSQL takes them as one parameter, SQLite as bytes that nothing converts.
    """
    if not native:
        return type_coerce(column, LargeBinary).in_(ids)
    return column == any_(type_coerce(ids, _ARRAY))


def _named_events(table: Table, ids: _Listed, *, native: bool) -> FromClause:
    if table is corrections:
        return corrected_events(_among(corrections.c.id, ids, native=native))
    return first_events().where(_among(table.c.call_id, ids, native=native)).subquery("events")


@cache
def _summed_as(rollup: Rollup, table: Table, sign: int, *, native: bool) -> Select[Any]:
    """Return a SELECT of what a change adds to a rollup; the ids come by the name `_IDS`.

    Made once: putting it together takes longer than running it for a few events.
    """
    named: BindParameter[Any] = bindparam(_IDS, expanding=not native)
    return summed(rollup, _named_events(table, named, native=native), sign, native=native)


def beyond(connection: Connection) -> list[UUID] | None:
    """Return the records that are not folded yet, None when adding them is worse than all calls.

    In the connection's snapshot.
    """
    found: list[UUID] = []
    most = MOST_BEYOND
    for source in _all_beyond(connection):
        if len(found) == most:
            most = max(most, min(_folded(connection) // 10, MOST_BEYOND_EVER))
            if len(found) == most:
                return None
        found.append(source)
    return found


def _folded(connection: Connection) -> int:
    """Return how many calls are in the rollups."""
    return int(
        connection.execute(select(func.coalesce(func.sum(usage_days.c.calls), 0))).scalar_one()
    )


def keys_of(
    rollup: Rollup, events: Any, *, native: bool
) -> tuple[list[ColumnElement[Any]], FromClause]:
    """Return the keys of a rollup as columns over events, and what they are selected from.

    The start of the interval, the keys, the currencies; "" where a call has none. `native` says
    that the database is PostgreSQL.
    """
    start = _start_of(rollup, events.c.started_us, native=native)
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


def _start_of(rollup: Rollup, at_us: ColumnElement[int], *, native: bool) -> ColumnElement[int]:
    """Return where the interval begins that holds a moment."""
    if rollup.step_us is not None:
        step: ColumnElement[int] = literal_column(str(rollup.step_us))
        return at_us // step * step
    million: ColumnElement[int] = literal_column("1000000")
    if not native:
        start = func.unixepoch(
            at_us // million, literal_column("'unixepoch'"), literal_column("'start of month'")
        )
        return start * million
    at = func.timezone(literal_column("'UTC'"), func.to_timestamp(at_us // million))
    month = func.date_trunc(literal_column("'month'"), at)
    return cast(extract("epoch", month), BigInteger) * million


def summed(rollup: Rollup, events: FromClause, sign: int, *, native: bool) -> Select[Any]:
    """Return a SELECT of what events add to a rollup, times `sign`, in the columns of its table."""
    keys, source = keys_of(rollup, events, native=native)
    sums = sums_of(events, sign)
    return select(*keys, *sums).select_from(source).group_by(*keys)


def _add(connection: Connection, rollup: Rollup, rows: list[Row]) -> None:
    """Add rows to a rollup."""
    if not rows:
        return
    with on_cursor(connection) as cursor:
        runner = Runner(cursor, native=connection.dialect.name == "postgresql")
        runner.put(statements_for(connection.dialect).add_to[rollup.table.name], rows)


def rollups_that_differ(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield each rollup's first row that is not the sum of its calls, with what is wrong.

    In the connection's snapshot: the rollup, less all calls as they are now known, more what is
    not folded yet, is nothing. Only of months whose calls are not archived.
    """
    native = connection.dialect.name == "postgresql"
    gone_us = gone_until(connection)
    ids: dict[tuple[Table, int], list[UUID]] = {}
    for change in changes(connection, list(_all_beyond(connection))):
        ids.setdefault((change.table, change.sign), []).extend(change.ids)
    among: dict[str, list[UUID]] = {}
    if native:
        among = {f"{_IDS}{number}": part for number, part in enumerate(ids.values())}
    else:
        _put_aside(connection, ids.values())
    for rollup in ROLLUPS:
        names = [known.name for known in rollup.table.c]
        keys = [name for name in names if name not in NAMES]
        statement = _first_off(rollup, gone_us, tuple(ids), native=native)
        row = connection.execute(statement, among).first()
        if row is not None:
            told = row._mapping
            place = ", ".join(f"{name} {told[name]}" for name in keys)
            off = ", ".join(f"{name} {int(told[name]):+d}" for name in NAMES if told[name])
            yield f"{rollup.table.name} ({place})", f"it is off by {off}"
    if not native:
        connection.exec_driver_sql(f"DELETE FROM {_ASIDE.name}")


def _put_aside(connection: Connection, parts: Iterable[list[UUID]]) -> None:
    """Put ids into a table of this SQLite connection's own: a statement takes only so many."""
    connection.exec_driver_sql(
        f"CREATE TEMP TABLE IF NOT EXISTS {_ASIDE.name}"
        " (part INTEGER, id BLOB, PRIMARY KEY (part, id)) WITHOUT ROWID"
    )
    for number, ids in enumerate(parts):
        for start in range(0, len(ids), AT_ONCE):
            rows = [(number, one.bytes) for one in ids[start : start + AT_ONCE]]
            connection.exec_driver_sql(f"INSERT INTO {_ASIDE.name} VALUES (?, ?)", rows)


@lru_cache(maxsize=256)
def _first_off(
    rollup: Rollup, gone_us: int, tail: tuple[tuple[Table, int], ...], *, native: bool
) -> Select[Any]:
    """Return a SELECT of the first row that is not the sum of its calls.

    What the rollup holds, less all calls as they are now known, more the changes of the tail: its
    tables and signs. On PostgreSQL their ids come by the names ids0, ids1 …
    """
    latest = select(latest_events()).where(latest_events().c.started_us >= gone_us)
    kept = select(*rollup.table.c).where(rollup.table.c.started_us >= gone_us)
    parts = [kept, summed(rollup, latest.subquery("events"), -1, native=native)]
    for number, (table, sign) in enumerate(tail):
        aside = select(_ASIDE.c.id).where(_ASIDE.c.part == number)
        ids: _Listed = bindparam(f"{_IDS}{number}") if native else aside
        events = _named_events(table, ids, native=native)
        parts.append(summed(rollup, events, sign, native=native))
    # By their bare names: to look up the columns of a union takes longer than to ask for them.
    both = union_all(*parts).subquery("both")
    every: list[ColumnElement[Any]] = [column(known.name) for known in rollup.table.c]
    keys: list[ColumnElement[Any]] = [
        column(known.name) for known in rollup.table.c if known.name not in NAMES
    ]
    sums: list[ColumnElement[Any]] = [func.sum(column(name)).label(name) for name in NAMES]
    grouped = select(*keys, *sums).select_from(both).group_by(*keys)
    wrong = or_(*[column(name) != 0 for name in NAMES])
    left = select(*every).select_from(grouped.subquery("left_over")).where(wrong)
    return left.order_by(column("started_us"))


def _all_beyond(connection: Connection) -> Iterator[UUID]:
    portion, part = reached(connection)
    parts = (sources for _, _, sources in parts_after(connection, portion, part - 1))
    for sources in chain(parts, unsealed(connection)):
        yield from sources


def reached(connection: Connection) -> tuple[int, int]:
    """Return how far the feed is folded: the portion, and how many of its parts."""
    chosen = select(counters.c.name, counters.c.value).where(counters.c.name.in_((_PORTION, _PART)))
    standing = {row.name: int(row.value) for row in connection.execute(chosen)}
    return standing.get(_PORTION, 0), standing.get(_PART, 0)
