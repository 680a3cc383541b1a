"""Stream rows into a file, whole or not at all: written beside its place, then moved there.

Called by the façade, which brings the rows.
"""

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from meter.errors import InputError
from meter.exports.formats import OpenWriter, format_named, opener
from meter.exports.summing import Total, Totals
from meter.exports.tables import Row, Table

STDOUT = "-"

_AT_ONCE = 1000

Progress = Callable[[int], None]
"""Is told how many rows are written so far."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote: how many rows, and their totals by currency.

    `target` is the path, None when there was nothing to write, "-" for an open file.
    """

    table: Table
    rows: int
    totals: tuple[Total, ...]
    target: str | None


def export(
    rows: Iterable[Row],
    table: Table,
    format: str,
    target: str | Path | BinaryIO,
    *,
    tz: str = "UTC",
    progress: Progress | None = None,
    open_writer: OpenWriter | None = None,
) -> Exported:
    """Write the rows to `target`: a path, an open binary file, or "-" for standard output.

    `open_writer` begins the file where the format is none of FORMATS.

    A file appears under its name when it is whole; on an error what was there before stays.

    Raises: InputError for a format or a target that cannot be.
    """
    pipes = open_writer is not None or format_named(format).pipes
    open_writer = open_writer or opener(format)
    with _stream(target, format, pipes) as stream:
        writer = open_writer(stream, table, tz)
        totals = Totals(table)
        try:
            source = iter(rows)
            while batch := list(islice(source, _AT_ONCE)):
                writer.write(batch)
                totals.add(batch)
                if progress is not None:
                    progress(totals.rows)
            listed = totals.listed()
            writer.finish(listed)
        except BaseException:
            writer.abandon()
            raise
    where = str(target) if isinstance(target, (str, Path)) else STDOUT
    return Exported(table, totals.rows, tuple(listed), where)


@contextmanager
def _stream(target: str | Path | BinaryIO, format: str, pipes: bool) -> Iterator[BinaryIO]:
    if not isinstance(target, (str, Path)):
        yield target
    elif str(target) == STDOUT:
        if not pipes:
            raise InputError(f"found -o - for {format}, expected a file: {format} is not for pipes")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with replacing(Path(target)) as stream:
            yield stream


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of `path` when the block ends without an error.

    What is not a plain file (a device, a named pipe) is written to as it is. Raises: InputError
    where no file can be written.
    """
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise InputError(f"found {path} to be a folder, expected the name of a file")
        with path.open("wb") as stream:
            yield stream
        return
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        stream = beside.open("xb")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            beside.unlink()
        raise
