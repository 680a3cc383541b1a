"""Judge an attack: what clients got and what the provider's books say, beside the ledger.

Used by `faults` and `disk`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

from benchmarks.torture.stage import (
    Gateways,
    Got,
    NewLedger,
    Provider,
    Wish,
    a_folder,
    ask,
    clients,
    findings,
    markers_of,
    recorded,
    run,
)
from meter.core.call import Basis
from meter.core.money import nanos_to_text
from meter.meter import Meter
from meter.store.reads import CallRow

UPSTREAM_S = 2
CLIENT_S = 2
STORE_S = 10
PATIENCE_S = 60.0
"""No call may take longer: longer than all bounds of the gateway together."""


@dataclass
class Sums:
    """What was seen, and what was broken."""

    figures: dict[str, object] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def require(self, holds: bool, sentence: str) -> None:
        """Note a sentence unless it holds that it should not be true."""
        if not holds:
            self.broken.append(sentence)


@dataclass
class Stage:
    """One ledger with gateways and a provider, and what clients got from them."""

    name: str
    ledger: str
    provider: Provider
    gateways: Gateways
    sums: Sums
    got: list[Got] = field(default_factory=list)
    slowest_s: float = 0.0
    numbers: Iterator[int] = field(default_factory=lambda: count(10_000))

    def key(self, subject: str, limit_nanos: int | None = None) -> str:
        """Return a new key, with a budget where a limit is given."""
        with Meter(self.ledger) as meter:
            if limit_nanos is not None:
                limit = nanos_to_text(limit_nanos)
                meter.set_budget(subject, subject=subject, limit=limit, window="total")
            return meter.keys.create(subject, may_name_users=True).secret

    def load(self, key: str, wishes: Iterator[Wish], number: int, seconds: float | None = None,
             ) -> None:  # fmt: skip
        """Let so many clients make calls until the wishes end, or the time."""
        run(self._load(key, wishes, number, seconds))

    async def _load(self, key: str, wishes: Iterator[Wish], number: int, seconds: float | None
                    ) -> None:  # fmt: skip
        until_s = time.monotonic() + (seconds or 3600)

        async def client() -> None:
            for wish in wishes:
                if time.monotonic() > until_s:
                    return
                begun_s = time.monotonic()
                marker = f"{self.name}.{next(self.numbers)}"
                got = await ask(session, self.gateways.url, key, marker, wish)
                self.slowest_s = max(self.slowest_s, time.monotonic() - begun_s)
                self.got.append(got)

        async with clients(PATIENCE_S) as session:
            await asyncio.gather(*(client() for _ in range(number)))

    def judge(self) -> None:
        """Compare what clients got and the provider's books with the ledger."""
        sums, name = self.sums, self.name
        rows = self._ended()
        served = [each for each in self.got if each.is_served]
        books = self.provider.books().arrived
        arrived = {marker: n for marker, n in books.items() if marker.startswith(f"{name}.")}
        for each in served:
            row = rows.get(each.call_id) if each.call_id else None
            sums.require(
                row is not None and row.state == "settled" and row.basis is Basis.REPORTED,
                f"{name}: {each.marker} was answered, its record is {row}",
            )
        sent = markers_of(rows)
        for marker, times in arrived.items():
            sums.require(
                sent[marker] == times,
                f"{name}: {marker} reached the provider {times} times, has {sent[marker]} records",
            )
        free = sum(
            row.status == 200 and row.state == "settled" and not row.cost_nanos
            for row in rows.values()
        )
        sums.require(free == 0, f"{name}: {free} calls began to be answered and cost nothing")
        left_open = sum(row.state == "in_flight" for row in rows.values())
        sums.require(left_open == 0, f"{name}: {left_open} calls are still in flight")
        sums.require(self.slowest_s < PATIENCE_S, f"{name}: a call took {self.slowest_s:.1f} s")
        with Meter(self.ledger) as meter:
            for row in meter.budgets():
                held, over = row.standing.held, row.overrun
                sums.require(held == 0, f"{name}: {held} held in {row.budget.id} for nobody")
                sums.require(over == 0, f"{name}: {row.budget.id} is overspent by {over}")
        sums.broken += [f"{name}: {sentence}" for sentence in findings(self.ledger)]
        sums.figures[name] = {
            "calls": len(self.got),
            "statuses": dict(sorted(Counter(str(g.status) for g in self.got).items())),
            "reached the provider": len(arrived),
            "answered whole": len(served),
            "bases": dict(Counter(str(row.basis) for row in rows.values())),
            "slowest s": round(self.slowest_s, 1),
        }

    def _ended(self) -> dict[UUID, CallRow]:
        """Return the calls once none is in flight, or after a while."""
        until_s = time.monotonic() + 30
        while True:
            rows = recorded(self.ledger)
            if time.monotonic() > until_s:
                return rows
            if not any(row.state == "in_flight" for row in rows.values()):
                return rows
            time.sleep(0.1)


@contextmanager
def a_stage(name: str, sums: Sums, new_ledger: NewLedger, **settings: object) -> Iterator[Stage]:
    """Yield a stage of its own."""
    with a_folder() as folder, new_ledger(folder) as ledger, Provider() as provider:
        config = folder / "meter.toml"
        config.write_text(
            f'[upstreams.openai]\nbase_url = "{provider.url}/v1"\nseconds = {UPSTREAM_S}\n'
        )
        gateways = Gateways(
            ledger, None, workers=2, config=config, spool_path=folder / "meter.spool",
            client_seconds=CLIENT_S, store_seconds=STORE_S, **settings,
        )  # fmt: skip
        with gateways:
            yield Stage(name, ledger, provider, gateways, sums)
