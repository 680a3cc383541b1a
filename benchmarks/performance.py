"""Measure everything that `docs/performance.md` says, in one run, and write its tables anew.

    python benchmarks/performance.py                 5 rounds, about 40 minutes on two quiet cores
    python benchmarks/performance.py --rounds 1 --only gateway

The page's own words stay: what is measured stands between a pair of comments for each part.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from gateway import CHUNKS, CONTESTANTS, PARTS, STREAMS_HELD, Figures, measured
from peers import bare_relay, nginx, ours
from peers.contestant import Unavailable
from peers.installing import python_environment
from processes import DRIVER_CORE, pin

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
_LANGFUSE = ("langfuse==5.0.4", "openai==3.54.0", "rich")
_SECONDS = 1800

Row = Sequence[str]


def cell(figures: Figures, what: str, digits: int, *, scale: float = 1.0) -> str:
    """Return a median with the lowest and the highest round, "–" where there is none."""
    values = [scale * value for value in figures.values.get(what, [])]
    if not values:
        return "–"
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def median(figures: Figures, what: str) -> float | None:
    """Return the median of a figure, None where it was not measured."""
    values = figures.values.get(what)
    return statistics.median(values) if values else None


def ratio(figures: Figures, other: Figures, what: str) -> str:
    """Return how many times another's figure this one is; pairs of one round are compared."""
    pairs = zip(figures.values.get(what, []), other.values.get(what, []), strict=False)
    ratios = [mine / theirs for mine, theirs in pairs if theirs]
    return f"{statistics.median(ratios):,.2f}" if ratios else "–"


def markdown(head: Row, rows: Sequence[Row]) -> str:
    """Return a table."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gateway_tables(figures: Sequence[Figures]) -> str:
    """Return the tables of the gateways."""
    by_name = {each.name: each for each in figures}
    own = by_name[ours.METER.name]
    rows = []
    for each in figures:
        if "process" in each.name:
            continue
        if each.missing is not None:
            rows.append([f"{each.name}: {each.missing}", *["–"] * 8])
            continue
        rows.append(
            [
                f"{each.name} ({each.note})",
                cell(each, "cpu_ms_a_call", 3),
                ratio(each, own, "cpu_ms_a_call"),
                cell(each, "calls_a_second", 0),
                cell(each, "added_ms_p50", 2),
                cell(each, "added_ms_p99", 2),
                cell(each, "first_byte_added_ms_p50", 2),
                cell(each, "cpu_ms_a_stream", 2),
                cell(each, "memory_mb", 0),
            ]
        )
    head = (
        "gateway", "CPU ms a call", "× meter", "calls/s, one core", "added ms p50", "added ms p99",
        "first byte added ms p50", f"CPU ms a stream of {CHUNKS}", "memory MB",
    )  # fmt: skip
    faults = {each.name: sum(each.values.get("faults", [])) for each in figures}
    listed = [f"{name}: {count:.0f}" for name, count in faults.items() if count]
    told = f"Requests not answered 200 and whole: {', '.join(listed) or 'none'}."
    return f"{markdown(head, rows)}\n\n{told}"


def goals(figures: Sequence[Figures]) -> str:
    """Return what was to be shown, and what was."""
    by_name = {each.name: each for each in figures}
    own, free = by_name[ours.METER.name], by_name[ours.METER_WITHOUT_BUDGET.name]
    shared = by_name[ours.METER_ON_POSTGRESQL.name]
    floor, bare = by_name[nginx.NGINX.name], by_name[bare_relay.BARE_RELAY.name]
    one, two = by_name[ours.ONE_OF_TWO_CORES.name], by_name[ours.TWO_OF_TWO_CORES.name]
    one_slowed, two_slowed = by_name[ours.ONE_SLOWED.name], by_name[ours.TWO_SLOWED.name]
    return markdown(
        ("what", "goal", "measured"),
        [
            ["CPU a call, SQLite, budgets on, durable", "≤ 0.15 ms",
             f"{cell(own, 'cpu_ms_a_call', 3)} ms"],
            ["calls a second on one core", "≥ 6,000", cell(own, "calls_a_second", 0)],
            ["CPU a call against nginx", "≤ 7 ×", f"{ratio(own, floor, 'cpu_ms_a_call')} ×"],
            ["CPU a call, PostgreSQL", "≤ 0.20 ms", f"{cell(shared, 'cpu_ms_a_call', 3)} ms"],
            ["added at 100 calls/s, p50, no budget", "≤ 1.5 ms",
             f"{cell(free, 'added_ms_p50', 2)} ms"],
            ["added at 100 calls/s, p50, a budget", "≤ 2.5 ms",
             f"{cell(own, 'added_ms_p50', 2)} ms"],
            ["added at 100 calls/s, p99, a budget", "≤ 8 ms",
             f"{cell(own, 'added_ms_p99', 2)} ms"],
            ["CPU a chunk above the bare relay", "≤ 4 µs", f"{chunk_us(own, bare)} µs"],
            ["first byte added, p50", "≤ 1 ms", f"{cell(own, 'first_byte_added_ms_p50', 2)} ms"],
            ["first byte added, p99", "≤ 2 ms", f"{cell(own, 'first_byte_added_ms_p99', 2)} ms"],
            [f"{STREAMS_HELD:,} slow streams at once", "< 250 MB",
             f"{cell(own, 'held_streams_mb', 0)} MB"],
            ["a second process on PostgreSQL, calls/s", "≥ 1.6 ×",
             f"{ratio(two, one, 'calls_a_second')} ×"],
            ["the same, each given 0.4 of a core and 64 connections", "≥ 1.6 ×",
             f"{ratio(two_slowed, one_slowed, 'calls_a_second')} ×"],
            ["a 200 kB prompt adds to others' p99", "≤ 20 ms",
             f"{cell(own, 'large_prompt_adds_ms_p99', 2)} ms"],
        ],
    )  # fmt: skip


def chunk_us(own: Figures, bare: Figures) -> str:
    """Return what metering adds to a chunk, without what it adds to each call anyway."""
    added = []
    for number in range(len(own.values.get("cpu_ms_a_stream", []))):
        try:
            whole = [each.values["cpu_ms_a_call"][number] for each in (own, bare)]
            streamed = [each.values["cpu_ms_a_stream"][number] for each in (own, bare)]
        except (KeyError, IndexError):
            continue
        beyond = (streamed[0] - whole[0]) - (streamed[1] - whole[1])
        added.append(1000 * beyond / CHUNKS)
    if not added:
        return "–"
    return f"{statistics.median(added):.1f} ({min(added):.1f}–{max(added):.1f})"


def gateway_part(rounds: int, seconds: float) -> str:
    """Measure the gateways."""
    pin(DRIVER_CORE)
    figures = uvloop.run(measured(list(CONTESTANTS), rounds, set(PARTS), seconds))
    return f"{goals(figures)}\n\n{gateway_tables(figures)}"


def wrapper_part(_rounds: int, _seconds: float) -> str:
    """Measure the wrapper in both durabilities, and langfuse's beside it."""
    program = str(HERE / "wrapper.py")
    told = [
        _printed(sys.executable, program, "--durability", durability)
        for durability in ("full", "process")
    ]
    try:
        programs = python_environment("langfuse", *_LANGFUSE)
        script = str(HERE / "peers" / "langfuse_wrapper.py")
        told.append(_printed(str(programs / "python"), script))
    except Unavailable as error:
        told.append(f"langfuse: {error}")
    return "```\n" + "\n\n".join(told) + "\n```"


