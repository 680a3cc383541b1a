"""Measure an export of many calls in every format: rows a second, CPU and peak memory.

    .venv/bin/python benchmarks/exports.py --rows 1000000

The calls are synthetic and made as they are asked for, so that what is measured is the writing: the
making of the rows alone is the first line. With `--ledger URL` they come from a ledger instead (see
`benchmarks/ledgers.py`), with whatever reading it costs. Each format runs in a process of its own.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from meter.core.call import Basis, Outcome
from meter.core.rating import Charge, ChargeLine
from meter.core.usage import Usage
from meter.exports.exporting import export
from meter.exports.tables import CALLS, Row, call_rows
from meter.meter import Meter
from meter.store.reads import CallRow

FORMATS = ("rows alone", "csv", "jsonl", "parquet", "xlsx")

_START_US = 1_793_491_200_000_000
_LINES = (
    ChargeLine("output_tokens", 312, 10_000_000_000, 1_000_000, 3_120_000),
    ChargeLine("input_tokens", 1400, 2_500_000_000, 1_000_000, 3_500_000),
)
_CHARGE = Charge((), 6_620_000, "USD", "0123456789abcdef")
_CALL = CallRow(
    id=UUID(int=1), operation_id=UUID(int=1), state="settled", started_us=_START_US,
    ended_us=_START_US + 1_400_000, first_byte_us=_START_US + 400_000, provider="openai",
    issuer="openai", endpoint="chat", model_requested="gpt-4o", model_served="gpt-4o-2024-08-06",
    subject="customer-0042", key_id="key_0123456789",
    tags=(("feature", "chat"), ("team", "search")),
    streaming=True, outcome=Outcome.COMPLETED, basis=Basis.REPORTED, status=200,
    usage=Usage(input_tokens=1400, cache_read_tokens=1024, output_tokens=312, reasoning_tokens=0),
    cost_nanos=6_620_000, currency="USD", lines=_LINES, unpriced=None,
    rate_card_id="0123456789abcdef", estimated_input_tokens=1398, counted_output_tokens=None,
    provider_cost_nanos=None, bound_cost_nanos=9_000_000, service_tier="default", traits=(),
    response_id="chatcmpl-0123456789abcdefghij", defects=(), path=None, upstream="openai",
    corrections=0, listed=_CHARGE, billed=_CHARGE, is_resold=False, bound_currency=None,
)  # fmt: skip


def synthetic(count: int) -> Iterator[CallRow]:
    """Yield calls that differ in id, time and subject."""
    for number in range(count):
        name = UUID(int=(0x01A0_0000_0000 + number) << 80 | 7 << 76 | 2 << 62)
        yield replace(
            _CALL,
            id=name,
            operation_id=name,
            started_us=_START_US + number * 1000,
            subject=f"customer-{number % 500:04d}",
        )


def measure(format: str, rows: int, ledger: str | None) -> tuple[int, float, float, int, int]:
    """Return rows, wall and CPU seconds, peak memory in kB, and the file's size of one export."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"calls.{format}")
        began, used = time.perf_counter(), time.process_time()
        if ledger is not None and format != "rows alone":
            with Meter(ledger, read_only=True) as meter:
                count = meter.export(format, path).rows
        elif ledger is not None:
            with Meter(ledger, read_only=True) as meter:
                count = sum(1 for _ in call_rows(meter.calls(limit=None, newest_first=False)))
        else:
            made: Iterator[Row] = call_rows(synthetic(rows))
            count = (
                sum(1 for _ in made)
                if format == "rows alone"
                else export(made, CALLS, format, path).rows
            )
        took, cpu = time.perf_counter() - began, time.process_time() - used
        size = path.stat().st_size if path.exists() else 0
    return count, took, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, size


def main() -> None:
    """Measure each format and print a table."""
    parser = argparse.ArgumentParser(description="Measure exports.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many synthetic calls")
    parser.add_argument("--ledger", help="read the calls of this ledger instead")
    parser.add_argument("--formats", default=",".join(FORMATS), help="which, between commas")
    given = parser.parse_args()
    sys.stdout.write("| format | rows | s | CPU s | rows per CPU s | peak MB | file MB |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    spawned = multiprocessing.get_context("spawn")
    for format in given.formats.split(","):
        with spawned.Pool(1) as pool:
            found = pool.apply(measure, (format, given.rows, given.ledger))
        rows, took, cpu, peak_kb, size = found
        sys.stdout.write(
            f"| {format} | {rows:,} | {took:.1f} | {cpu:.1f} | {rows / cpu:,.0f} "
            f"| {peak_kb / 1024:.0f} | {size / 1e6:.0f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
