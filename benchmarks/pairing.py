"""Time two operations in alternating pairs, against the mock provider in a process of its own.

Called by `wrapper.py` and by the scripts in `peers/`; knows neither `meter` nor a peer.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def added_by_chunks(
    whole: list[tuple[Sample, Sample]], streamed: list[tuple[Sample, Sample]], chunks: int
) -> list[Sample]:
    """Return what each chunk took more, without what a call costs anyway."""
    added = [second.beyond(first) for first, second in whole]
    fixed = Sample(
        statistics.median(sample.wall_us for sample in added),
        statistics.median(sample.cpu_us for sample in added),
    )
    return [second.beyond(first).beyond(fixed).shared_by(chunks) for first, second in streamed]


def cells(bare: list[Sample], added: list[Sample]) -> tuple[str, str, str]:
    """Return the cells of one row: the bare wall time, the added wall time, the added CPU."""
    return (
        spread([sample.wall_us for sample in bare]),
        spread([sample.wall_us for sample in added]),
        spread([sample.cpu_us for sample in added]),
    )


def spread(values: list[float]) -> str:
    """Return a median with its quartiles, as text."""
    low, middle, high = statistics.quantiles(values, n=4)
    digits = 0 if abs(middle) >= 100 else 1
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"
