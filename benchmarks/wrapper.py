"""Measure what wrapping a client adds: wall and CPU microseconds a call and a streamed chunk.

    python benchmarks/wrapper.py

Bare and wrapped calls of the real openai SDK alternate in pairs within one run, against
`mock_upstream.py` in a process of its own. Each pair gives one difference; the table shows their
medians and quartiles. The wrapped client records every call in an SQLite ledger and waits for it:
for the disk too where durability is full. CPU is that of this whole process, the ledger's thread
included. `peers/` has the same measurement of other wrappers.
"""

import argparse
import asyncio
import tempfile
from typing import Any

import openai
from pairing import WARM_UP_PAIRS, added_by_chunks, cells, chat, chat_async, pairs, upstream
from rich.console import Console
from rich.table import Table

from meter.meter import Meter


async def measure(meter: Meter, host: str, calls: int, streams: int, chunks: int) -> Table:
    """Measure both kinds of clients; return the table."""
    kept = f"durability {meter.pipeline.settings.durability}"
    table = Table(
        title=f"added by wrapping, {kept}, median (quartiles), {calls} and {streams} pairs"
    )
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
        table.add_row(title, "a call", *cells([first for first, _ in whole], added))
        streamed = await pairs(ask(bare, stream=True), ask(wrapped, stream=True), streams)
        more = added_by_chunks(whole, streamed, chunks)
        alone = [first.shared_by(chunks) for first, _ in streamed]
        table.add_row(title, f"a chunk of {chunks}", *cells(alone, more))
    return table


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
