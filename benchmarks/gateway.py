"""Measure the gateway beside others: CPU a call, calls a second, latency, streams, memory.

    python benchmarks/gateway.py                       everything, medians of 5 rounds, 30 minutes
    python benchmarks/gateway.py --rounds 1 --only calls --contestants meter,nginx

Each contestant is pinned to one core, this driver and the mock provider to another. CPU is that
of all the contestant's processes, from /proc. Calls are chat completions of about 1 kB each way
over 64 connections; what a contestant does meanwhile is in its note. In a round everybody has a
turn, so that ratios come from one run. `performance.py` makes a page of it.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop
from driving import ClosedLoop, Seen, Target, at_a_rate, held_open
from peers import bare_relay, litellm, nginx, otari, ours, portkey, tensorzero
from peers.contestant import Contestant, Unavailable
from processes import DRIVER_CORE, Running, pin, running

CHUNKS = 100
STREAMS_HELD = 2000
LARGE_BYTES = 200_000
PARTS = ("calls", "latency", "streams", "large", "held")
CONTESTANTS: dict[str, tuple[Contestant, str]] = {
    "nginx": (nginx.NGINX, "calls,latency,streams"),
    "bare": (bare_relay.BARE_RELAY, "calls,latency,streams"),
    "meter": (ours.METER, "calls,latency,streams,large,held"),
    "meter-free": (ours.METER_WITHOUT_BUDGET, "calls,latency"),
    "meter-postgresql": (ours.METER_ON_POSTGRESQL, "calls,latency"),
    "one": (ours.ONE_OF_TWO_CORES, "calls"),
    "two": (ours.TWO_OF_TWO_CORES, "calls"),
    "one-slowed": (ours.ONE_SLOWED, "calls"),
    "two-slowed": (ours.TWO_SLOWED, "calls"),
    "tensorzero": (tensorzero.TENSORZERO, "calls,latency,streams"),
    "portkey": (portkey.PORTKEY, "calls,latency,streams"),
    "litellm": (litellm.LITELLM, "calls,latency,streams"),
    "otari": (otari.OTARI, "calls,latency,streams"),
}
"""Who takes part, and in what."""


@dataclass(slots=True)
class Figures:
    """The figures of one contestant: for each a list with one value a round.

    `missing` says why there are none.
    """

    name: str
    note: str
    values: dict[str, list[float]] = field(default_factory=dict)
    missing: str | None = None

    def note_value(self, what: str, value: float) -> None:
        """Add a figure."""
        self.values.setdefault(what, []).append(value)


@dataclass(frozen=True, slots=True)
class Served:
    """A contestant that runs."""

    figures: Figures
    target: Target
    server: Running
    connections: int


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


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

    loop = ClosedLoop(served.target, request, served.connections)
    seen = await loop.run(seconds, on_begin=note, on_end=note)
    served.figures.note_value("faults", seen.faults)
    return seen, cpu[1] - cpu[0]


async def measure_calls(served: Served, seconds: float) -> None:
    """Measure whole answers under load."""
    seen, cpu_s = await measured_load(served, served.target.request(), seconds)
    if not seen.calls:
        return
    served.figures.note_value("cpu_ms_a_call", 1000 * cpu_s / seen.calls)
    served.figures.note_value("calls_a_second", seen.calls / seen.seconds)
    served.figures.note_value("memory_mb", served.server.resident_bytes() / 1e6)


async def measure_streams(served: Served, seconds: float) -> None:
    """Measure streams of 100 chunks under load."""
    seen, cpu_s = await measured_load(served, served.target.request(stream=True), seconds)
    if not seen.calls:
        return
    served.figures.note_value("cpu_ms_a_stream", 1000 * cpu_s / seen.calls)
    served.figures.note_value("chunks_a_second", CHUNKS * seen.calls / seen.seconds)


async def measure_latency(served: Served, direct: Target, seconds: float) -> None:
    """Measure what the contestant adds at a low rate, to whole answers and to first bytes."""
    for what, stream in (("", False), ("first_byte_", True)):
        around: list[Seen] = []
        for target in (direct, served.target):
            around.append(await at_a_rate(target, target.request(stream=stream), 100, seconds))
        times = [seen.first_bytes_s if stream else seen.latencies_s for seen in around]
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            bare, through = (percentile(each, share) for each in times)
            served.figures.note_value(f"{what}added_ms_{name}", 1000 * (through - bare))
        served.figures.note_value("faults", around[1].faults)


async def measure_large(served: Served, seconds: float) -> None:
    """Measure what prompts of 200 kB do to the others' time."""
    request = served.target.request()
    large = served.target.request(prompt_bytes=LARGE_BYTES)
    alone = await at_a_rate(served.target, request, 100, seconds)
    beside = await at_a_rate(served.target, request, 100, seconds, more=large)
    p99 = [percentile(seen.latencies_s, 0.99) for seen in (alone, beside)]
    served.figures.note_value("large_prompt_adds_ms_p99", 1000 * (p99[1] - p99[0]))
    served.figures.note_value("faults", alone.faults + beside.faults)


