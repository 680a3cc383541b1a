"""Fill a ledger with synthetic calls: months of traffic of a believable shape, quickly.

    .venv/bin/python benchmarks/ledgers.py sqlite:///large.db --calls 1000000 --days 90
    .venv/bin/python benchmarks/ledgers.py sqlite:///large.db --calls 1000000 --times 10

With `--times` the database itself repeats the calls, each time under other ids and for other
subjects of about the same weight, which is ten times as quick.

The calls go through the store's own batches, so entries, balances, budgets and whatever else the
store keeps agree with them, and `meter check` holds. The same seed makes the same calls, except
that they end where `until` says. Days have working hours and weekends, subjects spend very
unevenly, a few calls fail, are estimated, unsettled or refused, and one subject has a day that is
out of the ordinary. Called by the dashboard's tests, the screenshots and other benchmarks.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Table,
    func,
    insert,
    select,
    text,
    update,
)

from meter.core import rating
from meter.core.call import Attribution, Basis, Bound, Call, Outcome
from meter.core.event import UsageEvent
from meter.core.ledger import SPEND
from meter.core.rates import RateCard, microseconds_of
from meter.core.rating import Charge
from meter.core.usage import Usage
from meter.prices.book import PriceBook
from meter.store.encoding import event_to_row
from meter.store.engine import open_engine, write_connection
from meter.store.migrating import require_current
from meter.store.requests import Settle
from meter.store.rollups import fold
from meter.store.schema import (
    balances,
    counters,
    entries,
    feed_portions,
    rollups,
    usage_events,
)
from meter.store.writing import write_batch

BATCH = 5_000
"""Calls in one transaction."""

_DAY_US = 86_400_000_000
# Calls in each hour of a working day, in parts of the day.
_HOURS = (1, 1, 1, 1, 1, 2, 4, 7, 11, 13, 13, 12, 9, 12, 13, 12, 11, 9, 6, 4, 3, 2, 2, 1)
_TEAMS = ("search", "support", "research", "growth", "platform")
_FEATURES = ("chat", "summary", "agent", "batch")
_NAMES = (
    "alice", "bob", "陈静", "dora", "erik", "fatima", "grace", "hugo", "ines", "jun", "karl",
    "lena", "mateo", "noor", "olga", "paul", "qing", "rosa", "sven", "tara",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of traffic: its model, weight, usual tokens, shares of cached and of reasoned."""

    provider: str
    endpoint: str
    model: str
    weight: int
    input_tokens: int
    output_tokens: int
    cached: float = 0.0
    reasoning: float = 0.0


KINDS = (
    Kind("openai", "chat", "gpt-4o-mini", 30, 900, 220, cached=0.3),
    Kind("openai", "chat", "gpt-4o", 14, 1_400, 300, cached=0.4),
    Kind("openai", "chat", "gpt-4.1", 8, 2_200, 350, cached=0.4),
    Kind("openai", "responses", "gpt-5-mini", 12, 1_100, 700, cached=0.3, reasoning=0.6),
    Kind("anthropic", "messages", "claude-sonnet-4-5", 12, 3_200, 450, cached=0.6),
    Kind("anthropic", "messages", "claude-haiku-4-5", 6, 1_300, 260, cached=0.5),
    Kind("google", "generateContent", "gemini-2.5-flash", 9, 1_000, 350),
    Kind("google", "generateContent", "gemini-2.5-pro", 3, 2_000, 900, reasoning=0.5),
    Kind("openai", "embeddings", "text-embedding-3-small", 16, 350, 0),
)


def fill(
    url: str,
    calls: int,
    *,
    days: int = 90,
    until: datetime | None = None,
    subjects: int = 40,
    seed: int = 1,
) -> None:
    """Add that many ended calls of the last `days` days to the ledger at `url`.

    `until` (default: now) is when the last of them may have started. A fresh SQLite file is made.
    The sums that reports read are folded at the end, as gateways fold them all the time.
    """
    engine = open_engine(url, durability="process")
    require_current(engine)
    known: set[int] = set()
    try:
        batch: list[Settle] = []
        for event, card in events(calls, days=days, until=until, subjects=subjects, seed=seed):
            batch.append(Settle(event, event_to_row(event), card))
            if len(batch) == BATCH:
                _write(engine, batch, known)
                batch = []
        if batch:
            _write(engine, batch, known)
        fold(engine)
    finally:
        engine.dispose()


