"""Kill the gateway with SIGKILL at a random instant, again and again, and look for lost calls.

    python -m benchmarks.torture.kill9 --rounds 200 --database postgresql

In each round 64 clients call through two workers: whole answers and streams, some of which fail,
break off, or are left by their client. All processes of the gateway are killed at once. It is
started again, and then:

- every call whose complete answer reached its client has a settled record with reported usage;
- every call that reached the provider, by the provider's own books, has a record of some kind, and
  not more of them than came there;
- no call of the killed processes is still in flight, and nothing is held for one;
- `meter check` finds nothing.
"""

import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.torture.stage import (
    Gateways,
    Got,
    NewLedger,
    Provider,
    Wish,
    a_folder,
    a_key,
    ask,
    clients,
    findings,
    ledgers,
    markers_of,
    options,
    recorded,
    run,
    show,
)
from meter.clock import now_us
from meter.core.call import Basis
from meter.meter import Meter

WISHES = (
    *[Wish("whole")] * 8,
    *[Wish("whole", delay_ms=40)] * 4,
    *[Wish("stream", delay_ms=4)] * 8,
    *[Wish("stream", delay_ms=60)] * 2,
    Wish("stream", delay_ms=30, leaves_after_bytes=400),
    Wish("fail"),
    Wish("reset"),
    Wish("cut", delay_ms=4),
    Wish("half"),
)
LONGEST_S = 1.5
WARM_UP = 8
ROUNDS_A_LEDGER = 20
"""The check reads the whole ledger: a new one every so often keeps a long run linear."""


@dataclass
class Sums:
    """What all rounds together came to."""

    rounds: int = 0
    asked: int = 0
    answered: int = 0
    reached: int = 0
    unsettled: int = 0
    answered_not_settled: int = 0
    reached_not_recorded: int = 0
    recorded_twice: int = 0
    left_in_flight: int = 0
    left_held: int = 0
    findings: int = 0
    broken: list[str] = field(default_factory=list)


async def _load(url: str, key: str, prefix: str, kill: asyncio.Event,
                number: int, random_of: random.Random) -> list[Got]:  # fmt: skip
    """Let clients call until the gateway is killed; return what each call got."""
    got: list[Got] = []

    async def client(place: int) -> None:
        for turn in range(1_000_000):
            if kill.is_set():
                return
            marker = f"{prefix}.{place}.{turn}"
            got.append(await ask(session, url, key, marker, random_of.choice(WISHES)))

    async with clients() as session:
        await asyncio.gather(*(client(place) for place in range(number)))
    return got


async def one_round(
    gateways: Gateways, key: str, prefix: str, number: int, random_of: random.Random
) -> list[Got]:
    """Load the gateways, kill them, and return what the clients got."""
    kill = asyncio.Event()
    wait_s = random_of.uniform(0.05, LONGEST_S)
    warm = await _warm(gateways.url, key, prefix)
    load = asyncio.create_task(_load(gateways.url, key, prefix, kill, number, random_of))
    await asyncio.sleep(wait_s)
    kill.set()
    gateways.kill()
    return [*warm, *await load]


async def _warm(url: str, key: str, prefix: str) -> list[Got]:
    """Make a few calls, so that the workers have loaded what they load with the first."""
    async with clients() as session:
        names = [f"{prefix}.warm.{place}" for place in range(WARM_UP)]
        return await asyncio.gather(*(ask(session, url, key, n, Wish("whole")) for n in names))