async def measure_held(served: Served) -> None:
    """Measure the memory that many slow streams take at once."""
    during: list[int] = []
    whole = await held_open(
        served.target,
        served.target.request(stream=True),
        STREAMS_HELD,
        on_all_begun=lambda: during.append(served.server.resident_bytes()),
    )
    served.figures.note_value("held_streams_mb", during[0] / 1e6)
    served.figures.note_value("faults", STREAMS_HELD - whole)


async def measure(served: Served, direct: Target, parts: set[str], seconds: float) -> None:
    """Measure the parts that one mock provider serves."""
    if "calls" in parts:
        await measure_calls(served, seconds)
    if "latency" in parts:
        await measure_latency(served, direct, seconds)
    if "streams" in parts:
        await measure_streams(served, seconds)
    if "large" in parts:
        await measure_large(served, seconds)


async def one_turn(
    contestant: Contestant, figures: Figures, parts: set[str], seconds: float
) -> None:
    """Measure one contestant once."""
    with tempfile.TemporaryDirectory() as name, mock("--chunks", str(CHUNKS)) as port:
        direct = Target("127.0.0.1", port)
        with contestant.serving(port, Path(name)) as (target, server):
            served = Served(figures, target, server, contestant.connections)
            await measure(served, direct, parts, seconds)
    if "held" in parts:
        slow = ("--chunks", "20", "--pause-ms", "1000")
        with (
            tempfile.TemporaryDirectory() as name,
            mock(*slow) as port,
            contestant.serving(port, Path(name)) as (target, server),
        ):
            await measure_held(Served(figures, target, server, contestant.connections))


async def measured(
    names: Sequence[str], rounds: int, parts: set[str], seconds: float
) -> list[Figures]:
    """Return the figures of these contestants after so many rounds."""
    known = [CONTESTANTS[name] for name in names]
    figures = [Figures(contestant.name, contestant.note) for contestant, _ in known]
    for number in range(rounds):
        for (contestant, takes), each in zip(known, figures, strict=True):
            chosen = parts & set(takes.split(","))
            if number:
                # Memory does not change from round to round.
                chosen -= {"held"}
            if each.missing is not None or not chosen:
                continue
            try:
                await one_turn(contestant, each, chosen, seconds)
            except (Unavailable, ChildProcessError, TimeoutError) as error:
                each.missing = str(error)
            print(f"round {number + 1}: {contestant.name}", file=sys.stderr, flush=True)
    return figures


def printed(figures: Sequence[Figures]) -> str:
    """Return the medians as text, a line for each figure, with the lowest and the highest."""
    lines = []
    for each in figures:
        if each.missing is not None:
            lines.append(f"{each.name:34} {each.missing}")
        for what, values in each.values.items():
            lines.append(
                f"{each.name:34} {what:26} {statistics.median(values):12,.3f}"
                f"  ({min(values):,.3f}–{max(values):,.3f})"
            )
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), help="with commas")
    parser.add_argument("--to", type=Path, help="a JSON file for the figures")
    given = parser.parse_args()
    pin(DRIVER_CORE)
    names = given.contestants.split(",")
    figures = uvloop.run(measured(names, given.rounds, set(given.only.split(",")), given.seconds))
    print(printed(figures))
    if given.to is not None:
        given.to.write_text(json.dumps([asdict(each) for each in figures], indent=1))


if __name__ == "__main__":
    main()