def events(
    calls: int, *, days: int, until: datetime | None, subjects: int, seed: int
) -> Iterator[tuple[UsageEvent, RateCard | None]]:
    """Yield that many events in the order of their start, each with the card that rated it."""
    dice = random.Random(seed)
    book = PriceBook.bundled()
    end = until or datetime.now(UTC)
    people = [_subject(number) for number in range(subjects)]
    shares = [1 / (number + 1) for number in range(subjects)]
    weights = [kind.weight for kind in KINDS]
    for started_us in _starts(calls, days, end, dice):
        person = dice.choices(range(subjects), shares)[0]
        kind = dice.choices(KINDS, weights)[0]
        yield _event(started_us, people[person], person, kind, book, dice)


def _write(engine: object, batch: list[Settle], known: set[int]) -> None:
    with write_connection(engine) as connection:  # type: ignore[arg-type]
        written = write_batch(connection, batch, known)
    wrong = [answer for answer in written.answers if answer is not None]
    if wrong:
        raise RuntimeError(f"found {wrong[0]!r}, expected every call to be written")
    known |= written.route_ids


def multiply(url: str, times: int, *, subjects: int) -> None:
    """Repeat every call of a folded ledger without corrections, until it is there so many times.

    Its sums are repeated with it, so that `meter check` holds.
    """
    engine = open_engine(url, durability="process")
    try:
        with write_connection(engine) as connection:
            for table in _REPEATED:
                connection.exec_driver_sql(
                    f"CREATE TABLE base_{table.name} AS SELECT * FROM {table.name}"
                )
            connection.exec_driver_sql("CREATE TABLE renamed (old TEXT PRIMARY KEY, new TEXT)")
        for copy in range(1, times):
            with write_connection(engine) as connection:
                _repeat(connection, copy, times, subjects)
        with write_connection(engine) as connection:
            for table in _REPEATED:
                connection.exec_driver_sql(f"DROP TABLE base_{table.name}")
            connection.exec_driver_sql("DROP TABLE renamed")
            connection.exec_driver_sql("ANALYZE")
    finally:
        engine.dispose()


_REPEATED = (usage_events, entries, feed_portions, balances, *rollups.values())


def _repeat(connection: Connection, copy: int, times: int, subjects: int) -> None:
    """Add one copy of what was there in the beginning."""
    connection.execute(text("DELETE FROM renamed"))
    names = [{"old": _subject(n), "new": _subject(_alike(n, copy, times, subjects))}
             for n in range(subjects)]  # fmt: skip
    connection.execute(text("INSERT INTO renamed VALUES (:old, :new)"), names)
    _repeat_rows(connection, usage_events, "subject", "", "call_id", copy)
    _repeat_rows(connection, entries, "debit", SPEND, "source_id", copy)
    for table in (balances, *rollups.values()):
        subject = "account" if table is balances else "subject"
        _repeat_sums(connection, table, subject, SPEND if table is balances else "")
    last = connection.scalar(select(func.max(feed_portions.c.number))) or 0
    base = connection.execute(text("SELECT number, part, sources FROM base_feed_portions")).all()
    parts = []
    for number, part, sources in base:
        again = bytearray(sources)
        again[15::16] = bytes(last_byte ^ copy for last_byte in again[15::16])
        parts.append({"number": last + number, "part": part, "sources": bytes(again)})
    connection.execute(insert(feed_portions), parts)
    end = max((part["number"], part["part"]) for part in parts)
    standing = {"portion": end[0], "rollups: portion": end[0], "rollups: part": end[1] + 1}
    for name, value in standing.items():
        connection.execute(update(counters).where(counters.c.name == name).values(value=value))


