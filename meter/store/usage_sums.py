"""Sum ended calls up: from a rollup where one answers the question, else from the calls.

Both agree to the nano. A rollup answers when its keys have every group and filter, and no window
of the question begins inside one of its intervals. `covering` says which of them together are the
interval, and what of it comes from the calls; what is not folded yet is added (see `rollups`).
Called by the reads.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import add
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Subquery,
    Table,
    and_,
    column,
    func,
    literal_column,
    select,
    union_all,
)

from meter.core.windows import Window
from meter.errors import InputError
from meter.store.archives import gone_until, in_words
from meter.store.covering import Part, counted, cover
from meter.store.engine import read_connection
from meter.store.filters import where
from meter.store.grouping import (
    TAG,
    TIMES,
    Dimension,
    as_it_is,
    dimensions_of,
    sorting_key,
    starts_of,
)
from meter.store.latest import latest_events
from meter.store.rollups import CURRENCIES, HOUR_US, ROLLUPS, Rollup, beyond, changes
from meter.store.schema import usage_events, usage_hours, usage_tag_days
from meter.store.summing import (
    COUNTED,
    NAMES,
    REPORTED,
    currencies_of,
    known,
    sums_of,
    sums_of_rollup,
)

_AT_ONCE: Final = 1000
_EVER_US: Final = 2**62
_MOST_STARTS: Final = 800
_ROLLUP_OF: Final = {rollup.table.name: rollup for rollup in ROLLUPS}
_CALLS: Final = len(NAMES) - len(COUNTED)
_UNPRICED: Final = (None, None, None)
_Currencies = tuple[str | None, str | None, str | None]
"""That of the cost, of the published price and of what is billed."""
_NO_FILTERS: Final[Mapping[str, str | None]] = MappingProxyType({})
_Group = tuple[str | None, ...]
_Interval = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Sums over the ended calls of one group, in one currency for each price book.

    `group` has a value for each name of `by`, None where a call has none: hours as
    "2026-11-22T10:00+01:00", days and weeks (their Monday) as "2026-11-22", months as "2026-11".
    Tokens are None when no call reported any of that unit, `cost_nanos` when no call is priced;
    calls without a currency stand in the group's row when it has but one. `unpriced` calls used
    something that no rate covers, `unknown` ones are unsettled, `failed` ones ended upstream.
    `list_nanos` sums the published price, `billed_nanos` what the subjects owe: the cost where a
    call has no other.
    """

    group: tuple[str | None, ...]
    currency: str | None
    cost_nanos: int | None
    calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    unpriced: int
    estimated: int
    unknown: int
    unmetered: int
    failed: int
    refused: int
    list_nanos: int | None = None
    list_currency: str | None = None
    billed_nanos: int | None = None
    billed_currency: str | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked: groups, the interval, the zone of windows, filters.

    Calls before `gone_us` are archived: only rollups know of them.
    """

    by: tuple[str, ...]
    since_us: int | None
    until_us: int | None
    tz: str
    filters: Mapping[str, str]
    gone_us: int


class Found(NamedTuple):
    """One row that the database summed: its group as texts, its currencies, its sums."""

    group: _Group
    currencies: _Currencies
    sums: Sequence[int]


def usage(
    engine: Engine,
    *,
    by: Sequence[str],
    since_us: int | None = None,
    until_us: int | None = None,
    tz: str = "UTC",
    filters: Mapping[str, str | None] = _NO_FILTERS,
    rollups: bool = True,
) -> list[UsageRow]:
    """Return sums over the ended calls that started in [since_us, until_us).

    `by` names groups: subject, model, model_served, provider, issuer, endpoint, key, outcome,
    basis, currency, card, tier, hour, day, week, month (in the zone `tz`) and "tag:<name>".
    `filters` as for `calls`, and "subjects": a JSON list of which any will do. One row for each
    group and currency, sorted by group. `rollups` False reads the calls themselves.

    Raises: InputError for a name that is not one of these, and where only calls that were archived
    could tell; ConfigError for an unknown zone, StoreUnavailable.
    """
    wanted = {name: text for name, text in filters.items() if text is not None}
    with read_connection(engine) as connection:
        gone_us = gone_until(connection)
        question = _Question(tuple(by), since_us, until_us, tz, wanted, gone_us)
        span = _span(connection, question)
        # The names are looked at also where there is nothing to sum.
        dimensions_of(by, latest_events(), tz, *(span or (0, 0)))
        where(latest_events(), since_us, until_us, wanted)
        if span is None:
            return []
        found: Iterable[Found] | None = None
        if rollups:
            found = _from_rollup(connection, question, span)
        if found is None:
            found = _from_calls(connection, question, span, (since_us, until_us))
        return rows_of(found)


def _span(connection: Connection, question: _Question) -> tuple[int, int] | None:
    """Return the first and the last moment of interest, None when there are no calls.

    The last is the end of the interval, or of the calls where none comes later.
    """
    first, _ = _bounds(connection, usage_events, question.since_us, question.until_us)
    _, last = _bounds(connection, usage_events, None, None)
    if question.gone_us > (question.since_us or 0):
        # The hours know when there were calls that are archived.
        since_us, until_us = question.since_us or 0, question.until_us or question.gone_us
        of_hours = _bounds(
            connection, usage_hours, since_us // HOUR_US * HOUR_US, min(until_us, question.gone_us)
        )
        if of_hours[0] is not None:
            first = max(of_hours[0], since_us)
            last = of_hours[1] if last is None else last
    if first is None or last is None:
        return None
    return first, last if question.until_us is None else min(last, question.until_us - 1)


def _bounds(
    connection: Connection, table: Any, since_us: int | None, until_us: int | None
) -> tuple[int | None, int | None]:
    within = where(table, since_us, until_us, {})
    # Two statements: together they would scan what each finds at the end of an index.
    first, last = [
        connection.execute(select(bound(table.c.started_us)).where(within)).scalar_one()
        for bound in (func.min, func.max)
    ]
    return first, last


# --- from the calls ---------------------------------------------------------------------------


def _from_calls(
    connection: Connection,
    question: _Question,
    span: tuple[int, int],
    interval: _Interval,
    events: Any = None,
    sign: int = 1,
) -> Iterator[Found]:
    """Yield sums over calls in an interval (`events`: their state, as now known)."""
    if events is None:
        if (interval[0] or 0) < question.gone_us:
            raise InputError(
                f"found a question about calls before {in_words(question.gone_us)}, which are "
                "archived, expected a later beginning, or one that rollups answer: whole days UTC "
                "by subject, model, provider, endpoint, key or one tag"
            )
        events = latest_events()
    dimensions = dimensions_of(question.by, events, question.tz, *span)
    columns = [column for dimension in dimensions for column in dimension.columns]
    currencies = currencies_of(events)
    statement = (
        select(*_labelled(columns), *currencies, *sums_of(events, sign))
        .where(where(events, *interval, question.filters))
        .group_by(*columns, *currencies)
    )
    return _read(connection, statement, dimensions)


def _labelled(columns: Sequence[Any]) -> list[Any]:
    return [column.label(f"key{number}") for number, column in enumerate(columns)]


def _read(
    connection: Connection, statement: Any, dimensions: Sequence[Dimension]
) -> Iterator[Found]:
    width = sum(len(dimension.columns) for dimension in dimensions)
    after = width + len(CURRENCIES)
    as_they_are = width == len(dimensions) and all(d.text is as_it_is for d in dimensions)
    native = connection.dialect.name == "postgresql"
    streamed = statement.execution_options(yield_per=_AT_ONCE)
    with connection.execute(streamed) as rows:
        for row in rows:
            if as_they_are:
                group: _Group = tuple(row[:width])
            else:
                values = iter(row[:width])
                group = tuple([d.text(*[next(values) for _ in d.columns]) for d in dimensions])
            cost, listed, billed = row[width:after]
            # PostgreSQL sums to a decimal.
            sums = list(map(int, row[after:])) if native else row[after:]
            yield Found(group, (cost or None, listed or None, billed or None), sums)


# --- from a rollup ----------------------------------------------------------------------------


def _from_rollup(
    connection: Connection, question: _Question, span: tuple[int, int]
) -> Iterable[Found] | None:
    """Return sums out of rollups and what they lack, None where no rollup answers the question."""
    whole = question.since_us or 0, _EVER_US if question.until_us is None else question.until_us
    parts = list(cover(list(_rollups_for(question, span)), whole, span, 1, question.gone_us))
    if all(part.rollup is None for part in parts):
        return None
    sources = beyond(connection)
    if sources is None:
        return None
    found = [_from_tables(connection, question, span, parts)]
    for part in parts:
        if part.rollup is None:
            of_calls = _from_calls(connection, question, span, part.interval)
            found.append(of_calls if part.sign > 0 else map(_taken_off, of_calls))
    native = connection.dialect.name == "postgresql"
    for change in changes(connection, sources):
        events = change.events(native=native)
        for interval, times in counted(parts):
            sign = change.sign * times
            found.append(_from_calls(connection, question, span, interval, events, sign))
    return chain.from_iterable(found)


def _taken_off(found: Found) -> Found:
    return Found(found.group, found.currencies, [-value for value in found.sums])


def _rollups_for(question: _Question, span: tuple[int, int]) -> Iterator[Rollup]:
    """Yield the rollups whose keys and intervals answer the question, the one to prefer first.

    Each has shorter intervals than the one before.
    """
    tags = {name for name in question.by if name.startswith(TAG)}
    if "tag" in question.filters:
        tags.add(TAG + question.filters["tag"].partition("=")[0])
    names = {name for name in question.by if name not in TIMES and name not in tags}
    names |= question.filters.keys() - {"tag", "subjects"}
    if "subjects" in question.filters:
        names.add("subject")
    windows = [Window(TIMES[name], question.tz) for name in question.by if name in TIMES]
    shortest_us = _EVER_US
    for rollup in ROLLUPS:
        if rollup.longest_us >= shortest_us:
            continue
        keys = {name for name, _ in rollup.keys} | {"currency"}
        if rollup.is_by_tag:
            if len(tags) != 1 or not names <= {"model", "currency"} or "model" in question.filters:
                continue
        elif tags or not names <= keys:
            continue
        elif "model" in question.filters and "model_served" not in keys:
            # A filter finds a model under either of its names.
            continue
        if all(_fits(window, span, rollup) for window in windows):
            shortest_us = rollup.longest_us
            yield rollup


def _fits(window: Window, span: tuple[int, int], rollup: Rollup) -> bool:
    """Whether no window begins inside an interval of the rollup."""
    starts = starts_of(window, *span)
    return all(rollup.bounds(start_us)[0] == start_us for start_us in starts)


def _from_tables(
    connection: Connection, question: _Question, span: tuple[int, int], parts: Sequence[Part]
) -> Iterator[Found]:
    """Yield the sums out of all parts that are of rollups."""
    by_tag = [place for place, name in enumerate(question.by) if name.startswith(TAG)]
    of_tables = [(part.rollup, part.interval, part.sign) for part in parts if part.rollup]
    if not (of_tables[0][0].is_by_tag and by_tag) or "tag" in question.filters:
        found = [(rollup.table, interval, sign) for rollup, interval, sign in of_tables]
        yield from _table_rows(connection, question, span, found)
        return
    # The calls without that tag are all calls, less those with it.
    (place,) = by_tag
    for rollup, interval, sign in of_tables:
        yield from _table_rows(connection, question, span, [(usage_hours, interval, sign)])
        for with_tag in _table_rows(connection, question, span, [(rollup.table, interval, sign)]):
            yield with_tag
            without = (*with_tag.group[:place], None, *with_tag.group[place + 1 :])
            yield _taken_off(with_tag._replace(group=without))


def _table_rows(
    connection: Connection,
    question: _Question,
    span: tuple[int, int],
    tables: Sequence[tuple[Table, tuple[int, int], int]],
) -> Iterator[Found]:
    """Yield sums out of tables: each with an interval, and the sign of what it adds.

    Where a table knows no tags, all calls count as without.
    """
    is_summed = len(tables) == 1 and tables[0][-1] > 0
    made = [_of_table(question, span, *each, is_summed=is_summed) for each in tables]
    statement, dimensions = made[0]
    if not is_summed:
        # By their bare names: to look up the columns of a union takes longer than to ask for them.
        every = union_all(*[of_table for of_table, _ in made]).subquery("every")
        width = sum(len(dimension.columns) for dimension in dimensions)
        keys: list[Any] = [column(f"key{number}") for number in range(width)]
        keys += [column(name) for name in CURRENCIES]
        sums: list[Any] = [func.sum(column(name)).label(name) for name in NAMES]
        statement = select(*keys, *sums).select_from(every).group_by(*keys)
    return _read(connection, statement, dimensions)


def _of_table(
    question: _Question,
    span: tuple[int, int],
    table: Table,
    interval: tuple[int, int],
    sign: int,
    *,
    is_summed: bool,
) -> tuple[Select[Any], Sequence[Dimension]]:
    """Return the SELECT of the sums out of one table, and what its keys are.

    Where it is not summed: of its rows with their signs, to be summed with those of others.
    """
    rows = _as_events(table, *_found_by_subject(table, interval, question.filters))
    tagged = table is usage_tag_days
    by = [name for name in question.by if not name.startswith(TAG)]
    others = iter(dimensions_of(by, rows, question.tz, *span))
    dimensions = [
        (Dimension((rows.c.tag_value,), as_it_is) if tagged else Dimension((), _nothing))
        if name.startswith(TAG)
        else next(others)
        for name in question.by
    ]
    columns = [column for dimension in dimensions for column in dimension.columns]
    currencies = [rows.c[name] for name in CURRENCIES]
    plain = {name: text for name, text in question.filters.items() if name != "tag"}
    condition = where(rows, *interval, plain)
    if tagged:
        name, _, value = question.filters.get("tag", "").partition("=")
        if name:
            condition = and_(condition, rows.c.tag_name == name, rows.c.tag_value == value)
        else:
            (asked,) = (name for name in question.by if name.startswith(TAG))
            condition = and_(condition, rows.c.tag_name == asked.removeprefix(TAG))
    if is_summed:
        sums = sums_of_rollup(rows)
        statement = select(*_labelled(columns), *currencies, *sums).where(condition)
        return statement.group_by(*columns, *currencies), dimensions
    signed = [(rows.c[name] if sign > 0 else -rows.c[name]).label(name) for name in NAMES]
    return select(*_labelled(columns), *currencies, *signed).where(condition), dimensions


def _found_by_subject(
    table: Table, interval: tuple[int, int], filters: Mapping[str, str]
) -> list[ColumnElement[bool]]:
    """Return conditions by which a few subjects are found without reading the rows of others.

    The key of a rollup begins with its intervals: each of them is named, where there are not too
    many.
    """
    subjects = json.loads(filters["subjects"]) if "subjects" in filters else []
    subjects += [filters["subject"]] if "subject" in filters else []
    _, first_key, *_ = table.primary_key.columns
    if not subjects or first_key.name != "subject":
        return []
    starts = list(islice(_ROLLUP_OF[table.name].starts(*interval), _MOST_STARTS + 1))
    if len(starts) > _MOST_STARTS:
        return []
    return [table.c.started_us.in_(starts), table.c.subject.in_(subjects)]


def _as_events(table: Any, *conditions: ColumnElement[bool]) -> Subquery:
    """Return a rollup in the columns of events: null where a call has none."""
    names = {"model": "model_requested"}
    plain = [
        func.nullif(column, literal_column("''")).label(names.get(column.name, column.name))
        for column in table.c
        if column.name not in (*NAMES, "started_us")
    ]
    sums = [table.c[name] for name in NAMES]
    unsaid = "model" in table.c and "model_served" not in table.c
    more = [table.c.model.label("model_served")] if unsaid else []
    chosen = select(table.c.started_us, *plain, *more, *sums).where(*conditions)
    return chosen.subquery("events")


def _nothing() -> None:
    return None


# --- together ---------------------------------------------------------------------------------


def rows_of(found: Iterable[Found]) -> list[UsageRow]:
    """Add what was found to the rows asked for."""
    added: dict[_Group, dict[_Currencies, Sequence[int]]] = {}
    for group, currencies, sums in found:
        by_currency = added.get(group)
        if by_currency is None:
            added[group] = {currencies: sums}
        else:
            before = by_currency.get(currencies)
            by_currency[currencies] = sums if before is None else list(map(add, before, sums))
    rows = []
    for group in sorted(added, key=sorting_key):
        by_currency = added[group]
        if len(by_currency) > 1:
            by_currency = _agreeing(by_currency)
        for currencies, sums in by_currency.items():
            # What later corrections took away leaves sums of nothing.
            if sums[_CALLS]:
                rows.append(_row(group, currencies, sums))
    return rows


def _agreeing(by_currency: dict[_Currencies, Sequence[int]]) -> dict[_Currencies, Sequence[int]]:
    """Return the sums of one group, those without a currency added to the only ones with one."""
    by_currency = {c: sums for c, sums in by_currency.items() if sums[_CALLS]}
    if len(by_currency) == 2 and _UNPRICED in by_currency:
        # As it nearly always is: calls with a price, and some that have none.
        unpriced = by_currency.pop(_UNPRICED)
        ((only, sums),) = by_currency.items()
        return {only: list(map(add, sums, unpriced))}
    # Those that say most come first, so that the order of the rows makes no difference.
    for unsaid in sorted((c for c in by_currency if None in c), key=_unsaid):
        agreeing = [c for c in by_currency if c != unsaid and _agree(unsaid, c)]
        if len(agreeing) == 1:
            (only,) = agreeing
            by_currency[only] = list(map(add, by_currency[only], by_currency.pop(unsaid)))
    return {
        currencies: by_currency[currencies] for currencies in sorted(by_currency, key=sorting_key)
    }


def _unsaid(currencies: _Currencies) -> tuple[int, Any]:
    return currencies.count(None), sorting_key(currencies)


def _agree(unsaid: _Currencies, said: _Currencies) -> bool:
    """Whether one says all that the other says, and more."""
    return all(one is None or one == other for one, other in zip(unsaid, said, strict=True))


def _row(group: _Group, currencies: _Currencies, sums: Sequence[int]) -> UsageRow:
    told = known(sums)
    cost_nanos, list_nanos, billed_nanos, i, cr, cw, o, r = told[: len(REPORTED)]
    calls, unpriced, estimated, unknown, unmetered, failed, refused = (
        count or 0 for count in told[len(REPORTED) :]
    )
    currency, listed, billed = currencies
    return UsageRow(
        group, currency, cost_nanos, calls, i, cr, cw, o, r, unpriced, estimated, unknown,
        unmetered, failed, refused, list_nanos, listed, billed_nanos, billed,
    )  # fmt: skip