def judge(sums: Sums, ledger: str, provider: Provider, got: list[Got], prefix: str,
          since_us: int) -> None:  # fmt: skip
    """Compare what clients got and the provider's books with the ledger, after the restart."""
    rows = recorded(ledger, since_us)
    books = provider.books().arrived
    arrived = {name: times for name, times in books.items() if name.startswith(f"{prefix}.")}
    found = markers_of(rows)
    served = [each for each in got if each.is_served]
    sums.rounds += 1
    sums.asked += len(got)
    sums.answered += len(served)
    sums.reached += len(arrived)
    sums.unsettled += sum(row.state == "unsettled" for row in rows.values())
    for each in served:
        row = rows.get(each.call_id) if each.call_id is not None else None
        if row is None or row.state != "settled" or row.basis is not Basis.REPORTED:
            sums.answered_not_settled += 1
            sums.broken.append(f"{each.marker} was answered, its record is {row}")
    for marker, times in arrived.items():
        if not found[marker]:
            sums.reached_not_recorded += 1
            sums.broken.append(f"{marker} reached the provider and has no record")
        elif found[marker] > times:
            sums.recorded_twice += 1
            sums.broken.append(f"{marker} reached it {times} times, has {found[marker]} records")
    free = sum(r.status == 200 and r.state == "settled" and not r.cost_nanos for r in rows.values())
    if free:
        sums.broken.append(f"{free} calls began to be answered and cost nothing")
    flying = sum(row.state == "in_flight" for row in rows.values())
    if flying:
        sums.left_in_flight += flying
        sums.broken.append(f"{flying} calls of the killed processes are still in flight")
    with Meter(ledger, read_only=True) as meter:
        held = sum(row.standing.held for row in meter.budgets())
    if held:
        sums.left_held += held
        sums.broken.append(f"{held} nanos are held for nobody")
    for sentence in findings(ledger):
        sums.findings += 1
        sums.broken.append(sentence)


def attack(new_ledger: NewLedger, folder: Path, *, rounds: int, number: int, seed: int) -> Sums:
    """Run that many rounds with so many clients; return what they came to."""
    sums, random_of = Sums(), random.Random(seed)
    with Provider() as provider:
        while sums.rounds < rounds:
            part = folder / str(sums.rounds)
            part.mkdir()
            with new_ledger(part) as ledger:
                _some_rounds(sums, rounds, ledger, provider, number, random_of)
            told = f"{sums.rounds} rounds, {sums.answered} answered, {len(sums.broken)} broken"
            print(told, file=sys.stderr, flush=True)
    return sums


def _some_rounds(sums: Sums, rounds: int, ledger: str, provider: Provider, number: int,
                 random_of: random.Random) -> None:  # fmt: skip
    key = a_key(ledger, "alice")
    with Meter(ledger) as meter:
        # It refuses nobody: what it holds for a killed call has to come back.
        meter.set_budget("alice", subject="alice", limit="1000", window="total")
    with Gateways(ledger, provider.url, workers=2, key_cache_seconds=1) as gateways:
        for _ in range(min(ROUNDS_A_LEDGER, rounds - sums.rounds)):
            prefix, since_us = f"r{sums.rounds}", now_us()
            got = run(one_round(gateways, key, prefix, number, random_of))
            gateways.start()
            judge(sums, ledger, provider, got, prefix, since_us)


def main(arguments: list[str]) -> int:
    """Attack and print; return 1 when a promise was broken."""
    given = options(__doc__, rounds=20, clients=64, seed=1).parse_args(arguments)
    begun_s = time.monotonic()
    with a_folder() as folder, ledgers(given.database) as new_ledger:
        sums = attack(
            new_ledger, folder, rounds=given.rounds, number=given.clients, seed=given.seed
        )
    figures = {
        "rounds": sums.rounds,
        "calls asked": sums.asked,
        "complete answers that reached a client": sums.answered,
        "of these without a settled record": sums.answered_not_settled,
        "calls that reached the provider": sums.reached,
        "of these without any record": sums.reached_not_recorded,
        "unsettled, listed with their estimate": sums.unsettled,
        "calls with more records than came to the provider": sums.recorded_twice,
        "calls of killed processes still in flight": sums.left_in_flight,
        "nanos held for nobody": sums.left_held,
        "findings of meter check": sums.findings,
        "seconds": round(time.monotonic() - begun_s),
    }
    return show(f"kill -9 on {given.database}", figures, sums.broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
