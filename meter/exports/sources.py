"""Choose what is exported: the table of that name, and its rows from the ledger."""

from collections.abc import Iterator, Mapping, Sequence

from meter.errors import InputError
from meter.exports.tables import (
    CALLS,
    ENTRIES,
    LINES,
    Row,
    Table,
    call_rows,
    entry_rows,
    line_rows,
    usage_rows,
    usage_table,
)
from meter.reports.charging import Book
from meter.store.ledger import Ledger

SOURCES = ("calls", "lines", "usage", "entries")


def source(
    ledger: Ledger,
    of: str,
    *,
    book: Book = "cost",
    by: Sequence[str],
    since_us: int | None,
    until_us: int | None,
    tz: str,
    filters: Mapping[str, str],
) -> tuple[Table, Iterator[Row]]:
    """Return the table called `of` and its rows in [since_us, until_us), oldest first.

    `book` is the price book of charge lines. Raises: InputError for a name that is not one of
    SOURCES, and for filters on entries.
    """
    if of == "usage":
        sums = ledger.usage(by, since_us=since_us, until_us=until_us, tz=tz, filters=filters)
        return usage_table(by), usage_rows(sums, by)
    if of == "entries":
        if filters:
            raise InputError(f"found {', '.join(filters)} to choose entries by, expected none")
        return ENTRIES, entry_rows(ledger.entries(since_us=since_us, until_us=until_us))
    if of not in SOURCES:
        raise InputError(f"found {of!r} to export, expected one of {', '.join(SOURCES)}")
    calls = ledger.calls(
        since_us=since_us, until_us=until_us, limit=None, newest_first=False, filters=filters
    )
    if of == "calls":
        return CALLS, call_rows(calls)
    return LINES, line_rows(calls, book, ledger.rate_card)
