"""Keep a steady load for an hour, and look whether anything grows or slows.

    python -m benchmarks.torture.soak --minutes 60 --database postgresql

Calls come at a steady rate, whole and streamed, some failing, some left by their client. Once in a
while the memory and the open files of all gateway processes and the latency of the calls since are
noted. The last third of the run is then compared with the second, because the first third fills
what is meant to be filled: `MAY_GROW` says how much more there may be. Every call that reached the
provider has a record, and every whole answer a settled one.
"""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks.torture.stage import (
    Gateways,
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

MAY_GROW = {
    "memory_mb": (1.05, 8.0),
    "files": (1.0, 8.0),
    "latency_ms_p50": (1.2, 25.0),
    "latency_ms_p95": (1.2, 200.0),
}
"""By what factor each may grow, and by how much on top: allocators keep what they had, open files
come and go with the calls, and machines are busy."""
NOTES = 30
WISHES = (
    *[Wish("whole", delay_ms=5)] * 6,
    *[Wish("stream", delay_ms=2)] * 6,
    Wish("fail"),
    Wish("cut"),
    Wish("stream", delay_ms=5, leaves_after_bytes=300),
)


@dataclass(frozen=True)
class Note:
    """What was seen at one moment."""

    memory_mb: float
    files: int
    latency_ms_p50: float
    latency_ms_p95: float


@dataclass
class Sums:
    """What the run came to."""

    notes: list[Note] = field(default_factory=list)
    calls: int = 0
    served: int = 0
    broken: list[str] = field(default_factory=list)


async def _load(sums: Sums, gateways: Gateways, key: str, rate: float, seconds: float) -> None:
    """Make calls at that rate; note what is seen, so many times."""
    chosen, latencies = random.Random(1), [0.0]
    begun_s, pending = time.monotonic(), set[asyncio.Task[None]]()
    async with clients() as session:
        while (passed_s := time.monotonic() - begun_s) < seconds:
            await asyncio.sleep(max(0.0, sums.calls / rate - passed_s))
            wish = chosen.choice(WISHES)
            one = _one(sums, session, gateways.url, key, sums.calls, wish, latencies)
            task = asyncio.create_task(one)
            pending.add(task)
            task.add_done_callback(pending.discard)
            sums.calls += 1
            if passed_s > (len(sums.notes) + 1) * seconds / NOTES:
                sums.notes.append(_note(gateways, latencies))
                latencies.clear()
                latencies.append(0.0)
        if pending:
            await asyncio.wait(pending)


async def _one(sums: Sums, session: aiohttp.ClientSession, url: str, key: str, number: int,
               wish: Wish, latencies: list[float]) -> None:  # fmt: skip
    begun_s = time.monotonic()
    got = await ask(session, url, key, f"soak.{number}", wish)
    sums.served += got.is_served
    if wish.mode == "whole":
        latencies.append((time.monotonic() - begun_s) * 1000)


def _note(gateways: Gateways, latencies: Sequence[float]) -> Note:
    memory_kib = files = 0
    for pid in gateways.pids():
        status = Path(f"/proc/{pid}/status").read_text()
        memory_kib += int(status.partition("VmRSS:")[2].split()[0])
        files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    ordered = sorted(latencies)
    return Note(
        memory_kib / 1024, files, statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    )


def judge(sums: Sums) -> dict[str, object]:
    """Compare the last third with the one before it; return the figures."""
    third = len(sums.notes) // 3
    second, last = sums.notes[third : 2 * third], sums.notes[2 * third :]
    figures: dict[str, object] = {}
    for name, (factor, spare) in MAY_GROW.items():
        before = statistics.median(getattr(note, name) for note in second)
        after = statistics.median(getattr(note, name) for note in last)
        figures[f"{name}, second and last third"] = (round(before, 1), round(after, 1))
        if after > before * factor + spare:
            sums.broken.append(f"{name} grew from {before:.1f} to {after:.1f}")
    return figures


def attack(new_ledger: NewLedger, *, minutes: float, rate: float) -> tuple[Sums, dict[str, object]]:
    """Keep the load for so long; return what was seen, and the figures."""
    sums = Sums()
    with a_folder() as folder, new_ledger(folder) as ledger, Provider() as provider:
        key = a_key(ledger, "soak")
        with Gateways(ledger, provider.url, workers=2) as gateways:
            run(_load(sums, gateways, key, rate, minutes * 60))
        figures = judge(sums)
        rows = recorded(ledger)
        figures |= {"calls": sums.calls, "served whole": sums.served, "records": len(rows)}
        missing = provider.books().arrived.keys() - markers_of(rows).keys()
        if missing:
            sums.broken.append(f"{len(missing)} calls reached the provider and have no record")
        settled = sum(row.state == "settled" for row in rows.values())
        if settled < sums.served:
            sums.broken.append(f"{sums.served} whole answers, {settled} settled records")
        sums.broken += findings(ledger)
    return sums, figures


def main(arguments: list[str]) -> int:
    """Soak and print; return 1 when something grew or was lost."""
    given = options(__doc__, minutes=5.0, rate=20.0).parse_args(arguments)
    with ledgers(given.database) as new_ledger:
        sums, figures = attack(new_ledger, minutes=given.minutes, rate=given.rate)
    title = (
        f"soak on {given.database} for {given.minutes:g} minutes at {given.rate:g} calls a second"
    )
    return show(title, figures, sums.broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
