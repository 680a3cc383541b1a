"""Measure the gateway: CPU a call, calls a second, added latency, streams, memory.

    python benchmarks/gateway.py                     everything, medians of 5 rounds
    python benchmarks/gateway.py --rounds 1 --only calls,latency

The gateway is pinned to one core, this driver and the mock provider to another. CPU is that of
all the gateway's processes, from /proc. Calls are chat completions of about 1 kB each way, with
budgets on and every call recorded, durability full.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from driving import ClosedLoop, Seen, Target, at_a_rate, held_open
from peers import ours
from peers.contestant import Contestant
from processes import DRIVER_CORE, Running, pin, running

CONNECTIONS = 64
CHUNKS = 100
STREAMS_HELD = 2000
PARTS = ("calls", "latency", "streams", "held", "large")


@dataclass(slots=True)
class Figures:
    """The figures of one contestant, each a list with one value a round."""

    name: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def note(self, what: str, value: float) -> None:
        """Add a figure."""
        self.values.setdefault(what, []).append(value)

    def median(self, what: str) -> float | None:
        """Return the median of a figure, None where it was not measured."""
        values = self.values.get(what)
        return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True)
class Served:
    """A contestant that runs."""

    figures: Figures
    target: Target
    server: Running


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


@contextmanager
def mock(*options: str) -> Iterator[int]:
    """Run the mock provider on the driver's core; yield its port."""
    program = str(Path(__file__).with_name("mock_upstream.py"))

    with running([sys.executable, program, *options], core=DRIVER_CORE) as server:
        assert server.process.stdout is not None
        yield int(server.process.stdout.readline())


async def measured_load(served: Served, request: bytes, seconds: float) -> tuple[Seen, float]:
    """Load a contestant with all connections; return what was seen and the CPU it used."""
    cpu: list[float] = []

    def note() -> None:
        cpu.append(served.server.cpu_seconds())

    loop = ClosedLoop(served.target, request, CONNECTIONS)
    seen = await loop.run(seconds, on_begin=note, on_end=note)
    return seen, cpu[1] - cpu[0]


async def measure_calls(served: Served, seconds: float) -> None:
    """Measure whole answers under load."""
    seen, cpu_s = await measured_load(served, served.target.request(), seconds)
    served.figures.note("cpu_ms_a_call", 1000 * cpu_s / max(seen.calls, 1))
    served.figures.note("calls_a_second", seen.calls / seen.seconds)
    served.figures.note("faults", seen.faults)


async def measure_streams(served: Served, seconds: float) -> None:
    """Measure streams of 100 chunks under load."""
    request = served.target.request(stream=True)
    seen, cpu_s = await measured_load(served, request, seconds)
    served.figures.note("cpu_us_a_stream", 1e6 * cpu_s / max(seen.calls, 1))
    served.figures.note("chunks_a_second", CHUNKS * seen.calls / seen.seconds)
    served.figures.note("faults", seen.faults)


async def measure_latency(served: Served, direct: Target, seconds: float) -> None:
    """Measure what the contestant adds at a low rate, to whole answers and to first bytes."""
    for what, stream in (("", False), ("first_byte_", True)):
        around: list[Seen] = []
        for target in (direct, served.target):
            request = target.request(stream=stream)
            around.append(await at_a_rate(target, request, 100, seconds))
        times = [seen.first_bytes_s if stream else seen.latencies_s for seen in around]
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            bare, added = (percentile(each, share) for each in times)
            served.figures.note(f"{what}added_ms_{name}", 1000 * (added - bare))
        served.figures.note("faults", around[1].faults)


async def measure_large(served: Served, seconds: float) -> None:
    """Measure what prompts of 200 kB do to the others' time."""
    request = served.target.request()
    large = served.target.request(prompt_bytes=200_000)
    alone = await at_a_rate(served.target, request, 100, seconds)
    beside = await at_a_rate(served.target, request, 100, seconds, more=large)
    p99 = [percentile(seen.latencies_s, 0.99) for seen in (alone, beside)]
    served.figures.note("large_prompt_adds_ms_p99", 1000 * (p99[1] - p99[0]))
    served.figures.note("faults", alone.faults + beside.faults)


async def measure_held(served: Served) -> None:
    """Measure the memory that many slow streams take at once."""
    before = served.server.resident_bytes()
    during: list[int] = []
    whole = await held_open(
        served.target,
        served.target.request(stream=True),
        STREAMS_HELD,
        on_all_begun=lambda: during.append(served.server.resident_bytes()),
    )
    served.figures.note("idle_mb", before / 1e6)
    served.figures.note("held_streams_mb", during[0] / 1e6)
    served.figures.note("faults", STREAMS_HELD - whole)


async def one_round(
    contestants: Sequence[Contestant], figures: dict[str, Figures], parts: set[str], seconds: float
) -> None:
    """Measure every contestant once, one after the other."""
    with mock("--chunks", str(CHUNKS)) as port, tempfile.TemporaryDirectory() as folder:
        direct = Target("127.0.0.1", port)
        for contestant in contestants:
            own = Path(folder) / contestant.name.replace(" ", "-")
            own.mkdir()
            with contestant.serving(port, own) as (target, server):
                served = Served(figures[contestant.name], target, server)
                if "calls" in parts:
                    await measure_calls(served, seconds)
                if "latency" in parts:
                    await measure_latency(served, direct, seconds)
                if "streams" in parts:
                    await measure_streams(served, seconds)
                if "large" in parts:
                    await measure_large(served, seconds)
    if "held" in parts:
        with (
            mock("--chunks", "20", "--pause-ms", "1000") as port,
            tempfile.TemporaryDirectory() as folder,
        ):
            for contestant in contestants:
                own = Path(folder) / contestant.name.replace(" ", "-")
                own.mkdir()
                with contestant.serving(port, own) as (target, server):
                    await measure_held(Served(figures[contestant.name], target, server))


def printed(figures: dict[str, Figures]) -> str:
    """Return the medians as text, a line for each figure, with the lowest and the highest."""
    lines = []
    for each in figures.values():
        for what, values in each.values.items():
            lines.append(
                f"{each.name:28} {what:26} {statistics.median(values):12,.3f}"
                f"  ({min(values):,.3f}–{max(values):,.3f})"
            )
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--contestants", default="meter", help="names, with commas")
    given = parser.parse_args()
    pin(DRIVER_CORE)
    names = given.contestants.split(",")
    known = {each.name: each for each in (ours.METER, ours.METER_WITHOUT_BUDGET)}
    chosen = [known[name] for name in names]
    figures = {each.name: Figures(each.name) for each in chosen}
    for _ in range(given.rounds):
        uvloop.run(one_round(chosen, figures, set(given.only.split(",")), given.seconds))
    print(printed(figures))


if __name__ == "__main__":
    main()
