"""Measure whether settling takes longer in a large ledger than in a small one.

    .venv/bin/python benchmarks/settling.py sqlite:///small.db sqlite:///large.db

Both ledgers take the same calls in turns, one by one and 64 at once, as the store writes them:
reserved and settled, each in a transaction. Medians of the rounds, in microseconds a call; CPU is
that of this process, and on PostgreSQL not that of the server. The calls stay in the ledgers.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from typing import Any

from ledgers import events
from sqlalchemy import Engine

from meter.clock import new_id, now_us
from meter.store.encoding import event_to_row, open_call_to_row
from meter.store.engine import open_engine, write_connection
from meter.store.requests import Reserve, Settle
from meter.store.writing import write_batch

_LATE = 2**62
"""When the leases expire, microseconds UTC: never."""


def settle(engine: Engine, made: list[Any], at_once: int, known: set[int]) -> tuple[float, float]:
    """Reserve and settle the calls; return microseconds of wall time and of CPU a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(made), at_once):
        batch = made[start : start + at_once]
        reserves = [
            Reserve(e.call, open_call_to_row(e.call, e.issuer, card and card.id, "me", _LATE), card)
            for e, card in batch
        ]
        for requests in (reserves, [Settle(e, event_to_row(e), card) for e, card in batch]):
            with write_connection(engine) as connection:
                written = write_batch(connection, requests, known)
            known |= written.route_ids
    took = time.perf_counter() - wall, time.process_time() - cpu
    return took[0] * 1e6 / len(made), took[1] * 1e6 / len(made)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("small")
    parser.add_argument("large")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=256, help="in each round")
    given = parser.parse_args()
    engines = [open_engine(url) for url in (given.small, given.large)]
    known: list[set[int]] = [set(), set()]
    source = events(10_000_000, days=1, until=None, subjects=5000, seed=int(time.time()))
    figures: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for _ in range(given.rounds):
        for at_once in (1, 64):
            for place, engine in enumerate(engines):
                made = [_now(*next(source)) for _ in range(given.calls)]
                took = settle(engine, made, at_once, known[place])
                figures.setdefault((at_once, place), []).append(took)
    print(f"{'µs a call, reserved and settled':34}{'small':>10}{'large':>10}{'ratio':>8}")
    for at_once in (1, 64):
        for what, name in ((0, "wall"), (1, "CPU")):
            small, large = ([took[what] for took in figures[at_once, place]] for place in (0, 1))
            ratio = statistics.median(b / a for a, b in zip(small, large, strict=True))
            print(f"{f'{at_once} at once, {name}':34}{statistics.median(small):10.0f}"
                  f"{statistics.median(large):10.0f}{ratio:8.2f}")  # fmt: skip
    return 0


def _now(event: Any, card: Any) -> tuple[Any, Any]:
    """Return the same event as of a call that starts now."""
    identity, shift_us = new_id(), now_us() - event.call.started_us
    call = replace(
        event.call, id=identity, operation_id=identity, started_us=event.call.started_us + shift_us
    )
    first_us = event.first_byte_us and event.first_byte_us + shift_us
    moved = replace(event, call=call, ended_us=event.ended_us + shift_us, first_byte_us=first_us)
    return moved, card


if __name__ == "__main__":
    sys.exit(main())
