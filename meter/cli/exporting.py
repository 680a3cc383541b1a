"""The command `meter export`: the ledger's rows as files for other programs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meter.cli.asking import DatabaseUrl, Since, Tag, Until, Zone, dimensions
from meter.cli.times import moment_us
from meter.core.rates import datetime_of
from meter.errors import InputError

if TYPE_CHECKING:
    from meter.exports.exporting import Exported
    from meter.exports.focus import Side


class FileKind(StrEnum):
    """What `meter export` writes."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"
    FOCUS = "focus"


class Of(StrEnum):
    """What `meter export` reads."""

    CALLS = "calls"
    LINES = "lines"
    USAGE = "usage"
    ENTRIES = "entries"


class PriceBook(StrEnum):
    """Whose charge lines `meter export` writes."""

    COST = "cost"
    LIST = "list"
    BILLED = "billed"


def export(
    kind: Annotated[FileKind, typer.Argument(help="The format of the file.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="The file; - for standard output (csv, jsonl).")
    ],
    of: Annotated[
        Of,
        typer.Option(help="Calls one by one, their charge lines, sums, or the ledger's entries."),
    ] = Of.CALLS,
    book: Annotated[
        PriceBook, typer.Option(help="Whose charge lines: of the cost, of list, of what is billed.")
    ] = PriceBook.COST,
    by: Annotated[str, typer.Option(help="How usage is grouped, as in meter usage.")] = (
        "subject,model,day"
    ),
    since: Since = None,
    until: Until = None,
    tz: Zone = "UTC",
    follow: Annotated[
        str | None,
        typer.Option(help="A state file: write what was committed since the last time."),
    ] = None,
    subject: Annotated[str | None, typer.Option(help="Only this subject.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only this endpoint.")] = None,
    tag: Tag = None,
    focus_version: Annotated[
        str, typer.Option(help="FOCUS 1.2, 1.3 or 1.4: they name providers differently.")
    ] = "1.2",
    billing_account: Annotated[
        str, typer.Option(help="The billing account that a FOCUS file is for.")
    ] = "default",
    database_url: DatabaseUrl = None,
) -> None:
    """Write calls, charge lines, sums or entries to a file, or charges in FOCUS.

    The file appears under its name when it is whole. The totals go to standard error. With
    --follow every record is in exactly one file, also one that comes late; {portion} in -o
    numbers them. A focus file is CSV, Parquet, JSON Lines or Excel by its name; --book cost says
    what issuers charge, --book billed what subjects are charged.
    """
    from meter.meter import Meter

    given = {
        "subject": subject, "model": model, "provider": provider, "endpoint": endpoint, "tag": tag,
    }  # fmt: skip
    filters: dict[str, Any] = {name: text for name, text in given.items() if text is not None}
    between: dict[str, Any] = {
        name: None if at_us is None else datetime_of(at_us)
        for name, at_us in (("since", moment_us(since, tz)), ("until", moment_us(until, tz)))
    }
    with Meter(database_url) as meter:
        counted = of is Of.CALLS and follow is None and sys.stderr.isatty()
        if kind is FileKind.FOCUS:
            with progress_bar("charges to focus", None) as advance:
                done, unpriced = meter.export_focus(
                    output,
                    version=focus_version,
                    side=_side(book),
                    account=billing_account,
                    tz=tz,
                    progress=advance,
                    **between,
                    **filters,
                )
            say_totals(done)
            if unpriced:
                sys.stderr.write(f"{unpriced:,} calls have no price and no row.\n")
            return
        expected = meter.count_calls(**between, **filters) if counted else None
        with progress_bar(f"{of} to {kind}", expected) as advance:
            done = meter.export(
                kind.value,
                output,
                of=of.value,
                book=book.value,
                by=dimensions(by),
                tz=tz,
                follow=follow,
                progress=advance,
                **between,
                **filters,
            )
    say_totals(done)


def _side(book: PriceBook) -> "Side":
    if book is PriceBook.LIST:
        raise InputError("found --book list for focus, which has it in ListCost: cost or billed")
    return "billed" if book is PriceBook.BILLED else "cost"


def say_totals(done: "Exported") -> None:
    """Say on standard error what was written where, and what it sums up to."""
    from meter.exports.totals import total_sentence

    if done.target is None:
        sys.stderr.write("Nothing new: no file was written.\n")
        return
    where = "standard output" if done.target == "-" else done.target
    sentences = [total_sentence(done.table, total) for total in done.totals]
    told = f": {'; '.join(filter(None, sentences))}" if any(sentences) else ""
    rows = "1 row" if done.rows == 1 else f"{done.rows:,} rows"
    sys.stderr.write(f"{rows} of {done.table.name} to {where}{told}.\n")


@contextmanager
def progress_bar(what: str, expected: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show on standard error how far the rows are, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=expected)
        yield lambda rows: shown.update(task, completed=rows)
