"""Show rows: a table for people, JSON, JSONL or CSV for scripts.

Scripts get every column always, plain numbers, amounts as decimal text, and null for unknown;
people get thousands separators, right-aligned numbers and "–" for unknown.
"""

import csv
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from meter.core.money import nanos_to_text


class Format(StrEnum):
    """How rows are shown."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key of its value in a row, its heading, and how a table sets it.

    `numeric` columns are set flush right and never cut. `wraps` columns give way first where
    the terminal is narrow. `decimals` rounds what a table shows of an amount; scripts get it
    whole.
    """

    key: str
    heading: str
    numeric: bool = False
    wraps: bool = False
    decimals: int | None = None


Row = Mapping[str, Any]

UNKNOWN = "–"

_WIDEST_FIXED = 32
_WIDE_COLUMNS = 100


def show(
    rows: Iterable[Row],
    columns: Sequence[Column],
    format: Format,
    *,
    title: str | None = None,
    empty: str = "Nothing was found.",
    footer: Sequence[str] = (),
) -> None:
    """Write the rows to standard output in the format; a table also gets title and footer."""
    if format is Format.TABLE:
        _show_table(list(rows), columns, title, empty, footer)
    elif format is Format.CSV:
        _show_csv(rows, columns)
    elif format is Format.JSONL:
        for row in rows:
            sys.stdout.write(_encoded(_projected(row, columns)) + "\n")
    else:
        text = _encoded([_projected(row, columns) for row in rows], indent=2)
        sys.stdout.write(text + "\n")


def say(line: str = "") -> None:
    """Write one line for a person to standard output."""
    sys.stdout.write(line + "\n")


def is_wide() -> bool:
    """Whether the terminal has room for columns that are only good to know."""
    return shutil.get_terminal_size().columns >= _WIDE_COLUMNS


def amount(nanos: int | None) -> Decimal | None:
    """Return an amount in currency units without trailing zeros, None for unknown."""
    return None if nanos is None else Decimal(nanos_to_text(nanos))


def encoded(value: Any) -> str:
    """Return a value as indented JSON, decimals as text."""
    return _encoded(value, indent=2)


def _encoded(value: Any, indent: int | None = None) -> str:
    encoded = msgspec.json.encode(value, enc_hook=str)
    return (msgspec.json.format(encoded, indent=indent) if indent else encoded).decode()


def _projected(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    return {column.key: row.get(column.key) for column in columns}


def _show_csv(rows: Iterable[Row], columns: Sequence[Column]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.key for column in columns])
    for row in rows:
        values = (row.get(column.key) for column in columns)
        writer.writerow(["" if value is None else _cell_text(value) for value in values])


def _cell_text(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        return _encoded(value)
    text = str(value)
    # A spreadsheet would run text that begins like a formula.
    is_formula = isinstance(value, str) and text[:1] in "=+-@\t\r" and not _is_number(text)
    return "'" + text if is_formula else text


def _is_number(text: str) -> bool:
    return text.lstrip("+-").replace(".", "", 1).isdecimal()


def _show_table(
    rows: list[Row],
    columns: Sequence[Column],
    title: str | None,
    empty: str,
    footer: Sequence[str],
) -> None:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not rows:
        console.print(Text(empty))
    else:
        table = Table(
            title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
            header_style="bold", pad_edge=False, show_edge=False, padding=(0, 1, 0, 0),
        )  # fmt: skip
        cells = [[shown(row.get(c.key), c.decimals) for c in columns] for row in rows]
        for place, column in enumerate(columns):
            longest = max(cell_len(line[place]) for line in cells)
            table.add_column(
                column.heading,
                justify="right" if column.numeric else "left",
                min_width=None if column.wraps else min(longest, _WIDEST_FIXED),
                overflow="fold",
            )
        for texts in cells:
            table.add_row(*(Text(text) for text in texts))
        console.print(table)
        if footer:
            console.print()
    for line in footer:
        console.print(Text(line, style="dim"))


def shown(value: Any, decimals: int | None = None) -> str:
    """Return a value as a person reads it: separators in numbers, "–" for unknown.

    An amount that is not zero but would round to it is shown as less than the last digit.
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        if decimals is None:
            return f"{value:,f}"
        least = Decimal(1).scaleb(-decimals)
        return f"<{least:f}" if 0 < value < least / 2 else f"{value:,.{decimals}f}"
    return str(value)
