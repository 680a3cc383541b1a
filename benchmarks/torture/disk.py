"""Fill the disk that the ledger lies on while calls are made, and make room again.

A part of `faults`. The disk is a small file system in memory, which only root can mount: of SQLite
it has the ledger and the gateway's spool, of PostgreSQL the server's whole cluster. The server's
tables cannot grow then, or its log cannot, at which it crashes and does not come up again until
there is room. Beside the gateway a process calls with the library, which notes what the ledger
cannot take in a spool on another disk.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psycopg

from benchmarks.torture.judging import PATIENCE_S, STORE_S, Stage, Sums
from benchmarks.torture.stage import (
    MESSAGES,
    MODEL,
    Gateways,
    NewLedger,
    Provider,
    Wish,
    a_folder,
    postgres_ledger,
    recorded,
    sqlite_ledger,
)
from meter.attribution import attribute
from meter.core.call import Basis
from meter.meter import Meter
from tests.postgres import PostgresServer, account, running_server

SQLITE_MB = 6
CLUSTER_MB = 160
"""An empty cluster takes half of it; the server's log may take 32 MB."""


@contextmanager
def a_small_disk(megabytes: int, owner: int) -> Iterator[Path | None]:
    """Yield a file system of that size which is gone afterwards, None where none can be mounted."""
    with a_folder() as folder:
        # Who owns the file system must get to it.
        folder.chmod(0o755)
        small = folder / "small"
        small.mkdir()
        options = f"size={megabytes}m,uid={owner},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(small)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            yield None
            return
        try:
            yield small
        finally:
            subprocess.run(["umount", "-l", str(small)], check=False)


def disk(sums: Sums, calls: int, *, is_sqlite: bool) -> None:
    """Make so many calls while the ledger's disk is full, some before and some after."""
    owner = None if is_sqlite else account()
    size = SQLITE_MB if is_sqlite else CLUSTER_MB
    with a_small_disk(size, owner.pw_uid if owner else os.geteuid()) as small:
        if small is None:
            sums.figures["disk"] = "not tried: only root may mount a small disk"
        elif is_sqlite:
            _play(sums, calls, small, lambda _: sqlite_ledger(small), small / "meter.spool", None)
        else:
            with running_server(cluster=small, max_wal_size="32MB", min_wal_size="32MB") as server:
                _play(sums, calls, small, partial(postgres_ledger, server), None, server)


def _play(
    sums: Sums,
    calls: int,
    small: Path,
    new_ledger: NewLedger,
    spool: Path | None,
    server: PostgresServer | None,
) -> None:
    with a_folder() as folder, new_ledger(folder) as ledger, Provider() as provider:
        gateways = Gateways(
            ledger, provider.url, workers=1, spool_path=spool, store_seconds=STORE_S
        )
        with gateways, Library(ledger, provider, folder) as library:
            stage = Stage("disk", ledger, provider, gateways, sums)
            _fill_and_make_room(stage, library, calls, small, server)
        library.judge(sums, stage)


