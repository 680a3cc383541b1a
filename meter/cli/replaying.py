"""The command `meter replay`: recorded exchanges through the real pipeline."""

from itertools import islice
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meter.cli.output import Column, Format, say, show
from meter.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meter.pipeline import Pipeline

CORES = cpu_count() or 1

_BATCH_LINES = 64

COLUMNS = (
    Column("id", "Exchange"),
    Column("provider", "Provider"),
    Column("endpoint", "Endpoint"),
    Column("model", "Model"),
    Column("estimated_input_tokens", "Estimated in", numeric=True),
    Column("counted_output_tokens", "Counted out", numeric=True),
    Column("usage", "Usage"),
    Column("basis", "Basis"),
    Column("cost", "Cost", numeric=True),
    Column("currency", "Currency"),
    Column("error", "Error"),
)


def replay(
    file: Annotated[Path, typer.Argument(help="A recording: JSON lines, gzipped or not.")],
    format: Annotated[Format, typer.Option(help="How to show the exchanges.")] = Format.TABLE,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes to use.", show_default="all cores")
    ] = CORES,
) -> None:
    """Run recorded exchanges through the real pipeline.

    Sends nothing, and writes nothing to a ledger.
    """
    results = _results(file, workers)
    if format is Format.TABLE:
        _show_summary(results)
    else:
        show(results, COLUMNS, format)


def _results(file: Path, workers: int) -> "Iterator[dict[str, Any]]":
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from meter.reports.replay import read_lines

    if not file.exists():
        raise InputError(f"found no file {file}, expected a recording of exchanges")
    lines = read_lines(file)
    if workers == 1:
        for line in lines:
            yield _replay_one(line)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # A window of batches keeps memory bounded however long the recording is.
        window = []
        while batch := list(islice(lines, _BATCH_LINES)):
            window.append(pool.submit(_replay_batch, batch))
            if len(window) > 2 * workers:
                yield from window.pop(0).result()
        for future in window:
            yield from future.result()


def _replay_batch(lines: list[bytes]) -> list[dict[str, Any]]:
    return [_replay_one(line) for line in lines]


def _replay_one(line: bytes) -> dict[str, Any]:
    from meter.reports.replay import replay_line

    return replay_line(line, _pipeline())


_made: "list[Pipeline]" = []


def _pipeline() -> "Pipeline":
    """Return this process's pipeline into no ledger, made once."""
    if not _made:
        from meter.config import Settings
        from meter.pipeline import Pipeline
        from meter.prices.book import PriceBook
        from meter.reports.replay import NoStore

        _made.append(Pipeline(NoStore(), PriceBook.bundled(), Settings()))
    return _made[0]


def _show_summary(results: "Iterator[dict[str, Any]]") -> None:
    from collections import Counter

    tallies: Counter[tuple[str, str, str]] = Counter()
    errors: Counter[tuple[str, str]] = Counter()
    total = 0
    for result in results:
        total += 1
        place = (result["provider"] or "–", result["endpoint"] or "–")
        tallies[(*place, result["basis"] or "error")] += 1
        if result["error"]:
            errors[place] += 1
    places = sorted({(provider, endpoint) for provider, endpoint, _ in tallies})
    rows = [
        {
            "provider": provider,
            "endpoint": endpoint,
            "exchanges": sum(n for key, n in tallies.items() if key[:2] == (provider, endpoint)),
            **{b: tallies[provider, endpoint, b] for b in ("reported", "estimated", "unknown")},
            "remarks": errors[provider, endpoint],
        }
        for provider, endpoint in places
    ]
    columns = (
        Column("provider", "Provider"),
        Column("endpoint", "Endpoint"),
        Column("exchanges", "Exchanges", numeric=True),
        Column("reported", "Reported", numeric=True),
        Column("estimated", "Estimated", numeric=True),
        Column("unknown", "Unknown", numeric=True),
        Column("remarks", "With remarks", numeric=True),
    )
    show(rows, columns, Format.TABLE, title="Replayed exchanges")
    say(f"{total:,} exchanges; --format jsonl shows each.")
