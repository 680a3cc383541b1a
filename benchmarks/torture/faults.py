"""Let everything around the gateway fail, and look what is lost, doubled, hanging or growing.

    python -m benchmarks.torture.faults --database postgresql

    cuts     the upstream breaks off after every byte of a recorded stream, by an end or a reset
    storms   resets, cut bodies, 429, 500, silence, and streams that never end, all at once
    loris    clients that send a byte at a time or take nothing, an upstream that trickles, and
             connections that are half-open on either side
    disk     the ledger's disk is full, and then it is not (see `disk`)
    away     PostgreSQL is killed with SIGKILL under load and comes back; SQLite is locked by
             another process for as long as --seconds says
    silence  the line to PostgreSQL carries nothing for as long as --seconds says, and is cut then

After each: every answer that a client got whole is settled as reported, every call that reached the
provider has a record, nothing is held for calls that have ended, `meter check` finds nothing.
"""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.torture.cutting import Cutting
from benchmarks.torture.disk import disk
from benchmarks.torture.judging import CLIENT_S, PATIENCE_S, Stage, Sums, a_stage
from benchmarks.torture.stage import (
    Gateways,
    NewLedger,
    Wish,
    bound_of,
    ledgers,
    options,
    recorded,
    show,
)
from benchmarks.torture.upstream import TCP_REPAIR, stream_bytes
from tests.postgres import PostgresServer

PARTS = ("cuts", "storms", "loris", "disk", "away", "silence")
MAY_GROW_MB = 32
"""Allocators keep what they had; a stream that nobody takes would fill this in a second."""
_ESTABLISHED = "01"
_LISTENS = "0A"


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
        before = memory_mb(stage.gateways)
        stage.load(key, wishes, 32)
        stage.judge()
        sums.figures["storms: memory of the gateway, MB before and after"] = (
            before, memory_mb(stage.gateways),
        )  # fmt: skip


def loris(sums: Sums, new_ledger: NewLedger, number: int) -> None:
    """Be slow on either side, or gone without a word; others are served meanwhile."""
    kinds = ["head", "body", "silent", "deaf"]
    wishes = [Wish("trickle"), Wish("whole"), Wish("stream")]
    if can_vanish():
        kinds += ["gone asking", "gone taking"]
        wishes += [Wish("gone")]
    else:
        sums.figures["loris: half-open connections"] = "not tried: only root can make them"
    with a_stage("loris", sums, new_ledger) as stage:
        key = stage.key("loris", limit_nanos=10**9)
        stage.load(key, iter(wishes * 4), 12)
        before = memory_mb(stage.gateways)
        port = int(stage.gateways.url.rpartition(":")[2])
        ends: list[float] = []
        threads = [
            threading.Thread(target=_slow_client, args=(kind, port, key, ends))
            for kind in kinds for _ in range(number)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        stage.load(key, iter(wishes * 20), 12)
        for thread in threads:
            thread.join(PATIENCE_S)
        sums.require(
            len(ends) == len(threads), f"loris: {len(threads) - len(ends)} clients hang on"
        )
        stage.judge()
        left = connections_of(stage.gateways, port)
        sums.require(left == 0, f"loris: {left} connections of clients that are gone are left")
        after = memory_mb(stage.gateways)
        sums.require(after - before < MAY_GROW_MB, f"loris: memory grew from {before} to {after}")
        sums.figures["loris: memory of the gateway, MB before and after"] = (before, after)
        sums.figures["loris: slow clients, the longest was served for s"] = (
            len(ends), round(max(ends, default=0.0), 1),
        )  # fmt: skip


def can_vanish() -> bool:
    """Return whether this process may leave connections half-open."""
    with socket.socket() as tried:
        try:
            tried.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError:
            return False
    return True


def _slow_client(kind: str, port: int, key: str, ends: list[float]) -> None:
    """Send a head or a body a byte at a time, or nothing; take nothing, or be gone.

    Notes how long it was until the gateway ended it; those that are gone cannot know.
    """
    begun_s = time.monotonic()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n"
    try:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(PATIENCE_S)
            connection.connect(("127.0.0.1", port))
            match kind:
                case "head":
                    _send_slowly(connection, head)
                case "body":
                    connection.sendall(f"{head}content-length: 1000\r\n\r\n".encode())
                    _send_slowly(connection, "{" + " " * 998)
                case "deaf":
                    connection.sendall(_endless(head))
                    _stay_deaf(connection)
                case "gone asking":
                    connection.sendall(f"{head}content-length: 1000\r\n\r\n{{".encode())
                case "gone taking":
                    connection.sendall(_endless(head))
                    connection.recv(1000)
            if kind.startswith("gone"):
                connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            else:
                while connection.recv(65_536):
                    pass
    except ConnectionError:
        pass  # so the gateway ends it
    except TimeoutError:
        return
    ends.append(time.monotonic() - begun_s)


def _stay_deaf(connection: socket.socket) -> None:
    """Take nothing until the gateway has let go of the connection. Raises: TimeoutError.

    On a busy machine a stream takes half a minute to fill what the kernel keeps for a client, and
    only then does the gateway wait. Its end says so, for ours cannot know before it reads.
    """
    peer, own = (
        f":{address[1]:04X}" for address in (connection.getpeername(), connection.getsockname())
    )
    until = time.monotonic() + PATIENCE_S
    while any(
        (fields[1][-5:], fields[2][-5:], fields[3]) == (peer, own, _ESTABLISHED)
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
    ):
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.1)


