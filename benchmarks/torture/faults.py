"""Let everything around the gateway fail, and look what is lost, doubled, hanging or growing.

    python -m benchmarks.torture.faults --database postgresql

    cuts     the upstream breaks off after every byte of a recorded stream, by an end or a reset
    storms   resets, cut bodies, 429, 500, silence, and streams that never end, all at once
    loris    clients that send or take one byte at a time or nothing, and an upstream that trickles
    disk     the ledger's disk is full, and then it is not (SQLite)
    away     PostgreSQL is killed with SIGKILL under load and comes back; SQLite is locked by
             another process for as long as --seconds says

After each: every answer that a client got whole is settled as reported, every call that reached the
provider has a record, nothing is held for calls that have ended, `meter check` finds nothing.
"""

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from benchmarks.torture.stage import (
    Gateways,
    Got,
    NewLedger,
    Provider,
    Wish,
    a_folder,
    ask,
    bound_of,
    clients,
    findings,
    ledgers,
    markers_of,
    options,
    recorded,
    run,
    show,
)
from benchmarks.torture.upstream import stream_bytes
from meter.core.call import Basis
from meter.core.money import nanos_to_text
from meter.meter import Meter
from tests.postgres import PostgresServer

PARTS = ("cuts", "storms", "loris", "disk", "away")
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
        arrived = {m for m in self.provider.books().arrived if m.startswith(f"{name}.")}
        for each in served:
            row = rows.get(each.call_id) if each.call_id else None
            sums.require(
                row is not None and row.state == "settled" and row.basis is Basis.REPORTED,
                f"{name}: {each.marker} was answered, its record is {row}",
            )
        for marker in arrived - markers_of(rows):
            sums.broken.append(f"{name}: {marker} reached the provider and has no record")
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

    def _ended(self) -> dict[object, object]:
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


def cuts(sums: Sums, new_ledger: NewLedger, every: int) -> None:
    """Break off after every byte of a stream, head and chunk frames included."""
    wish = Wish("cutat", input_tokens=100, output_tokens=6)
    length = len(stream_bytes(wish.input_tokens, wish.output_tokens, "cuts.10000"))
    wishes = (replace(wish, cut_at=place) for place in range(0, length + 1, every))
    with a_stage("cuts", sums, new_ledger) as stage:
        stage.load(stage.key("cuts", limit_nanos=10**9), iter(list(wishes)), 16)
        stage.judge()
        most = max(r.cost_nanos or 0 for r in recorded(stage.ledger).values())
        # 100 input tokens at 0.15 and 6 output tokens at 0.60 USD a million.
        sums.require(most <= 100 * 150 + 6 * 600, f"cuts: a call cost {most} nanos")


def storms(sums: Sums, new_ledger: NewLedger, calls: int) -> None:
    """Let most of what a provider can do wrong happen at once."""
    bad = [Wish(mode) for mode in ("reset", "half", "fail", "busy", "cut")]
    bad += [Wish("endless", delay_ms=20, leaves_after_bytes=20_000), Wish("twice"), Wish("stall")]
    good = [Wish("whole"), Wish("stream", delay_ms=2)]
    chosen = random.Random(1)
    wishes = iter([chosen.choice([*bad, *good]) for _ in range(calls)])
    with a_stage("storms", sums, new_ledger) as stage:
        key = stage.key("storms", limit_nanos=10**9)
        stage.load(key, iter([Wish("half"), Wish("cut")] * 32), 32)
        before = _memory_mb(stage.gateways)
        stage.load(key, wishes, 32)
        stage.judge()
        sums.figures["storms: memory of the gateway, MB before and after"] = (
            before, _memory_mb(stage.gateways),
        )  # fmt: skip


def loris(sums: Sums, new_ledger: NewLedger, number: int) -> None:
    """Be slow on either side; others are served meanwhile."""
    with a_stage("loris", sums, new_ledger) as stage:
        key = stage.key("loris", limit_nanos=10**9)
        port = int(stage.gateways.url.rpartition(":")[2])
        ends: list[float] = []
        threads = [
            threading.Thread(target=_slow_client, args=(kind, port, key, ends))
            for kind in ("head", "body", "silent") for _ in range(number)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        wishes = iter([Wish("trickle"), Wish("whole"), Wish("stream")] * 20)
        stage.load(key, wishes, 12)
        for thread in threads:
            thread.join(PATIENCE_S)
        sums.require(
            len(ends) == len(threads), f"loris: {len(threads) - len(ends)} clients hang on"
        )
        stage.judge()
        sums.figures["loris: slow clients, the longest was served for s"] = (
            len(ends), round(max(ends, default=0.0), 1),
        )  # fmt: skip


def _slow_client(kind: str, port: int, key: str, ends: list[float]) -> None:
    """Send a head or a body a byte at a time, or nothing at all, until the gateway ends it."""
    begun_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n"
        pieces = head if kind == "head" else ""
        if kind == "body":
            connection.sendall(f"{head}content-length: 1000\r\n\r\n".encode())
            pieces = "{" + " " * 998
        try:
            for piece in pieces:
                connection.sendall(piece.encode())
                connection.settimeout(CLIENT_S * 1.5)
                try:
                    if connection.recv(1) == b"" or kind:
                        break
                except TimeoutError:
                    continue
            connection.settimeout(PATIENCE_S)
            while connection.recv(65_536):
                pass
        except ConnectionError:
            pass  # so the gateway ends it
        except TimeoutError:
            return
    ends.append(time.monotonic() - begun_s)


def disk(sums: Sums, new_ledger: NewLedger) -> None:
    """Fill the ledger's disk, call, make room, call again."""
    if os.geteuid() != 0:
        sums.figures["disk"] = "not tried: only root may mount a small disk"
        return
    with a_folder() as folder:
        small = folder / "small"
        small.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)], capture_output=True
        )
        if mounted.returncode != 0:
            sums.figures["disk"] = "not tried: no small disk could be mounted"
            return
        try:
            _on_a_full_disk(sums, new_ledger, small)
        finally:
            subprocess.run(["umount", "-l", str(small)], check=False)