def _repeat_rows(
    connection: Connection, table: Table, subject: str, prefix: str, key: str, copy: int
) -> None:
    """Add rows under other ids: the last of their sixteen bytes is chance, and tells copies."""
    identity = f"copied({key}, {copy})"
    if connection.dialect.name == "postgresql":
        byte = f"get_byte(uuid_send({key}), 15) # {copy}"
        identity = f"encode(set_byte(uuid_send({key}), 15, {byte}), 'hex')::uuid"
    else:
        driver: Any = connection.connection.driver_connection
        driver.create_function(
            "copied", 2, lambda known, number: known[:15] + bytes([known[15] ^ number])
        )
    columns = _renamed(table, subject, prefix) | {key: identity}
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(columns.values())}"
        f" FROM {_from_base(table, subject, prefix)} ORDER BY {key}"
    )


def _repeat_sums(connection: Connection, table: Table, subject: str, prefix: str) -> None:
    """Add sums to those that are there."""
    names, keys = table.columns.keys(), table.primary_key.columns.keys()
    sums = [name for name in names if name not in keys]
    columns, base = _renamed(table, subject, prefix), f"base_{table.name}"
    if subject in table.columns:
        base = _from_base(table, subject, prefix)
    added = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in sums)
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(columns.values())}"
        f" FROM {base} WHERE true ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added}"
    )


def _renamed(table: Table, subject: str, prefix: str) -> dict[str, str]:
    """Return what each column of a copy is, in terms of the row that it is made of."""
    columns = {column.name: column.name for column in table.columns}
    if subject in columns:
        columns[subject] = f"coalesce('{prefix}' || new, {subject})"
    return columns


def _from_base(table: Table, subject: str, prefix: str) -> str:
    return (
        f"base_{table.name} LEFT JOIN renamed ON old = substr({subject}, {len(prefix) + 1})"
        f" AND {subject} LIKE '{prefix}%%'"
    )


