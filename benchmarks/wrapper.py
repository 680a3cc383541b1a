"""Measure what wrapping a client adds: wall and CPU microseconds a call and a streamed chunk.

    python benchmarks/wrapper.py

Bare and wrapped calls of the real openai SDK alternate in pairs within one run, against
`mock_upstream.py` in a process of its own. Each pair gives one difference; the table shows their
medians and quartiles. The wrapped client records every call in an SQLite ledger, durability full,
and waits for it. CPU is that of this whole process, the ledger's thread included.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from rich.console import Console
from rich.table import Table

from meter.meter import Meter

MESSAGES: Any = [
    {"role": "system", "content": "You answer briefly."},
    {"role": "user", "content": "Describe the sea in a few words, and then the shore. " * 8},
]
MODEL = "gpt-4o-mini"
WARM_UP_PAIRS = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed operation, in microseconds."""

    wall_us: float
    cpu_us: float

    def beyond(self, other: "Sample") -> "Sample":
        """Return what this one took more than another."""
        return Sample(self.wall_us - other.wall_us, self.cpu_us - other.cpu_us)

    def shared_by(self, number: int) -> "Sample":
        """Return the part of one of `number`."""
        return Sample(self.wall_us / number, self.cpu_us / number)


Operation = Callable[[], Awaitable[object]]


@contextmanager
def upstream(chunks: int) -> Iterator[str]:
    """Run the mock provider; yield its host and port."""
    program = str(Path(__file__).with_name("mock_upstream.py"))
    command = [sys.executable, program, "--chunks", str(chunks)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


async def timed(operation: Operation) -> Sample:
    """Run an operation once."""
    cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
    await operation()
    wall_us = (time.perf_counter_ns() - wall_ns) / 1000
    return Sample(wall_us, (time.process_time_ns() - cpu_ns) / 1000)


async def pairs(bare: Operation, wrapped: Operation, number: int) -> list[tuple[Sample, Sample]]:
    """Time both operations in turn, each first in half of the pairs."""
    taken = []
    for place in range(number + WARM_UP_PAIRS):
        if place % 2:
            second = await timed(wrapped)
            first = await timed(bare)
        else:
            first = await timed(bare)
            second = await timed(wrapped)
        taken.append((first, second))
    return taken[WARM_UP_PAIRS:]


def chat(client: Any, *, stream: bool) -> Operation:
    """Return the operation of a sync client."""

    async def ask() -> None:
        answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)
        if stream:
            for _ in answer:
                pass

    return ask


def chat_async(client: Any, *, stream: bool) -> Operation:
    """Return the operation of an async client."""

    async def ask() -> None:
        answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)
        if stream:
            async for _ in answer:
                pass

    return ask


async def measure(meter: Meter, host: str, calls: int, streams: int, chunks: int) -> Table:
    """Measure both kinds of clients; return the table."""
    table = Table(title=f"added by wrapping, median (quartiles), {calls} and {streams} pairs")
    for name in ("client", "what", "bare wall µs", "added wall µs", "added CPU µs"):
        table.add_column(name, justify="left" if name in {"client", "what"} else "right")
    kinds: list[tuple[str, Any, Any]] = [
        ("OpenAI", openai.OpenAI, chat),
        ("AsyncOpenAI", openai.AsyncOpenAI, chat_async),
    ]
    for title, kind, ask in kinds:
        bare = kind(base_url=f"http://{host}/v1", api_key="none", max_retries=0)
        wrapped = meter.wrap(bare)
        whole = await pairs(ask(bare, stream=False), ask(wrapped, stream=False), calls)
        added = [second.beyond(first) for first, second in whole]
        table.add_row(title, "a call", *_cells([first for first, _ in whole], added))
        streamed = await pairs(ask(bare, stream=True), ask(wrapped, stream=True), streams)
        # What a call costs anyway is not the chunks' cost.
        fixed = Sample(
            statistics.median(sample.wall_us for sample in added),
            statistics.median(sample.cpu_us for sample in added),
        )
        more = [second.beyond(first).beyond(fixed).shared_by(chunks) for first, second in streamed]
        alone = [first.shared_by(chunks) for first, _ in streamed]
        table.add_row(title, f"a chunk of {chunks}", *_cells(alone, more))
    return table


def _cells(bare: list[Sample], added: list[Sample]) -> tuple[str, str, str]:
    return (
        _spread([sample.wall_us for sample in bare]),
        _spread([sample.wall_us for sample in added]),
        _spread([sample.cpu_us for sample in added]),
    )


def _spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    digits = 0 if abs(middle) >= 100 else 1
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=400, help="pairs of whole answers")
    parser.add_argument("--streams", type=int, default=60, help="pairs of streamed answers")
    parser.add_argument("--chunks", type=int, default=200, help="events with text in a stream")
    parser.add_argument("--durability", choices=["full", "process"], default="full")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        upstream(given.chunks) as host,
        Meter(
            f"sqlite:///{folder}/meter.db",
            hosts={host: "openai"},
            durability=given.durability,
            spool_path=f"{folder}/meter.spool",
        ) as meter,
    ):
        table = asyncio.run(measure(meter, host, given.calls, given.streams, given.chunks))
        recorded = sum(1 for _ in meter.calls(limit=None))
        sent = 2 * (given.calls + given.streams + 2 * WARM_UP_PAIRS)
    Console(width=140).print(table)
    print(f"{recorded} of {sent} wrapped calls are in the ledger (durability {given.durability})")


if __name__ == "__main__":
    main()