def _fill_and_make_room(
    stage: Stage, library: "Library", calls: int, small: Path, server: PostgresServer | None
) -> None:
    sums, key = stage.sums, stage.key("disk", limit_nanos=10**9)
    stage.load(key, iter([Wish()] * 20), 4)
    library.load(20)
    slow = threading.Thread(
        target=stage.load, args=(key, iter([Wish("stream", delay_ms=300)] * 8), 8)
    )
    slow.start()
    time.sleep(1)  # they are in flight now
    filler = small / "filler"
    _fill(filler)
    full = len(stage.got)
    for begins in (True, False):
        stage.load(key, iter([Wish(), Wish("stream")] * (calls // 4)), 8)
        library.load(20)
        if server is not None and begins:
            sums.figures["disk: the server crashed when its log could not grow"] = _crash(server)
    slow.join()
    refused = [got for got in stage.got[full:] if got.status == 503]
    sums.require(bool(refused), "disk: it was never full")
    silent = [got.marker for got in refused if "ledger is not available" not in got.sentence]
    sums.require(not silent, f"disk: {len(silent)} calls were refused without a sentence")
    spooled = library.spooled_bytes()
    sums.require(spooled > 0, "disk: the library had to spool nothing")
    filler.unlink()
    if server is not None:
        server.wait_until_ready()
    _until(lambda: stage.gateways.is_ready())
    # The first records with room bring along what waits in the spools.
    until_s = time.monotonic() + PATIENCE_S
    while (stage.gateways.spools() or library.spooled_bytes()) and time.monotonic() < until_s:
        stage.load(key, iter([Wish()] * 2), 2)
        library.load(2)
        time.sleep(0.5)
    sums.require(not library.spooled_bytes(), "disk: the library's spool was not replayed")
    sums.require(not stage.gateways.spools(), "disk: the gateway's spool was not replayed")
    room = len(stage.got)
    stage.load(key, iter([Wish()] * 20), 4)
    library.load(20)
    after = [got.status for got in stage.got[room:]]
    sums.require(after.count(200) == 20, f"disk: with room again, found {after}")
    stage.judge()
    sums.figures["disk: gateway: calls while it was full, and of these refused with 503"] = (
        room - full, len(refused),
    )  # fmt: skip
    sums.figures["disk: library: calls, and bytes spooled while it was full"] = (
        library.calls, spooled,
    )  # fmt: skip


class Library:
    """A process that calls with the library; its spool lies on a disk with room."""

    def __init__(self, ledger: str, provider: Provider, folder: Path) -> None:
        """Call that provider; whatever happens to the ledger, every call must be answered."""
        self.calls = 0
        self._folder = folder / "library"
        self._folder.mkdir()
        self._provider = provider
        self._meter = Meter(
            ledger,
            hosts={provider.url.removeprefix("http://"): "openai"},
            spool_path=str(self._folder / "meter.spool"),
            store_seconds=STORE_S,
        )
        self._client = httpx.Client(transport=self._meter.transport(), timeout=PATIENCE_S)

    def __enter__(self) -> "Library":
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, and let go of the ledger."""
        self._client.close()
        self._meter.close()

    def load(self, calls: int) -> None:
        """Make so many calls, one after the other."""
        for _ in range(calls):
            self.calls += 1
            marker = f"library.{self.calls}"
            headers = {"x-marker": marker, "x-torture": Wish().header, "authorization": "Bearer k"}
            body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 20}
            with attribute("library", marker=marker):
                url = f"{self._provider.url}/v1/chat/completions"
                self._client.post(url, json=body, headers=headers).raise_for_status()

    def spooled_bytes(self) -> int:
        """Return how much waits in the spool."""
        return sum(path.stat().st_size for path in self._folder.glob("meter.spool*")
                   if path.suffix != ".lock")  # fmt: skip

    def judge(self, sums: Sums, stage: Stage) -> None:
        """Compare what was called with the records: each call has one, settled as reported."""
        rows = [row for row in recorded(stage.ledger).values() if row.subject == "library"]
        told = {dict(row.tags)["marker"] for row in rows
                if row.state == "settled" and row.basis is Basis.REPORTED}  # fmt: skip
        sums.require(
            len(rows) == len(told) == self.calls,
            f"disk: the library's {self.calls} calls have {len(rows)} records, {len(told)} settled",
        )


def _crash(server: PostgresServer) -> bool:
    """Ask the server for new files of its log until it has no room for one; whether it crashed."""
    for _ in range(20):
        try:
            with server.connect() as connection:
                connection.execute("SELECT txid_current()")
                connection.execute("SELECT pg_switch_wal()")
        except psycopg.OperationalError:
            return "PANIC" in server.log()
    return False


def _until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < until_s:
        time.sleep(0.1)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
