"""The commands that look after the ledger: `meter check`, `meter doctor`, `meter db`."""

import sys
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
    from meter.store.migrating import head_revision, upgrade

    url = load_settings({"database_url": database_url}).database_url
    upgrade(url)
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