def _on_a_full_disk(sums: Sums, new_ledger: NewLedger, small: Path) -> None:
    with new_ledger(small) as ledger, Provider() as provider, a_folder() as folder:
        config = folder / "meter.toml"
        config.write_text(f'[upstreams.openai]\nbase_url = "{provider.url}/v1"\n')
        gateways = Gateways(ledger, None, workers=1, config=config,
                            spool_path=small / "meter.spool", store_seconds=STORE_S)  # fmt: skip
        with gateways:
            stage = Stage("disk", ledger, provider, gateways, sums)
            key = stage.key("disk", limit_nanos=10**9)
            stage.load(key, iter([Wish()] * 20), 4)
            filler = small / "filler"
            _fill(filler)
            full = len(stage.got)
            stage.load(key, iter([Wish(), Wish("stream")] * 300), 8)
            refused = sum(got.status == 503 for got in stage.got[full:])
            sums.require(refused > 0, "disk: it was never full")
            filler.unlink()
            room = len(stage.got)
            stage.load(key, iter([Wish()] * 20), 4)
            after = [got.status for got in stage.got[room:]]
            sums.require(after.count(200) == 20, f"disk: with room again, found {after}")
            stage.judge()
            sums.figures["disk: refused with 503 while it was full"] = refused


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def away(sums: Sums, new_ledger: NewLedger, seconds: float, clients_number: int) -> None:
    """Take the ledger away under load, and bring it back."""
    with a_stage("away", sums, new_ledger) as stage:
        _, bound_nanos = bound_of(Wish())
        # Half of the load can be paid, so that the budget is full when it counts.
        key = stage.key("away", limit_nanos=400 * bound_nanos)
        other = stage.key("free")
        kinds = [Wish("whole", delay_ms=20), Wish("stream", delay_ms=20),
                 Wish("stream", delay_ms=150)]  # fmt: skip
        chosen = random.Random(1)

        def wishes() -> Iterator[Wish]:
            while True:
                yield chosen.choice(kinds)

        taking = threading.Thread(target=_take_away, args=(stage.ledger, seconds))
        taking.start()
        stage.load(key, wishes(), clients_number, seconds + 6)
        taking.join()
        # The first records after it bring along what waits in the spool of each worker.
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s and (
            stage.gateways.spools() or not stage.gateways.is_ready()
        ):
            stage.load(other, iter([Wish()] * 8), 8)
        stage.judge()


def _take_away(ledger: str, seconds: float) -> None:
    time.sleep(2)
    if ledger.startswith("sqlite"):
        path = ledger.removeprefix("sqlite:///")
        script = (
            "import sys, time\n"
            "from meter.store.engine import sqlite_module\n"
            "c = sqlite_module().connect(sys.argv[1], isolation_level=None, timeout=30)\n"
            "c.execute('BEGIN IMMEDIATE'); time.sleep(float(sys.argv[2])); c.execute('ROLLBACK')\n"
        )
        subprocess.run([sys.executable, "-c", script, path, str(seconds)], check=True)
        return
    server = PostgresServer.at(ledger)
    for _ in range(max(1, int(seconds // 10))):
        server.kill()
        server.wait_until_ready()
        time.sleep(min(seconds, 8))


def _memory_mb(gateways: Gateways) -> int:
    kib = 0
    for pid in gateways.pids():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                kib += int(line.split()[1])
    return kib // 1024


def attack(new_ledger: NewLedger, parts: Sequence[str], *, every: int, calls: int,
           seconds: float, number: int, is_sqlite: bool) -> Sums:  # fmt: skip
    """Play those parts; return what was seen."""
    sums = Sums()
    if "cuts" in parts:
        cuts(sums, new_ledger, every)
    if "storms" in parts:
        storms(sums, new_ledger, calls)
    if "loris" in parts:
        loris(sums, new_ledger, 5)
    if "disk" in parts and is_sqlite:
        disk(sums, new_ledger)
    if "away" in parts:
        away(sums, new_ledger, seconds, number)
    return sums


def main(arguments: list[str]) -> int:
    """Attack and print; return 1 when something was lost, doubled, hanging or growing."""
    parser = options(__doc__, every=1, calls=400, seconds=30.0, clients=32)
    parser.add_argument("--parts", default=",".join(PARTS), help="which, with commas")
    given = parser.parse_args(arguments)
    begun_s = time.monotonic()
    with ledgers(given.database) as new_ledger:
        sums = attack(
            new_ledger, given.parts.split(","), every=given.every, calls=given.calls,
            seconds=given.seconds, number=given.clients, is_sqlite=given.database == "sqlite",
        )  # fmt: skip
    sums.figures["seconds"] = round(time.monotonic() - begun_s)
    return show(f"faults on {given.database}", sums.figures, sums.broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
