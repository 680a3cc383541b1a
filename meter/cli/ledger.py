"""The commands that look after the ledger: `meter check`, `meter doctor`, `meter db`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.main import FOUND
from meter.cli.output import Column, Format, say, show
from meter.config import load_settings

db = typer.Typer(no_args_is_help=True, help="Look after the ledger's schema.")


@db.command("upgrade")
def db_upgrade(database_url: DatabaseUrl = None) -> None:
    """Bring the ledger's schema to this release; does nothing when it is current."""
    from meter.clock import now_us
    from meter.store.engine import open_engine
    from meter.store.migrating import head_revision, upgrade
    from meter.store.months import Months

    url = load_settings({"database_url": database_url}).database_url
    upgrade(url)
    engine = open_engine(url)
    try:
        Months(engine).make_ahead(now_us(), 1)
    finally:
        engine.dispose()
    say(f"The schema is at revision {head_revision()}.")


@db.command("current")
def db_current(database_url: DatabaseUrl = None) -> int:
    """Show the schema's revision; exit status 1 when it is not this release's."""
    from meter.store.engine import open_engine
    from meter.store.migrating import current_revision, head_revision

    url = load_settings({"database_url": database_url}).database_url
    engine = open_engine(url, read_only=True)
    try:
        found, head = current_revision(engine), head_revision()
    finally:
        engine.dispose()
    say(f"The schema is at revision {found or 'none'}; this release needs {head}.")
    return 0 if found == head else FOUND


@db.command("maintain")
def db_maintain(
    ahead: Annotated[
        int, typer.Option(min=0, max=24, help="Months to make tables for ahead (PostgreSQL).")
    ] = 3,
    archive: Annotated[
        Path | None,
        typer.Option(help="Write old months to Parquet files in this folder, and remove them."),
    ] = None,
    keep_months: Annotated[
        int, typer.Option(min=1, help="How many whole months stay in the ledger.")
    ] = 13,
    trim_feed: Annotated[
        bool, typer.Option("--trim-feed", help="Trim what every follower of the feed has read.")
    ] = False,
    forget: Annotated[
        str | None, typer.Option(help="Keep nothing any more for this follower of the feed.")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make months ahead, fold the rollups, archive old months, trim the feed.

    Run it from cron, daily or so; while gateways run as well. Archived months keep their sums,
    entries, credit and invoices; their calls are in the files.
    """
    from meter.cli.exporting import progress_bar
    from meter.clock import now_us
    from meter.meter import Meter

    with Meter(database_url) as meter, progress_bar("calls to parquet", None) as advance:
        months = meter.months
        for month, made in months.make_ahead(now_us(), ahead):
            told = "has its table" if made else "has calls already, which stay with the rest"
            say(f"{month.name} {told}.")
        say(f"Folded {_counted(months.fold(), 'record')}.")
        if forget is not None:
            known = months.forget_follower(forget)
            say(f"Forgot {forget}." if known else f"There is no follower {forget}.")
        for done in meter.archive(archive, keep_months, progress=advance) if archive else ():
            told = _counted(done.calls, "call")
            if done.corrections:
                told += f" and {_counted(done.corrections, 'correction')}"
            say(f"Archived {done.month.name}: {told} in {done.file}.")
        if trim_feed:
            portion, rows = months.trim_feed()
            say(f"Trimmed the feed up to portion {portion}: {_counted(rows, 'row')}.")
        months.tidy()


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def check(
    database_url: DatabaseUrl = None,
    format: Annotated[Format, typer.Option(help="How to show findings.")] = Format.TABLE,
) -> int:
    """Verify every invariant of the ledger.

    Exit status 1 when one is broken.
    """
    from meter.store.checking import check as findings_of
    from meter.store.engine import open_engine
    from meter.store.migrating import require_current

    settings = load_settings({"database_url": database_url})
    engine = open_engine(settings.database_url)
    try:
        require_current(engine, settings.database_url)
        findings = list(findings_of(engine, _tell_progress))
    finally:
        engine.dispose()
        if sys.stderr.isatty():
            print("\r", end="", file=sys.stderr)
    rows: list[dict[str, Any]] = [
        {"invariant": finding.invariant, "row": finding.row, "message": finding.message}
        for finding in findings
    ]
    columns = (
        Column("invariant", "Invariant"),
        Column("row", "Row"),
        Column("message", "What was found"),
    )
    show(rows, columns, format, title="Broken invariants", empty="Every invariant holds.")
    return FOUND if findings else 0


def _tell_progress(count: int) -> None:
    """Say on a terminal how far the check has come."""
    if sys.stderr.isatty():
        print(f"\r{count:,} calls checked", end="", file=sys.stderr, flush=True)


def doctor(database_url: DatabaseUrl = None) -> int:
    """Examine the set-up: database, schema, tokenizer, prices.

    Exit status 1 on a fault.
    """
    from meter.cli.examining import examine

    findings = examine(load_settings({"database_url": database_url}))
    rows = [{"what": f.what, "state": f.state, "found": f.found} for f in findings]
    columns = (Column("what", "Part"), Column("state", "State"), Column("found", "What was found"))
    show(rows, columns, Format.TABLE, title="The set-up")
    return FOUND if any(finding.state == "fault" for finding in findings) else 0