def _send_slowly(connection: socket.socket, text: str) -> None:
    """Send a byte now and then, until the gateway says something."""
    connection.settimeout(CLIENT_S * 1.5)
    for piece in text:
        connection.sendall(piece.encode())
        try:
            connection.recv(1)
            break
        except TimeoutError:
            continue
    connection.settimeout(PATIENCE_S)


def _endless(head: str) -> bytes:
    """Return a request for a stream that never ends and comes as fast as it is taken."""
    wish = Wish("endless")
    body = json.dumps(wish.body)
    return (
        f"{head}x-torture: {wish.header}\r\nx-marker: loris.endless\r\n"
        f"x-meter-tags: marker=loris.endless\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()


def connections_of(gateways: Gateways, port: int) -> int:
    """Return how many connections of clients the gateway has, once they had time to end."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        own = {
            os.readlink(each).removeprefix("socket:[").removesuffix("]")
            for pid in gateways.pids()
            for each in Path(f"/proc/{pid}/fd").iterdir()
            if os.path.islink(each)
        }
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        left = sum(
            fields[1].endswith(f":{port:04X}") and fields[3] != _LISTENS and fields[9] in own
            for fields in lines
        )
        if not left or time.monotonic() > until_s:
            return left
        time.sleep(0.5)


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
        _until_all_is_written(stage, other)
        stage.judge()


def _until_all_is_written(stage: Stage, key: str) -> None:
    """Call until the spools are gone: the first records bring along what waits in them."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and (stage.gateways.spools() or not stage.gateways.is_ready()):
        stage.load(key, iter([Wish()] * 8), 8)


def silence(sums: Sums, new_ledger: NewLedger, seconds: float, clients_number: int) -> None:
    """Let the line to the server carry nothing for a while under load, and cut it then."""

    @contextmanager
    def behind_a_line(folder: Path) -> Iterator[str]:
        with new_ledger(folder) as ledger, Cutting(ledger) as cutting:
            lines.append((ledger, cutting))
            yield cutting.url

    lines: list[tuple[str, Cutting]] = []
    with a_stage("silence", sums, behind_a_line) as stage:
        # Judged past the line, as everything is.
        stage.ledger, cutting = lines[0]
        key, other = stage.key("silence", limit_nanos=10**9), stage.key("free")
        kinds = [Wish("whole", delay_ms=20), Wish("stream", delay_ms=20),
                 Wish("stream", delay_ms=300)]  # fmt: skip
        chosen = random.Random(1)

        def wishes() -> Iterator[Wish]:
            while True:
                yield chosen.choice(kinds)

        def be_silent() -> None:
            time.sleep(2)
            cutting.speaks.clear()
            time.sleep(seconds)
            cutting.cut_all()
            cutting.speaks.set()

        thread = threading.Thread(target=be_silent)
        thread.start()
        stage.load(key, wishes(), clients_number, seconds + 6)
        thread.join()
        _until_all_is_written(stage, other)
        refused = sum(got.status == 503 for got in stage.got)
        sums.require(refused > 0, "silence: nobody noticed it")
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


def memory_mb(gateways: Gateways) -> int:
    """Return what all processes of the gateway have in memory."""
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
    if "disk" in parts:
        disk(sums, calls, is_sqlite=is_sqlite)
    if "away" in parts:
        away(sums, new_ledger, seconds, number)
    if "silence" in parts and not is_sqlite:
        silence(sums, new_ledger, seconds, number)
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
