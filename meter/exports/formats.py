"""Name the formats, and the protocol between rows and files.

A format is a module of this room with a function `open_writer`. Modules are imported when asked
for: most of them need a package that only exports use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO, Protocol, cast

from meter.errors import InputError
from meter.exports.summing import Total
from meter.exports.tables import Row, Table


class Writer(Protocol):
    """Writes the rows of one table to one file, in bounded memory."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write some more rows."""

    def finish(self, totals: Sequence[Total]) -> None:
        """Write what ends the file. The stream stays open."""

    def abandon(self) -> None:
        """Let go of what the writer holds; the file is not wanted."""


class OpenWriter(Protocol):
    """Begins a file: `tz` is the zone in which times are shown."""

    def __call__(self, stream: BinaryIO, table: Table, tz: str) -> Writer:
        """Write what begins the file and return its writer."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One format: its module, and whether its file can be written to a pipe."""

    module: str
    pipes: bool


FORMATS = {
    "csv": FileFormat("meter.exports.csv_file", pipes=True),
    "jsonl": FileFormat("meter.exports.jsonl_file", pipes=True),
    "parquet": FileFormat("meter.exports.parquet_file", pipes=False),
    "xlsx": FileFormat("meter.exports.xlsx_file", pipes=False),
}


def format_named(name: str) -> FileFormat:
    """Return the format of that name. Raises: InputError when there is none."""
    found = FORMATS.get(name)
    if found is None:
        raise InputError(f"found format {name!r}, expected one of {', '.join(FORMATS)}")
    return found


def format_of_name(target: str) -> str:
    """Return the format that a file's name ends in; that of standard output is CSV.

    Raises: InputError for another ending.
    """
    ending = "csv" if target == "-" else target.rpartition(".")[2].lower()
    if ending not in FORMATS:
        expected = ", ".join(f".{name}" for name in FORMATS)
        raise InputError(f"found {target}, expected a name that ends in one of {expected}")
    return ending


def opener(name: str) -> OpenWriter:
    """Return the function that begins a file of this format.

    Raises: InputError for an unknown format, or where the package that writes it is missing.
    """
    module = format_named(name).module
    try:
        return cast(OpenWriter, import_module(module).open_writer)
    except ModuleNotFoundError as error:
        raise InputError(
            f"found no package {error.name}, which {name} files need: "
            "pip install 'metergate[exports]'"
        ) from None
