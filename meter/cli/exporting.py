"""The command `meter export`: the ledger's rows as files for other programs."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
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
    OPENMETER = "openmeter"
    LAGO = "lago"
    STRIPE = "stripe"
    CLICKHOUSE = "clickhouse"


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
        str | None,
        typer.Option("-o", "--output", help="The file; - for standard output (csv, jsonl)."),
    ] = None,
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
    to: Annotated[
        str | None,
        typer.Option(
            help="Send events of openmeter, lago or stripe to this address, with the secret in "
            "METER_EXPORT_TOKEN; or copy to the ClickHouse there (METER_CLICKHOUSE_URL)."
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Begins the names of meters for openmeter, lago and stripe.")
    ] = "meter_",
    customers: Annotated[
        str | None,
        typer.Option(help="A JSON file that leads from subjects to that system's customers."),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write calls, charge lines, sums or entries to a file, charges in FOCUS, or usage events.

    The file appears under its name when it is whole. The totals go to standard error. With
    --follow every record is in exactly one file, also one that comes late; {portion} in -o
    numbers them. A focus file is CSV, Parquet, JSON Lines or Excel by its name; --book cost says
    what issuers charge, --book billed what subjects are charged. openmeter, lago and stripe are
    events of consumption for these billing systems, into a file or with --to by HTTP. clickhouse
    copies calls and charge lines, with --follow, and needs no file.
    """
    from meter.meter import Meter

    given = {
        "subject": subject, "model": model, "provider": provider, "endpoint": endpoint, "tag": tag,
    }  # fmt: skip
    if kind in (FileKind.OPENMETER, FileKind.LAGO, FileKind.STRIPE):
        if any((since, until, *given.values())):
            raise InputError(f"found calls chosen for {kind}, expected all: --customers narrows it")
        _deliver(kind, output, to, follow, prefix, customers, database_url)
        return
    if kind is FileKind.CLICKHOUSE:
        if any((output, since, until, *given.values())):
            raise InputError("found -o or calls chosen for clickhouse, expected all, and no file")
        _copy(follow, to, book, database_url)
        return
    if output is None or to is not None:
        raise InputError(f"found no -o, or --to, for {kind}, expected a file")

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


def _copy(follow: str | None, to: str | None, book: PriceBook, database_url: str | None) -> None:
    from meter.meter import Meter

    if follow is None:
        raise InputError("found no --follow for clickhouse, expected a state file")
    with Meter(database_url) as meter, progress_bar("calls to clickhouse", None) as advance:
        done = meter.export_clickhouse(follow, to=to, book=book.value, progress=advance)
    told = (
        "Nothing new." if done.target is None else f"{done.events:,} statements to {done.target}."
    )
    sys.stderr.write(f"{told}\n")


def _deliver(
    kind: FileKind,
    output: str | None,
    to: str | None,
    follow: str | None,
    prefix: str,
    customers: str | None,
    database_url: str | None,
) -> None:
    from meter.exports.delivering import customers_in
    from meter.meter import Meter

    known = None if customers is None else customers_in(Path(customers))
    with Meter(database_url) as meter, progress_bar(f"events for {kind}", None) as advance:
        done = meter.export_events(
            kind.value,
            target=output,
            to=to,
            token=os.environ.get("METER_EXPORT_TOKEN"),
            follow=follow,
            prefix=prefix,
            customers=known,
            progress=advance,
        )
    where = "standard output" if done.target == "-" else done.target
    told = "Nothing new." if where is None else f"{done.events:,} events to {where}."
    left = f" {done.left_out:,} statements have no customer." if done.left_out else ""
    sys.stderr.write(f"{told}{left}\n")


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