def engine_part(_rounds: int, _seconds: float) -> str:
    """Measure the engine, stage by stage."""
    return "```\n" + _printed(sys.executable, str(HERE / "engine.py")) + "\n```"


def stages_part(_rounds: int, _seconds: float) -> str:
    """Measure where the time of a call goes on the event loop."""
    return "```\n" + _printed(sys.executable, str(HERE / "stages.py")) + "\n```"


PARTS_OF_PAGE: dict[str, Callable[[int, float], str]] = {
    "gateway": gateway_part,
    "wrapper": wrapper_part,
    "engine": engine_part,
    "stages": stages_part,
}


def _printed(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=False,
        env={**os.environ, "COLUMNS": "140"},
    )  # fmt: skip
    if done.returncode:
        raise ChildProcessError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def put(page: str, part: str, text: str) -> str:
    """Return the page with a part's measurements replaced. Raises: ValueError."""
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"found no place for {part} in the page")
    return f"{before}{begin}\n{text}\n\n{end}{after}"


def main() -> None:
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--only", default=",".join(PARTS_OF_PAGE), help="parts, with commas")
    parser.add_argument("--remark", default="", help="what else was so, for the page")
    given = parser.parse_args()
    for part in given.only.split(","):
        text = PARTS_OF_PAGE[part](given.rounds, given.seconds)
        told = f"Measured {datetime.now(UTC).date().isoformat()} on {os.cpu_count()} cores"
        told += f" ({platform.machine()}, CPython {platform.python_version()})"
        if part == "gateway":
            rounds = "1 round" if given.rounds == 1 else f"{given.rounds} rounds"
            told += f", {rounds}: medians, with the lowest and the highest"
        if given.remark:
            told += f"; {given.remark}"
        PAGE.write_text(put(PAGE.read_text(), part, f"{told}.\n\n{text}"))
        print(f"wrote {part}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
