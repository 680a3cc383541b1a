"""Measure questions about a large ledger: how long an answer takes, and how large a call is.

    .venv/bin/python benchmarks/ledgers.py sqlite:///large.db --calls 10000000 --subjects 5000
    .venv/bin/python benchmarks/reports.py sqlite:///large.db

Each question is asked several times, from the rollups and, once, from the calls; medians in
milliseconds. The ledger is folded first, and that is timed as well. Nothing else is written.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text

from meter.core.rates import microseconds_of
from meter.store import rollups
from meter.store.engine import open_engine
from meter.store.schema import metadata, usage_events
from meter.store.usage_sums import usage

ROUNDS = 5


def timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long it takes, in milliseconds of wall time, and the answer."""
    begun = time.perf_counter()
    answer = ask()
    return (time.perf_counter() - begun) * 1000, answer


def size_of(engine: Any) -> int:
    """Return the bytes of the whole ledger, indexes included."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # A partitioned table has no bytes of its own; one that is not has no tree.
            of_table = text(
                "SELECT pg_total_relation_size(CAST(:name AS regclass)) "
                "+ coalesce(sum(pg_total_relation_size(relid)), 0) "
                "FROM pg_partition_tree(CAST(:name AS regclass))"
            )
            return sum(
                int(connection.execute(of_table, {"name": name}).scalar_one())
                for name in metadata.tables
            )
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        return int(pages) * int(connection.execute(text("PRAGMA page_size")).scalar_one())


def main() -> int:
    """Ask, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="where the ledger lies: sqlite:///large.db")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is asked")
    parser.add_argument("--rollups-only", action="store_true", help="leave the calls unread")
    given = parser.parse_args()
    engine = open_engine(given.url)
    folding, folded = timed(lambda: rollups.fold(engine))
    with engine.connect() as connection:
        calls, last_us = connection.execute(
            select(func.count(), func.max(usage_events.c.started_us))
        ).one()
    print(f"{calls:,} calls, {size_of(engine) / max(calls, 1):.0f} bytes a call, all included")
    if folded:
        print(f"folded {folded:,} records in {folding / 1000:.1f} s: "
              f"{folding * 1000 / folded:.1f} µs each")  # fmt: skip
    end = datetime.fromtimestamp(last_us / 1e6, UTC).replace(hour=0, minute=0, second=0,
                                                             microsecond=0)  # fmt: skip
    quarter = microseconds_of(end - timedelta(days=90))
    month = microseconds_of(end.replace(day=1))
    until = microseconds_of(end + timedelta(days=1))
    questions: dict[str, dict[str, Any]] = {
        "spend by model and day, 90 days": {"by": ["day", "model"], "since_us": quarter},
        "the same in Asia/Shanghai": {
            "by": ["day", "model"], "since_us": quarter, "tz": "Asia/Shanghai",
        },
        "users of this month": {"by": ["subject"], "since_us": month, "until_us": until},
        "one user's models, 90 days": {
            "by": ["model"], "since_us": quarter, "filters": {"subject": "alice"},
        },
        "spend by team and day, 90 days": {"by": ["tag:team", "day"], "since_us": quarter},
        "everything": {"by": []},
    }  # fmt: skip
    print(f"{'question':36}{'median':>10}{'least':>10}{'most':>10}{'from calls':>12}  rows")
    for name, question in questions.items():
        took = [timed(lambda q=question: usage(engine, **q)) for _ in range(given.rounds)]
        slow, expected = float("nan"), took[0][1]
        if not given.rollups_only:
            slow, expected = timed(lambda q=question: usage(engine, **q, rollups=False))
        times = [each for each, _ in took]
        if any(answer != expected for _, answer in took):
            print(f"{name}: the rollup and the calls do not agree")
            return 1
        print(f"{name:36}{statistics.median(times):8.0f} ms{min(times):7.0f} ms{max(times):7.0f} ms"
              f"{slow:9.0f} ms  {len(expected)}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
