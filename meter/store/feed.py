"""Hand out what was committed in portions, so that a reader misses nothing and sees nothing twice.

Neither ids nor times say in which order records were committed: a call that began before another
can end after it, and a clock can go back. So every transaction that adds records leaves their ids
among the arrivals. `seal` moves all arrivals that are committed, in one transaction and one sealer
at a time, into a portion with the next number. Whoever keeps the number of the last portion it has
read, its watermark, reads those after it and has each record exactly once.

A record costs 16 bytes in the feed, and a transaction with one record some 20 more until sealed.
Portions that everyone has read can be trimmed; followers from outside say how far they are.
Called by the writes, which add arrivals, by what reads changes, and by the maintenance.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import Connection, Engine, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from meter.errors import InputError
from meter.store.encoding import Row
from meter.store.engine import read_connection, write_connection
from meter.store.schema import counters, feed_arrivals, feed_portions, followers

_ARRIVALS_AT_ONCE = 5_000
_SOURCES_IN_A_PART = 500
_ID_BYTES = 16
_PORTION = "portion"
_TRIMMED = "feed: trimmed"
_PORTIONS_AT_ONCE = 1_000


def arrival_rows(sources: Sequence[UUID]) -> list[Row]:
    """Return the row that tells of these sources of one transaction; none where there is none."""
    if not sources:
        return []
    more = b"".join([source.bytes for source in sources[1:]])
    return [{"id": sources[0], "more": more or None}]


def seal(engine: Engine) -> int:
    """Put everything that is committed into portions; return the number of the last one.

    Raises: StoreUnavailable.
    """
    while True:
        with write_connection(engine) as connection:
            number, is_all = seal_some(connection)
        if is_all:
            return number


def seal_some(connection: Connection, at_once: int = _ARRIVALS_AT_ONCE) -> tuple[int, bool]:
    """Put arrivals into the next portion; return its number, and whether that was all of them.

    Inside a write transaction, which keeps other sealers out until it ends.
    """
    number = take_number(connection, _PORTION, 0)
    chosen = select(feed_arrivals.c.id).order_by(feed_arrivals.c.id).limit(at_once)
    taken = delete(feed_arrivals).where(feed_arrivals.c.id.in_(chosen.scalar_subquery()))
    found = connection.execute(taken.returning(feed_arrivals.c.id, feed_arrivals.c.more)).all()
    if not found:
        return number, True
    number = take_number(connection, _PORTION, 1)
    sources = sorted(
        source for first, more in found for source in (first.bytes, *_cut(more or b""))
    )
    parts = [
        {"number": number, "part": part, "sources": b"".join(sources[start:end])}
        for part, (start, end) in enumerate(_spans(len(sources)))
    ]
    connection.execute(insert(feed_portions), parts)
    return number, len(found) < at_once


def take_number(connection: Connection, name: str, step: int) -> int:
    """Add `step` to a counter and return it; it stays locked until the transaction ends.

    A transaction that is rolled back gives its number back, so there are no gaps.
    """
    native = connection.dialect.name == "postgresql"
    made = (postgresql if native else sqlite).insert(counters).values(name=name, value=step)
    counted = made.on_conflict_do_update(
        index_elements=[counters.c.name], set_={"value": counters.c.value + step}
    )
    return int(connection.execute(counted.returning(counters.c.value)).scalar_one())


def last_portion(engine: Engine) -> int:
    """Return the number of the last portion, 0 when nothing was ever sealed."""
    with read_connection(engine) as connection:
        return _standing(connection, _PORTION)


def trim(engine: Engine, last: int) -> int:
    """Remove the portions up to this one, some at a time; return how many rows they were.

    Whoever calls knows that nobody will read them. Raises: StoreUnavailable.
    """
    removed = 0
    while True:
        with write_connection(engine) as connection:
            first = connection.execute(select(func.min(feed_portions.c.number))).scalar()
            if first is None or first > last:
                return removed
            until = min(last, first + _PORTIONS_AT_ONCE - 1)
            step = until - take_number(connection, _TRIMMED, 0)
            take_number(connection, _TRIMMED, max(step, 0))
            gone = delete(feed_portions).where(feed_portions.c.number <= until)
            removed += connection.execute(gone).rowcount


def note_follower(engine: Engine, name: str, following: str, portion: int, now_us: int) -> None:
    """Note how far a follower has read: what comes after that is kept for it."""
    native = engine.dialect.name == "postgresql"
    insert_into = postgresql.insert if native else sqlite.insert
    row = {"name": name, "following": following, "portion": portion, "seen_us": now_us}
    made = insert_into(followers).values(row)
    noted = made.on_conflict_do_update(index_elements=[followers.c.name], set_=row)
    with write_connection(engine) as connection:
        connection.execute(noted)


def forget_follower(engine: Engine, name: str) -> bool:
    """Keep nothing any more for a follower; return whether there was one."""
    with write_connection(engine) as connection:
        gone = connection.execute(delete(followers).where(followers.c.name == name))
        return gone.rowcount > 0


def slowest_follower(connection: Connection) -> tuple[str, str, int] | None:
    """Return the name of who has read least, what it follows, and how far; None: nobody reads."""
    chosen = select(followers.c.name, followers.c.following, followers.c.portion)
    row = connection.execute(chosen.order_by(followers.c.portion).limit(1)).first()
    return None if row is None else (row.name, row.following, int(row.portion))


def sources_between(
    connection: Connection, after: int, last: int
) -> Iterator[tuple[int, list[UUID]]]:
    """Yield the sources of the portions in (after, last] in their order, some hundreds at a time.

    Each comes with the number of its portion. Raises: InputError when some were trimmed.
    """
    trimmed = _standing(connection, _TRIMMED)
    if after < min(trimmed, last):
        raise InputError(
            f"found the watermark {after}, expected {trimmed} or a later one: the portions of the "
            "feed up to there were trimmed, so that what they told cannot be followed any more"
        )
    # Portions begin at 1 and parts at 0.
    for number, _, sources in parts_after(connection, after + 1, -1):
        if number > last:
            return
        yield number, sources


def parts_after(
    connection: Connection, number: int, part: int
) -> Iterator[tuple[int, int, list[UUID]]]:
    """Yield the parts of the feed behind this one in their order: portion, part, sources."""
    while True:
        later = (feed_portions.c.number > number) | (
            (feed_portions.c.number == number) & (feed_portions.c.part > part)
        )
        chosen = (
            select(feed_portions)
            .where(feed_portions.c.number >= number, later)
            .order_by(feed_portions.c.number, feed_portions.c.part)
            .limit(1)
        )
        row = connection.execute(chosen).first()
        if row is None:
            return
        number, part = row.number, row.part
        yield number, part, [UUID(bytes=source) for source in _cut(row.sources)]


def unsealed(connection: Connection) -> Iterator[list[UUID]]:
    """Yield the sources that are in no portion yet, those of one transaction at a time."""
    chosen = select(feed_arrivals.c.id, feed_arrivals.c.more).execution_options(yield_per=1000)
    with connection.execute(chosen) as found:
        for first, more in found:
            yield [first, *[UUID(bytes=source) for source in _cut(more or b"")]]


def count_sources(engine: Engine, after: int, last: int) -> int:
    """Return how many sources are in the portions in (after, last]."""
    length = func.coalesce(func.sum(func.length(feed_portions.c.sources)), 0)
    chosen = select(length).where(feed_portions.c.number > after, feed_portions.c.number <= last)
    with read_connection(engine) as connection:
        return int(connection.execute(chosen).scalar_one()) // _ID_BYTES


def _standing(connection: Connection, name: str) -> int:
    chosen = select(counters.c.value).where(counters.c.name == name)
    return int(connection.execute(chosen).scalar() or 0)


def _cut(sources: bytes) -> list[bytes]:
    return [sources[start : start + _ID_BYTES] for start in range(0, len(sources), _ID_BYTES)]


def _spans(count: int) -> list[tuple[int, int]]:
    return [
        (start, min(start + _SOURCES_IN_A_PART, count))
        for start in range(0, count, _SOURCES_IN_A_PART)
    ]
