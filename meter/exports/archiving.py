"""Archive old months: write their calls to Parquet, read the files again, then let the calls go.

One file has the events as they were written, with their routes, in the ledger's own columns:
amounts in nanos, times in microseconds UTC, ids as texts. Corrections of these calls, if there are
any, are in a second file, and stay in the ledger as well. Called by the command line.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from meter.errors import InputError
from meter.exports.exporting import Progress, replacing
from meter.reports.invoicing import Invoicing
from meter.store.months import Month

_AT_ONCE = 10_000

Values = Mapping[str, Any]
Fields = Mapping[str, type]


@dataclass(frozen=True, slots=True)
class Archived:
    """One month that was archived: how many calls and corrections it had, and the first file."""

    month: Month
    calls: int
    corrections: int
    file: Path


def archive(
    invoicing: Invoicing,
    folder: Path,
    *,
    before_us: int,
    now_us: int,
    progress: Progress | None = None,
) -> Iterator[Archived]:
    """Archive every month that ends at that moment or before, oldest first, and yield each.

    The ledger is that of the invoices.

    Raises: InputError when something still needs a month: calls in flight, what was not invoiced,
    who follows the feed and has not read so far; and when a file of another ledger is in the way.
    """
    ledger = invoicing.ledger
    ledger.months.sweep()
    while (month := ledger.months.oldest()) is not None and month.end_us <= before_us:
        for sentence in invoicing.unbilled(month.start_us, month.end_us):
            raise InputError(sentence)
        portion = ledger.months.close(month, now_us)
        ledger.months.require_followed(portion)
        events, later = ledger.months.fields()
        file = folder / f"usage_events-{month.name}.parquet"
        calls = _keep(file, events, ledger.months.rows(month), progress)
        beside = folder / f"corrections-{month.name}.parquet"
        corrections = _keep(beside, later, ledger.months.corrections(month), None)
        ledger.months.let_go(month, portion)
        yield Archived(month, calls, corrections, file)


def _keep(file: Path, fields: Fields, rows: Iterable[Values], progress: Progress | None) -> int:
    """Write rows to a file, unless they are there, and make sure of it; return how many."""
    if file.exists():
        seen = _Seen()
        for row in rows:
            seen.add(row)
    else:
        seen = _write(file, fields, rows, progress)
    if seen.count and _read(file) != (seen.count, seen.digest):
        raise InputError(
            f"found other records in {file} than in this ledger, expected those of its month: give "
            "each ledger a folder of its own"
        )
    return seen.count


def _write(
    file: Path, fields: Fields, rows: Iterable[Values], progress: Progress | None
) -> "_Seen":
    seen = _Seen()
    source = iter(rows)
    batch = list(islice(source, _AT_ONCE))
    if not batch:
        return seen
    types = {int: pa.int64(), str: pa.string()}
    schema = pa.schema([pa.field(name, types[kind]) for name, kind in fields.items()])
    with replacing(file) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        while batch:
            for row in batch:
                seen.add(row)
            columns = {name: [_plain(row[name]) for row in batch] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema))
            if progress is not None:
                progress(seen.count)
            batch = list(islice(source, _AT_ONCE))
    return seen


def _read(file: Path) -> tuple[int, bytes]:
    """Return how many rows a file has, and the digest of what they say."""
    seen = _Seen()
    with pq.ParquetFile(file) as found:
        for batch in found.iter_batches(_AT_ONCE):
            for row in batch.to_pylist():
                seen.add(row)
    return seen.count, seen.digest


class _Seen:
    """Counts rows, and digests what they say."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, row: Values) -> None:
        """Take the next row."""
        self.count += 1
        self._hash.update(msgspec.msgpack.encode([_plain(value) for value in row.values()]))

    @property
    def digest(self) -> bytes:
        """Return the digest of all rows so far."""
        return self._hash.digest()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value