def _alike(number: int, copy: int, times: int, subjects: int) -> int:
    """Return another subject of the same magnitude; those with a name of their own stay."""
    if number < len(_NAMES):
        return number
    low = 1 << (number.bit_length() - 1)
    low, high = max(low, len(_NAMES)), min(low * 2, subjects)
    return low + (number - low + copy * (high - low) // times) % (high - low)


def _subject(number: int) -> str:
    return _NAMES[number] if number < len(_NAMES) else f"customer-{number:04d}"


def _starts(calls: int, days: int, end: datetime, dice: random.Random) -> Iterator[int]:
    """Yield the starts of the calls in order, microseconds UTC."""
    first = (end - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    slots, weights = [], []
    for day in range(days):
        date = first + timedelta(days=day)
        of_day = (0.35 if date.isoweekday() > 5 else 1.0) * (0.6 + 0.6 * day / days)
        of_day *= dice.uniform(0.85, 1.15)
        for hour, share in enumerate(_HOURS):
            start = date + timedelta(hours=hour)
            if start < end:
                slots.append(start)
                weights.append(of_day * share)
    total, made, passed = sum(weights), 0, 0.0
    for start, weight in zip(slots, weights, strict=True):
        passed += weight
        wanted = round(calls * passed / total) - made
        made += wanted
        length_us = min(microseconds_of(end) - microseconds_of(start), 3_600_000_000)
        offsets = sorted(dice.randrange(length_us) for _ in range(wanted))
        yield from (microseconds_of(start) + offset for offset in offsets)


def _event(
    started_us: int, subject: str, person: int, kind: Kind, book: PriceBook, dice: random.Random
) -> tuple[UsageEvent, RateCard | None]:
    usage, basis, outcome, status = _end(kind, dice, person, started_us)
    card = book.card_for(kind.provider, kind.model, started_us)
    charge = Charge((), None, None, card.id if card else None, "the usage is not known")
    if usage is not None:
        charge = rating.rate(usage, card, at_us=started_us)
    elif outcome is Outcome.REFUSED or status >= 400:
        charge = Charge((), 0, card.currency if card else None, card.id if card else None)
        usage = Usage()
    identity = UUID(int=started_us // 1000 << 80 | 7 << 76 | 2 << 62 | dice.getrandbits(62))
    output_tokens = int(usage.get("output_tokens", 0)) if usage else 0
    streaming = kind.endpoint != "embeddings" and dice.random() < 0.6
    first_us = int(dice.lognormvariate(12.9, 0.35))
    duration_us = first_us + int(output_tokens * dice.uniform(7_000, 14_000))
    estimated = None
    if usage and "input_tokens" in usage:
        off = dice.choice((1.0, 1.0, 1.0, 0.97, 1.02)) if kind.provider == "openai" else 1.08
        estimated = int(usage["input_tokens"] * off)
    bound_nanos = (charge.amount_nanos or 0) * 3
    if usage is None:
        estimated = kind.input_tokens
        most = Usage(input_tokens=2 * kind.input_tokens, output_tokens=4 * kind.output_tokens)
        bound_nanos = rating.rate(most, card, at_us=started_us).amount_nanos or 0
    call = Call(
        id=identity,
        operation_id=identity,
        started_us=started_us,
        provider=kind.provider,
        endpoint=kind.endpoint,
        model_requested=kind.model,
        attribution=Attribution(
            subject,
            (
                ("feature", _FEATURES[dice.randrange(len(_FEATURES))]),
                ("team", _TEAMS[person % len(_TEAMS)]),
            ),
        ),
        streaming=streaming,
        estimated_input_tokens=estimated,
        bound=Bound(None, None, bound_nanos, card.currency if card else None),
    )
    event = UsageEvent(
        call=call,
        ended_us=started_us + duration_us,
        outcome=outcome,
        basis=basis,
        usage=usage,
        charge=charge,
        issuer=kind.provider,
        status=status if outcome is not Outcome.REFUSED else None,
        first_byte_us=started_us + first_us if outcome is Outcome.COMPLETED else None,
        model_served=kind.model if outcome is Outcome.COMPLETED and status < 400 else None,
        counted_output_tokens=output_tokens if basis is Basis.ESTIMATED else None,
        response_id=f"resp-{identity.hex[-16:]}",
    )
    return event, card


def _end(
    kind: Kind, dice: random.Random, person: int, started_us: int
) -> tuple[Usage | None, Basis, Outcome, int]:
    roll = dice.random()
    if roll < 0.004:
        return None, Basis.UNKNOWN, Outcome.TIMED_OUT, 200
    if roll < 0.012:
        return None, Basis.REPORTED, Outcome.COMPLETED, 429
    if roll < 0.015:
        return None, Basis.REPORTED, Outcome.REFUSED, 0
    scale = dice.lognormvariate(0, 0.6)
    if person == 2 and started_us // _DAY_US % 41 == 7:
        scale *= 8  # the day that is out of the ordinary
    counts = {"input_tokens": max(int(kind.input_tokens * scale), 1)}
    if kind.cached:
        share = kind.cached * dice.random() * 1.6
        counts["cache_read_tokens"] = int(counts["input_tokens"] * min(share, 0.95))
    if kind.output_tokens:
        counts["output_tokens"] = max(int(kind.output_tokens * dice.lognormvariate(0, 0.5)), 1)
        if kind.reasoning:
            counts["reasoning_tokens"] = int(counts["output_tokens"] * kind.reasoning)
    if roll < 0.03:
        return Usage(counts), Basis.ESTIMATED, Outcome.CLIENT_CLOSED, 200
    return Usage(counts), Basis.REPORTED, Outcome.COMPLETED, 200


def main() -> int:
    """Fill the ledger that the arguments name, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="where the ledger lies: sqlite:///large.db")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=1, help="how often the calls are there")
    given = parser.parse_args()
    began = time.perf_counter()
    fill(given.url, given.calls, days=given.days, subjects=given.subjects, seed=given.seed)
    if given.times > 1:
        multiply(given.url, given.times, subjects=given.subjects)
    seconds, calls = time.perf_counter() - began, given.calls * given.times
    print(f"{calls:,} calls in {seconds:.1f} s, {calls / seconds:,.0f} a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
